"""`matrix`: names with several values each; every job is made once per combination, called a variant.

A value is a text, or a mapping with several texts. Where a value names a parameter (`aspect_ratio`, `image_size`,
`model`, `modalities`, `seed` and the others of `core.parameters`), it sets it for the jobs of its variants.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from pydantic_core import PydanticCustomError
from yaml.nodes import ScalarNode

from batch.core.errors import Problem
from batch.core.parameters import ASKED
from batch.manifest.problems import Problems, did_you_mean, show
from batch.manifest.schema import asked, fields
from batch.manifest.schema.yaml_text import At, Document
from batch.manifest.templating.templates import is_template, is_variable

MAX_VARIANTS: Final = 1000
PARAMETERS: Final = ("model", "aspect_ratio", "image_size", "modalities", *sorted(ASKED))
#: Parameters that are mappings; a variant has them as JSON, for its values are texts.
_MAPPINGS: Final = ("safety", "extra")

#: A text, or texts by name.
Value: TypeAlias = str | dict[str, str]
_Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """A parameter that a variant sets, the matrix name it comes from, and where it is written."""

    value: Any
    name: str
    at: At


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One combination. `values` has every name of the matrix; `label` names the values in words."""

    values: Mapping[str, Value] = field(default_factory=dict)
    label: tuple[str, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """All variants. `fields`: what the mappings under a name hold; `places`: where each name is written."""

    names: tuple[str, ...]
    variants: tuple[Variant, ...]
    fields: Mapping[str, frozenset[str]]
    places: Mapping[str, At]

    def alike(self, used: Iterable[str]) -> list[str]:
        """Names needed to tell all variants apart, beside those used; none if those do."""
        seen: dict[str, Variant] = {}
        used = sorted(used)
        missing: set[str] = set()
        for variant in self.variants:
            other = seen.setdefault(repr([variant.values.get(name) for name in used]), variant)
            missing |= {name for name in self.names if variant.values[name] != other.values[name]}
        return [name for name in self.names if name in missing]

    def written(self, name: str) -> str:
        """How a template writes a name: `{{ scene }}`, or `{{ style.name }}` for a mapping.

        A key of any characters may stand in a mapping, so one a terminal cannot print is escaped.
        """
        known = self.fields.get(name)
        if not known:
            return f"{{{{ {name} }}}}"
        key = "name" if "name" in known else min(known, key=lambda key: (not is_variable(key), key))
        return f"{{{{ {name}.{key} }}}}" if is_variable(key) else f'{{{{ {name}["{show(key)}"] }}}}'


@dataclass(slots=True)
class _Combination:
    values: dict[str, Value]
    paths: dict[str, _Path]
    original: bool = True


class MatrixReader:
    """Reads the matrix and notes what is wrong with it."""

    def __init__(self, document: Document, file: str, problems: Problems) -> None:
        self._document = document
        self._file = file
        self._problems = problems
        self._axes: dict[str, list[tuple[Value, _Path]]] = {}
        self.broken = False

    def read(self, matrix: Mapping[str, Any]) -> Matrix | None:
        """The matrix; None if it cannot be used."""
        for name, values in matrix.items():
            if name not in ("include", "exclude"):
                self._read_axis(name, values)
        if not self._axes and not self.broken:
            self._add(
                "matrix has no names; write one with a list of values, such as scene: [studio, beach]", ("matrix",)
            )
        if self.broken or not self._count_is_fine(math.prod(map(len, self._axes.values()))):
            return None
        combinations = [combination for combination in self._product() if not self._excluded(matrix, combination)]
        self._check_excludes(matrix)
        for number, entry in enumerate(self._list(matrix, "include")):
            self._include(entry, ("matrix", "include", number), combinations)
        if not combinations and not self.broken:
            self._add("exclude leaves no variant", ("matrix", "exclude"))
        if self.broken or not self._count_is_fine(len(combinations)):
            return None
        made = self._made(combinations)
        return None if self.broken else made

    def _read_axis(self, name: str, values: Any) -> None:
        path: _Path = ("matrix", name)
        if not is_variable(name):
            self._add(f'"{show(name)}" cannot be written as {{{{ name }}}}; use letters, digits and _', path, key=True)
        elif not isinstance(values, list) or not values:
            self._add(f"{name} must be a list of values; got {fields.said(values)}", path)
        else:
            axis = self._axes[name] = []
            for number, raw in enumerate(values):
                value = self._value(raw, (*path, number))
                if any(_matches(_named(value), other) or value == other for other, _ in axis):
                    self._add(f"{name} has this value twice; remove one", (*path, number))
                axis.append((value, (*path, number)))
            if len({isinstance(value, dict) for value, _ in axis}) > 1:
                self._add(f"the values of {name} must be all texts or all mappings", path)

    def _value(self, raw: Any, path: _Path) -> Value:
        name = str(path[-1]) if isinstance(path[-1], str) else str(path[-2])
        if not isinstance(raw, dict) or name in _MAPPINGS:
            return self._text(raw, path, name)
        if not raw:
            self._add("a value must not be empty", path)
        return {key: self._text(item, (*path, key), key) for key, item in raw.items()}

    def _text(self, raw: Any, path: _Path, name: str) -> str:
        """The text as it is written: 1.50 keeps its zero."""
        if name in ("modalities", "search") and isinstance(raw, list):
            return ", ".join(map(str, raw))
        if name in _MAPPINGS and isinstance(raw, dict):
            return json.dumps(raw, ensure_ascii=False, default=str)
        if raw is None or isinstance(raw, dict | list):
            self._add(f"{show(name)} must be a text or a number; got {fields.said(raw)}", path)
            return ""
        if isinstance(raw, str):
            if is_template(raw):
                self._add(
                    f"{show(name)} is taken as it stands, so it cannot hold {{{{ }}}}; write them in the job", path
                )
            return raw
        node = self._document.node(*path)
        return node.value if isinstance(node, ScalarNode) and not isinstance(raw, bool) else fields.said(raw)

    def _product(self) -> Iterator[_Combination]:
        for values in itertools.product(*self._axes.values()):
            pairs = list(zip(self._axes, values, strict=True))
            yield _Combination({name: value for name, (value, _) in pairs}, {name: path for name, (_, path) in pairs})

    def _list(self, matrix: Mapping[str, Any], key: str) -> Sequence[dict[str, Any]]:
        entries = matrix.get(key, [])
        if isinstance(entries, list) and all(isinstance(entry, dict) and entry for entry in entries):
            return entries
        if not self.broken:
            self._add(f"{key} must be a list of mappings such as {{scene: beach}}", ("matrix", key))
        return []

    def _excluded(self, matrix: Mapping[str, Any], combination: _Combination) -> bool:
        return any(
            all(_matches(_plain(wanted), combination.values.get(name, "")) for name, wanted in entry.items())
            for entry in self._list(matrix, "exclude")
        )

    def _check_excludes(self, matrix: Mapping[str, Any]) -> None:
        for number, entry in enumerate(self._list(matrix, "exclude")):
            for name, wanted in entry.items():
                path: _Path = ("matrix", "exclude", number, name)
                if name not in self._axes:
                    hint = did_you_mean(name, self._axes, "names")
                    self._add(f'the matrix has no "{show(name)}"; {hint}', path, key=True)
                elif not any(_matches(_plain(wanted), value) for value, _ in self._axes[name]):
                    self._unknown_value(name, wanted, path)

    def _unknown_value(self, name: str, wanted: Any, path: _Path) -> None:
        shown = show(_named(_plain(wanted)))
        hint = did_you_mean(shown, [_named(value) for value, _ in self._axes[name]], "values")
        self._add(f'{name} has no value "{shown}"; {hint}', path)

    def _include(self, entry: dict[str, Any], path: _Path, combinations: list[_Combination]) -> None:
        """Add to the combinations it agrees with; if there is none, it is a new one."""
        values: dict[str, Value] = {}
        paths: dict[str, _Path] = {}
        for name, raw in entry.items():
            values[name], paths[name] = self._included_value(name, raw, (*path, name))
        fixed = [name for name in values if name in self._axes]
        agreeing = [
            combination
            for combination in combinations
            if combination.original and all(combination.values[name] == values[name] for name in fixed)
        ]
        for combination in agreeing:
            combination.values.update(values)
            combination.paths.update(paths)
        if not agreeing:
            missing = [name for name in self._axes if name not in values]
            if missing:
                self._add(f"no variant agrees with this, and as a new one it lacks {', '.join(missing)}", path)
            combinations.append(_Combination(values, paths, original=False))

    def _included_value(self, name: str, raw: Any, path: _Path) -> tuple[Value, _Path]:
        axis = self._axes.get(name)
        if axis is None:
            close = get_close_matches(name, self._axes, n=1, cutoff=0.8)
            if close or not is_variable(name):
                hint = f"did you mean {close[0]}?" if close else "use letters, digits and _"
                self._add(f'the matrix has no "{show(name)}"; {hint}', path, key=True)
            return self._value(raw, path), path
        for value, known in axis:
            if _matches(_plain(raw), value):
                return value, known
        if isinstance(raw, dict) != isinstance(axis[0][0], dict):
            self._unknown_value(name, raw, path)
        return self._value(raw, path), path

    def _made(self, combinations: list[_Combination]) -> Matrix:
        names = tuple(dict.fromkeys(name for combination in combinations for name in combination.values))
        known: dict[str, frozenset[str]] = {}
        for combination in combinations:
            for name, value in combination.values.items():
                if isinstance(value, dict):
                    known[name] = known.get(name, frozenset()) | value.keys()
        variants = tuple(
            Variant(
                # A name that only `include` gives to some variants is an empty text in the others.
                values={name: combination.values.get(name, "") for name in names},
                label=tuple(_named(combination.values[name]) for name in self._axes if name in combination.values),
                overrides=self._overrides(combination),
            )
            for combination in combinations
        )
        places = {name: self._document.at("matrix", name) for name in names}
        return Matrix(names=names, variants=variants, fields=known, places=places)

    def _overrides(self, combination: _Combination) -> dict[str, Override]:
        found: dict[str, Override] = {}
        for name, value in combination.values.items():
            given = value if isinstance(value, dict) else {name: value}
            for parameter in PARAMETERS:
                if parameter in given:
                    path = (*combination.paths[name], *([parameter] if isinstance(value, dict) else []))
                    override = Override(
                        self._parameter(parameter, given[parameter], path), name, self._document.at(*path)
                    )
                    other = found.setdefault(parameter, override)
                    if other.value != override.value:
                        self._add(f"{parameter} is also given by {other.name} of the same variant; keep one", path)
        return found

    def _parameter(self, parameter: str, text: str, path: _Path) -> Any:
        if parameter in ASKED:
            try:
                return asked.read(parameter, text)
            except ValueError as problem:
                self._add(str(problem), path)
                return None
        check = {"aspect_ratio": fields.aspect_ratio, "image_size": fields.image_size}.get(parameter, fields.one_line)
        try:
            return fields.modalities(text.split(", ")) if parameter == "modalities" else check(text)
        except PydanticCustomError as error:
            self._add(f"{parameter} {error.message()}", path)
            return text

    def _count_is_fine(self, count: int) -> bool:
        if count > MAX_VARIANTS:
            self._add(f"the matrix makes {count:,} variants; at most {MAX_VARIANTS:,} are allowed", ("matrix",))
        return count <= MAX_VARIANTS

    def _add(self, message: str, path: _Path, *, key: bool = False) -> None:
        self.broken = True
        at = self._document.key_at(*path) if key else self._document.at(*path)
        if not self._problems.has_at(*at):
            self._problems.add(Problem(message=message, file=self._file, line=at.line, column=at.column))


def _plain(raw: Any) -> Value:
    """A value of include or exclude, to be compared with those of the matrix."""
    if isinstance(raw, dict):
        return {str(key): fields.said(item) for key, item in raw.items()}
    return raw if isinstance(raw, str) else fields.said(raw)


def _matches(wanted: Value, value: Value) -> bool:
    """A mapping is meant by its name, or by some of its fields."""
    if isinstance(wanted, dict) and isinstance(value, dict):
        return all(value.get(key) == item for key, item in wanted.items())
    if isinstance(value, dict):
        return value.get("name") == wanted
    return wanted == value


def _named(value: Value) -> str:
    if isinstance(value, dict):
        return value.get("name") or next(iter(value.values()), "")
    return value
