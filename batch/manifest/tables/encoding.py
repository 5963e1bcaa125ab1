"""What a table's file is by its first bytes, whatever its name and the manifest say.

Files get wrong names: a browser unpacks a .gz and keeps the name, a workbook is renamed to .csv, a page that asks
for a login is saved as the export. Read as text, they would yield garbage or hundreds of problems.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

#: As much as is looked at. A table with other letters than ASCII shows some of them by then.
HEAD_BYTES: Final = 64 * 1024

_UTF8_MARK: Final = codecs.BOM_UTF8
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

#: Encodings in which any bytes are some text, so that a wrong one is never noticed by decoding.
_ONE_BYTE: Final = frozenset(
    {"iso8859-1", "iso8859-2", "iso8859-15", "cp1250", "cp1251", "cp1252", "cp1254", "koi8-r", "mac-roman"}
)

_SAVE_AS: Final = "in the spreadsheet choose Save as, CSV UTF-8"
_FOREIGN: Final = (
    (b"\xd0\xcf\x11\xe0", f"this is an old Excel workbook (.xls), not text; {_SAVE_AS}"),
    (b"%PDF", "this is a PDF, not a table; export the table as CSV"),
    (b"PAR1", "this is a Parquet file; end its name in .parquet, or say format: parquet in rows"),
    (b"SQLite format 3", "this is a database, not a table; export the table as CSV"),
)
_PAGE: Final = re.compile(rb"(?i)\s*<(?:!doctype|html|head|body|table|\?xml)\b")


def is_packed(head: bytes) -> bool:
    """Whether it is a .gz file."""
    return head.startswith(b"\x1f\x8b")


def foreign(head: bytes, kind: str) -> str | None:
    """Why this cannot be a text table of its kind, as a sentence; None if nothing speaks against it."""
    if head.startswith(b"PK\x03\x04"):
        is_excel = b"xl/" in head or b"[Content_Types]" in head
        what = "an Excel workbook (.xlsx)" if is_excel else "a workbook or .zip file"
        return f"this is {what}, not text; {_SAVE_AS}"
    for magic, sentence in _FOREIGN:
        if head.startswith(magic):
            return sentence
    if _PAGE.match(head.removeprefix(_UTF8_MARK)):
        return "this is a web page or XML, not a table (the page of a login, perhaps?); export the table as CSV"
    if kind == "jsonl" and re.match(rb"\s*\[", head):
        return "this is one JSON list; JSON lines hold one object per line (jq -c '.[]' makes them of it)"
    if kind != "jsonl" and re.match(rb'\s*\[?\s*\{\s*"', head):
        return "this is JSON, not CSV; write one object per line and end the file's name in .jsonl"
    return None


def encoding_of(head: bytes, named: str) -> str:
    """The encoding to read with: a byte order mark is surer than what was named."""
    if head.startswith(_UTF16_MARKS):
        return "utf-16"
    return "utf-8-sig" if head.startswith(_UTF8_MARK) else named


def wrong_encoding(head: bytes, encoding: str) -> str | None:
    """Why the text is surely not in this encoding, where decoding would not notice; None if it may be.

    A table read in a wrong encoding makes prompts of wrong letters, and each is paid for.
    """
    if head.startswith(_UTF16_MARKS):
        return None
    if encoding == "utf-16":
        return None if b"\0" in head or not head else "this is not UTF-16; remove encoding, or name another"
    if head.count(b"\0") * 4 > len(head):
        return "this looks like UTF-16; write encoding: utf-16 in rows, or save the table as CSV UTF-8"
    if encoding in _ONE_BYTE and not head.isascii() and is_utf8(head):
        return f"this is UTF-8, and letters such as \u00e4 would come out wrong as {encoding}; remove encoding"
    return None


def is_utf8(head: bytes) -> bool:
    """Whether the bytes are UTF-8, but for a character cut off at the end."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True
