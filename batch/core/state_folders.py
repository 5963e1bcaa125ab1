"""Where a user's own files of this program are: state that runs share, and pictures that were fetched.

The XDG base directory specification: `$XDG_STATE_HOME`, else `~/.local/state`. A relative path is none.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from batch.core.errors import ConfigError


def state_home(environment: Mapping[str, str]) -> Path:
    """The folder of the spend books and quota counts. Raises `ConfigError` if there is no home to put it in."""
    return _base(environment, "XDG_STATE_HOME", ".local/state") / "imagebatch"


def cache_home(environment: Mapping[str, str]) -> Path:
    """The cache folder. Raises `ConfigError` if there is no home to put it in."""
    return _base(environment, "XDG_CACHE_HOME", ".cache") / "imagebatch"


def _base(environment: Mapping[str, str], variable: str, below_home: str) -> Path:
    given = environment.get(variable, "")
    return Path(given) if os.path.isabs(given) else _home(environment, variable) / below_home


def _home(environment: Mapping[str, str], variable: str) -> Path:
    """HOME, else what the user database says; a container may run a user that is not in it."""
    home = environment.get("HOME", "")
    if os.path.isabs(home):
        return Path(home)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise ConfigError(
            f"HOME is not set and the user {os.getuid()} has no home folder; set {variable} to a folder that can be "
            "written and outlives this run"
        ) from None
