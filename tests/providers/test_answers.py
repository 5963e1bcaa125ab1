"""Every shape an answer 200 is known to come in, and what it means for the job and the money."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import AttemptError, EndpointDown, Paid, Refused, Unusable
from batch.core.usage import Usage
from batch.providers.answers.answers import interpret_answer
from batch.providers.answers.picture_places import CAPTION_CHARACTERS
from batch.providers.base import Blob, Picture

PNG = b"\x89PNG\r\n\x1a\n small"
B64 = base64.b64encode(PNG).decode()
URL = "https://host.example/x.png?expires=1"
AS_BYTES = Picture(data=PNG, declared_mime="image/png")
AS_URL = Picture(url=URL, declared_mime="image/png")
BARE_BYTES, BARE_URL = Picture(data=PNG), Picture(url=URL)
FIELD_URL = Picture(url=URL, rank=1, likely=True)
TEXT_URL = Picture(url=URL, rank=2, likely=True)


def message(*parts: Any, finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **more}


IMAGE = {"inlineData": {"mimeType": "image/png", "data": B64}}

PART_SHAPES = {
    "inlineData": (IMAGE, AS_BYTES),
    "inline_data": ({"inline_data": {"mime_type": "image/png", "data": B64}}, AS_BYTES),
    "mixed": ({"inlineData": {"mime_type": "image/png", "data": B64}}, AS_BYTES),
    "url-safe, unpadded": ({"inlineData": {"data": base64.urlsafe_b64encode(PNG).decode().rstrip("=")}}, BARE_BYTES),
    "lines": ({"inlineData": {"data": B64[:8] + "\r\n " + B64[8:]}}, BARE_BYTES),
    "A": ({"fileData": {"mimeType": "image/png", "fileUri": URL}}, AS_URL),
    "A'": ({"file_data": {"mime_type": "image/png", "file_uri": URL}}, AS_URL),
    "fileData.uri": ({"fileData": {"uri": URL}}, BARE_URL),
    "B": ({"inlineData": {"mimeType": "image/png", "data": URL}}, AS_URL),
    "B'": ({"inlineData": {"data": f"data:image/png;base64,{B64}"}}, AS_BYTES),
    "C": ({"inlineData": {"mimeType": "image/png", "url": URL}}, AS_URL),
    "D": ({"text": f"![image]({URL})"}, TEXT_URL),
    "D, titled": ({"text": f'![image]( {URL} "title")'}, TEXT_URL),
    "D'": ({"text": f"![image](data:image/png;base64,{B64})"}, AS_BYTES),
    "data URL as text": ({"text": f" data:image/png;base64,{B64}\n"}, AS_BYTES),
    "E": ({"text": f"  {URL}\n"}, FIELD_URL),
    "F url": ({"url": URL}, BARE_URL),
    "F image": ({"image": {"url": URL}}, BARE_URL),
    "F image_url": ({"image_url": {"url": URL}}, BARE_URL),
    "F image_url bare": ({"image_url": URL}, BARE_URL),
}


@pytest.mark.parametrize("shape", PART_SHAPES)
def test_every_shape_of_a_picture_part_is_read(tools: Any, shape: str) -> None:
    """Base64, data URLs, links and Markdown are all one picture."""
    part, picture = PART_SHAPES[shape]
    answer = interpret_answer(tools.received(message(part)))
    assert answer.pictures == (picture,)
    assert answer.caption is None


TOP_SHAPES = {
    "images of URLs": ({"images": [URL]}, FIELD_URL),
    "images of objects": ({"images": [{"url": URL}]}, FIELD_URL),
    "images of data URLs": ({"images": [{"image_url": {"url": f"data:image/png;base64,{B64}"}}]}, AS_BYTES),
    "data of URLs": ({"created": 1, "data": [{"url": URL}]}, FIELD_URL),
    "data of base64": ({"created": 1, "data": [{"b64_json": B64}]}, BARE_BYTES),
    "inside a list": ([message(IMAGE)], AS_BYTES),
}


@pytest.mark.parametrize("shape", TOP_SHAPES)
def test_pictures_at_the_top_are_found(tools: Any, shape: str) -> None:
    """Where other image APIs put pictures is looked at when the parts hold none."""
    tree, picture = TOP_SHAPES[shape]
    assert interpret_answer(tools.received(tree)).pictures == (picture,)


def test_a_picture_in_the_spool_is_found_by_its_number(tools: Any) -> None:
    """A reference that the decoder left stands for its file, wherever a string may stand."""
    blob = Blob(file="f", size_bytes=9)
    parts = [{"inlineData": {"data": "spool://0"}}, {"fileData": {"fileUri": "spool://0"}}, {"text": "spool://0"}]
    answer = interpret_answer(tools.received(message(*parts), blobs=(blob,)))
    assert [picture.blob for picture in answer.pictures] == [blob] * 3


def test_a_reference_to_a_file_that_is_not_there_is_no_picture(tools: Any) -> None:
    """A server that writes our own reference points at nothing."""
    answer = interpret_answer(tools.received(message({"inlineData": {"data": "spool://7"}}, IMAGE)))
    assert answer.pictures[-1] == AS_BYTES
    assert answer.pictures[0].blob is None


def test_thoughts_are_skipped_and_the_last_picture_is_the_result(tools: Any) -> None:
    """Drafts marked as thought do not count; of several pictures the order is kept."""
    thought = {"thought": True, "text": "I think", **IMAGE}
    other = {"inlineData": {"data": base64.b64encode(b"first").decode()}, "thoughtSignature": B64}
    answer = interpret_answer(tools.received(message(thought, other, {"text": "and"}, IMAGE)))
    assert answer.pictures == (Picture(data=b"first"), AS_BYTES)
    assert answer.caption == "and"


def test_further_candidates_are_kept_before_the_first_ones_result(tools: Any) -> None:
    """Everything that came is paid for; the result is the first candidate's."""
    first, second = message(IMAGE)["candidates"], message({"url": URL})["candidates"]
    answer = interpret_answer(tools.received({"candidates": first + second}))
    assert answer.pictures == (BARE_URL, AS_BYTES)
    assert answer.warnings == ("several_candidates",)


