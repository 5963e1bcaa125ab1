"""The records of the ledger as they are written, and back again. Every field: docs/ledger.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from batch.errors import AttemptError, RateLimited, RunStopper
from batch.model import AttemptFacts, Decided, Image, Job, Lane, Reference, Terms
from batch.store.ledger import ACCEPT_VERSION, REREAD_VERSION, RESOLVE_VERSION, TAKEOVER_VERSION


def try_record(job: Job, number: int, terms: Terms, *, why: str, attempt_id: str, run: str, at: str) -> dict[str, Any]:
    """Intent: written and durable before the request goes out."""
    return {
        **_head("try", job, number, run, at),
        "why": why,
        "rid": attempt_id,
        "to": {"endpoint": terms.endpoint, "model": terms.model, "lane": str(terms.lane)},
        "ask": _ask(job),
    }


def adopt_record(
    job: Job,
    images: Sequence[Image],
    *,
    attempts: int,
    why: str,
    given_by: dict[str, Any],
    saved_usd: float,
    caption: str | None,
    warnings: Sequence[str],
    run: str,
    at: str,
) -> dict[str, Any]:
    """The job has a picture that was bought before; no request was sent. `given_by` names the job that had it."""
    return {
        "v": TAKEOVER_VERSION,
        **_head("adopt", job, attempts, run, at),
        "why": why,
        "from": given_by,
        "usd": 0.0,
        "saved_usd": round(saved_usd, 6),
        "images": [image_fields(image) for image in images],
        "caption": caption,
        "warnings": list(warnings),
        "ask": _ask(job),
    }


def copy_record(job: Job, failed: dict[str, Any], *, attempts: int, again: bool, run: str, at: str) -> dict[str, Any]:
    """The job asks for the same picture as another one, which failed; `failed` is that one's last record."""
    return {
        "v": TAKEOVER_VERSION,
        **_head("copy", job, attempts, run, at),
        "of": failed["job"],
        "usd": 0.0,
        "code": failed["code"],
        "message": f"asks for the same picture as {failed['job']}: {failed['message']}",
        "http_status": failed["http_status"],
        "paid": "no",
        "again": again,
        "settled": True,
        "ask": _ask(job),
    }


def _ask(job: Job) -> dict[str, Any]:
    """What decides the picture, in full."""
    return {
        "prompt": job.prompt,
        "references": [{"name": ref.name, "sha256": ref.sha256} for ref in job.references],
        "model": job.model,
        "aspect_ratio": job.aspect_ratio,
        "image_size": job.image_size,
        "modalities": list(job.modalities),
        "sample": job.sample,
    }


def done_record(
    job: Job,
    facts: AttemptFacts,
    images: Sequence[Image],
    *,
    caption: str | None,
    warnings: Sequence[str],
    run: str,
    at: str,
) -> dict[str, Any]:
    """The pictures are durable under their names; from this line on the job is done."""
    return {
        **_head("done", job, facts.number, run, at),
        **_cost(facts),
        "images": [image_fields(image) for image in images],
        "caption": caption,
        "warnings": list(warnings),
        "usage": dict(facts.usage) if facts.usage is not None else None,
    }


def fail_record(
    job: Job, facts: AttemptFacts, error: AttemptError, *, again: bool, kept: Sequence[str], run: str, at: str
) -> dict[str, Any]:
    """An attempt without a picture whose end is known. `kept` names files in rejected/.

    What stops the run or asks everybody to wait says nothing about the job: such an end does not settle it.
    """
    return {
        **_head("fail", job, facts.number, run, at),
        **_cost(facts),
        "code": error.code,
        "message": error.message,
        "http_status": error.http_status,
        "paid": str(error.paid),
        "again": again,
        "settled": not isinstance(error, (RunStopper, RateLimited)),
        "kept": list(kept),
    }


def unknown_record(
    job: Job, facts: AttemptFacts, error: AttemptError, *, kept: Sequence[str], run: str, at: str
) -> dict[str, Any]:
    """Sent, and no usable answer: maybe paid. `usd` is what it may have cost, `kept` names files in rejected/."""
    return {
        **_head("unk", job, facts.number, run, at),
        **_cost(facts),
        "code": error.code,
        "message": error.message,
        "http_status": error.http_status,
        "paid": "maybe",
        "kept": list(kept),
    }


