"""What a request holds beside its contents: as the official SDK writes it, and nothing where nothing is asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.parameters import BESIDE_THE_PROMPT, Parameters, common_parameters
from batch.providers.gemini import build_request
from batch.providers.gemini_fields import merged
from batch.providers.references.references import EncodedReference
from tests.providers.test_gemini import body_of, one_spelling

EARLIER = json.loads((Path(__file__).parent / "requests.json").read_text("ascii"))
COMMON = common_parameters("16:9", "2K", ("TEXT", "IMAGE"))


def body(parameters: Parameters, lane: Lane = Lane.STANDARD) -> Any:
    job = Job(id="a", prompt="a cup", model="m", parameters=parameters)
    return json.loads(b"".join(build_request(job, (), snake_case=False, lane=lane).pieces))


def test_a_job_that_asks_for_nothing_else_is_sent_as_ever() -> None:
    """Byte for byte as recorded before there was anything else to ask for."""
    assert len(EARLIER) == 288
    for prompt, model, ratio, size, modalities, references, snake, lane, path, digest in EARLIER:
        job = Job(id="a", prompt=prompt, model=model, parameters=common_parameters(ratio, size, tuple(modalities)))
        encoded = [
            EncodedReference(mime="image/png" if number else "image/jpeg", base64=b"QUJD" * (3 + number))
            for number in range(references)
        ]
        request = build_request(job, encoded, snake_case=snake, lane=Lane(lane))
        assert request.path == path
        assert hashlib.sha256(b"".join(request.pieces)).hexdigest() == digest


#: Our parameter, and the SDK's configuration that asks for the same.
SAME: dict[str, tuple[Any, dict[str, Any]]] = {
    "system": ("Be brief, 山", {"system_instruction": "Be brief, 山"}),
    "thinking": ("high", {"thinking_config": {"thinking_level": "high"}}),
    "seed": (7, {"seed": 7}),
    "temperature": (0.5, {"temperature": 0.5}),
    "top_p": (0.25, {"top_p": 0.25}),
    "safety": (
        {"HARM_CATEGORY_HATE_SPEECH": "BLOCK_NONE", "HARM_CATEGORY_DANGEROUS_CONTENT": "OFF"},
        {
            "safety_settings": [
                {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "threshold": "OFF"},
                {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"},
            ]
        },
    ),
    "search": (("web",), {"tools": [{"google_search": {}}]}),
    "search pictures": (("image",), {"tools": [{"google_search": {"search_types": {"image_search": {}}}}]}),
    "search both": (
        ("web", "image"),
        {"tools": [{"google_search": {"search_types": {"web_search": {}, "image_search": {}}}}]},
    ),
    "extra": ({"generationConfig": {"topK": 40}}, {"top_k": 40}),
}


def test_every_parameter_is_compared_with_the_sdk() -> None:
    """A new one needs a case of its own."""
    assert {name.split()[0] for name in SAME} == BESIDE_THE_PROMPT


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", SAME)
async def test_a_parameter_is_sent_as_the_official_sdk_sends_it(
    name: str, raw_server: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the names are brought to one spelling, the same JSON."""
    genai = pytest.importorskip("google.genai")
    for variable in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    value, config = SAME[name]
    peer = await raw_server(tools.answer(b"{}", "200 OK", "Content-Type: application/json"))
    options = genai.types.HttpOptions(base_url=peer.url, api_version="v1beta", timeout=10_000)

    def ask() -> None:
        with genai.Client(api_key="K", http_options=options) as client:
            image = {"aspect_ratio": "16:9", "image_size": "2K"}
            common = {"response_modalities": ["TEXT", "IMAGE"], "image_config": image}
            client.models.generate_content(model="m", contents="a cup", config={**common, **config})

    await asyncio.to_thread(ask)
    ours = body(COMMON.changed(**{name.split()[0]: value}))
    assert one_spelling(ours) == body_of(peer.requests[0])


def test_all_of_them_at_once_and_a_lane() -> None:
    """Each in its own place; the lane stays last."""
    asked = {name: value for name, (value, _) in SAME.items() if " " not in name}
    found = body(COMMON.changed(**asked), Lane.FLEX)
    assert list(found) == [
        "contents",
        "generationConfig",
        "systemInstruction",
        "safetySettings",
        "tools",
        "service_tier",
    ]
    assert found["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
        "thinkingConfig": {"thinkingLevel": "HIGH"},
        "seed": 7,
        "temperature": 0.5,
        "topP": 0.25,
        "topK": 40,
    }
    assert body(Parameters(asked | dict(COMMON))) == body(COMMON.changed(**asked))


MERGED = [
    ({"a": {"b": 1}}, {"a": {"c": 2}, "d": 3}, {"a": {"b": 1, "c": 2}, "d": 3}),
    ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
    ({"a": [1]}, {"a": [2]}, {"a": [2]}),
    ({"tools": [{"x": {}}]}, {"tools": [{"y": {}}]}, {"tools": [{"x": {}}, {"y": {}}]}),
    ({"tools": [{"x": {}}]}, {"tools": {"y": {}}}, {"tools": [{"x": {}}, {"y": {}}]}),
    ({}, {"tools": [{"y": {}}]}, {"tools": [{"y": {}}]}),
]


@pytest.mark.parametrize(("fields", "extra", "expected"), MERGED)
def test_extra_is_merged_into_the_request(fields: Any, extra: Any, expected: Any) -> None:
    """Mappings meet, tools are added to those there are, all else is set; neither argument is changed."""
    before = json.dumps([fields, extra])
    assert merged(fields, extra) == expected
    assert json.dumps([fields, extra]) == before
