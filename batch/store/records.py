"""The ledger's records as typed values, one class per kind. Every field: docs/ledger.md.

They are made here, written by `commit` and read by `ledger_reader`. The order of fields is the order in which lines
have them. A field with a default may be missing in a line of an earlier version; unknown fields are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from batch.core.errors import AttemptError, EndpointDown, RateLimited
from batch.core.grounding import Grounding, Source
from batch.core.lane import Lane
from batch.core.model import AttemptFacts, Image, Job, Reference, Replacement, Terms
from batch.core.parameters import Parameters, common_parameters
from batch.core.results import Decided
from batch.store.ledger import (
    ACCEPT_VERSION,
    REREAD_VERSION,
    RESOLVE_VERSION,
    TAKEOVER_VERSION,
    VERSION,
    Published,
)


class ReferenceRecord(msgspec.Struct, frozen=True, gc=False):
    name: str
    sha256: str


class ImageRecord(msgspec.Struct, frozen=True, gc=False):
    """A picture; `path` is relative to the output folder, `bytes` its size."""

    path: str
    mime: str
    width: int
    height: int
    bytes: int
    sha256: str


class SourceRecord(msgspec.Struct, frozen=True, gc=False):
    """A page, or a picture by its page, that an answer rests on."""

    kind: str
    title: str
    uri: str


class SearchRecord(msgspec.Struct, frozen=True):
    """What was searched for before the picture was made, and what was found."""

    queries: tuple[str, ...] = ()
    sources: tuple[SourceRecord, ...] = ()


class Ask(msgspec.Struct, frozen=True):
    """What decides the picture, in full."""

    prompt: str = ""
    references: tuple[ReferenceRecord, ...] = ()
    model: str = ""
    aspect_ratio: str | None = None
    image_size: str = ""
    modalities: tuple[str, ...] = ()
    sample: int = 1
    #: All of them, where they are others than the three above.
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    #: In place of a rejected picture: that picture's SHA-256, and the prompt as the manifest has it, if it is another.
    instead_of: str | msgspec.UnsetType = msgspec.UNSET
    manifest_prompt: str | msgspec.UnsetType = msgspec.UNSET


class Destination(msgspec.Struct, frozen=True, gc=False):
    """Where a request goes, and in which lane."""

    endpoint: str
    model: str
    lane: str
    #: The provider that reads the answer, if it does not speak Gemini.
    provider: str | msgspec.UnsetType = msgspec.UNSET


class Giver(msgspec.Struct, frozen=True, gc=False):
    """The job that had an adopted picture, and its output folder if that is another one."""

    job: str
    run: str
    output: str | msgspec.UnsetType = msgspec.UNSET
    #: Known not to be the simulator's.
    bought: bool | msgspec.UnsetType = msgspec.UNSET


class RemakeRecord(msgspec.Struct, frozen=True):
    """An `--again` that is not finished: as it was typed, and from which byte of the ledger on its pictures stand."""

    said: tuple[str, ...]
    digest: str
    since: int


class LeftOutRecord(msgspec.Struct, frozen=True, gc=False):
    """An account that makes no sense to ask before some time."""

    endpoint: str
    account: str
    model: str
    code: str
    not_before: str


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    at: str = ""
    run: str = ""

    @property
    def version(self) -> int:
        """The oldest version of the format that a reader of this line must know."""
        return VERSION


class _JobRecord(_Record, frozen=True, kw_only=True, tag_field="t"):
    """About a job. `att` is the number of the attempt in the job's whole life."""

    job: str = ""
    spec: str = ""
    att: int = 0


class _EndedAttempt(_JobRecord, frozen=True, kw_only=True, tag_field="t"):
    """An attempt's end, and what it cost."""

    request_id: str | None = None
    seconds: float = 0.0
    usd: float = 0.0
    usd_from: str | None = None
    lane: str = Lane.STANDARD


class RunRecord(_Record, frozen=True, kw_only=True, tag="run"):
    """A run began."""

    manifest: str = ""
    manifest_sha256: str = ""
    endpoint: str = ""
    host: str = ""
    pid: int = 0
    python: str = ""
    remake: RemakeRecord | None = None


class TryRecord(_JobRecord, frozen=True, kw_only=True, tag="try"):
    """Intent: durable before the request goes out. Older ledgers know one endpoint, and have no `to`."""

    why: str = "new"
    rid: str = ""
    to: Destination | None = None
    ask: Ask = msgspec.field(default_factory=Ask)
    #: What its picture is called, if that is not the job's id.
    name: str | msgspec.UnsetType = msgspec.UNSET


