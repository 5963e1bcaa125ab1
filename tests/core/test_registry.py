"""Which providers there are, and what it costs to know."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from batch.core.registry import GROUP, SHIPPED, find_profile, resolve_endpoint
from batch.core.settings import ProviderSettings


def test_ours_are_registered_as_any_other() -> None:
    """The registry knows the entry points that pyproject.toml declares, and each has the name it is called by."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"][GROUP] == SHIPPED
    assert [find_profile(name).name for name in SHIPPED] == list(SHIPPED)


def test_nothing_is_looked_through_for_ours() -> None:
    """Searching the installed packages takes longer than all else of `--help`."""
    code = "import sys; from batch.core.registry import find_profile as f; f('google'); print(*sys.modules)"
    root = str(Path(__file__).parents[2])
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert "importlib.metadata" not in shown.stdout.split()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://host", "https://host"),
        ("https://host/v1beta", "https://host"),
        ("https://host/v1beta/", "https://host"),
        ("https://host/V1Beta//", "https://host"),
        ("https://host/v1", "https://host"),
        ("https://host/v1beta2/models", "https://host"),
        ("https://host/v1beta/models/gemini-3.1-flash-image:generateContent", "https://host"),
        ("https://host/models/gemini-x:streamGenerateContent", "https://host"),
        ("https://host/relay/v1beta", "https://host/relay"),
        ("https://host/v1/account/gateway", "https://host/v1/account/gateway"),
        ("https://host/my-v1beta", "https://host/my-v1beta"),
        ("https://v1beta", "https://v1beta"),
    ],
)
@pytest.mark.parametrize("profile", ["anyfast", "google"])
def test_a_version_in_an_address_is_not_doubled(profile: str, given: str, used: str) -> None:
    """Half of all documentation gives it with the version, and requests bring their own."""
    assert resolve_endpoint(ProviderSettings(profile=profile, base_url=given)).base_url == used
