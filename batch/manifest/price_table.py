"""Reading a price table of the user's own: the file that `price_table` names, JSON or YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from batch.errors import InputError, Problem
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import Problems, show_path
from batch.manifest.schema import read_price_table
from batch.manifest.yaml_text import At, parse
from batch.prices import ChargedBy, ModelPrices, PriceList

_MAX_BYTES: Final = 4 * 1024 * 1024


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
            )
            for name, model in models.items()
            if model is not None
        },
        charged_by=None if shape.charged_by is None else ChargedBy(shape.charged_by),
    )
