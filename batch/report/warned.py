"""Pictures that are kept and have warnings: how many, of which kinds, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from batch.core.picture_warnings import asked_words, is_not_as_asked, odd_words
from batch.report.formatting import count
from batch.store.history import History
from batch.store.job_state import Standing


def count_warnings(history: History) -> tuple[int, Counter[str]]:
    """How many pictures in a folder are not as asked, and how many have warnings by their kind."""
    not_as_asked = 0
    warnings: Counter[str] = Counter()
    for facts, jobs in history.tally_of_all().items():
        if facts.standing is Standing.DONE:
            not_as_asked += jobs * is_not_as_asked(facts.warned)
            warnings.update(dict.fromkeys(facts.warned, jobs))
    return not_as_asked, warnings


def warning_lines(not_as_asked: int, warnings: Mapping[str, int]) -> Iterator[str]:
    """How many of the pictures are not what they should be, by kind; which, says manifest.jsonl."""
    if not_as_asked:
        verb = "is" if not_as_asked == 1 else "are"
        yield f"  warnings   {count(not_as_asked, 'picture')} {verb} not as asked: {asked_words(warnings)}"
    if odd := odd_words(warnings):
        yield f"  odd        kept all the same: {odd}"
