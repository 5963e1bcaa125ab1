"""A judge that is no person: it looks at each new picture (`check`), and says accepted or rejected. Here, a program.

It sees a picture once that is durable and recorded, so it can neither delay nor lose one. Its verdicts are decisions by
the machine, which a person overrules. A judge that fails gives no verdict: the picture stays as it is, the failure is
told, and the next run asks again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from batch.core.clock import Clock, timestamp
from batch.core.decisions import Decision, Side, Verdict
from batch.core.errors import BatchError, ConfigError
from batch.core.profiles import ANYFAST, GOOGLE
from batch.core.results import Checked, CheckSpend
from batch.core.settings import CheckSettings
from batch.store.decisions import DecisionFile
from batch.store.history import History
from batch.store.ledger_reader import LedgerReader, open_ledger
from batch.store.records import Pictured
from batch.store.rejected_pictures import RejectedPictures

log = logging.getLogger(__name__)
_MOST_BYTES: Final = 1 << 20
_MOST_REASONS: Final = 20
_LONGEST_NOTE: Final = 4000
_TOLD: Final = 3
#: A program that was killed is gone by then.
_END_SECONDS: Final = 1.0


class CheckFailed(Exception):
    """There is no verdict; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureToCheck:
    """What a judge is told of a picture. `prompt` is what was sent; `picture` an absolute path."""

    job: str
    prompt: str
    picture: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckVerdict:
    """What a judge said of a picture."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()
    note: str = ""


class Judge(Protocol):
    """What says accepted or rejected."""

    @property
    def name(self) -> str: ...

    @property
    def at_once(self) -> int:
        """How many pictures it judges beside each other."""
        ...

    @property
    def spend(self) -> CheckSpend:
        """What it was paid in this run."""
        ...

    async def verdict(self, picture: PictureToCheck) -> CheckVerdict:
        """Raises `CheckFailed` within a bounded time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramJudge:
    """A program started anew for each picture: one JSON object on its standard input, one on its output."""

    command: tuple[str, ...]
    folder: Path
    timeout_seconds: float
    at_once: int
    environment: Mapping[str, str]

    @property
    def name(self) -> str:
        return os.path.basename(self.command[0])

    @property
    def spend(self) -> CheckSpend:
        return CheckSpend()

    async def verdict(self, picture: PictureToCheck) -> CheckVerdict:
        """Raises `CheckFailed`. A program that takes too long is killed, with all it has started."""
        asked = {"job": picture.job, "prompt": picture.prompt, "picture": picture.picture, "sha256": picture.sha256}
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                cwd=self.folder,
                env=dict(self.environment),
                start_new_session=True,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except (OSError, ValueError) as error:
            raise CheckFailed(f"cannot be started: {getattr(error, 'strerror', None) or error}") from None
        try:
            async with asyncio.timeout(self.timeout_seconds):
                said = await _talk(process, json.dumps(asked).encode("ascii") + b"\n")
        except TimeoutError:
            raise CheckFailed(f"gave no verdict within {self.timeout_seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with suppress(TimeoutError):  # it waits for its pipes, too, and what is not read keeps those open
                await asyncio.wait_for(_ended(process), _END_SECONDS)
        return said


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Once it was killed: read what is left, so that its pipes are closed."""
    assert process.stdout is not None
    assert process.stderr is not None
    await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())


async def _drain(stream: asyncio.StreamReader) -> None:
    with suppress(RuntimeError):  # the reader before is still at it, and reads to the end
        while await stream.read(1 << 16):
            pass


async def _talk(process: asyncio.subprocess.Process, question: bytes) -> CheckVerdict:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    answer, words, _ = await asyncio.gather(
        _all_of(process.stdout), _all_of(process.stderr), _tell(process.stdin, question)
    )
    code = await process.wait()
    if code:
        last = words.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CheckFailed(f"ended with code {code}" + (f": {last[:200]}" if last else ""))
    return verdict_of(answer)


async def _tell(stream: asyncio.StreamWriter, question: bytes) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # it may not care to listen
        stream.write(question)
        await stream.drain()
    stream.close()


async def _all_of(stream: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while block := await stream.read(1 << 16):
        data += block
        if len(data) > _MOST_BYTES:
            raise CheckFailed(f"said more than {_MOST_BYTES:,} bytes")
    return bytes(data)


def verdict_of(answer: bytes) -> CheckVerdict:
    """What a judge's JSON says. Raises `CheckFailed` if it is no verdict."""
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        raise CheckFailed(f"gave no JSON: {answer[:80].decode('utf-8', 'replace')!r}") from None
    fields = said if isinstance(said, dict) else {}
    verdict, reasons, note = fields.get("verdict"), fields.get("reasons", []), fields.get("note", "")
    if verdict not in (Verdict.ACCEPTED, Verdict.REJECTED):
        raise CheckFailed(f'gave no verdict; it must say {{"verdict": "accepted"}} or "rejected", got {verdict!r:.80}')
    if not isinstance(reasons, list) or not all(isinstance(reason, str) for reason in reasons):
        raise CheckFailed("gave reasons that are no list of texts")
    if note is not None and not isinstance(note, str):
        raise CheckFailed("gave a note that is no text")
    return CheckVerdict(
        verdict=Verdict(verdict), reasons=tuple(reasons[:_MOST_REASONS]), note=(note or "")[:_LONGEST_NOTE]
    )


def program_judge(
    settings: CheckSettings, folder: Path, environment: Mapping[str, str], keys: Mapping[str, str]
) -> ProgramJudge:
    """The judge that a manifest in `folder` names. `keys` of the run, by variable, are kept from it.

    Raises `ConfigError` if there is no such program.
    """
    program = settings.run[0]
    found = folder / program if os.sep in program else shutil.which(program, path=environment.get("PATH"))
    if found is None or not os.access(found, os.X_OK) or not os.path.isfile(found):
        raise ConfigError(f"check: there is no program {program}; nothing was sent")
    secrets = [key for key in keys.values() if key]
    hidden = {*keys, ANYFAST.key_env, GOOGLE.key_env}
    shown = {
        name: value
        for name, value in environment.items()
        if name not in hidden and not any(key in value for key in secrets)
    }
    return ProgramJudge(
        command=(os.path.abspath(found), *settings.run[1:]),
        folder=folder,
        timeout_seconds=settings.timeout_seconds,
        at_once=settings.at_once,
        environment=shown,
    )


@dataclass(slots=True, kw_only=True)
class Checks:
    """Has pictures judged beside a run, a few at once."""

    judge: Judge
    output: Path
    history: History
    rejected: RejectedPictures
    clock: Clock
    say: Callable[[str], None]

    #: Jobs that got a verdict in this run, by their keys.
    judged: set[bytes] = field(default_factory=set)
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    _waiting: asyncio.Queue[bytes] = field(init=False, default_factory=asyncio.Queue)
    _workers: list[asyncio.Task[None]] = field(init=False, default_factory=list)
    _ledger: LedgerReader | None = field(init=False, default=None)

    def add(self, keys: Iterable[bytes]) -> None:
        """Have the pictures judged that these jobs have now, unless something was said of them."""
        for key in keys:
            self._waiting.put_nowait(key)
        while len(self._workers) < min(self.judge.at_once, self._waiting.qsize()):
            self._workers.append(asyncio.create_task(self._work()))

    async def idle(self) -> None:
        """Until all have their verdict, or it has failed."""
        await self._waiting.join()

    async def close(self) -> None:
        """Ends what is being judged; the next run asks again."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._ledger is not None:
            self._ledger.close()
        if self.failed > _TOLD:
            self.say(f"check: {self.failed - _TOLD:,} more pictures got no verdict")

    @property
    def result(self) -> Checked:
        return Checked(accepted=self.accepted, rejected=self.refused, failed=self.failed, spend=self.judge.spend)

    async def _work(self) -> None:
        while True:
            key = await self._waiting.get()
            try:
                await self._check(key)
            finally:
                self._waiting.task_done()

    async def _check(self, key: bytes) -> None:
        job = ""
        try:
            picture = self._picture_of(key)
            if picture is None:
                return
            job = picture.job
            said = await self.judge.verdict(picture)
            await asyncio.to_thread(DecisionFile(self.output).append, [self._decision(picture, said)])
        except (CheckFailed, BatchError, OSError) as error:
            self._tell(job, str(error))
        except Exception as error:  # a bug of ours must not leave the run waiting for a verdict
            log.exception("a bug in imagebatch")
            self._tell(job, f"got no verdict: {type(error).__name__}")
        else:
            self.judged.add(key)
            self.accepted += said.verdict is Verdict.ACCEPTED
            self.refused += said.verdict is Verdict.REJECTED

    def _tell(self, job: str, words: str) -> None:
        self.failed += 1
        if self.failed <= _TOLD:
            self.say(f"check: {job}: {self.judge.name} {words}")

    def _picture_of(self, key: bytes) -> PictureToCheck | None:
        """The result a job has, None if something was said of it, or it has none that is there."""
        past = self.history.of(key)
        if past.bought_offset < 0 or past.missing:
            return None
        if self._ledger is None:
            self._ledger = open_ledger(self.output)
        bought = self._ledger.at(past.bought_offset)
        assert isinstance(bought, Pictured)
        image = bought.images[-1]
        if self.rejected.decisions.of(bought.job, image.sha256) is not None:
            return None
        return PictureToCheck(
            job=bought.job,
            prompt=self._ledger.asked_at(past.bought_try_offset).ask.prompt,
            picture=str((self.output / image.path).absolute()),
            sha256=image.sha256,
        )

    def _decision(self, picture: PictureToCheck, said: CheckVerdict) -> Decision:
        return Decision(
            at=timestamp(self.clock),
            job=picture.job,
            sha256=picture.sha256,
            verdict=said.verdict,
            side=Side.MACHINE,
            by=self.judge.name,
            reasons=said.reasons,
            note=said.note,
        )
