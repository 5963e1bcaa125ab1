"""Runs one command and writes what it used: `python -I -S wait4.py USAGE.json COMMAND...`.

A process of its own, and a small one: on Linux a child's peak memory starts at that of the process it was
started from. CPU covers every process of the command's tree that was waited for; the peak is that of the
largest one.
"""

import json
import os
import subprocess
import sys
import time

if __name__ == "__main__":
    started = time.perf_counter()
    child = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    with open(sys.argv[1], "w", encoding="ascii") as file:
        json.dump(
            {
                "exit_code": child.returncode,
                "wall_seconds": wall,
                "user_seconds": usage.ru_utime,
                "system_seconds": usage.ru_stime,
                "peak_mb": usage.ru_maxrss * 1024 / 1e6,
            },
            file,
        )
