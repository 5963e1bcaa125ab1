"""Everything a user can get wrong in a manifest, a table, a folder or on the command line, through the real command.

Each mistake is told in whole sentences with its place, ends with its exit code, sends nothing to a simulator that is
listening, and leaves the output folder as it was: absent, or as an earlier run left it.
"""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.cli import app as cli
from batch.manifest.schema.schema import JobShape, ManifestShape
from batch.simulator import Simulator, serve, settings_from

KEY = "sk-canary-0123456789abcdef"
GOOD = "jobs: [{id: good, prompt: a cup}]"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ---- what a case is -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """One mistake. `says`: every line of stderr, without `error: ` and the ending `nothing was sent`.

    `whole` manifests are written as they are; others get the line that names the simulator, at their end.
    """

    row: str
    name: str
    manifest: str | bytes | None = GOOD
    says: Sequence[str] = ()
    exit: int = 65
    whole: bool = False
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    prepare: Callable[[Path], object] = lambda _: None
    environment: Mapping[str, str | None] = field(default_factory=dict)
    words: Sequence[str] = ("m.yaml",)
    commands: Sequence[str] = ("run", "plan")
    ending: str = "nothing was sent\n"
    prefix: str = "error: "

    @property
    def stderr(self) -> str:
        return "".join(f"{self.prefix if line[:4] != '... ' else ''}{line}\n" for line in self.says) + self.ending


def bad(row: str, name: str, manifest: str | bytes | None, *says: str, **options: Any) -> Case:
    """A manifest with mistakes; `says` without the file's name where it begins with a line number."""
    lines = [f"m.yaml:{line}" if line[:1].isdigit() else line for line in says]
    return Case(row=row, name=name, manifest=manifest, says=lines, **options)


def raw(row: str, name: str, manifest: str | bytes | None, *says: str, **options: Any) -> Case:
    return bad(row, name, manifest, *says, whole=True, **options)


def field_case(row: str, name: str, text: str, says: str, **options: Any) -> Case:
    """A wrong setting beside a good job."""
    return bad(row, name, f"{text}\n{GOOD}", says, **options)


def price_table(name: str, content: str, *says: str) -> Case:
    """A wrong price table beside a good job."""
    return bad("I21", f"price table, {name}", f"price_table: own.json\n{GOOD}", *says, files={"own.json": content})


def table(row: str, name: str, prompt: str, cells: str, *says: str, id: str = "{{ a }}", **options: Any) -> Case:  # noqa: A002
    """A job per row of `t.csv`."""
    return bad(row, name, rows(prompt, id), *says, files={"t.csv": cells}, **options)


def rows(prompt: str, job_id: str = "{{ a }}", more: str = "") -> str:
    return (
        f"rows: t.csv\n{more}jobs:\n  - id: {json.dumps(job_id)}\n    prompt: {json.dumps(prompt, ensure_ascii=False)}"
    )


def in_output(row: str, name: str, place: str, make: Callable[[Path, Path], object], says: str, **options: Any) -> Case:
    """Something at `place` under the folder of results; `make` gets that place and a file elsewhere."""

    def prepare(folder: Path) -> None:
        victim = folder / "victim"
        victim.write_text("not ours")
        where = folder / place
        if where.is_dir() and not where.is_symlink():
            shutil.rmtree(where)
        where.unlink(missing_ok=True)
        where.parent.mkdir(parents=True, exist_ok=True)
        make(where, victim)

    return Case(row=row, name=name, says=[says], exit=73, prepare=prepare, ending="", **options)


