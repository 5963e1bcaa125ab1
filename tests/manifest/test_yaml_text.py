"""YAML is read as people mean it, and what cannot be read is named with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from batch.core.errors import InputError
from batch.manifest.problems import Problems
from batch.manifest.schema import yaml_text

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers: a PyYAML built without libyaml has only the slow one."""
    if request.param == "pure":
        monkeypatch.setattr(yaml_text, "_Loader", yaml_text.PureLoader)
    elif not yaml.__with_libyaml__:
        pytest.skip("this PyYAML has no libyaml")


def value_of(text: str | bytes) -> Any:
    problems = Problems("m.yaml")
    document = yaml_text.parse(text if isinstance(text, bytes) else text.encode(), "m.yaml", problems)
    problems.raise_if_any()
    return document.value


def problems_of(text: str | bytes) -> list[str]:
    with pytest.raises(InputError) as caught:
        value_of(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16:9", "16:9"),
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("=", "="),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("512", 512),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1K", "1K"),
        ('"512"', "512"),
        ("[a, b]", ["a", "b"]),
        ("{512: x}", {"512": "x"}),
        ("|\n a\n b\n", "a\nb\n"),
        ('"\\u2028"', "\u2028"),
    ],
)
def test_scalars_have_the_types_of_yaml_1_2(text: str, expected: object) -> None:
    """Ratios, dates and no are text; numbers and true are not."""
    assert value_of(text) == expected
    assert type(value_of(text)) is type(expected)


def test_emoji_and_every_language_survive() -> None:
    """Text outside the basic plane, joiners and right-to-left marks arrive unchanged."""
    text = "雨后 👩‍👩‍👧 שלום مرحبا \u200f"

    assert value_of(f"'{text}'") == text


def test_merge_keys_add_what_is_not_written() -> None:
    """A mapping's own keys win over merged ones, and of several merged mappings the first wins."""
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd: {<<: *b}\ne: {'<<': 1}"

    value = value_of(text)

    assert value["c"] == {"x": 1, "y": 3, "z": 2}
    assert value["d"] == {"x": 2, "z": 2}
    assert value["e"] == {"<<": 1}