@pytest.mark.parametrize("text", [URL, f"Inspired by ![x]({URL})", f"see {URL}", "![x](attachment:1)"])
def test_a_link_beside_a_picture_is_only_words(tools: Any, text: str) -> None:
    """A caption that names a web address must not replace the picture that was paid for."""
    answer = interpret_answer(tools.received(message(IMAGE, {"text": text})))
    assert answer.pictures == (AS_BYTES,)


def test_two_candidates_without_pictures_are_one_failure(tools: Any) -> None:
    """The first candidate's reason speaks for all."""
    tree = message(finish="NO_IMAGE")
    tree["candidates"].append({"finishReason": "STOP"})
    with pytest.raises(Unusable, match="NO_IMAGE"):
        interpret_answer(tools.received(tree))


CAPTIONS = {
    "half \ud83d a pair": "half \ufffd a pair",
    "a pair \ud83d\ude00": "a pair \U0001f600",
    " 中文 \n": "中文",
    "bell\x07 \x1b[31m": "bell\x07 \x1b[31m",
    f"words ![image]({URL}) more": "words  more",
    "x" * (CAPTION_CHARACTERS + 1): "x" * CAPTION_CHARACTERS,
}


@pytest.mark.parametrize(("text", "caption"), CAPTIONS.items(), ids=range(len(CAPTIONS)))
def test_captions_are_kept_as_text_that_can_be_written(tools: Any, text: str, caption: str) -> None:
    """Surrogates are replaced, Markdown pictures taken out, the length bounded."""
    assert interpret_answer(tools.received(message({"text": text}, IMAGE))).caption == caption


def test_a_spooled_caption_is_cut_with_a_warning(tools: Any, tmp_path: Path) -> None:
    """A text too long for memory gives its beginning, cut between characters."""
    file = tmp_path / "0"
    file.write_bytes(rb"\u4e2d\n" * 50_000)
    blob = Blob(file=str(file), size_bytes=1, is_base64=False)
    answer = interpret_answer(tools.received(message({"text": "spool://0"}, IMAGE), blobs=(blob,)))
    assert answer.caption is not None
    assert answer.caption.startswith("中\n中\n")
    assert answer.warnings == ("caption_cut",)


