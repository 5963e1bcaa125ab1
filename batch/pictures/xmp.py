"""An XMP packet into a PNG, JPEG or WebP, beside the pixels: none of them is touched.

A packet that is there already is kept with every property it has; what is new is put into it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from batch.pictures import png

_RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_PNG_KEY: Final = b"XML:com.adobe.xmp\0"
_JPEG_KEY: Final = b"http://ns.adobe.com/xap/1.0/\0"
#: What a JPEG's segment holds beside its length and its key.
MOST_JPEG_BYTES: Final = 65_535 - 2 - len(_JPEG_KEY)
#: Segments that stand before the XMP packet: JFIF and EXIF.
_JPEG_BEFORE: Final = (b"JFIF\0", b"JFXX\0", b"Exif\0")
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xDA)})
_RDF_END: Final = re.compile(rb"</\s*([\w.-]+:)?RDF\s*>")
_XMP_FLAG: Final = 0x04
_ALPHA_FLAG: Final = 0x10


class NoRoomForXmp(ValueError):
    """A format, or a file of it, that takes no XMP packet here; the text says why."""


class Property(NamedTuple):
    """A simple property: the prefix and address of its namespace, its name, and its value as XML."""

    prefix: str
    namespace: str
    name: str
    value: str


def _description(properties: Sequence[Property]) -> bytes:
    spaces = {each.prefix: each.namespace for each in properties} | {"rdf": _RDF}
    declared = "".join(f'\n xmlns:{prefix}="{address}"' for prefix, address in sorted(spaces.items()))
    values = "".join(f"<{each.prefix}:{each.name}>{each.value}</{each.prefix}:{each.name}>\n" for each in properties)
    return f'<rdf:Description rdf:about=""{declared}>\n{values}</rdf:Description>\n'.encode()


def _packet(properties: Sequence[Property]) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'.encode()
        + b'<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        + f'<rdf:RDF xmlns:rdf="{_RDF}">\n'.encode()
        + _description(properties)
        + b'</rdf:RDF>\n</x:xmpmeta>\n<?xpacket end="w"?>'
    )


def with_xmp(data: bytes, mime: str, properties: Sequence[Property]) -> bytes:
    """The picture with these properties in its XMP. Raises `NoRoomForXmp`."""
    try:
        if mime == "image/png":
            return _in_png(data, properties)
        if mime == "image/jpeg":
            return _in_jpeg(data, properties)
        if mime == "image/webp":
            return _in_webp(data, properties)
    except (struct.error, IndexError) as error:
        raise NoRoomForXmp("its structure is damaged") from error
    raise NoRoomForXmp(f"{mime} is a format that it is not written into")


def _merged(old: bytes, properties: Sequence[Property], most_bytes: int | None = None) -> bytes:
    """The old packet with the properties it lacks, or a new one if that cannot be read, or gets too long."""
    ends = list(_RDF_END.finditer(old))
    if ends:
        place = ends[-1].start()
        lacking = [each for each in properties if not re.search(rf"\b{each.name}\b".encode(), old)]
        whole = old[:place] + (_description(lacking) if lacking else b"") + old[place:]
        if most_bytes is None or len(whole) <= most_bytes:
            return whole
    return _packet(properties)


def _in_png(data: bytes, properties: Sequence[Property]) -> bytes:
    old = b""
    pieces = [png.SIGNATURE]
    for kind, start, end in _png_chunks(data):
        body = data[start + 8 : end - 4]
        if kind == b"iTXt" and body.startswith(_PNG_KEY):
            old = _itxt_text(body)
        else:
            pieces.append(data[start:end])
        last = end
    new = png.chunk(b"iTXt", _PNG_KEY + b"\0\0\0\0" + _merged(old, properties))
    pieces.insert(2, new)  # after IHDR
    return b"".join([*pieces, data[last:]])


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of each chunk, up to the end chunk or the file's end."""
    place = len(png.SIGNATURE)
    while place + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind = data[place + 4 : place + 8]
        yield kind, place, min(place + 12 + length, len(data))
        place += 12 + length
        if kind == b"IEND":
            return


def _itxt_text(body: bytes) -> bytes:
    """The text of an iTXt chunk that is not packed; a packed one counts as none."""
    packed, rest = body[len(_PNG_KEY)], body[len(_PNG_KEY) + 2 :]
    return b"" if packed else rest.split(b"\0", 2)[2]


def _in_jpeg(data: bytes, properties: Sequence[Property]) -> bytes:
    old, before = b"", 2
    pieces = [data[:2]]
    place = 2
    for start, end in _jpeg_segments(data):
        body = data[start + 4 : end]
        if data[start + 1] == 0xE1 and body.startswith(_JPEG_KEY):
            old = body[len(_JPEG_KEY) :]
        else:
            pieces.append(data[start:end])
            before = len(pieces) if body.startswith(_JPEG_BEFORE) else before
        place = end
    text = _merged(old, properties, MOST_JPEG_BYTES)
    if len(text) > MOST_JPEG_BYTES:
        raise NoRoomForXmp("the text is longer than a JPEG can hold")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(_JPEG_KEY) + len(text)) + _JPEG_KEY + text
    pieces.insert(before if before > 2 or len(pieces) == 2 else 1, segment)
    return b"".join([*pieces, data[place:]])


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each segment before the pixels that has a length."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] not in _STANDALONE:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        end = place + 2 + int(struct.unpack_from(">H", data, place + 2)[0])
        if data[place + 1] == 0xDA or end > len(data):
            return
        yield place, end
        place = end


def _in_webp(data: bytes, properties: Sequence[Property]) -> bytes:
    size = int(struct.unpack_from("<I", data, 4)[0])
    chunks = [(data[start : start + 4], data[start + 8 : end]) for start, end in _riff_chunks(data, 8 + size)]
    old = next((body for kind, body in chunks if kind == b"XMP "), b"")
    kept = [(kind, body) for kind, body in chunks if kind != b"XMP "]
    if kept[0][0] == b"VP8X":
        flags = kept[0][1]
        kept[0] = (b"VP8X", bytes([flags[0] | _XMP_FLAG]) + flags[1:])
    else:
        kept.insert(0, (b"VP8X", _extended_header(*kept[0])))
    kept.append((b"XMP ", _merged(old, properties)))
    body = b"WEBP" + b"".join(_riff_chunk(kind, content) for kind, content in kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body + data[8 + size + size % 2 :]


def _riff_chunks(data: bytes, end: int) -> Iterator[tuple[int, int]]:
    place = 12
    while place + 8 <= min(end, len(data)):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield place, place + 8 + length
        place += 8 + length + length % 2


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _extended_header(kind: bytes, body: bytes) -> bytes:
    """The VP8X header of a file that has none: its size, and whether anything shows through."""
    flags = _XMP_FLAG
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
        flags |= _ALPHA_FLAG if bits >> 28 & 1 else 0
    elif kind == b"VP8 ":
        width, height = (side % 0x4000 - 1 for side in struct.unpack_from("<HH", body, 6))
    else:
        raise NoRoomForXmp("its structure is not one that is known")
    return bytes([flags, 0, 0, 0]) + struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
