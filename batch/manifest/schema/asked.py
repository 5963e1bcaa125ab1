"""What a job may ask for beside its prompt, ratio, size and modalities: what each may hold, as YAML or as a text.

A text comes from a cell of a table or from a matrix, where everything is one: an empty one asks for nothing. The names
and words are those that docs/manifest.md has; what the API calls them stands in `providers.gemini_fields`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_core import PydanticCustomError

from batch.core.image_models import SEARCH_KINDS, THINKING_LEVELS
from batch.manifest.problems import did_you_mean, show, unfit_text
from batch.manifest.schema import fields

#: The API's field is a 32-bit integer.
_HIGHEST_SEED: Final = 2_147_483_647
#: What the API's pages name for image models (Vertex AI model pages, 2026).
_HIGHEST_TEMPERATURE: Final = 2.0
_LONGEST_SYSTEM_BYTES: Final = 131_072
_DEEPEST_EXTRA: Final = 20
#: The API's own words, without what they all begin with.
HARM_CATEGORIES: Final = (
    *("harassment", "hate_speech", "sexually_explicit", "dangerous_content", "civic_integrity", "jailbreak"),
    *("image_harassment", "image_hate", "image_sexually_explicit", "image_dangerous_content"),
)
HARM_THRESHOLDS: Final = ("block_none", "block_only_high", "block_medium_and_above", "block_low_and_above", "off")
#: Words of OpenAI's images API (the official package, 2026). A model takes some of the qualities; the last two are
#: those of models before gpt-image.
QUALITIES: Final = ("low", "medium", "high", "xhigh", "max", "auto", "standard", "hd")
BACKGROUNDS: Final = ("transparent", "opaque", "auto")
#: Those that are pictures to this program; the API also knows gif and svg.
OUTPUT_FORMATS: Final = ("png", "jpeg", "webp")
MODERATIONS: Final = ("low", "auto")
FIDELITIES: Final = ("low", "high")
_CATEGORY_PREFIX: Final = "harm_category_"
#: Places of the request that a key of the manifest writes, and that key. In camelCase, as all is compared.
_WRITTEN_BY: Final[Mapping[tuple[str, ...], str]] = {
    ("contents",): "prompt, references or continue_from",
    ("model",): "model",
    ("serviceTier",): "lane",
    ("systemInstruction",): "system",
    ("safetySettings",): "safety",
    ("generationConfig", "responseModalities"): "modalities",
    ("generationConfig", "imageConfig", "aspectRatio"): "aspect_ratio",
    ("generationConfig", "imageConfig", "imageSize"): "image_size",
    ("generationConfig", "thinkingConfig", "thinkingLevel"): "thinking",
    ("generationConfig", "seed"): "seed",
    ("generationConfig", "temperature"): "temperature",
    ("generationConfig", "topP"): "top_p",
    ("generationConfig", "candidateCount"): "samples",
}


def is_filled_later(value: object) -> bool:
    """Whether a text, or one inside a mapping or list, is a template."""
    if isinstance(value, str):
        return re.search(r"\{[{%#]", value) is not None
    if isinstance(value, dict):
        return any(map(is_filled_later, value.values()))
    return isinstance(value, list) and any(map(is_filled_later, value))


def asked(check: Callable[[object], Any]) -> Callable[[object], Any]:
    """The check of a key in the manifest: nothing turns off what `defaults` ask for, a template is filled first."""

    def accept(value: object) -> Any:
        return value if value is None or is_filled_later(value) else check(value)

    accept.__name__ = check.__name__
    return accept


def system(value: object) -> str:
    text = fields.filled(value)
    wrong = unfit_text(text)
    if wrong is not None:
        raise _wrong(f"cannot be sent: {wrong}")
    if len(text.encode("utf-8", "replace")) > _LONGEST_SYSTEM_BYTES:
        raise _wrong(f"may be {_LONGEST_SYSTEM_BYTES:,} bytes long at most")
    return text


def thinking(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in THINKING_LEVELS:
        raise _wrong(f"must be one of {', '.join(THINKING_LEVELS)}", value)
    return value.lower()


def seed(value: object) -> int:
    number = _number(value)
    if isinstance(number, float) and number.is_integer() and isinstance(value, str):
        number = int(number)  # a spreadsheet writes 7 as 7.0
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _HIGHEST_SEED:
        raise _wrong(f"must be a whole number from 0 to {_HIGHEST_SEED:,}", value)
    return number


def temperature(value: object) -> float:
    return _share(value, _HIGHEST_TEMPERATURE)


def top_p(value: object) -> float:
    return _share(value, 1.0)


def search(value: object) -> tuple[str, ...]:
    """What to search, in one order: asking for both is one thing however it is written."""
    words = re.split(r"[\s,+]+", value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not words or any(word not in SEARCH_KINDS for word in words):
        raise _wrong("must be web, image, or [web, image]", value)
    return tuple(word for word in SEARCH_KINDS if word in words)


def safety(value: object) -> dict[str, str]:
    """Thresholds by category, in the API's own words."""
    given = _mapping(value, "{hate_speech: block_only_high}")
    found: dict[str, str] = {}
    for name, threshold in given.items():
        category = str(name).strip().lower().removeprefix(_CATEGORY_PREFIX)
        if category not in HARM_CATEGORIES:
            raise _wrong(
                f'has no category "{show(str(name))}"; {did_you_mean(category, HARM_CATEGORIES, "categories")}'
            )
        if str(threshold).strip().lower() not in HARM_THRESHOLDS:
            raise _wrong(f"must give {category} one of {', '.join(HARM_THRESHOLDS)}", threshold)
        found[(_CATEGORY_PREFIX + category).upper()] = str(threshold).strip().upper()
    return found


