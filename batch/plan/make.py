"""Every job of a manifest decided, counted and priced. Pure; nothing is read or written."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from struct import iter_unpack
from typing import Final

from batch.core.decisions import Rejection
from batch.core.errors import InputError, Problem
from batch.core.model import Job, job_key
from batch.plan.adoption import COPY, Matches, Source, match
from batch.plan.chains import Link, Links
from batch.plan.decide import DECISIONS, Policies, ToDo, decide, judge
from batch.plan.remakes import Remakes
from batch.plan.selection import GETTING, MAY_SEND, SENDING, Selection, leave_out, narrow
from batch.store.history import History
from batch.store.job_state import JobHistory, State

_EXAMPLES: Final = 5
#: Of more jobs the pictures lie in numbered folders, so many of them in each. File managers show that many at once.
_MOST_IN_ONE_FOLDER: Final = 10_000
_JOBS_IN_A_FOLDER: Final = 1000
_NAMED_JOBS: Final = 20
_CODES: Final[Mapping[str, int]] = {name: code for code, name in enumerate(DECISIONS)}
_NEW: Final = _CODES["to do: new"]
_DONE: Final = _CODES["skip: done"]
_OPEN: Final = _CODES["skip: open"]
_CHANGED: Final = _CODES["skip: changed"]
_REMADE: Final = ("to do: remake", "to do: missing", "to do: rejected")
_WITH_CAUSES: Final = ("skip: failed", "skip: held", "skip: set aside")


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

    def take(self, price_usd: float, spent_usd: float) -> None:
        """Take one back that was added."""
        self.count -= 1
        self.price_usd -= price_usd
        self.spent_usd -= spent_usd


@dataclass(slots=True, kw_only=True)
class Plan:
    """Every job of a manifest, each with its decision.

    `order` holds the jobs' 16-byte keys in a row, `specs` their 16-byte spec hashes, `decisions` a byte for each, an
    index into `DECISIONS`. `groups`
    has the jobs by decision, `causes` those that failed or are unknown by decision and cause. `twins` are jobs to
    send that ask for the same as another. `removed` are jobs the ledger knows and the manifest does not, `replaced`
    the part of them that was bought and not taken over by a renamed job. `named`: how many jobs have an id
    that the selection names, None if it names none. `rehearsed`: how many of the jobs to send have a picture of the
    simulator, which does not count. `reopened`: of the jobs that a run left open, those that are sent once more if no
    answer had arrived. `rejected`: jobs whose picture was rejected, whatever is done about it. `rows_digest` names
    what manifest.jsonl is to show of the jobs' rows, empty if nothing. `in_folders`: the output gets more pictures than
    a folder should hold, so new ones lie in numbered folders, unless the manifest names them. `asks` are the models and
    sizes of the jobs to send, in the order in which they come first.
    """

    order: bytearray = field(default_factory=bytearray)
    specs: bytearray = field(default_factory=bytearray)
    decisions: bytearray = field(default_factory=bytearray)
    groups: dict[str, Group] = field(default_factory=lambda: defaultdict(Group))
    causes: dict[tuple[str, str], Group] = field(default_factory=lambda: defaultdict(Group))
    examples: list[ToDo] = field(default_factory=list)
    changed: list[Job] = field(default_factory=list)
    twins: Group = field(default_factory=Group)
    removed: Group = field(default_factory=Group)
    replaced: int = 0
    named: int | None = None
    rehearsed: int = 0
    reopened: Group = field(default_factory=Group)
    rejected: Group = field(default_factory=Group)
    matches: Matches = field(default_factory=Matches)
    rows_digest: str = ""
    in_folders: bool = False
    asks: tuple[tuple[str, str], ...] = ()

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
    def remade(self) -> Group:
        """The jobs that are made again because a person said so."""
        groups = [self.groups[name] for name in _REMADE if name in self.groups]
        return Group(sum(each.count for each in groups), sum(each.price_usd for each in groups))

    def causes_of(self, name: str) -> dict[str, int]:
        """How many jobs with this decision by cause."""
        return {cause: group.count for (decision, cause), group in self.causes.items() if decision == name}

    def count(self, name: str) -> int:
        """How many jobs have this decision."""
        return self.groups[name].count if name in self.groups else 0

    def pairs(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, int]]:
        """`jobs` (all of the manifest again, in order), each with its decision.

        Raises `InputError` where a job that gets a picture is not the one that was planned, in its id or in anything
        that decides what is bought, and where jobs are missing: the table was edited meanwhile.
        """
        again = iter(jobs)
        last: Job | None = None
        for index, code in enumerate(self.decisions):
            job = next(again, None)
            if job is None:
                raise InputError([_rows_are_missing(last)])
            if (code < GETTING or code == COPY) and not self._is_planned(job, index):
                raise InputError([_edited_meanwhile(job)])
            yield self._placed(job, index) if self.in_folders and code < GETTING else job, code
            last = job

    def _placed(self, job: Job, index: int) -> Job:
        """The job with a folder for its picture: so many jobs share one, in the manifest's order."""
        return job if job.name else replace(job, name=f"{index // _JOBS_IN_A_FOLDER + 1:03d}/{job.id}")

    def _is_planned(self, job: Job, index: int) -> bool:
        place = slice(16 * index, 16 * index + 16)
        return self.order[place] == job.key() and self.specs[place] == job.spec()

    def adoptions(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, int, Source]]:
        """Of `jobs` (all of the manifest, in order) those that get a picture without a request, each with its decision
        and with where the picture is."""
        number = 0
        for job, code in self.pairs(jobs):
            if MAY_SEND <= code < GETTING:
                yield job, code, self.matches.source(number)
                number += 1

    def copies(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, bytes]]:
        """The jobs that wait for another's picture, each with the key of that other job."""
        number = 0
        for job, code in self.pairs(jobs):
            if code == COPY:
                start = 16 * self.matches.originals[number]
                yield job, bytes(self.order[start : start + 16])
                number += 1

    def _count(self, kind: str) -> int:
        return sum(group.count for name, group in self.groups.items() if name.startswith(kind))


