"""What a folder lets this user do: write, link, lock, map. With one short file that is gone again at once.

Where the system has nameless files (open(2), O_TMPFILE) the file never has a name; elsewhere it is removed at once.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import secrets
import stat
import time
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import Disk, Unseen
from diagnostics.probes.files import owner_name

PROBE_BYTES = 4096
RATE_SECONDS, RATE_BYTES, RATE_STEP = 0.4, 32 << 20, 128 << 10
LEAST_SHARE = 20  # of what a step took, the part that is the bytes' own at least
# Errors that say that this kind of file cannot be had here, not that there is no room (open(2)).
NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})
# flock(2) says EWOULDBLOCK only for a lock that somebody holds; nobody holds one of a file that has just been made.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO, errno.EBADF, errno.EPERM, errno.EACCES})
NO_MAPPING = frozenset({errno.ENODEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
DENIALS = frozenset({errno.EACCES, errno.EPERM, errno.ENOTDIR})


def probed(disk: Disk, folders: tuple[str, ...]) -> Disk:
    """``disk`` with what the first of ``folders`` allows, or the first refusal of any of them."""
    for folder in folders:
        if number := write_probe(folder):
            disk = replace(disk, writable=False, write_errno=number, message=os.strerror(number))
            return with_denier(disk, folder) if number in DENIALS else disk
    return replace(_with_abilities(disk, folders[0]), writable=True, symlinks=_links(folders[0]))


def write_probe(folder: str) -> int:
    """Write 4 KiB, sync and remove it; 0, or the errno of what failed."""
    try:
        descriptor, name = _probe_file(folder)
    except OSError as error:
        return error.errno or errno.EIO
    try:
        os.write(descriptor, b"\0" * PROBE_BYTES)
        os.fsync(descriptor)
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        _away(descriptor, name)
    return 0


def write_rate(folder: str) -> float | Unseen:
    """Bytes a second that reach the disk: a nameless or short-lived file, written in steps that are each synced, for RATE_SECONDS or RATE_BYTES at most.

    The bytes are random, so that a file system that compresses has to write them. What a sync alone takes (30 ms on a disk that turns, or over a network) is
    measured by one of next to nothing and taken off each step: a download syncs once a file.
    """
    step, written, seconds = os.urandom(RATE_STEP), 0, 0.0
    try:
        descriptor, name = _probe_file(folder)
    except OSError as error:
        return Unseen("not_reached", os.strerror(error.errno or errno.EIO))
    try:
        _synced(descriptor, step[:1])  # the first makes the file
        waiting, started = _synced(descriptor, step[:1]), time.monotonic()
        while written < RATE_BYTES and (time.monotonic() - started < RATE_SECONDS or not written):
            took = _synced(descriptor, step)
            written, seconds = written + len(step), seconds + max(took - waiting, took / LEAST_SHARE)
            if written >= len(step) * 4 and len(step) < RATE_BYTES // 8:
                step += step
    except OSError as error:
        return Unseen("not_reached", os.strerror(error.errno or errno.EIO))
    finally:
        _away(descriptor, name)
    return written / max(1e-6, seconds)


def _synced(descriptor: int, data: bytes) -> float:
    """Seconds until ``data`` is on the disk."""
    started = time.monotonic()
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)
    return time.monotonic() - started


def _away(descriptor: int, name: str) -> None:
    with contextlib.suppress(OSError):  # EDQUOT and ENOSPC may come as late as here (NFS)
        os.close(descriptor)
    if name:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _probe_file(folder: str, nameless: bool = True) -> tuple[int, str]:
    """A new file, open for reading and writing, and its name; "" for one that never has a name."""
    if nameless and hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), ""
        except OSError as error:
            if error.errno not in NO_NAMELESS_FILES:
                raise
    name = os.path.join(folder, f".diagnose-{secrets.token_hex(8)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.open(name, flags, 0o600), name


def _links(folder: str) -> bool | Unseen:
    """Whether a symbolic link can be made; the hub's client asks the same (``are_symlinks_supported``)."""
    name = os.path.join(folder, f".diagnose-{secrets.token_hex(8)}.lnk")
    try:
        os.symlink("nowhere", name)
    except (OSError, NotImplementedError) as error:
        number = error.errno if isinstance(error, OSError) else errno.ENOSYS
        return Unseen("not_reached", os.strerror(number)) if number in (errno.ENOSPC, errno.EDQUOT) else False
    with contextlib.suppress(OSError):
        os.unlink(name)
    return True


def _with_abilities(disk: Disk, folder: str) -> Disk:
    """Whether a file there can be locked and mapped."""
    try:
        descriptor, name = _probe_file(folder)
    except OSError:
        return disk
    try:
        os.write(descriptor, b"\0" * PROBE_BYTES)
        locks, number = _lock(descriptor)
        return replace(disk, locks=locks, lock_errno=number, mappable=maps(descriptor))
    except OSError:
        return disk
    finally:
        _away(descriptor, name)


def _lock(descriptor: int) -> tuple[bool | Unseen, int]:
    """flock(2), as filelock takes it (filelock ``_unix.py`` lock_fd_nonblocking)."""
    try:
        import fcntl  # not on Windows
    except ImportError:
        return Unseen("unsupported", "this system has other locks"), 0
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        number = error.errno or errno.EIO
        return (False, number) if number in NO_LOCKS else (Unseen("not_reached", os.strerror(number)), number)
    return True, 0


def maps(descriptor: int) -> bool | Unseen:
    """Whether the file can be mapped for reading, as safetensors does (memmap2: PROT_READ, MAP_SHARED). No byte of it is touched."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        return Unseen("unsupported", "it is no regular file")
    try:
        mmap.mmap(descriptor, PROBE_BYTES, access=mmap.ACCESS_READ).close()
    except ValueError:  # shorter than what is mapped
        return Unseen("not_reached", "it is too short to be tried")
    except OSError as error:
        return False if error.errno in NO_MAPPING else Unseen("not_reached", os.strerror(error.errno or errno.EIO))
    return True


# --- who refuses ------------------------------------------------------------------------------------------------------------


def with_denier(disk: Disk, folder: str) -> Disk:
    """The folder on the way down that refuses, its owner and mode."""
    refuses = next((parent for parent in _way_down(folder) if not may(parent, os.X_OK)), folder)
    try:
        status = os.stat(refuses)
    except OSError:
        return replace(disk, denied_at=redact.path(refuses))
    return replace(disk, denied_at=redact.path(refuses), denied_owner=owner_name(status.st_uid), denied_mode=stat.filemode(status.st_mode))


def _way_down(folder: str) -> list[str]:
    path, way = os.path.abspath(folder), []
    while path != os.path.dirname(path):
        way.append(path)
        path = os.path.dirname(path)
    return way[::-1]


def may(path: str, mode: int) -> bool:
    """Whether the effective user may; access(2) asks for the real one otherwise."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
