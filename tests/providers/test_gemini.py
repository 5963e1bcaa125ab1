"""The provider as a whole: what it sends is what the official SDK sends, and what it keeps is what came."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.core.errors import EndpointDown, NotSent, OutcomeUnknown, Refused, Unusable
from batch.core.lane import Lane
from batch.core.settings import Auth, Timeouts
from batch.providers.gemini import build_request
from batch.providers.references.references import EncodedReference
from tests.support.fakes import reference

PICTURE = b"\x89PNG picture " * 4000


def picture(format_name: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (6, 4)) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format_name)
    return out.getvalue()


# ---- what is sent -----------------------------------------------------------------------------------------


def one_spelling(value: Any) -> Any:
    """Names in camelCase, whatever mixture they came in."""
    if isinstance(value, dict):
        return {re.sub("_(.)", lambda m: m[1].upper(), name): one_spelling(item) for name, item in value.items()}
    return [one_spelling(item) for item in value] if isinstance(value, list) else value


def body_of(request: bytes) -> Any:
    return one_spelling(json.loads(request.partition(b"\r\n\r\n")[2]))


CALLS: dict[str, dict[str, Any]] = {
    "text": {"modalities": ("TEXT", "IMAGE")},
    "picture only": {"modalities": ("IMAGE",), "image_size": "4K"},
    "ratio and size": {"aspect_ratio": "16:9", "image_size": "2K"},
    "a prompt of all kinds": {"prompt": 'a "quoted" \\ 山\n\x07 é \U0001f600'},
    "references": {"references": 2, "aspect_ratio": "1:1"},
    "flex": {"lane": Lane.FLEX},
}


def ask_the_sdk(url: str, job: Any, lane: Lane) -> None:
    """The same request by the official SDK's blocking client."""
    genai = pytest.importorskip("google.genai")
    types = genai.types
    parts = [
        types.Part.from_bytes(data=reference.file.read_bytes(), mime_type=reference.mime)
        for reference in job.references
    ]
    options = types.HttpOptions(base_url=url, api_version="v1beta", timeout=10_000)
    with genai.Client(api_key="K", http_options=options) as client:
        client.models.generate_content(
            model=job.model,
            contents=[job.prompt, *parts],
            config=types.GenerateContentConfig(
                response_modalities=list(job.modalities),
                image_config=types.ImageConfig(aspect_ratio=job.aspect_ratio, image_size=job.image_size),
                **({} if lane is Lane.STANDARD else {"service_tier": lane.value}),
            ),
        )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("call", "profile"),
    [(call, profile) for call in CALLS for profile in ("anyfast", "google") if (call, profile) != ("flex", "anyfast")],
)
async def test_the_request_is_the_official_sdks(
    call: str,
    profile: str,
    raw_server: Any,
    provider: Any,
    tools: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the names are brought to one spelling, both clients send the same JSON to the same path."""
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    facts = dict(CALLS[call])
    lane = facts.pop("lane", Lane.STANDARD)
    widths = range(1, 1 + facts.get("references", 0))
    facts["references"] = tuple(reference(tmp_path, picture(size=(w, 4)), name=str(w)) for w in widths)
    job = tools.job(**facts)
    peer = await raw_server(tools.answer(b"{}", "200 OK", "Content-Type: application/json"))
    speaker = provider(peer.url, profile=profile)
    await speaker.send(await speaker.prepare(job, lane), "run.a.1", tools.MemorySpool())
    await asyncio.to_thread(ask_the_sdk, peer.url, job, lane)
    ours, theirs = peer.requests
    assert body_of(ours) == body_of(theirs)
    assert ours.partition(b" HTTP/")[0].partition(b"?")[0] == theirs.partition(b" HTTP/")[0]
    assert b"\r\nx-client-request-id: run.a.1\r\n" in ours.lower()


def test_the_standard_lane_is_not_named_and_flex_is(tools: Any) -> None:
    """What is sent without a lane is to the byte what it was before there were any; flex adds one field, at the end."""
    large = EncodedReference(mime="image/png", base64=b"QUJD" * 100_000)
    for references in ((), (large,)):
        standard = build_request(tools.job(), references, snake_case=False)
        flex = build_request(tools.job(), references, snake_case=False, lane=Lane.FLEX)
        picture = b"".join(b',{"inlineData":{"mimeType":"image/png","data":"%s"}}' % each.base64 for each in references)
        assert b"".join(standard.pieces) == (
            b'{"contents":[{"role":"user","parts":[{"text":"a mountain"}' + picture + b"]}],"
            b'"generationConfig":{"responseModalities":["IMAGE"],"imageConfig":{"imageSize":"512"}}}'
        )
        assert b"".join(flex.pieces) == b"".join(standard.pieces)[:-1] + b',"service_tier":"flex"}'
        assert (standard.lane, flex.lane) == (Lane.STANDARD, Lane.FLEX)


async def test_a_lane_the_endpoint_does_not_have_is_never_asked_for(provider: Any, tools: Any) -> None:
    """A relay would serve such a request at full price without a word."""
    with pytest.raises(ValueError, match="no lane flex"):
        await provider("http://127.0.0.1:1", profile="anyfast").prepare(tools.job(), Lane.FLEX)


async def test_our_own_timeouts_do_not_cut_a_flex_request(raw_server: Any, provider: Any, tools: Any) -> None:
    """It may take a quarter of an hour; cut before that, it would be one that may have been paid."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tools.read_request(reader)
        await asyncio.sleep(0.6)
        writer.write(whole_answer(tools, "X-Gemini-Service-Tier: flex"))
        await writer.drain()

    peer = await raw_server(slow)
    impatient = Timeouts(read_seconds=0.2, total_seconds=0.3)
    speaker = provider(peer.url, profile="google", timeouts=impatient)
    with pytest.raises(OutcomeUnknown):
        await speaker.send(await speaker.prepare(tools.job()), "run.a.1", tools.MemorySpool())
    received = await speaker.send(await speaker.prepare(tools.job(), Lane.FLEX), "run.a.2", tools.MemorySpool())
    assert speaker.interpret(received).lane is Lane.FLEX


def test_anyfast_gets_the_spelling_it_documents(tools: Any) -> None:
    """inline_data and mime_type in its requests; Google's are camelCase."""

    encoded = [EncodedReference(mime="image/png", base64=b"QUJD")]
    snake = b"".join(build_request(tools.job(), encoded, snake_case=True).pieces)
    camel = b"".join(build_request(tools.job(), encoded, snake_case=False).pieces)
    assert b'{"inline_data":{"mime_type":"image/png","data":"QUJD"}}' in snake
    assert b'{"inlineData":{"mimeType":"image/png","data":"QUJD"}}' in camel


TOLD = [
    ({"x-gemini-service-tier": "flex"}, {}, Lane.FLEX),
    ({"x-gemini-service-tier": " Standard "}, {}, Lane.STANDARD),
    ({}, {}, None),
    ({"x-gemini-service-tier": "priority"}, {}, None),
    ({"x-gemini-service-tier": ""}, {"serviceTier": "FLEX"}, Lane.FLEX),
    ({}, {"service_tier": "standard"}, Lane.STANDARD),
    ({"x-gemini-service-tier": "standard"}, {"serviceTier": "flex"}, Lane.STANDARD),
    ({}, {"serviceTier": ["flex"]}, None),
]


@pytest.mark.parametrize(("headers", "usage", "lane"), TOLD)
@pytest.mark.parametrize("finish", ["STOP", "SAFETY", "NO_IMAGE"])
async def test_the_answer_says_which_lane_served_it(
    finish: str, headers: dict[str, str], usage: dict[str, Any], lane: Lane | None, provider: Any, tools: Any
) -> None:
    """With a picture or without, for both cost what that lane costs; nothing, or an unknown word, is no lane."""
    parts = [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]
    candidate = {"content": {"parts": parts if finish == "STOP" else []}, "finishReason": finish}
    received = tools.received({"candidates": [candidate], "usageMetadata": usage}, headers=headers)
    speaker = provider("http://127.0.0.1:1", profile="google")
    if finish == "STOP":
        assert speaker.interpret(received).lane is lane
        return
    with pytest.raises((Unusable, Refused)) as caught:
        speaker.interpret(received)
    assert caught.value.lane is lane


@pytest.mark.parametrize("body", [b"no JSON at all", {"error": {"code": 503, "message": "x"}}])
async def test_an_answer_that_cannot_be_read_says_its_lane_in_the_header(body: Any, provider: Any, tools: Any) -> None:
    """It was charged, too."""
    headers = {"x-gemini-service-tier": "flex", "content-type": "application/json"}
    with pytest.raises(Unusable) as caught:
        provider("http://127.0.0.1:1", profile="google").interpret(tools.received(body, headers=headers))
    assert caught.value.lane is Lane.FLEX


# ---- what comes back --------------------------------------------------------------------------------------


def whole_answer(tools: Any, *headers: str, **more: Any) -> Any:
    data = base64.b64encode(PICTURE).decode()
    parts = [{"text": "words"}, {"inlineData": {"mimeType": "image/png", "data": data}}]
    tree = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], **more}
    return tools.answer(json.dumps(tree).encode(), "200 OK", *headers)


