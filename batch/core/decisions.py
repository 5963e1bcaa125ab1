"""What is thought of a picture: a person's word, or a machine's. By job and by picture, so that a new one is unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """`seen` is looked at and not judged; `undone` takes back what the same side said before."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SEEN = "seen"
    UNDONE = "undone"


class Side(StrEnum):
    """Whose word it is. A person's counts for more than a machine's, whichever came later."""

    PERSON = "person"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One word on one picture. `at` is ISO 8601 in UTC; `sha256` the picture's; `reasons` short names such as `hands`.

    `by` names the reviewer or the program, where known.
    """

    at: str
    job: str
    sha256: str
    verdict: Verdict
    side: Side = Side.PERSON
    by: str = ""
    reasons: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a job's current picture (its SHA-256) was rejected."""

    sha256: str
    reasons: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedPicture:
    """A picture that was just decided on. `path` is relative to the output folder."""

    job: str
    path: str
    sha256: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    note: str = ""


class Decisions:
    """The word that counts, by job and picture: a person's last one, or else the machine's.

    Looking at a picture judges nothing: `seen` stands only where its side has said nothing else, and a machine's
    verdict counts until a person has judged. `unreadable` are the lines of their file that hold no decision that could
    be read, counted from 1.
    """

    def __init__(self, decisions: Iterable[Decision] = (), unreadable: Iterable[int] = ()) -> None:
        self._last: dict[tuple[str, str, Side], Decision] = {}
        for decision in decisions:
            self.add(decision)
        self.unreadable = tuple(unreadable)

    def __iter__(self) -> Iterator[Decision]:
        """Every decision that counts, in the order in which its picture was first decided on."""
        pictures = dict.fromkeys((job, sha256) for job, sha256, _ in self._last)
        return (found for picture in pictures if (found := self.of(*picture)) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, decision: Decision) -> None:
        """Take in the next one of the file."""
        key = (decision.job, decision.sha256, decision.side)
        if decision.verdict is Verdict.UNDONE:
            self._last.pop(key, None)
        elif decision.verdict is not Verdict.SEEN or key not in self._last:
            self._last[key] = decision

    def of(self, job: str, sha256: str) -> Decision | None:
        """What counts for a picture of a job; None: nothing was said, or it was taken back."""
        said = [found for side in Side if (found := self._last.get((job, sha256, side))) is not None]
        return next((each for each in said if each.verdict is not Verdict.SEEN), said[0] if said else None)

    def jobs_with_others(self, before: Decisions) -> frozenset[str]:
        """The jobs of whose pictures something else is said than in `before`."""
        changed = self._last.items() ^ before._last.items()
        return frozenset(job for (job, _, _), _ in changed)

    def is_seen(self, job: str, sha256: str) -> bool:
        """Whether a person has looked at a picture, judged or not."""
        return (job, sha256, Side.PERSON) in self._last
