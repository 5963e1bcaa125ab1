"""`imagebatch simulate`: the simulator as a program of its own.

The server and its libraries are imported when the command runs, so that `--help` of the whole program stays
quick.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from batch.simulator import Simulator, SimulatorSettings

_SNIPPET = """\
  # in a job manifest; the key may be any word:  export ANYFAST_API_KEY=simulated
  provider: {{profile: anyfast, base_url: "{base_url}"}}
"""

_EXAMPLES = """\b
Examples:
  imagebatch simulate
  imagebatch simulate --port 8080 --latency 4-20 --rpm 60 --book book.jsonl
  imagebatch simulate --fault "http_503;share=0.1" --fault "finish_image_safety;prompt=knife"
  imagebatch simulate --fault "cut;requests=3,7;bytes=2000"
  imagebatch simulate --flavour anyfast --port 8080
  imagebatch simulate --list-faults

\b
A fault is written NAME;param=value;...  Besides its own parameters every fault takes
  share=0.1        that part of all requests          requests=1,5   these requests, in order of arrival
  after=10         all requests after the tenth       prompt=REGEX   where the prompt matches
  times=2          at most so often                   billed=true    charge it, or not
  per_prompt=true  count `times` for each prompt      model=REGEX    where the model's name matches
A single request can ask for one with the header  X-Simulate: NAME;param=value

\b
While it runs:
  GET /__simulator__/book      what has been charged, request by request (?entries=0: totals only)
  GET /__simulator__/health    answers when the server is up

\b
A --config file holds the same options under the names that a manifest uses:
  latency_seconds: [4, 20]
  flavour: relay
  requests_per_minute: 60
  faults: [{fault: http_503, share: 0.1}, {fault: cut, requests: [3, 7], bytes: 2000}]
"""


@click.command(
    "simulate",
    short_help="Serve a provider that costs nothing, and misbehaves on request.",
    epilog=_EXAMPLES,
    context_settings={"max_content_width": 110},
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; 0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--allow-remote", is_flag=True, help="Permit an address that other machines can reach.")
@click.option(
    "--book",
    "book_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append the billing book to this JSONL file.",
)
@click.option(
    "--config",
    "config_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with options; those given here win.",
)
@click.option("--latency", metavar="S|LOW-HIGH", help="Seconds a picture takes, fixed or evenly drawn.")
@click.option("--billing", type=click.Choice(["request", "tokens"]), help="What is charged: a price each, or tokens.")
@click.option("--rpm", type=click.IntRange(0), help="Requests per minute before 429.")
@click.option("--rpd", type=click.IntRange(0), help="Requests per day before 429.")
@click.option("--fault", "faults", multiple=True, metavar="NAME;...", help="Misbehave (repeatable), see below.")
@click.option(
    "--flavour",
    type=click.Choice(["google", "relay", "anyfast"]),
    help="Whose errors and headers to answer; anyfast: a relay with pictures in `inline_data`, as in AnyFast's sample.",
)
@click.option("--spelling", type=click.Choice(["camel", "snake"]), help="Field names of answers.")
@click.option("--format", "format_", type=click.Choice(["png", "jpeg", "alternate"]), help="Of the pictures.")
@click.option("--pictures", type=click.Choice(["drawn", "plain"]), help="Draw each one, or be fast.")
@click.option("--picture-bytes", type=click.IntRange(1), help="Pad pictures to a realistic weight.")
@click.option("--key", "keys", multiple=True, help="Accept only this key (repeatable). Never a real one.")
@click.option("--seed", type=click.IntRange(0), help="Decides shares and latencies.")
@click.option("--list-faults", is_flag=True, help="Print every fault with a line about it, and end.")
def simulate(
    *,
    port: int,
    host: str,
    book_path: Path | None,
    config_path: Path | None,
    list_faults: bool,
    **given: Any,
) -> None:
    """Serve a stand-in for the image API on this machine: no key, no network, no cost.

    It speaks the API's wire format, draws real pictures with the prompt written into them, refuses what the
    API refuses, misbehaves as told, and keeps a book of what a provider would have charged. Any client of the
    API can be pointed at it, the official SDK too. Ctrl-C ends it and prints the book's totals.
    """
    if list_faults:
        click.echo(fault_list())
        return
    settings = _settings(_from_file(config_path), given)
    from batch.simulator import SimulatorOptionsError

    try:
        asyncio.run(_serve(settings, host, port, book_path))
    except SimulatorOptionsError as error:
        raise click.UsageError(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


def fault_list() -> str:
    """Every fault, by section, with its parameters and their defaults."""
    from batch.simulator.faults.all_faults import EVERY_FAULT

    lines: list[str] = []
    section = ""
    for fault in EVERY_FAULT.values():
        if fault.section != section:
            section = fault.section
            lines += ["", section]
        params = " ".join(f"{name}={value}" for name, value in fault.params.items() if value != "")
        lines.append(f"  {fault.name:<34} {fault.about}" + (f"  [{params}]" if params else ""))
    return "\n".join(lines).lstrip("\n")


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        options = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise click.UsageError(f"{path}: must hold options by name, for example `latency_seconds: 2`")
    return options


def _settings(options: dict[str, Any], given: Mapping[str, Any]) -> SimulatorSettings:
    """The file's options with the command line's on top, checked."""
    from batch.simulator import SimulatorOptionsError, settings_from
    from batch.simulator.script import rule_from_words

    names = {"rpm": "requests_per_minute", "rpd": "requests_per_day", "format_": "format"}
    for name, value in given.items():
        if name not in ("latency", "faults") and value not in (None, (), False):
            options[names.get(name, name)] = list(value) if isinstance(value, tuple) else value
    try:
        if given["latency"] is not None:
            options["latency_seconds"] = _latency(given["latency"])
        if given["faults"]:
            options["faults"] = [rule_from_words(words) for words in given["faults"]]
        return settings_from(options)
    except SimulatorOptionsError as error:
        raise click.UsageError(str(error)) from None


def _latency(words: str) -> float | list[float]:
    try:
        low, dash, high = words.partition("-")
        return [float(low), float(high)] if dash else float(low)
    except ValueError:
        raise click.UsageError(f"--latency: {words!r} is neither seconds nor LOW-HIGH") from None


async def _serve(settings: SimulatorSettings, host: str, port: int, book_path: Path | None) -> None:
    from batch.simulator import serve

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(settings, host=host, port=port, book_path=book_path) as simulator:
        _greet(simulator, settings, book_path)
        await stop.wait()
    click.echo(book_summary(simulator))


def _greet(simulator: Simulator, settings: SimulatorSettings, book_path: Path | None) -> None:
    click.echo(f"Simulator listening on {simulator.base_url}")
    click.echo(_SNIPPET.format(base_url=simulator.base_url), nl=False)
    for rule in settings.faults:
        click.echo(f"  fault: {rule.fault}")
    if book_path is not None:
        click.echo(f"  book: {book_path}")
    click.echo("  Ctrl-C ends it.")


def book_summary(simulator: Simulator) -> str:
    """The book's totals in one line."""
    book = simulator.book
    return (
        f"{book.requests} requests, {book.billed} charged (${book.usd:,.3f}), {book.images} pictures, "
        f"{book.delivered} answers delivered whole."
    )
