"""The starter's tests work in the manifest's folders."""

from tests.manifest.conftest import folder

__all__ = ["folder"]
