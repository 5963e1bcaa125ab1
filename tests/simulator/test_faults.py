"""Every fault does what its line says, is charged as the rule says, and is in the book."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from batch.simulator import SimulatorOptionsError, settings_from
from batch.simulator.faults.all_faults import FAULTS
from batch.simulator.faults.finish import BLOCK_REASONS, FINISH_REASONS

QUICK = {"seconds": 0.01, "megabytes": 1, "count": 20, "depth": 50}
NEVER_CHARGED_SECTIONS = ("HTTP errors", "Rate-limit hints", "Relay errors", "Answers before")


def quick_words(name: str) -> str:
    """The fault with parameters that keep it short."""
    if name == "drip":
        return "drip;bytes=10000;seconds=0.001"
    params = FAULTS[name].params
    chosen = {key: value for key, value in QUICK.items() if key in params and name != "quota_minute"}
    return ";".join([name, *(f"{key}={value}" for key, value in chosen.items())])


def expected_charge(name: str) -> bool:
    fault = FAULTS[name]
    if fault.billed is not None:
        return fault.billed
    uncharged = {"redirect", "http_204", "http_304", "late_401"}
    return name not in uncharged and not fault.section.startswith(NEVER_CHARGED_SECTIONS)


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "hang"])
async def test_every_fault_ends_the_request_and_is_in_the_book(name: str, simulate: Any, tools: Any) -> None:
    """A fault sends something or breaks the connection, and its entry is charged by the rule."""
    client = await simulate()
    tier = {} if FAULTS[name].lane is None else {"service_tier": FAULTS[name].lane}
    received, was_reset = await client.raw(tools.raw_request(quick_words(name), **tier))
    silent = name in ("close", "reset", "cut_at", "early_close", "early_reset")
    assert bool(received) != silent
    assert was_reset == (name in RESETTING) or name.startswith("early_")
    (entry,) = client.book.entries
    assert entry.fault == name
    assert entry.billed == expected_charge(name)
    assert entry.usd == (0.0 if not entry.billed else 0.067 if FAULTS[name].early else 0.045)


RESETTING = ("reset", "reset_after_headers", "reset_in_body", "early_reset")


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_a_line_about_it(name: str) -> None:
    """The printed table says in one line what a fault does."""
    about = FAULTS[name].about
    assert about
    assert "\n" not in about


@pytest.mark.parametrize("reason", FINISH_REASONS)
async def test_finish_reasons_come_without_parts(reason: str, simulate: Any) -> None:
    """Each finish reason comes in a candidate whose content has no parts."""
    client = await simulate()
    (candidate,) = (await client.fault(f"finish_{reason.lower()}")).json()["candidates"]
    assert candidate["finishReason"] == reason
    assert "parts" not in candidate["content"]


@pytest.mark.parametrize("reason", BLOCK_REASONS)
async def test_blocked_prompts_have_no_candidates(reason: str, simulate: Any) -> None:
    """Each block reason stands in promptFeedback, with usage and without candidates."""
    client = await simulate()
    message = (await client.fault(f"block_{reason.lower()}")).json()
    assert message["promptFeedback"]["blockReason"] == reason
    assert "candidates" not in message
    assert message["usageMetadata"]["promptTokenCount"] > 0


@pytest.mark.parametrize(
    ("name", "status"),
    [(name, int(name.split("_")[1])) for name in FAULTS if name.startswith("http_") and name != "http_101"],
)
async def test_http_faults_answer_with_their_status(name: str, status: int, simulate: Any) -> None:
    """`http_NNN` answers NNN."""
    client = await simulate()
    assert (await client.fault(name)).status_code == status


async def test_google_and_relay_word_the_same_refusal_differently(simulate: Any) -> None:
    """Google sends status and details; a relay keeps message and code and adds its request id."""
    google, relay = await simulate(), await simulate({"flavour": "relay"})
    in_google = (await google.fault("quota_minute")).json()["error"]
    in_relay = (await relay.fault("quota_minute")).json()["error"]
    assert {detail["@type"].rpartition(".")[2] for detail in in_google["details"]} == {
        "QuotaFailure",
        "Help",
        "RetryInfo",
    }
    assert "Please retry in 36.429760048s." in in_relay["message"]
    assert "(request id: " in in_relay["message"]
    assert set(in_relay) == {"message", "type", "param", "code"}


async def test_quota_day_names_the_day_and_a_short_delay(simulate: Any) -> None:
    """The per-day refusal carries PerDay in its quota id and the misleading short delay."""
    client = await simulate()
    details = (await client.fault("quota_day")).json()["error"]["details"]
    assert "PerDay" in details[0]["violations"][0]["quotaId"]
    assert details[-1]["retryDelay"] == "22.0s"
    relay = await simulate({"flavour": "relay"})
    assert "_per_day" in (await relay.fault("quota_day")).json()["error"]["message"]


@pytest.mark.parametrize(
    ("words", "header"),
    [
        ("retry_after;value=7", "7"),
        ("retry_after_nan", "nan"),
        ("retry_after_negative", "-5"),
        ("retry_after_huge", "1000000000"),
        ("http_503;retry_after=3", "3"),
        ("relay_saturated;retry_after=soon", "soon"),
    ],
)
async def test_retry_after_is_sent_as_given(words: str, header: str, simulate: Any) -> None:
    """Any Retry-After value can be sent, sensible or not."""
    client = await simulate()
    assert (await client.fault(words)).headers["Retry-After"] == header


async def test_debug_info_echoes_the_key(simulate: Any) -> None:
    """The answer holds the client's key, so that redaction has something to catch."""
    client = await simulate()
    answer = await client.post(b"{}", headers={"X-Simulate": "debug_info_key"}, params={"key": "KK-123"})
    assert answer.status_code == 400, "an empty body is refused before a fault"
    body = {"contents": [{"parts": [{"text": "x"}]}]}
    answer = await client.post(body, headers={"X-Simulate": "debug_info_key"}, params={"key": "KK-123"})
    assert "KK-123" in answer.text


