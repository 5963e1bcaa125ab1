"""Requests of OpenAI's images API: a job in the API's own fields, as JSON or, with references, as a form.

What no parameter asks for is left out, as the official package does. Two things never travel: `n`, for one request
buys one picture, and `response_format`, which the models of today refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import pybase64

from batch.core.errors import Kind, Refused
from batch.core.model import Job
from batch.core.pixel_sizes import AUTO, leaves_it_open, pixels_of
from batch.providers.base import Request
from batch.providers.references.references import EncodedReference

GENERATIONS: Final = "/images/generations"
EDITS: Final = "/images/edits"

#: Parameters that are fields of the same name.
_SAME_NAME: Final = ("background", "output_compression", "output_format", "quality")
#: Those that only one of the two calls takes: there is nothing to be faithful to without references, and edits are
#: moderated as the API sees fit.
_OF_GENERATIONS: Final = ("moderation",)
_OF_EDITS: Final = ("input_fidelity",)
_EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def build_request(job: Job, references: Sequence[EncodedReference], *, prefix: str) -> Request:
    """The request of a job; `prefix` is what stands before the API's own path. Raises `Refused` for a size it has not.

    References are separate pieces, in their order.
    """
    fields = request_fields(job)
    if not references:
        return Request(path=prefix + GENERATIONS, pieces=(_json(fields),))
    content_type, pieces = _form(fields, references)
    return Request(path=prefix + EDITS, pieces=pieces, content_type=content_type)


def request_fields(job: Job) -> dict[str, Any]:
    """All fields but the references. Raises `Refused` if the job's ratio and size are none of the API's."""
    asked = job.parameters
    names = (*_SAME_NAME, *(_OF_EDITS if job.references else _OF_GENERATIONS))
    fields: dict[str, Any] = {"model": job.model, "prompt": job.prompt}
    fields |= {name: asked[name] for name in names if asked.get(name) is not None}
    size = _size(job)
    if size is not None:
        fields["size"] = size
    extra = asked.get("extra")
    return fields if extra is None else {**fields, **extra}


def _size(job: Job) -> str | None:
    """The size to ask for; None leaves it to the model, which is the API's default."""
    if leaves_it_open(job.aspect_ratio, job.image_size):
        return AUTO if job.image_size == AUTO else None
    pixels = pixels_of(job.aspect_ratio, job.image_size)
    if pixels is None:
        words = f"no size of this API is {job.image_size} at a ratio of {job.aspect_ratio}"
        raise Refused("invalid_size", words, kind=Kind.MALFORMED)
    return "{}x{}".format(*pixels)


def _form(fields: Mapping[str, Any], references: Sequence[EncodedReference]) -> tuple[str, list[bytes]]:
    """A form's content type and its pieces."""
    parts = [(_disposition(name), value.encode("utf-8")) for name, value in _flat(fields)]
    for number, reference in enumerate(references, start=1):
        file = f"reference-{number}.{_EXTENSIONS.get(reference.mime, 'bin')}"
        head = f'{_disposition("image[]")}; filename="{file}"\r\nContent-Type: {reference.mime}'
        parts.append((head, pybase64.b64decode(reference.base64)))
    boundary = _boundary(parts)
    pieces: list[bytes] = []
    for head, value in parts:
        pieces += [f"--{boundary}\r\n{head}\r\n\r\n".encode(), value, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", pieces


def _boundary(parts: Sequence[tuple[str, bytes]]) -> str:
    """A line that stands in none of the parts: no text can hold a hash of itself."""
    content = blake2b(digest_size=16)
    for head, value in parts:
        content.update(head.encode())
        content.update(value)
    return content.hexdigest()


def _disposition(name: str) -> str:
    for character in ("\r", "\n", '"'):
        name = name.replace(character, f"%{ord(character):02X}")
    return f'Content-Disposition: form-data; name="{name}"'


def _flat(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields as a form has them: `name[key]` for what stands in a mapping, `name[]` for what stands in a list."""
    for name, value in fields.items():
        yield from _flat_value(name, value)


def _flat_value(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat_value(f"{name}[{key}]", item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _flat_value(f"{name}[]", item)
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
