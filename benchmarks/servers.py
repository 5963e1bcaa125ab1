"""Starts and ends the servers: nginx for the answers' sizes, the delay server for latency. Loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.answers import Answer

_HERE: Final = Path(__file__).parent
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """Read before and after a run. `peak_in_flight` is known to the delay server only."""

    requests: int
    peak_in_flight: int | None
    cpu_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server, by its address and the ids of its processes."""

    base_url: str
    pids: tuple[int, ...]

    def stats(self) -> ServerStats:
        with _DIRECT.open(f"{self.base_url}/stats", timeout=30) as response:
            text = response.read().decode()
        counts = json.loads(text) if text.startswith("{") else {"requests": _nginx_requests(text)}
        return ServerStats(
            requests=counts["requests"],
            peak_in_flight=counts.get("peak_in_flight"),
            cpu_seconds=sum(map(_cpu_seconds, self.pids)),
        )


@contextlib.contextmanager
def nginx(answers: list[Answer], prefix: Path) -> Iterator[dict[str, Server]]:
    """One nginx with a port per answer, by the answer's name. Every POST gets the whole static file."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("nginx is not installed")
    ports = _free_ports(len(answers))
    config = prefix / "nginx.conf"
    config.write_text(_nginx_config(answers, ports, prefix))
    argv = [program, "-p", str(prefix), "-c", str(config), "-e", str(prefix / "error.log")]
    with _process(argv, stdout=subprocess.DEVNULL) as process:
        for port in ports:
            _wait_for(port, process)
        pids = (process.pid, *_children(process.pid))
        yield {
            answer.kind.name: Server(base_url=f"http://127.0.0.1:{port}", pids=pids)
            for answer, port in zip(answers, ports, strict=True)
        }


@contextlib.contextmanager
def delay_server(answer: Answer, seconds: float) -> Iterator[Server]:
    """The delay server in a process of its own."""
    argv = [sys.executable, str(_HERE / "delay_server.py"), str(answer.file), str(seconds)]
    with _process(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield Server(base_url=f"http://127.0.0.1:{port}", pids=(process.pid,))


@contextlib.contextmanager
def simulator(config: Path) -> Iterator[str]:
    """The simulator in a process of its own, with the options of a file; its address."""
    (port,) = _free_ports(1)
    argv = [sys.executable, "-m", "batch", "simulate", "--port", str(port), "--config", str(config)]
    with _process(argv, stdout=subprocess.DEVNULL) as process:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"


def _nginx_config(answers: list[Answer], ports: list[int], prefix: Path) -> str:
    servers = "".join(
        f"""
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /stats {{ stub_status; }}
        location = /answer {{ internal; default_type application/json; alias "{answer.file.resolve()}"; }}
        location / {{ error_page 405 =200 /answer; return 405; }}
    }}"""
        for answer, port in zip(answers, ports, strict=True)
    )
    temporary = "".join(
        f'\n    {kind}_temp_path "{prefix}/{kind}";' for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 1;
pid "{prefix}/nginx.pid";
events {{ worker_connections 8192; }}
http {{{temporary}
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_max_body_size 32m;
    open_file_cache max=16;{servers}
}}
"""


@contextlib.contextmanager
def _process(argv: list[str], *, stdout: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(argv, stdout=stdout, stdin=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended at once with code {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def busy_seconds() -> float:
    """CPU seconds the whole machine has spent on anything since it started."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _iowait, irq, softirq = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + softirq) / _TICKS


def _children(pid: int) -> tuple[int, ...]:
    return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _nginx_requests(stub_status: str) -> int:
    return int(stub_status.splitlines()[2].split()[2])
