"""What is known of a job after every kind of line, and that it does not matter how it came to be known."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.core.errors import NotSent, OutcomeUnknown, Refused, Unusable
from batch.core.model import Image, job_key
from batch.core.picture_warnings import WarningKind
from batch.store.history import History, replay
from batch.store.job_state import NOTHING, Standing, State
from batch.store.ledger import Published, decode_line
from batch.store.places import shelf_of
from batch.store.records import EndRecord, Record, RunRecord
from tests.store.conftest import numbered

LOST = OutcomeUnknown("timeout", "no answer")
TEXT = Unusable("text_only", "words and no picture")
BLOCKED = Refused("blocked", "by policy")
OFF = NotSent("no_connection", "could not connect")


def told(*records: Record | dict[str, Any], output: Path | None = None) -> History:
    """A history that has heard these records."""
    history, offset = History(None if output is None else shelf_of(output)), 0
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


def size_of(*records: Record | dict[str, Any]) -> int:
    return sum(len(numbered(record, number)) for number, record in enumerate(records, start=1))


def stored(path: str, sha256: str = "0" * 64) -> dict[str, Any]:
    return {"path": path, "mime": "image/png", "width": 1, "height": 1, "bytes": 3, "sha256": sha256}


def adopted(job: Any, **fields: Any) -> dict[str, Any]:
    return {"t": "adopt", "job": job.id, "spec": job.spec_hash(), "att": 0, "usd": 0.0, "saved_usd": 0.5, **fields}


def reread(job: Any, **fields: Any) -> dict[str, Any]:
    return {"t": "reread", "job": job.id, "spec": job.spec_hash(), "att": 1, "paid": "yes", "usd": 0.0, **fields}


def test_a_picture_taken_over_stands_as_if_it_had_been_bought(make: Any) -> None:
    """Under what is asked for now, at no cost; the jobs before and after it in memory stay as they are."""
    one, two, three = (make.job(name, prompt=name) for name in ("one", "two", "three"))
    edited = make.job("two", prompt="edited")
    before = [make.tried(one), make.tried(two), make.failed(two, BLOCKED), make.tried(three)]
    place = size_of(*before)

    history = told(*before, adopted(edited, images=[stored("images/two.png")], warnings=["blank: one colour"]))

    known = history.of(two.key())
    assert (known.state, known.spec, known.bought_spec) == (State.DONE, edited.spec_hash(), edited.spec_hash())
    assert (known.attempts, known.versions, known.usd, known.code) == (1, 1, 0.0, "")
    assert {known.try_offset, known.last_offset, known.bought_offset, known.bought_try_offset} == {place}
    assert history.facts_at(1).warned == (WarningKind.BLANK,)
    assert (history.usd, history.saved_usd, history.requests) == (0.0, 0.5, 3)
    assert [history.spec_at(row).hex() for row in (0, 2)] == [one.spec_hash(), three.spec_hash()]
    assert history.same_picture("0" * 64, one.key(), bytes(16)) is None


def test_a_picture_taken_over_without_an_attempt_makes_a_row_of_its_own(make: Any) -> None:
    """It was never sent."""
    one, two = make.job("one"), make.job("two", prompt="two")
    history = told(make.tried(one), adopted(two), make.tried(one, 2))
    assert (history.of(two.key()).state, history.of(two.key()).attempts) == (State.DONE, 0)
    assert [history.row_of(job.key()) for job in (one, two)] == [0, 1]
    assert history.spec_at(1).hex() == two.spec_hash()


@pytest.mark.parametrize(
    ("fields", "state", "rejected"),
    [
        ({"again": False, "paid": "no"}, State.FAILED, 0),
        ({"again": True, "paid": "no"}, State.RETRYABLE, 0),
        ({"again": True, "paid": "yes"}, State.RETRYABLE, 1),
        ({"again": True, "settled": False}, State.WAITING, 0),
    ],
)
def test_a_shared_failure_is_as_final_as_the_other_one(
    make: Any, fields: dict[str, Any], state: State, rejected: int
) -> None:
    """With its code, under what is asked for now."""
    one, two = make.job("one"), make.job("two", prompt="two")
    copy = {"t": "copy", "job": "two", "spec": two.spec_hash(), "of": "one", "code": "text_only", **fields}

    history = told(make.tried(one), make.failed(one, TEXT), copy)

    known = history.of(two.key())
    assert (known.state, known.code, known.rejected, known.spec) == (state, "text_only", rejected, two.spec_hash())
    assert known.try_offset == known.last_offset == size_of(make.tried(one), make.failed(one, TEXT))


def test_a_kept_answer_that_holds_a_picture_moves_its_money(make: Any) -> None:
    """What was charged in vain bought something after all; what was free costs its price; what was open is known."""
    job = make.job()
    charged = [make.tried(job), make.failed(job, TEXT, usd=0.045)]
    twice = [*charged, make.tried(job, 2), make.failed(job, TEXT, 2, usd=0.03)]
    open_still = [make.tried(job), make.unknown(job, LOST)]

    history = told(*charged, reread(job, counted_usd=0.045))
    assert (history.usd, dict(history.charged_in_vain()), history.of(job.key()).rejected) == (0.045, {}, 0)
    history = told(*twice, reread(job, counted_usd=0.045))
    assert dict(history.charged_in_vain()) == {0: pytest.approx(0.03)}
    assert (round(history.usd, 6), history.of(job.key()).rejected) == (0.075, 1)
    history = told(make.tried(job), make.failed(job, TEXT), reread(job, usd=0.25))
    assert (history.usd, history.of(job.key()).usd, dict(history.charged_in_vain())) == (0.25, 0.25, {})
    another = make.job("another")
    history = told(make.tried(another), make.unknown(another, LOST), *open_still, reread(job, usd=0.3, maybe_usd=0.045))
    assert (history.usd, round(history.maybe_usd, 6)) == (0.3, 0.045)


def test_a_kept_answers_picture_is_the_jobs(make: Any, tmp_path: Path) -> None:
    """Found by its line and its content, looked for on the disk, and no end of the same failure any more."""
    one, job = make.job("one"), make.job("two", prompt="two")
    before = [RunRecord(), make.tried(one), make.tried(job), make.failed(job, TEXT), EndRecord(stopped=False)]
    assert told(*before).of(job.key()).same_ends == 1
    line = reread(job, images=[stored("images/two.png", "1" * 64)], warnings=["blank: one colour"])

    history = told(*before, line, output=tmp_path)

    known = history.of(job.key())
    assert (known.state, known.code, known.missing, known.versions) == (State.DONE, "", True, 1)
    assert (known.same_ends, known.bought_spec) == (0, job.spec_hash())
    assert (known.bought_offset, known.last_offset) == (size_of(*before), size_of(*before))
    assert known.bought_try_offset == known.try_offset == size_of(*before[:2])
    assert history.facts_at(1).warned == (WarningKind.BLANK,)
    assert history.same_picture("1" * 64, one.key(), bytes(16)) == 1


def test_a_kept_answers_picture_of_what_was_asked_before_stays_that(make: Any) -> None:
    """The job was edited and sent again meanwhile."""
    other, job, edited = make.job("other"), make.job(), make.job(prompt="a blue shirt")
    before = [make.tried(other), make.tried(job), make.failed(job, TEXT), make.tried(edited, 2)]

    history = told(*before, reread(job), make.failed(edited, BLOCKED, 2))

    known = history.of(job.key())
    assert (known.spec, known.bought_spec) == (edited.spec_hash(), job.spec_hash())
    assert (known.bought_offset, known.bought_try_offset) == (size_of(*before), size_of(*before[:3]))
    assert known.last_offset == size_of(*before, reread(job))


def test_what_replaced_pictures_cost_is_counted_once(make: Any) -> None:
    """Apart from what was charged in vain, however often a picture is made again."""
    job = make.job()
    records: list[Record] = []
    for number, superseded in ((1, 0.0), (2, 0.045), (3, 0.09)):
        records += [make.tried(job, number, "remake"), make.failed(job, TEXT, number, usd=0.02)]
        records += [make.tried(job, number, "again"), make.done(job, number)]
        history = told(*records)
        assert history.superseded_usd == pytest.approx(superseded)
        assert history.usd == history.usd_at(0) == pytest.approx(number * 0.065)
        assert dict(history.charged_in_vain()) == {0: pytest.approx(number * 0.02)}


@pytest.mark.parametrize(
    ("runs", "same"),
    [
        (["text", "text", "text"], 3),
        (["text", "stopped", "text"], 2),
        (["text", "blocked", "text"], 1),
        (["blocked", "text", "text"], 2),
        (["text", "nothing", "text"], 2),
        (["text", "text", "killed"], 2),
        (["twice", "text"], 2),
        (["text", "done"], 0),
        (["text", "edited"], 1),
    ],
)
def test_runs_in_a_row_that_end_with_the_same_failure_are_counted(make: Any, runs: list[str], same: int) -> None:
    """Only those that came to their own end; another cause, a picture or an edit begins anew."""
    records: list[Record] = []
    for number, what in enumerate(runs, start=1):
        job = make.job(prompt="edited" if what == "edited" else "a shirt")
        records.append(RunRecord())
        if what != "nothing":
            records.append(make.tried(job, number))
        if what == "twice":
            records += [make.failed(job, TEXT, number), make.tried(job, number)]
        if what == "done":
            records.append(make.done(job, number))
        elif what != "nothing":
            records.append(make.failed(job, BLOCKED if what == "blocked" else TEXT, number))
        if what != "killed":
            records.append(EndRecord(stopped=what == "stopped"))

    assert told(*records).of(make.job().key()).same_ends == same


def test_a_decision_moves_what_was_open(make: Any) -> None:
    """Paid or not, it is not open any more; a failure that a person declares was not charged for."""
    job, other = make.job(), make.job("other")
    before = [make.tried(other), make.unknown(other, LOST), make.tried(job), make.unknown(job, LOST)]

    def decided(decided: str, **fields: Any) -> History:
        line = {"t": "resolve", "job": job.id, "att": 1, "decided": decided, "code": f"resolved_{decided}", **fields}
        history = told(*before, line)
        assert history.of(job.key()).last_offset == size_of(*before)
        return history

    paid = decided("paid", usd=0.05, maybe_usd=0.045)
    assert (paid.usd, round(paid.maybe_usd, 6), paid.of(job.key()).usd) == (0.05, 0.045, 0.05)
    assert (paid.of(job.key()).state, paid.of(job.key()).code) == (State.UNKNOWN, "resolved_paid")
    unpaid = decided("unpaid", maybe_usd=0.045)
    assert (unpaid.usd, round(unpaid.maybe_usd, 6), unpaid.of(job.key()).state) == (0.0, 0.045, State.WAITING)
    failed = decided("failed")
    assert (failed.usd, round(failed.maybe_usd, 6), failed.of(job.key()).state) == (0.0, 0.09, State.FAILED)


def test_all_that_is_known_passes_through_a_pipe(make: Any, tmp_path: Path) -> None:
    """Another process reads the ledger; what it learned is the same, and so is all that follows from it."""
    one, two, three, edited = make.job("one"), make.job("two"), make.job("three"), make.job("one", prompt="edited")
    records = [
        *(RunRecord(endpoint="simulator"), make.tried(one), make.done(one, images=[image("images/one.png")])),
        *(make.tried(edited, 2), make.failed(edited, TEXT, 2, usd=0.02), make.tried(two), make.unknown(two, LOST)),
        *(EndRecord(stopped=False, published=Published(order="ab", through=3, bytes=9)), RunRecord()),
        *(make.tried(three), adopted(make.job("four"), warnings=["blank: one colour"])),
    ]
    later = [
        *records,
        make.failed(three, BLOCKED),
        make.tried(two, 2, "resend"),
        make.done(two, 2, images=[image("images/two.png")]),
    ]
    history = told(*records, output=tmp_path)
    for name in ("five", "six"):
        history.pass_over(decode_line(numbered(adopted(make.job(name)), 12)))
    pipe = io.BytesIO()

    history.send(pipe)
    pipe.seek(0)
    received = History.receive(pipe, shelf_of(tmp_path))

    for number in range(len(records), len(later)):
        assert everything(received) == everything(history)
        for each in (history, received):
            each.apply(size_of(*later[:number]), decode_line(numbered(later[number], number + 1)))
    assert everything(received) == everything(history)
    assert (received.rehearsal_lines, received.rehearsed) == (2, {job_key("five"), job_key("six")})
    assert (received.published is None, received.simulated) == (False, True)
    assert received.of(two.key()).missing is True


def test_what_is_known_of_an_empty_ledger_passes_through_a_pipe(tmp_path: Path) -> None:
    """Nothing is published, and there is no job."""
    pipe = io.BytesIO()
    History().send(pipe)
    pipe.seek(0)
    received = History.receive(pipe, shelf_of(tmp_path))
    assert (len(received), received.published, received.rehearsed) == (0, None, set())


def everything(history: History) -> list[object]:
    jobs = [(history.at(row), history.facts_at(row), history.key_at(row)) for row in range(len(history))]
    names = ("usd", "maybe_usd", "superseded_usd", "saved_usd", "requests", "last_n", "last_event_n", "run_offset")
    numbers = [getattr(history, name) for name in (*names, "end_offset", "simulated", "rehearsal_lines")]
    return [
        *(jobs, numbers, history.open, history.published, history.rehearsed, dict(history.charged_in_vain())),
        *(history.tally_of_all(), history.same_picture("0" * 64, b"x" * 16, bytes(16))),
    ]


def test_a_job_is_done_only_with_just_the_picture_that_is_asked_for(make: Any, tmp_path: Path) -> None:
    """P6, P9: its files are there as bought, and nothing was asked for since."""
    job, edited = make.job(), make.job(prompt="a blue shirt")
    (tmp_path / "one.png").write_bytes(b"abc")
    (tmp_path / "short.png").write_bytes(b"ab")

    def is_done(*more: Record, name: str = "one.png", spec: str = job.spec_hash()) -> bool:
        records = [make.tried(job), make.done(job, images=[image(name)]), *more]
        return told(*records, output=tmp_path).is_done(0, bytes.fromhex(spec))

    assert is_done()
    assert not is_done(name="gone.png")
    assert not is_done(name="short.png")
    assert not is_done(spec=edited.spec_hash())
    assert not is_done(make.tried(job, 2))
    assert not is_done(make.tried(job, 2), make.failed(job, BLOCKED, 2))
    assert not is_done(make.tried(edited, 2), make.failed(edited, BLOCKED, 2))
    assert is_done(make.tried(edited, 2), make.done(edited, 2, images=[image("one.png")]), spec=edited.spec_hash())


def test_an_edited_job_leaves_those_beside_it_in_memory_alone(make: Any) -> None:
    """P6: else a job that is done would be bought again."""
    jobs = [make.job(name, prompt=name) for name in ("one", "two", "three")]
    edited = make.job("two", prompt="edited")
    history = told(*(each for job in jobs for each in (make.tried(job), make.done(job))), make.tried(edited, 2))

    assert [history.spec_at(row).hex() for row in range(3)] == [
        *(jobs[0].spec_hash(), edited.spec_hash(), jobs[2].spec_hash()),
    ]
    assert [history.is_done(row, bytes.fromhex(job.spec_hash())) for row, job in enumerate(jobs)] == [True, False, True]
    history.apply(0, decode_line(numbered(make.tried(jobs[1], 3), 8)))
    assert history.spec_at(1).hex() == jobs[1].spec_hash()


def test_an_end_whose_try_is_not_known_is_the_jobs_all_the_same(make: Any) -> None:
    """As in a ledger that was put together by hand: what it says was bought counts."""
    one, two = make.job("one"), make.job("two")
    history = told(make.tried(one), make.done(two), make.unknown(make.job("three"), LOST))
    assert [history.at(row).state for row in range(3)] == [State.SENT, State.DONE, State.UNKNOWN]
    assert (history.usd, history.open[0].job_id) == (0.045, "one")


def test_jobs_are_counted_by_what_is_known_and_their_marks(make: Any) -> None:
    """A job that the ledger does not know is new."""
    one, two, three = (make.job(name) for name in ("one", "two", "three"))
    history = told(make.tried(one), make.done(one), make.tried(two), make.done(two))
    order = one.key() + make.job("four").key() + two.key() + three.key()

    counts = history.tally(order, [1, 0, 1, 1])

    found = {(facts.state, mark): count for (facts, mark), count in counts.items()}
    assert found == {(State.DONE, 1): 2, (State.NEW, 0): 1, (State.NEW, 1): 1}
    assert {facts.state: count for facts, count in history.tally_of_all().items()} == {State.DONE: 2}


def test_a_pipe_that_breaks_off_is_an_error(make: Any, tmp_path: Path) -> None:
    """Half of what is known is not believed."""
    pipe = io.BytesIO()
    told(make.tried(make.job())).send(pipe)
    whole = pipe.getvalue()
    for end in (0, 10, len(whole) - 1):
        with pytest.raises((ValueError, EOFError)):
            History.receive(io.BytesIO(whole[:end]), shelf_of(tmp_path))


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
