"""The API key: read once, never shown, and recognised wherever it might leak."""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from batch.errors import ConfigError

MASK: Final = "***"
_KEY_SHAPES = re.compile(
    r"([?&]key=)[^&\s\"'<>]+|AIza[0-9A-Za-z_-]{35}|AQ\.[\w-]{20,}|sk-[A-Za-z0-9_-]{20,}|(Bearer )\S+"
)


#: A shorter piece of base64 could stand in any picture by chance.
_SHORTEST_BASE64: Final = 12


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
        raise ConfigError(f"no API key: set the environment variable {variable}")
    if not value.isascii() or any(character.isspace() or not character.isprintable() for character in value):
        raise ConfigError(f"the API key in {variable} contains white space or odd characters; set it again")
    if value[0] in "\"'" or value[-1] in "\"'":
        raise ConfigError(f"the API key in {variable} stands in quotes; remove them")
    return ApiKey(value)


class Redactor:
    """Replaces the key, in every spelling it may come back in, and anything that looks like a key.

    Without a key (the simulator takes any) only the latter.
    """

    def __init__(self, key: ApiKey | None) -> None:
        spellings = _spellings(key.reveal()) if key is not None else set()
        self._spellings = sorted((spelling for spelling in spellings if len(spelling) >= 4), key=len, reverse=True)

    def text(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, MASK)
        return _KEY_SHAPES.sub(lambda match: (match[1] or match[2] or "") + MASK, text)

    def data(self, data: bytes) -> bytes:
        for spelling in self._spellings:
            data = data.replace(spelling.encode(), MASK.encode())
        return data


def _spellings(value: str) -> set[str]:
    """The key as it stands in URLs, in JSON and, wherever it begins in the encoded text, in base64."""
    quoted = quote(value, safe="")
    spellings = {value, quoted, re.sub("%..", lambda escape: escape[0].lower(), quoted), json.dumps(value)[1:-1]}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value.encode())
        # Only the characters that depend on nothing but the key.
        inner = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6].decode()
        if len(inner) >= _SHORTEST_BASE64:
            spellings |= {inner, inner.replace("+", "-").replace("/", "_")}
    return spellings
