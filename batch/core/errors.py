"""Everything that can go wrong, as one family.

    BatchError
    ├── InputError            the job manifest or its rows are wrong; a list of problems      exit 65
    │   ├── MissingInputError the manifest file itself cannot be read                         exit 66
    │   └── OptionError       what was asked of this one run cannot be                        exit 2
    ├── Declined              a person said no to what it costs; nothing was sent             exit 1
    ├── ConfigError           key, endpoint or limits are wrong                               exit 78
    ├── LedgerError           ledger.jsonl is damaged or from a newer version                 exit 65
    ├── OutputError           the output folder cannot be used                                exit 73
    ├── StorageError          a write failed while running (disk full, I/O error)             exit 74
    ├── LockedError           another run holds the output folder                             exit 75
    ├── CanaryFailed          too many of the jobs sent first got no picture                  exit 1
    ├── MoneyWithdrawn        a cap was lowered before a request went out                     asks for money again
    └── AttemptError          one attempt ended without a picture
        ├── NotSent           the request never left whole                    paid: no     soon again
        ├── Unavailable       the provider said it could not                  paid: no     later again
        ├── RateLimited       the provider named a limit                      paid: no     when it says
        ├── OutcomeUnknown    sent, and no usable answer came                 paid: maybe  by policy
        ├── Undelivered       the picture's own URL cannot be read now        paid: yes    fetched later, not bought
        ├── Unusable          an answer without a picture we can use          paid: yes    rarely again
        ├── Refused           this request will never work                    paid: no/yes never again
        └── EndpointDown      no request will work until a person acts          paid: no     stop the run

An attempt's first question is always `paid`. The classes decide what happens next. Codes name the cause in the
provider's own way and stay the same between versions, so that scripts and the ledger can rely on them; kinds are what
all providers' causes have in common, and the only thing about a cause that decisions look at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch.core.lane import Lane
    from batch.core.usage import Usage


class ExitCode(IntEnum):
    """What the process says to cron and systemd when it ends (README, "Exit codes")."""

    OK = 0
    FAILED_JOBS = 1
    USAGE = 2
    UNKNOWN_OUTCOME = 3
    DATA = 65
    NO_INPUT = 66
    SOFTWARE = 70
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TEMPORARY = 75
    PROTOCOL = 76
    NO_PERMISSION = 77
    CONFIG = 78


class Paid(StrEnum):
    """Whether the provider may have charged for an attempt."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class Kind(StrEnum):
    """What an attempt failed of, in words that fit every provider. A provider's reading of its answers decides it."""

    OTHER = "other"
    #: Blocked for what the prompt or the picture shows: another model may take it.
    POLICY = "policy"
    #: The request itself is at fault. If all are refused in the same words, it is not the jobs.
    MALFORMED = "malformed"
    #: A whole answer that cannot be understood.
    UNREADABLE = "unreadable"
    #: The provider cannot serve this model for the moment.
    OVERLOAD = "overload"
    #: No room for this one request, and no quota was named: in a cheap lane this says nothing of the other lane.
    SHED = "shed"
    #: A relay has nothing behind it that serves the model.
    NO_CHANNEL = "no_channel"
    #: A quota of the account is used up.
    QUOTA = "quota"
    #: The key is wrong, or may not do this.
    AUTH = "auth"
    #: The account has no money left.
    CREDIT = "credit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in what the user wrote: where, what, and what would be right.

    `line` and `column` count from 1. For a table, `line` is the file's line on which the row starts and
    `field` the column's name.
    """

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    field: str | None = None
    job: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        field = f'column "{self.field}"' if self.field is not None else ""
        job = f'job "{self.job}"' if self.job is not None else ""
        return ": ".join(part for part in (place, field, job, self.message) if part)


class BatchError(Exception):
    """Base of every error this package raises on purpose; its text is a sentence for a person."""

    exit_code: ExitCode = ExitCode.SOFTWARE

    @property
    def reason(self) -> str:
        """A stable word for programs: `locked` of a `LockedError`, as in the `reason` of a summary."""
        return type(self).__name__.removesuffix("Error").lower()


class InputError(BatchError):
    """The manifest, its rows or its references are wrong. Nothing was sent.

    `more`: how many problems there are beside those that are listed.
    """

    exit_code = ExitCode.DATA

    def __init__(self, problems: Sequence[Problem], *, more: int = 0) -> None:
        rest = [f"... and {more:,} more"] if more else []
        super().__init__("\n".join([*map(str, problems), *rest]))
        self.problems = tuple(problems)
        self.more = more


class MissingInputError(InputError):
    """The manifest file does not exist or is not a readable file."""

    exit_code = ExitCode.NO_INPUT


class OptionError(InputError):
    """What the caller asked of this one run cannot be: an id that no job has. Nothing was sent."""

    exit_code = ExitCode.USAGE


class Declined(BatchError):
    """A person was asked and said no. Nothing was sent."""

    exit_code = ExitCode.FAILED_JOBS


class ConfigError(BatchError):
    """The key, the endpoint or a setting outside the jobs is wrong. Nothing was sent."""

    exit_code = ExitCode.CONFIG


class LedgerError(BatchError):
    """The ledger is damaged in a way that must not be repaired silently."""

    exit_code = ExitCode.DATA


class OutputError(BatchError):
    """The output folder cannot be created or written, or a file that is not ours is in the way."""

    exit_code = ExitCode.CANNOT_CREATE


class StorageError(BatchError):
    """A write failed while running. Everything received so far is kept."""

    exit_code = ExitCode.IO_ERROR


class LockedError(BatchError):
    """Another run is working on this output folder."""

    exit_code = ExitCode.TEMPORARY


class CanaryFailed(BatchError):
    """Too many of the jobs that were sent first got no picture, or a person said no after looking at them."""

    exit_code = ExitCode.FAILED_JOBS


class MoneyWithdrawn(BatchError):
    """A cap was lowered before a request went out that it had room for. Nothing was sent; the attempt begins anew."""


class AttemptError(BatchError):
    """One attempt ended without a picture.

    `code` is the stable name of the cause, `kind` what it has in common with other providers' causes (None: what
    the class usually is), `http_status` the answer's status if one came, `request_id` the provider's own id of the
    request.
    """

    paid: Paid = Paid.NO
    kind: Kind = Kind.OTHER
    #: Whether the same request may work in a later run.
    may_work_later: bool = True
    #: The provider's own count of tokens, if an answer came that held one.
    usage: Usage | None = None
    #: What it was counted with in the ledger, once it is recorded.
    cost_usd: float = 0.0
    #: In which lane it was served, if an answer came that said so.
    lane: Lane | None = None

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind or self.kind
        self.message = message
        self.http_status = http_status
        self.request_id = request_id


class NotSent(AttemptError):
    """The request did not leave whole: no connection, or cut while writing. Safe to send again."""


class Unavailable(AttemptError):
    """The provider answered that it could not serve this now."""

    kind = Kind.OVERLOAD


class RateLimited(AttemptError):
    """The provider asked for fewer requests. `wait_seconds` is its own word for how long, if it gave one.

    `if_repeated`: what it means if the same is said again after that time. A day's quota is answered with a delay of
    seconds, too, and only trying tells which of the two is true. Without a delay no quota is taken to be meant.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        wait_seconds: float | None = None,
        if_repeated: EndpointDown | None = None,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        kind = kind or (Kind.SHED if wait_seconds is None else Kind.QUOTA)
        super().__init__(code, message, kind=kind, http_status=http_status, request_id=request_id)
        self.wait_seconds = wait_seconds
        self.if_repeated = if_repeated


