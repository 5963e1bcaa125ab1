"""A root folder with Python, this package and nothing else, in a mount namespace of the test's own.

No /etc, /dev, /proc, /tmp and no time zones; everything but one folder is read-only. Its user has no entry, no HOME
and no locale.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import batch

_REPOSITORY = Path(batch.__file__).parents[1]
USER = 12345

_MOUNTS = """
set -e
root=$1; data=$2; shift 2
mount -t tmpfs none "$root"
for folder in $FOLDERS; do
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,ro,bind "$root$folder"
done
mkdir -p "$root/data"
mount --bind "$data" "$root/data"
mount -o remount,ro "$root"
exec "$@"
"""
_ENTER = """
import os, resource, sys
os.chroot(sys.argv[1]); os.chdir("/data")
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
os.setgroups([]); os.setgid(12345); os.setuid(12345)
inside = dict(word.split("=", 1) for word in os.environ["INSIDE"].split(";"))
os.execve(sys.executable, [sys.executable, *sys.argv[3:]], {"PYTHONDONTWRITEBYTECODE": "1", **inside})
"""


def why_impossible() -> str | None:
    """Why no such root can be made here; None if it can."""
    if not sys.platform.startswith("linux") or os.getuid() != 0 or shutil.which("unshare") is None:
        return "a bare root needs Linux, root and unshare"
    tried = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"],
        capture_output=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"no file system can be mounted here: {tried.stderr.decode().strip()}"


def run_in_bare_root(
    tmp_path: Path, words: Sequence[str], *, open_files: int = 64, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`imagebatch WORDS` in such a root, whose only folder that can be written is `tmp_path/data`."""
    data, root = tmp_path / "data", tmp_path / "root"
    for folder in (data, root):
        folder.mkdir(exist_ok=True)
    os.chown(data, USER, USER)
    wanted = ("/lib", "/lib64", "/usr/lib", sys.base_prefix, sys.prefix, str(_REPOSITORY), *sys.path)
    folders = dict.fromkeys(each for each in wanted if os.path.isabs(each) and os.path.isdir(each))
    paths = [str(_REPOSITORY), *(path for path in sys.path if Path(path).is_dir()), sysconfig.get_paths()["purelib"]]
    inside = {"PYTHONPATH": ":".join(paths), **environment}
    python = [sys.executable, "-P", "-c", _ENTER, str(root), str(open_files), "-P", "-m", "batch", *words]
    return subprocess.run(
        ["unshare", "-m", "--propagation", "private", "/bin/sh", "-c", _MOUNTS, "sh", str(root), str(data), *python],
        env={
            "PATH": os.environ["PATH"],
            "FOLDERS": " ".join(folders),
            "INSIDE": ";".join(f"{name}={value}" for name, value in inside.items()),
        },
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
