"""A proxy in the environment is named, since it is not used."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.manifest import load_manifest
from batch.runner.accounts import accounts_of
from batch.runner.unused_proxy import unused_proxy


def said(folder: Path, provider: str, environment: dict[str, str]) -> str | None:
    (folder / "m.yaml").write_text(f"provider: {provider}\njobs: [{{prompt: a}}]\n")
    manifest = load_manifest(folder / "m.yaml")
    return unused_proxy(accounts_of(manifest.settings, manifest.path), environment)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_it_is_named_with_the_host_that_is_asked_directly(variable: str, tmp_path: Path) -> None:
    """Where only the proxy leads out, nothing else would say why no connection is made."""
    words = said(tmp_path, "{profile: google, base_url: 'https://images.example'}", {variable: "http://proxy:3128"})
    assert words == f"{variable} is set and not used: requests go straight to images.example"


@pytest.mark.parametrize("provider", ["simulator", "{profile: google, base_url: 'http://127.0.0.1:9'}"])
def test_nothing_is_said_where_nothing_leaves_this_machine(provider: str, tmp_path: Path) -> None:
    """A proxy is not for loopback."""
    assert said(tmp_path, provider, {"HTTPS_PROXY": "http://proxy:3128"}) is None


def test_nothing_is_said_without_a_proxy(tmp_path: Path) -> None:
    """Nor for a variable that is empty."""
    assert said(tmp_path, "google", {"HTTPS_PROXY": ""}) is None
