"""The kill sweep: a small batch dies at its N-th system call of every kind, and nothing may be lost or paid twice.

    python -m tests.crash.sweep                         every point of the built-in injector, kills
    python -m tests.crash.sweep --injector strace       kills by strace, at calls the injector cannot see
    python -m tests.crash.sweep --actions ENOSPC,EIO    errors instead of kills, once and lasting
    python -m tests.crash.sweep --kinds write,link --every 3 --keep /tmp/sweep

Run it from the repository's root with the package installed. Each point is a fresh output folder: a run that
dies, a judgement (tests/crash/oracle.py), a plain run that must bring everything to its end, a judgement, and a
third run that must do nothing. The provider is the simulator in a process of its own; its billing book is the
witness. Exit code 0 if every promise was kept at every point.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue

from tests.crash import oracle
from tests.crash.injector import KINDS, SOCKET_KINDS, Fault

ROOT = Path(__file__).resolve().parents[2]
CONCURRENCY = 3
#: What an uninterrupted run makes of the batch, in the manifest's order.
EXPECTED = {
    "plain": "done",
    "wordy": "failed",
    "edit": "done",
    "captioned": "done",
    "plain-too": "done",
    "wordy-too": "failed",
}
#: Jobs that a request is sent for; the others ask for the same as one of these and share its end.
SENT = 4
EXIT = 1  # one job, and its twin, fail for good
MANIFEST = """\
name: crash
provider: {{profile: anyfast, base_url: "{base_url}"}}
limits: {{concurrency: {concurrency}}}
retry: {{unusable_retries: 0, unknown: resend}}
dedupe: true
defaults: {{image_size: 512}}
jobs:
  - {{id: plain, prompt: a mountain at sunset}}
  - {{id: wordy, prompt: nothing but words please}}
  - {{id: edit, prompt: "put this on snow", references: [mug.png]}}
  - {{id: captioned, prompt: a lake, modalities: [TEXT, IMAGE]}}
  - {{id: plain-too, prompt: a mountain at sunset}}
  - {{id: wordy-too, prompt: nothing but words please}}
"""
#: The same by OpenAI's images API.
IMAGES_MANIFEST = """\
name: crash
provider: {{profile: openai, base_url: "{base_url}/v1", key_env: ANYFAST_API_KEY}}
model: gpt-image-1.5
limits: {{concurrency: {concurrency}}}
retry: {{unusable_retries: 0, unknown: resend}}
dedupe: true
prices: {{1K: 0.009}}
defaults: {{quality: low, aspect_ratio: "1:1"}}
jobs:
  - {{id: plain, prompt: a mountain at sunset}}
  - {{id: wordy, prompt: nothing but words please}}
  - {{id: edit, prompt: "put this on snow", references: [mug.png]}}
  - {{id: captioned, prompt: a lake, output_format: jpeg}}
  - {{id: plain-too, prompt: a mountain at sunset}}
  - {{id: wordy-too, prompt: nothing but words please}}
