"""Which jobs' current pictures were rejected: by decisions.jsonl, and by the ledger, which knows what each job has.

Decisions are followed while a run is on: a person may accept what is about to be made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from batch.core.decisions import Decision, Decisions, Rejection, Verdict
from batch.core.model import job_key
from batch.core.results import Review
from batch.store.decisions import FollowedDecisions
from batch.store.history import History
from batch.store.job_state import JobHistory
from batch.store.ledger_reader import LedgerReader, open_ledger
from batch.store.records import Pictured, TryRecord


class RejectedPictures:
    """The rejected pictures of one output folder. Reads the decisions there are. Raises `OutputError` if it cannot."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._followed = FollowedDecisions(output)
        #: By the job's key: its id, and every picture of it that something was said of.
        self._said: dict[bytes, tuple[str, dict[str, None]]] = {}
        self._catch_up()

    @property
    def _accepted(self) -> Iterator[str]:
        return (each.job for each in self.decisions if each.verdict is Verdict.ACCEPTED)

    @property
    def decisions(self) -> Decisions:
        """What counts for each picture, as of the last look."""
        return self._followed.decisions

    def accepted_beside(self, key: bytes) -> int:
        """How many of the samples of a job's entry are accepted: jobs called as it is but for the number at the end."""
        said = self._said.get(key)
        product = "" if said is None else said[0].rpartition(".")[0]
        return sum(job.rpartition(".")[0] == product for job in self._accepted) if product else 0

    @property
    def unreadable_lines(self) -> tuple[int, ...]:
        """The numbers of lines that hold no decision that could be read."""
        return tuple(self._followed.unreadable)

    def __bool__(self) -> bool:
        return bool(self._said)

    def __iter__(self) -> Iterator[bytes]:
        """The keys of all jobs of whose pictures something was said, by now."""
        self._catch_up()
        return iter([*self._said])

    def __contains__(self, key: bytes) -> bool:
        """Whether anything was said of a job's pictures."""
        return key in self._said

    def of(self, key: bytes, past: JobHistory) -> Rejection | None:
        """The rejection of the picture a job has, by its key and its past; None if one of its pictures was accepted.

        A rejection that was answered with the very same picture is none, until it is said anew.
        """
        self._catch_up()
        if key not in self._said or past.bought_offset < 0:
            return None
        job, pictures = self._said[key]
        words = [word for sha256 in pictures if (word := self.decisions.of(job, sha256)) is not None]
        if any(word.verdict is Verdict.ACCEPTED for word in words):
            return None
        rejected = {word.sha256: word for word in words if word.verdict is Verdict.REJECTED}
        return self._of_its_picture(rejected, past) if rejected else None

    def review(self, history: History) -> Review | None:
        """What was said of the pictures that the jobs of a history have; None if that is nothing."""
        self._catch_up()
        if not self._said and not self.unreadable_lines:
            return None
        counts: Counter[str] = Counter()
        with open_ledger(self._output) as ledger:
            for key, (job, pictures) in self._said.items():
                past = history.of(key)
                if past.bought_offset >= 0:
                    counts.update(self._standing(job, pictures, past, ledger))
        accepted = counts["accepted"]
        return Review(
            seen=counts["seen"],
            accepted=accepted,
            rejected=counts["rejected"],
            usd_per_accepted=round(history.usd / accepted, 6) if accepted else None,
            unreadable_lines=self.unreadable_lines,
        )

    def _standing(self, job: str, pictures: Iterable[str], past: JobHistory, ledger: LedgerReader) -> Iterator[str]:
        verdicts = {sha256: word.verdict for sha256 in pictures if (word := self.decisions.of(job, sha256)) is not None}
        shown = {sha256 for sha256, verdict in verdicts.items() if verdict is Verdict.ACCEPTED}
        if shown:
            yield "accepted"
        else:
            bought = ledger.at(past.bought_offset)
            assert isinstance(bought, Pictured)
            shown = {image.sha256 for image in bought.images}
            if any(verdicts.get(sha256) is Verdict.REJECTED for sha256 in shown):
                yield "rejected"
        if any(self.decisions.is_seen(job, sha256) for sha256 in shown):
            yield "seen"

    def _of_its_picture(self, rejected: dict[str, Decision], past: JobHistory) -> Rejection | None:
        with open_ledger(self._output) as ledger:
            bought, tried = ledger.at(past.bought_offset), ledger.at(past.bought_try_offset)
        assert isinstance(bought, Pictured)
        words = [rejected[image.sha256] for image in bought.images if image.sha256 in rejected]
        if isinstance(tried, TryRecord) and any(word.sha256 == tried.ask.instead_of for word in words):
            words = [word for word in words if word.at > tried.at]
        return _rejection(words) if words else None

    def _catch_up(self) -> None:
        for decision in self._followed.catch_up():
            key = job_key(decision.job)
            self._said.setdefault(key, (decision.job, {}))[1][decision.sha256] = None


def _rejection(words: list[Decision]) -> Rejection:
    """Of several pictures that came in one answer, everything that was said."""
    reasons = dict.fromkeys(reason for word in words for reason in word.reasons)
    notes = dict.fromkeys(word.note for word in words if word.note)
    return Rejection(sha256=words[-1].sha256, reasons=tuple(reasons), note=" ".join(notes))
