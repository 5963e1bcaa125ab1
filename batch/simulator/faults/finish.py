"""Answers 200 without a usable picture: finish reasons and blocked prompts."""

from __future__ import annotations

from batch.simulator.answers import Scene
from batch.simulator.delivery import Answer
from batch.simulator.faults.fault import Act, Section

SECTION = Section("Answered 200, no picture (charged)", wire="gemini")

#: Finish reasons of the API's enumeration that come without a picture.
FINISH_REASONS = {
    "NO_IMAGE": "a picture was expected and none was made",
    "IMAGE_OTHER": "no picture, no reason given",
    "OTHER": "stopped, no reason given",
    "MALFORMED_RESPONSE": "the model produced something unreadable",
    "FINISH_REASON_UNSPECIFIED": "the reason is the enumeration's zero",
    "IMAGE_RECITATION": "the picture looks like a copy",
    "RECITATION": "the text looks like a copy",
    "IMAGE_SAFETY": "the output filter took the picture",
    "IMAGE_PROHIBITED_CONTENT": "the picture is prohibited content",
    "PROHIBITED_CONTENT": "prohibited content",
    "SAFETY": "stopped for safety",
    "BLOCKLIST": "a forbidden word",
    "SPII": "sensitive personal data",
    "LANGUAGE": "unsupported language",
    "MODEL_ARMOR": "blocked by Model Armor",
    "ESCALATION": "escalated",
    "PUP_LIMITED_DISABLED": "the account is limited for policy violations",
    "MAX_TOKENS": "output limit reached",
    "CONTINUATION": "the request's token limit was reached, a continuation token came",
    "MALFORMED_FUNCTION_CALL": "an invalid function call",
    "UNEXPECTED_TOOL_CALL": "a tool call that no tool was enabled for",
    "TOO_MANY_TOOL_CALLS": "too many tool calls",
    "MISSING_THOUGHT_SIGNATURE": "a thought signature is missing",
}

BLOCK_REASONS = {
    "BLOCK_REASON_UNSPECIFIED": "the enumeration's zero",
    "BLOCKED_REASON_UNSPECIFIED": "the zero in the other spelling",
    "SAFETY": "safety",
    "OTHER": "no reason given",
    "BLOCKLIST": "a forbidden word",
    "PROHIBITED_CONTENT": "prohibited content",
    "IMAGE_SAFETY": "an unsafe reference picture",
    "MODEL_ARMOR": "Model Armor",
    "JAILBREAK": "a jailbreak attempt",
}

_FINISH_MESSAGE = "The model output could not be generated. Support code: 42876398."


def _finishing(reason: str | None, message: str = _FINISH_MESSAGE) -> Act:
    async def act(scene: Scene) -> Answer:
        more = {"finishMessage": message} if message else {}
        return scene.answer(scene.message(None, finish=reason, images=0, **more), images=0)

    return act


def _blocking(reason: str) -> Act:
    async def act(scene: Scene) -> Answer:
        feedback = {"promptFeedback": {"blockReason": reason, "safetyRatings": []}}
        return scene.answer({**feedback, **scene.trailer(0)}, images=0)

    return act


for _reason, _about in FINISH_REASONS.items():
    SECTION.add(f"finish_{_reason.lower()}", f"finishReason {_reason}: {_about}", _finishing(_reason))
SECTION.add("finish_missing", "a candidate without finishReason and parts", _finishing(None, ""))
SECTION.add("finish_unknown", "a finishReason no client has heard of", _finishing("IMAGE_TOO_BEAUTIFUL"))
for _reason, _about in BLOCK_REASONS.items():
    SECTION.add(f"block_{_reason.lower()}", f"promptFeedback.blockReason {_reason}: {_about}", _blocking(_reason))


@SECTION.fault("image_with_safety", "a picture together with finishReason IMAGE_SAFETY")
async def _image_with_safety(scene: Scene) -> Answer:
    return scene.answer(scene.message(await scene.parts(), finish="IMAGE_SAFETY"))


@SECTION.fault("text_only", "STOP with words and no picture", params={"text": "I cannot draw that, sorry."})
async def _text_only(scene: Scene) -> Answer:
    return scene.answer(scene.message([{"text": scene.params["text"]}], images=0), images=0)


@SECTION.fault("empty_parts", "STOP with an empty list of parts")
async def _empty_parts(scene: Scene) -> Answer:
    return scene.answer(scene.message([], images=0), images=0)


@SECTION.fault("no_parts", "STOP, and content has no parts at all")
async def _no_parts(scene: Scene) -> Answer:
    return scene.answer(scene.message(None, images=0), images=0)


@SECTION.fault("no_content", "STOP, and the candidate has no content")
async def _no_content(scene: Scene) -> Answer:
    message = scene.message(None, images=0)
    del message["candidates"][0]["content"]
    return scene.answer(message, images=0)


@SECTION.fault("no_candidates", "no candidates and no reason")
async def _no_candidates(scene: Scene) -> Answer:
    return scene.answer(scene.trailer(0), images=0)


@SECTION.fault("empty_candidates", "an empty list of candidates")
async def _empty_candidates(scene: Scene) -> Answer:
    return scene.answer({"candidates": [], **scene.trailer(0)}, images=0)
