"""Takes off what lies around a body: compression, chunk sizes, another encoding of characters.

Told by the bytes, not by the label: proxies unpack a body and leave the label, or write a character set there.
"""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_INFLATE_BYTES: Final = 256 << 10
#: What must have come before the kind of a body is told.
_LOOK_BYTES: Final = 16
_LAYERS_AT_MOST: Final = 4
_NO_CODINGS: Final = frozenset({"", "identity", "none", "utf-8", "utf8", "gzip", "x-gzip", "deflate", "chunked"})
_MAGIC: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4"}
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]{0,200})?\r\n")
_WIDE: Final = {  # the longer marks first: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"{\0": "utf-16-le",
    b"[\0": "utf-16-le",
    b"\0{": "utf-16-be",
    b"\0[": "utf-16-be",
}
_PICTURE = re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF|BM|....ftyp|II\*\0|MM\0\*", re.DOTALL)
#: JSON as it is. It need not be held back, and may be shorter than what is looked at.
_PLAIN = re.compile(rb"\s*[{\[][^\0]")
_Step = Callable[[bytes], Iterable[bytes]]


class CannotUnpack(ValueError):
    """The body is packed in a way that is not known here, or damaged."""


class Unpacker:
    """Feed it a body as it comes; it returns it unpacked, in bounded pieces.

    `label` is the Content-Encoding. Both methods raise `CannotUnpack`.
    """

    def __init__(self, label: str = "", *, layers: int = _LAYERS_AT_MOST) -> None:
        self._label = label
        self._layers = layers
        self._begin = b""
        self._step: _Step | None = None
        self._inner: Unpacker | None = None
        self._inflate: _Inflate | None = None
        #: Whether it is compressed; None until that can be told.
        self.is_packed: bool | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._step is not None:
            yield from self._step(data)
            return
        self._begin += data
        if len(self._begin) >= _LOOK_BYTES or _PLAIN.match(self._begin):
            yield from self._start()

    def finish(self) -> Iterator[bytes]:
        """What was held back at the end of the body."""
        if self._step is None and self._begin:
            yield from self._start()
        if self._inner is not None:
            yield from self._inner.finish()
        if self._inflate is not None and not self._inflate.is_over:
            raise CannotUnpack("its compression ends before its end")

    def _start(self) -> Iterable[bytes]:
        data, self._begin = self._begin, b""
        self._step = self._step_for(data)
        return self._step(data)

    def _step_for(self, begin: bytes) -> _Step:
        self.is_packed = False
        inflating = _inflating(begin, self._label)
        if inflating is not None:
            self.is_packed = True
            self._inflate = _Inflate(inflating)
            return self._through(self._inflate.pieces)
        for magic, name in _MAGIC.items():
            if begin.startswith(magic):
                self.is_packed = True
                raise CannotUnpack(f"it is compressed with {name}, which was not asked for")
        unknown = {name.strip().lower() for name in self._label.split(",")} - _NO_CODINGS
        if unknown & {"br", "zstd", "compress", "x-compress"} and not _is_text(begin):
            self.is_packed = True
            raise CannotUnpack(f"it is compressed with {', '.join(sorted(unknown))[:40]}, which was not asked for")
        if _CHUNK.match(begin):
            return self._through(_Chunks().pieces)
        for mark, encoding in _WIDE.items():
            if begin.startswith(mark):
                return _Narrow(encoding).pieces
        return lambda data: (data,)

    def _through(self, outer: _Step) -> _Step:
        """What comes out of one wrapping may be in another."""
        if self._layers <= 1:
            raise CannotUnpack("it is compressed again and again")
        inner = self._inner = Unpacker(self._label if not self.is_packed else "", layers=self._layers - 1)

        def step(data: bytes) -> Iterator[bytes]:
            for piece in outer(data):
                yield from inner.feed(piece)

        return step


def _inflating(begin: bytes, label: str) -> int | None:
    """How zlib is to read it, or None if it is not compressed."""
    if begin.startswith(b"\x1f\x8b\x08"):
        return 31
    if begin[:1] == b"\x78" and int.from_bytes(begin[:2]) % 31 == 0:
        return 15
    return -15 if "deflate" in label.lower() and not _is_text(begin) else None


def _is_text(begin: bytes) -> bool:
    """Whether it may be JSON, words or a picture as they are."""
    if _PICTURE.match(begin):
        return True
    return re.search(rb"[\x00-\x08\x0e-\x1f]", begin) is None and (
        begin.lstrip()[:1] in (b"{", b"[", b"<", b":", b")", b"\xef", b"d", b"e") or begin.isascii()
    )


class _Inflate:
    """Inflates in bounded pieces, so that a small body cannot become a large chunk in memory."""

    def __init__(self, wbits: int) -> None:
        self._wbits = wbits
        self._engine = zlib.decompressobj(wbits)

    @property
    def is_over(self) -> bool:
        return self._engine.eof

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        while raw:
            try:
                data = self._engine.decompress(raw, _INFLATE_BYTES)
            except zlib.error as error:
                raise CannotUnpack(f"its compression is damaged: {error}") from None
            if data:
                yield data
            raw = self._engine.unconsumed_tail
            if self._engine.eof:
                raw = self._engine.unused_data
                if not raw.startswith(b"\x1f\x8b"):
                    return  # what stands behind the end is padding
                self._engine = zlib.decompressobj(self._wbits)
            elif not data and not raw:
                return


class _Chunks:
    """Takes out the sizes of chunks that a proxy left in the body. What is no size is body."""

    def __init__(self) -> None:
        self._left = 0
        self._held = b""
        self._plain = False

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        data = self._held + raw
        self._held = b""
        while data:
            if self._plain:
                yield data
                return
            if self._left:
                yield data[: self._left]
                data, self._left = data[self._left :], max(0, self._left - len(data))
                continue
            size = _CHUNK.match(data.removeprefix(b"\r\n"))
            if size is None:
                if len(data) < 2 * _LOOK_BYTES:
                    self._held = data
                    return
                self._plain = True
                continue
            data = data.removeprefix(b"\r\n")[size.end() :]
            self._left = int(size[1], 16)
            if self._left == 0:
                self._plain = True


class _Narrow:
    """Turns UTF-16 or UTF-32 into UTF-8."""

    def __init__(self, encoding: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        text = self._decoder.decode(raw)
        if text:
            yield text.encode("utf-8", "replace")
