"""What a single field of a manifest may hold, whatever the others say.

Each check takes a value as YAML gave it and returns it in the form the program uses, or says in one fragment
what it must be ("must be a whole number from 1 to 100; got 0"). The field's name is put before it later.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from batch.core.clock import DayStart, DayStartProblem
from batch.core.image_models import IMAGE_SIZES, MODALITIES
from batch.core.pixel_sizes import AUTO, pixels_in
from batch.core.proxies import ProxyProblem, read_proxy
from batch.core.registry import ProviderError, find_profile, provider_names
from batch.core.usage import TOKEN_KINDS
from batch.manifest.ids import name_problem
from batch.manifest.problems import show

T = TypeVar("T")

MOST_PROVIDERS: Final = 32
#: In flight at once, of one provider and of all together.
MOST_CONCURRENCY: Final = 1024
HEAVIEST_WEIGHT: Final = 1000
ENDPOINT_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}"

#: Encodings tables are really saved in; Python's long list also holds codecs that are no text encodings.
ENCODINGS: Final = (
    "utf-8",
    "utf-16",
    "ascii",
    "latin-1",
    "iso8859-2",
    "iso8859-15",
    "cp1250",
    "cp1251",
    "cp1252",
    "cp1254",
    "gb18030",
    "gbk",
    "big5",
    "shift_jis",
    "cp932",
    "euc-jp",
    "euc-kr",
    "cp949",
    "koi8-r",
    "mac-roman",
)

MAX_SAMPLES: Final = 1000
#: Lines above a table's header are few.
LAST_HEADER_ROW: Final = 1000
LONGEST_TIMEOUT_SECONDS: Final = 3600
HIGHEST_PRICE_USD: Final = 100
_HIGHEST_TOKEN_PRICE_USD: Final = 10_000
HIGHEST_BUDGET_USD: Final = 1_000_000
_MOST_TOKENS: Final = 1_000_000
#: At least two parts, and the last one begins with a letter, so no address can pass for a name.
_HOST: Final = re.compile(r"(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z](?:[a-z0-9-]*[a-z0-9])?")
_LONGEST_HOST: Final = 255
_LONGEST_SEPARATOR: Final = 10
_LOOPBACK: Final = re.compile(r"localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|::1")


def _wrong(fragment: str, value: object = ...) -> PydanticCustomError:
    """`fragment` follows the field's name; the value is shown if given and short enough to be one."""
    shown = "" if value is ... else f"; got {said(value)}"
    if isinstance(value, str) and " number " in fragment and re.fullmatch(r"[-+.0-9eE]+", value):
        shown = f'; got the text "{show(value)}", so remove the quotes'
    return PydanticCustomError("sentence", "{text}", {"text": fragment + shown})


def said(value: object) -> str:
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


def whole(lowest: int, highest: int) -> PlainValidator:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise _wrong(f"must be a whole number from {lowest} to {highest:,}", value)
        return value

    return PlainValidator(check)


