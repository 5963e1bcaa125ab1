"""imagebatch: buys pictures in bulk from an image API. Never pays twice, never loses a paid picture.

The package's rooms: docs/architecture.md. Programs import `imagebatch`, which has all public names (docs/python.md);
those that stood here first still do. Names are loaded when first used, so that importing the package is cheap.
"""

from batch import ctrl_c  # noqa: F401, I001  (before what takes time to load)

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch.core.errors import BatchError, ConfigError, InputError, LockedError, OutputError
    from batch.core.events import Listener
    from batch.core.model import Job
    from batch.core.results import Summary
    from batch.plan import Selection
    from batch.runner.control import RunControl
    from batch.runner.options import RunOptions
    from batch.runner.run import run, run_sync

__all__ = [
    "BatchError",
    "ConfigError",
    "InputError",
    "Job",
    "Listener",
    "LockedError",
    "OutputError",
    "RunControl",
    "RunOptions",
    "Selection",
    "Summary",
    "run",
    "run_sync",
]

_HOMES = {
    "BatchError": "core.errors",
    "ConfigError": "core.errors",
    "InputError": "core.errors",
    "Job": "core.model",
    "Listener": "core.events",
    "LockedError": "core.errors",
    "OutputError": "core.errors",
    "RunControl": "runner.control",
    "Selection": "plan",
    "Summary": "core.results",
    "RunOptions": "runner.options",
    "Wishes": "runner.options",
    "run": "runner.run",
    "run_sync": "runner.run",
}


#: Names of earlier versions.
_ALIASES = {"Wishes": "RunOptions"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), _ALIASES.get(name, name))


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
