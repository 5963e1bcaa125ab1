"""What a provider is, as data, and those that come with this package. Others are packages (`core.registry`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from batch.core.image_models import MODELS, RETIRED_MODELS, ModelFacts
from batch.core.lane import Lane
from batch.core.openai_models import OPENAI_MODELS, openai_prices
from batch.core.parameters import BESIDE_THE_PROMPT, OF_THE_IMAGES_API
from batch.core.prices import ChargedBy, ModelPrices, shipped_prices
from batch.core.proxies import DIRECT, Network
from batch.core.settings import Auth


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceLimits:
    """What reference pictures may measure: longest side, bytes of one file, and bytes of the whole request."""

    side_pixels: int | None
    file_bytes: int
    body_bytes: int


#: AnyFast names no limits and has answered 413; nothing larger is known to work at every relay. The side is what
#: a model looks at.
CAREFUL_LIMITS: Final = ReferenceLimits(side_pixels=2048, file_bytes=4_000_000, body_bytes=18_000_000)
#: OpenAI documents less than 50 MB for a file, and nothing for a request: none is larger than one file may be.
OPENAI_LIMITS: Final = ReferenceLimits(side_pixels=None, file_bytes=20_000_000, body_bytes=49_000_000)
#: Google documents 7 MB for a file and 100 MB for a request.
GOOGLE_LIMITS: Final = ReferenceLimits(side_pixels=None, file_bytes=7_000_000, body_bytes=95_000_000)

ONLY_STANDARD: Final = frozenset({Lane.STANDARD})


def no_prices() -> Mapping[str, ModelPrices]:
    """For a provider whose prices its users name."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What there is to know of a provider before anything is sent to it. The only description of one.

    `provider` is where its class is, as `package.module:Class`, imported only for a run; it is called with endpoint,
    base_url, key, timeouts and clock, and keeps `providers.base.Provider`.
    `base_url` None means the embedded simulator, whose address is known only once it runs. `lanes` are those a request
    may ask for. `charged_by`: what it charges, tokens or a request, as far as is known; its owner can say otherwise.
    `models` is what each can be asked for, the first what is asked if the manifest names none; of any other nothing is
    checked. `retired` has the names that replaced old ones. `aspect_ratios`, if any, are all that the endpoint takes of
    every model's, `ratios_by_model` all that it takes of one's. `parameters`: what a provider that does not
    speak Gemini takes beside the common ones (`core.parameters`); any other is a problem before anything is sent, for
    it would be forgotten without a word.
    `prices()`: by model, read when they are needed.
    `snake_case_parts`: of Gemini's way of speaking, that it writes `inline_data`. `sizes_in_pixels`: it takes one size
    in pixels (`core.pixel_sizes`), so ratio and size must mean one exactly. `written_fields`: fields of its request
    that `extra` may not hold, and the keys that write them.
    """

    name: str
    provider: str
    base_url: str | None
    key_env: str | None
    auth: Auth = Auth.BEARER
    reference_limits: ReferenceLimits = CAREFUL_LIMITS
    lanes: frozenset[Lane] = ONLY_STANDARD
    charged_by: ChargedBy = ChargedBy.REQUEST
    models: Mapping[str, ModelFacts]
    retired: Mapping[str, str] = field(default_factory=dict)
    aspect_ratios: tuple[str, ...] = ()
    ratios_by_model: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    prices: Callable[[], Mapping[str, ModelPrices]] = no_prices
    snake_case_parts: bool = False
    sizes_in_pixels: bool = False
    written_fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def ledger_name(self) -> str:
        """What a `try` line names, so that the right provider reads its answer; empty for all that speak Gemini."""
        return _LEDGER_NAMES.get(self.provider, self.name)

    @property
    def account_format(self) -> str:
        """What tells this format's account from another's at one address with one key, for a relay may serve both.
        Empty for Gemini's, and for packages, which were known by their address alone."""
        return "#openai" if self.provider == OPENAI_API else ""

    def without_path(self, base_url: str) -> str:
        """A user's own address without what is put behind it anyway: half of all documentation gives it with that."""
        path = _PATHS.get(self.provider)
        return base_url if path is None else path.sub("", base_url)

    @property
    def is_simulator(self) -> bool:
        """Whether it is the built-in simulator, in whichever way it is asked."""
        return self.base_url is None

    @property
    def default_model(self) -> str:
        return next(iter(self.models))

    @property
    def taken(self) -> frozenset[str]:
        """What it takes beside the common parameters; all that speak Gemini take all of Gemini's."""
        return BESIDE_THE_PROMPT if self.provider == GEMINI_API else self.parameters

    def ratios(self, model: str) -> tuple[str, ...]:
        """All that the endpoint takes of the model's ratios; empty if it takes what the model does."""
        return self.ratios_by_model.get(model, self.aspect_ratios)


