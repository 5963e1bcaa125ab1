"""Every way the simulator can misbehave, as one table (`imagebatch simulate --list-faults` prints it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from batch.simulator.faults import finish, google, images, relay, shapes, transport
from batch.simulator.faults.fault import Fault, table

FAULTS: Final[Mapping[str, Fault]] = table(
    finish.SECTION,
    google.SECTION,
    google.HINTS,
    google.LANES,
    relay.SECTION,
    shapes.LINKS,
    shapes.SHAPES,
    transport.BODIES,
    transport.CUTS,
    transport.EARLY,
    transport.FRAMING,
)
#: Those that only requests of OpenAI's images API can meet.
IMAGES_FAULTS: Final[Mapping[str, Fault]] = table(images.ERRORS, images.SHAPES)
EVERY_FAULT: Final[Mapping[str, Fault]] = {**FAULTS, **IMAGES_FAULTS}
