"""Very large reference pictures: the time and memory to check one, and to make it fit into a request.

Each is done in a process of its own, so that its peak of memory is its own. Time is CPU time.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from batch.pictures.seen import checked_mime
from batch.providers.references.shrinking import fitted

SIZE = (12_000, 9_000)
KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"format": "JPEG", "quality": 90},
    "JPEG, progressive": {"format": "JPEG", "quality": 90, "progressive": True},
    "PNG": {"format": "PNG", "compress_level": 1},
    "TIFF, LZW": {"format": "TIFF", "compression": "tiff_lzw"},
    "WEBP": {"format": "WEBP", "quality": 80, "method": 0},
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One kind of picture. `base_mb` is what the process takes before it."""

    kind: str
    file_mb: float
    check_seconds: float
    fit_seconds: float
    base_mb: int
    peak_mb: int
    sent_mb: float


def measure_photographs(kinds: list[str], workdir: Path) -> Iterator[Measured]:
    """Makes each picture of 108 million pixels, once, and measures it."""
    folder = workdir / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        file = folder / kind.replace(", ", "-")
        if not file.exists():
            _draw(KINDS[kind], file)
        command = [sys.executable, "-m", "benchmarks.photographs", kind, str(file)]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
        yield Measured(**json.loads(told))


def as_markdown(found: list[Measured]) -> str:
    """A table of the results."""
    lines = [
        "| 108 million pixels | file | checked | made to fit | process before | peak | sent |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.kind} | {one.file_mb:.0f} MB | {one.check_seconds:.1f} s | {one.fit_seconds:.1f} s | "
        f"{one.base_mb} MB | {one.peak_mb:,} MB | {one.sent_mb:.1f} MB |"
        for one in found
    ]
    return "\n".join(lines)


def _draw(options: dict[str, Any], file: Path) -> None:
    bands = [Image.effect_noise((SIZE[0] // 8, SIZE[1] // 8), 40 + 20 * band) for band in range(3)]
    Image.merge("RGB", bands).resize(SIZE, Image.Resampling.BICUBIC).save(file, **options)


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _measure(kind: str, file: Path) -> Measured:
    base_mb, started = _peak_mb(), time.process_time()
    with open(file, "rb") as opened:
        checked_mime(opened)
        checked = time.process_time()
        _, made = fitted(opened, side_pixels=2048, most_bytes=4_000_000)
    return Measured(
        kind=kind,
        file_mb=file.stat().st_size / 1e6,
        check_seconds=checked - started,
        fit_seconds=time.process_time() - checked,
        base_mb=base_mb,
        peak_mb=_peak_mb(),
        sent_mb=len(made) / 1e6,
    )


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(sys.argv[1], Path(sys.argv[2])))))
