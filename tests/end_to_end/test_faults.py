"""Every fault of the simulator, through a whole run: the outcome, the exit code, and a book that balances."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.simulator import serve, settings_from
from batch.simulator.faults.all_faults import FAULTS


class HastyClock:
    """Time that passes at once for whoever waits, and stands still otherwise."""

    def __init__(self) -> None:
        self.time = 1000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return datetime(2026, 11, 22, 20, 0, tzinfo=UTC)

    async def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Expected:
    """How a run of one job ends when every request meets the fault."""

    outcome: str = "done"
    code: str | None = None
    exit: int = 0
    reason: str = "done"
    requests: int | range = 1
    params: Mapping[str, Any] = field(default_factory=dict)


DONE = Expected()


def failed(code: str, requests: int = 1, exit_code: int = 1, reason: str = "failed_jobs", **params: Any) -> Expected:
    return Expected("failed", code, exit_code, reason, requests, params)


def charged(code: str, requests: int) -> Expected:
    """Paid without a picture: asked again a little, then given up."""
    return failed(code, requests)


def unavailable(code: str = "unavailable", requests: int = 3) -> Expected:
    """Not charged, and may work later."""
    return failed(code, requests, exit_code=75, reason="failed_for_now")


def stopped(reason: str, exit_code: int = 77, requests: int = 1, **params: Any) -> Expected:
    """Not this job's fault: it is left for a later run."""
    return Expected("pending", reason, exit_code, reason, requests, params)


def unknown(code: str, requests: int = 2, **params: Any) -> Expected:
    return Expected("unknown", code, 3, "unknown_outcome", requests, params)


#: Half an hour of refusals: a few in the first minute, then one a minute, more or less by the jitter.
ONE_A_MINUTE = range(30, 41)


def throttled(**params: Any) -> Expected:
    """A limit that never ends: the run gives up for now."""
    return Expected("pending", "rate_limited", 75, "rate_limited", ONE_A_MINUTE, params)


FINAL_FINISHES = (
    "image_recitation",
    "recitation",
    "image_safety",
    "image_prohibited_content",
    "prohibited_content",
    "safety",
    "blocklist",
    "spii",
    "language",
    "model_armor",
    "escalation",
    "max_tokens",
    "continuation",
    "malformed_function_call",
    "unexpected_tool_call",
    "too_many_tool_calls",
    "missing_thought_signature",
)
VAGUE_FINISHES = ("no_image", "image_other", "other", "malformed_response", "finish_reason_unspecified")

