"""How a caller takes part in a run."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from batch.core.settings import ChangedPolicy
from batch.dispatch.scheduler import Scheduler
from batch.plan import (
    Plan,
)
from batch.report.summary import Interrupted
from batch.runner.leftovers import Leftovers
from batch.runner.preparation import PreparedRun
from batch.store.history import History


class RunControl:
    """The handle by which a caller takes part in a run.

    `opening` is called when everything is checked, before anything is written or sent. `ask` puts a question that is
    answered with yes or no while the run waits; `choose_changed` is told of jobs that were edited after they were
    bought and returns what is to become of them. Without a person there is neither. To stop a run: first `drain`, and
    if that takes too long, `abort`.
    """

    def __init__(
        self,
        opening: Callable[[], None] | None = None,
        ask: Callable[[str], Awaitable[bool]] | None = None,
        choose_changed: Callable[[Plan, PreparedRun, History], ChangedPolicy] | None = None,
    ) -> None:
        self.opening = opening or (lambda: None)
        self.ask = ask
        self.choose_changed = choose_changed
        self._scheduler: Scheduler | None = None
        self._leftovers: Leftovers | None = None
        #: Set when a stop is first asked for.
        self.stopping = asyncio.Event()
        self._aborted = False
        self._asked: Interrupted | None = None

    @property
    def aborted(self) -> bool:
        """Whether what is in flight is to be cut, too."""
        return self._aborted

    def attach(self, scheduler: Scheduler, leftovers: Leftovers) -> None:
        self._scheduler, self._leftovers = scheduler, leftovers
        self._pass_on()

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
        if self._scheduler is not None:
            self._scheduler.abort()
        if self._leftovers is not None:
            self._leftovers.abort()

    def _pass_on(self) -> None:
        """Works in either order: `drain` may be called before the scheduler exists."""
        if self._asked is not None and self._scheduler is not None:
            self._scheduler.stop(self._asked, f"{self._asked} (once more cuts what is in flight)")
