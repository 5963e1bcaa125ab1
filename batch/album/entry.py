"""What an album knows of one job. Frozen values; times are ISO 8601 in UTC, as the ledger has them; money in USD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from batch.core.decisions import Decision, Verdict
from batch.core.picture_warnings import Warned
from batch.store.job_state import Standing


class PictureState(StrEnum):
    """A picture's file, as far as its size tells."""

    WHOLE = "whole"
    ALTERED = "altered"
    MISSING = "missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One stored picture. `path` is relative to the output folder; width and height in pixels."""

    path: str
    sha256: str
    mime: str
    width: int
    height: int
    size_bytes: int
    state: PictureState
    #: What a person, or else a machine, said of it last; None: nothing yet.
    decision: Decision | None
    #: Whether a person has looked at it, judged or not.
    seen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One answer that brought pictures, and what was asked for. `number` counts from 1, in the order they came.

    `adopted_from` is the job whose picture was taken over without a request, else empty.
    """

    number: int
    attempt: int
    pictures: tuple[Picture, ...]
    caption: str | None
    warnings: tuple[Warned, ...]
    prompt: str
    references: tuple[str, ...]
    #: SHA-256 (hex) of the references' content, in the same order.
    reference_sha256s: tuple[str, ...]
    model: str
    endpoint: str
    lane: str
    #: Ratio, size and whatever else was asked for beside prompt and references, by name.
    parameters: Mapping[str, Any]
    cost_usd: float
    finished_at: str
    adopted_from: str
    simulated: bool
    #: The output that it is of, by name, where two are compared.
    source: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether one of its pictures was accepted."""
        return any(_verdict(picture) is Verdict.ACCEPTED for picture in self.pictures)

    @property
    def is_rejected(self) -> bool:
        """Whether its pictures were rejected and none was accepted."""
        return not self.is_accepted and any(_verdict(picture) is Verdict.REJECTED for picture in self.pictures)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request, or what was decided in its place. `paid` is `no`, `yes` or `maybe`; `seconds` what it took.

    `outcome` is `done`, `failed`, `unknown`, `open` (no end in the ledger yet), `adopted`, `copied`, `resolved` or
    `reread`. `code` and `message` are empty where pictures came.
    """

    number: int
    started_at: str
    ended_at: str
    endpoint: str
    model: str
    outcome: str
    why: str
    code: str
    message: str
    http_status: int | None
    paid: str
    cost_usd: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job has no picture, or no newer one. `advice` says what to do, empty where nothing is known."""

    code: str
    message: str
    http_status: int | None
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job. `position` counts from 0 in the manifest's order; without a manifest.jsonl in the ledger's.

    `row` has the columns that `keep` names, or None. What was last asked stands in `prompt`, `references`, `model`,
    `endpoint` and `parameters`; what a picture was made from, in its version.
    """

    id: str
    position: int
    standing: Standing
    prompt: str
    references: tuple[str, ...]
    #: SHA-256 (hex) of the references' content, in the same order.
    reference_sha256s: tuple[str, ...]
    model: str
    endpoint: str
    parameters: Mapping[str, Any]
    row: Mapping[str, Any] | None
    versions: tuple[Version, ...]
    attempts: tuple[Attempt, ...]
    failure: Failure | None
    cost_usd: float
    maybe_cost_usd: float
    #: Its loss or failure was accepted with `imagebatch resolve`.
    settled_by_person: bool
    #: Whether the manifest of the last run has it.
    listed: bool
    #: Of the versions, the one that the ledger says is the job's picture; None if it has none.
    current: Version | None

    @property
    def chosen(self) -> Version | None:
        """The version to show and to hand over: the newest one with an accepted picture, or else the current one."""
        accepted = (version for version in reversed(self.versions) if version.is_accepted)
        return next(accepted, self.current)


def _verdict(picture: Picture) -> Verdict | None:
    return picture.decision.verdict if picture.decision is not None else None
