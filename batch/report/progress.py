"""Listeners that show a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import IO, Any, Final

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

from batch.core.clock import Clock
from batch.core.errors import AttemptError, EndpointDown, RateLimited
from batch.core.events import Listener, RunStart, Waiting
from batch.core.model import Done, Failed, Job, Outcome, Pending, Unknown
from batch.report.formatting import at_list_price, count, duration, printable, usd, waiting_words

_LINE_EVERY_SECONDS: Final = 30.0
_FAILURES_SHOWN: Final = 20
#: What differs from answer to answer although the same is said: numbers, and a request's id.
_VARYING: Final = re.compile(r"request[ _-]?id\W+\S+|\d+", re.IGNORECASE)
_USUAL_COLUMNS: Final = 80
_WHOLE_WORDS: Final[Any] = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}


@contextmanager
def without_bar(stream: IO[str]) -> Iterator[None]:
    """Take the bar off the screen for as long as something else, such as a question, stands there."""
    with tqdm.external_write_mode(file=stream):
        yield


def _columns_of(stream: IO[str]) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except OSError:
        return _USUAL_COLUMNS


class Counts(Listener):
    """What all listeners that show a run count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._usd = 0.0
        self._in_flight = 0
        self._waiting = Waiting()
        self._to_do = 0
        self._stopping = False
        self._money = ""
        self._told: Counter[tuple[str, str]] = Counter()

    def run_started(self, start: RunStart) -> None:
        self._to_do = start.to_do

    def jobs_added(self, jobs: int) -> None:
        self._to_do += jobs

    def attempt_started(self, job: Job, in_flight: int) -> None:  # noqa: ARG002
        self._in_flight = in_flight
        self._money = ""

    def money_waits(self, words: str) -> None:
        self._money = words

    def waiting(self, waiting: Waiting) -> None:
        self._waiting = waiting

    def stopping(self, reason: str, in_flight: int) -> None:  # noqa: ARG002
        self._stopping = True

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        self._in_flight = in_flight
        match outcome:
            case Done():
                self._counts["done"] += 1
                self._usd += outcome.attempt.cost_usd
            case Failed():
                self._counts["failed"] += 1
            case Unknown():
                self._counts["unknown"] += 1
            case Pending():
                pass

    def trouble(self, text: str) -> None:
        """Say what went wrong with one job."""
        self.message(text)

    def _tell_trouble(self, outcome: Outcome) -> None:
        """One line for each of the first failures; the provider's sentence only where it is new."""
        if not isinstance(outcome, (Failed, Unknown)):
            return
        told = self._counts["failed"] + self._counts["unknown"]
        if told <= _FAILURES_SHOWN:
            word = "failed" if isinstance(outcome, Failed) else "unknown, maybe paid"
            self.trouble(f"{outcome.job.id}: {word}: {outcome.error.code}{self._sentence(outcome.error)}")
        elif told == _FAILURES_SHOWN + 1:
            self.message("... more like these are counted, not shown; manifest.jsonl has them all")

    def _sentence(self, error: AttemptError) -> str:
        """What the provider said, or how often it has said the same by now."""
        alike = error.code, _VARYING.sub("", error.message)
        self._told[alike] += 1
        return f" ({self._told[alike]} alike)" if self._told[alike] > 1 else f": {printable(error.message)}"

    def limited_by(self) -> str:
        """What holds the run back at this moment, in words."""
        return self.limit() or f"{self._in_flight} in flight"

    def limit(self, *, by_the_clock: bool = False) -> str:
        """The same, empty if it is nothing but answers; a gate with how long, or `by_the_clock` until when."""
        gate_seconds = self._waiting.until - self._clock.monotonic() if self._waiting.by == "gate" else 0.0
        if self._stopping:
            return f"stopping, {self._in_flight} in flight"
        if gate_seconds > 0 and by_the_clock:
            opens = self._clock.now().astimezone(UTC) + timedelta(seconds=gate_seconds)
            return f"waits for the provider's gate until {opens:%H:%M:%S} UTC"
        if gate_seconds > 0:
            return f"waits for the provider's gate, {duration(gate_seconds)} more"
        return self._money or waiting_words(self._waiting)

    def _ended(self) -> int:
        return sum(self._counts[word] for word in ("done", "failed", "unknown"))


