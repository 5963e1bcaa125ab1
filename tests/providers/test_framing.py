"""One answer, framed and flawed in every way that is known: the picture, its words and its counts are found."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.providers.answers.answers import interpret_answer
from batch.providers.answers.framing import is_whole, read_answer
from batch.providers.answers.json_stream import StringSpooler
from batch.providers.base import Received

DATA = b"\x89PNG picture " * 2000
USAGE = {"promptTokenCount": 8, "candidatesTokenCount": 1120}
PICTURE = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(DATA).decode()}}


def message(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **more}]}


def lines(*pieces: dict[str, Any], between: str = "\n\n", before: str = "data: ") -> str:
    return between.join(before + json.dumps(piece) for piece in pieces) + between


WHOLE = {**message({"text": "A mountain at dawn"}, PICTURE, finishReason="STOP"), "usageMetadata": USAGE}
PLAIN = json.dumps(WHOLE)
PIECES = (
    message({"text": "A mountain"}),
    {**message({"text": " at dawn"}), "usageMetadata": {"promptTokenCount": 8}},
    {**message(PICTURE), "usageMetadata": USAGE},
    message(finishReason="STOP"),
)
FRAMED = {
    "plain": PLAIN,
    "list of one": json.dumps([WHOLE]),
    "list of pieces": json.dumps(PIECES, indent=1),
    "list of lists": json.dumps([[piece] for piece in PIECES]),
    "end mark": PLAIN + "\n\ndata: [DONE]\n\n",
    "bare end mark": PLAIN + "[DONE]",
    "events": lines(*PIECES) + "data: [DONE]\n\n",
    "events, CRLF": lines(*PIECES, between="\r\n\r\n"),
    "events, CR": lines(*PIECES, between="\r\r"),
    "events without spaces": lines(*PIECES, before="data:"),
    "events with names": lines(*PIECES, before="event: message\nid: 7\nretry: 10\ndata: "),
    "events and comments": ': keep-alive "x\n\n' + lines(*PIECES, before=": OPENROUTER PROCESSING\n\ndata: "),
    "one event of many lines": "data: " + json.dumps(WHOLE, indent=1).replace("\n", "\ndata: ") + "\n\n",
    "a line each": lines(*PIECES, between="\n", before=""),
    "behind each other": lines(*PIECES, between="", before=""),
    "record separators": lines(*PIECES, between="\n", before="\x1e"),
    "byte-order mark": "\ufeff" + PLAIN,
    "second document": PLAIN + '{"log":"done","ms":12}',
    "guarded": ")]}'\n" + PLAIN,
    "endless loop guard": "for(;;);" + PLAIN,
    "callback": f"/**/callback_1({PLAIN});",
    "variable": f"var answer = {PLAIN};",
    "warning before": '<br />\n<b>Warning</b>: Undefined array key "x in <b>/a.php</b> on line 3\n' + PLAIN,
    "warning of a log before": "[27-Nov-2026 10:00:00 UTC] PHP Warning: x\n" + PLAIN,
    "words behind": PLAIN + "\n<!-- 0.31 s -->",
    "NULs behind": PLAIN + "\0\0\0",
    "code fence": f"```json\n{PLAIN}\n```",
    "in response": json.dumps({"response": WHOLE}),
    "in data": json.dumps({"code": 200, "msg": "ok", "data": WHOLE}),
    "in data, listed": json.dumps({"data": [WHOLE]}),
    "in result, deep": json.dumps({"result": {"output": {"response": WHOLE}}}),
    "listed responses": json.dumps([{"response": piece} for piece in PIECES]),
    "events with a wrapper": lines(*({"response": piece} for piece in PIECES)),
    "trailing commas": PLAIN.replace("}]", "},]").replace("}}", ",}}", 1),
    "a word for nothing": PLAIN.replace('"role": "model"', '"role": undefined, "odd": NaN'),
    "no closing brackets": PLAIN[: PLAIN.index(', "usageMetadata"')] + ', "usageMetadata": ' + json.dumps(USAGE),
}


def received(body: bytes, folder: Any, size: int = 1 << 16) -> Received:
    """What the spool would hold of a body that arrived in pieces of `size` bytes."""
    files: list[Any] = []

    def new_blob() -> Any:
        files.append(folder())
        return files[-1]

    strings = StringSpooler(new_blob)
    for start in range(0, len(body), size):
        strings.feed(body[start : start + size])
    skeleton, blobs = strings.finish()
    return Received(status=200, headers={}, body=skeleton, blobs=blobs, seconds=1.0)


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
@pytest.mark.parametrize("framing", FRAMED)
def test_one_answer_is_found_however_it_is_framed(framing: str, size: int, tools: Any) -> None:
    """Picture, caption and the last counts are those of the plain answer."""
    spool = tools.MemorySpool()
    answer = interpret_answer(received(FRAMED[framing].encode(), spool.new_blob, size))
    (picture,) = answer.pictures
    assert picture.blob is not None
    assert bytes(spool.files[int(picture.blob.file)].data) == DATA
    assert answer.usage is not None
    assert answer.usage.reported == USAGE
    assert answer.caption == "A mountain at dawn"


FLAWED = {
    "line ends and tabs": (b"a\n\tb", "a\n\tb"),
    "NUL": (b"a\0b", "a\0b"),
    "broken UTF-8": (b"a\xff\xc3b", "a\ufffd\ufffdb"),
    "half a pair": (rb"a\ud800b", "a\ufffdb"),
    "quote of another language": (rb"it\'s", "it's"),
    "byte escape": (rb"caf\xe9", "caf\u00e9"),
    "an escape of nothing": (rb"C:\qeue", "C:qeue"),
    "an unfinished escape": (rb"\u12 o'clock", "u12 o'clock"),
}


@pytest.mark.parametrize("flaw", FLAWED)
def test_a_flaw_in_the_words_does_not_cost_the_picture(flaw: str, tools: Any) -> None:
    """The words are kept as far as they can be read."""
    raw, caption = FLAWED[flaw]
    answer = interpret_answer(
        received(PLAIN.encode().replace(b"A mountain at dawn", raw), tools.MemorySpool().new_blob)
    )
    assert (len(answer.pictures), answer.caption) == (1, caption)


def test_thoughts_in_pieces_stay_thoughts(tools: Any) -> None:
    """Pieces that are thoughts are not joined to the words, and their pictures are no result."""
    pieces = [message({"text": "hmm", "thought": True}), message({**PICTURE, "thought": True}), *PIECES]
    answer = interpret_answer(received(json.dumps(pieces).encode(), tools.MemorySpool().new_blob))
    assert (len(answer.pictures), answer.caption) == (1, "A mountain at dawn")


def test_a_string_that_was_cut_is_left_out() -> None:
    """Half a picture, or half an address, is not what was meant."""
    assert read_answer(b'{"candidates":[{"content":{"parts":[{"text":"a"},{"url":"https://h/pic') == message_of("a")
    assert not is_whole(b'{"a":1')
    assert is_whole(b'\xef\xbb\xbf{"a":1}')


def message_of(text: str) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}, {}]}}]}


@given(st.text(alphabet='{}[]",:\\ \n0x-e.tfnu"data:', max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever stands in a body, reading it ends with an object or with none."""
    found = read_answer(text.encode())
    assert found is None or isinstance(found, dict)


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":[', "data: {\n", '{"a" ', "[,", "[1}"])
def test_deep_or_endless_nesting_is_read_in_little_time(unit: str) -> None:
    """What would take exponential time is given up; the suite's own limit is the clock."""
    assert read_answer((unit * 100_000).encode()) in (None, {}) or unit == "[1}"
