"""A picture, or its address, is found wherever a relay may put it, and nothing else is taken for one."""

from __future__ import annotations

import base64
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batch.core.errors import AttemptError
from batch.core.lane import Lane
from batch.core.signatures import begins_as_picture
from batch.providers.answers.answers import interpret_answer
from batch.providers.answers.links import MOST_LINKS, Link, links_in, web_address
from batch.providers.base import Answer, Blob, Received

PNG = b"\x89PNG\r\n\x1a\n a small picture"
B64 = base64.b64encode(PNG).decode()
URL = "https://cdn.relay.example/f/3f9a?sig=a%2Bb&expires=1"
NAMED = "https://cdn.relay.example/out/mug(1).png"
ESCAPED = URL.replace("/", "\\/")


def received(tree: Any, blobs: tuple[Blob, ...] = ()) -> Received:
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return Received(status=200, headers={}, body=body, blobs=blobs, seconds=1.0)


def message(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}], **more}


def read(tree: Any, blobs: tuple[Blob, ...] = ()) -> Answer:
    return interpret_answer(received(tree, blobs))


def urls(tree: Any) -> list[str | None]:
    return [picture.url for picture in read(tree).pictures]


TEXTS = {
    "words before": f"Here is your picture: {URL}",
    "words around": f"Done! {URL} (valid for 24 hours)",
    "full stop": f"See {URL}.",
    "comma": f"At {URL}, as asked",
    "Chinese": f"图片已生成：{URL}。请在24小时内下载",
    "round brackets": f"Your picture ({URL})",
    "angle brackets": f"Your picture: <{URL}>",
    "quotes": f'url = "{URL}";',
    "single quotes": f"{{'url': '{URL}'}}",
    "backticks": f"`{URL}`",
    "bold": f"**{URL}**",
    "link": f"[Download]({URL})",
    "link in angle brackets": f"[Download](<{URL}>)",
    "link with a title": f'[Download]({URL} "24 h")',
    "picture with a title": f"![image]({URL} 'a mug')",
    "picture without text": f"![]({URL})",
    "picture in a link": f"[![thumb]({URL})]({URL})",
    "by reference": f"![image][1]\n\n[1]: {URL}",
    "img": f'<p>Here</p><img alt="a > b" class="x" src="{URL}" />'.replace(" > ", " "),
    "img, entities": f"<img src='{URL.replace('&', '&amp;')}'>",
    "img, bare": f"<img src={URL}>",
    "a": f'<a href="{URL}">picture</a>',
    "fence": f"```\n{URL}\n```",
    "fenced JSON": f"Here:\n```json\n{json.dumps({'images': [{'url': URL}]}, indent=2)}\n```\nEnjoy!",
    "JSON": json.dumps({"image_url": URL}),
    "JSON after words": f"result: {json.dumps({'data': {'url': URL}})}",
    "JSON in JSON": json.dumps({"output": json.dumps({"url": URL})}),
    "escaped JSON": f'{{"url": "{ESCAPED}"}}',
    "escaped slashes": f"saved to {ESCAPED} now",
    "own line": f"Prompt: a mug\n{URL}\nSize: 1K",
    "upper case": URL.replace("https", "HTTPS"),
    "base64": base64.b64encode(URL.encode()).decode(),
    "a table": f"| picture | {URL} |",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_address_in_a_text_is_found(text: str) -> None:
    """Whatever stands around it, the address is the one the relay meant, once."""
    assert urls(message({"text": text})) == [URL]


PLACES: dict[str, Any] = {
    "null data beside fileUri": message({"inlineData": {"data": None}, "fileData": {"fileUri": URL}}),
    "empty data beside url": message({"inlineData": {"mimeType": "image/png", "data": "", "url": URL}}),
    "base64 of an address": message({"inlineData": {"data": base64.b64encode(URL.encode()).decode()}}),
    "words in data": message({"inlineData": {"data": "see url", "url": URL}}),
    "space around": message({"inlineData": {"data": f" {URL}\n"}}),
    "protocol-relative": message({"fileData": {"fileUri": URL.removeprefix("https:")}}),
    "uri": message({"inline_data": {"uri": URL}}),
    "candidate level": {"candidates": [{"imageUrl": URL, "finishReason": "STOP"}]},
    "candidate content url": {"candidates": [{"content": {"url": URL}}]},
    "content is a text": {"candidates": [{"content": URL}]},
    "parts is an object": {"candidates": [{"content": {"parts": {"fileData": {"fileUri": URL}}}}]},
    "beside empty candidates": {"candidates": [], "url": URL},
    "beside a text": {**message({"text": "Your picture is ready."}), "image_url": URL},
    **{name: {name: URL} for name in ("url", "image_url", "imageUrl", "image", "output", "result", "picture_url")},
    **{f"{name} list": {name: [URL]} for name in ("imageUrls", "image_urls", "urls", "output", "images", "results")},
    "result.url": {"code": 0, "result": {"url": URL}},
    "data.url": {"code": 200, "msg": "success", "data": {"url": URL}},
    "data.images": {"success": True, "data": {"images": [URL]}},
    "data.images of objects": {"data": {"images": [{"url": URL, "width": 1024}]}},
    "results of objects": {"status": "succeeded", "results": [{"url": URL}]},
    "data as JSON text": {"code": 0, "data": json.dumps({"images": [{"url": URL}]})},
    "choices": {"choices": [{"message": {"role": "assistant", "content": f"![image]({URL})"}}]},
    "choices, parts": {"choices": [{"message": {"content": [{"type": "image_url", "image_url": {"url": URL}}]}}]},
    "choices, images": {"choices": [{"message": {"content": None, "images": [{"image_url": {"url": URL}}]}}]},
    "OpenAI data": {"created": 1, "data": [{"url": URL, "revised_prompt": "a mug"}]},
    "responses": {"output": [{"type": "message", "content": [{"type": "output_text", "text": f"Here: {URL}"}]}]},
    "null error": {"error": None, "data": [{"url": URL}]},
}


@pytest.mark.parametrize("tree", PLACES.values(), ids=PLACES)
def test_an_address_in_any_field_is_found(tree: Any) -> None:
    """Gemini's places, those of other image APIs, and JSON inside a text."""
    assert urls(tree) == [URL]


DATA: dict[str, Any] = {
    "b64_json": {"data": [{"b64_json": B64}]},
    "data URL": {"image": f"data:image/png;base64,{B64}"},
    "without data:": message({"inlineData": {"data": f"image/png;base64,{B64}"}}),
    "responses": {"output": [{"type": "image_generation_call", "result": B64}]},
    "choices": {"choices": [{"message": {"images": [{"image_url": {"url": f"data:image/png;base64,{B64}"}}]}}]},
    "JSON in JSON in a text": message({"text": json.dumps({"output": json.dumps({"image": B64})})}),
    "JSON in a text": message({"text": json.dumps({"image": B64})}),
    "fenced JSON": message({"text": f"```json\n{json.dumps({'b64': B64})}\n```"}),
    "words around": message({"text": f"Here it is: data:image/png;base64,{B64} done"}),
    "img": message({"text": f'<img src="data:image/png;base64,{B64}">'}),
    "bytes as Python prints them": message({"inlineData": {"data": f"b'{B64}'"}}),
    "a field nobody knows": {"weird": {"deep": [{"er": B64}]}},
    "parts is an object": {"candidates": [{"content": {"parts": {"inlineData": {"data": B64}}}}]},
}


@pytest.mark.parametrize("tree", DATA.values(), ids=DATA)
def test_base64_anywhere_is_found_by_its_first_bytes(tree: Any) -> None:
    """A field's name need not be known: what begins as a picture is one."""
    assert [picture.data for picture in read(tree).pictures] == [PNG]


def test_a_picture_in_a_text_too_long_for_memory_is_found(tmp_path: Path) -> None:
    """JSON inside a text holds escaped quotes, so the decoder spools it as it came."""
    picture = PNG + b"\0" * 20_000
    inner = json.dumps({"image": base64.b64encode(picture).decode()})
    (tmp_path / "0").write_bytes(json.dumps(inner)[1:-1].encode())
    blob = Blob(file=str(tmp_path / "0"), size_bytes=1, is_base64=False)
    assert [each.data for each in read(message({"text": "spool://0"}), (blob,)).pictures] == [picture]


@pytest.mark.parametrize("around", ["b'{}'", "image/png;base64,{}", " data:image/png;base64,{} "])
def test_a_picture_spooled_as_it_came_is_decoded(around: str, tmp_path: Path) -> None:
    """What does not begin as base64 is spooled raw, and read once more where a picture must be."""
    picture = PNG + b"\0" * 20_000
    (tmp_path / "0").write_text(around.format(base64.b64encode(picture).decode()))
    blob = Blob(file=str(tmp_path / "0"), size_bytes=1, is_base64=False)
    answer = read(message({"inlineData": {"mimeType": "image/png", "data": "spool://0"}}), (blob,))
    assert [each.data for each in answer.pictures] == [picture]


@pytest.mark.parametrize("field", ["url", "image", "output"])
def test_a_path_on_the_endpoint_itself_is_an_address(field: str) -> None:
    """A relay may serve its own pictures; only what is named as one is meant."""
    assert urls({field: "/files/mug.png?x=1"}) == ["/files/mug.png?x=1"]
    with pytest.raises(AttemptError):
        read({field: "/v1/tasks/9", "path": "/etc/mug.png"})


@pytest.mark.parametrize(
    "word", ["Qk0=", "/workspace/foo", "Qk1x", "SUkq", "R0lG", "task_0123456789abcdef", "BMxxxxxxxxxx"]
)
def test_short_words_are_no_pictures(word: str) -> None:
    """Many a name is base64 of something; a picture's beginning is longer than that."""
    with pytest.raises(AttemptError):
        read({"id": word, "data": {"path": word}})


def test_an_address_at_the_end_of_a_long_text_is_found(tmp_path: Path) -> None:
    """A long text is read again when nothing else was found."""
    (tmp_path / "0").write_bytes(b"many words " * 5_000 + URL.encode())
    blob = Blob(file=str(tmp_path / "0"), size_bytes=1, is_base64=False)
    assert [each.url for each in read(message({"text": "spool://0"}), (blob,)).pictures] == [URL]


def chunks(*words: str) -> bytes:
    """A stream in the shape of OpenAI's chat."""
    pieces = [{"choices": [{"delta": {"content": word}}]} for word in words]
    return "".join(f"data: {json.dumps(piece)}\n\n" for piece in pieces).encode() + b"data: [DONE]\n\n"


BODIES: dict[str, bytes] = {
    "a bare address": URL.encode(),
    "an address as JSON": json.dumps(URL).encode(),
    "addresses as JSON": json.dumps([URL, URL]).encode(),
    "words": f"Your picture: {URL}\n".encode(),
    "objects in a list": json.dumps([{"id": 1}, {"url": URL}]).encode(),
    "objects in lines": b'{"status": "running"}\n' + json.dumps({"output": URL}).encode(),
    "events": b'data: {"progress": 40}\n\ndata: ' + json.dumps({"result": {"url": URL}}).encode() + b"\n\n",
    "a chat in pieces": chunks("Here: ![mug](https://cdn.rel", "ay.example", URL.partition("relay.example")[2], ")"),
    "responses in pieces": "\n\n".join(
        "data: " + json.dumps({"type": "response.output_text.delta", "delta": piece}) for piece in (URL[:9], URL[9:])
    ).encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_address_in_a_body_of_another_shape_is_found(body: bytes) -> None:
    """No object of the API, or none at all: every JSON value and every text of the body is looked at."""
    assert urls(body) == [URL]


@pytest.mark.parametrize("body", [b"<html>" + URL.encode(), b"<!doctype html><img src='" + URL.encode() + b"'>", b"  "])
def test_a_web_page_has_no_addresses(body: bytes) -> None:
    """A page of the endpoint's own is no answer, whatever pictures it shows."""
    with pytest.raises(AttemptError) as caught:
        read(body)
    assert caught.value.code == "not_json"


NO_ADDRESS = {
    "a source": message({"text": "no"}, groundingMetadata={"web": [{"uri": URL}]}),
    "a citation": {"candidates": [{"citationMetadata": {"citations": [{"uri": URL}]}, "finishReason": "STOP"}]},
    "what was asked": {"input": {"image": URL}, "status": "done"},
    "a thought": message({"thought": True, "text": f"![draft]({URL})"}),
    "a signature": message({"text": "no", "thoughtSignature": B64}),
    "another scheme": message({"text": "![x](attachment:1) ftp://host/x.png javascript:alert(1)"}),
}


@pytest.mark.parametrize("tree", NO_ADDRESS.values(), ids=NO_ADDRESS)
def test_what_is_no_result_is_not_opened(tree: Any) -> None:
    """Sources, thoughts and echoes of the request are no pictures."""
    with pytest.raises(AttemptError):
        read(tree)


def test_an_inline_picture_leaves_addresses_alone() -> None:
    """Words beside a picture name their sources; nothing of them is opened."""
    tree = message({"text": f"After ![a photo]({NAMED}), see {URL}"}, {"inlineData": {"data": B64}}, url=URL)
    assert [picture.url for picture in read(tree).pictures] == [None]


def test_addresses_in_fields_come_before_those_in_words() -> None:
    """What a sentence names is opened only if no field's address is a picture."""
    tree = {**message({"text": f"Sources: {NAMED}"}), "images": [URL, URL]}
    assert [(picture.url, picture.rank) for picture in read(tree).pictures] == [(URL, 1), (NAMED, 2)]


def test_the_words_around_an_address_are_the_caption() -> None:
    """An address alone is no caption; words are."""
    assert read(message({"text": URL})).caption is None
    assert read(message({"text": f"A mug.\n![image]({URL})"})).caption == "A mug."
    assert read({"choices": [{"message": {"content": f"A mug ![i]({URL})"}}]}).caption == "A mug"


LINKS = {
    f"![a]({NAMED}) and [b]({URL})": [Link(NAMED, likely=True), Link(URL, likely=False)],
    f"{URL} {URL}. ({URL})": [Link(URL, likely=False)],
    f"{URL} ![x]({URL})": [Link(URL, likely=True)],
    f"<img src=//h.example/a.png><a href='{URL}'>": [Link("https://h.example/a.png", True), Link(URL, False)],
    "![x](https://h.example/a b.png)": [Link("https://h.example/a", True)],
    "![x](<https://h.example/a b.png>)": [Link("https://h.example/a%20b.png", True)],
    "no address http:// https:///x //x": [],
}


@pytest.mark.parametrize("text", LINKS)
def test_links_are_read_with_what_they_are_written_as(text: str) -> None:
    """Each address once, in order, and whether it is written as a picture's."""
    assert links_in(text) == LINKS[text]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("https://h.example/图.png", "https://h.example/%E5%9B%BE.png"),
        ("//h.example/x", "https://h.example/x"),
        ("HTTP://h.example/x", "http://h.example/x"),
        ("https:\\/\\/h.example\\/x", "https://h.example/x"),
        ("https://h.example/x y.png", "https://h.example/x%20y.png"),
        ("https://h.example/\ud800", "https://h.example/?"),
        ("https://h.example/x?a=1&amp;region=eu&copy=2", "https://h.example/x?a=1&region=eu&copy=2"),
        ("https%3A%2F%2Fh.example%2Fx%3Fa%3D1", "https://h.example/x?a=1"),
        ("https://h.example/x\nGET /", None),
        ("see https://h.example/x", None),
        ("file:///etc/passwd", None),
        ("https://" + "x" * 20_000, None),
        ("", None),
    ],
)
def test_an_address_is_put_into_the_form_that_can_be_opened(value: str, address: str | None) -> None:
    """What may not stand in an address is escaped; anything that is more or less than one is refused."""
    assert web_address(value) == address


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 50_000,
        "![](" * 20_000,
        "<img " * 20_000,
        "](((" * 20_000,
        '{"' * 20_000,
        "https://" * 20_000,
        "```" * 20_000,
    ],
)
def test_hostile_texts_end(hostile: str) -> None:
    """No text makes reading it endless or raise anything else; the suite's time limit would tell."""
    with suppress(AttemptError):
        assert len(read(message({"text": hostile})).pictures) <= MOST_LINKS


