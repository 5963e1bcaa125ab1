"""What one attempt leaves behind: its record, its price, its money, and what the run counts while it is on."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batch.core.errors import (
    AttemptError,
    EndpointDown,
    NotSent,
    OutcomeUnknown,
    Paid,
    RateLimited,
    Refused,
    Unavailable,
    Undelivered,
    Unusable,
)
from batch.core.lane import Lane
from batch.core.model import Done, Job, Terms
from batch.core.prices import ChargedBy, ModelPrices, PriceTable
from batch.core.settings import Budget
from batch.core.usage import Usage
from batch.money.wallet import Purchase, Wallet
from batch.providers.base import Answer, Blob, Picture, Received, Request, Spool
from batch.runner.attempt import AttemptRunner, PricedProvider
from batch.store.folder import output_folder
from batch.store.job_state import State
from batch.store.store import Store
from tests.support.fakes import FakeClock, job

CUP = job()
MODEL, DEAR_MODEL = CUP.model, "a-dearer-one"
REPORTED: Mapping[str, Any] = {"promptTokenCount": 6, "candidatesTokenCount": 950, "totalTokenCount": 956}
USAGE = Usage(input_text=6, input_image=0, output_text=0, output_image=950, total=956, reported=REPORTED)
#: By the tokens: 6 of text in, 950 of a picture out.
BY_USAGE_USD = 0.095006
WORDS_USAGE = Usage(input_text=6, input_image=0, output_text=0, output_image=20, total=26)
WORDS_USD = 0.002006


def a_model(picture_usd: float) -> ModelPrices:
    return ModelPrices(
        picture_usd={"1K": picture_usd},
        picture_tokens={"1K": 1000},
        token_usd={"input_text": 1.0, "input_image": 1.0, "output_text": 10.0, "output_image": 100.0},
        lanes={Lane.FLEX: 0.5},
    )


PRICES = PriceTable({MODEL: a_model(0.1), DEAR_MODEL: a_model(0.3)}, {}, ChargedBy.TOKENS)
#: The list price of an attempt: the picture and the prompt's bytes.
LIST_USD = PRICES.attempt_usd(CUP)


def picture_bytes() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (1024, 1024), "navy").save(out, "PNG")
    return out.getvalue()


WHOLE, BROKEN = picture_bytes(), picture_bytes()[:200]


TOLD = Answer(pictures=(), request_id="r-7", usage=USAGE)


@dataclass
class Provider:
    """Answers every request with `data`, or fails at the step it is told to."""

    clock: FakeClock
    answer: Answer = TOLD
    data: bytes = WHOLE
    urls: tuple[str, ...] = ()
    not_sent: AttemptError | None = None
    no_answer: AttemptError | None = None
    no_picture: AttemptError | None = None
    no_download: AttemptError | None = None
    asked: list[tuple[str, Lane]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    downloads: int = 0
    while_read: Callable[[], None] = lambda: None

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        self.asked.append((job.model, lane))
        if self.not_sent is not None:
            raise self.not_sent
        return Request(path=f"/{job.id}", pieces=())

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        self.sent.append((request.path, attempt_id))
        self.clock.time += 7.0
        if self.no_answer is not None:
            raise self.no_answer
        return received(spool, self.data)

    def unpacked(self, received: Received, spool: Spool) -> Received:
        return received

    def interpret(self, received: Received) -> Answer:
        self.while_read()
        if self.no_picture is not None:
            raise self.no_picture
        urls = tuple(Picture(url=url) for url in self.urls)
        return replace(self.answer, pictures=urls or tuple(Picture(blob=blob) for blob in received.blobs))

    async def download(self, url: str, spool: Spool) -> Blob:
        self.downloads += 1
        if self.no_download is not None:
            raise self.no_download
        return blob(spool, WHOLE)


def blob(spool: Spool, data: bytes) -> Blob:
    writer = spool.new_blob()
    writer.write(data)
    writer.close()
    return Blob(file=writer.file, size_bytes=len(data))


def received(spool: Spool, data: bytes) -> Received:
    """An answer of 3 seconds, sealed in the spool."""
    answer = Received(status=200, headers={}, body=b"{}", blobs=(blob(spool, data),), seconds=3.0)
    spool.seal(answer)
    return answer


class NotingWallet(Wallet):
    """Keeps what it is told about one job after the other."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(Budget(), max_usd=lambda job: 1.0, clock=clock)
        self.told: list[tuple[str, float | None]] = []

    def sending(self, job: Purchase) -> None:
        self.told.append((job.id, None))

    def settle(self, job: Purchase, usd: float) -> None:
        self.told.append((job.id, usd))