def extra(value: object) -> dict[str, Any]:
    """Fields to be merged into the request as they stand, but for those that a key of their own writes."""
    given = _mapping(value, "{generationConfig: {topK: 40}}")
    if not given:
        raise _wrong("must name a field of the request, such as {generationConfig: {topK: 40}}")
    _refuse_what_json_has_not(given, 0)
    for path in _paths(given, ()):
        key = _WRITTEN_BY.get(path)
        if key is not None:
            raise _wrong(f"may not hold {'.'.join(path)}; write {key}")
    if _searches(given.get("tools")):
        raise _wrong("may not hold a search; write search")
    return given


def quality(value: object) -> str:
    return _word(value, QUALITIES)


def background(value: object) -> str:
    return _word(value, BACKGROUNDS)


def output_format(value: object) -> str:
    return _word(value, OUTPUT_FORMATS)


def output_compression(value: object) -> int:
    number = _number(value)
    if isinstance(number, float) and number.is_integer() and isinstance(value, str):
        number = int(number)  # a spreadsheet writes 80 as 80.0
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= 100:
        raise _wrong("must be a whole number from 0 to 100", value)
    return number


def moderation(value: object) -> str:
    return _word(value, MODERATIONS)


def input_fidelity(value: object) -> str:
    return _word(value, FIDELITIES)


CHECKS: Final[Mapping[str, Callable[[object], Any]]] = {
    check.__name__: check
    for check in (
        *(system, thinking, seed, temperature, top_p, safety, search, extra),
        *(quality, background, output_format, output_compression, moderation, input_fidelity),
    )
}


def read(name: str, value: object) -> Any:
    """The value that `name` is to have; None asks for nothing. Raises `ValueError` with a sentence."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return CHECKS[name](value)
    except PydanticCustomError as error:
        raise ValueError(f"{name} {error.message()}") from None


def _wrong(fragment: str, value: object = ...) -> PydanticCustomError:
    shown = "" if value is ... else f"; got {fields.said(value)}"
    return PydanticCustomError("sentence", "{text}", {"text": fragment + shown})


def _word(value: object, words: Sequence[str]) -> str:
    if not isinstance(value, str) or value.strip().lower() not in words:
        raise _wrong(f"must be one of {', '.join(words)}", value)
    return value.strip().lower()


def _number(value: object) -> object:
    """A number, also one that is written in a text."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(r"[+-]?\d{1,20}", text):
        return int(text)
    return float(text) if re.fullmatch(r"[+-]?\d{0,20}\.?\d{1,20}", text) else value


def _share(value: object, highest: float) -> float:
    number = _number(value)
    fits = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not fits or not 0 <= number <= highest:  # type: ignore[operator]
        raise _wrong(f"must be a number from 0 to {highest:g}", value)
    return float(number)  # type: ignore[arg-type]


def _mapping(value: object, example: str) -> dict[str, Any]:
    """A mapping, also one that a text holds as JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise _wrong(f"must be a mapping such as {example}, or the same as JSON", value) from None
    if not isinstance(value, dict):
        raise _wrong(f"must be a mapping such as {example}", value)
    return value


def _refuse_what_json_has_not(value: object, depth: int) -> None:
    if depth > _DEEPEST_EXTRA:
        raise _wrong("is nested too deeply")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_what_json_has_not(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_what_json_has_not(item, depth + 1)
    elif isinstance(value, str):
        wrong = unfit_text(value)
        if wrong is not None:
            raise _wrong(f"cannot be sent: {wrong}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _wrong("must hold numbers that JSON has", value)
    elif value is not None and not isinstance(value, bool | int | float):
        raise _wrong("must hold texts, numbers, true, false, lists and mappings only; quote dates")


def _paths(value: object, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every field in a mapping, by its way from the top."""
    if isinstance(value, dict):
        for name, item in value.items():
            path = (*above, camel(name))
            yield path
            yield from _paths(item, path)


def _searches(tools: object) -> bool:
    listed = tools if isinstance(tools, list) else [tools]
    return any(camel(name).startswith("googleSearch") for tool in listed if isinstance(tool, dict) for name in tool)


def camel(name: str) -> str:
    """A field's name in camelCase, however it is spelled."""
    return re.sub("_(.)", lambda match: match[1].upper(), name)
