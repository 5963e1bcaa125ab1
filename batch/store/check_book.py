"""checks.jsonl: what a model that judges pictures was asked, and what that cost, beside the ledger of the pictures.

A question is a line before it goes out, durably, so that a kill leaves it counted as one that may have been paid; its
end is a second line, which only takes from what is counted. Every field: docs/review.md.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Final

from batch.core.clock import Clock, timestamp
from batch.core.errors import OutputError, Paid
from batch.core.own_files import open_to_read, open_to_write, sync_folder
from batch.core.results import CheckSpend
from batch.store.durable import PUBLIC_MODE, storage_errors, write_all

NAME: Final = "checks.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """A question about a picture of `job`, the `n`-th of its run, and what is known of its price (`usd` at most)."""

    run: str
    n: int
    at: str
    job: str
    usd: float
    paid: Paid = Paid.MAYBE

    @property
    def id(self) -> str:
        """No job is called so, for an id holds no slash."""
        return f"check/{self.n}"

    @property
    def may_cost_usd(self) -> float:
        return 0.0 if self.paid is Paid.NO else self.usd


class CheckBook:
    """The questions of one run. Called in threads, by the one run that holds the folder's lock."""

    def __init__(self, output: Path, run: str, clock: Clock) -> None:
        self._path = output / NAME
        self._run = run
        self._clock = clock
        self._asked: dict[int, AskedQuestion] = {}
        self._newest = 0
        self._lock = Lock()

    @property
    def spend(self) -> CheckSpend:
        """What this run's questions have cost."""
        return spend_of(self._asked.values())

    def next(self, job: str, usd: float) -> AskedQuestion:
        """A question that is about to be asked; nothing is written."""
        self._newest += 1
        return AskedQuestion(run=self._run, n=self._newest, at=timestamp(self._clock), job=job, usd=usd)

    def goes_out(self, question: AskedQuestion) -> None:
        """Write it down; when this returns that is durable. Raises `StorageError`; then it must not be sent."""
        self._append({"t": "ask", **_fields(question), "job": question.job, "usd": question.usd}, durably=True)
        self._asked[question.n] = question

    def ended(self, question: AskedQuestion, paid: Paid) -> None:
        """Write down whether it was charged. Raises `StorageError`; then it counts as if it may have been."""
        if paid is not Paid.MAYBE:
            self._append({"t": "end", **_fields(question), "paid": paid}, durably=False)
            self._asked[question.n] = replace(question, paid=paid)

    def _append(self, line: dict[str, Any], *, durably: bool) -> None:
        with self._lock, storage_errors(f"write {NAME}"):
            descriptor = open_to_write(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PUBLIC_MODE)
            try:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                write_all(descriptor, (b"\n" if torn else b"") + json.dumps(line).encode("ascii") + b"\n")
                if durably:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if durably and size == 0:
                sync_folder(str(self._path.parent))


def _fields(question: AskedQuestion) -> dict[str, Any]:
    return {"run": question.run, "n": question.n, "at": question.at}


def spend_of(asked: Iterable[AskedQuestion]) -> CheckSpend:
    """The sums over some questions. One that was not charged costs nothing."""
    found = list(asked)
    return CheckSpend(
        requests=len(found),
        cost_usd=round(sum(each.usd for each in found if each.paid is Paid.YES), 6),
        maybe_cost_usd=round(sum(each.usd for each in found if each.paid is Paid.MAYBE), 6),
    )


def questions(output: Path) -> list[AskedQuestion]:
    """Every question that may have gone out. Raises `OutputError`.

    A line that a crash cut short was never relied on.
    """
    found: dict[tuple[str, int], AskedQuestion] = {}
    for line in _lines(output / NAME):
        try:
            key = str(line["run"]), int(line["n"])
            if line["t"] == "ask":
                found[key] = AskedQuestion(
                    run=key[0], n=key[1], at=str(line["at"]), job=str(line["job"]), usd=float(line["usd"])
                )
            elif key in found:
                found[key] = replace(found[key], paid=Paid(line["paid"]))
        except (KeyError, TypeError, ValueError):
            continue
    return list(found.values())


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open_to_read(path) as file:
            for text in file:
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(line, dict):
                    yield line
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
