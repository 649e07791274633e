"""What the hub's cache keeps beside the files: locks that somebody holds, and what it remembers that is no longer so.

Sources: huggingface_hub 2.4 ``file_download.py`` (``.locks/<repository>/<etag>.lock``, ``.no_exist``), ``utils/_fixes.py`` (WeakFileLock: flock(2), and where that
is missing a SoftFileLock, whose mere existence locks); filelock 4.2 ``_soft.py`` (it holds "pid\\nhost"); proc(5) for locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import time

from diagnostics import redact
from diagnostics.case import ABSENT, CacheState, Disk, Environment, Files, Listing, Lock, RemoteFile, Stale, Target, Unseen
from diagnostics.probes import cache

MOST_LOCKS = 200
MOST_STALE = 20
_PROC_LOCK = re.compile(r"\d+: FLOCK +\S+ +(?:WRITE|READ) +(?P<pid>-?\d+) [0-9a-f]+:[0-9a-f]+:(?P<inode>\d+)")


def see_cache_state(
    target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen, disks: tuple[Disk, ...] | Unseen = ABSENT
) -> CacheState | Unseen:
    """Locks on the files that are still to come, and stale memories, of the target's repository in the cache."""
    folder = cache.repository_folder(target, environment) if target.kind == "hub" else ""
    if not folder:
        return Unseen("absent", "no repository in a cache")
    soft = any("cache" in disk.roles and disk.locks is False for disk in disks or ())
    return CacheState(path=redact.path(folder), locks=tuple(_locks(folder, _due(listing, files), soft)), stale=tuple(_stale(target, folder, listing)))


def _due(listing: Listing | Unseen, files: Files | Unseen) -> dict[str, str] | None:
    """Etag → path of the files that are not here: only their locks stand in the way. None where nobody knows which those are."""
    if not isinstance(listing, Listing):
        complete = isinstance(files, Files) and files.exists and not files.missing
        return {} if complete else None
    here = {seen.path for seen in files.files if isinstance(seen.bytes, int)} if isinstance(files, Files) else set()
    return {etag: file.path for file in listing.files if file.path not in here for etag in _etags(file)}


def _etags(file: RemoteFile) -> list[str]:
    return [etag for etag in (file.sha256, file.git_sha1) if isinstance(etag, str)]


# --- locks ------------------------------------------------------------------------------------------------------------------


def _locks(folder: str, due: dict[str, str] | None, soft: bool) -> list[Lock]:
    place = os.path.join(os.path.dirname(folder), ".locks", os.path.basename(folder))
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith(".lock"))
    except OSError:
        return []
    wanted = [name for name in names if due is None or name.removesuffix(".lock") in due]
    found = (_held(folder, os.path.join(place, name), (due or {}).get(name.removesuffix(".lock"), ""), soft) for name in wanted[:MOST_LOCKS])
    return [lock for lock in found if lock]


def _held(folder: str, path: str, file: str, soft: bool) -> Lock | None:
    """The lock, if somebody holds it."""
    held, pid = _flock_held(path)
    kind, elsewhere = "flock", False
    if not held and soft:
        held, kind, (pid, elsewhere) = True, "soft", _soft_owner(path)
    if not held:
        return None
    return Lock(
        path=redact.path(path),
        file=redact.plain(file, 200),
        kind=kind,  # type: ignore[arg-type]
        pid=pid,
        command="" if elsewhere else _command(pid),
        alive=ABSENT if elsewhere else _alive(pid) if kind == "soft" else True,
        elsewhere=elsewhere,
        idle_seconds=_idle_seconds(folder, os.path.basename(path).removesuffix(".lock")),
    )


