"""JSON lines, streamed: one object per line, its keys are the columns.

Lines may differ in their keys. All keys are collected in a pass of their own, once, so that a name no line has is
one problem of the manifest, told with what was probably meant; a key that only this row lacks is a problem of the row.
Numbers keep their digits as they are written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from batch.core.errors import Problem
from batch.manifest.problems import Report, show
from batch.manifest.tables.table_reader import (
    MAX_COLUMNS,
    MAX_LINE_CHARACTERS,
    READ_ERRORS,
    NestedTooDeep,
    TableReader,
    as_cell,
    unreadable,
)


class JsonlReader(TableReader):
    """One pass over JSON lines. `known` keeps the columns from one pass to the next."""

    has_gaps = True

    def __init__(self, stream: BinaryIO, shown: str, encoding: str, known: list[str]) -> None:
        super().__init__(stream, shown)
        self._encoding = encoding
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
        self._known = known

    @property
    def encoding(self) -> str:
        """The encoding it is read in."""
        return self._encoding

    def read_header(self, report: Report) -> bool:
        """Collect the keys of all lines; False (and a problem) if there are none to work with."""
        if not self._known:
            self._known.extend(self._all_keys())
            self._broken = False
            self._text.seek(0)
        self.columns = tuple(self._known)
        if len(self.columns) > MAX_COLUMNS:
            message = f"the lines have more than {MAX_COLUMNS:,} different keys; keys are names of columns"
            report(self._problem(message, 1))
            return False
        if not self.columns:
            self._say_why_there_are_none(report)
        return bool(self.columns)

    def rows(self, report: Report) -> Iterator[tuple[int, list[Any]]]:
        """Every line that is an object. Empty lines are skipped."""
        columns = self.columns
        for line, found in self._objects(report):
            # `None` stands for a key this line does not have; a null is an empty text.
            try:
                row = [_cell(found[name]) if name in found else None for name in columns]
            except NestedTooDeep:
                report(self._problem("the line is nested too deep", line))
            else:
                yield line, row

    def _all_keys(self) -> list[str]:
        keys: dict[str, None] = {}
        for _, found in self._objects(_ignore):
            keys.update(dict.fromkeys(found))
            if len(keys) > MAX_COLUMNS:  # a file that uses keys for values would grow without end
                break
        return list(keys)

    def _say_why_there_are_none(self, report: Report) -> None:
        said: list[Problem] = []
        lines = sum(1 for _ in self._objects(said.append))
        if not said and lines:
            said.append(self._problem("no line has a key; keys name the columns", 1))
        elif not said:
            self._say_empty("has no rows; write one JSON object per line", report)
        for problem in said:
            report(problem)

    def _objects(self, report: Report) -> Iterator[tuple[int, dict[str, Any]]]:
        line = 0
        try:
            while text := self._text.readline(MAX_LINE_CHARACTERS):
                line += 1
                if len(text) >= MAX_LINE_CHARACTERS:
                    self._give_up(f"the line is longer than {MAX_LINE_CHARACTERS:,} characters", line, report)
                    return
                if text.isspace():
                    continue
                try:
                    found = _DECODER.decode(text)
                except RecursionError:
                    report(self._problem("the line is nested too deep", line))
                except json.JSONDecodeError as error:
                    place = min(error.pos, len(text.rstrip())) + 1
                    message = f"no JSON object on this line ({show(error.msg)}, character {place})"
                    report(self._problem(message, line))
                except _Unfit as error:
                    report(self._problem(str(error), line))
                else:
                    if isinstance(found, dict):
                        yield line, found
                    else:
                        report(self._problem('every line must be an object such as {"Title": "Kite"}', line))
        except UnicodeDecodeError:
            self._give_up(*self._not_decodable(self._encoding, line + 1), report)
        except UnicodeError:
            self._give_up(f"the table cannot be read: it is not {self._encoding}", line + 1, report)
        except READ_ERRORS as error:
            self._give_up(unreadable(error), line + 1, report)


class _Unfit(Exception):  # never leaves this file
    """JSON by its grammar, but with no clear meaning."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        doubled = next(key for key in keys if keys.count(key) > 1)
        raise _Unfit(f'the key "{show(doubled)}" is written twice; keep one')
    return found


def _no_number(word: str) -> Any:
    raise _Unfit(f"{word} is no JSON; write a number or null")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=str, parse_int=str, parse_constant=_no_number)


def _cell(value: Any) -> Any:
    return value if value.__class__ is str else as_cell(value)


def _ignore(_: Problem) -> None:
    """For the pass that only collects; the next one tells what is wrong."""
