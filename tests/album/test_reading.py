"""An output folder read into entries: what people see of each job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch import RunOptions, run_sync
from batch.album import Album, Entry, PictureState, open_album
from batch.core.decisions import Decision, Verdict
from batch.core.errors import LedgerError, OutputError
from batch.core.settings import ChangedPolicy
from batch.store.decisions import DecisionFile
from batch.store.job_state import Standing

MANIFEST = """\
provider:
  profile: simulator
  simulator:
    pictures: plain
    faults:
      - {{fault: finish_image_safety, prompt: knife}}
      - {{fault: cut, prompt: lamp}}
defaults: {{image_size: 512}}
retry: {{unknown: hold}}
dedupe: true
rows: rows.csv
keep: all
jobs:
  - {{id: "{{{{ sku }}}}", prompt: "{words} {{{{ name }}}}"}}
"""
ROWS = "sku,name,price\n007,cup,1E5\nk,knife,2\nl,lamp,3\n"


def bought(folder: Path, *, words: str = "a", rows: str = ROWS, options: RunOptions | None = None) -> Path:
    """The output folder of a finished run."""
    (folder / "m.yaml").write_text(MANIFEST.format(words=words))
    (folder / "rows.csv").write_text(rows)
    run_sync(folder / "m.yaml", output=folder / "out", options=options)
    return folder / "out"


def by_id(output: Path) -> dict[str, Entry]:
    return {entry.id: entry for entry in open_album(output)}


def decide(output: Path, entry: Entry, verdict: Verdict, version: int = 0) -> None:
    picture = entry.versions[version].pictures[0]
    DecisionFile(output).append(
        [Decision(at="2026-01-01T00:00:00.000Z", job=entry.id, sha256=picture.sha256, verdict=verdict)]
    )


def test_entries_come_in_the_manifests_order_with_their_rows(tmp_path: Path) -> None:
    """Whatever order they were settled in; cells are the text of the table."""
    entries = list(open_album(bought(tmp_path)))

    assert [(entry.position, entry.id) for entry in entries] == [(0, "007"), (1, "k"), (2, "l")]
    assert entries[0].row == {"sku": "007", "name": "cup", "price": "1E5"}


def test_a_done_job_has_its_picture_its_words_and_its_money(tmp_path: Path) -> None:
    """One version, which is the current one, from one attempt."""
    output = bought(tmp_path)
    entry = by_id(output)["007"]

    assert (entry.standing, entry.prompt, entry.endpoint) == (Standing.DONE, "a cup", "simulator")
    assert entry.current is not None
    assert entry.versions == (entry.current,)
    (picture,) = entry.current.pictures
    assert (output / picture.path).stat().st_size == picture.size_bytes
    assert (picture.state, picture.decision, entry.current.simulated) == (PictureState.WHOLE, None, True)
    assert [(attempt.number, attempt.outcome, attempt.paid) for attempt in entry.attempts] == [(1, "done", "yes")]
    assert entry.cost_usd == entry.current.cost_usd == entry.attempts[0].cost_usd > 0


def test_a_failure_has_its_cause_and_what_to_do(tmp_path: Path) -> None:
    """A refused picture was charged, and the advice says what to change."""
    entry = by_id(bought(tmp_path))["k"]

    assert entry.standing is Standing.FAILED
    assert (entry.current, entry.chosen, entry.versions) == (None, None, ())
    assert entry.failure is not None
    assert entry.failure.code == "image_safety"
    assert "change the words" in entry.failure.advice
    assert (entry.attempts[-1].code, entry.attempts[-1].paid) == ("image_safety", "yes")


def test_an_unknown_outcome_may_have_cost_something(tmp_path: Path) -> None:
    """A request cut off counts as maybe paid."""
    entry = by_id(bought(tmp_path))["l"]

    assert entry.standing is Standing.UNKNOWN
    assert entry.failure is not None
    assert entry.maybe_cost_usd > 0
    assert entry.attempts[-1].paid == "maybe"


def test_money_of_all_entries_is_the_money_of_the_output(tmp_path: Path) -> None:
    """Nothing is counted twice or left out."""
    output = bought(tmp_path)
    end = json.loads((output / "ledger.jsonl").read_text().splitlines()[-1])
    entries = list(open_album(output))

    assert sum(entry.cost_usd for entry in entries) == pytest.approx(end["cost_usd"])
    assert sum(entry.maybe_cost_usd for entry in entries) == pytest.approx(end["maybe_cost_usd"])


def test_a_picture_made_anew_is_a_further_version(tmp_path: Path) -> None:
    """The old one keeps the words it was made from; the new one counts."""
    bought(tmp_path)
    entry = by_id(bought(tmp_path, words="a blue", options=RunOptions(on_changed=ChangedPolicy.RERUN)))["007"]

    assert [(version.number, version.prompt) for version in entry.versions] == [(1, "a cup"), (2, "a blue cup")]
    assert entry.current == entry.chosen == entry.versions[1]
    assert [attempt.number for attempt in entry.attempts] == [1, 2]


def test_an_accepted_older_version_is_the_chosen_one(tmp_path: Path) -> None:
    """A person's word counts for more than the order in which pictures came."""
    bought(tmp_path)
    output = bought(tmp_path, words="a blue", options=RunOptions(on_changed=ChangedPolicy.RERUN))
    decide(output, by_id(output)["007"], Verdict.ACCEPTED, version=0)
    entry = by_id(output)["007"]

    assert entry.current == entry.versions[1]
    assert entry.chosen == entry.versions[0]


