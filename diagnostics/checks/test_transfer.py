"""The bytes themselves."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from diagnostics.case import (
    Body,
    CacheState,
    Disk,
    Evidence,
    Files,
    Journey,
    Leg,
    Limits,
    Listing,
    Lock,
    Pace,
    Published,
    RemoteFile,
    Severity,
    Subject,
    Unseen,
)
from diagnostics.checks.wording import destination, duration, fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

PRACTICAL_SECONDS = 3600.0
ENOUGH_SAMPLE_SECONDS = 1.0
STILL_SECONDS = 60.0  # a download that grew this lately is under way


def test_bytes_keep_coming(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Do the bytes keep coming, to the end?"""
    for leg, body in expect.reached(journeys, "body"):
        subject = destination(leg)
        expected = f"{body.expected} bytes" if isinstance(body.expected, int) else "the whole content"
        seen = [fact(subject, f"content of {leg.url}", f"{body.outcome} after {body.bytes} bytes", expected)]
        seen += [fact(subject, "silence", duration(body.stalled_seconds), "bytes")] if body.outcome == "stalled" else []
        seen += [fact(subject, "content encoding", body.encoding)] if body.encoding and body.outcome == "invalid" else []
        seen += [fact(subject, "it broke with", body.message)] if body.message else []
        expect.that(body.outcome in ("complete", "sampled"), body.outcome, subject, *seen)


