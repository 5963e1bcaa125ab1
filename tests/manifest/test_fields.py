"""Every field refuses what it cannot be, with its place and what would be right."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

ONE_JOB = "\njobs: [{prompt: x}]"

BAD: dict[str, tuple[str, str]] = {
    "no jobs": ("name: x", "1:1: no jobs; write jobs: and at least one entry with a prompt"),
    "empty list": ("jobs: []", "1:7: no jobs; write at least one entry with a prompt"),
    "scalar": ("abc", "1:1: the manifest must be a mapping (key: value); got abc"),
    "list": ("- a", "1:1: the manifest must be a mapping (key: value); got a list"),
    "jobs no list": ("jobs: x", '1:7: jobs must be a list; begin every job with "- "; got x'),
    "job no mapping": ("jobs:\n - 3", "2:4: every job must be a mapping (key: value); got 3"),
    "prompt null": ("jobs: [{prompt: }]", "1:17: prompt must be text; quote it; got nothing"),
    "prompt number": ("jobs: [{prompt: 12}]", "1:17: prompt must be text; quote it; got 12"),
    "prompt blank": ('jobs: [{prompt: "  "}]', "1:17: prompt is empty; write some text"),
    "numeric key": ("1: x" + ONE_JOB, '1:1: unknown field "1"; known fields: name, output, provider, model, lane, '),
    "nested unknown": (
        "limits: {concurency: 3}" + ONE_JOB,
        '1:10: unknown field "concurency"; did you mean concurrency?',
    ),
    "infinite": (
        "timeouts: {read_seconds: .inf}" + ONE_JOB,
        "1:26: read_seconds must be a number from 0.1 to 3,600; got inf",
    ),
    "not a number": (
        "limits: {concurrency: .nan}" + ONE_JOB,
        "1:23: concurrency must be a whole number from 1 to 1,024; got nan",
    ),
    "overflow": (
        "timeouts: {read_seconds: 1e400}" + ONE_JOB,
        "1:26: read_seconds must be a number from 0.1 to 3,600; got inf",
    ),
    "zero": (
        "limits: {requests_per_minute: 0}" + ONE_JOB,
        "1:31: requests_per_minute must be a whole number from 1 to 1,000,000; got 0",
    ),
    "negative": (
        "retry: {unusable_retries: -1}" + ONE_JOB,
        "1:27: unusable_retries must be a whole number from 0 to 10; got -1",
    ),
    "no time of day": (
        "limits: {day_resets_at: midnight}" + ONE_JOB,
        "1:25: day_resets_at must be a time and a zone, such as 00:00 America/Los_Angeles; got midnight",
    ),
    "no time zone": (
        "limits: {day_resets_at: 00:00 Mars/Olympus}" + ONE_JOB,
        "1:25: day_resets_at names no time zone that this machine knows (Mars/Olympus); if it is spelled rightly, install tzdata; got 00:00 Mars/Olympus",
    ),
    "adaptive number": ("limits: {adaptive: 3}" + ONE_JOB, "1:20: adaptive must be true or false; got 3"),
    "bool number": (
        "limits: {concurrency: true}" + ONE_JOB,
        "1:23: concurrency must be a whole number from 1 to 1,024; got true",
    ),
    "text number": (
        'limits: {concurrency: "8"}' + ONE_JOB,
        '1:23: concurrency must be a whole number from 1 to 1,024; got the text "8", so remove the quotes',
    ),
    "long number": (
        "limits: {concurrency: " + "9" * 5000 + "}" + ONE_JOB,
        "1:23: a number of 5000 characters is too long; quote it if it is text",
    ),
    "policy": ("retry: {unknown: again}" + ONE_JOB, "1:18: unknown must be one of resend, hold; got again"),
    "price": ("prices: {1K: -1}" + ONE_JOB, "1:9: prices must be US dollars per picture from 0 to 100; got -1"),
    "price of what": (
        "prices: {3K: 1}" + ONE_JOB,
        "1:9: prices must name sizes out of 512, 1K, 2K, 4K, or pixels such as 1536x1024; got 3K",
    ),
    "verify": ("verify: yes" + ONE_JOB, "1:9: verify must be one of structure, decode; got yes"),
    "modalities": (
        "defaults: {modalities: TEXT}" + ONE_JOB,
        "1:24: modalities must be [IMAGE] or [TEXT, IMAGE]; got TEXT",
    ),
    "samples": (
        "defaults: {samples: 1001}" + ONE_JOB,
        "1:21: samples must be a whole number from 1 to 1,000; got 1001",
    ),
    "name": (
        "name: ../x" + ONE_JOB,
        "1:7: name must not be empty, start with . - ~ or space, or end with a dot or space",
    ),
    "name slash": (
        "name: a/b" + ONE_JOB,
        '1:7: name must not hold / \\ : * ? " < > | or invisible characters; got a/b',
    ),
    "provider": (
        "provider: anyfst" + ONE_JOB,
        "1:11: provider must be one of anyfast, google, openai, simulator, simulator-openai; did you mean anyfast? others are packages to install, or base_url with one of these formats; got anyfst",
    ),
    "no profile": (
        "provider: {auth: header}" + ONE_JOB,
        "1:11: profile is missing; write one of anyfast, google, openai, simulator, simulator-openai",
    ),
    "key_env": (
        "provider: {profile: google, key_env: a b}" + ONE_JOB,
        "1:38: key_env must be the name of an environment variable such as ANYFAST_API_KEY",
    ),
    "delimiter": (
        "rows: {file: a.csv, delimiter: ab}\njobs: [{prompt: '{{a}}'}]",
        '1:32: delimiter must be one character such as ";" or the word tab; got ab',
    ),
    "encoding": (
        "rows: {file: a.csv, encoding: rot13}\njobs: [{prompt: '{{a}}'}]",
        "1:31: encoding must be one of utf-8, utf-16, ascii, ",
    ),
    "rows format": (
        "rows: a.ods\njobs: [{prompt: '{{a}}'}]",
        "1:7: rows are read from .csv, .tsv, .jsonl, .parquet and .xlsx files; got .ods, save the table as .csv, or say its format",
    ),
    "rows packed": (
        "rows: a.zip\njobs: [{prompt: '{{a}}'}]",
        "1:7: rows are read from .csv, .tsv, .jsonl, .parquet and .xlsx files; got .zip, save the table as .csv, or say its format",
    ),
    "unique alone": ("unique: a" + ONE_JOB, "1:9: unique picks rows; name a table in rows, or remove it"),
    "reference_root": (
        "reference_root: nowhere" + ONE_JOB,
        "1:17: reference_root is not a folder; name one that exists",
    ),
    "reference url": (
        "jobs: [{prompt: x, references: ['http://127.1/a']}]",
        "1:33: references must be files or https:// addresses; save the picture beside the manifest",
    ),
    "reference data": (
        "jobs: [{prompt: x, references: ['data:image/png;base64,aa']}]",
        "1:33: references must be files or https:// addresses; save the picture beside the manifest",
    ),
    "reference number": (
        "jobs: [{prompt: x, references: [12]}]",
        "1:33: every reference must be a text or a mapping; got 12",
    ),
    "reference both": (
        "jobs: [{prompt: x, references: [{path: a.png, column: A}]}]",
        "1:33: references must have either path or column, such as {path: photos/cup.jpg}",
    ),
    "reference neither": (
        "jobs: [{prompt: x, references: [{optional: true}]}]",
        "1:33: references must have either path or column, such as {path: photos/cup.jpg}",
    ),
    "reference split": (
        "jobs: [{prompt: x, references: [{path: a.png, split: ','}]}]",
        "1:33: references may have split only beside column; it cuts a cell into several names",
    ),
    "reference separator": (
        "jobs: [{prompt: x, references: [{column: A, split: and}]}]",
        '1:52: split must be what stands between two names in a cell, such as "," or " | "; got and',
    ),
    "reference key": (
        "defaults: {references: [{file: a.png}]}\njobs: [{prompt: x}]",
        '1:26: unknown field "file"; known fields: path, column, split, optional',
    ),
    "reference column without rows": (
        "jobs: [{prompt: x, references: [{column: A}]}]",
        "1:33: references: a column needs a table; name the table in rows",
    ),
    "reference host": (
        "reference_hosts: ['https://a.example']\njobs: [{prompt: x}]",
        '1:19: reference_hosts must be names of hosts such as cdn.example.com or "*.example.com"; got https://a.example',
    ),
    "reference host number": (
        "reference_hosts: [127.0.0.1]\njobs: [{prompt: x}]",
        '1:19: reference_hosts must be names of hosts such as cdn.example.com or "*.example.com"; got 127.0.0.1',
    ),
    "reference host everything": (
        "reference_hosts: ['*.com']\njobs: [{prompt: x}]",
        '1:19: reference_hosts must be names of hosts such as cdn.example.com or "*.example.com"; got *.com',
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_field_is_named_with_its_place(folder: Folder, case: str) -> None:
    """One wrong value gives one problem, at its line and column."""
    text, expected = BAD[case]

    problems = folder.problems(text)

    assert len(problems) == 1
    assert problems[0].startswith(f"m.yaml:{expected}")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com", "must begin with https://; only this machine may be spoken to over http"),
        (
            "https://user:secret@example.com",
            "must not hold a user or password; the key comes from the environment",
        ),
        ("https://example.com/?key=secret", "must end before any ? or #"),
        ("https://example.com/#secret", "must end before any ? or #"),
        ("https://example.com:port", "is not a valid address"),
        (r"http://good.example\@evil.example", "must be an address such as https://host/path"),
        ("ftp://example.com", "must be an address such as https://host/path"),
        ("example.com", "must be an address such as https://host/path"),
        (
            "http://127.0.0.1.evil.example",
            "must begin with https://; only this machine may be spoken to over http",
        ),
    ],
)
def test_base_url_the_key_may_not_be_sent_to(folder: Folder, url: str, expected: str) -> None:
    """The key goes to a plain https address only, and the address is not repeated in the message."""
    text = f"provider: {{profile: anyfast, base_url: '{url}'}}{ONE_JOB}"

    assert folder.problems(text) == [f"m.yaml:1:40: base_url {expected}"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:80/x", "https://a.b"])
def test_base_url_on_this_machine_may_be_plain(folder: Folder, url: str) -> None:
    """A local endpoint needs no encryption."""
    assert len(folder.jobs(f"provider: {{profile: google, base_url: '{url}'}}{ONE_JOB}")) == 1


SECRETS = [
    "AIzaSyA1234567890123456789012345678901",
    "AQ.Ab8RN6LxEXAMPLEEXAMPLE1234",
    "sk-proj-0123456789abcdefghijkl",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "place",
    [
        "jobs: [{prompt: 'use %s'}]",
        "jobs: [{prompt: x}]\n%s: y",
        "provider: {profile: google, key_env: %s}\njobs: [{prompt: x}]",
    ],
)
def test_key_in_a_manifest_is_refused_and_not_repeated(folder: Folder, secret: str, place: str) -> None:
    """Wherever a key was put by mistake, it goes no further than the file it is in."""
    problems = folder.problems(place % secret)

    assert any("looks like an API key" in problem for problem in problems)
    assert not any(secret[:12] in problem for problem in problems)


def test_ordinary_words_are_no_keys(folder: Folder) -> None:
    """Hyphenated words after sk- or in the middle of others are prompts."""
    assert len(folder.jobs("jobs: [{prompt: task-oriented-sk-something-hyphenated-and-quite-long}]")) == 1
    assert len(folder.jobs("jobs: [{prompt: sk-really-long-hyphenated-words-without-digits}]")) == 1


MODELS = [
    (
        "anyfast",
        "aspect_ratio: 2:3",
        "aspect_ratio must be one of 1:1, 3:4, 4:3, 9:16, 16:9 for gemini-3.1-flash-image at anyfast; got 2:3",
    ),
    (
        "google",
        "aspect_ratio: 7:3",
        "aspect_ratio must be one of 1:1, 1:4, 4:1, 1:8, 8:1, 2:3, 3:2, 3:4, 4:3, 4:5, "
        "5:4, 9:16, 16:9, 21:9 for gemini-3.1-flash-image; got 7:3",
    ),
    (
        "google",
        "model: gemini-3-pro-image, aspect_ratio: 1:8",
        "aspect_ratio must be one of 1:1, 2:3, 3:2, 3:4, 4:3, "
        "4:5, 5:4, 9:16, 16:9, 21:9 for gemini-3-pro-image; got 1:8",
    ),
    (
        "google",
        "model: gemini-3-pro-image, image_size: 512",
        "image_size must be one of 1K, 2K, 4K for gemini-3-pro-image; got 512",
    ),
    (
        "google",
        "model: gemini-2.5-flash-image, image_size: 2K",
        "image_size must be 1K for gemini-2.5-flash-image; got 2K",
    ),
    ("google", "image_size: 1k", "image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 1k"),
    (
        "google",
        "model: gemini-3.1-flash-image-preview",
        "model gemini-3.1-flash-image-preview was retired; write gemini-3.1-flash-image",
    ),
    (
        "google",
        "model: gemini-2.5-flash-image, references: [a, b, c, d]",
        "4 references; gemini-2.5-flash-image takes at most 3",
    ),
    (
        "google",
        f"references: [{', '.join('abcdefghijklmno')}]",
        "15 references; gemini-3.1-flash-image takes at most 14",
    ),
]


@pytest.mark.parametrize(("profile", "fields", "expected"), MODELS)
def test_what_the_model_cannot_do_is_refused(folder: Folder, profile: str, fields: str, expected: str) -> None:
    """Ratios, sizes and references are checked against the model and the provider of the job."""
    for name in "abcdefghijklmno":
        folder.picture(name)
    [problem] = folder.problems(f"provider: {profile}\njobs: [{{prompt: x, {fields}}}]")

    assert problem.partition(": ")[2] == expected


def test_own_address_takes_unknown_models_and_keeps_the_profile(folder: Folder) -> None:
    """A model of any name is sent; the anyfast profile keeps the ratios of those it knows."""
    provider = "provider: {profile: anyfast, base_url: 'https://relay.example'}\n"

    assert folder.jobs(provider + "jobs: [{prompt: x, model: new-image-5}]")[0].model == "new-image-5"
    assert "at anyfast" in folder.problems(provider + "jobs: [{prompt: x, aspect_ratio: 2:3}]")[0]
    assert "model may hold" in folder.problems(provider + "jobs: [{prompt: x, model: ../secret}]")[0]


def test_wrong_default_is_said_once(folder: Folder) -> None:
    """One wrong default is one mistake, however many jobs it reaches."""
    text = "provider: anyfast\ndefaults: {aspect_ratio: 5:4}\njobs: [{prompt: a}, {prompt: b}, {prompt: c}]"

    assert len(folder.problems(text)) == 1
