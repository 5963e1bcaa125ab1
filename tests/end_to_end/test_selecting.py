"""A run narrowed by its caller, sent ahead in part, or asked to try again: what is sent, and how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from batch.core.errors import InputError
from batch.core.settings import ChangedPolicy
from batch.plan import Selection
from batch.runner.control import RunControl
from batch.runner.options import RunOptions
from tests.support.bench import Bench, balance, faults


def table(bench: Bench) -> dict[str, Any]:
    (bench.path / "rows.csv").write_text("Handle,Vendor\na,Acme\nb,Bolt\nc,Acme\nd,Bolt\n")
    return {"rows": "rows.csv", "matrix": {"scene": ["studio", "beach"]}}


ENTRY = {"id": "{{ Handle }}-{{ scene }}", "prompt": "{{ Handle }} on a {{ scene }}"}


def bought(bench: Bench) -> list[str]:
    return [line["id"] for line in bench.lines() if line["status"] == "done"]


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(only=("b-beach",)), ["b-beach"]),
        (Selection(only=("*-beach",), limit=2), ["a-beach", "b-beach"]),
        (Selection(where='Vendor == "Acme"'), ["a-studio", "a-beach", "c-studio", "c-beach"]),
        (Selection(where='Vendor == "Acme" and scene == "beach"'), ["a-beach", "c-beach"]),
        (Selection(where='Vendor == "Nobody"'), []),
        (Selection(limit=3), ["a-studio", "a-beach", "b-studio"]),
        (Selection(sample=2, seed=5), None),
    ],
    ids=str,
)
async def test_only_the_selected_are_bought(bench: Bench, selection: Selection, ids: list[str] | None) -> None:
    """Exit 0 when they are done; the others are counted apart and bought by the next full run."""
    top = table(bench)
    summary = await bench.run([ENTRY], options=RunOptions(selection=selection), **top)
    assert summary.exit == 0
    assert summary.done + summary.left_out == 8
    assert ids is None or bought(bench) == ids
    assert bench.book.requests == summary.done == (2 if ids is None else len(ids))
    full = await bench.run([ENTRY], **top)
    assert (full.exit, full.done, full.left_out, bench.book.requests) == (0, 8, 0, 8)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (Selection(only=("b-baech",)), r"--only: no job is called b-baech; did you mean b-beach\?"),
        (Selection(where="Vendro == 'Acme'"), r'--where: no column or matrix name "Vendro"; did you mean Vendor\?'),
        (Selection(where="Vendor = 'Acme'"), "--where: the expression cannot be read"),
        (Selection(where="Vendor | float > 2 | nope"), r'no filter "nope"'),
    ],
)
async def test_a_selection_that_cannot_be_meant_is_refused(bench: Bench, selection: Selection, says: str) -> None:
    """A typing error sends nothing, instead of everything or nothing at all."""
    with pytest.raises(InputError, match=says):
        await bench.run([ENTRY], options=RunOptions(selection=selection), **table(bench))
    assert bench.book.requests == 0


async def test_everything_is_checked_whatever_is_selected(bench: Bench) -> None:
    """A row that is wrong is told also to those who did not select it."""
    top = table(bench)
    with (bench.path / "rows.csv").open("a") as rows:
        rows.write("bad id!,Acme\n")
    with pytest.raises(InputError, match=r"rows\.csv:6: .*id may hold"):
        await bench.run([ENTRY], options=RunOptions(selection=Selection(only=("a-*",))), **top)


# ---- the canary --------------------------------------------------------------------------------------------

BAD = {"fault": "finish_image_safety", "prompt": "number 0"}


@faults(BAD)
async def test_a_canary_that_fails_stops_the_run(bench: Bench) -> None:
    """Too many of those sent first failed: the others are not sent, and it is no matter for the next timer."""
    summary = await bench.run(10, canary={"jobs": 2, "max_failed": 0.4})
    assert (summary.exit, summary.reason, summary.requests, summary.pending) == (1, "canary", 2, 8)
    assert "1 of the first 2 jobs got no picture, and at most 40% may" in (summary.message or "")
    balance(bench)


@faults(BAD)
async def test_a_canary_within_its_bound_lets_the_run_go_on(bench: Bench) -> None:
    """The bound is the manifest's, and a caller may send more ahead."""
    summary = await bench.run(10, canary={"jobs": 2, "max_failed": 0.5})
    assert (summary.requests, summary.done, summary.failed) == (10, 9, 1)
    more = await bench.run([{"id": f"x-{n}", "prompt": f"x {n}"} for n in range(6)], options=RunOptions(canary=3))
    assert more.requests == 6


