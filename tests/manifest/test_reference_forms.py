"""The ways to say which pictures go along: wildcards, columns, and what may be left out."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batch.core.errors import InputError
from batch.manifest import load_manifest
from batch.manifest.references import wildcards
from batch.manifest.references.wildcards import MARK, Folders, marked, natural

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

PHOTOS = (
    "photos/kite-1.png",
    "photos/kite-2.png",
    "photos/kite-10.png",
    "photos/kite.png",
    "photos/boat-1.png",
    "photos/.hidden.png",
    "photos/old/kite-3.png",
    "photos/old/deep/kite-4.png",
    "photos/a*b.png",
    "photos/[x].png",
)


def names(job: Any) -> list[str]:
    return [reference.name for reference in job.references]


def files(path: Path, *listed: str) -> None:
    for name in listed:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/kite-*.png", ["photos/kite-1.png", "photos/kite-2.png", "photos/kite-10.png"]),
        ("photos/kite-?.png", ["photos/kite-1.png", "photos/kite-2.png"]),
        ("photos/kite-[2-9].png", ["photos/kite-2.png"]),
        ("photos/kite-[!1]*.png", ["photos/kite-2.png"]),
        ("photos/k*1*.png", ["photos/kite-1.png", "photos/kite-10.png"]),
        ("photos/*/kite-*.png", ["photos/old/kite-3.png"]),
        ("photos/*ld/k*.png", ["photos/old/kite-3.png"]),
        ("*/old/kite-3.png", ["photos/old/kite-3.png"]),
        (
            "photos/**/kite-?.png",
            [f"photos/{name}" for name in ("kite-1.png", "kite-2.png", "old/deep/kite-4.png", "old/kite-3.png")],
        ),
        ("**/deep/**", ["photos/old/deep/kite-4.png"]),
        ("./photos/boat*", ["./photos/boat-1.png"]),
        ("photos/.h*.png", ["photos/.hidden.png"]),
        ("photos/a*b.png", ["photos/a*b.png"]),  # the file that is called so, though others match too
        ("photos/[x].png", ["photos/[x].png"]),
        ("photos/kite-1*0.png", ["photos/kite-10.png"]),
    ],
)
def test_wildcards_mean_files(folder: Folder, pattern: str, expected: list[str]) -> None:
    """As a shell would, in the order people count, and never hidden files or folders."""
    for name in (*PHOTOS, "photos/axb.png"):
        folder.picture(name)

    [job] = folder.jobs(f"jobs: [{{id: a, prompt: x, references: ['{pattern}']}}]")

    assert names(job) == expected


def test_each_row_finds_its_own_pictures(folder: Folder) -> None:
    """A wildcard of the manifest counts, one that comes out of a cell is a character of a name."""
    for name in PHOTOS:
        folder.picture(name)
    folder.write("t.csv", "n,Handle\n1,kite\n2,boat\n3,a*b\n4,k*\n5,[kb]\n")
    text = 'rows: t.csv\njobs: [{{id: "{{{{ n }}}}", prompt: x, references: ["photos/{{{{ Handle }}}}{0}.png"]}}]'

    assert [names(job) for job in folder.jobs(text.format("*") + "\nlimit: 2")] == [
        ["photos/kite.png", "photos/kite-1.png", "photos/kite-2.png", "photos/kite-10.png"],
        ["photos/boat-1.png"],
    ]
    assert folder.problems(text.format("-*"))[-2:] == [
        't.csv:5: column "Handle": job "4": reference photos/k*-*.png matches no file under reference_root',
        't.csv:6: column "Handle": job "5": reference photos/[kb]-*.png matches no file under reference_root',
    ]
    assert folder.problems(text.format(""))[-2:] == [
        't.csv:5: column "Handle": job "4": reference photos/k*.png does not exist',
        't.csv:6: column "Handle": job "5": reference photos/[kb].png does not exist',
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/no-*.png", 'm.yaml:1:40: job "a": reference photos/no-*.png matches no file under reference_root'),
        ("none/*.png", 'm.yaml:1:40: job "a": reference none/*.png matches no file under reference_root'),
        ("photos/kite.png/*.png", "reference photos/kite.png/*.png matches no file"),
        ("../*.png", "reference ../*.png matches no file"),
        ("/etc/host*", "reference /etc/host* matches no file"),
        ("*/../../outside.*", "reference */../../outside.* matches no file"),
        ("photos/[kite.png", "reference photos/[kite.png matches no file"),
        ("photos/many-*.png", 'm.yaml:1:40: job "a": 15 references; gemini-3.1-flash-image takes at most 14'),
    ],
)
def test_wildcards_that_cannot_be_used(folder: Folder, pattern: str, expected: str) -> None:
    """No match, too many, and folders that are none of ours are one problem each."""
    folder.picture("outside.png")
    for name in ("photos/kite.png", *(f"photos/many-{number}.png" for number in range(15))):
        folder.picture(f"shop/{name}")
    manifest = load_manifest(folder.write("shop/m.yaml", f"jobs: [{{id: a, prompt: x, references: ['{pattern}']}}]"))

    with pytest.raises(InputError) as caught:
        list(manifest.check())

    [problem] = [str(problem).replace(f"{folder.path}/shop/", "") for problem in caught.value.problems]
    assert expected in problem


def test_a_row_with_too_many_pictures_is_named(folder: Folder) -> None:
    """The limit counts the pictures, not the items of the list."""
    for number in range(15):
        folder.picture(f"kite-{number}.png")
    folder.picture("boat-1.png")
    folder.write("t.csv", "Handle\nboat\nkite\n")
    text = 'rows: t.csv\njobs: [{id: "{{ Handle }}", prompt: x, references: ["{{ Handle }}-*.png"]}]'

    assert folder.problems(text) == [
        't.csv:3: column "Handle": job "kite": 15 references; gemini-3.1-flash-image takes at most 14'
    ]


def test_links_do_not_lead_outside(folder: Folder) -> None:
    """A link that leaves the folder is a problem if it is meant, and is not gone through by `**`."""
    folder.picture("secret/kite-9.png")
    folder.picture("shop/photos/kite-1.png")
    (folder.path / "shop/photos/kite-2.png").symlink_to(folder.path / "secret/kite-9.png")
    (folder.path / "shop/photos/there").symlink_to(folder.path / "secret")
    (folder.path / "shop/photos/round").symlink_to(folder.path / "shop")

    def loaded(pattern: str) -> Any:
        text = f"jobs: [{{prompt: x, references: ['{pattern}']}}]"
        return load_manifest(folder.write("shop/m.yaml", text)).check()

    with pytest.raises(InputError, match=r"reference photos/kite-2\.png lies outside reference_root"):
        list(loaded("photos/kite-*.png"))
    with pytest.raises(InputError, match="matches no file"):
        list(loaded("photos/there/*.png"))
    [job] = loaded("**/kite-1.png")
    assert names(job) == ["photos/kite-1.png"]


def test_a_folder_is_listed_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows, and all passes over them, see one listing."""
    folder.write("t.csv", "n\n" + "".join(f"{number}\n" for number in range(300)))
    for number in range(300):
        folder.picture(f"photos/{number}-1.png")
    listed: list[str] = []
    list_ = wildcards.list_folder

    def watched(path: str) -> Any:
        listed.append(path)
        return list_(path)

    monkeypatch.setattr(wildcards, "list_folder", watched)

    jobs = folder.jobs('rows: t.csv\njobs: [{id: "{{ n }}", prompt: x, references: ["photos/{{ n }}-*.png"]}]')

    assert len(jobs) == 300
    assert listed == [str(folder.path / "photos")]


