"""Judges an output folder after a crash. Reads files itself and shares no code with the package it judges."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image

Record = dict[str, Any]
Attempt = tuple[str, int]
#: Kinds of lines after which a job has a picture.
PICTURED = ("done", "adopt", "reread")


@dataclass
class Ledger:
    """The valid lines, how many bytes they take, and what follows them."""

    records: list[Record] = field(default_factory=list)
    good_bytes: int = 0
    tail: bytes = b""
    broken_inside: bool = False

    def of(self, *kinds: str) -> list[Record]:
        return [record for record in self.records if record["t"] in kinds]


def read_ledger(output: Path) -> Ledger:
    ledger = Ledger()
    path = output / "ledger.jsonl"
    data = path.read_bytes() if path.exists() else b""
    bad = False
    *lines, last = data.split(b"\n")
    last = last.rstrip(b"\0")  # a line that lost only its newline is whole
    for line in [*lines, *([last] if _is_whole(last) else [])]:
        if _is_whole(line):
            ledger.broken_inside |= bad
            ledger.records.append(json.loads(line))
            end = ledger.good_bytes + len(line)
            ledger.good_bytes = end + (data[end : end + 1] == b"\n")
        else:
            bad = True
    ledger.tail = data[ledger.good_bytes :]
    return ledger


def _is_whole(line: bytes) -> bool:
    body, mark, crc = line.rpartition(b',"c":"')
    return bool(mark) and crc == b'%08x"}' % zlib.crc32(body)


def read_book(path: Path) -> list[Record]:
    """The simulator's charged requests."""
    entries = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [entry for entry in entries if entry.get("billed")]


def attempt_of(record: Record) -> Attempt:
    return record["job"], record["att"]


@dataclass
class State:
    """An output folder and what the provider charged for it."""

    output: Path
    ledger: Ledger
    billed: list[Record]

    @classmethod
    def read(cls, output: Path, billed: list[Record]) -> State:
        return cls(output, read_ledger(output), billed)

    def attempts(self) -> dict[str, Attempt]:
        """What each client request id stands for."""
        return {record["rid"]: attempt_of(record) for record in self.ledger.of("try")}

    def ended(self) -> dict[Attempt, Record]:
        return {attempt_of(record): record for record in self.ledger.of("done", "fail", "unk")}

    def sealed(self) -> set[Attempt]:
        """Attempts whose whole answer lies in the spool."""
        found = set()
        for path in (self.output / "spool").glob("*.answer"):
            head, newline, body = path.read_bytes().partition(b"\n")
            if newline and len(body) >= json.loads(head)["body_bytes"]:
                job, _, number = path.name.removesuffix(".answer").rpartition("~")
                found.add((job, int(number)))
        return found

    def image_hashes(self) -> dict[str, str]:
        folder = self.output / "images"
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def after_crash(state: State, said: list[str], concurrency: int) -> list[str]:
    """What is wrong in the moment after the crash. Promises P1, P2, P3, P5 and P7."""
    wrong = [*whole_pictures(state), *done_files(state), *kept_answers(state)]
    if state.ledger.broken_inside:
        wrong.append("P7: a damaged line with whole lines after it")
    done = {record["job"] for record in state.ledger.of(*PICTURED)}
    wrong += [f"P3: {job} was said to be done and is not in the ledger" for job in said if job not in done]
    attempts, ended, sealed = state.attempts(), state.ended(), state.sealed()
    lost = 0
    for entry in state.billed:
        attempt = attempts.get(entry["client_request_id"])
        if attempt is None:
            wrong.append(f"P5: request {entry['client_request_id']} was charged and has no try line")
        elif attempt not in ended and attempt not in sealed:
            lost += 1
    if lost > concurrency:
        wrong.append(f"P5: {lost} charged answers are not on disk, more than {concurrency} in flight")
    return wrong


def after_cut(state: State, said: list[str], concurrency: int) -> list[str]:
    """What a power cut must not do. Promises P1, P2, P3, P5 and P7, and what a `fail` line says is kept is kept."""
    ledger = state.ledger
    wrong = [*whole_pictures(state), *done_files(state), *kept_answers(state)]
    done = {record["job"] for record in ledger.of(*PICTURED)}
    wrong += [f"P3: {job} was said to be done and is not in the ledger" for job in said if job not in done]
    if ledger.broken_inside or (ledger.tail and not ledger.records):
        wrong.append("P7: the ledger is damaged by more than a torn end")
    attempts, ended = state.attempts(), state.ended()
    charged = [entry["client_request_id"] for entry in state.billed]
    wrong += [f"P5: {each} was charged and has no try line" for each in charged if each not in attempts]
    lost = sum(each in attempts and attempts[each] not in ended for each in charged)
    if lost > concurrency:
        wrong.append(f"P5: {lost} charged requests have no end, more than {concurrency} in flight")
    return wrong


def done_files(state: State) -> list[str]:
    """P1: what a done line names is there and is what it says."""
    wrong = []
    for record in state.ledger.of(*PICTURED):
        for image in record["images"]:
            path = state.output / image["path"]
            data = path.read_bytes() if path.exists() else b""
            if len(data) != image["bytes"] or hashlib.sha256(data).hexdigest() != image["sha256"]:
                wrong.append(f"P1: {image['path']} is not what the ledger says")
    return wrong


