"""What to do about failures, by their causes: a table of sentences for the person who reads the summary."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from batch.report.formatting import path

_MOST_CODES: Final = 3


@dataclass(frozen=True, slots=True)
class _Advice:
    codes: tuple[str, ...]
    #: `{output}` is the output folder.
    words: str


_ADVICE: Final = (
    _Advice(
        (
            *("image_safety", "image_prohibited_content", "prohibited_content", "safety", "blocklist", "spii"),
            *("model_armor", "blocked_safety", "blocked_other", "blocked_prohibited_content", "blocked_blocklist"),
            *("blocked_image_safety", "blocked_jailbreak", "blocked_model_armor", "blocked_spii"),
            *("sensitive_words_detected", "prompt_blocked", "moderation_blocked"),
            *("content_policy_violation", "content_filter", "image_content_policy_violation"),
        ),
        "the provider's filter refused these: change the words or the photo, or let another model try "
        "(fallback: {models: [MODEL], on: [safety]})",
    ),
    _Advice(
        ("image_recitation", "recitation"),
        "the picture came out too close to a known work: describe what you want instead of naming it",
    ),
    _Advice(("language",), "the model does not take this language: write the prompt in another one"),
    _Advice(
        ("escalation", "pup_limited_disabled"),
        "the provider blocked these: change the words, or ask the provider about your account",
    ),
    _Advice(
        ("no_image", "image_other", "other", "text_only", "empty_answer", "no_candidates", "finish_reason_unspecified"),
        'the model answered without a picture: say "a photo of ..." in the prompt, or try again with --retry '
        "(charged again)",
    ),
    _Advice(
        ("bad_image", "not_json", "html_answer", "error_in_answer", "malformed_response", "no_body"),
        "no picture could be read from the answers: try imagebatch reread {output}, which costs nothing, then --retry "
        "(charged again)",
    ),
    _Advice(
        ("download_gone", "download_refused"),
        "the answer named an address that holds no picture for us: try again with --retry (charged again)",
    ),
    _Advice(("download_failed",), "the picture is paid and could not be fetched yet: run it again"),
    _Advice(
        ("max_tokens", "continuation"),
        "the answer reached the provider's token limit: ask for less text, or leave TEXT out of modalities",
    ),
    _Advice(
        ("request_too_large",),
        "the references are too large: send fewer of them, or save them smaller (JPEG, 2,000 px)",
    ),
    _Advice(("reference_unreadable",), "open the reference in a picture program and save it again as PNG or JPEG"),
    _Advice(
        ("reference_changed",), "the reference was edited while the run was on: run it again, with the files left alone"
    ),
    _Advice(
        ("invalid_request", "invalid_size"),
        "the provider does not accept these requests: read its words in manifest.jsonl, and check size, ratio and "
        "references",
    ),
    _Advice(
        ("timeout", "cut", "no_answer", "gateway_error", "interrupted", "held", "cancelled", "bad_body"),
        "look for the requests in the provider's log or bill, then say what you found: imagebatch resolve {output} "
        "--list",
    ),
    _Advice(
        (
            *("unavailable", "rate_limited", "no_channel", "unreachable", "quotas_held"),
            *("not_sent_connection", "not_sent_timeout", "not_sent_tls", "not_sent_dns"),
        ),
        "the provider could not be reached or had no room; nothing was charged: run it again later",
    ),
    _Advice(("internal",), "a bug in imagebatch: run it with --log-file and report what that file says"),
)
_BY_CODE: Final = {code: advice for advice in _ADVICE for code in advice.codes}


def advice_lines(codes: Collection[str], output: str, *, unknown: bool) -> Iterator[str]:
    """One line for each kind of cause among the codes, the most frequent first; `unknown`: some may be paid."""
    advices = dict.fromkeys(_BY_CODE[code] for code in codes if code in _BY_CODE)
    for advice in advices:
        named = ", ".join(code for code in codes if code in advice.codes)
        yield f"  advice     {named}: {_filled(advice, output)}"
    about_unknown = _BY_CODE["timeout"]
    if unknown and about_unknown not in advices:
        yield f"  advice     unknown: {_filled(about_unknown, output)}"


def advice_for(code: str, output: str) -> str:
    """What to do about one failure, in a sentence; empty where nothing is known."""
    advice = _BY_CODE.get(code)
    return "" if advice is None else _filled(advice, output)


def retry_causes(codes: Collection[str]) -> str:
    """What to write after --retry to send jobs with these causes again."""
    return ",".join(codes) if len(codes) <= _MOST_CODES else "all"


def _filled(advice: _Advice, output: str) -> str:
    return advice.words.replace("{output}", path(output))
