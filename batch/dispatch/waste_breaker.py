"""A circuit breaker for money: charged answers without a usable picture, one after the other, have one cause.

Until a run's first picture only a few requests are in flight; from the first charged answer without one nothing is
bought beyond what would prove it, and repeats wait. So what a broken endpoint can cost is a handful of requests,
whatever the concurrency. Numbers: docs/limits-and-money.md, "Charged for nothing".
"""

from __future__ import annotations

from typing import Final

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, Paid

#: So many requests at once may be in flight, and paid for, before the first picture: a small batch goes out whole.
UNPROVEN_IN_FLIGHT: Final = 8
#: After the first picture so many times more are needed, and all of one code: the endpoint has shown that it works.
_TIMES_AFTER_A_PICTURE: Final = 2
#: Blocked prompts tell of prompts. Only a run that never got a picture ends over them, after so many times more.
_TIMES_BLOCKED: Final = 4
#: So many jobs without a picture are no chance any more that is worth paying for: repeats wait.
_JOBS_TO_HOLD_REPEATS: Final = 2


class WasteBreaker:
    """Counts charged answers without a picture since the last one with a picture, at one route for one model.

    `jobs_in_a_row`: so many jobs end the use of the route; 0 for never.
    """

    def __init__(self, jobs_in_a_row: int) -> None:
        self._jobs_in_a_row = jobs_in_a_row
        self._in_flight = 0
        self._had_picture = False
        self._forget()

    @property
    def is_common(self) -> bool:
        """Whether repeats should wait: several jobs in a row were charged and got no picture."""
        return self._jobs_in_a_row > 0 and len(self._jobs) >= _JOBS_TO_HOLD_REPEATS

    @property
    def is_full(self) -> bool:
        """Whether no more requests may go out before one of those in flight is answered: they would prove it, or are
        as many as may be lost on an endpoint that has shown no picture yet."""
        if self._in_flight == 0 or self._jobs_in_a_row == 0:
            return False
        if not self._had_picture and self._in_flight >= max(self._jobs_in_a_row, UNPROVEN_IN_FLIGHT):
            return True
        starts_at = self._jobs_in_a_row if self._had_picture else 1
        return self._answers >= starts_at and self._answers + self._in_flight >= self._needed

    def went_out(self) -> None:
        """A request goes out."""
        self._in_flight += 1

    def came_back(self, job_id: str, error: BaseException | None) -> EndpointDown | None:
        """It is over. Returns why nothing more should be bought there, once that is clear and nothing is in flight."""
        self._in_flight -= 1
        if error is None:
            self._had_picture = True
            self._forget()
        elif isinstance(error, AttemptError) and error.paid is Paid.YES:
            self._charged(job_id, error)
        if self._jobs_in_a_row == 0 or self._in_flight > 0:
            return None  # one that is still out may bring a picture: slow ones must not lose to quick refusals
        if len(self._jobs) >= self._needed:
            return self._stopper(len(self._jobs))
        if not self._had_picture and len(self._blocked) >= self._jobs_in_a_row * _TIMES_BLOCKED:
            return self._stopper(len(self._blocked))
        return None

    @property
    def _needed(self) -> int:
        return self._jobs_in_a_row * (_TIMES_AFTER_A_PICTURE if self._had_picture else 1)

    def _forget(self) -> None:
        self._jobs: set[str] = set()
        self._blocked: set[str] = set()
        self._answers = 0
        self._usd = 0.0
        self._first: AttemptError | None = None

    def _charged(self, job_id: str, error: AttemptError) -> None:
        blocked = error.kind is Kind.POLICY
        if self._had_picture and blocked:
            return
        if self._had_picture and self._first is not None and self._first.code != error.code:
            self._forget()
        self._first = self._first or error
        self._usd += error.cost_usd
        (self._blocked if blocked else self._jobs).add(job_id)
        self._answers += not blocked

    def _stopper(self, jobs: int) -> EndpointDown:
        assert self._first is not None
        said = f"The first answer ({self._first.code}): {self._first.message.rstrip('.')}."
        cost = f" for ${self._usd:,.2f}" if self._usd else ""
        words = (
            f"{jobs} jobs in a row were charged{cost} and brought no usable picture; nothing more is sent there. "
            f"{said} What came back lies in rejected/ of the output folder; `imagebatch reread` looks for pictures in "
            "it again, without a request"
        )
        return EndpointDown(
            "charged_for_nothing",
            words,
            exit_code=ExitCode.PROTOCOL,
            http_status=self._first.http_status,
            request_id=self._first.request_id,
            of_model=True,
        )
