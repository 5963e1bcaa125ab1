"""The review's server: who is let in, what is durable before 200, what open pages hear of."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batch import RunOptions, run_sync
from batch.album import Entry, open_album
from batch.core.clock import SystemClock
from batch.core.decisions import Decision, Verdict
from batch.core.settings import ChangedPolicy
from batch.review import Review, serve_review
from batch.review.desk import Desk
from batch.review.server import Site
from batch.store.decisions import NAME, DecisionFile

PAGE = b"<!doctype html><title>pages</title>"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A finished run of three pictures."""
    run(tmp_path)
    return tmp_path / "out"


def run(folder: Path, prompt: str = "a cup", *, ids: str = "abc") -> None:
    manifest = {
        "provider": {"profile": "simulator", "simulator": {"pictures": "plain"}},
        "jobs": [{"id": each, "prompt": f"{prompt} {each}"} for each in ids],
    }
    run_sync(manifest, output=folder / "out", options=RunOptions(on_changed=ChangedPolicy.RERUN))


def encode(entry: Entry) -> dict[str, Any]:
    """Enough to tell what a page would hear."""
    verdicts = [
        picture.decision.verdict for version in entry.versions for picture in version.pictures if picture.decision
    ]
    return {"id": entry.id, "verdicts": verdicts, "versions": len(entry.versions)}


@dataclass
class Page:
    """A page that is open: it knows the address."""

    review: Review
    http: aiohttp.ClientSession
    output: Path

    def url(self, path: str = "") -> str:
        return self.review.address + path

    def word(self, job: str = "a", verdict: str = "accepted", **more: Any) -> dict[str, Any]:
        picture = open_album(self.output).entry(job).versions[-1].pictures[0]
        return {"job": job, "sha256": picture.sha256, "verdict": verdict, **more}

    async def decide(self, *words: Any, **headers: str) -> tuple[int, Any]:
        async with self.http.post(self.url("api/decisions"), data=json.dumps(words), headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        async with self.http.get(self.url(path), headers=headers) as answer:
            return answer.status, await answer.read()

    @asynccontextmanager
    async def events(self) -> AsyncIterator[aiohttp.StreamReader]:
        async with self.http.get(self.url("api/events")) as answer:
            await answer.content.readline()
            await answer.content.readline()
            yield answer.content


async def next_event(stream: aiohttp.StreamReader, name: str) -> Any:
    """The data of the next event of a name."""
    heard = ""
    while True:
        line = (await asyncio.wait_for(stream.readline(), 30)).decode()
        assert line, "the stream ended"
        if line.startswith("event: "):
            heard = line[7:-1]
        elif line.startswith("data: ") and heard == name:
            return json.loads(line[6:])


@asynccontextmanager
async def opened(
    output: Path, by: str = "", *, rebuild: Callable[[], bytes] | None = None, **options: Any
) -> AsyncIterator[Page]:
    gallery = output / "gallery"
    (gallery / "assets").mkdir(parents=True, exist_ok=True)
    (gallery / "assets" / "app.0123456789ab.js").write_text("1")

    def make_copy(name: str) -> bool:
        (gallery / "thumbs").mkdir(exist_ok=True)
        if name == "thumbs/made.webp":
            (gallery / name).write_bytes(b"RIFF")
        return name == "thumbs/made.webp"

    site = Site(gallery=gallery, page=PAGE, encode=encode, make_copy=make_copy, rebuild=rebuild)
    desk = Desk(lambda: open_album(output), SystemClock(), by)
    async with serve_review(desk, site, look_seconds=0.05, **options) as review, aiohttp.ClientSession() as http:
        yield Page(review, http, output)


async def test_the_page_its_files_and_pictures_are_served(output: Path) -> None:
    """With types, and what never changes is cached."""
    picture = open_album(output).entry("a").versions[0].pictures[0].path
    async with opened(output) as page:
        assert await page.get("") == (200, PAGE)
        assert await page.get("../" + picture) == (200, (output / picture).read_bytes())
        async with page.http.get(page.url("assets/app.0123456789ab.js")) as script:
            assert "immutable" in script.headers["Cache-Control"]
            assert script.content_type == "text/javascript"
            assert script.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in script.headers["Content-Security-Policy"]


async def test_a_missing_small_copy_is_made_when_a_page_asks_for_it(output: Path) -> None:
    """What is looked at comes first."""
    async with opened(output) as page:
        assert await page.get("thumbs/made.webp") == (200, b"RIFF")
        assert (await page.get("thumbs/other.webp"))[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../ledger.jsonl",
        "../decisions.jsonl",
        "../images/../ledger.jsonl",
        "../images/%2e%2e/ledger.jsonl",
        "%2e%2e/%2e%2e/etc/passwd",
        "assets/../../ledger.jsonl",
        "../images/secret.png",
        "../images/notes.txt",
        "..%2fledger.jsonl",
        "nothing.js",
    ],
)
async def test_nothing_but_pages_and_pictures_is_served(output: Path, path: str) -> None:
    """Not the ledger, nothing above, no link that leads out of the folder, no other kind of file."""
    outside = output.parent / "secret.png"
    outside.write_bytes(b"secret")
    (output / "images" / "secret.png").symlink_to(outside)
    (output / "images" / "notes.txt").write_text("secret")
    async with opened(output) as page:
        base = page.review.address.removesuffix("gallery/") + "gallery/"
        reader, writer = await asyncio.open_connection("127.0.0.1", page.review.port)
        target = "/" + base.split("/", 3)[3] + path
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{page.review.port}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = await reader.read()
        writer.close()

    assert answer.split(b" ")[1] == b"404"
    assert b"secret" not in answer
    assert b"root:" not in answer


