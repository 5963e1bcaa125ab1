"""The official SDK can work against the simulator: the wire format is not only what our own client thinks."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image

genai = pytest.importorskip("google.genai")
types = pytest.importorskip("google.genai.types")

# The SDK's own warnings about itself are not ours to fix.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture(params=["camel", "snake"])
async def simulator(request: pytest.FixtureRequest, simulate: Any) -> Any:
    return await simulate({"spelling": request.param, "pictures": "drawn"})


def sdk(client: Any) -> Any:
    """A client of the SDK; it closes itself when nobody holds it any more."""
    options = types.HttpOptions(base_url=client.simulator.base_url, api_version="v1beta", timeout=30_000)
    return genai.Client(api_key="SIMULATED", http_options=options)


def call(ratio: str | None, *references: bytes) -> dict[str, Any]:
    parts = [types.Part.from_bytes(data=data, mime_type="image/png") for data in references]
    return {
        "model": "gemini-3.1-flash-image",
        "contents": ["a mountain at sunset", *parts],
        "config": types.GenerateContentConfig(
            response_modalities=["TEXT", "IMAGE"],
            image_config=types.ImageConfig(aspect_ratio=ratio, image_size="512"),
        ),
    }


def picture_of(response: Any) -> tuple[int, int]:
    (data,) = [part.inline_data.data for part in response.parts if part.inline_data]
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.size


def red() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (90, 160), "red").save(out, "PNG")
    return out.getvalue()


async def test_text_to_image_in_threads(simulator: Any) -> None:
    """The SDK's blocking client gets a caption and a picture of the right size."""
    with sdk(simulator) as client:
        response = await asyncio.to_thread(client.models.generate_content, **call("16:9"))
    assert picture_of(response) == (688, 384)
    assert "a mountain at sunset" in response.text
    if response.usage_metadata:  # the SDK reads parts in either spelling, and these in camelCase only
        assert response.usage_metadata.candidates_token_count == 747


async def test_edit_in_threads(simulator: Any) -> None:
    """A reference picture sent by the SDK arrives, and the open ratio follows it."""
    with sdk(simulator) as client:
        response = await asyncio.to_thread(client.models.generate_content, **call(None, red()))
    assert picture_of(response) == (384, 688)
    assert simulator.book.entries[0].references == 1


async def test_text_to_image_and_edit_async(simulator: Any) -> None:
    """The SDK's async client does the same."""
    async with sdk(simulator).aio as client:
        drawn = await client.models.generate_content(**call("1:1"))
        edited = await client.models.generate_content(**call("4:3", red(), red()))
    assert (picture_of(drawn), picture_of(edited)) == ((512, 512), (600, 448))
    assert simulator.book.billed == 2


@pytest.mark.parametrize("tier", ["flex", "standard", None])
async def test_the_service_tier_is_understood_and_told(tier: str | None, simulator: Any) -> None:
    """As the SDK sends it, and where its users look for the answer."""
    asked = call("1:1")
    asked["config"].service_tier = tier
    async with sdk(simulator).aio as client:
        response = await client.models.generate_content(**asked)
    assert response.sdk_http_response.headers["x-gemini-service-tier"] == (tier or "standard")
    (entry,) = simulator.book.entries
    assert (entry.lane, entry.usd) == (tier or "standard", 0.0225 if tier == "flex" else 0.045)


async def test_errors_have_the_shape_the_sdk_knows(simulate: Any) -> None:
    """Code, status and message of a refusal survive in the SDK's exception."""
    simulator = await simulate({"requests_per_minute": 0})
    with sdk(simulator) as client, pytest.raises(genai.errors.ClientError) as caught:
        await asyncio.to_thread(client.models.generate_content, **call("1:1"))
    assert caught.value.code == 429
    assert caught.value.status == "RESOURCE_EXHAUSTED"
