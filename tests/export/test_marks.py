"""An exported copy says how it was made, beside untouched pixels. exiftool is the judge where it is there."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from batch.export.provenance import COMPOSITE, GENERATED, Provenance
from batch.pictures.xmp import NoRoomForXmp
from tests.export.conftest import Shop

needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")

MARK = Provenance(source_type=GENERATED, prompt='A <b>cup</b> & "saucer"\x00 日本', model="gemini", job="cup-1")
ADDRESS = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def picture(mode: str = "RGB", form: str = "PNG", **options: Any) -> bytes:
    made = Image.radial_gradient("L").resize((97, 64)).convert(mode)
    if mode == "RGBA":
        made.putalpha(Image.linear_gradient("L").resize(made.size))
    out = io.BytesIO()
    made.save(out, form, **options)
    return out.getvalue()


FORMS = {
    "png": ("image/png", picture()),
    "jpeg": ("image/jpeg", picture(form="JPEG")),
    "jpeg-progressive-with-a-profile": (
        "image/jpeg",
        picture(form="JPEG", progressive=True, icc_profile=b"p" * 70_000),
    ),
    "webp-lossy": ("image/webp", picture(form="WEBP")),
    "webp-lossless": ("image/webp", picture(form="WEBP", lossless=True)),
    "webp-lossless-alpha": ("image/webp", picture("RGBA", "WEBP", lossless=True)),
    "webp-lossy-alpha": ("image/webp", picture("RGBA", "WEBP")),
}


def pixels(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as opened:
        return opened.convert("RGBA")


def judged(data: bytes, folder: Path) -> dict[str, Any]:
    file = folder / "judged"
    file.write_bytes(data)
    command = ["exiftool", "-j", "-a", "-G1", "-validate", "-warning", "-XMP:all", str(file)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    [found] = json.loads(done.stdout)
    return dict(found)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_pixels_are_the_same(form: str) -> None:
    """Also after a second mark, which changes nothing any more."""
    mime, data = FORMS[form]

    marked = MARK.into(data, mime)

    assert ImageChops.difference(pixels(marked), pixels(data)).getbbox(alpha_only=False) is None
    assert MARK.into(marked, mime) == marked


@needs_exiftool
@pytest.mark.parametrize("form", sorted(FORMS))
def test_exiftool_reads_the_mark_and_finds_nothing_wrong(form: str, tmp_path: Path) -> None:
    """Type, prompt, model and id, with every character that XML knows."""
    mime, data = FORMS[form]

    found = judged(MARK.into(data, mime), tmp_path)

    wrong = [each for each in (found.get("ExifTool:Warning") or "",) if each and "ICC" not in each]
    assert wrong == []
    assert found["XMP-iptcExt:DigitalSourceType"] == ADDRESS + GENERATED
    assert found["XMP-iptcExt:AIPromptInformation"] == 'A <b>cup</b> & "saucer"\ufffd 日本'
    assert (found["XMP-iptcExt:AISystemUsed"], found["XMP-dc:Identifier"]) == ("gemini", "cup-1")


@needs_exiftool
@pytest.mark.parametrize("form", ["png", "jpeg", "webp-lossy"])
def test_notes_that_are_there_are_kept(form: str, tmp_path: Path) -> None:
    """Those of exiftool itself; a type that the picture has is not said twice, nor overwritten."""
    mime, data = FORMS[form]
    file = tmp_path / f"noted.{form.partition('-')[0]}"
    file.write_bytes(data)
    command = ["exiftool", "-q", "-XMP:Title=Old title", f"-XMP:DigitalSourceType={ADDRESS}digitalArt", str(file)]
    subprocess.run(command, check=True, timeout=60)

    found = judged(MARK.into(file.read_bytes(), mime), tmp_path)

    assert "ExifTool:Warning" not in found
    assert (found["XMP-dc:Title"], found["XMP-dc:Identifier"]) == ("Old title", "cup-1")
    assert found["XMP-iptcExt:DigitalSourceType"] == f"{ADDRESS}digitalArt"


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_long_prompt_is_cut_where_the_format_has_no_room(form: str) -> None:
    """A JPEG's segment holds 64 KB. No character and no entity is cut in two."""
    mime, data = FORMS[form]
    long = Provenance(source_type=GENERATED, prompt="猫&" * 60_000, model="m", job="j")

    marked = long.into(data, mime)

    assert ImageChops.difference(pixels(marked), pixels(data)).getbbox(alpha_only=False) is None
    text = marked[marked.index(b"<Iptc4xmpExt:AIPrompt") : marked.index(b"</Iptc4xmpExt:AIPrompt")].decode()
    assert text.endswith(("猫…", "&amp;…"))
    assert len(marked) - len(data) < (66_000 if mime == "image/jpeg" else 270_000)


@pytest.mark.parametrize(
    ("mime", "data"),
    [("image/gif", picture(form="GIF")), ("image/webp", b"RIFF\0\0"), ("image/webp", b"RIFF\x04\0\0\0WEBP")],
)
def test_what_takes_no_mark_says_so(mime: str, data: bytes) -> None:
    """Another format, or one that is damaged."""
    with pytest.raises(NoRoomForXmp):
        MARK.into(data, mime)


async def test_an_edit_of_photos_is_marked_as_composite(shop: Shop) -> None:
    """By whether the job had references, unless told; without marks the bytes are the original's."""
    (shop.folder / "photo.png").write_bytes(picture())
    shop.job = {"id": "cup", "prompt": "a cup", "references": ["photo.png"]}
    await shop.run(None)
    [original] = (shop.output / "images").iterdir()

    def exported(**options: Any) -> bytes:
        return (Path(shop.export("folder", **options).to) / original.name).read_bytes()

    assert f"{ADDRESS}{COMPOSITE}<".encode() in exported()
    assert f"{ADDRESS}{GENERATED}<".encode() in exported(source_type=GENERATED)
    assert exported(provenance=False) == original.read_bytes()
