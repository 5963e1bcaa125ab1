"""A folder to write manifests into, and what loading them says."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from batch.core.errors import InputError
from batch.core.model import Job
from batch.manifest import load_manifest


class Folder:
    """Writes small real files and loads the manifest among them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return file

    def picture(self, name: str, kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (10, 120, 200)).save(file, kind)
        return file

    def jobs(self, manifest: str | bytes) -> list[Job]:
        """All jobs, after a check that both passes agree."""
        loaded = load_manifest(self.write("m.yaml", manifest))
        checked = list(loaded.check())
        assert list(loaded.jobs()) == checked
        return checked

    def problems(self, manifest: str | bytes) -> list[str]:
        """What is wrong, one line each, without the folder's path."""
        with pytest.raises(InputError) as caught:
            self.jobs(manifest)
        return [str(problem).replace(f"{self.path}/", "") for problem in caught.value.problems]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
