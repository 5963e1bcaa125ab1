"""The first manifest for a table: right as it stands, its guesses explained, nothing overwritten."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from batch.core.errors import InputError, MissingInputError, OutputError
from batch.core.model import Job
from batch.manifest import load_manifest
from batch.manifest.problems import Problems
from batch.manifest.schema.json_schema import manifest_json_schema
from batch.manifest.schema.yaml_text import parse
from batch.starter.starter import write_starter
from tests.manifest.conftest import Folder

ROOT = Path(__file__).parents[2]
SHOP = (
    "Handle,Title,Body (HTML),Variant SKU,Image Src\n"
    "kite,Red Kite,<p>Light &amp; strong</p>,K-1,https://example.com/kite.jpg\n"
    "kite,,,K-2,\n"
    "mug,Blue Mug,<b>Stoneware</b>,M-1,https://example.com/mug.jpg\n"
)


def start(
    folder: Folder, table: str | bytes, name: str = "t.csv", provider: str = "simulator"
) -> tuple[str, list[Job]]:
    """The starter's text and the jobs it makes."""
    starter = write_starter(folder.write(name, table), None, provider=provider)
    text = starter.path.read_text("utf-8")
    value = parse(text.encode(), "m.yaml", Problems("m.yaml")).value
    assert list(Draft7Validator(manifest_json_schema()).iter_errors(value)) == []
    jobs = list(load_manifest(starter.path).check())
    assert len(jobs) == starter.jobs
    assert [file.name for file in folder.path.iterdir() if file.name.startswith(".")] == []
    return text, jobs


def test_shop_export_makes_a_job_per_product(folder: Folder) -> None:
    """Variants repeat the handle: one row of each is taken, HTML is stripped, addresses are explained."""
    text, jobs = start(folder, SHOP)

    assert [job.id for job in jobs] == ["kite", "mug"]
    assert jobs[0].prompt.startswith("Product photo of Red Kite. Light & strong")
    assert "group: Handle" in text
    assert "\n# reference_hosts: [example.com]\n" in text
    assert "\n    # references: [{column: Image Src, most: 4, optional: true}]\n" in text
    assert "imagebatch plan t.yaml" in text


def test_the_example_table_gets_the_example_jobs(folder: Folder) -> None:
    """The table in jobs/ is understood as the manifest in jobs/ understands it."""
    _, jobs = start(folder, (ROOT / "jobs/products.csv").read_bytes())
    by_hand = load_manifest(ROOT / "jobs/catalog.yaml").check()
    assert [job.id for job in jobs] == [job.id for job in by_hand]


def test_two_columns(folder: Folder) -> None:
    """A number and a name are enough."""
    text, jobs = start(folder, "SKU,Name\n00199,Oak board\n00200,Ash board\n")

    assert [job.id for job in jobs] == ["00199", "00200"]
    assert jobs[0].prompt.startswith("Product photo of Oak board.")
    assert "unique:" not in text


def test_semicolons_and_umlauts_of_a_spreadsheet(folder: Folder) -> None:
    """What Excel saves in Germany: semicolons and cp1252; both are noticed, and said to be a guess."""
    table = "Artikel-Nr.;Bezeichnung;Preis\nA 1;Grüner Stuhl;9,50\nA 2;Weiße Größe;8,50\n"
    text, jobs = start(folder, table.encode("cp1252"))

    assert [job.id for job in jobs] == ["a-1", "a-2"]
    assert jobs[1].prompt.startswith("Product photo of Weiße Größe.")
    assert "delimiter: semicolon" in text
    assert "encoding: cp1252" in text
    assert "guess" in text


def test_utf16(folder: Folder) -> None:
    """Excel's Unicode text: UTF-16 and tabs."""
    _, jobs = start(folder, "id\tTitle\na\tÄrmel\n".encode("utf-16"), "t.txt")
    assert [(job.id, "Ärmel" in job.prompt) for job in jobs] == [("a", True)]


