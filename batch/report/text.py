"""What `run`, `plan` and `status` say to a person, as lines of text. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from batch.core.results import Checked, CheckSpend, Summary
from batch.plan import Forecast, Group, Plan
from batch.report.advice import advice_lines, retry_causes
from batch.report.formatting import at_list_price, causes, count, duration, path, printable, usd
from batch.report.money import spend_lines
from batch.report.review import review_lines
from batch.report.status import Status
from batch.report.warned import warning_lines
from batch.store.live_status import RunProgress
from batch.store.lost_files import NONE_LOST, LostFiles

#: How a plan names its groups, and which of their sums it shows: `buy` (list price), `saved`, `again` (what it would
#: cost to send them after all) or `spent`.
PLAN_WORDS: Final = {
    "to do: new": ("new", "buy"),
    "to do: again": ("failed before, worth another try", "buy"),
    "to do: resend": ("sent before without an answer, will be sent once more (maybe paid twice)", "buy"),
    "to do: changed": ("changed, to be bought again", "buy"),
    "to do: remake": ("made again with --again; the old picture stays", "buy"),
    "to do: missing": ("made again, because their file is gone", "buy"),
    "to do: chained": ("go on with the picture of another job, and are sent after it", "buy"),
    "to do: rejected": ("made again, because their picture was rejected", "buy"),
    "adopt: renamed": ("renamed; the picture bought before is taken over", "saved"),
    "adopt: same": ("same request as another job; its picture is shared", "saved"),
    "adopt: reused": ("bought in another output folder; taken over from there", "saved"),
    "skip: copy": ("same request as another job to send; bought once, shared", "saved"),
    "skip: left out": ("would be sent, but not selected this time", "again"),
    "skip: waits": ("go on with the picture of another job, which has none and is not sent this time", "again"),
    "skip: done": ("done", "spent"),
    "skip: failed": ("failed for good, not sent again", "again"),
    "skip: set aside": ("failed the same way run after run, set aside", "again"),
    "skip: rejected": ("rejected, and what until allows is used up (run --rejected makes them again)", "spent"),
    "skip: held": ("outcome unknown, held back", "again"),
    "skip: changed": ("changed since bought, old picture kept", "again"),
    "skip: open": ("left in flight by a run that was cut off; its answers are looked for first", ""),
    "skip: missing": ("bought, but the file is missing (not bought again)", "spent"),
    "skip: altered": ("bought, but the file was altered (left alone)", "spent"),
}
_NAMED: Final = 5
_WITH_CAUSES: Final = ("skip: failed", "skip: set aside", "skip: held")


def summary_lines(summary: Summary, command: str, plan_command: str = "imagebatch plan MANIFEST") -> Iterator[str]:
    """The last words of a run: how many, how much, where to look, what to do about failures.

    `command` is what to type to go on, `plan_command` what shows the plan of this manifest.
    """
    total = summary.done + summary.failed + summary.unknown + summary.pending
    parts = [f"{summary.done:,} of {count(total, 'job')} done"]
    parts += [f"{number:,} {word}" for number, word in _not_done(summary)]
    yield f"{summary.name}: {', '.join(parts)}"
    if summary.requests:
        yield (
            f"  this run   {count(summary.requests, 'request')} in {duration(summary.seconds)}, "
            f"{at_list_price(summary.cost_usd, simulated=summary.simulated)}"
        )
    elif not summary.pending:
        yield "  this run   nothing was left to send"
    if summary.failures_by_cause:
        yield f"  failed     {causes(summary.failures_by_cause)}"
    if summary.maybe_cost_usd:
        yield f"  unknown    requests without an answer may have cost up to {usd(summary.maybe_cost_usd)} more"
    yield from spend_lines(summary.spend)
    if summary.possibly_paid_twice:
        twice = f"{count(summary.possibly_paid_twice, 'job')}, at most {usd(summary.possibly_paid_twice_usd)}"
        yield f"  twice      possibly paid twice: {twice}"
    for name, why in summary.endpoints_out.items():
        yield f"  endpoint   {name} was left out: {printable(why)}"
    if summary.failed_accepted:
        yield f"  accepted   {count(summary.failed_accepted, 'failure')} by your decision (resolve --as accepted)"
    if summary.set_aside:
        aside = count(summary.set_aside, "job")
        yield f"  set aside  {aside} failed in the same way run after run: sent again only by --retry CAUSE"
    if summary.adopted:
        yield f"  taken over {count(summary.adopted, 'picture')} bought before, without a request"
    if summary.left_out:
        yield f"  left out   {count(summary.left_out, 'job')} not selected this time"
    yield from _lost_lines(summary.missing, summary.missing_files, summary.altered, summary.altered_files)
    yield from warning_lines(summary.not_as_asked, summary.warnings)
    if (checked := summary.checked) is not None and checked != Checked():
        failed = f", {checked.failed:,} without a verdict" if checked.failed else ""
        yield f"  check      {checked.accepted:,} accepted, {checked.rejected:,} rejected{failed}"
        yield from _check_money(checked.spend, " " * 11)
    yield from review_lines(summary.review)
    if summary.done:
        yield f"  pictures   {path(summary.output)}/images/"
    if summary.done or summary.failed:
        yield f"  captions   {path(summary.output)}/manifest.jsonl"
    if summary.message:
        yield f"  stopped    {printable(summary.message, 500)}"
    if summary.not_before:
        yield f"  not before {summary.not_before}"
    again = summary.pending + summary.worth_retrying + summary.remakes_left
    yield from advice_lines(summary.failures_by_cause, summary.output, unknown=summary.unknown > 0)
    if again:
        yield f"  next       {command}   (goes on with {count(again, 'job')})"
    elif summary.review is not None and summary.review.rejected:
        run_command = plan_command.replace("imagebatch plan", "imagebatch run", 1)
        yield f"  next       {run_command} --rejected   (makes {count(summary.review.rejected, 'picture')} again)"
    elif summary.failed > summary.failed_accepted:
        yield f"  next       {plan_command} --retry {retry_causes(summary.failures_by_cause)}"


def _check_money(spend: CheckSpend | None, label: str) -> Iterator[str]:
    """What a model that judges was paid, which is in no other sum."""
    if spend is not None and spend.requests:
        maybe = f", and maybe {usd(spend.maybe_cost_usd)} more" if spend.maybe_cost_usd else ""
        yield f"  {label}{count(spend.requests, 'question')}, {usd(spend.cost_usd)}{maybe}, beside the pictures"


def last_line(summary: Summary) -> str:
    """One line for cron's mail and for scripts, for any end that is not a full success."""
    total = summary.done + summary.failed + summary.unknown + summary.pending
    left = total - summary.done
    earliest = f"; earliest {summary.not_before}" if summary.not_before else ""
    return f"imagebatch: {summary.exit} {summary.reason}: {left:,} of {total:,} left{earliest}; out={summary.output}"


