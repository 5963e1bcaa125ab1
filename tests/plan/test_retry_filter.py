"""`--retry`: causes or an expression over them, and nothing else that Python could say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.plan import RetryFilter, RetryFilterProblem
from batch.store.job_state import NOTHING, State

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
    ],
)
def test_what_is_wanted_again(text: str, failed: bool, unknown: bool) -> None:
    """One row per form; words need no quotes."""
    wish = RetryFilter(text)
    assert (wish(FAILED), wish(UNKNOWN)) == (failed, unknown)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cause in", "it cannot be read; write causes"),
        ("caus == no_image", "nothing is compared; the names are cause, attempts, cost, status"),
        ("cause", None),
        ("attempts == 1 + 1", "1 + 1 is not allowed"),
        ("__import__('os').system('x')", "is no comparison"),
        ("cause is no_image", "`is` is no comparison"),
        ("cause == f'{x}'", "is not allowed"),
        ("(" * 500, "it cannot be read"),
        ("cause == " + "x" * 2000, "longer than 1,000"),
        ("cause == x\0", "it cannot be read"),
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