LINKS = [name for name in FAULTS if name.startswith("url_")]


@pytest.mark.parametrize("name", LINKS)
async def test_links_lead_to_the_picture(name: str, simulate: Any) -> None:
    """Each shape of link holds a URL on the simulator that serves a whole picture without a key."""
    client = await simulate()
    text = (await client.fault(name)).text
    start = text.index(client.simulator.base_url + "/files/")
    url = text[start:].split('"')[0].split(")")[0]
    download = await client.http.get(url)
    with Image.open(io.BytesIO(download.content)) as picture:
        assert picture.size == (512, 512)
    assert client.book.downloads == 1
    assert client.book.downloads_with_key == 0
    assert client.book.requests == 1


@pytest.mark.parametrize(("manner", "statuses"), [("404", [404, 404]), ("503_once", [503, 200]), ("html", [200, 200])])
async def test_downloads_can_fail(manner: str, statuses: list[int], simulate: Any) -> None:
    """`download=` says how a link behaves when it is followed."""
    client = await simulate()
    url = (await client.fault(f"url_bare;download={manner}")).json()["candidates"][0]["content"]["parts"][-1]["text"]
    assert [(await client.http.get(url)).status_code for _ in statuses] == statuses


async def test_thought_image_comes_before_the_picture(simulate: Any) -> None:
    """The draft is marked thought and smaller; the last part is the picture, with a signature."""
    client = await simulate()
    parts = (await client.fault("thought_image")).json()["candidates"][0]["content"]["parts"]
    drafts = [part for part in parts if part.get("thought") and "inlineData" in part]
    assert len(drafts) == 1
    assert "thought" not in parts[-1]
    assert "thoughtSignature" in parts[-1]
    sizes = [Image.open(io.BytesIO(base64.b64decode(p["inlineData"]["data"]))).size for p in (drafts[0], parts[-1])]
    assert sizes == [(256, 256), (512, 512)]


@pytest.mark.parametrize("name", ["escaped_slashes", "escaped_unicode", "whitespace", "odd_order", "future_fields"])
async def test_odd_json_is_still_the_same_picture(name: str, simulate: Any) -> None:
    """However it is written, a JSON parser finds the same picture in it."""
    client = await simulate()
    plain, odd = await client.fault("chunked"), await client.fault(name)
    pictures = [
        [part["inlineData"] for part in answer.json()["candidates"][0]["content"]["parts"] if "inlineData" in part]
        for answer in (plain, odd)
    ]
    assert pictures[0] == pictures[1]


async def test_escaped_slashes_are_in_the_base64(simulate: Any) -> None:
    r"""The body really holds \/ and no bare slash."""
    client = await simulate({"format": "jpeg"})
    content = (await client.fault("escaped_slashes")).content
    assert rb"\/" in content
    assert b"/" not in content.replace(rb"\/", b"")


async def test_snake_spelling_uses_snake_case_throughout(simulate: Any) -> None:
    """The setting and the fault both spell every field in snake_case."""
    client = await simulate({"spelling": "snake"})
    for answer in (await client.ask(), await client.fault("snake_spelling")):
        part = answer.json()["candidates"][0]["content"]["parts"][-1]
        assert set(part["inline_data"]) == {"mime_type", "data"}
        assert "usage_metadata" in answer.json()


@pytest.mark.parametrize(("name", "form"), [("truncated_png", "PNG"), ("truncated_jpeg", "JPEG")])
async def test_truncated_pictures_sit_in_whole_json(name: str, form: str, simulate: Any, tools: Any) -> None:
    """The JSON is whole, the picture has its beginning and no end."""
    client = await simulate()
    data = tools.picture_bytes(await client.fault(name))
    assert Image.open(io.BytesIO(data)).format == form
    assert b"IEND" not in data[-12:]
    assert not data.endswith(b"\xff\xd9")


