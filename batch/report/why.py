"""Why a job will be sent, or will not: its past from the ledger beside what the manifest says now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batch.core.model import Job
from batch.core.picture_warnings import read_warning
from batch.plan import Change, Decision, changes, name_of
from batch.report.formatting import differing, printable, usd
from batch.store.job_state import FileState, JobHistory
from batch.store.ledger_reader import open_ledger
from batch.store.lost_files import worst_state
from batch.store.records import (
    AdoptRecord,
    CopyRecord,
    DoneRecord,
    Giver,
    JobRecord,
    Pictured,
    RereadRecord,
    ResolveRecord,
    TryRecord,
    UnknownRecord,
    job_of,
)

_REASONS: Final = {
    "to do: new": "will be sent: it was never sent as it stands now",
    "to do: again": "will be sent again: its last attempt failed, and another may work",
    "to do: resend": "will be sent once more: its last request got no answer, so it may be paid twice",
    "to do: changed": "will be bought again: it was edited after its picture was bought",
    "skip: done": "will not be sent: it has its picture",
    "skip: failed": "will not be sent: it failed for good; edit it, or name its cause in --retry",
    "skip: held": "will not be sent: its request got no answer and may be paid; it was sent again once, or is held",
    "skip: changed": "was edited after its picture was bought; --on-changed decides",
    "skip: missing": "will not be sent: it was bought, but its file is gone; --again missing buys it once more",
    "skip: altered": "will not be sent: it was bought, but its file was altered; --again with its id buys it once more",
    "to do: remake": "will be bought once more, as --again asks; the old picture stays",
    "to do: missing": "will be bought once more, because its file is gone",
    "to do: rejected": "will be made again, because its picture was rejected; the old one stays",
    "adopt: renamed": "gets the picture bought under another id, which is no longer in the manifest; nothing is sent",
    "adopt: same": "gets the picture of another job that asked for exactly this; nothing is sent",
    "adopt: reused": "gets the picture bought in another output folder; nothing is sent",
    "to do: chained": "will be sent after the job whose picture it goes on with",
    "skip: waits": "will not be sent: the job whose picture it goes on with has none, and is not sent this time",
    "skip: copy": "waits for another job that asks for exactly the same picture, and shares it",
    "skip: left out": "would be sent, but is not selected this time",
    "skip: set aside": "will not be sent: it failed the same way run after run; --retry with its cause sends it",
    "skip: rejected": "will not be sent: its picture was rejected and until allows no more; --rejected sends it",
    "skip: open": "was left in flight by a run that was cut off; the next run looks for its answer first",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a job will be sent, or will not.

    `decision` is the plan's name for it, such as `to do: new`, and `reason` says it in words. `place` is where the job
    is written. `changes` is what was edited since its picture was bought; `records` are the ledger's lines about the
    job as they stand there (docs/ledger.md), oldest first.
    """

    output: str
    job: str
    decision: str
    reason: str
    place: str | None
    prompt: str
    changes: tuple[Change, ...]
    records: tuple[dict[str, Any], ...]


def explain(decision: Decision, past: JobHistory, output: Path) -> Why:
    """The decision and the job's past, as values. Raises `LedgerError` if the ledger is damaged."""
    job = decision.job
    edited = decision.because == "changed" and past.versions
    return Why(
        output=str(output),
        job=job.id,
        decision=name_of(decision),
        reason=_reason(decision, past, output),
        place=None if job.place is None else str(job.place),
        prompt=job.prompt,
        changes=tuple(changes(asked_before(output, past), job)) if edited else (),
        records=tuple(each for each in open_ledger(output).raw_records() if each.get("job") == job.id),
    )


def why_lines(decision: Decision, past: JobHistory, output: Path) -> Iterator[str]:
    """The decision in words, what was changed, and every line of the ledger about the job."""
    yield f"{decision.job.id}: {_reason(decision, past, output)}"
    if decision.job.place is not None:
        yield f"  written at {decision.job.place}"
    yield f"  prompt     {printable(decision.job.prompt)}"
    if decision.because == "changed" and past.versions:
        yield from change_lines(asked_before(output, past), decision.job)
    for record in _records_of(output, decision.job.id):
        yield f"  {record.at}  {_record_words(record)}"
        for text in record.warnings if isinstance(record, Pictured) else ():
            warned = read_warning(text)
            yield f"      warning: {warned.kind}: {printable(warned.message)}"


def _reason(decision: Decision, past: JobHistory, output: Path) -> str:
    name = name_of(decision)
    if name == "skip: done" and past.accepted:
        return f"will not be sent: {_accepted_words(output, past)}"
    return _REASONS[name]


def _accepted_words(output: Path, past: JobHistory) -> str:
    """What a person accepted, as the files are now."""
    with open_ledger(output) as ledger:
        bought = ledger.at(past.bought_offset)
    assert isinstance(bought, Pictured)
    worst = worst_state(output, bought.images)
    if worst is FileState.MISSING:
        return "its file is gone, and that was accepted"
    if worst is FileState.ALTERED:
        return "its file is not what was bought, and that was accepted"
    return "its picture is there, and was accepted in place of a newer one"


def change_lines(asked: Job, job: Job) -> Iterator[str]:
    """What was asked before and what is asked now, one line per difference."""
    for change in changes(asked, job):
        old, new = differing(change.old, change.new)
        yield f"  {change.field:<12} {old}  ->  {new}"


def asked_before(output: Path, past: JobHistory) -> Job:
    """The job as it was when its picture was bought."""
    with open_ledger(output) as ledger:
        return job_of(ledger.asked_at(past.bought_try_offset))


def _records_of(output: Path, job_id: str) -> Iterator[JobRecord]:
    """Every whole line of the ledger about one job, oldest first."""
    ledger = open_ledger(output)
    if not ledger.exists():
        return
    for record in ledger.records():
        if isinstance(record, JobRecord) and record.job == job_id:
            yield record


def _record_words(record: JobRecord) -> str:
    match record:
        case TryRecord():
            return f"attempt {record.att} ({record.why})"
        case AdoptRecord():
            return f"taken over from {_giver(record.giver)} ({record.why}): {_paths(record)}"
        case CopyRecord():
            return f"failed with {printable(record.of)}, which asks for the same picture: {record.code}"
        case ResolveRecord():
            return f"decided by a person: {record.decided}{': ' + printable(record.note) if record.note else ''}"
        case RereadRecord():
            return f"its answer of attempt {record.att} was read again and holds a picture: {_paths(record)}"
        case DoneRecord():
            return f"done after {record.seconds:.1f} s, {usd(record.usd)}: {_paths(record)}"
    paid = {"no": "not charged", "yes": f"charged {usd(record.usd)}", "maybe": f"maybe charged {usd(record.usd)}"}
    word = "unknown" if isinstance(record, UnknownRecord) else "failed"
    took = f"after {record.seconds:.1f} s"
    return f"{word} {took}, {paid[record.paid]}: {record.code}: {printable(record.message)}"


def _giver(giver: Giver) -> str:
    where = f" in {giver.output}" if giver.output else ""
    return printable(giver.job + where)


def _paths(record: Pictured) -> str:
    return ", ".join(image.path for image in record.images)
