"""A first manifest for a table: which column is the id, which says what the picture shows, what goes along.

The guesses are simple and each is explained in a comment, for the user to correct. What is written has been
loaded and checked to the last row before, so a starter always works as it stands; what is wrong with the table
itself is told as for any manifest.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batch.core.errors import InputError, MissingInputError, OutputError, Problem
from batch.core.registry import SHIPPED, find_profile
from batch.manifest.files import reason
from batch.manifest.ids import name_problem, slug
from batch.manifest.manifest import load_manifest
from batch.manifest.problems import show, show_path
from batch.manifest.tables.rows import USUAL_DELIMITERS
from batch.starter.columns import TableColumns
from batch.starter.guess import Guess, Guesser
from batch.starter.reference_guess import ReferenceGuess, without_pictures
from batch.starter.shops import SHOPS
from batch.starter.sniff import DELIMITER_WORDS, SniffedTable, read_table
from batch.starter.yaml_writer import joined, yaml_scalar

_COLUMNS_NAMED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What was written, and what to say about it.

    `made_from` is the kind of export the table is (`an Etsy export`), if it is known; `notes` are sentences on what was
    found and left out, `columns` is one on their names; `next_commands` are whole lines to type.
    """

    path: Path
    jobs: int
    next_commands: tuple[str, ...]
    made_from: str | None = None
    notes: tuple[str, ...] = ()
    columns: str = ""


def write_starter(
    table: Path | None, manifest: Path | None, *, provider: str, photos: Path | None = None, variants: bool = False
) -> Starter:
    """Write a commented manifest for `table` (or three example jobs) to `manifest`, and never over a file.

    `photos` is a folder with photos of the products; without it the usual ones beside the table are looked into.
    `variants` asks for a picture of every variant, not of every product.
    Raises InputError for a table that no manifest can use, OutputError if the manifest cannot be written.
    """
    if manifest is None:
        manifest = Path("jobs.yaml") if table is None else table.with_suffix(".yaml")
    if os.path.lexists(manifest):
        raise OutputError(f"{show_path(manifest)} exists already and is kept; name another file with -o")
    if not manifest.parent.is_dir():
        raise OutputError(f"{show_path(manifest.parent)} is not a folder; create it, or name another file with -o")
    if photos is not None and not photos.is_dir():
        raise MissingInputError(
            [Problem(message="is not a folder; name the one with the photos", file=show_path(photos))]
        )
    guess, found = None, None
    if table is None:
        text = _example(manifest, provider)
        jobs = _checked(text, manifest)
    else:
        found = read_table(table)
        guess, text, jobs = _for_table(found, table, manifest, provider, photos, variants=variants)
    try:
        with manifest.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{show_path(manifest)} cannot be written: {reason(error)}") from error
    if guess is None or found is None:
        return Starter(path=manifest, jobs=jobs, next_commands=_next_commands(manifest))
    notes = (*guess.notes, *guess.references.notes)
    shop = f"{'an' if guess.shop[0] in 'AEIOU' else 'a'} {guess.shop} export" if guess.shop else None
    return Starter(
        path=manifest,
        jobs=jobs,
        next_commands=_next_commands(manifest),
        made_from=shop,
        notes=notes,
        columns=_columns_note(found),
    )


def _columns_note(table: SniffedTable) -> str:
    """A first product taken for the columns' names would be lost without a word."""
    named = ", ".join(show(name) for name in table.header[:_COLUMNS_NAMED])
    more = f" and {len(table.header) - _COLUMNS_NAMED} more" if len(table.header) > _COLUMNS_NAMED else ""
    return f"the columns are called {named}{more}"


def _next_commands(manifest: Path) -> tuple[str, str]:
    return shlex.join(["imagebatch", "plan", str(manifest)]), shlex.join(["imagebatch", "run", str(manifest)])


def _for_table(
    table: SniffedTable, path: Path, manifest: Path, provider: str, photos: Path | None, *, variants: bool
) -> tuple[Guess, str, int]:
    guesser = Guesser(table, path.parent, photos=photos, variants=variants)
    if variants and not guesser.knows_variants:
        known = ", ".join(shop.name for shop in SHOPS if shop.has_variants)
        message = (
            f"its variants are not known; --variants is for exports of {known}, with the rows of a product together"
        )
        raise InputError([Problem(message=message, file=show_path(path))])
    guess = guesser.guess()
    try:
        text = _written(table, guess, path, manifest, provider)
        return guess, text, _checked(text, manifest)
    except InputError as error:
        if not guess.references.paths:
            raise
        why = error.problems[0]
    # A picture that cannot be sent (damaged, too many for one request) is no reason to have no manifest.
    guess.references = without_pictures(guess.references, why)
    text = _written(table, guess, path, manifest, provider)
    return guess, text, _checked(text, manifest)


