"""Reads a request of OpenAI's images API as that API does, and refuses it with its words.

Generations are JSON, edits are forms with their pictures as `image[]`. Fields that a call does not know are refused, as
OpenAI does. What models are and cost is written down here once more on purpose (see `tables`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Final

from batch.simulator.refusals import ImagesError, Refusal
from batch.simulator.tables import Model
from batch.simulator.wire import Ask, ReferencePicture, shape_of, sniff

PATH: Final = re.compile(r"^(?:/.*)?/(?:v\d+\w*)(?:/openai)?/images/(?P<call>generations|edits)$")

_BOTH: Final = frozenset(
    (
        *("model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression"),
        *("user", "safety_identifier"),
    )
)
_CALLS: Final[Mapping[str, frozenset[str]]] = {
    "generations": _BOTH | {"moderation"},
    "edits": _BOTH | {"input_fidelity"},
}
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "background": ("transparent", "opaque", "auto"),
    "output_format": ("png", "jpeg", "webp"),
    "moderation": ("low", "auto"),
    "input_fidelity": ("low", "high"),
}
_STANDARD: Final = ("1024x1024", "1536x1024", "1024x1536")
_SIZE: Final = re.compile(r"(\d{1,5})x(\d{1,5})")
_PICTURES: Final = ("image", "image[]")
_MOST_CHARACTERS: Final = 32_000
_MOST_PICTURES: Final = 16
_MIMES: Final = ("image/png", "image/jpeg", "image/webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesModel:
    """`usd` by quality and size, or `edge` tokens by quality from which a picture's follow. `rates`: US dollars per
    million tokens of text and pictures sent, and of pictures made."""

    usd: Mapping[str, tuple[float, float]]
    edge: Mapping[str, int]
    rates: tuple[float, float, float]
    fidelities: tuple[str, ...] = ()

    @property
    def qualities(self) -> tuple[str, ...]:
        return (*self.usd, *self.edge)

    def tokens(self, quality: str, size: str) -> int:
        """Of one picture."""
        return round(self.picture_usd(quality, size) / self.rates[2] * 1e6)

    def picture_usd(self, quality: str, size: str) -> float:
        width, height = map(int, size.split("x"))
        if self.usd:
            square, other = self.usd[quality]
            return square if width == height else other
        edge, long, short = self.edge[quality], max(width, height), min(width, height)
        across = (2 * edge * short + long) // (2 * long)
        return -(-edge * across * (2_000_000 + width * height) // 4_000_000) * self.rates[2] / 1e6


_NEW: Final = ImagesModel(usd={}, edge={"low": 16, "medium": 48, "high": 96}, rates=(5.0, 8.0, 30.0))
_NEWEST: Final = ImagesModel(
    usd={},
    edge={"low": 16, "medium": 48, "high": 96, "xhigh": 144, "max": 192},
    rates=(5.0, 8.0, 30.0),
    fidelities=("low", "high"),
)
IMAGES_MODELS: Final[Mapping[str, ImagesModel]] = {
    "gpt-image-2.5-flare": _NEWEST,
    "gpt-image-2.5-sunburst": _NEWEST,
    "gpt-image-2.6-flare": _NEWEST,
    "gpt-image-2.6-sunburst": _NEWEST,
    "gpt-image-2": _NEW,
    "gpt-image-1.5": ImagesModel(
        usd={"low": (0.009, 0.013), "medium": (0.034, 0.05), "high": (0.133, 0.2)},
        edge={},
        rates=(5.0, 8.0, 32.0),
        fidelities=("low", "high"),
    ),
    "gpt-image-1-mini": ImagesModel(
        usd={"low": (0.005, 0.006), "medium": (0.011, 0.015), "high": (0.036, 0.052)},
        edge={},
        rates=(2.0, 2.5, 8.0),
        fidelities=("low",),
    ),
    "gpt-image-1": ImagesModel(
        usd={"low": (0.011, 0.016), "medium": (0.042, 0.063), "high": (0.167, 0.25)},
        edge={},
        rates=(5.0, 10.0, 40.0),
        fidelities=("low", "high"),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesAsk(Ask):
    """What one request of the images API asks for. `size` and `quality` are those that are made: where the request
    leaves them open, the dearest."""

    priced: ImagesModel
    size: str
    quality: str
    pictures: int = 1
    background: str = "opaque"
    output_format: str = "png"

    @property
    def ratio(self) -> str:
        return self.size.replace("x", ":")

    @property
    def pixels(self) -> tuple[int, int]:
        width, height = self.size.split("x")
        return int(width), int(height)


def read_images_ask(body: bytes, content_type: str, call: str) -> ImagesAsk:
    """The request in `body`, checked. Raises `Refusal`."""
    fields, pictures = _form(body, content_type) if call == "edits" else (_json(body), [])
    for name in fields:
        if name not in _CALLS[call]:
            raise images_refusal(f"Unknown parameter: '{name}'.", "unknown_parameter", name)
    prompt = _prompt(fields.get("prompt"))
    name = str(fields.get("model") or "gpt-image-1.5")
    model = IMAGES_MODELS.get(name)
    if model is None:
        raise Refusal(
            404,
            "NOT_FOUND",
            f"The model '{name}' does not exist or you do not have access to it.",
            images=ImagesError(code="model_not_found", param=None),
        )
    for field, words in _WORDS.items():
        _word(field, fields.get(field), words)
    _word("quality", fields.get("quality"), (*model.qualities, "auto"))
    if fields.get("input_fidelity") is not None:
        _word("input_fidelity", fields["input_fidelity"], model.fidelities)
    _whole("output_compression", fields.get("output_compression"), 0, 100)
    quality, size = _made(model, fields.get("quality"), _checked_size(fields.get("size"), model))
    return ImagesAsk(
        model=Model(name=name, pixels={}, max_references=_MOST_PICTURES, tokens={}, usd={}),
        prompt=prompt,
        wants_text=False,
        references=tuple(_references(pictures)) if call == "edits" else (),
        image_size=size,
        priced=model,
        size=size,
        quality=quality,
        pictures=_whole("n", fields.get("n"), 1, 10) or 1,
        background="transparent" if fields.get("background") == "transparent" else "opaque",
        output_format=str(fields.get("output_format") or "png"),
    )


def nothing_asked_of_images() -> ImagesAsk:
    """Stands for a request whose body is not (yet) known."""
    return read_images_ask(b'{"prompt":"-","size":"1024x1024"}', "application/json", "generations")


def images_refusal(message: str, code: str | None, param: str | None = None) -> Refusal:
    """400 in the API's words."""
    return Refusal(400, "INVALID_ARGUMENT", message, images=ImagesError(code=code, param=param))


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise images_refusal("We could not parse the JSON body of your request.", None) from None
    if not isinstance(value, dict):
        raise images_refusal("We could not parse the JSON body of your request.", None)
    return {name: item for name, item in value.items() if item is not None}