@dataclass
class Bench:
    """A buyer with two endpoints, a real store and a wallet that remembers."""

    store: Store
    provider: Provider
    other: Provider
    wallet: NotingWallet
    attempts: AttemptRunner
    judged: list[tuple[str, int]]

    async def buys(self, job: Job = CUP, why: str = "new", terms: Terms | None = None) -> Done | AttemptError:
        try:
            return await self.attempts.buy(job, why, terms or Terms(endpoint="here", model=job.model))
        except AttemptError as error:
            return error

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.store.output / "ledger.jsonl").read_bytes().splitlines()]


@asynccontextmanager
async def bench(
    folder: Path, *, worth_another: bool = False, stopping: asyncio.Event | None = None
) -> AsyncIterator[Bench]:
    clock, judged = FakeClock(), list[tuple[str, int]]()
    provider, other, wallet = Provider(clock), Provider(clock), NotingWallet(clock)
    providers = {"here": PricedProvider(provider, PRICES), "there": PricedProvider(other, PriceTable({}, {"1K": 0.7}))}

    def judge(error: AttemptError, rejected: int) -> bool:
        judged.append((error.code, rejected))
        return worth_another

    with output_folder(folder / "out") as found:
        async with found.open("run", clock) as store:
            attempts = AttemptRunner(providers, store, clock, judge, wallet, stopping)
            yield Bench(store, provider, other, wallet, attempts, judged)


async def test_a_picture_is_recorded_with_what_it_cost_and_took(tmp_path: Path) -> None:
    """The ledger, the outcome and the wallet say the same: tokens and price, seconds, the provider's own id."""
    async with bench(tmp_path) as here:
        done = await here.buys()
        record = here.records()[-1]
    assert isinstance(done, Done)
    assert (done.attempt.number, done.attempt.seconds, done.attempt.request_id) == (1, 3.0, "r-7")
    assert (done.attempt.cost_usd, done.attempt.usd_from, done.attempt.lane) == (BY_USAGE_USD, "usage", Lane.STANDARD)
    assert (record["t"], record["usd"], record["usd_from"], record["lane"]) == (
        "done",
        BY_USAGE_USD,
        "usage",
        "standard",
    )
    assert (record["seconds"], record["request_id"], record["usage"]) == (3.0, "r-7", REPORTED)
    assert done.attempt.usage == USAGE
    assert here.wallet.told == [("cup", None), ("cup", BY_USAGE_USD)]


@pytest.mark.parametrize(
    ("served", "usd", "lane"), [(Lane.FLEX, round(BY_USAGE_USD / 2, 6), "flex"), (None, BY_USAGE_USD, "standard")]
)
async def test_the_lane_that_served_decides_the_price(
    tmp_path: Path, served: Lane | None, usd: float, lane: str
) -> None:
    """Asked for the cheap one: if the answer does not say that it was granted, the full price counts."""
    async with bench(tmp_path) as here:
        here.provider.answer = replace(here.provider.answer, lane=served)
        await here.buys(terms=Terms(endpoint="here", model=MODEL, lane=Lane.FLEX))
        record = here.records()[-1]
    assert here.provider.asked == [(MODEL, Lane.FLEX)]
    assert (record["usd"], record["lane"]) == (usd, lane)


async def test_a_fallback_is_asked_for_and_charged_as_itself(tmp_path: Path) -> None:
    """The terms name the model: its price counts, for a picture as for an unknown outcome."""
    terms = Terms(endpoint="here", model=DEAR_MODEL)
    async with bench(tmp_path) as here:
        here.provider.answer = replace(here.provider.answer, usage=None)
        await here.buys(terms=terms)
        here.provider.no_answer = OutcomeUnknown("timeout", "no answer")
        await here.buys(job("mug"), terms=terms)
        records = [record for record in here.records() if record["t"] != "try"]
    assert here.provider.asked == [(DEAR_MODEL, Lane.STANDARD)] * 2
    assert [(record["t"], record["usd"], record["usd_from"]) for record in records] == [
        ("done", 0.3, "list"),
        ("unk", 0.3, "list"),
    ]


