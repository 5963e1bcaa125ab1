"""Finds the answer in a body that is not plain JSON: pieces of a stream, words around it, a wrapper, small flaws.

Works on the skeleton that `json_stream` leaves, so pictures are not in memory here. Plain JSON is parsed by the
standard library; everything else is a fallback for an answer that was paid for and arrived whole.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from typing import Any, Final

#: Documents looked for in one body. A stream of one picture has a few dozen pieces.
_DOCUMENTS_AT_MOST: Final = 10_000
#: Failed starts of documents; each costs a pass over some of the text.
_FALSE_STARTS_AT_MOST: Final = 200
_DEPTH_AT_MOST: Final = 100
_WRAPPERS: Final = ("response", "data", "result", "output", "body", "answer", "payload")
_WRAPPERS_DEEP: Final = 4
#: What tells an answer of this API from a wrapper around one.
_OWN_NAMES: Final = ("candidates", "promptFeedback", "prompt_feedback", "usageMetadata", "usage_metadata")
_BYTE_ORDER_MARK: Final = "\ufeff"
_STREAM_STARTS = re.compile(r"\A\s*(?:(?:data|event|id|retry):|:[^\r\n]*[\r\n])")
_DATA_NAME = re.compile(r"^data: ?", re.MULTILINE)
_OTHER_LINES = re.compile(r"^(?:(?:event|id|retry):|:)[^\n]*$", re.MULTILINE)
#: What may stand behind a document.
_PADDING: Final = " \t\r\n\0;"
_END_LOOK_CHARACTERS: Final = 64
_LAST_WORDS = re.compile(r"\[DONE\]|\)\Z")
_ENDS_A_STREAM = re.compile(
    r'"(?:finish_?reason|block_?reason|error)": (?!null|"")|"type": "[a-z_.]*(?:completed|stop|done)"', re.IGNORECASE
)
_PRINTED_BEGIN = re.compile(r"\s*\[?\s*\{\s*'")
_OPENINGS: Final = ("{", "[", '"')
_OWN_BEGIN: Final = '"candidates"'
_DECODER: Final = json.JSONDecoder(strict=False, parse_constant=lambda _: None)


def read_answer(body: bytes, *, loosely: bool = False) -> dict[str, Any] | None:
    """The answer in a body, its pieces put together; None if there is no JSON object in it.

    `loosely`: quotes within a string may be unescaped, or all of it a dictionary as Python prints it.
    """
    text = body.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK)
    reader = LooseReader if loosely else LenientReader
    try:
        found = _mappings([_printed(text) if loosely else _parsed(text)]) or [{}]
    except (ValueError, RecursionError):
        found = _mappings(_documents(_without_event_lines(text), reader))
    pieces = [_unwrapped(each) for each in found]
    answers = [piece for piece in pieces if any(piece.get(name) is not None for name in _OWN_NAMES)]
    if len(answers) <= 1:
        return answers[0] if answers else next(iter(pieces), None)
    return _joined(answers)


def read_documents(body: bytes) -> list[Any]:
    """Everything in a body of no shape that is known: its JSON values, the text that a stream of them spells, or the
    body as a text. Nothing of a web page.
    """
    text = body.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK)
    value = _plain(text)
    if value is not None:
        return [value]
    if text.lstrip()[:1] == "<":
        return []
    documents = list(_documents(_without_event_lines(text)))
    spelled = "".join(_take_delta(document) for document in documents)
    return [*documents, *([{"text": spelled}] if spelled else [])] or [text.strip()]


def _take_delta(document: Any) -> str:
    """The words that a piece of a stream adds, as OpenAI's chat and its responses write them; taken out of it."""
    choices = document.get("choices") if isinstance(document, dict) else None
    holder = choices[0] if isinstance(choices, list) and choices else document
    if not isinstance(holder, dict):
        return ""
    delta = holder.get("delta")
    words = delta.pop("content", None) if isinstance(delta, dict) else holder.pop("delta", None)
    return words if isinstance(words, str) else ""


def is_whole(body: bytes) -> bool:
    """Whether a body is one JSON document from beginning to end."""
    return _plain(body.decode("utf-8", "replace").lstrip(_BYTE_ORDER_MARK)) is not None


