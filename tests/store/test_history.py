"""What is known of a job after every kind of line, and that it does not matter how it came to be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.core.errors import NotSent, OutcomeUnknown, Refused, Unusable
from batch.core.model import Image, job_key
from batch.store.history import History, replay
from batch.store.job_state import NOTHING, Standing, State
from batch.store.ledger import Published, decode_line
from batch.store.records import EndRecord, Record, RunRecord
from tests.store.conftest import numbered

LOST = OutcomeUnknown("timeout", "no answer")
TEXT = Unusable("text_only", "words and no picture")
BLOCKED = Refused("blocked", "by policy")
OFF = NotSent("no_connection", "could not connect")


def told(*records: Record | dict[str, Any], output: Path | None = None) -> History:
    """A history that has heard these records."""
    history, offset = History(output), 0
    for number, record in enumerate(records, start=1):
        line = numbered(record, number)
        history.apply(offset, decode_line(line))
        offset += len(line)
    return history


def image(path: str, size_bytes: int = 3) -> Image:
    return Image(path=path, mime="image/png", width=1, height=1, size_bytes=size_bytes, sha256="0" * 64)


def test_a_job_never_heard_of_is_new() -> None:
    """Nothing is invented."""
    assert History().of(b"x" * 16) is NOTHING


@pytest.mark.parametrize(
    ("end", "state", "standing"),
    [
        (lambda make, job: [], State.SENT, Standing.PENDING),
        (lambda make, job: [make.done(job)], State.DONE, Standing.DONE),
        (lambda make, job: [make.unknown(job, LOST)], State.UNKNOWN, Standing.UNKNOWN),
        (lambda make, job: [make.failed(job, BLOCKED)], State.FAILED, Standing.FAILED),
        (lambda make, job: [make.failed(job, OFF, again=True)], State.RETRYABLE, Standing.FAILED),
    ],
    ids=["sent", "done", "unknown", "failed", "failed for now"],
)
def test_the_end_of_an_attempt_decides_where_the_job_stands(make: Any, end: Any, state: State, standing: Any) -> None:
    """Every arrow from SENT."""
    job = make.job()

    known = told(make.tried(job), *end(make, job)).of(job.key())

    assert (known.state, known.standing, known.spec, known.attempts) == (state, standing, job.spec_hash(), 1)


def test_an_attempt_is_open_until_its_end_is_known(make: Any) -> None:
    """After a crash the open ones are looked for in the spool."""
    one, two = make.job("one"), make.job("two")

    history = told(make.tried(one), make.tried(two), make.done(one))

    assert [(attempt.job_id, attempt.number) for attempt in history.open] == [("two", 1)]


def test_money_is_summed_by_what_is_certain(make: Any) -> None:
    """Charged answers with or without a picture, and apart from them what may have been charged."""
    job = make.job()

    history = told(
        make.tried(job),
        make.unknown(job, LOST),
        make.tried(job, 2, "resend"),
        make.failed(job, TEXT, 2, usd=0.045),
        make.tried(job, 3, "again"),
        make.done(job, 3),
    )

    assert (round(history.usd, 6), history.maybe_usd, history.requests) == (0.09, 0.045, 3)
    assert (history.of(job.key()).rejected, history.of(job.key()).resends) == (1, 1)


def test_an_edited_job_starts_its_counts_anew(make: Any) -> None:
    """What the earlier picture cost in vain does not count against the new one."""
    job, edited = make.job(), make.job(prompt="a blue shirt")

    history = told(
        make.tried(job),
        make.unknown(job, LOST),
        make.tried(job, 2, "resend"),
        make.failed(job, TEXT, 2, usd=0.045),
        make.tried(edited, 3),
    )

    known = history.of(job.key())
    assert (known.rejected, known.resends, known.attempts, known.spec) == (0, 0, 3, edited.spec_hash())


def test_a_picture_stands_while_a_new_one_is_being_bought(make: Any) -> None:
    """P13: a rerun that is not settled does not make the old picture undone."""
    job, edited = make.job(), make.job(prompt="a blue shirt")

    history = told(make.tried(job), make.done(job), make.tried(edited, 2))

    known = history.of(job.key())
    assert (known.standing, known.state, known.bought_spec) == (Standing.DONE, State.SENT, job.spec_hash())
    assert (known.spec, known.versions) == (edited.spec_hash(), 1)


def test_the_picture_on_disk_is_the_last_one_bought(make: Any) -> None:
    """Its spec and its lines stay known whatever happens to the job afterwards, until another picture is bought."""
    job, edited = make.job(), make.job(prompt="a blue shirt")
    records = [
        make.tried(job),
        make.done(job),
        make.tried(edited, 2),
        make.unknown(edited, LOST, 2),
        make.tried(edited, 3, "resend"),
        make.failed(edited, BLOCKED, 3),
        make.tried(edited, 4),
        make.done(edited, 4),
    ]
    sizes = [len(numbered(record, n)) for n, record in enumerate(records, 1)]

    for heard in range(2, len(records) + 1):
        known = told(*records[:heard]).of(job.key())
        bought_spec, first_line = (edited.spec_hash(), 6) if heard == len(records) else (job.spec_hash(), 0)
        assert known.bought_spec == bought_spec
        assert known.bought_try_offset == sum(sizes[:first_line])
        assert known.bought_offset == sum(sizes[: first_line + 1])
        assert known.last_offset == sum(sizes[: heard - 1])


def test_a_bought_file_that_is_gone_is_missing_and_one_of_another_size_altered(make: Any, ledger: Any) -> None:
    """F28: looked at by name and size when the ledger is read; never bought again silently."""
    images = ledger.path.parent / "images"
    images.mkdir()
    (images / "here.png").write_bytes(b"abc")
    (images / "short.png").write_bytes(b"ab")
    for name in ("here", "short", "gone"):
        job = make.job(name)
        ledger.write(make.tried(job), make.done(job, images=[image(f"images/{name}.png")]))

    history, _ = replay(ledger.path.parent)

    known = [history.of(job_key(name)) for name in ("here", "short", "gone")]
    assert [each.missing for each in known] == [False, False, True]
    assert [each.altered for each in known] == [False, True, False]


def test_offsets_point_at_the_lines_they_name(make: Any) -> None:
    """Details are read from the ledger, so the offsets must be right."""
    job = make.job()
    records = [make.tried(job), make.done(job), make.tried(job, 2)]
    sizes = [len(numbered(record, n)) for n, record in enumerate(records, 1)]

    known = told(*records).of(job.key())

    assert (known.bought_try_offset, known.bought_offset) == (0, sizes[0])
    assert (known.try_offset, known.last_offset) == (sum(sizes[:2]), sum(sizes[:2]))


def test_columns_stay_in_step_for_many_jobs(make: Any) -> None:
    """One job's facts never show up at another's."""
    jobs = [make.job(f"job-{number}", f"prompt {number}") for number in range(300)]

    history = told(*[make.tried(job, number + 1) for number, job in enumerate(jobs)])

    assert list(history) == [job.key() for job in jobs]
    for number, job in enumerate(jobs):
        assert (history.of(job.key()).spec, history.of(job.key()).attempts) == (job.spec_hash(), number + 1)


def test_any_number_of_causes_is_told_apart(make: Any) -> None:
    """Codes come from a provider in the end; there may be no limit to their number."""
    jobs = [make.job(f"job-{number}") for number in range(2000)]
    ends = [make.failed(job, Refused(f"code-{number}", "no")) for number, job in enumerate(jobs)]

    history = told(*[record for job, end in zip(jobs, ends, strict=True) for record in (make.tried(job), end)])

    assert [history.of(job.key()).code for job in jobs] == [f"code-{number}" for number in range(2000)]


def test_a_kind_of_line_from_a_later_version_is_passed_over(make: Any) -> None:
    """Its number counts, for there is a line; nothing else is known of it."""
    job = make.job()
    told_before = [make.tried(job), make.done(job)]

    history = told(*told_before, {"t": "seen", "job": job.id, "usd": 5.0}, {"t": "seen", "job": "another"})

    assert history.of(job.key()) == told(*told_before).of(job.key())
    assert (len(history), history.usd, history.last_event_n) == (1, 0.045, 4)


def test_a_job_can_be_asked_for_by_its_row(make: Any) -> None:
    """Rows count from 0 in the order jobs were first sent; they stay when jobs are sent again."""
    one, two = make.job("one"), make.job("two")

    history = told(make.tried(one), make.tried(two), make.done(two), make.failed(one, OFF), make.tried(one, 2))

    assert [history.row_of(job.key()) for job in (one, two, make.job("three"))] == [0, 1, None]
    assert [history.key_at(row) for row in range(len(history))] == [one.key(), two.key()]
    assert history.at(1) == history.of(two.key())
    assert (history.facts_at(1).state, history.spec_at(1).hex()) == (State.DONE, two.spec_hash())


def test_the_run_and_its_end_are_found_again(make: Any) -> None:
    """`status` reads them by their offsets."""
    published = Published(order="ab", through=0, bytes=12)

    history = told(RunRecord(), EndRecord(published=published))

    assert (history.run_offset, history.end_offset > 0, history.last_event_n) == (0, True, 0)
    assert history.published is not None
    assert history.published.bytes == 12


endings = st.sampled_from(["done", "unk", "text", "blocked", "off", "open"])
steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), endings))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_reading_the_ledger_gives_what_was_known_while_writing_it(steps: Any, make: Any, tmp_path: Path) -> None:
    """The same state live and replayed, for any sequence of attempts."""
    records: list[Record] = []
    attempts = [0, 0, 0, 0]
    for which, variant, end in steps:
        job = make.job(f"job-{which}", f"prompt {variant}")
        attempts[which] += 1
        number = attempts[which]
        records.append(make.tried(job, number, "resend" if variant else "new"))
        ends = {
            "done": lambda j, n: make.done(j, n),
            "unk": lambda j, n: make.unknown(j, LOST, n),
            "text": lambda j, n: make.failed(j, TEXT, n, usd=0.045),
            "blocked": lambda j, n: make.failed(j, BLOCKED, n),
            "off": lambda j, n: make.failed(j, OFF, n, again=True),
        }
        if end in ends:
            records.append(ends[end](job, number))
    lines = [numbered(record, n) for n, record in enumerate(records, 1)]
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(lines))

    read, _ = replay(tmp_path)
    live = told(*records)

    assert list(read) == list(live)
    assert [read.of(key) for key in read] == [live.of(key) for key in live]
    assert (read.open, read.usd, read.maybe_usd, read.requests) == (live.open, live.usd, live.maybe_usd, live.requests)
    assert (read.last_n, read.last_event_n) == (live.last_n, live.last_event_n)
