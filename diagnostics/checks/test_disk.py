"""Disk."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from diagnostics.case import Disk, Environment, Evidence, Subject, Target, Unseen
from diagnostics.checks.wording import duration, fact, size
from diagnostics.facts.clients import offline

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

WRITTEN_TO = ("cache", "temp")
PRACTICAL_SECONDS = 3600.0
INODES_A_FILE = 2  # the blob and the link to it
CODES = {
    errno.ENOSPC: "full",
    getattr(errno, "EDQUOT", -1): "quota",  # not on Windows
    errno.EROFS: "read-only",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ENOTDIR: "denied",
    errno.EFBIG: "file-size",
    errno.ENAMETOOLONG: "path-length",
}


def test_there_is_room_for_what_is_missing(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Is there room for the files that are still missing?"""
    for disk in _of(disks, "cache", "target"):
        needed, free = disk.needed_bytes, disk.free_bytes
        if isinstance(needed, int) and isinstance(free, int):
            subject = _subject(disk)
            seen = [fact(subject, "free for this user", size(free), f"at least {size(needed)} ({disk.needed_why})"), *_file_system(subject, disk)]
            expect.that(free >= needed, "space", subject, *seen, *_elsewhere(disks), step="disk")
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
    """Can temporary files be written, those of the transfer too?"""
    for disk in _of(disks, "temp", "xet"):
        if "cache" not in disk.roles:  # one answer for both is the cache's
            _judge_writing(disk, expect, "warning")


def test_there_are_free_inodes(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Can the files still to come be created, as far as the file system counts them?"""
    for disk in _of(disks, *WRITTEN_TO):
        if isinstance(disk.free_inodes, int) and (disk.needed_bytes != 0 or isinstance(disk.needed_files, int)):
            subject, least = _subject(disk), INODES_A_FILE * disk.needed_files if isinstance(disk.needed_files, int) else 1
            seen = [fact(subject, "free inodes", disk.free_inodes, f"at least {least}"), *_file_system(subject, disk), *_elsewhere(disks)]
            expect.that(disk.free_inodes >= least, "inodes", subject, *seen, severity="error" if "cache" in disk.roles else "warning", step="disk")
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


def test_no_file_is_too_large(disks: tuple[Disk, ...], expect: Expect) -> None:
    """May files as large as these be written there?"""
    for disk in _of(disks, "cache", "target"):
        largest, limit = disk.largest_bytes, disk.file_limit_bytes
        if isinstance(largest, int) and isinstance(disk.writable, bool):
            subject = _subject(disk)
            allowed = size(limit) if isinstance(limit, int) else "any size"
            seen = [fact(subject, "largest file allowed", f"{allowed} ({disk.file_limit_by})" if disk.file_limit_by else allowed, f"{size(largest)}")]
            expect.that(
                not isinstance(limit, int) or largest <= limit, "file-size", subject, *seen, fact(subject, "largest file", disk.largest_path), step="disk"
            )
    if not expect.examined:
        expect.skip("no file is to be written, or nobody said how large they are")


def test_paths_are_short_enough(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Are the names and paths that the client makes short enough for the file system?"""
    for disk in _of(disks, "cache"):
        for what, longest, limit in (("name", disk.longest_name, disk.name_limit), ("path", disk.longest_path, disk.path_limit)):
            if isinstance(longest, int) and isinstance(limit, int) and limit > 0:
                subject = _subject(disk)
                expect.that(longest <= limit, "path-length", subject, fact(subject, f"longest {what}", f"{longest} bytes", f"at most {limit}"), step="disk")
    if not expect.examined:
        expect.skip("nothing has to be written for this target")


def test_weights_can_be_mapped(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Can files there be mapped into memory, as safetensors does?"""
    for disk in _of(disks, "cache", "target"):
        if isinstance(disk.mappable, bool):
            subject = _subject(disk)
            expect.that(disk.mappable, "mapping", subject, fact(subject, "mmap of a file", "refused", "allowed"), *_file_system(subject, disk), step="disk")
    if not expect.examined:
        expect.skip("no file there could be tried")


def test_writing_is_fast_enough(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Does the disk take the bytes fast enough for what is still to come?"""
    for disk in _of(disks, "cache"):
        rate, needed = disk.write_bytes_per_second, disk.needed_bytes
        if isinstance(rate, float) and rate and isinstance(needed, int):
            subject, seconds = _subject(disk), needed / rate
            seen = [fact(subject, "writes", f"{size(rate)}/s"), fact(subject, "still to come", size(needed), f"{duration(seconds)} at that rate")]
            expect.that(seconds < PRACTICAL_SECONDS, "slow", subject, *seen, *_file_system(subject, disk), severity="warning", step="disk")
    if not expect.examined:
        expect.skip("little or nothing is to be written, so that its rate was not tried")


def test_compiled_packages_can_be_loaded(disks: tuple[Disk, ...], expect: Expect) -> None:
    """May compiled code be loaded from where the packages lie?"""
    for disk in _of(disks, "packages"):
        subject = _subject(disk)
        expect.that(disk.noexec is not True, "noexec", subject, fact(subject, "mount option", "noexec", "exec"), *_file_system(subject, disk), step="disk")
    if not expect.examined:
        expect.skip("no package with compiled parts is on a file system that refuses code")


def _elsewhere(disks: tuple[Disk, ...]) -> list[Evidence]:
    """Where there is room."""
    others = [disk for disk in _of(disks, "elsewhere") if isinstance(disk.free_bytes, int)]
    return [fact(_subject(disk), "free for this user", size(disk.free_bytes)) for disk in others if isinstance(disk.free_bytes, int)]


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
