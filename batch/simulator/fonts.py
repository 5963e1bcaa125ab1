"""Writes text in any script with whatever fonts the machine has.

Fonts are searched once in the usual folders. A character is drawn with the first font that has it; one that
no font has is drawn as a small box with its code point, so that a prompt never vanishes and nothing fails.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import lru_cache
from itertools import groupby
from typing import Final

from PIL import ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Color = tuple[int, int, int]

#: Parts of file names, best first. Latin is served by the first; the others bring the scripts it lacks.
_WANTED: Final = (
    "DejaVuSans.ttf",
    "NotoSans-Regular",
    "LiberationSans-Regular",
    "Arial.ttf",
    "Helvetica",
    "NotoSansCJK-Regular",
    "NotoSansSC",
    "SourceHanSans",
    "wqy-zenhei",
    "wqy-microhei",
    "DroidSansFallback",
    "PingFang",
    "Hiragino Sans GB",
    "msyh",
    "simsun",
    "unifont",
    "NotoSansArabic-Regular",
    "NotoSansHebrew-Regular",
    "NotoSansDevanagari-Regular",
    "NotoSansThai-Regular",
    "NotoSansBengali-Regular",
    "NotoSansTamil-Regular",
    "NotoSansSymbols",
    "Symbola",
    "Arial Unicode",
)

# FreeType faces are not made for several threads at once, and writing is a small part of a picture's time.
_PEN = threading.Lock()


def write(draw: ImageDraw.ImageDraw, text: str, box: tuple[int, int, int, int], size: int, color: Color) -> None:
    """Write `text` wrapped into `box` (left, top, right, bottom); an ellipsis ends what does not fit."""
    left, top, right, bottom = box
    with _PEN:
        lines = _wrap(text, size, right - left)
        pitch = size * 5 // 4
        room = max(1, (bottom - top) // pitch)
        if len(lines) > room:
            lines = [*lines[: room - 1], lines[room - 1] + "…"]
        for number, line in enumerate(lines):
            _write_line(draw, line, left, top + number * pitch, size, color)


def _write_line(draw: ImageDraw.ImageDraw, line: str, left: float, top: int, size: int, color: Color) -> None:
    # Whole runs of one font at a time: scripts whose letters join need to see their neighbours.
    for font, run in groupby(line, lambda character: font_for(character, size)):
        text = "".join(run)
        if font is None:
            for number, character in enumerate(text):
                _write_code_point(draw, character, left + number * size, top, size, color)
            left += size * len(text)
        else:
            draw.text((left, top), text, font=font, fill=color)
            left += font.getlength(text)


def _write_code_point(
    draw: ImageDraw.ImageDraw, character: str, left: float, top: int, size: int, color: Color
) -> None:
    draw.rectangle((left + 1, top + 1, left + size - 2, top + size), outline=color)
    code = f"{ord(character):04X}"
    font = _fonts(max(6, size // 3))[0]
    draw.text((left + 3, top + 1), code[:-2], font=font, fill=color)
    draw.text((left + 3, top + size // 2), code[-2:], font=font, fill=color)


def _wrap(text: str, size: int, width: int) -> list[str]:
    """Lines no wider than `width`; breaks at spaces, or anywhere in scripts and words without them."""
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line, line_width, last_space = "", 0.0, -1
        for character in "".join(c if c.isprintable() else " " for c in paragraph):
            advance = _advance(character, size)
            if line and line_width + advance > width:
                kept, line = (line[:last_space], line[last_space + 1 :]) if last_space > 0 else (line, "")
                lines.append(kept)
                line_width, last_space = sum(_advance(c, size) for c in line), -1
            if character == " ":
                last_space = len(line)
            line += character
            line_width += advance
        lines.append(line)
    return lines


@lru_cache(maxsize=20_000)
def _advance(character: str, size: int) -> float:
    font = font_for(character, size)
    return float(size) if font is None else font.getlength(character)


@lru_cache(maxsize=20_000)
def font_for(character: str, size: int) -> Font | None:
    for number, font in enumerate(_fonts(size)):
        if character.isspace() or _has(font, number, size, character):
            return font
    return None


def _has(font: Font, number: int, size: int, character: str) -> bool:
    return _shape(font, character) != _missing_shape(number, size)


@lru_cache(maxsize=500)
def _missing_shape(number: int, size: int) -> bytes:
    # U+10FFFE is no character: every font draws its "missing" sign for it.
    return _shape(_fonts(size)[number], "\U0010fffe")


def _shape(font: Font, character: str) -> bytes:
    try:
        mask = font.getmask(character)
    except (OSError, ValueError, UnicodeError):
        return _shape(font, "\U0010fffe") if character != "\U0010fffe" else b""
    return repr(mask.size).encode() + bytes(mask)


@lru_cache(maxsize=100)
def _fonts(size: int) -> tuple[Font, ...]:
    fonts: list[Font] = []
    for file in _font_files():
        try:
            fonts.append(ImageFont.truetype(file, size))
        except OSError:
            continue
    return (*fonts, ImageFont.load_default(size))


@lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    found: list[tuple[int, str]] = []
    for folder in _font_folders():
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith((".ttf", ".ttc", ".otf")):
                    ranks = [rank for rank, wanted in enumerate(_WANTED) if name.startswith(wanted)]
                    found.extend((rank, os.path.join(parent, name)) for rank in ranks[:1])
    return tuple(file for _, file in sorted(found)[:12])


def _font_folders() -> tuple[str, ...]:
    if sys.platform == "win32":
        return (os.path.join(os.environ.get("WINDIR", r"C:\Windows"), "Fonts"),)
    home = os.path.expanduser("~")
    if sys.platform == "darwin":
        return ("/System/Library/Fonts", "/Library/Fonts", os.path.join(home, "Library/Fonts"))
    return (
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        os.path.join(home, ".local/share/fonts"),
        os.path.join(home, ".fonts"),
    )
