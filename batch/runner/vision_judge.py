"""A vision model as the judge of new pictures (`check.ask`): within the run's budget and limits of its own.

A question goes the way of a purchase: money is set aside, then a permit taken, then a line written that outlives a
kill, and only then is it sent. What it may have cost counts until the answer says otherwise. Whatever fails, there is
no verdict, and the picture stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import (
    AttemptError,
    ConfigError,
    EndpointDown,
    MoneyWithdrawn,
    NotSent,
    Paid,
    RateLimited,
    Refused,
    StorageError,
    Unavailable,
)
from batch.core.events import Listener
from batch.core.results import CheckSpend
from batch.core.settings import AskSettings, Limits, Timeouts
from batch.limits.admission import AdmissionController
from batch.limits.gate import Reservation
from batch.limits.quotas import Need
from batch.manifest.templating.question import Question
from batch.manifest.templating.templates import TemplateProblem
from batch.money.wallet import Wallet
from batch.providers.vision import VisionModel, reduced
from batch.runner.accounts import accounts_of
from batch.runner.checks import CheckFailed, CheckVerdict, PictureToCheck, verdict_of
from batch.runner.connections import KeyedAccount, read_keys
from batch.runner.keys import Tell
from batch.runner.network import reached
from batch.runner.preparation import PreparedRun
from batch.store.check_book import AskedQuestion, CheckBook

_TRIES: Final = 3
_FIRST_PAUSE_SECONDS: Final = 1.0
#: A longer wait is left to the next run.
_LONGEST_PAUSE_SECONDS: Final = 30.0
#: After so many questions in a row without an answer nothing more is asked in this run.
_MOST_FAILED_IN_A_ROW: Final = 5
_CONNECT_SECONDS: Final = 15.0
#: Permits are looked for at least so often.
_LOOK_SECONDS: Final = 1.0
#: These end only with the run's own money or another process: the next picture may find room.
_OWN_CAPS: Final = ("budget", "spend_book_held")


@dataclass(slots=True, kw_only=True)
class VisionJudge:
    """A model that is asked about each picture, `at_once` of them beside each other."""

    settings: AskSettings
    at_once: int
    model: VisionModel
    admission: AdmissionController
    wallet: Wallet
    book: CheckBook
    clock: Clock

    _question: Question = field(init=False)
    _failed_in_a_row: int = field(init=False, default=0)
    #: Why nothing more is asked.
    _stopped: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self._question = Question(self.settings.prompt)

    @property
    def name(self) -> str:
        return self.settings.model

    @property
    def spend(self) -> CheckSpend:
        return self.book.spend

    async def verdict(self, picture: PictureToCheck) -> CheckVerdict:
        """Raises `CheckFailed`. What fails for the moment is tried again a few times, within bounds."""
        if self._stopped:
            raise CheckFailed(self._stopped)
        try:
            question = self._question.about(picture.prompt, picture.job)
            mime, data = await asyncio.to_thread(reduced, picture.picture)
        except (TemplateProblem, Refused) as error:
            raise CheckFailed(f"was not asked: {error}") from None
        for number in range(_TRIES):
            try:
                said = await self._ask(picture.job, question, mime, data)
                break
            except AttemptError as error:
                pause_seconds = _pause_seconds(error, number)
                if pause_seconds is None or number == _TRIES - 1:
                    raise self._failed(error) from None
            except MoneyWithdrawn as error:
                raise CheckFailed(f"was not asked: {error}") from None
            await self.clock.sleep(pause_seconds)
        self._failed_in_a_row = 0
        return verdict_of(said.encode("utf-8", "replace"))

    def _failed(self, error: AttemptError) -> CheckFailed:
        if isinstance(error, EndpointDown):
            if error.code not in _OWN_CAPS:
                self._stopped = f"is not asked any more in this run: {error}"
            return CheckFailed(f"gave no verdict: {error}")
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _MOST_FAILED_IN_A_ROW:
            self._stopped = f"is not asked any more in this run, for it failed {self._failed_in_a_row} times in a row"
        return CheckFailed(f"gave no verdict: {error}")

    async def _ask(self, job: str, question: str, mime: str, data: bytes) -> str:
        """One question, paid at most once. Raises `AttemptError` or `MoneyWithdrawn`."""
        asked = self.book.next(job, self.settings.usd_per_request or 0.0)
        async with self.wallet.reserve_beside(asked, asked.usd), self._permit():
            self.wallet.sending(asked)
            paid = Paid.NO
            try:
                await asyncio.to_thread(self.book.goes_out, asked)
                paid = Paid.MAYBE
                said = await self.model.ask(question, mime, data)
                paid = Paid.YES
            except AttemptError as error:
                paid = error.paid
                raise
            finally:
                self.wallet.settle(asked, 0.0 if paid is Paid.NO else asked.usd)
                await self._ended(asked, paid)
            return said

    async def _ended(self, asked: AskedQuestion, paid: Paid) -> None:
        with suppress(StorageError):  # then it counts as one that may have been paid
            await asyncio.to_thread(self.book.ended, asked, paid)

    @asynccontextmanager
    async def _permit(self) -> AsyncIterator[None]:
        """Waits until the limits have room, and tells them how the request ended."""
        while not isinstance(found := self.admission.take(Need(images=0), self.name), Reservation):
            await self.clock.sleep(min(found.seconds, _LOOK_SECONDS))
        failed: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            self.admission.release(found, failed)


def _pause_seconds(error: AttemptError, number: int) -> float | None:
    """How long to wait before the same is asked again; None if that makes no sense now."""
    is_passing = isinstance(error, RateLimited | Unavailable | NotSent) or (error.http_status or 0) >= 500
    told = error.wait_seconds if isinstance(error, RateLimited) else None
    pause_seconds = _FIRST_PAUSE_SECONDS * 2.0**number if told is None else told
    return pause_seconds if is_passing and pause_seconds <= _LONGEST_PAUSE_SECONDS else None


def vision_account(prepared: PreparedRun, environment: Mapping[str, str], tell: Tell) -> KeyedAccount | None:
    """The account that the manifest's `check.ask` names, with its key; None if there is none.

    Raises `ConfigError` without a key, or if there is a budget that could not be kept for want of a price.
    """
    check = prepared.manifest.settings.check
    if check is None or check.ask is None:
        return None
    if prepared.is_rehearsal:
        tell("check: the model is not asked in a rehearsal, for it would be paid")
        return None
    if prepared.money.has_caps and check.ask.usd_per_request is None:
        raise ConfigError(
            "check: there is a budget, and what a question costs is not known, so it could not be kept; write "
            "usd_per_request beside model; nothing was sent"
        )
    settings = replace(prepared.manifest.settings, providers=(check.ask.provider,))
    accounts, _ = reached(accounts_of(settings, prepared.manifest.path), environment)
    [account] = read_keys(accounts, environment, tell)
    return account


@asynccontextmanager
async def vision_judge(
    account: KeyedAccount,
    prepared: PreparedRun,
    others: tuple[KeyedAccount, ...],
    wallet: Wallet,
    run: str,
    clock: Clock,
    listener: Listener,
) -> AsyncIterator[VisionJudge]:
    """The judge while its connections are open. With the key of one of the `others` it takes of that one's quotas."""
    check = prepared.manifest.settings.check
    assert check is not None
    assert check.ask is not None
    same = next((each for each in others if each.fingerprint == account.fingerprint), None)
    limits = _limits(account.account.limits, same.account.limits if same is not None else None)
    route = (same or account).route(prepared.output, clock, listener)
    seconds = check.timeout_seconds
    timeouts = Timeouts(
        connect_seconds=min(_CONNECT_SECONDS, seconds),
        write_seconds=seconds,
        read_seconds=seconds,
        total_seconds=seconds,
    )
    endpoint = account.account.endpoint
    assert endpoint.base_url is not None
    async with AsyncExitStack() as stack:
        admission = AdmissionController(limits, clock, Listener(), route.quota_store, name="check")
        stack.callback(admission.close)
        model = VisionModel(endpoint, endpoint.base_url, account.key, timeouts, clock, model=check.ask.model)
        stack.push_async_callback(model.aclose)
        yield VisionJudge(
            settings=check.ask,
            at_once=check.at_once,
            model=model,
            admission=admission,
            wallet=wallet,
            book=CheckBook(prepared.output, run, clock),
            clock=clock,
        )


def _limits(own: Limits, shared: Limits | None) -> Limits:
    """Of an account that makes the pictures too, its limits hold, but for what the check says itself."""
    if shared is None:
        return own
    per_minute = own.requests_per_minute or shared.requests_per_minute
    return replace(shared, concurrency=own.concurrency, requests_per_minute=per_minute, adaptive=False)
