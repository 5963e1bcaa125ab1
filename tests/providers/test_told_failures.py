"""A gateway's own words reach the person, whatever it calls the field and whatever status it answers with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from batch.core.errors import AttemptError, EndpointDown, Paid, Unusable
from batch.providers.answers.classify import classify_error
from batch.providers.base import Received

WORDS = "Model is in maintenance until 09:00"
NOW = datetime(2026, 1, 31, tzinfo=UTC)

SHAPES: dict[str, Any] = {
    "error": {"error": WORDS},
    "error.message": {"error": {"message": WORDS, "code": "x"}},
    "errors of texts": {"errors": [WORDS]},
    "errors of objects": {"errors": [{"message": WORDS}]},
    "errors by field": {"errors": {"prompt": [WORDS]}},
    "error is a list": {"error": [{"msg": WORDS}]},
    "detail": {"detail": WORDS},
    "detail list": {"detail": [{"loc": ["body", "x"], "msg": WORDS, "type": "value_error"}]},
    "detail object": {"detail": {"error": WORDS}},
    "msg": {"code": 20012, "msg": WORDS},
    "error_msg": {"error_code": 17, "error_msg": WORDS},
    "errMsg": {"errCode": "E1", "errMsg": WORDS},
    "error_description": {"error": "invalid_request", "error_description": WORDS},
    "success false": {"success": False, "message": WORDS},
    "status failed": {"status": "failed", "reason": WORDS},
    "state": {"state": "FAILED", "failureReason": WORDS},
    "under data": {"code": -1, "data": {"message": WORDS}},
    "under response": {"response": {"error": {"message": WORDS}}},
    "task": {"output": {"task_status": "FAILED", "code": "InvalidParameter", "message": WORDS}},
    "base_resp": {"base_resp": {"status_code": 1004, "status_msg": WORDS}},
    "double-encoded": {"error": {"message": json.dumps({"error": {"message": WORDS}})}},
    "in a list": [{"error": {"message": WORDS}}],
}


@pytest.mark.parametrize("status", [400, 422, 500])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_words_of_an_error_are_shown(shape: str, status: int) -> None:
    """At every status of an error, in every usual field."""
    error = classify_error(status, {}, json.dumps(SHAPES[shape]).encode(), now=NOW)
    assert WORDS in error.message


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_refusal_with_status_200_is_one(shape: str, provider: Any) -> None:
    """It counts as charged under a code of its own, is not sent again, and its words are shown."""
    error = await meaning(provider, SHAPES[shape])
    assert isinstance(error, Unusable)
    assert (error.code, error.paid, error.retries) == ("error_in_answer", Paid.YES, 0)
    assert WORDS in error.message


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (422, {"unheard_of": {"deep": WORDS}}, WORDS),
        (422, [1, "two", WORDS], WORDS),
        (400, WORDS, WORDS),
        (200, {"unheard_of": WORDS}, WORDS),
        (200, {"task_id": "t-1", "status": "pending"}, "pending"),
    ],
)
async def test_without_a_known_field_the_body_is_shown(status: int, body: Any, words: str, provider: Any) -> None:
    """Anything is better than "no explanation"."""
    data = json.dumps(body).encode()
    error = await meaning(provider, body) if status == 200 else classify_error(status, {}, data, now=NOW)
    assert words in error.message


def test_a_complaint_says_what_it_is_about() -> None:
    """The place that a validator names stands before its words."""
    body = {"detail": [{"loc": ["body", "generationConfig", "imageConfig"], "msg": "extra fields not permitted"}]}
    error = classify_error(422, {}, json.dumps(body).encode(), now=NOW)
    assert "body.generationConfig.imageConfig: extra fields not permitted" in error.message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"success": False, "message": "无权进行此操作，未登录且未提供 access token"}, "bad_key"),
        ({"code": 401, "msg": "token expired"}, "bad_key"),
        ({"code": 1, "success": False, "msg": "用户额度不足"}, "no_credit"),
        ({"success": False, "message": "insufficient balance"}, "no_credit"),
        ({"status": 404, "detail": "no such model"}, "model_missing"),
    ],
)
async def test_a_refusal_in_200_that_concerns_every_request_stops_the_run(body: Any, code: str, provider: Any) -> None:
    """Key, credit and model are at fault for the next job as well."""
    error = await meaning(provider, body)
    assert isinstance(error, EndpointDown)
    assert error.code == code


@pytest.mark.parametrize(
    ("body", "retries"),
    [
        ({"success": False, "message": "upstream is busy, try again"}, 1),
        ({"success": False, "message": "当前分组上游负载已饱和，请稍后再试"}, 1),
        ({"code": 503, "msg": "x"}, 1),
        ({"code": "429", "msg": "x"}, 1),
        ({"code": 20012, "msg": "size not enabled"}, 0),
    ],
)
async def test_a_refusal_in_200_is_asked_again_only_if_that_may_help(body: Any, retries: int, provider: Any) -> None:
    """Each try counts as charged, so the server's own words must give a reason."""
    error = await meaning(provider, body)
    assert isinstance(error, Unusable)
    assert error.retries == retries