def looks_cut(body: bytes) -> bool:
    """Whether a body begins as JSON, or as a stream of it, and what it ends with is not the end of that.

    JSON with flaws is taken for whole if it ends with a bracket; a stream if it says in some way that it is over.
    """
    text = body.decode("utf-8", "replace").strip(_BYTE_ORDER_MARK + _PADDING)
    stream = _without_event_lines(text)
    is_json = text.startswith(_OPENINGS) or stream is not text or _OWN_BEGIN in text
    if not is_json or _LAST_WORDS.search(text[-_END_LOOK_CHARACTERS:]) is not None or _plain(text) is not None:
        return False
    documents, position = 0, _next_start(stream, 0)
    while 0 <= position < len(stream) and documents < _DOCUMENTS_AT_MOST:
        try:
            value, position = _DECODER.raw_decode(stream, position)
        except json.JSONDecodeError as error:
            at_end = error.pos >= len(stream.rstrip()) or error.msg.startswith("Unterminated string")
            return at_end or not stream.endswith(("}", "]"))
        except RecursionError:
            return False
        if _ENDS_A_STREAM.search(json.dumps(value)) is not None:
            return False
        documents, position = documents + 1, _next_start(stream, position)
    return True


def is_own(answer: dict[str, Any]) -> bool:
    """Whether an answer has the shape of this API."""
    return any(answer.get(name) is not None for name in _OWN_NAMES)


def _parsed(text: str) -> Any:
    return json.loads(text, strict=False, parse_constant=lambda _: None)


def _printed(text: str) -> Any:
    """A value as Python prints it. Raises `ValueError`."""
    if _PRINTED_BEGIN.match(text) is None:
        raise ValueError("not printed by Python")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.literal_eval(text.strip())
    except (SyntaxError, MemoryError) as error:
        raise ValueError(str(error)) from None


def _plain(text: str) -> Any:
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        return None


def _without_event_lines(text: str) -> str:
    """The data of server-sent events, if the text consists of them."""
    if _STREAM_STARTS.match(text) is None:
        return text
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _DATA_NAME.sub("", _OTHER_LINES.sub("", lines))


def _documents(text: str, reader: type[LenientReader] | None = None) -> Iterator[Any]:
    """Every JSON object or list in a text, with whatever stands between them left out."""
    position = false_starts = 0
    for _ in range(_DOCUMENTS_AT_MOST):
        start = _next_start(text, position)
        if start < 0 or false_starts > _FALSE_STARTS_AT_MOST:
            return
        value, position = _document(text, start, reader or LenientReader)
        if _holds_something(value):
            yield value
        else:
            false_starts += 1
            position = start + 1


def _next_start(text: str, position: int) -> int:
    starts = [found for found in (text.find("{", position), text.find("[", position)) if found >= 0]
    return min(starts, default=-1)


def _document(text: str, start: int, reader: type[LenientReader]) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        lenient = reader(text, start)
        return lenient.value(), lenient.position


def _holds_something(value: Any) -> bool:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_holds_something(each) if isinstance(each, (dict, list)) else each is not None for each in inside)


def _mappings(values: Any, depth: int = 0) -> list[dict[str, Any]]:
    """All objects, those inside lists too, in order."""
    found: list[dict[str, Any]] = []
    for value in values:
        if isinstance(value, dict):
            found.append(value)
        elif isinstance(value, list) and depth < _WRAPPERS_DEEP:
            found.extend(_mappings(value, depth + 1))
    return found