async def test_each_endpoint_is_asked_and_charges_as_its_own_list_says(tmp_path: Path) -> None:
    """The one of the terms, not the first."""
    async with bench(tmp_path) as here:
        await here.buys(terms=Terms(endpoint="there", model=MODEL))
        record = here.records()[-1]
        gone = Terms(endpoint="no longer there", model=MODEL)
        known = [here.attempts.attempt_usd(CUP, terms) for terms in (Terms(endpoint="there", model=MODEL), gone)]
    assert (here.provider.asked, here.other.asked) == ([], [(MODEL, Lane.STANDARD)])
    assert record["usd"] == 0.7
    assert known == [0.7, LIST_USD]


def charged(error: AttemptError, usage: Usage | None, lane: Lane | None = None) -> AttemptError:
    error.usage, error.lane = usage, lane
    return error


@pytest.mark.parametrize(
    ("step", "error", "kind", "usd", "usd_from", "seconds"),
    [
        ("no_answer", NotSent("refused", "no connection"), "fail", 0.0, None, 7.0),
        ("no_answer", Unavailable("unavailable", "503"), "fail", 0.0, None, 7.0),
        ("no_answer", OutcomeUnknown("timeout", "no answer"), "unk", LIST_USD, "list", 7.0),
        ("no_answer", charged(OutcomeUnknown("cut", "cut"), WORDS_USAGE), "unk", LIST_USD, "list", 7.0),
        ("no_picture", Refused("blocked", "no"), "fail", 0.0, None, 3.0),
        ("no_picture", Refused("blocked", "no", paid=Paid.YES), "fail", LIST_USD, "list", 3.0),
        ("no_picture", charged(Unusable("text_only", "words"), WORDS_USAGE), "fail", WORDS_USD, "usage", 3.0),
        ("no_picture", OutcomeUnknown("proxy", "web page"), "unk", LIST_USD, "list", 3.0),
    ],
    ids=lambda value: f"{value.code}-{value.paid}" if isinstance(value, AttemptError) else None,
)
async def test_a_failure_is_recorded_with_what_it_may_have_cost(
    tmp_path: Path, step: str, error: AttemptError, kind: str, usd: float, usd_from: str | None, seconds: float
) -> None:
    """Nothing if it was not paid, the list price if it may have been, the tokens if an answer told them."""
    error.request_id = "r-9"
    async with bench(tmp_path) as here:
        setattr(here.provider, step, error)
        assert await here.buys() is error
        record = here.records()[-1]
    assert (record["t"], record["usd"], record["usd_from"], record["seconds"]) == (kind, usd, usd_from, seconds)
    assert (record["code"], record["request_id"], record["lane"]) == (error.code, "r-9", "standard")
    assert error.cost_usd == usd
    assert here.wallet.told == [("cup", None), ("cup", usd)]


async def test_a_failure_in_the_cheap_lane_costs_its_share(tmp_path: Path) -> None:
    """Served there, by the answer's own word."""
    error = charged(Unusable("text_only", "words"), None, Lane.FLEX)
    async with bench(tmp_path) as here:
        here.provider.no_picture = error
        await here.buys()
        record = here.records()[-1]
    assert (record["usd"], record["lane"]) == (round(LIST_USD / 2, 6), "flex")


@pytest.mark.parametrize("step", ["broken picture", "nothing at its address"])
async def test_what_an_answer_says_of_its_price_outlives_its_picture(tmp_path: Path, step: str) -> None:
    """It was charged by these tokens, in that lane, although no file came of it."""
    async with bench(tmp_path) as here:
        here.provider.answer = replace(here.provider.answer, usage=WORDS_USAGE, lane=Lane.FLEX)
        if step == "broken picture":
            here.provider.data = BROKEN
        else:
            here.provider.urls = ("https://pictures.example/1",)
            here.provider.no_download = Unusable("download_gone", "HTTP 404", retries=0)
        error = await here.buys()
        record = here.records()[-1]
    assert isinstance(error, Unusable)
    assert (error.usage, error.lane) == (WORDS_USAGE, Lane.FLEX)
    assert (record["t"], record["usd"], record["usd_from"]) == ("fail", round(WORDS_USD / 2, 6), "usage")


