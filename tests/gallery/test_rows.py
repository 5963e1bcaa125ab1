"""What pages are told of an entry, and how it is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.album import open_album
from batch.core.decisions import Decision, Verdict
from batch.gallery.chunks import in_columns, script
from batch.gallery.rows import details_of, row_of, shown_name
from batch.store.decisions import DecisionFile
from tests.support.written_output import WrittenOutput

_ROWS = st.fixed_dictionaries(
    {"id": st.text("ab", max_size=3)},
    optional={"versions": st.integers(0, 3), "simulated": st.booleans(), "c.Vendor": st.sampled_from(["", "<", "é"])},
)


def value(column: Any, index: int) -> Any:
    """A column's value, read as the pages do."""
    return column[index] if isinstance(column, list) else column["of"][column["at"][index]]


@given(st.lists(_ROWS, min_size=1, max_size=30))
def test_columns_give_back_every_row(rows: list[dict[str, Any]]) -> None:
    """Whether a column is written in full or by its different values, each row has what it had, or an empty text."""
    columns = in_columns(rows)
    for index, row in enumerate(rows):
        for name, column in columns.items():
            assert value(column, index) == row.get(name, "")


@given(st.text())
def test_a_script_holds_no_character_that_means_something_in_html(text: str) -> None:
    """Whatever text rows hold, a script file is ASCII without < > &, and gives it back."""
    data = script("rows", 1, {"id": [text]}).decode("ascii")
    assert not set("<>&") & set(data)
    assert json.loads(data.removeprefix('imagebatch.take("rows",1,').removesuffix(");\n")) == {"id": [text]}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photos/mug.png", "photos/mug.png"),
        ("/home/ann/private/mug.png", "mug.png"),
        ("~/private/mug.png", "mug.png"),
        ("../../private/mug.png", "mug.png"),
        ("https://user:secret@example.com/a/mug.png?signature=1#x", "https://example.com/a/mug.png"),
        ("https://example.com", "https://example.com"),
    ],
)
def test_a_reference_is_named_without_what_is_private(name: str, shown: str) -> None:
    """Folders above the manifest's, and users, passwords and signatures of addresses are left out."""
    assert shown_name(name) == shown


def test_a_row_has_the_newest_word_on_the_picture_that_is_shown(tmp_path: Path) -> None:
    """A rejected version that was made again is unseen; an accepted one is shown before a newer one."""
    output = WrittenOutput(tmp_path / "out")
    first, again = output.done("a", data=b"1"), output.done("a", data=b"2")
    kept, _ = output.done("b", data=b"3"), output.done("b", data=b"4")
    made = output.finish()
    at = "2026-11-28T12:00:00Z"
    DecisionFile(made).append(
        [
            Decision(at=at, job="a", sha256=first.sha256, verdict=Verdict.REJECTED, note="too dark"),
            Decision(at=at, job="b", sha256=kept.sha256, verdict=Verdict.ACCEPTED, reasons=("light",)),
        ]
    )
    rows = {entry.id: row_of(entry) for entry in open_album(made)}
    assert (rows["a"]["sha"], rows["a"]["verdict"], rows["a"]["versions"]) == (again.sha256, "", 2)
    assert (rows["b"]["sha"], rows["b"]["verdict"], rows["b"]["reasons"]) == (kept.sha256, "accepted", "light")


def test_details_of_a_failure_advise_without_the_folder_s_path(tmp_path: Path) -> None:
    """The output folder is named as it is called, not where it lies."""
    output = WrittenOutput(tmp_path / "out")
    output.failed("a", code="bad_image", message="cut off")
    [entry] = open_album(output.finish())
    failure = details_of(entry, "out")["failure"]
    assert "imagebatch reread out," in failure["advice"]
    assert str(tmp_path) not in json.dumps(details_of(entry, "out"))