def picture(width: int = 8, height: int = 8, mode: str = "RGB", kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.effect_noise((width, height), 60).convert(mode).save(data, kind) if width < 99 else Image.new(
        mode, (width, height)
    ).save(data, kind)
    return data.getvalue()


def references(*names: str) -> str:
    return f"jobs:\n- {{id: a, prompt: x, references: {json.dumps(names)}}}"


# ---- the table ------------------------------------------------------------------------------------------------

LETTERS = "id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit; got "
NO_KEY = (
    "no API key: set the environment variable ANYFAST_API_KEY to the key of your account, or rehearse without one "
    "(provider: simulator); nothing was sent"
)
SLUG = "write {{ b | slug }} in the id"
LOOKS = "this looks like an API key; keys come from the environment, never from a manifest or a table"
FIELDS = (
    f"known fields: {', '.join([*ManifestShape.model_fields][:16])} and {len(ManifestShape.model_fields) - 16} more"
)
JOB_FIELDS = f"known fields: {', '.join([*JobShape.model_fields][:16])} and {len(JobShape.model_fields) - 16} more"
CORE = "is not allowed; only YAML's core types are"
GOOGLE_KEY = "AIza" + "Sy" * 17
A_REFERENCE = "a reference must be a PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF or JPEG 2000"
OUTSIDE = "lies outside reference_root; references are uploaded, so name its folder there"
FILLED = "prompt: the template cannot be filled"
ON_THE_WAY = f"{FILLED}: a text or list on the way is longer than 1,000,000; shorten it"
STEPS = f"{FILLED}: it takes more than 5,000,000 steps for one row; make its loops shorter"

MANIFEST_FILE = [
    raw("I1", "missing", None, "m.yaml: does not exist", exit=66),
    raw(
        "I1",
        "folder",
        None,
        "m.yaml: is a folder; name a file in it",
        exit=66,
        prepare=lambda folder: (folder / "m.yaml").mkdir(),
    ),
    raw("I1", "fifo", None, "m.yaml: not a regular file", exit=66, prepare=lambda folder: os.mkfifo(folder / "m.yaml")),
    raw(
        "I1",
        "device",
        None,
        "m.yaml: not a regular file",
        exit=66,
        prepare=lambda folder: (folder / "m.yaml").symlink_to("/dev/zero"),
    ),
    raw(
        "I1",
        "link to itself",
        None,
        "m.yaml: too many levels of symbolic links",
        exit=66,
        prepare=lambda folder: (folder / "m.yaml").symlink_to("m.yaml"),
    ),
    raw("I1", "name too long", None, f"{'m' * 300}: file name too long", exit=66, words=["m" * 300]),
    raw(
        "I1",
        "name with escapes",
        None,
        "m\\x1b[31m\\u202e\\x9b.yaml: does not exist",
        exit=66,
        words=["m\x1b[31m\u202e\x9b.yaml"],
    ),
    raw("I2", "empty file", "", "1:1: no jobs; the file is empty"),
    raw("I2", "comments only", "# nothing\n\n# yet\n", "1:1: no jobs; the file is empty"),
    raw("I2", "null", "~\n", "1:1: no jobs; the file is empty"),
    bad("I2", "no jobs key", "name: x", "1:1: no jobs; write jobs: and at least one entry with a prompt"),
    bad("I2", "jobs without value", "jobs:", "1:6: no jobs; write at least one entry with a prompt"),
    bad("I2", "empty jobs", "jobs: []", "1:7: no jobs; write at least one entry with a prompt"),
    table("I2", "empty table", "{{ a }}", "", "t.csv:1: has no header line; the first line names the columns"),
    table("I2", "header only", "{{ a }}", "a,b\n", "t.csv:1: has no rows; write at least one under the header"),
    raw("I3", "scalar", "hello", "1:1: the manifest must be a mapping (key: value); got hello"),
    raw("I3", "list", "- a\n- b\n", "1:1: the manifest must be a mapping (key: value); got a list"),
    bad("I3", "jobs is text", "jobs: x", '1:7: jobs must be a list; begin every job with "- "; got x'),
    bad(
        "I3",
        "jobs is a mapping",
        "jobs: {a: {prompt: x}}",
        '1:7: jobs must be a list; begin every job with "- "; got a mapping',
    ),
    bad(
        "I3",
        "jobs are texts",
        "jobs: [x, [y]]",
        "1:8: every job must be a mapping (key: value); write - prompt: x",
        "1:11: every job must be a mapping (key: value); got a list",
    ),
    field_case(
        "I3", "limits is a number", "limits: 3", "1:9: limits must be a mapping, such as {concurrency: 3}; got 3"
    ),
    raw(
        "I4",
        "larger than 64 MiB",
        b"#" * (64 * 1024 * 1024 + 1),
        "m.yaml: larger than 64 MiB; put the jobs into a table and name it in rows",
    ),
    raw("I5", "UTF-16", "jobs: []".encode("utf-16"), "1:1: the file is UTF-16; save it as UTF-8"),
    raw("I5", "UTF-16 without mark", "jobs: []".encode("utf-16-le"), "1:1: the file is UTF-16; save it as UTF-8"),
    raw("I5", "UTF-32", "jobs: []".encode("utf-32"), "1:1: the file is UTF-32; save it as UTF-8"),
    raw("I6", "Latin-1", b"jobs:\n  - prompt: caf\xe9\n", "2:16: not UTF-8 (byte 21); save the file as UTF-8"),
    raw("I7", "NUL", "jobs:\n  - prompt: a\0b\n", "2:14: the control character \\x00 is not allowed; remove it"),
    raw("I7", "escape", "jobs:\n  - prompt: a\x1bb\n", "2:14: the control character \\x1b is not allowed; remove it"),
    raw("I7", "C1", "jobs:\n  - prompt: a\x9bb\n", "2:14: the control character \\x9b is not allowed; remove it"),
    raw(
        "I7", "next line", "jobs:\n  - prompt: a\x85b\n", "2:14: the control character \\x85 is not allowed; remove it"
    ),
    raw(
        "I8",
        "tab",
        "jobs:\n\t- prompt: x\n",
        "2:1: not valid YAML: a tab or a reserved character stands here; indent with spaces, quote text",
    ),
    raw(
        "I8",
        "unclosed quote",
        'jobs:\n  - prompt: "x\n',
        "2:13: not valid YAML: the quote that begins here is not closed",
    ),
    raw(
        "I8",
        "unclosed bracket",
        "jobs: [{prompt: x}\n",
        "2:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence",
    ),
    raw(
        "I8",
        "second colon",
        "jobs:\n  - prompt: a: b\n",
        '2:14: not valid YAML: a second ": " in one value; quote the text',
    ),
    raw(
        "I9",
        "two documents",
        "jobs: [{prompt: x}]\n---\njobs: []\n",
        "2:1: second document at line 2; a manifest is one document",
    ),
    bad(
        "I10",
        "duplicate key",
        "jobs:\n  - prompt: x\n    id: a\n    prompt: y",
        '4:5: "prompt" is written twice, first on line 2; keep one',
    ),
    bad(
        "I10",
        "duplicate top key",
        "name: a\njobs: [{prompt: x}]\nname: b",
        '3:1: "name" is written twice, first on line 1; keep one',
    ),
    bad(
        "I11",
        "duplicate id",
        "jobs:\n  - {id: a, prompt: x}\n  - {id: b, prompt: y}\n  - {id: a, prompt: z}",
        '4: job "a": this id is also used on line 2; give different ids',
    ),
    bad(
        "I11",
        "duplicate id by case",
        "jobs:\n  - {id: Cat, prompt: x}\n  - {id: cat, prompt: z}",
        '3: job "cat": this id and Cat on line 2 differ in case only; give different ids',
    ),
    bad(
        "I11",
        "id of a sample",
        "jobs:\n  - {id: a.1, prompt: x}\n  - {id: a, prompt: z, samples: 2}",
        '3: job "a.1": this id is also used on line 2; give different ids',
    ),
    bad(
        "I11",
        "the same job twice",
        "jobs:\n  - {id: a, prompt: x}\n  - {id: a, prompt: x}",
        '3: job "a": same prompt and parameters as line 2; give different ids, or use samples',
    ),
    *[
        bad("I12", f"id {word}", f"jobs: [{{prompt: x, id: {word}}}]", "1:24: id must be a string; quote it")
        for word in ("012", "1e3", "null", "~", "true", "1", "1.5", ".nan", "[a]", "{a: b}")
    ],
    *[
        bad(
            "I12",
            f"id {word}",
            f"jobs: [{{prompt: x, id: {word}}}]",
            f'1:24: job "{word}": id must be a string; quote it',
        )
        for word in ("no", "Off", "1:30", "2024-01-01", "1_0")
    ],
    bad(
        "I13",
        "keys 1 and true",
        "1: a\ntrue: b\njobs: [{prompt: x, 2: y, null: z}]",
        f'1:1: unknown field "1"; {FIELDS}',
        f'2:1: unknown field "true"; {FIELDS}',
        f'3:20: unknown field "2"; {JOB_FIELDS}',
        f'3:26: unknown field "null"; {JOB_FIELDS}',
    ),
    bad(
        "I13",
        "list as key",
        "? [a]\n: b\njobs: [{prompt: x}]",
        "1:3: a key must be a word; this is a list or a mapping",
    ),
    bad("I14", "misspelt field", "jobs: [{promt: x}]", '1:9: unknown field "promt"; did you mean prompt?'),
    bad("I14", "misspelt jobs", "job: [{prompt: x}]", '1:1: unknown field "job"; did you mean jobs?'),
    bad(
        "I14",
        "misspelt setting",
        "jobs: [{prompt: x, sede: 3}]\nlimits: {concurency: 3}",
        '1:20: unknown field "sede"; did you mean seed?',
        '2:10: unknown field "concurency"; did you mean concurrency?',
    ),
    raw(
        "I15",
        "alias bomb",
        "\n".join(
            ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        ),
        "1:1: aliases repeat more than 1,000,000 values; write less of them",
    ),
    raw(
        "I15",
        "merge bomb",
        f"a: &a {{{','.join(f'k{n}: 1' for n in range(2000))}}}\nb: [{','.join(['{<<: *a}'] * 501)}]",
        "2:4506: << repeats more than 1,000,000 values; write less of them",
    ),
    raw("I16", "recursive alias", "jobs: &a [*a]", "1:7: recursive: this value contains itself; write it out"),
    raw(
        "I16",
        "recursive mapping",
        "jobs:\n  - &a {prompt: x, references: [*a]}",
        "2:5: recursive: this value contains itself; write it out",
    ),
    raw(
        "I16",
        "recursive merge",
        "jobs:\n  - &a {prompt: x, <<: *a}",
        "2:5: recursive: this value contains itself; write it out",
    ),
    raw("I17", "5000 brackets", "jobs: " + "[" * 5000, "1:56: nested deeper than 50"),
    raw("I17", "5000 dashes", "jobs: \n" + "- " * 5000, "2:99: nested deeper than 50"),
    raw(
        "I17",
        "deep through aliases",
        "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000)]),
        "51:6: nested deeper than 50",
    ),
    bad(
        "I18",
        "python object",
        "jobs: [{prompt: !!python/object/apply:os.system [touch pwned]}]",
        f"1:17: the tag tag:yaml.org,2002:python/object/apply:os.system {CORE}",
    ),
    bad(
        "I18",
        "python name",
        "jobs: [{prompt: !!python/name:os.system }]",
        f"1:17: the tag tag:yaml.org,2002:python/name:os.system {CORE}",
    ),
    bad("I18", "set", "jobs: [{prompt: x, references: !!set {a}}]", f"1:32: the tag tag:yaml.org,2002:set {CORE}"),
    bad("I18", "binary", "jobs: [{prompt: !!binary aGk=}]", f"1:17: the tag tag:yaml.org,2002:binary {CORE}"),
    bad(
        "I19",
        "merged mistake",
        "jobs:\n  - &d {prompt: x, image_size: 9K, id: b}\n  - {<<: *d, id: a}",
        '2:32: job "b": image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 9K',
    ),
    bad("I19", "merge of a number", "jobs: [{<<: 3, prompt: x}]", "1:13: << takes a mapping or a list of mappings"),
    field_case(
        "I20",
        "5000 digits",
        f"limits: {{concurrency: {'9' * 5000}}}",
        "1:23: a number of 5000 characters is too long; quote it if it is text",
    ),
    field_case(
        "I20",
        "38 digits",
        f"defaults: {{samples: {'9' * 38}}}",
        f"1:21: samples must be a whole number from 1 to 1,000; got {'9' * 38}",
    ),
    field_case(
        "I20",
        "long hexadecimal",
        f"defaults: {{samples: 0x{'f' * 39}}}",
        "1:21: a number of 41 characters is too long; quote it if it is text",
    ),
    *[
        field_case(
            "I21",
            f"concurrency {word}",
            f"limits: {{concurrency: {word}}}",
            f"1:23: concurrency must be a whole number from 1 to 1,024; got {got}",
        )
        for word, got in {
            ".nan": "nan",
            ".inf": "inf",
            "-.inf": "-inf",
            "-1": "-1",
            "0": "0",
            "1e400": "inf",
            "true": "true",
            "~": "nothing",
            '"8"': 'the text "8", so remove the quotes',
        }.items()
    ],
    *[
        field_case(
            "I21",
            f"seconds {word}",
            f"timeouts: {{read_seconds: {word}}}",
            f"1:26: read_seconds must be a number from 0.1 to 3,600; got {got}",
        )
        for word, got in {".nan": "nan", ".inf": "inf", "-1": "-1", "0": "0", "1e400": "inf", "-0.0": "-0.0"}.items()
    ],
    *[
        field_case(
            "I21",
            f"price {word}",
            f"prices: {{1K: {word}}}",
            f"1:9: prices must be US dollars per picture from 0 to 100; got {got}",
        )
        for word, got in {".nan": "nan", ".inf": "inf", "-1": "-1", "1e400": "inf"}.items()
    ],
    *[
        field_case(
            "I21",
            f"per minute {word}",
            f"limits: {{requests_per_minute: {word}}}",
            f"1:31: requests_per_minute must be a whole number from 1 to 1,000,000; got {got}",
        )
        for word, got in {".nan": "nan", "0": "0", "-3": "-3", "1e9": "1000000000.0"}.items()
    ],
    *[
        field_case(
            "I21",
            f"budget {word}",
            f"budget: {{per_day: {word}}}",
            f"1:19: per_day must be a number from 0 to 1,000,000; got {got}",
        )
        for word, got in [("-1", "-1"), (".nan", "nan"), ("a lot", "a lot"), ("true", "true")]
    ],
    field_case(
        "I21",
        "budget of a tag",
        "budget: {tags: {spring: -1}}",
        "1:16: tags must be US dollars for each tag from 0 to 1,000,000; got -1",
    ),
    field_case(
        "I21",
        "budget per week",
        "budget: {per_week: 1}",
        '1:10: unknown field "per_week"; known fields: per_run, per_day, per_month, tags',
    ),
    field_case("I21", "tag", "tag: a/b", '1:6: tag must not hold / \\ : * ? " < > | or invisible characters; got a/b'),
    field_case("I1", "no price table", "price_table: own.json", "1:14: price_table own.json: does not exist"),
    price_table("not a mapping", "[]", "own.json:1:1: the price table must be a mapping (key: value); got a list"),
    price_table(
        "no JSON",
        '{"version": 1',
        'own.json:2:1: not valid YAML: "," or "}" is expected here; put text that holds ": " or "," into quotes',
    ),
    price_table(
        "everything at once",
        "version: 2\nmodel: {}\nmodels:\n  m: {picture_usd: {1K: -1}, picture_tokens: {3K: 1}}\n  n: {per_million_tokens_usd: {input_text: 1}}\n",
        "own.json:1:10: version must be 1, the form of price tables this program reads; got 2",
        'own.json:2:1: unknown field "model"; did you mean models?',
        "own.json:4:20: picture_usd must be US dollars per picture from 0 to 100; got -1",
        "own.json:4:46: picture_tokens must name sizes out of 512, 1K, 2K, 4K; got 3K",
        "own.json:5:6: picture_usd is missing; add it",
        "own.json:5:31: per_million_tokens_usd must be a mapping with input_text, input_image, output_text, output_image; got a mapping",
    ),
    price_table(
        "lanes",
        "version: 1\nmodels:\n  m: {picture_usd: {1K: 1}, lanes: {flexx: 0.5}}\n"
        "  n: {picture_usd: {1K: 1}, lanes: {flex: 0, standard: 1}}\n  o: {picture_usd: {1K: -1}, lanes: half}\n"
        "  p: {picture_usd: {1K: 1}, lanes: {flex: 1.5}}\n  q: {picture_usd: {1K: 1}, lanes: {flex: .nan}}\n  r: {lanes: {flex: true}}\n",
        'own.json:3:37: unknown lane "flexx"; did you mean flex?',
        "own.json:4:43: flex must be its share of the standard price, above 0 and at most 1; got 0",
        'own.json:4:46: unknown lane "standard"; known lanes: flex',
        "own.json:5:20: picture_usd must be US dollars per picture from 0 to 100; got -1",
        "own.json:5:37: lanes must be a mapping such as {flex: 0.5}; got half",
        "own.json:6:43: flex must be its share of the standard price, above 0 and at most 1; got 1.5",
        "own.json:7:43: flex must be its share of the standard price, above 0 and at most 1; got nan",
        "own.json:8:6: picture_usd is missing; add it",
        "own.json:8:21: flex must be its share of the standard price, above 0 and at most 1; got true",
    ),
    bad(
        "I21",
        "limit",
        rows("{{ a }}", more="limit: -.inf\n"),
        "2:8: limit must be a whole number from 1 to 1,000,000,000; got -inf",
        files={"t.csv": "a\n1\n"},
    ),
    field_case(
        "I21", "samples", "defaults: {samples: 0}", "1:21: samples must be a whole number from 1 to 1,000; got 0"
    ),
    bad("I23", "key in a prompt", f"jobs: [{{prompt: {GOOGLE_KEY}}}]", f"1:17: {LOOKS}"),
    bad("I23", "newer key in a name", f"name: AQ.{'a1' * 12}\n{GOOD}", f"1:7: {LOOKS}"),
    bad(
        "I23",
        "relay's key as key_env",
        f"provider: {{profile: anyfast, key_env: {KEY}}}\n{GOOD}",
        f"1:39: {LOOKS}",
        whole=True,
    ),
    bad("I23", "key as a key", f"{GOOGLE_KEY}: 1\n{GOOD}", f"1:1: {LOOKS}"),
    bad("I23", "key in a comment", f"{GOOD} # {GOOGLE_KEY}", f"1:37: {LOOKS}"),
    bad(
        "I23",
        "key in an address",
        f"provider: {{profile: google, base_url: 'https://h/?key={GOOGLE_KEY}'}}\n{GOOD}",
        f"1:39: {LOOKS}",
        whole=True,
    ),
    bad("I23", "key as a tag", f"jobs: [{{prompt: !{GOOGLE_KEY} x}}]", f"1:17: the tag !*** {CORE}", f"1:18: {LOOKS}"),
    table(
        "I23", "key in a table", "{{ b }}", f"a,b\n1,{GOOGLE_KEY}\n", f't.csv:2: column "b": job "1": prompt: {LOOKS}'
    ),
    bad(
        "I24",
        "Windows path",
        references("photos\\a.jpg"),
        '2:35: job "a": reference photos\\a.jpg does not exist; write / between folders',
    ),
]

IDS = [
    bad("I25", "empty id", "jobs: [{prompt: x, id: ''}]", "1:24: id is empty; write a name or leave the id out"),
    bad("I25", "spaces", "jobs: [{prompt: x, id: '  '}]", "1:24: id is empty; write a name or leave the id out"),
    *[
        bad("I26", f"id {name}", f"jobs: [{{prompt: x, id: '{name}'}}]", f'1:24: job "{name}": {LETTERS}{name}')
        for name in ("../x", "/etc/x", "a/b", "..", ".", "a\\b")
    ],
    bad(
        "I27",
        "NUL",
        'jobs: [{prompt: x, id: "a\\0b"}]',
        "1:24: \\x00 is a control character; only newline and tab are allowed",
    ),
    bad(
        "I27",
        "escape",
        'jobs: [{prompt: x, id: "a\\eb"}]',
        "1:24: \\x1b is a control character; only newline and tab are allowed",
    ),
    *[
        bad("I27", f"id {name}", f'jobs: [{{prompt: x, id: "a{name}b"}}]', f'1:24: job "a{name}b": {LETTERS}a{name}b')
        for name in ("\\n", "\\u202e", "\\u200b", "\\u2028")
    ],
    bad(
        "I28",
        "300 characters",
        f"jobs: [{{prompt: x, id: {'a' * 300}}}]",
        f'1:24: job "{"a" * 117}...": id is 300 characters long; at most 100 are allowed',
    ),
    bad(
        "I28",
        "255 times é",
        f"jobs: [{{prompt: x, id: {'é' * 255}}}]",
        f'1:24: job "{"é" * 117}...": {LETTERS}{"é" * 117}...',
    ),
    bad(
        "I28",
        "too long with samples",
        f"jobs: [{{prompt: x, id: {'a' * 97}, samples: 100}}]",
        f'1:24: job "{"a" * 97}": id is 101 characters long with its sample number; at most 100 are allowed',
    ),
    *[
        bad(
            "I29",
            name,
            f"jobs: [{{prompt: x, id: {name}}}]",
            f'1:24: job "{name}": id {name} is a device name on Windows; choose another',
        )
        for name in ("CON", "nul.png", "COM1", "lpt9.a")
    ],
    bad(
        "I29",
        "trailing dot",
        "jobs: [{prompt: x, id: a.}]",
        '1:24: job "a.": id ends with a dot, which Windows drops; got a.',
    ),
    *[
        bad("I29", f"id {name}", f"jobs: [{{prompt: x, id: '{name}'}}]", f'1:24: job "{name}": {LETTERS}{name}')
        for name in ("a ", "a:b", "a?b", "a*", "a|b")
    ],
    bad(
        "I30",
        "case",
        "jobs:\n- {prompt: x, id: Cat}\n- {prompt: y, id: cat}",
        '3: job "cat": this id and Cat on line 2 differ in case only; give different ids',
    ),
    bad(
        "I30",
        "composed and not",
        "jobs: [{prompt: x, id: caf\u00e9}, {prompt: y, id: cafe\u0301}]",
        f'1:24: job "caf\u00e9": {LETTERS}caf\u00e9; write cafe',
        f'1:47: job "cafe\u0301": {LETTERS}cafe\u0301; write cafe',
    ),
    *[
        bad("I31", f"id {name}", f"jobs: [{{prompt: x, id: '{name}'}}]", f'1:24: job "{name}": {LETTERS}{name}')
        for name in ("-a", "~a", ".a", "_a")
    ],
    table(
        "I32",
        "ids of rows meet",
        "{{ a }}",
        "a,b\n1,x\n2,X\n3,y\n",
        't.csv:3: job "p-X": this id and p-x on line 2 differ in case only; give different ids, or name a column in unique to take one row of each kind',
        id="p-{{ b }}",
    ),
    table(
        "I33",
        "ids of rows",
        "{{ a }}",
        f"a,b\n1,../x\n2,/etc/x\n3,\n4,a/b\n5,{'z' * 200}\n6,\x1b[31m\n7,a\u202eb\n8,ok\n",
        *[
            f't.csv:{line}: column "b": {wrong}'
            for line, wrong in (
                (2, f"{LETTERS}../x; {SLUG}"),
                (3, f"{LETTERS}/etc/x; {SLUG}"),
                (4, 'id is empty; fill the cell, or leave such rows out with where: b != ""'),
                (5, f"{LETTERS}a/b; {SLUG}"),
                (6, f"id is 200 characters long; at most 100 are allowed; {SLUG}"),
                (7, f"{LETTERS}\\x1b[31m; {SLUG}"),
                (8, f"{LETTERS}a\\u202eb; {SLUG}"),
            )
        ],
        id="{{ b }}",
    ),
    bad("I34", "name of a lock", "jobs: [{prompt: x, id: .lock}]", f'1:24: job ".lock": {LETTERS}.lock'),
    *[
        bad(
            "I34",
            f"run called {name}",
            f"name: '{name}'\n{GOOD}",
            "1:7: name must not be empty, start with . - ~ or space, or end with a dot or space",
        )
        for name in ("..", ".lock", "", " x")
    ],
    bad(
        "I34",
        "run with a slash",
        f"name: a/../../b\n{GOOD}",
        '1:7: name must not hold / \\ : * ? " < > | or invisible characters; got a/../../b',
    ),
]

TAKEN = "it is not in the ledger"

OUTPUT = [
    in_output(
        "I35",
        "a picture that is not ours",
        "output/m/images/new.png",
        lambda where, _: where.write_text("mine"),
        "{output}/images/new.png exists and is not in the ledger; move it away (job 'new')",
        manifest="jobs: [{id: new, prompt: a new cup}]",
        commands=("run",),
    ),
    in_output(
        "I36",
        "images is a link",
        "output/m/images",
        lambda where, victim: where.symlink_to(victim.parent),
        "{output}/images is a link; move it away, a folder of ours belongs there",
    ),
    in_output(
        "I36",
        "spool is a link",
        "output/m/spool",
        lambda where, victim: where.symlink_to(victim.parent),
        "{output}/spool is a link; move it away, a folder of ours belongs there",
    ),
    *[
        in_output(
            "I36",
            f"{name} is a link",
            f"output/m/{name}",
            lambda where, victim: where.symlink_to(victim),
            f"{{output}}/{name} is a link; move it away, a file of ours belongs there",
        )
        for name in ("ledger.jsonl", "manifest.jsonl", ".lock", ".lock-owner", "simulator-book.jsonl")
    ],
    in_output(
        "I36",
        "ledger is a folder",
        "output/m/ledger.jsonl",
        lambda where, _: where.mkdir(),
        "{output}/ledger.jsonl is a folder; move it away, a file of ours belongs there",
    ),
    in_output(
        "I36",
        "ledger is a FIFO",
        "output/m/ledger.jsonl",
        lambda where, _: os.mkfifo(where),
        "{output}/ledger.jsonl is a FIFO; move it away, a file of ours belongs there",
    ),
    in_output(
        "I36",
        "manifest.jsonl is a folder",
        "output/m/manifest.jsonl",
        lambda where, _: where.mkdir(),
        "{output}/manifest.jsonl is a folder; move it away, a file of ours belongs there",
    ),
    in_output(
        "I36",
        "images is a file",
        "output/m/images",
        lambda where, _: where.write_text("x"),
        "{output}/images is a file; move it away, a folder of ours belongs there",
    ),
    in_output(
        "I36",
        "output is a file",
        "output/m",
        lambda where, _: where.write_text("x"),
        "{output} is a file; name a folder, which is made if it is not there. Nothing was sent",
    ),
    in_output(
        "I36",
        "output is a link to nowhere",
        "output/m",
        lambda where, _: where.symlink_to("nowhere"),
        "{output} is not a folder; name a folder, which is made if it is not there. Nothing was sent",
    ),
    in_output(
        "I36",
        "output is a link to itself",
        "output/m",
        lambda where, _: where.symlink_to("m"),
        "{output} is not a folder; name a folder, which is made if it is not there. Nothing was sent",
    ),
    in_output(
        "I36",
        "a file above",
        "output",
        lambda where, _: where.write_text("x"),
        "cannot use {output} as the output folder: Not a directory",
        commands=("run",),
    ),
    Case(
        row="I36",
        name="a name too long",
        says=[f"cannot use {{folder}}/{'x' * 300} as the output folder: File name too long"],
        exit=73,
        words=("m.yaml", "-o", "x" * 300),
        ending="",
    ),
    in_output(
        "I37",
        "a picture's name is a link",
        "output/m/images/new.png",
        lambda where, victim: where.symlink_to(victim),
        "{output}/images/new.png exists and is not in the ledger; move it away (job 'new')",
        manifest="jobs: [{id: new, prompt: a new cup}]",
        commands=("run",),
    ),
]

PROMPTS = [
    bad(
        "I38",
        "empty",
        'jobs: [{prompt: ""}, {prompt: " \\t "}, {prompt: "\u3000"}, {prompt: }]',
        "1:17: prompt is empty; write some text",
        "1:31: prompt is empty; write some text",
        "1:49: prompt is empty; write some text",
        "1:64: prompt must be text; quote it; got nothing",
    ),
    bad(
        "I38",
        "invisible",
        'jobs: [{id: a, prompt: "\\u200b\\u202e "}]',
        '1:24: job "a": prompt holds invisible characters only; write what the picture shows',
    ),
    bad("I38", "number", "jobs: [{prompt: 3}]", "1:17: prompt must be text; quote it; got 3"),
    table(
        "I38",
        "empty cells",
        "{{ b }}",
        "a,b\n1,\n2,  \n3,x\n",
        't.csv:2: column "b": job "1": prompt is empty; write what the picture shows',
        't.csv:3: column "b": job "2": prompt is empty; write what the picture shows',
    ),
    bad(
        "I39",
        "a million characters",
        f"jobs: [{{id: a, prompt: {'x' * 1_000_000}}}]",
        '1:24: job "a": prompt is 1,000,000 bytes long; at most 524,288 are allowed',
    ),
    table(
        "I39",
        "too long together",
        "{{ b }}" * 5,
        f"a,b\n1,{'x' * 130_000}\n",
        't.csv:2: column "b": job "1": prompt is 650,000 bytes long; at most 524,288 are allowed',
    ),
    table(
        "I39",
        "far too long together",
        "{{ b }}" * 10,
        f"a,b\n1,{'x' * 130_000}\n",
        't.csv:2: job "1": prompt: the filled text is longer than 1,000,000 characters; shorten it',
    ),
    bad(
        "I40",
        "half a character",
        'jobs: [{prompt: "\\ud800"}]',
        "1:17: \\ud800 is half a character, not valid Unicode; write the whole character",
    ),
    bad(
        "I40",
        "in JSON lines",
        'rows: t.jsonl\njobs: [{id: "{{ a }}", prompt: "{{ b }}"}]',
        't.jsonl:1: column "b": job "1": prompt: \\udc00 is half a character, not valid Unicode; write the whole character',
        files={"t.jsonl": '{"a": 1, "b": "\\udc00"}\n'},
    ),
    bad(
        "I41",
        "control characters",
        'jobs: [{prompt: "a\\0b"}, {prompt: "a\\x7fb"}, {prompt: "a\\rb"}, {prompt: "a\\x85b"}]',
        *[
            f"1:{column}: {word} is a control character; only newline and tab are allowed"
            for column, word in ((17, "\\x00"), (35, "\\x7f"), (55, "\\r"), (73, "\\x85"))
        ],
    ),
    table(
        "I41",
        "in a table",
        "{{ b }}",
        "a,b\n1,x\x07y\n2,ok\n3,\x00\n",
        't.csv:2: column "b": job "1": prompt: \\x07 is a control character; only newline and tab are allowed',
        't.csv:4: column "b": job "3": prompt: \\x00 is a control character; only newline and tab are allowed',
    ),
    table(
        "I42",
        "class",
        "{{ ''.__class__.__mro__ }}",
        "a\n1\n",
        f"t.csv:2: job \"1\": {FILLED}: access to attribute '__class__' of 'str' object is unsafe.",
    ),
    table(
        "I42",
        "attr filter",
        "{{ ''|attr('__class__') }}",
        "a\n1\n",
        '4:13: the template cannot be read: no filter "attr"; known filters: abs, as_id, capitalize, d, default, e, escape, first, float, int, join, last, length, list, lower, max and 18 more',
    ),
    table(
        "I42",
        "format",
        "{{ '{0.__class__}'.format(a) }}",
        "a\n1\n",
        f"t.csv:2: job \"1\": {FILLED}: access to attribute 'format' of 'str' object is unsafe.",
    ),
    table(
        "I42", "globals", "{{ cycler.__init__.__globals__ }}", "a\n1\n", '4:13: no column "cycler"; known columns: a'
    ),
    table(
        "I42",
        "include",
        "{% include '/etc/passwd' %}{{ a }}",
        "a\n1\n",
        "4:13: include, extends and import are not available; write the text out",
    ),
    table(
        "I42",
        "changing the row",
        "{{ row.update({'a': 1}) }}",
        "a\n1\n",
        f"t.csv:2: job \"1\": {FILLED}: access to attribute 'update' of 'dict' object is unsafe.",
    ),
    table("I43", "undefined", "{{ nope }}", "a\n1\n", '4:13: no column "nope"; known columns: a'),
    table(
        "I43",
        "not closed",
        "x\ny\n{{ a",
        "a\n1\n",
        "4:13: the template cannot be read (its line 3): unexpected end of template, expected 'end of print statement'.",
    ),
    table(
        "I43",
        "filter that fails",
        "{{ a | round }}",
        "a\n1\n2\n",
        f't.csv:2: job "1": {FILLED}: type str doesn\'t define __round__ method',
    ),
    table("I43", "division by zero", "{{ 1 / 0 }}{{ a }}", "a\n1\n", f't.csv:2: job "1": {FILLED}: division by zero'),
    table(
        "I43",
        "recursion",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}{{ a }}",
        "a\n1\n",
        f't.csv:2: job "1": {FILLED}: it is nested too deep, or calls itself without end',
    ),
    table(
        "I43",
        "2000 brackets",
        "{{ " + "(" * 2000 + "a" + ")" * 2000 + " }}",
        "a\n1\n",
        "4:13: the template cannot be read: it is nested too deep, or calls itself without end",
    ),
    table(
        "I44",
        "a text times a billion",
        "{{ 'a' * 10**9 }}{{ a }}",
        "a\n1\n",
        f't.csv:2: job "1": {FILLED}: only numbers can be multiplied',
    ),
    table(
        "I44",
        "a range",
        "{% for i in range(10**9) %}x{% endfor %}{{ a }}",
        "a\n1\n",
        '4:13: no column "range"; known columns: a',
    ),
    table("I44", "powers", "{{ 9**9**9 }}{{ a }}", "a\n1\n", f't.csv:2: job "1": {FILLED}: this power is too large'),
    table(
        "I44",
        "loops in loops",
        "{% for x in b %}" * 3 + "{% endfor %}" * 3 + "{{ a }}",
        f"a,b\n1,{'x' * 100_000}\n2,x\n",
        f't.csv:2: job "1": {STEPS}',
    ),
    table(
        "I44",
        "loops over filters",
        "{% for x in b %}{% set y = b | upper | title %}{% endfor %}{{ a }}",
        f"a,b\n1,{'x' * 100_000}\n",
        f't.csv:2: job "1": {STEPS}',
    ),
    table(
        "I44",
        "doubling",
        "{% set x = a %}" + "{% set x = x ~ x %}" * 40 + "{{ x | length }}",
        "a\n12\n",
        f't.csv:2: job "12": {ON_THE_WAY}',
    ),
    table(
        "I44",
        "replace",
        "{{ b | replace('x', b) | length }}{{ a }}",
        f"a,b\n1,{'x' * 100_000}\n",
        f't.csv:2: job "1": {ON_THE_WAY}',
    ),
    table(
        "I44",
        "join",
        "{{ b | list | join(b) | length }}{{ a }}",
        f"a,b\n1,{'x' * 100_000}\n",
        f't.csv:2: job "1": {ON_THE_WAY}',
    ),
]


