"""The embedded simulator: a provider that costs nothing, misbehaves on request and keeps a billing book.

It speaks the wire format of Gemini's generateContent (as Google and as relays speak it) over loopback HTTP and
shares no code with the rest of the package, so that it can judge it.

    async with serve(settings_from({"latency_seconds": 0.2})) as simulator:
        ...  # POST simulator.base_url + "/v1beta/models/gemini-3.1-flash-image:generateContent"
    simulator.book.billed
"""

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
