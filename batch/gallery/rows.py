"""An entry as the pages need it: a row for grid, search and filters, and its details, which are read when it is opened.

Both are plain JSON values. All text in them is hostile; the pages only ever set it as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from batch.album import Attempt, Entry, Failure, Picture, PictureState, Version
from batch.core.decisions import Verdict
from batch.core.lane import Lane
from batch.report.advice import advice_for

#: Prefixes of columns that come from a job's parameters, and from its row.
PARAMETER: Final = "p."
CELL: Final = "c."
_LONGEST_CELL: Final = 2_000
_ADDRESS: Final = re.compile(r"(?i)^(\w+)://(?:[^/?#@]*@)?([^?#]*)")
_USD_DIGITS: Final = 4


def row_of(entry: Entry) -> dict[str, Any]:
    """The fields by which an entry is shown in the grid, found, filtered and sorted."""
    shown = entry.chosen
    picture = shown.pictures[-1] if shown is not None and shown.pictures else None
    source = shown or entry
    return {
        "id": entry.id,
        "prompt": source.prompt,
        "caption": (shown.caption or "") if shown is not None else "",
        "state": _state(entry, picture),
        "cause": entry.failure.code if entry.failure is not None else "",
        "sha": picture.sha256 if picture is not None else "",
        "width": picture.width if picture is not None else 0,
        "height": picture.height if picture is not None else 0,
        **_decided(picture),
        "warnings": ",".join(dict.fromkeys(str(warned.kind) for warned in shown.warnings)) if shown is not None else "",
        "versions": len(entry.versions),
        "attempts": len(entry.attempts),
        "cost": round(entry.cost_usd, _USD_DIGITS),
        "at": shown.finished_at[:19] if shown is not None else "",
        "model": source.model,
        "endpoint": source.endpoint,
        "simulated": bool(shown is not None and shown.simulated),
        **{f"{PARAMETER}{name}": _text(value) for name, value in source.parameters.items()},
        **{f"{CELL}{name}": _text(value) for name, value in (entry.row or {}).items()},
    }


def details_of(entry: Entry, output_name: str) -> dict[str, Any]:
    """What only the view of one entry shows. `output_name` stands for the output folder in advice.

    What is empty is left out, and so are prompt and caption where the entry's row has the same.
    """
    shown = entry.chosen
    return _lean(
        {
            "versions": [
                _version(version, (shown or entry).prompt, is_shown=version is shown) for version in entry.versions
            ],
            "chosen": _index(entry),
            "references": [] if entry.versions else [*_references(entry)],
            "attempts": [_attempt(attempt) for attempt in entry.attempts],
            "failure": _failure(entry.failure, output_name),
            "cost": round(entry.cost_usd, 6),
            "maybe": round(entry.maybe_cost_usd, 6),
            "unlisted": not entry.listed,
            "settled": entry.settled_by_person,
        }
    )


def live_row(entry: Entry, output_name: str) -> dict[str, Any]:
    """An entry as a server sends it to pages that are open: row, details and position in one object."""
    return {"position": entry.position, "row": row_of(entry), "details": details_of(entry, output_name)}


def _state(entry: Entry, picture: Picture | None) -> str:
    """`done`, `failed`, `unknown` or `pending`, or that the file is `missing` or `altered`."""
    if picture is not None and picture.state is not PictureState.WHOLE:
        return str(picture.state)
    return str(entry.standing)


def _decided(picture: Picture | None) -> dict[str, Any]:
    decision = picture.decision if picture is not None else None
    seen = picture is not None and picture.seen
    if decision is None or decision.verdict is Verdict.UNDONE:
        return {"verdict": "", "side": "", "reasons": "", "note": "", "seen": seen}
    return {
        "verdict": str(decision.verdict),
        "side": str(decision.side),
        "reasons": ",".join(decision.reasons),
        "note": decision.note,
        "seen": seen,
    }


def _index(entry: Entry) -> int:
    return next((index for index, version in enumerate(entry.versions) if version is entry.chosen), -1)


def _version(version: Version, known_prompt: str, *, is_shown: bool) -> dict[str, Any]:
    return _lean(
        {
            "number": version.number,
            "pictures": [_picture(picture) for picture in version.pictures],
            "caption": "" if is_shown else version.caption,
            "warnings": [[str(warned.kind), warned.message] for warned in version.warnings],
            "prompt": "" if version.prompt == known_prompt else version.prompt,
            "references": [*_references(version)],
            "model": version.model,
            "endpoint": version.endpoint,
            "lane": "" if version.lane == Lane.STANDARD else version.lane,
            "parameters": [[name, _text(value)] for name, value in version.parameters.items()],
            "at": version.finished_at,
            "adopted": version.adopted_from,
            "simulated": version.simulated,
            "source": version.source,
        }
    )


def _picture(picture: Picture) -> dict[str, Any]:
    return _lean(
        {
            "path": picture.path,
            "sha": picture.sha256,
            "width": picture.width,
            "height": picture.height,
            "bytes": picture.size_bytes,
            **_decided(picture),
            "by": picture.decision.by if picture.decision is not None else "",
        }
    )


def _lean(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _references(source: Version | Entry) -> Iterator[dict[str, str]]:
    for name, sha256 in zip(source.references, source.reference_sha256s, strict=True):
        yield {"name": shown_name(name), "sha": sha256}


def shown_name(name: str) -> str:
    """A reference's name without what is private: the folders above it, and secrets in an address."""
    address = _ADDRESS.match(name)
    if address is not None:
        return f"{address[1]}://{address[2]}"
    path = PurePosixPath(name)
    return path.name if path.is_absolute() or name.startswith(("~", "..")) else name


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return _lean(
        {
            "at": attempt.started_at,
            "outcome": attempt.outcome,
            "code": attempt.code,
            "message": attempt.message,
            "paid": attempt.paid if attempt.paid == "maybe" else "",
            "cost": attempt.cost_usd,
            "seconds": round(attempt.seconds, 1),
        }
    )


def _failure(failure: Failure | None, output_name: str) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "code": failure.code,
        "message": failure.message,
        "status": failure.http_status or 0,
        "advice": advice_for(failure.code, output_name),
    }


def _text(value: Any) -> str:
    """A cell or a parameter as people read it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value[:_LONGEST_CELL]
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return ", ".join(value)[:_LONGEST_CELL]
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False)[:_LONGEST_CELL]
    return str(value)
