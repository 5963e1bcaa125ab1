"""Errors of relays (new-api and its kin) as they word them. The same in either flavour."""

from __future__ import annotations

from typing import Any

from batch.simulator.answers import Scene, encode
from batch.simulator.delivery import Answer
from batch.simulator.faults.fault import Act, Section
from batch.simulator.refusals import RelayError

SECTION = Section("Relay errors (not charged)")

_MODEL = "gemini-3.1-flash-image"

_ERRORS: dict[str, RelayError] = {
    "invalid_token": RelayError(status=401, message="Invalid token"),
    "invalid_token_zh": RelayError(status=401, message="无效的令牌"),
    "user_quota": RelayError(status=403, message="用户额度不足, 剩余额度: ＄0.000000", code="insufficient_user_quota"),
    "pre_consume_quota": RelayError(
        status=403, message="预扣费额度失败, 用户剩余额度: ＄0.010000", code="insufficient_user_quota"
    ),
    "token_quota": RelayError(status=403, message="token quota is not enough", code="pre_consume_token_quota_failed"),
    "group_forbidden": RelayError(status=403, message="无权访问 vip 分组"),
    "group_retired": RelayError(status=403, message="分组 vip 已被弃用"),
    "model_forbidden": RelayError(status=403, message=f"This token has no access to model {_MODEL}"),
    "access_denied": RelayError(
        status=403, message="Your IP is not in the allow list of this token", code="access_denied"
    ),
    "banned": RelayError(status=403, message="用户已被封禁"),
    "invalid_request": RelayError(
        status=400, message="Invalid request: unexpected end of JSON input", code="invalid_request"
    ),
    "convert_failed": RelayError(status=500, message="failed to convert request", code="convert_request_failed"),
    "body_too_large": RelayError(status=413, message="http: request body too large", code="read_request_body_failed"),
    "user_limit": RelayError(
        status=429, message="You have reached the request limit: maximum 60 requests in 1 minutes"
    ),
    "user_limit_zh": RelayError(status=429, message="您已达到请求数限制：1分钟内最多请求60次"),
    "saturated": RelayError(status=429, message="当前分组上游负载已饱和，请稍后再试"),
    "no_channel": RelayError(
        status=503,
        message=f"No available channel for model {_MODEL} under group default (distributor)",
        code="model_not_found",
    ),
    "get_channel_failed": RelayError(status=500, message="获取渠道失败", code="get_channel_failed"),
    "do_request_failed": RelayError(status=500, message="do request failed: upstream error", code="do_request_failed"),
    "no_available_key": RelayError(status=500, message="no available key", code="channel:no_available_key"),
    "channel_error": RelayError(
        status=500,
        message="the channel's response time limit was exceeded",
        code="channel:response_time_exceeded",
    ),
    "bad_response_body": RelayError(
        status=500, message="invalid character '<' looking for beginning of value", code="bad_response_body"
    ),
    "empty_response": RelayError(status=500, message="empty response", code="empty_response"),
    "bad_response": RelayError(status=500, message="bad response status code 500", code="bad_response"),
    "sensitive_words": RelayError(status=500, message="user sensitive words detected", code="sensitive_words_detected"),
    "prompt_blocked": RelayError(
        status=400, message="request blocked by Gemini API: PROHIBITED_CONTENT", code="prompt_blocked"
    ),
    "prompt_blocked_500": RelayError(
        status=500, message="request blocked by Gemini API: PROHIBITED_CONTENT", code="prompt_blocked"
    ),
    "price_error": RelayError(status=500, message=f"模型 {_MODEL} 倍率或价格未配置", code="model_price_error"),
    "count_token_failed": RelayError(status=500, message="count token failed", code="count_token_failed"),
    "query_data_error": RelayError(status=500, message="database is locked", code="query_data_error"),
    "update_data_error": RelayError(status=500, message="database is locked", code="update_data_error"),
    "not_implemented": RelayError(status=501, message="API not implemented", code="api_not_implemented"),
    "invalid_url": RelayError(
        status=404, message=f"Invalid URL (POST /v1beta/models/{_MODEL})", type="invalid_request_error"
    ),
    "upstream_429": RelayError(
        status=429,
        message="You exceeded your current quota, please check your plan and billing details.\nPlease retry in 36.43s.",
        type="upstream_error",
        code=429,
        has_param=True,
    ),
    "upstream_429_day": RelayError(
        status=429,
        message="Quota exceeded for quota metric 'GenerateRequestsPerDayPerProjectPerModel', limit: 250\n"
        "Please retry in 8.1s.",
        type="upstream_error",
        code=429,
        has_param=True,
    ),
    "upstream_503": RelayError(
        status=503,
        message="This model is currently experiencing high demand.",
        type="upstream_error",
        code="503",
        has_param=True,
    ),
    "upstream_400_key": RelayError(
        status=400,
        message="API key not valid. Please pass a valid API key.",
        type="upstream_error",
        code=400,
        has_param=True,
    ),
    "balance_402": RelayError(status=402, message="Insufficient balance", code="insufficient_balance"),
    "balance_403": RelayError(status=403, message="not enough balance", code="NOT_ENOUGH_BALANCE"),
    "rate_limit": RelayError(status=429, message="Rate limit exceeded", code="RATE_LIMIT_EXCEEDED"),
    "rate_limit_error": RelayError(
        status=429, message="Rate limit exceeded", type="rate_limit_error", code="rate_limit_exceeded"
    ),
}

# Bodies that do not follow the relay's own form.
_BODIES: dict[str, tuple[int, str, Any]] = {
    "documented_key": (
        401,
        "the key error as AnyFast documents it",
        {
            "error": {
                "message": "Invalid API key provided.",
                "type": "authentication_error",
                "code": "invalid_api_key",
            }
        },
    ),
    "one_api": (
        401,
        "an error of one-api, which has no code",
        {"error": {"message": "无效的令牌", "type": "one_api_error"}},
    ),
    "code_mismatch": (
        429,
        "429 whose param and code speak of something else",
        {
            "error": {
                "message": "bad response status code 404",
                "type": "upstream_error",
                "param": "404",
                "code": "bad_response_status_code",
            }
        },
    ),
    "bare_message": (500, "a message without an error object", {"message": "system busy", "success": False}),
}


def _saying(error: RelayError) -> Act:
    async def act(scene: Scene) -> Answer:
        headers = {"Retry-After": scene.params["retry_after"]} if scene.params["retry_after"] else {}
        return Answer(status=error.status, body=encode(error.body(scene.request_id)), headers=headers)

    return act


def _sending(status: int, body: Any) -> Act:
    async def act(scene: Scene) -> Answer:  # noqa: ARG001
        return Answer(status=status, body=encode(body))

    return act


for _name, _error in _ERRORS.items():
    _about = f"{_error.status} {_error.code or _error.type}: {_error.message.splitlines()[0][:60]}"
    SECTION.add(f"relay_{_name}", _about, _saying(_error), params={"retry_after": ""})
for _name, (_status, _text, _body) in _BODIES.items():
    SECTION.add(f"relay_{_name}", f"{_status}: {_text}", _sending(_status, _body))
