"""What one sees of a transfer: bars on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from diagnostics.case import Unseen
from diagnostics.redact import plain
from diagnostics.transfer.records import Outcome

LINE_SECONDS = 5.0
MOST_BARS = 4


def shown_bytes(count: float) -> str:
    """``1.2 GB``: decimal, as networks and hubs count."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"


class Lines:
    """For logs: what is here of how much, how fast, and how long it will take."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._lock = threading.Lock()
        self._here: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._ended = 0
        self._began = self._told_at = clock()
        self._gained = 0

    def expect(self, name: str, size: int | Unseen, here: int) -> None:
        with self._lock:
            self._here[name] = here
            if isinstance(size, int):
                self._sizes[name] = size

    def advance(self, name: str, count: int) -> None:
        with self._lock:
            self._here[name] = self._here.get(name, 0) + count
            self._gained += count
            self._tell()

    def finish(self, outcome: Outcome) -> None:
        with self._lock:
            self._ended += 1
            if isinstance(outcome.bytes, int) and outcome.outcome != "failed":
                self._here[outcome.name] = self._sizes[outcome.name] = outcome.bytes
            self._tell()

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told_at >= LINE_SECONDS:
            self._told_at = now
            with contextlib.suppress(OSError, ValueError):  # whoever watched has gone
                self._write(self._line(now))

    def _line(self, now: float) -> str:
        here, size = sum(self._here.values()), sum(self._sizes.values())
        rate = max(0, self._gained) / max(now - self._began, 1e-9)
        left = f", {(size - here) / rate:.0f} s left" if rate > 0 and size > here else ""
        return f"{self._ended} of {len(self._here)} begun files, {shown_bytes(here)} of {shown_bytes(max(size, here))}, {shown_bytes(rate)}/s{left}"


class _Unfailing:
    """A stream whose end does not end the transfer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Bars:
    """For terminals: one bar for all, and one each for the files that are under way."""

    def __init__(self, stream: TextIO, total: int | None, count: int) -> None:
        from tqdm import tqdm

        self._new: Callable[..., Any] = tqdm
        self._lock = threading.Lock()
        self._bars: dict[str, Any] = {}
        self._here: dict[str, int] = {}
        self._known, self._count, self._ended = total, count, 0
        self._stream = _Unfailing(stream)
        self._all = self._new(total=total, unit="B", unit_scale=True, desc=self._title(), file=self._stream, dynamic_ncols=True, leave=False, position=0)

    def _title(self) -> str:
        return f"{self._ended}/{self._count} files"

    def expect(self, name: str, size: int | Unseen, here: int) -> None:
        with self._lock:
            self._all.update(here - self._here.get(name, 0))
            self._here[name] = here
            bar = self._bars.get(name)
            if bar is None and len(self._bars) < MOST_BARS and self._count > 1:
                free = next(place for place in range(1, MOST_BARS + 1) if all(other.pos != -place for other in self._bars.values()))
                bar = self._bars[name] = self._new(
                    unit="B", unit_scale=True, desc=plain(name, 40), file=self._stream, dynamic_ncols=True, leave=False, position=free, initial=here
                )
            if bar is not None and isinstance(size, int):
                bar.total = size
            if self._count == 1 and isinstance(size, int):
                self._all.total = size

    def advance(self, name: str, count: int) -> None:
        with self._lock:
            self._here[name] = self._here.get(name, 0) + count
            self._all.update(count)
            if name in self._bars:
                self._bars[name].update(count)

    def finish(self, outcome: Outcome) -> None:
        with self._lock:
            self._ended += 1
            if isinstance(outcome.bytes, int) and outcome.outcome != "failed":
                self._all.update(outcome.bytes - self._here.get(outcome.name, 0))
                self._here[outcome.name] = outcome.bytes
            self._all.set_description(self._title())
            if bar := self._bars.pop(outcome.name, None):
                bar.close()

    def close(self) -> None:
        with self._lock:
            for bar in (*self._bars.values(), self._all):
                bar.close()
