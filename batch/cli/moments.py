"""A moment as people type it: a time of day, a date and a time, or so long from now."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

_TIME_OF_DAY: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:Z|[+-][0-9]{2}:[0-9]{2})?")
#: Five digits of hours are eleven years.
_DURATION: Final = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,5})m)?")


class WhenProblem(ValueError):
    """A text that names no moment to come; the message follows the option's name."""


def moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment meant, in UTC; always after `now`. `zone` is the local one, by default this machine's.

    `06:00` is the next time that the local clock shows it. Raises `WhenProblem`.
    """
    found = _TIME_OF_DAY.fullmatch(text)
    if found is not None:
        return _next(time(int(found[1]), int(found[2])), now, zone)
    if _DATE.fullmatch(text) is not None:
        return _date(text, now, zone)
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise WhenProblem("must be a time such as 06:00, a date and time such as 2026-11-26T06:00, or 8h, 90m or 1h30m")
    ahead = timedelta(hours=int(found[1] or 0), minutes=int(found[2] or 0))
    if not ahead:
        raise WhenProblem(f"{text} is no time from now")
    return now.astimezone(UTC) + ahead


def _date(text: str, now: datetime, zone: tzinfo | None) -> datetime:
    try:
        meant = datetime.fromisoformat(text)
        at = meant.astimezone(UTC) if meant.tzinfo is not None else _in_utc(meant, zone)
    except (ValueError, OverflowError, OSError):
        raise WhenProblem(f"{text} is no date and time that exists") from None
    if at <= now:
        raise WhenProblem(f"{text} is past")
    return at


def _next(shown: time, now: datetime, zone: tzinfo | None) -> datetime:
    """The first moment after `now` at which the local clock shows a time.

    Where clocks are put forward it is not shown that day, and where they are put back it is shown twice.
    """
    return next(at for local, at in _candidates(shown, now, zone) if at > now and _local(at, zone) == local)


def _candidates(shown: time, now: datetime, zone: tzinfo | None) -> Iterator[tuple[datetime, datetime]]:
    today = _local(now, zone).date()
    for day in range(4):
        local = datetime.combine(today + timedelta(days=day), shown)  # the local clock knows no zone
        for fold in (0, 1):
            yield local, _in_utc(local.replace(fold=fold), zone)


def _local(at: datetime, zone: tzinfo | None) -> datetime:
    """What the local clock shows."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)


def _in_utc(local: datetime, zone: tzinfo | None) -> datetime:
    return (local.replace(tzinfo=zone) if zone is not None else local).astimezone(UTC)
