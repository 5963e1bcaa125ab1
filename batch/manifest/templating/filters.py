"""What our own filters make of a cell: the words of a description, and so many of them; an id in any script."""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from typing import Final

from batch.manifest.ids import id_problem, shortened_slug

#: Tags within a word or a line. All others (paragraphs, list items, cells, line breaks) end a word.
_INLINE: Final = frozenset(
    {
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    }
)
_MARKUP: Final = re.compile(
    r"""
    </?(?!script\b|style\b)([a-z][a-z0-9:-]*+)(?:>|\s(?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+>|\s[^<>]*+>|/>)
    | <(?P<hidden>script|style)\b[^<>]*+>.*?(?:</(?P=hidden)\s*+>|\Z)   # not meant to be read
    | <!--.*?(?:-->|\Z)
    | <!\[CDATA\[ | \]\]>
    | <[!?][^<>]*+>
    | </?(?:script|style)\s*+>
    | <(?:/[^<>]*+|[a-z][a-z0-9]*+\s[^<>=]*+=[^<>]*+)\Z                 # a tag that was cut off with the text
    """,
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
#: What is left where a shop's export has escaped its HTML once more than needed.
_ESCAPED: Final = re.compile(
    r"(?i)</?(?:p|br|b|i|em|strong|span|div|ul|ol|li|h[1-6]|table|tr|td|a)\b[^<>]*>|&(?:[a-z]{2,8}|#\d{2,6});"
)
_UNSEEN: Final = re.compile("[\u00ad\u200b\u2060\ufeff]")

#: Scripts that put no space between words; each character counts as one.
_UNSPACED: Final = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_HAS_UNSPACED: Final = re.compile(f"[{_UNSPACED}]")
_WORD: Final = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}\u3000-\u3004\u3008-\u3020\u3030-\u303f\uff00-\uff65]+")
_LOOSE_END: Final = " ,;:\u2013\u2014-(/&\u3001\uff0c\uff1b\uff1a"


#: What exports put before a cell that a spreadsheet would calculate.
_GUARDED: Final = ("'=", "'+", "'-", "'@", "'\t", "'\r")
_LINE_END: Final = re.compile(r"(\\\\n)|(?:\\r)?\\n")

#: Cyrillic as it is commonly written in Latin letters. Kana and Hangul have it in their names.
_LATIN: Final = str.maketrans(
    dict(zip("абвгґдеёзиіїйклмнопрстуфхыэ", "abvggdeeziiiyklmnoprstufhye", strict=True))
    | {"ж": "zh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ю": "yu", "я": "ya", "є": "ye", "ъ": "", "ь": ""}
)
_SYLLABLE: Final = re.compile(r"(?:HIRAGANA|KATAKANA) LETTER (?:SMALL )?(\w+)|HANGUL SYLLABLE (\w+)")
_ID_DIGITS: Final = 10


def unescape(text: str) -> str:
    r"""The text as it was before an export wrote it so that its import can undo it.

    That is: a line end for `\n` (a backslash and an n), no apostrophe before a leading `=`, `+`, `-` or `@`.
    """
    text = str(text)
    if text.startswith(_GUARDED):
        text = text[1:]
    return _LINE_END.sub(lambda found: r"\n" if found[1] else "\n", text) if "\\n" in text else text


def as_id(text: str) -> str:
    """An id for a text in any script and of any length; different texts make different ids.

    A text that can be an id stays as it is. Of another one, its Latin letters and a hash are left: `chaynik-3f09...`.
    """
    text = unicodedata.normalize("NFC", str(text)).strip()
    if not text or id_problem(text, samples=1000) is None:
        return text
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_ID_DIGITS // 2).hexdigest()
    return "-".join(filter(None, (shortened_slug("".join(map(_in_latin, text.lower()))), digest)))


def _in_latin(character: str) -> str:
    if character.isascii():
        return character
    found = _SYLLABLE.match(unicodedata.name(character, ""))
    return (found[1] or found[2]).lower() if found else character.translate(_LATIN)


def strip_html(text: str) -> str:
    """The words of an HTML description: tags out, entities resolved, white space joined."""
    text = str(text)
    if "<" in text or "&" in text:
        text = _without_markup(text)
        if _ESCAPED.search(text):
            text = _without_markup(text)
        text = _UNSEEN.sub("", text)
    return " ".join(text.split())


def words(text: str, count: int) -> str:
    """The first so many words, joined by single spaces. What is short enough keeps its words, all of them."""
    text = str(text)
    if text.isascii() or _HAS_UNSPACED.search(text) is None:
        return " ".join(text.split(None, count)[:count])
    text = " ".join(text.split())
    for number, found in enumerate(_WORD.finditer(text), start=1):
        if number > count:
            return text[: found.start()].rstrip(_LOOSE_END)
    return text


def shorten(text: str, length: int) -> str:
    """At most so many characters, ended with a whole word if there is one; nothing is put in place of the rest."""
    text = " ".join(str(text).split())
    if len(text) <= length:
        return text
    end = length
    if not (text[end].isspace() or _HAS_UNSPACED.match(text[end]) or _HAS_UNSPACED.match(text[end - 1])):
        end = max(text.rfind(" ", 0, end), *(found.end() for found in _HAS_UNSPACED.finditer(text, 0, end)), 0)
        end = end if end > 0 else length
    while end > 1 and unicodedata.combining(text[end]) and end == length:
        end -= 1
    return text[:end].rstrip(_LOOSE_END)


def _without_markup(text: str) -> str:
    text = _MARKUP.sub(_in_its_place, text)
    return html.unescape(text) if "&" in text else text


def _in_its_place(found: re.Match[str]) -> str:
    tag = found[1]
    return "" if tag is not None and tag.lower() in _INLINE else " "
