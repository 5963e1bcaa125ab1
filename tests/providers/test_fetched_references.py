"""Reference pictures at web addresses: fetched once, kept, and never from where the manifest does not say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batch.core.errors import OutputError
from batch.manifest.references.hosts import ListedHosts
from batch.manifest.references.references import picture_kind
from batch.providers.http import transport
from batch.providers.references import fetched as fetched_references
from batch.providers.references.cache import KeptPicture, ReferenceCache, cache_folder
from batch.providers.references.fetched import FetchedReferences
from tests.support.fakes import QuickClock
from tests.support.picture_host import PictureHost, http, picture_host, png

CDN = "https://cdn.example.com"


@pytest.fixture
async def host(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PictureHost]:
    """A host for which some names stand; whatever is fetched in a test comes from there."""
    async with picture_host("cdn.example.com", "img.shop.example", "other.example") as made:
        monkeypatch.setattr(fetched_references, "WebReader", made.reader)
        yield made


class Fetcher:
    """Fetches as a run does, and remembers what it was told."""

    def __init__(self, folder: Path) -> None:
        self.cache = ReferenceCache(folder / "cache")
        self.clock = QuickClock()
        self.told: list[str] = []

    async def __call__(
        self, *urls: str, refresh: bool = False, hosts: Iterable[str] = ("cdn.example.com", "*.shop.example")
    ) -> FetchedReferences:
        allows = ListedHosts(hosts).allows
        fetched = FetchedReferences(self.cache, picture_kind, allows, self.clock, refresh=refresh)
        await fetched.fetch(urls, self.told.append)
        return fetched


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path)


async def test_a_picture_is_fetched_once_and_kept(host: PictureHost, fetch: Fetcher) -> None:
    """However often it is named, and in the next run without a request."""
    host.replies = {"/a.png?signature=secret": http(png()), "/b.png": http(png(9), "200 OK", 'ETag: "v1"')}
    urls = [f"{CDN}/a.png?signature=secret", "https://img.shop.example/b.png"]

    fetched = await fetch(*urls, *urls)
    again = await fetch(*urls)

    assert sorted(host.paths) == ["/a.png?signature=secret", "/b.png"]
    for url, data in zip(urls, (png(), png(9)), strict=True):
        picture = fetched.get(url)
        assert picture == again.get(url)
        assert (picture.problem, picture.mime, picture.size_bytes) == ("", "image/png", len(data))
        assert picture.file.read_bytes() == data
    assert fetch.told == [
        f"fetching reference pictures; they are kept in {fetch.cache.folder}",
        "reference pictures fetched: 2",
    ]


async def test_what_is_kept_is_the_owners_and_names_no_address(host: PictureHost, fetch: Fetcher) -> None:
    """An address may be signed, and then it is a key; a picture may be secret before it is published."""
    host.replies = {"/a.png?signature=secret": http(png())}
    await fetch(f"{CDN}/a.png?signature=secret")
    found = sorted(fetch.cache.folder.parent.rglob("*"))
    files = [path for path in found if path.is_file()]
    assert len(files) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in found)
    assert all(word not in path.read_bytes() for path in files for word in (b"secret", b"example"))


async def test_nothing_of_ours_goes_along(host: PictureHost, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no cookie, no proxy of the environment; the name that was meant is the name that is spoken to."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ANYFAST_API_KEY", "sk-canary-0123456789")
    host.replies = {f"/{n}": http(png(), "200 OK", "Set-Cookie: a=b") for n in range(2)}
    for n in range(2):
        await fetch(f"{CDN}/{n}")
    for head in host.asked:
        assert "host: cdn.example.com\r\n" in head.lower()
        assert not [word for word in ("canary", "key", "authorization", "cookie", "referer") if word in head.lower()]


async def test_refresh_asks_whether_it_is_another(host: PictureHost, fetch: Fetcher) -> None:
    """With the server's own words for the version; an answer 304 keeps what is there."""
    dated = 'ETag: "v1"', "Last-Modified: Mon, 05 Jan 2026 10:00:00 GMT"
    host.replies = {
        "/same.png": [http(png(), "200 OK", *dated), http(status="304 Not Modified")],
        "/new.png": [http(png(), "200 OK", *dated), http(png(20), "200 OK", 'ETag: "v2"')],
        "/plain.png": [http(png()), http(png(21))],
        "/gone.png": [http(png()), http(status="404 Not Found")],
    }
    urls = [f"{CDN}{path}" for path in host.replies]
    before = await fetch(*urls)
    sides = [before.get(url).size_bytes for url in urls]

    after = await fetch(*urls, refresh=True)

    assert sides == [len(png())] * 4
    assert [after.get(url).file.read_bytes() for url in urls[:3]] == [png(), png(20), png(21)]
    assert after.get(urls[3]).problem == "cannot be fetched: answered 404"
    conditional = [head.lower() for head in host.asked[4:] if "if-none-match" in head.lower()]
    assert len(conditional) == 2
    assert all('if-none-match: "v1"\r\nif-modified-since: mon, 05 jan' in head for head in conditional)
    assert await fetch(*urls[:3]) is not None
    assert len(host.asked) == 8


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")


