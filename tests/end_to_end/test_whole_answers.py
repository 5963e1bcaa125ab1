"""Answers that arrived whole are kept by the whole command, whatever their status, head, labels and framing."""

from __future__ import annotations

import asyncio
import base64
import bz2
import gzip
import io
import json
import lzma
import random
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd
from PIL import Image

import batch

pytestmark = pytest.mark.timeout(60)

Run = Callable[[bytes], Awaitable[dict[str, Any]]]


KEY = "a-key-of-tests"


def picture() -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (512, 512), random.Random(1).randbytes(512 * 512 * 3)).resize((96, 96)).save(out, "PNG")
    return out.getvalue()


PNG = picture()
PARTS = [{"text": "A mug"}, {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}}]
BODY = json.dumps({"candidates": [{"content": {"parts": PARTS}, "finishReason": "STOP"}]}).encode()


def reply(*headers: bytes, body: bytes = BODY, status: bytes = b"HTTP/1.1 200 OK", length: int | None = -1) -> bytes:
    told = [] if length is None else [b"Content-Length: %d" % (len(body) if length < 0 else length)]
    return b"\r\n".join([status, *headers, *told]) + b"\r\n\r\n" + body


def labelled(label: bytes, body: bytes = BODY) -> bytes:
    return reply(b"Content-Encoding: " + label, body=body)


