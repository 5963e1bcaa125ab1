"""What a model that judges pictures is asked of each one."""

from __future__ import annotations

from typing import Final

from batch.manifest.templating.templates import Columns, Template

_NAMES: Final = ("prompt", "id")


class Question:
    """A template over a picture's own `prompt` and its job's `id`. Raises `TemplateProblem` if it is none."""

    def __init__(self, text: str) -> None:
        self._template = Template(text, Columns(_NAMES, gaps=True))
        self.about("a cup", "cup")

    def about(self, prompt: str, job: str) -> str:
        """The question about one picture. Raises `TemplateProblem`."""
        return self._template.fill((prompt, job)).strip()