class DoneRecord(_EndedAttempt, frozen=True, kw_only=True, tag="done"):
    """The pictures are durable under their names; from this line on the job is done."""

    images: tuple[ImageRecord, ...] = ()
    caption: str | None = None
    warnings: tuple[str, ...] = ()
    usage: dict[str, Any] | None = None
    search: SearchRecord | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET


class FailRecord(_EndedAttempt, frozen=True, kw_only=True, tag="fail"):
    """An attempt without a picture whose end is known. `kept` names files in rejected/."""

    code: str = ""
    message: str = ""
    http_status: int | None = None
    paid: str = "no"
    again: bool = True
    settled: bool = True
    kept: tuple[str, ...] = ()


class UnknownRecord(_EndedAttempt, frozen=True, kw_only=True, tag="unk"):
    """Sent, and no usable answer: maybe paid. `usd` is what it may have cost."""

    code: str = ""
    message: str = ""
    http_status: int | None = None
    paid: str = "maybe"
    kept: tuple[str, ...] = ()


class AdoptRecord(_JobRecord, frozen=True, kw_only=True, tag="adopt"):
    """The job has a picture that was bought before; no request was sent."""

    why: str = ""
    giver: Giver = msgspec.field(name="from")
    usd: float = 0.0
    saved_usd: float = 0.0
    images: tuple[ImageRecord, ...] = ()
    caption: str | None = None
    warnings: tuple[str, ...] = ()
    ask: Ask = msgspec.field(default_factory=Ask)
    search: SearchRecord | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def version(self) -> int:
        return TAKEOVER_VERSION


class CopyRecord(_JobRecord, frozen=True, kw_only=True, tag="copy"):
    """The job asks for the same picture as another one, which failed."""

    of: str = ""
    usd: float = 0.0
    code: str = ""
    message: str = ""
    http_status: int | None = None
    paid: str = "no"
    again: bool = True
    settled: bool = True
    ask: Ask = msgspec.field(default_factory=Ask)

    @property
    def version(self) -> int:
        return TAKEOVER_VERSION


class ResolveRecord(_JobRecord, frozen=True, kw_only=True, tag="resolve"):
    """A person's decision. `maybe_usd`: what was open until then."""

    decided: str = ""
    note: str = ""
    usd: float = 0.0
    maybe_usd: float = 0.0
    code: str = ""
    message: str = ""
    http_status: int | None = None

    @property
    def version(self) -> int:
        return ACCEPT_VERSION if self.decided == Decided.ACCEPTED else RESOLVE_VERSION


class RereadRecord(_JobRecord, frozen=True, kw_only=True, tag="reread"):
    """A kept answer holds a picture after all; no request was sent.

    `usd` is what the attempt cost beyond what was counted as spent, `maybe_usd` what is open no longer.
    """

    was: str = ""
    paid: str = "no"
    usd: float = 0.0
    counted_usd: float = 0.0
    maybe_usd: float = 0.0
    images: tuple[ImageRecord, ...] = ()
    caption: str | None = None
    warnings: tuple[str, ...] = ()
    search: SearchRecord | msgspec.UnsetType = msgspec.UNSET
    signature: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def version(self) -> int:
        return REREAD_VERSION


class EndRecord(_Record, frozen=True, kw_only=True, tag="end"):
    """A run came to its end."""

    exit: int = 0
    reason: str = ""
    message: str | None = None
    not_before: str | None = None
    left_out: tuple[LeftOutRecord, ...] = ()
    done: int = 0
    failed: int = 0
    unknown: int = 0
    pending: int = 0
    requests: int = 0
    cost_usd: float = 0.0
    maybe_cost_usd: float = 0.0
    spend: dict[str, Any] = msgspec.field(default_factory=dict)
    stopped: bool = True
    remake: RemakeRecord | None = None
    published: Published | None = None


Ended = DoneRecord | FailRecord | UnknownRecord
JobRecord = TryRecord | Ended | AdoptRecord | CopyRecord | ResolveRecord | RereadRecord
Record = JobRecord | RunRecord | EndRecord
#: Records that give their job a picture.
Pictured = DoneRecord | AdoptRecord | RereadRecord
#: Records after which a job has none.
Unsuccessful = FailRecord | UnknownRecord | CopyRecord | ResolveRecord
#: Records that say in full what was asked.
Asked = TryRecord | AdoptRecord | CopyRecord


class _Kind(msgspec.Struct, gc=False):
    t: str = ""


_KINDS: Final = frozenset(["run", "try", "done", "fail", "unk", "adopt", "copy", "resolve", "reread", "end"])
_decoder = msgspec.json.Decoder(Record)
_T = TypeVar("_T")


def line_fields(record: Record, number: int) -> dict[str, Any]:
    """The fields of the `number`-th line, in order, all but its checksum."""
    return {"v": record.version, "n": number, **msgspec.to_builtins(record)}


