"""The sample on AnyFast's own page, unchanged but for its address, against the simulator's flavour of that name."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.simulator import serve, settings_from

SAMPLE = """\
import base64
import requests

API_KEY = "sk-any"
url = "https://www.anyfast.ai/v1beta/models/gemini-3.1-flash-image:generateContent"

payload = {
    "contents": [{"role": "user", "parts": [{"text": "A red fox in the snow"}]}],
    "generationConfig": {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "1K"},
    },
}

response = requests.post(url, params={"key": API_KEY}, json=payload)
response.raise_for_status()
data = response.json()

for part in data["candidates"][0]["content"]["parts"]:
    if "text" in part:
        print(part["text"])
    elif "inline_data" in part:
        with open("output.jpg", "wb") as f:
            f.write(base64.b64decode(part["inline_data"]["data"]))
        print("saved", part["inline_data"]["mime_type"])
"""


async def run_sample(folder: Path, flavour: str) -> str:
    async with serve(settings_from({"flavour": flavour})) as simulator:
        code = SAMPLE.replace("https://www.anyfast.ai", simulator.base_url)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            cwd=folder,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert (simulator.book.billed, simulator.book.images) == (1, 1)
    return out.decode()


async def test_the_sample_saves_its_picture(tmp_path: Path) -> None:
    """Its loop reads `inline_data` of the answer's parts, prints the caption and writes the file."""
    shown = await run_sample(tmp_path, "anyfast")
    assert "saved image/" in shown
    assert "A red fox" in shown
    with Image.open(tmp_path / "output.jpg") as picture:
        assert picture.size == (1376, 768)


async def test_the_sample_finds_nothing_in_camel_case(tmp_path: Path) -> None:
    """Why there is a flavour of its own: against the others the sample ends well and saves nothing."""
    await run_sample(tmp_path, "relay")
    assert not (tmp_path / "output.jpg").exists()


@pytest.mark.parametrize("pictures", ["plain", "drawn"])
async def test_only_the_parts_are_spelled_otherwise(pictures: str, simulate: Any) -> None:
    """Everything around them, and errors and headers, are those of a relay."""
    client = await simulate({"flavour": "anyfast", "pictures": pictures})
    answer = await client.ask()
    message = answer.json()
    (picture,) = [part for part in message["candidates"][0]["content"]["parts"] if "inline_data" in part]
    assert set(picture["inline_data"]) == {"mime_type", "data"}
    assert {"usageMetadata", "modelVersion", "createTime"} <= set(message)
    assert "finishReason" in message["candidates"][0]
    assert "x-oneapi-request-id" in answer.headers