async def never_ending(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * (1 << 20))
        await writer.drain()


FAILURES: dict[str, tuple[Any, str, int]] = {
    "404": (http(status="404 Not Found"), "cannot be fetched: answered 404", 1),
    "403": (http(status="403 Forbidden"), "cannot be fetched: answered 403", 1),
    "500": (http(status="500 Oops"), "cannot be fetched: answered 500", 3),
    "429": (http(status="429 Slow down"), "cannot be fetched: answered 429", 3),
    "304 unasked": (http(status="304 Not Modified"), "cannot be fetched: answered 304", 3),
    "no picture": (
        http(b"<html>"),
        "is a web page; a reference must be a PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF or JPEG 2000",
        1,
    ),
    "half a picture": (http(png(300)[:-40]), "is damaged or cut off (", 1),
    "nothing": (http(), "is empty", 1),
    "announced too large": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 20971521\r\n\r\n",
        "cannot be fetched: it is larger than 20 MB",
        1,
    ),
    "too large": (never_ending, "cannot be fetched: it is larger than 20 MB", 1),
    "cut": (hang_up, "cannot be fetched: the answer ended before its end", 3),
    "no HTTP": (b"SSH-2.0\r\n\r\n", "cannot be fetched: the answer is not HTTP", 3),
    "in circles": (
        http(b"", "302 Found", "Location: /x?signature=secret"),
        "cannot be fetched: is redirected again and again",
        4,
    ),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_what_cannot_be_fetched(what: str, host: PictureHost, fetch: Fetcher) -> None:
    """It is a sentence for the check, and nothing is kept; what may pass is tried three times in all."""
    reply, problem, requests = FAILURES[what]
    url = f"{CDN}/x?signature=secret"
    host.replies = {"/x?signature=secret": reply, "/good.png": http(png())}

    fetched = await fetch(url, f"{CDN}/good.png")

    failure = fetched.get(url)
    assert failure.problem.startswith(problem)
    assert failure.missing == (what == "404")
    assert "secret" not in failure.problem
    assert host.paths.count("/x?signature=secret") == requests
    assert fetched.get(f"{CDN}/good.png").problem == ""
    assert fetch.cache.find(url) is None