def truncated(folder: Path) -> None:
    (folder / "a.png").write_bytes(picture(60, 60)[:-200])


REFERENCES = [
    bad("I46", "missing", references("a.png"), '2:35: job "a": reference a.png does not exist'),
    bad("I46", "empty", references("a.png"), '2:35: job "a": reference a.png is empty', files={"a.png": b""}),
    bad(
        "I46",
        "a folder",
        references("a.png"),
        '2:35: job "a": reference a.png is not a regular file',
        prepare=lambda folder: (folder / "a.png").mkdir(),
    ),
    bad(
        "I46",
        "a FIFO",
        references("a.png"),
        '2:35: job "a": reference a.png is not a regular file',
        prepare=lambda folder: os.mkfifo(folder / "a.png"),
    ),
    bad("I46", "a device", references("/dev/zero"), f'2:35: job "a": reference /dev/zero {OUTSIDE}'),
    bad(
        "I47",
        "outside",
        references("../../../etc/passwd", "/etc/passwd", "link.png"),
        f'2:35: job "a": reference ../../../etc/passwd {OUTSIDE}',
        f'2:58: job "a": reference /etc/passwd {OUTSIDE}',
        f'2:73: job "a": reference link.png {OUTSIDE}',
        prepare=lambda folder: (folder / "link.png").symlink_to("/etc/passwd"),
    ),
    bad(
        "I47",
        "no root",
        f"reference_root: {'x' * 300}\n{GOOD}",
        "1:17: reference_root is not a folder; name one that exists",
    ),
    bad(
        "I48",
        "HTML",
        references("a.png"),
        f'2:35: job "a": reference a.png is a web page; {A_REFERENCE}',
        files={"a.png": "<html></html>"},
    ),
    bad(
        "I48",
        "SVG",
        references("a.png"),
        f'2:35: job "a": reference a.png is an SVG; {A_REFERENCE}',
        files={"a.png": "<svg xmlns='http://www.w3.org/2000/svg'/>"},
    ),
    bad(
        "I49",
        "256 million pixels",
        references("a.png"),
        '2:35: job "a": reference a.png has 16000x16000 pixels, more than 250 million; make it smaller',
        files={"a.png": picture(16_000, 16_000, "1")},
    ),
    bad(
        "I49",
        "one very long line",
        references("a.png"),
        '2:35: job "a": reference a.png has 250001x1001 pixels, more than 250 million; make it smaller',
        files={"a.png": picture(250_001, 1001, "1")},
    ),
    bad(
        "I50",
        "cut off",
        references("a.png"),
        '2:35: job "a": reference a.png is damaged or cut off (image file is truncated)',
        prepare=truncated,
    ),
    bad(
        "I51",
        "too many",
        references(*["a.png"] * 15),
        '2:35: job "a": 15 references; gemini-3.1-flash-image takes at most 14',
        files={"a.png": picture()},
    ),
]