def _checked(text: str, manifest: Path) -> int:
    """How many jobs the text makes, were it the manifest; InputError if it would not do."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".starter-", suffix=".yaml", dir=manifest.parent)
    except OSError as error:
        raise OutputError(f"{show_path(manifest.parent)} cannot be written: {reason(error)}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # Named as the user names the folder: that is how the table's problems are to be shown.
        draft = manifest.parent / Path(name).name
        return sum(1 for _ in load_manifest(draft).check())
    except InputError as error:
        problems = [_without_place(problem, Path(name).name, manifest) for problem in error.problems]
        raise InputError(problems, more=error.more) from error
    finally:
        os.unlink(name)


def _without_place(problem: Problem, draft: str, manifest: Path) -> Problem:
    """A line number in a file that was never written is of no use."""
    if problem.file is None or not problem.file.endswith(draft):
        return problem
    return Problem(message=f"no starter fits this table: {problem.message}", file=show_path(manifest))


def _written(table: SniffedTable, guess: Guess, path: Path, manifest: Path, provider: str) -> str:
    here = os.path.relpath(str(path.parent), str(manifest.parent))
    kind = f", {guess.shop} export" if guess.shop else ""
    lines = [*_top(manifest, provider, f"Made from {show(path.name)}{kind}; every guess is yours to change.")]
    lines += ["# The table. It is streamed, so it may have a million rows."]
    lines += _rows_lines(table, joined(here, path.name))
    columns = TableColumns(table)
    lines += _carry_lines(guess, columns)
    lines += _where_lines(guess)
    if guess.is_grouped:
        lines += [
            "",
            "# One job for all rows of a product. (imagebatch init --variants makes one of every variant.)",
            f"group: {yaml_scalar(columns.name(guess.within or 0))}",
        ]
    elif guess.id is not None and guess.id.repeats:
        lines += [
            "",
            f"# {columns.quoted(guess.id.column)} repeats (one row per variant?): of each value the row is taken",
            "# that says most. For a picture of every row, remove this and give each row an id of its own.",
            f"unique: {yaml_scalar(columns.name(guess.id.column))}",
        ]
    folder = os.path.normpath(os.path.join(here, guess.references.folder))
    if guess.references.paths and folder.startswith(".."):
        lines += [
            "",
            "# References are uploaded, so they must lie in this folder.",
            f"reference_root: {yaml_scalar(folder)}",
        ]
    if guess.references.hosts_later is not None:
        lines += [
            "",
            "# Pictures are fetched from these hosts only:",
            f"# reference_hosts: [{guess.references.hosts_later}]",
        ]
    lines += ["", "jobs:", *_job_lines(guess, columns, folder)]
    return "\n".join(lines) + "\n"


def _carry_lines(guess: Guess, columns: TableColumns) -> Iterator[str]:
    """What the first row of a product says for all of them."""
    if not guess.carried or not (guess.is_grouped or guess.per_variant) or guess.within is None:
        return
    names = ", ".join(yaml_scalar(columns.name(index)) for index in guess.carried)
    yield ""
    yield "# These stand in the first row of a product only; its other rows take them from there."
    if guess.is_grouped:
        yield f"carry: [{names}]"
    else:
        yield f"carry: {{columns: [{names}], within: {yaml_scalar(columns.name(guess.within))}}}"


def _where_lines(guess: Guess) -> Iterator[str]:
    if not guess.conditions:
        return
    yield ""
    yield from (f"# {why}" for why in guess.why_where)
    if len(guess.conditions) == 1:
        yield f"where: {guess.conditions[0]}"
        return
    yield "where: >-"
    yield f"  {guess.conditions[0]}"
    yield from (f"  and {condition}" for condition in guess.conditions[1:])


def _job_lines(guess: Guess, columns: TableColumns, folder: str) -> Iterator[str]:
    start = "  - "
    if guess.id is not None:
        quoted = columns.quoted(guess.id.column)
        yield "  # The id names the picture's file. Do not change it later: a job with another id is a new job."
        yield f"  # {quoted} tells the rows apart{_WHY_FILTER[guess.id.filter]}."
        template = f"{{{{ {columns.expression(guess.id.column)}{guess.id.filter} }}}}{guess.id.more}"
        yield f"{start}id: {yaml_scalar(template)}"
        start = "    "
    else:
        yield "  # No column can name the pictures' files, so the prompt does: a job you edit is a new job."
    for why in guess.why_prompt:
        yield f"{start if start == '    ' else '  '}# {why}"
    yield f"{start}prompt: >-"
    yield from (f"      {line}" for line in guess.prompt.split("\n"))
    yield from _reference_lines(guess.references, folder)


def _reference_lines(guess: ReferenceGuess, folder: str) -> Iterator[str]:
    yield from (f"    # {why}" for why in guess.why)
    if guess.later is not None:
        yield f"    # references: [{guess.later}]"
    paths = [yaml_scalar(joined(folder.replace(os.sep, "/"), path)) for path in guess.paths]
    if len(paths) == 1 and not guess.optional:
        yield f"    references: [{paths[0]}]"
    elif paths:
        yield "    references:"
        yield from (f"      - {{path: {path}{', optional: true' if guess.optional else ''}}}" for path in paths)


_WHY_FILTER: Final = {
    "": "",
    " | slug": "; slug makes it fit for a file name",
    " | as_id": "; as_id makes an id of a text in any script or length",
}


def _rows_lines(table: SniffedTable, name: str) -> Iterator[str]:
    unusual = []
    source = table.source
    if source.delimiter not in (None, USUAL_DELIMITERS.get(source.kind)):
        word = DELIMITER_WORDS[source.delimiter]
        yield f"# Its cells are separated by {'a tab' if word == 'tab' else f'a {word}'}, as some spreadsheets do."
        unusual.append(f"delimiter: {word}")
    if source.encoding == "cp1252":
        yield "# It is not UTF-8. cp1252 (Windows, western languages) is a guess: see in `plan` whether letters such as"
        yield "# \u00e4 and \u00e9 are right; if not, save the table as UTF-8 or name its encoding."
        unusual.append("encoding: cp1252")
    if source.header_row is not None:
        lines = "Line 1 is" if source.header_row == 2 else f"Lines 1 to {source.header_row - 1} are"
        yield f"# {lines} no part of the table; line {source.header_row} names the columns."
        unusual.append(f"header_row: {source.header_row}")
    if source.data_row is not None:
        yield f"# The products begin in line {source.data_row}."
        unusual.append(f"data_row: {source.data_row}")
    if unusual:
        yield f"rows: {{file: {yaml_scalar(name)}, {', '.join(unusual)}}}"
    else:
        yield f"rows: {yaml_scalar(name)}"


def _top(manifest: Path, provider: str, made_from: str) -> Iterator[str]:
    plan, run = _next_commands(Path(manifest.name))
    yield "# yaml-language-server: $schema=manifest.schema.json"
    yield "# (The line above lets an editor complete and check this file, once you have typed, in this folder,"
    yield "#  `imagebatch schema > manifest.schema.json`.)"
    yield "#"
    yield f"# {made_from} Next, in this folder:"
    yield "#"
    yield f"#     {plan}    what would be sent, and what it costs; sends nothing"
    yield f"#     {run}"
    yield "#"
    yield "# Every field is explained in docs/manifest.md."
    yield ""
    yield f"name: {yaml_scalar(_run_name(manifest))}    # the pictures come to output/<name>"
    keys = {name: key for name in {*SHIPPED, provider} if (key := find_profile(name).key_env) is not None}
    if provider in keys:
        yield f"provider: {provider}    # every picture is paid; the key is read from {keys[provider]}"
    else:
        yield "# The simulator draws the pictures on this machine, without a key and without a bill."
        yield f"# For real ones write anyfast (the key is read from {keys['anyfast']}) or google ({keys['google']})."
        yield "provider: simulator"
    yield ""
    yield "# Stay under what your account allows."
    yield "limits: {concurrency: 8, requests_per_minute: 120}"
    yield ""
    yield "defaults:"
    yield "  aspect_ratio: 1:1"
    yield "  image_size: 1K    # 512, 1K, 2K or 4K: the price follows the size"
    yield ""


def _example(manifest: Path, provider: str) -> str:
    lines = [
        *_top(manifest, provider, "Three jobs to begin with."),
        "jobs:",
        "  - id: lighthouse    # names the picture's file; leave it out and the prompt names it",
        "    prompt: A lighthouse on a rocky coast at dusk, warm light in its windows, soft watercolor style",
        "",
        "  - id: tea-set    # prompts may be in any language",
        "    prompt: Ein Teeservice aus blauer Keramik auf einem Holztisch, weiches Tageslicht",
        "",
        "  - id: valley",
        "    aspect_ratio: 16:9    # a job may say otherwise than the defaults",
        "    prompt: A wide green valley in the early morning, mist between the hills, one winding road",
        "",
        "# For a picture per row of a table:  imagebatch init TABLE.csv",
    ]
    return "\n".join(lines) + "\n"


def _run_name(manifest: Path) -> str:
    name = re.sub(r"\s+", "-", manifest.stem)
    return name if name_problem(name) is None else slug(name)[:60].strip("-") or "catalog"
