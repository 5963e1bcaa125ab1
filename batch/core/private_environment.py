"""Variables that this process has and its children have not."""

from __future__ import annotations

from collections.abc import Mapping


class PrivateEnvironment(dict[str, str]):
    """An environment with variables of a file where it has none; `for_children` is what it was without them."""

    def __init__(self, file: Mapping[str, str], environment: Mapping[str, str]) -> None:
        super().__init__({**file, **environment})
        self.for_children = dict(environment)
