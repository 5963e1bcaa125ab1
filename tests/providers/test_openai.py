"""OpenAI's images API: what is sent is what the official package sends, and what it keeps is what came."""

from __future__ import annotations

import asyncio
import base64
import email.parser
import email.policy
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.core.clock import SystemClock
from batch.core.errors import AttemptError, EndpointDown, OutcomeUnknown, Paid, Refused, Unusable
from batch.core.lane import Lane
from batch.core.model import Job, Reference
from batch.core.parameters import common_parameters
from batch.core.registry import resolve_endpoint
from batch.core.settings import ProviderSettings
from batch.providers.openai import OpenAIProvider
from tests.support.fakes import reference

Make = Callable[..., OpenAIProvider]


def picture(size: tuple[int, int] = (6, 4), format_name: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 40).convert("RGB").save(out, format_name)
    return out.getvalue()


PICTURE = picture((400, 300))
BASE64 = base64.b64encode(PICTURE).decode()


def job(
    *,
    ratio: str | None = None,
    size: str = "1K",
    references: tuple[Reference, ...] = (),
    prompt: str = "",
    **asked: Any,
) -> Job:
    parameters = common_parameters(ratio, size).changed(**asked)
    return Job(
        id="a", prompt=prompt or "a mountain", model="gpt-image-1.5", parameters=parameters, references=references
    )


@pytest.fixture
async def speaker(tools: Any) -> AsyncIterator[Make]:
    """Makes providers and closes them."""
    async with AsyncExitStack() as stack:

        def make(url: str = "http://127.0.0.1:1") -> OpenAIProvider:
            endpoint = resolve_endpoint(ProviderSettings(profile="openai", base_url=url))
            assert endpoint.base_url is not None
            made = OpenAIProvider(endpoint, endpoint.base_url, tools.api_key, tools.QUICK, SystemClock())
            stack.push_async_callback(made.aclose)
            return made

        yield make


# ---- what is sent -----------------------------------------------------------------------------------------

#: What a job asks for, and the same in the official package's words.
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "a prompt of all kinds": ({"prompt": 'a "quoted" \\ 山\n\x07 é \U0001f600\r\n--x'},) * 2,
    "square": ({"ratio": "1:1"}, {"size": "1024x1024"}),
    "landscape": ({"ratio": "3:2"}, {"size": "1536x1024"}),
    "portrait": ({"ratio": "2:3"}, {"size": "1024x1536"}),
    "wide": ({"ratio": "16:9"}, {"size": "1536x864"}),
    "4K": ({"ratio": "9:16", "size": "4K"}, {"size": "2160x3840"}),
    "pixels": ({"size": "1536x1024"}, {"size": "1536x1024"}),
    "auto": ({"size": "auto"}, {"size": "auto"}),
    "everything": (
        {
            "quality": "high",
            "background": "transparent",
            "output_format": "webp",
            "output_compression": 80,
        },
    )
    * 2,
    "extra": ({"extra": {"user": "u-1"}}, {"user": "u-1"}),
}


def parts_of(request: bytes) -> list[tuple[str, str | None, str, bytes]]:
    """A form's parts in one order: name, file's extension, content type and content."""
    head, _, body = request.partition(b"\r\n\r\n")
    (content_type,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type:")]
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(content_type + b"\r\n\r\n" + body)
    found = []
    for part in message.iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        file = part.get_filename()
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        kind = part.get_content_type() if file else "text"
        found.append((name, file.rpartition(".")[2] if file else None, kind, content))
    return sorted(found)


def ask_the_package(url: str, call: dict[str, Any], pictures: list[bytes]) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="K", base_url=f"{url}/v1", max_retries=0) as client:
        asked = {"model": "gpt-image-1.5", "prompt": "a mountain", **call}
        if pictures:
            files = [(f"{n}.png", data, "image/png") for n, data in enumerate(pictures)]
            client.images.edit(image=files, **asked)
        else:
            client.images.generate(**asked)


