"""The jobs that are sent are those that were planned, whatever has happened to the table since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from batch.core.errors import InputError
from batch.core.model import Job
from batch.core.parameters import common_parameters
from batch.plan import Policies
from batch.plan.make import Plan, make_plan
from batch.store.history import History

LARGE = common_parameters(image_size="4K")
JOBS = [Job(id=f"j{n}", prompt=f"cup {n}", model="m", parameters=common_parameters(image_size="1K")) for n in range(4)]


def plan() -> Plan:
    return make_plan(JOBS, History(), Policies(), lambda _: 0.04)


def test_the_same_jobs_again_are_handed_out() -> None:
    """Jobs that are as they were planned come with their decisions."""
    assert [job for job, _ in plan().pairs(JOBS)] == JOBS


@pytest.mark.parametrize(
    ("jobs", "removed", "name"), [(10_000, 0, ""), (10_001, 0, "002/j1999"), (9_999, 2, "002/j1999")]
)
def test_so_many_pictures_lie_in_numbered_folders(
    jobs: int, removed: int, name: str, history: Callable[..., History]
) -> None:
    """A thousand jobs in each, in the manifest's order; those of jobs that the manifest no longer has count, too."""
    many = [Job(id=f"j{n}", prompt="cup", model="m") for n in range(jobs)]
    past = history(bought=[f"gone{n}" for n in range(removed)])

    made = make_plan(many, past, Policies(), lambda _: 0.04)

    assert [job.name for job, _ in made.pairs(many)][1999] == name


def test_a_name_of_the_manifests_is_kept() -> None:
    """Who names pictures also says which folders they lie in."""
    named = [Job(id=f"j{n}", prompt="cup", model="m", name=f"all/{n}") for n in range(10_001)]

    made = make_plan(named, History(), Policies(), lambda _: 0.04)

    assert [job.name for job, _ in made.pairs(named)] == [job.name for job in named]


def test_rows_appended_since_are_passed_over() -> None:
    """What was added behind the last row was not planned, and is not handed out."""
    more = [*JOBS, replace(JOBS[0], id="new")]
    assert [job for job, _ in plan().pairs(more)] == JOBS


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param([JOBS[0], replace(JOBS[1], prompt="another"), *JOBS[2:]], id="a prompt"),
        pytest.param([JOBS[0], replace(JOBS[1], id="renamed"), *JOBS[2:]], id="an id"),
        pytest.param(
            [JOBS[0], replace(JOBS[1], parameters=common_parameters(image_size="4K")), *JOBS[2:]], id="a size"
        ),
        pytest.param([JOBS[0], JOBS[2], JOBS[1], JOBS[3]], id="the order"),
        pytest.param([JOBS[0], replace(JOBS[0], id="new"), *JOBS[1:]], id="a row put in"),
        pytest.param(JOBS[:1], id="the end cut off"),
    ],
)
def test_an_edit_stops_at_the_first_row_that_was_not_planned(edited: list[Job]) -> None:
    """Nothing from the edited row on is handed out, and the error says what to do."""
    handed_out: list[Job] = []
    with pytest.raises(InputError, match=r"edited while the run was on.*run again"):
        handed_out.extend(job for job, _ in plan().pairs(edited))
    assert handed_out == JOBS[:1]