@pytest.mark.parametrize(
    "header",
    [
        'x y,"c""d"',
        "it's,{{b}}",
        "a\\b,class",
        "a:b,#c",
        "- a,true",
        "1st,2nd",
        "a b,a-b",
        "名,说明",
        "a%}b,{#c",
        "row,none",
        "*a,&b",
        "No,Yes",
        '"a\nb",c',
    ],
)
def test_odd_column_names(folder: Folder, header: str) -> None:
    """No column name breaks the YAML or the template; unusable ones are left alone."""
    _, jobs = start(folder, f"{header}\nfirst,red cup\nsecond,blue cup\n")
    assert [job.id for job in jobs] in (["first", "second"], ["red-cup", "blue-cup"])


@pytest.mark.parametrize(
    ("table", "ids"),
    [
        ("price,code\n1.5,a-1\n2.5,a-2\n", ["a-1", "a-2"]),
        ("price,label\n1.50,Red cup\n2.50,Blue cup\n", ["red-cup", "blue-cup"]),
        ("Title\nRed cup\nRed cup\nBlue cup\n", ["red-cup", "blue-cup"]),
        ("colour,size\nred,S\nred,M\nblue,S\n", ["red", "blue"]),
        ("SKU,Title\n,Red cup\nA-2,Blue cup\n", ["red-cup", "blue-cup"]),
        ("SKU,Title\nA/1,Red cup\nA/2,Blue cup\n", ["a-1", "a-2"]),
        ("SKU,Title\na,Red cup\nA,Blue cup\n", ["red-cup", "blue-cup"]),
        ("sku,Title\ncon,Red cup\nb,Blue cup\n", ["con-cb66561fa5", "b"]),
    ],
    ids=["code", "slug", "repeated title", "nothing else", "gaps", "slashes", "case", "device name"],
)
def test_id_column(folder: Folder, table: str, ids: list[str]) -> None:
    """The id comes from a column that tells every row apart and can name a file."""
    assert [job.id for job in start(folder, table)[1]] == ids


def test_titles_in_any_script_make_ids(folder: Folder) -> None:
    """Where no column has ASCII letters the id is made of the title, and stays when the prompt is edited."""
    text, jobs = start(folder, "标题\n红杯子\n红杯子子\n")
    assert len({job.id for job in jobs}) == 2
    assert 'id: "{{ 标题 | as_id }}"' in text


def test_handles_in_any_script_stay_the_ids(folder: Folder) -> None:
    """Latin handles stay as they are, others are written in Latin letters as far as possible, and keep apart."""
    rows = "".join(f"{handle},{handle},,5,\n{handle},,,6,\n" for handle in ("青い茶碗", "чайник", "kite", "青い皿"))
    text, jobs = start(folder, MESSY + rows)
    assert [job.id.rpartition("-")[0] for job in jobs] == ["i", "chaynik", "", "i"]
    assert jobs[2].id == "kite"
    assert len({job.id for job in jobs}) == 4
    assert "as_id makes an id of a text in any script" in text


def test_prompt_column(folder: Folder) -> None:
    """A column called prompt is the prompt; one written twice is bought once."""
    _, jobs = start(folder, "prompt\nA red cup on a table.\nA red cup on a table.\nA blue cup!\n")
    assert [job.prompt for job in jobs] == ["A red cup on a table.", "A blue cup!"]


def test_missing_titles_are_replaced_by_the_id(folder: Folder) -> None:
    """A row without a title still makes a prompt that says something."""
    text, jobs = start(folder, "SKU,Title\nmug-1,Mug\nmug-2,\n")
    assert jobs[1].prompt.startswith("Product photo of mug-2.")
    assert '"Title" is empty in some rows' in text


def test_long_descriptions_are_cut(folder: Folder) -> None:
    """A prompt does not drown in a page of marketing."""
    _, jobs = start(folder, f"SKU,Title,Description\nm,Mug,<p>{'blue clay ' * 300}</p>\n")
    assert len(jobs[0].prompt) < 800


