"""What people type and write by mistake: each message says what is wrong, where, and what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from batch.cli.app import cli, main

TABLE = 'Handle,Title,Option1 Value,Images\nmug,Mug,Red,"https://a.b/1.jpg, https://a.b/2.jpg"\nmug,,Blue,\n'
ROWS = 'rows: p.csv\njobs:\n  - id: "{{ Handle }}"\n    prompt: "photo of {{ Title }}"\n'
SINGLE = "jobs: [{prompt: a}]\n"
VERTEX = "https://us-central1-aiplatform.googleapis.com/v1/projects/p"
#: By mistake: the manifest's text and what must be said about it.
MANIFESTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a-template-without-quotes": (
        "rows: p.csv\njobs:\n  - id: {{ Handle }}\n    prompt: x\n",
        ("m.yaml:3:9", 'put a template into quotes: "{{ Column }}"'),
    ),
    "a-template-with-words-behind-it": (
        "rows: p.csv\njobs:\n  - id: a\n    prompt: {{ Title }} on a table\n",
        ("m.yaml:4:13", 'put the whole value into quotes: "{{ Title }} on a table"'),
    ),
    "a-quote-closed-by-the-next-one": (
        'rows: p.csv\njobs:\n  - id: "{{ Handle }}\n    prompt: "{{ Title }} on a table"\n',
        ("m.yaml:3:9", "the quote that begins here is not closed on its line"),
    ),
    "an-apostrophe": ("jobs:\n  - prompt: 'the king's hat'\n", ("m.yaml:2:13", "write an apostrophe as ''")),
    "a-tab": ("jobs:\n  - id: a\n\tprompt: b\n", ("m.yaml:3", "indent with spaces")),
    "jobs-as-texts": ("jobs: [a red kite]\n", ("m.yaml:1:8", "write - prompt: a red kite")),
    "jobs-as-a-mapping": ("jobs: {kite: {prompt: a}}\n", ("m.yaml:1:7", 'begin every job with "- "')),
    "a-number-compared": (ROWS + "where: Title > 10\n", ("m.yaml:5:8", "to compare numbers write Title | float")),
    "a-colon-in-a-flow-text": (
        "jobs: [{prompt: photo: of a mug}]\n",
        ("m.yaml:1:22", 'put text that holds ": " or "," into quotes'),
    ),
    "a-quote-left-open": ('jobs:\n  - prompt: "a mug\n  - prompt: b\n', ("m.yaml:2:13", "is not closed")),
    "a-number-for-a-budget": ("budget: 5\n" + SINGLE, ("m.yaml:1:9", "such as {per_run: 5}; got 5")),
    "a-number-for-limits": ("limits: 4\n" + SINGLE, ("m.yaml:1:9", "such as {concurrency: 4}; got 4")),
    "a-column-that-is-not-there": (ROWS + "where: Titel > 5\n", ("m.yaml:5:8", 'no column "Titel"', "Title")),
    "an-accent-in-an-id": ("jobs: [{id: café, prompt: a}]\n", ("m.yaml:1:13", "got café; write cafe")),
    "a-slash-in-an-id": (
        ROWS.replace("{{ Handle }}", "{{ Handle }}/{{ Option1_Value }}"),
        ("p.csv:2", "the / stands in the id itself: write - there"),
    ),
    "a-home-folder": ("jobs: [{prompt: a, references: [~/cat.jpg]}]\n", ("m.yaml:1:33", "~ is not filled in")),
    "two-addresses-in-a-cell": (
        "reference_hosts: [a.b]\n" + ROWS + '    references: ["{{ Images }}"]\n',
        ("p.csv:2", '{column: Images, split: ","}'),
    ),
    "a-variant-row": (ROWS, ("p.csv:3", "Title is empty", "unique keeps the first row of each")),
    "vertex": (
        f"provider: {{profile: google, base_url: '{VERTEX}'}}\n" + SINGLE,
        ("m.yaml:1", "Vertex AI, which is not served"),
    ),
    "a-bucket-as-output": ("output: s3://b/x\n" + SINGLE, ("looks like an address", "rclone copy")),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANYFAST_API_KEY", raising=False)
    (tmp_path / "p.csv").write_text(TABLE)
    (tmp_path / "m.yaml").write_text(SINGLE)
    return tmp_path


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints on stderr; it must end with an error and no traceback."""
    monkeypatch.setattr("sys.argv", ["imagebatch", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert ended.value.code not in (0, 70), err
    assert out == ""
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize(("text", "parts"), MANIFESTS.values(), ids=MANIFESTS)
def test_a_mistake_in_the_manifest(
    text: str, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Place, cause and remedy are in what is printed, and no output folder is made."""
    Path("m.yaml").write_text(text)
    err = said(monkeypatch, capsys, "run", "m.yaml")
    for part in parts:
        assert part in err
    assert sorted(path.name for path in Path().iterdir()) == ["m.yaml", "p.csv"]


COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "a-table-is-run": (("run", "p.csv"), "`imagebatch init p.csv` writes a manifest for it"),
    "a-bucket": (("run", "m.yaml", "-o", "s3://b/x"), "looks like an address"),
    "another-bucket": (("plan", "m.yaml", "-o", "gs://b/x"), "looks like an address"),
    "dry-run": (("run", "m.yaml", "--dry-run"), "`imagebatch plan` shows"),
    "a-folder": (("run", "."), "is a folder; name a file in it"),
    "help": (("help", "run"), "imagebatch COMMAND --help"),
    "retry": (("retry", "m.yaml"), "imagebatch run MANIFEST --retry CAUSES"),
    "a-slip": (("stauts", "x"), "Did you mean `imagebatch status`?"),
    "a-number-in-words": (("run", "m.yaml", "--canary", "ten"), "'ten' is not a valid whole number"),
    "status-too-early": (("status", "m.yaml"), "no run has begun there"),
}


@pytest.mark.parametrize(("words", "part"), COMMANDS.values(), ids=COMMANDS)
def test_a_mistake_on_the_command_line(
    words: tuple[str, ...], part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command that was meant is named."""
    assert part in said(monkeypatch, capsys, *words)


def test_no_key_says_where_it_goes_and_what_needs_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was sent, and the simulator is a way to go on."""
    Path("m.yaml").write_text("provider: anyfast\n" + SINGLE)
    err = said(monkeypatch, capsys, "run", "m.yaml")
    assert "ANYFAST_API_KEY" in err
    assert "provider: simulator" in err
    assert "nothing was sent" in err


def test_status_takes_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run`, `plan` and `why` do: it means the folder that its runs write to."""
    monkeypatch.setattr("sys.argv", ["imagebatch"])
    import imagebatch

    imagebatch.run_sync("m.yaml")
    shown = CliRunner().invoke(cli, ["status", "m.yaml"])
    assert shown.exit_code == 0
    assert "1 of 1 job done" in shown.output


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_the_version_has_a_short_option(word: str) -> None:
    """As most programs have it."""
    shown = CliRunner().invoke(cli, [word])
    assert shown.exit_code == 0
    assert "version" in shown.output
