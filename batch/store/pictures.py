"""From an answer's pictures to files under images/: checked, synced, and only then named."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch.core.errors import Unusable
from batch.core.image_models import REFERENCE_MIME_TYPES, size_warnings
from batch.core.model import Image, Job
from batch.core.picture_warnings import WarningKind, warning
from batch.providers.base import Picture
from batch.store.durable import PUBLIC_MODE, copy_durably, give_name, storage_errors, sync_file
from batch.store.likeness import same_as_reference
from batch.store.picture_check import EXTENSIONS, BadPicture, PictureFacts, inspect_picture
from batch.store.spool import AttemptSpool

_MOST_NAMES: Final = 1000


@dataclass(frozen=True, slots=True)
class _Checked:
    file: str
    facts: PictureFacts


def store_pictures(
    output: Path,
    job: Job,
    pictures: Sequence[Picture],
    spool: AttemptSpool,
    *,
    version: int,
    decode: bool,
    suspect: bool = True,
) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """Check the pictures and give them their names; returns the images and warnings. The last is the result.

    `version` counts the pictures already bought for this job: a later one gets a name of its own. `suspect`: warn of a
    result that is blank or one of the job's references. Afterwards
    the files are durable, their names only once the folder is synced. Raises `Unusable` if the result is no
    whole picture, `StorageError` if the disk fails. Runs in a thread.
    """
    checked, warnings = _check_all(pictures, spool, decode=decode)
    stem = _stem(job, version)
    images = []
    with storage_errors("store a picture"):
        for number, picture in enumerate(checked, start=1):
            file = _made_durable(picture.file)
            last = number == len(checked)
            images.append(_name(output, file, picture.facts, stem if last else f"{stem}~{number}"))
    result = checked[-1].facts
    warnings += size_warnings(job.aspect_ratio, job.image_size, result.width, result.height)
    if suspect:
        warnings += _suspicions(job, checked[-1])
    return tuple(images), tuple(warnings)


def _suspicions(job: Job, result: _Checked) -> Iterator[str]:
    """Whether the result may be the picture that was asked for."""
    if result.facts.is_blank:
        yield warning(WarningKind.BLANK, "one colour, or nearly")
    reference = same_as_reference(result.file, result.facts, job.references)
    if reference is not None:
        yield warning(WarningKind.SAME_AS_REFERENCE, f"the reference {reference.name} came back")


def adopt_picture(
    output: Path, job: Job, source: Path, images: Sequence[Image], *, version: int, verify: bool
) -> tuple[Image, ...]:
    """Give pictures that were bought before (in the output folder `source`) this job's name; returns them as its own.

    The file is the same one under a second name, not a copy, where the file system can. `verify`: compare its
    content with what was bought. Raises `BadPicture` if it is not there any more or is not that, `StorageError`.
    """
    stem = _stem(job, version)
    taken = []
    with storage_errors("take over a picture"):
        for number, image in enumerate(images, start=1):
            file = str(source / image.path)
            try:
                if os.path.getsize(file) != image.size_bytes or (verify and not _is_same(file, image)):
                    raise BadPicture(f"{file} is not the picture that was bought")
            except FileNotFoundError:
                raise BadPicture(f"{file} is gone") from None
            last = number == len(images)
            taken.append(_name(output, file, image, stem if last else f"{stem}~{number}"))
    return tuple(taken)


def _stem(job: Job, version: int) -> str:
    """A picture's name without its extension; later pictures of a job have names of their own."""
    return job.id if version == 0 else f"{job.id}~v{version + 1}"


def _check_all(pictures: Sequence[Picture], spool: AttemptSpool, *, decode: bool) -> tuple[list[_Checked], list[str]]:
    checked: list[_Checked] = []
    warnings: list[str] = []
    for number, picture in enumerate(pictures, start=1):
        file = _file_of(picture, spool)
        try:
            facts = _facts(picture, file, decode=decode)
        except BadPicture as error:
            if number == len(pictures):
                raise _unusable(error) from None
            words = f"picture {number} of {len(pictures)} is {error.name or 'damaged'}: {error}"
            warnings.append(warning(WarningKind.DAMAGED_BESIDE, words))
            continue
        checked.append(_Checked(file, facts))
        warnings.extend(_oddities(picture, facts))
    return checked, warnings


def _unusable(error: BadPicture) -> Unusable:
    """Damage may be an accident of one answer; another kind of file will come again."""
    if error.name:
        words = f"the answer holds {error.name} in place of a picture that can be kept: {error}"
        return Unusable("bad_image", words, retries=0, http_status=200)
    return Unusable("bad_image", f"the picture is damaged: {error}", retries=1, http_status=200)


def _facts(picture: Picture, file: str, *, decode: bool) -> PictureFacts:
    blob = picture.blob
    if blob is not None and not blob.is_base64:
        raise BadPicture("its data is not base64")
    broken = blob.broken if blob is not None else None
    try:
        with storage_errors("read the spool"):
            facts = inspect_picture(file, decode=decode)
    except BadPicture:
        if broken is not None:
            raise BadPicture(broken) from None
        raise
    own_bytes = facts.size_bytes - facts.trailing_bytes
    if blob is not None and broken is not None and (facts.problem or own_bytes > blob.decoded_bytes):
        raise BadPicture(broken)  # what stands for its end was never decoded
    return facts


def _oddities(picture: Picture, facts: PictureFacts) -> Iterator[str]:
    declared = picture.declared_mime
    if declared is not None and declared.lower() not in (facts.mime, "image/jpg", "application/octet-stream"):
        yield warning(WarningKind.DECLARED_TYPE, f"declared {declared[:60]}, is {facts.mime}")
    if facts.mime not in REFERENCE_MIME_TYPES:
        yield warning(WarningKind.UNUSUAL_FORMAT, f"{facts.mime}, which not every program opens")
    if facts.problem:
        yield warning(WarningKind.DAMAGED_FILE, f"{facts.problem}; all of its pixels are there")
    if facts.trailing_bytes:
        yield warning(WarningKind.TRAILING_BYTES, f"{facts.trailing_bytes} bytes follow the picture's end")


def _file_of(picture: Picture, spool: AttemptSpool) -> str:
    if picture.blob is not None:
        return picture.blob.file
    writer = spool.new_blob()
    try:
        writer.write(picture.data or b"")
    finally:
        writer.close()
    return writer.file


def _made_durable(file: str) -> str:
    """Sync the file; if that fails, write its bytes once more to a new one.

    Syncing the same file again would report success for bytes that the kernel has given up.
    """
    try:
        sync_file(file, mode=PUBLIC_MODE)
        return file
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    again = file + ".again"
    copy_durably(file, again)
    return again


def _name(output: Path, file: str, facts: PictureFacts | Image, stem: str) -> Image:
    """Give the file its name under images/. A name taken by other content is left alone and the next one used."""
    extension = EXTENSIONS[facts.mime]
    for number in range(1, _MOST_NAMES):
        path = f"images/{stem}.{extension}" if number == 1 else f"images/{stem}~x{number}.{extension}"
        target = str(output / path)
        if give_name(file, target) or _is_same(target, facts):
            return Image(
                path=path,
                mime=facts.mime,
                width=facts.width,
                height=facts.height,
                size_bytes=facts.size_bytes,
                sha256=facts.sha256,
            )
    raise OSError(None, f"no free name for {stem}")


def _is_same(path: str, facts: PictureFacts | Image) -> bool:
    """Whether a file already holds exactly this picture: an earlier run came this far and died."""
    if os.path.islink(path) or os.path.getsize(path) != facts.size_bytes:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == facts.sha256
