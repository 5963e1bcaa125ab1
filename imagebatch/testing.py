"""For tests of programs that use imagebatch: a provider on loopback that draws, refuses and breaks as told.

In `conftest.py`:

    pytest_plugins = ["imagebatch.testing"]

and in a test:

    @pytest.mark.image_endpoint(faults=[{"fault": "finish_image_safety", "prompt": "knife"}])
    def test_knives_are_reported(image_endpoint, tmp_path):
        manifest = image_endpoint.manifest(tmp_path, jobs=[{"id": "knife", "prompt": "a knife"}])
        summary = imagebatch.run_sync(manifest, environment=image_endpoint.environment)
        assert summary.failed == 1 and image_endpoint.requests == 1
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batch.simulator import Simulator, serve, settings_from

_KEY = "key-for-tests"


class ImageEndpoint:
    """A provider on loopback and its book: what came in, and what it would have charged."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    @property
    def base_url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:40123`."""
        return self._simulator.base_url

    @property
    def environment(self) -> Mapping[str, str]:
        """The key, for `environment=` of a run."""
        return {"ANYFAST_API_KEY": _KEY}

    @property
    def requests(self) -> int:
        """How many requests came in."""
        return self._simulator.book.requests

    @property
    def billed(self) -> int:
        """How many of them a provider would have charged."""
        return self._simulator.book.billed

    @property
    def prompts(self) -> list[str]:
        """The prompts of the requests, in the order they came in."""
        return [entry.prompt or "" for entry in self._simulator.book.entries]

    def manifest(self, folder: Path, *, jobs: Sequence[Mapping[str, Any]], **keys: Any) -> Path:
        """Write `jobs.yaml` into `folder`, sent to this endpoint and with its output beside it.

        `keys` are other keys of a manifest, such as `limits={"concurrency": 2}`.
        """
        top = {"provider": {"profile": "anyfast", "base_url": self.base_url}, "output": "out", **keys}
        path = folder / "jobs.yaml"
        path.write_text(json.dumps({**top, "jobs": list(map(dict, jobs))}, ensure_ascii=False), "utf-8")  # JSON is YAML
        return path


@contextmanager
def serve_images(**settings: Any) -> Iterator[ImageEndpoint]:
    """The endpoint on an event loop in a thread of its own, so that tests with and without a loop can use it.

    `settings` are those of `provider: {simulator: ...}` in a manifest, such as `faults` and `latency_seconds`.
    """
    ready: Future[tuple[Simulator, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def stay() -> None:
        leave = asyncio.Event()
        async with serve(settings_from({"keys": [_KEY], **settings})) as simulator:
            ready.set_result((simulator, asyncio.get_running_loop(), leave))
            await leave.wait()

    def carry() -> None:
        try:
            asyncio.run(stay())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=carry, name="image endpoint")
    thread.start()
    try:
        simulator, loop, leave = ready.result()
        try:
            yield ImageEndpoint(simulator)
        finally:
            loop.call_soon_threadsafe(leave.set)
    finally:
        thread.join()


@pytest.fixture
def image_endpoint(request: pytest.FixtureRequest) -> Iterator[ImageEndpoint]:
    """A provider on loopback; `@pytest.mark.image_endpoint(faults=[...])` says how it behaves."""
    marker = request.node.get_closest_marker("image_endpoint")
    with serve_images(**({} if marker is None else marker.kwargs)) as endpoint:
        yield endpoint


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for `--strict-markers`."""
    config.addinivalue_line("markers", "image_endpoint(**settings): how the simulated provider behaves")