async def test_base64_variants(simulate: Any) -> None:
    """URL-safe, unpadded, in lines, with garbage: each is what it says."""
    client = await simulate({"format": "png", "picture_bytes": 4000})

    async def data(name: str) -> str:
        parts = (await client.fault(name)).json()["candidates"][0]["content"]["parts"]
        return str(parts[-1]["inlineData"]["data"])

    good = await data("chunked")
    assert await data("base64_urlsafe") == good.replace("+", "-").replace("/", "_")
    assert await data("base64_no_padding") == good.rstrip("=")
    assert (await data("base64_newlines")).replace("\n", "") == good
    assert "*" in await data("base64_garbage")


async def test_unusual_captions(simulate: Any) -> None:
    """A lone surrogate, control characters, Chinese and megabytes of caption arrive as they are."""
    client = await simulate()

    async def caption(words: str) -> str:
        return str((await client.fault(words)).json()["candidates"][0]["content"]["parts"][0]["text"])

    assert "\ud83d" in await caption("caption_surrogate")
    assert "\x1b[31m" in await caption("caption_control")
    assert "图片" in await caption("caption_chinese")
    assert len(await caption("caption_huge;megabytes=2")) == 2_000_000


async def test_gzip_bomb_swells(simulate: Any, tools: Any) -> None:
    """A few kilobytes on the wire become the megabytes asked for."""
    client = await simulate()
    received, _ = await client.raw(tools.raw_request("gzip_bomb;megabytes=3"))
    body = received.partition(b"\r\n\r\n")[2]
    assert len(body) < 20_000
    assert len(gzip.decompress(body)) > 3 << 20


@pytest.mark.parametrize("name", ["giant", "giant_chunked", "giant_undeclared"])
async def test_giant_bodies_have_the_size_asked_for(name: str, simulate: Any) -> None:
    """Every framing of a giant body delivers the whole of it, as valid JSON."""
    client = await simulate()
    answer = await client.fault(f"{name};megabytes=2")
    assert len(answer.content) == 2 << 20
    assert json.loads(answer.content)["candidates"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("cut", httpx.RemoteProtocolError),
        ("cut_chunked", httpx.RemoteProtocolError),
        ("close", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("reset_after_headers", httpx.ReadError),
        ("reset_in_body", httpx.ReadError),
        ("cut_at;seconds=0.01", httpx.RemoteProtocolError),
        ("cut_at;seconds=0.01;rst=true", httpx.ReadError),
        ("length_too_large", httpx.RemoteProtocolError),
        ("garbage", httpx.RemoteProtocolError),
        ("many_headers", httpx.RemoteProtocolError),
        ("length_twice", httpx.RemoteProtocolError),
    ],
)
async def test_broken_connections_reach_the_client_as_such(words: str, error: type[Exception], simulate: Any) -> None:
    """A client sees the break; the model has run, so it is charged and not delivered."""
    client = await simulate()
    with pytest.raises(error):
        await client.fault(words)
    (entry,) = client.book.entries
    assert entry.billed


async def test_a_cut_body_without_length_looks_complete(simulate: Any) -> None:
    """HTTP/1.0 without a length: the client sees 200 and half a JSON, and only the book knows."""
    client = await simulate()
    answer = await client.fault("http10_cut;bytes=40")
    assert answer.status_code == 200
    assert len(answer.content) == 40
    assert not client.book.entries[0].delivered


async def test_hang_is_charged_and_ends_when_the_client_leaves(simulate: Any, tools: Any) -> None:
    """The request is in the book while it hangs, and no longer in flight once the client has gone."""
    client = await simulate()
    _, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(tools.raw_request("hang"))
    await tools.until(lambda: client.book.requests)
    assert client.book.billed == 1
    assert client.book.in_flight == 1
    writer.close()
    await tools.until(lambda: not client.book.in_flight)
    assert client.book.delivered == 0


@pytest.mark.parametrize("name", ["early_401", "early_413", "early_429"])
async def test_early_answers_come_before_the_body(name: str, simulate: Any, tools: Any) -> None:
    """The answer is there although no byte of the body has been sent."""
    client = await simulate()
    head = tools.raw_request(name).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(head)
    assert (await reader.readline()).split()[1] == name.split("_")[1].encode()
    writer.close()
    assert not client.book.entries[0].billed


async def test_redirect_leads_to_another_host(simulate: Any) -> None:
    """The Location is elsewhere and does not hold the key."""
    client = await simulate()
    answer = await client.fault("redirect")
    assert answer.status_code == 307
    assert answer.headers["Location"] == "http://127.0.0.2:9/stolen"


