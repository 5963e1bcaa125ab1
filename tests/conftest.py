"""What tests of several folders need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bench import Bench, a_bench


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A bench whose simulator has the options of the test's `faults` mark, if any."""
    async with a_bench(tmp_path, **getattr(request, "param", {})) as made:
        yield made
