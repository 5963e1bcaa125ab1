"""What a model at the manifest's providers can be asked for: names in, a sentence out if they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from batch.core.image_models import NOTHING_KNOWN, ModelFacts
from batch.core.parameters import BESIDE_THE_PROMPT
from batch.core.pixel_sizes import AUTO, leaves_it_open, pixels_in, pixels_of
from batch.core.profiles import Profile
from batch.core.registry import find_profile
from batch.core.settings import ProviderSettings
from batch.manifest.problems import did_you_mean, show, unfit_text

#: More bytes than the model's 131,072 tokens can be in any language.
MAX_PROMPT_BYTES: Final = 131_072 * 4

_MODEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
#: What a ratio and a size of a model that stands in no table must look like at least.
_ANY_RATIO: Final = re.compile(r"[1-9]\d{0,3}:[1-9]\d{0,3}")
_ANY_SIZE: Final = re.compile(r"[A-Za-z0-9._-]{1,20}")
_MODELS_KEPT: Final = 256
#: Where a model of another format may be known.
_SHIPPED: Final = ("anyfast", "google", "openai")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What an endpoint offers. `changes`: fields of `ModelFacts` by model, which the manifest knows better."""

    name: str
    profile: Profile
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: By model: a million rows ask.
    _found: dict[str, ModelFacts] = field(default_factory=dict, init=False, repr=False, compare=False)

    def facts(self, model: str) -> ModelFacts:
        """What the model can be asked for here."""
        found = self._found.get(model)
        if found is None:
            found = self._facts(model)
            if len(self._found) < _MODELS_KEPT:  # a column may name any number of them
                self._found[model] = found
        return found

    def _facts(self, model: str) -> ModelFacts:
        known = self.profile.models.get(model, NOTHING_KNOWN)
        changed = self.changes.get(model, {})
        found = replace(known, **changed) if changed else known
        if "aspect_ratios" in changed or found.aspect_ratios is None:
            return found
        return replace(found, aspect_ratios=_ratios(found.aspect_ratios, self.profile.ratios(model)))

    def knows(self, model: str) -> bool:
        return model in self.profile.models or model in self.changes

    def narrows(self, model: str) -> bool:
        """Whether the endpoint takes fewer ratios than the model."""
        return bool(self.profile.ratios(model)) and "aspect_ratios" not in self.changes.get(model, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What every endpoint takes, for any of them may get any job, and every model that may be asked instead.

    Of endpoints that offer the same one is enough: a million rows ask here.
    """

    offers: tuple[_Offer, ...]
    several: bool = False
    fallback: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        endpoints: Sequence[ProviderSettings],
        fallback: Sequence[str] = (),
        changes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> ModelCapabilities:
        """What these have in common. `changes`: what the manifest says of models, by field of `ModelFacts`."""
        changes = changes or {}
        offers: dict[object, _Offer] = {}
        for each in endpoints:
            profile = find_profile(each.profile)
            kind = id(profile.models), profile.aspect_ratios, id(profile.ratios_by_model), profile.taken
            offers.setdefault(kind, _Offer(name=each.name, profile=profile, changes=changes))
        if not offers:  # none could be read: what is wrong with jobs is told by the default's offer
            offers[None] = _Offer(name="", profile=find_profile("simulator"), changes=changes)
        return cls(offers=tuple(offers.values()), several=len(endpoints) > 1, fallback=tuple(fallback))

    @property
    def default_model(self) -> str:
        """What is asked if the manifest names no model: the first endpoint's."""
        return self.offers[0].profile.default_model

    def model_problem(self, model: str) -> str | None:
        for offer in self.offers:
            if model in offer.profile.retired and not any(each.knows(model) for each in self.offers):
                return f"model {model} was retired; write {offer.profile.retired[model]}"
        if not model or model.startswith(".") or not _MODEL_CHARACTERS.issuperset(model):
            return f"model may hold letters, digits, dot, _ and -; got {show(model)}"
        return None

    def model_warning(self, model: str) -> str | None:
        """That nothing can be checked for a model, because it stands in no table."""
        if any(offer.knows(model) for offer in self.offers):
            return None
        where = " of any provider" if self.several else ""
        known = [name for offer in self.offers for name in offer.profile.models]
        elsewhere = [name for name in _SHIPPED if model in find_profile(name).models]
        hint = did_you_mean(model, list(dict.fromkeys(known)), "models")
        if elsewhere:
            hint = f"provider: {elsewhere[0]} serves it in another format"
        return (
            f"model {show(model)} is in no table{where}, so nothing about it is checked: not whether it exists, what "
            f"it takes or what it costs; {hint} (models in the manifest says what it takes)"
        )

    def size_problem(self, model: str, image_size: str) -> str | None:
        return self._first(model, lambda offer, each: _size_problem(offer, each, image_size))

    def ratio_problem(self, model: str, aspect_ratio: str) -> str | None:
        few_first = sorted(self.offers, key=lambda offer: not offer.profile.ratios(model))
        return self._first(model, lambda offer, each: self._ratio_problem(offer, each, aspect_ratio), few_first)

    def shape_problem(self, model: str, aspect_ratio: str | None, image_size: str) -> str | None:
        """Why ratio and size, each fine by itself, do not go together."""
        return self._first(model, lambda offer, each: _shape_problem(offer, each, aspect_ratio, image_size))

    def references_problem(self, model: str, count: int) -> str | None:
        return self._first(model, lambda offer, each: _references_problem(offer, each, count))

    def modalities_problem(self, model: str, modalities: Sequence[str]) -> str | None:
        """Why a model does not answer in these."""
        return self._first(model, lambda offer, each: _modalities_problem(offer, each, modalities))

    def parameter_problem(self, model: str, name: str, value: Any) -> str | None:
        """Why a parameter beside ratio, size and modalities does not fit the model or a provider."""
        return self._first(model, lambda offer, each: self._parameter_problem(offer, each, name, value))

    def _first(
        self, model: str, problem: Callable[[_Offer, str], str | None], offers: Sequence[_Offer] = ()
    ) -> str | None:
        """What is wrong for the job's own model, else for the first that may be asked in its place."""
        offers = offers or self.offers
        for offer in self._serving(model, offers):
            wrong = problem(offer, model)
            if wrong is not None:
                return wrong
        others = (each for each in self.fallback if each != model)
        found = (problem(offer, each) for each in others for offer in self._serving(each, offers))
        return next((f"fallback: {wrong}" for wrong in found if wrong is not None), None)

    def _serving(self, model: str, offers: Sequence[_Offer]) -> Sequence[_Offer]:
        """Those that a model is asked of: those that know it, or all if it is new to every one."""
        if len(offers) == 1:
            return offers
        return [offer for offer in offers if offer.knows(model)] or offers

    def _ratio_problem(self, offer: _Offer, model: str, aspect_ratio: str) -> str | None:
        ratios = offer.facts(model).aspect_ratios
        if ratios is None:
            fits = _ANY_RATIO.fullmatch(aspect_ratio) is not None
            return None if fits else f"aspect_ratio must be a ratio such as 16:9; got {show(aspect_ratio)}"
        if aspect_ratio in ratios:
            return None
        whose = model
        if offer.narrows(model):
            whose = f"{model} at {f'provider {offer.name}' if self.several else offer.profile.name}"
        return f"aspect_ratio must be {_one_of(ratios)} for {whose}; got {show(aspect_ratio)}"

    def _parameter_problem(self, offer: _Offer, model: str, name: str, value: Any) -> str | None:
        taken = offer.profile.taken
        if name not in taken and not (name == "continue_from" and taken is BESIDE_THE_PROMPT):
            whose = f"provider {offer.name}" if self.several else f"provider {offer.profile.name}"
            return f"{whose} takes no {name}; remove it"
        facts = offer.facts(model)
        if name == "thinking":
            return _word_problem("thinking", (value,), facts.thinking, f"{model} takes no thinking level", model)
        if name == "search":
            return _word_problem("search", value, facts.search, f"{model} cannot search", model)
        if name == "quality":
            return _word_problem("quality", (value,), facts.qualities, f"{model} takes no quality", model)
        if name == "input_fidelity":
            known = facts.input_fidelity
            return _word_problem("input_fidelity", (value,), known, f"{model} takes no input_fidelity", model)
        return _extra_problem(offer.profile, value) if name == "extra" else None


@lru_cache(maxsize=256)
def _ratios(of_model: tuple[str, ...], of_endpoint: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(ratio for ratio in of_model if ratio in of_endpoint) if of_endpoint else of_model


def _size_problem(offer: _Offer, model: str, image_size: str) -> str | None:
    sizes = offer.facts(model).image_sizes
    if sizes is None:
        fits = _ANY_SIZE.fullmatch(image_size) is not None
        return None if fits else f"image_size must be a size such as 1K; got {show(image_size)}"
    if image_size in sizes:
        return None
    bounds, pixels = offer.facts(model).any_size, pixels_in(image_size)
    if bounds is not None and pixels is not None:
        wrong = bounds.problem(*pixels)
        return None if wrong is None else f"image_size {image_size} does not fit {model}: {wrong}"
    more = "" if bounds is None else ", or pixels such as 1536x864,"
    return f"image_size must be {_one_of(sizes)}{more} for {model}; got {show(image_size)}"


def _shape_problem(offer: _Offer, model: str, aspect_ratio: str | None, image_size: str) -> str | None:
    """Where one size in pixels is asked for, ratio and size must mean one exactly."""
    if not offer.profile.sizes_in_pixels or leaves_it_open(aspect_ratio, image_size):
        return None
    pixels = pixels_of(aspect_ratio, image_size)
    if pixels is None:
        return _no_pixels(aspect_ratio, image_size)
    facts = offer.facts(model)
    size = "{}x{}".format(*pixels)
    if facts.image_sizes is None or size in facts.image_sizes:
        return None
    wrong = "it is none of the model's sizes" if facts.any_size is None else facts.any_size.problem(*pixels)
    return None if wrong is None else f"{image_size} at {aspect_ratio} is {size} for {model}, and {wrong}"


def _modalities_problem(offer: _Offer, model: str, modalities: Sequence[str]) -> str | None:
    known = offer.facts(model).modalities
    wrong = next((word for word in modalities if known is not None and word not in known), None)
    return None if wrong is None else f"{model} answers with no {wrong}; remove it from modalities"


def _no_pixels(aspect_ratio: str | None, image_size: str) -> str:
    if aspect_ratio is None:
        return f"image_size {image_size} needs an aspect_ratio here, or write pixels such as 1536x1024"
    if image_size == AUTO:
        return f"image_size auto leaves the shape to the model; remove aspect_ratio {aspect_ratio}"
    if pixels_in(image_size) is not None:
        return f"image_size {image_size} is not {aspect_ratio}; remove aspect_ratio"
    return f"no size is exactly {aspect_ratio} at {image_size}; write image_size in pixels, such as 1536x864"


def _extra_problem(profile: Profile, extra: Any) -> str | None:
    """What a key of its own writes, or nothing could read the answer of."""
    name = next((each for each in extra if each in profile.written_fields), None) if isinstance(extra, dict) else None
    if name is None:
        return None
    key = profile.written_fields[name]
    return f"extra may not hold {name}; write {key}" if key else f"extra may not hold {name}: streams are not read"


def _references_problem(offer: _Offer, model: str, count: int) -> str | None:
    most = offer.facts(model).max_references
    return None if most is None or count <= most else f"{count} references; {model} takes at most {most}"


def _word_problem(
    name: str, asked: Sequence[str], known: tuple[str, ...] | None, none_known: str, model: str
) -> str | None:
    """Why words do not fit those that the model takes; nothing is known of a model where `known` is None."""
    wrong = next((word for word in asked if known is not None and word not in known), None)
    if wrong is None or known is None:
        return None
    if not known:
        return f"{none_known}; remove {name}"
    return f"{name} must be {_one_of(known)} for {model}; got {show(wrong)}"


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
