"""Answers that break off: what came is kept, and is a picture only if all of the picture came."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.core.results import Decided
from batch.report.money import spend_of
from batch.runner.connections import read_again
from batch.runner.reread import Reread
from batch.runner.resolve import resolve
from batch.store.history import replay
from tests.end_to_end.test_whole_answers import PARTS, PNG, reply, run
from tests.runner.test_reread import HOLDING, hold
from tests.support.fakes import QuickClock

pytestmark = pytest.mark.timeout(120)

BASE64 = base64.b64encode(PNG).decode()
PRICE = 0.067
ANSWER = {"candidates": [{"content": {"parts": PARTS}, "finishReason": "STOP"}]}


def as_format(name: str) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(PNG)).save(out, name)
    return out.getvalue()


def holding(data: bytes) -> bytes:
    parts = [PARTS[0], {"inlineData": {"data": base64.b64encode(data).decode()}}, {"text": "and more words"}]
    return json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}).encode()


def stream(*documents: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(document).encode() + b"\n\n" for document in documents)


def deltas() -> bytes:
    text = f"![cup](data:image/png;base64,{BASE64})"
    pieces = [text[start : start + 3000] for start in range(0, len(text), 3000)]
    return stream(*({"choices": [{"delta": {"content": piece}}]} for piece in pieces)) + b"data: [DONE]\n\n"


def parts_apart() -> bytes:
    return stream(*({"candidates": [{"content": {"parts": [part]}}]} for part in (PARTS[0], PARTS[1])))


SHAPES: dict[str, bytes] = {
    "gemini": json.dumps(ANSWER).encode(),
    "list": json.dumps([ANSWER]).encode(),
    "images": json.dumps({"created": 1, "data": [{"b64_json": BASE64}], "usage": {}}).encode(),
    "data URL": json.dumps({"choices": [{"message": {"content": f"A data:image/png;base64,{BASE64} !"}}]}).encode(),
    "text of JSON": json.dumps({"response": json.dumps(ANSWER)}).encode(),
    "stream": parts_apart(),
    "deltas": deltas(),
    "jpeg": holding(as_format("JPEG")),
    "webp": holding(as_format("WEBP")),
    "gif": holding(as_format("GIF")),
    "bmp": holding(as_format("BMP")),
}


def with_length(body: bytes, end: int) -> bytes:
    return reply(body=body[:end], length=len(body))


def without_length(body: bytes, end: int) -> bytes:
    return reply(body=body[:end], length=None)


def in_chunks(body: bytes, end: int) -> bytes:
    chunk = b"%x\r\n" % len(body) + body[:end]
    return reply(b"Transfer-Encoding: chunked", body=chunk, length=None)


CUTS: tuple[Callable[[bytes, int], bytes], ...] = (with_length, without_length, in_chunks)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_an_answer_cut_anywhere_is_the_whole_picture_or_unknown(
    shape: str, cut: Callable[[bytes, int], bytes], tmp_path: Path
) -> None:
    """One request; never a failure that counts as charged, never a part of a picture, and never nothing kept."""
    body = SHAPES[shape]
    whole, _ = await run(reply(body=body), folder(tmp_path, "whole"))
    assert whole.done == 1
    picture = (next((tmp_path / "whole/out/images").iterdir())).read_bytes()
    for end in sorted({*(len(body) * step // 5 for step in range(1, 5)), len(body) - 2, len(body) - 1}):
        place = folder(tmp_path, str(end))
        summary, requests = await run(cut(body, end), place)
        assert (summary.done + summary.unknown, requests) == (1, 1), end
        found = [file.read_bytes() for file in (place / "out/images").iterdir()]
        assert found == ([picture] if summary.done else []), end
        assert bool(summary.unknown) == bool([*(place / "out/rejected").iterdir()]), end


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


async def test_what_came_of_a_cut_answer_is_kept_and_named(tmp_path: Path) -> None:
    """The bytes of the picture that came, in rejected/, named by the ledger's line."""
    body = SHAPES["gemini"]
    await run(with_length(body, len(body) - 4000), tmp_path)
    lines = (tmp_path / "out/ledger.jsonl").read_text().splitlines()
    (line,) = [json.loads(line) for line in lines if '"t":"unk"' in line]
    assert sorted(line["kept"]) == sorted(file.name for file in (tmp_path / "out/rejected").iterdir())
    (part,) = [name for name in line["kept"] if not name.endswith(".answer")]
    kept = (tmp_path / "out/rejected" / part).read_bytes()
    assert PNG.startswith(kept)
    assert len(kept) > 10_000


async def reread(output: Path) -> list[Reread]:
    found: list[Reread] = []
    await read_again(output, base_url=None, dry_run=False, told=found.append)
    return found


@pytest.mark.parametrize("decided", [None, Decided.UNPAID, Decided.PAID])
async def test_a_picture_found_in_a_cut_answer_later_is_counted_once(decided: Decided | None, tmp_path: Path) -> None:
    """Whatever was decided about the attempt: it bought a picture, its price is spent, and nothing of it is open."""
    body = SHAPES["gemini"]
    await run(with_length(body, 4000), tmp_path)
    output = tmp_path / "out"
    if decided is not None:
        await resolve(output, ["a"], decided, clock=QuickClock(), note="", told=lambda job_id, attempts: None)
    hold(output, HOLDING, "a")
    (found,) = await reread(output)
    assert (found.found, found.code) == ("done", "cut")
    history, _ = replay(output)
    spent = spend_of(history)
    assert (spent.done, spent.unknown, spent.rejected, spent.failed, spent.pictures) == (PRICE, 0.0, 0.0, 0.0, 1)


async def test_a_cut_answer_is_still_cut_when_it_is_read_again(tmp_path: Path) -> None:
    """Half of a picture is none, today as then."""
    body = SHAPES["gemini"]
    await run(with_length(body, len(body) - 4000), tmp_path)
    (found,) = await reread(tmp_path / "out")
    assert found.found == "nothing"
    assert found.message.startswith("cut: sent, but no whole answer came")


PAGES = {
    "a web page": b"<!doctype html><title>x</title>",
    "a refusal": b'{"error": {"code": 401, "message": "Invalid token"}}',
    "a refusal in a stream": b'data: {"error": {"code": 401, "message": "Invalid token"}}\n\n',
}


@pytest.mark.parametrize("page", PAGES)
async def test_a_whole_body_without_a_length_means_what_it_says(page: str, tmp_path: Path) -> None:
    """Only what ends in the middle is cut."""
    summary, requests = await run(reply(body=PAGES[page], length=None), tmp_path)
    assert (summary.unknown, summary.done, requests) == (0, 0, 1)
    assert int(summary.exit) in (76, 77)
