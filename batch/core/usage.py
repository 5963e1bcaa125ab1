"""What an answer reports of its own use: made by the provider, read by prices and quotas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Kinds of tokens that have a price of their own. Thinking is charged as text.
TOKEN_KINDS: Final = ("input_text", "input_image", "output_text", "output_image")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens by kind, and in all, which is what quotas count; None where the answer does not say it.

    A provider gives all four kinds or none: counts that do not add up are none. `reported` is what the answer said in
    the provider's own words, and what the ledger keeps.
    """

    input_text: int | None = None
    input_image: int | None = None
    output_text: int | None = None
    output_image: int | None = None
    total: int | None = None
    reported: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_kind(self) -> Mapping[str, int] | None:
        """Tokens of each kind, or None unless all are known."""
        counts = {kind: getattr(self, kind) for kind in TOKEN_KINDS}
        return None if None in counts.values() else counts
