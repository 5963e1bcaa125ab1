"""The facts that travel through the program. Frozen, keyword-only, with units in their names.

`Job` comes out of the manifest, `Outcome` goes into the store; nothing here knows YAML, HTTP or files' layout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b, sha256
from json.encoder import encode_basestring_ascii as _json_text
from pathlib import Path
from typing import Final, TypeAlias

from batch.core.errors import AttemptError
from batch.core.lane import Lane
from batch.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One reference picture: what the user called it, and what its bytes are.

    `name` is the path as written in the manifest, `file` where it was read, `sha256` (hex) and `mime` belong
    to the file's bytes. A file whose `mime` the API does not take is converted when the request is built.
    """

    name: str
    file: Path
    sha256: str
    mime: str
    size_bytes: int


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
class Job:
    """One picture to buy.

    `aspect_ratio` None leaves the ratio to the model (it follows the input picture, else 1:1). `sample` counts
    from 1 and tells apart the jobs that `samples` makes of one entry.
    """

    id: str
    prompt: str
    model: str
    references: tuple[Reference, ...] = ()
    aspect_ratio: str | None = None
    image_size: str = "1K"
    modalities: tuple[str, ...] = ("IMAGE",)
    sample: int = 1
    place: Place | None = None

    def spec_hash(self) -> str:
        """Hash (32 hex digits) of everything that decides what is bought.

        Where the job stands, what it is called and how its references are named do not count: moving a row
        or a file buys nothing again.
        """
        return self.spec().hex()

    def spec(self) -> bytes:
        """`spec_hash` as 16 bytes: of SHA-256 over JSON with sorted keys, without spaces, in ASCII."""
        beginning = _spec_beginning(self.aspect_ratio, self.image_size, self.modalities, self.model)
        references = ",".join(_json_text(reference.sha256) for reference in self.references) if self.references else ""
        rest = f'{_json_text(self.prompt)},"references":[{references}],"sample":{self.sample}}}'
        return sha256(beginning + rest.encode("ascii")).digest()[:16]

    def key(self) -> bytes:
        """What is kept in memory per job instead of its id (16 bytes)."""
        return job_key(self.id)


@lru_cache(maxsize=1024)
def _spec_beginning(aspect_ratio: str | None, image_size: str, modalities: tuple[str, ...], model: str) -> bytes:
    """What millions of jobs have in common is made once: the spec's JSON up to the prompt."""
    common = {"aspect_ratio": aspect_ratio, "image_size": image_size, "modalities": modalities, "model": model}
    text = json.dumps(common, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return f'{text[:-1]},"prompt":'.encode("ascii")


def job_key(job_id: str) -> bytes:
    """A job's id as 16 bytes that practically never meet another's."""
    hashed = _NOTHING_HASHED.copy()  # quicker than a new one
    hashed.update(job_id.encode("utf-8"))
    return hashed.digest()


_NOTHING_HASHED: Final = blake2b(digest_size=16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms one attempt at a job is sent: to which endpoint (by its name in the manifest), for which model
    (the job's own, or a fallback) and in which lane."""

    endpoint: str
    model: str
    lane: Lane = Lane.STANDARD

    def of(self, job: Job) -> Job:
        """What is really asked for: the job, made by this model."""
        return job if job.model == self.model else replace(job, model=self.model)


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
    """The run stopped before this job was settled; running again goes on with it."""

    job: Job


Outcome: TypeAlias = Done | Failed | Unknown | Pending