def plan_lines(
    plan: Plan,
    output: str,
    forecast: Forecast,
    changed_how: Mapping[str, Sequence[str]],
    budget_ends: tuple[int, str] | None = None,
    lost: LostFiles = NONE_LOST,
) -> Iterator[str]:
    """What would be sent, and why, and what it would cost.

    `changed_how` has, for some of the changed jobs, lines with what was asked before and what is asked now;
    `budget_ends` after how many jobs the budget ends the run, and which budget in words. `lost`: files that are not
    what was bought.
    """
    more = f" and up to {plan.reopened.count:,} once more" if plan.reopened.count else ""
    yield f"{count(plan.jobs, 'job')}, {plan.to_do:,} to send{more}; results in {path(output)}"
    for name, (words, money) in PLAN_WORDS.items():
        if plan.count(name):
            yield _group_line(plan.groups[name], words, money)
        if plan.count(name) and name in _WITH_CAUSES:
            yield f"             ({causes(plan.causes_of(name))}; --retry with a cause sends them again)"
        if name == "skip: open" and plan.reopened.count:
            yield f"             (up to {plan.reopened.count:,} are sent once more, {usd(plan.reopened.price_usd)})"
    if still := plan.rejected.count - plan.count("to do: rejected") - plan.count("skip: rejected"):
        yield f"             ({still:,} of them rejected; run --rejected makes them again)"
    yield from _lost_lines(plan.count("skip: missing"), lost.missing, plan.count("skip: altered"), lost.altered)
    if plan.rehearsed:
        yield f"             ({plan.rehearsed:,} rehearsed, not bought: pictures of the simulator do not count)"
    if plan.removed.count:
        yield _group_line(plan.removed, "in the output folder but no longer in the manifest (left alone)", "spent")
    if plan.twins.count:
        yield (
            f"  {count(plan.twins.count, 'job')} to send {'asks' if plan.twins.count == 1 else 'ask'} for exactly the "
            f"same picture as another; dedupe: true in the manifest saves {usd(plan.twins.price_usd)}"
        )
    yield from _changed_lines(plan, changed_how)
    yield from _forecast_lines(plan, forecast)
    if budget_ends is not None:
        yield f"the budget ends after about {budget_ends[0]:,} of {count(plan.to_do, 'job')}: {budget_ends[1]}"
    for example in plan.examples:
        yield f"  {example.because:<8} {example.job.id}: {printable(example.job.as_asked.prompt, 100)}"
    if plan.to_do > len(plan.examples):
        yield f"  ... and {plan.to_do - len(plan.examples):,} more"


