"""From a manifest's path to a plan, for a run and for `imagebatch plan`: nothing is written or sent here.

`prepare` settles what does not depend on the past (endpoint, prices, this run's options); `plan`
then looks at every job and its history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final

from batch.core.clock import SystemClock
from batch.core.errors import InputError, OptionError, OutputError, Problem
from batch.core.events import Listener
from batch.core.model import Job
from batch.core.model_ends import end_warnings
from batch.core.results import Review
from batch.core.settings import ChangedPolicy
from batch.manifest import Manifest, RowsDigest, given_manifest, load_manifest, say_where
from batch.manifest.templating.facts import FactExpression
from batch.money.wallet import Cap, micro
from batch.plan import (
    DECISIONS,
    Adopt,
    AgainWish,
    Decision,
    Forecast,
    Plan,
    Policies,
    RejectedPolicy,
    Remakes,
    RetryFilter,
    RetryFilterProblem,
    Skip,
    ToDo,
    as_it_was,
    decide,
    forecast,
    make_plan,
)
from batch.runner.accounts import Account, accounts_of
from batch.runner.options import RunOptions
from batch.runner.run_money import RunMoney
from batch.store.history import History
from batch.store.job_state import JobHistory
from batch.store.lost_files import NONE_LOST, LostFiles, lost_files
from batch.store.records import EndRecord, RunRecord
from batch.store.rehearsal import rehearsal_folder
from batch.store.rejected_pictures import RejectedPictures
from batch.store.source_folder import SourceFolder
from batch.store.starts import BoughtStarts

#: Looking for a similar id among a million takes longer than a person waits.
_NAMES_COMPARED: Final = 20_000
_NAMED: Final = 5
#: `s3://bucket/x`, of which a path keeps one slash; and with the schemes of stores, `gs:bucket` too.
_ADDRESS: Final = re.compile(
    r"(?:.*/)?(?:[a-z][a-z0-9+.-]+:/"
    r"|(?:s3[an]?|gs|gcs|az|azure|abfss?|wasbs?|adl|b2|r2|oss|cos|swift|hdfs|webdavs?|smb|nfs|s?ftps?|ssh|https?|file):)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A manifest whose own text is right, with everything a plan needs but the past."""

    manifest: Manifest
    output: Path
    accounts: tuple[Account, ...]
    policies: Policies
    options: RunOptions
    reuse: tuple[SourceFolder, ...]
    rejected: RejectedPictures

    def review(self, history: History) -> Review | None:
        """What was said of the pictures; None if that is nothing. Raises `OutputError` if it cannot be read."""
        return self.rejected.review(history)

    def with_changed(self, policy: ChangedPolicy) -> PreparedRun:
        """The same, with another policy for edited jobs."""
        return replace(self, policies=replace(self.policies, changed=policy))

    def going_on(self, wish: AgainWish | None) -> PreparedRun:
        """The same, going on with an `--again` that a run before did not bring to its end."""
        if wish is None or wish.digest != self.policies.again.digest:
            return self
        return replace(self, policies=replace(self.policies, again=self.policies.again.going_on(wish.since)))

    def plan(self, history: Callable[[], History]) -> Plan:
        """Check every job and decide on it. Raises `InputError` with everything that is wrong.

        `history` is called for when all jobs are checked: the ledger may be read meanwhile.
        """
        with say_where(self.options.overrides):
            return self._plan(history)

    def _plan(self, history: Callable[[], History]) -> Plan:
        if self.manifest.has_chains:
            self.manifest.use_bought(BoughtStarts(self.output, history).known)
        selection = self.options.selection
        rows_chosen = None if selection.where is None else bytearray()
        digest = RowsDigest()
        pairs = self.manifest.check_with_rows(selection.where, rows_chosen)
        keeps_rows = self.manifest.keeps_rows
        plan = make_plan(
            self.manifest.digesting(pairs, digest) if keeps_rows else (job for _, job in pairs),
            history,
            self.policies,
            self.money.picture_usd,
            selection=selection,
            rows_chosen=rows_chosen,
            reuse=[folder.history for folder in self.reuse],
        )
        self._refuse_unknown_causes(history())
        plan.rows_digest = digest.text if keeps_rows else ""
        if plan.named == 0:
            wanted = ", ".join(selection.only)
            raise InputError([self._no_job("--only", wanted, wanted)])
        unmet = self.policies.again.unmet
        if unmet:
            more = f" and {len(unmet) - _NAMED:,} more" if len(unmet) > _NAMED else ""
            raise OptionError([self._no_job("--again", ", ".join(unmet[:_NAMED]) + more, unmet[0])])
        self._refuse_caps_without_a_price(plan)
        return plan

    def _refuse_caps_without_a_price(self, plan: Plan) -> None:
        """No cap can be kept over pictures whose price is guessed."""
        money = self.money
        unpriced = money.unpriced(plan.asks) if money.has_caps else []
        if unpriced:
            model, size = unpriced[0]
            message = (
                f"there is a budget, and the price of {model} at {size} is not known, so it could not be kept; write "
                f"it in models, such as models: {{{model}: {{picture_usd: {{{size}: 0.07}}}}}}, or in prices"
            )
            raise InputError([Problem(message=message, file=str(self.manifest.path))])

    def model_warnings(self, plan: Plan, today: date) -> tuple[str, ...]:
        """What to know of the models that are asked: those of which nothing is known, and those that end."""
        if not plan.asks:
            return ()
        models = tuple(dict.fromkeys((*(model for model, _ in plan.asks), *self.manifest.settings.fallback.models)))
        profiles = [account.endpoint.profile for account in self.accounts]
        ends = end_warnings(models, profiles, self.manifest.settings.models, today)
        return (*self.manifest.model_warnings(models), *ends)

    def _refuse_unknown_causes(self, history: History) -> None:
        """A misspelt cause would send nothing, without a word."""
        wanted = self.policies.retry
        if isinstance(wanted, RetryFilter):
            wrong = wanted.unknown_word({facts.code for facts in history.tally_of_all()})
            if wrong is not None:
                raise InputError([Problem(message=f"--retry: {wrong}")])

    def _no_job(self, option: str, named: str, wanted: str) -> Problem:
        message = f"{option}: no job is called {named}{_hint(wanted, self.manifest.jobs())}"
        return Problem(message=message, file=str(self.manifest.path))

    @property
    def money(self) -> RunMoney:
        """Its prices and its caps: the manifest's, with the caller's for this run."""
        settings = self.manifest.settings
        budget = settings.budget.with_cap(self.options.max_cost)
        return RunMoney(accounts=self.accounts, settings=settings, budget=budget, output=self.output)

    @property
    def is_rehearsal(self) -> bool:
        """Whether nothing is paid: every endpoint is the simulator."""
        return all(account.endpoint.simulated for account in self.accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Affordable:
    """About so many jobs fit into the cap that ends the run first."""

    jobs: int
    cap: Cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a run would do, with everything needed to explain it. Nothing was sent or written. `warnings`: what to know
    of the models that are asked."""

    prepared: PreparedRun
    history: History
    plan: Plan
    warnings: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        return self.prepared.manifest

    @property
    def output(self) -> Path:
        return self.prepared.output

    def affordable(self, environment: Mapping[str, str]) -> Affordable | None:
        """How many of the jobs to send the budget has room for, if that is not all of them.

        Without the key it is not known what other runs with it have spent; then only the cap per run counts.
        """
        if not self.plan.to_do:
            return None
        named = {account.name: account.endpoint.key_env for account in self.prepared.accounts}
        keys = {name: environment.get(key_env, "").strip("\r\n") for name, key_env in named.items() if key_env}
        caps = self.prepared.money.wallet(keys, SystemClock(), "", Listener()).caps()
        tightest = min(caps, key=lambda cap: cap.free, default=None)
        if tightest is None or tightest.free >= micro(self.plan.usd):
            return None
        jobs = max(0, tightest.free) * self.plan.to_do // micro(self.plan.usd)
        return Affordable(jobs=jobs, cap=tightest)

    @property
    def lost_files(self) -> LostFiles:
        """The first files of the manifest's jobs that are gone or altered."""
        if not (self.plan.count("skip: missing") or self.plan.count("skip: altered")):
            return NONE_LOST
        return lost_files(self.output, self.history, self.plan.order)

    @property
    def forecast(self) -> Forecast:
        """What it will cost and how long it will take."""
        return forecast(self.plan, self.manifest.settings, simulated=self.prepared.is_rehearsal)

    def decision_on(self, job_id: str) -> tuple[Decision, JobHistory]:
        """What is decided about one job, and its past. Raises `InputError` if the manifest has no such job."""
        for job, code in self.plan.pairs(self.manifest.jobs()):
            if job.id == job_id:
                past = self.history.of(job.key())
                kind, _, because = DECISIONS[code].partition(": ")
                if DECISIONS[code] == "to do: chained":
                    return ToDo(job=job, because="chained"), past
                if kind == "to do":
                    return decide(job, past, self.prepared.policies), past
                return (Adopt if kind == "adopt" else Skip)(job=job, because=because), past
        message = f"no job {job_id!r}{_hint(job_id, self.manifest.jobs())}"
        raise InputError([Problem(message=message, file=str(self.manifest.path))])


def begun_again(note: RunRecord | EndRecord | None) -> AgainWish | None:
    """The `--again` that the newest record about a run left unfinished."""
    wish = note.remake if note is not None else None
    return None if wish is None else AgainWish(said=wish.said, digest=wish.digest, since=wish.since)


def prepare(given: str | Path | Mapping[str, Any], output: str | Path | None, options: RunOptions) -> PreparedRun:
    """Read the manifest, a file or a program's own values, and settle what does not depend on the past.

    Raises `InputError`, `ConfigError` or `OutputError`.
    """
    with say_where(options.overrides):
        manifest = (
            given_manifest(given, allow_empty=options.allow_empty, overrides=options.overrides)
            if isinstance(given, Mapping)
            else load_manifest(Path(given), allow_empty=options.allow_empty, overrides=options.overrides)
        )
    settings = manifest.settings
    accounts = accounts_of(settings, manifest.path)
    simulated = all(account.endpoint.simulated for account in accounts)
    chosen = output_path(manifest, output)
    results = rehearsal_folder(chosen) if simulated else chosen
    rejected = RejectedPictures(results)
    money = RunMoney(accounts=accounts, settings=settings, budget=settings.budget, output=results)
    return PreparedRun(
        manifest=manifest,
        output=results,
        accounts=accounts,
        policies=Policies(
            unknown=settings.retry.unknown,
            changed=ChangedPolicy(options.on_changed),
            retry=_wish(options.retry),
            resend_unknown=options.resend_unknown,
            set_aside_after=settings.retry.set_aside_after,
            dedupe=settings.dedupe,
            again=_again(options.again),
            rejected=_rejected(manifest, rejected, money.picture_usd, remake=options.rejected),
        ),
        options=options,
        rejected=rejected,
        reuse=tuple(SourceFolder(folder, bought_only=not simulated) for folder in options.reuse),
    )


def output_path(manifest: Manifest, output: str | Path | None) -> Path:
    """Where a manifest's results go: as told, as the manifest says, else `output/<name>`."""
    chosen = Path(output) if output is not None else manifest.output or Path("output") / manifest.settings.name
    if _ADDRESS.match(str(output) if output is not None else str(manifest.output or "")):
        raise OutputError(
            f"{chosen} looks like an address; results go to a folder of this machine. Copy them after the run, as with "
            "rclone copy FOLDER/images REMOTE:"
        )
    try:
        return chosen.absolute()
    except OSError as error:
        message = "the current folder is gone; change to one that exists, or name the output with an absolute path (-o)"
        raise OutputError(message) from error


def _wish(text: str) -> RetryFilter | None:
    try:
        return RetryFilter(text, FactExpression) if text else None
    except RetryFilterProblem as problem:
        raise InputError([Problem(message=f"--retry: {problem}")]) from problem


def _rejected(
    manifest: Manifest, pictures: RejectedPictures, price_usd: Callable[[Job], float], *, remake: bool
) -> RejectedPolicy:
    return RejectedPolicy(
        pictures=pictures,
        amend=as_it_was if manifest.on_reject is None else manifest.on_reject.prompt,
        remake=remake,
        until=manifest.settings.until,
        price_usd=price_usd,
    )


def _again(words: Sequence[str]) -> Remakes:
    files = [word[1:] for word in words if word.startswith("@")]
    ids = [line.strip() for file in files for line in _lines_of(file)]
    return Remakes((word for word in words if not word.startswith("@")), filter(None, ids))


def _lines_of(file: str) -> list[str]:
    """A file of ids, one a line."""
    try:
        return Path(file).read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise OptionError([Problem(message=f"--again: cannot read {file or 'a file without a name'}: {why}")]) from None


def _hint(wanted: str, jobs: Iterator[Job]) -> str:
    """`; did you mean x?` if one of the first jobs is called almost so."""
    names = [job.id for job in islice(jobs, _NAMES_COMPARED)]
    close = get_close_matches(wanted, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""
