"""What one writes without the runner: the official SDK, a semaphore, the image's bytes to a file.

    python benchmarks/sdk_loop.py BASE_URL IMAGES CONCURRENCY IMAGE_SIZE FOLDER [--wide-pool] [--retries | --tenacity]

No checks, no fsync, no record. No retries either, or the SDK's own (five attempts), or tenacity around each call (eight
attempts, random exponential waits up to a minute, as its documentation shows). With retries a request that fails to
the end is one picture less and no end of the loop. Stands alone: it runs where only google-genai is installed.
Prints which versions and which HTTP client the SDK picked.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from google import genai
from google.genai import errors, types


async def fetch_all(
    client: genai.Client,
    images: int,
    concurrency: int,
    image_size: str,
    folder: Path,
    *,
    tenacious: bool,
    patient: bool,
) -> None:
    """All pictures, at most `concurrency` requests at a time. `patient`: one that fails ends nothing."""
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"],
        image_config=types.ImageConfig(aspect_ratio="1:1", image_size=image_size),
    )
    slots = asyncio.Semaphore(concurrency)

    async def ask(number: int) -> types.GenerateContentResponse:
        return await client.aio.models.generate_content(
            model="gemini-3.1-flash-image", contents=f"picture {number}", config=config
        )

    call = with_tenacity(ask) if tenacious else ask

    async def fetch(number: int) -> None:
        async with slots:
            response = await call(number)
            for part in response.parts or ():
                if part.inline_data and part.inline_data.data:
                    (folder / f"job-{number}.png").write_bytes(part.inline_data.data)

    ends = await asyncio.gather(*(fetch(number) for number in range(images)), return_exceptions=patient)
    await client.aio.aclose()
    failures = [end for end in ends if isinstance(end, BaseException)]
    print(json.dumps({"failed": len(failures), "last": str(failures[-1])[:200] if failures else ""}))


def with_tenacity(ask: Callable[[int], Awaitable[Any]]) -> Callable[[int], Awaitable[Any]]:
    """Repeats whatever the API answers with an error."""
    import tenacity  # the SDK brings it

    return tenacity.retry(
        wait=tenacity.wait_random_exponential(multiplier=1, max=60),
        stop=tenacity.stop_after_attempt(8),
        retry=tenacity.retry_if_exception_type(errors.APIError),
        reraise=True,
    )(ask)


def http_options(base_url: str, *, wide_pool: bool, retries: bool) -> types.HttpOptions:
    """`retries` are the SDK's own. `wide_pool` lifts the HTTP client's bound of 100 connections, which the SDK leaves
    as it is."""
    arguments: dict[str, Any] = {}
    if wide_pool and http_stack().startswith("httpx2"):
        import httpx2

        arguments = {"limits": httpx2.Limits(max_connections=None)}
    return types.HttpOptions(
        base_url=base_url,
        api_version="v1beta",
        async_client_args=arguments or None,
        retry_options=types.HttpRetryOptions(attempts=5) if retries else None,
    )


def http_stack() -> str:
    """The package the SDK's async client sends with: aiohttp wherever that can be imported."""
    name = next(name for name in ("aiohttp", "httpx2", "httpx") if importlib.util.find_spec(name))
    return f"{name} {metadata.version(name)}"


def main() -> None:
    base_url, images, concurrency, image_size, folder = sys.argv[1:6]
    retries, tenacious = "--retries" in sys.argv, "--tenacity" in sys.argv
    options = http_options(base_url, wide_pool="--wide-pool" in sys.argv, retries=retries)
    client = genai.Client(api_key="benchmark", http_options=options)
    print(json.dumps({"google-genai": metadata.version("google-genai"), "http": http_stack()}), flush=True)
    numbers = int(images), int(concurrency)
    patient = retries or tenacious
    asyncio.run(fetch_all(client, *numbers, image_size, Path(folder), tenacious=tenacious, patient=patient))


if __name__ == "__main__":
    main()
