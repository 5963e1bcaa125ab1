"""What a caller may look at without a run: the plan, where an output folder stands, why one job is sent or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch.core.events import Listener
from batch.report.status import Status, read_status
from batch.report.why import Why, explain
from batch.runner.options import RunOptions
from batch.runner.preparation import Planned
from batch.runner.run import plan_only


def plan(
    manifest_path: str | Path | Mapping[str, Any],
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
    listener: Listener | None = None,
) -> Planned:
    """What a run would do and cost, as `imagebatch plan` shows it. Sends nothing, writes nothing, needs no key.

    Reference pictures at web addresses are fetched into their cache. Raises `InputError` with every problem of the
    manifest and its table, `ConfigError`, `OutputError` or `LedgerError`.
    """
    return plan_only(manifest_path, output=output, options=options, listener=listener)


def status(output: str | Path) -> Status:
    """Where an output folder stands, as `imagebatch status` shows it. Takes no lock: a run may be on.

    Raises `OutputError` if the folder holds no ledger, and `LedgerError` if the ledger is damaged.
    """
    return read_status(Path(output))


def why(
    manifest_path: str | Path | Mapping[str, Any],
    job_id: str,
    *,
    output: str | Path | None = None,
    options: RunOptions | None = None,
) -> Why:
    """Why one job will be sent or not, and every attempt at it so far, as `imagebatch why` shows it.

    Raises what `plan` raises, and `InputError` if the manifest has no job of this id.
    """
    planned = plan_only(manifest_path, output=output, options=options)
    decision, past = planned.decision_on(job_id)
    return explain(decision, past, planned.output)
