"""The public functions."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from diagnostics.case import Unseen
from diagnostics.probes.cache import is_inside
from diagnostics.transfer import judging
from diagnostics.transfer.crew import Crew
from diagnostics.transfer.one import Download
from diagnostics.transfer.place import PART
from diagnostics.transfer.ranges import Range, missing, within
from diagnostics.transfer.records import Access, Limits, Outcome, Progress, Wanted
from diagnostics.transfer.seed import Seed
from diagnostics.transfer.wire import Wire


def fetch(wanted: Sequence[Wanted], into: Path, *, access: Access, progress: Progress | None = None, limits: Limits | None = None) -> tuple[Outcome, ...]:
    """Bring every file of ``wanted`` under ``into``; an outcome each, in their order. What is here and intact is not fetched again.

    Raises KeyboardInterrupt where it was interrupted: what was brought by then stays, and the next call goes on from there.
    """
    return _fetch([(item, None) for item in wanted], into, access, progress, limits)


def fill(
    wanted: Wanted,
    into: Path,
    ranges: Sequence[Range],
    *,
    access: Access,
    progress: Progress | None = None,
    limits: Limits | None = None,
    source: Path | None = None,
) -> Outcome:
    """Bring only ``ranges`` of a file anew; the rest is taken from ``source`` (default: the file of that name in ``into``), which is copied and never changed.

    The size must be known (``wanted.size``). The whole is verified as by ``fetch`` before it takes the file's place; what lay there is kept as ``.corrupt-…``.
    """
    assert isinstance(wanted.size, int)
    seed = Seed(path=source or into / wanted.name, here=missing(wanted.size, within(ranges, wanted.size)))
    return _fetch([(wanted, seed)], into, access, progress, limits)[0]


def _fetch(wanted: Sequence[tuple[Wanted, Seed | None]], into: Path, access: Access, progress: Progress | None, limits: Limits | None) -> tuple[Outcome, ...]:
    limits, stop = limits or Limits(), threading.Event()
    wire, crew = Wire(access, limits), Crew(limits, stop)
    into = into.expanduser().absolute()
    downloads = [Download(item, into, wire, limits, progress or Silent(), stop, crew.hold, seed) for item, seed in wanted]
    try:
        _refuse_for_want_of_room(downloads, into, limits)
        crew.run([download for download in downloads if download.outcome is None])
    finally:
        wire.close()
    outcomes = tuple(download.outcome for download in downloads if download.outcome is not None)
    _settle(into, outcomes)
    return outcomes


def _refuse_for_want_of_room(downloads: list[Download], into: Path, limits: Limits) -> None:
    """Before the first byte: what does not fit as a whole is not begun, so that nobody waits hours for a disk that was too small from the start."""
    needed = {download: size for download in downloads if (size := _still_needed(download.wanted, into)) > 0}
    free = _free_bytes(into)
    if free is not None and sum(needed.values()) > free - limits.spare_bytes:
        for download in needed:
            download.refuse(judging.no_room(sum(needed.values()), free))


def _still_needed(wanted: Wanted, into: Path) -> int:
    """Bytes that a file will take, by the names that lie there; 0 where nobody knows, or it is here by its size."""
    if not isinstance(wanted.size, int) or not is_inside(wanted.name):
        return 0
    place = into / wanted.name
    with contextlib.suppress(OSError):
        if place.stat().st_size == wanted.size:
            return 0
    with contextlib.suppress(OSError):
        begun = place.with_name(f"{place.name}.{PART}").stat()
        return max(0, wanted.size - getattr(begun, "st_blocks", 0) * 512)
    return wanted.size


def _free_bytes(into: Path) -> int | None:
    """Of the file system that ``into`` is on, or will be; None where it does not say."""
    there = next((folder for folder in (into, *into.parents) if os.path.isdir(folder)), None)
    try:
        state = os.statvfs(there) if there is not None and hasattr(os, "statvfs") else None
    except OSError:
        return None
    return state.f_bavail * state.f_frsize if state else None


def _settle(into: Path, outcomes: tuple[Outcome, ...]) -> None:
    """Let the new names outlive a power cut: once a folder, not once a file."""
    folders = {(into / outcome.name).parent for outcome in outcomes if outcome.outcome in ("fetched", "continued")}
    for folder in folders if os.name == "posix" else ():
        with contextlib.suppress(OSError):  # a file system that cannot
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


class Silent:
    """No progress is told."""

    def expect(self, name: str, size: int | Unseen, here: int) -> None: ...

    def advance(self, name: str, count: int) -> None: ...

    def finish(self, outcome: Outcome) -> None: ...