def address(url: str) -> str:
    return f"provider: {{profile: anyfast, base_url: '{url}'}}\n{GOOD}"


def key(name: str, value: str | None, says: str) -> Case:
    return Case(
        row="I57",
        name=name,
        says=[says],
        exit=78,
        environment={"ANYFAST_API_KEY": value},
        commands=("run",),
        ending="",
        manifest="jobs: [{id: new, prompt: a new cup}]",
    )


def usage(row: str, name: str, *words: str, says: str, **options: Any) -> Case:
    """What click says of a wrong command line, in its own form."""
    command = "Usage: imagebatch {command} [OPTIONS] MANIFEST\nTry 'imagebatch {command} --help' for help.\n\nError: "
    return Case(row=row, name=name, exit=2, words=words, says=[says], prefix=command, ending="", **options)


#: Several providers that do not go together: name, `provider`, what follows it, the problems.
POOLS = [
    ("no provider", "[]", "", ["1:11: provider must not be an empty list; name at least one provider"]),
    (
        "a key twice",
        "[google, google]",
        "",
        [
            "1:20: same endpoint and key (GEMINI_API_KEY) as the provider on line 1, so its quota would count twice; name another key in key_env, or remove one"
        ],
    ),
    (
        "a name twice",
        "\n- google\n- {profile: anyfast, name: google}",
        "",
        ["3:28: the provider on line 2 is called google too by default; give different names"],
    ),
    (
        "more in flight than can be",
        "[google, {profile: anyfast, limits: {concurrency: 1020}}]",
        "",
        ["1:11: concurrency of all providers together is 1,028; lower it in their limits to 1,024 or less"],
    ),
    (
        "a ratio that one has not",
        "[google, {profile: anyfast, name: main}]",
        "defaults: {aspect_ratio: 21:9}\n",
        [
            "2:26: aspect_ratio must be one of 1:1, 3:4, 4:3, 9:16, 16:9 for gemini-3.1-flash-image at provider main; got 21:9"
        ],
    ),
    (
        "a lane that none has",
        "anyfast",
        "lane: flex\n",
        ["2:7: lane flex: no provider of this manifest has it; google and simulator have it, else remove lane"],
    ),
    (
        "everything at once",
        "[{profile: anyfast, weight: 0}, gogle]",
        "lane: fast\n",
        [
            "1:39: weight must be a number above 0 and up to 1,000; got 0",
            "1:43: provider must be one of anyfast, google, openai, simulator, simulator-openai; did you mean google? others are packages to install, or base_url with one of these formats; got gogle",
            "2:7: lane must be one of standard, flex; got fast",
        ],
    ),
]

