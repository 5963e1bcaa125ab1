"""What an export is asked for, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Layout(StrEnum):
    """What stands beside the pictures: the table they came from, a line for each of them, or tars that hold all."""

    TABLE = "table"
    PICTURES = "pictures"
    TARS = "tars"


class Status(StrEnum):
    """How a job stands, as far as an export asks."""

    ACCEPTED = "accepted"
    UNSEEN = "unseen"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    PENDING = "pending"
    #: The manifest has no job of this id any more, so there is no row for its picture.
    GONE = "gone"
    #: Its file is missing, or not what was bought.
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What one column gets. Of `names` the first is written where the table has none of them.

    `value` is a template over the row's columns and the picture's facts (`facts.FACTS`). The column is added if some
    row has at least `added_for` pictures; 0: never, for an absent optional column leaves what the shop has.
    `numbered`: of several pictures the second goes to `image_2` and so on. `in_further_rows`: filled there, too.
    """

    names: tuple[str, ...]
    value: str
    added_for: int = 1
    numbered: bool = False
    in_further_rows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The settings for one kind of receiver.

    `table_format` None: as the source's. `further_rows_by`: where a row has several pictures, each further one gets a
    row of its own below the product's, which repeats this column. `next_step` is what to do in the shop.
    """

    name: str
    summary: str
    columns: tuple[Column, ...] = ()
    layout: Layout = Layout.TABLE
    table_format: str | None = None
    table_name: str | None = None
    further_rows_by: tuple[str, ...] = ()
    needs_url: bool = False
    #: The folder of the pictures in the export.
    folder: str = "images"
    next_step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """How pictures are changed on the way. Lengths in pixels; `mime` "" keeps each picture's format.

    `square` pads to a square with the `background`, which also stands behind what is transparent in a JPEG.
    """

    mime: str = ""
    quality: int = 90
    longest_side: int | None = None
    square: bool = False
    background: str = "white"

    @property
    def changes_pixels(self) -> bool:
        """Whether every picture is written anew, and not only those of another format."""
        return self.longest_side is not None or self.square


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """One export. `to` None: a folder of the preset's name in the output's `export/`.

    `base_url` is where the pictures' folder will be served. `include` are statuses beside those that are handed over by
    themselves. `source_type` None: by whether a job had references. `table_only`: no pictures are copied.
    """

    preset: Preset
    to: Path | None = None
    base_url: str = ""
    manifest: Path | None = None
    columns: tuple[Column, ...] = ()
    names: str | None = None
    include: frozenset[Status] = frozenset()
    table_format: str | None = None
    exported_rows_only: bool = False
    table_only: bool = False
    conversion: Conversion | None = None
    provenance: bool = True
    source_type: str | None = None
    excel_safe: bool = False
    per_tar: int = 1000
