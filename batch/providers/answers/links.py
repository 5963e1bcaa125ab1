"""Web addresses in a text: the ways in which relays write that a picture lies elsewhere. Pure; nothing is opened here.

Markdown links and pictures, HTML tags, angle brackets, quotes and bare addresses are read, with the punctuation around
them taken off. What is found is a stranger's text: `addresses` says which of it may be opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

#: How much of a text is looked at, and how many addresses of it are tried.
TEXT_CHARACTERS: Final = 256 * 1024
MOST_LINKS: Final = 12
_LONGEST_URL: Final = 8_000

_SCHEME = re.compile(r"(?:https?:)?//(?=[^/\s])", re.IGNORECASE)
#: As HTML writes it. No other entity is read: `&region=` begins with one, and is a field of an address.
_AMPERSAND = re.compile(r"&(?:amp|#38|#x26);", re.IGNORECASE)
_ENCODED = re.compile(r"https?%3A%2F%2F", re.IGNORECASE)
_OWN_PATH = re.compile(r"/(?!/)[!#-&(-;=?-\[\]_a-z~]{1,2000}", re.IGNORECASE)
_PICTURE_NAME = re.compile(r"\.(?:png|jpe?g|webp|gif|avif|bmp|tiff?|heic)(?=$|[!@:~/])", re.IGNORECASE)
_PICTURE_QUERY = re.compile(
    r"(?:^|[&?=])(?:f(?:orma)?t|content[-_]?type|mime|response-content-type)=image", re.IGNORECASE
)
#: What stands in the round brackets of a Markdown link; whether it is a picture's stands before it.
_MARKDOWN_TARGET = re.compile(
    r"\]\(\s{0,20}(?:<([^<>\n]{1,8000})>|((?:[^()\s<>]|\([^()\s<>]{0,500}\)){1,8000}))(?:\s[^()\n]{0,1000})?\s{0,20}\)"
)
_TAG = re.compile(
    r"<(img|image|source|video|a|link)\b[^<>]{0,4000}?\b(?:src|href|data-src|url)\s{0,5}=\s{0,5}"
    r"(?:\"([^\"<>]{1,8000})\"|'([^'<>]{1,8000})'|([^\s\"'<>]{1,8000}))",
    re.IGNORECASE,
)
_BARE = re.compile(r"https?:(?:/|\\/){2}[!#-&(-;=?-\[\]_a-z~\\]{1,8000}", re.IGNORECASE)
_TRAILING: Final = ".,;:!?*'\\~"
_PAIRS: Final = {")": "(", "]": "["}
_SAFE: Final = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True, slots=True)
class Link:
    """An address, and whether it is written as a picture's: `![](…)`, `<img>`, or with a picture's name."""

    url: str
    likely: bool


def web_address(value: str) -> str | None:
    """A string that is nothing but a web address, in a form that can be opened; None for any other.

    Brackets, quotes and white space around it are taken off, `//host/…` is taken for https, escaped slashes are
    read, and what may not stand in an address is written with percent signs. One with words behind it is a text.
    """
    if len(value) > 2 * _LONGEST_URL:
        return None
    text = value.strip().strip("<>\"'`").strip().replace("\\/", "/").replace("\\u0026", "&")
    text = _AMPERSAND.sub("&", text)
    if _ENCODED.match(text):
        text = unquote(text, errors="replace")
    if len(text) > _LONGEST_URL or _SCHEME.match(text) is None or "\n" in text or "\r" in text:
        return None
    if text.startswith("//"):
        text = "https:" + text
    scheme, _, rest = text.partition(":")
    host, slash, path = rest[2:].partition("/")
    if not host.isascii():
        return None
    encoded = quote(path, safe=_SAFE, errors="replace")
    url = f"{scheme.lower()}://{host}{slash}{encoded}"
    return None if _is_prose(text, url) else url


def _is_prose(text: str, url: str) -> bool:
    """Whether a string that begins with an address goes on with words: `…/cup.png is ready` and not `…/my cup.png`."""
    first, *rest = text.split(maxsplit=1)
    return bool(rest) and (names_a_picture(first) or not names_a_picture(url) or _SCHEME.search(rest[0]) is not None)


def own_picture(value: str) -> str | None:
    """A path on the endpoint itself that names a picture, such as `/files/mug.png`; None for any other string."""
    path = value.strip()
    return path if _OWN_PATH.fullmatch(path) is not None and names_a_picture(path) else None


def names_a_picture(url: str) -> bool:
    """Whether an address looks like a picture's: by the end of its path, or by what its query asks for."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return _PICTURE_NAME.search(parts.path) is not None or _PICTURE_QUERY.search(parts.query) is not None


def links_in(text: str) -> list[Link]:
    """The addresses in a text, in order, each once."""
    text = text[:TEXT_CHARACTERS]
    found: dict[str, tuple[int, bool]] = {}
    for position, raw, marked in sorted(_raw_links(text)):
        url = web_address(raw)
        if url is not None:
            first, likely = found.get(url, (position, False))
            found[url] = first, likely or marked or names_a_picture(url)
    links = [(position, Link(url, likely)) for url, (position, likely) in found.items()]
    links.sort(key=lambda entry: not entry[1].likely)  # those written as pictures first, if there are too many
    return [link for _, link in sorted(links[:MOST_LINKS], key=lambda entry: entry[0])]


def _raw_links(text: str) -> Iterator[tuple[int, str, bool]]:
    """Where an address begins, what stands there, and whether it is marked as a picture's."""
    seen: set[int] = set()
    for link in _MARKDOWN_TARGET.finditer(text):
        group = 1 if link[1] is not None else 2
        seen.add(link.start(group))
        yield link.start(group), link[group], _is_image(text, link.start())
    for tag in _TAG.finditer(text):
        group = next(number for number in (2, 3, 4) if tag[number] is not None)
        seen.add(tag.start(group))
        yield tag.start(group), tag[group], tag[1].lower() in ("img", "image", "source")
    for bare in _BARE.finditer(text):
        if bare.start() not in seen:
            yield bare.start(), _trimmed(bare[0]), False


def _is_image(text: str, bracket: int) -> bool:
    """Whether the link whose text ends with the square bracket there is written as a picture."""
    opening = text.rfind("[", max(0, bracket - 1000), bracket)
    return opening > 0 and text[opening - 1] == "!"


def _trimmed(url: str) -> str:
    """Without the punctuation of the sentence it stands in; a bracket goes if its partner is not in the address."""
    while url:
        last = url[-1]
        if last in _TRAILING or (last in _PAIRS and url.count(last) > url.count(_PAIRS[last])):
            url = url[:-1]
        elif "](" in url:
            url = url[: url.index("](")]
        else:
            break
    return url
