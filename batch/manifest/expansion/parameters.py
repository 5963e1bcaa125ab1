"""What a model at the manifest's providers can be asked for: names in, a sentence out if they do not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from batch.core.image_models import ANYFAST_ASPECT_RATIOS, MODELS, RETIRED_MODELS, model_facts
from batch.core.profiles import PROFILES
from batch.core.settings import ProviderSettings
from batch.manifest.problems import did_you_mean, show, unfit_text

#: More bytes than the model's 131,072 tokens can be in any language.
MAX_PROMPT_BYTES: Final = 131_072 * 4

_MODEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What every endpoint takes, for any of them may get any job, and every model that may be asked instead.

    `without_address` names the first endpoint that is where its profile says and so serves known models only;
    `five_ratios` one with AnyFast's few. Of endpoints that offer the same one is enough: a million rows ask here.
    """

    without_address: str | None = None
    five_ratios: str | None = None
    several: bool = False
    fallback: tuple[str, ...] = ()

    @classmethod
    def of(cls, endpoints: Sequence[ProviderSettings], fallback: Sequence[str] = ()) -> ModelCapabilities:
        """What these have in common."""
        return cls(
            without_address=next((each.name for each in endpoints if each.base_url is None), None),
            five_ratios=next((each.name for each in endpoints if PROFILES[each.profile].five_ratios), None),
            several=len(endpoints) > 1,
            fallback=tuple(fallback),
        )

    def model_problem(self, model: str) -> str | None:
        if model in RETIRED_MODELS:
            return f"model {model} was retired; write {RETIRED_MODELS[model]}"
        if model in MODELS:
            return None
        if self.without_address is not None:
            hint = did_you_mean(model, MODELS, "models")
            needed = "provider.base_url"
            if self.several:
                needed = f"base_url in every provider, and {self.without_address} has none"
            return f"unknown model {show(model)}; {hint} (another one needs {needed})"
        if not model or model.startswith(".") or not _MODEL_CHARACTERS.issuperset(model):
            return f"model may hold letters, digits, dot, _ and -; got {show(model)}"
        return None

    def size_problem(self, model: str, image_size: str) -> str | None:
        return self._first(model, lambda each: _size_problem(each, image_size))

    def ratio_problem(self, model: str, aspect_ratio: str) -> str | None:
        return self._first(model, lambda each: self._ratio_problem(each, aspect_ratio))

    def references_problem(self, model: str, count: int) -> str | None:
        return self._first(model, lambda each: _references_problem(each, count))

    def _first(self, model: str, problem: Callable[[str], str | None]) -> str | None:
        """What is wrong for the job's own model, else for the first that may be asked in its place."""
        wrong = problem(model)
        if wrong is not None or not self.fallback:
            return wrong
        found = (problem(each) for each in self.fallback if each != model)
        return next((f"fallback: {each}" for each in found if each is not None), None)

    def _ratio_problem(self, model: str, aspect_ratio: str) -> str | None:
        ratios = _ratios(model, only_five=self.five_ratios is not None)
        if aspect_ratio in ratios:
            return None
        whose = model
        if self.five_ratios is not None:
            whose = f"provider {self.five_ratios}" if self.several else "anyfast"
        return f"aspect_ratio must be {_one_of(ratios)} for {whose}; got {show(aspect_ratio)}"


@lru_cache(maxsize=256)
def _ratios(model: str, *, only_five: bool) -> tuple[str, ...]:
    """The ratios of a model, or those of them that AnyFast takes; every row asks."""
    ratios = model_facts(model).aspect_ratios
    return tuple(ratio for ratio in ratios if ratio in ANYFAST_ASPECT_RATIOS) if only_five else ratios


def _size_problem(model: str, image_size: str) -> str | None:
    sizes = model_facts(model).image_sizes
    if image_size in sizes:
        return None
    return f"image_size must be {_one_of(sizes)} for {model}; got {show(image_size)}"


def _references_problem(model: str, count: int) -> str | None:
    most = model_facts(model).max_references
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
