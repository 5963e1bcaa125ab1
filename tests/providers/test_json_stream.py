"""Answers are decoded while they arrive: long strings to files, the rest to a small skeleton."""

from __future__ import annotations

import base64
import json
import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from batch.providers.answers.json_stream import LONG_STRING_BYTES, StringSpooler
from batch.providers.base import Blob

PICTURE = random.Random(1).randbytes(40_001)
DATA = base64.b64encode(PICTURE).decode()
SIZES = [1, 7, 64, 1000, 65536, 10**9]


def fed(tools: Any, body: bytes, size: int, **options: Any) -> tuple[bytes, tuple[Blob, ...], list[bytes]]:
    """Skeleton, blobs and file contents of a body that arrives in pieces of `size` bytes."""
    spool = tools.MemorySpool()
    strings = StringSpooler(spool.new_blob, **options)
    for start in range(0, len(body), size):
        strings.feed(body[start : start + size])
    skeleton, blobs = strings.finish()
    assert all(file.closed for file in spool.files)
    return skeleton, blobs, [bytes(file.data) for file in spool.files]


def quoted(data: str) -> bytes:
    return b'{"a":{"data":"' + data.encode() + b'","mimeType":"image/png"},"b":[1,"x"]}'


SPELLINGS = {
    "plain": DATA,
    "escaped slashes": DATA.replace("/", r"\/"),
    "unicode escapes": DATA.replace("+", r"\u002b").replace("=", r"\u003D"),
    "lines": re.sub("(.{76})", r"\1\\n", DATA),
    "lines with returns": re.sub("(.{76})", r"\1\\r\\n", DATA),
    "url-safe": DATA.replace("+", "-").replace("/", "_"),
    "no padding": DATA.rstrip("="),
    "data URL": "data:image/png;base64," + DATA,
    "data URL, escaped": r"data:image\/png;base64," + DATA.replace("/", r"\/"),
    "data URL with parameters": "data:image/png;charset=utf-8;base64," + DATA,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_base64_becomes_the_same_bytes(tools: Any, spelling: str, size: int) -> None:
    """However a picture is spelled and however its body is cut into chunks, its bytes arrive in the file."""
    skeleton, (blob,), (data,) = fed(tools, quoted(SPELLINGS[spelling]), size)
    assert data == PICTURE
    assert (blob.is_base64, blob.broken, blob.size_bytes) == (True, None, len(PICTURE))
    assert json.loads(skeleton) == {"a": {"data": "spool://0", "mimeType": "image/png"}, "b": [1, "x"]}


@pytest.mark.parametrize("escape", [rf"\u{ord(letter):04x}" for letter in "AZaz09+/="])
def test_any_letter_of_base64_may_be_an_escape(tools: Any, escape: str) -> None:
    """JSON allows every character to be written as \\uXXXX, and one server does."""
    letter = json.loads(f'"{escape}"')
    _, (blob,), (data,) = fed(tools, quoted(DATA.replace(letter, escape)), 1000)
    assert (blob.is_base64, blob.broken) == (True, None)
    assert data == PICTURE


@pytest.mark.parametrize("size", SIZES)
def test_a_markdown_data_url_keeps_the_words_around_it(tools: Any, size: int) -> None:
    """What stands before and after an embedded picture is kept as lead and tail."""
    body = json.dumps({"text": f'Voilà:\n![image](data:image/png;base64,{DATA}) and "more"'}).encode()
    skeleton, (blob,), (data,) = fed(tools, body, size)
    assert data == PICTURE
    assert (blob.lead, blob.tail) == ("Voilà:\n![image](", ') and "more"')
    assert json.loads(skeleton) == {"text": "spool://0"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (DATA[:20_000] + "*!é*" + DATA[20_000:], "not base64"),
        (DATA[:20_000] + "*" + DATA[20_000:], "not base64"),
        (DATA[:30_001], "cut base64"),
        (DATA + "QUFB", "base64 goes on after its padding"),
    ],
    ids=["garbage", "star", "cut", "goes on"],
)
def test_broken_base64_is_known_for_broken_and_kept(tools: Any, data: str, why: str, size: int) -> None:
    """A picture that cannot be decoded to its end says so, and what was decoded is right."""
    _, (blob,), (kept,) = fed(tools, quoted(data), size)
    assert blob.broken is not None
    assert why in blob.broken or "not base64" in blob.broken
    decoded = int(re.findall(r"after (\d+)", blob.broken)[0])
    assert kept[:decoded] == PICTURE[:decoded]
    assert len(kept) == blob.size_bytes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("behind", ["*", "!!stray", "QUFB", "\\u0000", ";charset=utf-8"])
