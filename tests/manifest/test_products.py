"""`carry` and `group`: rows of one product, and cells that must not be empty."""

from __future__ import annotations

import json

import pytest

from batch.manifest import load_manifest
from tests.manifest.conftest import Folder

TABLE = """Handle,Title,Body (HTML),Color,Image Src,SKU
kite,Kite,<p>Light.</p>,Red,a.png,K-1
kite,,,Blue,b.png,K-2
kite,,,,a.png,
mug,Mug,,White,,M-1
"""
VARIANTS = """rows: t.csv
{more}
jobs: [{{id: "{{{{ Handle }}}}-{{{{ Color }}}}", prompt: "{{{{ Title }}}} in {{{{ Color }}}}"}}]
"""


@pytest.fixture
def shop(folder: Folder) -> Folder:
    folder.write("t.csv", TABLE)
    folder.picture("a.png")
    folder.picture("b.png", size=(9, 9))
    return folder


def prompts(folder: Folder, manifest: str) -> list[str]:
    return [job.prompt for job in folder.jobs(manifest)]


def test_carry_fills_the_rows_of_a_product(shop: Folder) -> None:
    """By the first column of the id, unless told otherwise; `where` sees the filled cells."""
    manifest = VARIANTS.format(more='carry: [Title]\nwhere: Title != "" and Color != ""')

    assert prompts(shop, manifest) == ["Kite in Red", "Kite in Blue", "Mug in White"]


def test_nothing_is_carried_into_the_next_product(shop: Folder) -> None:
    """A product without a title stays one."""
    shop.write("t.csv", TABLE.replace("mug,Mug", "mug,"))

    assert shop.problems(VARIANTS.format(more='carry: Title\nwhere: Color != ""')) == [
        't.csv:5: column "Title": job "mug-White": is empty, and the prompt needs it; fill it in, leave such rows out '
        'with where: Title != "", or write {{ Title | default("") }} if it may be empty. carry takes it from other '
        "rows of the product"
    ]


def test_a_value_below_fills_the_rows_above(shop: Folder) -> None:
    """An export sorted by its variants has the complete row anywhere among the product's."""
    head, first, second, *rest = TABLE.splitlines()
    shop.write("t.csv", "\n".join([head, second, first, *rest]) + "\n")

    assert prompts(shop, VARIANTS.format(more='carry: [Title]\nwhere: Color != ""')) == [
        "Kite in Blue",
        "Kite in Red",
        "Mug in White",
    ]


def test_carry_by_a_column_of_its_own(shop: Folder) -> None:
    """Where the id does not begin with what tells products apart."""
    manifest = VARIANTS.replace("{{{{ Handle }}}}-{{{{ Color }}}}", "{{{{ SKU }}}}")

    assert len(prompts(shop, manifest.format(more="carry: {columns: [Title], within: Handle}\nwhere: SKU != ''"))) == 3
    assert shop.problems(manifest.format(more="carry: [Title]\nwhere: SKU != ''"))[0].startswith("t.csv:3:")


def test_without_an_id_the_column_must_be_named(shop: Folder) -> None:
    """A prompt does not say which rows are one product."""
    [problem] = shop.problems("rows: t.csv\ncarry: [Title]\njobs: [{prompt: 'a {{ Title }}, {{ Color }}'}]")[:1]

    assert problem.startswith("m.yaml:2:9: carry fills within a product; name the column")


def test_a_merged_cell_continues_the_product_above(folder: Folder) -> None:
    """A workbook writes the handle once, for all rows of the product."""
    folder.write("t.csv", "Handle,Title,Color\nkite,Kite,Red\n,,Blue\nmug,Mug,White\n")

    assert prompts(folder, VARIANTS.format(more="carry: [Handle, Title]")) == [
        "Kite in Red",
        "Kite in Blue",
        "Mug in White",
    ]


def test_a_group_is_one_job(shop: Folder) -> None:
    """Single names are the first filled cells, `group` has the different ones, `rows` each row."""
    manifest = """rows: t.csv
group: Handle
jobs:
  - id: "{{ Handle }}"
    prompt: "{{ Title }}: {{ group.Color | join(', ') }}; {{ group['Body (HTML)'] | length }}; {{ rows | length }}
      {% for each in rows %}{{ each.SKU }}/{{ each.Body_HTML | strip_html }} {% endfor %}"
    references: [{column: Image Src, optional: true}]
"""
    kite, mug = shop.jobs(manifest)

    assert kite.prompt == "Kite: Red, Blue; 1; 3 K-1/Light. K-2/ / "
    assert [reference.name for reference in kite.references] == ["a.png", "b.png"]
    assert (mug.prompt, mug.references) == ("Mug: White; 0; 1 M-1/ ", ())
    assert kite.place is not None
    assert kite.place.line == 2


@pytest.mark.parametrize("more", ["sort: {by: Title, order: desc}", "sort: Title\nlimit: 1", "where: SKU != ''"])
def test_groups_are_sorted_limited_and_chosen(shop: Folder, more: str) -> None:
    """`where` picks rows before they are grouped, `sort` and `limit` work on products."""
    manifest = (
        f"rows: t.csv\ngroup: Handle\n{more}\njobs: [{{id: '{{{{Handle}}}}', prompt: 'a {{{{ rows|length }}}}'}}]"
    )
    expected = {"sort: {by: Title, order: desc}": ["a 1", "a 3"], "sort: Title\nlimit: 1": ["a 3"]}

    assert prompts(shop, manifest) == expected.get(more, ["a 2", "a 1"])