async def test_a_server_that_says_nothing_is_left(
    host: PictureHost, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is for all redirects together."""

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(fetched_references, "_SECONDS", 0.3)
    host.replies = {"/x": silence}
    fetched = await fetch(f"{CDN}/x")
    assert fetched.get(f"{CDN}/x").problem == "cannot be fetched: no answer in time"


async def test_what_passes_is_no_failure(host: PictureHost, fetch: Fetcher) -> None:
    """A busy server has two more tries, after a pause."""
    host.replies = {"/x": [http(status="503 Busy"), http(status="500 Oops"), http(png())]}
    fetched = await fetch(f"{CDN}/x")
    assert fetched.get(f"{CDN}/x").problem == ""
    assert fetch.clock.skipped_seconds == 5.0


async def test_a_host_that_is_down_is_given_up(host: PictureHost, fetch: Fetcher) -> None:
    """A hundred thousand pictures of a dead host would take days to fail."""
    urls = [f"{CDN}/{n}" for n in range(200)]
    host.replies = {f"/{n}": http(status="503 Busy") for n in range(200)} | {"/good.png": http(png())}
    fetched = await fetch(*urls, "https://img.shop.example/good.png")
    problems = [fetched.get(url).problem for url in urls]
    assert problems[-1] == "was not tried: 20 others in a row could not be fetched from its host"
    assert len(host.asked) < 3 * 50
    assert fetched.get("https://img.shop.example/good.png").problem == ""


async def test_several_at_a_time(host: PictureHost, fetch: Fetcher) -> None:
    """Sixteen, and not seventeen."""
    all_there = asyncio.Event()

    async def wait_for_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if host.in_flight == 16:
            all_there.set()
        await all_there.wait()
        writer.write(http(png()))

    host.replies = {f"/{n}": wait_for_all for n in range(60)}
    fetched = await fetch(*(f"{CDN}/{n}" for n in range(60)))
    assert not any(fetched.get(f"{CDN}/{n}").problem for n in range(60))
    assert host.most_in_flight <= 17  # one may still be closing while the next one comes


async def test_long_fetching_says_how_far_it_is(host: PictureHost, fetch: Fetcher) -> None:
    """Now and then, not for every picture."""
    host.replies = {f"/{n}": [http(status="503 Busy")] * 2 + [http(png())] for n in range(30)}
    await fetch(*(f"{CDN}/{n}" for n in range(30)))
    assert fetch.told[-1] == "reference pictures fetched: 30"
    assert 3 <= len(fetch.told) <= 20
    assert all(text.startswith("reference pictures fetched so far: ") for text in fetch.told[1:-1])


# ---- where it may lead ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://cdn.example.com/x.png", "not https"),
        ("http://169.254.169.254/latest/meta-data", "not https"),
        ("https://127.0.0.1/x.png", "not a public host"),
        ("https://[::1]/x.png", "not a public host"),
        ("https://[64:ff9b::7f00:1]/x.png", "not a public host"),
        ("https://localhost/x.png", "not a public host"),
        ("https://2130706433/x.png", "not a public host"),
        ("file:///etc/passwd", "not a web address"),
        ("//other.example/x.png", "its host is not listed in reference_hosts"),
        ("https://other.example/x.png", "its host is not listed in reference_hosts"),
        ("https://cdn.example.com.other.example/x.png", "its host is not listed in reference_hosts"),
        ("https://user@cdn.example.com/x.png", "a user name in it"),
        ("https://cdn.example.com:8443/x.png", "port 8443"),
        ("https://cdn.example.com\\@other.example/x.png", "odd characters"),
        ("/x.png?a b", "odd characters"),
    ],
)
async def test_a_redirect_is_checked_like_the_first_address(
    location: str, why: str, host: PictureHost, fetch: Fetcher
) -> None:
    """One connection, to the host that was listed, and none after it."""
    host.replies = {"/x.png": http(b"", "302 Found", f"Location: {location}")}
    fetched = await fetch(f"{CDN}/x.png")
    expected = f"cannot be fetched: it leads to an address that is not opened ({why})"
    assert fetched.get(f"{CDN}/x.png").problem == expected
    assert (host.connections, host.resolved) == (1, ["cdn.example.com"])


async def test_a_redirect_among_listed_hosts_is_followed(host: PictureHost, fetch: Fetcher) -> None:
    """Three times at most; the picture counts for the address the manifest names."""
    host.replies = {
        "/1": http(b"", "301 Moved", "Location: https://img.shop.example/2"),
        "/2": http(b"", "307 Moved", "Location: 3"),
        "/3": http(b"", "308 Moved", "Location: //cdn.example.com/4"),
        "/4": http(png()),
    }
    fetched = await fetch(f"{CDN}/1")
    assert fetched.get(f"{CDN}/1").problem == ""
    assert host.resolved == ["cdn.example.com", "img.shop.example", "img.shop.example", "cdn.example.com"]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://127.0.0.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://good.com\\@evil.com/",
        "https://user:word@good.com/",
        "https://good.com:444/",
        "https://good.com/\n",
        "file:///etc/passwd",
    ],
)
async def test_addresses_that_are_never_opened(url: str, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a manifest's list allowed everything, no connection is tried and no name is asked for."""

    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr("aiohttp.TCPConnector._wrap_create_connection", never)
    monkeypatch.setattr(transport.PublicResolver, "resolve", never)
    fetched = FetchedReferences(fetch.cache, picture_kind, lambda _: True, fetch.clock, refresh=False)
    await fetched.fetch([url], fetch.told.append)
    assert fetched.get(url).problem.startswith("cannot be fetched: it leads to an address that is not opened (")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "64:ff9b::7f00:1", "2002:7f00:1::"])
