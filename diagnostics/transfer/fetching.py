"""The public functions."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from diagnostics.case import ABSENT, Published
from diagnostics.probes.cache import is_inside
from diagnostics.transfer import failures
from diagnostics.transfer.ranges import Range, missing, within
from diagnostics.transfer.records import Access, Failure, Limits, Outcome, Progress, Wanted
from diagnostics.transfer.wire import Wire


def fetch(wanted: Sequence[Wanted], into: Path, *, access: Access, progress: Progress | None = None, limits: Limits | None = None) -> tuple[Outcome, ...]:
    """Bring every file of ``wanted`` under ``into``; an outcome each, in their order. What is here and intact is not fetched again.

    Raises KeyboardInterrupt where it was interrupted: what was brought by then stays, and the next call goes on from there.
    """
    limits = limits or Limits()
    wire = Wire(access, limits)
    try:
        return tuple(_one(item, into, wire, progress) for item in wanted)
    finally:
        wire.close()


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
    limits = limits or Limits()
    assert isinstance(wanted.size, int)
    here = missing(wanted.size, within(ranges, wanted.size))
    wire = Wire(access, limits)
    try:
        return _one(wanted, into, wire, progress, source or into / wanted.name, here)
    finally:
        wire.close()


def _one(wanted: Wanted, into: Path, wire: Wire, progress: Progress | None, source: Path | None = None, here: tuple[Range, ...] = ()) -> Outcome:
    started = time.monotonic()
    if not is_inside(wanted.name):
        return Outcome(name=wanted.name, outcome="failed", failure=Failure(reason="name-unsafe"))
    final = into / wanted.name
    if source is None and final.is_file() and _right(final, wanted):
        return Outcome(name=wanted.name, outcome="already_here", bytes=final.stat().st_size, verified="digest" if wanted.digest else "size")
    final.parent.mkdir(parents=True, exist_ok=True)
    part = final.with_name(final.name + ".part")
    try:
        with part.open("wb") as file:
            if source is not None:
                file.write(source.read_bytes()[: here[-1][1]] if here else b"")
            gaps = missing(wanted.size, here) if isinstance(wanted.size, int) and here else ((0, -1),)
            count = 0
            for start, end in gaps:
                found = wire.ask(wanted.url, {"Range": f"bytes={start}-{end - 1}"} if here else {})
                if isinstance(found, Failure):
                    return Outcome(name=wanted.name, outcome="failed", failure=found)
                if found.status != (206 if here else 200):
                    return Outcome(name=wanted.name, outcome="failed", failure=failures.of_status(found.status, wire.secrets, found.host, found.url))
                file.seek(start)
                while data := found.read_some(1 << 20):
                    file.write(data)
                    count += len(data)
    except OSError as error:
        return Outcome(name=wanted.name, outcome="failed", failure=failures.of_disk(error, wanted.name))
    if not _right(part, wanted):
        return Outcome(name=wanted.name, outcome="failed", failure=Failure(reason="digest-differs"), bytes_fetched=count)
    replaced = ""
    if final.exists():
        replaced = f"{final}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        os.replace(final, replaced)
    os.replace(part, final)
    return Outcome(
        name=wanted.name, outcome="fetched", bytes=final.stat().st_size, bytes_fetched=count, seconds=time.monotonic() - started, replaced=replaced,
        verified="digest" if wanted.digest else "size",
    )  # fmt: skip


def _right(path: Path, wanted: Wanted) -> bool:
    size = path.stat().st_size
    if isinstance(wanted.size, int) and size != wanted.size:
        return False
    if isinstance(wanted.digest, Published):
        algorithm = wanted.digest.algorithm
        one = hashlib.sha1(b"blob %d\0" % size) if algorithm == "git-sha1" else hashlib.new(algorithm)
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                one.update(data)
        return one.hexdigest().startswith(wanted.digest.value)
    return wanted.size is not ABSENT
