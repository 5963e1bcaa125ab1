"""The conversation so far, for a job that goes on with another's picture: what was asked, and the picture as it came.

A turn of the model is only taken back with its thought signature, by the model that made it, and with its picture
unchanged. Where the answer had no signature, another model is asked, or the picture had to be made smaller to fit, it
is sent as a reference like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import pybase64

from batch.core.model import Job
from batch.providers.references.references import EncodedReference


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunTurn:
    """What was asked for a picture, the picture, and the signature that came with it."""

    prompt: str
    picture: EncodedReference
    signature: str = field(repr=False)

    def pieces(self, data_name: str, mime_name: str) -> Iterator[bytes]:
        """Both turns as JSON, the picture's base64 as a piece of its own; a comma follows."""
        yield b'{"role":"user","parts":[' + _json({"text": self.prompt}) + b']},{"role":"model","parts":[{"'
        yield f'{data_name}":{{"{mime_name}":"{self.picture.mime}","data":"'.encode()
        yield self.picture.base64
        yield b'"},"thoughtSignature":' + _json(self.signature) + b"}]},"


def begun_turn(job: Job, references: Sequence[EncodedReference]) -> BegunTurn | None:
    """The turn that the job goes on with; None if its picture is to be sent as a reference, or there is none.

    `references` are those of the job, encoded. Reads the signature's file.
    """
    turn = job.references[0].turn if job.references else None
    if turn is None or turn.signature is None or turn.model != job.model:
        return None
    if sha256(pybase64.b64decode(references[0].base64)).hexdigest() != job.references[0].sha256:
        return None
    try:
        signature = turn.signature.read_text("ascii")
    except (OSError, ValueError):
        return None
    return BegunTurn(prompt=turn.prompt, picture=references[0], signature=signature)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
