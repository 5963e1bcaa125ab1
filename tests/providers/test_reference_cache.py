"""The folder of fetched pictures, when something else has the place of its files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from batch.providers.references.cache import KeptPicture, ReferenceCache

ADDRESS = "https://example.com/cup.png"


def kept_in(folder: Path) -> tuple[ReferenceCache, KeptPicture]:
    cache = ReferenceCache(folder)
    return cache, cache.keep(ADDRESS, b"a picture", "image/png", {})


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_there(make: Callable[[Path], None], tmp_path: Path) -> None:
    """Reading it hangs nothing: the picture is fetched again."""
    cache, kept = kept_in(tmp_path)
    assert cache.find(ADDRESS) == kept
    assert cache.is_intact(kept)
    (record,) = (tmp_path / "urls").rglob("*.json")
    for file in (record, cache.file(kept.sha256)):
        file.unlink()
        make(file)
    assert cache.find(ADDRESS) is None
    assert not cache.is_intact(kept)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """What it led to is a stranger's."""
    cache, kept = kept_in(tmp_path / "cache")
    (tmp_path / "strangers").write_bytes(b"mine")
    picture = cache.file(kept.sha256)
    picture.unlink()
    picture.symlink_to(tmp_path / "strangers")
    assert not cache.is_intact(kept)
    kept_in(tmp_path / "cache")
    assert (tmp_path / "strangers").read_bytes() == b"mine"
    assert picture.read_bytes() == b"a picture"