def model_lines(warnings: Sequence[str]) -> Iterator[str]:
    """What to know of the models that a plan asks."""
    for words in warnings:
        yield f"  warning    {printable(words, 500)}"


def plan_as_json(
    name: str,
    output: str,
    plan: Plan,
    forecast: Forecast,
    budget_ends: tuple[int, str] | None = None,
    lost: LostFiles = NONE_LOST,
) -> dict[str, Any]:
    """The same facts for programs."""
    return {
        "name": name,
        "output": output,
        "jobs": plan.jobs,
        "to_do": plan.to_do,
        "groups": {name: _sums(group) for name, group in plan.groups.items() if group.count},
        "causes": [{"decision": name, "cause": cause, **_sums(group)} for (name, cause), group in plan.causes.items()],
        "rehearsed": plan.rehearsed,
        "open_to_do": _sums(plan.reopened),
        "missing_files": list(lost.missing),
        "altered_files": list(lost.altered),
        "rejected": _sums(plan.rejected),
        "removed": _sums(plan.removed),
        "same_as_another": _sums(plan.twins),
        "changed": [job.id for job in plan.changed],
        "cost_usd": round(forecast.usd, 6),
        "highest_cost_usd": round(forecast.highest_usd, 6),
        "budget_ends_after": None if budget_ends is None else budget_ends[0],
        "least_seconds": forecast.least_seconds or None,
        "most_seconds": forecast.most_seconds or None,
        "examples": [
            {"id": each.job.id, "because": each.because, "prompt": each.job.as_asked.prompt} for each in plan.examples
        ],
    }


def _lost_lines(missing: int, gone: Sequence[str], altered: int, other: Sequence[str]) -> Iterator[str]:
    """Files that are not what was bought, the first by name, and what to do."""
    if missing:
        pictures = "picture is" if missing == 1 else "pictures are"
        yield f"  missing    {missing:,} {pictures} no longer in the folder: {_first(gone, missing)}"
        yield "             --again missing buys them again, imagebatch resolve --as accepted closes the matter"
    if altered:
        pictures = "picture is" if altered == 1 else "pictures are"
        yield f"  altered    {altered:,} {pictures} not what was bought: {_first(other, altered)}"
        yield "             --again ID buys it again, imagebatch resolve --as accepted closes the matter"


def _first(names: Sequence[str], total: int) -> str:
    shown = [printable(name) for name in names[:_NAMED]]
    more = max(total, len(names)) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _sums(group: Group) -> dict[str, Any]:
    return {"count": group.count, "price_usd": round(group.price_usd, 6), "spent_usd": round(group.spent_usd, 6)}


def _group_line(group: Group, words: str, money: str) -> str:
    sums = {
        "buy": usd(group.price_usd),
        "saved": f"saves {usd(group.price_usd)}",
        "again": f"{usd(group.price_usd)} if sent",
        "spent": f"cost {usd(group.spent_usd)}",
    }
    return f"  {group.count:>9,}  {words}{f', {sums[money]}' if money else ''}"


