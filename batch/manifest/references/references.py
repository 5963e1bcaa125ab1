"""Reference pictures: found, checked and hashed before anything is sent.

A reference is uploaded to a stranger's computer, so it must lie under one folder, or at a host the manifest lists,
and it must be a picture by its content, whatever its name. Each distinct file is read once; only a hundred bytes per
file stay in memory. What lies behind web addresses is fetched elsewhere (`RemotePictures`) before the check.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

from batch.core.hashing import sha256_of
from batch.core.model import FetchedPicture, Reference
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import show
from batch.manifest.references.hosts import ListedHosts, form_problem, is_address, without_query
from batch.manifest.references.wildcards import Folders, composed, unmarked
from batch.pictures.opening import UnreadablePicture
from batch.pictures.seen import checked_mime

MAX_FILE_BYTES: Final = 1 << 30
#: They are taken after every job. Only rows that make none leave them here, and of those no more are reported.
MAX_NOTED: Final = 10_000


class ReferenceProblem(Exception):  # carries a sentence to the report
    """A reference that cannot be sent; the text says why.

    `missing`: there is no such picture. `once`: the manifest's fault rather than the row's. `column` is where the
    name comes from, if it is one column.
    """

    def __init__(self, message: str, *, missing: bool = False, once: bool = False) -> None:
        super().__init__(message)
        self.missing = missing
        self.once = once
        self.column: str | None = None

    def of(self, column: str | None) -> ReferenceProblem:
        """The same problem with the column it comes from."""
        self.column = column
        return self


class RemotePictures(Protocol):
    """What has been fetched from web addresses."""

    def get(self, url: str) -> FetchedPicture:
        """The picture at a listed address, or why there is none."""
        ...


class _Facts(NamedTuple):
    """What is remembered of a file. `problem` is empty for a good one."""

    sha256: bytes
    mime: str
    problem: str


class References:
    """The pictures under one folder."""

    def __init__(self, folder: Path, root: Path, hosts: ListedHosts | None = None) -> None:
        self._folder = os.fspath(folder)
        self._root = os.path.realpath(root)
        self._inside = self._root.rstrip(os.sep) + os.sep
        self._known: dict[bytes, _Facts] = {}
        self._folders = Folders(self._folder, lambda real: real == self._root or self._lies_inside(real))
        self.hosts = hosts or ListedHosts()
        #: None as long as nothing is fetched: addresses are then noted, and stand for pictures without content.
        self.remote: RemotePictures | None = None
        self._wanted: list[str] = []

    def get(self, name: str) -> Reference:
        """The reference a manifest calls `name`; raises ReferenceProblem if it cannot be sent."""
        if is_address(name.strip()):
            return self._at_address(name.strip())
        file, facts = self._find(name)
        key = hashlib.blake2b(
            f"{file}\0{facts.st_ino}\0{facts.st_size}\0{facts.st_mtime_ns}".encode("utf-8", "surrogateescape"),
            digest_size=16,
        ).digest()
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = examined(file)
        if known.problem:
            raise _problem(name, known.problem)
        return Reference(
            name=name, file=Path(file), sha256=known.sha256.hex(), mime=known.mime, size_bytes=facts.st_size
        )

    def in_cell(self, name: str, data: bytes) -> Reference:
        """The reference whose bytes stand in a cell; raises ReferenceProblem if it cannot be sent."""
        sha256 = hashlib.sha256(data)
        key = sha256.digest()[:16]
        known = self._known.get(key)
        if known is None:
            mime, problem = picture_kind(data)
            known = self._known[key] = _Facts(sha256.digest(), mime, problem)
        if known.problem:
            raise _problem(name, known.problem)
        return Reference(
            name=name, file=Path(), sha256=known.sha256.hex(), mime=known.mime, size_bytes=len(data), data=data
        )

    def matching(self, pattern: str) -> Sequence[Reference]:
        """The references that a name with marked wildcards means, at least one; raises ReferenceProblem."""
        name = unmarked(pattern)
        try:
            found = self._folders.matching(pattern)
        except OSError as error:
            raise _problem(name, f"cannot be looked up: {reason(error)}") from error
        except ValueError as error:
            raise _problem(name, "is no valid file name") from error
        if not found:
            self._refuse_a_look_alike(name, pattern, "matches no file")
            raise ReferenceProblem(f"reference {show(name)} matches no file under reference_root", missing=True)
        return [self.get(each) for each in found]

    def take_wanted(self) -> list[str]:
        """The addresses noted since this was last asked."""
        wanted, self._wanted = self._wanted, []
        return wanted

    def _at_address(self, url: str) -> Reference:
        name = without_query(url)
        wrong = form_problem(url)
        if wrong is not None:
            raise _problem(name, wrong)
        unlisted = self.hosts.host_problem(url)
        if unlisted is not None:
            raise ReferenceProblem(unlisted, once=True)
        if self.remote is None:
            if len(self._wanted) < MAX_NOTED:
                self._wanted.append(url)
            return Reference(name=name, file=Path(), sha256="", mime="", size_bytes=0)
        picture = self.remote.get(url)
        if picture.problem:
            raise ReferenceProblem(f"reference {show(name)} {picture.problem}", missing=picture.missing)
        return Reference(
            name=name, file=picture.file, sha256=picture.sha256, mime=picture.mime, size_bytes=picture.size_bytes
        )

    def _as_on_disk(self, name: str) -> str:
        """A name in the Unicode form that the disk has it in; in any other form it is not found."""
        if name.isascii() or os.path.lexists(os.path.join(self._folder, name)):
            return name
        try:
            return self._folders.spelled(name)
        except OSError:
            return name

    def _refuse_a_look_alike(self, name: str, pattern: str, why: str) -> None:
        """A file with almost this name is probably meant, so the picture is not left out as optional."""
        try:
            other = self._folders.looking_like(pattern)
        except (OSError, ValueError):
            return
        if other is not None:
            raise _problem(name, f"{why}; did you mean {show(other)}? {_difference(unmarked(pattern), other)}")

    def _lies_inside(self, real: str) -> bool:
        return real.startswith(self._inside)

    def _find(self, name: str) -> tuple[str, os.stat_result]:
        if not name.strip():
            raise ReferenceProblem("a reference is empty; name a file or leave it out", missing=True)
        try:
            file = os.path.realpath(os.path.join(self._folder, self._as_on_disk(name)))
            if not self._lies_inside(file):
                raise _problem(name, "lies outside reference_root; references are uploaded, so name its folder there")
            facts = os.stat(file)
        except OSError as error:
            hint = "; write / between folders" if "\\" in name else ""
            if name.startswith("~"):
                hint = "; ~ is not filled in, and a reference lies below reference_root: write its path from there"
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            if missing:
                self._refuse_a_look_alike(name, name, "does not exist")
            raise ReferenceProblem(f"reference {show(name)} {reason(error)}{hint}", missing=missing) from error
        except ValueError as error:
            raise _problem(name, "is no valid file name") from error
        if not stat.S_ISREG(facts.st_mode):
            raise _problem(name, "is not a regular file")
        return file, facts


class NamedReferences(References):
    """Names that nothing is looked up for: the pictures may be gone, and are not needed."""

    def __init__(self) -> None:
        super().__init__(Path(), Path())

    def get(self, name: str) -> Reference:
        """A reference of this name, without content."""
        return Reference(name=name, file=Path(), sha256="", mime="", size_bytes=0)

    def in_cell(self, name: str, data: bytes) -> Reference:  # noqa: ARG002
        """A reference of this name, without content."""
        return self.get(name)

    def matching(self, pattern: str) -> Sequence[Reference]:
        """One reference, whatever the pattern may match."""
        return [self.get(unmarked(pattern))]


def _difference(name: str, other: str) -> str:
    """In what two names differ that look alike."""
    if composed(name).casefold() == composed(other).casefold() or (name.isascii() and other.isascii()):
        return "Capitals count"
    return "They differ in characters that are invisible or look alike"


def _problem(name: str, why: str) -> ReferenceProblem:
    return ReferenceProblem(f"reference {show(name)} {why}")


def examined(file: str) -> _Facts:
    """Look at a file once: its hash, its format, and whether it is whole."""
    try:
        with open_regular(file) as stream:
            mime, problem = _mime_or_problem(stream)
            if problem:
                return _Facts(b"", "", problem)
            return _Facts(sha256_of(stream), mime, "")
    except FileProblem as error:
        return _Facts(b"", "", str(error))
    except OSError as error:
        return _Facts(b"", "", reason(error))


def picture_kind(data: bytes) -> tuple[str, str]:
    """The MIME type of a whole picture by its bytes, and why it cannot be sent; one of the two is empty."""
    return _mime_or_problem(io.BytesIO(data))


def _mime_or_problem(file: BinaryIO) -> tuple[str, str]:
    if file.seek(0, os.SEEK_END) > MAX_FILE_BYTES:
        return "", f"is larger than {MAX_FILE_BYTES >> 30} GB"
    try:
        return checked_mime(file), ""
    except UnreadablePicture as problem:
        return "", str(problem)
    except MemoryError:
        return "", "needs more memory than there is; make it smaller"