def _form(body: bytes, content_type: str) -> tuple[dict[str, Any], list[tuple[str, bytes]]]:
    """The texts of a form, and the pictures with their types."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1", "replace")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if message.get_content_type() != "multipart/form-data" or message.get_boundary() is None:
        raise images_refusal("Invalid Content-Type header: expected multipart/form-data.", None)
    fields: dict[str, Any] = {}
    pictures: list[tuple[str, bytes]] = []
    for part in message.iter_parts():
        name, content = str(part.get_param("name", header="content-disposition")), part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if name in _PICTURES:
            pictures.append((part.get_content_type(), content))
        elif name in fields:
            raise images_refusal(f"Duplicate parameter: '{name}'.", "duplicate_parameter", name)
        else:
            fields[name] = content.decode("utf-8", "replace")
    return fields, pictures


def _prompt(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise images_refusal("Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
    if len(value) > _MOST_CHARACTERS:
        words = f"Invalid 'prompt': string too long. Expected a string with maximum length {_MOST_CHARACTERS}."
        raise images_refusal(words, "string_above_max_length", "prompt")
    return value


def _word(name: str, value: Any, words: tuple[str, ...]) -> None:
    if value is not None and value not in words:
        supported = " and ".join(f"'{word}'" for word in words)
        raise images_refusal(f"Invalid value: '{value}'. Supported values are: {supported}.", "invalid_value", name)


def _whole(name: str, value: Any, least: int, most: int) -> int | None:
    """A number; in a form it is written in digits."""
    if value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise images_refusal(f"Invalid '{name}': expected a number from {least} to {most}.", "invalid_value", name)
    return number


def _checked_size(value: Any, model: ImagesModel) -> str | None:
    """The size; None if it is left open."""
    if value in (None, "auto"):
        return None
    if value in _STANDARD:
        return str(value)
    found = _SIZE.fullmatch(str(value)) if model.edge else None
    if found is None or not _fits(int(found[1]), int(found[2])):
        raise images_refusal(f"Invalid size '{value}'.", "invalid_size", "size")
    return str(value)


def _fits(width: int, height: int) -> bool:
    long, short = max(width, height), min(width, height)
    in_steps = width % 16 == 0 and height % 16 == 0
    return in_steps and long <= 3840 and long <= 3 * short and 655_360 <= width * height <= 8_294_400


def _made(model: ImagesModel, quality: Any, size: str | None) -> tuple[str, str]:
    """Quality and size as they are made; of what is left open the dearest."""
    chosen = "high" if quality in (None, "auto") else str(quality)
    cost: Callable[[str], float] = lambda each: model.picture_usd(chosen, each)  # noqa: E731
    return chosen, size or max(_STANDARD, key=cost)


def _references(pictures: list[tuple[str, bytes]]) -> list[ReferencePicture]:
    if not pictures:
        raise images_refusal("Missing required parameter: 'image'.", "missing_required_parameter", "image")
    if len(pictures) > _MOST_PICTURES:
        raise images_refusal(f"Invalid 'image': at most {_MOST_PICTURES}.", "array_above_max_length", "image")
    return [_reference(declared, data) for declared, data in pictures]


def _reference(declared: str, data: bytes) -> ReferencePicture:
    actual = sniff(data)
    if actual not in _MIMES or actual != declared:
        words = f"Invalid file 'image': unsupported mimetype ('{declared}'). Supported are 'image/jpeg', 'image/png', "
        raise images_refusal(f"{words}and 'image/webp'.", "unsupported_file_mimetype", "image")
    width, height = shape_of(data, actual)
    return ReferencePicture(mime=actual, data=data, width=width, height=height)