def test_bytes_are_those_published(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Are the bytes that arrive those that were published?"""
    for journey in journeys:
        for leg, body in expect.reached([journey], "body"):
            published = journey.published
            if isinstance(published, Published) and body.outcome == "complete" and not _somebody_elses_page(journey, body):
                subject = destination(leg)
                actual = body.git_sha1 if published.algorithm == "git-sha1" else body.sha256
                came = body.content_bytes if isinstance(body.content_bytes, int) else body.bytes
                wanted = f"{published.bytes} ({published.source})" if isinstance(published.bytes, int) else ""
                seen = [fact(subject, f"size of {journey.path}", came, wanted)]
                if isinstance(published.bytes, int) and came < published.bytes:
                    expect.that(False, "short", subject, *seen)
                elif published.algorithm in ("sha256", "git-sha1") and isinstance(actual, str):
                    digest = fact(subject, f"{published.algorithm} of {journey.path}", actual, f"{published.value} ({published.source})")
                    expect.that(actual.startswith(published.value), "digest", subject, digest, *seen)
    if not expect.examined and not expect.blocked:
        expect.skip("no file was small enough to be read whole, or none has a published digest")


def _somebody_elses_page(journey: Journey, body: Body) -> bool:
    """A web page in the place of a file is another check's question."""
    return body.content == "html" and not journey.path.endswith((".html", ".htm"))


def test_bytes_come_fast_enough(journeys: tuple[Journey, ...], listing: Listing | Unseen, files: Files | Unseen, pace: Pace | Unseen, expect: Expect) -> None:
    """Is the link fast enough for what is still to come?"""
    wanted = _bytes_to_come(listing, files)
    for leg, body in expect.reached(journeys, "body"):
        if wanted and isinstance(body.bytes_per_second, float) and body.seconds >= ENOUGH_SAMPLE_SECONDS and body.outcome in ("complete", "sampled"):
            subject = destination(leg)
            seconds = wanted / body.bytes_per_second
            seen = [
                fact(subject, "rate", f"{size(body.bytes_per_second)}/s over {body.seconds:.1f} s"),
                fact(subject, "still to come", size(wanted), f"{duration(seconds)} at that rate"),
                *_several(subject, pace, wanted, leg),
            ]
            expect.that(seconds < PRACTICAL_SECONDS, "slow", subject, *seen, severity="warning")
    if not expect.examined and not expect.blocked:
        expect.skip("no file was large enough to measure the rate, or nothing is still to come")


def _several(subject: Subject, pace: Pace | Unseen, wanted: int, leg: Leg) -> list[Evidence]:
    """What several connections at once came to, and what the host says of limits."""
    if not isinstance(pace, Pace) or pace.host != leg.host:
        return []
    rate = pace.together_bytes_per_second
    found = (
        [fact(subject, f"{pace.connections} connections at once", f"{size(rate)}/s together", duration(wanted / rate))]
        if isinstance(rate, float) and rate
        else []
    )
    found += [fact(subject, "a further connection", f"answered {pace.refused}", "bytes")] if pace.refused else []
    found += [fact(subject, "longest pause", f"{pace.longest_pause_seconds:.1f} s")] if pace.longest_pause_seconds >= 1 else []
    return found + [fact(subject, header.name, header.value) for header in pace.limits]


def test_enough_files_may_be_open(limits: Limits, expect: Expect) -> None:
    """May this process open as many files and connections at once as it needs?"""
    if isinstance(limits.open_files, int) and isinstance(limits.open_files_needed, int):
        subject = Subject(kind="machine", name="RLIMIT_NOFILE")
        seen = [fact(subject, "open files", limits.open_files, f"at least {limits.open_files_needed} ({limits.open_files_why})")]
        seen += [fact(subject, "hard limit", limits.open_files_hard)] if isinstance(limits.open_files_hard, int) else []
        expect.that(limits.open_files >= limits.open_files_needed, "open-files", subject, *seen, step="limits")
    else:
        expect.skip("there is no such limit here")


def test_threads_may_be_started(limits: Limits, expect: Expect) -> None:
    """May as many threads and processes be started as it needs?"""
    needed = limits.processes_needed
    for limit in limits.processes:
        if isinstance(limit.used, int) and isinstance(needed, int):
            subject = Subject(kind="machine", name=limit.source)
            left = max(0, limit.limit - limit.used)
            seen = [fact(subject, "processes and threads", f"{limit.used} of {limit.limit}", f"room for {needed} more ({limits.processes_why})")]
            expect.that(left >= needed, "processes", subject, *seen, step="limits")
    if limits.starts_threads is False:
        machine = Subject(kind="machine", name="threads")
        expect.that(False, "processes", machine, fact(machine, "starting a thread", "refused", "one more thread"), step="limits")
    if not expect.examined:
        expect.skip("there is no such limit here")


def test_no_lock_stands_in_the_way(cache_state: CacheState, expect: Expect) -> None:
    """Is no file that is still to come locked by somebody else?"""
    for lock in cache_state.locks:
        subject = Subject(kind="file", name=lock.path)
        severity: Severity = "warning" if isinstance(lock.idle_seconds, float) and lock.idle_seconds < STILL_SECONDS else "error"
        seen = [fact(subject, "held", _holder(lock), "nobody holds it")]
        seen += [fact(subject, "guards", lock.file)] if lock.file else []
        seen += [fact(subject, "its download last grew", f"{duration(lock.idle_seconds)} ago")] if isinstance(lock.idle_seconds, float) else []
        expect.that(False, "lock-dead" if lock.alive is False else "lock-held", subject, *seen, severity=severity, step="cache")
    if not expect.examined:
        expect.that(True, "lock-held", Subject(kind="folder", name=cache_state.path), step="cache")


def test_files_can_be_locked(disks: tuple[Disk, ...], expect: Expect) -> None:
    """Do locks work where the client keeps them?"""
    for disk in disks:
        if "cache" in disk.roles and isinstance(disk.locks, bool):
            subject = Subject(kind="folder", name=disk.path)
            # Where flock is not implemented at all, filelock takes a file's existence for the lock; every other refusal ends the download.
            severity: Severity = "warning" if disk.lock_errno == errno.ENOSYS else "error"
            seen = [fact(subject, "flock", os.strerror(disk.lock_errno) if disk.lock_errno else "refused", "a lock"), fact(subject, "file system", disk.kind)]
            expect.that(disk.locks, "locks", subject, *seen, severity=severity, step="disk")
    if not expect.examined:
        expect.skip("nothing has to be written for this target")


def test_the_cache_remembers_rightly(cache_state: CacheState, files: Files | Unseen, expect: Expect) -> None:
    """Is what the cache remembers of this model still so?"""
    here = {seen.path for seen in files.files} if isinstance(files, Files) else set()
    for stale in cache_state.stale:
        subject = Subject(kind="file", name=stale.path)
        harmless = stale.code == "no-exist" and any(stale.path.endswith("/" + path) for path in here)
        expect.that(False, "stale", subject, fact(subject, stale.code, stale.detail, "as it is"), severity="warning" if harmless else "error", step="cache")
    if not expect.examined:
        expect.that(True, "stale", Subject(kind="folder", name=cache_state.path), step="cache")


def _holder(lock: Lock) -> str:
    if not isinstance(lock.pid, int):
        return "by a process that is not seen from here (another container, user or machine)"
    if lock.elsewhere:
        return f"by process {lock.pid} of another machine or container, which may be gone"
    return f"by process {lock.pid}" + (f" ({lock.command})" if lock.command else "") + (", which is gone" if lock.alive is False else "")


def _bytes_to_come(listing: Listing | Unseen, files: Files | Unseen) -> int:
    """Bytes of the wanted files that are not here."""
    if not isinstance(listing, Listing):
        return 0
    here = {file.path for file in files.files if not file.defects} if isinstance(files, Files) else set()
    return sum(_bytes(file) for file in listing.files if file.path in listing.wanted and file.path not in here)


def _bytes(file: RemoteFile) -> int:
    return file.bytes if isinstance(file.bytes, int) else 0
