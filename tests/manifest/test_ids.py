"""Ids are names that every file system keeps apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.core.errors import InputError
from batch.manifest.ids import derived_id, id_key, id_problem, name_problem, slug

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder


@pytest.mark.parametrize("good", ["a", "cat-07", "A.b_c-d", "0", "con1", "com10", "x" * 100, "nulled"])
def test_good_id(good: str) -> None:
    """Letters, digits, dot, underscore, hyphen: up to a hundred."""
    assert id_problem(good) is None


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "../x",
        "/etc/x",
        "a/b",
        "..",
        ".",
        ".a",
        "-a",
        "~a",
        "_a",
        "a ",
        "a.",
        "a:b",
        "a?b",
        "a\n",
        "a\0",
        "\u202eabc",
        "a\u200bb",
        "é",
        "猫",
        "x" * 101,
        "CON",
        "nul.png",
        "Com1",
        "lpt9.x.y",
        "aux",
    ],
)
def test_bad_id(bad: str) -> None:
    """Anything a file system, a shell or an eye could take for something else is refused."""
    assert id_problem(bad) is not None


def test_samples_count_towards_the_length() -> None:
    """The longest sample's id must fit as well."""
    assert id_problem("x" * 97, samples=99) is None
    assert id_problem("x" * 98, samples=99) is not None


def test_ids_are_compared_as_a_careless_file_system_does() -> None:
    """Case and composition of accents do not tell two files apart everywhere."""
    assert id_key("Cat") == id_key("cat")
    assert id_key("caf\u00e9") == id_key("cafe\u0301")
    assert id_key("cat") != id_key("cat1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Crème brûlée, 2x!", "creme-brulee-2x"), ("猫", ""), ("--a--b--", "a-b"), ("ﬁne", "fine")],
)
def test_slug(text: str, expected: str) -> None:
    """Words in plain letters, joined by hyphens."""
    assert slug(text) == expected


def test_derived_id_is_cut_between_words() -> None:
    """Forty characters say enough, and no word is cut in half."""
    name = derived_id("a very long description of a mountain lake at the break of day", [], digits=6)

    assert name.rpartition("-")[0] == "a-very-long-description-of-a-mountain"


@given(st.text())
def test_derived_ids_are_always_good_ids(prompt: str) -> None:
    """Whatever the prompt holds, its job has a name."""
    safe = prompt.encode("utf-8", "replace").decode()

    assert id_problem(derived_id(safe, ["m", None], digits=16), samples=1000) is None


@pytest.mark.parametrize("bad", ["", ".x", "x.", "x ", "a/b", "a\nb", "nul", "é" * 51])
def test_bad_name(bad: str) -> None:
    """The run's name becomes a folder."""
    assert name_problem(bad) is not None


@pytest.mark.parametrize("good", ["spring-catalog", "春季目录", "a b", "é" * 50])
def test_good_name(good: str) -> None:
    """A folder may be named in any language."""
    assert name_problem(good) is None


def test_doubled_ids_name_both_places(folder: Folder) -> None:
    """The same name twice, or twice but for case, is a problem of the second."""
    text = "jobs:\n - {id: a, prompt: x}\n - {id: A, prompt: y}\n - {id: a, prompt: z}\n - {id: a, prompt: x}"

    assert folder.problems(text) == [
        'm.yaml:3: job "A": this id and a on line 2 differ in case only; give different ids',
        'm.yaml:4: job "a": this id is also used on line 2; give different ids',
        'm.yaml:5: job "a": same prompt and parameters as line 2; give different ids, or use samples',
    ]


def test_same_prompt_twice_asks_for_ids_or_samples(folder: Folder) -> None:
    """Two jobs that ask for the same picture are more likely a mistake than a wish."""
    [problem] = folder.problems("jobs:\n - prompt: x\n - prompt: x")

    assert problem.endswith("same prompt and parameters as line 2; give different ids, or use samples")


def test_sample_ids_meet_given_ids(folder: Folder) -> None:
    """`a.1` written out and `a.1` made by samples are the same name; it is said once."""
    text = "jobs:\n - {id: a, prompt: x, samples: 3}\n - {id: a.2, prompt: y}\n - {id: a, prompt: z, samples: 2}"

    assert [problem.partition(": ")[0] for problem in folder.problems(text)] == ["m.yaml:3", "m.yaml:4"]


def test_very_many_doubles_are_counted(folder: Folder) -> None:
    """A report stays readable when everything is wrong."""
    folder.write("t.csv", "a\n" + "".join(f"p{n}\n" for n in range(1500)) * 2)

    with pytest.raises(InputError) as caught:
        folder.jobs('rows: t.csv\njobs: [{prompt: "{{ a }}", id: "{{ a }}"}]')

    assert (len(caught.value.problems), caught.value.more) == (11, 500)
    assert str(caught.value).endswith("\n... and 500 more")