@pytest.mark.parametrize("pictures", [0, 1, 2])
@pytest.mark.parametrize("call", CALLS)
async def test_the_request_is_the_official_packages(
    call: str,
    pictures: int,
    raw_server: Any,
    speaker: Make,
    tools: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same fields with the same values to the same path: JSON, or a form where there are references."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mine, theirs = CALLS[call]
    files = [picture((6 + n, 4)) for n in range(pictures)]
    references = tuple(reference(tmp_path, data, name=str(n)) for n, data in enumerate(files))
    peer = await raw_server(tools.answer(b'{"created":1,"data":[]}', "200 OK", "Content-Type: application/json"))
    provider = speaker(peer.url)
    await provider.send(await provider.prepare(job(references=references, **mine)), "run.a.1", tools.MemorySpool())
    await asyncio.to_thread(ask_the_package, peer.url, theirs, files)
    ours, official = peer.requests
    assert ours.partition(b" HTTP/")[0] == official.partition(b" HTTP/")[0]
    if pictures:
        assert parts_of(ours) == parts_of(official)
    else:
        assert json.loads(ours.partition(b"\r\n\r\n")[2]) == json.loads(official.partition(b"\r\n\r\n")[2])
    assert b"\r\nx-client-request-id: run.a.1\r\n" in ours.lower()


async def test_fidelity_and_nested_fields_go_into_the_form_as_the_package_writes_them(
    raw_server: Any, speaker: Make, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`svg[model]`, `tags[]`, `true`; and a name that would end its line cannot."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    data = picture()
    extra = {"svg": {"model": "x", "deep": {"n": 1}}, "tags": ["a", "b"], "flag": True, "none": None}
    peer = await raw_server(tools.answer(b'{"created":1,"data":[]}', "200 OK", "Content-Type: application/json"))
    provider = speaker(peer.url)
    edit = job(references=(reference(tmp_path, data),), input_fidelity="high", extra=extra)
    await provider.send(await provider.prepare(edit), "run.a.1", tools.MemorySpool())
    call = {"input_fidelity": "high", "extra_body": {name: value for name, value in extra.items() if name != "none"}}
    await asyncio.to_thread(ask_the_package, peer.url, call, [data])
    ours, official = peer.requests
    assert parts_of(ours) == parts_of(official)
    odd = await provider.prepare(job(references=(reference(tmp_path, data),), extra={'a"\r\nX: y': "z"}))
    assert b'name="a%22%0D%0AX: y"' in b"".join(odd.pieces)


async def test_some_fields_are_of_one_call_only(speaker: Make, tmp_path: Path) -> None:
    """The API would refuse them in the other: fidelity without references, moderation with them."""
    asked: dict[str, Any] = {"input_fidelity": "high", "moderation": "low"}
    request = await speaker().prepare(job(**asked))
    expected = {"model": "gpt-image-1.5", "prompt": "a mountain", "moderation": "low"}
    assert json.loads(b"".join(request.pieces)) == expected
    edit = b"".join((await speaker().prepare(job(references=(reference(tmp_path, picture()),), **asked))).pieces)
    assert b'name="input_fidelity"\r\n\r\nhigh\r\n' in edit
    assert b"moderation" not in edit


async def test_a_references_own_name_stays_here(speaker: Make, tmp_path: Path) -> None:
    """A file's name may tell more than a picture; the form numbers them."""
    request = await speaker().prepare(job(references=(reference(tmp_path, picture(), name="secret-client.png"),)))
    assert b"secret" not in b"".join(request.pieces)
    assert b'filename="reference-1.png"' in b"".join(request.pieces)


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        ("", "/v1/images/generations"),
        ("/", "/v1/images/generations"),
        ("/v1", "/v1/images/generations"),
        ("/v1/", "/v1/images/generations"),
        ("/v1/images/generations", "/v1/images/generations"),
        ("/v1/images/edits/", "/v1/images/generations"),
        ("/relay", "/relay/v1/images/generations"),
        ("/relay/v1", "/relay/v1/images/generations"),
        ("/api/v3", "/api/v3/images/generations"),
        ("/v1beta/openai/", "/v1beta/openai/images/generations"),
    ],
)
async def test_an_address_may_be_given_with_its_version(
    base_url: str, path: str, raw_server: Any, speaker: Make, tools: Any
) -> None:
    """With /v1 or without, or as documentation gives the whole of it; another version stays as it is."""
    peer = await raw_server(tools.answer(b'{"data":[]}', "200 OK", "Content-Type: application/json"))
    provider = speaker(peer.url + base_url)
    await provider.send(await provider.prepare(job()), "run.a.1", tools.MemorySpool())
    assert peer.requests[0].startswith(f"POST {path} HTTP/".encode())


