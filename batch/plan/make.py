"""Every job of a manifest decided, counted and priced. Pure; nothing is read or written."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from batch.model import Job
from batch.plan.adoption import COPY, Matches, Source, match
from batch.plan.choice import GETTING, MAY_SEND, SENDING, Selection, leave_out, narrow
from batch.plan.decide import DECISIONS, Policies, ToDo, decide, name_of
from batch.store.history import History, JobHistory

_EXAMPLES: Final = 5
_NAMED_JOBS: Final = 20
_CODES: Final[Mapping[str, int]] = {name: code for code, name in enumerate(DECISIONS)}
_NEW: Final = _CODES["to do: new"]
_DONE: Final = _CODES["skip: done"]
_OPEN: Final = _CODES["skip: open"]


@dataclass(slots=True)
class Group:
    """Jobs with one decision. `price_usd`: one picture of each at list price; `spent_usd`: what they cost so far."""

    count: int = 0
    price_usd: float = 0.0
    spent_usd: float = 0.0

    def add(self, price_usd: float, spent_usd: float) -> None:
        self.count += 1
        self.price_usd += price_usd
        self.spent_usd += spent_usd


@dataclass(slots=True, kw_only=True)
class Plan:
    """Every job of a manifest with what is to become of it.

    `order` holds the jobs' 16-byte keys in a row, `decisions` a byte for each, an index into `DECISIONS`. `groups`
    has the jobs by decision, `causes` those that failed or are unknown by decision and cause. `twins` are jobs to
    send that ask for the same as another. `removed` are jobs the ledger knows and the manifest does not, `replaced`
    the part of them that was bought and not taken over by a renamed job. `named`: how many jobs have an id
    that the selection names, None if it names none.
    """

    order: bytearray = field(default_factory=bytearray)
    decisions: bytearray = field(default_factory=bytearray)
    groups: dict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    causes: dict[tuple[str, str], Group] = field(default_factory=lambda: defaultdict(Group))
    examples: list[ToDo] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    twins: Group = field(default_factory=Group)
    removed: Group = field(default_factory=Group)
    replaced: int = 0
    named: int | None = None
    matches: Matches = field(default_factory=Matches)

    @property
    def jobs(self) -> int:
        return len(self.decisions)

    @property
    def to_do(self) -> int:
        """How many are sent."""
        return self._count("to do")

    @property
    def to_adopt(self) -> int:
        """How many get a picture without a request."""
        return self._count("adopt")

    @property
    def usd(self) -> float:
        """List price of one picture for each job to send."""
        return sum(group.price_usd for name, group in self.groups.items() if name.startswith("to do"))

    @property
    def failed_causes(self) -> dict[str, int]:
        """Of the jobs that failed and are not sent again by themselves, how many by cause."""
        found = [(cause, group) for (name, cause), group in self.causes.items() if name != "skip: held"]
        counts: dict[str, int] = defaultdict(int)
        for cause, group in found:
            counts[cause] += group.count
        return dict(counts)

    def causes_of(self, name: str) -> dict[str, int]:
        """How many jobs with this decision by cause."""
        return {cause: group.count for (decision, cause), group in self.causes.items() if decision == name}

    def count(self, name: str) -> int:
        """How many jobs have this decision."""
        return self.groups[name].count if name in self.groups else 0

    def adoptions(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, int, Source]]:
        """Of `jobs` (all of the manifest, in order) those that get a picture without a request, each with its decision
        and with where the picture is."""
        number = 0
        for job, code in zip(jobs, self.decisions, strict=False):
            if MAY_SEND <= code < GETTING:
                yield job, code, self.matches.source(number)
                number += 1

    def copies(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, bytes]]:
        """The jobs that wait for another's picture, each with the key of that other job."""
        number = 0
        for job, code in zip(jobs, self.decisions, strict=False):
            if code == COPY:
                start = 16 * self.matches.originals[number]
                yield job, bytes(self.order[start : start + 16])
                number += 1

    def _count(self, kind: str) -> int:
        return sum(group.count for name, group in self.groups.items() if name.startswith(kind))


@dataclass(slots=True)
class _Collected:
    """What the pass over the jobs leaves for the steps after it; per job that would be sent eighteen bytes."""

    seen: bytearray
    specs: bytearray = field(default_factory=bytearray)
    prices: array[int] = field(default_factory=lambda: array("H"))
    price_of: list[float] = field(default_factory=list)
    spent: dict[int, float] = field(default_factory=dict)
    chosen: bytearray = field(default_factory=bytearray)
    first: dict[int, ToDo] = field(default_factory=dict)
    unsettled: list[tuple[bytes, int]] = field(default_factory=list)
    _index_of: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, job: Job, spec: bytes, price_usd: Callable[[Job], float]) -> None:
        """Note a job that would be sent."""
        self.specs += spec
        kind = job.model, job.image_size  # these two decide the price, so a manifest has a handful of prices
        index = self._index_of.get(kind)
        if index is None:
            index = self._index_of[kind] = len(self.price_of)
            self.price_of.append(price_usd(job))
        self.prices.append(index)

    def meet(self, index: int, decision: ToDo) -> None:
        """Keep the first few as examples."""
        if len(self.first) < _EXAMPLES:
            self.first[index] = decision


