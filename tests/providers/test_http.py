"""Every way an exchange can break, and what it means for the money. Over real sockets."""

from __future__ import annotations

import asyncio
import errno
import gc
import gzip
import ssl
import subprocess
import zlib
from pathlib import Path
from shutil import which
from typing import Any

import aiohttp
import pytest

from batch.core.errors import AttemptError, ConfigError, EndpointDown, NotSent, OutcomeUnknown, Paid
from batch.core.settings import Auth, Timeouts
from batch.providers.http import receiving
from batch.providers.http.unpacking import Unpacker

LARGE = [b"x" * (1 << 20)] * 32
BODY = b'{"a":1}'


async def post(client: Any, tools: Any, pieces: Any = (b"{}",)) -> Any:
    """The sink of one request that was answered."""
    sink = tools.Sink()
    head = await client.post(tools.PATH, pieces, {}, sink.begin)
    assert head == sink.head
    return sink


# ---- good answers -----------------------------------------------------------------------------------------

CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
DEFLATED = zlib.compress(BODY)
GOOD = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + BODY,
    "chunked": CHUNKED,
    "until the end": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "extra bytes": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + BODY + b"HTTP/1.1 500 Stray\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 50 + CHUNKED,
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(BODY),
    "x-gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nConnection: close\r\n\r\n" + gzip.compress(BODY),
    "deflate": b"HTTP/1.1 200 OK\r\nContent-Encoding: Deflate\r\nConnection: close\r\n\r\n" + DEFLATED,
    "identity": b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 7\r\n\r\n" + BODY,
    "odd header bytes": b"HTTP/1.1 200 OK\r\nX-Odd: \xff\xe9\r\nContent-Length: 7\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("framing", GOOD)
async def test_whole_answers_arrive_however_they_are_framed(
    framing: str, raw_server: Any, paid: Any, tools: Any
) -> None:
    """Length, chunks, the end of the connection, compression nobody asked for: the body is the same."""
    peer = await raw_server(GOOD[framing])
    sink = await post(paid(peer.url), tools)
    assert (sink.head.status, bytes(sink.body)) == (200, BODY)


async def test_the_request_is_what_was_meant(raw_server: Any, paid: Any, tools: Any) -> None:
    """One POST with length, type and our headers; no chunks, no cookies, nothing that asks for compression."""
    peer = await raw_server(tools.answer())
    await paid(peer.url).post(tools.PATH, [b'{"a":', b"1}"], {"X-Client-Request-Id": "r.1"}, tools.Sink().begin)
    head, _, body = peer.requests[0].partition(b"\r\n\r\n")
    lines = {line.partition(b":")[0].lower(): line for line in head.split(b"\r\n")[1:]}
    assert body == b'{"a":1}'
    assert set(lines) == {
        b"host",
        b"accept",
        b"connection",
        b"accept-encoding",
        b"user-agent",
        b"x-client-request-id",
        b"content-type",
        b"content-length",
        b"x-goog-api-key",
    }
    assert lines[b"accept-encoding"].endswith(b": identity")


AUTH = {
    Auth.QUERY: b"?key=sk-canary%2F%2Bkey%3D0123456789abcdef HTTP/1.1",
    Auth.HEADER: b"x-goog-api-key: sk-canary/+key=0123456789abcdef\r\n",
    Auth.BEARER: b"Authorization: Bearer sk-canary/+key=0123456789abcdef\r\n",
}


@pytest.mark.parametrize("auth", Auth)
async def test_the_key_travels_in_one_place(auth: Auth, raw_server: Any, paid: Any, tools: Any) -> None:
    """Each style puts the key where it says and nowhere else."""
    peer = await raw_server(tools.answer())
    await post(paid(peer.url + "/prefix", auth=auth), tools)
    (request,) = peer.requests
    assert request.startswith(b"POST /prefix/v1beta/models/")
    assert [style for style, mark in AUTH.items() if mark.lower() in request.lower()] == [auth]


@pytest.mark.parametrize("url", ["http://[::1", "http://\x00", "http://host:port"])
def test_an_address_that_is_none_is_a_configuration_error(url: str, paid: Any) -> None:
    """Said before anything is sent."""
    with pytest.raises(ConfigError):
        paid(url)


