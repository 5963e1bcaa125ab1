"""What one run is to do differently."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from batch.core.settings import ChangedPolicy
from batch.plan import (
    Selection,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What a caller wants of this one run.

    `retry` is written as for `--retry`; `resend_unknown` sends every job whose outcome is unknown once more;
    `ignore_not_before` starts although the last run said that it is too early; `canary` None: as the manifest says.
    With `allow_empty` a manifest without jobs, or whose table has no rows, is a finished batch. `refresh_references`
    asks again whether reference pictures at web addresses have changed. `max_cost` (US dollars) is a cap for this run
    beside those of the manifest. `again` names jobs that are made again although they have their picture: by id, by
    pattern, `missing` for those whose file is gone, `@FILE` for a file of ids; `yes`: do not ask about the
    price of that. `rejected` makes the pictures again that were rejected; it asks as `again` does. `finish_by` is the
    deadline of the whole run: from some time before it on the cheap lane is too slow. `overrides` are put into the
    manifest before it is checked, such as `limits.concurrency=4`; the values are YAML.
    """

    on_changed: ChangedPolicy = ChangedPolicy.REFUSE
    retry: str = ""
    resend_unknown: bool = False
    ignore_not_before: bool = False
    selection: Selection = field(default_factory=Selection)
    reuse: tuple[Path, ...] = ()
    canary: int | None = None
    allow_empty: bool = False
    refresh_references: bool = False
    max_cost: float | None = None
    finish_by: datetime | None = None
    again: tuple[str, ...] = ()
    yes: bool = False
    rejected: bool = False
    overrides: tuple[str, ...] = ()


def options_of(options: RunOptions | None, wishes: RunOptions | None) -> RunOptions:
    """What a caller asked for: as `options`, or under the name of earlier versions."""
    return options or wishes or RunOptions()
