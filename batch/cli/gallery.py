"""`imagebatch gallery`."""

from __future__ import annotations

from pathlib import Path

import click

from batch.cli.console import is_terminal, show_lines
from batch.cli.options import NamedPath, references_option


@click.command(short_help="Make pages that show an output folder.")
@click.argument("directory", type=NamedPath())
@click.option(
    "--to",
    type=NamedPath(file_okay=False),
    help="Folder for the pages, complete in itself: pictures get second names there.  [default: DIRECTORY/gallery]",
)
@references_option
@click.option("--no-thumbnails", is_flag=True, help="Leave out thumbnails that are not made yet.")
def gallery(directory: Path, to: Path | None, references: tuple[Path, ...], *, no_thumbnails: bool) -> None:
    """Make static pages that show what the output folder DIRECTORY holds.

    Open gallery/index.html in a browser, from disk or from any web server. A second time, only what changed is made. A
    manifest in place of DIRECTORY means the folder that its runs write to.
    """
    from batch.cli.status import folder_of
    from batch.gallery import build_gallery

    told = _Progress() if is_terminal() else lambda _made, _of: None
    built = build_gallery(folder_of(directory), to, thumbnails=not no_thumbnails, references=references, told=told)
    words = [f"{_counted(built.entries, 'job')}, {_counted(built.thumbnails, 'new thumbnail')}"]
    if built.unreadable:
        words.append(f"none for {_counted(built.unreadable, 'picture')} that could not be read")
    show_lines([*words, f"open {built.index}"])


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


class _Progress:
    """One line on a terminal, written over and over."""

    def __call__(self, made: int, of: int) -> None:
        click.echo(f"\r{made:,} of {of:,} thumbnails ", nl=made >= of, err=True)
