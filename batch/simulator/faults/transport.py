"""Broken bodies and broken connections."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import replace

from batch.simulator import delivery, refusals
from batch.simulator.answers import Scene, encode, good_answer, good_message
from batch.simulator.delivery import Answer, head
from batch.simulator.faults.fault import Act, Section
from batch.simulator.refusals import Refusal, detail

BODIES = Section("Broken bodies (answered 200, charged)")
CUTS = Section("Broken connections after the model ran (charged)")
EARLY = Section("Answers before the request was read (not charged)")
FRAMING = Section("Wrong HTTP")

_PAGE = b"<!doctype html><html><head><title>Console</title></head><body><div id=root></div></body></html>"


# ---- bodies -----------------------------------------------------------------------------------------------


def _sending(body: bytes, content_type: str = "application/json") -> Act:
    async def act(scene: Scene) -> Answer:  # noqa: ARG001
        return Answer(body=body, content_type=content_type)

    return act


BODIES.add(
    "html_200",
    "200 with the relay's front-end page: the path is wrong, no model ran (not charged)",
    _sending(_PAGE, "text/html; charset=utf-8"),
    billed=False,
)
BODIES.add("html_as_json_200", "200 with an HTML page declared as JSON", _sending(_PAGE))
BODIES.add("empty_200", "200 without a body", _sending(b""))
BODIES.add("list_200", "200 with []", _sending(b"[]"))
BODIES.add("object_200", "200 with {}", _sending(b"{}"))
BODIES.add("null_200", "200 with null", _sending(b"null"))
BODIES.add("number_200", "200 with a number", _sending(b"42"))
BODIES.add("half_json_200", "200 with JSON that stops, its length being right", _sending(b'{"candidates":[{"con'))
BODIES.add(
    "wrong_types_200",
    "200 with strings where lists belong",
    _sending(b'{"candidates":"none","usageMetadata":[],"promptFeedback":7}'),
)


@BODIES.fault("error_200", "200 whose body is an error", params={"code": 503})
async def _error_200(scene: Scene) -> Answer:
    words = {429: "RESOURCE_EXHAUSTED", 400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 500: "INTERNAL"}
    code = scene.params["code"]
    status = words.get(code, "UNAVAILABLE")
    answer = scene.refuse(Refusal(code, status, "The service is currently unavailable."))
    return replace(answer, status=200)


@BODIES.fault("refused_200", "200 that says it failed in a shape of its own")
async def _refused_200(_: Scene) -> Answer:
    return Answer(body=encode({"success": False, "code": 20012, "msg": "this size is not enabled for your group"}))


@BODIES.fault("detail_200", "200 whose body is a validator's complaint")
async def _detail_200(_: Scene) -> Answer:
    return Answer(body=encode({"detail": [{"loc": ["body", "imageConfig"], "msg": "extra fields not permitted"}]}))


@BODIES.fault("picture_as_html_200", "a good answer whose Content-Type says that it is a web page")
async def _picture_as_html(scene: Scene) -> Answer:
    answer = scene.answer(await good_message(scene))
    return replace(answer, content_type="text/html; charset=UTF-8")


@BODIES.fault("error_and_image_200", "200 with an error object beside a picture")
async def _error_and_image(scene: Scene) -> Answer:
    message = await good_message(scene)
    error = {"code": 503, "message": "late trouble", "status": "UNAVAILABLE"}
    return scene.answer({"error": error, **message})


@BODIES.fault("list_of_answer", "200 with the answer inside a list, as streams send it")
async def _list_of_answer(scene: Scene) -> Answer:
    return scene.answer([await good_message(scene)])


@BODIES.fault("event_stream", "200 with the answer as one server-sent event")
async def _event_stream(scene: Scene) -> Answer:
    answer = await good_answer(scene)
    return replace(answer, body=b"data: " + answer.body + b"\n\n", content_type="text/event-stream")


@BODIES.fault("gzip", "the answer compressed with gzip although nobody asked")
async def _gzip(scene: Scene) -> Answer:
    answer = await good_answer(scene)
    return replace(answer, body=gzip.compress(answer.body, 1, mtime=0), headers={"Content-Encoding": "gzip"})


@BODIES.fault("gzip_bomb", "a small gzip body that swells to many megabytes", params={"megabytes": 256})
async def _gzip_bomb(scene: Scene) -> Answer:
    body = await asyncio.to_thread(_bomb, scene.params["megabytes"])
    return Answer(body=body, headers={"Content-Encoding": "gzip"})


def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    blank = b" " * (1 << 20)
    return b"".join((*(packer.compress(blank) for _ in range(megabytes)), packer.compress(b"{}"), packer.flush()))


@BODIES.fault("gzip_lie", "Content-Encoding says gzip and the body is plain")
async def _gzip_lie(scene: Scene) -> Answer:
    return replace(await good_answer(scene), headers={"Content-Encoding": "gzip"})


@BODIES.fault("giant", "a giant body of honest length", params={"megabytes": 200})
async def _giant(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.giant(scene.params["megabytes"], "length"))


@BODIES.fault("giant_chunked", "a giant body in chunks, its length unknown", params={"megabytes": 200})
async def _giant_chunked(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.giant(scene.params["megabytes"], "chunked"))


@BODIES.fault("giant_undeclared", "a giant body that only the connection's end ends", params={"megabytes": 200})
async def _giant_undeclared(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.giant(scene.params["megabytes"], "close"))


# ---- connections ------------------------------------------------------------------------------------------


@CUTS.fault("cut", "closed after some bytes of the body (-1: half)", params={"bytes": -1})
async def _cut(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.cut(scene.params["bytes"]))


@CUTS.fault("cut_chunked", "closed within a chunked body (-1: half)", params={"bytes": -1})
async def _cut_chunked(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.cut_chunked(scene.params["bytes"]))


@CUTS.fault(
    "cut_at",
    "cut exactly some seconds after the request, as a proxy's limit does",
    params={"seconds": 1.0, "bytes": 0, "rst": False},
    own_time=True,
)
async def _cut_at(scene: Scene) -> Answer:
    seconds, count, rst = (scene.params[name] for name in ("seconds", "bytes", "rst"))
    if count == 0:
        return Answer(deliver=delivery.silence(rst=rst, after_seconds=seconds))
    return replace(await good_answer(scene), deliver=delivery.cut(count, rst=rst, after_seconds=seconds))


@CUTS.fault("http10", "HTTP/1.0, the connection's end ends the body; complete")
async def _http10(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.http_1_0(None))


@CUTS.fault("http10_cut", "HTTP/1.0, the connection's end ends the body; cut (-1: half)", params={"bytes": -1})
async def _http10_cut(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.http_1_0(scene.params["bytes"]))


@CUTS.fault("close", "closed without a byte of answer")
async def _close(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.silence())


@CUTS.fault("reset", "reset (RST) without a byte of answer")
async def _reset(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.silence(rst=True))


@CUTS.fault("reset_after_headers", "reset (RST) after the headers")
async def _reset_after_headers(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.reset_after_head())


@CUTS.fault("reset_in_body", "reset (RST) within the body (-1: half)", params={"bytes": -1})
async def _reset_in_body(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.cut(scene.params["bytes"], rst=True))


@CUTS.fault("hang", "no answer until the client leaves")
async def _hang(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.hang())


@CUTS.fault("late", "a good answer, some seconds late", params={"seconds": 5.0})
async def _late(scene: Scene) -> Answer:
    return replace(await good_answer(scene), deliver=delivery.late(scene.params["seconds"]))


@CUTS.fault("late_401", "401, some seconds late", params={"seconds": 5.0})
async def _late_401(scene: Scene) -> Answer:
    refused = scene.refuse(Refusal(401, "UNAUTHENTICATED", "Invalid credentials."))
    return replace(refused, deliver=delivery.late(scene.params["seconds"]))


@CUTS.fault("drip", "a good answer, a few bytes at a time", params={"bytes": 1, "seconds": 4.0})
async def _drip(scene: Scene) -> Answer:
    deliver = delivery.drip(max(1, scene.params["bytes"]), scene.params["seconds"])
    return replace(await good_answer(scene), deliver=deliver)


# ---- early ------------------------------------------------------------------------------------------------


def _early(refusal: Refusal) -> Act:
    async def act(scene: Scene) -> Answer:
        return replace(scene.refuse(refusal), deliver=delivery.early())

    return act


EARLY.add(
    "early_401",
    "401 before the body was read",
    _early(Refusal(401, "UNAUTHENTICATED", "Invalid credentials.")),
    early=True,
)
EARLY.add(
    "early_413",
    "413 before the body was read",
    _early(Refusal(413, "INVALID_ARGUMENT", "Request too large.")),
    early=True,
)
EARLY.add(
    "early_429",
    "429 before the body was read",
    _early(
        Refusal(
            429,
            "RESOURCE_EXHAUSTED",
            "Too many requests.\nPlease retry in 1s.",
            (detail("RetryInfo", retryDelay="1s"),),
        )
    ),
    early=True,
)


@EARLY.fault("early_413_close", "413 and the connection closed at once, while the client still sends", early=True)
async def _early_413_close(scene: Scene) -> Answer:
    answer = scene.refuse(refusals.Refusal(413, "INVALID_ARGUMENT", "Request too large."))
    return replace(answer, deliver=delivery.raw(lambda a: head(a) + a.body))


@EARLY.fault("early_reset", "reset (RST) while the client still sends", early=True, billed=False)
async def _early_reset(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.silence(rst=True))


@EARLY.fault("early_close", "closed before the request was read", early=True, billed=False)
async def _early_close(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.silence())


# ---- wrong HTTP -------------------------------------------------------------------------------------------


@FRAMING.fault(
    "redirect",
    "a redirect to another host: the key must not follow",
    params={"status": 307, "location": "http://127.0.0.2:9/stolen"},
)
async def _redirect(scene: Scene) -> Answer:
    return Answer(status=scene.params["status"], headers={"Location": scene.params["location"]})


def _bodiless(status: int) -> Act:
    async def act(scene: Scene) -> Answer:  # noqa: ARG001
        return Answer(status=status)

    return act


FRAMING.add("http_204", "204 No Content to a POST", _bodiless(204))
FRAMING.add("http_304", "304 Not Modified to a POST", _bodiless(304))


def _lengthy(length: str, about: str) -> None:
    async def act(scene: Scene) -> Answer:
        answer = await good_answer(scene)
        announced = {"more": len(answer.body) + 1000, "less": len(answer.body) - 10}.get(length, length)
        return replace(answer, deliver=delivery.raw(lambda a: head(a, length=announced) + a.body))

    name = {"more": "too_large", "less": "too_small", "-5": "negative"}.get(length, "nonsense")
    FRAMING.add(f"length_{name}", f"Content-Length is {about}", act)


_lengthy("more", "larger than the body")
_lengthy("less", "smaller than the body")
_lengthy("-5", "negative")
_lengthy("12abc", "no number")


@FRAMING.fault("length_twice", "two different Content-Length headers")
async def _length_twice(scene: Scene) -> Answer:
    answer = await good_answer(scene)
    return replace(
        answer,
        deliver=delivery.raw(lambda a: head(a).replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n") + a.body),
    )


@FRAMING.fault("length_and_chunked", "Content-Length together with a chunked body")
async def _length_and_chunked(scene: Scene) -> Answer:
    fields = {"Content-Length": "7", "Transfer-Encoding": "chunked"}
    answer = await good_answer(scene)
    return replace(
        answer,
        deliver=delivery.raw(lambda a: head(a, framing=fields) + delivery.chunk(a.body) + b"0\r\n\r\n"),
    )


@FRAMING.fault("chunked", "a good answer in chunks")
async def _chunked(scene: Scene) -> Answer:
    def make(answer: Answer) -> bytes:
        pieces = (answer.body[start : start + 10_000] for start in range(0, len(answer.body), 10_000))
        body = b"".join(map(delivery.chunk, pieces))
        return head(answer, framing={"Transfer-Encoding": "chunked"}) + body + b"0\r\n\r\n"

    return replace(await good_answer(scene), deliver=delivery.raw(make))


@FRAMING.fault("garbage", "bytes that are no HTTP")
async def _garbage(scene: Scene) -> Answer:  # noqa: ARG001
    return Answer(deliver=delivery.raw(lambda _: b"\x16\x03\x01\x02\x00SSH-2.0-nonsense\r\n\x00\xff" * 20))


@FRAMING.fault("many_headers", "a hundred thousand headers", params={"count": 100_000})
async def _many_headers(scene: Scene) -> Answer:
    count = scene.params["count"]
    extra = b"".join(b"X-%d: y\r\n" % number for number in range(count))
    answer = await good_answer(scene)
    return replace(answer, deliver=delivery.raw(lambda a: head(a)[:-2] + extra + b"\r\n" + a.body))


@FRAMING.fault("huge_header", "one header of a megabyte", params={"bytes": 1 << 20})
async def _huge_header(scene: Scene) -> Answer:
    line = b"X-Huge: " + b"h" * scene.params["bytes"] + b"\r\n"
    answer = await good_answer(scene)
    return replace(answer, deliver=delivery.raw(lambda a: head(a)[:-2] + line + b"\r\n" + a.body))


@FRAMING.fault("header_nul", "a header with a NUL")
async def _header_nul(scene: Scene) -> Answer:
    answer = await good_answer(scene)
    return replace(answer, deliver=delivery.raw(lambda a: head(a)[:-2] + b"X-Nul: a\x00b\r\n\r\n" + a.body))


@FRAMING.fault("extra_bytes", "bytes of another answer behind the body")
async def _extra_bytes(scene: Scene) -> Answer:
    answer = await good_answer(scene)
    stray = b"HTTP/1.1 500 Stray\r\nContent-Length: 0\r\n\r\n"
    return replace(answer, deliver=delivery.raw(lambda a: head(a) + a.body + stray))


@FRAMING.fault("interim", "many 1xx answers before the real one", params={"count": 50})
async def _interim(scene: Scene) -> Answer:
    flood = b"HTTP/1.1 103 Early Hints\r\nX-Hint: a\r\n\r\n" * scene.params["count"]
    answer = await good_answer(scene)
    return replace(answer, deliver=delivery.raw(lambda a: flood + head(a) + a.body))


@FRAMING.fault("http_101", "101 Switching Protocols that nobody asked for", billed=False)
async def _http_101(scene: Scene) -> Answer:  # noqa: ARG001
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    return Answer(status=101, body=encode({}), deliver=delivery.raw(lambda _: switch))
