"""Real control groups of v1, where root may make them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def group(controller: str, file: str, value: str) -> Iterator[Callable[[], None]]:
    """A new group with one limit; yields what a child calls to join it. Skips where it cannot be made."""
    folder = Path("/sys/fs/cgroup") / controller / f"pytest-diagnostics-{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        (folder / file).write_text(value)
    except OSError:
        pytest.skip(f"no v1 {controller} controller that may be written here")
    try:
        yield lambda: _join(folder)
    finally:
        for _ in range(50):  # the kernel lets go of the last process a moment later
            try:
                folder.rmdir()
                break
            except OSError:
                time.sleep(0.02)


def _join(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
