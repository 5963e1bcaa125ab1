"""Draws the pictures: real ones, with exactly the pixels asked for.

The same request gives the same bytes. Colours come from the prompt, so different prompts look different; the
prompt itself is written into the picture, and reference pictures are pasted large, so that a person who looks
through a gallery sees at once whether every picture belongs to its job.
"""

from __future__ import annotations

import asyncio
import colorsys
import hashlib
import io
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from batch.simulator import fonts
from batch.simulator.wire import Ask, ReferencePicture

Color = tuple[int, int, int]

_INK: Final = (24, 24, 28)
_PAPER: Final = (250, 248, 242)
_BAND: Final = (176, 32, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One encoded picture."""

    data: bytes
    mime: str
    width: int
    height: int


class Painter:
    """Draws in a few threads so that the server goes on answering. Use as a context manager."""

    def __init__(self, *, style: str, format_name: str, picture_bytes: int | None) -> None:
        self._plain = style == "plain"
        self._format = format_name
        self._picture_bytes = picture_bytes
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="simulator-painter")
        self._shelf: dict[tuple[int, int, str], Picture] = {}

    def __enter__(self) -> Painter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def format_of(self, ask: Ask) -> str:
        """ "png" or "jpeg": as set, or by the prompt where the formats alternate."""
        if self._format != "alternate":
            return self._format
        return "png" if zlib.crc32(ask.prompt.encode("utf-8", "replace")) & 1 else "jpeg"

    async def paint(
        self,
        ask: Ask,
        *,
        pixels: tuple[int, int] | None = None,
        format_name: str | None = None,
        note: str = "",
    ) -> Picture:
        """The picture for a request; `pixels`, `format_name` and `note` let a fault ask for another."""
        width, height = pixels or ask.pixels
        chosen = format_name or self.format_of(ask)
        loop = asyncio.get_running_loop()
        if not self._plain:
            return await loop.run_in_executor(self._threads, self._draw, ask, width, height, chosen, note)
        key = (width, height, chosen)
        if key not in self._shelf:
            self._shelf[key] = await loop.run_in_executor(self._threads, self._fill, *key)
        return self._shelf[key]

    def _draw(self, ask: Ask, width: int, height: int, format_name: str, note: str) -> Picture:
        return self._finish(draw(ask, width, height, note), format_name)

    def _fill(self, width: int, height: int, format_name: str) -> Picture:
        image = Image.new("RGB", (width, height), (120, 160, 200))
        mark(image)
        return self._finish(image, format_name)

    def _finish(self, image: Image.Image, format_name: str) -> Picture:
        data = encode(image, format_name)
        if self._picture_bytes is not None:
            data = pad(data, self._picture_bytes)
        return Picture(data=data, mime=f"image/{format_name}", width=image.width, height=image.height)


def encode(image: Image.Image, format_name: str) -> bytes:
    """Encoded fast rather than small: the client's time is what gets measured, not ours."""
    out = io.BytesIO()
    if format_name == "png":
        image.save(out, "PNG", compress_level=1)
    elif format_name == "webp":
        image.save(out, "WEBP", quality=88, method=0)
    else:
        image.save(out, "JPEG", quality=88)
    return out.getvalue()


def blank(width: int, height: int) -> bytes:
    """A PNG of one colour, which does not even say that it is the simulator's."""
    return encode(Image.new("RGB", (width, height), (120, 160, 200)), "png")


def as_avif(data: bytes) -> bytes:
    """A picture encoded anew, as quickly as that goes."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        picture.save(out, "AVIF", speed=10)
    return out.getvalue()


def pad(data: bytes, size_bytes: int) -> bytes:
    """Grow a picture to `size_bytes` (if it is smaller) with a comment, so that it stays a correct file."""
    missing = size_bytes - len(data)
    if data.startswith(b"RIFF"):
        return data  # WebP has no comment that every reader passes over
    if data.startswith(b"\x89PNG"):
        if missing < 12 + len(_PNG_COMMENT):
            return data
        body = _PNG_COMMENT + b"." * (missing - 12 - len(_PNG_COMMENT))
        chunk = struct.pack(">I", len(body)) + b"tEXt" + body
        return data[:-12] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[-12:]
    comments = bytearray()
    while missing >= 4:
        length = min(missing, 65_537)
        comments += b"\xff\xfe" + struct.pack(">H", length - 2) + b"." * (length - 4)
        missing -= length
    return data[:2] + bytes(comments) + data[2:]


_PNG_COMMENT: Final = b"Comment\x00"


def draw(ask: Ask, width: int, height: int, note: str = "") -> Image.Image:
    """The picture: coloured shapes or the references, and below them the prompt in words."""
    digest = hashlib.sha256(ask.prompt.encode("utf-8", "replace")).digest()
    image = Image.new("RGB", (width, height), _shade(digest[0], 0.35, 0.92))
    pen = ImageDraw.Draw(image)
    floor = height * 2 // 3
    _shapes(pen, digest, width, floor)
    if ask.references:
        _paste(image, ask.references, (0, 0, width, floor))
    _words(pen, ask, width, height, floor, note)
    mark(image)
    return image


def mark(image: Image.Image) -> None:
    """A band across the top that says what it is, so that a drawing is never taken for a bought picture."""
    width, height = image.size
    size = max(6, min(width // 12, height // 12, 96))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, size), fill=_BAND)
    fonts.write(pen, "SIMULATOR, not bought", (size // 4, size // 16, width * 2, size * 2), size * 3 // 4, _PAPER)


def _shade(hue: int, saturation: float, value: float) -> Color:
    red, green, blue = colorsys.hsv_to_rgb(hue / 256, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _shapes(pen: ImageDraw.ImageDraw, digest: bytes, width: int, floor: int) -> None:
    unit = min(width, floor)
    for number in range(7):
        hue, across, down, size = digest[4 * number : 4 * number + 4]
        radius = unit * (40 + size // 2) // 600
        x, y = width * across // 256, floor * down // 256
        color = _shade((digest[0] + hue // 2) % 256, 0.6, 0.85)
        box = (x - radius, y - radius, x + radius, y + radius)
        if number % 2:
            pen.rectangle(box, fill=color)
        else:
            pen.ellipse(box, fill=color)


def _paste(image: Image.Image, references: Sequence[ReferencePicture], box: tuple[int, int, int, int]) -> None:
    """The references side by side, each as large as its cell allows."""
    left, top, right, bottom = box
    columns = max(1, round((len(references) * (right - left) / (bottom - top)) ** 0.5))
    columns = min(columns, len(references))
    rows = -(-len(references) // columns)
    cell_width, cell_height = (right - left) // columns, (bottom - top) // rows
    margin = max(2, min(cell_width, cell_height) // 25)
    room = (max(1, cell_width - 2 * margin), max(1, cell_height - 2 * margin))
    for number, reference in enumerate(references):
        thumb = _thumbnail(reference, room)
        x = left + number % columns * cell_width + (cell_width - thumb.width) // 2
        y = top + number // columns * cell_height + (cell_height - thumb.height) // 2
        image.paste(thumb, (x, y))


def _thumbnail(reference: ReferencePicture, room: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(reference.data)) as picture:
            picture.draft("RGB", room)
            thumb = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError):
        return Image.new("RGB", room, (128, 128, 128))
    factor = min(room[0] / thumb.width, room[1] / thumb.height)
    size = (max(1, int(thumb.width * factor)), max(1, int(thumb.height * factor)))
    return thumb.resize(size, Image.Resampling.BILINEAR)


def _words(pen: ImageDraw.ImageDraw, ask: Ask, width: int, height: int, floor: int, note: str) -> None:
    pen.rectangle((0, floor, width, height), fill=_PAPER)
    size = max(9, min(width, height) // 24)
    margin = size // 2
    small = max(8, size * 2 // 3)
    print_top = height - margin - small * 5 // 4
    fonts.write(pen, ask.prompt, (margin, floor + margin, width - margin, print_top), size, _INK)
    facts = f"{ask.model.name}  {ask.ratio}  {ask.image_size}  {width}x{height}  {note}"
    fonts.write(pen, facts, (margin, print_top, width - margin, height), small, (120, 116, 110))
