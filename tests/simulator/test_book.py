"""The billing book: right before the answer leaves, right after a kill, and silent about keys."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from batch.simulator import Book, Entry, SimulatorOptionsError, serve, settings_from


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_request_has_its_line_and_its_delivery(simulate: Any, tools: Any, tmp_path: Path) -> None:
    """One line says what was asked and charged, a second that it was delivered."""
    client = await simulate(book_path=tmp_path / "book.jsonl")
    body = tools.request_body("a red shirt", tools.reference(), aspectRatio="4:3", imageSize="2K")
    await client.post(body, headers={"X-Client-Request-Id": "attempt-1"})
    entry, delivery = lines_of(tmp_path / "book.jsonl")
    assert delivery == {"n": 1, "delivered": True}
    assert entry | {"at": "", "request_id": ""} == {
        "n": 1,
        "at": "",
        "client_request_id": "attempt-1",
        "request_id": "",
        "model": tools.model,
        "prompt": "a red shirt",
        "aspect_ratio": "4:3",
        "image_size": "2K",
        "references": 1,
        "http_status": 200,
        "fault": None,
        "billed": True,
        "usd": 0.101,
        "images": 1,
        "delivered": False,
        "lane": "standard",
        "served": "standard",
    }


async def test_the_book_can_be_read_over_http(simulate: Any) -> None:
    """Totals and entries, and totals alone; health answers."""
    client = await simulate()
    await client.ask()
    await client.fault("http_503")
    book = await client.get_json("/__simulator__/book")
    assert (book["requests"], book["billed"], book["usd"], book["delivered"]) == (2, 1, 0.067, 2)
    assert [entry["fault"] for entry in book["entries"]] == [None, "http_503"]
    assert "entries" not in await client.get_json("/__simulator__/book?entries=0")
    assert (await client.get_json("/__simulator__/health"))["ok"]


async def test_the_charge_is_written_before_the_answer_leaves(simulate: Any, tools: Any, tmp_path: Path) -> None:
    """When a charged request is answered by silence, its line is in the file all the same."""
    client = await simulate(book_path=tmp_path / "book.jsonl")
    received, _ = await client.raw(tools.raw_request("reset"))
    assert received == b""
    (entry,) = lines_of(tmp_path / "book.jsonl")
    assert entry["billed"]
    assert entry["http_status"] is None


async def test_a_body_that_never_arrives_whole_is_not_charged(simulate: Any, tools: Any) -> None:
    """Half a request is noted, not charged."""
    client = await simulate()
    data = tools.raw_request("http_500")
    _, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(data[: len(data) - 20])
    await writer.drain()
    writer.close()
    await tools.until(lambda: client.book.requests)
    (entry,) = client.book.entries
    assert not entry.billed
    assert entry.prompt is None


async def test_the_model_runs_on_when_the_client_leaves(simulate: Any, tools: Any) -> None:
    """A client that gives up during the latency is charged all the same."""
    client = await simulate({"latency_seconds": 0.05})
    data = tools.raw_request("chunked")
    _, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(data)
    await tools.until(lambda: client.book.in_flight)
    writer.close()
    await tools.until(lambda: not client.book.in_flight)
    assert client.book.billed == 1


async def test_closing_does_not_wait_for_slow_models(tools: Any) -> None:
    """Leaving the block ends requests that still wait, uncharged, without their latency."""
    async with serve(settings_from({"latency_seconds": 3600, "pictures": "plain"})) as simulator:
        _, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        writer.write(tools.raw_request("chunked"))
        await tools.until(lambda: simulator.book.in_flight)
    writer.close()
    assert simulator.book.billed == 0


def entry(n: int, **facts: Any) -> Entry:
    return Entry(n=n, at="2026-01-01T00:00:00+00:00", **facts)


def test_an_older_book_is_continued(tmp_path: Path) -> None:
    """Totals and numbers go on, and a torn last line is passed over and left alone."""
    path = tmp_path / "book.jsonl"
    book = Book(path)
    book.record(entry(book.next_n(), billed=True, usd=0.067))
    book.mark_delivered(1)
    book.close()
    with open(path, "ab") as file:
        file.write(b'{"n": 2, "at": "20')
    again = Book(path)
    assert (again.requests, again.billed, again.usd, again.delivered) == (1, 1, 0.067, 1)
    again.record(entry(again.next_n(), billed=True, usd=0.101))
    again.close()
    third = Book(path)
    third.close()
    assert (third.requests, third.usd, third.next_n()) == (2, 0.168, 3)


def test_memory_is_bounded_and_totals_are_not() -> None:
    """`entries` keeps the newest, the totals know all."""
    book = Book(entries_in_memory=2)
    for _ in range(5):
        book.record(entry(book.next_n(), billed=True, usd=0.067))
        book.mark_delivered(book.requests)
    assert [kept.n for kept in book.entries] == [4, 5]
    assert (book.requests, book.billed, book.usd, book.delivered) == (5, 5, 0.335, 5)


async def test_the_key_is_nowhere_to_be_found(
    simulate: Any,
    tools: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key in any of its three places stands in no log, no output, no book and no repr."""
    caplog.set_level(logging.DEBUG)
    canary = "sk-CANARY0123456789"
    client = await simulate({"keys": [canary]}, book_path=tmp_path / "book.jsonl")
    body = tools.request_body("x")
    own = logging.getLogger("batch.simulator.http")
    own.setLevel(logging.DEBUG)
    for sent in (
        {"params": {"key": canary}},
        {"params": {}, "headers": {"x-goog-api-key": canary}},
        {"params": {}, "headers": {"Authorization": f"Bearer {canary}"}},
        {"params": {"key": canary}, "headers": {"X-Simulate": "reset"}},
        {"params": {"key": canary}, "path": "/wrong/path"},
    ):
        with suppress(httpx.ReadError):  # what the client calls the reset
            assert canary not in (await client.post(body, **sent)).text
    await client.raw(f"POST /?key={canary} HTTP/9.9 broken\r\n\r\n".encode())
    out, err = capfd.readouterr()
    server_log = "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    formatted = "".join(
        logging.Formatter().format(record) for record in caplog.records if not record.name.startswith("http")
    )
    for text in (out, err, server_log, formatted, (tmp_path / "book.jsonl").read_text()):
        assert canary not in text
    assert canary not in repr(settings_from({"keys": [canary]}))
    assert canary not in json.dumps(await client.get_json("/__simulator__/book"))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
async def test_other_hosts_need_permission(host: str) -> None:
    """Only loopback addresses are bound, unless allow_remote is set."""
    with pytest.raises(SimulatorOptionsError, match="not a loopback address"):
        async with serve(settings_from({}), host=host):
            pass
