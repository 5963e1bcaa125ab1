"""The canned answers: a real PNG of the size that was asked for, inside the JSON the API sends.

The picture is partly noise, just as much as brings the whole JSON to the length wanted.
"""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FLAT: Final = b"\xc8\xb4\x96"
_SEED: Final = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKind:
    """What to ask for and how long the answer is to be."""

    name: str
    image_size: str
    pixels: int
    json_bytes: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A canned answer on disk, and what a client should make of it."""

    kind: AnswerKind
    file: Path
    json_bytes: int
    image_bytes: int


KINDS: Final = {
    kind.name: kind
    for kind in (
        AnswerKind(name="6KB", image_size="512", pixels=512, json_bytes=6_000, tokens=747),
        AnswerKind(name="2MB", image_size="1K", pixels=1024, json_bytes=2_000_000, tokens=1120),
        AnswerKind(name="24MB", image_size="4K", pixels=4096, json_bytes=24_000_000, tokens=2520),
    )
}


def write_answer(kind: AnswerKind, folder: Path) -> Answer:
    """Writes `<name>.json` into the folder, within half a percent (or 200 bytes) of the length wanted."""
    noise = kind.json_bytes * 3 // 4
    for _ in range(6):
        image = png(kind.pixels, min(max(noise, 0), kind.pixels**2 * 3))
        body = answer_json(image, kind.tokens)
        excess = len(body) - kind.json_bytes
        if abs(excess) <= max(200, kind.json_bytes // 200):
            break
        noise -= excess * 3 // 4
    else:
        raise RuntimeError(f"no picture of {kind.pixels} pixels makes an answer of {kind.json_bytes} bytes")
    file = folder / f"{kind.name}.json"
    file.write_bytes(body)
    return Answer(kind=kind, file=file, json_bytes=len(body), image_bytes=len(image))


def answer_json(image: bytes, tokens: int) -> bytes:
    """The body of a `generateContent` answer: a caption, the picture, the bill."""
    answer = {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Here is the picture."},
                        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}},
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 8,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 8 + tokens,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": tokens}],
        },
        "modelVersion": "gemini-3.1-flash-image",
        "responseId": "benchmark",
    }
    return json.dumps(answer, separators=(",", ":")).encode("ascii")


def png(pixels: int, noise_bytes: int) -> bytes:
    """A square RGB picture whose first `noise_bytes` bytes of colour are noise, the rest one flat colour."""
    stride = pixels * 3
    noise = random.Random(_SEED).randbytes(noise_bytes)
    flat = _FLAT * pixels
    rows = (noise[top : top + stride] for top in range(0, pixels * stride, stride))
    raw = b"".join(b"\0" + row + flat[len(row) :] for row in rows)
    header = struct.pack(">IIBBBBB", pixels, pixels, 8, 2, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            *(_chunk(b"IDAT", part) for part in _slices(zlib.compress(raw, 6), 65536)),
            _chunk(b"IEND", b""),
        )
    )


def _slices(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
