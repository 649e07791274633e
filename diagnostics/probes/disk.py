"""The file systems that take part: room, inodes, whether this user may write there, who says no.

Nothing is left behind: where the system has nameless files (open(2), O_TMPFILE) the write probe never has a name; elsewhere it is removed at once.
Sources: statvfs(3), proc(5) for mountinfo, huggingface_hub 2.4 ``file_download.py`` (``_download_to_tmp_and_move``: the temporary file lies beside the blob).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
from dataclasses import replace
from typing import NamedTuple

import psutil

from diagnostics import redact
from diagnostics.case import ABSENT, NOT_ASKED, Disk, Environment, Files, Listing, Target, Unseen
from diagnostics.probes.budget import together
from diagnostics.probes.cache import real, repository_folder
from diagnostics.probes.files import missing_bytes, owner_name
from diagnostics.probes.memory import unescaped

SECONDS = 5.0  # for one folder; a dead network file system answers nothing
PROBE_BYTES = 4096
MOST_MOUNTINFO = 1 << 20
# Errors that say that this kind of file cannot be had here, not that there is no room (open(2)).
NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS})
# Nothing is ever kept on these; the rest may be offered as a place with room.
NOT_FOR_KEEPING = frozenset(
    [
        "tmpfs",
        "ramfs",
        "devtmpfs",
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "devpts",
        "mqueue",
        "overlay",
        "squashfs",
        "iso9660",
        "securityfs",
        "debugfs",
        "tracefs",
        "bpf",
        "autofs",
        "fusectl",
        "configfs",
        "pstore",
        "hugetlbfs",
        "nsfs",
        "efivarfs",
        "vfat",
    ]
)


class Place(NamedTuple):
    """A folder that takes part, and what it must hold."""

    role: str  # "cache", "target", "temp"
    path: str
    needed: int | Unseen
    why: str
    write: bool
    also: tuple[str, ...] = ()  # folders in it that the client writes to as well


def see_disks(target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen) -> tuple[Disk, ...]:
    """One record a file system (and verdict); for a path that is not there yet, its first parent that is."""
    places = _places(target, environment, listing, files)
    seen = together({place.role: lambda place=place: _look(place) for place in places}, SECONDS)  # type: ignore[misc]
    disks = [seen.get(place.role) or _silent(place) for place in places]
    return (*_grouped(disks), *_with_room(disks))


def _places(target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen) -> tuple[Place, ...]:
    caches = {role: real(path) for role, path in environment.caches.items()}
    places = []
    if target.kind in ("directory", "file") and target.paths:
        places.append(Place("target", real(target.paths[0]), 0, "it is all here, only to be read", write=False))
    elif target.kind in ("url", "list"):
        places.append(_for_urls(target, caches, listing))
    elif "hub" in caches:
        needed = missing_bytes(listing, files) if target.kind == "hub" else NOT_ASKED
        why = "" if target.kind != "hub" else "the files still missing" if needed else "all files are here" if needed == 0 else ""
        places.append(Place("cache", caches["hub"], needed, why, write=needed != 0, also=_of_repository(target, environment)))
    if "temp" in caches:
        places.append(Place("temp", caches["temp"], NOT_ASKED, "", write=True))
    return tuple(places)


def _for_urls(target: Target, caches: dict[str, str], listing: Listing | Unseen) -> Place:
    """torch.hub's folder for its own downloads (torch/hub.py), else the folder a person is in, where nothing is written by us."""
    needed = missing_bytes(listing, Unseen("absent"))
    if target.client and target.client.family == "urllib" and "torch" in caches:
        return Place("cache", os.path.join(caches["torch"], "hub", "checkpoints"), needed, "the files to download", write=True)
    try:
        return Place("target", os.getcwd(), needed, "the files to download", write=False)
    except OSError:  # the working folder was removed
        return Place("target", "/", ABSENT, "", write=False)


