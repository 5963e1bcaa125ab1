"""index.html, and the scripts and styles beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

import jinja2

#: In the order in which they are loaded.
SCRIPTS: Final = ("table.js", "query.js", "words.js", "grid.js", "filters.js", "compare.js", "detail.js", "app.js")
#: What review adds, loaded before the last one.
REVIEW: Final = "review.js"
STYLE: Final = "app.css"
_CONTENT: Final = files("batch.gallery") / "client"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page is made of. Files are named by their paths in the gallery; scripts are in order.

    `reviews`: it takes decisions, so it may speak to its server.
    """

    title: str
    style: str
    scripts: tuple[str, ...]
    index: str
    simulated: bool
    reviews: bool = False


def asset(name: str) -> bytes:
    """A script or style as it was installed."""
    return (_CONTENT / name).read_bytes()


def render_page(page: Page) -> bytes:
    """The page's HTML. What it may load is said in it: its own scripts, styles and pictures, and nothing else."""
    return _template().render(page=page).encode("utf-8")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template: jinja2.Template = environment.from_string((_CONTENT / "index.html").read_text("utf-8"))
    return template