def test_a_row_looks_only_at_names_that_begin_like_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work for a row does not grow with the folder."""
    files(tmp_path, *(f"{number:05}-{side}.png" for number in range(3000) for side in "ab"))
    looked_at: list[str] = []
    fits = wildcards.fitting

    def watched(part: str) -> Callable[[str], Any]:
        def look(name: str) -> Any:
            looked_at.append(name)
            return fits(part)(name)

        return look

    monkeypatch.setattr(wildcards, "fitting", watched)
    folders = Folders(str(tmp_path), lambda _: True)

    for number in range(3000):
        assert len(folders.matching(f"{number:05}-{MARK}*.png")) == 2

    assert len(looked_at) == 6000


def test_remembered_names_are_bounded(tmp_path: Path) -> None:
    """Beyond the limit the folders used longest ago are read again; what they mean stays the same."""
    files(tmp_path, *(f"{number}/{name}.png" for number in range(50) for name in "abc"))
    folders = Folders(str(tmp_path), lambda _: True, kept_names=100)

    for _ in range(2):
        for number in range(50):
            assert len(folders.matching(marked(f"{number}/*.png"))) == 3

    assert 0 < folders.held_names <= 100


def test_stars_agree_with_the_expression(tmp_path: Path) -> None:
    """Asterisks are matched without a regular expression, with the same result."""
    dice = random.Random(7)
    made = {"".join(dice.choices("ab-", k=dice.randint(1, 6))) for _ in range(300)}
    files(tmp_path, *made)
    folders = Folders(str(tmp_path), lambda _: True)
    for _ in range(400):
        pattern = "".join(dice.choices("ab-**", k=dice.randint(1, 6)))
        if "*" not in pattern or "**" in pattern:
            continue
        regex = wildcards.expression(marked(pattern))
        assert folders.matching(marked(pattern)) == sorted(filter(regex.match, made), key=natural)


def test_a_folder_that_cannot_be_read_is_told(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there, so "no file" would be a lie."""

    def refused(_: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    [problem] = folder.problems("jobs: [{id: a, prompt: x, references: ['*.png']}]")
    assert problem == 'm.yaml:1:40: job "a": reference *.png cannot be looked up: permission denied'


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{path: none.png, optional: true}", []),
        ("{path: none/none.png, optional: true}", []),
        ("{path: no-*.png, optional: true}", []),
        ("{path: kite.png, optional: true}", ["kite.png"]),
        ("{path: 'k*.png', optional: true}", ["kite.png"]),
        ("{path: kite.png}", ["kite.png"]),
        ("{path: '{{ Empty }}', optional: true}", []),
        ("{path: '{{ Handle }}.png', optional: true}", ["kite.png"]),
        ("{column: File}", ["kite.png"]),
        ("{column: File, split: ','}", ["kite.png"]),
        ("{column: Files, split: ','}", ["kite.png", "boat.png"]),
        ("{column: Piped, split: ' | '}", ["kite.png", "boat.png"]),
        ("{column: Missing, optional: true}", []),
        ("{column: Empty, optional: true}", []),
        ("{column: Empty, split: ',', optional: true}", []),
    ],
)
def test_items_that_say_more_than_a_name(folder: Folder, item: str, expected: list[str]) -> None:
    """What may be left out is left out; a cell may name one picture or several."""
    folder.picture("kite.png")
    folder.picture("boat.png")
    cells = 'kite, kite.png,"kite.png, boat.png,",,none.png,kite.png | boat.png'
    folder.write("t.csv", f"Handle,File,Files,Empty,Missing,Piped\n{cells}\n")

    for where in (
        "jobs: [{{prompt: '{{{{ Handle }}}}', references: [{}]}}]",
        "defaults: {{references: [{}]}}\njobs: [{{prompt: '{{{{ Handle }}}}'}}]",
    ):
        [job] = folder.jobs("rows: t.csv\n" + where.format(item))
        assert names(job) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{path: bad.png, optional: true}", "m.yaml:6:9: reference bad.png is not a picture that can be read"),
        ("{path: 'b*.png', optional: true}", "m.yaml:6:9: reference bad.png is not a picture that can be read"),
        ("{path: ../kite.png, optional: true}", "m.yaml:6:9: reference ../kite.png lies outside reference_root"),
        ("'{{ Empty }}'", 't.csv:2: column "Empty": job "kite": a reference is empty; name a file or leave it out'),
        (
            "{column: Empty}",
            't.csv:2: column "Empty": job "kite": names no picture; fill it in, or write optional: true beside column',
        ),
        ("{column: Files}", 't.csv:2: column "Files": job "kite": reference none.png,k*.png does not exist'),
        ("{column: Handel}", 'm.yaml:6:9: references: no column "Handel"; did you mean Handle?'),
        ("{column: Handel, optional: true}", 'm.yaml:6:9: references: no column "Handel"; did you mean Handle?'),
        ("{path: '{{ Handle }}/{{ Empty }}'}", 't.csv:2: job "kite": reference kite/ does not exist'),
        ("'{{ Handel }}'", 'm.yaml:6:9: no column "Handel"; did you mean Handle?'),
        ("'{% if %}*.png'", "m.yaml:6:9: the template cannot be read"),
    ],
)
def test_items_with_a_problem(folder: Folder, item: str, expected: str) -> None:
    """What cannot be sent is a problem, optional or not; it names the row, and the column if it is one."""
    folder.write("bad.png", b"no picture")
    folder.write("t.csv", 'Handle,Files,Empty\nkite,"none.png,k*.png",\n')
    text = f"rows: t.csv\njobs:\n  - id: '{{{{ Handle }}}}'\n    prompt: x\n    references:\n      - {item}\n"

    [problem] = folder.problems(text)

    assert problem.startswith(expected)


