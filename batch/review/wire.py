"""What pages send: a list of words on pictures, checked before anything is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from batch.core.decisions import Verdict
from batch.core.errors import BatchError, ExitCode

MOST_DECISIONS: Final = 10_000
MOST_BODY_BYTES: Final = 8 << 20
_LONGEST_NOTE: Final = 2_000
_LONGEST_REASON: Final = 100
_MOST_REASONS: Final = 20


class RefusedError(BatchError):
    """A page asked for something that makes no sense here; nothing was written."""

    exit_code = ExitCode.USAGE
    reason = "usage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word on one picture, as a page sends it."""

    job: str
    sha256: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    note: str = ""


_decoder = msgspec.json.Decoder(list[Word])


def read_words(body: bytes) -> Sequence[Word]:
    """The words of a request's body. Raises `RefusedError` if it is no list of them, or far too much."""
    try:
        words = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(f"not a list of decisions: {error}") from error
    if len(words) > MOST_DECISIONS:
        raise RefusedError(f"{len(words):,} decisions at once; at most {MOST_DECISIONS:,} are taken")
    for word in words:
        if len(word.note) > _LONGEST_NOTE:
            raise RefusedError(f"the note on {word.job} is longer than {_LONGEST_NOTE:,} characters")
        if len(word.reasons) > _MOST_REASONS or any(len(reason) > _LONGEST_REASON for reason in word.reasons):
            raise RefusedError(f"too many or too long reasons for {word.job}")
    return words
