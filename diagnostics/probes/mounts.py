"""Which file system holds a folder, and what kind it is (proc(5) for mountinfo; statvfs(3))."""

from __future__ import annotations

import os
import re
import sys
from typing import NamedTuple

import psutil

MOST_MOUNTINFO = 1 << 20
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
        "binfmt_misc",
        "rpc_pipefs",
        "erofs",
    ]
)
# Served by another machine (statfs(2) magic numbers; the kernel's names of the clients).
REMOTE = (
    "nfs",
    "cifs",
    "smb",
    "lustre",
    "gpfs",
    "ceph",
    "9p",
    "afs",
    "beegfs",
    "glusterfs",
    "orangefs",
    "pvfs2",
    "virtiofs",
    "ocfs2",
    "gfs2",
    "wekafs",
    "panfs",
)
REMOTE_FUSE = ("sshfs", "s3fs", "gcsfuse", "goofys", "rclone", "glusterfs", "blobfuse", "juicefs", "mountpoint-s3", "alluxio", "davfs", "moosefs")
FAT = frozenset({"vfat", "msdos", "fat", "fat32", "umsdos"})
FAT_LIMIT = (1 << 32) - 1  # bytes of one file (Microsoft FAT32 specification 1.03)


class Mount(NamedTuple):
    """One line of mountinfo."""

    point: str
    kind: str
    options: frozenset[str]
    device: str = ""


NOWHERE = Mount("", "", frozenset())


def mount_of(folder: str, mountinfo: str = "/proc/self/mountinfo") -> Mount:
    """The file system that holds ``folder``; ``NOWHERE`` where that cannot be found."""
    if sys.platform != "linux":
        return _mount_by_psutil(folder)
    path, best = os.path.realpath(folder), NOWHERE
    for mount in mounts(mountinfo):
        if (path == mount.point or path.startswith(mount.point.rstrip("/") + "/")) and len(mount.point) >= len(best.point):
            best = mount  # of two on one point the later covers the earlier
    return best


def mounts(mountinfo: str = "/proc/self/mountinfo") -> list[Mount]:
    """Every mount that this process sees, in order."""
    try:
        with open(mountinfo, "rb") as file:
            text = file.read(MOST_MOUNTINFO).decode("utf-8", "replace")
    except OSError:
        return []
    return [mount for line in text.splitlines() if (mount := _parsed(line))]


def _parsed(line: str) -> Mount | None:
    before, separator, after = line.partition(" - ")
    fields, kinds = before.split(" "), after.split(" ")
    if not separator or len(fields) < 6 or len(kinds) < 3:
        return None
    return Mount(unescaped(fields[4]), kinds[0], frozenset(fields[5].split(",")) | frozenset(kinds[2].split(",")), unescaped(kinds[1]))


def unescaped(field: str) -> str:
    """A path of mountinfo: blanks and the like stand there as octal escapes (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _mount_by_psutil(folder: str) -> Mount:
    """macOS and Windows."""
    try:
        partitions = psutil.disk_partitions(all=True)
    except OSError:
        return NOWHERE
    path = os.path.normcase(os.path.realpath(folder))
    fitting = [item for item in partitions if path.startswith(os.path.normcase(item.mountpoint))]
    best = max(fitting, key=lambda item: len(item.mountpoint), default=None)
    return Mount(best.mountpoint, best.fstype, frozenset(best.opts.split(",")), best.device) if best else NOWHERE


def is_remote(kind: str) -> bool:
    """Whether another machine serves it."""
    if kind.startswith("fuse."):
        return kind.removeprefix("fuse.").startswith(REMOTE_FUSE)
    return kind.startswith(REMOTE)


def refuses_code(mount: Mount) -> bool:
    """Whether compiled code cannot be mapped from there (mount(8), noexec)."""
    return "noexec" in mount.options