@pytest.mark.parametrize("worth_another", [True, False])
async def test_whether_a_job_is_worth_another_attempt_is_asked_and_written_down(
    tmp_path: Path, worth_another: bool
) -> None:
    """With the count of charged answers without a picture, this one among them; a free one does not count."""
    async with bench(tmp_path, worth_another=worth_another) as here:
        for error in (Unusable("first", ""), Unavailable("free", ""), Unusable("second", "")):
            here.provider.no_picture = error
            await here.buys()
        fails = [record for record in here.records() if record["t"] == "fail"]
    assert here.judged == [("first", 1), ("free", 1), ("second", 2)]
    assert [record["again"] for record in fails] == [worth_another] * 3


async def test_what_stops_the_run_leaves_the_job_as_it_was(tmp_path: Path) -> None:
    """A key that is refused says nothing about the job."""
    async with bench(tmp_path) as here:
        here.provider.no_answer = EndpointDown("key_refused", "401")
        await here.buys()
        stopped = here.records()[-1]
        here.provider.no_answer = RateLimited("rate_limited", "429")
        await here.buys(job("mug"))
        limited = here.records()[-1]
    assert (stopped["again"], stopped["settled"], stopped["usd"]) == (True, False, 0.0)
    assert (limited["again"], limited["settled"]) == (False, False)


async def test_what_cannot_be_prepared_is_neither_paid_nor_recorded(tmp_path: Path) -> None:
    """No request was made: no `try` line, and the money stays free."""
    async with bench(tmp_path) as here:
        here.provider.not_sent = Refused("reference_gone", "gone")
        await here.buys()
        assert here.records() == []
    assert here.wallet.told == []


async def test_answers_are_counted_while_they_are_worked_on(tmp_path: Path) -> None:
    """From the last byte to the record, however it ends."""
    seen = []
    async with bench(tmp_path) as here:
        here.provider.while_read = lambda: seen.append(here.attempts.recording)
        await here.buys()
        after = [here.attempts.recording]
        here.provider.no_picture = Unusable("text_only", "words")
        await here.buys(job("mug"))
        after.append(here.attempts.recording)
        here.provider.no_answer = OutcomeUnknown("timeout", "no answer")
        await here.buys(job("jug"))
        after.append(here.attempts.recording)
    assert seen == [1, 1]
    assert after == [0, 0, 0]


async def test_answers_of_several_at_once_are_counted_each(tmp_path: Path) -> None:
    """And no longer when all are recorded."""
    async with bench(tmp_path) as here:
        most = []
        here.provider.while_read = lambda: most.append(here.attempts.recording)
        await asyncio.gather(*(here.buys(job(f"job-{number}")) for number in range(3)))
        assert (max(most), here.attempts.recording) == (3, 0)


async def test_what_was_prepared_is_sent_under_the_name_in_the_ledger(tmp_path: Path) -> None:
    """Logs of the provider are compared by it."""
    async with bench(tmp_path) as here:
        await here.buys()
        await here.buys(job("mug"))
        ids = [record["rid"] for record in here.records() if record["t"] == "try"]
    assert here.provider.sent == [("/cup", ids[0]), ("/mug", ids[1])]


async def test_jobs_sent_again_after_an_unknown_outcome_are_remembered(tmp_path: Path) -> None:
    """They may be paid twice, and the summary names them; other repeats are not."""
    async with bench(tmp_path) as here:
        await here.buys(job("new"), "new")
        await here.buys(job("once more"), "again")
        await here.buys(job("maybe paid"), "resend")
        whys = [record["why"] for record in here.records() if record["t"] == "try"]
    assert [job.id for job in here.attempts.resent] == ["maybe paid"]
    assert whys == ["new", "again", "resend"]


