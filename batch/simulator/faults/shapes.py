"""Good pictures in unusual shapes: links instead of bytes, several pictures, odd base64 and odd JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from batch.simulator.answers import Scene, encode, inline_part, snake_spelled
from batch.simulator.delivery import Answer
from batch.simulator.faults.fault import Act, Section
from batch.simulator.pictures import Picture, as_avif, blank

#: How a link behaves when it is followed.
DOWNLOADS = ("ok", "404", "503_once", "html", "cut")

LINKS = Section(f"Pictures as links (charged); download={'|'.join(DOWNLOADS)} says how the link behaves", wire="gemini")
_DOWNLOAD: Any = {"params": {"download": "ok"}, "choices": {"download": DOWNLOADS}}
SHAPES = Section("Pictures in unusual shapes (charged)", wire="gemini")

Shape = Callable[[str, Picture], dict[str, Any]]

_PART_SHAPES: dict[str, tuple[str, Shape]] = {
    "url_file_data": ("fileData.fileUri", lambda url, p: {"fileData": {"mimeType": p.mime, "fileUri": url}}),
    "url_file_data_snake": (
        "file_data.file_uri",
        lambda url, p: {"file_data": {"mime_type": p.mime, "file_uri": url}},
    ),
    "url_in_data": (
        "a URL where base64 belongs",
        lambda url, p: {"inlineData": {"mimeType": p.mime, "data": url}},
    ),
    "data_url_in_data": (
        "a data: URL where base64 belongs",
        lambda _, p: {"inlineData": {"mimeType": p.mime, "data": _data_url(p)}},
    ),
    "url_inline": ("inlineData.url", lambda url, p: {"inlineData": {"mimeType": p.mime, "url": url}}),
    "url_markdown": (
        "a Markdown picture in text",
        lambda url, _: {"text": f"Here you are:\n![image]({url})"},
    ),
    "data_url_markdown": (
        "a Markdown picture with a data: URL",
        lambda _, p: {"text": f"![image]({_data_url(p)})"},
    ),
    "url_in_words": (
        "a URL in a sentence",
        lambda url, _: {"text": f"Done! Your picture: {url}. It is kept for 24 hours."},
    ),
    "url_link": ("a Markdown link in text", lambda url, _: {"text": f'[Download]({url} "picture")'}),
    "url_img": ("an HTML tag in text", lambda url, _: {"text": f'<p>Here</p><img alt="" src="{url}">'}),
    "url_fenced_json": (
        "JSON in a code fence",
        lambda url, _: {"text": f"```json\n{json.dumps({'images': [{'url': url}]})}\n```"},
    ),
    "base64_of_url": (
        "a URL written as base64",
        lambda url, p: {"inlineData": {"mimeType": p.mime, "data": base64.b64encode(url.encode()).decode()}},
    ),
    "url_beside_null": (
        "fileUri beside an empty inlineData",
        lambda url, p: {"inlineData": {"data": None}, "fileData": {"mimeType": p.mime, "fileUri": url}},
    ),
    "url_bare": ("nothing but a URL in text", lambda url, _: {"text": url}),
    "url_part": ("part.url", lambda url, _: {"url": url}),
    "url_image": ("part.image.url", lambda url, _: {"image": {"url": url}}),
    "url_image_url": ("part.image_url.url", lambda url, _: {"image_url": {"url": url}}),
}

_TOP_SHAPES: dict[str, tuple[str, Shape]] = {
    "url_images_list": ("top-level images[] of URLs", lambda url, _: {"images": [url]}),
    "url_images_objects": ("top-level images[].url", lambda url, _: {"images": [{"url": url}]}),
    "url_data_list": ("top-level data[].url", lambda url, _: {"created": 1, "data": [{"url": url}]}),
    "url_top": ("top-level url", lambda url, _: {"url": url}),
    "url_output": ("top-level output", lambda url, _: {"status": "succeeded", "output": [url]}),
    "url_result": ("result.url", lambda url, _: {"code": 0, "result": {"url": url}}),
    "url_data_images": ("data.images[]", lambda url, _: {"code": 200, "data": {"images": [url]}}),
    "url_candidate": ("candidates[].imageUrl", lambda url, _: {"candidates": [{"imageUrl": url}]}),
    "url_choices": (
        "choices[].message.images[]",
        lambda url, _: {"choices": [{"message": {"content": "", "images": [{"image_url": {"url": url}}]}}]},
    ),
    "b64_response": (
        "output[].result of an image_generation_call",
        lambda _, p: {"output": [{"type": "image_generation_call", "result": _base64(p)}]},
    ),
    "b64_data_list": (
        "top-level data[].b64_json",
        lambda _, p: {"created": 1, "data": [{"b64_json": _base64(p)}]},
    ),
}


def _base64(picture: Picture) -> str:
    return base64.b64encode(picture.data).decode("ascii")


def _data_url(picture: Picture) -> str:
    return f"data:{picture.mime};base64,{_base64(picture)}"


async def _published(scene: Scene) -> tuple[str, Picture]:
    picture = await scene.picture()
    name = f"{scene.request_id}.{picture.mime.removeprefix('image/')}"
    path = scene.files.put(name, picture, scene.params["download"])
    return f"{scene.origin}{path}?expires=4102444800", picture


def _as_part(shape: Shape) -> Act:
    async def act(scene: Scene) -> Answer:
        part = shape(*await _published(scene))
        return scene.answer(scene.message([*scene.caption_parts(), part]))

    return act


def _on_top(shape: Shape) -> Act:
    async def act(scene: Scene) -> Answer:
        return scene.answer(shape(*await _published(scene)))

    return act


for _name, (_about, _shape) in _PART_SHAPES.items():
    LINKS.add(_name, f"the picture as {_about}", _as_part(_shape), **_DOWNLOAD)
for _name, (_about, _shape) in _TOP_SHAPES.items():
    LINKS.add(_name, f"the picture as {_about}", _on_top(_shape), **_DOWNLOAD)


# ---- several pictures -------------------------------------------------------------------------------------


@SHAPES.fault("thought_image", "a small draft marked thought comes before the picture")
async def _thought_image(scene: Scene) -> Answer:
    return scene.answer(scene.message(await _with_draft(scene, marked=True)))


@SHAPES.fault("thought_unmarked", "a small draft comes first and its thought mark is lost")
async def _thought_unmarked(scene: Scene) -> Answer:
    return scene.answer(scene.message(await _with_draft(scene, marked=False)), images=2)


async def _with_draft(scene: Scene, *, marked: bool) -> list[dict[str, Any]]:
    width, height = scene.ask.pixels
    draft = inline_part(await scene.picture(pixels=(width // 2, height // 2), note="draft"))
    thinking: dict[str, Any] = {"text": "I think about the light first."}
    if marked:
        draft["thought"] = thinking["thought"] = True
    final = inline_part(await scene.picture())
    final["thoughtSignature"] = base64.b64encode(b"signature of a thought").decode()
    return [thinking, draft, *scene.caption_parts(), final]


# ---- token counts that are not true ------------------------------------------------------------------------


def _counting(change: Callable[[dict[str, Any]], Any]) -> Act:
    """A good answer whose `usageMetadata` is what `change` makes of the true one; None leaves it out."""

    async def act(scene: Scene) -> Answer:
        message = scene.message(await scene.parts())
        usage = change(message.pop("usageMetadata"))
        if usage is not None:
            message["usageMetadata"] = usage
        return replace(scene.answer(message), false_usage=True)

    return act


_FALSE_COUNTS: Mapping[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "missing": ("no usageMetadata at all", lambda _: None),
    "list": ("usageMetadata is a list", lambda usage: [usage]),
    "negative": ("tokens counted below nought", lambda usage: {**usage, "promptTokenCount": -5}),
    "text": ("tokens counted in words", lambda usage: {**usage, "candidatesTokenCount": "many"}),
    "huge": ("a million million tokens", lambda usage: dict.fromkeys(usage, 10**12)),
    "large": (
        "more tokens than an answer can hold",
        lambda _: {"promptTokenCount": 9, "candidatesTokenCount": 10**6, "totalTokenCount": 10**6 + 9},
    ),
    "free": ("a picture that counts for nothing", lambda _: {"promptTokenCount": 9, "totalTokenCount": 9}),
    "sum": ("a total that is not the sum", lambda usage: {**usage, "totalTokenCount": 1}),
}
for _name, (_about, _change) in _FALSE_COUNTS.items():
    SHAPES.add(f"usage_{_name}", _about, _counting(_change))


@SHAPES.fault("only_thought_image", "the only picture is marked thought")
async def _only_thought_image(scene: Scene) -> Answer:
    draft = inline_part(await scene.picture(note="draft"))
    return scene.answer(scene.message([{**draft, "thought": True}], images=0), images=0)


@SHAPES.fault("two_images", "two pictures where one was asked for")
async def _two_images(scene: Scene) -> Answer:
    first = inline_part(await scene.picture(note="first"))
    parts = [*scene.caption_parts(), first, {"text": "and another"}, inline_part(await scene.picture())]
    return scene.answer(scene.message(parts, images=2), images=2)


@SHAPES.fault("two_candidates", "two candidates with a picture each")
async def _two_candidates(scene: Scene) -> Answer:
    message = scene.message(await scene.parts(), images=2)
    message["candidates"].append({**message["candidates"][0], "index": 1})
    return scene.answer(message, images=2)


# ---- odd JSON ---------------------------------------------------------------------------------------------


async def _good_message(scene: Scene) -> dict[str, Any]:
    return scene.message(await scene.parts())


@SHAPES.fault("snake_spelling", "field names in snake_case")
async def _snake(scene: Scene) -> Answer:
    return Answer(body=encode(snake_spelled(await _good_message(scene))), images=1)


@SHAPES.fault("escaped_slashes", r"every slash of the base64 is written \/")
async def _escaped_slashes(scene: Scene) -> Answer:
    return Answer(body=encode(await _good_message(scene)).replace(b"/", rb"\/"), images=1)


@SHAPES.fault("escaped_unicode", r"letters of the base64 are written A")
async def _escaped_unicode(scene: Scene) -> Answer:
    message = await _good_message(scene)
    data: str = message["candidates"][0]["content"]["parts"][-1]["inlineData"]["data"]
    spelled = data.replace("A", "\\u0041").replace("+", "\\u002b")
    return Answer(body=encode(message).replace(data.encode(), spelled.encode()), images=1)


@SHAPES.fault("whitespace", "JSON with spaces and newlines wherever they are allowed")
async def _whitespace(scene: Scene) -> Answer:
    text = json.dumps(await _good_message(scene), indent=4, separators=(" ,", "\t: "), ensure_ascii=False)
    return Answer(body=b"\r\n\t " + text.encode("utf-8", "replace") + b"\n\n", images=1)


@SHAPES.fault("odd_order", "fields in the least convenient order: data before mimeType, picture before text")
async def _odd_order(scene: Scene) -> Answer:
    message = await _good_message(scene)
    message["candidates"][0]["content"]["parts"].reverse()
    return scene.answer(_reversed(message))


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reversed(value[name]) for name in reversed(value)}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


@SHAPES.fault("future_fields", "fields and enumeration values nobody knows yet, and nulls for absent ones")
async def _future_fields(scene: Scene) -> Answer:
    message = await _good_message(scene)
    message["candidates"][0] |= {
        "aura": {"color": "blue"},
        "citationMetadata": None,
        "safetyRatings": [{"category": "HARM_CATEGORY_NEW", "probability": "NEGLIGIBLE"}],
    }
    message |= {"promptFeedback": None, "carbon": [1, 2.5, True]}
    return scene.answer(message)


@SHAPES.fault("byte_order_mark", "the JSON begins with a byte order mark")
async def _byte_order_mark(scene: Scene) -> Answer:
    return Answer(body=b"\xef\xbb\xbf" + encode(await _good_message(scene)), images=1)


@SHAPES.fault("nan", "NaN and Infinity among the numbers, which is no JSON")
async def _nan(scene: Scene) -> Answer:
    message = await _good_message(scene)
    message["candidates"][0] |= {"avgLogprobs": float("nan"), "score": float("inf")}
    return scene.answer(message)


@SHAPES.fault("deep_json", "a harmless field nested very deeply", params={"depth": 5000})
async def _deep_json(scene: Scene) -> Answer:
    depth = scene.params["depth"]
    body = encode(await _good_message(scene))
    return Answer(body=body[:-1] + b',"deep":' + b"[" * depth + b"]" * depth + b"}", images=1)


# ---- captions ---------------------------------------------------------------------------------------------


def _captioned(text: Callable[[Scene], str]) -> Act:
    async def act(scene: Scene) -> Answer:
        parts = [{"text": text(scene)}, inline_part(await scene.picture())]
        return scene.answer(scene.message(parts), ascii_only=True)

    return act


SHAPES.add("caption_surrogate", "a caption with half of a surrogate pair", _captioned(lambda _: "half \ud83d a pair"))
SHAPES.add(
    "caption_control",
    "a caption with control characters, terminal escapes and a NUL",
    _captioned(lambda _: "bell\x07 \x1b[31mred\x1b[0m \x00 nul\u2028line\u202eright"),
)
SHAPES.add("caption_chinese", "a Chinese caption", _captioned(lambda _: "这是您要的图片：山上的日落。"))
SHAPES.add("caption_formula", "a caption that a spreadsheet would run", _captioned(lambda _: '=HYPERLINK("x")'))
SHAPES.add(
    "caption_html",
    "a caption that a careless page would run",
    _captioned(lambda _: "<script>alert(1)</script>"),
)
SHAPES.add(
    "caption_huge",
    "a caption of many megabytes",
    _captioned(lambda scene: "word " * (scene.params["megabytes"] * 200_000)),
    params={"megabytes": 10},
)
SHAPES.add(
    "caption_url",
    "a caption that mentions a web address, beside a real picture",
    _captioned(lambda _: "Inspired by https://example.invalid/sunset.png"),
)


# ---- odd base64 -------------------------------------------------------------------------------------------


def _rewritten(change: Callable[[str], str], images: int = 1) -> Act:
    async def act(scene: Scene) -> Answer:
        picture = await scene.picture()
        parts = [*scene.caption_parts(), inline_part(picture, data=change(_base64(picture)))]
        return scene.answer(scene.message(parts), images=images)

    return act


def _in_lines(text: str) -> str:
    return "\n".join(text[start : start + 76] for start in range(0, len(text), 76))


SHAPES.add(
    "base64_urlsafe",
    "base64 in the URL-safe alphabet",
    _rewritten(lambda text: text.replace("+", "-").replace("/", "_")),
)
SHAPES.add("base64_no_padding", "base64 without padding", _rewritten(lambda text: text.rstrip("=")))
SHAPES.add("base64_newlines", "base64 in lines of 76", _rewritten(_in_lines))
SHAPES.add(
    "base64_garbage",
    "characters in the base64 that are none",
    _rewritten(lambda t: t[:400] + "*!é*" + t[400:]),
)
SHAPES.add(
    "base64_cut",
    "base64 that ends within a group",
    _rewritten(lambda text: text.rstrip("=")[: len(text) // 8 * 4 + 1]),
)
SHAPES.add("base64_empty", "an empty string as data", _rewritten(lambda _: "", images=0))


# ---- odd pictures -----------------------------------------------------------------------------------------


async def _with_data(scene: Scene, picture: Picture, data: bytes, mime: str | None = None) -> Answer:
    text = base64.b64encode(data).decode("ascii")
    part = inline_part(picture, data=text, mimeType=mime or picture.mime)
    return scene.answer(scene.message([*scene.caption_parts(), part]))


@SHAPES.fault("mime_wrong", "the declared type is the other one")
async def _mime_wrong(scene: Scene) -> Answer:
    picture = await scene.picture()
    other = "image/png" if picture.mime == "image/jpeg" else "image/jpeg"
    return await _with_data(scene, picture, picture.data, other)


@SHAPES.fault("mime_svg", "a real picture declared as image/svg+xml")
async def _mime_svg(scene: Scene) -> Answer:
    picture = await scene.picture()
    return await _with_data(scene, picture, picture.data, "image/svg+xml")


@SHAPES.fault("svg_picture", "an SVG with a script, declared as PNG")
async def _svg_picture(scene: Scene) -> Answer:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    return await _with_data(scene, await scene.picture(), svg, "image/png")


@SHAPES.fault("wrong_size", "half the pixels asked for")
async def _wrong_size(scene: Scene) -> Answer:
    width, height = scene.ask.pixels
    return await _with_data(scene, p := await scene.picture(pixels=(width // 2, height // 2)), p.data)


@SHAPES.fault("truncated_png", "a PNG without its end, in JSON that is whole")
async def _truncated_png(scene: Scene) -> Answer:
    picture = await scene.picture(format_name="png")
    return await _with_data(scene, picture, picture.data[:-12])


@SHAPES.fault("truncated_jpeg", "a JPEG that stops half-way, in JSON that is whole")
async def _truncated_jpeg(scene: Scene) -> Answer:
    picture = await scene.picture(format_name="jpeg")
    return await _with_data(scene, picture, picture.data[: len(picture.data) // 2])


@SHAPES.fault("corrupt_png", "a PNG with a flipped byte: structure right, checksum wrong")
async def _corrupt_png(scene: Scene) -> Answer:
    picture = await scene.picture(format_name="png")
    data = bytearray(picture.data)
    data[60] ^= 0xFF
    return await _with_data(scene, picture, bytes(data))


@SHAPES.fault("trailing_bytes", "a whole picture with rubbish behind its end")
async def _trailing_bytes(scene: Scene) -> Answer:
    picture = await scene.picture()
    return await _with_data(scene, picture, picture.data + b"\x00rubbish" * 20)


@SHAPES.fault("another_shape", "a square, whatever shape was asked for")
async def _another_shape(scene: Scene) -> Answer:
    side = round((scene.ask.pixels[0] * scene.ask.pixels[1]) ** 0.5)
    picture = await scene.picture(pixels=(side, side))
    return await _with_data(scene, picture, picture.data)


@SHAPES.fault("blank_picture", "a picture of one colour")
async def _blank_picture(scene: Scene) -> Answer:
    picture = await scene.picture(format_name="png")
    return await _with_data(scene, picture, blank(picture.width, picture.height))


@SHAPES.fault("reference_back", "the first reference comes back in place of a picture")
async def _reference_back(scene: Scene) -> Answer:
    picture = await scene.picture()
    if not scene.ask.references:
        return await _with_data(scene, picture, picture.data)
    reference = scene.ask.references[0]
    return await _with_data(scene, picture, reference.data, reference.mime)


@SHAPES.fault("avif_picture", "a gateway has turned the picture into AVIF")
async def _avif_picture(scene: Scene) -> Answer:
    picture = await scene.picture()
    return await _with_data(scene, picture, as_avif(picture.data), "image/avif")


@SHAPES.fault("jpeg_without_end", "a JPEG without its end marker, all of its pixels there")
async def _jpeg_without_end(scene: Scene) -> Answer:
    picture = await scene.picture(format_name="jpeg")
    return await _with_data(scene, picture, picture.data[:-2])
