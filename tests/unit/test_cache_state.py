"""Locks that somebody really holds, and memories of the cache that are no longer so."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, CacheState, Case, ClientUse, Disk, Environment, Files, Listing, Platform, Target, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.probes.cache_state import see_cache_state
from diagnostics.probes.files import see_files
from tests.unit.files_made import COMMIT, cached, listing_of, tiny

TARGET = Target(spec="org/tiny", kind="hub", name="org/tiny", loader="transformers", client=ClientUse(family="huggingface_hub-2", version="2.4.0"))
HOLD = "import fcntl, os, sys, time; f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"


def etag_of(listing: Listing, path: str) -> str:
    file = next(file for file in listing.files if file.path == path)
    return str(file.sha256 or file.git_sha1)


def lock_file(hub: Path, etag: str, content: str = "") -> Path:
    """A lock as the client leaves it behind: an empty file that nobody holds."""
    path = hub / ".locks" / "models--org--tiny" / f"{etag}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    """A process that holds the lock; yields its pid."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"held\n"
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def seen(hub: Path, listing: Listing | Unseen, disks: tuple[Disk, ...] = ()) -> tuple[CacheState, Files | Unseen]:
    environment = Environment(caches={"hub": str(hub)})
    files = see_files(TARGET, environment, listing)
    state = see_cache_state(TARGET, environment, listing, files, disks)
    assert isinstance(state, CacheState)
    return state, files


def judged(hub: Path, listing: Listing | Unseen, disks: tuple[Disk, ...] = ()) -> list[tuple[str, str]]:
    """(cause, severity) of what concerns the cache's own state; every text is filled in."""
    state, files = seen(hub, listing, disks)
    found = diagnose(Case(target=TARGET, cache_state=state, files=files, environment=Environment(platform=Platform(system="Linux"))))
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    assert codec.decode(CacheState, json.loads(json.dumps(codec.encode(state)))) == state
    return [(item.cause, item.severity) for item in found]


def test_locks_that_nobody_holds_are_no_alarm(tmp_path: Path) -> None:
    """The client never removes its lock files."""
    listing = listing_of(tiny())
    lock_file(tmp_path, etag_of(listing, "model.safetensors"))
    assert judged(tmp_path, listing) == []


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    """Another process holds it, and nothing grows: the client would wait without a word. Who it is stands in the report."""
    listing = listing_of(tiny())
    path = lock_file(tmp_path, etag_of(listing, "model.safetensors"))
    with held(path) as pid:
        state, _ = seen(tmp_path, listing)
        assert [(lock.pid, lock.file, lock.kind) for lock in state.locks] == [(pid, "model.safetensors", "flock")]
        assert judged(tmp_path, listing) == [("lock-held", "error")]
    assert judged(tmp_path, listing) == []


def test_a_download_under_way_is_a_warning(tmp_path: Path) -> None:
    """Its partial file grew a moment ago: wait. One that has not grown for long hangs."""
    listing = listing_of(tiny())
    etag = etag_of(listing, "model.safetensors")
    partial = tmp_path / "models--org--tiny" / "blobs" / f"{etag}.0123abcd.incomplete"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"half")
    with held(lock_file(tmp_path, etag)):
        assert judged(tmp_path, listing) == [("lock-held", "warning")]
        os.utime(partial, (time.time() - 900, time.time() - 900))
        assert judged(tmp_path, listing) == [("lock-held", "error")]


def test_the_lock_of_a_file_that_is_here_does_not_matter(tmp_path: Path) -> None:
    """Only what is still to come has to wait."""
    contents = tiny()
    cached(tmp_path, contents)
    listing = listing_of(contents)
    with held(lock_file(tmp_path, etag_of(listing, "model.safetensors"))):
        assert judged(tmp_path, listing) == []


def test_a_soft_lock_of_a_dead_process(tmp_path: Path) -> None:
    """Where flock is not implemented the file itself is the lock: one left by a process that is gone is to be removed."""
    listing = listing_of(tiny())
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    lock_file(tmp_path, etag_of(listing, "model.safetensors"), f"{process.pid}\n{socket.gethostname()}\n")
    without = (Disk(roles=("cache",), path=str(tmp_path), locks=False, lock_errno=errno.ENOSYS),)
    assert judged(tmp_path, listing, without) == [("lock-held", "error")]
    state, files = seen(tmp_path, listing, without)
    assert diagnose(Case(target=TARGET, cache_state=state, files=files))[0].remedies[0].run.startswith("rm ")


@pytest.mark.parametrize("host", ["node-17", f"{socket.gethostname()}?pidns-f0000123"])
def test_a_soft_lock_of_another_machine_is_not_taken_for_a_dead_one(host: str, tmp_path: Path) -> None:
    """Its process cannot be asked after from here, whatever has its number: nobody is told to remove it unseen."""
    listing = listing_of(tiny())
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    lock_file(tmp_path, etag_of(listing, "model.safetensors"), f"{process.pid}\n{host}\n")
    without = (Disk(roles=("cache",), path=str(tmp_path), locks=False, lock_errno=errno.ENOSYS),)
    state, files = seen(tmp_path, listing, without)
    assert [(lock.alive, lock.elsewhere, lock.command) for lock in state.locks] == [(ABSENT, True, "")]
    root = diagnose(Case(target=TARGET, cache_state=state, files=files))[0]
    assert root.cause == "lock-held" and root.remedies[0].run.startswith("cat ") and "another machine" in root.title


def test_a_ref_to_a_commit_that_is_gone(tmp_path: Path) -> None:
    """Somebody removed the snapshot that refs/main names, another is here; without the hub's word nothing is found."""
    folder = cached(tmp_path, tiny())
    assert judged(tmp_path, ABSENT) == []
    (folder / "refs" / "main").write_text("b" * 40)
    state, _ = seen(tmp_path, ABSENT)
    assert [stale.code for stale in state.stale] == ["ref"] and COMMIT in state.stale[0].detail
    assert ("cache-metadata-stale", "error") in judged(tmp_path, ABSENT)
    assert seen(tmp_path, listing_of(tiny()))[0].stale == ()  # the client asks the hub and writes it anew


def test_an_absence_that_is_no_longer_so(tmp_path: Path) -> None:
    """.no_exist says that the hub has no tokenizer.json at this commit, and the hub has it: the client would never ask."""
    contents = tiny()
    listing = listing_of(contents)
    folder = cached(tmp_path, {name: content for name, content in contents.items() if name != "tokenizer.json"})
    mark = folder / ".no_exist" / COMMIT / "tokenizer.json"
    mark.parent.mkdir(parents=True)
    (mark.parent / "added_tokens.json").touch()
    assert judged(tmp_path, listing) == []
    mark.touch()
    assert judged(tmp_path, listing) == [("cache-metadata-stale", "error")]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_locks_that_do_not_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """flock refused: an error, but where it is not implemented at all the client has a way of its own."""
    from diagnostics.probes import writing

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    disk = writing.probed(Disk(roles=("cache",), path=str(tmp_path), kind="nfs", mount="/data"), (str(tmp_path),))
    assert (disk.locks, disk.lock_errno, disk.writable) == (False, number, True)
    found = diagnose(Case(target=TARGET, disks=(disk,)))
    assert [(item.cause, item.severity) for item in found] == [("lock-unsupported", "warning" if number == errno.ENOSYS else "error")]
    assert "<" not in found[0].title and os.listdir(tmp_path) == []
    healthy = dataclasses.replace(disk, locks=True, lock_errno=0)
    assert diagnose(Case(target=TARGET, disks=(healthy,))) == []
