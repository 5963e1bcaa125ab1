"""What the simulator takes and refuses, as the API does."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image


def error_of(answer: Any) -> tuple[int, str, str]:
    error = answer.json()["error"]
    return answer.status_code, error["status"], error["message"]


async def test_all_spellings_and_mixtures_are_taken(simulate: Any, tools: Any) -> None:
    """snake_case, camelCase and both in one object mean the same."""
    client = await simulate()
    blob = tools.reference()
    body = {
        "contents": [
            {
                "parts": [
                    {"text": "x"},
                    {"inlineData": {"mime_type": blob["mimeType"], "data": blob["data"]}},
                    {"inline_data": {"mimeType": blob["mimeType"], "data": blob["data"]}},
                ]
            }
        ],
        "generation_config": {
            "response_modalities": ["IMAGE"],
            "imageConfig": {"aspect_ratio": "16:9", "imageSize": "2K"},
        },
    }
    answer = await client.post(body)
    assert tools.picture_in(answer).size == (2752, 1536)
    assert client.book.entries[0].references == 2
    assert not any("text" in part for part in answer.json()["candidates"][0]["content"]["parts"])


@pytest.mark.parametrize(
    "sent",
    [
        {"params": {"key": "K"}},
        {"params": {}, "headers": {"x-goog-api-key": "K"}},
        {"params": {}, "headers": {"Authorization": "Bearer K"}},
    ],
)
async def test_the_key_is_taken_in_three_places(sent: dict[str, Any], simulate: Any, tools: Any) -> None:
    """Query, x-goog-api-key and Bearer all work."""
    client = await simulate({"keys": ["K"]})
    assert (await client.post(tools.request_body("x"), **sent)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models/", "/v1beta/models/", "/some/prefix/v1beta/models/"])
async def test_any_prefix_and_both_versions_are_served(path: str, simulate: Any, tools: Any) -> None:
    """A relay's path prefix and either version lead to the model."""
    client = await simulate()
    answer = await client.post(tools.request_body("x"), path=f"{path}{tools.model}:generateContent")
    assert answer.status_code == 200


async def test_missing_and_wrong_keys_are_refused_in_both_dialects(simulate: Any, tools: Any) -> None:
    """Google: 403 without a key, 400 API_KEY_INVALID with a wrong one; a relay: 401."""
    google, relay = (
        await simulate({"keys": ["right"]}),
        await simulate({"keys": ["right"], "flavour": "relay"}),
    )
    body = tools.request_body("x")
    assert (await google.post(body, params={})).status_code == 403
    wrong = await google.post(body, params={"key": "wrong"})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    in_relay = await relay.post(body, params={"key": "wrong"})
    assert in_relay.status_code == 401
    assert in_relay.json()["error"]["type"] == "new_api_error"
    assert google.book.billed == relay.book.billed == 0


@pytest.mark.parametrize("model", ["gemini-9-image", "gemini-3.1-flash-image-preview", "gemini-3-pro-image-preview"])
async def test_unknown_and_retired_models_are_not_found(model: str, simulate: Any, tools: Any) -> None:
    """404 NOT_FOUND in Google's words; a relay has no channel for it."""
    client, relay = await simulate(), await simulate({"flavour": "relay"})
    path = f"/v1beta/models/{model}:generateContent"
    assert error_of(await client.post(tools.request_body("x"), path=path))[:2] == (404, "NOT_FOUND")
    in_relay = await relay.post(tools.request_body("x"), path=path)
    assert in_relay.status_code == 503
    assert in_relay.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"imageConfig": {"imageSize": "1k"}}, "image_size must be one of"),
        ({"imageConfig": {"imageSize": "512px"}}, "image_size must be one of"),
        ({"imageConfig": {"aspectRatio": "7:3"}}, "aspect_ratio must be one of"),
        ({"imageConfig": {"aspectRatio": 969}}, "aspect_ratio must be one of"),
        (
            {"imageConfig": {"outputMimeType": "image/png"}},
            "Unknown name \"outputMimeType\" at 'generation_config.image_config'",
        ),
        ({"candidateCount": 2}, "Multiple candidates is not enabled for this model"),
        ({"responseModalities": ["AUDIO"]}, "not supported by the model"),
        ({"imageconfig": {}}, 'Unknown name "imageconfig"'),
    ],
)
async def test_bad_parameters_are_refused(config: dict[str, Any], words: str, simulate: Any) -> None:
    """400 INVALID_ARGUMENT that names what is wrong; nothing is charged."""
    client = await simulate()
    answer = await client.post({"contents": [{"parts": [{"text": "x"}]}], "generationConfig": config})
    status, name, message = error_of(answer)
    assert (status, name) == (400, "INVALID_ARGUMENT")
    assert words in message
    assert client.book.billed == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        {},
        {"contents": []},
        {"contents": "x"},
        {"contents": [{"parts": [{"text": ""}]}]},
        {"contents": [{"parts": [{"text": 7}]}]},
        {"contents": [{"parts": 7}]},
        {"contents": [7]},
        {"contents": [{"parts": [{"text": "x"}]}], "prompt": "x"},
        b"[" * 100_000,
    ],
)
async def test_malformed_bodies_are_refused(body: Any, simulate: Any) -> None:
    """Whatever is no request is a 400 and never a crash."""
    client = await simulate()
    assert error_of(await client.post(body))[:2] == (400, "INVALID_ARGUMENT")


