"""`python -m benchmarks {compare,quotas,pace,finished,rows,gallery,reading,photographs,profile}`; each has --help."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from benchmarks import compare, finished, gallery, pace, photographs, profile_run, quotas, reading, results, rows
from benchmarks.contestants import contestants, sdk_environment
from benchmarks.measure import CommandFailed


def main() -> int:
    """Parses the command line and runs one of them."""
    options = _parser().parse_args()
    options.workdir = options.workdir.resolve()
    options.workdir.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(options.workdir):
            options.run(options)
    except (CommandFailed, RuntimeError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _alone(workdir: Path) -> Iterator[None]:
    """One benchmark at a time in a folder: another would take its pictures away, and its CPU."""
    lock = FileLock(workdir / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RuntimeError(f"another benchmark is running in {workdir}") from None
    try:
        yield
    finally:
        lock.release()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--workdir",
        type=Path,
        default=Path("output/benchmarks"),
        help="a folder on a real disk with 4 GB free (default: %(default)s)",
    )
    common.add_argument("--timeout", type=float, default=900, help="seconds one run may take (default: 900)")

    one = commands.add_parser("compare", parents=[common], help="the runner, the SDK and curl, side by side")
    one.add_argument("--cases", default=",".join(compare.CASES), help="default: %(default)s")
    one.add_argument("--contestants", help="default: all")
    one.add_argument("--rounds", type=int, default=3, help="how often everything is repeated (default: 3)")
    one.add_argument("--shrink", type=int, default=1, help="this many times fewer pictures, to try things out")
    one.add_argument("--page", type=Path, help="put the tables into this page, between its marks")
    one.set_defaults(run=_compare)

    quota = commands.add_parser("quotas", parents=[common], help="a batch through a quota of requests per minute")
    quota.add_argument("--jobs", type=int, default=1_200, help="default: 1200")
    quota.add_argument("--per-minute", type=int, default=300, help="the provider's quota (default: 300)")
    quota.add_argument("--concurrency", type=int, default=64, help="default: 64")
    quota.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    quota.set_defaults(run=_quotas)

    paces = commands.add_parser("pace", parents=[common], help="refusals of every kind, on a simulated clock")
    paces.add_argument("--only", default="", help="cases whose name contains this")
    paces.add_argument("--contestants", default=",".join(pace.CONTESTANTS), help="default: %(default)s")
    paces.add_argument("--seeds", type=int, default=3, help="runs of each; medians are shown (default: 3)")
    paces.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    paces.set_defaults(run=_pace)

    two = commands.add_parser("finished", parents=[common], help="a finished batch, run again")
    two.add_argument("--jobs", type=int, default=100_000, help="default: 100000")
    two.add_argument("--concurrency", type=int, default=64, help="of the first run (default: 64)")
    two.add_argument("--rounds", type=int, default=3, help="runs after the first (default: 3)")
    two.set_defaults(run=_finished)

    more = commands.add_parser("rows", parents=[common], help="tables of many rows: a plan, and a finished run")
    more.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="default: %(default)s")
    more.add_argument("--values", type=int, nargs="+", choices=[1, 2], default=[1, 2], help="jobs made of each row")
    more.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    more.set_defaults(run=_rows)

    seen = commands.add_parser("gallery", parents=[common], help="pages of many jobs: their build, and in chromium")
    seen.add_argument("--rows", type=int, nargs="+", default=[100_000], help="default: 100000")
    seen.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    seen.set_defaults(run=_gallery)

    answer = commands.add_parser("reading", parents=[common], help="one answer, from its bytes to a checked picture")
    answer.add_argument("--rounds", type=int, default=5, help="default: 5")
    answer.set_defaults(run=_reading)

    photo = commands.add_parser("photographs", parents=[common], help="references of 108 million pixels")
    photo.add_argument("--kinds", nargs="+", choices=list(photographs.KINDS), default=list(photographs.KINDS))
    photo.add_argument("--page", type=Path, help="put the table into this page, between its marks")
    photo.set_defaults(run=_photographs)

    three = commands.add_parser("profile", parents=[common], help="where the runner's CPU goes")
    three.add_argument("case", choices=list(compare.CASES))
    three.add_argument("--images", type=int, help="default: as many as in the comparison")
    three.set_defaults(run=_profile)
    return parser


def _compare(options: argparse.Namespace) -> None:
    cases = [compare.CASES[name] for name in options.cases.split(",")]
    everyone = contestants(sdk_environment(options.workdir))
    names = options.contestants.split(",") if options.contestants else list(everyone)
    bench = compare.Bench(
        contestants={name: everyone[name] for name in names},
        answers=compare.prepare_answers(options.workdir),
        workdir=options.workdir,
        rounds=options.rounds,
        timeout=options.timeout,
        shrink=options.shrink,
    )
    runs: list[compare.Run] = []
    for run in compare.compare(bench, cases):
        compare.tell(run)
        runs.append(run)
    who = {name: {"what": everyone[name].what, "stack": bench.http_stack(name)} for name in names}
    tables = results.as_markdown(runs)
    (options.workdir / "results.json").write_text(json.dumps(results.as_json(runs, {"contestants": who}), indent=1))
    (options.workdir / "results.md").write_text(tables)
    if options.page:
        results.put_into_page(options.page, tables)
    print(tables)


def _quotas(options: argparse.Namespace) -> None:
    case = quotas.Case(jobs=options.jobs, per_minute=options.per_minute, concurrency=options.concurrency)
    found: list[quotas.Measured] = []
    python = sdk_environment(options.workdir)
    for one in quotas.measure_quotas(case, options.workdir / "quotas", python, timeout=options.timeout):
        quotas.tell(one)
        found.append(one)
    table = quotas.as_markdown(found)
    (options.workdir / "quotas.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    if options.page:
        results.put_into_page(options.page, table, "quotas")
    print(table)


def _reading(options: argparse.Namespace) -> None:
    print(reading.as_markdown([*reading.measure_reading(options.workdir, rounds=options.rounds)]))


def _photographs(options: argparse.Namespace) -> None:
    table = photographs.as_markdown([*photographs.measure_photographs(options.kinds, options.workdir)])
    if options.page:
        results.put_into_page(options.page, table, "photographs")
    print(table)


def _pace(options: argparse.Namespace) -> None:
    found: list[pace.Measured] = []
    for one in pace.measure_all(options.only, options.contestants.split(","), options.seeds):
        pace.tell(one)
        found.append(one)
    table = pace.as_markdown(found)
    (options.workdir / "pace.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    if options.page:
        results.put_into_page(options.page, table, "pace")
    print(table)


def _finished(options: argparse.Namespace) -> None:
    found = finished.measure_finished(
        jobs=options.jobs,
        concurrency=options.concurrency,
        rounds=options.rounds,
        workdir=options.workdir,
        timeout=options.timeout,
    )
    (options.workdir / "finished.json").write_text(json.dumps(asdict(found), indent=1))
    print(finished.as_markdown(found))


def _rows(options: argparse.Namespace) -> None:
    cases = [
        rows.Case(rows=count, values=values, timeout=options.timeout)
        for values in options.values
        for count in (1, *options.rows)  # one row shows what the start takes
    ]
    found: list[rows.Measured] = []
    for one in rows.measure_rows(cases, options.workdir):
        rows.tell(one)
        found.append(one)
    table = rows.as_markdown(found)
    (options.workdir / "rows.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    if options.page:
        results.put_into_page(options.page, table, "rows")
    print(table)


def _gallery(options: argparse.Namespace) -> None:
    found: list[gallery.Measured] = []
    for one in gallery.measure_gallery(options.rows, options.workdir, options.timeout):
        gallery.tell(one)
        found.append(one)
    with tempfile.TemporaryDirectory(dir=options.workdir) as folder:
        table = gallery.as_markdown(found, gallery.thumbnail_ms(Path(folder)))
    (options.workdir / "gallery.json").write_text(json.dumps([asdict(one) for one in found], indent=1))
    if options.page:
        results.put_into_page(options.page, table, "gallery")
    print(table)


def _profile(options: argparse.Namespace) -> None:
    case = compare.CASES[options.case]
    images = options.images or case.images
    print(profile_run.profile(case, images=images, workdir=options.workdir, timeout=options.timeout))


if __name__ == "__main__":
    sys.exit(main())
