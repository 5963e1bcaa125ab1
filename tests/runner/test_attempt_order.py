"""The order of an attempt, from its slot to the next job's slot, as seen at the system calls and the borders.

The architecture page promises the order; each step here is written down by the double or the call that makes it.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from batch.core.clock import SystemClock
from batch.core.errors import AttemptError, OutcomeUnknown, Unusable
from batch.core.events import Listener
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.prices import PriceTable
from batch.core.settings import Budget, Limits, RetryPolicy, UnknownPolicy
from batch.dispatch.base import DispatchConfig
from batch.dispatch.scheduler import Scheduler
from batch.money.wallet import Purchase, Wallet
from batch.plan import ToDo
from batch.providers.base import Answer, Blob, Picture, Received, Request, Spool
from batch.runner.attempt import AttemptRunner, PricedProvider
from batch.store.folder import output_folder
from batch.store.store import Store
from tests.support.fakes import carry_out, job, one_route, ports

PICTURE_BYTES = io.BytesIO()
Image.new("RGB", (1024, 1024), "navy").save(PICTURE_BYTES, "PNG")


class Steps:
    """What happened, in order. Watches the output folder's syncs and links from below."""

    def __init__(self, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self._output = output
        self._ledger_lines = 0
        fsync, fdatasync, link = os.fsync, os.fdatasync, os.link

        def watched_fsync(descriptor: int) -> None:
            fsync(descriptor)
            self._synced(descriptor)

        def watched_fdatasync(descriptor: int) -> None:
            fdatasync(descriptor)
            self._ledger_synced()

        def watched_link(source: str, target: str, **options: Any) -> None:
            link(source, target, **options)
            self.add(f"{self._name(target)} named")

        monkeypatch.setattr(os, "fsync", watched_fsync)
        monkeypatch.setattr(os, "fdatasync", watched_fdatasync)
        monkeypatch.setattr(os, "link", watched_link)

    def add(self, step: str) -> None:
        self.seen.append(step)

    def _synced(self, descriptor: int) -> None:
        name = self._name(os.readlink(f"/proc/self/fd/{descriptor}"))
        self.add(f"{name} synced")

    def _ledger_synced(self) -> None:
        """Each line by its kind; of one that ends an attempt also whether the received answer is still there."""
        lines = (self._output / "ledger.jsonl").read_text().splitlines()
        for line in lines[self._ledger_lines :]:
            record = json.loads(line)
            waits = any(name.startswith(record["job"]) for name in os.listdir(self._output / "spool"))
            self.add(f"{record['t']} {record['job']} durable" + (", answer in the spool" if waits else ""))
        self._ledger_lines = len(lines)

    def _name(self, path: str) -> str:
        return os.path.relpath(path, self._output)


class RecordingWallet(Wallet):
    """A wallet that writes down what it is told."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(Budget(per_run=1.0), max_usd=lambda job: 0.2, clock=SystemClock())
        self._steps = steps

    @asynccontextmanager
    async def reserve(self, job: Job) -> AsyncIterator[None]:
        async with super().reserve(job):
            self._steps.add(f"money of {job.id} set aside")
            yield

    def sending(self, job: Purchase) -> None:
        super().sending(job)
        self._steps.add(f"money of {job.id} committed")

    def settle(self, job: Purchase, usd: float) -> None:
        super().settle(job, usd)
        self._steps.add(f"{job.id} settled")


class RecordingProvider:
    """Answers with one picture, or after the first job with the error it is given."""

    def __init__(self, steps: Steps, error: AttemptError | None) -> None:
        self._steps = steps
        self._error = error
        self._is_first = True

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        self._steps.add(f"{job.id} prepared")
        return Request(path="/", pieces=())

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        job_id = attempt_id.split(".")[1]
        self._steps.add(f"{job_id} sent")
        self._is_first = job_id == "mug"
        if isinstance(self._error, OutcomeUnknown) and not self._is_first:
            raise self._error
        writer = spool.new_blob()
        writer.write(PICTURE_BYTES.getvalue())
        writer.close()
        blob = Blob(file=writer.file, size_bytes=len(PICTURE_BYTES.getvalue()))
        received = Received(status=200, headers={}, body=b"{}", blobs=(blob,), seconds=1.0)
        spool.seal(received)
        self._steps.add(f"{job_id} sealed")
        return received

    def unpacked(self, received: Received, spool: Spool) -> Received:
        return received

    def interpret(self, received: Received) -> Answer:
        self._steps.add("interpreted")
        if self._error is not None and not self._is_first:
            raise self._error
        return Answer(pictures=(Picture(blob=received.blobs[0]),))

    async def download(self, url: str, spool: Spool) -> Blob:
        raise AssertionError(url)


class RecordingListener(Listener):
    """Writes down when a job has its slot."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def attempt_started(self, job: Job, in_flight: int) -> None:
        self._steps.add(f"slot to {job.id}")


def scheduler(steps: Steps, store: Store, error: AttemptError | None) -> Scheduler:
    """One slot, and everything real but the provider."""
    wallet = RecordingWallet(steps)
    prices = PriceTable({}, {"1K": 0.1})
    providers = {"somewhere": PricedProvider(RecordingProvider(steps, error), prices)}
    attempts = AttemptRunner(providers, store, SystemClock(), lambda error, rejected: False, wallet)
    config = DispatchConfig(
        routes=[one_route(Limits(concurrency=1, adaptive=False))],
        policy=RetryPolicy(unknown=UnknownPolicy.HOLD, unusable_retries=0),
    )
    return Scheduler(ports(attempts, money=wallet), config, SystemClock(), Random(1), RecordingListener(steps))


BEFORE = [
    "slot to cup",
    "cup prepared",
    "money of cup committed",
    "try cup durable",
    "cup sent",
]
PICTURE = [
    "cup sealed",
    "interpreted",
    "spool/cup~1.0 synced",
    "images/cup.png named",
    "images synced",
    "done cup durable, answer in the spool",
    "cup settled",
]
EMPTY = [
    "cup sealed",
    "interpreted",
    "spool/cup~1.answer synced",
    "rejected/cup~1.answer named",
    "spool/cup~1.0 synced",
    "rejected/cup~1.0 named",
    "rejected synced",
    "fail cup durable, answer in the spool",
    "cup settled",
]
CUT = ["unk cup durable", "cup settled"]


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (None, PICTURE),
        (Unusable("no_image", "no picture in it", retries=0), EMPTY),
        (OutcomeUnknown("timeout", "no answer"), CUT),
    ],
    ids=["picture", "no picture", "cut"],
)
async def test_an_attempt_goes_in_the_promised_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: AttemptError | None, after: list[str]
) -> None:
    """Intent and money before the request; the answer sealed before it is read; file, folder, ledger line; then the
    money, and only then the slot of the next job."""
    with output_folder(tmp_path / "out") as folder:
        async with folder.open("run", SystemClock()) as store:
            steps = Steps(tmp_path / "out", monkeypatch)
            running = scheduler(steps, store, error)
            await carry_out(running, [ToDo(job=job(name), because="new") for name in ("mug", "cup", "jug")])
    # The first request of a run keeps the others waiting whatever it gives back, so the second is looked at.
    seen = [step for step in steps.seen if not step.endswith("set aside")]
    assert seen[seen.index("slot to cup") : seen.index("slot to jug") + 1] == [*BEFORE, *after, "slot to jug"]
    assert steps.seen.index("money of cup set aside") < steps.seen.index("slot to cup")
