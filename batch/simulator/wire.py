"""Reads a generateContent request as the API does, and refuses it with the API's words.

Both spellings of every field are taken, mixed too, as Google's endpoint does. In the relay's flavour unknown
fields are dropped without a word, as a relay that decodes into its own structures does; Google names them.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from batch.simulator import refusals
from batch.simulator.refusals import Refusal
from batch.simulator.tables import LANE_SHARES, MODELS, REFERENCE_MIMES, Model

PATH: Final = re.compile(r"^(?:/.*)?/(?P<version>v1beta|v1)/models/(?P<model>[^/:]+):(?P<method>\w+)$")

_TOP: Final = frozenset(
    (
        "contents",
        "generationConfig",
        "safetySettings",
        "systemInstruction",
        "tools",
        "toolConfig",
        "cachedContent",
        "model",
        "labels",
        "store",
        "serviceTier",
    )
)
_GENERATION: Final = frozenset(
    (
        "responseModalities",
        "imageConfig",
        "candidateCount",
        "stopSequences",
        "maxOutputTokens",
        "temperature",
        "topP",
        "topK",
        "seed",
        "presencePenalty",
        "frequencyPenalty",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseLogprobs",
        "logprobs",
        "thinkingConfig",
        "mediaResolution",
        "speechConfig",
        "enableEnhancedCivicAnswers",
    )
)
_IMAGE: Final = frozenset(("aspectRatio", "imageSize"))
_CONTENT: Final = frozenset(("role", "parts"))
_PART: Final = frozenset(
    (
        "text",
        "inlineData",
        "fileData",
        "thought",
        "thoughtSignature",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
    )
)
_BLOB: Final = frozenset(("mimeType", "data", "displayName"))
#: Fields of Google's that relays of the new-api kind do not have, or not in this spelling.
_UNKNOWN_TO_RELAYS: Final = frozenset(("file_data", "file_uri", "service_tier", "serviceTier"))
#: The words of Google's ServiceTier, as its SDK writes them.
_SERVICE_TIERS: Final = ("unspecified", "standard", "flex", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencePicture:
    """A picture sent along. `width` and `height` are 0 where the simulator cannot read the format (HEIC)."""

    mime: str
    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one request asks for. `aspect_ratio` is None when the request left it open; `lane`: see LANE_SHARES."""

    model: Model
    prompt: str
    aspect_ratio: str | None = None
    image_size: str = "1K"
    wants_text: bool = True
    wants_image: bool = True
    references: tuple[ReferencePicture, ...] = ()
    lane: str = "standard"

    @property
    def ratio(self) -> str:
        """The ratio to draw: as asked, else the one nearest to the first reference, else square."""
        if self.aspect_ratio is not None:
            return self.aspect_ratio
        for reference in self.references:
            if reference.width and reference.height:
                return nearest_ratio(self.model, reference.width / reference.height)
        return "1:1"

    @property
    def pixels(self) -> tuple[int, int]:
        return self.model.pixels[self.ratio, self.image_size]


def nearest_ratio(model: Model, shape: float) -> str:
    """The model's ratio whose width/height differs least from `shape`, by factor."""

    def distance(ratio: str) -> float:
        width, height = ratio.split(":")
        factor = shape * int(height) / int(width)
        return max(factor, 1 / factor)

    return min(model.ratios, key=distance)


def nothing_asked() -> Ask:
    """Stands for a request whose body is not (yet) known."""
    return Ask(model=MODELS["gemini-3.1-flash-image"], prompt="")


def read_ask(body: bytes, model_name: str, version: str, flavour: str) -> Ask:
    """The request in `body`, checked. Raises Refusal."""
    model = MODELS.get(model_name)
    if model is None:
        raise refusals.model_unknown(model_name, version)
    reader = _Reader(drops_unknown=flavour == "relay")
    message = reader.fields(_json_object(body), "", _TOP)
    config = reader.fields(message.get("generationConfig", {}), "generation_config", _GENERATION)
    image = reader.fields(config.get("imageConfig", {}), "generation_config.image_config", _IMAGE)
    texts, references = reader.parts(message.get("contents"))
    if not any(text.strip() for text in texts):
        raise refusals.bad_argument(
            "* GenerateContentRequest.contents: contents is not specified\n"
            if not texts and not references
            else "Unable to submit request because it must have a text parameter. Add a text parameter."
        )
    _check_candidates(config.get("candidateCount"))
    if len(references) > model.max_references:
        raise refusals.bad_argument(
            f"Too many images in the request: {len(references)}. "
            f"The maximum number of images for this model is {model.max_references}."
        )
    modalities = _modalities(config.get("responseModalities", ["TEXT", "IMAGE"]))
    return Ask(
        model=model,
        prompt="\n".join(texts),
        aspect_ratio=_ratio(image.get("aspectRatio"), model),
        image_size=_size(image.get("imageSize"), model),
        wants_text="TEXT" in modalities,
        wants_image="IMAGE" in modalities,
        references=tuple(references),
        lane=_lane(message.get("serviceTier")),
    )


def _lane(value: Any) -> str:
    """The lane asked for, in any case. Priority is served as standard: Google does so beyond what it grants."""
    if value is None:
        return "standard"
    if not isinstance(value, str) or value.lower() not in _SERVICE_TIERS:
        raise _wrong_type("service_tier", "ServiceTier", value)
    return value.lower() if value.lower() in LANE_SHARES else "standard"


