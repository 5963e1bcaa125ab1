"""Decodes an answer while it arrives: long JSON strings go to spool files, the rest stays as a small skeleton.

A 4K picture is 24 MB of base64 inside one JSON string. Holding it, parsing it and decoding it costs several
times its size per request in flight; here memory holds one network chunk and the skeleton. The scanner knows
nothing of JSON but where strings begin and end, so key order, spellings, white space and several pictures in
one answer need no rules of their own.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from typing import Final

import pybase64

from batch.core.signatures import begins_as_picture
from batch.providers.base import Blob, BlobWriter
from batch.providers.secrets import RedactingStream, Redactor

#: Strings longer than this go to a file. Captions and URLs are shorter, pictures longer.
LONG_STRING_BYTES: Final = 16 * 1024
#: Text that may stand before or after a picture inside one string, kept in memory.
AROUND_PICTURE_BYTES: Final = 64 * 1024
#: Pictures in one text beyond the first, and the longest `data:...;base64,` that is known across the seam of chunks.
_MORE_DATA_URLS: Final = 15
_LONGEST_DATA_HEAD: Final = 120
#: How much of a string is looked at to tell base64 from text.
_LOOK_BYTES: Final = 1024
#: What replaces string n in the skeleton. A server that sends these words itself can only point at its own
#: strings, so they need no protection.
REFERENCE_PREFIX: Final = "spool://"

_DATA_URL = re.compile(rb"data:[a-zA-Z0-9.+-]*(?:\\?/[a-zA-Z0-9.+-]+)?(?:;[a-zA-Z0-9=.-]+)*;base64,")
#: A letter of base64, or white space, written as its number. JSON allows that for every character.
_LETTER_ESCAPE: Final = rb"\\u00(?:0[9aAdD]|2[0bBdDfF]|3[0-9dD]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])"
_ODD_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/=_\s-]|\\[/rnt]|" + _LETTER_ESCAPE + rb")*")
#: What base64 outside of a string consists of: no white space, and no more of escapes than `\\/` needs.
_BARE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-\\"
_BARE_RUN = re.compile(rb"[A-Za-z0-9+/=_\\-]*")
#: White space between tokens, as some servers send it to keep a connection alive or to fill a buffer.
_FILLING = re.compile(rb"[ \t\r\n]{64,}")
_FILLING_BYTES: Final = 1024
_BEGIN = re.compile(rb"[{\[]")
_BEGIN_OF_STRING = re.compile(rb"\s*(?=\")")
#: Characters no text holds; every picture has some near its beginning.
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PICTURE_LOOK_BYTES: Final = 32
_PADDED = re.compile(rb"[^=]*={1,2}")
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?")
_WHITE_SPACE_ESCAPE = re.compile(rb"\\[rnt]")
_CHARACTER_ESCAPE = re.compile(_LETTER_ESCAPE)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE = b" \t\r\n"


#: Behind a document there may be line ends and NULs.
_PADDING: Final = b" \t\r\n\0;"
_END_LOOK_BYTES: Final = 64
_NO_KEY: Final = Redactor(None)


class StringSpooler:
    """Feed it the body's bytes; it returns the skeleton and the blobs.

    `new_blob` opens a file for a long string. Errors of writing pass through. A body whose skeleton passes
    `skeleton_limit_bytes` is none of this API: from there on it goes into a file as it is, and `flaw` says so.
    """

    def __init__(
        self,
        new_blob: Callable[[], BlobWriter],
        *,
        skeleton_limit_bytes: int = 8 << 20,
        redactor: Redactor = _NO_KEY,
    ) -> None:
        self._new_blob = new_blob
        self._redactor = redactor
        #: Where the skeleton holds small pictures, which no mask may touch.
        self._pictures: list[tuple[int, int]] = []
        self._limit = skeleton_limit_bytes
        self._rest: RawFile | None = None
        self._skeleton = bytearray()
        self._blobs: list[Blob] = []
        self._string: bytearray | None = None
        self._long: _LongString | None = None
        self._escape_open = False
        self._begun = False
        #: Base64 outside of a string: where a quote is missing or too many, or quotes are none of JSON's.
        self._bare: _LongString | None = None
        self._bare_bytes = 0

    @property
    def flaw(self) -> str | None:
        return f"more than {self._limit} bytes beside its long strings" if self._rest is not None else None

    @property
    def looks_whole(self) -> bool:
        """Whether what came so far may be all: it ends outside of a string, with a bracket or an end mark."""
        is_outside = self._string is None and self._bare is None
        return is_outside and self._skeleton[-_END_LOOK_BYTES:].rstrip(_PADDING).endswith((b"}", b"]", b")"))

    def feed(self, chunk: bytes) -> None:
        if self._rest is not None:
            self._rest.feed(chunk)
            return
        position = 0 if self._begun else self._before(chunk)
        while position < len(chunk):
            position = self._outside(chunk, position) if self._string is None else self._inside(chunk, position)
        if len(self._skeleton) > self._limit:
            self._close_rest_of_string()
            self._rest = RawFile(self._new_blob(), self._redactor)

    def finish(self) -> tuple[bytes, tuple[Blob, ...]]:
        """The skeleton and its blobs. A string cut by the end of the body stays cut, so parsing will fail."""
        self._close_rest_of_string()
        if self._rest is not None:
            self._skeleton += f"{REFERENCE_PREFIX}{len(self._blobs)}".encode()
            self._blobs.append(self._rest.finish())
        return self._redacted(), tuple(self._blobs)

    def _close_rest_of_string(self) -> None:
        if self._bare is not None:
            self._close_bare(self._bare)
        elif self._long is not None:
            self._skeleton += b'"' + REFERENCE_PREFIX.encode() + str(len(self._blobs)).encode()
            self._blobs += self._long.finish()
        elif self._string is not None:
            self._skeleton += b'"' + self._string
        self._string = self._long = None

    def _redacted(self) -> bytes:
        """The skeleton without the key, whose base64 may stand in a picture by design of the server."""
        out, start = [], 0
        for begin, end in self._pictures:
            out += [self._redactor.data(bytes(self._skeleton[start:begin])), bytes(self._skeleton[begin:end])]
            start = end
        return b"".join([*out, self._redactor.data(bytes(self._skeleton[start:]))])

    def close(self) -> None:
        """Give the open file back, when the answer broke off."""
        for file in (self._long, self._bare, self._rest):
            if file is not None:
                file.close()

    def _before(self, chunk: bytes) -> int:
        """Pass over what stands before the first document: a quote there (in a server's warning) begins no string."""
        is_first = not self._skeleton.strip()
        begin = (_BEGIN_OF_STRING.match(chunk) if is_first else None) or _BEGIN.search(chunk)
        self._begun = begin is not None
        end = len(chunk) if begin is None else begin.end()
        self._pass_over(chunk[:end], is_over=begin is not None)
        return end

    def _outside(self, chunk: bytes, start: int) -> int:
        if self._bare is not None:
            return self._within_bare(self._bare, chunk, start)
        quote = chunk.find(b'"', start)
        if quote < 0:
            self._pass_over(chunk[start:], is_over=False)
            return len(chunk)
        self._pass_over(chunk[start:quote], is_over=True)
        self._string = bytearray()
        return quote + 1

    def _pass_over(self, piece: bytes, *, is_over: bool) -> None:
        """Keep what stands outside of strings, a long filling of white space shortened.

        `is_over`: a string follows. Otherwise it may be base64 that begins here and goes on in the next chunk.
        """
        if len(piece) > _FILLING_BYTES:
            piece = _FILLING.sub(b"\n", piece)
        self._skeleton += piece
        at_end = 0 if is_over else len(piece) - len(piece.rstrip(_BARE))
        self._bare_bytes = at_end + (self._bare_bytes if at_end == len(piece) and not is_over else 0)
        if self._bare_bytes > LONG_STRING_BYTES:
            opening = bytes(self._skeleton[-self._bare_bytes :])
            del self._skeleton[-self._bare_bytes :]
            self._bare, self._bare_bytes, self._begun = _LongString(self._new_blob, opening, self._redactor), 0, True

    def _within_bare(self, bare: _LongString, chunk: bytes, start: int) -> int:
        run = _BARE_RUN.match(chunk, start)
        assert run is not None
        bare.feed(run[0])
        if run.end() < len(chunk):
            self._close_bare(bare)
        return run.end()

    def _close_bare(self, bare: _LongString) -> None:
        self._skeleton += REFERENCE_PREFIX.encode() + str(len(self._blobs)).encode()
        self._blobs += bare.finish()
        self._bare = None

    def _inside(self, chunk: bytes, start: int) -> int:
        end = self._string_end(chunk, start)
        self._take(chunk[start:] if end < 0 else chunk[start:end])
        if end < 0:
            return len(chunk)
        self._close_string()
        return end + 1

    def _string_end(self, chunk: bytes, start: int) -> int:
        """Index of the closing quote, or -1 if the string continues in the next chunk."""
        position = start
        if self._escape_open:
            position += 1
            self._escape_open = False
        quote = chunk.find(b'"', position)
        while True:
            backslash = chunk.find(b"\\", position, quote if quote >= 0 else len(chunk))
            if backslash < 0:
                return quote
            position = backslash + 2
            if position > len(chunk):
                self._escape_open = True
                return -1
            if 0 <= quote < position:  # only then, or a chunk full of escapes would be searched once for each
                quote = chunk.find(b'"', position)

    def _take(self, piece: bytes) -> None:
        if self._long is not None:
            self._long.feed(piece)
            return
        assert self._string is not None
        self._string += piece
        if len(self._string) > LONG_STRING_BYTES:
            self._long = _LongString(self._new_blob, bytes(self._string), self._redactor)
            self._string.clear()

    def _close_string(self) -> None:
        if self._long is not None:
            self._skeleton += f'"{REFERENCE_PREFIX}{len(self._blobs)}"'.encode()
            self._blobs += self._long.finish()
            self._long = None
        else:
            assert self._string is not None
            self._skeleton += b'"'
            if _is_picture(self._string):
                self._pictures.append((len(self._skeleton), len(self._skeleton) + len(self._string)))
            self._skeleton += self._string + b'"'
        self._string = None


class RawFile:
    """The rest of a body, as it comes, without the key."""

    def __init__(self, writer: BlobWriter, redactor: Redactor) -> None:
        self._writer = writer
        self._text = redactor.stream()
        self._size_bytes = 0

    def feed(self, raw: bytes) -> None:
        self._write(self._text.feed(raw))

    def finish(self) -> Blob:
        self._write(self._text.finish())
        self._writer.close()
        return Blob(file=self._writer.file, size_bytes=self._size_bytes, is_base64=False)

    def close(self) -> None:
        self._writer.close()

    def discard(self) -> None:
        self._writer.discard()

    def _write(self, data: bytes) -> None:
        self._writer.write(data)
        self._size_bytes += len(data)


class _LongString:
    """One long string on its way into a file: base64, a data URL, a text with data URLs in it, or plain text.

    `more` data URLs are taken out of the text behind the first, each into a file of its own.
    """

    def __init__(
        self, new_blob: Callable[[], BlobWriter], opening: bytes, redactor: Redactor, *, more: int = _MORE_DATA_URLS
    ) -> None:
        self._new_blob = new_blob
        self._writer = new_blob()
        self._redactor = redactor
        self._more = more
        self._next: _LongString | None = None
        self._look_back = b""
        self._text: RedactingStream | None = None
        self._is_text: bool | None = None
        self._size = 0
        self._lead = b""
        self._tail = bytearray()
        self._carry = b""
        self._padded = False
        self._broken: str | None = None
        self._decoded = 0
        data_url = _DATA_URL.search(opening) if b"data:" in opening else None
        if data_url is not None:
            self._lead = opening[: data_url.start()]
            self._sink = self._feed_base64
            self._embedded = True
            self.feed(opening[data_url.end() :])
        else:
            self._embedded = False
            looks_like_base64 = not _clean_base64(opening[:_LOOK_BYTES].replace(b" ", b"?"))[2]
            self._sink = self._feed_base64 if looks_like_base64 else self._feed_raw
            self.feed(opening)
        self._is_base64 = data_url is not None or looks_like_base64

    def feed(self, piece: bytes) -> None:
        self._sink(piece)

    def finish(self) -> list[Blob]:
        if self._sink == self._feed_base64 and self._carry:
            self._decode_end(self._carry)
        if self._text is not None:
            self._write(self._text.finish())
        self._writer.close()
        more = self._next.finish() if self._next is not None else []
        blob = Blob(
            file=self._writer.file,
            size_bytes=self._size,
            is_base64=self._is_base64,
            lead=self._redactor.text(unescaped(self._redactor.data(self._lead))),
            tail=self._redactor.text(unescaped(self._redactor.data(bytes(self._tail)))),
            broken=self._broken,
            decoded_bytes=self._size if self._broken is None else self._decoded,
            goes_on=bool(more),
        )
        return [blob, *more]

    def close(self) -> None:
        self._writer.close()
        if self._next is not None:
            self._next.close()

    def _write(self, data: bytes | bytearray) -> None:
        self._writer.write(data)
        self._size += len(data)

    def _feed_raw(self, piece: bytes) -> None:
        self._write_text(piece)

    def _write_text(self, piece: bytes) -> None:
        if self._text is None:
            self._text = self._redactor.stream()
        self._write(self._text.feed(piece))

    def _feed_tail(self, piece: bytes) -> None:
        look = self._look_back + piece
        found = _DATA_URL.search(look) if self._more else None
        if found is not None:
            self._next = _LongString(self._new_blob, look[found.start() :], self._redactor, more=self._more - 1)
            self._sink = self._next.feed
            piece = look[len(self._look_back) : found.start()]
            if len(self._tail) < AROUND_PICTURE_BYTES:  # or the beginning of the data URL is not in it
                del self._tail[len(self._tail) - max(0, len(self._look_back) - found.start()) :]
        self._look_back = look[-_LONGEST_DATA_HEAD:]
        self._tail += piece[: AROUND_PICTURE_BYTES - len(self._tail)]

    def _feed_base64(self, piece: bytes) -> None:
        """The common case, without copying: the four characters across the seam, then whole fours of the piece."""
        seam = -len(self._carry) % 4
        usable = (len(piece) - seam) // 4 * 4
        if usable <= 0:
            self._feed_odd_base64(self._carry + piece)
            return
        try:
            across = pybase64.b64decode(self._carry + piece[:seam], validate=True)
            if len(across) * 4 < (len(self._carry) + seam) * 3:
                raise ValueError("padding inside")
            decoded = pybase64.b64decode_as_bytearray(memoryview(piece)[seam : seam + usable], validate=True)
            decoded[:0] = across
        except (binascii.Error, ValueError):
            self._feed_odd_base64(self._carry + piece)
            return
        characters = len(self._carry) + seam + usable
        self._carry = piece[seam + usable :]
        self._accept(decoded, characters)

    def _feed_odd_base64(self, data: bytes) -> None:
        """Base64 with JSON escapes, white space or the URL-safe alphabet; or the end of an embedded picture."""
        clean, rest, stray = _clean_base64(data)
        usable = len(clean) - len(clean) % 4
        try:
            decoded = pybase64.b64decode_as_bytearray(clean[:usable], validate=True)
        except (binascii.Error, ValueError):
            self._break_at_padding(clean, rest + stray)
            return
        self._carry = clean[usable:] + rest
        self._accept(decoded, usable)
        if stray and self._broken is None:
            self._end_embedded(stray) if self._embedded else self._end_at(stray)

    def _break_at_padding(self, clean: bytes, behind: bytes) -> None:
        """Base64 that goes on after its padding: what the padding ends is decoded, the rest is kept as it is."""
        end = _PADDED.match(clean)
        usable = end.end() if end is not None and end.end() % 4 == 0 else 0
        try:
            self._accept(pybase64.b64decode_as_bytearray(clean[:usable], validate=True), usable)
        except (binascii.Error, ValueError):
            usable = 0
        if self._broken is None:
            self._break(clean[usable:] + behind, "base64 goes on after its padding" if usable else "not base64")

    def _end_at(self, stray: bytes) -> None:
        """Something that is no base64 stands behind it: what came before may be a whole picture."""
        if self._carry:
            self._decode_end(self._carry)
        self._break(stray, "not base64")

    def _end_embedded(self, rest: bytes) -> None:
        if self._carry:
            self._decode_end(self._carry)
        self._sink = self._feed_tail
        self._feed_tail(rest)

    def _decode_end(self, data: bytes) -> None:
        """The last, possibly unpadded characters."""
        self._carry = b""
        clean, rest, stray = _clean_base64(data)
        try:
            decoded = pybase64.b64decode_as_bytearray(clean + b"=" * (-len(clean) % 4), validate=True)
        except (binascii.Error, ValueError):
            self._break(data, "cut base64")
            return
        self._accept(decoded, len(clean))
        if rest or stray:
            self._break(rest + stray, "not base64")

    def _accept(self, decoded: bytearray, characters: int) -> None:
        if not characters:
            return
        if self._padded:
            self._break(bytes(decoded), "base64 goes on after its padding")
            return
        self._padded = len(decoded) * 4 < characters * 3
        if self._is_text is None:
            self._is_text = _CONTROL.search(decoded, 0, _LOOK_BYTES) is None
        if self._is_text:  # a request that is echoed in base64, with its key
            self._write_text(bytes(decoded))
        else:
            self._write(decoded)

    def _break(self, rest: bytes, why: str) -> None:
        """From here on keep the characters as they come: nothing that was paid for is thrown away."""
        self._broken = f"{why} after {self._size} decoded bytes"
        self._decoded = self._size
        self._carry = b""
        self._sink = self._feed_raw
        self._feed_raw(rest)


def _is_picture(string: bytearray) -> bool:
    """Whether a short string is base64, or a data URL, and what it encodes begins as pictures do."""
    data_url = _DATA_URL.match(string)
    opening = bytes(string[data_url.end() if data_url else 0 :][:_PICTURE_LOOK_BYTES])
    if len(opening) < _PICTURE_LOOK_BYTES:
        return False
    clean, rest, stray = _clean_base64(opening)
    try:
        begin = pybase64.b64decode(clean[: len(clean) // 4 * 4], validate=True)
    except (binascii.Error, ValueError):
        return False
    encoded = string[data_url.end() if data_url else 0 :]
    return not (rest or stray) and begins_as_picture(begin) and _is_base64(encoded)


def _is_base64(data: bytearray) -> bool:
    return _ODD_BASE64.fullmatch(data) is not None and b" " not in data


def _clean_base64(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Normalise base64 as it may stand in JSON: (clean characters, an escape cut by the chunk, stray rest)."""
    match = _ODD_BASE64.match(data)
    assert match is not None
    clean, rest = data[: match.end()], data[match.end() :]
    if b"\\" in clean:
        clean = _WHITE_SPACE_ESCAPE.sub(b"", clean).replace(b"\\/", b"/")
        clean = _CHARACTER_ESCAPE.sub(lambda escape: bytes([int(escape[0][-2:], 16)]), clean)
    clean = clean.translate(_URL_SAFE, _WHITE_SPACE)
    if _CUT_ESCAPE.fullmatch(rest):
        return clean, rest, b""
    return clean, b"", rest


def unescaped(text: bytes) -> str:
    """The characters of a JSON string's inside; what cannot be read is replaced."""
    try:
        value = json.loads(b'"' + text + b'"', strict=False)
    except ValueError:
        return text.decode("utf-8", "replace")
    return str(value)
