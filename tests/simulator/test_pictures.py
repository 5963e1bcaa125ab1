"""The pictures are real, have the right pixels and look like their request."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from batch.core.image_models import ASPECT_RATIOS, expected_pixels
from batch.simulator import fonts, pictures, tables
from batch.simulator.wire import Ask

MODEL = tables.MODELS["gemini-3.1-flash-image"]


@pytest.mark.parametrize("size", ["512", "1K", "2K", "4K"])
@pytest.mark.parametrize("ratio", ASPECT_RATIOS)
def test_the_two_pixel_tables_agree(ratio: str, size: str) -> None:
    """The simulator's table and the client's were written apart and say the same."""
    assert MODEL.pixels[ratio, size] == expected_pixels(ratio, size)


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("ratio", ["1:1", "8:1", "1:8", "21:9"])
async def test_drawn_pictures_decode_with_exact_pixels(ratio: str, form: str, simulate: Any, tools: Any) -> None:
    """Every picture is whole, of the format set and of the table's size."""
    client = await simulate({"pictures": "drawn", "format": form})
    picture = tools.picture_in(await client.ask(aspectRatio=ratio, imageSize="512"))
    assert picture.size == MODEL.pixels[ratio, "512"]
    assert picture.format == form.upper()


@pytest.mark.parametrize("style", ["drawn", "plain"])
@pytest.mark.parametrize("ratio", ["1:1", "8:1", "1:8"])
async def test_every_picture_says_on_its_face_that_it_is_a_drawing(
    style: str, ratio: str, simulate: Any, tools: Any
) -> None:
    """A red band with words in it across the top, whatever the shape."""
    client = await simulate({"pictures": style, "format": "png"})
    picture = tools.picture_in(await client.ask(aspectRatio=ratio, imageSize="512")).convert("RGB")
    size = max(6, min(picture.width // 12, picture.height // 12, 96))
    colors = picture.crop((0, 0, picture.width, size)).getcolors(1 << 20)
    assert max(colors)[1] == (176, 32, 40)
    assert len(colors) > 1


async def test_the_same_request_gives_the_same_bytes(simulate: Any, tools: Any) -> None:
    """Two servers draw the same; another prompt looks different."""
    first, second = [await simulate({"pictures": "drawn"}) for _ in range(2)]
    one, two, other = await first.ask("a"), await second.ask("a"), await second.ask("b")
    assert tools.picture_bytes(one) == tools.picture_bytes(two) != tools.picture_bytes(other)


async def test_an_edit_shows_its_reference_and_takes_its_shape(simulate: Any, tools: Any) -> None:
    """The reference's colour covers much of the picture, and the omitted ratio follows the reference."""
    client = await simulate({"pictures": "drawn", "format": "png"})
    answer = await client.post(tools.request_body("edit", tools.reference(300, 170, "#010203"), imageSize="512"))
    picture = tools.picture_in(answer)
    assert picture.size == MODEL.pixels["16:9", "512"]
    colors = {color: count for count, color in picture.getcolors(1 << 20)}
    assert colors[1, 2, 3] > picture.width * picture.height // 4


async def test_models_have_their_own_sizes(simulate: Any, tools: Any) -> None:
    """2.5 flash draws 832x1248 for 2:3 and knows no 2K."""
    client = await simulate()
    path = "/v1beta/models/gemini-2.5-flash-image:generateContent"
    answer = await client.post(tools.request_body("x", aspectRatio="2:3"), path=path)
    assert tools.picture_in(answer).size == (832, 1248)
    assert (await client.post(tools.request_body("x", imageSize="2K"), path=path)).status_code == 400


@pytest.mark.parametrize(
    "prompt",
    [
        "日本語のテキスト",
        "عربي",
        "🏔️ emoji",
        "\x00\x07 control",
        "word " * 500,
        "x" * 3000,
        "\n\n\n",
        "é\u0301\u202e",
    ],
)
def test_any_text_can_be_written(prompt: str) -> None:
    """No script, length or control character breaks the drawing."""
    image = pictures.draw(Ask(model=MODEL, prompt=prompt), 256, 1024)
    assert image.size == (256, 1024)


def forget_fonts() -> None:
    for function in vars(fonts).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def test_characters_without_a_font_are_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without fonts a prompt still leaves its trace."""
    forget_fonts()
    monkeypatch.setattr(fonts, "_font_files", tuple)
    assert fonts.font_for("山", 20) is None
    written, empty = (pictures.draw(Ask(model=MODEL, prompt=p), 400, 400) for p in ("山", " "))
    assert written.crop((0, 267, 400, 360)).tobytes() != empty.crop((0, 267, 400, 360)).tobytes()
    forget_fonts()


@pytest.mark.parametrize("form", ["png", "jpeg"])
@pytest.mark.parametrize("size_bytes", [5_000, 200_001])
def test_padding_gives_the_exact_size_and_a_correct_file(form: str, size_bytes: int) -> None:
    """A padded picture has the bytes asked for and still decodes."""
    data = pictures.pad(pictures.encode(Image.new("RGB", (64, 64)), form), size_bytes)
    assert len(data) == size_bytes
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
