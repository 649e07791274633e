"""Time and threads of a survey: one deadline, daemon threads that are waited for and left behind, sockets that are closed at the end."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Deadline:
    """The moment by which everything has to be said."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, self._end - time.monotonic())

    def within(self, seconds: float) -> float:
        """A time-out for one wait: ``seconds``, or less where less is left. Never 0, which would mean non-blocking."""
        return max(0.01, min(seconds, self.left()))

    @property
    def over(self) -> bool:
        return self.left() <= 0


class OpenSockets:
    """The sockets a survey has open, so that its end can close those that a left-behind thread still waits on."""

    def __init__(self) -> None:
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def add(self, sock: socket.socket) -> socket.socket:
        with self._lock:
            self._sockets.add(sock)
            closed = self._closed
        if closed:
            close(sock)
        return sock

    def replace(self, old: socket.socket, new: socket.socket) -> None:
        """``new`` wraps ``old`` (TLS)."""
        with self._lock:
            self._sockets.discard(old)
            self._sockets.add(new)

    def discard(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.discard(sock)
        close(sock)

    def close_all(self) -> None:
        with self._lock:
            sockets, self._closed = list(self._sockets), True
            self._sockets.clear()
        for sock in sockets:
            close(sock)


def close(sock: socket.socket) -> None:
    """Close, waking whoever waits on it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        sock.close()


class Together(Generic[K, V]):
    """Tasks that run at once on daemon threads. What has not ended when it is asked for is left behind.

    An exception in a task is a bug of ours and is raised to whoever asks for the results.
    """

    def __init__(self, tasks: Mapping[K, Callable[[], V]]) -> None:
        self._left = len(tasks)
        self._results: dict[K, V] = {}
        self._ended: queue.SimpleQueue[tuple[K, V | None, BaseException | None]] = queue.SimpleQueue()
        for key, task in tasks.items():
            start(threading.Thread(target=self._run, args=(key, task), name=f"diagnose-{key}", daemon=True))

    def within(self, seconds: float) -> dict[K, V]:
        """The results of those that end within ``seconds`` from now, or had ended before."""
        end = time.monotonic() + seconds
        while self._left:
            try:
                key, value, error = self._ended.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                break
            self._left -= 1
            if error is not None:
                raise error
            self._results[key] = value  # type: ignore[assignment]
        return dict(self._results)

    def _run(self, key: K, task: Callable[[], V]) -> None:
        try:
            self._ended.put((key, task(), None))
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits, whatever it is
            self._ended.put((key, None, error))


def start(thread: threading.Thread) -> None:
    """Start it; where no further thread may be started (ulimit -u, pids.max), its work is done here and now, one after the other."""
    try:
        thread.start()
    except RuntimeError:  # can't start new thread
        thread.run()


def together(tasks: Mapping[K, Callable[[], V]], seconds: float) -> dict[K, V]:
    """Run ``tasks`` at once; the results of those that ended within ``seconds``."""
    return Together(tasks).within(seconds)
