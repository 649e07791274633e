"""How many files this process may open and how many processes and threads it may start.

Sources: getrlimit(2), credentials(7); Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/pids.rst. What a download opens and starts:
huggingface_hub 2.4 ``_snapshot_download.py`` (8 workers, each with a connection, a file and its lock) and tqdm's monitor; hf_xet runs a thread a core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from diagnostics.case import ABSENT, Environment, Limits, Platform, ProcessLimit, Target, Unseen
from diagnostics.probes.control_groups import levels, number_in
from diagnostics.redact import plain

WORKERS = 8
FILES_A_WORKER = 3
FILES_OF_A_PYTHON = 16  # standard streams, a module being imported, /dev/urandom, the event loop; measured: transformers loads six shards with 8
MOST_PROCESSES = 100_000


def see_limits(target: Target, environment: Environment, downloads: bool, root: Path = Path("/")) -> Limits:
    """The ceilings over this process. ``downloads`` says whether anything is still to be fetched; ``root`` is where /proc and /sys are looked for."""
    soft, hard = _open_files()
    files, why = _files_needed(target, downloads)
    threads = 1 + (WORKERS + 1 if downloads else 0) + (os.cpu_count() or 1)
    return Limits(
        open_files=soft,
        open_files_hard=hard,
        open_files_needed=files,
        open_files_why=why,
        processes=tuple(replace(limit, used=_without_us(limit.used, root)) for limit in _process_limits(environment, root)),
        processes_needed=threads,
        processes_why=f"{f'{WORKERS} downloads at once, ' if downloads else ''}a process, and a thread a core to compute with",
        starts_threads=_starts_threads(),
    )


def _without_us(used: int | Unseen, root: Path) -> int | Unseen:
    """What would be in use if this run were not: its threads will be gone when the model loads."""
    try:
        own = len(os.listdir(root / "proc/self/task"))
    except OSError:
        own = 1
    return max(0, used - own) if isinstance(used, int) else used


def _files_needed(target: Target, downloads: bool) -> tuple[int, str]:
    if not downloads:
        return FILES_OF_A_PYTHON, "a Python that loads a model"
    xet = 2 * WORKERS if any(use.family == "hf_xet" for use in target.transports) else 0
    return FILES_OF_A_PYTHON + FILES_A_WORKER * WORKERS + xet, f"{WORKERS} downloads at once, each with its connection, file and lock"


def _open_files() -> tuple[int | Unseen, int | Unseen]:
    try:
        import resource  # not on Windows
    except ImportError:
        return Unseen("unsupported", "no such limit on this system"), Unseen("unsupported")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(value if value != resource.RLIM_INFINITY and value >= 0 else ABSENT for value in (soft, hard))  # type: ignore[return-value]


def _process_limits(environment: Environment, root: Path) -> Iterator[ProcessLimit]:
    yield from _of_user(environment, root)
    for level in levels(root, "pids"):
        if (limit := number_in(level.folder / "pids.max")) is not None:
            used = number_in(level.folder / "pids.current")
            yield ProcessLimit(source=plain(f"cgroup v{level.version} {level.name} pids.max"), limit=limit, used=used if used is not None else ABSENT)


def _of_user(environment: Environment, root: Path) -> Iterator[ProcessLimit]:
    """RLIMIT_NPROC, which root is not bound by (getrlimit(2): CAP_SYS_ADMIN or CAP_SYS_RESOURCE)."""
    try:
        import resource  # not on Windows

        soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    except (ImportError, AttributeError):
        return
    platform = environment.platform
    euid = platform.euid if isinstance(platform, Platform) and isinstance(platform.euid, int) else os.geteuid()
    if soft != resource.RLIM_INFINITY and soft >= 0 and euid != 0:
        yield ProcessLimit(source="RLIMIT_NPROC", limit=soft, used=_threads_of(euid, root))


def _threads_of(uid: int, root: Path) -> int | Unseen:
    """Threads of all processes of a user: what RLIMIT_NPROC counts."""
    try:
        names = [name for name in os.listdir(root / "proc") if name.isdigit()][:MOST_PROCESSES]
    except OSError:
        return ABSENT
    return sum(_threads_if_of(root / "proc" / name / "status", uid) for name in names)


def _threads_if_of(status: Path, uid: int) -> int:
    try:
        fields = dict(line.split(":", 1) for line in status.read_text("utf-8", "replace").splitlines() if ":" in line)
        return int(fields["Threads"]) if int(fields["Uid"].split()[0]) == uid else 0
    except (OSError, ValueError, KeyError, IndexError):  # it ended meanwhile
        return 0


def _starts_threads() -> bool:
    thread = threading.Thread(target=int, name="diagnose-thread", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # can't start new thread
        return False
    thread.join(1.0)
    return True