async def test_without_the_token_there_is_nothing(output: Path) -> None:
    """Neither a page, nor a picture, nor a decision."""
    async with opened(output) as page:
        for path in (
            "",
            "gallery/",
            "wrong/gallery/",
            "wrong/images/a.png",
            page.review.address.split("/")[3][:-1] + "x/gallery/",
        ):
            async with page.http.get(f"http://127.0.0.1:{page.review.port}/{path}") as answer:
                assert answer.status == 404
        async with page.http.post(f"http://127.0.0.1:{page.review.port}/x/gallery/api/decisions", data="[]") as answer:
            assert answer.status == 404


async def test_another_name_for_this_machine_is_refused(output: Path) -> None:
    """A foreign name that was made to lead here (DNS rebinding)."""
    async with opened(output) as page:
        assert (await page.get("", Host="shop.example"))[0] == 403
        assert (await page.get("", Host=f"shop.example:{page.review.port}"))[0] == 403
        assert (await page.get("", Host=f"localhost:{page.review.port}"))[0] == 200


async def test_a_decision_from_another_page_is_refused(output: Path) -> None:
    """`Origin` names the page that sent it; nothing is written."""
    async with opened(output) as page:
        own = f"http://127.0.0.1:{page.review.port}"
        assert (await page.decide(page.word(), Origin="https://shop.example"))[0] == 403
        assert (await page.decide(page.word(), Origin="null"))[0] == 403
        assert not (output / NAME).exists()
        assert (await page.decide(page.word(), Origin=own))[0] == 200


async def test_a_decision_is_on_the_disk_when_the_page_hears_of_it(output: Path) -> None:
    """By job and picture, with reasons, note and the reviewer's name."""
    async with opened(output, by="Ada") as page:
        word = page.word("b", "rejected", reasons=["hands"], note="six fingers")
        status, said = await page.decide(word)
        (decision,) = DecisionFile(output).lines()

    assert (status, said) == (200, {"saved": 1})
    assert (decision.job, decision.sha256, decision.verdict) == ("b", word["sha256"], Verdict.REJECTED)
    assert (decision.reasons, decision.note, decision.by, str(decision.side)) == (
        ("hands",),
        "six fingers",
        "Ada",
        "person",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"job": "z"},
        {"sha256": "0" * 64},
        {"verdict": "maybe"},
        {"note": "x" * 2001},
        {"reasons": ["x"] * 21},
        {"note": 7},
    ],
)
async def test_one_decision_that_makes_no_sense_refuses_all(output: Path, change: dict[str, Any]) -> None:
    """Nothing is written, and the reason is told in words."""
    async with opened(output) as page:
        status, said = await page.decide(page.word("a"), {**page.word("b"), **change})

    assert status == 409
    assert said["error"]
    assert not (output / NAME).exists()