"""
SIMULATOR = [
    "--latency",
    "0.03",
    "--pictures",
    "plain",
    "--picture-bytes",
    "60000",
    "--format",
    "alternate",
    "--fault",
    "text_only;prompt=nothing but words",
    "--fault",
    "openai_empty;prompt=nothing but words",
]
#: What runs with one key share outlives each of them; here it lives as long as the tests.
STATE = tempfile.TemporaryDirectory(prefix="imagebatch-state-")
ENVIRONMENT = {
    **os.environ,
    "ANYFAST_API_KEY": "simulated",
    "PYTHONDONTWRITEBYTECODE": "1",
    "XDG_STATE_HOME": STATE.name,
}
RUN_SECONDS = 60


# ---- the provider ----------------------------------------------------------------------------------------------


@dataclass
class Provider:
    """A simulator in a process of its own."""

    base_url: str
    book: Path
    process: subprocess.Popen[str]

    def entries(self) -> list[oracle.Record]:
        """The charged requests, once it has nothing in flight that could still be charged."""
        deadline = time.monotonic() + 10
        while self._in_flight() and time.monotonic() < deadline:
            time.sleep(0.01)
        return oracle.read_book(self.book)

    def _in_flight(self) -> int:
        with urllib.request.urlopen(f"{self.base_url}/__simulator__/book?entries=0", timeout=5) as answer:
            return int(json.load(answer)["in_flight"])


@contextlib.contextmanager
def provider(folder: Path, options: Sequence[str] = SIMULATOR) -> Iterator[Provider]:
    book = folder / "book.jsonl"
    command = [sys.executable, "-m", "batch", "simulate", "--port", "0", "--book", str(book), *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None, "the simulator did not start"
        yield Provider(found[0], book, process)
    finally:
        process.terminate()
        process.communicate(timeout=20)


def write_manifest(folder: Path, base_url: str, template: str = MANIFEST) -> Path:
    path = folder / "crash.yaml"
    shutil.copy(ROOT / "jobs/pictures/mug.png", folder / "mug.png")
    path.write_text(template.format(base_url=base_url, concurrency=CONCURRENCY))
    return path


# ---- runs ------------------------------------------------------------------------------------------------------


@dataclass
class Ran:
    """How a process ended and what it said."""

    code: int
    lines: list[str]
    errors: str

    @property
    def said_done(self) -> list[str]:
        return [line.removeprefix("done ") for line in self.lines if line.startswith("done ")]

    @property
    def killed(self) -> bool:
        return self.code in (-signal.SIGKILL, 128 + signal.SIGKILL)

    @property
    def hit(self) -> bool:
        """Whether the fault took place: the process died, or says that it met it."""
        return self.killed or any(line.startswith("end") and " hit " in line for line in self.lines)

    @property
    def counts(self) -> dict[str, int]:
        return next((json.loads(line[7:]) for line in self.lines if line.startswith("counts ")), {})


def faulty_run(manifest: Path, output: Path, fault: Fault | StraceKill | None) -> Ran:
    """The batch in a child process that dies or meets an error at the given point."""
    command = [sys.executable, "-m", "tests.crash.child", str(manifest), str(output)]
    if isinstance(fault, Fault):
        command.append(str(fault))
    elif fault is not None:
        command = [*fault.words(), *command]
    return _ran(command)


def plain_run(manifest: Path, output: Path) -> Ran:
    """What a user would type."""
    return _ran([sys.executable, "-m", "batch", "run", str(manifest), "-o", str(output)])


def spawned(module: str, *words: str) -> Ran:
    """A module of the command line or of these tests as a program of its own."""
    return _ran([sys.executable, "-m", module, *words])


def _ran(command: list[str]) -> Ran:
    ended = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    # A traceback's exit code is 1 as well, and must not pass for "some jobs failed".
    code = -1 if "Traceback" in ended.stderr else ended.returncode
    return Ran(code, ended.stdout.splitlines(), ended.stderr)


# ---- one point -------------------------------------------------------------------------------------------------


@dataclass
class Result:
    """What one point showed."""

    point: str
    hit: bool = True
    wrong: list[str] = field(default_factory=list)
    resent: int = 0
    kept: int = 0
    never_arrived: int = 0


class Bench:
    """A provider, a manifest and a folder in which points are tried one after another."""

    def __init__(self, folder: Path, simulator: Provider, *, keep: bool = False) -> None:
        self._folder = folder
        self._provider = simulator
        self._keep = keep
        self._tried = 0
        self.manifest = write_manifest(folder, simulator.base_url)

    def counts(self) -> dict[str, int]:
        """How many calls of each kind an undisturbed run makes."""
        return faulty_run(self.manifest, self._fresh(), None).counts

    def traced(self) -> list[StraceKill]:
        """Every call that an undisturbed run makes in its output folder or on the network, as strace counts."""
        output = self._fresh()
        return strace_points(self.manifest, output)

    def try_point(self, fault: Fault | StraceKill) -> Result:
        output, result = self._fresh(), Result(str(fault))
        before = len(self._provider.entries())
        ran = faulty_run(self.manifest, output, fault)
        result.hit = ran.hit
        if isinstance(fault, Fault) and fault.action != "KILL" and ran.hit:
            state = oracle.State.read(output, [])
            result.wrong += error_ending(fault, ran, all_ended=len(state.attempts()) == len(state.ended()))
        crashed = self._state(output, before)
        prefix = (output / "ledger.jsonl").read_bytes()[: crashed.ledger.good_bytes] if crashed.ledger.records else b""
        result.wrong += oracle.after_crash(crashed, ran.said_done, CONCURRENCY)
        result.kept = len(crashed.sealed() - set(crashed.ended()))
        result.wrong += self._resume(output, before, crashed, prefix, result)
        if not self._keep and not result.wrong:
            shutil.rmtree(output)
        return result

    def _resume(self, output: Path, before: int, crashed: oracle.State, prefix: bytes, result: Result) -> list[str]:
        resumed = plain_run(self.manifest, output)
        if resumed.code != EXIT:
            return [f"the next run ended with {resumed.code}: {resumed.errors[-800:]}"]
        state = self._state(output, before)
        wrong = oracle.after_resume(crashed, prefix, state, EXPECTED)
        result.resent = sum(record["why"] == "resend" for record in state.ledger.of("try"))
        result.never_arrived = oracle.never_arrived(state)
        return wrong + self._idle(output, before, state)

    def _idle(self, output: Path, before: int, settled: oracle.State) -> list[str]:
        """P9: another run sends nothing, changes no picture and adds nothing but its own start and end."""
        wrong = []
        third = plain_run(self.manifest, output)
        state = self._state(output, before)
        if third.code != EXIT:
            wrong.append(f"P9: the third run ended with {third.code}: {third.errors[-300:]}")
        if len(state.billed) != len(settled.billed):
            wrong.append("P9: the third run sent requests")
        if state.image_hashes() != settled.image_hashes():
            wrong.append("P9: the third run changed pictures")
        added = [record["t"] for record in state.ledger.records[len(settled.ledger.records) :]]
        if added != ["run", "end"]:
            wrong.append(f"P9: the third run added {added} to the ledger")
        return wrong

    def _state(self, output: Path, before: int) -> oracle.State:
        return oracle.State.read(output, self._provider.entries()[before:])

    def _fresh(self) -> Path:
        self._tried += 1
        return self._folder / f"out-{self._tried}"


def error_ending(fault: Fault, ran: Ran, *, all_ended: bool) -> list[str]:
    """P22: an error ends the run with 73 or 74, or was none that matters and the run ended as usual.

    Files that cannot be removed are swept later, a picture that cannot be opened or synced is written once more, and
    an answer that finds the disk full goes to the space kept back for it. A rename may have been an answer's file on
    its way back after the record, which matters to nobody; one that kept an answer from being sealed left its attempt
    without an end.
    """
    harmless = fault.kind in ("unlink", "close") or (fault.kind in ("open", "fsync", "write") and not fault.lasting)
    harmless = harmless or (fault.kind == "rename" and all_ended)
    if ran.code in (73, 74) or (harmless and ran.code in (0, EXIT)):  # reread ends with 0
        return []
    return [f"P22: ended with {ran.code} after {fault}: {ran.lines[-1:]} {ran.errors[-500:]}"]


# ---- strace as the injector ------------------------------------------------------------------------------------

_SYSCALLS = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate,"
    "close,sendto,sendmsg,recvfrom,mkdir,flock"
)


@dataclass(frozen=True)
class StraceKill:
    """SIGKILL on entry to the N-th call of one name within a thread, as strace counts them."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"strace:{self.call}:{self.number}"

    def words(self) -> list[str]:
        inject = f"inject={self.call}:signal=KILL:when={self.number}"
        # Without --seccomp-bpf: with it, strace 6.1 commits no fault after the first call.
        return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={self.call}", "-e", inject]


