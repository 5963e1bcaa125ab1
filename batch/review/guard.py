"""Who is answered: pages that know the token, under the name of this machine's loopback.

The token stands in the path of every address, so that pictures are as private as decisions. `Host` is checked because a
foreign name can be made to lead here (DNS rebinding), `Origin` because a foreign page can send a form here. References:
OWASP's cheat sheets on cross-site request forgery, and RFC 6454.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}


def guarded(token: str, port: Callable[[], int]) -> Middleware:
    """The middleware that refuses all others. `port` is the server's own, known once it listens."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        names = {f"{name}:{port()}" for name in ("127.0.0.1", "localhost")}
        if request.headers.get("Host") not in names:
            raise web.HTTPForbidden(text="this address is not the review's own\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin not in {f"http://{name}" for name in names}:
            raise web.HTTPForbidden(text="another page may not ask here\n")
        if not hmac.compare_digest(request.match_info.get("token", "").encode(), token.encode()):
            raise web.HTTPNotFound(text="open the address that imagebatch review printed\n")
        return await handler(request)

    return guard


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """What every answer says to the browser."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Cache-Control", "no-store")
