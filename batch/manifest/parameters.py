"""What one model at one provider can be asked for: names in, a sentence out if they do not fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from batch.capabilities import ANYFAST_ASPECT_RATIOS, MODELS, RETIRED_MODELS, model_facts
from batch.manifest.problems import did_you_mean, show, unfit_text

#: More bytes than the model's 131,072 tokens can be in any language.
MAX_PROMPT_BYTES: Final = 131_072 * 4

_MODEL_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What the chosen provider takes. An own `base_url` may serve models we do not know."""

    profile: str
    own_address: bool

    def model_problem(self, model: str) -> str | None:
        if model in RETIRED_MODELS:
            return f"model {model} was retired; write {RETIRED_MODELS[model]}"
        if model in MODELS:
            return None
        if not self.own_address:
            hint = did_you_mean(model, MODELS, "models")
            return f"unknown model {show(model)}; {hint} (another one needs provider.base_url)"
        if not model or model.startswith(".") or not _MODEL_CHARACTERS.issuperset(model):
            return f"model may hold letters, digits, dot, _ and -; got {show(model)}"
        return None

    def size_problem(self, model: str, image_size: str) -> str | None:
        sizes = model_facts(model).image_sizes
        if image_size in sizes:
            return None
        return f"image_size must be {_one_of(sizes)} for {model}; got {show(image_size)}"

    def ratio_problem(self, model: str, aspect_ratio: str) -> str | None:
        ratios = model_facts(model).aspect_ratios
        whose = model
        if self.profile == "anyfast":
            ratios = tuple(ratio for ratio in ratios if ratio in ANYFAST_ASPECT_RATIOS)
            whose = "anyfast"
        if aspect_ratio in ratios:
            return None
        return f"aspect_ratio must be {_one_of(ratios)} for {whose}; got {show(aspect_ratio)}"

    def references_problem(self, model: str, count: int) -> str | None:
        most = model_facts(model).max_references
        return None if count <= most else f"{count} references; {model} takes at most {most}"


def prompt_problem(prompt: str) -> str | None:
    """Why this cannot be a prompt. Its language and wording are nobody's business but the model's."""
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
