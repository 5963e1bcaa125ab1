"""A manifest made by a program instead of written into a file: the same keys, with jobs and rows as values.

It is written down as the file would be, so that everything is read and checked by the one code, and a problem in the
third job is on line 4 for a program, too. Rows are copied before anything is looked at: they may come from a cursor
that can be read once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, BinaryIO, Final

from batch.core.errors import InputError, Problem
from batch.core.own_files import nameless_file
from batch.core.settings import GIVEN_MANIFEST

#: What messages call its rows.
GIVEN_ROWS: Final = "rows"
_DEFAULT_NAME: Final = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One entry of `jobs`, with the meaning its keys have in a manifest (docs/manifest.md); None: as `defaults` say."""

    prompt: str
    id: str | None = None
    references: tuple[str, ...] | None = None
    model: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    modalities: tuple[str, ...] | None = None
    samples: int | None = None
    system: str | None = None
    thinking: str | None = None
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    safety: Mapping[str, str] | None = None
    search: str | tuple[str, ...] | None = None
    extra: Mapping[str, Any] | None = None
    continue_from: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = None
    moderation: str | None = None
    input_fidelity: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenManifest:
    """The text of a manifest, and a stream with its rows as JSON lines if it was given any."""

    text: bytes
    rows: BinaryIO | None


def write_down(manifest: Mapping[str, Any]) -> WrittenManifest:
    """Write a manifest down as YAML's subset JSON, a job on each line.

    `jobs` is an iterable of mappings or `JobSpec`; `rows` is what a manifest may say, or an iterable of mappings.
    Raises InputError for what JSON cannot hold, with the number of the job or row, and OSError without room for rows.
    """
    top = {"name": _DEFAULT_NAME, **manifest}
    records = top["rows"] if _are_records(top.get("rows")) else None
    if records is not None:
        top["rows"] = {"file": "-", "format": "jsonl"}
    jobs = [_text(_keys_of(job), f"job {number}") for number, job in enumerate(top.pop("jobs", ()), 1)]
    head = _text(top, "the manifest")[:-1]
    lines = ",\n".join(jobs)
    try:
        text = f'{head}, "jobs": [\n{lines}\n]}}\n'.encode()
    except UnicodeEncodeError as error:
        raise _problem(f"half of a character cannot be sent: {error.reason}") from None
    return WrittenManifest(text, None if records is None else _spooled(records))


def _are_records(rows: object) -> bool:
    """Whether these are rows themselves; a text, a mapping or a list of texts says where they are."""
    if rows is None or isinstance(rows, str | Mapping) or not isinstance(rows, Iterable):
        return False
    return not (isinstance(rows, list | tuple) and rows and all(isinstance(each, str) for each in rows))


def _spooled(rows: Iterable[object]) -> BinaryIO:
    file = nameless_file()
    try:
        for number, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                raise _problem(f"row {number} must be a mapping of columns; got {type(row).__name__}")
            file.write(f"{_text(dict(row), f'row {number}')}\n".encode("utf-8", "backslashreplace"))
    except BaseException:
        file.close()
        raise
    file.seek(0, os.SEEK_SET)
    return file


def _keys_of(job: object) -> dict[str, Any]:
    if isinstance(job, JobSpec):
        return dict(_said(job))
    if isinstance(job, Mapping):
        return dict(job)
    raise _problem(f"every job must be a mapping or a JobSpec; got {type(job).__name__}")


def _said(job: JobSpec) -> Iterator[tuple[str, Any]]:
    for field in fields(job):
        value = getattr(job, field.name)
        if value is not None:
            yield field.name, value


def _text(value: Mapping[str, Any], what: str) -> str:
    """JSON; dates, decimals and other values that a database hands out as the text they print."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_printed)
    except (TypeError, ValueError) as error:
        raise _problem(f"{what} cannot be written down: {error}") from None


def _printed(value: object) -> str:
    if isinstance(value, bytes | bytearray | set | frozenset) or type(value).__str__ is object.__str__:
        raise TypeError(f"a value of type {type(value).__name__}")
    return str(value)


def _problem(message: str) -> InputError:
    return InputError([Problem(message=message, file=GIVEN_MANIFEST)])