GEMINI_API: Final = "batch.providers.gemini:GeminiProvider"
#: The version and what follows it: `/v1beta`, `/v1/models`, `/v1beta/models/gemini-x:generateContent`.
_GEMINI_PATH: Final = re.compile(
    r"(?<![:/])/+(?:v1(?:beta\d*|alpha)?(?:/+models(?:/[^/]*)?)?|models/[^/]*:[^/]*)?/*$", re.IGNORECASE
)
OPENAI_API: Final = "batch.providers.openai:OpenAIProvider"
#: `/v1`, `/v1/images/generations`, and `/images/edits` behind another version, which stays.
_OPENAI_PATH: Final = re.compile(r"(?<![:/])(?:/+v1)?(?:/+images(?:/+(?:generations|edits))?)?/*$", re.IGNORECASE)
#: Fields of OpenAI's requests that `extra` may not hold, and what writes them; of a stream nothing could be read.
_OPENAI_FIELDS: Final = {
    "model": "model",
    "prompt": "prompt",
    "image": "references",
    "image[]": "references",
    "n": "samples",
    "size": "image_size or aspect_ratio",
    **{name: name for name in OF_THE_IMAGES_API},
    "stream": "",
    "partial_images": "",
}
_PATHS: Final = {GEMINI_API: _GEMINI_PATH, OPENAI_API: _OPENAI_PATH}
#: Who speaks one of our formats is read by ours, whatever it is called.
_LEDGER_NAMES: Final = {GEMINI_API: "", OPENAI_API: "openai"}

_FIVE_RATIOS: Final = ("1:1", "4:3", "3:4", "16:9", "9:16")
#: What the pages of AnyFast's models name (docs.anyfast.ai/guides/model-api/google, 2026); fewer than the models take.
_ANYFAST_RATIOS: Final = {
    "gemini-3.1-flash-image": _FIVE_RATIOS,
    "gemini-3-pro-image": _FIVE_RATIOS,
    "gemini-2.5-flash-image": _FIVE_RATIOS,
    "gemini-3.1-flash-lite-image": ("1:1", "3:2", "2:3", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),
}

#: Relays of the new-api kind drop fields they do not know, so that a lane asked for there would be forgotten without a
#: word.
ANYFAST: Final = Profile(
    name="anyfast",
    provider=GEMINI_API,
    base_url="https://www.anyfast.ai",
    auth=Auth.QUERY,
    key_env="ANYFAST_API_KEY",
    models=MODELS,
    retired=RETIRED_MODELS,
    ratios_by_model=_ANYFAST_RATIOS,
    prices=shipped_prices,
    snake_case_parts=True,
)
#: Its lanes are documented (ai.google.dev/gemini-api/docs/flex-inference).
GOOGLE: Final = Profile(
    name="google",
    provider=GEMINI_API,
    base_url="https://generativelanguage.googleapis.com",
    auth=Auth.HEADER,
    key_env="GEMINI_API_KEY",
    reference_limits=GOOGLE_LIMITS,
    lanes=frozenset(Lane),
    charged_by=ChargedBy.TOKENS,
    models=MODELS,
    retired=RETIRED_MODELS,
    prices=shipped_prices,
)
OPENAI: Final = Profile(
    name="openai",
    provider=OPENAI_API,
    base_url="https://api.openai.com",
    key_env="OPENAI_API_KEY",
    reference_limits=OPENAI_LIMITS,
    charged_by=ChargedBy.TOKENS,
    models=OPENAI_MODELS,
    parameters=OF_THE_IMAGES_API | {"extra", "continue_from"},
    sizes_in_pixels=True,
    written_fields=_OPENAI_FIELDS,
    prices=openai_prices,
)
SIMULATOR: Final = Profile(
    name="simulator",
    provider=GEMINI_API,
    base_url=None,
    auth=Auth.QUERY,
    key_env=None,
    lanes=frozenset(Lane),
    models=MODELS,
    retired=RETIRED_MODELS,
    prices=shipped_prices,
)
#: The same simulator, asked in OpenAI's way.
SIMULATOR_OPENAI: Final = replace(
    OPENAI, name="simulator-openai", base_url=None, key_env=None, charged_by=ChargedBy.REQUEST
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A profile with the manifest's own values filled in. `key_env` None: the simulator, which takes any key."""

    profile: Profile
    base_url: str | None
    auth: Auth
    key_env: str | None
    reference_limits: ReferenceLimits
    network: Network = DIRECT

    @property
    def name(self) -> str:
        """The profile's."""
        return self.profile.name

    @property
    def lanes(self) -> frozenset[Lane]:
        """Also at another address: a proxy may stand in front of the same provider."""
        return self.profile.lanes

    @property
    def simulated(self) -> bool:
        """Whether the simulator answers, wherever it runs: nothing is bought there."""
        return self.profile.is_simulator

    @property
    def embedded(self) -> bool:
        """Whether the simulator is to be started inside this process."""
        return self.base_url is None