EXPECTED: dict[str, Expected] = {
    # answered 200 without a picture
    **{f"finish_{reason}": failed(reason) for reason in FINAL_FINISHES},
    **{f"finish_{reason}": charged(reason, 3) for reason in VAGUE_FINISHES},
    "finish_missing": charged("finish_missing", 3),
    "finish_unknown": charged("image_too_beautiful", 2),
    "finish_pup_limited_disabled": stopped("account_limited"),
    **{
        f"block_{reason}": failed(f"blocked_{reason}")
        for reason in ("safety", "blocklist", "prohibited_content", "image_safety", "model_armor", "jailbreak")
    },
    **{
        f"block_{reason}": charged("blocked_other", 2)
        for reason in ("other", "block_reason_unspecified", "blocked_reason_unspecified")
    },
    "image_with_safety": failed("image_safety"),
    "text_only": charged("text_only", 2),
    **{name: charged("empty_answer", 2) for name in ("empty_parts", "no_parts", "no_content")},
    **{name: charged("no_candidates", 2) for name in ("no_candidates", "empty_candidates")},
    # HTTP errors
    "http_400": failed("invalid_request"),
    "http_400_precondition": stopped("account_not_ready"),
    "http_401": stopped("bad_key"),
    "http_402": stopped("no_credit"),
    "http_403": stopped("permission_denied"),
    "http_404": stopped("model_missing"),
    "http_404_retired": stopped("model_missing"),
    "http_409": unavailable(),
    "http_429": throttled(),
    "http_429_credit": stopped("no_credit"),
    "http_499": unknown("cancelled"),
    **{f"http_{status}": unavailable() for status in ("500", "503", "503_deadline", "504")},
    "key_invalid": stopped("bad_key"),
    "debug_info_key": stopped("permission_denied"),
    **{f"error_{shape}": unavailable() for shape in ("list", "double_encoded", "string")},
    "error_empty": unknown("gateway_error"),
    "html_408": unavailable(),
    "html_413": failed("request_too_large"),
    **{f"html_{status}": unknown("gateway_error") for status in (502, 503, 504)},
    # rate limits
    "quota_minute": throttled(),
    "quota_day": stopped("daily_quota", 75, requests=2),
    "quota_zero": stopped("no_quota"),
    "quota_wait": throttled(),
    "quota_words_only": stopped("long_pause", 75),
    "quota_error_info": throttled(),
    "retry_after_huge": stopped("long_pause", 75),
    **{
        f"retry_after{kind}": throttled()
        for kind in (
            "",
            "_date",
            "_zero",
            "_negative",
            "_nan",
            "_infinite",
            "_old_date",
            "_twice",
            "_empty",
            "_words",
            "_arabic",
        )
    },
    # lanes: who does not ask for flex meets none of these
    **dict.fromkeys(("flex_shed", "flex_served_standard"), DONE),
    # relays
    **{
        f"relay_{name}": stopped("bad_key")
        for name in ("invalid_token", "invalid_token_zh", "upstream_400_key", "documented_key", "one_api")
    },
    **{
        f"relay_{name}": stopped("no_credit")
        for name in ("user_quota", "pre_consume_quota", "token_quota", "balance_402", "balance_403")
    },
    **{
        f"relay_{name}": stopped("permission_denied")
        for name in ("group_forbidden", "group_retired", "model_forbidden", "access_denied", "banned")
    },
    **{f"relay_{name}": failed("invalid_request") for name in ("invalid_request", "convert_failed")},
    "relay_body_too_large": failed("request_too_large"),
    **{
        f"relay_{name}": throttled()
        for name in (
            "user_limit",
            "user_limit_zh",
            "saturated",
            "upstream_429",
            "rate_limit",
            "rate_limit_error",
            "code_mismatch",
        )
    },
    "relay_upstream_429_day": stopped("daily_quota", 75, requests=2),
    "relay_no_channel": Expected("failed", "no_channel", 77, "no_channel", 3),
    **{
        f"relay_{name}": unavailable()
        for name in (
            "get_channel_failed",
            "do_request_failed",
            "no_available_key",
            "channel_error",
            "bad_response_body",
            "empty_response",
            "bad_response",
            "price_error",
            "count_token_failed",
            "query_data_error",
            "update_data_error",
            "upstream_503",
            "bare_message",
        )
    },
    "relay_sensitive_words": failed("sensitive_words_detected"),
    "relay_prompt_blocked": failed("prompt_blocked"),
    "relay_prompt_blocked_500": failed("prompt_blocked"),
    "relay_not_implemented": stopped("wrong_address", 78),
    "relay_invalid_url": stopped("wrong_address", 78),
    # links and shapes
    **{name: DONE for name, fault in FAULTS.items() if "as links" in fault.section},
    **{name: DONE for name, fault in FAULTS.items() if "unusual shapes" in fault.section},
    "only_thought_image": charged("empty_answer", 2),
    "base64_empty": charged("text_only", 2),
    "deep_json": DONE,
    **{name: charged("bad_image", 2) for name in ("base64_garbage", "base64_cut", "truncated_jpeg", "corrupt_png")},
    "svg_picture": charged("bad_image", 1),
    "truncated_png": DONE,
    # broken bodies
    "html_200": stopped("html_answer", 76),
    **{name: charged("not_json", 2) for name in ("html_as_json_200", "empty_200", "half_json_200")},
    "event_stream": DONE,
    **{
        name: charged("no_candidates", 2)
        for name in ("list_200", "object_200", "null_200", "number_200", "wrong_types_200")
    },
    "error_200": charged("error_in_answer", 2),
    **dict.fromkeys(("refused_200", "detail_200"), charged("error_in_answer", 1)),
    "picture_as_html_200": DONE,
    "error_and_image_200": DONE,
    "list_of_answer": DONE,
    "gzip": DONE,
    "giant": Expected(params={"megabytes": 70}),
    "gzip_bomb": failed("no_candidates", 2, megabytes=10),
    **{name: Expected(params={"megabytes": 10}) for name in ("giant_chunked", "giant_undeclared")},
    "gzip_lie": DONE,
    # broken connections
    **{name: unknown("cut") for name in ("cut", "cut_chunked", "reset_after_headers", "reset_in_body")},
    **{name: unknown("no_answer") for name in ("close", "reset")},
    "cut_at": unknown("no_answer", seconds=0.05),
    "http10": DONE,
    "http10_cut": unknown("cut"),
    "hang": unknown("timeout"),
    "late": Expected(params={"seconds": 0.05}),
    "late_401": stopped("bad_key", seconds=0.05),
    "drip": unknown("timeout", bytes=1, seconds=0.05),
    # answers before the request was read
    "early_401": stopped("bad_key"),
    "early_413": failed("request_too_large"),
    "early_429": throttled(),
    "early_413_close": failed("request_too_large"),
    **{name: unknown("no_answer") for name in ("early_reset", "early_close")},
    # wrong HTTP
    "redirect": stopped("redirected", 76),
    "http_204": charged("no_body", 2),
    "http_304": stopped("redirected", 76),
    # A head that is odd, or tells a wrong length, does not cost the picture behind it.
    **dict.fromkeys(
        (
            "length_too_large",
            "length_too_small",
            "length_negative",
            "length_nonsense",
            "length_twice",
            "length_and_chunked",
            "header_nul",
            "extra_bytes",
        ),
        DONE,
    ),
    **{name: unknown("no_answer") for name in ("garbage", "many_headers", "huge_header")},
    "chunked": DONE,
    "interim": DONE,
    "http_101": charged("no_body", 2),
}


