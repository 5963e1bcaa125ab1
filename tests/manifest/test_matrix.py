"""Every job in several variants."""
# ruff: noqa: E501  # a table reads best with one case on one line

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from batch.manifest import load_manifest

if TYPE_CHECKING:
    from tests.manifest.conftest import Folder

STYLES = "style: [{name: plain, prompt: soft}, {name: bold, prompt: hard, aspect_ratio: 3:4, image_size: 2K}]"


def ids(folder: Folder, matrix: str, template: str = "{{ a }}-{{ b }}") -> list[str]:
    return [job.id for job in folder.jobs(f'matrix: {matrix}\njobs: [{{id: "{template}", prompt: "{template}"}}]')]


def test_all_combinations_for_every_row_and_job(folder: Folder) -> None:
    """A row's pictures come together, then a job's."""
    folder.write("t.csv", "h\nx\ny\n")
    text = 'rows: t.csv\nmatrix: {scene: [studio, beach]}\njobs: [{id: "{{h}}-1{{scene}}", prompt: "{{scene}}"}, {id: "{{h}}-2{{scene}}", prompt: "{{scene}}"}]'

    assert [job.id for job in folder.jobs(text)] == [
        "x-1studio",
        "x-1beach",
        "x-2studio",
        "x-2beach",
        "y-1studio",
        "y-1beach",
        "y-2studio",
        "y-2beach",
    ]


def test_without_rows_templates_see_the_matrix(folder: Folder) -> None:
    """Mappings are reached into; filters and conditions work."""
    text = f"matrix: {{{STYLES}, scene: [a sea]}}\njobs: [{{id: \"{{{{ scene | slug }}}}-{{{{ style.name }}}}\", prompt: \"{{{{ style['prompt'] }}}}{{% if style.name == 'bold' %}}!{{% endif %}}\"}}]"

    assert [(job.id, job.prompt) for job in folder.jobs(text)] == [("a-sea-plain", "soft"), ("a-sea-bold", "hard!")]


def test_values_are_the_text_that_is_written(folder: Folder) -> None:
    """Numbers keep their digits, words that YAML takes for something else keep their form."""
    assert ids(folder, "{a: [1.50, 007, no, true], b: [x]}") == ["1.50-x", "007-x", "no-x", "true-x"]


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ("{a: [1, 2], b: [x, y]}", ["1-x", "1-y", "2-x", "2-y"]),
        ("{a: [1, 2], b: [x, y], exclude: [{a: 1, b: y}]}", ["1-x", "2-x", "2-y"]),
        ("{a: [1, 2], b: [x, y], exclude: [{a: 1}]}", ["2-x", "2-y"]),
        ("{a: [1, 2], b: [x], include: [{a: 3, b: z}]}", ["1-x", "2-x", "3-z"]),
        ("{a: [1, 2], b: [x], exclude: [{a: 2}], include: [{a: 2, b: x}]}", ["1-x", "2-x"]),
        ("{a: [1, 2], b: [x], include: [{a: 2, b: x}]}", ["1-x", "2-x"]),
    ],
)
def test_include_and_exclude(folder: Folder, matrix: str, expected: list[str]) -> None:
    """As in GitHub Actions."""
    assert ids(folder, matrix) == expected


def test_include_adds_names_to_the_variants_it_agrees_with(folder: Folder) -> None:
    """In the others the name is an empty text."""
    assert ids(folder, "{a: [1, 2], include: [{a: 2, b: x}, {c: all}]}", "{{ a }}{{ b }}{{ c }}") == ["1all", "2xall"]


def test_precedence_of_parameters(folder: Folder) -> None:
    """The job's own, then the variant's, then the defaults."""
    text = f"""matrix: {{{STYLES}}}
defaults: {{aspect_ratio: 1:1, image_size: 512}}
jobs:
 - {{id: "a-{{{{ style.name }}}}", prompt: a}}
 - {{id: "b-{{{{ style.name }}}}", prompt: b, image_size: 4K}}
"""
    assert [(job.id, job.aspect_ratio, job.image_size) for job in folder.jobs(text)] == [
        ("a-plain", "1:1", "512"),
        ("a-bold", "3:4", "2K"),
        ("b-plain", "1:1", "4K"),
        ("b-bold", "3:4", "4K"),
    ]


def test_a_list_of_a_parameters_values_sets_it(folder: Folder) -> None:
    """Sizes, ratios, models and modalities to compare."""
    text = "matrix: {image_size: [1K, 2K], m: [{modalities: [TEXT, IMAGE], name: t}]}\njobs: [{prompt: x}]"

    jobs = folder.jobs(text)

    assert [(job.image_size, job.modalities) for job in jobs] == [("1K", ("TEXT", "IMAGE")), ("2K", ("TEXT", "IMAGE"))]
    assert [job.id.rpartition("-")[0] for job in jobs] == ["x-1k-t", "x-2k-t"]


