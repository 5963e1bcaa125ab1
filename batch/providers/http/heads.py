"""Makes the head of an answer readable, however odd it is. What is behind it may be a picture that was paid for.

HTTP libraries refuse a whole answer for a header without a colon, a NUL, two lengths, or a length beside chunks.
Browsers and curl read on, and so do we. The announced length is kept apart: `http` counts the bytes itself, for an
answer that is longer or shorter than announced may be whole all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

#: The most a head may measure; curl takes 300 KB.
MAX_HEAD_BYTES: Final = 400 << 10
#: Where the announced length stands in a head that was mended.
ANNOUNCED: Final = "x-announced-length"

_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"(?:HTTP(/\d+(?:\.\d+)?)?|ICY)[ \t]+(\d{3})(?!\d)", re.IGNORECASE)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*(.*?)[ \t]*", re.DOTALL)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}[ \t]*(?:;[^\r\n]*)?\r?\n?")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class OddHead(ValueError):
    """The answer does not begin as one of HTTP does; the text says how."""


@dataclass(frozen=True, slots=True)
class Mended:
    """A head as any library reads it, and the first bytes of the body. `is_interim`: another head follows."""

    head: bytes
    body: bytes
    is_interim: bool


def mended(data: bytes, *, at_end: bool = False) -> Mended | None:
    """The head at the beginning of `data`; None while more is needed. `at_end`: no more comes.

    Raises `OddHead`.
    """
    data = data.lstrip(b"\r\n")
    end = _END.search(data)
    if end is None:
        if len(data) > MAX_HEAD_BYTES:
            raise OddHead(f"its headers are larger than {MAX_HEAD_BYTES >> 10} KB")
        return None
    if end.end() > MAX_HEAD_BYTES:
        raise OddHead(f"its headers are larger than {MAX_HEAD_BYTES >> 10} KB")
    first, *lines = re.split(rb"\r?\n", _FOLD.sub(b" ", data[: end.start()]))
    status = _STATUS.match(first)
    if status is None:
        raise OddHead("it does not begin with HTTP and a status")
    body = data[end.end() :]
    if status[2].startswith(b"1"):
        return Mended(head=b"HTTP/1.1 " + status[2] + b" Interim\r\n\r\n", body=body, is_interim=status[2] != b"101")
    headers = [(match[1], _CONTROL.sub(b" ", match[2])) for line in lines if (match := _HEADER.fullmatch(line))]
    chunked = any(name.lower() == b"transfer-encoding" and b"chunked" in value.lower() for name, value in headers)
    if chunked and not body and not at_end:
        return None  # only the body shows whether it comes in chunks
    framing = _framing(headers, chunked=chunked and (not body or _CHUNK_SIZE.match(body) is not None))
    kept = [(name, value) for name, value in headers if name.lower() not in _FRAMING_NAMES]
    lines = [b"HTTP/1.1 " + status[2] + b" Answer", *(b"%b: %b" % header for header in [*kept, *framing])]
    return Mended(head=b"\r\n".join(lines) + b"\r\n\r\n", body=body, is_interim=False)


_FRAMING_NAMES: Final = (b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"keep-alive", b"trailer")


def _framing(headers: list[tuple[bytes, bytes]], *, chunked: bool) -> list[tuple[bytes, bytes]]:
    """Chunks are told to the library, a length only to us: the body then goes on until the connection ends."""
    if chunked:
        return [(b"Transfer-Encoding", b"chunked")]
    lengths = {
        length.strip() for name, value in headers if name.lower() == b"content-length" for length in value.split(b",")
    }
    told = lengths.pop() if len(lengths) == 1 else b""
    return [(ANNOUNCED.encode(), told)] if _LENGTH.fullmatch(told) else []
