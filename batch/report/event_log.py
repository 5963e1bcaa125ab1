"""A listener that writes the story of a run into the log: every attempt, wait and end, as text or as JSON lines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any, Final

from batch.core.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    GateClosed,
    JobEnded,
    JobsAdded,
    Listener,
    Message,
    MoneyWaits,
    RunStarted,
    Stopping,
    WaitChanged,
)
from batch.core.model import Done, Outcome, Pending
from batch.report.formatting import printable, waiting_words

log = logging.getLogger(__name__)
_FIELDS: Final = "fields"


class EventLog(Listener):
    """Logs each event with its facts. What a run decided about its pace is logged where it is decided."""

    def on_event(self, event: Event) -> None:
        """Trouble is a warning, single requests are for --log-level debug."""
        match event:
            case RunStarted(start):
                words = "run started: %s, %d of %d jobs to send at %s, %s"
                facts = {"concurrency": start.concurrency, "expected_usd": start.expected_usd, "output": start.output}
                _tell(logging.INFO, words, start.name, start.to_do, start.jobs, start.endpoint, start.output, **facts)
            case AttemptStarted(job, in_flight):
                _tell(logging.DEBUG, "%s: sent, %d in flight", job.id, in_flight, job=job.id, in_flight=in_flight)
            case AttemptFailed(job, error, retry_seconds):
                then = "not sent again" if retry_seconds is None else f"again in {retry_seconds:.1f} s"
                facts = {"job": job.id, "code": error.code, "paid": str(error.paid), "retry_seconds": retry_seconds}
                _tell(logging.WARNING, "%s: %s: %s; %s", job.id, error.code, printable(error.message), then, **facts)
            case GateClosed(seconds, reason):
                _tell(logging.INFO, "gate closed for %.1f s: %s", seconds, printable(reason), seconds=seconds)
            case WaitChanged(waiting):
                words = waiting_words(waiting) or "nothing but answers"
                _tell(logging.DEBUG, "waits for: %s", words, by=waiting.by)
            case MoneyWaits(words):
                _tell(logging.INFO, "waits for money: %s", words)
            case JobEnded(outcome):
                _tell_outcome(outcome)
            case JobsAdded(jobs):
                _tell(logging.INFO, "rejected and to be made again: %d more", jobs, jobs=jobs)
            case Stopping(reason, in_flight):
                _tell(logging.WARNING, "stopping: %s, %d in flight", printable(reason), in_flight, in_flight=in_flight)
            case Message(text):
                _tell(logging.INFO, "%s", text)


def _tell_outcome(outcome: Outcome) -> None:
    match outcome:
        case Done(job=job, attempt=attempt, images=images):
            path = images[-1].path if images else ""
            facts = {"attempt": attempt.number, "seconds": attempt.seconds, "cost_usd": attempt.cost_usd, "image": path}
            words = "%s: done at attempt %d after %.1f s, $%.4f: %s"
            shown = (job.id, attempt.number, attempt.seconds, attempt.cost_usd, path)
            _tell(logging.INFO, words, *shown, job=job.id, outcome="done", **facts)
        case Pending(job=job):
            _tell(logging.DEBUG, "%s: left for the next run", job.id, job=job.id, outcome="pending")
        case _:
            error, name = outcome.error, type(outcome).__name__.lower()
            facts = {"job": outcome.job.id, "outcome": name, "code": error.code, "paid": str(error.paid)}
            details = (outcome.job.id, name, error.code, printable(error.message))
            _tell(logging.WARNING, "%s: %s: %s: %s", *details, **facts)


def _tell(level: int, words: str, *details: Any, **facts: Any) -> None:
    log.log(level, words, *details, extra={_FIELDS: facts})


class JsonFormatter(logging.Formatter):
    """One JSON object per record: `at` (UTC), `level`, `logger`, `message`, and the facts of an event."""

    def format(self, record: logging.LogRecord) -> str:
        """In ASCII, so that it is JSON in every locale."""
        told = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)