WHEN = "must be a time such as 06:00, a date and time such as 2026-11-26T06:00, or 8h, 90m or 1h30m"
SETTINGS = [
    *[
        field_case(
            "I56",
            f"concurrency {word}",
            f"limits: {{concurrency: {word}}}",
            f"1:23: concurrency must be a whole number from 1 to 1,024; got {got}",
        )
        for word, got in {"1e9": "1000000000.0", "1025": "1025", "many": "many"}.items()
    ],
    key("none", None, NO_KEY),
    key("empty", "", NO_KEY),
    key("spaces", " \n", NO_KEY),
    key("two lines", "a\nb", "the API key in ANYFAST_API_KEY contains white space or odd characters; set it again"),
    key("inner space", "a b", "the API key in ANYFAST_API_KEY contains white space or odd characters; set it again"),
    key("quotes", '"abc"', "the API key in ANYFAST_API_KEY stands in quotes; remove them"),
    *[
        bad(
            "I59",
            url,
            address(url),
            "1:40: base_url must begin with https://; only this machine may be spoken to over http",
            whole=True,
        )
        for url in (
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.evil.com",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://127.1/",
            "http://10.0.0.1",
        )
    ],
    bad(
        "I60",
        "password in the address",
        address("https://u:p@h"),
        "1:40: base_url must not hold a user or password; the key comes from the environment",
        whole=True,
    ),
    bad(
        "I60",
        "query in the address",
        address("https://h/?a=1"),
        "1:40: base_url must end before any ? or #",
        whole=True,
    ),
    bad(
        "I60",
        "fragment in the address",
        address("https://h/#x"),
        "1:40: base_url must end before any ? or #",
        whole=True,
    ),
    bad(
        "I60",
        "another scheme",
        address("ftp://h"),
        "1:40: base_url must be an address such as https://host/path",
        whole=True,
    ),
    bad(
        "I60",
        "backslash in the address",
        address("https://good.com\\@evil.com"),
        "1:40: base_url must be an address such as https://host/path",
        whole=True,
    ),
    bad("I60", "no port", address("https://h:99999"), "1:40: base_url is not a valid address", whole=True),
    *[raw("I60", name, f"provider: {providers}\n{more}{GOOD}", *says) for name, providers, more, says in POOLS],
    field_case(
        "I60",
        "fallback that is none",
        "fallback: [gemini-3-pro-image, ../pro]",
        "1:32: model may hold letters, digits, dot, _ and -; got ../pro",
        whole=True,
    ),
    field_case(
        "I60",
        "fallback that cannot make it",
        "fallback: gemini-2.5-flash-image\ndefaults: {image_size: 4K}",
        "2:24: fallback: image_size must be 1K for gemini-2.5-flash-image; got 4K",
    ),
    bad(
        "I60",
        "unknown model with a budget",
        "provider: anyfast\nmodel: gpt-4\nbudget: {per_run: 1}\njobs: [{id: other, prompt: y}]",
        "m.yaml: there is a budget, and the price of gpt-4 at 1K is not known, so it could not be kept; write it in models, such as models: {gpt-4: {picture_usd: {1K: 0.07}}}, or in prices",
        whole=True,
    ),
    usage("I61", "unknown option", "m.yaml", "--nope", says="No such option '--nope'."),
    usage("I61", "no manifest", says="Missing argument 'MANIFEST'."),
    usage("I61", "two manifests", "m.yaml", "n.yaml", says="Got unexpected extra argument (n.yaml)"),
    usage("I61", "empty name", "", says="Invalid value for 'MANIFEST': is empty; name a file or folder"),
    usage(
        "I61",
        "empty output",
        "m.yaml",
        "-o",
        "",
        says="Invalid value for '-o' / '--output' (env var: 'IMAGEBATCH_OUTPUT'): is empty; name a file or folder",
    ),
    *[
        usage(
            "I61",
            f"finish by {when}",
            "m.yaml",
            "--finish-by",
            when,
            says=f"Invalid value for '--finish-by' (env var: 'IMAGEBATCH_FINISH_BY'): {says}",
        )
        for when, says in {
            "noon": WHEN,
            "": WHEN,
            "0h": "0h is no time from now",
            "2020-01-01T06:00": "2020-01-01T06:00 is past",
        }.items()
    ],
    usage(
        "I61",
        "output is the manifest",
        "m.yaml",
        "-o",
        "m.yaml",
        says="Invalid value for '-o' / '--output' (env var: 'IMAGEBATCH_OUTPUT'): Directory 'm.yaml' is a file.",
    ),
]