def test_derived_ids_tell_the_variant_and_do_not_depend_on_order(folder: Folder) -> None:
    """The ids of a reordered matrix are the same."""
    text = 'matrix: {scene: [studio, beach]}\njobs: [{prompt: "a {{ scene }}"}]'
    there = {job.id for job in folder.jobs(text)}
    back = {job.id for job in folder.jobs(text.replace("studio, beach", "beach, studio"))}

    assert there == back
    assert {job.rpartition("-")[0] for job in there} == {"a-studio-studio", "a-beach-beach"}


BAD: dict[str, tuple[str, list[str]]] = {
    "no mapping": ("[a]", ["m.yaml:1:9: matrix must be a mapping (key: value); got a list"]),
    "empty": (
        "{}",
        ["m.yaml:1:9: matrix has no names; write one with a list of values, such as scene: [studio, beach]"],
    ),
    "no list": ("{a: x}", ["m.yaml:1:13: a must be a list of values; got x"]),
    "no values": ("{a: []}", ["m.yaml:1:13: a must be a list of values; got a list"]),
    "bad name": ("{a-b: [1]}", ['m.yaml:1:10: "a-b" cannot be written as {{ name }}; use letters, digits and _']),
    "reserved name": ("{row: [1]}", ['m.yaml:1:10: "row" cannot be written as {{ name }}; use letters, digits and _']),
    "null": ("{a: [1, null]}", ["m.yaml:1:17: a must be a text or a number; got nothing"]),
    "deep": ("{a: [{b: [1]}]}", ["m.yaml:1:18: b must be a text or a number; got a list"]),
    "template": (
        "{a: ['{{ b }}']}",
        ["m.yaml:1:14: a is taken as it stands, so it cannot hold {{ }}; write them in the job"],
    ),
    "twice": ("{a: [x, x]}", ["m.yaml:1:17: a has this value twice; remove one"]),
    "same name": ("{a: [{name: x}, {name: x, p: q}]}", ["m.yaml:1:25: a has this value twice; remove one"]),
    "mixed": ("{a: [x, {name: y}]}", ["m.yaml:1:13: the values of a must be all texts or all mappings"]),
    "exclude name": ("{abc: [x], exclude: [{abd: x}]}", ['m.yaml:1:31: the matrix has no "abd"; did you mean abc?']),
    "exclude value": (
        "{a: [beach], exclude: [{a: baech}]}",
        ['m.yaml:1:36: a has no value "baech"; did you mean beach?'],
    ),
    "exclude named": (
        "{a: [{name: bold}], exclude: [{a: bald}]}",
        ['m.yaml:1:43: a has no value "bald"; did you mean bold?'],
    ),
    "exclude all": ("{a: [x], exclude: [{a: x}]}", ["m.yaml:1:27: exclude leaves no variant"]),
    "exclude no list": (
        "{a: [x], exclude: {a: x}}",
        ["m.yaml:1:27: exclude must be a list of mappings such as {scene: beach}"],
    ),
    "include name": (
        "{scene: [x], include: [{scenes: y}]}",
        ['m.yaml:1:33: the matrix has no "scenes"; did you mean scene?'],
    ),
    "include named": (
        "{a: [{name: bold}], include: [{a: bald}]}",
        ['m.yaml:1:43: a has no value "bald"; did you mean bold?'],
    ),
    "include part": (
        "{a: [x], b: [y], include: [{a: z}]}",
        ["m.yaml:1:36: no variant agrees with this, and as a new one it lacks b"],
    ),
    "too many": (
        f"{{a: {list(range(40))}, b: {list(range(40))}}}",
        ["m.yaml:1:9: the matrix makes 1,600 variants; at most 1,000 are allowed"],
    ),
    "bad size": (
        "{a: [{n: x, image_size: 3K}, {n: y}], s: [{n: 1}]}",
        [
            "m.yaml:1:33: image_size must be one of 512, 1K, 2K, 4K for gemini-3.1-flash-image; got 3K",
            "m.yaml:2:8: no field uses {{ a.n }}, so several variants make one job; use it in the prompt",
        ][:1],
    ),
    "bad modalities": (
        "{a: [{n: x, modalities: [IMGE]}]}",
        ["m.yaml:1:33: modalities must be [IMAGE] or [TEXT, IMAGE]; got a list"],
    ),
    "two sizes": (
        "{a: [{n: x, image_size: 1K}], b: [{n: x, image_size: 2K}]}",
        ["m.yaml:1:62: image_size is also given by a of the same variant; keep one"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_matrix_is_told_where_it_is_written(folder: Folder, case: str) -> None:
    """Nothing follows from a mistake in the matrix but its own sentence."""
    matrix, expected = BAD[case]

    assert folder.problems(f'matrix: {matrix}\njobs: [{{prompt: "{{{{ a.n }}}}{{{{ s.n }}}}"}}]') == expected


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (
            '{id: "{{ h }}", prompt: "{{ scene }} {{ s.name }}"}',
            ["m.yaml:3:13: id is the same for several variants; use {{ scene }} and {{ s.name }} in the id"],
        ),
        (
            '{id: "{{ h }}-{{ s.name }}", prompt: "{{ scene }}"}',
            ["m.yaml:3:13: id is the same for several variants; use {{ scene }} in the id"],
        ),
        (
            '{prompt: "{{ h }} {{ s.name }}"}',
            ["m.yaml:3:8: no field uses {{ scene }}, so several variants make one job; use it in the prompt"],
        ),
        (
            '{prompt: "{{ scene }} {{ s.name }}"}',
            ["m.yaml:3:8: no field uses a column, so all rows make one job; write {{ Column }} in the prompt"],
        ),
        (
            '{id: "{{ scene }}-{{ s.name }}", prompt: "{{ h }}"}',
            ["m.yaml:3:13: id is the same for every row; use a column in it or leave it out"],
        ),
        (
            '{prompt: "{{ h }} {{ scen }} {{ s.name }} {{ scene }}"}',
            ['m.yaml:3:17: no column or matrix name "scen"; did you mean scene?'],
        ),
        ('{prompt: "{{ h }} {{ scene }} {{ s.nmae }}"}', ['m.yaml:3:17: s has no "nmae"; did you mean name?']),
        (
            '{prompt: "{{ h }} {{ scene }} {{ s }}"}',
            [
                't.csv:2: prompt: an object cannot be written into a text; pick a value of it, such as row["Column"]["key"]'
            ],
        ),
    ],
)
def test_jobs_that_do_not_fit_the_matrix(folder: Folder, job: str, expected: list[str]) -> None:
    """Told once per job, not once per row."""
    folder.write("t.csv", "h\n" + "".join(f"r{n}\n" for n in range(50)))

    assert (
        folder.problems(f"rows: t.csv\nmatrix: {{scene: [a, b], s: [{{name: c}}, {{name: d}}]}}\njobs: [{job}]")
        == expected
    )


@pytest.mark.parametrize(
    ("key", "written"),
    [(r"\u202e", r'{{ s["\u202e"] }}'), ("two words", '{{ s["two words"] }}'), (r"\u202e: 1, b", "{{ s.b }}")],
)
def test_a_key_of_any_characters_is_told_as_a_template_can_write_it(folder: Folder, key: str, written: str) -> None:
    """And nothing a terminal would obey gets into the sentence."""
    first, _, second = key.partition(": 1, ")
    keys = f'"{first}": K' + (f', "{second}": K' if second else "")
    variants = ", ".join(f"{{{keys.replace('K', value)}}}" for value in ("x", "y"))

    assert folder.problems(f"matrix: {{s: [{variants}]}}\njobs: [{{prompt: x}}]") == [
        f"m.yaml:2:8: no field uses {written}, so several variants make one job; use it in the prompt"
    ]


def test_a_name_of_the_matrix_is_no_column(folder: Folder) -> None:
    """Which of the two a template means would be a guess."""
    folder.write("t.csv", "h,scene\nx,y\n")
    text = 'rows: t.csv\nmatrix: {scene: [a]}\njobs: [{prompt: "{{ h }} {{ scene }}"}]'

    assert folder.problems(text) == ['m.yaml:2:17: the table has a column "scene" too; rename it in the matrix']


def test_a_cell_is_never_a_template(folder: Folder) -> None:
    """Not even one that names the matrix."""
    folder.write("t.csv", "h\n{{ scene }}\n")

    [job] = folder.jobs('rows: t.csv\nmatrix: {scene: [a]}\njobs: [{prompt: "{{ h }} {{ scene }}"}]')

    assert job.prompt == "{{ scene }} a"


def test_variants_of_many_rows_need_little_memory(folder: Folder) -> None:
    """A variant costs its job's sixteen bytes."""
    folder.write("t.csv", "h\n" + "".join(f"h{n}\n" for n in range(10_000)))
    text = 'rows: t.csv\nmatrix: {scene: [a, b]}\njobs: [{id: "{{ h }}-{{ scene }}", prompt: "{{ h }} {{ scene }}"}]'
    manifest = load_manifest(folder.write("m.yaml", text))

    tracemalloc.start()
    count = sum(1 for _ in manifest.check())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 3_000_000
