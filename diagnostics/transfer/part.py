"""The unfinished file: one process at a time writes it, every piece is noted, and it takes its final name whole or not at all.

The lock is on the unfinished file itself (flock): it goes with the process that holds it, however that ends, and needs no file of its own that could be left behind.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import threading
from typing import Literal

from diagnostics.transfer import journal
from diagnostics.transfer.journal import Identity, Journal
from diagnostics.transfer.place import Place
from diagnostics.transfer.ranges import Range, Ranges, joined, without
from diagnostics.transfer.records import MIB

try:
    import fcntl
except ImportError:  # Windows: two processes are kept apart by nothing but the rename at the end
    fcntl = None  # type: ignore[assignment]

LEAST_NOTED = MIB // 4  # a file that got no further begins anew
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Left(Exception):
    """The file was left, or begun anew, while a thread was still writing for its old content."""


@functools.cache
def boot_id() -> str:
    """Names this run of the machine; "" where nothing does."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(64).strip()
    except (OSError, ValueError):
        return ""


class Part:
    """An unfinished file, locked. ``here`` is which of its bytes are there."""

    def __init__(self, place: Place, descriptor: int) -> None:
        self.place, self.descriptor = place, descriptor
        self.here: Ranges = ()
        self.lock = threading.Lock()
        self.epoch = 0
        self._synced: Ranges = ()
        self._noted: Ranges = ()
        self._journal = -1
        self._identity = Identity()

    # --- what was left ---

    def read_journal(self) -> Journal | None:
        try:
            descriptor = self.place.open(self.place.journal, os.O_RDONLY)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return journal.parse(file.read(journal.MOST_BYTES), boot_id(), self.size)

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    # --- whose bytes ---

    def go_on(self, identity: Identity, here: Ranges) -> None:
        """Take over ``here`` as bytes of ``identity``."""
        with self.lock:
            self._identity, self.here = identity, here
            self._synced = self._noted = ()
            if here:
                self._open_journal()

    def begin_anew(self, identity: Identity) -> int:
        """Nothing that is there counts any more; the epoch in which writes count from now on."""
        with self.lock:
            self._check()
            self.epoch += 1
            self._identity, self.here, self._synced, self._noted = identity, (), (), ()
            self._close_journal()
            self.place.remove(self.place.journal)
            os.ftruncate(self.descriptor, 0)
            return self.epoch

    def identify(self, identity: Identity) -> None:
        """More is known of the same bytes."""
        with self.lock:
            changed, self._identity = identity != self._identity, identity
            if changed and self._journal >= 0:
                self._open_journal()

    # --- bytes ---

    def write(self, epoch: int, offset: int, piece: memoryview) -> None:
        """Raises Left where the piece is no longer wanted, OSError where it cannot be written."""
        with self.lock:
            self._check(epoch)
            done = 0
            while done < len(piece):
                done += os.pwrite(self.descriptor, piece[done:], offset + done)

    def note(self, epoch: int, piece: Range, last: bool = False) -> None:
        """These bytes were written. A file that is whole with them needs no journal any more."""
        with self.lock:
            self._check(epoch)
            self.here = joined((*self.here, piece))
            if self._journal >= 0:
                os.write(self._journal, journal.lines("w", (piece,)))
            elif not last and (piece[1] - piece[0] >= LEAST_NOTED or len(self.here) > 1 or self.here[0][1] - self.here[0][0] >= LEAST_NOTED):
                self._open_journal()

    def sync(self) -> None:
        """Put what was written on the disk, and then say so."""
        with self.lock:
            if self.descriptor < 0 or self._journal < 0 or not (new := without(self.here, self._synced)):
                return
            copy, epoch = os.dup(self.descriptor), self.epoch
        try:
            _to_disk(copy)  # without the lock: this may take seconds
        finally:
            os.close(copy)
        with self.lock:
            if self.descriptor >= 0 and self._journal >= 0 and epoch == self.epoch:
                self._synced = joined((*self._synced, *new))
                os.write(self._journal, journal.lines("s", new))

    def _check(self, epoch: int | None = None) -> None:
        if self.descriptor < 0 or (epoch is not None and epoch != self.epoch):
            raise Left

    def _open_journal(self) -> None:
        """A fresh journal beside the old one, then in its place."""
        self._close_journal()
        fresh = self.place.journal + "-new"
        self.place.remove(fresh)
        descriptor = self.place.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        os.write(descriptor, journal.head(self._identity, boot_id()) + journal.lines("s", self._synced) + journal.lines("w", self.here))
        self.place.rename(fresh, self.place.journal)
        self._journal = descriptor

    def _close_journal(self) -> None:
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1

    # --- the end ---

    def finish(self, size: int) -> str:
        """To its final name, durable, whole; what lay there is put aside. Returns where, "" for nothing."""
        with self.lock:
            self._check()
            os.ftruncate(self.descriptor, size)  # a longer version may have lain here
            os.fsync(self.descriptor)
            aside = self.place.put_aside(self.place.leaf) if self.place.seen(self.place.leaf) else ""
            self.place.rename(self.place.part, self.place.leaf)
            self._close_journal()
            self.place.remove(self.place.journal)
            return aside

    def put_aside(self) -> str:
        """Keep wrong bytes for whoever wants to look; returns where."""
        with self.lock:
            self._check()
            self._close_journal()
            self.place.remove(self.place.journal)
            return self.place.put_aside(self.place.part)

    def discard(self) -> None:
        with self.lock:
            self._close_journal()
            self.place.remove(self.place.journal)
            self.place.remove(self.place.part)

    def leave(self) -> None:
        """Let go of the file: what is there stays for the next run. Nothing is written to it from here on, whichever thread still means to."""
        with self.lock:
            if self.descriptor >= 0:
                worthless = self._journal < 0 and not self.here and not self.size and self._is_named()
                if worthless:
                    self.place.remove(self.place.part)
                os.close(self.descriptor)
                self.descriptor = -1
            self._close_journal()

    def _is_named(self) -> bool:
        there = self.place.seen(self.place.part)
        return there is not None and os.path.samestat(there, os.fstat(self.descriptor))


def _to_disk(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)


def take(place: Place) -> Part | Literal["busy"]:
    """The unfinished file of ``place``, made where there is none; "busy" where another process has it. Raises OSError."""
    while True:
        descriptor = _opened(place)
        if not _locked(descriptor):
            os.close(descriptor)
            return "busy"
        there = place.seen(place.part)
        if there is not None and os.path.samestat(there, os.fstat(descriptor)):
            return Part(place, descriptor)
        os.close(descriptor)  # it was finished and renamed between the two steps


def _opened(place: Place) -> int:
    flags = os.O_RDWR | os.O_CREAT
    try:
        return place.open(place.part, flags)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.EMLINK):
            raise
    with contextlib.suppress(FileNotFoundError):
        place.remove(place.part)  # a link or a pipe that somebody put there
    return place.open(place.part, flags | os.O_EXCL)


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:  # a file system without locks
            return True
        raise
    return True
