"""A table of rows by key, and that it is never wrong about one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from batch.core.key_index import KeyIndex, KeyMap
from batch.core.model import job_key

#: Few beginnings, so that many keys want the same slot, and ends that differ in one bit.
close_keys = st.builds(
    lambda beginning, end: beginning.to_bytes(8, "little") + end.to_bytes(8, "big"),
    st.sampled_from([0, 1, 1023, 1024, 2**64 - 1]),
    st.integers(0, 40),
)


@given(st.lists(close_keys), st.lists(close_keys))
def test_rows_are_those_of_a_dict(keys: list[bytes], others: list[bytes]) -> None:
    """Numbered as they first came, whatever comes twice or meets another in the table."""
    rows, known = KeyIndex(), dict[bytes, int]()

    for key in keys:
        assert rows.row_or_new(key) == known.setdefault(key, len(known))

    assert (list(rows), len(rows)) == (list(known), len(known))
    assert [rows.row_of(key) for key in keys + others] == [known.get(key) for key in keys + others]


def test_many_keys_are_found_in_any_order() -> None:
    """The table grew several times on the way; what is asked for last is a guess at what comes next, no more."""
    keys = [job_key(f"job-{number}") for number in range(10_000)]
    rows = KeyIndex()
    for key in keys:
        rows.row_or_new(key)

    assert [rows.row_of(key) for key in keys] == list(range(10_000))
    assert [rows.row_of(key) for key in reversed(keys)] == list(reversed(range(10_000)))
    assert [rows.key_at(row) for row in (0, 4999, 9999)] == [keys[0], keys[4999], keys[9999]]
    assert rows.row_of(job_key("another")) is None


def test_a_key_is_not_found_across_two_others() -> None:
    """The end of one key and the beginning of the next are nobody's key."""
    rows = KeyIndex()
    rows.row_or_new(b"a" * 8 + b"b" * 8)
    rows.row_or_new(b"c" * 8 + b"d" * 8)

    assert rows.row_of(b"b" * 8 + b"c" * 8) is None
    assert rows.row_of(b"d" * 16) is None


def test_a_key_keeps_its_first_number() -> None:
    """Who adds it again is told the number it has."""
    numbers = KeyMap()
    one, two = job_key("one"), job_key("two")

    assert (numbers.get(one), one in numbers) == (None, False)
    assert [numbers.add(one, 7), numbers.add(two, 2**32 - 1), numbers.add(one, 9)] == [7, 2**32 - 1, 7]
    assert (numbers.get(one), numbers.get(two), len(numbers)) == (7, 2**32 - 1, 2)
