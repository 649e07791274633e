"""What may be removed: a partial download or a lock whose owner is provably gone. On this host, long untouched, on a file system of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import time

from diagnostics.probes.cache import read_small
from diagnostics.probes.mounts import is_remote, mount_of

YOUNG_SECONDS = 600.0
MOST_PROCESSES = 5000


def why_not_dead(path: str, now: float | None = None) -> str:
    """Why this partial download may still be somebody's; "" where it is nobody's any more. To be asked while its blob's lock is held."""
    if is_remote(mount_of(os.path.dirname(path)).kind):
        return "it lies on a network file system, where another machine may be writing"
    age = (time.time() if now is None else now) - os.lstat(path).st_mtime
    if age < YOUNG_SECONDS:
        return f"it was written {max(0, int(age))} seconds ago"
    owner = who_has_open(path)
    return f"process {owner} has it open" if owner else ""


def who_has_open(path: str) -> int:
    """A process that has the file open, as far as this user may see (proc(5)); 0 for none."""
    wanted = os.path.realpath(path)
    for pid in _processes():
        folder = f"/proc/{pid}/fd"
        with contextlib.suppress(OSError):
            for name in os.listdir(folder):
                with contextlib.suppress(OSError):
                    if os.readlink(f"{folder}/{name}") == wanted:
                        return pid
    return 0


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()][:MOST_PROCESSES]
    except OSError:
        return []


def why_lock_lives(path: str, now: float | None = None) -> str:
    """Why a soft lock (filelock ``_soft.py``: "pid\\nhost\\n") may still be held; "" where its process is gone."""
    if is_remote(mount_of(os.path.dirname(path)).kind):
        return "it lies on a network file system"
    lines = read_small(path, 400).decode("utf-8", "replace").split()
    if len(lines) < 2 or not re.fullmatch(r"\d{1,9}", lines[0]):
        return "it does not say whose it is"
    if lines[1] != socket.gethostname():
        return "it is of another host"
    if (time.time() if now is None else now) - os.lstat(path).st_mtime < YOUNG_SECONDS:
        return "it is only minutes old"
    return "" if _is_gone(int(lines[0])) else f"process {lines[0]} is alive"


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def remove_lock(path: str) -> None:
    """Taken aside first: where somebody made a new one in this very moment, it is put back. Raises OSError."""
    judged = os.lstat(path)
    aside = f"{path}.{secrets.token_hex(8)}"
    os.rename(path, aside)
    taken = os.lstat(aside)
    if (taken.st_ino, taken.st_mtime_ns) != (judged.st_ino, judged.st_mtime_ns):
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    os.unlink(aside)
