"""Where an answer holds its pictures.

First the parts of Gemini's own shape, where a picture is what it says it is. If they hold none, every string of the
answer is looked at, wherever it stands: relays put pictures into the places of other image APIs, into JSON inside a
text, or name an address in a sentence. There a picture must look like one: base64 by its first bytes, an address by the
name of its field or its own. What such an address leads to is only known when it is opened, so it has a `rank`.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pybase64

from batch.core.signatures import HEAD_BYTES, begins_as_picture
from batch.providers.answers.json_stream import REFERENCE_PREFIX
from batch.providers.answers.links import links_in, names_a_picture, own_picture, web_address
from batch.providers.answers.told import no_surrogates
from batch.providers.base import Blob, Picture

#: Captions are kept up to this length; a longer text is not a caption.
CAPTION_CHARACTERS: Final = 64 * 1024
#: `Picture.rank`: a picture by its place; an address in a field; an address in a text.
CERTAIN, IN_A_FIELD, IN_A_TEXT = 0, 1, 2
#: JSON inside a text inside JSON is read this deep.
_DEEPEST_TEXT: Final = 3
_MOST_STRINGS: Final = 20_000
#: A text that was too long for memory is read again up to here, if no picture was found elsewhere.
_LONG_TEXT_BYTES: Final = 64 << 20

_REFERENCE = re.compile(re.escape(REFERENCE_PREFIX) + r"(\d{1,6})")
_MARKDOWN_IMAGE = re.compile(
    r"!\[[^\]\n]{0,1000}\]\(\s{0,20}(?:(https?://[^)\s]{1,4000})(?:\s[^)]{0,1000})?|(data:[^)]+))\)"
)
#: What is left of a picture in Markdown without its data.
_EMPTY_LINK = re.compile(r"!\[[^\]]*\]\(\s*\)\s*|!\[[^\]]*\]\(\s*\Z")
_DATA_URL = re.compile(r"(?:data:)?([a-zA-Z0-9.+/-]*)(?:;[a-zA-Z0-9=.-]+)*;?base64,(.*)", re.DOTALL | re.IGNORECASE)
_EMBEDDED = re.compile(r"base64,((?:[A-Za-z0-9+/_-]|\r?\n){16,}={0,2})")
_FENCE = re.compile(r"```[a-zA-Z0-9]*\s*\n?(.*?)```", re.DOTALL)
_OPENING = re.compile(r"\{\s*\"|\[\s*[\{\"]")
#: Bytes as Python prints them, by a relay that forgot to decode its base64.
_PRINTED_BYTES = re.compile(r"b'([A-Za-z0-9+/=_-]*)'")
#: A reference to a long string, or base64 that stands anywhere.
_ANY_DATA = re.compile("(" + re.escape(REFERENCE_PREFIX) + r"\d{1,6})|((?:[A-Za-z0-9+/_-]|\\[/nr]|\s){100,}={0,2})")
_PICTURE_FIELD = re.compile(
    r"ur[li]s?$|image|img|picture|photo|^src$|^href$|^link$|^outputs?$|^results?$|^data$|^files?$|download|media|attachment"
    r"|artifact|asset|content$|text$",
    re.IGNORECASE,
)
#: Fields whose addresses, texts and strings are never the picture that was asked for.
_OTHER_FIELDS: Final = frozenset(
    (
        *("groundingmetadata", "citationmetadata", "urlcontextmetadata", "promptfeedback", "usagemetadata", "usage"),
        *("safetyratings", "thoughtsignature", "reasoning", "reasoningcontent"),
        *("input", "inputs", "request", "references", "prompt", "revisedprompt"),
        *("webhook", "callback", "docs", "docurl", "docsurl", "helpurl", "homepage", "avatar"),
    )
)
_CAPTION_FIELDS: Final = frozenset(("text", "content", "outputtext"))
_ADDRESS_NAMES: Final = ("fileUri", "file_uri", "uri", "url", "image_url", "imageUrl", "href", "src", "link")


def pick(mapping: Any, *names: str) -> Any:
    """The first of several spellings that is there."""
    if isinstance(mapping, dict):
        for name in names:
            if mapping.get(name) is not None:
                return mapping[name]
    return None


class PictureFinder:
    """Collects the pictures and the words of one answer, in order."""

    def __init__(self, blobs: tuple[Blob, ...]) -> None:
        self._blobs = blobs
        self._texts: list[str] = []
        self._long_texts: list[Blob] = []
        self._unreadable: list[Picture] = []
        self.pictures: list[Picture] = []
        self.warnings: list[str] = []

    def caption(self) -> str:
        addresses = {picture.url for picture in self.pictures if picture.url is not None}
        words = (text.strip() for text in self._texts)
        text = "\n".join(text for text in words if text and web_address(text) not in addresses).strip()
        return no_surrogates(text)[:CAPTION_CHARACTERS]

    def read_part(self, part: Mapping[str, Any]) -> None:
        """A part of a candidate, where pictures are what they say they are. A thought is passed over."""
        if part.get("thought") is True:
            return
        for names in (("inlineData", "inline_data"), ("fileData", "file_data")):
            holder = pick(part, *names)
            if isinstance(holder, dict):
                self._holder(holder)
        self._address(part.get("url"), None)
        for name in ("image", "image_url", "imageUrl"):
            value = part.get(name)
            self._address(value.get("url") if isinstance(value, dict) else value, None)
        if isinstance(part.get("text"), str):
            self._text(part["text"])

    def search(self, tree: Any) -> None:
        """Every string of the answer, for what looks like a picture; without one, the addresses in its texts."""
        texts, captions = [], []
        for name, value in _strings(tree):
            if not self._from_string(value, name, depth=0) and self._blob(value) is None:
                texts.append(value)
                captions += [_MARKDOWN_IMAGE.sub("", value).strip()] if name in _CAPTION_FIELDS else []
        self._texts = self._texts or captions
        if not any(picture.rank < IN_A_FIELD for picture in self.pictures):
            for text in [*texts, *self._read_again()]:
                for link in links_in(text):
                    self._add(Picture(url=link.url, rank=IN_A_TEXT, likely=link.likely))
        if not self.pictures:
            self.pictures = self._unreadable

    def take_any(self, body: bytes) -> None:
        """Whatever in a body begins as a picture, in order, where its JSON cannot be read."""
        for match in _ANY_DATA.finditer(body.decode("utf-8", "replace")):
            blob = self._blob(match[1] or "")
            if blob is not None and blob.is_base64 and begins_as_picture(_head(blob)):
                self._add(Picture(blob=blob))
            data = _decoded(match[2].replace("\\/", "/").replace("\\n", "").replace("\\r", "")) if match[2] else b""
            if begins_as_picture(data[:HEAD_BYTES]):
                self._add(Picture(data=data))

    def _holder(self, holder: Mapping[str, Any]) -> None:
        """`inlineData` or `fileData`: a string of data, or an address beside it."""
        data, mime = holder.get("data"), _mime(holder)
        addresses = [holder.get(name) for name in _ADDRESS_NAMES if _is_address(holder.get(name))]
        if isinstance(data, str) and data.strip() and (not addresses or self._is_plausible(data)):
            if not self._value(data, mime):
                self._unreadable.append(Picture(data=b"", declared_mime=mime))
            return
        for address in addresses:
            self._address(address, mime)

    def _is_plausible(self, data: str) -> bool:
        """Whether `data` holds the picture itself, when an address stands beside it."""
        if self._blob(data) is not None or web_address(data) is not None:
            return True
        return begins_as_picture(_decoded(data)[:HEAD_BYTES])

    def _value(self, value: str, mime: str | None) -> bool:
        """A string that is base64, a data URL, a web address (also as base64), or points into the spool."""
        blob = self._blob(value)
        address = web_address(value) if blob is None else None
        if blob is not None:
            data = b"" if blob.is_base64 else _recovered(blob)
            return self._add(Picture(data=data, declared_mime=mime) if data else Picture(blob=blob, declared_mime=mime))
        if address is not None:
            return self._add(Picture(url=address, declared_mime=mime))
        data_url = _DATA_URL.fullmatch(value.strip())
        data = _decoded(data_url[2] if data_url else value)
        if not data:
            return False
        address = _address_of(data)
        if address is not None:
            return self._add(Picture(url=address, declared_mime=mime))
        return self._add(Picture(data=data, declared_mime=(data_url[1] if data_url else None) or mime))

    def _address(self, value: Any, mime: str | None) -> None:
        if _is_address(value):
            self._value(value, mime)

    def _text(self, text: str) -> None:
        """A part's text. A data URL in it is a picture; an address is only one if the answer holds no other."""
        blob = self._blob(text)
        if blob is not None:
            self._long_text(blob)
            return
        for link in _MARKDOWN_IMAGE.finditer(text):
            if link[2] is not None:
                self._address(link[2].strip(), None)
        remaining = _MARKDOWN_IMAGE.sub("", text).strip()
        if remaining[:5].lower() == "data:" and _DATA_URL.fullmatch(remaining) is not None:
            self._address(remaining, None)
        else:
            self._texts.append(remaining)

    def _long_text(self, blob: Blob) -> None:
        """A text too long for memory: a picture with words around it, or just very many words."""
        if blob.is_base64:
            self._embedded(blob)
        else:
            self.warnings.append("caption_cut")
            self._long_texts.append(blob)
            self._texts.append(_text_of(blob, CAPTION_CHARACTERS))

    def _embedded(self, blob: Blob) -> bool:
        """A picture with words around it, as a text may hold it."""
        words = blob.lead + blob.tail
        self._add(Picture(blob=blob))
        for more in self._blobs[self._blobs.index(blob) + 1 :] if blob.goes_on else ():
            words += more.tail
            self._add(Picture(blob=more))
            if not more.goes_on:
                break
        self._texts.append(_EMPTY_LINK.sub("", words))
        return True

    def _from_string(self, value: str, name: str, *, depth: int) -> bool:
        """Take the picture a string is, or those of the JSON it holds; False if there is none."""
        blob = self._blob(value)
        if blob is not None:
            if blob.is_base64:
                return begins_as_picture(_head(blob)) and self._embedded(blob)
            self._long_texts += [] if blob in self._long_texts else [blob]
            return False
        address = web_address(value)
        if address is not None:
            is_likely = _PICTURE_FIELD.search(name) is not None or names_a_picture(address)
            return is_likely and self._add(Picture(url=address, rank=IN_A_FIELD, likely=True))
        path = own_picture(value) if _PICTURE_FIELD.search(name) is not None else None
        if path is not None:
            return self._add(Picture(url=path, rank=IN_A_FIELD, likely=True))
        data_url = _DATA_URL.fullmatch(value.strip()) if "base64," in value[:200] else None
        data = _decoded(data_url[2] if data_url else value)
        if begins_as_picture(data[:HEAD_BYTES]):
            return self._add(Picture(data=data, declared_mime=(data_url[1] or None) if data_url else None))
        address = _address_of(data)
        if address is not None:
            return self._add(Picture(url=address, rank=IN_A_FIELD, likely=True))
        return self._from_text(value, depth)

    def _from_text(self, text: str, depth: int) -> bool:
        """Pictures inside a text: data URLs, and JSON with or without words or a fence around it."""
        found = False
        for embedded in _EMBEDDED.finditer(text):
            data = _decoded(embedded[1])
            found = (begins_as_picture(data[:HEAD_BYTES]) and self._add(Picture(data=data))) or found
        if depth < _DEEPEST_TEXT and not found:
            for inner in _json_in(text):
                for name, value in _strings(inner):
                    found = self._from_string(value, name, depth=depth + 1) or found
        return found

    def _read_again(self) -> Iterator[str]:
        """Long texts in full, if nothing else was found."""
        for blob in self._long_texts if not self.pictures else ():
            text = _text_of(blob, _LONG_TEXT_BYTES)
            if not self._from_string(text, "text", depth=0):
                yield text

    def _add(self, picture: Picture) -> bool:
        """Take a picture in, unless it is an address that is known already."""
        if picture.url is None or all(known.url != picture.url for known in self.pictures):
            self.pictures.append(picture)
        return True

    def _blob(self, value: str) -> Blob | None:
        match = _REFERENCE.fullmatch(value)
        if match is None or int(match[1]) >= len(self._blobs):
            return None
        return self._blobs[int(match[1])]


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(("data:", REFERENCE_PREFIX)) or web_address(value) is not None)