def gif() -> str:
    out = io.BytesIO()
    Image.new("P", (4, 4)).save(out, "GIF")
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mimeType": "image/jpeg"}, "Unhandled generated data mime type: image/png"),
        ({"mimeType": "image/jpg"}, "Unsupported MIME type: image/jpg"),
        ({"mimeType": "png"}, "Unsupported MIME type: png"),
        ({"mimeType": "image/gif", "data": gif()}, "Unsupported MIME type: image/gif"),
        ({"data": gif()}, "Unsupported MIME type: image/gif"),
        ({"data": "no base64!"}, "Base64 decoding failed"),
        ({"data": "data:image/png;base64,AAAA"}, "Base64 decoding failed"),
        ({"data": "AAAA"}, "Unable to process input image"),
        ({"data": ""}, "no data"),
    ],
)
async def test_bad_references_are_refused(change: dict[str, str], words: str, simulate: Any, tools: Any) -> None:
    """Declared type, bytes and base64 must agree."""
    client = await simulate()
    answer = await client.post(tools.request_body("x", {**tools.reference(), **change}))
    assert answer.status_code == 400
    assert words in error_of(answer)[2]


async def test_too_many_references_are_refused(simulate: Any, tools: Any) -> None:
    """14 references are taken, 15 are not."""
    client = await simulate()
    blobs = [tools.reference(4, 4)] * 15
    assert (await client.post(tools.request_body("x", *blobs[:14]))).status_code == 200
    assert "maximum number of images" in error_of(await client.post(tools.request_body("x", *blobs)))[2]


async def test_a_relay_drops_what_it_does_not_know(simulate: Any, tools: Any) -> None:
    """Unknown fields and file_data vanish without a word, as in a relay that decodes and encodes again."""
    client = await simulate({"flavour": "relay"})
    body = tools.request_body("x")
    body["nonsense"] = 1
    body["contents"][0]["parts"].append({"file_data": {"file_uri": "https://example.invalid/a.png"}})
    assert (await client.post(body)).status_code == 200
    assert client.book.entries[0].references == 0


async def test_a_body_over_the_limit_is_refused(simulate: Any) -> None:
    """Google answers 400, a relay 413."""
    google = await simulate({"max_request_bytes": 1000})
    relay = await simulate({"max_request_bytes": 1000, "flavour": "relay"})
    assert (await google.ask("x" * 2000)).status_code == 400
    assert (await relay.ask("x" * 2000)).status_code == 413


async def test_answers_carry_usage_and_ids(simulate: Any, tools: Any) -> None:
    """Tokens of the model's table, the model's name, and the request's id in body, header and book."""
    client, relay = await simulate(), await simulate({"flavour": "relay"})
    body = tools.request_body("x" * 40, tools.reference(), imageSize="4K")
    answer, in_relay = await client.post(body), await relay.post(body)
    message = answer.json()
    assert message["usageMetadata"]["candidatesTokenCount"] == 2520
    assert message["usageMetadata"]["promptTokenCount"] == 11 + 1120
    assert message["modelVersion"] == tools.model
    assert message["candidates"][0]["finishReason"] == "STOP"
    assert message["responseId"] == answer.headers["x-request-id"] == client.book.entries[0].request_id
    assert in_relay.headers["X-Oneapi-Request-Id"] == relay.book.entries[0].request_id
    assert in_relay.json()["usageMetadata"]["trafficType"] == "ON_DEMAND"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "10.0.0.1", ""])
async def test_foreign_host_names_are_turned_away(host: str, simulate: Any, tools: Any) -> None:
    """A page that rebinds its name to loopback gets nothing; localhost and IPv6 loopback are served."""
    client = await simulate()
    refused = await client.post(tools.request_body("x"), headers={"Host": host})
    assert refused.status_code in (400, 421)
    assert client.book.requests == 0
    for good in ("localhost:1", "[::1]:80", "127.0.0.9"):
        assert (await client.post(tools.request_body("x"), headers={"Host": good})).status_code == 200


async def test_expect_continue_is_answered(simulate: Any, tools: Any) -> None:
    """A client that asks before it sends a large body is told to go on."""
    client = await simulate()
    data = tools.raw_request("text_only").replace(b"Host:", b"Expect: 100-continue\r\nHost:")
    received, _ = await client.raw(data)
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


async def test_other_paths_and_methods_are_not_found(simulate: Any) -> None:
    """Anything but generateContent by POST is a 404 and no entry in the book."""
    client, relay = await simulate(), await simulate({"flavour": "relay"})
    for path in (
        "/",
        "/v1beta/models/gemini-3.1-flash-image:streamGenerateContent",
        "/v2/models/x:generateContent",
    ):
        assert (await client.post({}, path=path)).status_code == 404
    assert "Invalid URL (POST /nowhere)" in (await relay.post({}, path="/nowhere")).text
    assert client.book.requests == 0


# ---- quotas -----------------------------------------------------------------------------------------------


async def test_requests_per_minute_slide(simulate: Any) -> None:
    """The third request in a minute is refused with the time left; a minute after the first it is served."""
    now = [100.0]
    client = await simulate({"requests_per_minute": 2}, clock=lambda: now[0])
    assert (await client.ask()).status_code == 200
    now[0] = 110.0
    assert (await client.ask()).status_code == 200
    refused = await client.ask()
    assert refused.status_code == 429
    assert "Please retry in 50.000000000s." in refused.json()["error"]["message"]
    now[0] = 160.0
    assert [(await client.ask()).status_code for _ in range(2)] == [200, 429]
    assert client.book.billed == 3


async def test_requests_per_day_end_with_the_day(simulate: Any) -> None:
    """The per-day quota says PerDay and opens again after a day."""
    now = [0.0]
    client = await simulate({"requests_per_day": 1}, clock=lambda: now[0])
    assert (await client.ask()).status_code == 200
    refused = (await client.ask()).json()["error"]
    assert "PerDay" in refused["details"][0]["violations"][0]["quotaId"]
    now[0] = 86_400.0
    assert (await client.ask()).status_code == 200