async def test_a_picture_that_cannot_be_fetched_now_leaves_the_attempt_open(tmp_path: Path) -> None:
    """Its money stays set aside. Finishing it changes nothing until the picture is there; then the job is done."""
    address = "https://pictures.example/1"
    async with bench(tmp_path) as here:
        here.provider.urls, here.provider.no_download = (address,), Undelivered("download_failed", "no connection")
        assert isinstance(await here.buys(), Undelivered)
        assert (here.wallet.told, here.attempts.recording) == ([("cup", None)], 0)
    async with bench(tmp_path) as here:
        ((attempt, answer),) = here.store.open_attempts()
        assert answer is not None
        here.provider.urls, here.provider.no_download = (address,), Undelivered("download_failed", "no connection")
        assert here.attempts.read(attempt, answer).addresses == (address,)
        assert await here.attempts.finish(here.attempts.read(attempt, answer)) is None
        assert (len(here.records()), here.wallet.told) == (1, [])
        here.provider.urls = ()
        assert here.attempts.read(attempt, answer).addresses == ()
        done = await here.attempts.finish(here.attempts.read(attempt, answer))
        assert isinstance(done, Done)
        assert here.wallet.told == [("cup", BY_USAGE_USD)]
        assert here.store.history.of(CUP.key()).state is State.DONE


@pytest.mark.parametrize(("is_stopping", "tries"), [(False, 4), (True, 1)])
async def test_once_the_run_stops_an_address_is_tried_once(tmp_path: Path, is_stopping: bool, tries: int) -> None:
    """The next run fetches the picture; before the stop it is tried four times."""
    stopping = asyncio.Event()
    async with bench(tmp_path, stopping=stopping) as here:
        here.provider.urls = ("https://pictures.example/1",)
        here.provider.no_download = Undelivered("download_failed", "no connection")
        here.provider.while_read = stopping.set if is_stopping else lambda: None
        assert isinstance(await here.buys(), Undelivered)
    assert here.provider.downloads == tries


async def test_a_picture_at_an_address_is_charged_like_any_other(tmp_path: Path) -> None:
    """It is fetched into the spool of its attempt."""
    async with bench(tmp_path) as here:
        here.provider.urls = ("https://pictures.example/1",)
        done = await here.buys()
        assert isinstance(done, Done)
        assert (here.store.output / done.images[0].path).read_bytes() == WHOLE
    assert (here.provider.downloads, done.attempt.cost_usd) == (1, BY_USAGE_USD)


async def test_a_picture_is_not_made_cheap_by_its_tokens(tmp_path: Path) -> None:
    """Counts that no picture can have are not believed: the list price counts."""
    async with bench(tmp_path) as here:
        here.provider.answer = replace(here.provider.answer, usage=WORDS_USAGE)
        done = await here.buys()
    assert isinstance(done, Done)
    assert (done.attempt.cost_usd, done.attempt.usd_from) == (LIST_USD, "list")


async def test_an_attempt_left_without_an_answer_is_maybe_paid(tmp_path: Path) -> None:
    """The run died between sending and receiving: the list price counts."""
    async with bench(tmp_path) as here:
        await here.store.begin(CUP, why="new", terms=Terms(endpoint="here", model=MODEL))
    async with bench(tmp_path) as here:
        ((attempt, answer),) = here.store.open_attempts()
        assert answer is None
        await here.attempts.lost(attempt)
        record = here.records()[-1]
    assert (record["t"], record["code"], record["usd"]) == ("unk", "interrupted", LIST_USD)
    assert record["message"] == "the run ended between sending and receiving"
    assert here.wallet.told == [("cup", LIST_USD)]


async def test_an_answer_left_over_that_holds_no_picture_is_a_failure(tmp_path: Path) -> None:
    """It is charged and kept like any other; there is no address to fetch from."""
    async with bench(tmp_path) as here:
        attempt = await here.store.begin(CUP, why="new", terms=Terms(endpoint="here", model=MODEL))
        received(attempt.spool, b"words")
    async with bench(tmp_path) as here:
        here.provider.no_picture = charged(Unusable("text_only", "words"), WORDS_USAGE)
        ((attempt, answer),) = here.store.open_attempts()
        assert answer is not None
        assert here.attempts.read(attempt, answer).addresses == ()
        assert await here.attempts.finish(here.attempts.read(attempt, answer)) is None
        record = here.records()[-1]
    assert (record["t"], record["code"], record["usd"], record["seconds"]) == ("fail", "text_only", WORDS_USD, 3.0)
    assert here.judged == [("text_only", 1)]
    assert record["kept"] == ["cup~1.answer", "cup~1.0"]
