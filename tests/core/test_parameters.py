"""What is asked for beside the prompt: in the spec, in the ledger, and told when it changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.core.model import Job, Reference, Terms
from batch.core.parameters import SPEC_FIELDS, Parameters, common_parameters
from batch.plan.decide import Change, changes
from batch.store.records import TryRecord, job_of, try_record

SPECS = json.loads((Path(__file__).parent / "data/specs.json").read_text("ascii"))
TERMS = Terms(endpoint="e", model="m")
MORE = {"seed": 7, "system": "Be brief", "zoom": None, "extra": {"b": [1, 2.5], "a": True}, "thinking": "high"}
names = st.from_regex(r"[A-Z_a-z]\w{0,8}", fullmatch=True).filter(
    lambda name: name.isidentifier() and name not in SPEC_FIELDS
)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def written(job: Job) -> TryRecord:
    """The job's `try` line, written and read."""
    line = try_record(job, 1, TERMS, why="new", attempt_id="r", run="r", at="t")
    return msgspec.convert(msgspec.to_builtins(line), TryRecord)


def job(**parameters: Any) -> Job:
    return Job(id="a", prompt="a cup", model="m", parameters=common_parameters().changed(**parameters))


def test_specs_are_those_of_the_first_version() -> None:
    """Recorded before parameters had a type of their own: another hash would buy a finished batch again."""
    assert len(SPECS) == 224
    for prompt, model, ratio, size, modalities, hashes, sample, spec in SPECS:
        made = Job(
            id="any",
            prompt=prompt,
            model=model,
            references=tuple(Reference(name="n", file=Path("f"), sha256=h, mime="", size_bytes=1) for h in hashes),
            parameters=common_parameters(ratio, size, tuple(modalities)),
            sample=sample,
        )
        assert made.spec_hash() == spec


@given(st.dictionaries(names, values, max_size=6), st.text(max_size=9), st.integers(1, 99))
def test_any_parameters_are_in_the_spec_as_sorted_json(more: Mapping[str, Any], prompt: str, sample: int) -> None:
    """Wherever their names sort: before the prompt, between the others, or last."""
    made = Job(id="a", prompt=prompt, model="m", parameters=Parameters(more), sample=sample)
    spec = {**more, "model": "m", "prompt": prompt, "references": [], "sample": sample}
    text = json.dumps(spec, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    assert made.spec() == hashlib.sha256(text.encode("ascii")).digest()[:16]


def test_one_more_parameter_is_another_picture() -> None:
    """And another value is, too; the order in which they are written is not."""
    specs = {job().spec(), job(seed=1).spec(), job(seed=2).spec(), job(seed="1").spec(), job(seed=None).spec()}
    assert len(specs) == 5
    assert job(seed=1, top_p=0.5).spec() == job(top_p=0.5, seed=1).spec()


def test_parameters_that_say_the_same_are_equal() -> None:
    """A list read from the ledger is the tuple that was written; 1 is not true."""
    assert Parameters({"m": ("a",)}) == Parameters({"m": ["a"]})
    assert hash(Parameters({"m": ("a",)})) == hash(Parameters({"m": ["a"]}))
    assert Parameters({"m": 1}) != Parameters({"m": True})
    assert Parameters({"m": 1}) != {"m": 1}
    assert list(Parameters({"b": 1, "a": 2})) == ["b", "a"]


@pytest.mark.parametrize("name", [*SPEC_FIELDS, "", "a-b"])
def test_no_parameter_takes_the_place_of_what_else_a_spec_holds(name: str) -> None:
    """Two jobs could have one spec then."""
    with pytest.raises(ValueError, match=f"cannot be called '{name}'"):
        Parameters({name: 1})


def test_a_number_that_is_none_is_no_parameter() -> None:
    """JSON has no NaN, and one would not equal itself."""
    with pytest.raises(ValueError, match="JSON"):
        Parameters({"seed": float("nan")})


@pytest.mark.parametrize(
    "made", [job(), job(**MORE), Job(id="a", prompt="a cup", model="m", parameters=Parameters({}))]
)
def test_the_ledger_gives_back_the_spec(made: Job) -> None:
    """Reading kept answers again and adopting pictures go by it."""
    assert job_of(written(made)).spec() == made.spec()


def test_a_job_with_common_parameters_is_written_as_ever() -> None:
    """The field is there only where it is needed."""
    assert written(job()).ask.parameters is msgspec.UNSET
    assert written(job(seed=1)).ask.parameters == dict(job(seed=1).parameters)


def test_what_changed_is_told_of_any_parameter() -> None:
    """As JSON, and none where it was not asked for."""
    assert changes(job(seed=1), job(seed=2, system="x")) == (Change("seed", "1", "2"), Change("system", "none", '"x"'))
    assert changes(job(**MORE), job(**MORE)) == ()