def strace_points(manifest: Path, output: Path) -> list[StraceKill]:
    """Counts one undisturbed run's calls, thread by thread, and picks those that matter."""
    with tempfile.NamedTemporaryFile(suffix=".strace") as log:
        command = ["strace", "-f", "-qq", "-y", "--seccomp-bpf", "-o", log.name, "-e", f"trace={_SYSCALLS}"]
        _ran([*command, sys.executable, "-m", "tests.crash.child", str(manifest), str(output)])
        lines = log.read().decode("utf-8", "replace").splitlines()
    counts: Counter[tuple[str, str]] = Counter()
    points: dict[StraceKill, None] = {}
    for line in lines:
        found = re.match(r"(\d+)\s+(\w+)\(", line)
        if found is None:
            continue
        thread, call = found.groups()
        counts[thread, call] += 1
        if f"{output}/" in line or f"{output}>" in line or "<TCP" in line or "<socket:" in line:
            points[StraceKill(call, counts[thread, call])] = None
    return sorted(points, key=lambda point: (point.call, point.number))


# ---- the whole sweep -------------------------------------------------------------------------------------------


def own_points(counts: dict[str, int], kinds: Sequence[str], actions: Sequence[str]) -> list[Fault]:
    points: list[Fault] = []
    for kind in kinds:
        for number in range(1, counts.get(kind, 0) + 1):
            for action in actions:
                if action == "KILL":
                    points += [Fault(kind, number, when) for when in ("before", "after")]
                elif kind not in SOCKET_KINDS:  # the network's errors are the simulator's business
                    points += [Fault(kind, number, "before", action, lasting) for lasting in (False, True)]
    return points


