"""`names`: what pictures are called, with folders."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.manifest.conftest import Folder

TABLE = "Handle,Vendor\nkite,Holm & Sons\nmug,Acme\n"


def named(folder: Folder, table: str = TABLE, **top: Any) -> dict[str, str]:
    folder.write("t.csv", table)
    job = {"id": "{{ Handle }}", "prompt": "{{ Handle }}", **top.pop("job", {})}
    return {job.id: job.name for job in folder.jobs(json.dumps({"rows": "t.csv", "jobs": [job], **top}))}


def problems(folder: Folder, table: str = TABLE, **top: Any) -> list[str]:
    folder.write("t.csv", table)
    job = {"id": "{{ Handle }}", "prompt": "{{ Handle }}"}
    return folder.problems(json.dumps({"rows": "t.csv", "jobs": [job], **top}))


def test_a_template_over_the_row_and_the_id(folder: Folder) -> None:
    """Folders by a column; without `names` a picture has no other name than the id."""
    assert named(folder, names="{{ Vendor | slug }}/{{ id }}") == {"kite": "holm-sons/kite", "mug": "acme/mug"}
    assert named(folder) == {"kite": "", "mug": ""}


def test_a_name_is_no_part_of_what_is_bought(folder: Folder) -> None:
    """Specs are the same with and without."""
    folder.write("t.csv", TABLE)
    given: dict[str, Any] = {"rows": "t.csv", "jobs": [{"id": "{{ Handle }}", "prompt": "{{ Handle }}"}]}

    plain, called = (folder.jobs(json.dumps({**given, **more})) for more in ({}, {"names": "a/{{ id }}"}))

    assert [job.spec() for job in plain] == [job.spec() for job in called]


def test_samples_and_variants_have_names_of_their_own(folder: Folder) -> None:
    """A sample's number is added unless the name has it; a matrix's names can be used."""
    assert named(folder, names="{{ Vendor | slug }}", job={"samples": 2})["mug.2"] == "acme.2"
    assert named(folder, names="{{ id }}", job={"samples": 2})["mug.2"] == "mug.2"
    scenes = named(
        folder,
        names="{{ scene }}/{{ Handle }}",
        matrix={"scene": ["beach", "wood"]},
        job={"id": "{{ Handle }}-{{ scene }}", "prompt": "{{ Handle }} {{ scene }}"},
    )
    assert scenes["mug-wood"] == "wood/mug"


def test_a_table_with_an_id_column_means_that(folder: Folder) -> None:
    """As everywhere in templates, a column's name is the column."""
    assert named(folder, "Handle,id\nmug,77\n", names="{{ id }}") == {"mug": "77"}


def test_a_product_of_several_rows_has_one_name(folder: Folder) -> None:
    """With `group`, by the first filled cell."""
    assert named(folder, "Handle,Vendor\nmug,\nmug,Acme\n", group="Handle", names="{{ Vendor | slug }}/{{ id }}") == {
        "mug": "acme/mug"
    }


def test_without_a_table_by_the_id(folder: Folder) -> None:
    """Folders for a manifest's own jobs."""
    [job] = folder.jobs(json.dumps({"names": "set/{{ id }}", "jobs": [{"id": "a", "prompt": "a"}]}))

    assert job.name == "set/a"


@pytest.mark.parametrize(
    ("vendor", "words"),
    [
        ("..", "a part of the name ../kite may hold a-z"),
        ("", "a part of the name /kite is empty"),
        ("Müller", "may hold a-z, A-Z, 0-9"),
        ("CON", "is a device name on Windows"),
        ("x.png", "a folder must not end like a picture's name"),
        ("a/b/c/d/e/f", "the name has 6 folders; at most 5 are allowed"),
        ("v" * 101, "is 101 characters long"),
        ("v.", "ends with a dot"),
        ("a~v2", "may hold a-z"),
    ],
)
def test_what_no_file_system_should_get_is_a_problem(folder: Folder, vendor: str, words: str) -> None:
    """Told with the row, before anything is sent."""
    [problem] = problems(folder, f"Handle,Vendor\nkite,{vendor}\n", names="{{ Vendor }}/{{ id }}")

    assert problem.startswith('t.csv:2: job "kite": names: ')
    assert words in problem


def test_two_pictures_with_one_name_are_a_problem(folder: Folder) -> None:
    """Also if they differ in case, which some file systems do not see."""
    assert problems(folder, "Handle,Vendor\na,Acme\nb,ACME\nc,Holm\n", names="{{ Vendor }}") == [
        't.csv:3: job "b": its picture would be called ACME, as that of a (t.csv:2); use one more column in names, or '
        "{{ id }}"
    ]


def test_a_column_that_is_not_there_is_told_once(folder: Folder) -> None:
    """At its place in the manifest."""
    [problem] = problems(folder, names="{{ Vendr }}/{{ id }}")

    assert 'names: no column "Vendr"; did you mean Vendor?' in problem