async def test_the_key_travels_as_bearer_and_nowhere_else(raw_server: Any, speaker: Make, tools: Any) -> None:
    """Once, in its header."""
    peer = await raw_server(tools.answer(b'{"data":[]}', "200 OK", "Content-Type: application/json"))
    provider = speaker(peer.url)
    await provider.send(await provider.prepare(job()), "run.a.1", tools.MemorySpool())
    assert peer.requests[0].count(tools.KEY.encode()) == 1
    assert f"\r\nauthorization: bearer {tools.KEY}\r\n".lower().encode() in peer.requests[0].lower()


@pytest.mark.parametrize(("ratio", "size"), [("1:8", "1K"), ("16:9", "512"), (None, "2K"), ("1:1", "1536x1024")])
async def test_a_size_that_is_none_of_the_apis_is_refused_before_sending(
    ratio: str | None, size: str, speaker: Make
) -> None:
    """Another size than the one that was asked for would be bought otherwise."""
    with pytest.raises(Refused) as caught:
        await speaker().prepare(job(ratio=ratio, size=size))
    assert (caught.value.code, caught.value.paid) == ("invalid_size", Paid.NO)


async def test_there_is_no_cheap_lane(speaker: Make) -> None:
    """Asking for one is a mistake of ours, and sends nothing."""
    with pytest.raises(ValueError, match="no lane flex"):
        await speaker().prepare(job(), Lane.FLEX)


# ---- what comes back --------------------------------------------------------------------------------------

USAGE = {
    "total_tokens": 4210,
    "input_tokens": 50,
    "output_tokens": 4160,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}


