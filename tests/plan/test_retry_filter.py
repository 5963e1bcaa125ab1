"""`--retry`: causes, or an expression over them in the language of `where`."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batch.plan
from batch.manifest.templating.facts import FactExpression
from batch.plan import RetryFilterProblem
from batch.plan.causes import CAUSES
from batch.store.job_state import NOTHING, State

ROOT = Path(batch.plan.__file__).parents[1]


def RetryFilter(text: str) -> batch.plan.RetryFilter:  # as the program makes it
    return batch.plan.RetryFilter(text, FactExpression)


FAILED = replace(NOTHING, state=State.FAILED, code="no_image", attempts=3, usd=0.2)
UNKNOWN = replace(NOTHING, state=State.UNKNOWN, code="timeout", attempts=1)


@pytest.mark.parametrize(
    ("text", "failed", "unknown"),
    [
        ("no_image", True, False),
        ("text_only, no_image", True, False),
        ("no_image,", True, False),
        ("timeout", False, True),
        ("all", True, False),
        ("cause in (no_image, timeout)", True, True),
        ('cause in ["no_image"]', True, False),
        ("cause in no_image", True, False),
        ("cause not in (no_image, timeout)", False, False),
        ("cause == 'timeout'", False, True),
        ("cause != no_image", False, True),
        ("attempts < 3", False, True),
        ("1 <= attempts <= 3", True, True),
        ("cost > 0.1 and not cause == timeout", True, False),
        ("cause == x or status == unknown", False, True),
        ("attempts < word", False, False),
        ("attempts == 1 + 2", True, False),
        ("cause | length > 7 and cause.startswith('no_')", True, False),
        ("cost | round(1) == 0.2 or status == 'unknown'", True, True),
    ],
)
def test_what_is_wanted_again(text: str, failed: bool, unknown: bool) -> None:
    """One row per form; words need no quotes."""
    wish = RetryFilter(text)
    assert (wish(FAILED), wish(UNKNOWN)) == (failed, unknown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cause in", "cannot be read"),
        ("caus == no_image", "nothing is compared; the names are cause, attempts, cost, status"),
        ("cause", None),
        ("caus == no_image and x", "did you mean cause?"),
        ("__import__('os').system('x')", "nothing is compared"),
        ("attempts < range(4)", "range(...) is no comparison"),
        ("{{ cause }} == x", "write it without {{ }}"),
        ("cause is no_image", "`is` is no comparison"),
        ("cause == f'{x}'", "cannot be read"),
        ("cause = no_image", "write == to compare"),
        ("(" * 500, "cannot be read"),
        ("cause == " + "x" * 2000, "longer than 1,000"),
        ("cause == x\0", "cannot be read"),
    ],
)
def test_what_is_no_wish(text: str, says: str | None) -> None:
    """A mistake is a sentence; a single word is a cause, whatever it is."""
    if says is None:
        assert RetryFilter(text).words == {text}
        return
    with pytest.raises(RetryFilterProblem) as caught:
        RetryFilter(text)
    assert says in str(caught.value)


@given(st.text(alphabet="cause in()=!<>no_,'\"12 .\n\\[]{}:x", max_size=40))
def test_any_text_is_a_wish_or_a_problem(text: str) -> None:
    """Nothing else comes out, and a wish can be asked."""
    try:
        wish = RetryFilter(text)
    except RetryFilterProblem:
        return
    assert wish(FAILED) in (True, False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image_safty", "no job can have the cause 'image_safty'; did you mean image_safety?"),
        ("no_image,timout", "did you mean timeout?"),
        ("cause == 'text_olny'", "did you mean text_only?"),
        ("cause in (no_image, cutt)", "did you mean cut?"),
        ("status == faild", "did you mean failed?"),
        ("xyzzy", "imagebatch status names the causes"),
    ],
)
def test_a_cause_that_does_not_exist_is_named(text: str, says: str) -> None:
    """It would send nothing, and say nothing."""
    assert says in (RetryFilter(text).unknown_word(()) or "")


@pytest.mark.parametrize(
    "text", ["image_safety", "all", "cause != cut", "status == unknown", "attempts > 3", "odd_code"]
)
def test_causes_that_exist_are_taken(text: str) -> None:
    """Those that the program knows, and those of the folder's own history."""
    assert RetryFilter(text).unknown_word({"odd_code"}) is None


def test_every_code_that_the_program_gives_a_failure_is_known() -> None:
    """A new one belongs on the list. A question about a picture that fails is no failure of its job."""
    raising = {"Refused", "OutcomeUnknown", "Unusable", "Unavailable", "RateLimited", "Cut", "Undelivered"}
    given = set()
    files = {*ROOT.glob("providers/**/*.py"), *ROOT.glob("runner/*.py"), *ROOT.glob("dispatch/*.py")}
    for file in files - {ROOT / "providers/vision.py"}:
        for call in (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id in raising and call.args:
                given |= {code.value for code in ast.walk(call.args[0]) if isinstance(code, ast.Constant)}

    codes = {code for code in given if isinstance(code, str) and code.replace("_", "").isalpha() and code[-1] != "_"}
    assert len(codes) > 15
    assert codes - CAUSES == set()
