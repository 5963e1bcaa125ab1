"""Options that several commands take."""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from batch.runner.options import RunOptions


class NamedPath(click.Path):
    """A path that is one: `-o "$FOLDER"` with an empty variable must not mean the current folder."""

    def __init__(self, **rest: Any) -> None:
        super().__init__(path_type=Path, **rest)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not os.fspath(value):
            self.fail("is empty; name a file or folder", param, ctx)
        return super().convert(value, param, ctx)


class Count(click.IntRange):
    """A whole number of things."""

    name = "whole number"


class _Dollars(click.FloatRange):
    """A number of US dollars. Refuses `nan`, which passes every range check, and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        amount = super().convert(value, param, ctx)
        if not math.isfinite(amount):
            self.fail(f"{value!r} is no amount of money.", param, ctx)
        return amount


Manifest = NamedPath()


references_option = click.option(
    "--references",
    type=NamedPath(file_okay=False),
    multiple=True,
    help="Folder in which reference pictures are looked for first. May be repeated.",
)


def review_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command that serves pages which take decisions."""
    for option in (
        click.option("--by", metavar="NAME", help="The reviewer's name in the decisions.  [default: your user name]"),
        click.option("--no-browser", is_flag=True, help="Only print the address."),
        click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port.  [default: any free one]"),
    ):
        function = option(function)
    return function


def env_file_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--env-file",
        type=NamedPath(dir_okay=False),
        metavar="FILE",
        help="Take the API key, proxies and SSL_CERT_FILE from this file (NAME=value) where the environment has none.",
    )(function)


def environment_with(env_file: Path | None) -> Mapping[str, str]:
    """The process's environment; a file's variables where it has none."""
    from batch.cli.env_file import read_env_file
    from batch.core.private_environment import PrivateEnvironment

    return os.environ if env_file is None else PrivateEnvironment(read_env_file(env_file), os.environ)


#: What charges again must be typed: a variable would do it in every run.
_TYPED_ONLY: Final = ("again", "rejected", "resend", "retry", "yes", "help")


def from_environment(command: click.Command) -> click.Command:
    """Let `IMAGEBATCH_MAX_COST` and its kin say what is not said on the command line."""
    for option in command.params:
        if isinstance(option, click.Option) and option.name not in _TYPED_ONLY and not option.hidden:
            option.envvar = "IMAGEBATCH_" + option.opts[-1].lstrip("-").replace("-", "_").upper()
            option.show_envvar = True
    return command