def read_record_line(line: bytes) -> Record | None:
    """A whole line's record; None for a kind that this version does not know. Raises `ValueError` if it is none."""
    record: Record
    try:
        record = _decoder.decode(line)
        return record
    except msgspec.MsgspecError:
        # The fast decoder refuses text with half a surrogate pair, which a caption may well hold.
        fields = json.loads(line)
        if msgspec.convert(fields, _Kind).t not in _KINDS:
            return None
        record = msgspec.convert(fields, Record)
        return record


def try_record(job: Job, number: int, terms: Terms, *, why: str, attempt_id: str, run: str, at: str) -> TryRecord:
    """Before a request goes out."""
    to = Destination(terms.endpoint, terms.model, str(terms.lane), terms.provider or msgspec.UNSET)
    about = _about(job, number, run, at)
    return TryRecord(**about, why=why, rid=attempt_id, to=to, ask=_ask(job), name=job.name or msgspec.UNSET)


def adopt_record(
    job: Job,
    images: Sequence[Image],
    *,
    attempts: int,
    why: str,
    giver: Giver,
    saved_usd: float,
    caption: str | None,
    warnings: Sequence[str],
    grounding: Grounding | None = None,
    signature: str = "",
    run: str,
    at: str,
) -> AdoptRecord:
    """`giver` is the job that had the picture; another one would have cost `saved_usd`."""
    return AdoptRecord(
        **_about(job, attempts, run, at),
        why=why,
        giver=giver,
        saved_usd=round(saved_usd, 6),
        images=_images(images),
        caption=caption,
        warnings=tuple(warnings),
        ask=_ask(job),
        search=_search(grounding),
        signature=signature or msgspec.UNSET,
    )


def copy_record(job: Job, failed: Unsuccessful, *, attempts: int, again: bool, run: str, at: str) -> CopyRecord:
    """`failed` is the last record of the job that asks for the same picture."""
    return CopyRecord(
        **_about(job, attempts, run, at),
        of=failed.job,
        code=failed.code,
        message=f"asks for the same picture as {failed.job}: {failed.message}",
        http_status=failed.http_status,
        again=again,
        ask=_ask(job),
    )


def done_record(
    job: Job,
    facts: AttemptFacts,
    images: Sequence[Image],
    *,
    caption: str | None,
    warnings: Sequence[str],
    grounding: Grounding | None = None,
    signature: str = "",
    run: str,
    at: str,
) -> DoneRecord:
    """For pictures that are durable under their names."""
    return DoneRecord(
        **_about(job, facts.number, run, at),
        **_cost(facts),
        images=_images(images),
        caption=caption,
        warnings=tuple(warnings),
        usage=dict(facts.usage.reported) if facts.usage is not None else None,
        search=_search(grounding),
        signature=signature or msgspec.UNSET,
    )


def fail_record(
    job: Job, facts: AttemptFacts, error: AttemptError, *, again: bool, kept: Sequence[str], run: str, at: str
) -> FailRecord:
    """A failure that stops the run, or makes all jobs wait, says nothing about this job: it does not settle it."""
    return FailRecord(
        **_about(job, facts.number, run, at),
        **_cost(facts),
        code=error.code,
        message=error.message,
        http_status=error.http_status,
        paid=str(error.paid),
        again=again,
        settled=not isinstance(error, (EndpointDown, RateLimited)),
        kept=tuple(kept),
    )


def unknown_record(
    job: Job, facts: AttemptFacts, error: AttemptError, *, kept: Sequence[str], run: str, at: str
) -> UnknownRecord:
    """After a request that got no usable answer."""
    return UnknownRecord(
        **_about(job, facts.number, run, at),
        **_cost(facts),
        code=error.code,
        message=error.message,
        http_status=error.http_status,
        kept=tuple(kept),
    )


def resolve_record(
    last: JobRecord, decided: Decided, *, maybe_usd: float, note: str, run: str, at: str
) -> ResolveRecord:
    """On a job whose `last` record leaves its outcome unknown, or whose picture is gone. `maybe_usd`: what was open."""
    words = {
        Decided.PAID: "charged, and no picture came",
        Decided.UNPAID: "not charged",
        Decided.FAILED: "given up",
        Decided.ACCEPTED: "its picture is gone or altered, and that is all right",
    }
    return ResolveRecord(
        at=at,
        run=run,
        job=last.job,
        spec=last.spec,
        att=last.att,
        decided=str(decided),
        note=note,
        usd=maybe_usd if decided is Decided.PAID else 0.0,
        maybe_usd=maybe_usd,
        code=f"resolved_{decided}",
        message=f"decided by a person: {words[decided]}{'; ' + note if note else ''}",
        http_status=getattr(last, "http_status", None),
    )


