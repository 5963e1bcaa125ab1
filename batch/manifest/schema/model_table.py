"""What a manifest says of models: in `models`, and in the file that `model_table` names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from batch.core.errors import InputError, Problem
from batch.core.image_models import fact_fields
from batch.core.prices import price_fields
from batch.manifest.files import FileProblem, open_regular, reason
from batch.manifest.problems import Problems, show_path
from batch.manifest.schema.schema import ModelShape, read_models
from batch.manifest.schema.yaml_text import At, Document, parse

_MAX_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChanges:
    """By model, fields of `ModelFacts` and of `ModelPrices` that take the place of what is known."""

    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def model_changes(document: Document, folder: Path, table: str | None, file: str, problems: Problems) -> ModelChanges:
    """All that a manifest says of models. What stands in it itself counts more than its table.

    What is wrong is noted with its place; if the table cannot be read, with the place that names it.
    """
    found: dict[str, dict[str, Any]] = {}
    if table is not None:
        found |= _of_table(folder / table, file, document.at("model_table"), problems)
    for name, entry in _entries(read_models(document, file, problems, is_table=False)).items():
        found[name] = {**found.get(name, {}), **entry}
    facts = {name: fact_fields(entry) | _unknown(entry) for name, entry in found.items()}
    return ModelChanges(facts=facts, prices={name: price_fields(entry) for name, entry in found.items()})


def _of_table(path: Path, named_in: str, at: At, problems: Problems) -> dict[str, dict[str, Any]]:
    try:
        with open_regular(path) as stream:
            data = stream.read(_MAX_BYTES + 1)
    except (FileProblem, OSError) as error:
        words = reason(error) if isinstance(error, OSError) else str(error)
        message = f"model_table {show_path(path)}: {words}"
        problems.add(Problem(message=message, file=named_in, line=at.line, column=at.column))
        return {}
    file = show_path(path)
    if len(data) > _MAX_BYTES:
        problems.add(Problem(message=f"larger than {_MAX_BYTES // 1024 // 1024} MiB", file=file))
        return {}
    own = Problems(file)
    try:
        found = _entries(read_models(parse(data, file, own), file, own, is_table=True))
        own.raise_if_any()
    except InputError as error:
        for problem in error.problems:
            problems.add(problem)
        return {}
    return found


def _entries(models: Mapping[str, tuple[ModelShape, set[str]]]) -> dict[str, dict[str, Any]]:
    """Each model's fields as they were given, in the form of the table that ships."""
    return {name: shape.model_dump(include=given) for name, (shape, given) in models.items()}


def _unknown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that the entry takes back: `aspect_ratios: null` means that nothing is to be checked."""
    names = ("image_sizes", "aspect_ratios", "max_references", "modalities", "thinking", "search")
    return {name: None for name in names if name in entry and entry[name] is None}
