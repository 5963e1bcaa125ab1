"""Jobs, answers and an open store, with real files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw

from batch.core.clock import SystemClock
from batch.core.model import AttemptFacts, Job
from batch.core.usage import Usage
from batch.providers.base import Answer, Blob, Picture, Received
from batch.store.folder import output_folder
from batch.store.ledger import encode_line
from batch.store.records import (
    DoneRecord,
    FailRecord,
    Record,
    TryRecord,
    UnknownRecord,
    done_record,
    fail_record,
    line_fields,
    try_record,
    unknown_record,
)
from batch.store.store import Store
from tests.support.fakes import terms_of_job
from tests.support.parameters import job_fields


def make_job(job_id: str = "shirt", prompt: str = "a red shirt", **fields: Any) -> Job:
    asked = {"id": job_id, "prompt": prompt, "model": "gemini-3.1-flash-image", "image_size": "512", **fields}
    return Job(**job_fields(asked))


def make_facts(number: int = 1, usd: float = 0.045) -> AttemptFacts:
    return AttemptFacts(
        number=number, seconds=1.5, cost_usd=usd, request_id="r-1", usage=Usage(reported={"totalTokenCount": 7})
    )


def make_picture(kind: str = "PNG", size: tuple[int, int] = (512, 512), color: str = "navy", **options: Any) -> bytes:
    out = io.BytesIO()
    picture = Image.new("RGB", size, color)
    ImageDraw.Draw(picture).rectangle((0, 0, size[0] // 3, size[1] // 2), fill="white")
    picture.save(out, kind, **options)
    return out.getvalue()


def png_chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def receive(spool: Any, *pictures: bytes, body: bytes = b"{}") -> tuple[Received, Answer]:
    """An answer with these pictures, arrived and sealed."""
    blobs = []
    for data in pictures:
        writer = spool.new_blob()
        writer.write(data)
        writer.close()
        blobs.append(Blob(file=writer.file, size_bytes=len(data)))
    received = Received(status=200, headers={"x": "y"}, body=body, blobs=tuple(blobs), seconds=1.0)
    spool.seal(received)
    answer = Answer(pictures=tuple(Picture(blob=blob) for blob in blobs), caption="so it is")
    return received, answer


def numbered(record: Record | dict[str, Any], n: int) -> bytes:
    """A line, of a record or of the fields of one that this version does not know."""
    return encode_line({"v": 1, "n": n, **record} if isinstance(record, dict) else line_fields(record, n))


class LedgerText:
    """Writes a ledger line by line."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.jsonl"
        self.n = 0

    def line(self, record: Record | dict[str, Any]) -> bytes:
        self.n += 1
        return numbered(record, self.n)

    def write(self, *records: Record | dict[str, Any]) -> bytes:
        data = b"".join(self.line(record) for record in records)
        with open(self.path, "ab") as file:
            file.write(data)
        return data


def tried(job: Job, number: int = 1, why: str = "new") -> TryRecord:
    attempt_id = f"run.{job.id}.{number}"
    at = "2026-01-01T00:00:00.000Z"
    return try_record(job, number, terms_of_job(job), why=why, attempt_id=attempt_id, run="run", at=at)


def done(job: Job, number: int = 1, images: Any = (), caption: str | None = "so it is") -> DoneRecord:
    return done_record(
        job, make_facts(number), images, caption=caption, warnings=[], run="run", at="2026-01-01T00:00:01.000Z"
    )


def failed(job: Job, error: Any, number: int = 1, *, again: bool = False, usd: float = 0.0) -> FailRecord:
    return fail_record(
        job, make_facts(number, usd), error, again=again, kept=[], run="run", at="2026-01-01T00:00:01.000Z"
    )


def unknown(job: Job, error: Any, number: int = 1) -> UnknownRecord:
    return unknown_record(job, make_facts(number), error, kept=[], run="run", at="2026-01-01T00:00:01.000Z")


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers, for test modules that cannot import this one."""
    return SimpleNamespace(
        job=make_job,
        facts=make_facts,
        picture=make_picture,
        chunk=png_chunk,
        receive=receive,
        tried=tried,
        done=done,
        failed=failed,
        unknown=unknown,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerText:
    return LedgerText(tmp_path)


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Opens the store in tmp_path/out; `close` it by the stack that comes along."""
    async with AsyncExitStack() as everything:

        async def start(**options: Any) -> tuple[Store, AsyncExitStack]:
            stack = await everything.enter_async_context(AsyncExitStack())
            folder = stack.enter_context(output_folder(tmp_path / "out"))
            store = await stack.enter_async_context(folder.open("run-1", SystemClock(), **options))
            return store, stack

        yield start
