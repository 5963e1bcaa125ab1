"""Where the API key of an endpoint comes from. Its value goes nowhere but into `ApiKey`.

In this order: the environment variable NAME (`key_env`); the file that the variable NAME_FILE names; the manifest's
`key_file`; a systemd credential called NAME; the keyring, service `imagebatch`, user NAME, if the package is installed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from batch.core.errors import ConfigError
from batch.providers.secrets import ApiKey, checked_key, read_key

_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
#: The service that keys are kept under in a keyring.
KEYRING_SERVICE: Final = "imagebatch"
#: A key is a line; more is some other file.
_MOST_BYTES: Final = 16 << 10

#: Where a warning goes.
Tell = Callable[[str], None]


def find_key(name: str, key_file: str | None, environment: Mapping[str, str], tell: Tell) -> ApiKey:
    """The key called `name`. Raises `ConfigError`, which says what is wrong and never the key."""
    if environment.get(name, "").strip():
        return read_key(environment, name)
    for file, named_by, is_private in _files(name, key_file, environment):
        return _from_file(file, named_by, tell if is_private else None)
    found = _from_keyring(name)
    return checked_key(found, "the keyring") if found else read_key(environment, name)


def _files(name: str, key_file: str | None, environment: Mapping[str, str]) -> Iterator[tuple[Path, str, bool]]:
    """Files that are named, by what, and whether their permissions are the user's business."""
    given = environment.get(f"{name}_FILE", "").strip()
    if given:
        yield Path(given), f"{name}_FILE", True
    if key_file is not None:
        yield Path(key_file), "key_file", True
    folder = environment.get(_CREDENTIALS, "")
    if folder and (credential := Path(folder) / name).is_file():
        yield credential, _CREDENTIALS, False


def _from_file(file: Path, named_by: str, tell: Tell | None) -> ApiKey:
    try:
        with open(file, "rb") as stream:
            facts = os.fstat(stream.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ConfigError(f"cannot read the API key from {file} ({named_by}): it is no file; nothing was sent")
            data = stream.read(_MOST_BYTES)
        value = data.decode("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read the API key from {file} ({named_by}): {why}; nothing was sent") from None
    if tell is not None and facts.st_mode & 0o077:
        tell(f"the key file {file} can be read by other users; chmod 600 {file}")
    return checked_key(value, str(file))


def _from_keyring(name: str) -> str | None:
    """The key in the user's keyring; None if the package `keyring` is not installed or knows none."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, name)
    except KeyringError:  # no keyring on this machine, or it stays locked
        return None
    return found
