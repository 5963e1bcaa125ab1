"""Which pictures of an output are handed over, and which are not.

Once anything was accepted, only what was accepted goes out by itself. A review that only rejects is one by exception:
then all goes out but what was rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from batch.album import Album, Entry, Picture, PictureState, Version
from batch.core.decisions import Verdict
from batch.export.settings import Status
from batch.store.job_state import Standing

#: So many ids of each kind are named; the counts say how many there are.
MOST_NAMED: Final = 20

_STANDINGS: Final = {
    Standing.FAILED: Status.FAILED,
    Standing.UNKNOWN: Status.UNKNOWN,
    Standing.PENDING: Status.PENDING,
}


@dataclass(slots=True, kw_only=True)
class Pick:
    """One picture to hand over. `name` is its path in the export's folder of pictures, once that is known.

    Sizes are those of the exported file, once it is written.
    """

    job: str
    path: str
    sha256: str
    mime: str
    width: int
    height: int
    size_bytes: int
    prompt: str
    caption: str
    model: str
    endpoint: str
    has_references: bool
    name: str = ""


@dataclass(slots=True)
class Omissions:
    """Jobs that are not handed over, by why: counted, and the first of them named."""

    counts: dict[str, int] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, why: str, job: str) -> None:
        """One more."""
        self.counts[why] = self.counts.get(why, 0) + 1
        names = self.named.setdefault(why, [])
        if len(names) < MOST_NAMED:
            names.append(job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picks:
    """The pictures to hand over by job, in the album's order."""

    by_job: dict[str, list[Pick]]
    left_out: Omissions
    reviewed: bool

    def all(self) -> Iterable[Pick]:
        """Every picture."""
        return (pick for picks in self.by_job.values() for pick in picks)


def pick_pictures(album: Album, include: frozenset[Status], *, has_manifest: bool) -> Picks:
    """Go through an album. Raises `LedgerError` if it is damaged.

    `has_manifest`: which pictures have a job is found out from the manifest. What manifest.jsonl lists, which a run
    that is on has not written yet, says it only where there is none, and of jobs without a picture.
    """
    reviewed = any(decision.verdict is Verdict.ACCEPTED for decision in album.decisions)
    wanted = {Status.ACCEPTED, *include} if reviewed else {Status.ACCEPTED, Status.UNSEEN, *include}
    by_job: dict[str, list[Pick]] = {}
    left_out = Omissions()
    for entry in album:
        status = _status(entry)
        if not entry.listed and (entry.chosen is None or not has_manifest):
            status = Status.GONE
        pictures = () if status not in wanted else _pictures(entry)
        if status in wanted and any(picture.state is not PictureState.WHOLE for picture in pictures):
            status = Status.LOST
        if status in wanted and entry.chosen is not None:
            by_job[entry.id] = [_pick(entry, entry.chosen, picture) for picture in pictures]
        else:
            left_out.add(status, entry.id)
    return Picks(by_job=by_job, left_out=left_out, reviewed=reviewed)


def _status(entry: Entry) -> Status:
    chosen = entry.chosen
    if chosen is None:
        return _STANDINGS.get(entry.standing, Status.LOST)
    if chosen.is_accepted:
        return Status.ACCEPTED
    return Status.REJECTED if chosen.is_rejected else Status.UNSEEN


def _pictures(entry: Entry) -> Sequence[Picture]:
    """Those that were accepted, or else the last, which is the answer's result."""
    chosen = entry.chosen
    if chosen is None:
        return ()
    accepted = [each for each in chosen.pictures if each.decision and each.decision.verdict is Verdict.ACCEPTED]
    return accepted or chosen.pictures[-1:]


def _pick(entry: Entry, version: Version, picture: Picture) -> Pick:
    return Pick(
        job=entry.id,
        path=picture.path,
        sha256=picture.sha256,
        mime=picture.mime,
        width=picture.width,
        height=picture.height,
        size_bytes=picture.size_bytes,
        prompt=version.prompt,
        caption=version.caption or "",
        model=version.model,
        endpoint=version.endpoint,
        has_references=bool(version.references),
    )
