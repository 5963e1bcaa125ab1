"""Draws small still lifes, for pages that show what a gallery looks like: pictures of our own, the same every time."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
_TIMES: Final = 2
_EASINGS: Final = 63
#: A step of the outline that is meant as an edge.
_EDGE: Final = 0.1

#: Outlines from top to bottom: height and half width, both of 1.
SHAPES: Final[dict[str, list[tuple[float, float]]]] = {
    "vase": [(0.0, 0.16), (0.06, 0.13), (0.22, 0.12), (0.5, 0.34), (0.72, 0.36), (0.92, 0.22), (1.0, 0.2)],
    "bottle": [(0.0, 0.08), (0.05, 0.09), (0.3, 0.09), (0.42, 0.22), (0.5, 0.26), (0.95, 0.26), (1.0, 0.23)],
    "mug": [(0.36, 0.34), (0.4, 0.35), (0.85, 0.33), (0.96, 0.29), (1.0, 0.24)],
    "bowl": [(0.52, 0.5), (0.55, 0.5), (0.75, 0.42), (0.92, 0.24), (0.96, 0.16), (1.0, 0.18)],
    "jug": [(0.1, 0.2), (0.16, 0.17), (0.34, 0.16), (0.55, 0.32), (0.8, 0.34), (0.96, 0.24), (1.0, 0.22)],
    "lamp": [(0.02, 0.2), (0.42, 0.4), (0.43, 0.05), (0.6, 0.05), (0.7, 0.16), (0.88, 0.2), (0.96, 0.2), (1.0, 0.17)],
}
_HANDLES: Final = {"mug": (0.48, 0.82), "jug": (0.24, 0.66)}
GLAZES: Final[dict[str, Colour]] = {
    "sand": (214, 187, 148), "clay": (184, 98, 70), "sage": (139, 160, 127), "ink": (52, 66, 92),
    "rose": (206, 150, 144), "chalk": (233, 228, 217), "ochre": (206, 152, 62), "moss": (86, 104, 70),
}  # fmt: skip
#: Wall and table by name of the setting.
SETTINGS: Final[dict[str, tuple[Colour, Colour]]] = {
    "studio": ((226, 222, 214), (206, 200, 190)),
    "dusk": ((112, 122, 148), (82, 74, 84)),
    "garden": ((196, 212, 192), (150, 132, 104)),
    "morning": ((246, 224, 194), (198, 156, 116)),
    "plain": ((250, 250, 249), (244, 244, 243)),
}


def draw(shape: str, glaze: str, setting: str, *, seed: int = 0, size: tuple[int, int] = (768, 768)) -> Image.Image:
    """One thing on a table, lit from the left."""
    chance = random.Random(f"{shape} {glaze} {setting} {seed}")
    width, height = (side * _TIMES for side in size)
    wall, table = SETTINGS[setting]
    edge = round(height * (0.72 + chance.uniform(-0.03, 0.03)))
    picture = _gradient((width, height), wall, darker=0.12)
    picture.paste(_gradient((width, height - edge), table, darker=0.18), (0, edge))
    tall = min(width, height) * chance.uniform(0.56, 0.66)
    middle, bottom = width * (0.5 + chance.uniform(-0.06, 0.06)), edge + (height - edge) * 0.42
    if setting != "plain":
        _window(picture, chance, edge)
    _shadow(picture, middle, bottom, tall)
    _thing(picture, shape, GLAZES[glaze], middle, bottom, tall)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _gradient(size: tuple[int, int], colour: Colour, *, darker: float) -> Image.Image:
    low = Image.linear_gradient("L").resize(size).point(lambda level: round(level * darker))
    return Image.composite(Image.new("RGB", size, (20, 18, 24)), Image.new("RGB", size, colour), low)


def _window(picture: Image.Image, chance: random.Random, edge: int) -> None:
    """Light of a window on the wall."""
    light = Image.new("L", picture.size, 0)
    left, wide = picture.width * chance.uniform(0.02, 0.4), picture.width * 0.26
    for pane in range(2):
        x = left + pane * wide * 0.56
        top, lean = edge * 0.1, wide * 0.22
        ImageDraw.Draw(light).polygon(
            [(x, top), (x + wide * 0.5, top), (x + wide * 0.5 + lean, edge * 0.86), (x + lean, edge * 0.86)], fill=70
        )
    picture.paste((255, 250, 236), mask=light.filter(ImageFilter.GaussianBlur(picture.width / 130)))


def _shadow(picture: Image.Image, middle: float, bottom: float, tall: float) -> None:
    mask = Image.new("L", picture.size, 0)
    box = (middle - tall * 0.22, bottom - tall * 0.075, middle + tall * 0.62, bottom + tall * 0.075)
    ImageDraw.Draw(mask).ellipse(box, fill=120)
    picture.paste((30, 24, 28), mask=mask.filter(ImageFilter.GaussianBlur(tall / 22)))


def _thing(picture: Image.Image, shape: str, glaze: Colour, middle: float, bottom: float, tall: float) -> None:
    mask = Image.new("L", picture.size, 0)
    pen = ImageDraw.Draw(mask)
    outline = _smooth(SHAPES[shape])
    top = bottom - tall
    left = [(middle - half * tall, top + at * tall) for at, half in outline]
    right = [(middle + half * tall, top + at * tall) for at, half in reversed(outline)]
    if shape in _HANDLES:
        above, below = (top + at * tall for at in _HANDLES[shape])
        reach = max(half for _, half in outline) * tall
        pen.ellipse((middle + reach * 0.55, above, middle + reach * 1.55, below), outline=255, width=round(tall * 0.05))
    pen.polygon(left + right, fill=255)
    foot = outline[-1][1] * tall
    pen.ellipse((middle - foot, bottom - foot * 0.16, middle + foot, bottom + foot * 0.16), fill=255)
    picture.paste(_shaded(picture.size, glaze, middle, max(half for _, half in outline) * tall), mask=mask)
    at, half = outline[0]
    rim = (
        middle - half * tall,
        top + at * tall - half * tall * 0.16,
        middle + half * tall,
        top + at * tall + half * tall * 0.16,
    )
    ImageDraw.Draw(picture).ellipse(rim, fill=_toned(glaze, 0.55 if shape != "lamp" else 1.2))


def _shaded(size: tuple[int, int], glaze: Colour, middle: float, reach: float) -> Image.Image:
    """The glaze, lighter to the left and darker to the right."""
    row = Image.new("RGB", (size[0], 1))
    for x in range(size[0]):
        across = max(-1.0, min(1.0, (x - middle) / reach))
        row.putpixel((x, 0), _toned(glaze, max(0.52, 1.03 - 0.24 * (across + 0.3) ** 2 - 0.12 * across)))
    return row.resize(size)


def _toned(colour: Colour, by: float) -> Colour:
    red, green, blue = (max(0, min(255, round(level * by))) for level in colour)
    return red, green, blue


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Many points for a few, without corners but for steep steps, which are edges."""
    found = []
    for (above, half), (below, next_half) in pairwise(points):
        steps = max(1, round((below - above) * 100))
        for step in range(steps):
            share = step / steps
            found.append((above + (below - above) * share, half + (next_half - half) * share))
    found.append(points[-1])
    for _ in range(_EASINGS):
        found = [found[0], *map(_eased, found, found[1:], found[2:]), found[-1]]
    return found


def _eased(before: tuple[float, float], here: tuple[float, float], after: tuple[float, float]) -> tuple[float, float]:
    is_edge = abs(before[1] - after[1]) >= _EDGE
    return here if is_edge else (here[0], (before[1] + here[1] + after[1]) / 3)