BAD: dict[str, tuple[str | bytes, str]] = {
    "utf-32": ("j".encode("utf-32"), "1:1: the file is UTF-32; save it as UTF-8"),
    "utf-16 without a mark": ("jobs".encode("utf-16-be"), "1:1: the file is UTF-16; save it as UTF-8"),
    "next line": ("a: x\u0085y", "1:5: the control character \\x85 is not allowed; remove it"),
    "utf-16": (b"\xff\xfej\x00", "1:1: the file is UTF-16; save it as UTF-8"),
    "latin-1": (b"a: 1\nb: caf\xe9\n", "2:7: not UTF-8 (byte 11); save the file as UTF-8"),
    "nul": ("a: 1\nb: x\0y", "2:5: the control character \\x00 is not allowed; remove it"),
    "escape": ("a: \x1b[31m", "1:4: the control character \\x1b is not allowed; remove it"),
    "quoted nul": ('a: "\\0"', "1:4: \\x00 is a control character; only newline and tab are allowed"),
    "two documents": ("a: 1\n---\nb: 2", "2:1: second document at line 2; a manifest is one document"),
    "second colon": ("a: b: c", '1:5: not valid YAML: a second ": " in one value; quote the text'),
    "double key": ("a: 1\nb: 2\na: 3", '3:1: "a" is written twice, first on line 1; keep one'),
    "list as key": ("{[a]: 1}", "1:2: a key must be a word; this is a list or a mapping"),
    "recursive": ("a: &a [1, *a]", "1:4: recursive: this value contains itself; write it out"),
    "python object": (
        "!!python/object/apply:os.system [id]",
        "1:1: the tag tag:yaml.org,2002:python/object/apply:os.system is not allowed; only YAML's core types are",
    ),
    "binary": ("a: !!binary aGk=", "1:4: the tag tag:yaml.org,2002:binary is not allowed; only YAML's core types are"),
    "own tag": ("a: !env KEY", "1:4: the tag !env is not allowed; only YAML's core types are"),
    "no int": ("a: !!int x", "1:4: this is no int; remove the tag"),
    "digits": ("a: " + "9" * 5000, "1:4: a number of 5000 characters is too long; quote it if it is text"),
    "merged scalar": ("a: {<<: 3}", "1:9: << takes a mapping or a list of mappings"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_text_is_named_with_its_place(case: str) -> None:
    """Each fault gives one sentence, whichever parser is at work."""
    text, expected = BAD[case]

    assert problems_of(text) == [f"m.yaml:{expected}"]


@pytest.mark.parametrize(
    "text", ["a:\n\t- b", "a: [1", 'a: "x', "- a\nb: 1", "a: *nowhere", 'a: "\\q"', "%YAML 9.9\n---\na"]
)
def test_syntax_errors_have_a_line(text: str) -> None:
    """The parser's own words differ, the place does not get lost."""
    [problem] = problems_of(text)

    assert "not valid YAML" in problem
    assert problem.split(":")[1].isdigit()


def test_a_lone_surrogate_is_refused() -> None:
    """Half a character cannot be sent, and is named where its text begins."""
    expected = "\\ud800 is half a character, not valid Unicode; write the whole character"
    assert problems_of('{a: "\\ud83d\\ude00", b: "\\ud800"}') == [f"m.yaml:1:24: {expected}"]


def test_characters_written_in_halves_are_whole() -> None:
    """Programs write JSON, which is YAML, with emoji as two escapes."""
    assert value_of('{"\\uD83D\\uDE00": ["x\\ud83d\\ude00y", \'\\ud83d\\ude00\']}') == {"😀": ["x😀y", r"\ud83d\ude00"]}


@pytest.mark.parametrize(
    "form", ["a: x\u2028y\u2029z", "a: 'x\u2028y\u2029z'", 'a: "x\u2028y\u2029z"', "a: |-\n  x\u2028y\u2029z"]
)
def test_line_separators_are_text(form: str) -> None:
    """YAML 1.2 knows no other line ends than those of text files, so places count the same lines as an editor."""
    assert value_of(form) == {"a": "x\u2028y\u2029z"}
    last = form.count("\n") + 2
    assert problems_of(f"{form}\nb: !x 1") == [
        f"m.yaml:{last}:4: the tag !x is not allowed; only YAML's core types are"
    ]


@pytest.mark.parametrize("place", ["# {}\na: 1", "a: &{} 1", "a: 1 # {}", "# é\n\n#{}"])
def test_a_key_beside_the_values_is_found(place: str) -> None:
    """A comment is as public as the rest; the key is not repeated."""
    [problem] = problems_of(place.format("AIza" + "Sy" * 17))
    assert problem.endswith(
        "this looks like an API key; keys come from the environment, never from a manifest or a table"
    )
    assert problem.split(":")[1] == str(place.partition("{")[0].count("\n") + 1)


def test_a_key_in_a_value_is_told_once() -> None:
    """Where the value begins."""
    assert [problem.partition(": ")[0] for problem in problems_of("a: |\n  x\n  AIza" + "Sy" * 17)] == ["m.yaml:1:4"]


def test_byte_order_mark_is_dropped() -> None:
    """Windows editors write one; it is no part of the first key."""
    assert value_of(b"\xef\xbb\xbfa: 1") == {"a": 1}


def test_windows_line_ends_are_line_ends() -> None:
    """A block text keeps its lines and gains no carriage returns."""
    assert value_of("a: |\r\n  x\r\n  y\r\n") == {"a": "x\ny\n"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" * 100_000, "1:51"),
        ("é: " + "[" * 100_000, "1:53"),
        ("{a: " * 10_000, "1:201"),
        ("- " * 100_000, "1:101"),
        ("[\n" * 5000, "51:1"),
        ("\n".join(" " * level + "a:" for level in range(1200)), "51:51"),
    ],
    ids=["brackets", "behind a key", "braces", "dashes", "lines", "indented"],
)
def test_depth_is_refused_before_it_is_built(text: str, place: str) -> None:
    """A hundred thousand brackets end at the fifty-first, also where the parser itself gives up at a thousand."""
    assert problems_of(text) == [f"m.yaml:{place}: nested deeper than 50"]


def test_fifty_levels_are_fine() -> None:
    """No manifest needs more than a few."""
    assert value_of("[" * 50 + "]" * 50)


def test_depth_through_aliases_is_refused() -> None:
    """Short lines that each wrap the one before are as deep as if written out."""
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000)]

    assert "nested deeper than 50" in problems_of("\n".join(lines))[0]


def test_alias_bomb_is_counted_not_expanded() -> None:
    """Nine lines that stand for a billion values are refused at once."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "aliases repeat more than 1,000,000 values" in problems_of("\n".join(lines))[0]


def test_very_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would fill the memory long before the file is too large."""
    monkeypatch.setattr(yaml_text, "MAX_VALUES", 100)

    assert value_of(f"[{'[],' * 99}]")
    assert problems_of(f"a:\n [{'[],' * 100}]") == [
        "m.yaml:2:2: more than 100 values; put the jobs into a table and name it in rows"
    ]


def test_merge_bomb_is_refused() -> None:
    """A large mapping merged very often would be copied each time."""
    base = ",".join(f"k{n}: 1" for n in range(2000))

    assert "<< repeats more than" in problems_of(f"a: &a {{{base}}}\nb: [{','.join(['{<<: *a}'] * 501)}]")[0]


@pytest.mark.parametrize("word", ["no", "Yes", "on", "012", "1:30", "1e3", "2024-01-01", "null", "~", "1_0", "0x1f"])
def test_ids_that_other_yaml_reads_differently_need_quotes(folder: Folder, word: str) -> None:
    """An id is a name for ever; it must not depend on which YAML reads it."""
    assert folder.problems(f"jobs: [{{prompt: x, id: {word}}}]")[0].endswith("id must be a string; quote it")


def test_a_problem_in_merged_text_is_shown_where_it_is_written(folder: Folder) -> None:
    """A wrong value that came through << is wrong at its source."""
    text = "jobs:\n - &a {prompt: x, image_size: 9K}\n - {<<: *a, prompt: y}"

    assert [problem.split(": ")[0] for problem in folder.problems(text)] == ["m.yaml:2:31"]