async def received_from(body: Any, raw_server: Any, provider: Make, tools: Any, *headers: str, root: Any = None) -> Any:
    """What a provider makes of an answer, and its spool."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    peer = await raw_server(tools.answer(data, "200 OK", *(headers or ("Content-Type: application/json",))))
    speaks, spool = provider(peer.url), tools.MemorySpool(root)
    received = await speaks.send(await speaks.prepare(job()), "run.a.1", spool)
    if root is not None:
        spool.on_disk()
    return speaks, received, spool


async def test_a_picture_streams_into_the_spool_and_is_found_again(
    raw_server: Any, speaker: Make, tools: Any, tmp_path: Path
) -> None:
    """Sealed once, decoded once; what was made of the prompt is its caption."""
    body = {
        "created": 1,
        "output_format": "png",
        "data": [{"b64_json": BASE64, "revised_prompt": "a mountain at dawn"}],
        "usage": USAGE,
    }
    headers = ("Content-Type: application/json", "X-Request-Id: req_7")
    provider, received, spool = await received_from(body, raw_server, speaker, tools, *headers, root=tmp_path)
    answer = provider.interpret(received)
    assert spool.sealed == [received]
    assert [bytes(file.data) for file in spool.files] == [PICTURE]
    (found,) = answer.pictures
    assert (found.blob, found.declared_mime, found.rank) == (received.blobs[0], "image/png", 0)
    assert (answer.caption, answer.request_id) == ("a mountain at dawn", "req_7")
    assert answer.usage is not None
    assert answer.usage.by_kind == {"input_text": 10, "input_image": 40, "output_text": 0, "output_image": 4160}
    assert (answer.usage.total, answer.usage.reported) == (4210, USAGE)


async def test_a_picture_may_be_an_address(speaker: Make, tools: Any) -> None:
    """Of relays, and of models before gpt-image; it is certain to be the picture."""
    body = {"created": 1, "data": [{"url": "https://pictures.example/x?sig=1", "b64_json": None}]}
    (found,) = speaker().interpret(tools.received(body)).pictures
    assert (found.url, found.rank) == ("https://pictures.example/x?sig=1", 0)


async def test_several_pictures_are_all_kept(speaker: Make, tools: Any) -> None:
    """The last is the result, as everywhere."""
    body = {"data": [{"url": "https://a.example/1.png"}, {"url": "https://a.example/2.png", "revised_prompt": "two"}]}
    answer = speaker().interpret(tools.received(body))
    assert [each.url for each in answer.pictures] == ["https://a.example/1.png", "https://a.example/2.png"]
    assert answer.caption == "two"


SMALL = base64.b64encode(picture()).decode()
SHAPES: dict[str, Any] = {
    "a wrapper": {"code": 0, "data": {"created": 1, "data": [{"b64_json": SMALL}], "usage": USAGE}},
    "a data URL": {"data": [{"b64_json": f"data:image/png;base64,{SMALL}"}], "usage": USAGE},
    "a stream": b"event: image_generation.completed\ndata: "
    + json.dumps({"type": "image_generation.completed", "b64_json": SMALL, "usage": USAGE}).encode()
    + b"\n\n",
    "images": {"images": [{"image": SMALL}], "usage": USAGE},
    "a trailing comma": b'{"data":[{"b64_json":"'
    + SMALL.encode()
    + b'"},],"usage":'
    + json.dumps(USAGE).encode()
    + b"}",
    "words around it": b"OK\n" + json.dumps({"data": [{"b64_json": SMALL}], "usage": USAGE}).encode(),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_picture_in_another_shape_is_found(shape: str, speaker: Make, tools: Any) -> None:
    """It was paid for, however a relay wrapped it; its tokens are read, too."""
    answer = speaker().interpret(tools.received(SHAPES[shape]))
    assert [each.data for each in answer.pictures] == [picture_of(SMALL)]
    assert answer.usage is not None
    assert answer.usage.total == 4210


def picture_of(text: str) -> bytes:
    return base64.b64decode(text)


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"output_tokens_details": {"image_tokens": 4000, "text_tokens": 160}}, (10, 40, 160, 4000)),
        ({"input_tokens_details": None}, (50, 0, 0, 4160)),
        ({"total_tokens": 1}, None),
        ({"output_tokens": "many"}, None),
        ({"input_tokens": -1}, None),
        ({"input_tokens": True}, None),
        ({"output_tokens": 10**12}, None),
    ],
)
async def test_tokens_count_only_if_they_add_up(
    change: dict[str, Any], kinds: tuple[int, ...] | None, speaker: Make, tools: Any
) -> None:
    """What cannot be true is not charged by; the list price is, then."""
    body = {"data": [{"b64_json": SMALL}], "usage": {**USAGE, **change}}
    usage = speaker().interpret(tools.received(body)).usage
    assert usage is not None
    assert (None if usage.by_kind is None else tuple(usage.by_kind.values())) == kinds


@pytest.mark.parametrize("body", [{"created": 1, "data": []}, {"created": 1}, {}, {"data": [{}]}, {"data": [None]}])
async def test_an_answer_without_a_picture_was_paid(body: Any, speaker: Make, tools: Any) -> None:
    """It is asked once more; what it says of its tokens is kept."""
    with pytest.raises(Unusable) as caught:
        speaker().interpret(tools.received({**body, "usage": USAGE}))
    assert (caught.value.code, caught.value.paid, caught.value.retries) == ("empty_answer", Paid.YES, 1)
    assert caught.value.usage is not None
    assert caught.value.usage.total == 4210


TASKS = [
    {"code": 200, "data": [{"status": "submitted", "task_id": "task_01"}]},
    {"task_id": "task_01", "status": "pending"},
    {"data": {"taskId": "task_01", "state": "queued", "url": None}},
]


@pytest.mark.parametrize("body", TASKS)
async def test_a_relay_that_answers_later_stops_the_run(body: Any, speaker: Make, tools: Any) -> None:
    """Asking again would begin another task, and pay for it; what was begun counts as paid."""
    with pytest.raises(EndpointDown) as caught:
        speaker().interpret(tools.received(body))
    assert (caught.value.code, caught.value.paid, caught.value.exit_code) == ("answers_later", Paid.YES, 76)
    assert "task_01" in caught.value.message


async def test_a_task_that_is_done_is_an_answer(speaker: Make, tools: Any) -> None:
    """Its name beside the picture means nothing."""
    body = {"task_id": "task_01", "data": [{"b64_json": SMALL}]}
    assert [each.data for each in speaker().interpret(tools.received(body)).pictures] == [picture_of(SMALL)]


async def test_an_error_inside_a_200_is_no_picture_even_if_it_names_a_page(speaker: Make, tools: Any) -> None:
    """The address in its words is not opened; what it says decides."""
    body = {"error": {"message": "Bad size, see https://a.example/sizes.png", "type": "invalid_request_error"}}
    with pytest.raises(Unusable) as caught:
        speaker().interpret(tools.received(body))
    assert (caught.value.code, caught.value.paid, caught.value.retries) == ("error_in_answer", Paid.YES, 0)


async def test_a_refusal_inside_a_200_was_paid_and_may_go_to_another_model(speaker: Make, tools: Any) -> None:
    """By its kind, as one with a status of its own."""
    body = {"error": {"message": "rejected", "code": "moderation_blocked"}}
    with pytest.raises(Refused) as caught:
        speaker().interpret(tools.received(body))
    assert (caught.value.kind.value, caught.value.paid) == ("policy", Paid.YES)


async def test_a_web_page_stops_the_run(raw_server: Any, speaker: Make, tools: Any) -> None:
    """base_url does not point at the API."""
    body = b"<!doctype html><p>Welcome"
    provider, received, _ = await received_from(body, raw_server, speaker, tools, "Content-Type: text/html")
    with pytest.raises(EndpointDown) as caught:
        provider.interpret(received)
    assert caught.value.code == "html_answer"


async def test_an_answer_that_breaks_off_is_sealed_and_unknown(raw_server: Any, speaker: Make, tools: Any) -> None:
    """What came is kept; whether it was paid is not known."""
    body = b'{"created":1,"data":[{"b64_json":"' + BASE64.encode()[:-400]
    peer = await raw_server(b"HTTP/1.0 200 OK\r\n\r\n" + body)
    provider, spool = speaker(peer.url), tools.MemorySpool()
    received = await provider.send(await provider.prepare(job()), "run.a.1", spool)
    with pytest.raises(OutcomeUnknown):
        provider.interpret(received)
    assert spool.sealed == [received]


async def test_the_key_is_masked_in_all_that_comes_back(speaker: Make, tools: Any) -> None:
    """A relay that repeats it puts it into no file and no message."""
    body = {"data": [{"b64_json": SMALL, "revised_prompt": f"with {tools.KEY}"}]}
    caption = speaker().interpret(tools.received(body)).caption
    assert caption is not None
    assert tools.KEY not in caption
    with pytest.raises(AttemptError) as caught:
        speaker().interpret(tools.received({"error": {"message": f"no {tools.KEY}"}}))
    assert tools.KEY not in str(caught.value)