def test_every_bad_name_of_a_cell_is_told(folder: Folder) -> None:
    """One report is enough to repair the table."""
    folder.write("t.csv", 'Handle,Files\nkite,"a.png;b*.png"\n')
    text = "rows: t.csv\njobs: [{id: '{{ Handle }}', prompt: x, references: [{column: Files, split: ';'}]}]"

    assert folder.problems(text) == [
        't.csv:2: column "Files": job "kite": reference a.png does not exist',
        't.csv:2: column "Files": job "kite": reference b*.png does not exist',
    ]


def test_lines_of_json_may_hold_lists(folder: Folder) -> None:
    """A list needs no separator; anything else is no name."""
    for name in ("a.png", "b,c.png"):
        folder.picture(name)
    rows: list[Any] = [["a.png", "b,c.png"], "a.png", [], None]
    lines = [json.dumps({"id": f"r{n}", "pictures": value}) for n, value in enumerate(rows)]
    text = "rows: t.jsonl\njobs: [{{id: '{{{{ id }}}}', prompt: x, references: [{{column: pictures{}}}]}}]"
    folder.write("t.jsonl", "\n".join([*lines, '{"id": "r4"}']))
    jobs = folder.jobs(text.format(", optional: true"))
    assert [names(job) for job in jobs] == [["a.png", "b,c.png"], ["a.png"], [], [], []]

    folder.write("t.jsonl", '{"id": "r0", "pictures": {"front": "a.png"}}\n{"id": "r1", "pictures": [["a.png"]]}')
    what = "holds something else than names of pictures; references need a text or a list"
    assert folder.problems(text.format("")) == [
        f't.jsonl:1: column "pictures": job "r0": {what}',
        f't.jsonl:2: column "pictures": job "r1": {what}',
    ]