REPORTS = [
    bad(
        "b",
        "twenty and the rest",
        "jobs:\n" + "\n".join(f"- {{id: a {n}, prompt: x}}" for n in range(57)),
        *[f'{n + 2}:8: job "a {n}": {LETTERS}a {n}' for n in range(20)],
        "... and 37 more",
    ),
    bad(
        "b",
        "twenty and the rest",
        "jobs:\n" + "- {id: x y, prompt: z}\n" * 900,
        f"m.yaml: 900 places: lines 2, 3, 4, 5, 6 and 895 more: {LETTERS}x y",
    ),
    table(
        "b",
        "ten rows of a kind and the rest",
        "{{ a }}",
        "a\n" + "x y\n" * 2000,
        f't.csv: 10 places: lines 2, 3, 4, 5, 6 and 5 more: column "a": {LETTERS}x y; write {{{{ a | slug }}}} in the id',
        't.csv:12: column "a": and 1,990 more rows, to line 2001: id may hold a-z, A-Z, 0-9, dot, _ and -, and begins with a letter or digit',
    ),
    table(
        "c",
        "escaped and cut",
        "{{ b }}",
        "a,b\n\x1b[2J\u202e\x9b\u2066" + "x" * 200 + ",x\n",
        f't.csv:2: column "a": {LETTERS}\\x1b[2J\\u202e\\x9b\\u2066{"x" * 94}...; write {{{{ a | slug }}}} in the id',
    ),
    bad(
        "c",
        "names of columns",
        rows("{{ row['x'] }}"),
        '4:13: no column "x"; known columns: a, \\x1b[31m',
        files={"t.csv": "a,\x1b[31m\n1,2\n"},
    ),
]