@pytest.mark.parametrize(("words", "billed"), [("http_504;billed=true", True), ("text_only;billed=false", False)])
async def test_billing_can_be_overridden(words: str, billed: bool, simulate: Any) -> None:
    """`billed` on a fault wins over the rule."""
    client = await simulate()
    await client.fault(words)
    assert client.book.entries[0].billed == billed


async def test_unknown_fault_in_the_header_is_refused_loudly(simulate: Any) -> None:
    """A misspelt fault is an error with a suggestion, not a good picture."""
    client = await simulate()
    answer = await client.fault("http_530")
    assert answer.status_code == 400
    assert "did you mean" in answer.text


# ---- choosing by script -----------------------------------------------------------------------------------


async def statuses(client: Any, count: int, prompt: str = "a mountain") -> list[int]:
    return [(await client.ask(prompt)).status_code for _ in range(count)]


async def test_faults_by_number_of_request(simulate: Any) -> None:
    """`requests` names requests in order of arrival, from 1."""
    client = await simulate({"faults": [{"fault": "http_503", "requests": [1, 3]}]})
    assert await statuses(client, 4) == [503, 200, 503, 200]


async def test_faults_after_some_requests(simulate: Any) -> None:
    """`after` means everything that comes later: a key revoked in mid-run, an outage of three requests."""
    client = await simulate(
        {"faults": [{"fault": "http_503", "after": 1, "times": 2}, {"fault": "http_403", "after": 4}]}
    )
    assert await statuses(client, 6) == [200, 503, 503, 200, 403, 403]


async def test_faults_by_prompt_and_times(simulate: Any) -> None:
    """`prompt` is searched for, `times` bounds, `per_prompt` bounds for each prompt."""
    rule = {"fault": "http_500", "prompt": "^fail", "times": 1, "per_prompt": True}
    client = await simulate({"faults": [rule]})
    assert await statuses(client, 2, "fail one") == [500, 200]
    assert await statuses(client, 2, "fail two") == [500, 200]
    assert await statuses(client, 1, "no fail") == [200]


async def test_faults_of_one_model(simulate: Any) -> None:
    """`model` is searched for in the name of the model that is asked."""
    client = await simulate({"faults": [{"fault": "http_503", "model": "3.1-flash"}]})
    assert await statuses(client, 2) == [503, 503]
    path = "/v1beta/models/gemini-3-pro-image:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "a mountain"}]}]}
    assert (await client.post(body, path=path)).status_code == 200


async def test_shares_depend_on_the_seed_alone(simulate: Any) -> None:
    """The same seed chooses the same requests, another seed others; the share is about right."""

    async def chosen(seed: int) -> list[int]:
        client = await simulate({"seed": seed, "faults": [{"fault": "http_503", "share": 0.5}]})
        return await statuses(client, 40)

    first, again, other = await chosen(1), await chosen(1), await chosen(2)
    assert first == again != other
    assert 8 < first.count(503) < 32


async def test_the_first_rule_that_applies_wins(simulate: Any) -> None:
    """Rules are tried in order; early ones come first by nature."""
    client = await simulate({"faults": [{"fault": "http_500", "requests": [1]}, "http_503"]})
    assert await statuses(client, 2) == [500, 503]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"latency": 1}, 'unknown option "latency" (did you mean "latency_seconds"?)'),
        ({"flavour": "goggle"}, 'did you mean "google"?'),
        ({"latency_seconds": [3, 1]}, "low is above high"),
        ({"faults": [{"fault": "http_53"}]}, 'faults[1]: unknown fault "http_53"'),
        ({"faults": [{"fault": "cut", "byte": 1}]}, 'unknown parameter "byte" (did you mean "bytes"?)'),
        ({"faults": [{"fault": "cut", "share": 2}]}, "not between 0 and 1"),
        ({"faults": [{"fault": "early_413", "prompt": "x"}]}, "before the prompt is read"),
        ({"faults": [{"fault": "late", "seconds": float("nan")}]}, "not a finite number"),
        ({"faults": "http_503"}, "must be a list"),
        ({"faults": [{"fault": "url_bare", "download": 503}]}, "'503' is not one of ok, 404, 503_once"),
        ({"requests_per_minute": True}, "not a whole number"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], words: str) -> None:
    """What is wrong is said with the word that was probably meant."""
    with pytest.raises(SimulatorOptionsError) as caught:
        settings_from(options)
    assert words in str(caught.value)


def test_all_wrong_options_are_reported_at_once() -> None:
    """Every problem is in `messages`."""
    with pytest.raises(SimulatorOptionsError) as caught:
        settings_from({"sead": 1, "format": "gif", "faults": [{"fault": "x"}, 7]})
    assert len(caught.value.messages) == 4
