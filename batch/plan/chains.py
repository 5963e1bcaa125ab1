"""Jobs that go on with another job's picture: sent after it, in the same run or in a later one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from batch.plan.decide import DECISIONS
from batch.plan.selection import GETTING, SENDING

CHAINED: Final = DECISIONS.index("to do: chained")
CHANGED: Final = DECISIONS.index("skip: changed")
WAITS: Final = DECISIONS.index("skip: waits")


@dataclass(frozen=True, slots=True)
class Link:
    """The job at `index` goes on with the one whose key is `start`; `is_known`: whether that has a picture already."""

    index: int
    start: bytes
    is_known: bool


@dataclass(slots=True)
class Links:
    """All links of a manifest, and what was decided on their jobs before it was seen that they have to wait."""

    links: Sequence[Link]
    order: bytes | bytearray
    _before: dict[int, int] = field(default_factory=dict)
    _places: Mapping[bytes, int] = field(default_factory=dict)

    def chain(self, decisions: bytearray) -> list[int]:
        """Mark the jobs that are to be sent, and whose picture to go on with is not there yet or will be another.

        Returns the places of those that seemed to be edited: what they ask for is only known with that picture.
        """
        if not self.links:
            return []
        self._places = dict(self._starts())
        waiting = True
        while waiting:  # one that waits makes those behind it wait
            waiting = False
            for link in self.links:
                code = decisions[link.index]
                if code == CHAINED or not (code < SENDING or (code == CHANGED and not link.is_known)):
                    continue
                if self._is_coming(link, decisions) or (code < SENDING and not link.is_known):
                    self._before[link.index] = code
                    decisions[link.index] = CHAINED
                    waiting = True
        return [place for place, code in self._before.items() if code == CHANGED]

    def release(self, decisions: bytearray) -> None:
        """Once it is known what is sent: those whose start does not come are left waiting, or sent as they are."""
        changed = bool(self.links)
        while changed:
            changed = False
            for link in self.links:
                if decisions[link.index] == CHAINED and not self._is_coming(link, decisions):
                    before = self._before[link.index]
                    decisions[link.index] = before if link.is_known or before == CHANGED else WAITS
                    changed = True

    def _is_coming(self, link: Link, decisions: bytearray) -> bool:
        """Whether the start gets a picture in this run."""
        place = self._places.get(link.start)
        return place is not None and decisions[place] < GETTING

    def _starts(self) -> Iterator[tuple[bytes, int]]:
        wanted = {link.start for link in self.links}
        for index in range(len(self.order) // 16):
            key = bytes(self.order[16 * index : 16 * index + 16])
            if key in wanted:
                yield key, index