async def test_a_listed_name_with_a_private_address_is_not_opened(
    address: str, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One private address among public ones is enough."""
    found = [
        {"hostname": "x", "host": host, "port": 443, "family": 2, "proto": 0, "flags": 0}
        for host in ("93.184.216.34", address)
    ]

    async def resolve(*_: Any, **__: Any) -> Any:
        return found

    async def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr("aiohttp.TCPConnector._wrap_create_connection", never)
    fetched = await fetch(f"{CDN}/x.png")
    assert fetched.get(f"{CDN}/x.png").problem.endswith("not opened (not a public host)")


async def test_what_was_checked_is_connected_to(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is asked for once per connection, so an answer that changes afterwards changes nothing."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1", "127.0.0.1"])
    connected: list[str] = []

    async def resolve(*_: Any, **__: Any) -> Any:
        return [{"hostname": "x", "host": next(answers), "port": 443, "family": 2, "proto": 6, "flags": 0}]

    async def connect(*_: Any, addr_infos: Any, **__: Any) -> None:
        connected.extend(info[4][0] for info in addr_infos)
        raise OSError("no network in a test")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    monkeypatch.setattr("aiohttp.TCPConnector._wrap_create_connection", connect)
    fetched = await fetch(f"{CDN}/x.png")
    assert connected == ["93.184.216.34"]
    assert fetched.get(f"{CDN}/x.png").problem.endswith("not opened (not a public host)")  # by the second try


async def test_a_certificate_for_another_host_is_refused(host: PictureHost, fetch: Fetcher) -> None:
    """Whoever answers must be who was meant; trying again would change nothing."""
    host.replies = {"/x.png": http(png())}
    fetched = await fetch("https://www.example.com/x.png", hosts=["www.example.com"])
    assert "ertificate" in fetched.get("https://www.example.com/x.png").problem
    assert host.asked == []


# ---- the cache --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"sha256": "../../../etc/passwd", "mime": "image/png", "size_bytes": 1}',
        b'{"sha256": 1, "mime": "image/png", "size_bytes": 1}',
        b'{"mime": "image/png"}',
        b"[" * 10_000,
    ],
)
async def test_a_damaged_record_is_no_record(damage: bytes, host: PictureHost, fetch: Fetcher) -> None:
    """It is fetched again, and right afterwards."""
    host.replies = {"/x.png": http(png())}
    await fetch(f"{CDN}/x.png")
    [record] = (fetch.cache.folder / "urls").rglob("*.json")
    record.write_bytes(damage)
    fetched = await fetch(f"{CDN}/x.png")
    assert fetched.get(f"{CDN}/x.png").file.read_bytes() == png()
    assert len(host.asked) == 2


@pytest.mark.parametrize("change", ["remove", "cut"])
async def test_a_picture_that_is_gone_is_fetched_again(change: str, host: PictureHost, fetch: Fetcher) -> None:
    """All of the cache may be deleted at any time, part of it too; a power cut may have emptied a file."""
    host.replies = {"/x.png": http(png())}
    picture = (await fetch(f"{CDN}/x.png")).get(f"{CDN}/x.png")
    picture.file.unlink()
    if change == "cut":
        picture.file.touch()
    assert (await fetch()).get(f"{CDN}/x.png").problem == "was not there when the pictures were fetched; run again"
    fetched = await fetch(f"{CDN}/x.png")
    assert fetched.get(f"{CDN}/x.png").file.read_bytes() == png()


async def test_a_refresh_repairs_a_damaged_picture(host: PictureHost, fetch: Fetcher) -> None:
    """A server that says "as before" must not keep alive what the disk has spoilt."""
    tagged = http(png(), "200 OK", 'ETag: "v1"')
    host.replies = {"/x.png": tagged}
    file = (await fetch(f"{CDN}/x.png")).get(f"{CDN}/x.png").file
    file.write_bytes(b"x" * len(png()))
    fetched = await fetch(f"{CDN}/x.png", refresh=True)
    assert "if-none-match" not in host.asked[1].lower()
    assert fetched.get(f"{CDN}/x.png").file.read_bytes() == png()


async def test_a_header_that_cannot_be_sent_back_is_not_kept(host: PictureHost, fetch: Fetcher) -> None:
    """What a stranger's server says goes into a request only if it is plain and short."""
    host.replies = {"/x.png": http(png(), "200 OK", f"ETag: {'e' * 2000}", "Last-Modified: g\xe4stern")}
    await fetch(f"{CDN}/x.png")
    kept = fetch.cache.find(f"{CDN}/x.png")
    assert kept is not None
    assert kept.conditions == {}


async def test_a_cache_that_cannot_be_written_says_so(host: PictureHost, fetch: Fetcher) -> None:
    """It is a matter of this machine, not of the manifest."""
    fetch.cache.folder.write_bytes(b"a file in the way")
    host.replies = {"/x.png": http(png())}
    with pytest.raises(OutputError, match=r"cannot be kept in .*/cache: .*; make room there, or name another folder"):
        await fetch(f"{CDN}/x.png")


async def test_several_processes_may_share_it(tmp_path: Path) -> None:
    """Readers see one whole record or the other, never a mixture."""
    cache = ReferenceCache(tmp_path / "cache")
    versions = [(png(8), {"etag": "a" * 900}), (png(30), {"etag": "b"})]

    def write() -> None:
        for n in range(150):
            data, headers = versions[n % 2]
            ReferenceCache(tmp_path / "cache").keep("u", data, "image/png", headers)

    def read() -> set[tuple[int, str]]:
        found = [cache.find("u") for _ in range(600)]
        return {(kept.size_bytes, kept.etag) for kept in found if kept is not None}

    write()
    results = await asyncio.gather(*(asyncio.to_thread(work) for work in (write, read, write, read)))
    seen = {each for found in results if found is not None for each in found}
    assert seen <= {(len(data), headers["etag"]) for data, headers in versions}
    assert len([path for path in cache.folder.rglob("*") if path.is_file()]) == 3


async def test_an_address_costs_little_memory(fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table may name a million."""
    kept = KeptPicture(sha256="0" * 64, mime="image/png", size_bytes=1)
    monkeypatch.setattr(fetch.cache, "find", lambda _: kept)
    fetched = FetchedReferences(fetch.cache, picture_kind, lambda _: True, fetch.clock, refresh=False)
    before = {name: sys.getsizeof(value) for name, value in vars(fetched).items()}
    await fetched.fetch((f"{CDN}/{n}.png" for n in range(70_000)), fetch.told.append)
    grown = {name: sys.getsizeof(value) - before[name] for name, value in vars(fetched).items()}
    assert [name for name, size_bytes in grown.items() if size_bytes] == ["_seen"]
    assert (grown["_seen"] + sum(map(sys.getsizeof, vars(fetched)["_seen"]))) / 70_000 < 120
    assert fetch.told == []


def test_where_pictures_are_kept() -> None:
    """As the rules for such folders say; a relative one is none."""
    assert cache_folder({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/imagebatch/references")
    assert cache_folder({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == Path("/h/.cache/imagebatch/references")
    assert cache_folder({"HOME": "/h"}) == Path("/h/.cache/imagebatch/references")


async def test_records_are_small_and_plain(host: PictureHost, fetch: Fetcher) -> None:
    """What the documentation says of a record."""
    host.replies = {"/x.png": http(png(), "200 OK", 'ETag: "v1"')}
    await fetch(f"{CDN}/x.png")
    [record] = (fetch.cache.folder / "urls").rglob("*.json")
    assert json.loads(record.read_bytes())["etag"] == '"v1"'
    assert len(record.read_bytes()) < 400