def _changed_lines(plan: Plan, changed_how: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if not plan.changed:
        return
    named = [job.id for job in plan.changed[:_NAMED]]
    more = plan.count("skip: changed") - len(named)
    yield f"  changed: {', '.join(named)}{f' and {more:,} more' if more else ''}"
    for job_id, lines in changed_how.items():
        yield f"  {job_id}:"
        yield from (f"  {line}" for line in lines)
    price = usd(plan.groups["skip: changed"].price_usd)
    yield f"  a run asks what to do with them: --on-changed keep, or --on-changed rerun to buy them again for {price}"


def _forecast_lines(plan: Plan, forecast: Forecast) -> Iterator[str]:
    if not plan.to_do:
        if not plan.reopened.count:
            yield "nothing to send"
        return
    yield (
        f"would send {count(plan.to_do, 'request')} for {usd(forecast.usd)} at list price; with all retries the "
        f"manifest allows at most {usd(forecast.highest_usd)}"
    )
    if forecast.most_seconds:
        least, most = duration(forecast.least_seconds), duration(forecast.most_seconds)
        if least == most:
            yield f"takes at least {least} under the manifest's limits"
        else:
            yield f"takes between {least} and {most} under the manifest's limits, if an answer takes 5 to 60 s"


def status_lines(status: Status) -> Iterator[str]:
    """Where an output folder stands."""
    yield f"{path(status.output)}: {', '.join(_standings(status))}"
    cost = at_list_price(status.cost_usd, simulated=status.simulated)
    yield f"  money      {cost} for {count(status.requests, 'request')}"
    if status.maybe_cost_usd:
        yield f"             up to {usd(status.maybe_cost_usd)} more for requests without an answer"
    yield from spend_lines(status.spend)
    if status.budget:
        yield f"  budget     limits now: money. {printable(status.budget, 500)}"
    if status.failures_by_cause:
        yield f"  failed     {causes(status.failures_by_cause)}"
    yield from _lost_lines(status.missing, status.missing_files, status.altered, status.altered_files)
    if status.failed_accepted:
        yield f"  accepted   {count(status.failed_accepted, 'failure')} by your decision (resolve --as accepted)"
    if status.accepted:
        yield f"  accepted   {count(status.accepted, 'job')} done by your decision (resolve --as accepted)"
    if status.rehearsal:
        yield f"  rehearsal  {path(status.rehearsal)}: pictures of the simulator, not bought"
    yield from warning_lines(status.not_as_asked, status.warnings)
    yield from _check_money(status.checks, "check      ")
    yield from review_lines(status.review)
    if status.running:
        yield f"  now        {status.running}{_progress_words(status.progress)}"
        if status.limits_now:
            yield f"  limits now {printable(status.limits_now)}"
    if status.open_attempts:
        words = "in flight" if status.running else "left open; the next run settles them"
        yield f"  requests   {status.open_attempts:,} {words}"
    if status.last_end:
        yield f"  last run   {status.last_end}"
    if status.torn_bytes:
        yield f"  ledger     its last {status.torn_bytes:,} bytes are torn; the next run sets them aside"
    yield from advice_lines(status.failures_by_cause, status.output, unknown=status.unknown > 0)
    if status.next_command:
        yield f"  next       {status.next_command}"


def _standings(status: Status) -> Iterator[str]:
    """A folder may know jobs that are no longer in the manifest: then there is no total."""
    settled = status.done + status.failed + status.unknown
    total = status.jobs if status.jobs is not None and status.jobs >= settled else None
    of_all = f"{status.done:,} of {count(total, 'job')}" if total is not None else count(status.done, "job")
    yield f"{of_all} done"
    yield f"{status.failed:,} failed"
    yield f"{status.unknown:,} unknown"
    if status.pending:
        yield f"{status.pending:,} pending"


def _progress_words(progress: RunProgress | None) -> str:
    if progress is None or not progress.to_do:
        return ""
    words = f": {progress.ended:,} of {progress.to_do:,}"
    if progress.per_minute is not None and progress.seconds_left is not None:
        words += f", {progress.per_minute:,.0f} a minute, about {duration(progress.seconds_left)} left"
    return words


def _not_done(summary: Summary) -> Iterator[tuple[int, str]]:
    again = f" ({summary.worth_retrying:,} for now)" if summary.worth_retrying else ""
    for number, word in (
        (summary.failed, f"failed{again}"),
        (summary.unknown, "unknown"),
        (summary.pending, "pending"),
    ):
        if number:
            yield number, word
