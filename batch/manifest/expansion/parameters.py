"""What a model at the manifest's providers can be asked for: names in, a sentence out if they do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from batch.core.profiles import Profile
from batch.core.registry import find_profile
from batch.core.settings import ProviderSettings
from batch.manifest.problems import did_you_mean, show, unfit_text

#: More bytes than the model's 131,072 tokens can be in any language.
MAX_PROMPT_BYTES: Final = 131_072 * 4

_MODEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What an endpoint offers. `known_only`: it is where its profile says, and so serves known models only."""

    name: str
    profile: Profile
    known_only: bool

    def ratios(self, model: str) -> tuple[str, ...]:
        """The ratios of a model, or those of them that the endpoint takes."""
        return _ratios(self.profile.facts(model).aspect_ratios, self.profile.aspect_ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What every endpoint takes, for any of them may get any job, and every model that may be asked instead.

    Of endpoints that offer the same one is enough: a million rows ask here.
    """

    offers: tuple[_Offer, ...]
    several: bool = False
    fallback: tuple[str, ...] = ()

    @classmethod
    def of(cls, endpoints: Sequence[ProviderSettings], fallback: Sequence[str] = ()) -> ModelCapabilities:
        """What these have in common."""
        offers: dict[object, _Offer] = {}
        for each in endpoints:
            profile, known_only = find_profile(each.profile), each.base_url is None
            kind = id(profile.models), profile.aspect_ratios, known_only
            offers.setdefault(kind, _Offer(name=each.name, profile=profile, known_only=known_only))
        if not offers:  # none could be read: what is wrong with jobs is told by the default's offer
            offers[None] = _Offer(name="", profile=find_profile("simulator"), known_only=False)
        return cls(offers=tuple(offers.values()), several=len(endpoints) > 1, fallback=tuple(fallback))

    @property
    def default_model(self) -> str:
        """What is asked if the manifest names no model: the first endpoint's."""
        return self.offers[0].profile.default_model

    def model_problem(self, model: str) -> str | None:
        for offer in self.offers:
            if model in offer.profile.retired:
                return f"model {model} was retired; write {offer.profile.retired[model]}"
        unknown = [offer for offer in self.offers if model not in offer.profile.models]
        if not unknown:
            return None
        fixed = next((offer for offer in unknown if offer.known_only), None)
        if fixed is not None:
            hint = did_you_mean(model, fixed.profile.models, "models")
            needed = "provider.base_url, an address that serves it in the same format"
            if self.several:
                needed = f"base_url in every provider, and {fixed.name} has none"
            return f"unknown model {show(model)}; {hint} (another one needs {needed})"
        if not model or model.startswith(".") or not _MODEL_CHARACTERS.issuperset(model):
            return f"model may hold letters, digits, dot, _ and -; got {show(model)}"
        return None

    def size_problem(self, model: str, image_size: str) -> str | None:
        return self._first(model, lambda offer, each: _size_problem(offer, each, image_size))

    def ratio_problem(self, model: str, aspect_ratio: str) -> str | None:
        few_first = sorted(self.offers, key=lambda offer: not offer.profile.aspect_ratios)
        return self._first(model, lambda offer, each: self._ratio_problem(offer, each, aspect_ratio), few_first)

    def references_problem(self, model: str, count: int) -> str | None:
        return self._first(model, lambda offer, each: _references_problem(offer, each, count))

    def _first(
        self, model: str, problem: Callable[[_Offer, str], str | None], offers: Sequence[_Offer] = ()
    ) -> str | None:
        """What is wrong for the job's own model, else for the first that may be asked in its place."""
        offers = offers or self.offers
        for offer in offers:
            wrong = problem(offer, model)
            if wrong is not None:
                return wrong
        found = (problem(offer, each) for each in self.fallback if each != model for offer in offers)
        return next((f"fallback: {wrong}" for wrong in found if wrong is not None), None)

    def _ratio_problem(self, offer: _Offer, model: str, aspect_ratio: str) -> str | None:
        ratios = offer.ratios(model)
        if aspect_ratio in ratios:
            return None
        whose = model
        if offer.profile.aspect_ratios:
            whose = f"provider {offer.name}" if self.several else offer.profile.name
        return f"aspect_ratio must be {_one_of(ratios)} for {whose}; got {show(aspect_ratio)}"


@lru_cache(maxsize=256)
def _ratios(of_model: tuple[str, ...], of_endpoint: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(ratio for ratio in of_model if ratio in of_endpoint) if of_endpoint else of_model


def _size_problem(offer: _Offer, model: str, image_size: str) -> str | None:
    sizes = offer.profile.facts(model).image_sizes
    if image_size in sizes:
        return None
    return f"image_size must be {_one_of(sizes)} for {model}; got {show(image_size)}"


def _references_problem(offer: _Offer, model: str, count: int) -> str | None:
    most = offer.profile.facts(model).max_references
    return None if count <= most else f"{count} references; {model} takes at most {most}"


def prompt_problem(prompt: str) -> str | None:
    """Why this cannot be a prompt. Its language and wording are the model's business."""
    if not prompt or prompt.isspace():
        return "prompt is empty; write what the picture shows"
    if len(prompt) * 4 > MAX_PROMPT_BYTES:  # only then can the bytes be too many; encoding costs time
        size = len(prompt.encode("utf-8", "surrogatepass"))
        if size > MAX_PROMPT_BYTES:
            return f"prompt is {size:,} bytes long; at most {MAX_PROMPT_BYTES:,} are allowed"
    wrong = unfit_text(prompt)
    if wrong is not None:
        return f"prompt: {wrong}"
    if prompt[0].isalnum() or _shows_anything(prompt):
        return None
    return "prompt holds invisible characters only; write what the picture shows"


def _shows_anything(text: str) -> bool:
    """Whether there is anything but white space and invisible characters."""
    return any(character.isprintable() and not character.isspace() for character in text)


def _one_of(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"