def kept_answers(state: State) -> list[str]:
    """What a line says is kept in rejected/ is there and whole: it was paid for."""
    wrong = []
    for name in [name for record in state.ledger.of("fail", "unk") for name in record.get("kept", ())]:
        path = state.output / "rejected" / name
        if not path.exists():
            wrong.append(f"P4: rejected/{name} is gone")
        elif path.suffix == ".answer":
            head, _, body = path.read_bytes().partition(b"\n")
            try:
                told = json.loads(head)
                sizes = [(each["file"], each["size_bytes"]) for each in told["blobs"]]
                whole = len(body) == told["body_bytes"] and all(
                    (path.parent / file).stat().st_size == size for file, size in sizes
                )
            except (ValueError, OSError):
                whole = False
            wrong += [] if whole else [f"P4: rejected/{name} is not whole"]
    return wrong


def whole_pictures(state: State) -> list[str]:
    """P2: every file with a final name under images/ is a whole picture."""
    wrong = []
    for path in (state.output / "images").rglob("[!.]*"):
        if path.is_dir():
            continue
        try:
            data = path.read_bytes()
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
            whole = data.rstrip(b"\0")[-8:-4] == b"IEND" if path.suffix == ".png" else data[-2:] == b"\xff\xd9"
        except (OSError, SyntaxError):
            whole = False
        if not whole:
            wrong.append(f"P2: {path.name} is cut")
    return wrong


def after_resume(before: State, prefix: bytes, after: State, expected: dict[str, str]) -> list[str]:
    """What is wrong once a plain run has gone on. Promises P1, P2, P4, P6, P8, P10 and P11."""
    wrong = [*whole_pictures(after), *done_files(after), *kept_answers(after), *resends(after), *balance(after)]
    if not (after.output / "ledger.jsonl").read_bytes().startswith(prefix):
        wrong.append("P8: the ledger's beginning has changed")
    ended, tries = after.ended(), Counter(record["job"] for record in after.ledger.of("try"))
    for job, number in before.sealed() - set(before.ended()):
        record = ended.get((job, number))
        if record is None or record["t"] not in ("done", "fail"):
            wrong.append(f"P4: the answer of {job} ({number}) was in the spool and was not used")
        elif tries[job] > number:
            wrong.append(f"P4: {job} was sent again although its answer was in the spool")
    return wrong + final_set(after, expected)


def resends(state: State) -> list[str]:
    """P6: sent again only after an attempt that cost nothing, or once, with the reason in the ledger."""
    wrong = []
    ended = state.ended()
    by_job: dict[str, list[Record]] = {}
    for record in state.ledger.of("try"):
        by_job.setdefault(record["job"], []).append(record)
    for job, tries in by_job.items():
        if [record["att"] for record in tries] != list(range(1, len(tries) + 1)):
            wrong.append(f"P6: the attempts of {job} are not counted up")
        if sum(record["why"] == "resend" for record in tries) > 1:
            wrong.append(f"P6: {job} was sent again twice after an unknown outcome")
        for earlier, later in pairwise(tries):
            end = ended.get(attempt_of(earlier), {"t": "nothing", "paid": "maybe"})
            free = end["t"] == "fail" and end["paid"] == "no"
            allowed = end["t"] == "unk" and later["why"] == "resend"
            if not free and not allowed:
                wrong.append(f"P6: {job} was sent again after {end['t']} (paid: {end.get('paid', 'yes')})")
    return wrong


def balance(state: State) -> list[str]:
    """P11, attempt by attempt: charged = done + rejected + unknown, and the money is the same."""
    wrong = []
    attempts, ended = state.attempts(), state.ended()
    charged = set()
    for entry in state.billed:
        attempt = attempts.get(entry["client_request_id"])
        end = ended.get(attempt) if attempt is not None else None
        if attempt is None or end is None:
            wrong.append(f"P11: {entry['client_request_id']} was charged and the ledger does not know how it ended")
            continue
        charged.add(attempt)
        if end["t"] == "fail" and end["paid"] == "no":
            wrong.append(f"P11: {attempt} was charged and the ledger calls it free")
        elif entry["usd"] > end["usd"] or (end["t"] != "unk" and entry["usd"] != end["usd"]):
            wrong.append(f"P11: {attempt} cost ${entry['usd']} and the ledger says ${end['usd']}")
    for attempt, end in ended.items():
        paid = end["t"] == "done" or end.get("paid") == "yes"
        if paid and attempt not in charged:
            wrong.append(f"P11: {attempt} is in the ledger as paid and was never charged")
    return wrong


def never_arrived(state: State) -> int:
    """Attempts that the ledger must call unknown although the provider never had them whole."""
    charged = {entry["client_request_id"] for entry in state.billed}
    tries = {attempt_of(record): record["rid"] for record in state.ledger.of("try")}
    return sum(tries[attempt_of(record)] not in charged for record in state.ledger.of("unk"))


def final_set(state: State, expected: dict[str, str]) -> list[str]:
    """P10: the same jobs done and failed as without a crash, one line each, and no file too many."""
    wrong = []
    lines = [json.loads(line) for line in (state.output / "manifest.jsonl").read_bytes().split(b"\n")[:-1]]
    if [(line["id"], line["status"]) for line in lines] != list(expected.items()):
        wrong.append(f"P10: manifest.jsonl has {[(line['id'], line['status']) for line in lines]}")
    named = {image["path"].removeprefix("images/") for line in lines for image in line["images"]}
    there = set(state.image_hashes())
    if there != named:
        wrong.append(f"P10: images/ holds {sorted(there)}, the manifest names {sorted(named)}")
    twice = [attempt for attempt, count in _bought(state).items() if count > 1]
    wrong += [f"P10: {job} was bought or taken over twice" for job in twice]
    left = [path.name for path in (state.output / "spool").iterdir()]
    if left:
        wrong.append(f"P10: the spool still holds {left}")
    return wrong


def _bought(state: State) -> Counter[str]:
    return Counter(record["job"] for record in state.ledger.of(*PICTURED))