def test_a_rejected_picture_says_so_and_stays_the_chosen_one(tmp_path: Path) -> None:
    """There is no other yet; nothing is hidden."""
    output = bought(tmp_path)
    decide(output, by_id(output)["007"], Verdict.REJECTED)
    entry = by_id(output)["007"]

    assert entry.chosen is not None
    assert (entry.chosen.is_rejected, entry.chosen.is_accepted) == (True, False)


def test_a_missing_and_an_altered_file_are_told_apart(tmp_path: Path) -> None:
    """By their sizes: nothing is read."""
    output = bought(tmp_path, rows=ROWS + "c2,cup two,4\n")
    pictures = {entry.id: output / entry.versions[0].pictures[0].path for entry in open_album(output) if entry.versions}
    pictures["007"].unlink()
    with pictures["c2"].open("ab") as file:
        file.write(b"x")

    states = {entry.id: entry.versions[0].pictures[0].state for entry in open_album(output) if entry.versions}
    assert states == {"007": PictureState.MISSING, "c2": PictureState.ALTERED}


def test_jobs_no_longer_in_the_manifest_come_last_and_say_so(tmp_path: Path) -> None:
    """They were paid for, so they are not hidden."""
    bought(tmp_path)
    entries = list(open_album(bought(tmp_path, rows="sku,name,price\nk,knife,2\n")))

    assert [(entry.id, entry.listed) for entry in entries] == [("k", True), ("007", False), ("l", False)]


def test_without_the_derived_manifest_the_order_is_the_ledgers(tmp_path: Path) -> None:
    """Every job is there, without its row."""
    output = bought(tmp_path)
    (output / "manifest.jsonl").unlink()
    entries = by_id(output)

    assert {(entry.id, entry.row is None, entry.listed) for entry in entries.values()} == {
        ("007", True, True),
        ("k", True, True),
        ("l", True, True),
    }


def test_half_a_line_of_a_run_that_is_on_is_passed_over(tmp_path: Path) -> None:
    """Both files may end in the middle of a line while they are read."""
    output = bought(tmp_path)
    before = list(open_album(output))
    for name in ("ledger.jsonl", "manifest.jsonl"):
        with (output / name).open("ab") as file:
            file.write(b'{"v": 1, "n": 99, "t": "do')

    assert list(open_album(output)) == before