async def test_a_picture_streams_into_the_spool_and_is_found_again(raw_server: Any, provider: Any, tools: Any) -> None:
    """Sealed once, decoded once; interpreting needs nothing but what was sealed."""
    peer = await raw_server(whole_answer(tools, "X-Request-Id: r-7"))
    speaker, spool = provider(peer.url), tools.MemorySpool()
    received = await speaker.send(await speaker.prepare(tools.job()), "run.a.1", spool)
    answer = speaker.interpret(received)
    assert spool.sealed == [received]
    assert [bytes(file.data) for file in spool.files] == [PICTURE]
    assert (answer.caption, answer.request_id, answer.pictures[0].blob) == ("words", "r-7", received.blobs[0])


@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
async def test_an_answer_that_ends_within_its_picture_is_sealed_and_unknown(
    missing: int, raw_server: Any, provider: Any, tools: Any
) -> None:
    """Without a length only the JSON says that the end is missing."""
    body = b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"' + base64.b64encode(PICTURE)[:-missing]
    peer = await raw_server(b"HTTP/1.0 200 OK\r\n\r\n" + body)
    speaker, spool = provider(peer.url), tools.MemorySpool()
    received = await speaker.send(await speaker.prepare(tools.job()), "run.a.1", spool)
    with pytest.raises(OutcomeUnknown) as caught:
        speaker.interpret(received)
    assert caught.value.code == "cut"
    assert spool.sealed == [received]
    assert all(file.closed for file in spool.files)


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "text/plain", ""])
async def test_a_web_page_stops_the_run(content_type: str, raw_server: Any, provider: Any, tools: Any) -> None:
    """base_url does not point at the API; no further request can work."""
    peer = await raw_server(tools.answer(b"\n<!doctype html>", "200 OK", f"Content-Type: {content_type}"))
    speaker = provider(peer.url)
    received = await speaker.send(await speaker.prepare(tools.job()), "run.a.1", tools.MemorySpool())
    with pytest.raises(EndpointDown, match="web page"):
        speaker.interpret(received)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": 503, "message": "x"}, "error_in_answer"),
        ({"code": 401, "message": "Invalid token"}, "bad_key"),
        ({"code": 402, "message": "x"}, "no_credit"),
        ("words", "error_in_answer"),
    ],
)
async def test_an_error_inside_a_200_keeps_its_meaning(error: Any, code: str, provider: Any, tools: Any) -> None:
    """What stops a run stops it here too; everything else counts as a charged answer."""
    with pytest.raises((Unusable, EndpointDown)) as caught:
        provider("http://127.0.0.1:1").interpret(tools.received({"error": error}))
    assert caught.value.code == code


