"""CSV and TSV, streamed, every cell kept as the text it is.

Spreadsheets leave empty rows and cells behind, or drop empty cells at a row's end: that is put right. A row that
does not fit the header otherwise is a problem with its line.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, Final

from batch.manifest.problems import Report, show
from batch.manifest.tables.headed_rows import HeadedReader, Record
from batch.manifest.tables.table_reader import MAX_LINE_CHARACTERS, READ_ERRORS, unreadable

_TOO_LONG: Final = f"its line is longer than {MAX_LINE_CHARACTERS:,} characters"

#: Excel's own first line, which names the delimiter.
_SEP_LINE: Final = re.compile('"?sep=(?P<delimiter>[^\r\n"])"?[\r\n]*')


class CsvReader(HeadedReader):
    """One pass over a table, one row of which names the columns.

    `delimiter` is what the manifest names, `usual_delimiter` what such files have if neither it nor the file's
    first line (`sep=;`) says otherwise.
    """

    def __init__(
        self,
        stream: BinaryIO,
        shown: str,
        encoding: str,
        delimiter: str | None,
        usual_delimiter: str = ",",
        *,
        header_row: int | None = None,
        data_row: int | None = None,
    ) -> None:
        super().__init__(stream, shown, header_row=header_row, data_row=data_row)
        self._encoding = encoding
        self._text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        self._delimiter = delimiter
        self._usual_delimiter = usual_delimiter
        self._lines_before = 0
        self._number = 0
        self._reader: Any = None
        self._short_cells = 0

    @property
    def delimiter(self) -> str:
        """What separates the cells. To be asked after the header was read."""
        found: str = self._reader.dialect.delimiter
        return found

    @property
    def encoding(self) -> str:
        """The encoding it is read in."""
        return self._encoding

    def _lines(self) -> Iterator[str]:
        while line := self._text.readline(MAX_LINE_CHARACTERS):
            if len(line) >= MAX_LINE_CHARACTERS:
                raise csv.Error(_TOO_LONG)
            yield line

    def _raw_records(self, report: Report) -> Iterator[Record]:
        line = 1
        try:
            reader = self._reader or self._begin()
            before = self._lines_before + 1
            line = reader.line_num + before
            for row in reader:
                self._number += 1
                yield self._number, line, row
                line = reader.line_num + before
        except csv.Error as error:
            self._give_up(f"the row cannot be read: {_csv_words(error)}", line, report)
        except UnicodeDecodeError:
            self._give_up(*self._not_decodable(self._encoding, line), report)
        except UnicodeError:
            self._give_up(f"the table cannot be read: it is not {self._encoding}", line, report)
        except READ_ERRORS as error:
            self._give_up(unreadable(error), line, report)

    def _begin(self) -> Any:
        lines = self._lines()
        first = next(lines, "")
        separated = _SEP_LINE.fullmatch(first)
        if separated is not None:
            self._lines_before = 1
        named = self._delimiter or (separated and separated["delimiter"])
        # A title above the header says nothing about it.
        guessed = _only_delimiter(first, self._usual_delimiter) if self._header_row in (None, 1) else None
        delimiter = named or guessed or self._usual_delimiter
        rest = lines if separated is not None else chain([first], lines)
        self._reader = csv.reader(rest, delimiter=delimiter, strict=True)
        return self._reader

    def _fitted(self) -> None:
        self._short_cells = 0

    def _undivided(self) -> str | None:
        found = set(self.columns[0]) & set(";\t|,") if len(self.columns) == 1 else set()
        words = {"\t": "tab"}
        wanted = " or ".join(f'"{words.get(character, character)}"' for character in sorted(found))
        return f"the header is one cell; name the delimiter in rows, perhaps {wanted}" if found else None

    def _misfit(self, row: list[str]) -> str | None:
        """What is wrong with a row of another width than the header's; None if only empty cells make the difference.

        A line end that stands in a cell without quotes breaks a row in two. Filled up with empty cells, both would
        make jobs of half a product; they are known by what they have together, or by the single cell.
        """
        width = len(self.columns)
        count = len(row)
        if count > width:
            self._short_cells = 0
            if not any(map(str.strip, row[width:])):
                return None
            first = "; the first line must name the columns" if width == 1 else ""
            return f"the row has {count} cells and the header {width}; quote cells that hold the delimiter{first}"
        together = self._short_cells + count - 1 if self._short_cells else count
        self._short_cells = count if together > width else together
        if count == 1:
            return f"the row has 1 cell and the header {width}; quote cells that hold a line end or the delimiter"
        if together == width:
            return "this row and the one before look like one row, broken in two; quote cells that hold a line end"
        return None

    def _ends_inside_a_line(self) -> bool:
        """Whether the file's last line has no end, as one that was cut off. Of a packed file the checksum says it."""
        try:
            self._stream.seek(-4, os.SEEK_END)
            return not {b"\n", b"\r"} & {bytes([byte]) for byte in self._stream.read()}
        except (OSError, ValueError):
            return False


def _only_delimiter(header: str, usual: str) -> str | None:
    """What separates the names of a header that has not the usual delimiter, if it can be nothing else.

    Spreadsheets of half the world save their .csv with semicolons.
    """
    found = [character for character in ";\t|" if character in header]
    return found[0] if len(found) == 1 and usual not in header else None


def _csv_words(error: csv.Error) -> str:
    words = str(error)
    if words == _TOO_LONG:
        return words
    if "unexpected end of data" in words:
        return "a quoted cell is never closed"
    if "expected after" in words:
        return 'something follows a closing quote; write " inside a quoted cell as ""'
    if "field larger" in words:
        return "a cell is larger than 131,072 characters, or a quote before it is never closed"
    return show(words)