@pytest.mark.parametrize("body", [b"", b"{", b"[[[[", b'"a"', b"\xff", b"null"])
async def test_a_body_that_is_no_list_of_decisions_is_refused(output: Path, body: bytes) -> None:
    """In words."""
    async with opened(output) as page, page.http.post(page.url("api/decisions"), data=body) as answer:
        assert answer.status == 409
        assert "not a list of decisions" in (await answer.json())["error"]


async def test_a_disk_that_takes_no_decision_says_so(output: Path) -> None:
    """The page must not show it as saved."""
    (output / NAME).mkdir()
    async with opened_without_decisions(output) as page:
        status, said = await page.decide(page.word_before)

    assert status == 500
    assert "decisions.jsonl" in said["error"]


@asynccontextmanager
async def opened_without_decisions(output: Path) -> AsyncIterator[Any]:
    """A page that was open before something took the file's place."""
    (output / NAME).rmdir()
    async with opened(output) as page:
        page.word_before = page.word()  # type: ignore[attr-defined]
        (output / NAME).mkdir()
        yield page


async def test_two_reviewers_lose_nothing(output: Path) -> None:
    """Each in a server of its own, at the same time; and each hears of the other's word."""
    async with opened(output, by="one") as one, opened(output, by="two") as two, one.events() as heard:
        await asyncio.gather(
            *(one.decide(one.word("a", note=f"{number}")) for number in range(20)),
            *(two.decide(two.word("b", "rejected", note=f"{number}")) for number in range(20)),
        )
        entries: dict[str, Any] = {}
        while {"a", "b"} - entries.keys():
            entries |= {each["id"]: each for each in await next_event(heard, "entries")}

    assert len(list(DecisionFile(output).lines())) == 40
    assert entries["b"]["verdicts"] == ["rejected"]


async def test_pages_hear_of_a_decision_made_elsewhere(output: Path) -> None:
    """As with `imagebatch reject`."""
    async with opened(output) as page, page.events() as heard:
        word = page.word("c", "rejected")
        DecisionFile(output).append(
            [Decision(at="2026-01-01T00:00:00.000Z", job="c", sha256=word["sha256"], verdict=Verdict.REJECTED)]
        )

        assert await next_event(heard, "entries") == [{"id": "c", "verdicts": ["rejected"], "versions": 1}]


async def test_pages_hear_of_new_pictures(output: Path) -> None:
    """A run beside the review: a further version, and a further job."""
    async with opened(output) as page, page.events() as heard:
        await asyncio.to_thread(run, output.parent, "a red cup", ids="ad")
        entries: dict[str, Any] = {}
        while entries.get("a", {}).get("versions") != 2 or entries.get("d", {}).get("versions") != 1:
            entries |= {each["id"]: each for each in await next_event(heard, "entries")}


async def test_a_page_loaded_later_hears_what_its_files_do_not_say(output: Path) -> None:
    """Decisions and pictures since they were written."""
    async with opened(output) as page:
        async with page.events() as first:
            await page.decide(page.word("b", "rejected"))
            await next_event(first, "entries")
        async with page.events() as second:
            assert await next_event(second, "entries") == [{"id": "b", "verdicts": ["rejected"], "versions": 1}]


async def test_after_many_changes_the_files_are_written_anew(output: Path) -> None:
    """Then a page that is loaded hears of nothing that they say."""
    built: list[bytes] = []

    def rebuild() -> bytes:
        built.append(b"anew")
        return b"anew"

    async with opened(output, rebuild=rebuild, most_told=2) as page:
        assert await page.get("") == (200, PAGE)
        async with page.events() as stream:
            await page.decide(*(page.word(job) for job in "abc"))
            await next_event(stream, "entries")
        assert await page.get("") == await page.get("") == (200, b"anew")
    assert built == [b"anew"]


async def test_an_output_that_was_replaced_makes_pages_load_anew(output: Path) -> None:
    """As when a rehearsal is moved away."""
    async with opened(output) as page, page.events() as heard:
        ledger = output / "ledger.jsonl"
        lines = ledger.read_bytes().splitlines(keepends=True)
        ledger.write_bytes(b"".join(lines[:3]))

        assert await next_event(heard, "reload") is None


async def test_a_taken_back_decision_counts_no_longer(output: Path) -> None:
    """Undo is a word like the others."""
    async with opened(output) as page:
        await page.decide(page.word("a", "rejected"))
        await page.decide(page.word("a", "undone"))

    assert open_album(output).entry("a").versions[0].pictures[0].decision is None
