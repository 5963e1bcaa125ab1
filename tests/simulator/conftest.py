"""A running simulator and a small client for it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from PIL import Image

from batch.simulator import Simulator, serve, settings_from

MODEL = "gemini-3.1-flash-image"


@dataclass
class Client:
    """Sends requests to one simulator."""

    simulator: Simulator
    http: httpx.AsyncClient

    @property
    def book(self) -> Any:
        return self.simulator.book

    async def post(self, body: Any, *, path: str | None = None, **kwargs: Any) -> httpx.Response:
        path = f"/v1beta/models/{MODEL}:generateContent" if path is None else path
        kwargs.setdefault("params", {"key": "K"})
        if isinstance(body, bytes):
            kwargs["content"] = body
        else:
            kwargs["json"] = body
        return await self.http.post(self.simulator.base_url + path, **kwargs)

    async def ask(self, prompt: str = "a mountain at sunset", **image_config: Any) -> httpx.Response:
        return await self.post(request_body(prompt, **image_config))

    async def fault(self, words: str, prompt: str = "a mountain") -> httpx.Response:
        return await self.post(request_body(prompt, imageSize="512"), headers={"X-Simulate": words})

    async def get_json(self, path: str) -> Any:
        return (await self.http.get(self.simulator.base_url + path)).json()

    async def raw(self, data: bytes) -> tuple[bytes, bool]:
        """What comes back for raw bytes until the end of the connection, and whether a reset ended it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.simulator.port)
        received = bytearray()
        was_reset = False
        try:
            writer.write(data)
            while block := await reader.read(1 << 16):
                received += block
        except ConnectionResetError:
            was_reset = True
        finally:
            writer.close()
        return bytes(received), was_reset


def request_body(prompt: str, *references: dict[str, str], **image_config: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"text": prompt}, *({"inlineData": blob} for blob in references)]
    config: dict[str, Any] = {"responseModalities": ["TEXT", "IMAGE"]}
    if image_config:
        config["imageConfig"] = image_config
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}


def raw_request(words: str, prompt: str = "a mountain", **more: Any) -> bytes:
    """A request with a fault in its header, as bytes; `more` stands beside `contents`."""
    body = json.dumps({**request_body(prompt, imageSize="512"), **more}).encode()
    head = (
        f"POST /v1beta/models/{MODEL}:generateContent?key=K HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"X-Simulate: {words}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def reference(width: int = 60, height: int = 40, color: str = "red", mime: str = "image/png") -> dict[str, str]:
    out = io.BytesIO()
    Image.new("RGB", (width, height), color).save(out, mime.removeprefix("image/").upper())
    return {"mimeType": mime, "data": base64.b64encode(out.getvalue()).decode()}


def picture_bytes(answer: httpx.Response) -> bytes:
    parts = answer.json()["candidates"][0]["content"]["parts"]
    return base64.b64decode(parts[-1]["inlineData"]["data"])


def picture_in(answer: httpx.Response) -> Image.Image:
    with Image.open(io.BytesIO(picture_bytes(answer))) as picture:
        picture.load()
        return picture


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that happens on the server's side of a socket; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110  (nothing over there can set an event)
        await asyncio.sleep(0.005)


@pytest.fixture
async def simulate() -> AsyncIterator[Callable[..., Any]]:
    """Starts simulators with the options given and hands out their client."""
    async with AsyncExitStack() as stack:

        async def start(options: dict[str, Any] | None = None, **kwargs: Any) -> Client:
            settings = settings_from({"pictures": "plain", **(options or {})})
            simulator = await stack.enter_async_context(serve(settings, **kwargs))
            http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
            return Client(simulator, http)

        yield start


@pytest.fixture
def tools() -> Any:
    """The helper functions, for test modules that cannot import this one."""
    from types import SimpleNamespace

    return SimpleNamespace(
        request_body=request_body,
        raw_request=raw_request,
        reference=reference,
        picture_bytes=picture_bytes,
        picture_in=picture_in,
        until=until,
        model=MODEL,
    )
