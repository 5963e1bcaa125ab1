"""`on_reject`: how note and reasons of a rejection change the prompt that is asked for in the picture's place."""

from __future__ import annotations

from typing import Final

from batch.core.decisions import Rejection
from batch.manifest.expansion.parameters import prompt_problem
from batch.manifest.templating.templates import Columns, Template, TemplateProblem

_NAMES: Final = ("prompt", "reasons", "note")


class OnReject:
    """A template over `prompt`, `reasons` (a list of words) and `note`. Raises `TemplateProblem` if it is none."""

    def __init__(self, text: str) -> None:
        self._template = Template(text, Columns(_NAMES, gaps=True))
        if _NAMES.index("prompt") not in self._template.columns:
            raise TemplateProblem("it leaves the job's prompt out; write {{ prompt }} in it")
        self._template.fill(("a cup", ["hands"], "too dark"))

    def prompt(self, prompt: str, rejection: Rejection) -> str:
        """What is asked for after a rejection; the same prompt if nothing was said of it.

        Raises `ValueError` with a sentence if that is no prompt.
        """
        reasons, note = [_plain(reason) for reason in rejection.reasons], _plain(rejection.note)
        if not note and not any(reasons):
            return prompt
        try:
            filled = self._template.fill((prompt, reasons, note)).strip()
        except TemplateProblem as problem:
            raise ValueError(f"on_reject: {problem}") from None
        if wrong := prompt_problem(filled):
            raise ValueError(f"on_reject: {wrong}")
        return filled


def _plain(words: str) -> str:
    """A note as a prompt can hold it: on one line, without what no terminal prints."""
    return "".join(character if character.isprintable() else " " for character in words).strip()