WRAPPERS = ("data", "result", "output", "images", "response", "choices", "message", "content", "x")


def buried(random: random.Random, leaf: Any) -> Any:
    """A leaf under up to eight objects and lists, with other things beside it."""
    for _ in range(random.randrange(8)):
        noise: dict[str, Any] = {"id": random.randrange(9), "note": random.choice(["", "fine", None, True, []])}
        leaf = random.choice(
            [[leaf], ["words", leaf], {random.choice(WRAPPERS): leaf, **noise}, {**noise, "data": leaf}]
        )
    return leaf


@pytest.mark.parametrize("seed", range(200))
def test_a_picture_at_any_depth_is_found(seed: int) -> None:
    """Objects and lists around it, and other fields beside it, change nothing."""
    chance = random.Random(seed)
    leaf = chance.choice(
        [{"b64_json": B64}, {"url": URL}, {"text": f"![i]({URL})"}, {"image": f"data:image/png;base64,{B64}"}]
    )
    found = read({"id": 1, "data": buried(chance, leaf)}).pictures
    assert [picture.url or picture.data for picture in found] == [URL if URL in str(leaf) else PNG]


ATOMS = (
    None,
    True,
    0,
    -1,
    1e400,
    "",
    "spool://0",
    "spool://99",
    "data:",
    "data:image/png;base64,",
    URL,
    B64,
    "\ud800",
    "{",
    "[1",
)
NAMES = (
    *("candidates", "content", "parts", "inlineData", "data", "text", "fileData", "fileUri"),
    *("url", "error", "message", "code", "status", "choices"),
)


