"""The server: one request's way from the socket to the book and back.

For a request for pictures, in this order: number it; a fault that strikes early; read it whole; key;
content; quota; draw the answer (or the fault's); wait as long as a model takes; write it into the book;
deliver it; note the delivery. Nothing of an answer leaves before the book has it.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from batch.simulator import refusals
from batch.simulator.answers import FileShelf, PlainAnswers, Scene, encode, good_answer
from batch.simulator.billing import price
from batch.simulator.book import Book, Entry
from batch.simulator.delivery import JSON_TYPE, Answer, Connection, LeftError, Spent
from batch.simulator.faults.all_faults import EVERY_FAULT
from batch.simulator.images_answers import images_price
from batch.simulator.images_wire import PATH as IMAGES_PATH
from batch.simulator.images_wire import ImagesAsk, nothing_asked_of_images, read_images_ask
from batch.simulator.judging import CHAT_PATH, Question, read_question, verdict
from batch.simulator.pictures import Painter
from batch.simulator.quota import Quota
from batch.simulator.refusals import Refusal
from batch.simulator.script import Script, draw, rule_from_words, wire_of
from batch.simulator.settings import FaultRule, SimulatorOptionsError, SimulatorSettings
from batch.simulator.tables import MODELS
from batch.simulator.wire import PATH, Ask, nothing_asked, read_ask

_SHUTDOWN_SECONDS = 0.5


class _WordlessFilter(logging.Filter):
    """Keeps malformed requests out of the log: their lines may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, aiohttp.http_exceptions.HttpProcessingError)


