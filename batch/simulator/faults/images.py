"""What only OpenAI's images API answers: its own errors and limits, and its answers in other shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from batch.simulator.answers import Scene, encode
from batch.simulator.delivery import Answer
from batch.simulator.faults.fault import Act, Section
from batch.simulator.images_answers import drawn, entry, good_images_message, message
from batch.simulator.images_wire import ImagesAsk
from batch.simulator.refusals import images_error

ERRORS = Section("OpenAI's images API: errors (not charged)", wire="images")
SHAPES = Section("OpenAI's images API: answers (charged)", wire="images")

_SAFETY = "Your request was rejected by the safety system. If you believe this is an error, contact us."
_LIMIT = "Rate limit reached for gpt-image-1.5 in organization org-sim on {what}: Limit 5, Used 5, Requested 1."
#: Status, words, type, code and param.
_ERRORS: dict[str, tuple[int, str, str, str | None, str | None]] = {
    "bad_key": (401, "Incorrect API key provided: sim***.", "invalid_request_error", "invalid_api_key", None),
    "no_quota": (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
        None,
    ),
    "spend_limit": (429, "The project's limit is reached.", "insufficient_quota", "project_spend_limit_exceeded", None),
    "billing_limit": (
        400,
        "Billing hard limit has been reached",
        "billing_limit_user_error",
        "billing_hard_limit_reached",
        None,
    ),
    "unverified": (
        403,
        "Your organization must be verified to use the model `gpt-image-1.5`.",
        "invalid_request_error",
        None,
        None,
    ),
    "model_missing": (404, "The model does not exist.", "invalid_request_error", "model_not_found", None),
    "invalid_size": (400, "Invalid size.", "image_generation_user_error", "invalid_size", "size"),
    "moderation": (400, _SAFETY, "image_generation_user_error", "moderation_blocked", None),
    "content_policy": (400, _SAFETY, "invalid_request_error", "content_policy_violation", None),
    "limit": (429, _LIMIT.format(what="images per min"), "images", "rate_limit_exceeded", None),
    "limit_day": (
        429,
        _LIMIT.format(what="requests per day (RPD)") + " Please try again in 7h12m0s.",
        "requests",
        "rate_limit_exceeded",
        None,
    ),
    "server_error": (500, "The server had an error while processing your request.", "server_error", None, None),
    "slow_down": (503, "Please reduce your request rate.", "service_unavailable_error", "slow_down", None),
}


def _saying(status: int, body: Any) -> Act:
    async def act(scene: Scene) -> Answer:
        named = (("Retry-After", "retry_after"), ("Retry-After-Ms", "retry_after_ms"))
        headers = {header: scene.params[name] for header, name in named if scene.params.get(name)}
        return Answer(status=status, body=encode(body), headers=headers)

    return act


for _name, (_status, _words, _type, _code, _param) in _ERRORS.items():
    ERRORS.add(
        f"openai_{_name}",
        f"{_status} {_code or _type}: {_words[:50]}",
        _saying(_status, images_error(_words, _type, _code, _param)),
        params={"retry_after": "", "retry_after_ms": ""},
    )


@ERRORS.fault("openai_limit_header", "429 that says in x-ratelimit headers when there is room again", params={"ms": 50})
async def _limit_header(scene: Scene) -> Answer:
    words = _LIMIT.format(what="images per min")
    headers = {
        "x-ratelimit-limit-images": "5",
        "x-ratelimit-remaining-images": "0",
        "x-ratelimit-reset-images": f"{scene.params['ms']}ms",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "6m0s",
    }
    body = images_error(words, "images", "rate_limit_exceeded")
    return Answer(status=429, body=encode(body), headers=headers)


@SHAPES.fault("openai_moderation_output", "400: the finished picture was refused (charged)", billed=True)
async def _moderation_output(scene: Scene) -> Answer:  # noqa: ARG001
    body = images_error(_SAFETY, "image_generation_user_error", "moderation_blocked")
    body["error"]["moderation_details"] = {"moderation_stage": "output", "categories": ["violence"]}
    return Answer(status=400, body=encode(body), images=0, false_usage=True)


def _changed(change: Callable[[dict[str, Any]], None], *, images: int = 1, false_usage: bool = False) -> Act:
    """A good answer, with something in its message changed."""

    async def act(scene: Scene) -> Answer:
        ask = _ask(scene)
        told = message(ask, [entry(await drawn(scene.picture, ask))])
        change(told)
        return replace(scene.answer(told, images=images), false_usage=false_usage)

    return act


def _ask(scene: Scene) -> ImagesAsk:
    assert isinstance(scene.ask, ImagesAsk)
    return scene.ask


SHAPES.add("openai_empty", "an empty list of pictures", _changed(lambda told: told["data"].clear(), images=0))
SHAPES.add("openai_no_usage", "no usage at all", _changed(lambda told: told.pop("usage") and None, false_usage=True))
SHAPES.add(
    "openai_false_usage",
    "a total that is not the sum",
    _changed(lambda told: told["usage"].update(total_tokens=1), false_usage=True),
)
SHAPES.add(
    "openai_revised_prompt",
    "the prompt as the model rewrote it",
    _changed(lambda told: told["data"][0].update(revised_prompt="a mountain, as the model saw it")),
)


@SHAPES.fault("openai_wrapped", "the answer inside a relay's own wrapper")
async def _wrapped(scene: Scene) -> Answer:
    ask = _ask(scene)
    told = message(ask, [entry(await drawn(scene.picture, ask))])
    return scene.answer({"code": 0, "msg": "ok", "data": told})


@SHAPES.fault("openai_two", "two pictures where one was asked for")
async def _two(scene: Scene) -> Answer:
    ask = replace(_ask(scene), pictures=2)
    return scene.answer(await good_images_message(scene.picture, ask), images=2)


@SHAPES.fault(
    "openai_url",
    "the picture as an address",
    params={"download": "ok"},
    choices={"download": ("ok", "404", "503_once", "html", "cut")},
)
async def _url(scene: Scene) -> Answer:
    ask = _ask(scene)
    picture = await drawn(scene.picture, ask)
    path = scene.files.put(f"{scene.request_id}.{ask.output_format}", picture, scene.params["download"])
    return scene.answer(message(ask, [{"url": f"{scene.origin}{path}"}]))