def rubbish(chance: random.Random, depth: int = 0) -> Any:
    """JSON of any shape, made of the names and values that mean something."""
    kind = chance.randrange(3) if depth < 6 else 0
    if kind == 1:
        return [rubbish(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 2:
        return {chance.choice(NAMES): rubbish(chance, depth + 1) for _ in range(chance.randrange(5))}
    return chance.choice(ATOMS)


@pytest.mark.parametrize("seed", range(300))
async def test_whatever_comes_back_is_an_answer_or_a_known_failure(seed: int, provider: Any) -> None:
    """No JSON raises anything but an `AttemptError` with words that can be written."""
    chance = random.Random(seed)
    body = json.dumps({"candidates": rubbish(chance), chance.choice(NAMES): rubbish(chance)}).encode()
    blob = Blob(file="/nonexistent", size_bytes=1, is_base64=chance.random() < 0.5)
    try:
        answer = provider("http://127.0.0.1:1").interpret(received(body, (blob,)))
    except AttemptError as error:
        error.message.encode("utf-8")
    else:
        assert answer.pictures
        assert answer.lane in (None, *Lane)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (PNG, True),
        (b"\xff\xd8\xff\xe0", True),
        (b"RIFF0000WEBP", True),
        (b"\0\0\0\x20ftypavif", True),
        (b"GIF89a", True),
        (b"RIFF0000WAVE", False),
        (b"words", False),
        (b"", False),
        (b"%PDF-1.7", False),
    ],
)
def test_a_picture_is_known_by_its_first_bytes(head: bytes, expected: bool) -> None:
    """Formats of pictures, and nothing else."""
    assert begins_as_picture(head) is expected