_log = logging.getLogger("batch.simulator.http")
_log.addFilter(_WordlessFilter())


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A running simulator: where it is, and what it has charged."""

    base_url: str
    port: int
    book: Book


@asynccontextmanager
async def serve(
    settings: SimulatorSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    book_path: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Simulator]:
    """Serve while the block runs; port 0 takes a free one. `clock` is what the quotas go by.

    Raises SimulatorOptionsError for a host that is not loopback, unless the settings allow it.
    """
    if not settings.allow_remote and not _is_loopback(host):
        raise SimulatorOptionsError([f"{host} is not a loopback address; allow_remote permits it"])
    book = Book(book_path, entries_in_memory=settings.entries_in_memory)
    painter = Painter(style=settings.pictures, format_name=settings.format, picture_bytes=settings.picture_bytes)
    closing = asyncio.Event()
    try:
        with painter:
            quota = Quota(settings.requests_per_minute, settings.requests_per_day, clock)
            handler = _Handler(settings, book, painter, quota, closing)
            server = web.Server(handler.handle, access_log=None, logger=_log)
            runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_SECONDS)
            await runner.setup()
            try:
                site = web.TCPSite(runner, host, port, backlog=4096)
                await site.start()
                bound_port = int(runner.addresses[0][1])
                shown = f"[{host}]" if ":" in host else host
                handler.origin = f"http://{shown}:{bound_port}"
                yield Simulator(base_url=handler.origin, port=bound_port, book=book)
            finally:
                closing.set()
                await runner.cleanup()
    finally:
        book.close()


def _is_loopback(host: str) -> bool:
    name = host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass(slots=True, kw_only=True)
class _Visit:
    """One request for pictures on its way through the server."""

    request: web.BaseRequest
    connection: Connection
    entry: Entry
    ordinal: int
    version: str
    model_name: str
    #: Of the images API: which of its calls, and what it asks for once that is read.
    call: str = ""
    ask: ImagesAsk | None = None
    is_question: bool = False


class _Handler:
    """Answers requests. Holds what lasts longer than one of them."""

    def __init__(
        self,
        settings: SimulatorSettings,
        book: Book,
        painter: Painter,
        quota: Quota,
        closing: asyncio.Event,
    ) -> None:
        self.origin = ""
        self._settings = settings
        #: AnyFast is a relay in all but the spelling of its parts.
        self._flavour = "relay" if settings.flavour == "anyfast" else settings.flavour
        self._book = book
        self._painter = painter
        self._quota = quota
        self._closing = closing
        self._script = Script(settings.faults, settings.seed)
        self._files = FileShelf()
        self._plain = PlainAnswers()
        self._arrivals = 0
        self._server_id = secrets.token_hex(4)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        arrived = asyncio.get_running_loop().time()
        if not self._settings.allow_remote and not _is_loopback(_host_name(request.headers.get("Host", ""))):
            return web.Response(status=421, text="This simulator answers to loopback names only.\n")
        path = request.path
        if path.startswith("/__simulator__/"):
            return self._about(request)
        if path.startswith("/files/"):
            return await self._file(request, arrived)
        visit = self._visit(request, arrived)
        if visit is None:
            return self._no_such_path(request)
        self._book.in_flight += 1
        try:
            return await self._generate(visit)
        except LeftError:
            return Spent()
        finally:
            self._book.in_flight -= 1

    def _visit(self, request: web.BaseRequest, arrived: float) -> _Visit | None:
        """A request that makes pictures, in either API, or asks about one; None for any other."""
        found, images = PATH.match(request.path), IMAGES_PATH.match(request.path)
        if request.method != "POST":
            return None
        if CHAT_PATH.match(request.path):
            return self._welcome(request, arrived, "v1", "")
        if images is not None:
            return self._welcome(request, arrived, "", "", call=images["call"])
        if found is None or found["method"] != "generateContent":
            return None
        return self._welcome(request, arrived, found["version"], found["model"])

    def _welcome(self, request: web.BaseRequest, arrived: float, version: str, model: str, *, call: str = "") -> _Visit:
        self._arrivals += 1
        n = self._book.next_n()
        entry = Entry(
            n=n,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            client_request_id=request.headers.get("X-Client-Request-Id"),
            request_id=f"sim-{self._server_id}-{n}",
            model=model,
        )
        connection = Connection(request, arrived, self._closing)
        return _Visit(
            request=request,
            connection=connection,
            entry=entry,
            ordinal=self._arrivals,
            version=version,
            model_name=model,
            call=call,
        )

    # ---- the way of a generateContent request -------------------------------------------------------------

    async def _generate(self, visit: _Visit) -> web.StreamResponse:
        try:
            asked = _rule_in_header(visit.request)
        except SimulatorOptionsError as error:
            text = "X-Simulate: " + "; ".join(error.messages)
            return await self._conclude(visit, Answer(status=400, body=text.encode(), content_type="text/plain"))
        early = asked if asked and EVERY_FAULT[asked.fault].early else self._script.before_reading(visit.ordinal)
        if early is not None:
            return await self._commit(visit, early, self._scene(visit, _nothing_asked(visit)))
        try:
            body = await self._read_body(visit)
            self._check_key(visit)
            question = None if visit.call else read_question(body, is_chat=not visit.model_name)
            if question is not None:
                return await self._give_verdict(visit, question)
            scene = self._scene(visit, self._read_ask(visit, body))
        except Refusal as refusal:
            return await self._conclude(visit, self._scene(visit, _nothing_asked(visit)).refuse(refusal))
        _note_ask(visit.entry, scene.ask)
        lane = scene.ask.lane
        rule = asked if asked and EVERY_FAULT[asked.fault].is_for(lane, wire_of(scene.ask)) else None
        rule = rule or self._script.after_reading(visit.ordinal, scene.ask)
        if rule is not None:
            return await self._commit(visit, rule, scene)
        refusal_by_quota = self._quota.refusal(scene.ask.model.name)
        if refusal_by_quota is not None:
            return await self._conclude(visit, scene.refuse(refusal_by_quota))
        plain = self._settings.pictures == "plain" and scene.ask.wants_image and not visit.call
        answer = await (self._plain.answer(scene) if plain else good_answer(scene))
        await self._think(visit)
        return await self._conclude(visit, answer, billed=True)

    async def _give_verdict(self, visit: _Visit, question: Question) -> web.StreamResponse:
        """Charged like a picture is, at no price: what a question costs is the user's word."""
        visit.entry.prompt = question.text
        visit.is_question = True
        scene = self._scene(visit, nothing_asked())
        rule = self._script.after_reading(visit.ordinal, scene.ask)
        if rule is not None:
            return await self._commit(visit, rule, scene)
        refused = self._quota.refusal(visit.model_name)
        if refused is not None:
            return await self._conclude(visit, scene.refuse(refused))
        await self._think(visit)
        answer = Answer(body=verdict(question, re.compile(self._settings.judge_accepts)))
        return await self._conclude(visit, answer, billed=True)

    async def _commit(self, visit: _Visit, rule: FaultRule, scene: Scene) -> web.StreamResponse:
        """Answer with a fault."""
        fault = EVERY_FAULT[rule.fault]
        visit.entry.fault = fault.name
        scene.params = {**fault.params, **rule.params}
        answer = await fault.act(scene)
        if answer.status == 200 and not fault.early and not fault.own_time:
            await self._think(visit)
        billed = answer.status == 200 and not fault.early
        for override in (fault.billed, rule.billed):
            billed = billed if override is None else override
        return await self._conclude(visit, answer, billed=billed)

    async def _think(self, visit: _Visit) -> None:
        """Take as long as a model does. The model goes on when the client leaves, but not when we close."""
        low, high = self._settings.latency_seconds
        if high <= 0:
            return
        seconds = low + (high - low) * draw(self._settings.seed, "latency", visit.ordinal)
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return
        raise LeftError

    async def _conclude(self, visit: _Visit, answer: Answer, *, billed: bool = False) -> web.StreamResponse:
        """Write the request into the book, then deliver the answer."""
        entry = visit.entry
        silent = answer.deliver is not None and not answer.body and answer.status == 200
        entry.http_status = None if silent else answer.status
        entry.images = answer.images
        entry.billed = billed
        entry.served = (answer.served or entry.lane) if billed else None
        entry.usd = self._price(visit, answer)
        self._book.record(entry)
        headers = {**self._own_headers(visit), **answer.headers}
        if answer.deliver is not None:
            framed = Answer(
                status=answer.status,
                body=answer.body,
                content_type=answer.content_type,
                headers=headers,
                images=answer.images,
            )
            if await answer.deliver(visit.connection, framed):
                self._book.mark_delivered(entry.n)
            return Spent()
        response = web.Response(
            status=answer.status,
            body=answer.body,
            headers={**headers, "Content-Type": answer.content_type},
        )
        await self._deliver(visit, response)
        return response

    def _own_headers(self, visit: _Visit) -> dict[str, str]:
        """What the provider says of every request. Google names the lane that served it; a relay knows of none."""
        entry = visit.entry
        if visit.call:
            return {"x-request-id": entry.request_id, "openai-version": "2020-10-01"}
        if self._flavour == "relay":
            return {"X-Oneapi-Request-Id": entry.request_id}
        served = {} if entry.served is None else {"x-gemini-service-tier": entry.served}
        return {"x-request-id": entry.request_id, **served}

    def _price(self, visit: _Visit, answer: Answer) -> float:
        entry = visit.entry
        if entry.served is None or visit.is_question:
            return 0.0
        if visit.ask is not None:
            return images_price(answer, visit.ask, self._settings.billing)
        model = MODELS.get(entry.model or "", nothing_asked().model)
        return price(answer, model, entry.image_size or "1K", self._settings.billing, entry.served)

    async def _deliver(self, visit: _Visit, response: web.Response) -> None:
        try:
            await response.prepare(visit.request)
            await response.write_eof()
        except ConnectionError:
            raise LeftError from None
        await visit.connection.drain()
        self._book.mark_delivered(visit.entry.n)

    async def _read_body(self, visit: _Visit) -> bytes:
        """The whole body. One that never arrives whole is noted, not charged, and ends in LeftError."""
        body = bytearray()
        limit = self._settings.max_request_bytes
        try:
            if visit.request.headers.get("Expect", "").lower() == "100-continue":
                await visit.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            while block := await visit.request.content.readany():
                body += block
                if len(body) > limit:
                    await visit.connection.swallow_request()
                    raise refusals.body_too_large(limit)
        except (ConnectionError, aiohttp.ClientError, web.RequestPayloadError):
            self._book.record(visit.entry)
            raise LeftError from None
        return bytes(body)

    def _check_key(self, visit: _Visit) -> None:
        """Raises Refusal."""
        key = _key_of(visit.request, bearer_only=bool(visit.call))
        if not key:
            raise refusals.images_key_missing() if visit.call else refusals.key_missing()
        accepted = self._settings.keys
        if accepted and not any(hmac.compare_digest(key.encode(), good.encode()) for good in accepted):
            raise refusals.images_key_invalid() if visit.call else refusals.key_invalid()

    def _read_ask(self, visit: _Visit, body: bytes) -> Ask:
        """Raises Refusal."""
        if visit.call:
            visit.ask = read_images_ask(body, visit.request.headers.get("Content-Type", ""), visit.call)
            visit.entry.model = visit.ask.model.name
            return visit.ask
        return read_ask(body, visit.model_name, visit.version, self._flavour)

    def _scene(self, visit: _Visit, ask: Ask) -> Scene:
        return Scene(
            ask=ask,
            n=visit.entry.n,
            request_id=visit.entry.request_id,
            flavour="openai" if visit.call else self._flavour,
            spelling="parts" if self._settings.flavour == "anyfast" else self._settings.spelling,
            origin=self.origin,
            painter=self._painter,
            files=self._files,
            key=_key_of(visit.request),
            take=_take_of(visit.entry.client_request_id or ""),
        )

    # ---- everything else ----------------------------------------------------------------------------------

    def _about(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/__simulator__/book":
            return _json(self._book.summary(entries=request.query.get("entries") != "0"))
        if request.path == "/__simulator__/health":
            return _json({"ok": True, "flavour": self._settings.flavour})
        return self._no_such_path(request)

    async def _file(self, request: web.BaseRequest, arrived: float) -> web.StreamResponse:
        """A picture that was handed out as a link."""
        self._book.downloads += 1
        if _key_of(request):
            self._book.downloads_with_key += 1
        name = request.path.removeprefix("/files/")
        found = self._files.get(name)
        if found is None or found[1] == "404":
            return web.Response(status=404, text="expired\n")
        picture, manner = found
        if manner == "503_once":
            self._files.set_manner(name, "ok")
            return web.Response(status=503, text="try again\n")
        if manner == "html":
            return web.Response(text="<html>log in</html>", content_type="text/html")
        response = web.Response(body=picture.data, content_type=picture.mime)
        if manner == "cut":
            connection = Connection(request, arrived, self._closing)
            return await self._cut_file(connection, picture.data, picture.mime)
        return response

    async def _cut_file(self, connection: Connection, data: bytes, mime: str) -> web.StreamResponse:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        try:
            await connection.send(head + data[: len(data) // 2])
        except LeftError:
            return Spent()
        connection.close()
        return Spent()

    def _no_such_path(self, request: web.BaseRequest) -> web.Response:
        """Google answers 404 in HTML; a relay names the URL, here without its query."""
        if self._flavour == "google":
            page = "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title></html>"
            return web.Response(status=404, text=page, content_type="text/html")
        error = {
            "message": f"Invalid URL ({request.method} {request.path})",
            "type": "invalid_request_error",
            "param": "",
            "code": "",
        }
        return _json({"error": error}, status=404)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=encode(value, ascii_only=True), headers={"Content-Type": JSON_TYPE})


def _nothing_asked(visit: _Visit) -> Ask:
    """Stands for a request whose body is not (yet) known."""
    return nothing_asked_of_images() if visit.call else nothing_asked()


def _note_ask(entry: Entry, ask: Ask) -> None:
    entry.prompt = ask.prompt
    entry.aspect_ratio = ask.aspect_ratio
    entry.image_size = ask.image_size
    entry.references = len(ask.references)
    entry.lane = ask.lane


def _rule_in_header(request: web.BaseRequest) -> FaultRule | None:
    words = request.headers.get("X-Simulate")
    return rule_from_words(words) if words else None


def _take_of(client_request_id: str) -> int:
    """The number at its end, 1 if there is none that could count attempts."""
    number = client_request_id.rpartition(".")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) < 6 else 1


def _key_of(request: web.BaseRequest, *, bearer_only: bool = False) -> str:
    """The key, in the order in which relays look for it."""
    header = request.headers.get("x-goog-api-key")
    if header and not bearer_only:
        return header.strip()
    if (key := request.query.get("key")) and not bearer_only:
        return key.strip()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
