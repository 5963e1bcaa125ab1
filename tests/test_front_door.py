"""`import batch`: few names, quickly there."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import batch
import imagebatch

HEAVY = ("pydantic", "httpx", "PIL", "aiohttp", "jinja2", "yaml", "msgspec", "tqdm", "tenacity")


def loaded_by(code: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after this code."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(HEAVY) & set(result.stderr.split())


def test_importing_is_cheap() -> None:
    """Nothing but the standard library's basics is loaded before a name is used."""
    assert loaded_by("import batch") == set()
    assert loaded_by("import imagebatch") == set()


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["plan", "--help"], ["status", "--help"]])
def test_help_is_quick(words: list[str]) -> None:
    """Asking how to use it loads none of what is needed to do it."""
    code = f"import batch.cli.app; sys.argv = ['imagebatch', *{words}]; batch.cli.app.main()"
    assert loaded_by(code) == set()


def test_what_is_offered() -> None:
    """About ten names; each is there, and says in a sentence what it is."""
    assert 8 <= len(batch.__all__) <= 13
    for name in batch.__all__:
        assert inspect.getdoc(getattr(batch, name)), name


def test_what_imagebatch_offers() -> None:
    """Every name is there, is listed for completion, and is the same object under both names of the package."""
    assert set(imagebatch.__all__) == set(imagebatch._HOMES)  # noqa: SLF001
    assert set(imagebatch.__all__) <= set(dir(imagebatch))
    for name in imagebatch.__all__:
        assert getattr(imagebatch, name) is not None
    for name in batch.__all__:
        assert getattr(batch, name) is getattr(imagebatch, name)


def test_other_names_are_not() -> None:
    """A wrong name is an AttributeError, as with any module."""
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        batch.runn  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        imagebatch.runn  # noqa: B018


def test_names_of_earlier_versions_still_work() -> None:
    """Callers have until the next release to write the new ones."""
    assert batch.Wishes is batch.RunOptions
    assert "wishes" in inspect.signature(batch.run).parameters
