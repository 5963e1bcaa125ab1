"""An entry from the ledger's records about one job, oldest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from batch.album.entry import Attempt, Entry, Failure, Picture, PictureState, Version
from batch.core.decisions import Decisions
from batch.core.picture_warnings import read_warning
from batch.report.advice import advice_for
from batch.store.job_state import FileState, JobHistory, Standing
from batch.store.records import (
    AdoptRecord,
    Asked,
    CopyRecord,
    DoneRecord,
    Ended,
    FailRecord,
    ImageRecord,
    JobRecord,
    Pictured,
    RereadRecord,
    ResolveRecord,
    TryRecord,
    UnknownRecord,
    Unsuccessful,
    job_of,
    terms_of,
)

_STATES: Final = {
    FileState.WHOLE: PictureState.WHOLE,
    FileState.ALTERED: PictureState.ALTERED,
    FileState.MISSING: PictureState.MISSING,
}
_OUTCOMES: Final = {
    DoneRecord: "done",
    FailRecord: "failed",
    UnknownRecord: "unknown",
    AdoptRecord: "adopted",
    CopyRecord: "copied",
    ResolveRecord: "resolved",
    RereadRecord: "reread",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job stands in the album."""

    position: int
    row: Mapping[str, Any] | None
    listed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryBuilder:
    """Makes entries of one output. `state_of` looks at a file by its path and size in bytes."""

    output: str
    simulated: bool
    decisions: Decisions
    state_of: Callable[[str, int], FileState]

    def build(self, records: Iterable[tuple[int, JobRecord]], past: JobHistory, place: Place) -> Entry:
        """`records` are the ledger's lines about the job with their offsets, oldest first; at least one."""
        told = _Told()
        versions: list[Version] = []
        current = None
        for offset, record in records:
            told.add(record)
            if isinstance(record, Pictured):
                versions.append(self._version(record, told, len(versions) + 1))
                if offset == past.bought_offset:
                    current = versions[-1]
        asked = told.asked
        assert asked is not None
        job, terms = job_of(asked), terms_of(asked)
        return Entry(
            id=asked.job,
            position=place.position,
            standing=past.standing,
            prompt=asked.ask.prompt,
            references=tuple(reference.name for reference in job.references),
            reference_sha256s=tuple(reference.sha256 for reference in job.references),
            model=terms.model,
            endpoint=terms.endpoint,
            parameters=dict(job.parameters),
            row=place.row,
            versions=tuple(versions),
            attempts=tuple(told.attempts()),
            failure=self._failure(told.last, past),
            cost_usd=round(past.usd, 6),
            maybe_cost_usd=round(told.maybe_usd, 6),
            settled_by_person=past.accepted,
            listed=place.listed or past.standing is Standing.PENDING,
            current=current,
        )

    def _version(self, record: Pictured, told: _Told, number: int) -> Version:
        asked = record if isinstance(record, AdoptRecord) else told.tries.get(record.att, told.asked)
        assert asked is not None
        terms = terms_of(asked)
        return Version(
            number=number,
            attempt=record.att,
            pictures=tuple(self._picture(record.job, image) for image in record.images),
            caption=record.caption,
            warnings=tuple(read_warning(text) for text in record.warnings),
            prompt=asked.ask.prompt,
            references=tuple(reference.name for reference in asked.ask.references),
            reference_sha256s=tuple(reference.sha256 for reference in asked.ask.references),
            model=terms.model,
            endpoint=terms.endpoint,
            lane=str(terms.lane),
            parameters=dict(job_of(asked).parameters),
            cost_usd=record.usd,
            finished_at=record.at,
            adopted_from=record.giver.job if isinstance(record, AdoptRecord) else "",
            simulated=self.simulated,
        )

    def _picture(self, job: str, image: ImageRecord) -> Picture:
        return Picture(
            path=image.path,
            sha256=image.sha256,
            mime=image.mime,
            width=image.width,
            height=image.height,
            size_bytes=image.bytes,
            state=_STATES[self.state_of(image.path, image.bytes)],
            decision=self.decisions.of(job, image.sha256),
            seen=self.decisions.is_seen(job, image.sha256),
        )

    def _failure(self, last: JobRecord | None, past: JobHistory) -> Failure | None:
        if past.standing not in (Standing.FAILED, Standing.UNKNOWN) or not isinstance(last, Unsuccessful):
            return None
        return Failure(
            code=last.code,
            message=last.message,
            http_status=last.http_status,
            advice=advice_for(last.code, self.output),
        )


@dataclass(slots=True)
class _Told:
    """What the records say so far."""

    asked: Asked | None = None
    last: JobRecord | None = None
    maybe_usd: float = 0.0
    tries: dict[int, TryRecord] = field(default_factory=dict)
    ends: list[JobRecord] = field(default_factory=list)

    def add(self, record: JobRecord) -> None:
        if isinstance(record, Asked):
            self.asked = record
        if isinstance(record, TryRecord):
            self.tries[record.att] = record
        else:
            self.last = record
            self.maybe_usd += _maybe_usd(record)
        if isinstance(record, Ended) and self.ends and self.ends[-1] is self.tries.get(record.att):
            self.ends[-1] = record
        else:
            self.ends.append(record)

    def attempts(self) -> Iterator[Attempt]:
        return (_attempt(self.tries.get(record.att), record) for record in self.ends)


def _maybe_usd(record: JobRecord) -> float:
    """By how much a record changes what may have been spent."""
    match record:
        case UnknownRecord():
            return record.usd
        case ResolveRecord() | RereadRecord():
            return -record.maybe_usd
        case FailRecord() if record.paid == "maybe":
            return record.usd
    return 0.0


def _attempt(tried: TryRecord | None, record: JobRecord) -> Attempt:
    is_open = isinstance(record, TryRecord)
    terms = None if tried is None else terms_of(tried)
    ended = isinstance(record, Ended)
    return Attempt(
        number=record.att,
        started_at=tried.at if tried is not None and (ended or is_open) else record.at,
        ended_at="" if is_open else record.at,
        endpoint="" if terms is None else terms.endpoint,
        model="" if terms is None else terms.model,
        outcome="open" if is_open else _OUTCOMES[type(record)],
        why=getattr(record if not ended else tried, "why", ""),
        code=getattr(record, "code", ""),
        message=getattr(record, "message", ""),
        http_status=getattr(record, "http_status", None),
        paid=_paid(record),
        cost_usd=getattr(record, "usd", 0.0),
        seconds=getattr(record, "seconds", 0.0),
    )


def _paid(record: JobRecord) -> str:
    match record:
        case FailRecord() | UnknownRecord() | RereadRecord():
            return record.paid
        case DoneRecord():
            return "yes"
        case TryRecord():
            return "maybe"
    return "no"
