"""Output folders written line by line, as a run would have left them, for what reads them."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from batch.store.ledger import encode_line
from batch.store.records import (
    Ask,
    Destination,
    DoneRecord,
    FailRecord,
    ImageRecord,
    Record,
    ReferenceRecord,
    RunRecord,
    TryRecord,
    UnknownRecord,
    line_fields,
)

RUN = "r1"
SPEC = "00" * 16
MODEL = "gemini-3.1-flash-image"


def picture_bytes(colour: str | tuple[int, int, int] = "teal", size: tuple[int, int] = (64, 64)) -> bytes:
    """A PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


@dataclass
class WrittenOutput:
    """An output folder. Jobs are written in the order of the calls, and listed in manifest.jsonl by `finish`."""

    folder: Path
    endpoint: str = "anyfast"
    manifest: str = ""
    _lines: list[bytes] = field(default_factory=list)
    _listed: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        self.write(RunRecord(at=_moment(0), run=RUN, endpoint=self.endpoint, manifest=self.manifest))

    def write(self, record: Record) -> None:
        self._lines.append(encode_line(line_fields(record, len(self._lines) + 1)))

    def asked(
        self,
        job: str,
        prompt: str = "a cup",
        *,
        references: Sequence[ReferenceRecord] = (),
        row: Mapping[str, Any] | None = None,
        aspect_ratio: str = "1:1",
        endpoint: str = "",
        model: str = MODEL,
    ) -> int:
        """An attempt at a job; returns its number."""
        self._attempts[job] = number = self._attempts.get(job, 0) + 1
        self._listed.setdefault(job, row)
        ask = Ask(
            prompt=prompt, references=tuple(references), model=model, aspect_ratio=aspect_ratio, image_size="1K",
            modalities=("TEXT", "IMAGE"),
        )  # fmt: skip
        to = Destination(endpoint or self.endpoint, model, "standard")
        self.write(
            TryRecord(at=_moment(len(self._lines)), run=RUN, job=job, spec=SPEC, att=number, rid="q", to=to, ask=ask)
        )
        return number

    def done(
        self,
        job: str,
        prompt: str = "a cup",
        *,
        data: bytes | None = None,
        name: str = "",
        size: tuple[int, int] = (64, 64),
        caption: str | None = None,
        warnings: Sequence[str] = (),
        usd: float = 0.067,
        **asked: Any,
    ) -> ImageRecord:
        """A job with a picture, whose file is written. The second time it is another version."""
        number = self.asked(job, prompt, **asked)
        data = picture_bytes(size=size) if data is None else data
        image = self._stored(name or (job if number == 1 else f"{job}~v{number}"), data, size)
        self.write(
            DoneRecord(
                at=_moment(len(self._lines)),
                run=RUN,
                job=job,
                spec=SPEC,
                att=number,
                seconds=12.5,
                usd=usd,
                usd_from="list",
                images=(image,),
                caption=caption,
                warnings=tuple(warnings),
            )
        )
        return image

    def failed(
        self, job: str, prompt: str = "a cup", *, code: str = "image_safety", message: str = "no", **asked: Any
    ) -> None:
        number = self.asked(job, prompt, **asked)
        self.write(
            FailRecord(
                at=_moment(len(self._lines)),
                run=RUN,
                job=job,
                spec=SPEC,
                att=number,
                seconds=3.0,
                code=code,
                message=message,
                paid="no",
                again=False,
            )
        )

    def unknown(self, job: str, prompt: str = "a cup", **asked: Any) -> None:
        number = self.asked(job, prompt, **asked)
        self.write(
            UnknownRecord(
                at=_moment(len(self._lines)),
                run=RUN,
                job=job,
                spec=SPEC,
                att=number,
                seconds=60.0,
                usd=0.067,
                code="timeout",
                message="no answer within 60 s",
            )
        )

    def finish(self) -> Path:
        """Write the ledger and manifest.jsonl; returns the folder."""
        (self.folder / "ledger.jsonl").write_bytes(b"".join(self._lines))
        listed = ({"id": job, **({} if row is None else {"row": row})} for job, row in self._listed.items())
        (self.folder / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in listed), "utf-8")
        return self.folder

    def _stored(self, name: str, data: bytes, size: tuple[int, int]) -> ImageRecord:
        path = f"images/{name}.png"
        (self.folder / path).write_bytes(data)
        return ImageRecord(
            path=path, mime="image/png", width=size[0], height=size[1], bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )  # fmt: skip


def _moment(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    return f"2026-11-{1 + hours // 24 % 28:02}T{hours % 24:02}:{minute:02}:{second:02}.000Z"