def output_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-o",
        "--output",
        type=NamedPath(file_okay=False),
        help="Folder for the results.  [default: output/NAME]",
    )(function)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What one run is to do differently. The command gets them as one value, `options`."""
    names = (
        "on_changed",
        "retry",
        "resend",
        "only",
        "where",
        "limit",
        "sample",
        "seed",
        "reuse",
        "allow_empty",
        "refresh_references",
        "max_cost",
        "finish_by",
        "again",
        "rejected",
        "sets",
        "provider",
    )

    @functools.wraps(function)
    def with_options(
        *args: Any, canary: int | None = None, ignore_not_before: bool = False, yes: bool = False, **rest: Any
    ) -> Any:
        given = {name: rest.pop(name) for name in names}
        options = _options_of(**given, canary=canary, ignore_not_before=ignore_not_before, yes=yes)
        return function(*args, options=options, **rest)

    for option in reversed(_RUN_OPTIONS):
        with_options = option(with_options)
    return with_options


def _moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """A moment to come, as it was typed."""
    from batch.cli.moments import WhenProblem, moment
    from batch.core.clock import SystemClock

    try:
        return None if value is None else moment(value, SystemClock().now())
    except WhenProblem as problem:
        raise click.BadParameter(str(problem)) from None


_RUN_OPTIONS: Final = (
    click.option(
        "--set",
        "sets",
        metavar="KEY=VALUE",
        multiple=True,
        help="Put a value into the manifest, such as limits.concurrency=4: dotted keys, the value in YAML. May be "
        "repeated.",
    ),
    click.option(
        "--provider",
        metavar="NAME",
        help="Send to this provider: one of the manifest's by its name, else a profile such as simulator.",
    ),
    click.option(
        "--only",
        metavar="ID",
        multiple=True,
        help="Send only jobs with this id, or those that match a pattern such as 'tea-*'. May be repeated.",
    ),
    click.option(
        "--where",
        metavar="EXPR",
        help='Send only jobs whose row meets this, such as \'Vendor == "Acme" and scene == "beach"\'.',
    ),
    click.option("--limit", type=Count(min=1), metavar="N", help="Send at most N jobs, the first ones."),
    click.option("--sample", type=Count(min=1), metavar="N", help="Send N jobs drawn at random."),
    click.option("--seed", type=int, default=0, metavar="N", help="Seed for --sample.  [default: 0]"),
    click.option(
        "--retry",
        metavar="CAUSES",
        default="",
        help="Send jobs again that failed for good, or are unknown, with these causes: no_image,text_only or "
        "'cause in (no_image, timeout) and attempts < 4', or all. Charged again.",
    ),
    click.option(
        "--resend",
        type=click.Choice(["unknown"]),
        help="unknown: send every job once more whose request got no answer. May be paid twice.",
    ),
    click.option(
        "--again",
        metavar="WHAT",
        multiple=True,
        help="Make done pictures again, beside the old ones: an id, a pattern such as 'tea-*', missing (those whose "
        "file is gone) or @FILE with ids, one a line. May be repeated. Charged again; asks first, or needs --yes.",
    ),
    click.option(
        "--rejected",
        is_flag=True,
        help="Make rejected pictures again, beside the old ones; on_reject in the manifest says how notes change the "
        "prompt. Charged again; asks first, or needs --yes.",
    ),
    click.option(
        "--on-changed",
        type=click.Choice(["ask", "refuse", "keep", "rerun"]),
        default="ask",
        show_default=True,
        help="Jobs edited after their picture was bought: ask (without a terminal: refuse), refuse to start, "
        "keep the old picture, or buy a new one beside it.",
    ),
    click.option(
        "--reuse",
        metavar="DIR",
        multiple=True,
        type=NamedPath(file_okay=False),
        help="Reuse pictures of another output folder, where exactly the same was bought. May be repeated.",
    ),
    click.option(
        "--max-cost",
        type=_Dollars(min=0),
        metavar="USD",
        help="Spend at most USD dollars in this run, beside the manifest's budget.",
    ),
    click.option(
        "--finish-by",
        metavar="WHEN",
        callback=_moment,
        help="Deadline for the whole run: 06:00 (the next one), 2026-11-26T06:00, or 8h, 90m or 1h30m from now. "
        "When the flex lane becomes too slow for it, jobs are sent in the standard lane.",
    ),
    click.option(
        "--allow-empty",
        is_flag=True,
        help="Accept a manifest without jobs, or an empty table, as a finished batch (for scheduled exports).",
    ),
    click.option(
        "--refresh-references",
        is_flag=True,
        help="Check whether reference pictures at web addresses have changed, instead of using the cached ones.",
    ),
)


def _options_of(
    *,
    on_changed: str,
    retry: str,
    resend: str | None,
    only: tuple[str, ...],
    where: str | None,
    limit: int | None,
    sample: int | None,
    seed: int,
    reuse: tuple[Path, ...],
    allow_empty: bool,
    refresh_references: bool,
    max_cost: float | None,
    finish_by: datetime | None,
    again: tuple[str, ...],
    rejected: bool,
    sets: tuple[str, ...],
    provider: str | None,
    canary: int | None,
    ignore_not_before: bool,
    yes: bool,
) -> RunOptions:
    from batch.core.settings import ChangedPolicy
    from batch.plan import Selection
    from batch.runner.options import RunOptions

    if limit is not None and sample is not None:
        raise click.UsageError("--limit and --sample exclude each other: the first N jobs, or N at random")
    selection = Selection(only=only, where=where, limit=limit, sample=sample, seed=seed)
    return RunOptions(
        on_changed=ChangedPolicy(on_changed),
        retry=retry,
        selection=selection,
        reuse=reuse,
        canary=canary,
        allow_empty=allow_empty,
        refresh_references=refresh_references,
        max_cost=max_cost,
        finish_by=finish_by,
        again=again,
        rejected=rejected,
        overrides=(*([] if provider is None else [f"provider={json.dumps(provider)}"]), *sets),
        yes=yes,
        resend_unknown=resend == "unknown",
        ignore_not_before=ignore_not_before,
    )
