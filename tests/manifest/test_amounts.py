"""Numbers as shops write them."""

from __future__ import annotations

import pytest

from batch.manifest.templating.amounts import amount


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5", 12.5),
        (" 7 ", 7),
        ("-3", -3),
        ("1e3", 1000),
        ("00012", 12),
        (".5", 0.5),
        ("5.", 5),
        ("$1,299.00", 1299),
        ("1,299", 1299),
        ("1,299,000", 1_299_000),
        ("0,299", 0.299),
        ("12,99", 12.99),
        ("1.299,00 €", 1299),
        ("1.299.000", 1_299_000),
        ("1.299", 1.299),
        ("9,50", 9.5),
        (",5", 0.5),
        ("1 299,50 zł", 1299.5),
        ("1\u00a0299\u202f000", 1_299_000),
        ("CHF 1’299.00", 1299),
        ("1'299", 1299),
        ("kr 5", 5),
        ("5 kr.", 5),
        ("EUR -5,00", -5),
        ("-€5", -5),
        ("\u22125", -5),
        ("５００円", None),
        ("￥５００", 500),
        ("A$ 4", 4),
        ("Rs. 500", 500),
        ("", None),
        ("abc", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("1,2,3", None),
        ("1.2.3", None),
        ("12 34", None),
        ("5 pieces", None),
        ("2026-05-01", None),
        ("$", None),
        ("5%", None),
        ("1,29,9.00", None),
    ],
)
def test_amount(text: str, expected: float | None) -> None:
    """With signs of currencies and separators of thousands, in the ways of several countries; nothing is guessed."""
    assert amount(text) == expected
