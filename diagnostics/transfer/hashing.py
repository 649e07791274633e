"""Digests of files, read from the disk in order behind the one who writes: in whatever order the pieces come, none is kept in memory for it."""

from __future__ import annotations

import errno
import hashlib
import os
import threading

from diagnostics.case import Published
from diagnostics.transfer.records import MIB

FOLLOWED_FROM = 4 * MIB  # a smaller file is hashed when it is there: a thread of its own would cost more


def matches(digest: Published, seen: str) -> bool:
    """A prefix is enough where only a prefix is published (torch.hub)."""
    return bool(digest.value) and seen.startswith(digest.value.lower())


def hash_of(path: str, digest: Published) -> str:
    """The digest of a file that lies still, in lower-case hex. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(descriptor).st_size
        reading, buffer = Reading(descriptor, digest, size), memoryview(bytearray(max(1, min(MIB, size))))
        while reading.done < size:
            reading.step(size, buffer)
        return reading.hexdigest()
    finally:
        os.close(descriptor)


class Reading:
    """A digest on its way through a file."""

    def __init__(self, descriptor: int, digest: Published, size: int) -> None:
        self._descriptor, self._hash, self.done = descriptor, _new(digest.algorithm, size), 0

    def step(self, end: int, buffer: memoryview) -> None:
        """At most a buffer further, never past ``end``. Raises OSError."""
        view = buffer[: end - self.done]
        count = os.preadv(self._descriptor, [view], self.done) if hasattr(os, "preadv") else _read(self._descriptor, view, self.done)
        if count == 0:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        self._hash.update(view[:count])
        self.done += count

    def hexdigest(self) -> str:
        return str(self._hash.hexdigest())


def _read(descriptor: int, view: memoryview, offset: int) -> int:
    os.lseek(descriptor, offset, os.SEEK_SET)
    data = os.read(descriptor, len(view))
    view[: len(data)] = data
    return len(data)


def _new(algorithm: str, size: int) -> hashlib._Hash:
    if algorithm == "git-sha1":
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's own name for a content (git hash-object)
    made: hashlib._Hash = hashlib.new(algorithm, usedforsecurity=False)
    return made


class Following:
    """The digest of a file that is still being written. ``stop`` ends it early."""

    def __init__(self, descriptor: int, digest: Published, size: int, stop: threading.Event) -> None:
        self._descriptor, self._size, self._stop = os.dup(descriptor), size, stop
        self._reading = Reading(self._descriptor, digest, size)
        self._changed = threading.Condition()
        self._there = 0
        self._closed = False
        self._problem: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="transfer-hash", daemon=True)
        self._started = False

    def follow(self, there: int) -> None:
        """All bytes before ``there`` are there now."""
        with self._changed:
            self._there = max(self._there, min(there, self._size))
            self._changed.notify_all()
            start = not self._started and self._size >= FOLLOWED_FROM
            self._started = self._started or start
        if start:
            try:
                self._thread.start()
            except RuntimeError:  # no further thread may be started: hashed at the end, then
                self._started = False

    def result(self, buffer: memoryview | None = None) -> str:
        """Lower-case hex of the whole, which is there now; "" where it was stopped. Raises OSError where it cannot be read."""
        with self._changed:
            self._there, alone = self._size, not self._started
            self._changed.notify_all()
        if alone:
            self._run(buffer)
        with self._changed:
            while self._reading.done < self._size and self._problem is None and not self._over:
                self._changed.wait(0.2)
            if self._problem is not None:
                raise self._problem
            return self._reading.hexdigest() if self._reading.done >= self._size else ""

    def close(self) -> None:
        """Whoever reads, reads no further."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            running = self._started and self._thread.is_alive()
        if not running:
            self._leave()

    @property
    def _over(self) -> bool:
        return self._closed or self._stop.is_set()

    def _leave(self) -> None:
        with self._changed:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _run(self, buffer: memoryview | None = None) -> None:
        try:
            buffer = buffer if buffer is not None else memoryview(bytearray(MIB))
            while (end := self._wait()) > self._reading.done:
                self._reading.step(end, buffer)
        except OSError as error:
            self._problem = error
        finally:
            with self._changed:
                self._changed.notify_all()
            if self._started:
                self._leave()

    def _wait(self) -> int:
        """Up to where it may be read; where that is no further than it was, it is over."""
        with self._changed:
            while self._there <= self._reading.done < self._size and not self._over:
                self._changed.wait(0.5)
            return self._reading.done if self._over else self._there