def sweep(points: Sequence[Fault | StraceKill], folder: Path, workers: int, *, keep: bool = False) -> Iterator[Result]:
    """Try every point, on as many benches at once as told."""
    todo: Queue[Fault | StraceKill] = Queue()
    for point in points:
        todo.put(point)
    results: Queue[Result | BaseException | None] = Queue()

    def work(number: int) -> None:
        own = folder / f"bench-{number}"
        own.mkdir(parents=True)
        try:
            with provider(own) as simulator:
                bench = Bench(own, simulator, keep=keep)
                with contextlib.suppress(Empty):
                    while True:
                        results.put(bench.try_point(todo.get_nowait()))
        except BaseException as error:  # noqa: BLE001  (handed to whoever reads the results)
            results.put(error)
        results.put(None)

    with ThreadPoolExecutor(workers) as router:
        for number in range(workers):
            router.submit(work, number)
        ended = 0
        while ended < workers:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                ended += 1
            else:
                yield result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.sweep", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--injector", choices=["own", "strace"], default="own")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of calls, with commas between")
    parser.add_argument("--actions", default="KILL", help="KILL or names of errnos, with commas between")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try only every N-th point")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep all output folders here")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sweep-") as temporary:
        folder = options.keep or Path(temporary)
        points = _choose(options, folder)
        say(f"{len(points)} points")
        totals: Counter[str] = Counter()
        for result in sweep(points, folder, options.workers, keep=options.keep is not None):
            totals.update(
                points=1,
                hit=result.hit,
                wrong=bool(result.wrong),
                resent=result.resent,
                kept=result.kept,
                never_arrived=result.never_arrived,
            )
            for words in result.wrong:
                say(f"  {result.point}: {words}")
    say(
        f"{totals['points']} points, {totals['hit']} of them hit, in {time.monotonic() - started:.0f} s: "
        f"{totals['wrong']} broke a promise. {totals['kept']} received answers were kept across the crash, "
        f"{totals['resent']} requests were sent again after an unknown outcome; {totals['never_arrived']} unknown "
        "attempts had never reached the provider whole"
    )
    return 1 if totals["wrong"] or not totals["hit"] else 0


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  (this is a program)


def _choose(options: argparse.Namespace, folder: Path) -> list[Fault | StraceKill]:
    counting = folder / "count"
    counting.mkdir(parents=True)
    with provider(counting) as simulator:
        bench = Bench(counting, simulator)
        points: Sequence[Fault | StraceKill]
        if options.injector == "strace":
            points = bench.traced()
        else:
            points = own_points(bench.counts(), options.kinds.split(","), options.actions.split(","))
    return list(points[:: options.every])


if __name__ == "__main__":
    sys.exit(main())
