"""An output folder to show the pages with: pottery of our own drawing, with failures, versions and decisions."""

from __future__ import annotations

import hashlib
import io
import random
from itertools import product
from pathlib import Path
from typing import Final

from batch.core.decisions import Decision, Verdict
from batch.store.decisions import DecisionFile
from batch.store.records import ReferenceRecord
from benchmarks.still_life import GLAZES, SETTINGS, SHAPES, draw
from tests.support.written_output import WrittenOutput

_SETTINGS: Final = [name for name in SETTINGS if name != "plain"]
_VENDORS: Final = ("North & Clay", "Atelier Lys", "Kiln House")
_LIGHT: Final = {
    "studio": "in a bright studio",
    "dusk": "at dusk, cool light",
    "garden": "in a garden room",
    "morning": "in morning sun",
}


def write_demo(folder: Path, *, endpoint: str = "anyfast") -> Path:
    """Write the folder, with reference photos beside it; returns the output folder."""
    chance = random.Random(7)
    output = WrittenOutput(folder / "pottery", endpoint=endpoint, manifest=str(folder / "pottery.yaml"))
    decisions = []
    kinds = [*product(GLAZES, SHAPES)]
    chance.shuffle(kinds)
    for number, (glaze, shape) in enumerate(kinds):
        setting = chance.choice(_SETTINGS)
        job = f"{shape}-{glaze}"
        row = {
            "Title": f"{glaze.title()} {shape}", "Vendor": chance.choice(_VENDORS), "Type": shape.title(),
            "Price": f"{chance.randint(18, 140)}.00",
        }  # fmt: skip
        prompt = f"Product photo of {_called(glaze)} {shape} on a table {_LIGHT[setting]}, nothing cut off, no text."
        reference = _reference(folder / "photos", job, draw(shape, glaze, "plain", seed=number, size=(640, 640)))
        asked = {"prompt": prompt, "row": row, "references": [reference], "aspect_ratio": "1:1"}
        if number % 17 == 8:
            output.failed(
                job,
                **asked,
                code="image_safety",
                message="IMAGE_SAFETY: the picture was blocked by the provider's filter",
            )
            continue
        if number % 23 == 12:
            output.unknown(job, **asked)
            continue
        times = 3 if number in (1, 9, 20) else 1
        for version in range(times):
            is_wide = number % 13 == 5
            size = (800, 600) if is_wide else (768, 768)
            warnings = ["another_shape: asked for 1:1, got 4:3"] if is_wide else []
            caption = f"{_called(glaze).capitalize()} {shape} on a table {_LIGHT[setting]}."
            data = _png(draw(shape, glaze, setting, seed=number + 100 * version, size=size))
            image = output.done(job, **asked, data=data, size=size, caption=caption, warnings=warnings)
            if version < times - 1:
                decisions.append(_decided(job, image.sha256, Verdict.REJECTED, ("shadow",), "Softer shadow, please."))
        if number % 3 == 0:
            decisions.append(_decided(job, image.sha256, Verdict.ACCEPTED))
        elif number % 11 == 4:
            decisions.append(_decided(job, image.sha256, Verdict.REJECTED, ("colour",), "The glaze is too dark."))
    made = output.finish()
    DecisionFile(made).append(decisions)
    return made


def _called(glaze: str) -> str:
    return f"{'an' if glaze[0] in 'aeiou' else 'a'} {glaze}"


def _decided(job: str, sha256: str, verdict: Verdict, reasons: tuple[str, ...] = (), note: str = "") -> Decision:
    return Decision(at="2026-11-02T09:00:00Z", job=job, sha256=sha256, verdict=verdict, reasons=reasons, note=note)


def _reference(folder: Path, job: str, picture: object) -> ReferenceRecord:
    folder.mkdir(parents=True, exist_ok=True)
    data = _png(picture)
    (folder / f"{job}.png").write_bytes(data)
    return ReferenceRecord(f"photos/{job}.png", hashlib.sha256(data).hexdigest())


def _png(picture: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()
