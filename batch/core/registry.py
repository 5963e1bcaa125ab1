"""The providers there are: those that come with this package, and those that are installed beside it.

A provider is an entry point of the group `imagebatch.providers`: its name is what a manifest says, its object a
`Profile`. Ours come through the same door. Since their entry points are known, nothing is searched for them: the
installed packages are looked through only for a name that is not ours. No package can take the place of one of ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from batch.core.errors import ConfigError
from batch.core.profiles import CAREFUL_LIMITS, Endpoint, Profile
from batch.core.settings import ProviderSettings

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "imagebatch.providers"
#: The entry points of this package, as pyproject.toml has them.
SHIPPED: Final[Mapping[str, str]] = {
    "anyfast": "batch.core.profiles:ANYFAST",
    "google": "batch.core.profiles:GOOGLE",
    "openai": "batch.core.profiles:OPENAI",
    "simulator": "batch.core.profiles:SIMULATOR",
    "simulator-openai": "batch.core.profiles:SIMULATOR_OPENAI",
}
#: It stands in the ledger, in lists and in names of files.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOW: Final = "others are packages to install, or base_url with one of these formats"


class ProviderError(ConfigError):
    """A provider that is not there (`is_unknown`) or cannot be used. Its text follows `provider` in a sentence."""

    def __init__(self, text: str, *, is_unknown: bool = False) -> None:
        super().__init__(text)
        self.is_unknown = is_unknown


def provider_names() -> tuple[str, ...]:
    """Ours, and the installed ones by name. Looks through the installed packages."""
    return (*SHIPPED, *sorted(_installed(tuple(sys.path))))


def find_profile(name: str) -> Profile:
    """The provider of that name. Raises `ProviderError` if there is none, or its package is broken."""
    return _profile(name, () if name in SHIPPED else tuple(sys.path))


def resolve_endpoint(settings: ProviderSettings) -> Endpoint:
    """The endpoint that the settings mean. Raises `ProviderError` as `find_profile` does."""
    profile = find_profile(settings.profile)
    own_url = settings.base_url
    return Endpoint(
        profile=profile,
        base_url=(profile.without_path(own_url) if own_url else None) or profile.base_url,
        auth=settings.auth or profile.auth,
        key_env=settings.key_env or profile.key_env,
        # What stands at another address is not known to take as much.
        reference_limits=CAREFUL_LIMITS if settings.base_url else profile.reference_limits,
    )


def load_object(where: str) -> Any:
    """What `package.module:name` names. Raises whatever importing it does."""
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


@lru_cache(maxsize=64)
def _profile(name: str, path: tuple[str, ...]) -> Profile:
    if name in SHIPPED:
        profile: Profile = load_object(SHIPPED[name])
        return profile
    found = _installed(path)
    if name not in found:
        raise ProviderError(_unknown(name, found), is_unknown=True)
    return _loaded(found[name])


@lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """The entry points of packages on this path, without those of our own names."""
    from importlib.metadata import entry_points  # here: reading it takes longer than all else of `--help`

    assert path == tuple(sys.path)
    return {each.name: each for each in entry_points(group=GROUP) if each.name not in SHIPPED}


def _unknown(name: str, found: Mapping[str, EntryPoint]) -> str:
    names = (*SHIPPED, *sorted(found))
    close = get_close_matches(name[:200], names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"must be one of {', '.join(names)}; {hint}{_HOW}"


def _loaded(entry: EntryPoint) -> Profile:
    package = entry.dist.name if entry.dist is not None else "its package"
    try:
        profile = entry.load()
    except Exception as error:
        raise ProviderError(f"{_broken(package)}: {type(error).__name__}: {error}") from error
    if not isinstance(profile, Profile):
        raise ProviderError(f"{_broken(package)}: {entry.value} is no Profile but {type(profile).__name__}")
    wrong = _what_is_wrong(profile, entry.name)
    if wrong:
        raise ProviderError(f"{_broken(package)}: {wrong}")
    return profile


def _what_is_wrong(profile: Profile, name: str) -> str:
    if profile.name != name or not _NAME.fullmatch(name):
        return f"the entry point is called {name!r} and its profile {profile.name!r}; both must be one simple name"
    if not profile.models:
        return "its profile names no models"
    if profile.base_url is None or profile.key_env is None:
        return "its profile needs base_url and key_env"
    return ""


def _broken(package: str) -> str:
    return f"is of the package {package}, which is broken; update or remove it"