def make_plan(
    jobs: Iterable[Job],
    history: History,
    policies: Policies,
    price_usd: Callable[[Job], float],
    *,
    selection: Selection | None = None,
    rows_chosen: Sequence[int] | None = None,
    reuse: Sequence[History] = (),
) -> Plan:
    """Go through all jobs once. Errors of the stream (a bad row) pass through, after the last job was seen.

    `price_usd` is asked once for every model and size. `rows_chosen` is filled by the same stream: a byte for each
    job, whether the selection's `where` holds for it. `reuse` are histories of other output folders whose pictures may
    be taken.
    """
    selection = selection or Selection()
    plan = Plan()
    collected = _collect(plan, jobs, history, policies, price_usd, selection)
    was = bytes(plan.decisions)
    if selection.only:
        plan.named = sum(collected.chosen)
        leave_out(plan.decisions, collected.chosen)
    if rows_chosen is not None:
        leave_out(plan.decisions, rows_chosen)
    plan.matches = match(
        plan.decisions, was, collected.specs, history, collected.seen, reuse,
        dedupe=policies.dedupe, unsettled=collected.unsettled,
    )  # fmt: skip
    narrow(plan.decisions, selection)
    _count_what_is_sent(plan, was, collected)
    _count_removed(plan, history, collected.seen)
    first = [collected.first.get(index) for index in islice(_sent(plan), _EXAMPLES)]
    plan.examples = [] if None in first else [decision for decision in first if decision is not None]
    return plan


def find_examples(plan: Plan, jobs: Iterable[Job], history: History, policies: Policies) -> None:
    """Name the first jobs that are sent, where the first pass has not met them (they were chosen after it)."""
    if plan.examples or not plan.to_do:
        return
    sent = (job for job, code in zip(jobs, plan.decisions, strict=False) if code < SENDING)
    found = (decide(job, history.of(job.key()), policies) for job in islice(sent, _EXAMPLES))
    plan.examples = [decision for decision in found if isinstance(decision, ToDo)]


def _collect(
    plan: Plan,
    jobs: Iterable[Job],
    history: History,
    policies: Policies,
    price_usd: Callable[[Job], float],
    selection: Selection,
) -> _Collected:
    """Decide every job by its own past."""
    collected = _Collected(bytearray(len(history)))
    pattern = selection.id_pattern()
    order, decisions, seen, chosen = plan.order, plan.decisions, collected.seen, collected.chosen
    done_usd = 0.0
    is_first_run = len(history) == 0
    for job in jobs:
        key, spec = job.key(), job.spec()
        row = None if is_first_run else history.row_of(key)
        order += key
        if pattern is not None:
            chosen.append(pattern.match(job.id) is not None)
        if row is None:
            if len(decisions) < _EXAMPLES:
                collected.meet(len(decisions), ToDo(job=job, because="new"))
            decisions.append(_NEW)
            collected.add(job, spec, price_usd)
            continue
        seen[row] = 1
        if history.is_done(row, spec):
            decisions.append(_DONE)
            done_usd += history.usd_at(row)
        else:
            _decide_by_past(plan, collected, job, spec, history.at(row), policies, price_usd)
    done = plan.groups["skip: done"]
    done.count = decisions.count(_DONE)
    done.spent_usd += done_usd
    return collected


def _decide_by_past(
    plan: Plan,
    collected: _Collected,
    job: Job,
    spec: bytes,
    past: JobHistory,
    policies: Policies,
    price_usd: Callable[[Job], float],
) -> None:
    decision = decide(job, past, policies, spec.hex())
    name = name_of(decision)
    price = price_usd(job)
    plan.decisions.append(_CODES[name])
    if isinstance(decision, ToDo):
        collected.add(job, spec, price_usd)
        if past.usd:
            collected.spent[plan.jobs - 1] = past.usd
        collected.meet(plan.jobs - 1, decision)
        return
    plan.groups[name].add(price, past.usd)
    if decision.because in ("open", "failed", "held", "set aside"):
        collected.unsettled.append((spec, plan.jobs - 1))
    if decision.because in ("failed", "held", "set aside"):
        plan.causes[name, past.code].add(price, past.usd)
    if decision.because == "changed" and len(plan.changed) < _NAMED_JOBS:
        plan.changed.append(job)


def _count_what_is_sent(plan: Plan, was: bytes, collected: _Collected) -> None:
    """Sums of the jobs whose decision depends on other jobs or on the selection."""
    twins = set(plan.matches.twins)
    number = 0
    for index, (before, code) in enumerate(zip(was, plan.decisions, strict=True)):
        if before >= SENDING:
            continue
        price = collected.price_of[collected.prices[number]]
        plan.groups[DECISIONS[code]].add(price, collected.spent.get(index, 0.0))
        if index in twins and code < SENDING:
            plan.twins.add(price, 0.0)
        number += 1
    still_open = plan.decisions.count(_OPEN)
    plan.groups["skip: left out"].count += plan.groups["skip: open"].count - still_open
    plan.groups["skip: open"].count = still_open


def _count_removed(plan: Plan, history: History, seen: bytearray) -> None:
    row = seen.find(0)
    while row >= 0:
        past = history.at(row)
        plan.removed.add(0.0, past.usd)
        plan.replaced += past.versions > 0
        row = seen.find(0, row + 1)
    plan.replaced -= plan.count("adopt: renamed")


def _sent(plan: Plan) -> Iterator[int]:
    return (index for index, code in enumerate(plan.decisions) if code < SENDING)
