"""The facts that travel through the program. Frozen, keyword-only, with units in their names.

`Job` comes out of the manifest, `Outcome` goes into the store; nothing here knows YAML, HTTP or files' layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b, sha256
from json.encoder import encode_basestring_ascii as _json_text
from pathlib import Path
from typing import Final, TypeAlias

from batch.core.errors import AttemptError
from batch.core.lane import Lane
from batch.core.parameters import Parameters, canonical_json, common_parameters
from batch.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """How a picture was made that is sent back to be gone on with: its prompt, its model, and the file with the
    signature that came with it, if one did."""

    prompt: str
    model: str
    signature: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One reference picture: what the user called it, and what its bytes are.

    `name` is the path as written in the manifest, `file` where it was read, `sha256` (hex) and `mime` belong
    to the file's bytes. A file whose `mime` the API does not take is converted when the request is built. `data` are
    the bytes of a picture that has no file, because it stands in a cell of a table. `turn`: of another job's picture
    that this job continues from.
    """

    name: str
    file: Path
    sha256: str
    mime: str
    size_bytes: int
    data: bytes | None = field(default=None, repr=False, compare=False)
    turn: Turn | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPicture:
    """What is known of the picture at a web address: the file it was kept in, or what is wrong with it.

    `problem` follows the address in a sentence and is empty if the picture is there; `missing`: the server says
    that there is none.
    """

    file: Path = Path()
    sha256: str = ""
    mime: str = ""
    size_bytes: int = 0
    problem: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a job was written: a line of the manifest, or a row of a table. Lines count from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A picture to be made in a rejected one's place.

    `prompt` is what is asked for instead of the job's own, and may be the same; `instead_of` the rejected picture's
    SHA-256. No attempt, at `attempt_usd`, may bring what the job cost above `cap_usd`.
    """

    prompt: str
    instead_of: str
    cap_usd: float | None = None
    attempt_usd: float = 0.0

    def has_room(self, spent_usd: float) -> bool:
        """Whether another attempt may be paid, after so much."""
        return self.cap_usd is None or spent_usd + self.attempt_usd <= self.cap_usd + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One picture to buy.

    `prompt` is the manifest's; in place of a rejected picture another one may be asked for (`replaces`, `as_asked`).
    `parameters` are what its provider takes beside these. `sample` counts from 1 and tells apart the jobs that
    `samples` makes of one entry. `name` is what its picture is called, with folders, without an ending; empty: its id.
    `continue_from` is the id of the job whose picture it goes on with: once that is there, it is the first of the
    references (`has_its_start`), and part of what is bought.
    """

    id: str
    prompt: str
    model: str
    references: tuple[Reference, ...] = ()
    parameters: Parameters = common_parameters()  # noqa: RUF009  (frozen, as all of it)
    sample: int = 1
    place: Place | None = None
    name: str = ""
    replaces: Replacement | None = None
    continue_from: str = ""

    @property
    def has_its_start(self) -> bool:
        """Whether the picture that it goes on with is known; true of a job that goes on with none."""
        return not self.continue_from or any(reference.turn is not None for reference in self.references)

    @property
    def picture_name(self) -> str:
        """What its picture is called, without an ending; `/` stands between folders."""
        return self.name or self.id

    @property
    def as_asked(self) -> Job:
        """The job with the prompt that is really sent."""
        return self if self.replaces is None else replace(self, prompt=self.replaces.prompt, replaces=None)

    def spec_hash(self) -> str:
        """Hash (32 hex digits) of everything in the manifest that decides what is bought.

        Where the job stands, what it is called and how its references are named do not count: moving a row
        or a file buys nothing again. Nor does what a rejection adds to the prompt: the picture is still this job's.
        """
        return self.spec().hex()

    def spec(self) -> bytes:
        """`spec_hash` as 16 bytes: of SHA-256 over JSON with sorted keys, without spaces, in ASCII."""
        beginning, references, sample, end = _spec_frame(self.parameters, self.model)
        hashes = ",".join(_json_text(reference.sha256) for reference in self.references) if self.references else ""
        text = f"{beginning}{_json_text(self.prompt)}{references}{hashes}{sample}{self.sample}{end}"
        return sha256(text.encode("ascii")).digest()[:16]

    @property
    def aspect_ratio(self) -> str | None:
        """None leaves the ratio to the model (it follows the input picture, else 1:1)."""
        ratio: str | None = self.parameters.get("aspect_ratio")
        return ratio

    @property
    def image_size(self) -> str:
        """What the price of a picture depends on; empty if the provider has no sizes."""
        return self.parameters.get("image_size") or ""

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.parameters.get("modalities") or ())

    def key(self) -> bytes:
        """What is kept in memory per job instead of its id (16 bytes)."""
        return job_key(self.id)


@lru_cache(maxsize=1024)
def _spec_frame(parameters: Parameters, model: str) -> tuple[str, str, str, str]:
    """What millions of jobs have in common is made once: the spec's JSON before and between what differs.

    The differing parts are the prompt, the references' hashes and the sample's number. Keys are sorted, so a parameter
    may stand before, between or after them.
    """
    fields = {**parameters, "model": model}

    def between(after: str, before: str) -> str:
        names = sorted(name for name in fields if after < name < before)
        return "".join(f"{_json_text(name)}:{canonical_json(fields[name])}," for name in names)

    last = between("sample", "\U0010ffff")
    return (
        f'{{{between("", "prompt")}"prompt":',
        f',{between("prompt", "references")}"references":[',
        f'],{between("references", "sample")}"sample":',
        f",{last[:-1]}}}" if last else "}",
    )


def job_key(job_id: str) -> bytes:
    """A job's id as 16 bytes that practically never meet another's."""
    hashed = _NOTHING_HASHED.copy()  # quicker than a new one
    hashed.update(job_id.encode("utf-8"))
    return hashed.digest()


_NOTHING_HASHED: Final = blake2b(digest_size=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms one attempt at a job is sent: to which endpoint (by its name in the manifest), for which model
    (the job's own, or a fallback) and in which lane. `provider` names the reader of its answer; empty: what speaks
    Gemini."""

    endpoint: str
    model: str
    lane: Lane = Lane.STANDARD
    provider: str = ""

    def of(self, job: Job) -> Job:
        """What is really asked for: the job's prompt as it is sent, by this model."""
        asked = job.as_asked
        return asked if asked.model == self.model else replace(asked, model=self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One stored picture. `path` is relative to the output folder; `mime` is decided by the bytes."""

    path: str
    mime: str
    width: int
    height: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """What one HTTP request was and cost.

    `number` counts a job's attempts over its whole life from 1. `request_id` is the provider's own id,
    `seconds` the time from sending to the last byte. `cost_usd` is what the attempt is taken to have cost, or
    may have cost; `usd_from` says where that is from: `usage`, `list` (list price), or None if it cost nothing.
    `lane` is the one that served it if the answer says so, else the ordinary one: whose price counts.
    """

    number: int
    seconds: float
    cost_usd: float
    request_id: str | None = None
    usage: Usage | None = None
    usd_from: str | None = None
    lane: Lane = Lane.STANDARD


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The picture is on disk and recorded. The last image is the result, earlier ones came with it."""

    job: Job
    attempt: AttemptFacts
    images: tuple[Image, ...]
    caption: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The job has no picture and this run will not try again; `error` says why."""

    job: Job
    error: AttemptError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The request went out and no answer came: maybe paid, and not sent again by the policy in force."""

    job: Job
    error: AttemptError


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The run stopped before this job was settled; the next run continues with it."""

    job: Job


Outcome: TypeAlias = Done | Failed | Unknown | Pending