def _json_object(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise refusals.bad_argument("Invalid JSON payload received. Parsing terminated before end of input.") from None


def _check_candidates(count: Any) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int):
        raise _wrong_type("generation_config.candidate_count", "TYPE_INT32", count)
    if count != 1:
        raise refusals.bad_argument("Multiple candidates is not enabled for this model")


def _modalities(value: Any) -> set[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise _wrong_type("generation_config.response_modalities", "Modality", value)
    names = {name.upper() for name in value}
    unknown = names - {"TEXT", "IMAGE"}
    if unknown:
        raise refusals.bad_argument(
            "The requested combination of response modalities "
            f"({', '.join(sorted(names))}) is not supported by the model."
        )
    return names or {"TEXT", "IMAGE"}


def _ratio(value: Any, model: Model) -> str | None:
    if value is None or value == "":
        return None
    if value not in model.ratios:
        raise refusals.bad_argument(
            "Invalid value at 'generation_config.image_config.aspect_ratio'. aspect_ratio must be one of "
            + ", ".join(f"'{ratio}'" for ratio in model.ratios)
            + "."
        )
    return str(value)


def _size(value: Any, model: Model) -> str:
    if value is None or value == "":
        return "1K"
    if value not in model.sizes:
        raise refusals.bad_argument(
            "Invalid value at 'generation_config.image_config.image_size'. image_size must be one of "
            + ", ".join(f"'{size}'" for size in model.sizes)
            + "."
        )
    return str(value)


def _wrong_type(where: str, kind: str, value: Any) -> Refusal:
    return refusals.bad_field(f"Invalid value at '{where}' ({kind}), {json.dumps(value)[:60]}", where)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


@dataclass(frozen=True, slots=True)
class _Reader:
    drops_unknown: bool

    def fields(self, value: Any, where: str, known: frozenset[str]) -> dict[str, Any]:
        """`value` with its names in camelCase. Unknown names are refused or dropped, null means absent."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong_type(where or "request", "object", value)
        found: dict[str, Any] = {}
        for name, item in value.items():
            camel = _camel(name)
            if camel in known and not (self.drops_unknown and name in _UNKNOWN_TO_RELAYS):
                if item is not None:
                    found[camel] = item
            elif not self.drops_unknown:
                at = f" at '{where}'" if where else ""
                raise refusals.bad_field(
                    f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.', where
                )
        return found

    def parts(self, contents: Any) -> tuple[list[str], list[ReferencePicture]]:
        """All texts and reference pictures of the conversation, in order."""
        texts: list[str] = []
        references: list[ReferencePicture] = []
        if isinstance(contents, dict):
            contents = [contents]
        for number, content in enumerate(_list(contents, "contents")):
            at = f"contents[{number}]"
            fields = self.fields(content, at, _CONTENT)
            for index, part in enumerate(_list(fields.get("parts"), f"{at}.parts")):
                self._part(part, f"{at}.parts[{index}]", texts, references)
        return texts, references

    def _part(self, part: Any, at: str, texts: list[str], references: list[ReferencePicture]) -> None:
        fields = self.fields(part, at, _PART)
        if "fileData" in fields:
            raise Refusal(
                403,
                "PERMISSION_DENIED",
                "You do not have permission to access the File or it may not exist.",
            )
        if "text" in fields:
            if not isinstance(fields["text"], str):
                raise _wrong_type(f"{at}.text", "TYPE_STRING", fields["text"])
            texts.append(fields["text"])
        if "inlineData" in fields:
            where = f"{at}.inline_data"
            references.append(_reference(self.fields(fields["inlineData"], where, _BLOB), where))


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong_type(where, "list", value)
    return value


def _reference(blob: Mapping[str, Any], where: str) -> ReferencePicture:
    declared = blob.get("mimeType", "")
    if declared not in REFERENCE_MIMES:
        raise refusals.bad_argument(f"Unsupported MIME type: {declared}")
    data = _decode(blob.get("data"), f"{where}.data")
    actual = sniff(data)
    if actual is None:
        raise refusals.bad_argument("Unable to process input image. Please retry with a valid image.")
    if actual not in REFERENCE_MIMES:
        raise refusals.bad_argument(f"Unsupported MIME type: {actual}")
    if actual != declared and {actual, declared} != {"image/heic", "image/heif"}:
        raise refusals.bad_argument(f"Unhandled generated data mime type: {actual}")
    width, height = shape_of(data, actual)
    return ReferencePicture(mime=actual, data=data, width=width, height=height)


def _decode(value: Any, where: str) -> bytes:
    """Base64 as protobuf's JSON takes it: standard or URL-safe alphabet, padding optional, nothing else."""
    if not isinstance(value, str) or not value:
        raise refusals.bad_field(f"Invalid value at '{where}' (TYPE_BYTES), no data", where)
    try:
        raw = value.encode("ascii").translate(_URL_SAFE)
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (ValueError, binascii.Error):
        shown = json.dumps(value[:20])
        raise refusals.bad_field(
            f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed for {shown}", where
        ) from None


_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")


def sniff(data: bytes) -> str | None:
    """The MIME type a picture's first bytes say."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if data[4:8] == b"ftyp":
        return "image/heif" if data[8:12] in (b"mif1", b"msf1") else "image/heic"
    return None


def shape_of(data: bytes, mime: str) -> tuple[int, int]:
    """Width and height of a picture, 0 where the simulator cannot read its format. Raises `Refusal`."""
    if mime in ("image/heic", "image/heif"):
        return 0, 0
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise refusals.bad_argument("Unable to process input image. Please retry with a valid image.") from None