@pytest.mark.parametrize(
    ("header", "title"),
    [
        ("Artikel-Nr.;Bezeichnung;Beschreibung", "Bezeichnung"),
        ("Código;Título;Descripción", "Título"),
        ("Référence;Nom du produit;Description", "Nom_du_produit"),
        ("Kod produktu;Nazwa;Opis", "Nazwa"),
        ("Артикул;Название;Описание", "Название"),
        ("货号;商品名称;描述", "商品名称"),
        ("商品コード;商品名;商品説明", "商品名"),
        ("ID;Naam;Omschrijving", "Naam"),
    ],
)
def test_columns_in_other_languages(folder: Folder, header: str, title: str) -> None:
    """The number names the picture, the name is the subject, the description follows."""
    text, jobs = start(folder, f"{header}\nA-1;Lamp;of brass\nA-2;Cup;of clay\n")
    assert [job.id for job in jobs] == ["A-1", "A-2"]
    assert f"{{{{ {title} }}}}" in text
    assert jobs[0].prompt.startswith("Product photo of Lamp. of brass")


MESSY = "Handle,Title,Body (HTML),Price,Image Src\n"


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ("kite,,,5,\nkite,Kite,<p>red</p>,7,\nmug,Mug,,,\n", ["kite", "mug"]),
        ("kite,Kite,,5,\nmug,Mug,,7,\nTotal,,,12,\n", ["kite", "mug"]),
        ("kite,Kite,,5,\nmug,Mug,,7,\n,,,12,\n", ["kite", "mug"]),
        ("kite,Kite,,5,\nkite,,,,https://a.example.com/2.jpg\nmug,Mug,,7,\nkite,,,9,\n", ["kite", "mug"]),
        ("Red Kite,Kite,,5,\nMug/ä,Mug,,7,\n", ["red-kite", "mug-a"]),
        ("kite,Kite,,5,\nKite,Kite 2,,7,\n", ["kite", "kite-2"]),
        ("🪁,Kite,,5,\n🪁,,,6,\nmug,Mug,,7,\n,Cup,,7,\n", ["Kite", "Mug", "Cup"]),
        ("kite,Kite\nmug,Mug\ncup,Cup,x,5,\n", ["kite", "mug", "cup"]),
        ("kite,Kite,,5,,,\n\n,,,,\nmug,Mug,,7,\n", ["kite", "mug"]),
        (" kite ,Kite,,5,\nkite,,,,\nmug ,Mug,,7,\n", ["kite", "mug"]),
    ],
    ids=[
        "late title",
        "totals",
        "totals only",
        "further rows",
        "slug",
        "case",
        "no letters",
        "short rows",
        "empty",
        "spaces",
    ],
)
def test_messy_rows(folder: Folder, rows: str, ids: list[str]) -> None:
    """One job per product, whatever else a spreadsheet or a shop writes between them."""
    _, jobs = start(folder, MESSY + rows)
    assert [job.id for job in jobs] == ids
    assert all(job.prompt.startswith("Product photo of ") and len(job.prompt) > 60 for job in jobs)


def test_a_handle_too_long_for_a_file_still_tells_products_apart(folder: Folder) -> None:
    """The prompt names the files, and two products with one title stay two."""
    rows = "".join(f"{letter * 150},Kite,<p>{letter}</p>,5,\n{letter * 150},,,6,\n" for letter in "xy")
    text, jobs = start(folder, MESSY + rows)
    assert [job.prompt.split()[4] for job in jobs] == ["x", "y"]
    assert "group: Handle" in text
    assert len({job.id for job in jobs}) == 2


def test_rows_left_out_are_counted(folder: Folder) -> None:
    """A product without any title makes no picture; the comment says how many there are."""
    text, jobs = start(folder, MESSY + "kite,,,5,\nkite,Kite,,7,\nmug,,,,\nmug,,,,\n")
    assert [job.id for job in jobs] == ["kite"]
    assert 'where: Title | trim != ""' in text
    assert 'That leaves out 1 of "Handle" for good' in text