@pytest.mark.parametrize("padding", ["", "="])
def test_what_stands_behind_whole_base64_leaves_it_whole(tools: Any, behind: str, padding: str, size: int) -> None:
    """Every byte before it is decoded, padded or not, and how many there are is known."""
    whole = PICTURE + b"x" * ((2 - len(PICTURE)) % 3)  # its base64 ends with one sign of padding
    data = base64.b64encode(whole).decode().rstrip("=") + padding
    if behind == "QUFB" and not padding:
        return  # that is one string of base64
    _, (blob,), (kept,) = fed(tools, quoted(data + behind), size)
    assert blob.broken is not None
    assert kept[: blob.decoded_bytes] == whole


@pytest.mark.parametrize("size", SIZES)
def test_two_pictures_of_one_answer_get_a_file_each(tools: Any, size: int) -> None:
    """Several long strings are numbered in order."""
    other = random.Random(2).randbytes(30_000)
    body = json.dumps([{"data": DATA}, "words", {"data": base64.b64encode(other).decode()}]).encode()
    skeleton, _, files = fed(tools, body, size)
    assert files == [PICTURE, other]
    assert json.loads(skeleton) == [{"data": "spool://0"}, "words", {"data": "spool://1"}]


@pytest.mark.parametrize("size", SIZES)
def test_a_long_text_goes_to_a_file_as_it_came(tools: Any, size: int) -> None:
    """Very many words are no base64; their file holds the JSON string's inside."""
    words = 'a "quoted" word\n' * 3000
    skeleton, (blob,), (raw,) = fed(tools, json.dumps({"text": words}).encode(), size)
    assert not blob.is_base64
    assert json.loads(b'"' + raw + b'"') == words
    assert json.loads(skeleton) == {"text": "spool://0"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "body",
    [b"", b"   ", b"<html>no</html>", b'"', b'{"a":"\\', b"\xff\xfe\x00", b'{"a": 1}', b'{"\\"":"\\\\"}', b'[""]'],
)
def test_bodies_without_long_strings_pass_unchanged(tools: Any, body: bytes, size: int) -> None:
    """What is not JSON, or small, comes out as it went in."""
    skeleton, blobs, _ = fed(tools, body, size)
    assert skeleton == body
    assert blobs == ()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("missing", [1, 2, 3, 4, 5])
def test_a_body_that_ends_within_a_picture_is_no_json(tools: Any, size: int, missing: int) -> None:
    """The end of a connection within a long string must not look like a whole answer."""
    skeleton, _, (data,) = fed(tools, b'{"data":"' + DATA[:-missing].encode(), size)
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(skeleton)
    assert PICTURE.startswith(data[: len(PICTURE) - 6])


def test_the_skeleton_is_bounded(tools: Any) -> None:
    """A body that is large without long strings goes into a file from the limit on, and nothing of it is lost."""
    body = json.dumps(["x" * 1000] * 200).encode()
    skeleton, (rest,), (data,) = fed(tools, body, 1000, skeleton_limit_bytes=50_000)
    assert (len(data), rest.is_base64) == (rest.size_bytes, False)
    assert len(skeleton) < 53_000
    assert skeleton.removesuffix(b"spool://0") + data == body


def test_a_large_picture_leaves_no_trace_in_the_skeleton(tools: Any) -> None:
    """Memory holds a chunk and the skeleton, whatever the picture measures."""
    spool = tools.MemorySpool()
    strings = StringSpooler(spool.new_blob, skeleton_limit_bytes=LONG_STRING_BYTES + 1000)
    strings.feed(b'{"data":"')
    for _ in range(100):
        strings.feed(b"QUFB" * 16_384)
    strings.feed(b'"}')
    skeleton, (blob,) = strings.finish()
    assert (len(skeleton), blob.size_bytes) == (len(b'{"data":"spool://0"}'), 100 * 3 * 16_384)