def write_manifest(folder: Path, base_url: str, profile: str = "anyfast") -> Path:
    """One job against a server, with little patience."""
    path = folder / "jobs.yaml"
    path.write_text(
        "name: faults\n"
        f"provider: {{profile: {profile}, base_url: '{base_url}'}}\n"
        "timeouts: {connect_seconds: 10, write_seconds: 10, read_seconds: 1, total_seconds: 1.5}\n"
        "verify: decode\n"
        "defaults: {image_size: '512', aspect_ratio: '1:1', modalities: [TEXT, IMAGE]}\n"
        "jobs: [{id: a, prompt: a mountain}]\n"
    )
    return path


def ledger(output: Path, kind: str) -> list[dict[str, Any]]:
    lines = (output / "ledger.jsonl").read_text("ascii").splitlines()
    return [record for record in map(json.loads, lines) if record["t"] == kind]


def assert_balance(book: Any, output: Path) -> None:
    """Every charged request is an attempt whose end is known to have cost or may have cost, and the other way."""
    names = {(record["job"], record["att"]): record["rid"] for record in ledger(output, "try")}
    ends = {names[end["job"], end["att"]]: end for kind in ("done", "fail", "unk") for end in ledger(output, kind)}
    billed = {entry.client_request_id for entry in book.entries if entry.billed}
    certain = {rid for rid, end in ends.items() if end["t"] == "done" or end.get("paid") == "yes"}
    possible = certain | {rid for rid, end in ends.items() if end["t"] == "unk"}
    assert billed <= possible
    assert certain <= billed or book.entries[0].fault in LOOK_CHARGED
    assert len(names) == len(ends) == book.requests
    assert_money(book, ends)


def assert_money(book: Any, ends: Mapping[str, Mapping[str, Any]]) -> None:
    """Charge by charge: what the ledger knows to be charged is what the book has, and what is unknown costs no more."""
    book_usd = {entry.client_request_id: entry.usd for entry in book.entries}
    for rid, end in ends.items():
        if end["t"] == "unk":
            assert (book_usd[rid] <= end["usd"], end["usd_from"]) == (True, "list")
        elif book.entries[0].fault not in LOOK_CHARGED:
            assert abs(end["usd"] - book_usd[rid]) < 0.0005, (end, book_usd[rid])


#: Answers that are counted as charged, to be on the safe side, and at this simulator are not.
LOOK_CHARGED = ("http_204", "http_101")


def test_the_table_knows_every_fault() -> None:
    """A fault that is added to the simulator needs its line here."""
    assert set(EXPECTED) == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
async def test_charged_by_tokens_the_money_is_that_of_the_book(name: str, tmp_path: Path) -> None:
    """With Google's way of charging: pictures, refusals and broken answers cost what their tokens say, or the list."""
    options = {"pictures": "plain", "billing": "tokens", "faults": [{"fault": name, **EXPECTED[name].params}]}
    async with serve(settings_from(options)) as simulator:
        await batch.run(
            write_manifest(tmp_path, simulator.base_url, "google"),
            output=tmp_path / "out",
            clock=HastyClock(),
            environment={"GEMINI_API_KEY": "AIza-canary-0123456789"},
        )
        assert_balance(simulator.book, tmp_path / "out")


@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_ends_a_run_as_the_table_says(name: str, tmp_path: Path) -> None:
    """Outcome, cause, exit code and number of requests; nothing charged is forgotten, nothing free is counted."""
    expected = EXPECTED[name]
    options = {"pictures": "plain", "faults": [{"fault": name, **expected.params}]}
    async with serve(settings_from(options)) as simulator:
        summary = await batch.run(
            write_manifest(tmp_path, simulator.base_url),
            output=tmp_path / "out",
            clock=HastyClock(),
            environment={"ANYFAST_API_KEY": "sk-canary-0123456789"},
        )
        counts = {"done": summary.done, "failed": summary.failed, "unknown": summary.unknown}
        outcome = next((word for word, count in counts.items() if count), "pending")
        ends = [*ledger(tmp_path / "out", "fail"), *ledger(tmp_path / "out", "unk")]
        code = ends[-1]["code"] if ends else None
        found = Expected(outcome, code, summary.exit, summary.reason, expected.requests, expected.params)
        assert found == expected, (found, summary.message, ends[-1:])
        allowed = expected.requests if isinstance(expected.requests, range) else (expected.requests,)
        assert summary.requests in allowed, (summary.requests, summary.message, ends[-1:])
        assert_balance(simulator.book, tmp_path / "out")
        assert simulator.book.downloads_with_key == 0