def resolve_record(
    last: dict[str, Any], decided: Decided, *, maybe_usd: float, note: str, run: str, at: str
) -> dict[str, Any]:
    """A person's decision on a job whose `last` record leaves its outcome unknown, or whose picture is gone.

    `maybe_usd`: what was open.
    """
    words = {
        Decided.PAID: "charged, and no picture came",
        Decided.UNPAID: "not charged",
        Decided.FAILED: "given up",
        Decided.ACCEPTED: "its picture is gone or altered, and that is all right",
    }
    return {
        "v": ACCEPT_VERSION if decided is Decided.ACCEPTED else RESOLVE_VERSION,
        "t": "resolve",
        "at": at,
        "run": run,
        "job": last["job"],
        "spec": last["spec"],
        "att": last["att"],
        "decided": str(decided),
        "note": note,
        "usd": maybe_usd if decided is Decided.PAID else 0.0,
        "maybe_usd": maybe_usd,
        "code": f"resolved_{decided}",
        "message": f"decided by a person: {words[decided]}{'; ' + note if note else ''}",
        "http_status": last.get("http_status"),
    }


def reread_record(
    failed: dict[str, Any],
    images: Sequence[Image],
    *,
    usd: float,
    maybe_usd: float,
    caption: str | None,
    warnings: Sequence[str],
    run: str,
    at: str,
) -> dict[str, Any]:
    """A kept answer, whose attempt ended with the record `failed`, holds a picture after all. No request was sent.

    `usd` is what the attempt cost beyond what `failed` counted as spent: something only if that was taken for free, or
    was unknown. `maybe_usd` is what it counted as maybe spent, and is open no longer.
    """
    return {
        "v": REREAD_VERSION,
        "t": "reread",
        "at": at,
        "run": run,
        "job": failed["job"],
        "spec": failed["spec"],
        "att": failed["att"],
        "was": failed["code"],
        "paid": failed["paid"],
        "usd": round(usd, 6),
        "counted_usd": failed["usd"] if failed["paid"] == "yes" else 0.0,
        "maybe_usd": round(maybe_usd, 6),
        "images": [image_fields(image) for image in images],
        "caption": caption,
        "warnings": list(warnings),
    }


def image_fields(image: Image) -> dict[str, Any]:
    return {
        "path": image.path,
        "mime": image.mime,
        "width": image.width,
        "height": image.height,
        "bytes": image.size_bytes,
        "sha256": image.sha256,
    }


def images_of(record: dict[str, Any]) -> tuple[Image, ...]:
    """The pictures of a `done` or `adopt` record."""
    return tuple(
        Image(
            path=image["path"],
            mime=image["mime"],
            width=image["width"],
            height=image["height"],
            size_bytes=image["bytes"],
            sha256=image["sha256"],
        )
        for image in record["images"]
    )


def job_of(record: Mapping[str, Any]) -> Job:
    """The job as it was asked, from its `try` record. Its references have names and hashes, but no files."""
    ask = record["ask"]
    return Job(
        id=record["job"],
        prompt=ask["prompt"],
        model=ask["model"],
        references=tuple(
            Reference(name=ref["name"], file=Path(ref["name"]), sha256=ref["sha256"], mime="", size_bytes=0)
            for ref in ask["references"]
        ),
        aspect_ratio=ask["aspect_ratio"],
        image_size=ask["image_size"],
        modalities=tuple(ask["modalities"]),
        sample=ask["sample"],
    )


def terms_of(record: Mapping[str, Any]) -> Terms:
    """On what terms a `try` record's request went out. Older ledgers know one endpoint, which they do not name."""
    to = record.get("to", {"endpoint": "", "model": record["ask"]["model"], "lane": Lane.STANDARD})
    return Terms(endpoint=to["endpoint"], model=to["model"], lane=Lane(to["lane"]))


def _head(kind: str, job: Job, number: int, run: str, at: str) -> dict[str, Any]:
    return {"t": kind, "at": at, "run": run, "job": job.id, "spec": job.spec_hash(), "att": number}


def _cost(facts: AttemptFacts) -> dict[str, Any]:
    return {
        "request_id": facts.request_id,
        "seconds": round(facts.seconds, 3),
        "usd": round(facts.cost_usd, 6),
        "usd_from": facts.usd_from,
        "lane": str(facts.lane),
    }