def test_words_around_a_spooled_markdown_picture_are_the_caption(tools: Any) -> None:
    """The Markdown brackets go, the words stay."""
    blob = Blob(file="f", size_bytes=9, lead="Here: ![image](", tail=") done")
    answer = interpret_answer(tools.received(message({"text": "spool://0"}), blobs=(blob,)))
    assert (answer.pictures, answer.caption) == ((Picture(blob=blob),), "Here: done")


FINISHES: dict[str | None, tuple[type[AttemptError], int | None]] = {
    "STOP": (Unusable, 1),
    "NO_IMAGE": (Unusable, 2),
    "IMAGE_OTHER": (Unusable, 2),
    "OTHER": (Unusable, 2),
    "MALFORMED_RESPONSE": (Unusable, 2),
    "FINISH_REASON_UNSPECIFIED": (Unusable, 2),
    None: (Unusable, 2),
    "SOMETHING_NEW": (Unusable, 1),
    **dict.fromkeys(
        (
            "IMAGE_RECITATION",
            "RECITATION",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "PROHIBITED_CONTENT",
            "SAFETY",
            "BLOCKLIST",
            "SPII",
            "LANGUAGE",
            "MODEL_ARMOR",
            "ESCALATION",
            "MAX_TOKENS",
            "CONTINUATION",
            "MALFORMED_FUNCTION_CALL",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
        ),
        (Refused, None),
    ),
    "PUP_LIMITED_DISABLED": (EndpointDown, None),
}


@pytest.mark.parametrize("spelling", ["finishReason", "finish_reason"])
@pytest.mark.parametrize("finish", FINISHES)
def test_every_finish_reason_without_a_picture_has_its_class(tools: Any, finish: str | None, spelling: str) -> None:
    """The reason decides whether asking again makes sense; all of it was charged."""
    kind, retries = FINISHES[finish]
    tree = {"candidates": [{"content": {"role": "model"}} | ({spelling: finish} if finish else {})]}
    with pytest.raises(kind) as caught:
        interpret_answer(tools.received(tree))
    assert type(caught.value) is kind
    assert getattr(caught.value, "retries", None) == retries
    assert caught.value.paid is Paid.YES


POLICY = ["IMAGE_SAFETY", "SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST", "RECITATION"]


@pytest.mark.parametrize("finish", POLICY)
def test_a_picture_with_a_safety_finish_is_no_success(tools: Any, finish: str) -> None:
    """The provider says it must not be used: refused, paid, and the message says that it is kept."""
    with pytest.raises(Refused, match="kept aside") as caught:
        interpret_answer(tools.received(message(IMAGE, finish=finish)))
    assert (caught.value.code, caught.value.paid) == (finish.lower(), Paid.YES)


@pytest.mark.parametrize("parts", [(), (IMAGE,)])
def test_a_disabled_account_stops_the_run(tools: Any, parts: tuple[Any, ...]) -> None:
    """No further request can help, whether a picture came along or not."""
    with pytest.raises(EndpointDown) as caught:
        interpret_answer(tools.received(message(*parts, finish="PUP_LIMITED_DISABLED")))
    assert (caught.value.code, caught.value.paid) == ("account_limited", Paid.YES)


@pytest.mark.parametrize("finish", ["MAX_TOKENS", "SOMETHING_NEW"])
def test_a_picture_with_another_odd_finish_is_a_success_with_a_warning(tools: Any, finish: str) -> None:
    """It was paid for and nobody says it must not be used."""
    assert interpret_answer(tools.received(message(IMAGE, finish=finish))).warnings == (f"finish_{finish.lower()}",)


