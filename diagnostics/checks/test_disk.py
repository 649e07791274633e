"""Disk."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from diagnostics.case import Disk, Environment, Evidence, Subject, Target, Unseen
from diagnostics.checks.wording import fact, size
from diagnostics.facts.clients import offline

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

WRITTEN_TO = ("cache", "temp")
CODES = {
    errno.ENOSPC: "full",
    getattr(errno, "EDQUOT", -1): "quota",  # not on Windows
    errno.EROFS: "read-only",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ENOTDIR: "denied",
}


def test_there_is_room_for_what_is_missing(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Is there room for the files that are still missing?"""
    for disk in _of(disks, "cache", "target"):
        needed, free = disk.needed_bytes, disk.free_bytes
        if isinstance(needed, int) and isinstance(free, int):
            subject = _subject(disk)
            seen = [fact(subject, "free for this user", size(free), f"at least {size(needed)} ({disk.needed_why})"), *_file_system(subject, disk)]
            seen += [
                fact(_subject(other), "free for this user", size(other.free_bytes))
                for other in disks
                if "elsewhere" in other.roles and isinstance(other.free_bytes, int)
            ]
            expect.that(free >= needed, "space", subject, *seen, step="disk")
    if not expect.examined:
        expect.skip("how much is missing, or free, is not known")


def test_the_cache_can_be_written(disks: tuple[Disk, ...], target: Target, environment: Environment, expect: Expect) -> None:
    """Can this user write to the cache?"""
    variable = offline(environment, target)
    if variable is not None:
        expect.skip(f"{variable.name} is set: nothing will be written")
        return
    for disk in _of(disks, "cache"):
        _judge_writing(disk, expect, "error")
    if not expect.examined:
        expect.skip("nothing has to be written for this target")


def test_temporary_files_can_be_written(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Can temporary files be written?"""
    for disk in _of(disks, "temp"):
        if "cache" not in disk.roles:  # one answer for both is the cache's
            _judge_writing(disk, expect, "warning")


def test_there_are_free_inodes(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Can new files be created, as far as the file system counts them?"""
    for disk in _of(disks, *WRITTEN_TO):
        if isinstance(disk.free_inodes, int) and disk.needed_bytes != 0:
            subject = _subject(disk)
            expect.that(
                disk.free_inodes > 0, "inodes", subject, fact(subject, "free inodes", disk.free_inodes, "some"), *_file_system(subject, disk), step="disk"
            )
    if not expect.examined:
        expect.skip("these file systems do not count inodes, or nothing is to be written")


def test_the_cache_can_hold_links(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Can the cache hold symbolic links, so that revisions share their files?"""
    for disk in _of(disks, "cache"):
        if isinstance(disk.symlinks, bool):
            subject = _subject(disk)
            expect.that(
                disk.symlinks, "links", subject, fact(subject, "a symbolic link", "refused"), *_file_system(subject, disk), severity="warning", step="disk"
            )
    if not expect.examined:
        expect.skip("nothing has to be written for this target")


def _of(disks: tuple[Disk, ...], *roles: str) -> list[Disk]:
    return [disk for disk in disks if set(roles) & set(disk.roles)]


def _subject(disk: Disk) -> Subject:
    return Subject(kind="folder", name=disk.path)


def _file_system(subject: Subject, disk: Disk) -> list[Evidence]:
    return [fact(subject, "file system", f"{disk.kind or 'unknown'} at {disk.mount}")] if disk.mount else []


def _judge_writing(disk: Disk, expect: Expect, severity: str) -> None:
    if isinstance(disk.writable, Unseen) and disk.writable.why != "timed_out":
        return
    subject = _subject(disk)
    if isinstance(disk.writable, Unseen):
        expect.that(False, "timed_out", subject, fact(subject, "waited for", disk.writable.detail, "an answer of the file system"), step="disk")
        return
    seen = [fact(subject, "writing 4 KiB", disk.message or "worked", "a file that is written, synced and removed"), *_file_system(subject, disk)]
    seen += [fact(Subject(kind="folder", name=disk.denied_at), "refuses", f"{disk.denied_mode} owner {disk.denied_owner}".strip())] if disk.denied_at else []
    expect.that(disk.writable is True, _code(disk), subject, *seen, severity="warning" if severity == "warning" else "error", step="disk")


def _code(disk: Disk) -> str:
    """By the errno of the write, never by its text."""
    return CODES.get(disk.write_errno, "error")
