"""A CSV file's records as bytes: nothing is lost between them, and their cells are those that Python reads."""

from __future__ import annotations

import csv
import io
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.manifest.tables.raw_records import RawRecord, raw_records

#: Letters of one to four bytes, and all that has a meaning in a CSV file.
ALPHABETS = {
    "utf-8": 'aé€𝄞,;"\r\n 我',
    "cp1252": 'aé€,;"\r\n',
    "utf-16-le": 'aé𝄞\u0a00\u0d0a,"\r\n',
    "utf-16-be": 'aé𝄞\u0a00,"\r\n',
    "gb18030": 'a我𝄞é,"\r\n',
    "cp932": 'aソ表∵纊,"\r\n',
}

QUOTING: tuple[Literal[0, 1], ...] = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)


def cells(record: RawRecord, codec: str) -> list[str]:
    if record.is_blank:
        return []
    texts = [record.raw[start:end].decode(codec) for start, end, _ in record.cells]
    return [text[1:-1].replace('""', '"') if text.startswith('"') else text for text in texts]


@pytest.mark.parametrize("codec", sorted(ALPHABETS))
@given(data=st.data())
def test_records_are_what_python_reads(codec: str, data: st.DataObject) -> None:
    """With the lines they start on, whatever stands in the cells and ends the lines."""
    texts = st.lists(st.lists(st.text(ALPHABETS[codec], max_size=4), min_size=1, max_size=4), max_size=4)
    out = io.StringIO()
    end, quoting = data.draw(st.sampled_from(["\n", "\r\n", "\r"])), data.draw(st.sampled_from(QUOTING))
    csv.writer(out, lineterminator=end, quoting=quoting).writerows(data.draw(texts))
    text = out.getvalue().rstrip("\r\n") if data.draw(st.booleans()) else out.getvalue()
    raw = text.encode(codec)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    expected, line = [], 1
    for row in reader:
        expected.append((line, row))
        line = reader.line_num + 1

    found = list(raw_records(io.BytesIO(raw), codec, ","))

    assert b"".join(record.raw for record in found) == raw
    assert [(record.line, cells(record, codec)) for record in found] == expected


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le"])
def test_a_long_file_is_read_in_pieces(codec: str, line_end: str) -> None:
    """A line end that lies between two pieces is one line end."""
    text = "".join(f'{n},"a{line_end}b"{line_end}' for n in range(200_000))

    found = list(raw_records(io.BytesIO(text.encode(codec)), codec, ","))

    assert [record.line for record in found] == list(range(1, 400_001, 2))