BLOCKS: dict[str, type[AttemptError]] = {
    **dict.fromkeys(["SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "JAILBREAK"], Refused),
    **dict.fromkeys(["OTHER", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED"], Unusable),
    "NEW_ONE": Refused,
}


@pytest.mark.parametrize("reason", BLOCKS)
def test_every_block_reason_has_its_class(tools: Any, reason: str) -> None:
    """A blocked prompt is final, except where no reason is given."""
    for tree in ({"promptFeedback": {"blockReason": reason}}, {"prompt_feedback": {"block_reason": reason}}):
        with pytest.raises(BLOCKS[reason]) as caught:
            interpret_answer(tools.received(tree))
        assert (caught.value.paid, type(caught.value)) == (Paid.YES, BLOCKS[reason])


UNREADABLE = {
    "no body": (b"", "not_json"),
    "half": (b'{"candidates":[{"con', "not_json"),
    "deep": (b"[" * 200_000, "not_json"),
    "a long number": (b'{"x":' + b"9" * 5000 + b"}", "not_json"),
    "utf-16 rubbish": (b"\xff\xfe\x00", "not_json"),
    "list": (b"[]", "no_candidates"),
    "object": (b"{}", "no_candidates"),
    "null": (b"null", "no_candidates"),
    "number": (b"42", "no_candidates"),
    "wrong types": (b'{"candidates":"none","usageMetadata":[],"promptFeedback":7}', "no_candidates"),
    "null candidates": (b'{"candidates":null}', "no_candidates"),
    "candidates of rubbish": (b'{"candidates":[1,null,"x",[]]}', "no_candidates"),
    "no content": (b'{"candidates":[{"finishReason":"STOP"}]}', "empty_answer"),
    "empty parts": (b'{"candidates":[{"content":{"parts":[]},"finishReason":"STOP"}]}', "empty_answer"),
    "parts of rubbish": (b'{"candidates":[{"content":{"parts":[1,{},null]},"finishReason":"STOP"}]}', "empty_answer"),
    "words": (b'{"candidates":[{"content":{"parts":[{"text":"no"}]},"finishReason":"STOP"}]}', "text_only"),
    "words, no finish": (b'{"candidates":[{"content":{"parts":[{"text":"no"}]}}]}', "text_only"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_answers_without_anything_to_read_are_charged_failures(tools: Any, what: str) -> None:
    """A 200 was charged, whatever it holds; the code says what was wrong."""
    body, code = UNREADABLE[what]
    with pytest.raises(Unusable) as caught:
        interpret_answer(tools.received(body))
    assert caught.value.code == code


def test_what_is_no_json_in_the_margins_does_not_hurt(tools: Any) -> None:
    """NaN, a byte order mark, unknown fields and nulls are passed over; odd counts are not recorded."""
    usage = {"promptTokenCount": 8, "odd": -1, "text": "9", "huge": 10**30, "yes": True, "promptTokensDetails": [1]}
    tree = message(IMAGE, usageMetadata=usage, aura=None, avg=float("nan"), responseId="r-1", promptFeedback=None)
    answer = interpret_answer(tools.received(b"\xef\xbb\xbf" + json.dumps(tree).encode()))
    assert answer.pictures == (AS_BYTES,)
    assert (answer.usage, answer.request_id) == (Usage(reported={"promptTokenCount": 8}), "r-1")


def test_the_relays_request_id_is_preferred(tools: Any) -> None:
    """The id in the header is the one the provider's support can look up."""
    headers = {"x-oneapi-request-id": "relay-1", "x-request-id": "other"}
    answer = interpret_answer(tools.received(message(IMAGE, responseId="r-1"), headers=headers))
    assert answer.request_id == "relay-1"


def test_messages_hold_no_half_characters(tools: Any) -> None:
    """A refusal's words can be written to any terminal or file."""
    tree = {"candidates": [{"finishReason": "SAFETY", "finishMessage": "bad \ud83d \ude00 words"}]}
    with pytest.raises(Refused) as caught:
        interpret_answer(tools.received(tree))
    assert caught.value.message.encode("utf-8")


def test_all_pictures_of_one_text_are_kept(tools: Any, tmp_path: Path) -> None:
    """In order, the last as the result; the words between them are the caption."""
    files = [tmp_path / name for name in ("0", "1", "2")]
    for file in files:
        file.write_bytes(PNG)
    leads, tails, goes_on = ("Two ![a](", "", ""), (") and ![b](", ")", ""), (True, False, False)
    blobs = tuple(
        Blob(file=str(file), size_bytes=len(PNG), lead=lead, tail=tail, goes_on=more)
        for file, lead, tail, more in zip(files, leads, tails, goes_on, strict=True)
    )
    for tree in (message({"text": "spool://0"}), {"choices": [{"message": {"content": "spool://0"}}]}):
        answer = interpret_answer(tools.received(tree, blobs=blobs))
        assert answer.pictures == (Picture(blob=blobs[0]), Picture(blob=blobs[1]))
        assert answer.caption == "Two and"
