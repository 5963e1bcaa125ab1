"""Numbers as people and shops write them: `1,299.00`, `1.299,00 €`, `$5`, `12.5`.

A point alone is a decimal point. A comma alone separates thousands where three digits follow it and nothing else
speaks against it (`1,299`, not `0,299`), else it is a decimal comma (`9,50`).
"""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Final

#: What stands beside an amount: a sign of a currency, its three letters, or a word some countries write.
_CURRENCY: Final = r"(?:[A-Z]{3}|[kK]r\.?|Fr\.|Rs\.?|z\u0142|K\u010d|[^\W\d]?\$|[\u00a3\u00a5\u20a0-\u20bf])"
_AMOUNT: Final = re.compile(
    rf"(?:{_CURRENCY}\s*)?([+-]?)(?:{_CURRENCY}\s*)?(\d[\d.,\u2019' ]*|[.,]\d+)(?:\s*{_CURRENCY})?"
)
_GROUPED: Final = {
    ",": re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?"),
    ".": re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"),
}
_DECIMAL_COMMA: Final = re.compile(r"\d*,\d*")


def amount(text: str) -> float | None:
    """The number a text stands for; None if it stands for none, or for two."""
    try:
        number = float(text)
    except ValueError:
        return _with_signs(text)
    return number if math.isfinite(number) else None


def _with_signs(text: str) -> float | None:
    plain = unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()
    found = _AMOUNT.fullmatch(plain)
    if found is None:
        return None
    digits = re.sub("[\u2019' ](?=\\d{3}(?!\\d))", "", found[2].strip())
    if _GROUPED[","].fullmatch(digits):
        digits = digits.replace(",", "")
    elif digits.count(".") + digits.count(",") > 1 and _GROUPED["."].fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif _DECIMAL_COMMA.fullmatch(digits):
        digits = digits.replace(",", ".")
    try:
        number = float(found[1] + digits)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