def reread_record(
    failed: FailRecord | UnknownRecord,
    images: Sequence[Image],
    *,
    usd: float,
    maybe_usd: float,
    caption: str | None,
    warnings: Sequence[str],
    grounding: Grounding | None = None,
    signature: str = "",
    run: str,
    at: str,
) -> RereadRecord:
    """For an answer whose attempt ended with the record `failed`.

    `usd` is what the attempt cost beyond what `failed` counted as spent: something only if that was taken for free, or
    was unknown. `maybe_usd` is what it counted as maybe spent, and is open no longer.
    """
    return RereadRecord(
        at=at,
        run=run,
        job=failed.job,
        spec=failed.spec,
        att=failed.att,
        was=failed.code,
        paid=failed.paid,
        usd=round(usd, 6),
        counted_usd=failed.usd if failed.paid == "yes" else 0.0,
        maybe_usd=round(maybe_usd, 6),
        images=_images(images),
        caption=caption,
        warnings=tuple(warnings),
        search=_search(grounding),
        signature=signature or msgspec.UNSET,
    )


def grounding_of(record: Pictured) -> Grounding | None:
    """The searches that the pictures of a record rest on."""
    if record.search is msgspec.UNSET:
        return None
    sources = (Source(kind=each.kind, title=each.title, uri=each.uri) for each in record.search.sources)
    return Grounding(queries=record.search.queries, sources=tuple(sources))


def images_of(record: Pictured) -> tuple[Image, ...]:
    """The pictures of a record, as values."""
    return tuple(
        Image(
            path=image.path,
            mime=image.mime,
            width=image.width,
            height=image.height,
            size_bytes=image.bytes,
            sha256=image.sha256,
        )
        for image in record.images
    )


def job_of(record: Asked) -> Job:
    """The job as it was asked: `as_asked` has the prompt that was sent. Its references have names and hashes, but no
    files."""
    ask = record.ask
    instead_of = "" if ask.instead_of is msgspec.UNSET else ask.instead_of
    return Job(
        id=record.job,
        prompt=ask.prompt if ask.manifest_prompt is msgspec.UNSET else ask.manifest_prompt,
        replaces=Replacement(prompt=ask.prompt, instead_of=instead_of) if instead_of else None,
        model=ask.model,
        references=tuple(
            Reference(name=ref.name, file=Path(ref.name), sha256=ref.sha256, mime="", size_bytes=0)
            for ref in ask.references
        ),
        parameters=common_parameters(ask.aspect_ratio, ask.image_size, ask.modalities)
        if ask.parameters is msgspec.UNSET
        else Parameters(ask.parameters),
        sample=ask.sample,
        name=(isinstance(record, TryRecord) and record.name) or "",
    )


def terms_of(record: Asked) -> Terms:
    """On what terms a request went out. Older ledgers know one endpoint, which they do not name."""
    to = record.to if isinstance(record, TryRecord) else None
    if to is None:
        return Terms(endpoint="", model=record.ask.model)
    provider = "" if to.provider is msgspec.UNSET else to.provider
    return Terms(endpoint=to.endpoint, model=to.model, lane=Lane(to.lane), provider=provider)


def _ask(job: Job) -> Ask:
    asked = job.as_asked.prompt
    return Ask(
        prompt=asked,
        references=tuple(ReferenceRecord(ref.name, ref.sha256) for ref in job.references),
        model=job.model,
        aspect_ratio=job.aspect_ratio,
        image_size=job.image_size,
        modalities=job.modalities,
        sample=job.sample,
        parameters=msgspec.UNSET if job.parameters.is_common else dict(job.parameters),
        instead_of=msgspec.UNSET if job.replaces is None else job.replaces.instead_of,
        manifest_prompt=msgspec.UNSET if asked == job.prompt else job.prompt,
    )


def _search(grounding: Grounding | None) -> SearchRecord | msgspec.UnsetType:
    if grounding is None:
        return msgspec.UNSET
    sources = (SourceRecord(each.kind, each.title, each.uri) for each in grounding.sources)
    return SearchRecord(grounding.queries, tuple(sources))


def _images(images: Sequence[Image]) -> tuple[ImageRecord, ...]:
    return tuple(
        ImageRecord(image.path, image.mime, image.width, image.height, image.size_bytes, image.sha256)
        for image in images
    )


def _about(job: Job, number: int, run: str, at: str) -> dict[str, Any]:
    return {"at": at, "run": run, "job": job.id, "spec": job.spec_hash(), "att": number}


def _cost(facts: AttemptFacts) -> dict[str, Any]:
    return {
        "request_id": facts.request_id,
        "seconds": round(facts.seconds, 3),
        "usd": round(facts.cost_usd, 6),
        "usd_from": facts.usd_from,
        "lane": str(facts.lane),
    }
