"""A flex request against the simulator: what it costs is what the book says, whatever came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import AttemptError, Paid, Unavailable
from batch.core.lane import Lane
from batch.core.prices import Charge, ChargedBy, load_prices
from batch.simulator import serve, settings_from
from batch.simulator.faults.all_faults import FAULTS

#: Faults that last as long as somebody waits, and for flex that is a quarter of an hour.
ENDLESS = ("hang", "drip")
#: Answers that are counted as charged, to be on the safe side, and at this simulator are not.
LOOK_CHARGED = ("http_204", "http_101")


def options(billing: str, fault: str | None) -> dict[str, Any]:
    """The fault with parameters that keep it short."""
    if fault is None:
        return {"pictures": "plain", "billing": billing}
    short = {"seconds": 0.05, "megabytes": 70 if fault == "giant" else 10}
    params = {name: short[name] for name in FAULTS[fault].params if name in short and not fault.startswith("quota")}
    return {"pictures": "plain", "billing": billing, "faults": [{"fault": fault, **params}]}


async def attempt(speaker: Any, job: Any, spool: Any) -> Any:
    """The answer to one flex request, or the error it ended with."""
    try:
        received = await speaker.send(await speaker.prepare(job, Lane.FLEX), "run.a.1", spool)
        spool.on_disk()
        return speaker.interpret(received)
    except AttemptError as error:
        return error


def charged(end: Any, job: Any, billing: str) -> Charge | None:
    """What is written down for it: an answer that names no lane, and one that never came, cost as standard."""
    if isinstance(end, AttemptError) and end.paid is Paid.NO:
        return None
    known = not isinstance(end, AttemptError) or end.paid is Paid.YES
    pictures = 0 if isinstance(end, AttemptError) else len(end.pictures)
    lane = (end.lane if known else None) or Lane.STANDARD
    table = load_prices({}, charged_by=ChargedBy(billing))
    return table.charge(job, end.usage if known else None, pictures=pictures, lane=lane)


@pytest.mark.parametrize("billing", ["request", "tokens"])
@pytest.mark.parametrize("fault", [None, *(name for name in FAULTS if name not in ENDLESS)])
async def test_what_a_flex_request_cost_is_what_the_book_says(
    fault: str | None, billing: str, provider: Any, tools: Any, tmp_path: Path
) -> None:
    """Pictures, refusals and broken answers, to the cent; what is unknown is not counted too low."""
    job = tools.job(image_size="1K", modalities=("TEXT", "IMAGE"))
    async with serve(settings_from(options(billing, fault))) as simulator:
        speaker = provider(simulator.base_url, profile="google")
        end = await attempt(speaker, job, tools.MemorySpool(tmp_path))
        (entry,) = simulator.book.entries
    charge = charged(end, job, billing)
    if charge is None:
        assert entry.usd == 0
    elif isinstance(end, AttemptError) and end.paid is Paid.MAYBE:
        assert charge.usd >= entry.usd
    elif fault not in LOOK_CHARGED:
        assert charge.usd == pytest.approx(entry.usd, abs=0.0005), end


async def test_a_shed_request_cost_nothing_and_may_be_sent_again(provider: Any, tools: Any) -> None:
    """`Unavailable`, the class of every 503 in the provider's own words."""
    async with serve(settings_from(options("tokens", "flex_shed"))) as simulator:
        end = await attempt(provider(simulator.base_url, profile="google"), tools.job(), tools.MemorySpool())
        assert isinstance(end, Unavailable)
        assert (end.paid, end.code, simulator.book.usd) == (Paid.NO, "unavailable", 0)


async def test_a_wish_that_was_not_granted_is_known(provider: Any, tools: Any, tmp_path: Path) -> None:
    """Served as standard, it says so, and costs the standard price."""
    async with serve(settings_from(options("tokens", "flex_served_standard"))) as simulator:
        speaker = provider(simulator.base_url, profile="google")
        end = await attempt(speaker, tools.job(), tools.MemorySpool(tmp_path))
        assert end.lane is Lane.STANDARD
        assert simulator.book.usd > 0.04
