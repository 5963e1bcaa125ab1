"""Models whose announced end is near or past, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

from batch.core.image_models import NOTHING_KNOWN, EndOfLife
from batch.core.profiles import Profile

#: A catalog is made over weeks, so a month and a half is not early.
_NEAR_DAYS: Final = 45


def end_warnings(
    models: Iterable[str], profiles: Sequence[Profile], changes: Mapping[str, Mapping[str, Any]], today: date
) -> list[str]:
    """A sentence for each model that has ended or will soon, at one of these providers, as far as is announced.

    `changes`: what the manifest knows better of models, by field of `ModelFacts`.
    """
    found = []
    for model in models:
        for profile in profiles:
            end = replace(profile.models.get(model, NOTHING_KNOWN), **changes.get(model, {})).end
            if end is not None and _concerns(end, profile) and (end.day - today).days <= _NEAR_DAYS:
                found.append(_words(model, end, today))
                break
    return found


def _concerns(end: EndOfLife, profile: Profile) -> bool:
    return not end.providers or profile.name in end.providers


def _words(model: str, end: EndOfLife, today: date) -> str:
    when = f"is announced to end on {end.day}" if today < end.day else f"was announced to end on {end.day}"
    says = f": {end.says}" if end.says else ""
    looked_up = f", looked up on {end.checked}" if end.checked else ""
    source = f" (source: {end.source}{looked_up})" if end.source else ""
    return f"model {model} {when}{says}{source}; imagebatch models shows others"
