"""What one writes without the runner: the official SDK, a semaphore, the image's bytes to a file.

    python benchmarks/sdk_loop.py BASE_URL IMAGES CONCURRENCY IMAGE_SIZE FOLDER [--wide-pool]

No retries, no checks, no fsync, no record. Stands alone: it runs where only google-genai is installed.
Prints which versions and which HTTP client the SDK picked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from google import genai
from google.genai import types


async def fetch_all(client: genai.Client, images: int, concurrency: int, image_size: str, folder: Path) -> None:
    """All pictures, at most `concurrency` requests at a time."""
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"],
        image_config=types.ImageConfig(aspect_ratio="1:1", image_size=image_size),
    )
    slots = asyncio.Semaphore(concurrency)

    async def fetch(number: int) -> None:
        async with slots:
            response = await client.aio.models.generate_content(
                model="gemini-3.1-flash-image", contents=f"picture {number}", config=config
            )
            for part in response.parts or ():
                if part.inline_data and part.inline_data.data:
                    (folder / f"job-{number}.png").write_bytes(part.inline_data.data)

    await asyncio.gather(*(fetch(number) for number in range(images)))
    await client.aio.aclose()


def http_options(base_url: str, *, wide_pool: bool) -> types.HttpOptions:
    """`wide_pool` lifts the HTTP client's bound of 100 connections, which the SDK leaves as it is."""
    arguments: dict[str, Any] = {}
    if wide_pool and http_stack().startswith("httpx2"):
        import httpx2

        arguments = {"limits": httpx2.Limits(max_connections=None)}
    return types.HttpOptions(base_url=base_url, api_version="v1beta", async_client_args=arguments or None)


def http_stack() -> str:
    """The package the SDK's async client sends with: aiohttp wherever that can be imported."""
    name = next(name for name in ("aiohttp", "httpx2", "httpx") if importlib.util.find_spec(name))
    return f"{name} {metadata.version(name)}"


def main() -> None:
    base_url, images, concurrency, image_size, folder = sys.argv[1:6]
    options = http_options(base_url, wide_pool="--wide-pool" in sys.argv)
    client = genai.Client(api_key="benchmark", http_options=options)
    print(json.dumps({"google-genai": metadata.version("google-genai"), "http": http_stack()}), flush=True)
    asyncio.run(fetch_all(client, int(images), int(concurrency), image_size, Path(folder)))


if __name__ == "__main__":
    main()
