"""What a run comes to: counts, money, and what a person must decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Decided(StrEnum):
    """What a person found out about requests whose outcome was unknown, or decided about a bought file."""

    PAID = "paid"
    UNPAID = "unpaid"
    FAILED = "failed"
    #: A picture that was bought is gone or altered, or a job failed, and that is all right.
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownAttempt:
    """A request with an unknown outcome, and what a provider's log would know it by.

    `at` is when it ended (UTC), `seconds` how long it had taken by then, `usd` what it may have cost.
    """

    job: str
    attempt: int
    at: str
    seconds: float
    usd: float
    code: str
    message: str
    request_id: str | None
    client_request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Where an output folder's money went over all runs, in US dollars by what came of it.

    `done`: for the pictures that count today; `superseded`: for those that a newer one of the same job replaced;
    `rejected`: charged answers without a usable picture, of jobs that have one by now or may still get one; `failed`:
    the same of jobs that failed; `unknown`: the most that requests without an answer cost; `saved`: list price of
    pictures taken over without a request. `per_picture`: all that was certainly charged, by the `pictures` there are.
    `waste_share` (0 to 1): rejected, failed and unknown of everything.
    """

    done: float = 0.0
    rejected: float = 0.0
    failed: float = 0.0
    unknown: float = 0.0
    superseded: float = 0.0
    saved: float = 0.0
    pictures: int = 0
    per_picture: float | None = None
    waste_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What was said of the pictures of an output folder, by jobs.

    `accepted`: one of its pictures was; `rejected`: of the others, its current picture was; `seen`: a person has looked
    at that picture. `usd_per_accepted`: all that was certainly charged, by the accepted; None if there is none.
    `unreadable_lines` of decisions.jsonl may have held more.
    """

    seen: int = 0
    accepted: int = 0
    rejected: int = 0
    usd_per_accepted: float | None = None
    unreadable_lines: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSpend:
    """What a model that judges pictures was paid, apart from the pictures: `maybe_cost_usd` for questions without an
    answer, which may have been charged on top."""

    requests: int = 0
    cost_usd: float = 0.0
    maybe_cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the manifest's `check` said of pictures in one run; `failed`: it gave no verdict.

    `spend` is what its questions cost, which is in no other sum.
    """

    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    spend: CheckSpend = CheckSpend()


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a run ended, in numbers. The first four count jobs of the manifest, `requests` this run's attempts.

    `cost_usd` is what this run's charged answers cost at list price; `maybe_cost_usd` what attempts without
    an answer may have cost on top; `possibly_paid_twice` counts jobs sent again after such an attempt, and
    `possibly_paid_twice_usd` is the most that can have been wasted by it. The three speak of this run.
    """

    name: str
    output: str
    done: int
    failed: int
    unknown: int
    pending: int
    missing: int
    requests: int
    cost_usd: float
    maybe_cost_usd: float
    possibly_paid_twice: int
    possibly_paid_twice_usd: float
    seconds: float
    exit: int
    reason: str
    not_before: str | None = None
    message: str | None = None
    failures_by_cause: Mapping[str, int] = field(default_factory=dict)
    #: Of the failed, how many a new run sends again; the others failed for good.
    worth_retrying: int = 0
    #: Of the failed, how many are not sent by themselves any more, because they kept failing in the same way.
    set_aside: int = 0
    #: Jobs of the manifest that would have been sent but were not selected; in none of the counts above.
    left_out: int = 0
    #: Jobs that got a picture bought before, without a request.
    adopted: int = 0
    #: Where the money of all runs in this folder went.
    spend: Spend = Spend()
    #: Endpoints that were left out while others went on, by their name, and why.
    endpoints_out: Mapping[str, str] = field(default_factory=dict)
    #: Of the done, how many pictures are not as asked; and how many have warnings, by kind.
    not_as_asked: int = 0
    warnings: Mapping[str, int] = field(default_factory=dict)
    #: The built-in simulator answered: the money is what it would have cost.
    simulated: bool = False
    #: Of the done, how many have a file with another size than what was bought; `missing` are those without one.
    altered: int = 0
    #: The first of these files, relative to the output folder.
    missing_files: tuple[str, ...] = ()
    altered_files: tuple[str, ...] = ()
    #: Of the done, how many were to be made again and are not: the same `--again` goes on with them.
    remakes_left: int = 0
    #: Of the failed, how many a person has accepted (`resolve --as accepted`); they do not decide the exit code.
    failed_accepted: int = 0
    #: The run sent nothing and ended for the same reason as the one before it.
    nothing_new: bool = False
    #: What was said of the pictures; None: nothing yet.
    review: Review | None = None
    #: What the manifest's `check` said in this run; None: it has none.
    checked: Checked | None = None
