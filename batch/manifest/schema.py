"""The shape of a manifest: which keys there are and what each may hold, whatever the others say.

Every field says in one fragment what it must be ("must be a whole number from 1 to 100"); `_Note` joins it
with the field's name and the place. What depends on several fields (a ratio and its model) is in `entries`.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from yaml.nodes import ScalarNode

from batch.capabilities import IMAGE_SIZES, MODALITIES
from batch.errors import Problem
from batch.manifest.ids import name_problem
from batch.manifest.problems import Problems, did_you_mean, show
from batch.manifest.yaml_text import Document

T = TypeVar("T")

PROFILES: Final = ("anyfast", "google", "simulator")

#: Encodings tables are really saved in; Python's long list also holds codecs that are no text encodings.
ENCODINGS: Final = (
    "utf-8", "utf-16", "ascii", "latin-1", "iso8859-2", "iso8859-15", "cp1250", "cp1251", "cp1252", "cp1254",
    "gb18030", "gbk", "big5", "shift_jis", "cp932", "euc-jp", "euc-kr", "cp949", "koi8-r", "mac-roman",
)  # fmt: skip

MAX_SAMPLES: Final = 1000
_LONGEST_TIMEOUT_SECONDS: Final = 3600
_HIGHEST_PRICE_USD: Final = 100
_LOOPBACK: Final = re.compile(r"localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1")


def _wrong(fragment: str, value: object = ...) -> PydanticCustomError:
    """`fragment` follows the field's name; the value is shown if given and short enough to be one."""
    shown = "" if value is ... else f"; got {_said(value)}"
    return PydanticCustomError("sentence", "{text}", {"text": fragment + shown})


def _said(value: object) -> str:
    """A value in the words of YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return show(value) or "an empty text"


def _whole(lowest: int, highest: int) -> PlainValidator:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _wrong(f"must be a whole number from {lowest} to {highest:,}", value)
        return value

    return PlainValidator(check)


def _number(lowest: float, highest: float) -> PlainValidator:
    def check(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not lowest <= value <= highest:  # type: ignore[operator]
            raise _wrong(f"must be a number from {lowest:g} to {highest:,}", value)
        return float(value)  # type: ignore[arg-type]

    return PlainValidator(check)


def _word(*words: str) -> PlainValidator:
    def check(value: object) -> str:
        if value not in words or not isinstance(value, str):
            raise _wrong(f"must be one of {', '.join(words)}", value)
        return value

    return PlainValidator(check)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("must be text; quote it", value)
    return value


def _filled(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise _wrong("is empty; write some text")
    return text


def _line(value: object) -> str:
    text = _filled(value)
    if "\n" in text or "\t" in text:
        raise _wrong("must be one line without tabs", text)
    return text


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("must be a string; quote it")
    return value


def _name(value: object) -> str:
    text = _text(value)
    problem = name_problem(text)
    if problem is not None:
        raise _wrong(problem.removeprefix("name "))
    return text


def _size(value: object) -> str:
    """`512` without quotes is a number to YAML and a size to everybody else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(f"must be one of {', '.join(IMAGE_SIZES)}", value)
    return str(value)


def _ratio(value: object) -> str | None:
    """An explicit null leaves the ratio to the model, where `defaults` names one."""
    if value is not None and not isinstance(value, str):
        raise _wrong("must be a ratio such as 16:9", value)
    return value


def _modalities(value: object) -> tuple[str, ...]:
    words = tuple(sorted(map(str, value), reverse=True)) if isinstance(value, list) else ()
    if words not in MODALITIES:
        raise _wrong("must be [IMAGE] or [TEXT, IMAGE]", value)
    return words


def _reference(value: object) -> str:
    text = _filled(value)
    if re.match(r"(?i)[a-z][a-z0-9+.-]*://|data:", text):
        raise _wrong("must be files; addresses are not fetched, save the picture beside the manifest")
    return text