def _flock_held(path: str) -> tuple[bool, int | Unseen]:
    """Whether somebody holds it, and who. It is tried for an instant with a shared lock, which no download waits longer for than its own next try."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return False, ABSENT
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False, ABSENT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN), _owner_of(os.fstat(descriptor).st_ino)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return False, ABSENT


def _owner_of(inode: int) -> int | Unseen:
    """The process that /proc/locks names for a file; it names none of another PID namespace, nor of another machine."""
    text = cache.read_proc("/proc/locks")
    found = (int(match["pid"]) for match in _PROC_LOCK.finditer(text) if int(match["inode"]) == inode and int(match["pid"]) > 0)
    return next(found, Unseen("absent", "not a process that is seen from here: another container or machine"))


def _soft_owner(path: str) -> tuple[int | Unseen, bool]:
    """(process, whether it is one of another machine or PID namespace), as filelock writes it (4.2 ``_identity.py`` host_name)."""
    lines = cache.read_small(path, 400).decode("utf-8", "replace").split()
    pid = int(lines[0]) if lines and re.fullmatch(r"\d{1,10}", lines[0]) else ABSENT
    host, _, namespace = (lines[1] if len(lines) > 1 else "").partition("?pidns-")
    return pid, bool(host) and (host != socket.gethostname() or (bool(namespace) and namespace != _own_namespace()))


def _own_namespace() -> str:
    try:
        return f"{os.stat('/proc/self/ns/pid').st_ino:x}"
    except OSError:
        return ""


def _alive(pid: int | Unseen) -> bool | Unseen:
    if not isinstance(pid, int):
        return ABSENT
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # EPERM: it is somebody's
        return True
    return True


def _command(pid: int | Unseen) -> str:
    return redact.plain(cache.read_proc(f"/proc/{pid}/comm").strip(), 40) if isinstance(pid, int) else ""


def _idle_seconds(folder: str, etag: str) -> float | Unseen:
    """Seconds since the partial download of this blob was last written to."""
    ages = []
    for path, _ in cache.unfinished_blobs(folder):
        if os.path.basename(path).startswith(etag + "."):
            with contextlib.suppress(OSError):
                ages.append(max(0.0, time.time() - os.stat(path).st_mtime))
    return min(ages) if ages else ABSENT


# --- stale memories -----------------------------------------------------------------------------------------------------------


def _stale(target: Target, folder: str, listing: Listing | Unseen) -> list[Stale]:
    return [*_stale_ref(target, folder, listing), *_stale_absences(folder, listing)]


def _stale_ref(target: Target, folder: str, listing: Listing | Unseen) -> list[Stale]:
    """refs/<revision> names a commit of which no snapshot is here, though one of another commit is."""
    if isinstance(listing, Listing) and listing.source == "hub":
        return []  # the client asks the hub, too, and writes the ref anew
    commit = cache.commit_of(folder, target.revision, ABSENT)
    snapshots = os.path.join(folder, "snapshots")
    if not commit or commit == target.revision or os.path.isdir(os.path.join(snapshots, commit)):
        return []
    try:
        others = sorted(name for name in os.listdir(snapshots) if re.fullmatch(r"[0-9a-f]{40}", name) and os.listdir(os.path.join(snapshots, name)))
    except OSError:
        others = []
    path = os.path.join(folder, "refs", target.revision)
    return (
        [Stale(path=redact.path(path), code="ref", detail=f"it names the commit {commit}; the snapshots here are of {', '.join(others[:3])}")] if others else []
    )


def _stale_absences(folder: str, listing: Listing | Unseen) -> list[Stale]:
    """``.no_exist/<commit>/<path>`` of a file that the hub has at this very commit: the client will not ask for it again."""
    if not isinstance(listing, Listing) or listing.source != "hub" or not listing.commit:
        return []
    there = {file.path for file in listing.files}
    marked = sorted(cache.known_missing(folder, listing.commit) & there)
    base = os.path.join(folder, ".no_exist", listing.commit)
    return [
        Stale(path=redact.path(os.path.join(base, path)), code="no-exist", detail=f"the hub has {redact.plain(path, 200)} at this commit")
        for path in marked[:MOST_STALE]
    ]
