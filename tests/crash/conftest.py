"""A bench with its own simulator for the points that every test run tries."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crash.sweep import Bench, provider


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with provider(folder) as simulator:
        yield Bench(folder, simulator)


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches whose simulator has options of its own."""
    with ExitStack() as stack:

        def start(*options: str) -> Bench:
            folder = tmp_path / f"bench-{len(os.listdir(tmp_path))}"
            folder.mkdir()
            return Bench(folder, stack.enter_context(provider(folder, options)))

        yield start
