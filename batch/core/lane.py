"""The service lanes a request may take."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """At what pace, and price, a request is served where an endpoint offers a choice."""

    STANDARD = "standard"
    #: Cheaper, slower, and turned away when the provider is busy.
    FLEX = "flex"
