"""Lanes as Google has them: asked for in the body, told in a header, charged by what served."""

from __future__ import annotations

from typing import Any

import pytest

TIER = "x-gemini-service-tier"


async def ask(client: Any, tools: Any, words: str = "", **more: Any) -> Any:
    """One request for a small picture with `more` beside its contents, and with a fault if `words` name one."""
    headers = {"X-Simulate": words} if words else {}
    return await client.post({**tools.request_body("a mountain", imageSize="512"), **more}, headers=headers)


@pytest.mark.parametrize("name", ["service_tier", "serviceTier"])
@pytest.mark.parametrize("word", ["flex", "FLEX", "Flex"])
@pytest.mark.parametrize(("billing", "usd"), [("request", 0.0225), ("tokens", 0.022411)])
async def test_flex_costs_half_and_the_header_says_it(
    name: str, word: str, billing: str, usd: float, simulate: Any, tools: Any
) -> None:
    """In either spelling and any case, charged by request or by tokens."""
    client = await simulate({"billing": billing})
    answer = await ask(client, tools, **{name: word})
    assert (answer.status_code, answer.headers[TIER]) == (200, "flex")
    (entry,) = client.book.entries
    assert (entry.lane, entry.served, entry.usd) == ("flex", "flex", usd)


@pytest.mark.parametrize(
    "more", [{}, {"service_tier": None}, *({"service_tier": word} for word in ("standard", "unspecified", "PRIORITY"))]
)
async def test_everything_else_is_served_as_standard(more: dict[str, Any], simulate: Any, tools: Any) -> None:
    """Priority too, as Google does with what goes beyond its limits."""
    client = await simulate()
    assert (await ask(client, tools, **more)).headers[TIER] == "standard"
    assert (client.book.entries[0].lane, client.book.usd) == ("standard", 0.045)


@pytest.mark.parametrize("value", ["cheap", "", 1, ["flex"]])
async def test_an_unknown_tier_is_refused_uncharged(value: Any, simulate: Any, tools: Any) -> None:
    """With the name of the field, and without a lane in the header."""
    client = await simulate()
    answer = await ask(client, tools, service_tier=value)
    assert answer.status_code == 400
    assert "service_tier" in answer.json()["error"]["message"]
    assert TIER not in answer.headers
    assert (client.book.billed, client.book.entries[0].served) == (0, None)


async def test_a_relay_drops_the_wish_without_a_word(simulate: Any, tools: Any) -> None:
    """It serves and charges as always, and its answer names no lane."""
    client = await simulate({"flavour": "relay"})
    for value in ("flex", "nonsense"):
        answer = await ask(client, tools, service_tier=value)
        assert answer.status_code == 200
        assert TIER not in answer.headers
    assert [(entry.lane, entry.usd) for entry in client.book.entries] == [("standard", 0.045)] * 2


async def test_flex_is_shed_and_nobody_else_notices(simulate: Any, tools: Any) -> None:
    """503 for requests that ask for flex, as often as told; others are served and use up none of it."""
    client = await simulate({"faults": [{"fault": "flex_shed", "times": 1}]})
    standard = await ask(client, tools)
    shed, served = await ask(client, tools, service_tier="flex"), await ask(client, tools, service_tier="flex")
    assert [answer.status_code for answer in (standard, shed, served)] == [200, 503, 200]
    assert shed.json()["error"]["status"] == "UNAVAILABLE"
    assert TIER not in shed.headers
    assert [(entry.fault, entry.lane, entry.usd) for entry in client.book.entries] == [
        (None, "standard", 0.045),
        ("flex_shed", "flex", 0.0),
        (None, "flex", 0.0225),
    ]


async def test_a_rule_for_flex_leaves_other_requests_to_the_next_rule(simulate: Any, tools: Any) -> None:
    """Also where a single request asks for the fault in its header."""
    client = await simulate({"faults": ["flex_shed", "http_500"]})
    assert (await ask(client, tools, service_tier="flex")).status_code == 503
    assert (await ask(client, tools)).status_code == 500
    assert (await ask(client, tools, "flex_shed")).status_code == 500


@pytest.mark.parametrize("billing", ["request", "tokens"])
async def test_flex_can_be_served_and_charged_as_standard(billing: str, simulate: Any, tools: Any) -> None:
    """The header says so, and the book has both lanes."""
    client = await simulate({"billing": billing, "faults": ["flex_served_standard"]})
    for more in ({"service_tier": "flex"}, {}):
        answer = await ask(client, tools, **more)
        assert answer.headers[TIER] == "standard"
        assert tools.picture_in(answer).size == (512, 512)
    flex, standard = client.book.entries
    assert (flex.lane, flex.served, flex.fault) == ("flex", "standard", "flex_served_standard")
    assert (standard.lane, standard.served, standard.fault) == ("standard", "standard", None)
    assert flex.usd == standard.usd > 0.04


@pytest.mark.parametrize("fault", ["finish_safety", "cut", "gzip_bomb;megabytes=1"])
async def test_what_is_charged_without_a_picture_costs_the_lanes_share(fault: str, simulate: Any, tools: Any) -> None:
    """A refusal, an answer that was cut, one that nobody can read."""
    client = await simulate()
    await client.raw(tools.raw_request(fault, service_tier="flex"))
    (entry,) = client.book.entries
    assert (entry.billed, entry.served, entry.usd) == (True, "flex", 0.0225)


async def test_flex_counts_against_the_ordinary_quota(simulate: Any, tools: Any) -> None:
    """It has none of its own."""
    client = await simulate({"requests_per_minute": 2})
    codes = [(await ask(client, tools, service_tier=tier)).status_code for tier in ("flex", "standard", "flex")]
    assert codes == [200, 200, 429]
