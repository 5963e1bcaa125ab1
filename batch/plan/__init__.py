"""What is left to do, and why. Pure: from jobs and their history to decisions; nothing is read or written here.

`decide` looks at one job and its past; `make` goes through all of them; `remakes` names what is made again,
`rejections` says what is asked for in place of rejected pictures; `selection` narrows what is sent to what the user
selected; `adoption` finds pictures that need not be bought again; `forecast` looks ahead; `retry_filter` reads
`--retry`.
"""

from batch.plan.adoption import Source, sources_of_copies
from batch.plan.chains import CHAINED
from batch.plan.decide import DECISIONS, Adopt, Change, Decision, Policies, Skip, ToDo, changes, decide, name_of
from batch.plan.forecast import Forecast, forecast, resend_places
from batch.plan.make import Group, Plan, make_plan, name_examples
from batch.plan.rejections import RejectedPictures, RejectedPolicy, as_it_was
from batch.plan.remakes import AgainWish, Remakes
from batch.plan.retry_filter import RetryFilter, RetryFilterProblem
from batch.plan.selection import LEFT_OUT, MAY_SEND, OPEN, REJECTED, REMAKE, SET_ASIDE, USED_UP, Selection

__all__ = [
    "CHAINED",
    "DECISIONS",
    "LEFT_OUT",
    "MAY_SEND",
    "OPEN",
    "REJECTED",
    "REMAKE",
    "SET_ASIDE",
    "USED_UP",
    "Adopt",
    "AgainWish",
    "Change",
    "Decision",
    "Forecast",
    "Group",
    "Plan",
    "Policies",
    "RejectedPictures",
    "RejectedPolicy",
    "Remakes",
    "RetryFilter",
    "RetryFilterProblem",
    "Selection",
    "Skip",
    "Source",
    "ToDo",
    "as_it_was",
    "changes",
    "decide",
    "forecast",
    "make_plan",
    "name_examples",
    "name_of",
    "resend_places",
    "sources_of_copies",
]
