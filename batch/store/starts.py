"""The pictures that jobs go on with (`continue_from`), as an output's ledger has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from batch.core.model import Job, Reference, Turn, job_key
from batch.store.history import History
from batch.store.ledger_reader import open_ledger
from batch.store.records import Pictured, terms_of


class BoughtStarts:
    """Gives jobs the picture they go on with. What it has said of a picture once, it says again."""

    def __init__(self, output: Path, history: Callable[[], History]) -> None:
        self._output = output
        self._history = history
        self._said: dict[str, Reference | None] = {}

    def known(self, job: Job) -> Job:
        """The job with the picture it goes on with, as its first reference; as it is if that is not there yet."""
        if not job.continue_from:
            return job
        if job.continue_from not in self._said:
            self._said[job.continue_from] = self._bought(job.continue_from)
        start = self._said[job.continue_from]
        return job if start is None else replace(job, references=(start, *job.references))

    def _bought(self, job_id: str) -> Reference | None:
        past = self._history().of(job_key(job_id))
        if not past.versions:
            return None
        with open_ledger(self._output) as ledger:
            record = ledger.at(past.bought_offset)
            asked = ledger.asked_at(past.bought_try_offset)
        assert isinstance(record, Pictured)
        image = record.images[-1]
        signature = None if not record.signature else self._output / record.signature
        return Reference(
            name=image.path,
            file=self._output / image.path,
            sha256=image.sha256,
            mime=image.mime,
            size_bytes=image.bytes,
            turn=Turn(prompt=asked.ask.prompt, model=terms_of(asked).model, signature=signature),
        )