def _of_repository(target: Target, environment: Environment) -> tuple[str, ...]:
    """The repository's own folders in the cache, where they are there: somebody else (sudo, another user) may have made them."""
    folder = repository_folder(target, environment)
    if not folder:
        return ()
    locks = os.path.join(os.path.dirname(folder), ".locks", os.path.basename(folder))
    return tuple(path for path in (folder, *(os.path.join(folder, name) for name in ("blobs", "snapshots", "refs")), locks) if os.path.isdir(path))


# --- one folder -------------------------------------------------------------------------------------------------------------


def _look(place: Place) -> Disk:
    folder, exists = _standing(place.path)
    mount, kind, options = mount_of(folder)
    disk = Disk(
        roles=(place.role,),
        path=redact.path(place.path),
        mount=redact.path(mount),
        kind=redact.plain(kind, 40),
        exists=exists,
        needed_bytes=place.needed,
        needed_why=place.why,
    )
    disk = _with_figures(disk, folder, options)
    return _with_probe(disk, (folder, *place.also)) if place.write else disk


def _silent(place: Place) -> Disk:
    silent = Unseen("timed_out", f"{redact.path(place.path)} did not answer within {SECONDS:.0f} s")
    return Disk(roles=(place.role,), path=redact.path(place.path), writable=silent, needed_bytes=place.needed, needed_why=place.why, message=silent.detail)


def _standing(path: str) -> tuple[str, bool]:
    """The folder itself or its first parent that is there, and whether it is the folder itself. One that may not be entered counts as there."""
    current = os.path.abspath(path)
    while True:
        try:
            os.stat(current)
            return current, current == os.path.abspath(path)
        except PermissionError:
            pass  # a parent refuses: go up to it
        except (OSError, ValueError):
            pass
        parent = os.path.dirname(current)
        if parent == current:
            return current, False
        current = parent


def mount_of(folder: str, mountinfo: str = "/proc/self/mountinfo") -> tuple[str, str, frozenset[str]]:
    """(mount point, type, options) of the file system that holds ``folder``; ("", "", none) where that cannot be found."""
    if sys.platform != "linux":
        return _mount_by_psutil(folder)
    path, best = os.path.realpath(folder), ("", "", frozenset[str]())
    for mounted, kind, options in _mounts(mountinfo):
        if (path == mounted or path.startswith(mounted.rstrip("/") + "/")) and len(mounted) >= len(best[0]):
            best = (mounted, kind, options)  # of two on one point the later covers the earlier
    return best


def _mounts(mountinfo: str = "/proc/self/mountinfo") -> list[tuple[str, str, frozenset[str]]]:
    """(mount point, type, options) of every mount (proc(5))."""
    try:
        with open(mountinfo, "rb") as file:
            text = file.read(MOST_MOUNTINFO).decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if separator and len(fields) >= 6 and len(kinds) >= 3:
            found.append((unescaped(fields[4]), kinds[0], frozenset(fields[5].split(",")) | frozenset(kinds[2].split(","))))
    return found


def _mount_by_psutil(folder: str) -> tuple[str, str, frozenset[str]]:
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return "", "", frozenset()
    fitting = [item for item in partitions if os.path.realpath(folder).startswith(item.mountpoint)]
    best = max(fitting, key=lambda item: len(item.mountpoint), default=None)
    return (best.mountpoint, best.fstype, frozenset(best.opts.split(","))) if best else ("", "", frozenset())


def _with_figures(disk: Disk, folder: str, options: frozenset[str]) -> Disk:
    """Sizes and inodes, as this user may have them (f_bavail, f_favail)."""
    if not hasattr(os, "statvfs"):
        return _with_usage(disk, folder, options)
    try:
        figures = os.statvfs(folder)
    except OSError as error:
        return replace(disk, message=f"its size cannot be asked: {os.strerror(error.errno or errno.EIO)}")
    inodes = figures.f_favail if figures.f_files else Unseen("unsupported", "this file system does not count inodes")
    return replace(
        disk,
        total_bytes=figures.f_blocks * figures.f_frsize,
        free_bytes=figures.f_bavail * figures.f_frsize,
        free_inodes=inodes,
        read_only=bool(figures.f_flag & os.ST_RDONLY) or "ro" in options,
    )


