"""Reading a price table of the user's own: the file that `price_table` names, JSON or YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from batch.core.errors import InputError, Problem
from batch.core.lane import Lane
from batch.core.prices import ChargedBy, ModelPrices, PriceList
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import Problems, did_you_mean, show, show_path
from batch.manifest.schema import fields
from batch.manifest.schema.schema import read_price_table
from batch.manifest.schema.yaml_text import At, Document, parse

_MAX_BYTES: Final = 4 * 1024 * 1024
#: Lanes that cost a share of what stands in the table, which is the standard lane's price.
_LANES: Final = {lane.value: lane for lane in Lane if lane is not Lane.STANDARD}


def load_price_table(path: Path, named_in: str, at: At, problems: Problems) -> PriceList | None:
    """The table at `path`. What is wrong in it is noted with its place there; if it cannot be read, with the place
    (`named_in`, `at`) that names it."""
    try:
        with open_regular(path) as stream:
            data = stream.read(_MAX_BYTES + 1)
    except (FileProblem, OSError) as error:
        words = reason(error) if isinstance(error, OSError) else str(error)
        message = f"price_table {show_path(path)}: {words}"
        problems.add(Problem(message=message, file=named_in, line=at.line, column=at.column))
        return None
    file = show_path(path)
    if len(data) > _MAX_BYTES:
        problems.add(Problem(message=f"larger than {_MAX_BYTES // 1024 // 1024} MiB", file=file))
        return None
    own = Problems(file)
    try:
        document = parse(data, file, own)
        lanes = _take_lanes(document, file, own)
        shape, models = read_price_table(document, file, own)
        own.raise_if_any()
    except InputError as error:
        for problem in error.problems:
            problems.add(problem)
        return None
    assert shape is not None
    return PriceList(
        models={
            name: ModelPrices(
                picture_usd=model.picture_usd,
                picture_tokens=model.picture_tokens,
                token_usd=model.per_million_tokens_usd,
                lanes=lanes.get(name, {}),
            )
            for name, model in models.items()
            if model is not None
        },
        charged_by=None if shape.charged_by is None else ChargedBy(shape.charged_by),
    )


def _take_lanes(document: Document, file: str, problems: Problems) -> Mapping[str, Mapping[Lane, float]]:
    """The `lanes` of each model, taken out of the document: what is left has the shape that other code checks.

    They are read here because each lane has a place of its own, which a wrong one is told with.
    """
    models = document.value.get("models") if isinstance(document.value, dict) else None
    if not isinstance(models, dict):
        return {}
    found: dict[str, Mapping[Lane, float]] = {}
    others: dict[str, Any] = {}
    for name, model in models.items():
        others[name] = model
        if isinstance(model, dict) and "lanes" in model:
            others[name] = {key: value for key, value in model.items() if key != "lanes"}
            found[name] = _read_lanes(document, name, model["lanes"], file, problems)
    document.value = document.value | {"models": others}
    return found


def _read_lanes(document: Document, model: str, value: object, file: str, problems: Problems) -> dict[Lane, float]:
    """Lanes with the share of the standard price that each costs."""
    path = ("models", model, "lanes")

    def wrong(at: At, message: str) -> None:
        problems.add(Problem(message=message, file=file, line=at.line, column=at.column))

    if not isinstance(value, dict):
        wrong(document.at(*path), f"lanes must be a mapping such as {{flex: 0.5}}; got {fields.said(value)}")
        return {}
    found: dict[Lane, float] = {}
    for name, share in value.items():
        if name not in _LANES:
            wrong(document.key_at(*path, name), f'unknown lane "{show(name)}"; {did_you_mean(name, _LANES, "lanes")}')
        elif not isinstance(share, int | float) or isinstance(share, bool) or not 0 < share <= 1:
            rule = "must be its share of the standard price, above 0 and at most 1"
            wrong(document.at(*path, name), f"{name} {rule}; got {fields.said(share)}")
        else:
            found[_LANES[name]] = float(share)
    return found