def test_a_column_of_pictures_tells_rows_apart(folder: Folder) -> None:
    """Rows that differ in their picture only are different jobs, with a matrix too."""
    folder.picture("a.png")
    folder.picture("b.png")
    folder.write("t.csv", "File\na.png\nb.png\n")
    assert len(folder.jobs("rows: t.csv\njobs: [{prompt: x, references: [{column: File}]}]")) == 2
    text = "rows: t.csv\nmatrix: {scene: [sea, hill]}\njobs: [{prompt: '{{ scene }}', references: [{column: File}]}]"
    assert len(folder.jobs(text)) == 4


def test_natural_order() -> None:
    """Numbers by their value, letters without regard to case."""
    given = ["b10", "B2", "b1", "a", "10", "9", "b02"]
    assert sorted(given, key=natural) == ["9", "10", "a", "b1", "B2", "b02", "b10"]


COMPOSED, APART = "cr\u00e8me-br\u00fbl\u00e9e", "cre\u0300me-bru\u0302le\u0301e"


@pytest.mark.parametrize(("disk", "table"), [(COMPOSED, APART), (APART, COMPOSED), (APART, APART)])
@pytest.mark.parametrize(
    "item",
    [
        "photos/{{ Handle }}.png",
        "photos/{{ Handle }}*.png",
        "photos/*{{ Handle }}.png",
        "{{ Handle }}/1.png",
        "**/{{ Handle }}.png",
        "{{ Handle }}/?.png",
    ],
)
def test_names_are_found_in_every_form_of_unicode(folder: Folder, disk: str, table: str, item: str) -> None:
    """A Mac stores an accent apart, a table has it composed; people see one name."""
    folder.picture(f"photos/{disk}.png")
    folder.picture(f"{disk}/1.png")
    folder.write("t.csv", f"Handle\n{table}\n")

    [job] = folder.jobs(f'rows: t.csv\njobs: [{{prompt: "{{{{ Handle }}}}", references: ["{item}"]}}]')

    assert [reference.file.exists() for reference in job.references] == [True]