@pytest.mark.parametrize("more", ["group: Handle", "carry: [Title]"])
def test_scattered_rows_are_named_with_both_lines(shop: Folder, more: str) -> None:
    """A stream cannot know what comes later, and guessing would buy half a product."""
    shop.write("t.csv", TABLE + "kite,,,Green,,K-3\n")

    assert (
        f"t.csv:6: this row belongs with line 2, and rows of others stand between; {more.partition(':')[0]} needs the "
        "rows of a product one after the other: sort the table by that column"
    ) in shop.problems(VARIANTS.format(more=f"{more}\nwhere: Color != ''"))


def test_rows_that_are_left_out_scatter_nothing(shop: Folder) -> None:
    """Only what makes jobs counts."""
    shop.write("t.csv", TABLE + "kite,,,,,\n")

    assert len(prompts(shop, VARIANTS.format(more="carry: [Title]\nwhere: Color != ''"))) == 3


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("group: Handel", 'm.yaml:2:8: no column "Handel"; did you mean Handle?'),
        ("carry: [Title, Vendr]", 'm.yaml:2:16: no column "Vendr"; known columns:'),
        ("group: Handle\nunique: Handle", "m.yaml:2:8: unique leaves one row of each value"),
        ("group: Handle\ncarry: {columns: [Title], within: SKU}", "m.yaml:3:35: carry goes by the column of group"),
        ("group: SKU", 't.csv:4: column "SKU": is empty; group needs a value in every row'),
        ("keep: [Handle, Sku]", 'm.yaml:2:16: keep: no column "Sku"; did you mean SKU?'),
        ("keep: [SKU, SKU]", "m.yaml:2:7: keep names a column twice"),
    ],
)
def test_what_cannot_be_grouped(shop: Folder, more: str, says: str) -> None:
    """Said at its place."""
    assert any(problem.startswith(says) for problem in shop.problems(VARIANTS.format(more=more)))


@pytest.mark.parametrize("key", ["carry: [Title]", "group: Handle", "keep: [Title]"])
def test_rows_need_a_table(folder: Folder, key: str) -> None:
    """Without one there is nothing to take from."""
    [problem] = folder.problems(f"{key}\njobs: [{{prompt: a kite}}]")

    assert "name a table in rows, or remove it" in problem


@pytest.mark.parametrize(
    "template",
    [
        "Photo of {{ Title }} in {{ Color }}",
        "Photo of {{ Title }}, {{ Color | lower }}.",
        'Photo of {{ Title }} in {{ Color | default("plain") }}',
        "{{ Color }} {{ Title }} on white",
        "{{ Title }} on white. Its colour: {{ row['Color'] | trim }}",
        "{{ Title }}{% if SKU %} ({{ SKU }}){% endif %} in {{ Color }}",
    ],
)
def test_an_empty_cell_in_a_sentence_is_a_problem_of_its_row(shop: Folder, template: str) -> None:
    """It would ask for a "Photo of  in Black", and pay for it."""
    shop.write("t.csv", TABLE.replace("White", " "))
    problems = shop.problems(
        f"rows: t.csv\nunique: Handle\njobs: [{{id: '{{{{ Handle }}}}', prompt: {json.dumps(template)}}}]"
    )

    assert [problem.partition(" is empty")[0] for problem in problems] == ['t.csv:5: column "Color": job "mug":']


@pytest.mark.parametrize(
    "template",
    [
        'Photo of {{ Title }} in {{ Color | default("") }}',
        'Photo of {{ Title }} in {{ Color | default("plain", true) }}',
        'Photo of {{ Title }} in {{ Color or "plain" }}',
        "Photo of {{ Title }}{% if Color %} in {{ Color }}{% endif %}",
        "Photo of {{ Title }}. {{ Color | strip_html }}",
        "Photo of {{ Title }}. {{ Color | strip_html }} Plain background.",
        "Photo of {{ Title }}.\n\n{{ Color }}",
        "{{ Title }} {{ Color }}",
    ],
)
def test_a_cell_that_may_be_empty(shop: Folder, template: str) -> None:
    """The template says so, or its sentence has no other words."""
    shop.write("t.csv", TABLE.replace("White", ""))

    assert (
        len(
            shop.jobs(
                f"rows: t.csv\nunique: Handle\njobs: [{{id: '{{{{ Handle }}}}', prompt: {json.dumps(template)}}}]"
            )
        )
        == 2
    )


def test_saying_that_a_cell_may_be_empty_buys_nothing_again(shop: Folder) -> None:
    """The prompt is the same text, so the spec is the same."""
    form = "rows: t.csv\nunique: Handle\njobs: [{{id: '{{{{ Handle }}}}', prompt: 'a {{{{ {} }}}}'}}]"

    plain, said = (shop.jobs(form.format(text)) for text in ("Title", 'Title | default("")'))

    assert [job.spec() for job in plain] == [job.spec() for job in said]


def test_most_takes_the_first_pictures(shop: Folder) -> None:
    """A product has more photos than a request may."""
    manifest = "rows: t.csv\ngroup: Handle\nwhere: Title != 'Mug'\njobs: [{id: '{{ Handle }}', prompt: a kite, "
    manifest += "references: [{column: Image Src, most: 1}]}]"

    [job] = shop.jobs(manifest.replace("where: Title != 'Mug'", "where: Handle != 'mug'"))

    assert [reference.name for reference in job.references] == ["a.png"]


def test_a_product_of_too_many_rows_is_named(folder: Folder) -> None:
    """A column that is the same everywhere tells nothing apart, and would be held whole."""
    folder.write("t.csv", "Shop,Title\n" + "".join(f"holm,t{number}\n" for number in range(10_001)))
    manifest = load_manifest(
        folder.write("m.yaml", "rows: t.csv\ngroup: Shop\njobs: [{id: '{{ Shop }}', prompt: 'a {{ Title }}'}]")
    )

    with pytest.raises(Exception, match="more than 10,000 rows from here on have one value"):
        list(manifest.check())
