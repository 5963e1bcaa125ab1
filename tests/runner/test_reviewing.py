"""Pictures accepted and rejected without a browser: what a name means, and what is written."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from batch import RunOptions, run_sync
from batch.album import open_album
from batch.core.decisions import Decision, Side, Verdict
from batch.core.errors import OptionError, OutputError
from batch.core.settings import ChangedPolicy
from batch.runner.named_pictures import names_in
from batch.runner.reviewing import accept, decisions, named_pictures, reject
from batch.store.decisions import DecisionFile

MANIFEST = """\
provider:
  profile: simulator
  simulator: {pictures: drawn, faults: [{fault: finish_image_safety, prompt: knife}]}
defaults: {image_size: 512}
jobs:
  - {id: tea, prompt: a cup of tea}
  - {id: pot, prompt: a pot}
  - {id: tea-2, prompt: more tea}
  - {id: k, prompt: knife}
"""


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished output; `pot` has two versions."""
    folder = tmp_path_factory.mktemp("bought")
    (folder / "m.yaml").write_text(MANIFEST)
    run_sync(folder / "m.yaml", output=folder / "out")
    (folder / "m.yaml").write_text(MANIFEST.replace("a pot", "a red pot"))
    run_sync(folder / "m.yaml", output=folder / "out", options=RunOptions(on_changed=ChangedPolicy.RERUN))
    return folder / "out"


@pytest.fixture
def output(bought: Path, tmp_path: Path) -> Path:
    shutil.copytree(bought, tmp_path / "out")
    return tmp_path / "out"


def file_of(output: Path, job: str, version: int = 0) -> str:
    """A picture's path, relative to the output."""
    return open_album(output).entry(job).versions[version].pictures[0].path


def verdicts(output: Path) -> dict[str, str]:
    """What counts, by file."""
    return {
        picture.path: str(picture.decision.verdict)
        for entry in open_album(output)
        for version in entry.versions
        for picture in version.pictures
        if picture.decision is not None
    }


def test_an_id_means_the_jobs_current_picture(output: Path) -> None:
    """The newest one, unless an older one was accepted: then that is what is shown, and what a later word is on."""
    reject(output, "pot", note="too dark", reasons=["light"], by="Ana")
    [said] = decisions(output)
    assert (said.job, said.side, said.by, said.note, said.reasons) == (
        "pot",
        Side.PERSON,
        "Ana",
        "too dark",
        ("light",),
    )
    assert verdicts(output) == {file_of(output, "pot", 1): "rejected"}
    accept(output, file_of(output, "pot", 0))
    reject(output, "pot")
    assert verdicts(output) == {file_of(output, "pot", 1): "rejected", file_of(output, "pot", 0): "rejected"}


def test_patterns_mean_every_job_they_match(output: Path) -> None:
    """Jobs without a picture are passed over."""
    assert [each.job for each in reject(output, "tea*")] == ["tea", "tea-2"]
    assert [each.job for each in accept(output, "*")] == ["tea", "pot", "tea-2"]
    assert set(verdicts(output).values()) == {"accepted"}


