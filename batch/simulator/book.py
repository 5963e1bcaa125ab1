"""The billing book: what the simulated provider would put on the invoice.

A JSONL file, appended and flushed before the first byte of an answer leaves, so that it is right even when
either side is killed. Two kinds of lines, the second adding to the first:

    {"n": 7, "at": "...", ..., "billed": true, "usd": 0.067, "images": 1, "delivered": false}
    {"n": 7, "delivered": true}

Every request has one of the first kind. The second says that the whole answer of request 7 was handed to the
operating system, not that the client has read it.

A file that exists is continued: its totals count and `n` goes on. A half-written last line is passed over.
No line ever holds a key.
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(slots=True, kw_only=True)
class Entry:
    """One generateContent request. `images` counts pictures in the answer, `references` those sent along.

    `billed` follows the rule of relays: an answer 200 is charged, with a picture or without, and so is one
    that was cut on its way; errors are not, nor is a request that never arrived whole. `lane` is the one asked for,
    `served` the one that answered and is charged; None if nothing was.
    """

    n: int
    at: str
    client_request_id: str | None = None
    request_id: str = ""
    model: str | None = None
    prompt: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    references: int = 0
    http_status: int | None = None
    fault: str | None = None
    billed: bool = False
    usd: float = 0.0
    images: int = 0
    delivered: bool = False
    lane: str = "standard"
    served: str | None = None


def _private(path: str, flags: int) -> int:
    """Prompts are private."""
    return os.open(path, flags, 0o600)


class Book:
    """Totals for ever, the newest entries in memory, every entry in the file if there is one."""

    def __init__(self, path: Path | None = None, *, entries_in_memory: int = 100_000) -> None:
        self.requests = 0
        self.billed = 0
        self.delivered = 0
        self.images = 0
        self.in_flight = 0
        self.downloads = 0
        self.downloads_with_key = 0
        self._micro_usd = 0
        self._last_n = 0
        self._capacity = entries_in_memory
        self._entries: OrderedDict[int, Entry] = OrderedDict()
        self._file: BinaryIO | None = None
        if path is not None:
            self._open(Path(path))

    @property
    def usd(self) -> float:
        """What has been charged, in dollars, without the dust of adding floats."""
        return self._micro_usd / 1_000_000

    @property
    def entries(self) -> list[Entry]:
        """The newest entries (`entries_in_memory` of them at most), oldest first."""
        return list(self._entries.values())

    def next_n(self) -> int:
        """The number of a request that arrives now."""
        self._last_n += 1
        return self._last_n

    def record(self, entry: Entry) -> None:
        """Write an entry down. Returns when the operating system has it."""
        self._write(asdict(entry))
        self._count(entry)

    def mark_delivered(self, n: int) -> None:
        """The whole answer of request `n` was handed to the operating system."""
        self._write({"n": n, "delivered": True})
        self._deliver(n)

    def summary(self, *, entries: bool = True) -> dict[str, Any]:
        """The book as JSON values. `in_flight` requests may still add to it."""
        summary: dict[str, Any] = {
            "requests": self.requests,
            "billed": self.billed,
            "usd": self.usd,
            "delivered": self.delivered,
            "images": self.images,
            "in_flight": self.in_flight,
            "downloads": self.downloads,
            "downloads_with_key": self.downloads_with_key,
        }
        if entries:
            summary["entries"] = [asdict(entry) for entry in self._entries.values()]
        return summary

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _count(self, entry: Entry) -> None:
        self.requests += 1
        self.billed += entry.billed
        self.images += entry.images
        self._micro_usd += round(entry.usd * 1_000_000)
        self._last_n = max(self._last_n, entry.n)
        self._entries[entry.n] = entry
        if entry.delivered:
            self.delivered += 1
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def _deliver(self, n: int) -> None:
        self.delivered += 1
        if n in self._entries:
            self._entries[n].delivered = True

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            # One unbuffered write of one line: whole in the kernel before anybody else hears of it.
            self._file.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n")

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._replay(path) if path.exists() else False
        self._file = open(path, "ab", buffering=0, opener=_private)  # noqa: SIM115  (closed by close)
        if torn:
            self._file.write(b"\n")

    def _replay(self, path: Path) -> bool:
        """Take over an older book; True if its last line has no end."""
        line = b"\n"
        with open(path, "rb") as file:
            for line in file:
                self._replay_line(line)
        return not line.endswith(b"\n")

    def _replay_line(self, line: bytes) -> None:
        try:
            fields = json.loads(line)
            if set(fields) == {"n", "delivered"}:
                self._deliver(fields["n"])
            else:
                entry = Entry(**fields)
                if math.isfinite(entry.usd):
                    self._count(entry)
        except (ValueError, TypeError):
            return
