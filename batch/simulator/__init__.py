"""The embedded simulator: a provider that costs nothing, misbehaves on request and keeps a billing book.

It speaks the wire format of Gemini's generateContent, as Google and as relays speak it, and that of OpenAI's images
API, over loopback HTTP.
It shares no code with the rest of the package, so that it can judge it.

    async with serve(settings_from({"latency_seconds": 0.2})) as simulator:
        ...  # POST simulator.base_url + "/v1beta/models/gemini-3.1-flash-image:generateContent"
    simulator.book.billed

Names are loaded when they are first used: the server's libraries would slow every `--help` down.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch.simulator.book import Book, Entry
    from batch.simulator.server import Simulator, serve
    from batch.simulator.settings import (
        FaultRule,
        SimulatorOptionsError,
        SimulatorSettings,
        settings_from,
    )

__all__ = [
    "Book",
    "Entry",
    "FaultRule",
    "Simulator",
    "SimulatorOptionsError",
    "SimulatorSettings",
    "serve",
    "settings_from",
]

_HOMES = {
    "Book": "book",
    "Entry": "book",
    "FaultRule": "settings",
    "Simulator": "server",
    "SimulatorOptionsError": "settings",
    "SimulatorSettings": "settings",
    "serve": "server",
    "settings_from": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
