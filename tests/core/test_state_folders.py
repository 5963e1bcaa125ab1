"""Where a user's state and cache are, and what is said if there is no home."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.core.state_folders import cache_home, state_home


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/imagebatch"),
        ({"HOME": "/h"}, "/h/.local/state/imagebatch"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/imagebatch"),
        ({"XDG_STATE_HOME": "", "HOME": "/h"}, "/h/.local/state/imagebatch"),
    ],
)
def test_the_state_home(environment: dict[str, str], state: str) -> None:
    """XDG_STATE_HOME if it is absolute, else a folder below HOME."""
    assert state_home(environment) == Path(state)


def test_the_cache_home() -> None:
    """The same rule holds for the cache, with its own variable."""
    assert cache_home({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/imagebatch")
    assert cache_home({"HOME": "/h"}) == Path("/h/.cache/imagebatch")
