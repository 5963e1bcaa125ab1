"""The causes that a job's history can name: what `--retry` may ask for.

A provider may say others; those that a folder's history holds are known there.
"""

from __future__ import annotations

from typing import Final

_POLICY: Final = (
    *("image_safety", "image_prohibited_content", "prohibited_content", "safety", "blocklist", "spii", "language"),
    *("model_armor", "escalation", "image_recitation", "recitation", "pup_limited_disabled"),
    *("blocked_safety", "blocked_other", "blocked_prohibited_content", "blocked_blocklist", "blocked_image_safety"),
    *("blocked_jailbreak", "blocked_model_armor", "blocked_spii", "sensitive_words_detected", "prompt_blocked"),
    *("moderation_blocked", "content_policy_violation", "content_filter", "image_content_policy_violation"),
)
_NO_PICTURE: Final = (
    *("no_image", "image_other", "other", "text_only", "empty_answer", "no_candidates", "no_body", "bad_image"),
    *("not_json", "error_in_answer", "html_answer", "malformed_response", "finish_reason_unspecified"),
    *("max_tokens", "continuation", "malformed_function_call", "unexpected_tool_call", "too_many_tool_calls"),
    *("missing_thought_signature", "download_failed", "download_gone", "download_refused"),
    "answers_later",
)
_REQUEST: Final = (
    *("invalid_request", "invalid_size", "request_too_large", "reference_changed", "reference_unreadable", "internal"),
)
_NOT_CHARGED: Final = (
    *("unavailable", "rate_limited", "no_channel", "unreachable", "not_sent_connection", "not_sent_timeout"),
    *("not_sent_tls", "not_sent_dns", "account_limited", "account_not_ready", "bad_key", "budget", "daily_quota"),
    *(
        "day_used_up",
        "long_pause",
        "model_missing",
        "model_not_allowed",
        "no_credit",
        "no_quota",
        "no_service",
        "permission_denied",
    ),
    *("quotas_held", "redirected", "spend_book_held", "tls", "wrong_address"),
)
_UNKNOWN: Final = ("timeout", "cut", "no_answer", "gateway_error", "interrupted", "held", "cancelled", "bad_body")
_DECIDED: Final = ("resolved_paid", "resolved_unpaid", "resolved_failed")

CAUSES: Final = frozenset((*_POLICY, *_NO_PICTURE, *_REQUEST, *_NOT_CHARGED, *_UNKNOWN, *_DECIDED))
