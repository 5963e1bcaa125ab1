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


class Decisions:
    """The word that counts, by job and picture: a person's last one, or else the machine's."""

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self._last: dict[tuple[str, str, Side], Decision] = {}
        for decision in decisions:
            self.add(decision)

    def __iter__(self) -> Iterator[Decision]:
        """Every decision that counts, in the order in which its picture was first decided on."""
        seen: set[tuple[str, str]] = set()
        for job, sha256, _ in self._last:
            found = self.of(job, sha256)
            if found is not None and (job, sha256) not in seen:
                seen.add((job, sha256))
                yield found

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, decision: Decision) -> None:
        """Take in the next one of the file."""
        key = (decision.job, decision.sha256, decision.side)
        if decision.verdict is Verdict.UNDONE:
            self._last.pop(key, None)
        else:
            self._last[key] = decision

    def of(self, job: str, sha256: str) -> Decision | None:
        """What counts for a picture of a job; None: nothing was said, or it was taken back."""
        for side in Side:
            found = self._last.get((job, sha256, side))
            if found is not None:
                return found
        return None