def test_a_request_in_flight_is_an_open_attempt(tmp_path: Path) -> None:
    """A `try` line without an end."""
    output = bought(tmp_path, rows="sku,name,price\n007,cup,1E5\n")
    lines = (output / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    (output / "ledger.jsonl").write_bytes(
        b"".join(line for line in lines if b'"t":"try"' in line or b'"t":"run"' in line)
    )
    entry = by_id(output)["007"]

    assert entry.standing is Standing.PENDING
    assert [(attempt.outcome, attempt.ended_at) for attempt in entry.attempts] == [("open", "")]


def test_an_adopted_picture_names_the_job_that_had_it(tmp_path: Path) -> None:
    """A second row that asks for the same costs nothing."""
    entry = by_id(bought(tmp_path, rows=ROWS + "009,cup,4\n"))
    adopted = next(each for each in entry.values() if each.versions and each.versions[0].adopted_from)

    assert {adopted.id, adopted.versions[0].adopted_from} == {"007", "009"}
    assert (adopted.cost_usd, adopted.attempts[-1].outcome) == (0.0, "adopted")


def test_one_entry_is_as_it_comes_among_all(tmp_path: Path) -> None:
    """By id, and as a stretch of positions; an id that is not there is a `KeyError`."""
    album: Album = open_album(bought(tmp_path))
    entries = list(album)

    assert [album.entry(each) for each in album.ids] == entries
    assert list(album.entries(1, 9)) == entries[1:]
    assert len(album) == 3
    with pytest.raises(KeyError):
        album.entry("nobody")


def test_an_album_reads_on_while_a_run_writes(tmp_path: Path) -> None:
    """What changed is told; the rest stays in its place, and all is as if it were opened now."""
    output = bought(tmp_path)
    ledger, manifest = output / "ledger.jsonl", output / "manifest.jsonl"
    whole, lines = ledger.read_bytes(), manifest.read_bytes().splitlines(keepends=True)
    cut = whole.index(b'"job":"k"')
    ledger.write_bytes(whole[:cut])
    manifest.write_bytes(lines[0])
    album = open_album(output)
    before = album.ids
    ledger.write_bytes(whole)
    manifest.write_bytes(b"".join(lines))
    changed = album.refresh()

    assert set(before) < set(album.ids) == {"007", "k", "l"}
    assert {"k", "l"} <= changed
    assert {entry.id: entry for entry in album}["k"].failure == by_id(output)["k"].failure
    assert album.entry("k").row == {"sku": "k", "name": "knife", "price": "2"}
    assert album.refresh() == frozenset()


def test_an_album_sees_new_decisions_when_it_reads_on(tmp_path: Path) -> None:
    """They may come from another process."""
    output = bought(tmp_path)
    album = open_album(output)
    decide(output, album.entry("007"), Verdict.REJECTED)
    album.refresh()

    assert album.entry("007").versions[0].is_rejected


def test_a_ledger_that_was_replaced_is_not_read_on(tmp_path: Path) -> None:
    """As when a rehearsal was moved away: the caller opens the album anew."""
    output = bought(tmp_path)
    album = open_album(output)
    ledger = output / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])

    with pytest.raises(LedgerError, match="replaced"):
        album.refresh()


def test_an_album_of_no_output_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    """As `status` refuses them."""
    with pytest.raises(OutputError):
        open_album(tmp_path)
    output = bought(tmp_path)
    ledger = output / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b'"att":1', b'"att":7', 1))
    with pytest.raises(LedgerError):
        open_album(output)


def test_a_seen_picture_is_neither_accepted_nor_rejected(tmp_path: Path) -> None:
    """It was looked at."""
    output = bought(tmp_path)
    decide(output, by_id(output)["007"], Verdict.SEEN)
    version = by_id(output)["007"].versions[0]

    assert version.pictures[0].decision is not None
    assert (version.is_accepted, version.is_rejected) == (False, False)
