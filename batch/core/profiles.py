"""The endpoints known by name: address, how the key travels, and which spelling the API documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from batch.core.errors import ConfigError
from batch.core.lane import Lane
from batch.core.prices import ChargedBy
from batch.core.settings import Auth, ProviderSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLimits:
    """What reference pictures may measure: longest side, bytes of one file, and bytes of the whole request."""

    side_pixels: int | None
    file_bytes: int
    body_bytes: int


#: AnyFast names no limits and has answered 413; nothing larger is known to work at every relay. The side is what
#: a model looks at.
CAREFUL_LIMITS: Final = ReferenceLimits(side_pixels=2048, file_bytes=4_000_000, body_bytes=18_000_000)
#: Google documents 7 MB for a file and 100 MB for a request.
GOOGLE_LIMITS: Final = ReferenceLimits(side_pixels=None, file_bytes=7_000_000, body_bytes=95_000_000)

ONLY_STANDARD: Final = frozenset({Lane.STANDARD})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One endpoint. `snake_case_parts` sends `inline_data`/`mime_type`, as AnyFast documents; Google takes either.

    `base_url` None means the embedded simulator, whose address is known only once it runs. `lanes` are those a request
    may ask for: Google's are documented (ai.google.dev/gemini-api/docs/flex-inference); relays of the new-api kind drop
    fields they do not know, so that a lane asked for there would be forgotten without a word. `charged_by`: Google
    charges tokens; a relay charges a request, as far as is known, and its owner can say otherwise. `five_ratios`:
    AnyFast's page names only five.
    """

    name: str
    base_url: str | None
    auth: Auth
    key_env: str | None
    snake_case_parts: bool = False
    reference_limits: ReferenceLimits = CAREFUL_LIMITS
    lanes: frozenset[Lane] = ONLY_STANDARD
    charged_by: ChargedBy = ChargedBy.REQUEST
    five_ratios: bool = False


#: The only table of endpoints: every other room asks here.
PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "anyfast": Profile(
            name="anyfast",
            base_url="https://www.anyfast.ai",
            auth=Auth.QUERY,
            key_env="ANYFAST_API_KEY",
            snake_case_parts=True,
            five_ratios=True,
        ),
        "google": Profile(
            name="google",
            base_url="https://generativelanguage.googleapis.com",
            auth=Auth.HEADER,
            key_env="GEMINI_API_KEY",
            reference_limits=GOOGLE_LIMITS,
            lanes=frozenset(Lane),
            charged_by=ChargedBy.TOKENS,
        ),
        "simulator": Profile(name="simulator", base_url=None, auth=Auth.QUERY, key_env=None, lanes=frozenset(Lane)),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A profile with the manifest's own values filled in. `key_env` None: the simulator, which takes any key."""

    name: str
    base_url: str | None
    auth: Auth
    key_env: str | None
    snake_case_parts: bool
    reference_limits: ReferenceLimits
    lanes: frozenset[Lane]
    charged_by: ChargedBy

    @property
    def simulated(self) -> bool:
        """Whether the simulator answers, wherever it runs: nothing is bought there."""
        return self.name == "simulator"

    @property
    def embedded(self) -> bool:
        """Whether the simulator is to be started inside this process."""
        return self.base_url is None


def resolve_endpoint(settings: ProviderSettings) -> Endpoint:
    """The endpoint that the settings mean. Raises `ConfigError` for an unknown profile."""
    profile = PROFILES.get(settings.profile)
    if profile is None:
        raise ConfigError(f"unknown provider {settings.profile!r}; known are {', '.join(PROFILES)}")
    return Endpoint(
        name=profile.name,
        base_url=settings.base_url or profile.base_url,
        auth=settings.auth or profile.auth,
        key_env=settings.key_env or profile.key_env,
        snake_case_parts=profile.snake_case_parts,
        # What stands at another address is not known to take as much.
        reference_limits=CAREFUL_LIMITS if settings.base_url else profile.reference_limits,
        charged_by=profile.charged_by,
        lanes=profile.lanes,  # of whoever speaks as Google does: at an own address a proxy may stand in front of it
    )
