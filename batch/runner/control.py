"""How a caller takes part in a run."""

from __future__ import annotations

import asyncio
import math
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from batch.core.errors import OptionError, Problem
from batch.core.settings import Budget, ChangedPolicy, Limits
from batch.dispatch.router import RouterStatistics
from batch.dispatch.scheduler import Scheduler
from batch.manifest import limits_problems
from batch.money.wallet import Wallet
from batch.plan import (
    Plan,
)
from batch.report.summary import Interrupted
from batch.runner.leftovers import Leftovers
from batch.runner.open_files import allow_open_files
from batch.runner.preparation import PreparedRun
from batch.store.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """What of a run that is on can be stopped, asked and changed. `budget`: the manifest's caps."""

    budget: Budget
    scheduler: Scheduler
    leftovers: Leftovers
    wallet: Wallet


class RunControl:
    """The handle by which a caller takes part in a run.

    `opening` is called when everything is checked, before anything is written or sent. `ask` puts a question that is
    answered with yes or no while the run waits; `choose_changed` is told of jobs that were edited after they were
    bought and returns what to do with them. Without a person there is neither. To stop a run: first `drain`, and
    if that takes too long, `abort`.

    `change` sets other limits or another cap while the run is on. With `waits_at_cap` a run whose own cap has no room
    for the next request waits for a higher one instead of ending.
    """

    def __init__(
        self,
        opening: Callable[[], None] | None = None,
        ask: Callable[[str], Awaitable[bool]] | None = None,
        choose_changed: Callable[[Plan, PreparedRun, History], ChangedPolicy] | None = None,
        *,
        waits_at_cap: bool = False,
    ) -> None:
        self.opening = opening or (lambda: None)
        self.ask = ask
        self.choose_changed = choose_changed
        self.waits_at_cap = waits_at_cap
        self._live: LiveRun | None = None
        #: Set when a stop is first asked for.
        self.stopping = asyncio.Event()
        self._aborted = False
        self._asked: Interrupted | None = None

    @property
    def aborted(self) -> bool:
        """Whether what is in flight is to be cut, too."""
        return self._aborted

    def attach(self, live: LiveRun) -> None:
        """Called by the run when it can be taken part in."""
        self._live = live
        self._pass_on()

    def detach(self) -> None:
        """Called by the run at its end."""
        self._live = None

    @property
    def limits(self) -> Mapping[str, Limits]:
        """The limits in force, by the endpoint's name in the manifest; empty while no run is on."""
        return {} if self._live is None else self._live.scheduler.limits

    def statistics(self) -> RouterStatistics | None:
        """What limits the run now; None while no run is on."""
        return None if self._live is None else self._live.scheduler.statistics()

    def change(self, *, limits: Mapping[str, Limits] | None = None, max_cost_usd: float | None = None) -> None:
        """Set other limits, by the endpoint's name, or another cap on what this run may spend. Holds at once.

        `max_cost_usd` takes the place of `RunOptions.max_cost` (`math.inf`: none); the manifest's own caps stay. To be
        called on the run's event loop. Requests in flight are never cut: more may be out than a lowered concurrency
        allows, or be paid for than a lowered cap allows, until they have ended; nothing goes out meanwhile. A cap below
        what is spent ends the run as a used-up budget does.

        Raises `OptionError` if something in it cannot be or no run is on, and `ConfigError` if the system allows too
        few open files. Then nothing has changed.
        """
        live = self._live
        if live is None:
            raise OptionError([Problem(message="there is no run on whose limits could be changed")])
        limits = limits or {}
        problems = [*_problems(live.scheduler.limits, limits), *_cap_problems(max_cost_usd)]
        if problems:
            raise OptionError(problems)
        allow_open_files(_concurrency({**live.scheduler.limits, **limits}))
        live.scheduler.reconfigure(limits)
        if max_cost_usd is not None:
            cap_usd = max_cost_usd if max_cost_usd < math.inf else None
            live.wallet.set_cap(live.budget.with_cap(cap_usd).per_run)

    def drain(self, signal_number: int = signal.SIGINT, name: str = "the caller") -> None:
        """Send nothing new, wait for what is in flight and record it."""
        self._asked = Interrupted(signal_number, name)
        self.stopping.set()
        self._pass_on()

    def abort(self) -> None:
        """Do not wait for what is in flight: it is recorded as unknown, maybe paid."""
        self._aborted = True
        if self._asked is None:
            self.drain()
        if self._live is not None:
            self._live.scheduler.abort()
            self._live.leftovers.abort()

    def _pass_on(self) -> None:
        """Works in either order: `drain` may be called before the scheduler exists."""
        if self._asked is not None and self._live is not None:
            self._live.scheduler.stop(self._asked, f"{self._asked} (once more cuts what is in flight)")


def _concurrency(limits: Mapping[str, Limits]) -> int:
    return sum(each.concurrency for each in limits.values())


def _problems(now: Mapping[str, Limits], then: Mapping[str, Limits]) -> list[Problem]:
    problems = [
        Problem(message=f"no endpoint is called {name!r}; there are {', '.join(now)}")
        for name in then
        if name not in now
    ]
    return problems + [problem for limits in then.values() for problem in limits_problems(limits)]


def _cap_problems(usd: float | None) -> list[Problem]:
    if usd is None or usd >= 0:
        return []
    return [Problem(message=f"max_cost_usd must be a number of US dollars, 0 or more; got {usd}")]