@pytest.mark.parametrize(
    "table",
    [
        "sep=;\r\nHandle;Title\r\nkite;Grün\r\n".encode(),
        "Handle\tTitle\r\nkite\tGrün\r\n".encode("utf-16"),
        "\ufeffHandle,Title\rkite,Grün\r".encode(),
        gzip.compress("Handle|Title\nkite|Grün\n".encode()),
        "Handle;Title;;\nkite;Grün\n".encode("cp1252"),
    ],
    ids=["sep", "utf-16", "old Mac", "packed", "cp1252"],
)
def test_tables_as_programs_write_them(folder: Folder, table: bytes) -> None:
    """What the reader understands by itself needs no word in the manifest, the rest is found out."""
    [job] = start(folder, table)[1]
    assert (job.id, "Grün" in job.prompt) == ("kite", True)


def test_lines_of_json(folder: Folder) -> None:
    """Keys that some lines lack have a default, objects and lists are left alone."""
    kite = {"sku": "K-1", "title": "Kite", "description": "<p>red</p>", "tags": ["a"]}
    lines = [kite, {"sku": "M-1", "title": "Mug"}]
    text, jobs = start(folder, "\n".join(map(json.dumps, lines)), "t.jsonl")
    assert [job.id for job in jobs] == ["K-1", "M-1"]
    assert '{{ description | default("") | strip_html }}' in text


def test_parquet(folder: Folder) -> None:
    """Read as any other table."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"sku": [1, 2], "title": ["Kite", "Mug"]}), folder.path / "t.parquet")
    _, jobs = start(folder, (folder.path / "t.parquet").read_bytes(), "t.parquet")
    assert [job.id for job in jobs] == ["1", "2"]


def test_letters_that_were_misread_are_mentioned(folder: Folder) -> None:
    """Nobody can tell what they were, but everybody can export the table again."""
    text, _ = start(folder, "SKU,Title\na,GrÃ¼ner Stuhl\n")
    assert '"Title" has letters such as Ã¼' in text


@pytest.mark.parametrize("where", ["", "photos/"])
def test_pictures_named_in_a_column_go_along(folder: Folder, where: str) -> None:
    """Where every row's picture is there, it becomes the reference."""
    for name in ("a.png", "b.png"):
        folder.picture(where + name)
    _, jobs = start(folder, "id,Title,Photo\na,Cup,a.png\nb,Mug,b.png\n")
    assert [job.references[0].name for job in jobs] == [f"{where}a.png", f"{where}b.png"]


def test_pictures_named_like_the_ids_go_along(folder: Folder) -> None:
    """A folder of photographs by SKU is found without a column that names them."""
    folder.picture("photos/a.jpg", "JPEG")
    _, jobs = start(folder, "sku,Title\na,Cup\n")
    assert [job.references[0].name for job in jobs] == ["photos/a.jpg"]


def test_damaged_pictures_stay_behind(folder: Folder) -> None:
    """A file that is no picture does not keep the starter from being written."""
    folder.write("a.png", "no picture")
    text, jobs = start(folder, "id,Title,Photo\na,Cup,a.png\n")
    assert jobs[0].references == ()
    assert "cannot be sent along" in text


def test_manifest_in_another_folder(folder: Folder) -> None:
    """The table and its pictures are named from where the manifest lies."""
    folder.picture("shop/a.png")
    table = folder.write("shop/t.csv", "id,Title,Photo\na,Cup,a.png\n")
    (folder.path / "jobs").mkdir()
    starter = write_starter(table, folder.path / "jobs/m.yaml", provider="simulator")
    jobs = list(load_manifest(starter.path).check())
    assert [job.references[0].name for job in jobs] == ["../shop/a.png"]