NO_SUCH_REFERENCE = "references must be files or https:// addresses; save the picture beside the manifest"
NOT_PLAIN = "is no plain address; it must be https://name.of.host/path with %20 for a space, and no user, port or \\"


def odd_address(row: str, url: str, says: str) -> Case:
    """A reference that is no harmless address, beside a host that is listed."""
    return bad(row, url, f"reference_hosts: [cdn.example.com]\n{references(url)}", f'3:35: job "a": {says}')


def host(row: str, name: str) -> Case:
    """A host that cannot be listed."""
    says = f'1:19: reference_hosts must be names of hosts such as cdn.example.com or "*.example.com"; got {name}'
    return bad(row, f"listed {name}", f"reference_hosts: [{json.dumps(name)}]\n{GOOD}", says)


#: What a name leads to, and what a server redirects to, is looked at when it is opened: test_references, test_http.
ADDRESSES = [
    *[
        odd_address("I52", url, NO_SUCH_REFERENCE)
        for url in (
            "http://169.254.169.254/latest",
            "http://localhost/x.png",
            "http://2130706433/",
            "file:///etc/passwd",
            "ftp://cdn.example.com/x.png",
            "data:image/png;base64,xx",
        )
    ],
    *[
        odd_address("I52", url, f"reference {url} {NOT_PLAIN}")
        for url in (
            "https://169.254.169.254/x.png",
            "https://localhost/x.png",
            "https://2130706433/x.png",
            "https://0x7f.1/x.png",
            "https://127.1/x.png",
        )
    ],
    odd_address(
        "I52",
        "https://other.example.com/x.png",
        "pictures from other.example.com are not fetched; to allow it add other.example.com to reference_hosts",
    ),
    bad(
        "I52",
        "no host listed",
        references("https://cdn.example.com/x.png?signature=secret"),
        '2:35: job "a": pictures from cdn.example.com are not fetched; to allow it write reference_hosts: [cdn.example.com]',
    ),
    *[
        host("I52", name)
        for name in (
            "localhost",
            "127.0.0.1",
            "2130706433",
            "*",
            "*.com",
            "cdn.example.com:8443",
            "https://cdn.example.com",
        )
    ],
    *[
        odd_address("I53", url, f"reference {url} {NOT_PLAIN}")
        for url in (
            "https://[::ffff:127.0.0.1]/x.png",
            "https://[64:ff9b::7f00:1]/x.png",
            "https://[2002:7f00:1::]/x.png",
            "https://[::1]/x.png",
        )
    ],
    *[host("I53", name) for name in ("[::ffff:127.0.0.1]", "::1")],
    *[
        odd_address("I55", url, f"reference {url.replace(chr(7), chr(92) + 'x07')} {NOT_PLAIN}")
        for url in (
            "https://cdn.example.com\\@evil.example/x.png",
            "https://user:word@cdn.example.com/x.png",
            "https://cdn.example.com:8443/x.png",
            "https://cdn.example.com/a b.png",
        )
    ],
]

CASES = [*MANIFEST_FILE, *IDS, *OUTPUT, *PROMPTS, *REFERENCES, *ADDRESSES, *SETTINGS, *REPORTS]


# ---- running one ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """Listening on loopback, in a thread of its own: the command has an event loop of its own."""
    started: list[Simulator] = []
    ready, stop = threading.Event(), threading.Event()

    async def listen() -> None:
        async with serve(settings_from({"pictures": "plain"})) as running:
            started.append(running)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert ready.wait(30)
    yield started[0]
    stop.set()
    thread.join(30)