class Bar(Counts):
    """A tqdm bar with rate, money, failures and what limits now.

    `paint` gets every line that is written above the bar; `columns` is the terminal's width, asked for each time.
    """

    def __init__(
        self,
        clock: Clock,
        stream: IO[str],
        paint: Callable[[str], str] = str,
        columns: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(clock)
        self._stream = stream
        self._paint = paint
        self._columns = columns or (lambda: _columns_of(stream))
        self._bar: tqdm[Any] | None = None

    def run_started(self, start: RunStart) -> None:
        super().run_started(start)
        if start.to_do:
            self._bar = tqdm(
                total=start.to_do,
                desc=start.name,
                unit="img",
                file=self._stream,
                dynamic_ncols=True,
                smoothing=0.05,
                mininterval=0.2,
            )

    def attempt_started(self, job: Job, in_flight: int) -> None:
        super().attempt_started(job, in_flight)
        self._refresh()

    def waiting(self, waiting: Waiting) -> None:
        super().waiting(waiting)
        self._refresh()

    def stopping(self, reason: str, in_flight: int) -> None:
        super().stopping(reason, in_flight)
        self.message(_stopping_words(reason, in_flight))
        self._refresh()

    def jobs_added(self, jobs: int) -> None:
        super().jobs_added(jobs)
        if self._bar is not None:
            self._bar.total = self._to_do

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        self._tell_trouble(outcome)
        if self._bar is not None and not isinstance(outcome, Pending):
            self._bar.update()
        self._refresh()

    def trouble(self, text: str) -> None:
        """On one line: what is longer than the terminal is cut."""
        columns = self._columns()
        cut = text if disp_len(text) <= columns else disp_trim(text, columns - 1) + "…"
        tqdm.write(self._paint(cut), file=self._stream)

    def message(self, text: str) -> None:
        """Folded at words; nothing of it is left out."""
        for line in text.splitlines():
            for part in textwrap.wrap(line, self._columns(), **_WHOLE_WORDS) or [""]:
                tqdm.write(self._paint(part), file=self._stream)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _refresh(self) -> None:
        if self._bar is not None:
            bad = "".join(f", {self._counts[word]} {word}" for word in ("failed", "unknown") if self._counts[word])
            self._bar.set_postfix_str(f"{usd(self._usd)}{bad}, {self.limited_by()}", refresh=False)


class Lines(Counts):
    """Plain lines with the time (UTC): the start, each new kind of trouble, and every half minute how far it is."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        super().__init__(clock)
        self._write = say
        self._next_line_at = 0.0

    def run_started(self, start: RunStart) -> None:
        super().run_started(start)
        self._next_line_at = self._clock.monotonic() + _LINE_EVERY_SECONDS
        if start.to_do:
            self._say(
                f"{start.name}: {start.to_do:,} of {count(start.jobs, 'job')} to do at {start.endpoint}, "
                f"{at_list_price(start.expected_usd, simulated=start.simulated)}"
            )

    def gate_closed(self, seconds: float, reason: str) -> None:
        self._say(f"the provider asks to wait {duration(seconds)}: {printable(reason)}")

    def stopping(self, reason: str, in_flight: int) -> None:
        super().stopping(reason, in_flight)
        self._say(_stopping_words(reason, in_flight))

    def attempt_failed(self, job: Job, error: AttemptError, retry_seconds: float | None) -> None:
        if isinstance(error, RateLimited):
            return  # told once for all jobs, as the gate closed
        if isinstance(error, EndpointDown):
            return  # said once, when its endpoint was left out
        if retry_seconds is not None and self._counts["retried"] < _FAILURES_SHOWN:
            self._counts["retried"] += 1
            when = f"again in {duration(retry_seconds)}" if retry_seconds else "sent again at once"
            self._say(f"{job.id}: {printable(error.message)}; {when}")

    def job_ended(self, outcome: Outcome, in_flight: int) -> None:
        super().job_ended(outcome, in_flight)
        self._tell_trouble(outcome)
        if self._clock.monotonic() >= self._next_line_at:
            self._next_line_at = self._clock.monotonic() + _LINE_EVERY_SECONDS
            bad = "".join(f", {self._counts[word]:,} {word}" for word in ("failed", "unknown") if self._counts[word])
            self._say(f"{self._ended():,} of {self._to_do:,}{bad}, {usd(self._usd)}; {self.limited_by()}")

    def message(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        self._write(f"{self._clock.now().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} {text}")


def _stopping_words(reason: str, in_flight: int) -> str:
    waited = f"; {count(in_flight, 'request')} in flight, waiting for the answer" if in_flight else ""
    return f"stopping: {printable(reason)}{waited}"