CHUNKED = b"%x\r\n" % 1000 + BODY[:1000] + b"\r\n%x;a=b\r\n" % (len(BODY) - 1000) + BODY[1000:] + b"\r\n0\r\n\r\n"
WHOLE = {
    **{f"status {code}": reply(status=b"HTTP/1.1 %d X" % code) for code in (200, 201, 202, 203, 206, 226, 299)},
    **{
        f"labelled {label!r}": labelled(label)
        for label in (b"UTF-8", b"none", b"gzip", b"br", b"zstd", b"deflate", b"x")
    },
    "gzip": labelled(b"gzip", gzip.compress(BODY)),
    "gzip without a label": reply(body=gzip.compress(BODY)),
    "gzip twice": labelled(b"gzip", gzip.compress(gzip.compress(BODY))),
    "gzip in two members": labelled(b"gzip", gzip.compress(BODY[:99]) + gzip.compress(BODY[99:])),
    "gzip, identity": labelled(b"gzip, identity", gzip.compress(BODY)),
    "gzip that is deflate": labelled(b"gzip", zlib.compress(BODY)),
    "deflate without a head": labelled(b"deflate", zlib.compress(BODY, wbits=-15)),
    "brotli": labelled(b"br", brotli.compress(BODY)),
    "zstd": labelled(b"zstd", zstd.compress(BODY)),
    "zstd without a label": reply(body=zstd.compress(BODY)),
    "zstd in two frames": reply(body=zstd.compress(BODY[:99]) + zstd.compress(BODY[99:])),
    "brotli in gzip": labelled(b"br, gzip", gzip.compress(brotli.compress(BODY))),
    "bzip2": reply(body=bz2.compress(BODY)),
    "xz": reply(body=lzma.compress(BODY)),
    "brotli with ten megabytes of blanks": labelled(b"br", brotli.compress(b" " * 10**7 + BODY, quality=1)),
    "zstd with ten megabytes of blanks": labelled(b"zstd", zstd.compress(b" " * 10**7 + BODY)),
    "gzip without its end": labelled(b"gzip", gzip.compress(BODY)[:-8]),
    "gzip with ten megabytes of blanks": labelled(b"gzip", gzip.compress(BODY.replace(b":", b":" + b" " * 10**7, 1))),
    "UTF-16": reply(body=BODY.decode().encode("utf-16")),
    "UTF-16 without a mark": reply(body=BODY.decode().encode("utf-16-le")),
    "UTF-32": reply(body=BODY.decode().encode("utf-32")),
    "UTF-8 with a mark": reply(body=b"\xef\xbb\xbf" + BODY),
    "chunk sizes left in": reply(body=CHUNKED),
    "length too small": reply(length=1200),
    "length in characters": reply(length=3),
    "length too large": reply(length=len(BODY) + 500),
    "length and chunks": reply(b"Transfer-Encoding: chunked", body=CHUNKED, length=len(BODY)),
    "chunks that are none": reply(b"Transfer-Encoding: chunked"),
    "chunks without an end": reply(b"Transfer-Encoding: chunked", body=CHUNKED[:-5], length=None),
    "two lengths": reply(b"Content-Length: 9"),
    "no length": reply(length=None),
    "without its last brackets": reply(body=BODY[: BODY.index(b"}]", 100)], length=None),
    "cut behind the picture": reply(body=BODY[:-20], length=len(BODY)),
    "a header of 100 KB": reply(b"X-Policy: " + b"a" * 100_000),
    "headers of 300 KB": reply(*[b"X-%d: " % number + b"a" * 1000 for number in range(300)]),
    "thousands of headers": reply(*[b"X-%d: y" % number for number in range(5000)]),
    "a header without a colon": reply(b"Warning this is PHP"),
    "a header without a name": reply(b": x"),
    "an odd name": reply(b"X (odd)@: y"),
    "a NUL and more": reply(b"X: a\0b\x01\x7f", b"Y: \xff\xe9"),
    "folded": reply(b"X: a\r\n\tb\r\n  c"),
    "space before the colon": reply(b"X : y"),
    "two of each": reply(b"Content-Type: text/html", b"Content-Type: image/png", b"Set-Cookie: a", b"Set-Cookie: b"),
    "bare line ends": reply(b"X: y").replace(b"\r\n", b"\n"),
    "another version": reply(status=b"HTTP/1.2 200 OK"),
    "no reason": reply(status=b"HTTP/2 200"),
    "a word for the status": reply(status=b"ICY 200 OK"),
}


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that sends the same bytes to every request; its address, and the requests it got."""
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        requests.append(await reader.readexactly(int(length.split(b":")[1])))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


async def run(answer: bytes, folder: Path) -> tuple[batch.RunSummary, int]:
    """One job bought from a server with this answer: how the run ended, and how many requests it took."""
    manifest = folder / "job.yaml"
    async with serving(answer) as (url, requests):
        manifest.write_text(
            f"provider: {{profile: anyfast, base_url: '{url}'}}\n"
            "retry: {unknown: hold}\njobs: [{id: a, prompt: mug}]\n"
        )
        options: dict[str, Any] = {"output": folder / "out", "environment": {"ANYFAST_API_KEY": KEY}}
        summary = await asyncio.to_thread(batch.run_sync, manifest, **options)
        return summary, len(requests)


@pytest.mark.parametrize("what", WHOLE)
async def test_a_whole_answer_is_kept_whatever_it_is_labelled(what: str, tmp_path: Path) -> None:
    """One request, and the picture is on the disk to the byte."""
    summary, requests = await run(WHOLE[what], tmp_path)
    assert (summary.done, requests) == (1, 1)
    assert (tmp_path / "out/images/a.png").read_bytes() == PNG


def flawed(caption: bytes, body: bytes = BODY) -> bytes:
    """The answer with a caption in it that nobody escaped."""
    return reply(body=body.replace(b"A mug", caption))


def small() -> bytes:
    """A picture of so few bytes that it stays in memory."""
    out = io.BytesIO()
    Image.open(io.BytesIO(PNG)).resize((20, 20)).save(out, "PNG")
    return out.getvalue()


PRINTED = repr({"candidates": [{"content": {"parts": [{"text": "It's a mug"}, PARTS[1]]}}]}).encode()
FLAWED = {
    "one quote": flawed(b'A 5" mug'),
    "a quote and a comma": flawed(b'5", great'),
    "three quotes": flawed(b'a "b" c" d'),
    "only a quote": flawed(b'"'),
    "the end of an object": flawed(b'A 5"} mug'),
    "what reads as a name": flawed(b'x" : y'),
    "no opening quote": reply(body=BODY.replace(b'"A mug"', b'A mug"')),
    "printed by Python": reply(body=PRINTED),
    "printed by Python, no length": reply(body=PRINTED, length=None),
    "base64 in quotes": reply(body=BODY.replace(b'"iVBO', b'"\\"iVBO').replace(b'"}}]', b'\\""}}]')),
    "base64 and nothing else": reply(body=base64.b64encode(PNG)),
    "a data URL and nothing else": reply(body=b"data:image/png;base64," + base64.b64encode(PNG)),
    "the picture itself": reply(b"Content-Type: image/png", body=PNG),
    "the picture itself, no length": reply(b"Content-Type: image/png", body=PNG, length=None),
    "ten megabytes of blanks": reply(body=b" " * 10_000_000 + BODY),
}


@pytest.mark.parametrize("what", FLAWED)
@pytest.mark.parametrize("picture", [PNG, small()], ids=["large", "small"])
async def test_a_picture_is_found_where_the_json_is_none(what: str, picture: bytes, tmp_path: Path) -> None:
    """However large it is: quotes that nobody escaped, another language's notation, no JSON at all."""
    answer = FLAWED[what]
    if picture != PNG:
        head, _, body = answer.partition(b"\r\n\r\n")
        body = body.replace(PNG, picture).replace(base64.b64encode(PNG), base64.b64encode(picture))
        length = None if b"Content-Length" not in head else -1
        answer = reply(*head.split(b"\r\n")[1 : None if length is None else -1], body=body, length=length)
    summary, requests = await run(answer, tmp_path)
    assert (summary.done, requests) == (1, 1)
    assert (tmp_path / "out/images/a.png").read_bytes() == picture