class Desk:
    """A current folder, and the command as it is typed there."""

    def __init__(self, folder: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        self.folder = folder
        self.simulator = simulator
        self._monkeypatch = monkeypatch
        self._captured = capfd

    def write(self, manifest: str | bytes, *, whole: bool = False) -> None:
        text = manifest if isinstance(manifest, bytes) else manifest.encode("utf-8")
        if not whole:
            text += f"\nprovider: {{profile: anyfast, base_url: '{self.simulator.base_url}'}}\n".encode()
        (self.folder / "m.yaml").write_bytes(text)

    def type(self, *words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        self._monkeypatch.setattr(sys, "argv", ["imagebatch", *words])
        self._captured.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self._captured.readouterr()
        return code, out, err

    def tree(self) -> dict[str, object]:
        """Every file with its bytes. The lock is what a run may leave in a folder that is there already."""
        found: dict[str, object] = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_symlink():
                found[name] = os.readlink(path)
            elif path.name != ".lock" or path.is_dir():
                found[name] = path.read_bytes() if path.is_file() else path.stat().st_mode
        return found


@pytest.fixture
def desk(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Desk]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    monkeypatch.setenv("ANYFAST_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    yield Desk(tmp_path, simulator, monkeypatch, capfd)
    gc.unfreeze()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Path:
    """What a good run of `GOOD` left."""
    import batch

    folder = tmp_path_factory.mktemp("earlier")
    (folder / "m.yaml").write_text(f"{GOOD}\nprovider: {{profile: anyfast, base_url: '{simulator.base_url}'}}\n")
    summary = batch.run_sync(folder / "m.yaml", output=folder / "m", environment={"ANYFAST_API_KEY": KEY})
    assert (summary.exit, summary.done) == (0, 1)
    return folder / "m"


def names_of(case: Case) -> str:
    return f"{case.row}-{case.name}"


@pytest.mark.parametrize("case", CASES, ids=names_of)
def test_a_mistake_is_told_and_changes_nothing(
    case: Case, desk: Desk, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole report, the exit code, no request, and not a byte changed, with and without earlier results."""
    for variable, value in case.environment.items():
        monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, value)
    output = desk.folder / "output" / "m"
    for command, is_there in [(command, is_there) for command in case.commands for is_there in (False, True)]:
        for path in desk.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if is_there:
            shutil.copytree(earlier, output)
        if case.manifest is not None:
            desk.write(case.manifest, whole=case.whole)
        for name, content in case.files.items():
            (desk.folder / name).write_bytes(
                content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
            )
        case.prepare(desk.folder)
        before, requests = desk.tree(), desk.simulator.book.requests
        code, out, err = desk.type(command, *case.words)
        expected = (
            case.stderr.replace("{output}", str(output))
            .replace("{folder}", str(desk.folder))
            .replace("{command}", command)
        )
        assert (err, code, out) == (expected, case.exit, "")
        assert desk.tree() == before
        assert desk.simulator.book.requests == requests


def test_every_row_has_a_case() -> None:
    """I22 is below, I45 and other good input too; I54 is about connections, and there are no key files (I58)."""
    rows_here = {case.row for case in CASES} | {case.row for case in FINE} | {"I22"}
    assert {f"I{n}" for n in range(1, 62)} - rows_here == {"I54", "I58"}


# ---- what looks like a mistake and is none --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Fine:
    """Odd input that is right: the prompts as they reach the provider, byte for byte."""

    row: str
    name: str
    manifest: str | bytes
    prompts: Sequence[str]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    words: Sequence[str] = ()
    prepare: Callable[[Path], object] = lambda _: None
    whole: bool = False


ODD = (
    "a\u2028b\u2029c \U0001f469\u200d\U0001f469\u200d\U0001f467 \u05e9\u05dc\u05d5\u05dd \u200f\u202e cafe\u0301 \ufb01"
)


def fine(row: str, name: str, manifest: str | bytes, *prompts: str, **options: Any) -> Fine:
    return Fine(row=row, name=name, manifest=manifest, prompts=prompts, **options)


FINE = [
    fine("I2", "empty file", "# nothing today", words=["--allow-empty"], whole=True),
    fine("I2", "no jobs", "jobs:", words=["--allow-empty"]),
    fine("I2", "empty jobs", "jobs: []", words=["--allow-empty"]),
    fine("I2", "empty table", rows("{{ a }}"), files={"t.csv": ""}, words=["--allow-empty"]),
    fine("I2", "header only", rows("{{ a }}"), files={"t.csv": "a\n"}, words=["--allow-empty"]),
    fine(
        "I2",
        "empty JSON lines",
        'rows: t.jsonl\njobs: [{prompt: "{{ a }}"}]',
        files={"t.jsonl": "\n"},
        words=["--allow-empty"],
    ),
    fine("I2", "no row is meant", rows("{{ a }}", more="where: a == 'x'\n"), files={"t.csv": "a\n1\n"}),
    fine("I5", "byte order mark", b"\xef\xbb\xbfjobs: [{prompt: a cup}]", "a cup"),
    fine("I19", "merge keys", "jobs:\n- &d {id: a, prompt: one}\n- {<<: *d, id: b, prompt: two}", "one", "two"),
    fine(
        "I23", "variables are text", "jobs: [{prompt: '${HOME} $KEY %KEY% {{ KEY }}'}]", "${HOME} $KEY %KEY% {{ KEY }}"
    ),
    fine(
        "I24", "Windows line ends", b"jobs:\r\n  - prompt: |-\r\n      a cup  \r\n      of tea\r\n", "a cup  \nof tea"
    ),
    fine("I34", "ids like our files", "jobs: [{id: ledger.jsonl, prompt: a}, {id: index.html, prompt: b}]", "a", "b"),
    fine(
        "I36",
        "output is a link",
        "jobs: [{prompt: a}]",
        "a",
        prepare=lambda folder: [
            (folder / "real").mkdir(),
            (folder / "output").mkdir(),
            (folder / "output/m").symlink_to(folder / "real"),
        ],
    ),
    fine(
        "I40", "emoji as JSON writes it", json.dumps({"prompt": "x \U0001f600"}).join(("jobs: [", "]")), "x \U0001f600"
    ),
    fine("I41", "any language, plain", f"jobs:\n- prompt: {ODD}", ODD),
    fine("I41", "any language, quoted", f'jobs:\n- prompt: "{ODD}\\n\\tx"', f"{ODD}\n\tx"),
    fine("I41", "any language, from a table", rows("{{ b }}"), ODD, files={"t.csv": f"a,b\n1,{ODD}\n"}),
    fine("I45", "format strings", "jobs: [{prompt: '%s %d {} {0} {x!r} %(x)s'}]", "%s %d {} {0} {x!r} %(x)s"),
    fine(
        "I45",
        "format strings in a table",
        rows("%s {0} {{ b }}"),
        "%s {0} %d {} {{ 1/0 }} {% x %}",
        files={"t.csv": "a,b\n1,%d {} {{ 1/0 }} {% x %}\n"},
    ),
    fine(
        "I49", "many small pictures in one", references("a.png"), "x", files={"a.png": picture(90, 90, "RGB", "WEBP")}
    ),
    fine("I57", "a key with a line end", "jobs: [{prompt: a}]", "a"),
]


@pytest.mark.parametrize("case", FINE, ids=names_of)
def test_odd_input_that_is_right(case: Fine, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent as it is written, and nothing else is."""
    if case.row == "I57":
        monkeypatch.setenv("ANYFAST_API_KEY", f"{KEY}\n")
    desk.write(case.manifest, whole=case.whole)
    for name, content in case.files.items():
        (desk.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    case.prepare(desk.folder)
    requests = desk.simulator.book.requests
    code, out, err = desk.type("plan", "m.yaml", *case.words)
    assert (code, err) == (0, "")
    assert out.startswith(f"{len(case.prompts)} job")
    code, out, err = desk.type("run", "--quiet", "m.yaml", *case.words)
    assert (code, out, err) == (0, "", "")
    sent = desk.simulator.book.entries[len(desk.simulator.book.entries) - (desk.simulator.book.requests - requests) :]
    assert sorted(str(entry.prompt) for entry in sent) == sorted(case.prompts)


def test_thousands_of_jobs_are_planned(desk: Desk) -> None:
    """I22: the price of all of them, and no request."""
    desk.write(rows("cup {{ a }}"))
    (desk.folder / "t.csv").write_text("a\n" + "\n".join(map(str, range(5000))))
    requests = desk.simulator.book.requests
    code, out, err = desk.type("plan", "m.yaml", "--json")
    found = json.loads(out)
    assert (code, err, found["jobs"], found["to_do"]) == (0, "", 5000, 5000)
    assert found["cost_usd"] == pytest.approx(5000 * 0.067)
    assert desk.simulator.book.requests == requests