@pytest.mark.parametrize(
    "body", [{"code": 0, "msg": ""}, {"status": "success"}, {"errcode": 0, "errmsg": "ok"}, {"code": "--"}, {}]
)
async def test_an_answer_that_does_not_say_it_failed_is_no_refusal(body: Any, provider: Any) -> None:
    """It holds no picture, and that is all that is known."""
    assert (await meaning(provider, body)).code == "no_candidates"


PAGE = b"<!doctype html><title>Log in to Relay</title><p>please"


@pytest.mark.parametrize(
    ("label", "body", "code", "paid"),
    [
        ("text/html", PAGE, "html_answer", Paid.NO),
        ("", b"\xef\xbb\xbf \n" + PAGE, "html_answer", Paid.NO),
        ("application/json", PAGE, "not_json", Paid.YES),
        ("text/html", b"words", "not_json", Paid.YES),
        ("text/html", b'{"candidates": []}', "no_candidates", Paid.YES),
        ("text/html", b'{"success": false, "msg": "no"}', "error_in_answer", Paid.YES),
        ("text/html", b'{"cut": "in ha', "not_json", Paid.YES),
    ],
)
async def test_only_a_page_is_a_page(label: str, body: bytes, code: str, paid: Paid, provider: Any) -> None:
    """The body decides, not its label; what is no page counts as charged."""
    answer = Received(status=200, headers={"content-type": label}, body=body, blobs=(), seconds=1.0)
    with pytest.raises(AttemptError) as caught:
        provider("http://127.0.0.1:1").interpret(answer)
    assert (caught.value.code, caught.value.paid) == (code, paid)
    if body.endswith(PAGE):
        assert "Log in to Relay" in caught.value.message


@pytest.mark.parametrize("label", ["text/html; charset=UTF-8", "text/plain", "application/octet-stream", ""])
async def test_a_picture_counts_whatever_the_label_says(label: str, provider: Any) -> None:
    """Relays written in PHP call everything a page."""
    body = b'{"candidates":[{"content":{"parts":[{"inlineData":{"data":"iVBORw0KGgo="}}]},"finishReason":"STOP"}]}'
    answer = Received(status=200, headers={"content-type": label}, body=body, blobs=(), seconds=1.0)
    assert provider("http://127.0.0.1:1").interpret(answer).pictures


async def meaning(provider: Any, body: Any) -> AttemptError:
    answer = Received(status=200, headers={}, body=json.dumps(body).encode(), blobs=(), seconds=1.0)
    with pytest.raises(AttemptError) as caught:
        provider("http://127.0.0.1:1").interpret(answer)
    return caught.value
