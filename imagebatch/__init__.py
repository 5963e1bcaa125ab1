"""imagebatch: buys pictures in bulk from an image API. Never pays twice, never loses a paid picture.

    summary = imagebatch.run_sync("jobs/catalog.yaml")
    summary = await imagebatch.run("jobs/catalog.yaml", listener=MyListener())

Every name is loaded when it is first used, so that importing the package is cheap. The guide, with examples that are
tested: docs/python.md.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch.core.decisions import Decision, Decisions, JudgedPicture, Side, Verdict
    from batch.core.errors import (
        BatchError,
        ConfigError,
        Declined,
        ExitCode,
        InputError,
        LedgerError,
        LockedError,
        MissingInputError,
        OutputError,
        Problem,
        StorageError,
    )
    from batch.core.events import (
        AttemptFailed,
        AttemptStarted,
        Event,
        GateClosed,
        JobEnded,
        JobsAdded,
        Listener,
        Message,
        MoneyWaits,
        RunStarted,
        Stopping,
        WaitChanged,
    )
    from batch.core.model import Done, Failed, Image, Job, Outcome, Pending, Unknown
    from batch.core.results import Checked, Decided, Review, Spend, Summary, UnknownAttempt
    from batch.core.settings import ChangedPolicy
    from batch.manifest import JobSpec
    from batch.plan import Forecast, Plan, Selection
    from batch.report.status import Status
    from batch.report.why import Why
    from batch.runner.control import RunControl
    from batch.runner.inspection import plan, status, why
    from batch.runner.options import RunOptions
    from batch.runner.preparation import Planned
    from batch.runner.reviewing import accept, decisions, reject
    from batch.runner.run import run, run_sync

__all__ = [
    "AttemptFailed",
    "AttemptStarted",
    "BatchError",
    "ChangedPolicy",
    "Checked",
    "ConfigError",
    "Decided",
    "Decision",
    "Decisions",
    "Declined",
    "Done",
    "Event",
    "ExitCode",
    "Failed",
    "Forecast",
    "GateClosed",
    "Image",
    "InputError",
    "Job",
    "JobEnded",
    "JobSpec",
    "JobsAdded",
    "JudgedPicture",
    "LedgerError",
    "Listener",
    "LockedError",
    "Message",
    "MissingInputError",
    "MoneyWaits",
    "Outcome",
    "OutputError",
    "Pending",
    "Plan",
    "Planned",
    "Problem",
    "Review",
    "RunControl",
    "RunOptions",
    "RunStarted",
    "Selection",
    "Side",
    "Spend",
    "Status",
    "Stopping",
    "StorageError",
    "Summary",
    "Unknown",
    "UnknownAttempt",
    "Verdict",
    "WaitChanged",
    "Why",
    "accept",
    "decisions",
    "plan",
    "reject",
    "run",
    "run_sync",
    "status",
    "why",
]

_MODULES = {
    "core.decisions": "Decision Decisions JudgedPicture Side Verdict",
    "core.errors": (
        "BatchError ConfigError Declined ExitCode InputError LedgerError LockedError MissingInputError OutputError "
        "Problem StorageError"
    ),
    "core.events": (
        "AttemptFailed AttemptStarted Event GateClosed JobEnded JobsAdded Listener Message MoneyWaits RunStarted "
        "Stopping WaitChanged"
    ),
    "core.model": "Done Failed Image Job Outcome Pending Unknown",
    "core.results": "Checked Decided Review Spend Summary UnknownAttempt",
    "core.settings": "ChangedPolicy",
    "manifest": "JobSpec",
    "plan": "Forecast Plan Selection",
    "report.status": "Status",
    "report.why": "Why",
    "runner.control": "RunControl",
    "runner.inspection": "plan status why",
    "runner.options": "RunOptions",
    "runner.preparation": "Planned",
    "runner.reviewing": "accept decisions reject",
    "runner.run": "run run_sync",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def _refuse_another_batch() -> None:
    """Raise ImportError if `batch` is a module of the caller's: a `batch.py` beside a script hides our package."""
    ours = Path(__file__).resolve().parents[1] / "batch" / "__init__.py"
    loaded = sys.modules.get("batch")
    found = getattr(loaded, "__file__", None) if loaded is not None else getattr(find_spec("batch"), "origin", None)
    if found is None or Path(found).resolve() != ours:
        raise ImportError(
            f"imagebatch needs its own package `batch`, but `import batch` finds {found or 'none'}; "
            "rename that file or folder, or start Python elsewhere",
            name="batch",
            path=found,
        )


_refuse_another_batch()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"batch.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
