"""The key is shown nowhere: not in what is printed, logged, raised, written or sent elsewhere."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import batch
from batch.core.errors import ConfigError
from batch.providers.answers.json_stream import StringSpooler
from batch.providers.secrets import MASK, ApiKey, Redactor, read_key
from batch.simulator import serve, settings_from

CANARY = "canary-/+=0123456789-canary"


def spellings(key: str) -> list[bytes]:
    """The key as it might stand in a file: raw, percent-encoded, and in base64 at all three alignments."""
    inner = [base64.b64encode(b"x" * before + key.encode())[4:-4] for before in range(3)]
    quoted = quote(key, safe="")
    return [key.encode(), quoted.encode(), quoted.lower().encode(), quote(key).encode(), *inner]


def contents(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_a_key_shows_a_mask_and_travels_nowhere() -> None:
    """Formatting and logging give the mask; copying to another process is refused."""
    key = ApiKey(CANARY)
    assert f"{key} {key!r} {key!s} {[key]}" == "*** *** *** [***]"
    assert key.reveal() == CANARY
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)


@pytest.mark.parametrize(
    "value", [None, "", "  ", "\n", "a b", "a\tb", "käy", '"quoted"', "'quoted'", "a\x00b", "\ufeffkey"]
)
def test_a_key_that_cannot_be_right_is_refused_without_showing_it(value: str | None) -> None:
    """Spaces, quotes and odd characters come from copying; the message names the variable only."""
    with pytest.raises(ConfigError, match="ANYFAST_API_KEY") as caught:
        read_key({} if value is None else {"ANYFAST_API_KEY": value}, "ANYFAST_API_KEY")
    assert value is None or value.strip() == "" or value not in str(caught.value)


def test_a_line_end_after_the_key_is_forgiven() -> None:
    """Files and `$(cat ...)` leave one."""
    assert read_key({"K": "abc\r\n"}, "K").reveal() == "abc"


SPELLED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "slashes of PHP": lambda key: json.dumps(key)[1:-1].replace("/", r"\/"),
    "numbers": lambda key: "".join(f"\\u{ord(each):04X}" for each in key),
    "every other number": lambda key: "".join(
        f"\\u{ord(each):04x}" if place % 2 else json.dumps(each)[1:-1] for place, each in enumerate(key)
    ),
    "JSON in JSON": lambda key: json.dumps(json.dumps("".join(f"\\u{ord(each):04x}" for each in key)))[3:-3],
    "percent": lambda key: quote(key, safe=""),
    "percent twice": lambda key: quote(quote(key, safe=""), safe=""),
    "every letter in percent": lambda key: "".join(f"%{ord(each):02X}" for each in key),
    "HTML": lambda key: "".join(f"&#{ord(each)};" for each in key),
    "hex": lambda key: key.encode().hex(),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64, one on": lambda key: base64.b64encode(b"x" + key.encode() + b"yz").decode(),
    "base64, two on": lambda key: base64.b64encode(b"xx" + key.encode() + b"yyy").decode(),
    "base64 of PHP": lambda key: base64.b64encode(b"xx" + key.encode()).decode().replace("/", r"\/"),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(b"x" + key.encode()).decode(),
    "base64 in lines": lambda key: r"\n".join(
        base64.b64encode(key.encode()).decode()[at : at + 20] for at in range(0, 4 * len(key) // 3, 20)
    ),
}
PLACES: dict[str, str] = {
    "caption": '{"candidates":[{"content":{"parts":[{"text":"@"}]}}]}',
    "long caption": '{"candidates":[{"content":{"parts":[{"text":"' + "word " * 4000 + "@ " + "word " * 500 + '"}]}}]}',
    "finish message": '{"candidates":[{"finishReason":"OTHER","finishMessage":"@"}]}',
    "block reason": '{"promptFeedback":{"blockReason":"@"}}',
    "a name": '{"@":1}',
    "no JSON": "key is @, @",
    "a cut string": '{"text":"@',
    "a cut long string": '{"text":"' + "word " * 4000 + "@",
    "around a picture": '{"text":"@ ![a](data:image/png;base64,' + "QUJD" * 6000 + ') @"}',
    "in a broken picture": '{"data":"' + "QUJD" * 6000 + '!! @"}',
}


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # Letters that no escape ends with, so that what is looked for is a spelling and not its neighbour.
    key=st.text(st.sampled_from("ABCDEFabcdefstuvn0123456789/+=-_.~:%"), min_size=20, max_size=60),
    spelling=st.sampled_from(sorted(SPELLED)),
    place=st.sampled_from(sorted(PLACES)),
    size=st.integers(1, 3000),
)
def test_the_key_is_in_nothing_that_is_kept_of_an_answer(key: str, spelling: str, place: str, size: int) -> None:
    """However it is spelled, wherever it stands and however the network cuts it: it is in no file and in no body."""
    spelled = SPELLED[spelling](key)
    body = PLACES[place].replace("@", spelled).encode()
    files: list[Held] = []

    def new_blob() -> Held:
        files.append(Held())
        return files[-1]

    strings = StringSpooler(new_blob, redactor=Redactor(ApiKey(key)))
    for start in range(0, len(body), size):
        strings.feed(body[start : start + size])
    skeleton, blobs = strings.finish()
    kept = [skeleton, *(bytes(file.data) for file in files), *((blob.lead + blob.tail).encode() for blob in blobs)]
    core = spelled[4:-4] if spelling.startswith("base64") else spelled
    assert not any(core.encode() in each or key.encode() in each for each in kept)


class Held:
    """A spool file in memory."""

    file = "0"

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.data += data

    def close(self) -> None: ...

    def discard(self) -> None: ...


@pytest.mark.parametrize("padding", [0, 1, 2, 30_000])
def test_masking_leaves_a_pictures_bytes_alone(padding: int) -> None:
    """A picture may hold the key's letters or its base64; it is the picture that was paid for."""
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(padding) + CANARY.encode() + bytes(40)
    data = base64.b64encode(picture)
    file = Held()
    strings = StringSpooler(lambda: file, redactor=Redactor(ApiKey(CANARY)))
    strings.feed(b'{"text":"' + CANARY.encode() + b'","data":"' + data + b'"}')
    skeleton, blobs = strings.finish()
    assert CANARY.encode() not in skeleton
    assert bytes(file.data) == picture if blobs else data in skeleton