def timers_to(port: int) -> list[str]:
    """Which timers run on established connections to a port: `02` is the one that keeps alive."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row[5][:2] for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux tells it there")
async def test_a_connection_on_which_nothing_moves_is_kept_alive(raw_server: Any, paid: Any, tools: Any) -> None:
    """While an answer takes its time the kernel looks after the other end, or a router would forget the connection."""
    peer = await raw_server(b"", end="hang")
    asked = asyncio.create_task(post(paid(peer.url), tools))
    port = int(peer.url.rpartition(":")[2].rstrip("/"))
    timers: list[str] = []
    while not timers and not asked.done():
        await asyncio.sleep(0.01)
        timers = timers_to(port)
    assert timers == ["02"]
    asked.cancel()


# ---- broken exchanges -------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
BROKEN: dict[str, tuple[bytes, str, str]] = {
    "closed without a byte": (b"", "close", "no_answer"),
    "reset without a byte": (b"", "reset", "no_answer"),
    "half a status line": (b"HTTP/1.1 20", "close", "no_answer"),
    "half of the headers": (b"HTTP/1.1 200 OK\r\nContent-Le", "close", "no_answer"),
    "no HTTP": (b"\x16\x03\x01 nonsense\r\n\x00" * 20, "close", "no_answer"),
    "cut after the headers": (HEAD, "close", "cut"),
    "reset after the headers": (HEAD, "reset", "cut"),
    "cut in the body": (HEAD + b"x" * 400, "close", "cut"),
    "reset in the body": (HEAD + b"x" * 400, "reset", "cut"),
    "cut in a chunk": (CHUNKED[:-10], "close", "cut"),
    "cut before the last chunk": (CHUNKED[:-5], "close", "cut"),
    "a chunk of no length": (CHUNKED.replace(b"\r\n4\r\n", b"\r\nzz\r\n"), "close", "no_answer"),
    "many headers": (b"HTTP/1.1 200 OK\r\n" + b"X-A: y\r\n" * 100_000 + b"\r\n", "close", "no_answer"),
    "a huge header": (b"HTTP/1.1 200 OK\r\nX-A: " + b"h" * (1 << 20) + b"\r\n\r\n", "close", "no_answer"),
    "giant, announced": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "close", "cut"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_request_that_was_sent_whole_may_be_paid(what: str, raw_server: Any, paid: Any, tools: Any) -> None:
    """After the last byte of the request went out, no broken answer counts as unpaid."""
    reply, end, code = BROKEN[what]
    peer = await raw_server(reply, end=end)
    with pytest.raises(OutcomeUnknown) as caught:
        await post(paid(peer.url), tools)
    assert (caught.value.code, caught.value.paid) == (code, Paid.MAYBE)
    assert len(peer.requests) == 1


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_large_request_cut_while_it_is_written_was_not_sent(
    end: str, raw_server: Any, paid: Any, tools: Any
) -> None:
    """The server cannot have what we still hold: nothing was bought, and it may be sent again."""

    async def cutting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1000)
        if end == "reset":
            tools.reset(writer)

    peer = await raw_server(cutting)
    with pytest.raises(NotSent) as caught:
        await post(paid(peer.url), tools, LARGE)
    assert caught.value.code == "not_sent_connection"


async def test_a_refused_connection_was_not_sent(raw_server: Any, paid: Any, tools: Any) -> None:
    """Nothing listens: nothing was sent."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(NotSent, match="cannot connect"):
        await post(paid(f"http://127.0.0.1:{port}"), tools)


async def test_a_name_that_does_not_resolve_was_not_sent(paid: Any, tools: Any) -> None:
    """No address, no request."""
    with pytest.raises(NotSent) as caught:
        await post(paid("http://nowhere.invalid"), tools)
    assert caught.value.code == "not_sent_connection"


@pytest.mark.parametrize("phase", ["connecting", "sending"])
async def test_time_that_runs_out_before_the_request_is_out_costs_nothing(
    phase: str, raw_server: Any, paid: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that does not come up, or a server that does not read: the request is still ours."""

    async def ignoring(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    peer = await raw_server(ignoring)
    if phase == "connecting":
        monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", lambda *_: asyncio.Event().wait())
    quick = Timeouts(connect_seconds=0.1, write_seconds=0.1, read_seconds=5, total_seconds=5)
    with pytest.raises(NotSent, match=phase) as caught:
        await post(paid(peer.url, timeouts=quick), tools, LARGE)
    assert caught.value.code == "not_sent_timeout"


async def _slow_drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("manner", ["silent", "silent after the headers", "drips", "interim answers for ever"])
async def test_time_that_runs_out_after_sending_may_be_paid(
    manner: str, raw_server: Any, paid: Any, tools: Any
) -> None:
    """Silence meets the reading time, endless drips the total; both leave open what was bought."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tools.read_request(reader)
        if manner == "silent after the headers":
            writer.write(HEAD)
        elif manner == "drips":
            await _slow_drip(writer)
        while manner == "interim answers for ever":
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)
        await reader.read()

    peer = await raw_server(slow)
    quick = Timeouts(connect_seconds=5, write_seconds=5, read_seconds=0.2, total_seconds=0.5)
    with pytest.raises(OutcomeUnknown) as caught:
        await post(paid(peer.url, timeouts=quick), tools)
    assert caught.value.code == "timeout"
    assert caught.value.elapsed_seconds > 0


