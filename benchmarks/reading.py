"""What reading an answer costs: our way from its bytes to a checked picture, beside `json.loads` and a base64 decode.

No network and no ledger. Both get the answer in the pieces in which a connection hands it over, and end with the
picture in a file; ours is sealed in the spool and inspected besides. Each measurement is a process of its own.
"""

from __future__ import annotations

import base64
import gzip
import json
import multiprocessing
import re
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from batch.providers.answers.answers import interpret_answer
from batch.providers.answers.json_stream import StringSpooler
from batch.providers.base import Received
from batch.providers.http.unpacking import Unpacker
from batch.providers.secrets import ApiKey, Redactor
from batch.store.disk_reserve import DiskReserve
from batch.store.picture_check import inspect_picture
from batch.store.spool import AttemptSpool
from benchmarks.answers import KINDS, write_answer

_PIECE_BYTES: Final = 64 << 10
_KEY: Final = "a-key-of-the-benchmarks-" + "0123456789" * 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """CPU seconds of one answer, and how much memory it took beyond what the process had before."""

    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One answer in one form, read in both ways."""

    kind: str
    form: str
    plain: Cost
    ours: Cost


def _as_stream(body: bytes) -> bytes:
    return b"data: " + json.dumps(json.loads(body)).encode() + b"\n\ndata: [DONE]\n\n"


def _as_text(body: bytes) -> bytes:
    data = json.loads(body)["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"]
    return json.dumps({"choices": [{"message": {"content": f"![x](data:image/png;base64,{data})"}}]}).encode()


#: How the answer comes. What `plain` does with each is the least that any client must do.
FORMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "as documented": lambda body: body,
    "gzip": lambda body: gzip.compress(body, 1),
    "a stream": _as_stream,
    "a data URL in a text": _as_text,
    "an unescaped quote": lambda body: re.sub(rb'"text": ?"', b'"text":"5" ', body, count=1),
}


def measure_reading(workdir: Path, *, rounds: int) -> Iterator[Reading]:
    """Every form of the answers of 2 and 24 MB, `rounds` times; medians, and the highest peak."""
    context = multiprocessing.get_context("spawn")
    for kind in ("2MB", "24MB"):
        body = write_answer(KINDS[kind], workdir).file.read_bytes()
        for form, made in FORMS.items():
            file = workdir / "reading.body"
            file.write_bytes(made(body))
            costs: dict[Callable[[bytes, Path], None], list[Cost]] = {_plainly: [], _as_we_do: []}
            for _ in range(rounds):
                for way, found in costs.items():
                    with context.Pool(1) as process:
                        found.append(process.apply(_cost, (way, file)))
            yield Reading(kind=kind, form=form, plain=_middle(costs[_plainly]), ours=_middle(costs[_as_we_do]))
            file.unlink()


def _middle(costs: list[Cost]) -> Cost:
    return Cost(cpu_seconds=median(each.cpu_seconds for each in costs), peak_mb=max(each.peak_mb for each in costs))


def _cost(way: Callable[[bytes, Path], None], file: Path) -> Cost:
    """The second time in this process: the first one warms up, and shows the memory."""
    body = file.read_bytes()
    with tempfile.TemporaryDirectory(dir=file.parent) as name:
        before = _peak_mb()
        way(body, Path(name))
        peak = _peak_mb() - before
        started = time.process_time()
        way(body, Path(name))
        return Cost(cpu_seconds=time.process_time() - started, peak_mb=peak)


def _peak_mb() -> float:
    """Of this process alone: `getrusage` goes on from its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES))


def _plainly(body: bytes, folder: Path) -> None:
    """What one writes first: all pieces joined, parsed, the longest string decoded."""
    whole = b"".join(_pieces(body))
    whole = zlib.decompress(whole, 31) if whole[:2] == b"\x1f\x8b" else whole
    if whole.startswith(b"data: "):
        whole = whole.split(b"\n\n", 1)[0].removeprefix(b"data: ")
    try:
        tree = json.loads(whole)
    except ValueError:
        text = whole.decode().split('"data":')[1].split('"')[1]  # it must be cut out by hand
    else:
        text = _longest(tree)
    data = base64.b64decode(text.split("base64,")[-1].rstrip(")"))
    (folder / "picture").write_bytes(data)


def _longest(tree: object) -> str:
    if isinstance(tree, str):
        return tree
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return max(map(_longest, inner), key=len, default="")


def _as_we_do(body: bytes, folder: Path) -> None:
    """Unpacked, decoded while it arrives, sealed, interpreted and inspected."""
    spool = AttemptSpool(str(folder), "a~1", DiskReserve(str(folder)))
    unpacker = Unpacker()
    strings = StringSpooler(spool.new_blob, redactor=_redactor())
    for piece in _pieces(body):
        for chunk in unpacker.feed(piece):
            strings.feed(chunk)
    for chunk in unpacker.finish():
        strings.feed(chunk)
    skeleton, blobs = strings.finish()
    received = Received(status=200, headers={}, body=skeleton, blobs=blobs, seconds=0.0)
    spool.seal(received)
    (picture,) = interpret_answer(received).pictures
    assert picture.blob is not None
    inspect_picture(picture.blob.file)
    spool.discard()


_redactors: list[Redactor] = []


def _redactor() -> Redactor:
    """One for the process, as one run has one."""
    if not _redactors:
        _redactors.append(Redactor(ApiKey(_KEY)))
    return _redactors[0]


def as_markdown(found: list[Reading]) -> str:
    """One line per answer and form; the ratio is ours to the plain way, of the same rounds."""
    lines = [
        "| answer | form | plain CPU ms | ours CPU ms | ratio | plain peak MB | ours peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in found:
        plain, ours = each.plain, each.ours
        lines.append(
            f"| {each.kind} | {each.form} | {plain.cpu_seconds * 1000:.0f} | {ours.cpu_seconds * 1000:.0f} "
            f"| {ours.cpu_seconds / plain.cpu_seconds:.2f} | {plain.peak_mb:.0f} | {ours.peak_mb:.0f} |"
        )
    return "\n".join(lines) + "\n"