def number(lowest: float, highest: float) -> PlainValidator:
    def check(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not lowest <= value <= highest:  # type: ignore[operator]
            raise _wrong(f"must be a number from {lowest:g} to {highest:,}", value)
        return float(value)  # type: ignore[arg-type]

    return PlainValidator(check)


def above_zero(highest: float) -> PlainValidator:
    def check(value: object) -> float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not 0 < value <= highest:  # type: ignore[operator]
            raise _wrong(f"must be a number above 0 and up to {highest:,}", value)
        return float(value)  # type: ignore[arg-type]

    return PlainValidator(check)


def word(*words: str) -> PlainValidator:
    def check(value: object) -> str:
        if value not in words or not isinstance(value, str):
            raise _wrong(f"must be one of {', '.join(words)}", value)
        return value

    return PlainValidator(check)


def provider_name(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(f"must be one of {', '.join(provider_names())}", value)
    try:
        return find_profile(value).name
    except ProviderError as error:
        raise _wrong(str(error), *([value] if error.is_unknown else [])) from None


def yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong("must be true or false", value)
    return value


def mapping(value: object) -> dict[str, object]:
    """A mapping whose inside is read elsewhere."""
    if not isinstance(value, dict):
        raise _wrong("must be a mapping (key: value)", value)
    return value


def any_text(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("must be text; quote it", value)
    return value


def filled(value: object) -> str:
    text = any_text(value)
    if not text.strip():
        raise _wrong("is empty; write some text")
    return text


def one_line(value: object) -> str:
    text = filled(value)
    if "\n" in text or "\t" in text:
        raise _wrong("must be one line without tabs", text)
    return text


def model_name(value: object) -> str:
    """A model; the editor offers the known ones."""
    return one_line(value)


def endpoint_name(value: object) -> str:
    if not isinstance(value, str) or re.fullmatch(ENDPOINT_NAME, value) is None:
        raise _wrong("must be 1 to 40 letters, digits, dot, _ and -, and begin with a letter or digit", value)
    return value


def job_id(value: object) -> str:
    if not isinstance(value, str):
        raise _wrong("must be a string; quote it")
    return value


def run_name(value: object) -> str:
    text = any_text(value)
    problem = name_problem(text)
    if problem is not None:
        raise _wrong(problem.removeprefix("name "))
    return text


def image_size(value: object) -> str:
    """`512` without quotes is a number to YAML and a size to its reader."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _wrong(f"must be one of {', '.join(IMAGE_SIZES)}", value)
    return str(value)


def aspect_ratio(value: object) -> str | None:
    """An explicit null leaves the ratio to the model, where `defaults` names one."""
    if value is not None and not isinstance(value, str):
        raise _wrong("must be a ratio such as 16:9", value)
    return value


def modalities(value: object) -> tuple[str, ...]:
    words = tuple(sorted(map(str, value), reverse=True)) if isinstance(value, list) else ()
    if words not in MODALITIES:
        raise _wrong("must be [IMAGE] or [TEXT, IMAGE]", value)
    return words


def reference_name(value: object) -> str:
    text = filled(value)
    if re.match(r"(?i)(?!https://)[a-z][a-z0-9+.-]*://|data:", text):
        raise _wrong("must be files or https:// addresses; save the picture beside the manifest")
    return text


def one_way_to_name_pictures(given: set[str]) -> None:
    """What the keys of one reference must be together."""
    if ("path" in given) == ("column" in given):
        raise _wrong("must have either path or column, such as {path: photos/cup.jpg}")
    if "split" in given and "column" not in given:
        raise _wrong("may have split only beside column; it cuts a cell into several names")


def separator(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_SEPARATOR or value.isalnum():
        raise _wrong('must be what stands between two names in a cell, such as "," or " | "', value)
    return value


def host_name(value: object) -> str:
    """A host, or `*.` and the part of the name that many hosts have in common. Never one that is a bare address."""
    text = filled(value).lower()
    if _HOST.fullmatch(text) is None or len(text) > _LONGEST_HOST:
        raise _wrong('must be names of hosts such as cdn.example.com or "*.example.com"', value)
    return text


def base_url(value: object) -> str:
    """An address the key may be sent to. It is never repeated in a message: it may hold a password."""
    text = one_line(value)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _wrong("is not a valid address") from None
    if not host or parts.scheme not in ("http", "https") or re.search(r"[\\\s]", text) or not text.isprintable():
        raise _wrong("must be an address such as https://host/path")
    if host.endswith("aiplatform.googleapis.com"):
        # Its paths are others, and its tokens expire within the hour.
        raise _wrong("is an address of Vertex AI, which is not served; write provider: google, with a key of AI Studio")
    if "@" in parts.netloc:
        raise _wrong("must not hold a user or password; the key comes from the environment")
    if "?" in text or "#" in text:
        raise _wrong("must end before any ? or #")
    if parts.scheme == "http" and _LOOPBACK.fullmatch(host) is None:
        raise _wrong("must begin with https://; only this machine may be spoken to over http")
    return text.rstrip("/")


def proxy(value: object) -> str:
    """A proxy's address, or "" for `none`. It is never repeated in a message: it may hold a password."""
    text = one_line(value)
    if text == "none":
        return ""
    try:
        found = read_proxy(text)
    except ProxyProblem as problem:
        raise _wrong(str(problem)) from None
    if "@" in text:
        raise _wrong("must not hold a user or password; name proxy_login_env or proxy_login_file beside it")
    return found.url


def key_env(value: object) -> str:
    """The value is not shown: it may be the key itself, put in the wrong place."""
    if not isinstance(value, str) or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", value) is None:
        raise _wrong("must be the name of an environment variable such as ANYFAST_API_KEY")
    return value


def encoding(value: object) -> str:
    text = any_text(value)
    try:
        known = {codecs.lookup(name).name for name in ENCODINGS} | {"utf-8-sig"}
        name = codecs.lookup(text).name if text.isascii() and text.isprintable() else ""
    except (LookupError, ValueError):
        name = ""
    if name not in known:
        raise _wrong(f"must be one of {', '.join(ENCODINGS)}", value)
    return "utf-8-sig" if name == "utf-8" else name


def delimiter(value: object) -> str:
    named = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
    if isinstance(value, str) and value in named:
        return named[value]
    if not isinstance(value, str) or len(value) != 1 or value in '"\n\r' or value.isalnum():
        raise _wrong('must be one character such as ";" or the word tab', value)
    return value


def day_start(value: object) -> str:
    text = one_line(value)
    try:
        return DayStart.read(text).text
    except DayStartProblem as problem:
        raise _wrong(str(problem), value) from None


def sort_order(value: object) -> str | tuple[str, ...]:
    """A direction, or the words of the column from first to last, folded as they are compared."""
    if isinstance(value, list):
        words = [word.strip().casefold() if isinstance(word, str) else "" for word in value]
        if not words or "" in words or len(set(words)) < len(words):
            raise _wrong("must list words, each once, such as [high, normal, low]; quote numbers")
        return tuple(words)
    if not isinstance(value, str) or value not in ("asc", "desc"):
        raise _wrong("must be asc, desc, or a list of words from first to last such as [high, low]", value)
    return value


def kept_columns(value: object) -> str | tuple[str, ...]:
    """`all`, or names of columns."""
    if value == "all":
        return "all"
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise _wrong("must be all, or a list of columns such as [SKU, Vendor]", value)
    if len(set(names)) < len(names):
        raise _wrong("names a column twice; keep one")
    return tuple(names)


def prices(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong("must be a mapping such as {1K: 0.07}", value)
    for size, price in value.items():
        if size not in (*IMAGE_SIZES, AUTO) and pixels_in(str(size)) is None:
            raise _wrong(f"must name sizes out of {', '.join(IMAGE_SIZES)}, or pixels such as 1536x1024", size)
        fits = isinstance(price, int | float) and not isinstance(price, bool)
        if not fits or not 0 <= price <= HIGHEST_PRICE_USD:
            raise _wrong(f"must be US dollars per picture from 0 to {HIGHEST_PRICE_USD}", price)
    return {size: float(price) for size, price in value.items()}


def table_version(value: object) -> int:
    if isinstance(value, bool) or value != 1:
        raise _wrong("must be 1, the form of price tables this program reads", value)
    return 1


def whole_by_size(value: object) -> dict[str, int]:
    """Tokens of one picture, by size."""
    if not isinstance(value, dict):
        raise _wrong("must be a mapping such as {1K: 1120}", value)
    for size, tokens in value.items():
        if size not in IMAGE_SIZES:
            raise _wrong(f"must name sizes out of {', '.join(IMAGE_SIZES)}", size)
        if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= _MOST_TOKENS:
            raise _wrong(f"must be tokens per picture from 1 to {_MOST_TOKENS:,}", tokens)
    return dict(value)


def token_prices(value: object) -> dict[str, float]:
    """US dollars per million tokens; every kind has one, or some would be taken for free."""
    names = ", ".join(TOKEN_KINDS)
    if not isinstance(value, dict) or set(value) != set(TOKEN_KINDS):
        raise _wrong(f"must be a mapping with {names}", value)
    return {kind: _dollars(price, _HIGHEST_TOKEN_PRICE_USD, "per million tokens") for kind, price in value.items()}


def tag_budgets(value: object) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong("must be a mapping such as {spring: 50}", value)
    return {tag: _dollars(amount, HIGHEST_BUDGET_USD, "for each tag") for tag, amount in value.items()}


def _dollars(value: object, highest: int, what: str) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or not 0 <= value <= highest:  # type: ignore[operator]
        raise _wrong(f"must be US dollars {what} from 0 to {highest:,}", value)
    return float(value)  # type: ignore[arg-type]


def short_form(key: str, kind: type | tuple[type, ...] = str) -> BeforeValidator:
    """A plain text (or number, or list) stands for the mapping with this one key."""

    def expand(value: object) -> object:
        return {key: value} if isinstance(value, kind) else value

    return BeforeValidator(expand)


def nothing_is(value: object) -> BeforeValidator:
    """`jobs:` with nothing behind it stands for this value."""
    return BeforeValidator(lambda given: value if given is None else given)


def one_or_more(what: str) -> BeforeValidator:
    """A text or a mapping stands for the list that holds only it."""

    def expand(value: object) -> object:
        if isinstance(value, list):
            if not value:
                raise _wrong(f"must not be an empty list; name {what}")
            return value
        return [value] if isinstance(value, str | dict) else value

    return BeforeValidator(expand)


def optional(check: Callable[[object], T]) -> PlainValidator:
    """For the few fields where nothing has a meaning of its own."""

    def accept(value: object) -> T | None:
        return None if value is None else check(value)

    return PlainValidator(accept)
