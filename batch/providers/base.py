"""The contract of a provider: what it is given, what it returns and what it may raise.

One purchase goes `prepare` (read references, build the request; nothing sent) → `send` (one HTTP request, the
answer streams into the spool; returning means *received*, if only in part) → `interpret` (pure: what does this answer
hold?) → `download` for pictures that came as a URL. Everything that can go wrong in between is raised as an
`AttemptError`, which says whether the attempt may have been paid. Answers found in the spool after a crash go
through `interpret` again without a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from batch.core.errors import AttemptError, EndpointDown, OutcomeUnknown, Refused, Unusable
from batch.core.grounding import Grounding
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """One long string of an answer, decoded into a spool file of its own.

    `file` is the path, `is_base64` whether it was decoded (else it holds the string's raw characters). A text
    with a picture in it keeps what stood around the picture in `lead` and `tail`. `broken` says why the string
    could not be decoded to its end; the undecoded rest then follows the `decoded_bytes` in the file. `goes_on`: the
    same string holds another picture, which is the next blob.
    """

    file: str
    size_bytes: int
    is_base64: bool = True
    lead: str = ""
    tail: str = ""
    broken: str | None = None
    decoded_bytes: int = 0
    goes_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How an answer broke off: code and message of the `OutcomeUnknown` that it is if no whole picture is in it."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """An answer: status, headers (lower-case names) and body.

    `body` is the JSON with every long string replaced by `"spool://<n>"`, where n counts into `blobs`.
    `seconds` is the time from sending to the last byte. `flaw` says why a body could only be kept as it came; it
    then stands in the blobs. `cut` is set if the body broke off before its JSON ended.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    blobs: tuple[Blob, ...]
    seconds: float
    flaw: str | None = None
    cut: Cut | None = None

    def judged(self, error: AttemptError) -> AttemptError:
        """What it means that there is no picture: `error`, unless the picture may have been in what did not come."""
        if self.flaw is not None and self.flaw not in error.message:
            error.message += f"; it holds {self.flaw}"
        if self.cut is None or not isinstance(error, (Unusable, Refused, EndpointDown)):
            return error
        return OutcomeUnknown(
            self.cut.code,
            f"{self.cut.message}; what came is kept, and holds no whole picture",
            elapsed_seconds=self.seconds,
            http_status=self.status,
            request_id=error.request_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture of an answer: in a spool file, as bytes, or behind a URL; exactly one of them is set.

    `rank` is 0 for what the answer says to be its picture. An address that stands elsewhere has a higher one: it may
    be no picture, and is opened only if none of a lower rank is. `likely`: it is written as a picture's.
    """

    blob: Blob | None = None
    data: bytes | None = None
    url: str | None = None
    declared_mime: str | None = None
    rank: int = 0
    likely: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a usable answer holds. The last picture is the result; earlier ones came with it and are kept.

    `lane` is the one that served it, in the provider's own words; None if it says nothing that is known. `otherwise` is
    what the answer is if its addresses lead to no picture. `grounding`: the searches it rests on.
    `signature`: what is to be sent back with the result to go on with it, as base64, or decoded in a spool file.
    """

    pictures: tuple[Picture, ...]
    caption: str | None = None
    request_id: str | None = None
    usage: Usage | None = None
    warnings: tuple[str, ...] = ()
    lane: Lane | None = None
    grounding: Grounding | None = None
    signature: str | Blob | None = field(default=None, repr=False)
    otherwise: AttemptError | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request ready to send. `pieces` are the body in order; references' pieces are shared between requests.

    `lane` stands in the body, and decides how long an answer is waited for.
    """

    path: str
    pieces: Sequence[bytes] = field(repr=False)
    lane: Lane = Lane.STANDARD
    content_type: str = "application/json"

    @property
    def size_bytes(self) -> int:
        return sum(len(piece) for piece in self.pieces)


class BlobWriter(Protocol):
    """An open spool file."""

    file: str

    def write(self, data: bytes | bytearray | memoryview) -> None: ...

    def close(self) -> None: ...

    def discard(self) -> None:
        """Close it and remove the file."""
        ...


class Spool(Protocol):
    """Where one attempt's answer is kept while it arrives. Raises `StorageError` when the disk does."""

    def new_blob(self) -> BlobWriter:
        """Open the next file for a long string or a downloaded picture."""
        ...

    def seal(self, received: Received) -> None:
        """Record that all of the answer that comes is here. From this moment a crash cannot lose it."""
        ...


class Provider(Protocol):
    """Speaks one HTTP API. An installed one is described in docs/providers.md."""

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        """Build the request; raises `Refused` if a reference changed or vanished since it was checked.

        `lane` must be one the endpoint has.
        """
        ...

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        """Send it and stream the answer into `spool`, sealed, also one that broke off. Raises `AttemptError`."""
        ...

    def unpacked(self, received: Received, spool: Spool) -> Received:
        """A kept answer, unpacked into `spool` if that could not be done when it came, and can be now."""
        ...

    def interpret(self, received: Received) -> Answer:
        """What the answer holds. Raises `AttemptError` if there is no picture in it.

        Either says which lane served it (`lane`), for that decides what it cost.
        """
        ...

    async def download(self, url: str, spool: Spool) -> Blob:
        """Fetch a picture that came as a URL, without the key.

        Raises `Undelivered` if it may work later, `Unusable` if it never will; either way the answer was paid for.
        """
        ...


class ConnectedProvider(Provider, Protocol):
    """A provider with its connections."""

    async def aclose(self) -> None:
        """Close them."""
        ...
