"""What an export did, as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batch.core.errors import ExitCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One export. Paths are absolute; `tables` are the files beside the pictures.

    `left_out` counts jobs by why they were not handed over, `not_converted` names pictures that could not be, each with
    what is wrong. `edited` counts rows whose prompt is another one now than their picture was made from. The lists of
    names are cut; the counts are not.
    """

    output: str
    to: str
    preset: str
    tables: Sequence[str]
    pictures: int
    changed_rows: int
    added_columns: Sequence[str]
    left_out: Mapping[str, int]
    left_out_ids: Mapping[str, Sequence[str]]
    not_converted: Sequence[tuple[str, str]]
    unmarked: int
    edited: int
    edited_ids: Sequence[str]
    rows_not_read: int
    reviewed: bool
    simulated: bool
    manifest: str
    next_step: str

    @property
    def exit_code(self) -> ExitCode:
        """1 if a picture that was to be handed over was not."""
        lost = any(self.left_out.get(why) for why in ("lost",))
        return ExitCode.FAILED_JOBS if self.not_converted or lost or not self.pictures else ExitCode.OK