def test_the_exact_name_comes_first(folder: Folder) -> None:
    """Of two files that look the same."""
    folder.picture(f"{COMPOSED}.png")
    folder.picture(f"{APART}.png")
    for name in (COMPOSED, APART):
        [job] = folder.jobs(f"jobs: [{{id: x, prompt: x, references: ['{name}.png']}}]")
        assert job.references[0].file.name == f"{name}.png"


@pytest.mark.parametrize(
    ("disk", "item", "expected"),
    [
        ("photos/Kite.JPG", "photos/kite.jpg", "does not exist; did you mean photos/Kite.JPG? Capitals count"),
        ("Photos/kite.jpg", "photos/kite.jpg", "does not exist; did you mean Photos/kite.jpg? Capitals count"),
        ("photos/kite-1.JPG", "photos/kite-*.jpg", "matches no file; did you mean photos/kite-1.JPG? Capitals count"),
        (
            "photos/\u00c9t\u00e9.jpg",
            "photos/\u00e9te\u0301.jpg",
            "did you mean photos/\u00c9t\u00e9.jpg? Capitals count",
        ),
        (
            "photos/9.41\u202fAM.png",
            "photos/9.41 AM.png",
            "does not exist; did you mean photos/9.41\\u202fAM.png? They differ in characters that are invisible or "
            "look alike",
        ),
        (
            "photos/ki\u200bte.png",
            "photos/kite.png",
            "did you mean photos/ki\\u200bte.png? They differ in characters",
        ),
    ],
)
@pytest.mark.parametrize("optional", [False, True])
def test_a_name_that_looks_the_same_is_named(
    folder: Folder, disk: str, item: str, expected: str, optional: bool
) -> None:
    """It may be another product's picture, so it is not taken; and it is not left out without a word either."""
    folder.picture(disk)
    [problem] = folder.problems(
        f'jobs: [{{id: a, prompt: x, references: [{{path: "{item}", optional: {str(optional).lower()}}}]}}]'
    )
    assert expected in problem


def test_look_alikes_are_not_looked_for_outside(folder: Folder) -> None:
    """What lies beside reference_root is not named."""
    folder.picture("Secret.png")
    manifest = load_manifest(folder.write("shop/m.yaml", "jobs: [{prompt: x, references: ['../secret.png']}]"))
    with pytest.raises(InputError) as caught:
        list(manifest.check())
    assert "Secret" not in str(caught.value)