async def test_progress_renews_the_time_of_a_phase(raw_server: Any, paid: Any, tools: Any) -> None:
    """The reading time is for silence: an answer that keeps coming may take longer in all."""

    async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tools.read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    peer = await raw_server(steady)
    quick = Timeouts(connect_seconds=5, write_seconds=5, read_seconds=0.6, total_seconds=30)
    sink = await post(paid(peer.url, timeouts=quick), tools)
    assert len(sink.body) == 20


@pytest.mark.parametrize("framing", ["chunked", "until the end", "gzip"])
async def test_a_giant_answer_is_cut_at_the_limit(
    framing: str, raw_server: Any, paid: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an announced length, and behind compression, the bytes themselves are counted."""
    monkeypatch.setattr(receiving, "MAX_BODY_BYTES", 1 << 20)
    body = b" " * (8 << 20)
    reply = {
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body,
        "until the end": b"HTTP/1.0 200 OK\r\n\r\n" + body,
        "gzip": tools.answer(gzip.compress(body), "200 OK", "Content-Encoding: gzip"),
    }[framing]
    peer = await raw_server(reply)
    sink = tools.Sink()
    await paid(peer.url).post(tools.PATH, [b"{}"], {}, sink.begin)
    assert sink.flaw == "it has more than 1048576 bytes"
    assert len(sink.body) <= 1 << 20


def test_a_bomb_is_inflated_in_bounded_pieces() -> None:
    """However small the body and however large what it swells to, a piece stays small."""
    bomb = gzip.compress(bytes(64 << 20), 9)
    pieces = [len(piece) for piece in Unpacker().feed(bomb)]
    assert sum(pieces) == 64 << 20
    assert max(pieces) <= 256 << 10


# ---- early answers, redirects, odd statuses ---------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 413, 429])
async def test_an_answer_before_the_body_was_read_is_used(status: int, raw_server: Any, paid: Any, tools: Any) -> None:
    """The status says more than the write that failed after it."""

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(tools.answer(b'{"error":{}}', f"{status} X", "Connection: close"))
        await writer.drain()
        while await reader.read(1 << 20):
            pass

    peer = await raw_server(early)
    sink = await post(paid(peer.url), tools, LARGE)
    assert (sink.head.status, bytes(sink.body)) == (status, b'{"error":{}}')


@pytest.mark.parametrize("reply", [b"HTTP/1.1 503 X\r\nContent-Length: 900\r\n\r\nhalf", b"HTTP/1.1 429 X\r\n\r\n"])
async def test_the_status_of_an_error_counts_even_if_its_body_breaks_off(
    reply: bytes, raw_server: Any, paid: Any, tools: Any
) -> None:
    """The body was only to explain it."""
    peer = await raw_server(reply, end="reset")
    sink = await post(paid(peer.url), tools)
    assert sink.head.status in (503, 429)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int, raw_server: Any, paid: Any, tools: Any) -> None:
    """The key and the purchase stay with the configured endpoint."""
    other = await raw_server(tools.answer())
    peer = await raw_server(tools.answer(b"", f"{status} Moved", f"Location: {other.url}/stolen"))
    sink = await post(paid(peer.url), tools)
    assert sink.head.status == status
    assert other.requests == []


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_statuses_without_a_body_do_not_hang(status: str, raw_server: Any, paid: Any, tools: Any) -> None:
    """There is nothing to wait for."""
    peer = await raw_server(f"HTTP/1.1 {status}\r\n\r\n".encode(), end="hang")
    sink = await post(paid(peer.url), tools)
    assert sink.body == b""


async def test_cookies_are_not_kept(raw_server: Any, paid: Any, tools: Any) -> None:
    """A cookie would tie one purchase to the next."""
    peer = await raw_server(tools.answer(b"{}", "200 OK", "Set-Cookie: a=b; Path=/"))
    client = paid(peer.url)
    for _ in range(2):
        await post(client, tools)
    assert not any(b"cookie" in request.lower() for request in peer.requests)


async def test_proxies_of_the_environment_are_not_used(
    raw_server: Any, paid: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would see the key; it is not for the environment to choose."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    peer = await raw_server(tools.answer())
    await post(paid(peer.url), tools)
    assert len(peer.requests) == 1


# ---- TLS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server context with a certificate nobody vouches for."""
    openssl = which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_is_not_trusted_stops_the_run(
    self_signed: ssl.SSLContext, raw_server: Any, paid: Any, tools: Any
) -> None:
    """Somebody else may sit there: no retry, and the key never left."""
    peer = await raw_server(tools.answer(), ssl=self_signed)
    with pytest.raises(EndpointDown) as caught:
        await post(paid(peer.url), tools)
    assert caught.value.code == "tls"
    assert peer.requests == []


async def test_a_server_without_tls_stops_the_run(raw_server: Any, paid: Any, tools: Any) -> None:
    """https to a port that speaks http is a wrong address, not bad luck."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    peer = await raw_server(plain)
    with pytest.raises(EndpointDown) as caught:
        await post(paid(peer.url.replace("http:", "https:")), tools)
    assert caught.value.code == "tls"


async def test_a_handshake_that_breaks_off_is_tried_again(raw_server: Any, paid: Any, tools: Any) -> None:
    """A server that restarts closes connections in the middle of a handshake; that is no wrong certificate."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)

    peer = await raw_server(closing)
    with pytest.raises(NotSent):
        await post(paid(peer.url.replace("http:", "https:")), tools)


# ---- foreign errors and cancelling ------------------------------------------------------------------------


def _subclasses(kind: type[BaseException]) -> set[type[BaseException]]:
    return {kind}.union(*(_subclasses(inner) for inner in kind.__subclasses__()))


def _made(kind: type[BaseException]) -> BaseException | None:
    """An error of any class, whatever its constructor wants; None if it cannot be made."""
    connecting = issubclass(kind, (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError))
    usual = ((), ("words",), (errno.EIO, "words"), (None, ()))
    for arguments in ((_Key(), OSError(errno.EIO, "words")),) if connecting else usual:
        try:
            return kind(*arguments)
        except Exception:  # noqa: BLE001  (the next arguments may fit)
            continue
    return None


class _Key:
    """Stands for aiohttp's description of a connection."""

    host, port, ssl, is_ssl = "host", 443, None, True


FOREIGN = sorted(
    {
        kind
        for root in (aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError, OSError, ValueError, EOFError)
        for kind in _subclasses(root)
        if kind.__module__.split(".")[0] in ("aiohttp", "builtins", "ssl", "socket", "asyncio")
    }
    | {RuntimeError, AssertionError, TypeError, KeyError, asyncio.IncompleteReadError, asyncio.LimitOverrunError},
    key=lambda kind: (kind.__module__, kind.__qualname__),
)
MAKEABLE = [kind for kind in FOREIGN if _made(kind) is not None]


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", MAKEABLE, ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
async def test_every_error_of_the_lower_libraries_has_a_home(
    kind: type[Exception], where: str, raw_server: Any, paid: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but our own family leaves the client, and what was sent decides which member it is."""
    error = _made(kind)
    assert error is not None
    peer = await raw_server(tools.answer(BODY))
    place: tuple[type, str] = (aiohttp.ClientSession, "_request")
    if where == "after":
        place = aiohttp.StreamReader, "readany"

    async def raising(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(place[0], place[1], raising)
    with pytest.raises(AttemptError) as caught:
        await post(paid(peer.url), tools)
    assert caught.value.__context__ is None
    assert isinstance(caught.value, (NotSent, EndpointDown) if where == "before" else (OutcomeUnknown, EndpointDown))


async def test_cancelling_at_any_point_leaves_nothing_behind(raw_server: Any, paid: Any, tools: Any) -> None:
    """A cancelled request gives back its task and its socket, and the client goes on working."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.001)
        writer.write(tools.answer(BODY))
        await writer.drain()
        await reader.read()

    peer = await raw_server(slow)
    client = paid(peer.url)
    before = len(asyncio.all_tasks())
    for ticks in range(45):
        task = asyncio.create_task(client.post(tools.PATH, [b"x" * 200_000], {}, tools.Sink().begin))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert bytes((await post(client, tools)).body) == BODY
    gc.collect()
    while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  (the server's tasks end when they see the end)
        await asyncio.sleep(0.005)
    # aiohttp shows nowhere else which connections are still in use.
    connector: Any = client._client._transport._inner._session.connector  # noqa: SLF001
    assert connector._acquired == set()  # noqa: SLF001


async def test_a_consumers_own_error_passes_through(raw_server: Any, paid: Any, tools: Any, tmp_path: Path) -> None:
    """A full disk is not the network's fault and must not be taken for it."""
    peer = await raw_server(tools.answer(BODY))

    def begin(head: Any) -> Any:
        raise FileExistsError(tmp_path)

    with pytest.raises(FileExistsError):
        await paid(peer.url).post(tools.PATH, [b"{}"], {}, begin)
