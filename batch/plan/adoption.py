"""Pictures that need not be bought because they were bought before: for a renamed job, for a job that asks for exactly
what another asked for, or in another output folder.

What counts is the spec hash, which names everything that decides a picture. Pure: histories in, decisions out.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from batch.core.key_index import KeyMap
from batch.plan.decide import DECISIONS
from batch.plan.selection import SENDING
from batch.store.history import History

RENAMED: Final = DECISIONS.index("adopt: renamed")
SAME: Final = DECISIONS.index("adopt: same")
REUSED: Final = DECISIONS.index("adopt: reused")
COPY: Final = DECISIONS.index("skip: copy")
#: A remake is wanted although the same picture is there.
_REMADE: Final = frozenset(map(DECISIONS.index, ("to do: remake", "to do: rejected", "to do: chained")))
_TO_SEND: Final = frozenset(range(SENDING)) - _REMADE
#: Sent before, and without a picture.
_UNSETTLED: Final = frozenset(map(DECISIONS.index, ("skip: open", "skip: failed", "skip: held", "skip: set aside")))
_ROW_BITS: Final = 32


@dataclass(frozen=True, slots=True)
class Source:
    """Where a picture comes from: row `row` of the history of folder `folder` (0 is the run's own, 1 the first of
    those to reuse)."""

    folder: int
    row: int


@dataclass(slots=True)
class Matches:
    """What was found, in the jobs' order: a source for every adoption, and for every copy the index of the job whose
    picture it waits for. `twins` are jobs to send that ask for the same as another job of the manifest."""

    sources: array[int] = field(default_factory=lambda: array("Q"))
    originals: array[int] = field(default_factory=lambda: array("L"))
    twins: list[int] = field(default_factory=list)

    def source(self, number: int) -> Source:
        """The source of the `number`-th adoption."""
        packed = self.sources[number]
        return Source(packed >> _ROW_BITS, packed & ((1 << _ROW_BITS) - 1))

    def add_source(self, source: Source) -> None:
        self.sources.append(source.folder << _ROW_BITS | source.row)


def match(
    decisions: bytearray,
    specs: bytes | bytearray,
    history: History,
    seen: bytes | bytearray,
    reuse: Sequence[History],
    *,
    dedupe: bool,
) -> Matches:
    """Turn jobs to send into adoptions and copies where that is possible; changes `decisions`.

    `specs` are the jobs' 16-byte spec hashes, one after the other; `seen` has a byte for every row of `history`, 1 if
    its job is in the manifest.
    """
    found = Matches()
    if not any(code in decisions for code in range(SENDING)):
        return found
    gone, kept = _bought(history, seen)
    others = [_bought(other, bytes(len(other)))[0] for other in reuse]
    nothing_bought = not any(map(len, (gone, kept, *others)))
    taken: set[int] = set()
    first = KeyMap()
    if dedupe:  # a job that asks for the same as one that failed shares its end, instead of paying for it too
        for index, spec in _with_codes(decisions, specs, _UNSETTLED):
            first.add(spec, index)
    for index, spec in _with_codes(decisions, specs, _TO_SEND):
        source = None if nothing_bought else _source(spec, gone, kept, others, taken, dedupe=dedupe)
        if source is not None:
            decisions[index] = source[0]
            found.add_source(source[1])
            continue
        original = first.add(spec, index)
        if dedupe and original != index:
            decisions[index] = COPY
            found.originals.append(original)
        elif original != index or spec in kept:
            found.twins.append(index)
    return found


def _source(
    spec: bytes,
    gone: KeyMap,
    kept: KeyMap,
    others: Sequence[KeyMap],
    taken: set[int],
    *,
    dedupe: bool,
) -> tuple[int, Source] | None:
    """Where a job gets its picture from, and as what: from a job that is gone, an equal one, or another folder."""
    row = gone.get(spec)
    if row is not None and row not in taken:
        taken.add(row)
        return RENAMED, Source(0, row)
    if dedupe:
        here = kept.get(spec)
        row = row if here is None else here
        if row is not None:
            return SAME, Source(0, row)
    for number, known in enumerate(others, start=1):
        row = known.get(spec)
        if row is not None:
            return REUSED, Source(number, row)
    return None


def sources_of_copies(decisions: bytes | bytearray, history: History) -> KeyMap:
    """After a run: the rows of bought pictures by spec, for the copies that wait for one; empty if none does."""
    return _bought(history, bytes(len(history)))[0] if COPY in decisions else KeyMap()


def _with_codes(decisions: bytearray, specs: bytes | bytearray, codes: frozenset[int]) -> Iterable[tuple[int, bytes]]:
    """Index and spec of the jobs with one of these decisions."""
    for index, code in enumerate(decisions):
        if code in codes:
            yield index, bytes(specs[16 * index : 16 * index + 16])


def _bought(history: History, seen: bytes | bytearray) -> tuple[KeyMap, KeyMap]:
    """Rows by what was bought for them: jobs that the manifest no longer has, and those it has."""
    maps = (KeyMap(), KeyMap())
    for row, spec in history.pictures():
        maps[row < len(seen) and seen[row]].add(spec, row)
    return maps
