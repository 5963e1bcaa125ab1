"""The API key: read once, never shown, and recognised wherever it might leak."""

from __future__ import annotations

import base64
import copy
import hmac
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from batch.core.errors import ConfigError

MASK: Final = "***"
_KEY_SHAPES = re.compile(
    r"([?&]key=)[^&\s\"'<>]+|AIza[0-9A-Za-z_-]{35}|AQ\.[\w-]{20,}|sk-[A-Za-z0-9_-]{20,}|(Bearer )\S+"
)


#: A shorter piece of base64 could stand in any picture by chance.
_SHORTEST_BASE64: Final = 12
#: A shorter key is a word of every text.
_SHORTEST_KEY: Final = 4
#: The longest spelling of one character: eight backslashes and `u0041`, with a line end.
_LONGEST_CHARACTER: Final = 24
#: Base64 is often wrapped; the line end may be escaped.
_LINE_END: Final = r"(?:[\r\n]|\\{1,4}[rn]){0,4}"


class ApiKey:
    """Holds the key; printing, formatting or logging it shows a mask, and pickling it is refused."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the one place that puts it on the wire."""
        return self._value

    def fingerprint(self, purpose: str) -> str:
        """16 hex digits that tell keys apart and do not lead back to one; for each purpose others."""
        return hmac.new(self._value.encode(), purpose.encode(), "sha256").hexdigest()[:16]

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("an API key is not to be pickled")


def read_key(environment: Mapping[str, str], variable: str) -> ApiKey:
    """The key from an environment variable; `ConfigError` says what is wrong with it, never its value."""
    value = environment.get(variable, "").strip("\r\n")
    if not value.strip():
        raise ConfigError(
            f"no API key: set the environment variable {variable} to the key of your account, or rehearse without one "
            "(provider: simulator); nothing was sent"
        )
    return checked_key(value, variable)


def checked_key(value: str, where: str) -> ApiKey:
    """A key that stood in `where`. Raises `ConfigError` if it cannot be one."""
    if not value:
        raise ConfigError(f"the API key in {where} is empty; set it again")
    if not value.isascii() or any(character.isspace() or not character.isprintable() for character in value):
        raise ConfigError(f"the API key in {where} contains white space or odd characters; set it again")
    if value[0] in "\"'" or value[-1] in "\"'":
        raise ConfigError(f"the API key in {where} stands in quotes; remove them")
    return ApiKey(value)


class Redactor:
    """Replaces the key, in every spelling it may come back in, and anything that looks like a key.

    Each character may be escaped on its own, as JSON, URLs and HTML do it, and once more where a text was quoted in
    another. Without a key (the simulator takes any) only what looks like a key is replaced.
    """

    def __init__(self, key: ApiKey | None) -> None:
        value = key.reveal() if key is not None else ""
        self._key = re.compile(_pattern(value).encode()) if len(value) >= _SHORTEST_KEY else None
        #: No spelling of the key is longer, white space within base64 apart.
        self.reach_bytes = _LONGEST_CHARACTER * 2 * len(value)
        #: Whether the key was found in data.
        self.has_found = False

    def of_one_answer(self) -> Redactor:
        """The same, which takes note of its own finds."""
        own = copy.copy(self)
        own.has_found = False
        return own

    @property
    def has_key(self) -> bool:
        return self._key is not None

    def text(self, text: str) -> str:
        if self._key is not None:
            data = text.encode("utf-8", "surrogatepass")
            text = self._key.sub(MASK.encode(), data).decode("utf-8", "surrogatepass")
        return _KEY_SHAPES.sub(lambda match: (match[1] or match[2] or "") + MASK, text)

    def data(self, data: bytes) -> bytes:
        if self._key is None:
            return data
        masked, finds = self._key.subn(MASK.encode(), data)
        self.has_found = self.has_found or finds > 0
        return masked

    def places(self, data: bytes) -> Iterator[re.Match[bytes]]:
        """Where the key is."""
        for match in self._key.finditer(data) if self._key is not None else ():
            self.has_found = True
            yield match

    def stream(self) -> RedactingStream:
        """For data that comes in pieces."""
        return RedactingStream(self)


class RedactingStream:
    """Replaces the key in data that comes in pieces, also where one is cut by their seam."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._reach_bytes = redactor.reach_bytes
        self._held = bytearray()

    def feed(self, piece: bytes) -> bytes:
        """What can be passed on; the end is held back as far as a key could reach into the next piece."""
        if not self._redactor.has_key:
            return piece
        self._held += piece
        if len(self._held) < 4 * self._reach_bytes:  # or every small piece would search the held end again
            return b""
        data = bytes(self._held)
        cut = max(0, len(data) - self._reach_bytes)
        out, start = [], 0
        for match in self._redactor.places(data):
            if match.start() >= cut:
                break
            out += [data[start : match.start()], MASK.encode()]
            start = match.end()
        cut = max(cut, start)
        self._held = bytearray(data[cut:])
        return b"".join([*out, data[start:cut]])

    def finish(self) -> bytes:
        """The rest."""
        rest, self._held = bytes(self._held), bytearray()
        return self._redactor.data(rest)


def _pattern(value: str) -> str:
    """The key as it stands in texts, as hex digits and, wherever it begins in the encoded text, in base64.

    Begins with a set of characters, so that a search passes over all others at the speed of C.
    """
    spellings = [_Spelling(_spelled(value[0]), "".join(_any(_spelled(each)) for each in value[1:]))]
    digits = value.encode().hex()
    spellings.append(_Spelling({digits[0]: ""}, "".join(map(_either_case, digits[1:]))))
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value.encode())
        # Only the characters that depend on nothing but the key.
        inner = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6].decode()
        if len(inner) >= _SHORTEST_BASE64:
            first, *rest = map(_base64_spelled, inner)
            spellings.append(_Spelling(first, "".join(_LINE_END + _any(spelled) for spelled in rest)))
    begins = "".join(re.escape(begin) for begin in sorted({begin for each in spellings for begin in each.first}))
    return f"[{begins}](?:{'|'.join(map(_from_second, spellings))})"


class _Spelling(NamedTuple):
    """A way to write the key: how its first character may be written, and a pattern of all others."""

    first: dict[str, str]
    tail: str


def _from_second(spelling: _Spelling) -> str:
    """A pattern of what follows the first byte, with the long part in it once: that is what compiling takes."""
    first = "|".join(f"(?<={re.escape(begin)}){more}" for begin, more in spelling.first.items())
    return f"(?:{first}){spelling.tail}"


def _spelled(character: str) -> dict[str, str]:
    """The ways to write a character: how each begins, and a pattern of what follows."""
    code = "".join(map(_either_case, f"{ord(character):02x}"))
    ways = {
        "\\": rf"\\{{0,7}}(?:{re.escape(character)}|u00{code}|x{code})",
        "%": rf"(?:25){{0,3}}{code}",
        "&": rf"#(?:[xX]0{{0,4}}{code}|0{{0,4}}{ord(character)});",
    }
    escaped = ways.get(character)
    return ways | {character: "" if escaped is None else f"(?:{escaped}|)"}


def _base64_spelled(character: str) -> dict[str, str]:
    code = "".join(map(_either_case, f"{ord(character):02x}"))
    ways = {character: "", "\\": rf"\\{{0,7}}(?:u00{code}|{re.escape(character)})", "%": code}
    return ways | ({"-": ""} if character == "+" else {"_": ""} if character == "/" else {})


def _any(spelled: dict[str, str]) -> str:
    return "(?:" + "|".join(re.escape(begin) + more for begin, more in spelled.items()) + ")"


def _either_case(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else digit
