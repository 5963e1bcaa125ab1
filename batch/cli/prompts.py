"""Questions to a person at a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from batch.cli.console import print_error
from batch.cli.terminal import fold_text

if TYPE_CHECKING:
    from batch.core.settings import ChangedPolicy
    from batch.plan import Plan
    from batch.runner.preparation import PreparedRun
    from batch.store.history import History


CHANGES_SHOWN: Final = 3


async def ask_person(question: str) -> bool:
    """Ask on a line of its own and wait, without holding up the run's signals; a stop cuts the waiting short."""
    from batch.report.progress import without_bar

    with without_bar(sys.stderr):
        print_error(fold_text(f"{question} [y/N]", sys.stderr))
        return await _answer_is_yes()


async def _answer_is_yes() -> bool:
    import asyncio

    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        if not answer.done():
            answer.set_result(sys.stdin.readline())

    loop.add_reader(sys.stdin, read)
    try:
        return (await answer).strip().lower() in ("y", "yes")
    finally:
        loop.remove_reader(sys.stdin)


def ask_about_changed(plan: Plan, prepared: PreparedRun, history: History) -> ChangedPolicy:
    """Show what was edited and ask what to do with it. No answer means: do not start."""
    from batch.core.settings import ChangedPolicy
    from batch.report.formatting import count, usd
    from batch.report.why import asked_before, change_lines

    group = plan.groups["skip: changed"]
    print_error(f"{count(group.count, 'job')} edited after the picture was bought:")
    for job in plan.changed[:CHANGES_SHOWN]:
        print_error(f"  {job.id}")
        for line in change_lines(asked_before(prepared.output, history.of(job.key())), job):
            print_error(f"  {line}")
    print_error(
        f"keep the old pictures (k), buy new ones beside them for {usd(group.price_usd)} (b), or stop here (s)?"
    )
    answer = sys.stdin.readline().strip().lower()[:1]
    return {"k": ChangedPolicy.KEEP, "b": ChangedPolicy.RERUN}.get(answer, ChangedPolicy.REFUSE)
