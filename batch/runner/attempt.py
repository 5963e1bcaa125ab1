"""One attempt to buy one picture, from intent to record. The heart of the program; everything else serves it.

The order is the promise: the intent is durable before the request goes out, the answer is in the spool before
anything looks at it, the picture is on disk before the ledger says so. Whatever happens in between is recorded
with what it may have cost, and then raised for the retry policy to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from batch.core.clock import Clock
from batch.core.errors import AttemptError, EndpointDown, OutcomeUnknown, Paid, Undelivered
from batch.core.lane import Lane
from batch.core.model import AttemptFacts, Done, Job, Terms
from batch.core.prices import Charge, PriceTable
from batch.money.wallet import Wallet
from batch.providers.base import Answer, Provider, Received
from batch.runner.delivery import delivered
from batch.store.store import OpenAttempt, Store


@dataclass(frozen=True, slots=True)
class PricedProvider:
    """An endpoint to buy from, and what it charges. `name` is the provider's in the ledger, as in `Terms`."""

    provider: Provider
    prices: PriceTable
    name: str = ""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole answer, read: `answer`, or the error that it means."""

    attempt: OpenAttempt
    received: Received
    answer: Answer | AttemptError

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where its pictures are still to be fetched from; empty if it holds them, or none."""
        if isinstance(self.answer, AttemptError):
            return ()
        return tuple(picture.url for picture in self.answer.pictures if picture.url is not None)


class AttemptRunner:
    """Makes attempts at the endpoints of a run, known by their names, and keeps what comes back in one store."""

    def __init__(
        self,
        providers: Mapping[str, PricedProvider],
        store: Store,
        clock: Clock,
        worth_another: Callable[[AttemptError, int], bool],
        wallet: Wallet,
        stopping: asyncio.Event | None = None,
    ) -> None:
        self._providers = providers
        self._store = store
        self._clock = clock
        self._worth_another = worth_another
        self._wallet = wallet
        self._stopping = stopping
        #: Answers that are here whole, and not yet recorded.
        self.recording = 0
        #: Jobs sent again after an attempt that may have been paid.
        self.resent: list[Job] = []

    async def buy(self, job: Job, why: str, terms: Terms) -> Done:
        """Send one request for `job` and keep its picture. Raises the recorded `AttemptError` otherwise."""
        priced = self._providers[terms.endpoint]
        provider, terms = priced.provider, replace(terms, provider=priced.name)
        request = await provider.prepare(terms.of(job), terms.lane)
        self._wallet.sending(job)
        attempt = await self._store.begin(job, why=why, terms=terms)
        if why == "resend":
            self.resent.append(job)
        received: Received | None = None
        try:
            received = await provider.send(request, attempt.attempt_id, attempt.spool)
            self.recording += 1
            return await self._keep(self.read(attempt, received))
        except Undelivered:
            raise  # not the end of the attempt: its answer waits in the spool
        except AttemptError as error:
            await self._record_failure(attempt, error, received)
            raise
        finally:
            self.recording -= received is not None

    def read(self, attempt: OpenAttempt, received: Received) -> Arrived:
        """What an answer means."""
        try:
            return Arrived(attempt, received, self._priced(attempt.terms).provider.interpret(received))
        except AttemptError as error:
            return Arrived(attempt, received, error)

    async def finish(self, arrived: Arrived) -> Done | None:
        """Settle an attempt that an earlier run left open, from its answer. Sends no request to buy anything."""
        try:
            return await self._keep(arrived)
        except Undelivered:
            return None
        except AttemptError as error:
            await self._record_failure(arrived.attempt, error, arrived.received)
            return None

    async def lost(self, attempt: OpenAttempt) -> None:
        """Settle an attempt whose answer never came: it is unknown."""
        error = OutcomeUnknown("interrupted", "the run ended between sending and receiving")
        await self._record_failure(attempt, error, None)

    def attempt_usd(self, job: Job, terms: Terms) -> float:
        """What an attempt on these terms counts for while its outcome is open."""
        return self._priced(terms).prices.attempt_usd(terms.of(job))

    async def _keep(self, arrived: Arrived) -> Done:
        attempt, received, answer = arrived.attempt, arrived.received, arrived.answer
        if isinstance(answer, AttemptError):
            raise answer
        priced = self._priced(attempt.terms)
        try:
            answer = await delivered(answer, priced.provider, attempt.spool, self._clock, self._stopping)
        except AttemptError as error:
            raise _as_charged(received.judged(error), answer) from None
        lane = answer.lane or Lane.STANDARD  # who says nothing charges the full price
        charge = priced.prices.charge(
            attempt.terms.of(attempt.job),
            answer.usage,
            pictures=len(answer.pictures),
            lane=lane,
            queries=None if answer.grounding is None else len(answer.grounding.queries),
        )
        facts = AttemptFacts(
            number=attempt.number,
            seconds=received.seconds,
            cost_usd=charge.usd,
            request_id=answer.request_id,
            usage=answer.usage,
            usd_from=charge.source,
            lane=lane,
        )
        try:
            done = await self._store.keep(attempt, answer, facts)
        except AttemptError as error:  # the pictures are broken; they were charged all the same
            raise _as_charged(received.judged(error), answer) from None
        self._wallet.settle(attempt.job, facts.cost_usd)
        return done

    async def _record_failure(self, attempt: OpenAttempt, error: AttemptError, received: Received | None) -> None:
        charge = self._charge_of_failure(attempt, error)
        error.cost_usd = charge.usd if charge is not None else 0.0
        facts = AttemptFacts(
            number=attempt.number,
            seconds=received.seconds if received is not None else self._clock.monotonic() - attempt.started,
            cost_usd=error.cost_usd,
            request_id=error.request_id,
            usd_from=charge.source if charge is not None else None,
            lane=error.lane or Lane.STANDARD,
        )
        if isinstance(error, OutcomeUnknown):
            await self._store.unknown(attempt, error, facts)
            self._wallet.settle(attempt.job, facts.cost_usd)
            return
        rejected = self._store.history.of(attempt.job.key()).rejected + (error.paid is Paid.YES)
        again = isinstance(error, EndpointDown) or self._worth_another(error, rejected)
        await self._store.reject(attempt, error, facts, again=again)
        self._wallet.settle(attempt.job, facts.cost_usd)

    def _charge_of_failure(self, attempt: OpenAttempt, error: AttemptError) -> Charge | None:
        """What an attempt without a picture cost, or may have cost at most; None if nothing."""
        if error.paid is Paid.NO:
            return None
        usage = error.usage if error.paid is Paid.YES else None
        prices, job = self._priced(attempt.terms).prices, attempt.terms.of(attempt.job)
        return prices.charge(job, usage, pictures=0, lane=error.lane or Lane.STANDARD)

    def can_read(self, attempt: OpenAttempt) -> bool:
        """Whether one of the manifest's providers can read the attempt's answer."""
        return any(each.name == attempt.terms.provider for each in self._providers.values())

    def _priced(self, terms: Terms) -> PricedProvider:
        """Who was asked. One that is no longer in the manifest spoke as another of the same provider does."""
        asked = self._providers.get(terms.endpoint)
        if asked is not None and asked.name == terms.provider:
            return asked
        same = (each for each in self._providers.values() if each.name == terms.provider)
        return next(same, None) or asked or next(iter(self._providers.values()))


def _as_charged(error: AttemptError, answer: Answer) -> AttemptError:
    """The error with what the answer says of its price."""
    error.usage, error.lane = answer.usage, answer.lane
    return error
