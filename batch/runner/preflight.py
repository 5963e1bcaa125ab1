"""Everything that can be found without paying is found here, before the first request."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from batch.core.clock import Clock
from batch.core.errors import (
    Declined,
    EndpointDown,
    ExitCode,
    InputError,
    OptionError,
    OutputError,
    Problem,
)
from batch.core.events import Listener, Message
from batch.core.proxies import Network
from batch.core.results import Summary
from batch.core.settings import ChangedPolicy
from batch.manifest.references.references import picture_kind
from batch.plan import (
    MAY_SEND,
    REJECTED,
    Plan,
    decide,
    name_examples,
)
from batch.providers.http.authorities import trusted_authorities
from batch.providers.references.cache import ReferenceCache, cache_folder
from batch.providers.references.fetched import FetchedReferences
from batch.report.summary import Spent, conclude, count_jobs
from batch.runner.accounts import serving
from batch.runner.connections import KeyedAccount
from batch.runner.control import RunControl
from batch.runner.preparation import PreparedRun
from batch.store.folder import OutputFolder
from batch.store.history import History

_NAMED: Final = 5
#: So many new jobs in the place of so many bought ones are an edit of the prompt that names them, not growth.
_REPLACED_AT_LEAST: Final = 20
#: How long a start is refused at most because the last run said that it is too early.
_LONGEST_WAIT: Final = timedelta(days=1)


def agreed_plan(prepared: PreparedRun, history: Callable[[], History], control: RunControl) -> tuple[PreparedRun, Plan]:
    """Settle what happens to edited jobs, and return the plan. Raises `InputError` if there is no answer."""
    plan = prepared.plan(history)
    _refuse_a_silent_replacement(prepared, plan)
    policy = prepared.policies.changed
    if not plan.count("skip: changed") or policy in (ChangedPolicy.KEEP, ChangedPolicy.RERUN):
        return prepared, plan
    name_examples(plan, prepared.manifest.jobs(), history(), prepared.policies)
    if policy is ChangedPolicy.ASK and control.choose_changed is not None:
        policy = control.choose_changed(plan, prepared, history())
    if policy is ChangedPolicy.KEEP:
        return prepared, plan
    if policy is ChangedPolicy.RERUN:
        prepared = prepared.with_changed(policy)
        return prepared, prepared.plan(history)
    raise InputError([_edited(plan, prepared)])


async def agree_to_remakes(prepared: PreparedRun, plan: Plan, control: RunControl) -> None:
    """Nothing that has its picture is bought again before a person knows the price."""
    question = _remakes_to_ask_for(prepared, plan)
    if not question:
        return
    if control.ask is None:
        option = "--again" if prepared.options.again else "--rejected"
        raise OptionError([Problem(message=f"{option}: {question}; add --yes to send them")])
    if not await control.ask(f"{question}. Send them?"):
        raise Declined("you said no; nothing was sent")


def _remakes_to_ask_for(prepared: PreparedRun, plan: Plan) -> str:
    """The question to put before pictures are bought again, or "" if there is none to ask."""
    options = prepared.options
    asked = {"to do: remake", "to do: missing"}
    if options.rejected:  # the manifest's `until` does not ask
        asked.add("to do: rejected")
    if (options.again or options.rejected) and prepared.policies.changed is not ChangedPolicy.RERUN:
        asked.add("to do: changed")
    named = [group for name, group in plan.groups.items() if name in asked]
    jobs = sum(group.count for group in named)
    if not jobs or options.yes:
        return ""
    price = sum(group.price_usd for group in named)
    return f"{jobs:,} {'picture is' if jobs == 1 else 'pictures are'} made again, for ${price:,.3f} at list price"


def _refuse_a_silent_replacement(prepared: PreparedRun, plan: Plan) -> None:
    """Ids made of prompts change with them: an edited template would buy every picture again, as a new job."""
    new = plan.count("to do: new")
    replaced = min(new, plan.replaced)
    if (
        prepared.policies.changed is ChangedPolicy.RERUN
        or not prepared.manifest.derives_ids
        or replaced < _REPLACED_AT_LEAST
        or 2 * replaced < new
    ):
        return
    message = (
        f"{new:,} jobs are new, and {plan.replaced:,} that were bought are no longer in the manifest: it looks as "
        f"if the prompt that names them was edited. Buying them again costs ${plan.usd:,.2f}: --on-changed rerun "
        "does it. Give jobs an id, and an edited job is known for what it is"
    )
    raise InputError([Problem(message=message, file=str(prepared.manifest.path))])


def _edited(plan: Plan, prepared: PreparedRun) -> Problem:
    group = plan.groups["skip: changed"]
    named = plan.changed[:_NAMED]
    names = ", ".join(job.id for job in named) + (", ..." if group.count > len(named) else "")
    message = (
        f"{group.count:,} jobs were edited after their pictures were bought ({names}); choose --on-changed keep (leave "
        f"the old pictures) or --on-changed rerun (buy new ones beside them, ${group.price_usd:,.2f})"
    )
    return Problem(message=message, file=str(prepared.manifest.path))


def disabled_endpoints(
    prepared: PreparedRun, accounts: Sequence[KeyedAccount], folder: OutputFolder, clock: Clock
) -> list[DisabledEndpoint]:
    """The accounts that the last run left out until a time that has not come yet; a start would make no sense there.

    Believed for a day at most, and not if it was written in the future: a wrong clock must not block every run.
    """
    end = None if prepared.options.ignore_not_before else folder.last_end()
    if end is None:
        return []
    names = {name: account.name for account in accounts for name in (account.fingerprint, account.former_fingerprint)}
    found = []
    for ending in end.left_out:
        written, opens = datetime.fromisoformat(end.at), datetime.fromisoformat(ending.not_before)
        if ending.account in names and written <= clock.now() < min(opens, written + _LONGEST_WAIT):
            words = f"the last run was told so, and not to come back before {ending.not_before}"
            error = EndpointDown(
                ending.code,
                words,
                exit_code=ExitCode.TEMPORARY,
                not_before=ending.not_before,
                of_model=bool(ending.model),
            )
            found.append(DisabledEndpoint(names[ending.account], ending.model, error))
    return found


def why_too_early(prepared: PreparedRun, plan: Plan, left_out: Sequence[DisabledEndpoint]) -> EndpointDown | None:
    """Why a start makes no sense yet: no endpoint is left for any of the jobs to send."""
    if not left_out:
        return None
    out = {(each.account, each.model) for each in left_out}
    for job, code in plan.pairs(prepared.manifest.jobs()):
        if code < MAY_SEND and any(
            not {(account.name, ""), (account.name, job.model)} & out
            for account in serving(prepared.accounts, job.model)
        ):
            return None
    first = min((each.error for each in left_out), key=lambda error: error.not_before or "~")
    words = (
        f"too early: the last run ended with {first.code}, and said not before {first.not_before}; nothing was sent "
        "(--ignore-not-before starts all the same)"
    )
    return EndpointDown(first.code, words, exit_code=ExitCode.TEMPORARY, not_before=first.not_before)


def not_started(prepared: PreparedRun, plan: Plan, history: History, why: EndpointDown) -> Summary:
    """The summary of a run that did nothing, which is written nowhere."""
    spent = Spent(
        usd_before=history.usd,
        maybe_usd_before=history.maybe_usd,
        requests=0,
        resent=(),
        seconds=0.0,
        review=prepared.review(history),
    )
    return conclude(
        prepared.manifest.settings.name,
        str(prepared.output),
        count_jobs(plan, history),
        history,
        spent,
        (why,),
        prepared.money.picture_usd,
    )


@dataclass(frozen=True, slots=True)
class DisabledEndpoint:
    """An account that is not asked, for a model or (empty) for any."""

    account: str
    model: str
    error: EndpointDown


async def fetch_references(prepared: PreparedRun, clock: Clock, listener: Listener) -> None:
    """Pictures at web addresses become files before anything is checked; what is wrong with them, the check tells."""
    manifest = prepared.manifest
    if manifest.reference_hosts:
        cache = ReferenceCache(cache_folder(os.environ))
        refresh = prepared.options.refresh_references
        network = Network(authorities=trusted_authorities(os.environ))
        fetched = FetchedReferences(
            cache, picture_kind, manifest.reference_hosts.allows, clock, refresh=refresh, network=network
        )
        await fetched.fetch(manifest.wanted_addresses(), lambda text: listener.on_event(Message(text)))
        manifest.use_fetched(fetched)


def refuse_unfit_notes(plan: Plan, prepared: PreparedRun, history: History) -> None:
    """What was said of rejected pictures becomes part of prompts: raises `InputError` where it cannot."""
    if not plan.count("to do: rejected"):
        return
    for job, code in plan.pairs(prepared.manifest.jobs()):
        if code == REJECTED:
            decide(job, history.of(job.key()), prepared.policies)


def refuse_what_is_in_the_way(plan: Plan, prepared: PreparedRun, folder: OutputFolder) -> None:
    """Files that are not ours under names that our pictures would get, found before anything is sent."""
    if plan.to_do == 0 or not (folder.path / "images").is_dir():
        return
    for job, code in plan.pairs(prepared.manifest.jobs()):
        taken = folder.name_in_the_way(job) if code < MAY_SEND else None
        if taken is not None:
            raise OutputError(f"{folder.path / taken} exists and is not in the ledger; move it away (job {job.id!r})")
