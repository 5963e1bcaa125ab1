"""What is interrupted: a batch, a rehearsal that makes room for what is bought, and kept answers that are read again.

Each scenario prepares a folder, names the command, and judges twice: what an interruption left, and what the same
command, typed once more, made of it.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from batch.providers.answers.json_stream import REFERENCE_PREFIX
from batch.providers.base import Blob, Received
from batch.store.disk_reserve import DiskReserve
from batch.store.ledger import encode_line
from batch.store.spool import AttemptSpool
from tests.crash import oracle
from tests.crash.child import REREAD
from tests.crash.injector import Fault
from tests.crash.sweep import (
    CONCURRENCY,
    EXIT,
    EXPECTED,
    IMAGES_MANIFEST,
    MANIFEST,
    Provider,
    Ran,
    faulty_run,
    spawned,
    write_manifest,
)
from tests.support.picture_host import png

Files = dict[str, bytes]
#: Starts a module with words and waits for its end: `spawned` or `forked`.
Start = Callable[..., Ran]
WORDS: Final = "nothing but words please"


class Scenario(Protocol):
    """`manifest` is what the child is told to run. `billed` are the charged requests of the interrupted command."""

    name: str
    manifest: str
    simulator: Provider
    start: Start

    def prepare(self, output: Path) -> None: ...

    def interrupted(self, output: Path, billed: list[oracle.Record], said: list[str], *, power: bool) -> list[str]:
        """What is wrong after the interruption; `power`: of the machine, so what was not synced may be gone."""
        ...

    def resumed(self, output: Path, billed: list[oracle.Record]) -> list[str]:
        """Type the command again; what is wrong then."""
        ...


class Batch:
    """A run into a new folder. `names` are the manifest's for its pictures; `template`: the manifest without its
    address."""

    def __init__(
        self, folder: Path, simulator: Provider, start: Start = spawned, names: str = "", template: str = MANIFEST
    ) -> None:
        self.name = "run in folders" if names else "run"
        self.simulator, self.start = simulator, start
        self._manifest = write_manifest(folder, simulator.base_url, template)
        if names:
            with self._manifest.open("a") as file:
                file.write(f"names: {json.dumps(names)}\n")
        self.manifest = str(self._manifest)

    def prepare(self, output: Path) -> None:
        """The folder is the run's to make."""

    def interrupted(self, output: Path, billed: list[oracle.Record], said: list[str], *, power: bool) -> list[str]:
        state = oracle.State.read(output, billed)
        return oracle.after_cut(state, said, CONCURRENCY) if power else oracle.after_crash(state, said, CONCURRENCY)

    def resumed(self, output: Path, billed: list[oracle.Record]) -> list[str]:
        return run_again(self, self._manifest, output, billed, EXPECTED)


def run_again(
    tried: Scenario, manifest: Path, output: Path, billed: list[oracle.Record], expected: dict[str, str]
) -> list[str]:
    """P1, P2, P6, P10, P11: what was sealed is used as it came or not at all, and everything comes to its end."""
    before = len(tried.simulator.entries())
    ran = tried.start("batch", "run", str(manifest), "-o", str(output))
    if ran.code != (EXIT if "failed" in expected.values() else 0):
        return [f"the next run ended with {ran.code}: {ran.errors[-800:]}"]
    state = oracle.State.read(output, billed + tried.simulator.entries()[before:])
    return [
        *oracle.whole_pictures(state),
        *oracle.done_files(state),
        *oracle.kept_answers(state),
        *oracle.resends(state),
        *oracle.balance(state),
        *oracle.final_set(state, expected),
    ]


