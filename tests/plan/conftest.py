"""Histories made as in life: from lines of a ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batch.core.errors import Refused
from batch.core.model import AttemptFacts, Image, Job
from batch.store.history import History
from batch.store.ledger import decode_line, encode_line
from batch.store.records import Record, TryRecord, done_record, fail_record, line_fields, try_record
from tests.support.fakes import job, terms_of_job

AT = "2026-01-01T00:00:00.000Z"
PICTURE = Image(path="images/x.png", mime="image/png", width=1, height=1, size_bytes=1, sha256="0" * 64)


def bought(bought_job: Job) -> list[Record]:
    """A job that has its picture."""
    facts = AttemptFacts(number=1, seconds=1.0, cost_usd=0.5)
    end = done_record(bought_job, facts, (PICTURE,), caption=None, warnings=(), run="r", at=AT)
    return [_tried(bought_job), end]


def failed(failed_job: Job, code: str = "image_safety", *, again: bool = False) -> list[Record]:
    """A job that was refused."""
    facts = AttemptFacts(number=1, seconds=1.0, cost_usd=0.25)
    end = fail_record(failed_job, facts, Refused(code, "no"), again=again, kept=(), run="r", at=AT)
    return [_tried(failed_job), end]


def _tried(tried_job: Job) -> TryRecord:
    return try_record(tried_job, 1, terms_of_job(tried_job), why="new", attempt_id="a", run="r", at=AT)


@pytest.fixture
def history() -> Callable[..., History]:
    """What is known after these records: `history(bought=[job, ...], failed=[job, ...])`, ids instead of jobs too."""

    def make(**kinds: Any) -> History:
        made = History()
        recorded: dict[str, Callable[[Job], list[Record]]] = {"bought": bought, "failed": failed}
        records: list[Record] = []
        for kind, jobs in kinds.items():
            for each in jobs:
                records += recorded[kind](job(each) if isinstance(each, str) else each)
        for n, record in enumerate(records, start=1):
            made.apply(n, decode_line(encode_line(line_fields(record, n))))
        return made

    return make
