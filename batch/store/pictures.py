"""From an answer's pictures to pictures on the shelf: checked, put there durably, and named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batch.core.errors import Unusable
from batch.core.image_models import REFERENCE_MIME_TYPES, size_warnings
from batch.core.model import Image, Job
from batch.core.picture_warnings import WarningKind, warning
from batch.providers.base import Picture
from batch.store.contracts import Shelf
from batch.store.durable import storage_errors
from batch.store.job_state import FileState
from batch.store.likeness import same_as_reference
from batch.store.picture_check import EXTENSIONS, BadPicture, PictureFacts, inspect_picture
from batch.store.spool import AttemptSpool


@dataclass(frozen=True, slots=True)
class _Checked:
    file: str
    facts: PictureFacts


def store_pictures(
    shelf: Shelf,
    job: Job,
    pictures: Sequence[Picture],
    spool: AttemptSpool,
    *,
    version: int,
    decode: bool,
    suspect: bool = True,
    provider: str = "",
) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """Check the pictures and give them their names; returns the images and warnings. The last is the result.

    `version` counts the pictures already bought for this job: a later one gets a name of its own. `suspect`: warn of a
    result that is blank or one of the job's references. `provider`: who was asked, as the ledger names it. Afterwards
    the pictures are durable, their names only once the shelf is synced. Raises `Unusable` if the result is no
    whole picture, `StorageError` if the disk fails. Runs in a thread.
    """
    checked, warnings = _check_all(pictures, spool, decode=decode)
    stem = _stem(job, version)
    images = [
        shelf.put(picture.file, _named(picture.facts, stem if number == len(checked) else f"{stem}~{number}"))
        for number, picture in enumerate(checked, start=1)
    ]
    result = checked[-1].facts
    warnings += size_warnings(job.aspect_ratio, job.image_size, result.width, result.height, provider=provider)
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
    shelf: Shelf, job: Job, source: Shelf, images: Sequence[Image], *, version: int, verify: bool
) -> tuple[Image, ...]:
    """Give pictures that were bought before (they lie on the shelf `source`) this job's name; returns them as its own.

    `verify`: compare their content with what was bought. Raises `BadPicture` if one is not there any more or is not
    that, `StorageError`.
    """
    stem = _stem(job, version)
    return tuple(
        _adopted(shelf, source, image, stem if number == len(images) else f"{stem}~{number}", verify=verify)
        for number, image in enumerate(images, start=1)
    )


def _adopted(shelf: Shelf, source: Shelf, image: Image, stem: str, *, verify: bool) -> Image:
    file, state = source.local(image.path), source.look(image, content=verify)
    if state is FileState.ALTERED:
        raise BadPicture(f"{file} is not the picture that was bought")
    taken = shelf.adopt(file, _named(image, stem)) if state is FileState.WHOLE else None
    if taken is None:
        raise BadPicture(f"{file} is gone")
    return taken


def picture_path(stem: str, extension: str) -> str:
    """Where a picture lies, relative to its output."""
    return f"images/{stem}.{extension}"


def _named(facts: PictureFacts | Image, stem: str) -> Image:
    """The picture as it is to be called."""
    return Image(
        path=picture_path(stem, EXTENSIONS[facts.mime]),
        mime=facts.mime,
        width=facts.width,
        height=facts.height,
        size_bytes=facts.size_bytes,
        sha256=facts.sha256,
    )


def _stem(job: Job, version: int) -> str:
    """A picture's name without its extension; later pictures of a job have names of their own."""
    return job.picture_name if version == 0 else f"{job.picture_name}~v{version + 1}"


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
