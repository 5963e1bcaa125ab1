"""Whole runs through a limiter nobody here wrote: nginx's `limit_req` in front of the simulator, over real sockets.

nginx counts in a leaky bucket, so it takes requests evenly spaced, or as many at once as its `burst`. A quota per
minute that may be used at any time within it is `rate=<n>r/m` with `burst=<n> nodelay`; without `burst` nginx refuses
whatever comes sooner than 1/rate after the last. Both are tried. Ours runs on a clock ten times as fast as nginx's.

`QUOTA_LONG=1 pytest tests/end_to_end/test_nginx.py -s` is the long form.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.bench import Bench

LONG = bool(os.environ.get("QUOTA_LONG"))
SPEED = 10
PER_SECOND = 20
PER_MINUTE = PER_SECOND * 60 // SPEED
#: Two minutes of our clock, after which a limit is to be found.
FOUND_AFTER_SECONDS = 120 / SPEED

pytestmark = [
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx"),
    pytest.mark.timeout(300),
]


def answers_in(seconds: float) -> pytest.MarkDecorator:
    """A provider that takes so long for a picture."""
    options = {"pictures": "plain", "latency_seconds": seconds}
    return pytest.mark.parametrize("bench", [options], indirect=True, ids=[""])


class FastClock:
    """The event loop's clock, so many times as fast."""

    def __init__(self, speed: int) -> None:
        self._speed = speed

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() * self._speed

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(folder: Path, upstream: str, limit: str, per_second: int) -> Iterator[str]:
    """nginx before `upstream` with `limit_req zone=all <limit>`; its address."""
    port, home = free_port(), folder / "nginx"
    home.mkdir()
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"""daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  log_format times '$msec $status'; access_log {home}/access.log times; {temporary}
  limit_req_zone $binary_remote_addr zone=all:1m rate={per_second}r/s;
  limit_req_status 429;
  server {{
    listen 127.0.0.1:{port}; client_max_body_size 100m;
    location / {{
      limit_req zone=all {limit};
      proxy_pass {upstream}; proxy_next_upstream off; proxy_buffering off;
    }}
  }}
}}
""",
        "utf-8",
    )
    words = ["nginx", "-e", f"{home}/error.log", "-p", str(home), "-c", f"{home}/nginx.conf"]
    process = subprocess.Popen(words)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.skip("nginx does not start here")


@dataclass(frozen=True)
class Found:
    """What came of a run: it took `seconds` of nginx's clock, and had `rate` of what is allowed from its first picture
    to its last, `share` from the third minute on."""

    summary: Any
    refused: int
    seconds: float
    share: float
    rate: float


async def run_through(
    bench: Bench, limit: str, jobs: int, *, per_second: int = PER_SECOND, speed: int = SPEED, **limits: Any
) -> Found:
    """Run so many jobs through an nginx with that limit."""
    bench.options["clock"] = FastClock(speed)
    loop = asyncio.get_running_loop()
    with nginx(bench.path, bench.simulator.base_url, limit, per_second) as address:
        provider = {"profile": "anyfast", "base_url": address}
        began = loop.time()
        summary = await bench.run(jobs, provider=provider, limits={"concurrency": 32, **limits})
        seconds = loop.time() - began
    lines = [line.split() for line in (bench.path / "nginx/access.log").read_text().splitlines()]
    served = sorted(float(at) for at, status in lines if status == "200")
    late = [at for at in served if at > served[0] + FOUND_AFTER_SECONDS]
    share = (len(late) - 1) / (late[-1] - late[0]) / per_second if len(late) > 1 else 0.0
    rate = (len(served) - 1) / (served[-1] - served[0]) / per_second if len(served) > 1 else 0.0
    found = Found(summary, sum(status == "429" for _, status in lines), seconds, share, rate)
    words = f"{jobs} jobs at {per_second} a second, {limit or 'no burst'}: {seconds:.1f} s, {found.refused} refused"
    print(f"\n{words}; {rate:.3f}, after two minutes {share:.3f} of the rate")  # noqa: T201
    return found


@answers_in(0.3)
async def test_a_true_limit_is_spaced_for_a_limiter_that_wants_it(bench: Bench) -> None:
    """`rate=10r/s burst=5 nodelay`, told 600 a minute, 16 in flight, in real time: 0.97 of the rate and at most one is
    refused."""
    jobs, per_second = 300 if LONG else 100, 10
    limit = "burst=5 nodelay"
    limits = {"concurrency": 16, "requests_per_minute": 60 * per_second}
    found = await run_through(bench, limit, jobs, per_second=per_second, speed=1, **limits)
    assert (found.summary.done, found.summary.exit) == (jobs, 0)
    assert found.refused <= 1
    assert found.rate >= 0.97


@answers_in(0.05)
async def test_a_true_limit_uses_the_whole_rate_and_is_never_refused(bench: Bench) -> None:
    """At least 0.95 of what nginx allows goes through, and not one request is refused."""
    jobs = 1_200 if LONG else 240
    limit = f"burst={PER_MINUTE} nodelay"
    found = await run_through(bench, limit, jobs, requests_per_minute=PER_MINUTE)
    assert (found.summary.done, found.summary.exit) == (jobs, 0)
    assert found.refused == 0
    if LONG:  # a short run is over before the rate can be told from the burst
        assert found.share >= 0.95


@answers_in(0.05)
@pytest.mark.skipif(not LONG, reason="takes minutes; QUOTA_LONG=1")
@pytest.mark.parametrize(
    ("limit", "per_second", "share"),
    [("burst=5 nodelay", PER_SECOND, 0.95), ("", PER_SECOND, 0.65), ("", 5, 0.9)],
    ids=["burst", "no burst", "no burst, slower"],
)
async def test_an_unknown_limit_is_found(bench: Bench, limit: str, per_second: int, share: float) -> None:
    """Nothing is said of limits: after two minutes most of the rate is used, with few refusals.

    Without a burst whatever comes a moment early is refused. At 20 a second a few milliseconds of this machine's jitter
    are a tenth of the distance between two requests; at 5 a second, as in real life, they hardly count.
    """
    jobs = 80 * per_second
    found = await run_through(bench, limit, jobs, per_second=per_second)
    assert (found.summary.done, found.summary.exit) == (jobs, 0)
    assert found.refused < 0.05 * jobs
    assert found.share >= share