def _base_url(value: object) -> str:
    """An address the key may be sent to. It is never repeated in a message: it may hold a password."""
    text = _line(value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong("is not a valid address") from None
    if (
        not host
        or parts.scheme not in ("http", "https")
        or re.search(r"[\\\s]", text)
        or not text.isprintable()
    ):
        raise _wrong("must be an address such as https://host/path")
    if "@" in parts.netloc:
        raise _wrong("must not hold a user or password; the key comes from the environment")
    if "?" in text or "#" in text:
        raise _wrong("must end before any ? or #")
    if parts.scheme == "http" and _LOOPBACK.fullmatch(host) is None:
        raise _wrong("must begin with https://; only this machine may be spoken to over http")
    return text.rstrip("/")


def _key_env(value: object) -> str:
    """The value is not shown: it may be the key itself, put in the wrong place."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", value) is None:
        raise _wrong("must be the name of an environment variable such as ANYFAST_API_KEY")
    return value


def _encoding(value: object) -> str:
    text = _text(value)
    try:
        known = {codecs.lookup(name).name for name in ENCODINGS} | {"utf-8-sig"}
        name = codecs.lookup(text).name if text.isascii() and text.isprintable() else ""
    except (LookupError, ValueError):
        name = ""
    if name not in known:
        raise _wrong(f"must be one of {', '.join(ENCODINGS)}", value)
    return "utf-8-sig" if name == "utf-8" else name


def _delimiter(value: object) -> str:
    named = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
    if isinstance(value, str) and value in named:
        return named[value]
    if not isinstance(value, str) or len(value) != 1 or value in '"\n\r' or value.isalnum():
        raise _wrong('must be one character such as ";" or the word tab', value)
    return value


def _prices(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong("must be a mapping such as {1K: 0.07}", value)
    for size, price in value.items():
        if size not in IMAGE_SIZES:
            raise _wrong(f"must name sizes out of {', '.join(IMAGE_SIZES)}", size)
        fits = isinstance(price, int | float) and not isinstance(price, bool)
        if not fits or not 0 <= price <= _HIGHEST_PRICE_USD:
            raise _wrong(f"must be US dollars per picture from 0 to {_HIGHEST_PRICE_USD}", price)
    return {size: float(price) for size, price in value.items()}


def _short_form(key: str) -> BeforeValidator:
    """A plain text stands for the mapping with this one key."""

    def expand(value: object) -> object:
        return {key: value} if isinstance(value, str) else value

    return BeforeValidator(expand)


def _optional(check: Callable[[object], T]) -> PlainValidator:
    """For the few fields where nothing has a meaning of its own."""

    def accept(value: object) -> T | None:
        return None if value is None else check(value)

    return PlainValidator(accept)


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


class ProviderShape(_Shape):
    """`provider: anyfast`, or a mapping for another endpoint of the same kind."""

    profile: Annotated[str, _word(*PROFILES)]
    base_url: Annotated[str | None, PlainValidator(_base_url)] = None
    auth: Annotated[str | None, _word("query", "header", "bearer")] = None
    key_env: Annotated[str | None, PlainValidator(_key_env)] = None
    simulator: dict[str, Any] = {}


class LimitsShape(_Shape):
    """How much at once and how fast."""

    concurrency: Annotated[int, _whole(1, 1024)] = 8
    requests_per_minute: Annotated[int | None, _optional(_whole(1, 1_000_000).func)] = None


class TimeoutsShape(_Shape):
    """Seconds an attempt may take; what is not given keeps the default of `settings.Timeouts`."""

    connect_seconds: Annotated[float | None, _number(0.1, _LONGEST_TIMEOUT_SECONDS)] = None
    write_seconds: Annotated[float | None, _number(0.1, _LONGEST_TIMEOUT_SECONDS)] = None
    read_seconds: Annotated[float | None, _number(0.1, _LONGEST_TIMEOUT_SECONDS)] = None
    total_seconds: Annotated[float | None, _number(0.1, _LONGEST_TIMEOUT_SECONDS)] = None


class RetryShape(_Shape):
    """The part of `settings.RetryPolicy` a user decides; the rest follows from what the provider answers."""

    unknown: Annotated[str | None, _word("resend", "hold")] = None
    unavailable_attempts: Annotated[int | None, _whole(1, 20)] = None
    unusable_retries: Annotated[int | None, _whole(0, 10)] = None


class RowsShape(_Shape):
    """The table whose rows make the jobs."""

    file: Annotated[str, PlainValidator(_line)]
    encoding: Annotated[str, PlainValidator(_encoding)] = "utf-8-sig"
    delimiter: Annotated[str | None, PlainValidator(_delimiter)] = None


class ParametersShape(_Shape):
    """What a job and the defaults have in common. Whether a field was given matters (`model_fields_set`)."""

    model: Annotated[str | None, PlainValidator(_line)] = None
    aspect_ratio: Annotated[str | None, PlainValidator(_ratio)] = None
    image_size: Annotated[str | None, PlainValidator(_size)] = None
    modalities: Annotated[tuple[str, ...] | None, PlainValidator(_modalities)] = None
    samples: Annotated[int | None, _whole(1, MAX_SAMPLES)] = None
    references: list[Annotated[str, PlainValidator(_reference)]] = []


class JobShape(ParametersShape):
    """One entry of `jobs`."""

    id: Annotated[str | None, PlainValidator(_id)] = None
    prompt: Annotated[str, PlainValidator(_filled)]


class ManifestShape(_Shape):
    """The whole file, but for the insides of `jobs`, which are read one by one (`read_shapes`)."""

    name: Annotated[str | None, PlainValidator(_name)] = None
    output: Annotated[str | None, PlainValidator(_line)] = None
    provider: Annotated[ProviderShape, _short_form("profile")] = ProviderShape(profile="simulator")
    model: Annotated[str | None, PlainValidator(_line)] = None
    limits: LimitsShape = LimitsShape()
    timeouts: TimeoutsShape = TimeoutsShape()
    retry: RetryShape = RetryShape()
    prices: Annotated[dict[str, float], PlainValidator(_prices)] = {}
    verify: Annotated[str, _word("structure", "decode")] = "structure"
    defaults: ParametersShape = ParametersShape()
    rows: Annotated[RowsShape | None, _short_form("file")] = None
    unique: Annotated[str | None, PlainValidator(_line)] = None
    reference_root: Annotated[str | None, PlainValidator(_line)] = None
    jobs: list[Any]


#: Which shape stands where; list indices are left out.
_SHAPES: Final[dict[tuple[str, ...], type[_Shape]]] = {
    (): ManifestShape,
    ("provider",): ProviderShape,
    ("limits",): LimitsShape,
    ("timeouts",): TimeoutsShape,
    ("retry",): RetryShape,
    ("defaults",): ParametersShape,
    ("rows",): RowsShape,
    ("jobs",): JobShape,
}


def read_shapes(
    document: Document, file: str, problems: Problems
) -> tuple[ManifestShape, list[JobShape | None]]:
    """The manifest and its jobs as far as their shape is right; None stands for a job that is no mapping.

    A field with the wrong shape is noted and left out, so that the checks after this one see the rest and
    everything wrong is told at once.
    """
    note = _Note(document, file, problems)
    shape = _read_shape(ManifestShape, document.value, (), {"jobs": []}, note)
    if shape is None:
        problems.raise_if_any()
        raise AssertionError("a manifest that is no mapping was noted as a problem")
    jobs = enumerate(shape.jobs)
    return shape, [_read_shape(JobShape, job, ("jobs", index), {"prompt": "-"}, note) for index, job in jobs]


S = TypeVar("S", bound=_Shape)
Path = tuple[str | int, ...]


def _read_shape(kind: type[S], data: object, above: Path, required: dict[str, Any], note: _Note) -> S | None:
    """`data` as a shape, without its wrong fields; `required` stands in for those that must be there."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        note.all_of(error, above)
        if not isinstance(data, dict):
            return None
        wrong = {detail["loc"][0] for detail in error.errors()}
        return kind.model_validate(required | {key: value for key, value in data.items() if key not in wrong})


class _Note:
    """Writes down pydantic's findings as our sentences, each with its place."""

    def __init__(self, document: Document, file: str, problems: Problems) -> None:
        self._document = document
        self._file = file
        self._problems = problems

    def all_of(self, error: ValidationError, above: Path) -> None:
        """Everything wrong below `above`."""
        for detail in error.errors(include_url=False):
            path = above + detail["loc"]
            unknown = detail["type"] == "extra_forbidden"
            at = self._document.key_at(*path) if unknown else self._document.at(*path)
            # The reader of YAML may have said more precisely what is wrong with this very value.
            if not self._problems.has_at(*at) or detail["type"] == "missing":
                message, job = self._sentence(detail, path), job_named(self._document, path)
                self._problems.add(
                    Problem(message=message, file=self._file, line=at.line, column=at.column, job=job)
                )

    def _sentence(self, detail: ErrorDetails, path: Path) -> str:
        names = [part for part in path if isinstance(part, str)]
        field = self._field(names, path)
        kind = detail["type"]
        if kind == "missing":
            return _missing(field)
        if kind == "extra_forbidden":
            shape = _SHAPES.get(tuple(names[:-1]), ManifestShape)
            return f'unknown field "{show(field)}"; {did_you_mean(field, shape.model_fields, "fields")}'
        if kind == "sentence":
            return f"{field} {detail['ctx']['text']}"
        wanted = "a list" if kind == "list_type" else "a mapping (key: value)"
        return f"{field} must be {wanted}; got {_said(detail['input'])}"

    def _field(self, names: list[str], path: Path) -> str:
        """The field's name as the user knows it: `provider: x` has no `profile`, a list's item no name."""
        if not names:
            return "the manifest"
        if isinstance(path[-1], int) and names[-1] == "jobs":
            return "every job"
        short = len(names) > 1 and isinstance(self._document.node(*path[:-1]), ScalarNode)
        return names[-2] if short else names[-1]


def job_named(document: Document, path: tuple[str | int, ...]) -> str | None:
    """The id of the job a path lies in, if it has one; a template is not one yet."""
    if len(path) < 2 or path[0] != "jobs":
        return None
    try:
        job_id = document.value["jobs"][path[1]]["id"]
    except (KeyError, IndexError, TypeError):
        return None
    if not isinstance(job_id, str) or not job_id.strip() or "{" in job_id:
        return None
    return show(job_id)


def _missing(field: str) -> str:
    if field == "jobs":
        return "no jobs; write jobs: and at least one entry with a prompt"
    if field == "profile":
        return f"profile is missing; write one of {', '.join(PROFILES)}"
    return f"{field} is missing; add it"