class Rehearsal:
    """A run at a real endpoint in a folder that was rehearsed; the rehearsal was killed with an answer in its spool.

    With `bought` it is an older version's folder: one ledger holds a job that was bought, too.
    """

    def __init__(self, folder: Path, simulator: Provider, start: Start = spawned, *, bought: bool = False) -> None:
        self.name = "older folder" if bought else "rehearsal"
        self.simulator, self.start = simulator, start
        self._template = folder / "template"
        self._manifest = folder / "real.yaml"
        self.manifest = str(self._manifest)
        jobs = {"drawn": "a mountain", "wordy": WORDS, "arrived": "a lake"}
        own = {"pictures": "plain", "faults": [{"fault": "text_only", "prompt": WORDS}]}
        rehearsed = _manifest(folder / "m.yaml", jobs, {"profile": "simulator", "simulator": own})
        link_of_the_last_picture = Fault("link", 3, "before")
        assert faulty_run(rehearsed, self._template, link_of_the_last_picture).killed
        (self._template / ".reserve").write_bytes(b"")  # 64 MB of nothing would be copied for every state
        self._lines = [_split(self._template)]
        self._drawn = {each: _files(self._template / each) for each in ("images", "rejected", "spool")}
        self._billed: list[oracle.Record] = []
        if bought:
            self._buy_one(folder, jobs)
        _manifest(self._manifest, jobs, {"profile": "anyfast", "base_url": simulator.base_url})
        self._expected = dict.fromkeys(jobs, "done") | {"wordy": "failed"}

    def _buy_one(self, folder: Path, jobs: dict[str, str]) -> None:
        jobs["bought"] = "a river"
        real = {"profile": "anyfast", "base_url": self.simulator.base_url}
        before = len(self.simulator.entries())
        manifest = _manifest(folder / "one.yaml", {"bought": jobs["bought"]}, real)
        assert faulty_run(manifest, folder / "one", None).code == 0
        self._billed = self.simulator.entries()[before:]
        records = [json.loads(line) for each in (*self._lines, _split(folder / "one")) for line in each]
        lines = [encode_line(_numbered(record, n)) for n, record in enumerate(records, start=1)]
        self._lines = [lines[: len(self._lines[0])], lines[len(self._lines[0]) :]]
        (self._template / "ledger.jsonl").write_bytes(b"".join(lines))
        for picture in (folder / "one/images").iterdir():
            shutil.copy(picture, self._template / "images")

    def prepare(self, output: Path) -> None:
        shutil.copytree(self._template, output)

    def interrupted(self, output: Path, billed: list[oracle.Record], said: list[str], *, power: bool) -> list[str]:
        said = [*said, *("bought" for _ in self._billed)]
        state = oracle.State.read(output, self._billed + billed)
        wrong = oracle.after_cut(state, said, CONCURRENCY) if power else oracle.after_crash(state, said, CONCURRENCY)
        apart = oracle.State.read(output / "rehearsal", [])
        wrong += [f"rehearsal: {words}" for words in (*oracle.done_files(apart), *oracle.kept_answers(apart))]
        either = {line for each in (state, apart) for line in _split(each.output)}
        wrong += [f"P8: {line[:60]!r} of the ledger is gone" for each in self._lines for line in {*each} - either]
        for folder, files in self._drawn.items():
            there = _files(output / folder).items() | _files(output / "rehearsal" / folder).items()
            wrong += [f"{folder}/{name} of the rehearsal is gone" for name, _ in files.items() - there]
        return wrong

    def resumed(self, output: Path, billed: list[oracle.Record]) -> list[str]:
        wrong = run_again(self, self._manifest, output, self._billed + billed, self._expected)
        apart = output / "rehearsal"
        if _split(apart) != self._lines[0]:
            wrong.append("rehearsal/ledger.jsonl is not the rehearsal's")
        for name, files in self._drawn.items():
            if _files(apart / name) != files:
                wrong.append(f"rehearsal/{name} holds {sorted(_files(apart / name))}")
        left = [path.name for path in apart.iterdir() if path.name.startswith(".") or path.name.endswith(".part")]
        drawn = {name for name, data in _files(output / "images").items() if data in self._drawn["images"].values()}
        return wrong + [f"{name} is left" for name in left] + [f"{name} was drawn and not bought" for name in drawn]


