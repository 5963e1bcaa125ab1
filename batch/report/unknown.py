"""Requests whose outcome is unknown, as words for a person who looks them up in the provider's log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batch.core.results import Decided, UnknownAttempt
from batch.report.formatting import count, duration, path, printable, usd

_DECIDED = {
    Decided.PAID: "counted as spent; held, and sent again only by --retry resolved_paid",
    Decided.UNPAID: "sent again by the next run",
    Decided.ACCEPTED: "counted as done with the files that are there",
    Decided.FAILED: "closed as failed; sent again only by --retry resolved_failed",
}


def unknown_lines(attempts: Sequence[UnknownAttempt], output: str) -> Iterator[str]:
    """One block per request: what the provider's log would know it by."""
    if not attempts:
        yield f"{path(output)}: no request waits for a decision"
        return
    yield f"{path(output)}: {count(len(attempts), 'request')} with an unknown outcome, {_most(attempts)}"
    for attempt in attempts:
        yield (
            f"  {attempt.job}  attempt {attempt.attempt}, ended {attempt.at} after {duration(attempt.seconds)}, "
            f"up to {usd(attempt.usd)}: {attempt.code}: {printable(attempt.message, 200)}"
        )
        yield f"    request id {printable(attempt.request_id or 'none')}, client request id {attempt.client_request_id}"
    yield f"  next       imagebatch resolve {path(output)} ID... --as paid|unpaid|failed"


def resolved_lines(attempts: Sequence[UnknownAttempt], jobs: int, decided: Decided) -> Iterator[str]:
    """What was written down, and what follows."""
    money = "" if decided is Decided.ACCEPTED else f" ({_most(attempts)})"
    yield f"{count(jobs, 'job')} resolved as {decided}{money}: {_DECIDED[decided]}"


def _most(attempts: Sequence[UnknownAttempt]) -> str:
    return f"at most {usd(sum(attempt.usd for attempt in attempts))}"