class OutcomeUnknown(AttemptError):
    """The request was sent and no usable answer came: the picture may have been made and charged.

    `elapsed_seconds` since the request went out lets a proxy's constant cut be recognised.
    """

    paid = Paid.MAYBE

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        elapsed_seconds: float = 0.0,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(code, message, kind=kind, http_status=http_status, request_id=request_id)
        self.elapsed_seconds = elapsed_seconds


class Undelivered(AttemptError):
    """The answer names a picture by URL, and it cannot be fetched at the moment.

    The answer stays in the spool and the attempt open: the next run fetches again, without a new request.
    """

    paid = Paid.YES


class Unusable(AttemptError):
    """A whole answer came, was charged, and holds no picture we can use. `retries` says how often
    it is worth asking again."""

    paid = Paid.YES

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        retries: int = 1,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(code, message, kind=kind, http_status=http_status, request_id=request_id)
        self.retries = retries


class Refused(AttemptError):
    """This request will never work as it is: blocked by policy or malformed. The job has failed for good."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        paid: Paid = Paid.NO,
        may_work_later: bool = False,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(code, message, kind=kind, http_status=http_status, request_id=request_id)
        self.paid = paid
        self.may_work_later = may_work_later


class EndpointDown(AttemptError):
    """No request can work until a person acts or time passes: the run stops, remaining jobs stay pending.

    `not_before` (ISO time) says when a new start makes sense, if known. `of_model`: it concerns only the model that was
    asked for; otherwise the endpoint or the key.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        kind: Kind | None = None,
        exit_code: ExitCode = ExitCode.NO_PERMISSION,
        not_before: str | None = None,
        of_model: bool = False,
        http_status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(code, message, kind=kind, http_status=http_status, request_id=request_id)
        self.exit_code = exit_code
        self.not_before = not_before
        self.of_model = of_model
