"""Takes off what lies around a body: compression, chunk sizes, another encoding of characters.

Told by the bytes, not by the label: proxies unpack a body and leave the label, or write a character set there.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Final, Protocol

from batch.core.signatures import begins_as_picture

_INFLATE_BYTES: Final = 256 << 10
#: What must have come before the kind of a body is told.
_LOOK_BYTES: Final = 16
_LAYERS_AT_MOST: Final = 4
_MAGIC: Final = {b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x04\x22\x4d\x18": "lz4"}
#: What a decompressor may need for its window.
_WINDOW_BYTES: Final = 128 << 20
#: What the label is asked for, where the bytes do not say it.
_BY_LABEL: Final = {
    "deflate": "raw deflate",
    "br": "br",
    "zstd": "zstd",
    "compress": "compress",
    "x-compress": "compress",
}
_WBITS: Final = {"gzip": 31, "zlib": 15, "raw deflate": -15}
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
        self._is_told_by_bytes = not any(name in label.lower() for name in _BY_LABEL)
        self._layers = layers
        self._begin = b""
        self._step: _Step | None = None
        self._inner: Unpacker | None = None
        self._engine: _Engine | None = None
        #: Whether it is compressed; None until that can be told.
        self.is_packed: bool | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._step is not None:
            yield from self._step(data)
            return
        self._begin += data
        if len(self._begin) >= _LOOK_BYTES or (self._is_told_by_bytes and _PLAIN.match(self._begin)):
            yield from self._start()

    def finish(self) -> Iterator[bytes]:
        """What was held back at the end of the body."""
        if self._step is None and self._begin:
            yield from self._start()
        if self._inner is not None:
            yield from self._inner.finish()
        if self._engine is not None and not self._engine.is_over:
            raise CannotUnpack("its compression ends before its end")

    def _start(self) -> Iterable[bytes]:
        data, self._begin = self._begin, b""
        self._step = self._step_for(data)
        return self._step(data)

    def _step_for(self, begin: bytes) -> _Step:
        self.is_packed = False
        coding = _coding(begin, self._label)
        if coding is not None:
            self.is_packed = True
            self._engine = _engine(coding)
            return self._through(self._engine.pieces, _without(coding, self._label))
        if _CHUNK.match(begin):
            return self._through(_Chunks().pieces, self._label)
        for mark, encoding in _WIDE.items():
            if begin.startswith(mark):
                return _Narrow(encoding).pieces
        return lambda data: (data,)

    def _through(self, outer: _Step, label: str) -> _Step:
        """What comes out of one wrapping may be in another, for which `label` is left."""
        if self._layers <= 1:
            raise CannotUnpack("it is compressed again and again")
        inner = self._inner = Unpacker(label, layers=self._layers - 1)

        def step(data: bytes) -> Iterator[bytes]:
            for piece in outer(data):
                yield from inner.feed(piece)

        return step


def _coding(begin: bytes, label: str) -> str | None:
    """What a body is compressed with, or None. Told by its first bytes where they tell it, and else by the label."""
    if begin.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if begin[:1] == b"\x78" and int.from_bytes(begin[:2]) % 31 == 0:
        return "zlib"
    for magic, name in _MAGIC.items():
        if begin.startswith(magic):
            return name
    if _is_text(begin):
        return None
    labels = {name.strip().lower() for name in label.split(",")}
    return next((coding for name, coding in _BY_LABEL.items() if name in labels), None)


def _without(coding: str, label: str) -> str:
    own = "deflate" if coding in ("zlib", "raw deflate") else coding
    return ",".join(name for name in label.split(",") if name.strip().lower().removeprefix("x-") != own)


def _engine(coding: str) -> _Engine:
    """Raises `CannotUnpack` for a coding that nothing here reads."""
    if coding in _WBITS:
        return _Inflate(_WBITS[coding])
    if coding == "bzip2":
        return _Buffered(bz2.BZ2Decompressor, OSError)
    if coding == "xz":
        return _Buffered(lambda: lzma.LZMADecompressor(memlimit=_WINDOW_BYTES), lzma.LZMAError)
    try:
        if coding == "zstd":
            return _zstd()
        if coding == "br":
            return _Brotli()
    except ImportError as error:
        raise CannotUnpack(f"it is compressed with {coding}, and {error.name} is not installed") from None
    raise CannotUnpack(f"it is compressed with {coding}, which was not asked for")


def _is_text(begin: bytes) -> bool:
    """Whether it may be JSON, words or a picture as they are."""
    if begins_as_picture(begin):
        return True
    return re.search(rb"[\x00-\x08\x0e-\x1f]", begin) is None and (
        begin.lstrip()[:1] in (b"{", b"[", b"<", b":", b")", b"\xef", b"d", b"e") or begin.isascii()
    )


class _Engine(Protocol):
    """Unpacks in bounded pieces, so that a small body cannot become a large chunk in memory."""

    @property
    def is_over(self) -> bool: ...

    def pieces(self, raw: bytes) -> Iterator[bytes]: ...


class _Inflate:
    """gzip, and deflate with or without its head."""

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


class _Decompressor(Protocol):
    """How the standard library's decompressors look, and zstd's."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /, max_length: int = ...) -> bytes: ...


class _Buffered:
    """bzip2, xz and zstd: what does not fit into a piece waits in the decompressor."""

    def __init__(self, make: Callable[[], _Decompressor], error: type[Exception]) -> None:
        self._make = make
        self._error = error
        self._engine = make()

    @property
    def is_over(self) -> bool:
        return self._engine.eof

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        while True:
            if self._engine.eof:
                if not raw:
                    return
                self._engine = self._make()  # another frame
            try:
                data = self._engine.decompress(raw, max_length=_INFLATE_BYTES)
            except self._error as error:
                raise CannotUnpack(f"its compression is damaged: {error}") from None
            if data:
                yield data
            raw = self._engine.unused_data.lstrip(b"\0") if self._engine.eof else b""
            if not raw and (self._engine.eof or self._engine.needs_input):
                return


def _zstd() -> _Buffered:
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    return _Buffered(zstd.ZstdDecompressor, zstd.ZstdError)  # its windows are at most `_WINDOW_BYTES` by themselves


class _Brotli:
    """Brotli, as browsers ask for it."""

    def __init__(self) -> None:
        import brotli  # here and above: nearly no run needs them

        self._error = brotli.error
        self._engine = brotli.Decompressor()

    @property
    def is_over(self) -> bool:
        return bool(self._engine.is_finished())

    def pieces(self, raw: bytes) -> Iterator[bytes]:
        while not self.is_over:
            try:
                data: bytes = self._engine.process(raw, output_buffer_limit=_INFLATE_BYTES)
            except self._error as error:
                raise CannotUnpack(f"its compression is damaged: {error}") from None
            if not data:
                return
            yield data
            raw = b""  # more may wait in it, also when it would take more


class _Chunks:
    """Takes out the sizes of chunks that a proxy left in the body. Anything else is body."""

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