@pytest.mark.parametrize("length", [None, len(PNG)])
async def test_half_of_a_bare_picture_is_unknown(length: int | None, tmp_path: Path) -> None:
    """A body that is a picture is whole if the picture is."""
    summary, _ = await run(reply(body=PNG[:-3000], length=length), tmp_path)
    assert (summary.done, summary.unknown) == (0, 1)
    assert any(file.read_bytes() == PNG[:-3000] for file in (tmp_path / "out/rejected").iterdir())


UNREADABLE = {
    "damaged brotli": labelled(b"br", brotli.compress(BODY)[:40] + random.Random(2).randbytes(5000)),
    "damaged zstd": reply(body=b"\x28\xb5\x2f\xfd" + random.Random(3).randbytes(5000)),
    "lz4": reply(body=b"\x04\x22\x4d\x18" + random.Random(3).randbytes(5000)),
    "compress": labelled(b"compress", b"\x1f\x9d\x90" + random.Random(3).randbytes(5000)),
    "a bomb of gzip": labelled(b"gzip", gzip.compress(b'{"a":"' + b"x" * 70_000_000 + b'"}')),
    "a bomb of brotli": labelled(b"br", brotli.compress(b'{"a":"' + b"x" * 70_000_000 + b'"}', quality=1)),
    "damaged gzip": labelled(b"gzip", gzip.compress(BODY)[:2000] + bytes(500)),
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_body_that_cannot_be_unpacked_is_kept_as_it_came(what: str, tmp_path: Path) -> None:
    """It was paid for: it is in rejected/, where a later version may read it, and the message says why."""
    answer = UNREADABLE[what]
    summary, _ = await run(answer, tmp_path)
    assert summary.failed == 1
    body = answer.partition(b"\r\n\r\n")[2]
    assert any(file.read_bytes() == body for file in (tmp_path / "out/rejected").iterdir())
    assert "cannot be read: it" in (tmp_path / "out/ledger.jsonl").read_text()


PACKINGS: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"br": brotli.compress,
    b"zstd": zstd.compress,
}


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "damaged"])
@pytest.mark.parametrize("label", PACKINGS)
async def test_a_packed_answer_keeps_no_key(label: bytes, is_whole: bool, tmp_path: Path) -> None:
    """An echo of the key is masked where it was unpacked, and the packed bytes that hold it are not kept."""
    key = "".join(f"\\u{ord(letter):04x}" for letter in KEY)
    noise = base64.b64encode(random.Random(5).randbytes(200_000))
    packed = PACKINGS[label](b'{"text": "with ' + key.encode() + b'", "more": "' + noise + b'"}')
    summary, _ = await run(labelled(label, packed if is_whole else packed[:-50_000]), tmp_path)
    assert summary.failed == 1
    kept = [file.read_bytes() for file in (tmp_path / "out/rejected").iterdir()]
    assert any(b"with ***" in data for data in kept)
    assert not any(packed[:1000] in data for data in kept)


async def test_a_picture_that_was_cut_is_no_answer(tmp_path: Path) -> None:
    """Half of a picture's string leaves open what was bought, as any answer that breaks off."""
    summary, requests = await run(reply(body=BODY[:-400], length=len(BODY)), tmp_path)
    assert (summary.done, summary.unknown, requests) == (0, 1, 1)


async def test_a_head_that_is_refused_says_what_was_wrong(tmp_path: Path) -> None:
    """Beyond what curl takes, the message names the size."""
    await run(reply(b"X: " + b"a" * 600_000), tmp_path)
    assert "its headers are larger than 400 KB" in (tmp_path / "out/ledger.jsonl").read_text()
