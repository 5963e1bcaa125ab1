"""Every answer out of which Google's SDK gets a picture gives us the same bytes, with one request."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import pytest
from backports import zstd
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.end_to_end.test_whole_answers import PNG, reply, run, serving

genai = pytest.importorskip("google.genai")
types = pytest.importorskip("google.genai.types")

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


async def as_the_sdk_reads(answer: bytes, *, stream: bool) -> list[bytes]:
    """The pictures the SDK finds, thoughts left out; none if it raises anything."""
    async with serving(answer) as (url, _):
        return await asyncio.to_thread(_asked, url, stream)


def _asked(url: str, stream: bool) -> list[bytes]:
    options = types.HttpOptions(base_url=url, api_version="v1beta", timeout=10_000)
    with genai.Client(api_key="SIMULATED", http_options=options) as client:
        call = {"model": "gemini-3.1-flash-image", "contents": ["a mug"]}
        try:
            if stream:
                responses = list(client.models.generate_content_stream(**call))
            else:
                responses = [client.models.generate_content(**call)]
            parts = [part for response in responses for part in response.parts or ()]
        except Exception:  # noqa: BLE001  (whatever it is: the SDK does not read this)
            return []
    return [part.inline_data.data for part in parts if part.inline_data and part.inline_data.data and not part.thought]


BASE64 = base64.b64encode(PNG).decode()
SPELLINGS = [
    BASE64,
    base64.urlsafe_b64encode(PNG).decode(),
    base64.urlsafe_b64encode(PNG).decode().rstrip("="),
    BASE64 + "\n",
    "\n".join(BASE64[start : start + 76] for start in range(0, len(BASE64), 76)),
]
names = st.sampled_from([("inlineData", "mimeType"), ("inline_data", "mime_type"), ("inlineData", "mime_type")])
mimes = st.sampled_from(["image/png", "image/jpeg", "IMAGE/PNG", "application/octet-stream", "", None])
captions = st.sampled_from(
    ["A mug.", "", 'A "mug"', "\u2028\x7f é 杯 \U0001f600", "https://example.com/x.png", "data:", "\\"]
)


@st.composite
def pictures(draw: st.DrawFn) -> dict[str, Any]:
    outer, inner = draw(names)
    more: dict[str, Any] = draw(
        st.sampled_from([{}, {"thoughtSignature": "AAAA"}, {"thought": False}, {"thought": None}, {"text": None}])
    )
    return {**more, outer: {inner: draw(mimes), "data": draw(st.sampled_from(SPELLINGS))}}


texts = st.builds(lambda text: {"text": text}, captions)
thoughts = st.builds(lambda text: {"text": text, "thought": True}, captions)
finishes = st.sampled_from(
    ["STOP", "MAX_TOKENS", "FINISH_REASON_UNSPECIFIED", "SOMETHING_NEW", None, "OTHER", "LANGUAGE"]
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    around = st.lists(st.one_of(texts, thoughts), max_size=2)
    parts = [*draw(around), draw(pictures()), *draw(around)]
    candidate: dict[str, Any] = {"content": {"parts": parts, **draw(st.sampled_from([{}, {"role": "model"}]))}}
    finish = draw(finishes)
    if finish is not None:
        candidate[draw(st.sampled_from(["finishReason", "finish_reason"]))] = finish
    more: dict[str, Any] = draw(
        st.sampled_from([{}, {"usageMetadata": {"totalTokenCount": 9}}, {"modelVersion": "x", "extra": [None]}])
    )
    return {"candidates": [candidate], **more, "promptFeedback": None}


def spelled(message: Any, ascii_only: bool, indent: int | None, slashes: bool) -> bytes:
    text = json.dumps(message, ensure_ascii=ascii_only, indent=indent)
    return (text.replace("/", "\\/") if slashes else text).encode()


bodies = st.builds(spelled, messages(), st.booleans(), st.sampled_from([None, 1]), st.booleans())
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda body: body,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd.compress,
    "identity": lambda body: body,
    "x": lambda body: body,
}
STATUSES = [b"HTTP/1.1 %d X" % code for code in (200, 201, 202, 203, 206, 299)] + [b"HTTP/1.0 200 OK", b"HTTP/1.1 200"]
HEADERS = [
    b"Content-Type: text/html",
    b"X: a\xe9",
    b"X-Long: " + b"a" * 50_000,
    b"Connection: close",
    b"Content-Type: ",
]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    body = (
        draw(st.sampled_from([b"", b"\xef\xbb\xbf", b"\n \t"])) + draw(bodies) + draw(st.sampled_from([b"", b"\n\n"]))
    )
    packing = draw(st.sampled_from(list(PACKINGS)))
    packed = PACKINGS[packing](body)
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=2, unique=True))
    headers += [b"Content-Encoding: " + packing.encode()] if packing else []
    framing = draw(st.sampled_from(["length", "none", "chunks"]))
    if framing == "chunks":
        cut = draw(st.integers(1, len(packed) - 1))
        chunks = b"%x\r\n" % cut + packed[:cut] + b"\r\n%x\r\n" % (len(packed) - cut) + packed[cut:] + b"\r\n0\r\n\r\n"
        return reply(*headers, b"Transfer-Encoding: chunked", body=chunks, length=None)
    return reply(
        *headers, body=packed, status=draw(st.sampled_from(STATUSES)), length=None if framing == "none" else -1
    )


@given(answer=answers())
@settings(
    max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_what_the_sdk_reads_is_read(answer: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fields, spellings, labels and framings at random: if the SDK has a picture, so have we."""
    asyncio.run(_compared(answer, tmp_path_factory.mktemp("answer"), stream=False))


@given(
    first=texts,
    message=messages(),
    ending=st.sampled_from([b"", b"data: [DONE]\n\n", b": end\n\n"]),
    line=st.sampled_from([b"\n", b"\r\n"]),
)
@settings(
    max_examples=15, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
def test_what_the_sdk_reads_of_a_stream_is_read(
    first: Any, message: Any, ending: bytes, line: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Server-sent events, as the SDK asks for them and relays send them unasked."""
    events = [{"candidates": [{"content": {"parts": [first]}}]}, message]
    body = b"".join(b"data: " + json.dumps(event).encode() + line * 2 for event in events) + ending
    asyncio.run(
        _compared(reply(b"Content-Type: text/event-stream", body=body), tmp_path_factory.mktemp("a"), stream=True)
    )


async def _compared(answer: bytes, folder: Path, *, stream: bool) -> None:
    wanted = await as_the_sdk_reads(answer, stream=stream)
    summary, requests = await run(answer, folder)
    if wanted:
        found = [file.read_bytes() for file in (folder / "out/images").iterdir()]
        assert (summary.done, requests, found) == (1, 1, wanted)
