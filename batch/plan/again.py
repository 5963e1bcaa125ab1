"""`--again`: which jobs are made again although they have their picture, by id, by pattern, or because it is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final

MISSING: Final = "missing"
_MAGIC: Final = re.compile(r"[*?\[]")


class Again:
    """The jobs a person names. `words` are ids, patterns with `*` and `?`, or `missing`; `ids` are taken literally."""

    def __init__(self, words: Iterable[str] = (), ids: Iterable[str] = ()) -> None:
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
    def unmet(self) -> list[str]:
        """The ids and patterns that no job had, of all jobs asked about so far."""
        return list(self._unmet)