async def test_a_cut_answer_closes_its_files(raw_server: Any, provider: Any, tools: Any) -> None:
    """A connection that breaks within a picture leaves no open file; what came is sealed, and known to be cut."""
    peer = await raw_server(whole_answer(tools)[:-5000])
    speaker, spool = provider(peer.url), tools.MemorySpool()
    received = await speaker.send(await speaker.prepare(tools.job()), "run.a.1", spool)
    with pytest.raises(OutcomeUnknown, match="no whole answer"):
        speaker.interpret(received)
    assert [file.closed for file in spool.files] == [True]
    assert spool.sealed == [received]


async def test_a_cut_before_the_body_leaves_nothing_to_keep(raw_server: Any, provider: Any, tools: Any) -> None:
    """A head alone is no answer."""
    peer = await raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    speaker, spool = provider(peer.url), tools.MemorySpool()
    with pytest.raises(OutcomeUnknown, match="no whole answer"):
        await speaker.send(await speaker.prepare(tools.job()), "run.a.1", spool)
    assert spool.sealed == []


@pytest.mark.parametrize("auth", Auth)
async def test_no_error_shows_the_key(auth: Auth, raw_server: Any, provider: Any, tools: Any) -> None:
    """Not where the server sends it back as a header, as words or escaped, and not in what was raised on the way."""
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in tools.KEY)
    echo = b'{"error":{"message":"key %s, %s"}}' % (tools.KEY.encode(), escaped.encode())
    replies = [
        tools.answer(echo, "403 Forbidden"),
        tools.answer(b"", "307 Moved", f"Location: http://elsewhere/?key={tools.KEY}"),
        b"",
    ]
    for reply in replies:
        peer = await raw_server(reply)
        speaker = provider(peer.url, auth=auth)
        request = await speaker.prepare(tools.job())
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await speaker.send(request, "run.a.1", tools.MemorySpool())
        assert tools.KEY.encode() in peer.requests[0] or auth is Auth.QUERY
        assert caught.value.__context__ is None
        assert "canary" not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


async def test_nothing_listens(provider: Any, tools: Any) -> None:
    """The provider's errors are those of the client beneath."""
    speaker = provider("http://127.0.0.1:1")
    with pytest.raises(NotSent):
        await speaker.send(await speaker.prepare(tools.job()), "run.a.1", tools.MemorySpool())
