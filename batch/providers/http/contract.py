"""What a client hands on of an answer, and what it hands it to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

#: What an answer may measure in all, after inflating. A 4K picture is 24 MB; some answers bring a second one.
MAX_BODY_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status and headers (lower-case names) of an answer that has begun to arrive.

    `tells_end`: its body has a length or comes in chunks. Otherwise the end of the connection is its end, and one that
    was cut looks like any other.
    """

    status: int
    headers: dict[str, str]
    tells_end: bool = True


class Consumer(Protocol):
    """Takes an answer's body as it arrives."""

    def feed(self, chunk: bytes) -> None: ...


class PaidConsumer(Consumer, Protocol):
    """Takes the body of an answer that may have been paid for: nothing of it is thrown away."""

    @property
    def looks_whole(self) -> bool:
        """Whether what came so far may be all."""
        ...

    def keep_packed(self, raw: bytes) -> None:
        """Take the bytes of a compressed body as they came, too."""
        ...

    def give_up(self, flaw: str) -> None:
        """Know that the rest cannot be read, and why."""
        ...


class BodyTooLarge(Exception):
    """The answer passed the size it may have."""
