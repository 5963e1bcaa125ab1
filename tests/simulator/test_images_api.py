"""The simulator's images API: the official package works against it, and what OpenAI refuses it refuses."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import pytest
from PIL import Image

openai = pytest.importorskip("openai")
MODEL = "gpt-image-1.5"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def package(client: Any) -> Any:
    return openai.OpenAI(api_key="SIMULATED", base_url=f"{client.simulator.base_url}/v1", max_retries=0)


def red(size: tuple[int, int] = (60, 40)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, "PNG")
    return out.getvalue()


async def generate(client: Any, **call: Any) -> Any:
    asked = {"model": MODEL, "prompt": "a mountain", **call}

    def ask() -> Any:
        with package(client) as sdk:
            return sdk.images.generate(**asked)

    return await asyncio.to_thread(ask)


async def edit(client: Any, **call: Any) -> Any:
    asked = {"model": MODEL, "prompt": "a mountain", "image": [("r.png", red(), "image/png")], **call}

    def ask() -> Any:
        with package(client) as sdk:
            return sdk.images.edit(**asked)

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize(
    ("call", "pixels", "kind"),
    [
        ({"size": "1024x1536", "quality": "low"}, (1024, 1536), "PNG"),
        ({"size": "1536x1024", "output_format": "webp", "output_compression": 50}, (1536, 1024), "WEBP"),
        ({"size": "auto", "output_format": "jpeg", "moderation": "low"}, (1536, 1024), "JPEG"),
        ({"model": "gpt-image-2", "size": "1536x864", "background": "transparent"}, (1536, 864), "PNG"),
    ],
)
async def test_the_official_package_gets_its_picture(
    simulate: Any, call: dict[str, Any], pixels: tuple[int, int], kind: str
) -> None:
    """Of the size, the format and the quality that it asked for, with tokens that add up."""
    client = await simulate()
    response = await generate(client, **call)
    with Image.open(io.BytesIO(base64.b64decode(response.data[0].b64_json))) as picture:
        assert (picture.size, picture.format) == (pixels, kind)
    usage = response.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    assert (response.size, response.output_format) == ("{}x{}".format(*pixels), call.get("output_format", "png"))
    (entry,) = client.book.entries
    assert (entry.billed, entry.images, entry.model) == (True, 1, call.get("model", MODEL))


async def test_edits_take_pictures_as_a_form(simulate: Any) -> None:
    """They are counted, and charged for by tokens."""
    client = await simulate({"billing": "tokens"})
    response = await edit(client, image=[("a.png", red(), "image/png")] * 2, input_fidelity="high", quality="low")
    assert response.usage.input_tokens_details.image_tokens == 2 * 323
    (entry,) = client.book.entries
    assert (entry.references, entry.prompt) == (2, "a mountain")
    assert entry.usd == pytest.approx(
        response.usage.input_tokens_details.text_tokens * 5e-6 + 646 * 8e-6 + 0.013, abs=1e-5
    )


@pytest.mark.parametrize(
    ("call", "code", "param"),
    [
        ({"size": "1000x1000"}, "invalid_size", "size"),
        ({"size": "1536x864"}, "invalid_size", "size"),
        ({"quality": "max"}, "invalid_value", "quality"),
        ({"output_format": "gif"}, "invalid_value", "output_format"),
        ({"n": 11}, "invalid_value", "n"),
        ({"output_compression": 101}, "invalid_value", "output_compression"),
        ({"response_format": "b64_json"}, "unknown_parameter", "response_format"),
        ({"extra_body": {"input_fidelity": "high"}}, "unknown_parameter", "input_fidelity"),
        ({"prompt": " "}, "missing_required_parameter", "prompt"),
        ({"prompt": "x" * 32_001}, "string_above_max_length", "prompt"),
    ],
)
async def test_what_a_generation_may_not_hold_is_refused(
    simulate: Any, call: dict[str, Any], code: str, param: str
) -> None:
    """With the API's code and the field's name, and without a charge."""
    client = await simulate()
    with pytest.raises(openai.BadRequestError) as caught:
        await generate(client, **call)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert client.book.usd == 0


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ({"extra_body": {"moderation": "low"}}, "unknown_parameter"),
        ({"image": [("r.gif", b"GIF89a...", "image/gif")]}, "unsupported_file_mimetype"),
        ({"image": [("r.png", red(), "image/jpeg")]}, "unsupported_file_mimetype"),
        ({"image": [("r.png", red(), "image/png")] * 17}, "array_above_max_length"),
        ({"model": "gpt-image-1-mini", "input_fidelity": "high"}, "invalid_value"),
    ],
)
async def test_what_an_edit_may_not_hold_is_refused(simulate: Any, call: dict[str, Any], code: str) -> None:
    """Moderation is of generations only; pictures must be what they say."""
    client = await simulate()
    with pytest.raises(openai.BadRequestError) as caught:
        await edit(client, **call)
    assert caught.value.code == code


async def test_keys_and_models_are_checked(simulate: Any) -> None:
    """A key counts as bearer only; an unknown model is not found."""
    client = await simulate({"keys": ["right"]})
    with pytest.raises(openai.AuthenticationError) as caught:
        await generate(client)
    assert caught.value.code == "invalid_api_key"
    answer = await client.post({"prompt": "x", "model": MODEL}, path="/v1/images/generations", params={"key": "right"})
    assert answer.status_code == 401
    open_to_all = await simulate()
    with pytest.raises(openai.NotFoundError) as missing:
        await generate(open_to_all, model="gpt-image-9")
    assert missing.value.code == "model_not_found"


async def test_a_quota_is_told_in_its_words(simulate: Any) -> None:
    """429 with its code; the other API of the same process counts, too."""
    client = await simulate({"requests_per_minute": 1})
    assert (await client.ask(imageSize="512")).status_code == 200
    with pytest.raises(openai.RateLimitError) as caught:
        await generate(client)
    assert caught.value.code == "rate_limit_exceeded"


async def test_faults_of_one_api_never_strike_in_the_other(simulate: Any) -> None:
    """A rule for all requests leaves those alone that it is not for."""
    client = await simulate({"faults": ["finish_no_image", "openai_empty"]})
    assert (await generate(client)).data == []
    answer = await client.ask(imageSize="512")
    assert answer.json()["candidates"][0]["finishReason"] == "NO_IMAGE"