def test_a_table_with_a_dash(folder: Folder) -> None:
    """A file name YAML could misread is quoted, and one that cannot name a folder is replaced."""
    _, jobs = start(folder, "id,Title\na,Cup\n", "- my: table #1.csv")
    assert len(jobs) == 1


@pytest.mark.parametrize(("provider", "key"), [("anyfast", "ANYFAST_API_KEY"), ("google", "GEMINI_API_KEY")])
def test_provider(folder: Folder, provider: str, key: str) -> None:
    """A paid provider is written down with the name of its key, and the check needs no key."""
    text, _ = start(folder, SHOP, provider=provider)
    assert f"provider: {provider}" in text
    assert key in text


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"\n\n", "the file is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b" , \n, ,\n", "no header"),
        ("t.csv", b'"a\nb"\n1\n', "plain names"),
        ("t.csv", b"a,b\n1,2\n3\n", "1 cell"),
        ("t.csv", b'a,b\n1,"2\n', "never closed"),
        ("t.csv", b"a,a\n1,2\n", "named twice"),
        ("t.csv", b"PK\x03\x04rest", "not text"),
        ("t.csv", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-5], "cut off"),
        ("t.csv", b"<html><body>log in", "web page"),
        ("t.jsonl", b"[1]\n", "one object per line"),
        ("t.jsonl", b"1\n", "object"),
        ("t.jsonl", b"\n", "the file is empty"),
        ("t.parquet", b"PAR1", "parquet"),
        ("t.csv", b"a,b\n\x81,2\n", "neither UTF-8 nor cp1252"),
        ("t.ods", b"", "init reads .csv, .tsv, .jsonl, .parquet and .xlsx; got .ods"),
    ],
)
def test_a_table_that_cannot_be_used(folder: Folder, name: str, table: bytes, says: str) -> None:
    """What is wrong with a table is said in a sentence, with its place, and nothing is written."""
    file = folder.write(name, table)
    with pytest.raises(InputError) as caught:
        write_starter(file, None, provider="simulator")
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(file))
    assert [each.name for each in folder.path.iterdir()] == [name]


def test_nothing_is_overwritten(folder: Folder) -> None:
    """An existing file is kept, whatever it is."""
    table = folder.write("t.csv", SHOP)
    folder.write("t.yaml", "mine")
    with pytest.raises(OutputError, match="exists already"):
        write_starter(table, None, provider="simulator")
    assert (folder.path / "t.yaml").read_text() == "mine"


def test_missing_table(folder: Folder) -> None:
    """A table that is not there is said to be so."""
    with pytest.raises(MissingInputError, match="does not exist"):
        write_starter(folder.path / "absent.csv", None, provider="simulator")


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batch", *words],
        cwd=folder,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def test_the_command_says_what_to_type_next(tmp_path: Path) -> None:
    """`init` without a table writes three jobs, prints the next commands, and they work."""
    result = call(tmp_path, "init")
    assert (result.returncode, result.stderr) == (0, "wrote jobs.yaml: 3 jobs; read its comments, then\n")
    command = result.stdout.splitlines()[0].split()
    assert command == ["imagebatch", "plan", "jobs.yaml"]
    assert call(tmp_path, *command[1:]).returncode == 0


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        (["empty.csv"], 65, "error: empty.csv: the file is empty"),
        (["bad.csv"], 65, "error: bad.csv:3:"),
        (["absent.csv"], 66, "does not exist"),
        (["good.csv", "-o", "good.csv"], 73, "exists already"),
        (["good.csv", "-o", "no/where.yaml"], 73, "is not a folder"),
        (["good.csv", "--provider", "nobody"], 2, "simulator"),
    ],
)
def test_the_command_refuses_with_a_sentence(tmp_path: Path, words: list[str], exit_code: int, says: str) -> None:
    """Errors are sentences with an exit code; nothing is written."""
    (tmp_path / "empty.csv").touch()
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "good.csv").write_text("a,b\n1,2\n")
    result = call(tmp_path, "init", *words)
    assert result.returncode == exit_code
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.glob("*.yaml")) == []