def _unwrapped(mapping: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """What stands in a wrapper such as {"response": {"candidates": ...}}; anything else as it is."""
    if depth >= _WRAPPERS_DEEP or any(mapping.get(name) is not None for name in _OWN_NAMES):
        return mapping
    for name in _WRAPPERS:
        value = mapping.get(name)
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            value = _plain(value)
        pieces = [_unwrapped(each, depth + 1) for each in _mappings([value])]
        pieces = [piece for piece in pieces if any(piece.get(own) is not None for own in _OWN_NAMES)]
        if pieces:
            return _joined(pieces) if len(pieces) > 1 else pieces[0]
    return mapping


def _joined(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """One answer from its pieces: all parts in order, of everything else the last that is given."""
    whole: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        whole.update({name: value for name, value in piece.items() if value is not None and name != "candidates"})
        listed = piece.get("candidates")
        for place, candidate in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(candidate, dict):
                index = candidate.get("index")
                _extend(candidates.setdefault(index if isinstance(index, int) else place, {}), candidate)
    return {**whole, "candidates": [candidates[index] for index in sorted(candidates)]}


def _extend(candidate: dict[str, Any], more: dict[str, Any]) -> None:
    parts = _parts(candidate)
    for number, part in enumerate(_parts(more)):
        if number == 0 and parts and _is_text(parts[-1], part):
            parts[-1] = {**parts[-1], "text": parts[-1]["text"] + part["text"]}
        else:
            parts.append(part)
    candidate.update({name: value for name, value in more.items() if value is not None})
    content = more.get("content")
    candidate["content"] = {**(content if isinstance(content, dict) else {}), "parts": parts}


def _parts(candidate: dict[str, Any]) -> list[Any]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return list(parts) if isinstance(parts, list) else []


def _is_text(*parts: Any) -> bool:
    """Whether these are parts of one text, cut only by the stream. Texts in files (`spool://`) stay apart."""
    return all(
        isinstance(part, dict)
        and set(part) == {"text"}
        and isinstance(part["text"], str)
        and not part["text"].startswith("spool://")
        for part in parts
    )


class LenientReader:
    """Reads JSON with flaws: wrong escapes, trailing commas, missing closing brackets at the end.

    A string that is cut by the end of the text is left out, with its name: half a string is not what was meant.
    """

    _WHITE = re.compile(r"[\s\x00]*")
    _WORD = re.compile(r"[^\s,:{}\[\]\"]+")
    _STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
    _ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
    _SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}  # noqa: RUF012  (a constant)
    _NUMBER = re.compile(r"-?\d{1,300}(?:\.\d{1,300})?(?:[eE][+-]?\d{1,3})?")
    _CUT: Final = object()

    def __init__(self, text: str, position: int) -> None:
        self._text = text
        self.position = position

    def value(self) -> Any:
        """The object or list at the position, as far as it can be read."""
        found = self._value(0)
        return None if found is self._CUT else found

    def _peek(self) -> str:
        white = self._WHITE.match(self._text, self.position)
        assert white is not None
        self.position = white.end()
        return self._text[self.position : self.position + 1]

    def _value(self, depth: int) -> Any:
        first = self._peek()
        if depth >= _DEPTH_AT_MOST:
            self.position = len(self._text)  # the end for all levels, or each would try again
            return self._CUT
        if first == "{":
            return self._mapping(depth)
        if first == "[":
            return self._list(depth)
        return self._string() if first == '"' else self._word()

    def _mapping(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self.position += 1
        while (first := self._peek()) not in ("}", "]", ""):
            if first == ",":
                self.position += 1
                continue
            name = self._string() if first == '"' else self._word()
            if name is self._CUT or self._peek() != ":":
                break
            self.position += 1
            value = self._value(depth + 1)
            if value is self._CUT:
                break
            found[str(name)] = value
        self._close("}")
        return found

    def _list(self, depth: int) -> list[Any]:
        found: list[Any] = []
        self.position += 1
        while (first := self._peek()) not in ("]", "}", ""):
            if first == ",":
                self.position += 1
                continue
            value = self._value(depth + 1)
            if value is self._CUT:
                break
            found.append(value)
        self._close("]")
        return found

    def _close(self, bracket: str) -> None:
        if self._peek() == bracket:
            self.position += 1

    def _string(self) -> Any:
        match = self._STRING.match(self._text, self.position)
        if match is None:
            self.position = len(self._text)
            return self._CUT
        self.position = match.end()
        return self._ESCAPE.sub(self._unescaped, match[1])

    def _unescaped(self, escape: re.Match[str]) -> str:
        code = escape[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else self._SHORT.get(code, code)

    def _word(self) -> Any:
        match = self._WORD.match(self._text, self.position)
        if match is None:
            return self._CUT
        self.position = match.end()
        known = {"true": True, "false": False}
        if match[0] in known:
            return known[match[0]]
        number = self._NUMBER.fullmatch(match[0])
        return json.loads(match[0]) if number is not None and not _octal(match[0]) else None


class LooseReader(LenientReader):
    """Reads JSON whose texts have quotes that should have been escaped: a string ends where one may end."""

    _STRING = re.compile(r'"((?:[^"\\]|\\.|"(?!\s{0,100}(?:[:}\]]|,\s{0,100}(?:["{\[}\]]|\Z)|\Z)))*)"', re.DOTALL)


def _octal(digits: str) -> bool:
    return re.match(r"-?0\d", digits) is not None
