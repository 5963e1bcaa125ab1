"""What a job asks for beside its prompt, model and references: names and values, whatever the provider calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

#: What a spec holds beside the parameters, so no parameter may be called so.
SPEC_FIELDS: Final = ("model", "prompt", "references", "sample")
#: Those that every job of today has.
COMMON: Final = ("aspect_ratio", "image_size", "modalities")
#: Those of Gemini's API that a job may have beside them; one that has none is known by the spec it always had.
BESIDE_THE_PROMPT: Final = frozenset(
    ("system", "thinking", "seed", "temperature", "top_p", "safety", "search", "extra")
)
#: Says of a job that its first reference is a picture to go on with.
CONTINUES: Final = "continues"


#: Those of OpenAI's images API.
OF_THE_IMAGES_API: Final = frozenset(
    ("quality", "background", "output_format", "output_compression", "moderation", "input_fidelity")
)
#: All that a manifest can ask for beside the common ones; which of them a provider takes its profile says.
ASKED: Final = BESIDE_THE_PROMPT | OF_THE_IMAGES_API


class Parameters(Mapping[str, Any]):
    """Parameters in the order in which they were given. Values are what JSON can hold; a tuple is a list.

    Two are equal if they say the same in JSON, in whatever order: that is what a job's spec is made of. Raises
    `ValueError` for a name that is no identifier or that the spec has for something else, and for a number that is
    none.
    """

    __slots__ = ("_hash", "_json", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        wrong = [name for name in values if name in SPEC_FIELDS or not name.isidentifier()]
        if wrong:
            raise ValueError(f"a parameter cannot be called {wrong[0]!r}")
        self._values = dict(values)
        self._json = canonical_json(self._values)
        self._hash = hash(self._json)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def get(self, name: str, default: Any = None, /) -> Any:  # the inherited one is slow, and every row asks
        return self._values.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Parameters) and self._json == other._json

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Parameters({self._values!r})"

    def changed(self, **values: Any) -> Parameters:
        """The same with other values for some names, or with more names."""
        return Parameters({**self._values, **values})

    @property
    def is_common(self) -> bool:
        """Whether these are the common ones and no others."""
        return self._values.keys() == set(COMMON)


@lru_cache(maxsize=1024)
def common_parameters(
    aspect_ratio: str | None = None, image_size: str = "1K", modalities: tuple[str, ...] = ("IMAGE",)
) -> Parameters:
    """The common parameters; one object for the millions of jobs that ask for the same."""
    return Parameters({"aspect_ratio": aspect_ratio, "image_size": image_size, "modalities": modalities})


def canonical_json(value: Any) -> str:
    """One spelling of a value: JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
