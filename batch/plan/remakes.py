"""`--again`: which jobs are made again although they have their picture, by id, by pattern, or because it is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from hashlib import blake2b
from typing import Final

MISSING: Final = "missing"
_MAGIC: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainWish:
    """An `--again` that a run has begun on, as the ledger keeps it until all of it is made.

    `said`: the words as they were typed; `digest`: with the ids in their files; `since`: the byte of the ledger from
    which on pictures are those that were asked for.
    """

    said: tuple[str, ...]
    digest: str
    since: int


class Remakes:
    """The jobs a person names. `words` are ids, patterns with `*` and `?`, or `missing`; `ids` are taken literally."""

    def __init__(self, words: Iterable[str] = (), ids: Iterable[str] = (), since: int = -1) -> None:
        words, ids = list(words), list(ids)
        #: Pictures bought from this byte of the ledger on are what was asked for: a run with the same words made them
        #: before it was stopped. -1: none are.
        self.since = since
        self._said = words, ids
        self.missing = False
        self._unmet = dict.fromkeys(ids)
        self._ids = set(self._unmet)
        self._patterns: list[tuple[str, re.Pattern[str]]] = []
        for word in words:
            if word == MISSING:
                self.missing = True
            elif _MAGIC.search(word):
                self._patterns.append((word, re.compile(translate(word))))
                self._unmet[word] = None
            else:
                self._ids.add(word)
                self._unmet[word] = None

    def __bool__(self) -> bool:
        return self.names_jobs or self.missing

    @property
    def names_jobs(self) -> bool:
        return bool(self._ids or self._patterns)

    def names(self, job_id: str) -> bool:
        """Whether a job is named by its id or by a pattern."""
        met = [word for word, pattern in self._patterns if pattern.match(job_id)]
        if job_id in self._ids:
            met.append(job_id)
        for word in met:
            self._unmet.pop(word, None)
        return bool(met)

    @property
    def digest(self) -> str:
        """Names what was said, in whatever order; "" if no job is named."""
        words, ids = self._said
        said = "\n".join([*sorted({word for word in words if word != MISSING}), "", *sorted(set(ids))])
        return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() if self.names_jobs else ""

    def going_on(self, since: int) -> Remakes:
        """The same, without what was made from that byte of the ledger on."""
        return Remakes(*self._said, since=since)

    def is_made(self, bought_offset: int) -> bool:
        """Whether a picture recorded at that byte of the ledger is what was asked for."""
        return 0 <= self.since <= bought_offset

    @property
    def unmet(self) -> list[str]:
        """The ids and patterns that no job had, of all jobs asked about so far."""
        return list(self._unmet)
