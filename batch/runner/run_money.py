"""What a run's pictures cost, and the wallet that pays for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from batch.core.clock import Clock
from batch.core.events import Listener, Message, MoneyWaits
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.settings import Budget, Settings
from batch.money.wallet import Wallet
from batch.runner.accounts import Account, serving


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMoney:
    """The prices of a run's `accounts`, and its caps (`budget`)."""

    accounts: tuple[Account, ...]
    settings: Settings
    budget: Budget
    output: Path

    @property
    def picture_usd(self) -> Callable[[Job], float]:
        """The list price of a job's picture, at the dearest endpoint it may be bought at, in the lane wished for."""
        lane = self.settings.lane
        if len(self.accounts) == 1 and lane is Lane.STANDARD:
            return self.accounts[0].prices.picture_usd  # millions of times, and then it counts
        return lambda job: max(account.picture_usd(job, lane) for account in serving(self.accounts, job.model))

    def unpriced(self, asks: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of models and sizes, with the models that may be asked instead, those of which some account has no price."""
        wanted = {(each, size): None for model, size in asks for each in (model, *self.settings.fallback.models)}
        return [
            (model, size)
            for model, size in wanted
            if not all(account.prices.is_priced(model, size) for account in serving(self.accounts, model))
        ]

    @property
    def has_caps(self) -> bool:
        """Whether anything is to be kept within a cap."""
        return self.budget.caps(self.settings.tag)

    def max_usd(self, job: Job) -> float:
        """The most that one attempt at it can cost: at any endpoint, and by any model that may be asked."""
        job = job.as_asked
        models = {job.model, *self.settings.fallback.models}
        asked = [job if model == job.model else replace(job, model=model) for model in models]
        return max(account.prices.max_usd(each) for each in asked for account in serving(self.accounts, each.model))

    def wallet(
        self, keys: Mapping[str, str], clock: Clock, run_id: str, listener: Listener, *, waits_at_cap: bool = False
    ) -> Wallet:
        """The run's money. Runs with the same key at the same endpoint share the caps for a day, a month and a tag.

        `keys` by the name of the account; one without a key has no book.
        """
        is_shared = self.budget.is_shared or bool(self.settings.tag)
        books = [
            account.spend_book(keys.get(account.name, ""), self.output)
            for account in self.accounts
            if is_shared and (account.endpoint.embedded or keys.get(account.name))
        ]
        return Wallet(
            self.budget,
            max_usd=self.max_usd,
            clock=clock,
            run_id=run_id,
            output=str(self.output),
            tag=self.settings.tag,
            books=books,
            waiting=lambda words: listener.on_event(MoneyWaits(words)),
            say=lambda text: listener.on_event(Message(text)),
            waits_at_cap=waits_at_cap,
        )