def _strings(tree: Any) -> Iterator[tuple[str, str]]:
    """Every string of a JSON value in order, with the name of the field it stands in, in lower case without `_`."""
    waiting: list[tuple[str, Any]] = [("", tree)]
    for _ in range(_MOST_STRINGS):
        if not waiting:
            return
        name, value = waiting.pop()
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, list):
            waiting.extend((name, entry) for entry in reversed(value[:_MOST_STRINGS]))
        elif isinstance(value, dict) and value.get("thought") is not True:
            fields = ((str(key).lower().replace("_", ""), entry) for key, entry in value.items())
            waiting.extend(reversed([field for field in fields if field[0] not in _OTHER_FIELDS]))


def _json_in(text: str) -> Iterator[Any]:
    """JSON values in a text: the whole of it, what stands between fences, or what begins somewhere in it."""
    if "{" not in text and "[" not in text:
        return
    for candidate in (text, *(fence[1] for fence in _FENCE.finditer(text))):
        value = _loaded(candidate.strip())
        if isinstance(value, (dict, list)):
            yield value
            return
    decoder, position = json.JSONDecoder(strict=False), 0
    for _ in range(20):
        opening = _OPENING.search(text, position)
        if opening is None:
            return
        try:
            value, position = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            position = opening.end()
        else:
            yield value


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _decoded(text: str) -> bytes:
    """The bytes of base64 in any of its spellings; empty if it is none."""
    printed = _PRINTED_BYTES.fullmatch(text)
    clean = "".join((printed[1] if printed else text).split()).strip("\"'").replace("-", "+").replace("_", "/")
    try:
        return pybase64.b64decode(clean + "=" * (-len(clean) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _recovered(blob: Blob) -> bytes:
    """The picture in a string that was spooled as it came because it does not look like base64."""
    text = _text_of(blob, _LONG_TEXT_BYTES).strip()
    data_url = _DATA_URL.fullmatch(text) if "base64," in text[:200] else None
    data = _decoded(data_url[2] if data_url else text)
    return data if begins_as_picture(data[:HEAD_BYTES]) else b""


def _address_of(data: bytes) -> str | None:
    """The web address that bytes spell, if they do."""
    if not data[:8].lower().startswith((b"http://", b"https://")) or len(data) > 8000:
        return None
    return web_address(data.decode("utf-8", "replace"))


def _text_of(blob: Blob, most: int) -> str:
    """The first characters of a text that was spooled raw (JSON escapes and all)."""
    raw = _head(blob, most)
    raw = re.sub(rb"\\(?:u[0-9a-fA-F]{0,3})?\Z", b"", raw)
    try:
        return str(json.loads(b'"' + raw + b'"', strict=False))
    except ValueError:
        return raw.decode("utf-8", "replace")


def _head(blob: Blob, most: int = HEAD_BYTES) -> bytes:
    try:
        with open(blob.file, "rb") as file:
            return file.read(most)
    except OSError:
        return b""


def _mime(mapping: Mapping[str, Any]) -> str | None:
    value = pick(mapping, "mimeType", "mime_type")
    return value[:100] if isinstance(value, str) else None