class Reread:
    """`reread` of a folder with two kept answers that hold pictures; a third job shared the end of one of them."""

    name = "reread"
    manifest = REREAD

    def __init__(self, folder: Path, simulator: Provider, start: Start = spawned) -> None:
        self.simulator, self.start = simulator, start
        self._template = folder / "template"
        jobs = {"plain": "a mountain", "wordy": WORDS, "wordy-too": WORDS, "wordier": WORDS + " and more"}
        self._expected = dict.fromkeys(jobs, "done")
        self._manifest = _manifest(
            folder / "m.yaml", jobs, {"profile": "anyfast", "base_url": simulator.base_url}, dedupe=True
        )
        before = len(simulator.entries())
        assert faulty_run(self._manifest, self._template, None).code == EXIT
        self._billed = simulator.entries()[before:]
        for number, job in enumerate(("wordy", "wordier")):
            _hold(self._template / "rejected", f"{job}~1", png(32 + number), apart=number == 0)
        self._kept = _files(self._template / "rejected")

    def prepare(self, output: Path) -> None:
        shutil.copytree(self._template, output)

    def interrupted(self, output: Path, billed: list[oracle.Record], said: list[str], *, power: bool) -> list[str]:
        state = oracle.State.read(output, self._billed)
        said = [*said, "plain"]
        wrong = oracle.after_cut(state, said, CONCURRENCY) if power else oracle.after_crash(state, said, CONCURRENCY)
        if _files(output / "rejected") != self._kept:
            wrong.append("P4: rejected/ has changed")
        return wrong + ["requests were sent" for _ in billed]

    def resumed(self, output: Path, billed: list[oracle.Record]) -> list[str]:
        """Everything that a kept answer holds is the jobs', once; a run then has nothing to do."""
        ran = self.start("batch", "reread", str(output))
        if ran.code:
            return [f"the next reread ended with {ran.code}: {ran.errors[-800:]}"]
        before = len(self.simulator.entries())
        wrong = run_again(self, self._manifest, output, self._billed, self._expected)
        wrong += ["the next run sent requests" for _ in self.simulator.entries()[before:]]
        if _files(output / "rejected") != self._kept:
            wrong.append("P4: rejected/ has changed")
        return wrong


SCENARIOS: Final = ("run", "run in folders", "run at openai", "rehearsal", "older folder", "reread")


def scenario(name: str, folder: Path, simulator: Provider, start: Start = spawned) -> Scenario:
    folder.mkdir(exist_ok=True)
    if name == "run":
        return Batch(folder, simulator, start)
    if name == "run in folders":
        return Batch(folder, simulator, start, names="{% if 'wordy' in id %}a{% else %}b/c{% endif %}/{{ id }}")
    if name == "run at openai":
        return Batch(folder, simulator, start, template=IMAGES_MANIFEST)
    if name == "reread":
        return Reread(folder, simulator, start)
    return Rehearsal(folder, simulator, start, bought=name == "older folder")


def _manifest(path: Path, jobs: dict[str, str], provider: object, **more: object) -> Path:
    tree = {
        "provider": provider,
        "limits": {"concurrency": 1},
        "retry": {"unusable_retries": 0},
        "defaults": {"image_size": 512},
        "jobs": [{"id": name, "prompt": prompt} for name, prompt in jobs.items()],
        **more,
    }
    path.write_text(json.dumps(tree))
    return path


def _hold(rejected: Path, stem: str, picture: bytes, *, apart: bool) -> None:
    """Put an answer that holds a picture in the place of a kept one; `apart`: in a file of its own."""
    spool = AttemptSpool(str(rejected), stem, DiskReserve(str(rejected.parent)))
    blobs: tuple[Blob, ...]
    text, blobs = base64.b64encode(picture).decode(), ()
    if apart:
        writer = spool.new_blob()
        writer.write(picture)
        writer.close()
        text, blobs = REFERENCE_PREFIX + "0", (Blob(file=writer.file, size_bytes=len(picture)),)
    body = json.dumps({"candidates": [{"content": {"parts": [{"inlineData": {"data": text}}]}}]}).encode()
    spool.seal(Received(status=200, headers={}, body=body, blobs=blobs, seconds=1.0))
    spool.trim()


def _split(output: Path) -> Sequence[bytes]:
    path = output / "ledger.jsonl"
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def _numbered(record: oracle.Record, n: int) -> oracle.Record:
    return {**{key: value for key, value in record.items() if key != "c"}, "n": n}


def _files(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
