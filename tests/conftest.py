"""What tests of several folders need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.bench import Bench, a_bench


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A bench whose simulator has the options of the test's `faults` mark, if any."""
    async with a_bench(tmp_path, **getattr(request, "param", {})) as made:
        yield made


@pytest.fixture(autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What runs of one machine share (quotas, spend books) is shared by the runs of one test alone."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    return folder
