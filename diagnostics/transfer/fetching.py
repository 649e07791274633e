"""The public functions."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from diagnostics.case import Unseen
from diagnostics.transfer.crew import Crew
from diagnostics.transfer.one import Download
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
        crew.run(downloads)
    finally:
        wire.close()
    outcomes = tuple(download.outcome for download in downloads if download.outcome is not None)
    _settle(into, outcomes)
    return outcomes


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