LONG_TEXTS = st.builds(
    lambda words, count: " ".join(words * count), st.lists(st.text(min_size=1), min_size=1), st.just(2000)
)
LONG_DATA = st.builds(
    lambda seed, size: "\0" + base64.b64encode(random.Random(seed).randbytes(size)).decode(),
    st.integers(0, 99),
    st.integers(13_000, 30_000),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | LONG_TEXTS | LONG_DATA,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


def restored(value: Any, blobs: tuple[Blob, ...], files: list[bytes]) -> Any:
    """The skeleton's value with every reference replaced by what its file says."""
    if isinstance(value, dict):
        return {name: restored(item, blobs, files) for name, item in value.items()}
    if isinstance(value, list):
        return [restored(item, blobs, files) for item in value]
    match = re.fullmatch(r"spool://(\d+)", value) if isinstance(value, str) else None
    if match is None:
        return value
    number = int(match[1])
    if blobs[number].is_base64 and blobs[number].broken is None:
        return base64.b64encode(files[number]).decode()
    return json.loads(b'"' + files[number] + b'"', strict=False)


def unmarked(value: Any) -> Any:
    """The value with the base64 strings as they are sent."""
    if isinstance(value, dict):
        return {name: unmarked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [unmarked(item) for item in value]
    return value[1:] if isinstance(value, str) and value.startswith("\0") and len(value) > LONG_STRING_BYTES else value


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=VALUES, ascii_only=st.booleans(), cuts=st.lists(st.integers(1, 70_000), min_size=1, max_size=6))
@example(value={"t": "é " * 20_000, "d": "\0" + DATA}, ascii_only=True, cuts=[1])
def test_skeleton_and_files_together_are_the_answer(tools: Any, value: Any, ascii_only: bool, cuts: list[int]) -> None:
    """For any JSON and any chunks, putting the files back into the skeleton gives what json.loads gives."""
    sent = unmarked(value)
    body = json.dumps(sent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    spool = tools.MemorySpool()
    strings = StringSpooler(spool.new_blob)
    position, turn = 0, 0
    while position < len(body):
        size = cuts[turn % len(cuts)]
        strings.feed(body[position : position + size])
        position, turn = position + size, turn + 1
    skeleton, blobs = strings.finish()
    files = [bytes(file.data) for file in spool.files]
    assert restored(json.loads(skeleton), blobs, files) == json.loads(body)


@pytest.mark.parametrize("size", SIZES[:-1])
@pytest.mark.parametrize("slash", ["/", r"\/"])
def test_base64_where_no_string_is_goes_to_a_file(tools: Any, slash: str, size: int) -> None:
    """After a quote too many, strings and what is between them change places; the picture is found all the same."""
    picture = random.Random(2).randbytes(500_000)
    data = base64.b64encode(picture).decode().replace("/", slash)
    body = b'{"text":"a 5" cup"},{"data":"' + data.encode() + b'","mimeType":"image/png"}'
    skeleton, (blob,), files = fed(tools, body, size)
    assert files == [picture]
    assert (blob.is_base64, blob.broken) == (True, None)
    assert skeleton == b'{"text":"a 5" cup"},{"data":"spool://0","mimeType":"image/png"}'


@pytest.mark.parametrize("size", [size for size in SIZES if size > 1024])
def test_a_filling_of_white_space_takes_no_room(tools: Any, size: int) -> None:
    """It stands between tokens, where it means nothing; within a string every blank counts."""
    blanks = " " * 5000
    body = ("\n" * 300_000 + '{"a":' + blanks + '"x' + blanks + '"' + "\t\r\n" * 9000 + "}").encode()
    skeleton, blobs, _ = fed(tools, body, size, skeleton_limit_bytes=10_000)
    assert (json.loads(skeleton), blobs) == ({"a": "x" + blanks}, ())
    assert len(skeleton) < 10_000


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("first", [300, 200_000])
def test_every_data_url_of_a_text_goes_to_a_file_of_its_own(tools: Any, first: int, size: int) -> None:
    """With the words between them, whatever their sizes."""
    if size < 64 and first > 300:
        first = 30_000
    one, two, three = (random.Random(seed).randbytes(length) for seed, length in ((7, first), (8, 40_000), (9, 20_000)))
    urls = [f"![x](data:image/png;base64,{base64.b64encode(data).decode()})" for data in (one, two, three)]
    body = json.dumps({"text": f"First {urls[0]} then {urls[1]} and {urls[2]} all."}).encode()
    skeleton, blobs, files = fed(tools, body, size)
    assert files == [one, two, three]
    assert [blob.goes_on for blob in blobs] == [True, True, False]
    assert [(blob.lead, blob.tail) for blob in blobs] == [
        ("First ![x](", ") then ![x]("),
        ("", ") and ![x]("),
        ("", ") all."),
    ]
    assert json.loads(skeleton) == {"text": "spool://0"}
