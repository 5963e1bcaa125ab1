"""How a run is to go, as values made once at the edge (manifest, command line) and passed inward.

Inner code sees these and never YAML, arguments or the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from batch.core.lane import Lane
from batch.core.prices import PriceList

#: What the ledger and messages call a manifest that is no file.
GIVEN_MANIFEST: Final = "(given by a program)"


class Auth(StrEnum):
    """How the key travels: `?key=`, `x-goog-api-key:` or `Authorization: Bearer`."""

    QUERY = "query"
    HEADER = "header"
    BEARER = "bearer"


class UnknownPolicy(StrEnum):
    """What to do with a job whose request may have been paid without an answer."""

    RESEND = "resend"
    HOLD = "hold"


class ChangedPolicy(StrEnum):
    """What to do with a job that was bought and has been edited since."""

    #: On a terminal the caller asks; elsewhere this is `refuse`.
    ASK = "ask"
    REFUSE = "refuse"
    KEEP = "keep"
    RERUN = "rerun"


#: What a limiter that wants requests spaced lets through at once, if it lets any: nginx's examples have 5 and more.
_SAFE_BURST: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`concurrency`: requests in flight at most. The others count attempts, repeats too; None for no limit.

    A minute is any 60 seconds; a day begins at `day_resets_at`, a time and a time zone. `adaptive`: what the provider
    turns out to allow is found by trying, below these.
    """

    concurrency: int = 8
    requests_per_second: float | None = None
    burst: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    images_per_minute: int | None = None
    requests_per_day: int | None = None
    images_per_day: int | None = None
    day_resets_at: str = "00:00 America/Los_Angeles"
    adaptive: bool = True

    @property
    def per_second(self) -> float | None:
        """Requests a second at most, in the long run; None for no limit."""
        a_minute = None if self.requests_per_minute is None else self.requests_per_minute / 60
        return min((rate for rate in (self.requests_per_second, a_minute) if rate is not None), default=None)

    @property
    def spacing(self) -> tuple[float, int] | None:
        """Requests leave evenly, so many a second, and of those so many may leave at once; None: as they come.

        A number a minute that was told is spaced as well, for many limiters take nothing else; `adaptive: false` alone
        lets a minute's worth go at once.
        """
        as_they_come = self.requests_per_second is None and self.burst is None and not self.adaptive
        if self.per_second is None or as_they_come:
            return None
        return self.per_second, self.burst or (1 if self.requests_per_second is not None else _SAFE_BURST)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """A proxy of the manifest's; an empty `url` means none, whatever the environment says.

    Its user and password, as `user:password`, are in the environment variable `login_env` or in `login_file`.
    """

    url: str
    login_env: str | None = None
    login_file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Which endpoint to speak to. None means the profile's own value; `simulator` options go to the simulator.

    `name` is what the ledger and messages call it, unique in a manifest. Of several, each gets requests by its
    `weight`; `limits` None means those of the manifest, which then hold for this endpoint alone; `prices` (USD per
    picture by size) take the place of the manifest's. `proxy` None: what the environment says.
    """

    profile: str
    name: str = ""
    weight: float = 1.0
    limits: Limits | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    base_url: str | None = None
    auth: Auth | None = None
    key_env: str | None = None
    simulator: Mapping[str, Any] = field(default_factory=dict)
    proxy: ProxySettings | None = None
    key_file: str | None = None


class FallbackOn(StrEnum):
    """On what a fallback model is asked."""

    OVERLOAD = "overload"
    SAFETY = "safety"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """Models to ask, in this order, where a job's own cannot serve it; `on` says what counts as that."""

    models: tuple[str, ...] = ()
    on: tuple[FallbackOn, ...] = (FallbackOn.OVERLOAD,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds an attempt may spend in each phase, and in total.

    Long by default: a cut request may have been paid. Measured answers take 4 to 60 s, 4K more.
    """

    connect_seconds: float = 15.0
    write_seconds: float = 60.0
    read_seconds: float = 300.0
    total_seconds: float = 600.0


#: A longer delay is no pause but the end of the run (gemini-cli draws the line at the same place).
LONGEST_SERVER_WAIT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often an attempt is repeated within one run, by what it cost.

    `unsent` and `unavailable` count attempts in all; a charged answer without a picture is asked for again
    `unusable_retries` times at most, in all runs since the job was last edited. A job that `set_aside_after` runs in a
    row left failed in the same way is not sent by itself any more. Waits are full jitter
    `uniform(0, min(cap, base * 2**n))`; a delay the server names is obeyed up to `longest_server_wait_seconds`. A
    provider without service for `max_outage_seconds` ends the run, and so do `wasted_in_a_row` jobs in a row
    (0: never) that were charged and got no picture.
    Numbers and their sources: docs/retries.md.
    """

    unsent_attempts: int = 5
    unsent_base_seconds: float = 0.5
    unavailable_attempts: int = 3
    unavailable_base_seconds: float = 1.0
    cap_seconds: float = 60.0
    unusable_retries: int = 2
    throttles: int = 600
    throttle_base_seconds: float = 5.0
    longest_server_wait_seconds: float = LONGEST_SERVER_WAIT_SECONDS
    unknown: UnknownPolicy = UnknownPolicy.RESEND
    set_aside_after: int = 5
    wasted_in_a_row: int = 5
    max_outage_seconds: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettings:
    """The first `jobs` of a run are sent alone; it goes on if at most `max_failed` (0 to 1) of them got no picture."""

    jobs: int = 0
    max_failed: float = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be spent, in US dollars; None: no cap. `tags`: of all runs with that tag, at any time."""

    per_run: float | None = None
    per_day: float | None = None
    per_month: float | None = None
    tags: Mapping[str, float] = field(default_factory=dict)

    def with_cap(self, usd: float | None) -> Budget:
        """The same with one more cap on this run, if there is one."""
        caps = [cap for cap in (self.per_run, usd) if cap is not None]
        return replace(self, per_run=min(caps, default=None))

    def caps(self, tag: str) -> bool:
        """Whether a run with this tag has any cap."""
        return self.per_run is not None or self.per_day is not None or self.per_month is not None or tag in self.tags

    @property
    def is_shared(self) -> bool:
        """Whether a cap holds over several runs."""
        return self.per_day is not None or self.per_month is not None or bool(self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSettings:
    """A model that is asked about each new picture, at `provider` and within its limits.

    `prompt` is a template over the picture's own prompt and id; `usd_per_request` what one question costs at most, None
    if that was not said.
    """

    provider: ProviderSettings
    model: str
    prompt: str
    usd_per_request: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """What judges each new picture: a program (`run`: it and its arguments) or a model (`ask`), never both.

    `at_once` pictures are judged beside each other.
    """

    run: tuple[str, ...] = ()
    ask: AskSettings | None = None
    timeout_seconds: float = 60.0
    at_once: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """How far a run makes rejected pictures again by itself, for each job.

    `attempts` pictures at most since the job was last edited, the first one too, and `max_cost` US dollars in all its
    life (None: no cap). Of several samples `accepted` are enough (None: all of them).
    """

    attempts: int = 3
    max_cost: float | None = None
    accepted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything about a run that is not a job.

    `prices` maps image size to USD per picture and overrides the list price of the table of models, which
    `price_table` extends. `models`: what the manifest says of models, by name and field of `ModelFacts`. Of several
    `providers` each has limits of its own. `lane` is asked for where an endpoint has it.
    """

    name: str
    providers: tuple[ProviderSettings, ...]
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    prices: Mapping[str, float] = field(default_factory=dict)
    price_table: PriceList | None = None
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    budget: Budget = Budget()
    tag: str = ""
    verify: str = "structure"
    check_content: bool = True
    canary: CanarySettings = CanarySettings()
    dedupe: bool = False
    #: Whether the command makes a gallery when a run ends; None: on a terminal.
    gallery: bool | None = None
    lane: Lane = Lane.STANDARD
    fallback: Fallback = Fallback()
    until: Until | None = None
    check: CheckSettings | None = None

    @property
    def concurrency(self) -> int:
        """Requests in flight at most, at all endpoints together."""
        return sum(limits.concurrency for limits in self.limits_in_all)

    @property
    def limits_in_all(self) -> list[Limits]:
        """The limits of each endpoint."""
        return [provider.limits or self.limits for provider in self.providers]