@pytest.mark.parametrize("form", ["relative", "absolute", "bare", "from here", "pattern"])
def test_a_picture_may_be_named_by_its_file(output: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the path is written, it is that very version."""
    path = file_of(output, "pot", 0)
    monkeypatch.chdir(output / "images")
    words = {
        "relative": path,
        "absolute": str(output / path),
        "bare": os.path.basename(path),
        "from here": f"../{path}",
        "pattern": f"images/*{os.path.basename(path)}",
    }
    [judged] = reject(output, words[form])
    assert (judged.job, judged.path) == ("pot", path)
    assert verdicts(output) == {path: "rejected"}


def test_undo_takes_back_what_a_person_said(output: Path) -> None:
    """What a machine said counts again."""
    sha256 = open_album(output).entry("tea").versions[0].pictures[0].sha256
    reject(output, "tea")
    DecisionFile(output).append(
        [Decision(at="now", job="tea", sha256=sha256, verdict=Verdict.REJECTED, side=Side.MACHINE)]
    )
    accept(output, "tea")
    [judged] = accept(output, "tea", undo=True, note="never mind")
    assert (judged.verdict, judged.note) == (Verdict.UNDONE, "")
    found = decisions(output).of("tea", sha256)
    assert found is not None
    assert (found.verdict, found.side) == (Verdict.REJECTED, Side.MACHINE)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tee", "no job and no picture is called tee; did you mean tea?"),
        ("images/pto.png", "no job and no picture is called images/pto.png; did you mean pot"),
        ("x-*", r"no job and no picture matches x-\*"),
        ("k", "k has no picture; `imagebatch resolve` accepts that it failed"),
        ("", "no job and no picture is called"),
        ("../../etc/passwd", "no job and no picture is called"),
    ],
)
def test_a_name_without_a_picture_is_told_and_nothing_is_written(output: Path, word: str, message: str) -> None:
    """With the nearest one, although the other names are right."""
    with pytest.raises(OptionError, match=message) as raised:
        reject(output, "tea", word, "pot")
    assert len(raised.value.problems) == 1
    assert not (output / "decisions.jsonl").exists()


def test_a_folder_without_a_ledger_is_none(tmp_path: Path) -> None:
    """Nothing is made there."""
    with pytest.raises(OutputError, match="holds no ledger"):
        reject(tmp_path / "out", "tea")
    assert not (tmp_path / "out").exists()
    with pytest.raises(OptionError, match="at least one"):
        reject(tmp_path)


LISTS = {
    "lines": "tea\n\n  pot \r\n",
    "byte-order mark": "\ufefftea\npot\n",
    "csv": 'Title,ID,note\n"Tea,\nhot",tea,\nPot,pot,\n',
    "semicolons": "id;price\ntea;1,5\npot;2,5\n",
    "tabs": "id\tprice\ntea\t1\npot\t2\n",
    "one column": "id\ntea\npot\n",
    "json lines": '{"id": "tea"}\n\n{"job": "pot", "x": [1]}\n',
    "json list": '["tea", {"id": "pot"}]',
    "files": "images/tea.png\npot\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_names_come_from_a_file(output: Path, text: str, tmp_path: Path) -> None:
    """One a line, as a CSV or as JSON lines; from standard input, too."""
    text = text.replace("images/tea.png", file_of(output, "tea"))
    (tmp_path / "names").write_text(text)
    assert [each.job for each in reject(output, f"@{tmp_path / 'names'}")] == ["tea", "pot"]
    named = named_pictures(["tea-2"], ["-"], io.BytesIO(text.encode()))
    assert len(named) == 3


@pytest.mark.parametrize(
    "text",
    [
        'id,note,reasons\ntea,too dark,"light, hands"\npot,,\n',
        '{"id":"tea","note":"too dark","reasons":["light","hands"]}\n{"id":"pot"}\n',
        "id,note,reason\ntea,too dark,light; hands\npot,,\n",
    ],
)
def test_each_line_may_have_its_own_note(output: Path, text: str, tmp_path: Path) -> None:
    """The others get the note of the command."""
    (tmp_path / "names").write_text(text)
    tea, pot = reject(output, f"@{tmp_path / 'names'}", note="again", reasons=["bad"])
    assert (tea.note, tea.reasons) == ("too dark", ("light", "hands"))
    assert (pot.note, pot.reasons) == ("again", ("bad",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "names no picture"),
        (b"id\n", "names no picture"),
        (b"tea\nte*\n", r"names:2: no job and no picture is called te\*"),
        (b"id\ntea\ntae\n", "names:3: no job .* did you mean tea"),
        (b'{"id":"tea"}\n{"id":', "names:2: this is no JSON"),
        (b'{"id":"tea"}\n{"sku":"pot"}', "names:2: this names no picture"),
        (b'{"id":5}', "names:1: this names no picture"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"[" * 100_000, "this is no JSON"),
    ],
    ids=range(9),
)
def test_a_wrong_file_is_told_with_its_line(output: Path, text: bytes, message: str, tmp_path: Path) -> None:
    """Names in a file are taken literally; nothing is written."""
    (tmp_path / "names").write_bytes(text)
    with pytest.raises(OptionError, match=message):
        reject(output, "pot", f"@{tmp_path / 'names'}")
    assert not (output / "decisions.jsonl").exists()


def test_a_table_needs_a_column_of_ids(tmp_path: Path) -> None:
    """Its rows would else be taken for names."""
    (tmp_path / "names.csv").write_text("Handle,Title\ntea,Tea\n")
    with pytest.raises(OptionError, match=r"no column of .*names\.csv is called id"):
        names_in(str(tmp_path / "names.csv"), io.BytesIO())
    with pytest.raises(OptionError, match="cannot read absent: No such file"):
        names_in("absent", io.BytesIO())
