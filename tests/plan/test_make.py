"""A whole manifest planned: every job decided, counted once, priced; what was narrowed, shared and taken over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from batch.core.errors import InputError, Problem
from batch.core.model import Job
from batch.core.settings import ChangedPolicy
from batch.plan import DECISIONS, Policies, Selection, make_plan, name_examples
from batch.store.history import History
from tests.support.fakes import job

KEEP = Policies(changed=ChangedPolicy.KEEP)
SHARING = Policies(dedupe=True)
PRICE_USD = 0.1


def price(_: Job) -> float:
    return PRICE_USD


def same(job_id: str, as_job: str) -> Job:
    """A job of this id that asks for exactly what another one asks for."""
    return replace(job(as_job), id=job_id)


def names(plan: Any) -> list[str]:
    return [DECISIONS[code].partition(": ")[2] for code in plan.decisions]


def test_every_job_is_counted_once_and_priced(history: Any) -> None:
    """The price is that of the jobs to be sent; of the others it is known what they cost, and would cost again."""
    known = history(bought=["a", "gone"], failed=["b"])
    jobs = [job("a"), job("b"), job("c", image_size="4K"), job("d")]
    plan = make_plan(jobs, known, KEEP, lambda job: 0.5 if job.image_size == "4K" else 0.1)
    assert {name: group.count for name, group in plan.groups.items() if group.count} == {
        "skip: done": 1,
        "skip: failed": 1,
        "to do: new": 2,
    }
    assert (plan.jobs, plan.to_do) == (4, 2)
    assert plan.usd == pytest.approx(0.6)
    assert (plan.removed.count, plan.removed.spent_usd) == (1, 0.5)
    assert (plan.groups["skip: done"].spent_usd, plan.groups["skip: failed"].price_usd) == (0.5, 0.1)
    assert plan.causes_of("skip: failed") == {"image_safety": 1}
    assert bytes(plan.order) == b"".join(each.key() for each in jobs)


def test_examples_are_few() -> None:
    """A plan of any size shows the first five jobs to send."""
    plan = make_plan(map(job, "abcdefgh"), History(), KEEP, price)
    name_examples(plan, map(job, "abcdefgh"), History(), KEEP)
    assert [entry.job.id for entry in plan.examples] == list("abcde")


def test_changed_jobs_are_named_twenty_at_most(history: Any) -> None:
    """All are counted and priced."""
    ids = [f"job-{n}" for n in range(50)]
    jobs, known = [job(name, prompt="new words") for name in ids], history(bought=ids)
    plan = make_plan(jobs, known, KEEP, price)
    name_examples(plan, jobs, known, KEEP)
    assert [changed.id for changed in plan.changed] == ids[:20]
    assert plan.groups["skip: changed"].count == 50
    assert plan.groups["skip: changed"].price_usd == pytest.approx(50 * PRICE_USD)


def test_jobs_are_streamed() -> None:
    """A plan holds no job but its examples; an error at the end of the stream comes out."""

    def jobs() -> Iterator[Job]:
        yield from (job(f"job-{n}") for n in range(100))
        raise InputError([Problem(message="row 101 is wrong")])

    with pytest.raises(InputError, match="row 101"):
        make_plan(jobs(), History(), KEEP, price)


# ---- what is narrowed -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "sent"),
    [
        (Selection(), "bcdef"),
        (Selection(limit=2), "bc"),
        (Selection(limit=99), "bcdef"),
        (Selection(only=("c",)), "c"),
        (Selection(only=("C", "[ef]")), "ef"),
        (Selection(only=("*",), limit=1), "b"),
        (Selection(only=("d", "e", "a"), limit=1), "d"),
    ],
    ids=str,
)
def test_only_what_is_selected_is_sent(selection: Selection, sent: str, history: Any) -> None:
    """By id, by pattern, by number: the others are left out, and what is done stays done."""
    jobs = [job(name) for name in "abcdef"]
    plan = make_plan(jobs, history(bought=["a"]), KEEP, price, selection=selection)
    assert [each.id for each, name in zip(jobs, names(plan), strict=True) if name == "new"] == list(sent)
    assert names(plan)[0] == "done"
    assert plan.usd == pytest.approx(len(sent) * PRICE_USD)
    assert plan.count("skip: left out") == 5 - len(sent)
    name_examples(plan, jobs, History(), KEEP)
    assert [entry.job.id for entry in plan.examples] == list(sent)[:5]


def test_a_condition_on_rows_selects_too() -> None:
    """The manifest's stream says of each job whether its row was meant."""
    plan = make_plan(map(job, "abcd"), History(), KEEP, price, rows_chosen=bytes([1, 0, 0, 1]))
    assert names(plan) == ["new", "left out", "left out", "new"]


def test_a_sample_is_drawn_by_its_seed() -> None:
    """The same seed draws the same jobs, another one others; so many as asked for."""

    def drawn(seed: int) -> list[str]:
        jobs = [job(f"job-{n}") for n in range(200)]
        plan = make_plan(jobs, History(), KEEP, price, selection=Selection(sample=20, seed=seed))
        assert plan.to_do == 20
        return [each.id for each, name in zip(jobs, names(plan), strict=True) if name == "new"]

    assert drawn(1) == drawn(1) != drawn(2)
    assert drawn(1) != [f"job-{n}" for n in range(20)]


