"""The gallery of many jobs: how long pages take to build, and how they feel in chromium, opened from disk.

The output folder is written as a run would have left it. Thumbnails are hard links to sixty files, so that the
browser decodes as many pictures as with a real folder; how long they take to make is measured on 1024 x 1024 PNG.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batch.gallery import gallery_folder
from batch.gallery.build import THUMBNAILS
from batch.gallery.thumbnails import SmallCopy, make, small_copy_name
from batch.store.records import DoneRecord, ImageRecord
from benchmarks import measure
from benchmarks.compare import empty_folder
from benchmarks.servers import busy_seconds
from benchmarks.still_life import GLAZES, SETTINGS, SHAPES, draw
from tests.support.browser import a_browser
from tests.support.written_output import MODEL, RUN, SPEC, WrittenOutput

_WORDS: Final = [
    "lantern",
    "oak",
    "brass",
    "mug",
    "woven",
    "basket",
    "linen",
    "throw",
    "ceramic",
    "vase",
    "evening",
    "light",
    "soft",
    "daylight",
    "plain",
    "background",
    "photograph",
    "shadow",
    "walnut",
    "table",
    "studio",
    "window",
    "morning",
    "kitchen",
    "shelf",
    "garden",
    "stone",
]
_DRAWN: Final = 60
_SEARCHES: Final = ("lantern", "lantern oak", "product-07777", "brass mug woven basket", "no such word")
_ROUNDS: Final = 5
_PAGE_SIZE: Final = {"width": 1400, "height": 900}
#: A page of 100,000 rows lays all its chunks down within this time on a loaded machine.
_LOADED_SECONDS: Final = 120

_SEARCH = """(search) => {
    const began = performance.now();
    imagebatch.app.setSearch(search);
    document.getElementById('grid').getBoundingClientRect();
    return performance.now() - began;
}"""
_SCROLL = """([step, frames]) => new Promise((resolve) => {
    const scroller = document.getElementById('scroller');
    const times = [];
    let last = performance.now();
    const next = (now) => {
        times.push(now - last);
        last = now;
        scroller.scrollTop += step;
        if (times.length < frames) requestAnimationFrame(next);
        else resolve(times.slice(5));
    };
    requestAnimationFrame(next);
})"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One size of gallery. Frames are in ms: of reading speed (100 pixels a frame) and of a fling (2,500)."""

    rows: int
    build: measure.Usage
    again: measure.Usage
    other_cpu_seconds: float
    data_mb: float
    first_paint_ms: float
    loaded_ms: float
    search_ms: float
    slowest_search_ms: float
    reading_frames: tuple[float, float]
    fling_frames: tuple[float, float]
    heap_mb: float
    elements: int


def measure_gallery(rows: Iterable[int], workdir: Path, timeout: float) -> Iterator[Measured]:
    """Each size in turn. Raises `CommandFailed` if a build fails."""
    for count in rows:
        with empty_folder(workdir / "gallery") as folder:
            output = _write(folder / "out", count)
            os.sync()
            before = busy_seconds()
            argv = [sys.executable, "-m", "batch", "gallery", str(output), "--no-thumbnails"]
            build = measure.run(argv, log=folder / "build.log", timeout=timeout)
            other = busy_seconds() - before - build.cpu_seconds
            again = measure.run(argv, log=folder / "again.log", timeout=timeout)
            _link_thumbnails(gallery_folder(output), count)
            felt = asyncio.run(_felt(gallery_folder(output) / "index.html"))
            data = sum(file.stat().st_size for file in (gallery_folder(output) / "data").iterdir())
            yield Measured(
                rows=count, build=build, again=again, other_cpu_seconds=max(0.0, other), data_mb=data / 1e6, **felt
            )


def thumbnail_ms(folder: Path, pictures: int = 12) -> tuple[float, float]:
    """CPU ms for the thumbnail of a PNG of 1024 x 1024 pixels, and its size in kB."""
    sources = []
    for number in range(pictures):
        source = folder / f"{number}.png"
        _drawn(number, 1024).save(source)
        sources.append(SmallCopy(source=str(source), sha256="", target=str(folder / f"{number}.webp")))
    began = _cpu_seconds()
    for copy in sources:
        make(copy)
    cpu_ms = (_cpu_seconds() - began) / pictures * 1000
    return cpu_ms, statistics.mean(os.path.getsize(copy.target) for copy in sources) / 1000


def tell(one: Measured) -> None:
    """One line per size, while it goes on."""
    print(
        f"{one.rows:10,} rows  build {one.build.wall_seconds:.1f} s ({one.build.cpu_seconds:.1f} s CPU), paint "
        f"{one.first_paint_ms:.0f} ms, search {one.search_ms:.0f} ms, frames p95 {one.reading_frames[1]:.0f} and "
        f"{one.fling_frames[1]:.0f} ms, {one.heap_mb:.0f} MB",
        file=sys.stderr,
    )


