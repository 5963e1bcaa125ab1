"""Opens a picture with Pillow: the formats that are read, their limits, and what is wrong in words.

The list of formats is closed on purpose: other parsers start programs (EPS) or read documents.
"""

from __future__ import annotations

import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from PIL import Image, ImageFile

from batch.core.kinds import HEAD_BYTES, named
from batch.core.signatures import signature
from batch.pictures import png

#: What is read in parts, or at a fraction of its size, may have more pixels than what is decoded as a whole.
MOST_PIXELS: Final = 250_000_000
MOST_PIXELS_AS_A_WHOLE: Final = 120_000_000
#: Two pictures up to here are decoded at once, with 80 MB for each; larger ones are decoded one at a time.
LARGE_PIXELS: Final = 20_000_000

READABLE: Final = "PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF or JPEG 2000"
#: The module that reads a MIME type, and the name it registers with Pillow.
_READERS: Final = {
    "image/png": ("PIL.PngImagePlugin", "PNG"),
    "image/jpeg": ("PIL.JpegImagePlugin", "JPEG"),
    "image/webp": ("PIL.WebPImagePlugin", "WEBP"),
    "image/gif": ("PIL.GifImagePlugin", "GIF"),
    "image/bmp": ("PIL.BmpImagePlugin", "BMP"),
    "image/tiff": ("PIL.TiffImagePlugin", "TIFF"),
    "image/avif": ("PIL.AvifImagePlugin", "AVIF"),
    "image/jp2": ("PIL.Jpeg2KImagePlugin", "JPEG2000"),
    "image/heic": ("pillow_heif.HeifImagePlugin", "HEIF"),
}
#: The chunks that decide how a PNG looks. A profile that Pillow cannot read is left out, as in browsers.
_LOOKS: Final = frozenset({*png.PIXEL_CHUNKS, b"eXIf", b"IEND"})
_one_large_picture = threading.Lock()


class UnreadablePicture(Exception):
    """A file that is no picture we can read; the text follows the file's name in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A picture whose header has been read, and its file.

    `as_it_is` is False if Pillow, and so other programs, would stumble over what stands beside the pixels.
    """

    picture: ImageFile.ImageFile
    mime: str
    file: BinaryIO
    as_it_is: bool = True

    @property
    def pixels(self) -> int:
        return self.picture.width * self.picture.height

    @property
    def in_bands(self) -> bool:
        """Whether it is a PNG so large that it is read a band of rows at a time."""
        return self.mime == "image/png" and self.pixels > LARGE_PIXELS and not png.header(self.file).interlaced

    @property
    def decoded_as_a_whole(self) -> bool:
        """Whether memory for all of its pixels is needed. A baseline JPEG is read at a fraction of its size."""
        if self.mime == "image/png":
            return png.header(self.file).interlaced
        return self.mime != "image/jpeg" or bool(self.picture.info.get("progressive"))


@contextmanager
def opened(file: BinaryIO) -> Iterator[Opened]:
    """Open a picture. Raises `UnreadablePicture`, also for what decoding it in the block finds wrong."""
    try:
        with _quiet():
            found = _opened(file)
            with found.picture:
                _refuse_too_many_pixels(found)
                yield found
    except (UnreadablePicture, MemoryError):
        raise
    except Exception as error:  # decoders of damaged pictures raise anything from SyntaxError to struct.error
        raise UnreadablePicture(f"is damaged or cut off ({str(error) or type(error).__name__})") from error


@contextmanager
def room_for(found: Opened) -> Iterator[None]:
    """Waits while another large picture is decoded, so that many of them need no more memory than one."""
    if found.pixels <= LARGE_PIXELS:
        yield
        return
    with _one_large_picture:
        yield


def _opened(file: BinaryIO) -> Opened:
    file.seek(0)
    mime = _readable_mime(file.read(HEAD_BYTES))
    if mime != "image/png":
        return Opened(picture=_read_header(file, mime), mime=mime, file=file)
    try:
        if not png.has_long_notes(file):
            return Opened(picture=_read_header(file, mime), mime=mime, file=file)
    except (ValueError, SyntaxError):
        pass  # of what stands beside the pixels, or of them; the second reading tells
    # Notes are no business of ours, and the picture beside them is whole.
    picture = _read_header(io.BytesIO(png.with_only(file, _LOOKS)), mime)
    picture.info["icc_profile"] = png.colour_profile(file)
    return Opened(picture=picture, mime=mime, file=file, as_it_is=False)


def _read_header(file: BinaryIO, mime: str) -> ImageFile.ImageFile:
    """Not by `Image.open`, which tries one parser after another and has one limit of pixels for all formats."""
    module, name = _READERS[mime]
    importlib.import_module(module)
    reader, _ = Image.OPEN[name]
    file.seek(0)
    picture: ImageFile.ImageFile = reader(file, "")
    return picture


def _readable_mime(head: bytes) -> str:
    if not head:
        raise UnreadablePicture("is empty")
    found = signature(head)
    if found is None or found.mime not in _READERS:
        kind = named(head) or "not a picture that can be read"
        raise UnreadablePicture(f"is {kind}; a reference must be a {READABLE}")
    if found.mime == "image/heic" and not _has_heif():
        raise UnreadablePicture(_HEIC)
    return found.mime


_HEIC: Final = "is a HEIC picture; to send it, run: pip install 'imagebatch[heic]' (or save it as JPEG)"


def _has_heif() -> bool:
    try:
        importlib.import_module("pillow_heif")
    except ImportError:
        return False
    return True


def _refuse_too_many_pixels(found: Opened) -> None:
    whole = found.decoded_as_a_whole
    most = MOST_PIXELS_AS_A_WHOLE if whole else MOST_PIXELS
    if found.pixels <= most:
        return
    hint = " or save it as a baseline JPEG" if whole and found.pixels <= MOST_PIXELS else ""
    raise UnreadablePicture(
        f"has {found.picture.width}x{found.picture.height} pixels, more than {most // 1_000_000} million; "
        f"make it smaller{hint}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings about whole pictures are of no use. Other threads may be quiet for as long, which does no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