def test_a_selection_that_names_nothing_is_known() -> None:
    """How many jobs the ids of a selection meet, so that a typing error can be said."""
    assert make_plan(map(job, "ab"), History(), KEEP, price, selection=Selection(only=("x",))).named == 0
    assert make_plan(map(job, "ab"), History(), KEEP, price).named is None


# ---- what need not be bought ------------------------------------------------------------------------------


def test_a_renamed_job_takes_its_picture_along(history: Any) -> None:
    """The same content under an id that is gone from the manifest: nothing is bought."""
    known = history(bought=["old", "other"])
    jobs = [same("new", "old"), job("other")]
    plan = make_plan(jobs, known, KEEP, price)
    assert names(plan) == ["renamed", "done"]
    assert (plan.to_do, plan.to_adopt, plan.usd, plan.replaced) == (0, 1, 0, 0)
    assert [(each.id, known.at(source.row).bought_spec) for each, _, source in plan.adoptions(jobs)] == [
        ("new", job("old").spec_hash())
    ]


def test_one_picture_serves_one_renamed_job(history: Any) -> None:
    """Two new jobs that ask for what one job had: the first takes it over, the second asks for a picture of its own."""
    plan = make_plan([same("one", "old"), same("two", "old")], history(bought=["old"]), KEEP, price)
    assert names(plan) == ["renamed", "new"]


def test_an_edited_job_is_not_renamed(history: Any) -> None:
    """Other content is another picture."""
    plan = make_plan([job("new", prompt="other")], history(bought=["old"]), KEEP, price)
    assert names(plan) == ["new"]
    assert plan.replaced == 1


def test_twins_are_pointed_out_and_bought_twice_unless_told() -> None:
    """Two jobs may want two pictures of the same words; that is said, with its price."""
    jobs = [job("a"), same("b", "a"), job("c"), same("d", "a")]
    plan = make_plan(jobs, History(), KEEP, price)
    assert names(plan) == ["new"] * 4
    assert plan.twins.count == 2
    assert plan.twins.price_usd == pytest.approx(2 * PRICE_USD)


def test_twins_share_one_picture_if_told() -> None:
    """With dedupe one is bought and the others wait for it."""
    jobs = [job("a"), same("b", "a"), job("c"), same("d", "a")]
    plan = make_plan(jobs, History(), SHARING, price)
    assert names(plan) == ["new", "copy", "new", "copy"]
    assert [(each.id, original) for each, original in plan.copies(jobs)] == [
        ("b", job("a").key()),
        ("d", job("a").key()),
    ]
    assert plan.usd == pytest.approx(2 * PRICE_USD)


def test_a_twin_of_a_failed_job_shares_its_end(history: Any) -> None:
    """The same words would be refused again, for the same money; asked for again by its cause, one is sent."""
    known = history(failed=["a"])
    jobs = [same("b", "a"), job("a")]
    assert names(make_plan(jobs, known, SHARING, price)) == ["copy", "failed"]
    wanted = Policies(dedupe=True, retry=lambda past: True)
    assert names(make_plan(jobs, known, wanted, price)) == ["new", "copy"]
    assert names(make_plan(jobs, known, KEEP, price)) == ["new", "failed"]


def test_a_twin_of_a_finished_job_shares_its_picture_at_once(history: Any) -> None:
    """Whichever of the two stands first in the manifest; without dedupe it is only said."""
    known = history(bought=["a"])
    for jobs in ([same("b", "a"), job("a")], [job("a"), same("b", "a")]):
        assert sorted(names(make_plan(jobs, known, SHARING, price))) == ["done", "same"]
        plan = make_plan(jobs, known, KEEP, price)
        assert sorted(names(plan)) == ["done", "new"]
        assert plan.twins.count == 1


def test_a_picture_of_another_folder_is_taken(history: Any) -> None:
    """The folder that has it is named by its number; what is bought here comes first."""
    others = [history(bought=["x"]), history(bought=["b", "c"])]
    jobs = [job("a"), job("b"), job("c")]
    plan = make_plan(jobs, history(bought=["c"]), KEEP, price, reuse=others)
    assert names(plan) == ["new", "reused", "done"]
    assert [(source.folder, source.row) for _, _, source in plan.adoptions(jobs)] == [(2, 0)]


def test_what_is_not_selected_is_not_taken_over_either(history: Any) -> None:
    """A narrowed run touches nothing else."""
    known = history(bought=["old", "older"])
    jobs = [same("new", "old"), same("newer", "older")]
    plan = make_plan(jobs, known, KEEP, price, selection=Selection(only=("newer",)))
    assert names(plan) == ["left out", "renamed"]
    assert [known.at(source.row).bought_spec for _, _, source in plan.adoptions(jobs)] == [job("older").spec_hash()]


def test_the_selection_counts_only_what_is_sent(history: Any) -> None:
    """Pictures taken over and copies use up none of the limit."""
    jobs = [same("new", "old"), job("a"), same("b", "a"), job("c"), job("d")]
    plan = make_plan(jobs, history(bought=["old"]), SHARING, price, selection=Selection(limit=2))
    assert names(plan) == ["renamed", "new", "copy", "new", "left out"]