def as_markdown(found: Iterable[Measured], thumbnail: tuple[float, float]) -> str:
    """A column per size, and what a thumbnail takes."""
    columns = list(found)
    lines: list[tuple[str, list[str]]] = [
        ("build, without thumbnails: wall, CPU", [_usage(one.build) for one in columns]),
        ("others' CPU meanwhile", [f"{one.other_cpu_seconds:.0f} s" for one in columns]),
        ("peak memory of the build", [f"{one.build.peak_mb:.0f} MB" for one in columns]),
        ("a second build", [_usage(one.again) for one in columns]),
        ("rows and details on disk", [f"{one.data_mb:.0f} MB" for one in columns]),
        ("first contentful paint", [f"{one.first_paint_ms:.0f} ms" for one in columns]),
        ("all rows of the page loaded", [f"{one.loaded_ms / 1000:.1f} s" for one in columns]),
        ("search, median and slowest", [f"{one.search_ms:.0f}, {one.slowest_search_ms:.0f} ms" for one in columns]),
        ("frame while reading on, p50 and p95", [_pair(one.reading_frames) for one in columns]),
        ("frame in a fling, p50 and p95", [_pair(one.fling_frames) for one in columns]),
        ("memory of the page's scripts", [f"{one.heap_mb:.0f} MB" for one in columns]),
        ("elements in the page", [str(one.elements) for one in columns]),
    ]
    head = f"| | {' | '.join(f'{one.rows:,} jobs' for one in columns)} |"
    rows = [f"| {name} | {' | '.join(cells)} |" for name, cells in lines]
    cpu_ms, size_kb = thumbnail
    after = f"\nA thumbnail of a 1024x1024 PNG takes {cpu_ms:.0f} ms of CPU and has {size_kb:.1f} kB."
    return "\n".join([head, "|---|" + "---|" * len(columns), *rows, after])


def _usage(usage: measure.Usage) -> str:
    return f"{usage.wall_seconds:.1f} s, {usage.cpu_seconds:.1f} s"


def _pair(frames: tuple[float, float]) -> str:
    return f"{frames[0]:.0f}, {frames[1]:.0f} ms"


async def _felt(index: Path) -> dict[str, Any]:
    async with a_browser("--js-flags=--expose-gc") as browser:
        page = await browser.new_page(viewport=_PAGE_SIZE)
        await page.goto(index.as_uri())
        ready = "!imagebatch.app.loading && imagebatch.app.prepared"
        loaded = 0.0
        for _ in range(_LOADED_SECONDS * 20):
            if not loaded and await page.evaluate("!imagebatch.app.loading"):
                loaded = await page.evaluate("performance.now()")
            if await page.evaluate(ready):
                break
            await page.wait_for_timeout(50)
        searches = [await page.evaluate(_SEARCH, search) for search in _SEARCHES for _ in range(_ROUNDS)]
        await page.evaluate(_SEARCH, "")
        reading = await page.evaluate(_SCROLL, [100, 240])
        fling = await page.evaluate(_SCROLL, [2500, 240])
        elements = await page.evaluate("document.getElementsByTagName('*').length")
        await page.evaluate("gc()")
        paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        return {
            "first_paint_ms": await page.evaluate(paint),
            "loaded_ms": loaded,
            "search_ms": statistics.median(searches),
            "slowest_search_ms": max(searches),
            "reading_frames": _quantiles(reading),
            "fling_frames": _quantiles(fling),
            "heap_mb": await page.evaluate("performance.memory.usedJSHeapSize") / 1e6,
            "elements": elements,
        }


def _quantiles(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def _write(folder: Path, count: int) -> Path:
    """Jobs with prompt, caption and row; every fiftieth failed."""
    chance = random.Random(1)
    output = WrittenOutput(folder)
    data = b"no picture is opened here"
    (folder / "images/one.png").write_bytes(data)
    for number in range(count):
        job = f"product-{number:06}"
        row = {
            "Vendor": chance.choice(_WORDS),
            "Title": " ".join(chance.choices(_WORDS, k=3)),
            "Price": str(number % 97),
        }
        prompt = "Product photo of " + " ".join(chance.choices(_WORDS, k=16))
        if number % 50 == 7:
            output.failed(job, prompt, row=row)
            continue
        attempt = output.asked(job, prompt, row=row, model=MODEL)
        image = ImageRecord("images/one.png", "image/png", 1024, 1024, len(data), _sha256(number))
        caption = " ".join(chance.choices(_WORDS, k=10))
        output.write(
            DoneRecord(
                at="2026-11-01T00:00:00Z", run=RUN, job=job, spec=SPEC, att=attempt, seconds=12.5, usd=0.067,
                usd_from="list", images=(image,), caption=caption,
            )
        )  # fmt: skip
    return output.finish()


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _link_thumbnails(gallery: Path, count: int) -> None:
    """Every picture's thumbnail as another name of one of sixty."""
    drawn = []
    (gallery / THUMBNAILS).mkdir()
    for number in range(min(_DRAWN, count)):
        file = gallery / THUMBNAILS / f"{number}.webp"
        _drawn(number, 256).save(file, quality=70)
        drawn.append(file)
    for number in range(count):
        target = gallery / THUMBNAILS / small_copy_name(_sha256(number))
        target.parent.mkdir(exist_ok=True)
        os.link(drawn[number % len(drawn)], target)


def _drawn(number: int, side: int) -> Any:
    kinds, glazes, settings = [*SHAPES], [*GLAZES], [*SETTINGS]
    return draw(
        kinds[number % len(kinds)], glazes[number % len(glazes)], settings[number % 5], seed=number, size=(side, side)
    )


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
