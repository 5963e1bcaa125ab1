"""Draw README's picture anew, from a run of the quick start: `python -m benchmarks.pictures`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

import imagebatch

ROOT = Path(__file__).parents[1]
_SIDE_PIXELS = 240
_GAP_PIXELS = 12
_WORDS_PIXELS = 26


def contact_sheet(output: Path) -> Image.Image:
    """The pictures of a folder in a row, each in a square, with its id below."""
    lines = [json.loads(line) for line in (output / "manifest.jsonl").read_text("utf-8").splitlines()]
    shown = [(line["id"], output / line["images"][-1]["path"]) for line in lines if line["images"]]
    step = _SIDE_PIXELS + _GAP_PIXELS
    sheet = Image.new("RGB", (step * len(shown) + _GAP_PIXELS, step + _GAP_PIXELS + _WORDS_PIXELS), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, file) in enumerate(shown):
        left = _GAP_PIXELS + number * step
        with Image.open(file) as picture:
            picture.thumbnail((_SIDE_PIXELS, _SIDE_PIXELS))
            top = _GAP_PIXELS + (_SIDE_PIXELS - picture.height) // 2
            sheet.paste(picture.convert("RGB"), (left + (_SIDE_PIXELS - picture.width) // 2, top))
        draw.text((left + _SIDE_PIXELS / 2, step + 4), name, fill="black", anchor="ma", font_size=16)
    return sheet


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        imagebatch.run_sync(ROOT / "jobs/quickstart.yaml", output=folder)
        target = ROOT / "docs/pictures/quickstart.png"
        target.parent.mkdir(exist_ok=True)
        contact_sheet(Path(folder)).quantize(128).save(target, optimize=True)