def _with_usage(disk: Disk, folder: str, options: frozenset[str]) -> Disk:
    """Windows."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return replace(disk, message=f"its size cannot be asked: {redact.plain(error.strerror or 'unknown reason')}")
    return replace(disk, total_bytes=usage.total, free_bytes=usage.free, read_only="ro" in options)


# --- writing ----------------------------------------------------------------------------------------------------------------


def _with_probe(disk: Disk, folders: tuple[str, ...]) -> Disk:
    folder, number = next(((folder, number) for folder in folders if (number := write_probe(folder))), (folders[0], 0))
    if number == 0:
        return replace(disk, writable=True, symlinks=_links(folder))
    disk = replace(disk, writable=False, write_errno=number, message=os.strerror(number))
    return _with_denier(disk, folder) if number in (errno.EACCES, errno.EPERM, errno.ENOTDIR) else disk


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
        with contextlib.suppress(OSError):  # EDQUOT and ENOSPC may come as late as here (NFS)
            os.close(descriptor)
        if name:
            with contextlib.suppress(OSError):
                os.unlink(name)
    return 0


def _probe_file(folder: str) -> tuple[int, str]:
    """A new file and its name; "" for one that never has a name."""
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600), ""
        except OSError as error:
            if error.errno not in NO_NAMELESS_FILES:
                raise
    name = os.path.join(folder, f".diagnose-{secrets.token_hex(8)}.tmp")
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
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


def _with_denier(disk: Disk, folder: str) -> Disk:
    """The folder on the way down that refuses, its owner and mode."""
    refuses = next((parent for parent in _way_down(folder) if not _may(parent, os.X_OK)), folder)
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


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


# --- grouping ---------------------------------------------------------------------------------------------------------------


def _grouped(disks: list[Disk]) -> tuple[Disk, ...]:
    """One record for roles that share a file system and get the same answer there."""
    groups: dict[tuple[object, ...], Disk] = {}
    for disk in disks:
        key = (disk.mount or disk.path, disk.writable is False, disk.write_errno, isinstance(disk.writable, Unseen) and disk.writable.why == "timed_out")
        first = groups.get(key)
        groups[key] = (
            disk
            if first is None
            else replace(first, roles=(*first.roles, *disk.roles), writable=first.writable if first.writable is not NOT_ASKED else disk.writable)
        )
    return tuple(groups.values())


def _with_room(disks: list[Disk]) -> tuple[Disk, ...]:
    """Where the cache's file system lacks the room: up to three others here that have it and that this user may write to (role "elsewhere")."""
    short = next(
        (disk for disk in disks if isinstance(disk.needed_bytes, int) and isinstance(disk.free_bytes, int) and disk.needed_bytes > disk.free_bytes), None
    )
    if short is None or sys.platform != "linux":
        return ()
    known = {disk.mount for disk in disks}
    candidates = {mounted: kind for mounted, kind, options in _mounts() if kind not in NOT_FOR_KEEPING and not kind.startswith("fuse.") and "ro" not in options}
    local = {
        mounted: kind
        for mounted, kind in candidates.items()
        if not kind.startswith(("nfs", "cifs", "smb", "lustre", "gpfs", "ceph", "9p")) and mounted not in known
    }
    found = [_roomy(mounted, kind) for mounted, kind in local.items() if _may(mounted, os.W_OK | os.X_OK)]
    fitting = [disk for disk in found if isinstance(disk.free_bytes, int) and disk.free_bytes > int(short.needed_bytes or 0)]
    return tuple(sorted(fitting, key=lambda disk: -int(disk.free_bytes or 0))[:3])


def _roomy(mounted: str, kind: str) -> Disk:
    return _with_figures(Disk(roles=("elsewhere",), path=redact.path(mounted), mount=redact.path(mounted), kind=redact.plain(kind, 40)), mounted, frozenset())
