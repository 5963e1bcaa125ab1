"""Where a key is found, in which order, and that it is shown nowhere."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

from batch.core.errors import ConfigError
from batch.runner.keys import find_key

NAME = "ANYFAST_API_KEY"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A key in every place."""
    for name in ("by-variable", "by-manifest", NAME):
        file = tmp_path / name
        file.write_text(f"sk-{name}\n")
        file.chmod(0o600)
    return tmp_path


def everywhere(folder: Path) -> dict[str, str]:
    return {NAME: "sk-variable", f"{NAME}_FILE": str(folder / "by-variable"), "CREDENTIALS_DIRECTORY": str(folder)}


def found(environment: dict[str, str], key_file: Path | None = None, told: list[str] | None = None) -> str:
    tell = (told if told is not None else []).append
    return find_key(NAME, None if key_file is None else str(key_file), environment, tell).reveal()


def test_the_places_have_an_order(folder: Path) -> None:
    """Variable, file named by a variable, file of the manifest, systemd credential."""
    environment = everywhere(folder)
    assert found(environment, folder / "by-manifest") == "sk-variable"
    del environment[NAME]
    assert found(environment, folder / "by-manifest") == "sk-by-variable"
    del environment[f"{NAME}_FILE"]
    assert found(environment, folder / "by-manifest") == "sk-by-manifest"
    assert found(environment) == f"sk-{NAME}"


def test_a_key_file_that_others_can_read_is_told(folder: Path) -> None:
    """It is used all the same; the remedy is named."""
    (folder / "by-manifest").chmod(0o640)
    told: list[str] = []
    assert found({}, folder / "by-manifest", told) == "sk-by-manifest"
    assert told == [f"the key file {folder}/by-manifest can be read by other users; chmod 600 {folder}/by-manifest"]


def test_a_private_key_file_and_a_credential_are_not_told_of(folder: Path) -> None:
    """systemd looks after its own folder."""
    (folder / NAME).chmod(0o444)
    told: list[str] = []
    found({}, folder / "by-manifest", told)
    found({"CREDENTIALS_DIRECTORY": str(folder)}, None, told)
    assert told == []


@pytest.mark.parametrize("content", ["", "\n", "two words", "sk-ü", '"sk-quoted"', "a\nb\n", "\x00"])
def test_a_file_without_a_key_says_so_and_does_not_show_it(folder: Path, content: str) -> None:
    """The message names the file."""
    (folder / "by-manifest").write_text(content)
    with pytest.raises(ConfigError, match="by-manifest") as caught:
        found({}, folder / "by-manifest")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_said(folder: Path, name: str) -> None:
    """With what names it; nothing was sent."""
    with pytest.raises(ConfigError, match=rf"{NAME}_FILE.*nothing was sent"):
        found({f"{NAME}_FILE": str(folder / name)})


def test_no_key_anywhere_names_the_variable() -> None:
    """As it always did."""
    with pytest.raises(ConfigError, match=f"set the environment variable {NAME}"):
        found({})


def test_the_keyring_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the service `imagebatch`, with the variable's name as the user."""
    asked = []

    def get_password(service: str, user: str) -> str:
        asked.append((service, user))
        return "sk-keyring"

    errors = types.ModuleType("keyring.errors")
    errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
    keyring = types.ModuleType("keyring")
    keyring.get_password = get_password  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    assert found({NAME: "sk-variable"}) == "sk-variable"
    assert asked == []
    assert found({}) == "sk-keyring"
    assert asked == [("imagebatch", NAME)]
