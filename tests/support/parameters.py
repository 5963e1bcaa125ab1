"""Jobs written with the common parameters beside their other fields."""

from __future__ import annotations

from typing import Any

from batch.core.parameters import COMMON, common_parameters


def job_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a `Job`: common parameters are put into `parameters`."""
    asked = {name: value for name, value in fields.items() if name in COMMON}
    rest = {name: value for name, value in fields.items() if name not in COMMON}
    return {**rest, "parameters": common_parameters(**asked)} if asked else rest
