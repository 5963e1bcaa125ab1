"""Typed records are what ledgers hold, byte for byte."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from batch.core.errors import LedgerError
from batch.store.contracts import DamagedLine
from batch.store.ledger import encode_line
from batch.store.ledger_reader import open_ledger, what_is_left
from batch.store.records import DoneRecord, RunRecord, TryRecord, line_fields, read_record_line

#: Written by the version before records had types: every kind, two runs, a remake, a decision, an answer read again.
RECORDED = Path(__file__).parent / "golden/recorded.jsonl"
DOC = Path(__file__).parents[2] / "docs/ledger.md"


def recorded_lines() -> list[bytes]:
    examples = re.findall(r"```json\n(.*)\n```", DOC.read_text("utf-8"))
    return [*RECORDED.read_bytes().splitlines(keepends=True), *(f"{line}\n".encode("ascii") for line in examples)]


@pytest.mark.parametrize("line", recorded_lines())
def test_a_recorded_line_is_written_again_byte_for_byte(line: bytes) -> None:
    """Nothing in it is lost, added, put in another order or rounded."""
    record = read_record_line(line)

    assert record is not None
    assert encode_line(line_fields(record, json.loads(line)["n"])) == line


def test_every_kind_is_among_the_recorded_lines() -> None:
    """So the test above is about all of them."""
    kinds = {json.loads(line)["t"] for line in recorded_lines()}

    assert kinds == {"run", "try", "done", "fail", "unk", "adopt", "copy", "resolve", "reread", "end"}


def test_a_try_line_of_the_first_version_has_no_destination() -> None:
    """It went to the only endpoint there was, and to the model that was asked for."""
    record = read_record_line(encode_line({"v": 1, "n": 1, "t": "try", "job": "a", "ask": {"model": "m"}}))

    assert isinstance(record, TryRecord)
    assert (record.to, record.ask.model) == (None, "m")


def test_an_unknown_field_is_passed_over_and_an_unknown_kind_too(tmp_path: Path) -> None:
    """Later versions add both."""
    path = tmp_path / "ledger.jsonl"
    later = {"v": 1, "n": 1, "t": "done", "job": "a", "colour": "blue"}
    path.write_bytes(encode_line(later) + encode_line({"v": 1, "n": 2, "t": "review", "job": "a"}))

    assert [type(record) for record in open_ledger(tmp_path).records()] == [DoneRecord]


def test_a_field_of_another_type_is_an_error_with_the_ledgers_name(tmp_path: Path) -> None:
    """It is no ledger line of ours, whatever its checksum says."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(encode_line({"v": 1, "n": 1, "t": "done", "job": "a", "usd": "much"}))

    with pytest.raises(LedgerError, match=r"ledger\.jsonl: a line is no ledger line: .*usd"):
        list(open_ledger(tmp_path).records())


def test_a_line_that_changed_under_its_reader_is_an_error(tmp_path: Path) -> None:
    """The checksum is looked at wherever a line is read."""
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(encode_line(line_fields(RunRecord(manifest="shop.yaml"), 1)).replace(b"shop", b"shoe"))

    with open_ledger(tmp_path) as ledger, pytest.raises(LedgerError, match="the line at byte 0 was changed"):
        ledger.at(0)


def test_a_damaged_ledger_is_read_leniently_for_what_is_left(tmp_path: Path) -> None:
    """Damage is a value with its place, and the records behind it are read; the strict reader refuses it all."""
    lines = RECORDED.read_bytes().splitlines(keepends=True)
    flipped = bytes([lines[2][0] ^ 1]) + lines[2][1:]
    not_ours = encode_line({"v": 1, "n": 9, "t": "done", "job": 7})
    (tmp_path / "ledger.jsonl").write_bytes(b"".join([*lines[:2], flipped, *lines[3:5], not_ours, lines[5], b"to"]))

    with pytest.raises(LedgerError):
        list(open_ledger(tmp_path).records())
    found = list(open_ledger(tmp_path).salvaged())

    damaged = [each for each in found if isinstance(each, DamagedLine)]
    start = len(lines[0]) + len(lines[1])
    assert damaged[0] == DamagedLine(start, len(flipped), 3)
    assert [each.number for each in damaged] == [3, 6, 8]
    assert [each for each in found if not isinstance(each, DamagedLine)] == [
        read_record_line(line) for line in (*lines[:2], *lines[3:6])
    ]
    assert what_is_left(tmp_path) == f"5 of its lines can be read, 3 cannot: the first at line 3, byte {start:,}"
