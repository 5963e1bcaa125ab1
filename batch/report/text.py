"""What `run`, `plan` and `status` say to a person, as lines of text. Pure: facts in, lines out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from batch.model import Summary
from batch.plan import Plan
from batch.report.status import Status
from batch.report.words import at_list_price, causes, count, duration, path, printable, usd

_PLAN_WORDS: Final = {
    "to do: new": "new",
    "to do: again": "failed before, worth another try",
    "to do: resend": "sent before without an answer, will be sent once more (maybe paid twice)",
    "to do: changed": "changed, to be bought again",
    "skip: done": "done",
    "skip: failed": "failed for good, not sent again",
    "skip: held": "outcome unknown, held back",
    "skip: changed": "changed since bought, old picture kept",
    "skip: open": "sent by a run that did not end; settled first, from what arrived",
    "skip: missing": "bought, but the file is missing (not bought again)",
}


def summary_lines(summary: Summary, command: str) -> Iterator[str]:
    """The last words of a run: how many, how much, where to look. `command` is what to type to go on."""
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
    if summary.possibly_paid_twice:
        twice = f"{count(summary.possibly_paid_twice, 'job')}, at most {usd(summary.possibly_paid_twice_usd)}"
        yield f"  twice      possibly paid twice: {twice}"
    if summary.missing:
        yield f"  missing    {count(summary.missing, 'picture')} bought earlier no longer in the folder"
    if summary.done:
        yield f"  pictures   {path(summary.output)}/images/"
    if summary.done or summary.failed:
        yield f"  captions   {path(summary.output)}/manifest.jsonl"
    if summary.message:
        yield f"  stopped    {printable(summary.message, 500)}"
    if summary.not_before:
        yield f"  not before {summary.not_before}"
    again = summary.pending + summary.worth_retrying
    if again:
        yield f"  next       {command}   (goes on with {count(again, 'job')})"


def last_line(summary: Summary) -> str:
    """One line for cron's mail and for scripts, for any end that is not a full success."""
    total = summary.done + summary.failed + summary.unknown + summary.pending
    left = total - summary.done
    earliest = f"; earliest {summary.not_before}" if summary.not_before else ""
    return f"imagebatch: {summary.exit} {summary.reason}: {left:,} of {total:,} left{earliest}; out={summary.output}"


def plan_lines(
    plan: Plan, output: str, seconds: float | None, changed_how: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """What would be sent, and why, and what it would cost.

    `changed_how` has, for some of the changed jobs, lines with what was asked before and what is asked now.
    """
    yield f"{count(plan.jobs, 'job')}, {plan.to_do:,} to send; results in {path(output)}"
    for name, words in _PLAN_WORDS.items():
        if plan.counts[name]:
            yield f"  {plan.counts[name]:>9,}  {words}"
    if plan.failed_causes:
        yield f"             ({causes(plan.failed_causes)})"
    if plan.removed:
        yield f"  {plan.removed:>9,}  in the output folder but no longer in the manifest (left alone)"
    if plan.changed:
        more = plan.counts["skip: changed"] - len(plan.changed)
        yield f"  changed: {', '.join(job.id for job in plan.changed)}{f' and {more:,} more' if more else ''}"
        for job_id, lines in changed_how.items():
            yield f"  {job_id}:"
            yield from (f"  {line}" for line in lines)
        rerun = f"--on-changed rerun to buy them again for {usd(plan.changed_usd)}"
        yield f"  a run refuses to start until you choose: --on-changed keep, or {rerun}"
    if not plan.to_do:
        yield "nothing to send"
        return
    yield f"would send {count(plan.to_do, 'request')} for {usd(plan.usd)} at list price, plus any repeats"
    if seconds is not None:
        yield f"takes at least {duration(seconds)} at the manifest's requests_per_minute"
    for example in plan.examples:
        yield f"  {example.because:<8} {example.job.id}: {printable(example.job.prompt, 100)}"
    if plan.to_do > len(plan.examples):
        yield f"  ... and {plan.to_do - len(plan.examples):,} more"


def status_lines(status: Status) -> Iterator[str]:
    """Where an output folder stands."""
    yield (
        f"{path(status.output)}: {count(status.done, 'job')} done, {status.failed:,} failed, {status.unknown:,} unknown"
        + (f", {status.pending:,} pending" if status.pending else "")
    )
    yield f"  money      {usd(status.cost_usd)} at list price for {count(status.requests, 'request')}"
    if status.maybe_cost_usd:
        yield f"             up to {usd(status.maybe_cost_usd)} more for requests without an answer"
    if status.failures_by_cause:
        yield f"  failed     {causes(status.failures_by_cause)}"
    if status.missing:
        yield f"  missing    {count(status.missing, 'picture')} bought earlier no longer in the folder"
    if status.running:
        yield f"  now        {status.running}"
    if status.open_attempts:
        words = "in flight" if status.running else "left open; the next run settles them"
        yield f"  requests   {status.open_attempts:,} {words}"
    if status.last_end:
        yield f"  last run   {status.last_end}"
    if status.torn_bytes:
        yield f"  ledger     its last {status.torn_bytes:,} bytes are torn; the next run sets them aside"
    if status.next_command:
        yield f"  next       {status.next_command}"


def _not_done(summary: Summary) -> Iterator[tuple[int, str]]:
    again = f" ({summary.worth_retrying:,} for now)" if summary.worth_retrying else ""
    for number, word in (
        (summary.failed, f"failed{again}"),
        (summary.unknown, "unknown"),
        (summary.pending, "pending"),
    ):
        if number:
            yield number, word