@dataclass(slots=True)
class _Asked:
    """What a manifest asks for, in columns, 34 bytes a job: key, spec and the number of its price. By that number,
    `price_of` and `kinds` have the price and the model and size that it is of.

    `named` has a byte for each job if ids were selected: whether its id is one of them. `again` the same
    for jobs to be made again.
    """

    keys: bytearray = field(default_factory=bytearray)
    specs: bytearray = field(default_factory=bytearray)
    prices: array[int] = field(default_factory=lambda: array("H"))
    price_of: list[float] = field(default_factory=list)
    kinds: list[tuple[str, str]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    named: bytearray = field(default_factory=bytearray)
    again: bytearray = field(default_factory=bytearray)

    def usd(self, index: int) -> float:
        """The list price of a job's picture."""
        return self.price_of[self.prices[index]]


def make_plan(
    jobs: Iterable[Job],
    history: History | Callable[[], History],
    policies: Policies,
    price_usd: Callable[[Job], float],
    *,
    selection: Selection | None = None,
    rows_chosen: Sequence[int] | None = None,
    reuse: Sequence[History] = (),
) -> Plan:
    """Go through all jobs once. Errors of the stream (a bad row) pass through, after the last job was seen.

    `history` may still be on its way: it is called for after the last job. `price_usd` is asked once for every model,
    size, kind of search, quality and ratio. `rows_chosen` is filled by the same stream: a byte for each job, whether
    the selection's `where` holds for it. `reuse` are histories of other output folders whose pictures may be taken.
    """
    selection = selection or Selection()
    asked = _ask(jobs, price_usd, selection, policies.again)
    history = history() if callable(history) else history
    plan = Plan(order=asked.keys, specs=asked.specs)
    seen = _decide(plan, asked, history, policies)
    links = Links(asked.links, asked.keys)
    for index in links.chain(plan.decisions):
        past = history.of(bytes(asked.keys[16 * index : 16 * index + 16]))
        plan.groups["skip: changed"].take(asked.usd(index), past.usd)
    was = bytes(plan.decisions)
    if selection.only:
        plan.named = sum(asked.named)
        leave_out(plan.decisions, asked.named)
    if rows_chosen is not None:
        leave_out(plan.decisions, rows_chosen)
    plan.matches = match(plan.decisions, asked.specs, history, seen, reuse, dedupe=policies.dedupe)
    narrow(plan.decisions, selection)
    links.release(plan.decisions)
    _count_what_is_sent(plan, was, asked, history)
    _count_reopened(plan, asked, history, policies)
    _count_removed(plan, history, seen)
    plan.rehearsed = _count_rehearsed(plan, history)
    plan.in_folders = plan.jobs + plan.removed.count > _MOST_IN_ONE_FOLDER
    return plan


def name_examples(plan: Plan, jobs: Iterable[Job], history: History, policies: Policies) -> None:
    """Name the first jobs that are sent and the first that were edited; `jobs` are all of the manifest again."""
    missing_sent = min(_EXAMPLES, plan.to_do)
    missing_changed = min(_NAMED_JOBS, plan.count("skip: changed"))
    pairs = plan.pairs(jobs)
    while missing_sent or missing_changed:
        job, code = next(pairs)
        if code < SENDING and missing_sent:
            decision = decide(job, history.of(job.key()), policies)
            plan.examples += [decision] if isinstance(decision, ToDo) else []
            missing_sent -= 1
        elif code == _CHANGED and missing_changed:
            plan.changed.append(job)
            missing_changed -= 1


def _edited_meanwhile(job: Job) -> Problem:
    """`job` is what stands in the place of the one that was planned."""
    message = (
        "this row is not the one that was checked: the table was edited while the run was on. Nothing that was not "
        "planned is sent; leave the table alone and run again"
    )
    place = job.place
    file, line = (None, None) if place is None else (place.file, place.line)
    return Problem(message=message, file=file, line=line, job=job.id)


def _rows_are_missing(last: Job | None) -> Problem:
    """`last` is the last row that is still there."""
    message = "the table has fewer rows than were checked: it was edited while the run was on; run again"
    return Problem(message=message, file=None if last is None or last.place is None else last.place.file)


def _ask(jobs: Iterable[Job], price_usd: Callable[[Job], float], selection: Selection, again: Remakes) -> _Asked:
    """The jobs as columns. The loop that millions of rows go through."""
    asked = _Asked()
    pattern = selection.id_pattern()
    keys, specs, prices, named = asked.keys, asked.specs, asked.prices, asked.named
    is_again = again.names if again.names_jobs else None
    price_numbers: dict[tuple[object, ...], int] = {}
    for job in jobs:
        keys += job.key()
        specs += job.spec()
        get = job.parameters.get
        kind = job.model, job.image_size, get("search"), get("quality"), get("aspect_ratio")
        number = price_numbers.get(kind)
        if number is None:
            number = price_numbers[kind] = len(asked.price_of)
            asked.price_of.append(price_usd(job))
            asked.kinds.append((job.model, job.image_size))
        prices.append(number)
        if job.continue_from:
            asked.links.append(Link(len(prices) - 1, job_key(job.continue_from), job.has_its_start))
        if pattern is not None:
            named.append(pattern.match(job.id) is not None)
        if is_again is not None:
            asked.again.append(is_again(job.id))
    return asked


def _decide(plan: Plan, asked: _Asked, history: History, policies: Policies) -> bytearray:
    """Decide every job by its own past; returns a byte for every row of the history, 1 if its job is asked for."""
    seen = bytearray(len(history))
    if not seen:
        plan.decisions = bytearray([_NEW]) * len(asked.prices)
        return seen
    decisions = plan.decisions
    done_usd = 0.0
    again = asked.again or bytes(len(asked.prices))
    rejected = policies.rejected.pictures
    may_be_rejected = bool(rejected)
    columns = iter_unpack("16s", asked.keys), iter_unpack("16s", asked.specs), again
    for (key,), (spec,), is_again in zip(*columns, strict=True):
        row = history.row_of(key)
        if row is None:
            decisions.append(_NEW)
            continue
        seen[row] = 1
        is_again = is_again and not policies.again.is_made(history.at(row).bought_offset)
        rejection = policies.rejected.of(key, history.at(row)) if may_be_rejected and key in rejected else None
        if not is_again and rejection is None and history.is_done(row, spec):
            decisions.append(_DONE)
            done_usd += history.usd_at(row)
        else:
            past = history.at(row)
            _decide_by_past(plan, asked, spec.hex(), past, policies, named=bool(is_again), rejection=rejection)
    done = plan.groups["skip: done"]
    done.count = decisions.count(_DONE)
    done.spent_usd += done_usd
    return seen


def _decide_by_past(
    plan: Plan,
    asked: _Asked,
    spec: str,
    past: JobHistory,
    policies: Policies,
    *,
    named: bool,
    rejection: Rejection | None,
) -> None:
    usd = asked.usd(plan.jobs)
    key = bytes(asked.keys[16 * plan.jobs : 16 * plan.jobs + 16])
    answer = policies.rejected.answer(key, past, rejection, usd)
    name = judge(spec, past, policies, named=named, answer=answer)
    plan.decisions.append(_CODES[name])
    if rejection is not None:
        plan.rejected.add(usd, past.usd)
    if _CODES[name] >= SENDING:
        plan.groups[name].add(usd, past.usd)
    if name in _WITH_CAUSES:
        plan.causes[name, past.code].add(usd, past.usd)


def _count_what_is_sent(plan: Plan, was: bytes, asked: _Asked, history: History) -> None:
    """Sums of the jobs whose decision depends on other jobs or on the selection."""
    twins = set(plan.matches.twins)
    sent: set[int] = set()
    for index, (before, code) in enumerate(zip(was, plan.decisions, strict=True)):
        if before >= SENDING:
            continue
        usd = asked.usd(index)
        past = 0.0 if before == _NEW else history.of(bytes(asked.keys[16 * index : 16 * index + 16])).usd
        plan.groups[DECISIONS[code]].add(usd, past)
        if code < SENDING:
            sent.add(asked.prices[index])
            if index in twins:
                plan.twins.add(usd, 0.0)
    plan.asks = tuple(dict.fromkeys(asked.kinds[number] for number in sorted(sent)))
    still_open = plan.decisions.count(_OPEN)
    plan.groups["skip: left out"].count += plan.groups["skip: open"].count - still_open
    plan.groups["skip: open"].count = still_open


def _count_reopened(plan: Plan, asked: _Asked, history: History, policies: Policies) -> None:
    """Decides the jobs left open, as if their answers had not arrived."""
    index = plan.decisions.find(_OPEN)
    while index >= 0:
        past = history.of(bytes(asked.keys[16 * index : 16 * index + 16]))
        spec = bytes(asked.specs[16 * index : 16 * index + 16]).hex()
        lost = replace(past, state=State.UNKNOWN, code="interrupted")
        named = bool(asked.again and asked.again[index]) and not policies.again.is_made(past.bought_offset)
        if judge(spec, lost, policies, named=named).startswith("to do"):
            plan.reopened.add(asked.usd(index), past.usd)
        index = plan.decisions.find(_OPEN, index + 1)


def _count_rehearsed(plan: Plan, history: History) -> int:
    if not history.rehearsed:
        return 0
    keys = (key for (key,) in iter_unpack("16s", plan.order))
    return sum(code < SENDING and key in history.rehearsed for key, code in zip(keys, plan.decisions, strict=True))


def _count_removed(plan: Plan, history: History, seen: bytearray) -> None:
    row = seen.find(0)
    while row >= 0:
        past = history.at(row)
        plan.removed.add(0.0, past.usd)
        plan.replaced += past.versions > 0
        row = seen.find(0, row + 1)
    plan.replaced -= plan.count("adopt: renamed")
