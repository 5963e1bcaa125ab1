"""What an answer 200 means that says of itself that the request failed, or is no answer of an API at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batch.core.errors import AttemptError, EndpointDown, ExitCode, Kind, Paid, Refused, Unusable
from batch.providers.answers.told import may_pass, plain_words, told_status
from batch.providers.base import Received


def is_web_page(received: Received) -> bool:
    """Whether a body that is no JSON is a page for people. A page labelled as JSON came from the API's own place."""
    labelled = "json" in received.headers.get("content-type", "").lower()
    return not labelled and received.body.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


def web_page(received: Received) -> EndpointDown:
    """What a page for people means: the address is wrong."""
    return EndpointDown(
        "html_answer",
        "the endpoint answered with a web page; base_url does not point at the API. "
        f"It says: {plain_words(received.body.decode('utf-8', 'replace'))[:200] or 'nothing'}",
        exit_code=ExitCode.PROTOCOL,
        http_status=received.status,
    )


def charged_error(tree: Any, received: Received, meaning: Callable[[Received, int], AttemptError]) -> AttemptError:
    """An error inside a 200: what it says decides what stops the run; otherwise it counts as charged.

    Whether it was is unknown, for a 200 is charged by most relays whatever it holds. It is asked again once, and
    only if the server's words say that this may help.
    """
    status = told_status(tree)
    meant = meaning(received, status or received.status)
    if isinstance(meant, EndpointDown):
        return meant
    if isinstance(meant, Refused) and meant.kind is Kind.POLICY:
        meant.paid = Paid.YES
        return meant
    retries = 1 if status in (408, 409, 429) or (status or 0) >= 500 or may_pass(meant.message) else 0
    return Unusable(
        "error_in_answer",
        f"{received.status} with an error inside: {meant.message}",
        kind=Kind.UNREADABLE,
        retries=retries,
        http_status=received.status,
        request_id=meant.request_id,
    )