@settings(deadline=None, max_examples=30)
@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=20, max_size=60),
    before=st.binary(max_size=9),
    after=st.binary(max_size=9),
)
def test_no_spelling_of_any_key_passes_the_redactor(key: str, before: bytes, after: bytes) -> None:
    """Raw, percent-encoded, JSON and base64 in any surroundings are masked."""
    redactor = Redactor(ApiKey(key))
    encoded = base64.b64encode(before + key.encode() + after).decode()
    for spelled in (key, quote(key, safe="")):
        assert spelled not in redactor.text(f"<<{spelled}>>")
        assert spelled.encode() not in redactor.data(f"<<{spelled}>>".encode())
    assert MASK in redactor.text(encoded)


@pytest.mark.parametrize(
    "text",
    ["GET /v1?key=abc&x=1", "AIza" + "x" * 35, "sk-" + "y" * 24, "Authorization: Bearer abc.def", "AQ." + "z" * 30],
)
def test_what_looks_like_a_key_is_masked_as_well(text: str) -> None:
    """Relays show keys of their own."""
    redacted = Redactor(None).text(text)
    assert MASK in redacted
    assert not any(part in redacted for part in ("abc", "xxx", "yyy", "zzz"))


def test_the_simulators_key_is_an_ordinary_word() -> None:
    """Without a key nothing is hidden from captions."""
    assert Redactor(None).data(b"a flight simulator") == b"a flight simulator"


ECHOES = [
    [],
    ["debug_info_key"],
    [{"fault": "redirect", "location": f"http://127.0.0.2:9/?key={CANARY}"}],
    [{"fault": "redirect", "location": f"http://127.0.0.2:9/?key={quote(CANARY, safe='')}"}],
    ["url_file_data"],
    ["close"],
    ["garbage"],
    ["huge_header"],
    ["early_401"],
    ["hang"],
]


@pytest.mark.parametrize("auth", ["query", "header", "bearer"])
@pytest.mark.parametrize("faults", ECHOES, ids=str)
async def test_a_whole_run_leaves_the_key_nowhere(
    faults: list[Any],
    auth: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Everything a run logs, prints, writes and raises, and the provider's book, searched for every spelling."""
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    caplog.set_level(logging.DEBUG)
    manifest = tmp_path / "jobs.yaml"
    settings = settings_from({"pictures": "plain", "keys": [CANARY], "faults": faults})
    said = ""
    async with serve(settings, book_path=tmp_path / "book.jsonl") as simulator:
        manifest.write_text(
            f"provider: {{profile: anyfast, base_url: '{simulator.base_url}', auth: {auth}}}\n"
            "timeouts: {read_seconds: 0.2}\nretry: {unknown: hold}\n"
            "defaults: {image_size: '512', modalities: [TEXT, IMAGE]}\njobs: [{prompt: a mountain}]\n"
        )
        try:
            keys = {"ANYFAST_API_KEY": CANARY}
            said = repr(await asyncio.to_thread(batch.run_sync, manifest, output=tmp_path / "out", environment=keys))
        except BaseException:  # noqa: BLE001  (whatever it is, its text is searched)
            said = traceback.format_exc()
        assert "Traceback" not in said
        assert simulator.book.requests == 1
        assert simulator.book.downloads_with_key == 0
    out, err = capfd.readouterr()
    written = contents(tmp_path)
    everything = b"\n".join([said.encode(), caplog.text.encode(), out.encode(), err.encode(), *written])
    assert len(written) >= 5
    assert [spelled for spelled in spellings(CANARY) if spelled in everything] == []