@pytest.mark.parametrize(("answer", "requests", "exit_code"), [(True, 6, 0), (False, 2, 1)])
async def test_a_person_is_asked_after_the_canary(bench: Bench, answer: bool, requests: int, exit_code: int) -> None:
    """On a terminal the pictures can be looked at, so the person decides, not the bound."""
    questions: list[str] = []

    async def ask(question: str) -> bool:
        questions.append(question)
        assert bench.book.requests == 2
        return answer

    bench.options = {"control": RunControl(ask=ask)}
    summary = await bench.run(6, canary=2)
    assert (summary.requests, summary.exit) == (requests, exit_code)
    assert len(questions) == 1
    assert "2 of the first 2 jobs got a picture" in questions[0]
    assert "Send the other 4 jobs?" in questions[0]


async def test_a_stop_cuts_the_question_short(bench: Bench) -> None:
    """Ctrl-C at the question ends the run as anywhere else."""
    control = RunControl()

    async def ask(_: str) -> bool:
        control.drain()
        raise AssertionError("the answer is not waited for")

    control.ask = ask
    bench.options = {"control": control}
    summary = await bench.run(6, canary=2)
    assert (summary.exit, summary.requests, summary.pending) == (130, 2, 4)


async def test_a_canary_as_large_as_the_run_is_none(bench: Bench) -> None:
    """Nothing would be left to decide about."""
    assert (await bench.run(2, canary=2)).exit == 0


# ---- again -------------------------------------------------------------------------------------------------


@faults({"fault": "http_503", "prompt": "number 0"})
async def test_a_job_that_keeps_failing_is_set_aside(bench: Bench) -> None:
    """After so many runs with the same end it is not sent any more, that is said, and it is no success."""
    top: dict[str, Any] = {"retry": {"set_aside_after": 2, "unavailable_attempts": 1}}
    for _ in range(2):
        summary = await bench.run(3, **top)
        assert (summary.exit, summary.worth_retrying, summary.set_aside) == (75, 1, 0)
    sent = bench.book.requests
    aside = await bench.run(3, **top)
    assert (aside.exit, aside.requests, aside.set_aside, aside.worth_retrying) == (1, 0, 1, 0)
    asked = await bench.run(3, options=RunOptions(retry="cause == unavailable"), **top)
    assert (asked.requests, bench.book.requests) == (1, sent + 1)


@faults({"fault": "http_503"})
async def test_an_outage_sets_nobody_aside(bench: Bench) -> None:
    """A run that was stopped because nobody got service says nothing about a job."""
    top: dict[str, Any] = {"retry": {"set_aside_after": 1, "unavailable_attempts": 1}, "limits": {"concurrency": 1}}
    for _ in range(2):
        summary = await bench.run(12, **top)
        assert (summary.exit, summary.reason, summary.set_aside) == (75, "no_service", 0)


@faults({"fault": "close", "times": 2})
async def test_an_unknown_outcome_is_sent_again_if_named(bench: Bench) -> None:
    """Held jobs are sent by their cause, whatever the budget, and counted as maybe paid twice."""
    top: dict[str, Any] = {"retry": {"unknown": "hold"}, "limits": {"concurrency": 1}}
    held = await bench.run(3, **top)
    assert (held.exit, held.unknown) == (3, 2)
    assert (await bench.run(3, options=RunOptions(retry="all"), **top)).requests == 0
    asked = await bench.run(3, options=RunOptions(retry="cause in (no_answer, cut)"), **top)
    assert (asked.exit, asked.requests, asked.done, asked.possibly_paid_twice) == (0, 2, 3, 2)
    balance(bench)


# ---- what of edited jobs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "requests"), [("keep", 0), ("rerun", 1), ("refuse", None)])
async def test_a_person_is_asked_about_edited_jobs(bench: Bench, answer: str, requests: int | None) -> None:
    """Whoever can be asked is shown how many, and their price; nobody to ask means no."""
    await bench.run([{"id": "a", "prompt": "red"}])
    asked: list[float] = []

    def choose(plan: Any, _prepared: Any, _history: Any) -> ChangedPolicy:
        asked.append(plan.groups["skip: changed"].price_usd)
        return ChangedPolicy(answer)

    bench.options = {"control": RunControl(choose_changed=choose)}
    edited = [{"id": "a", "prompt": "blue"}]
    options = RunOptions(on_changed=ChangedPolicy.ASK)
    if requests is None:
        with pytest.raises(InputError, match="1 jobs were edited"):
            await bench.run(edited, options=options)
    else:
        assert (await bench.run(edited, options=options)).requests == requests
    assert asked == [0.045]
    bench.options = {}
    if requests is None:
        with pytest.raises(InputError, match="edited"):
            await bench.run(edited, options=options)


@pytest.mark.parametrize("retry", ["image_safty", "cause in (image_safty, timeout)"])
async def test_a_misspelt_cause_sends_nothing_and_is_named(bench: Bench, retry: str) -> None:
    """Taken without a word, it would look as if nothing were left to do."""
    await bench.run([{"id": "a", "prompt": "a kite"}])
    sent = bench.book.requests

    with pytest.raises(InputError, match="no job can have the cause 'image_safty'; did you mean image_safety"):
        await bench.run([{"id": "a", "prompt": "a kite"}], options=RunOptions(retry=retry))

    assert bench.book.requests == sent
