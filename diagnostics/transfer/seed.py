"""What a repair begins with: a copy of the bytes that are right."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from diagnostics.transfer.ranges import Ranges
from diagnostics.transfer.records import MIB


@dataclass(frozen=True, kw_only=True)
class Seed:
    """``here`` of the file at ``path`` is right."""

    path: Path
    here: Ranges

    def copy_to(self, descriptor: int) -> None:
        """These ranges, at their places; shared with the original where the file system can. Raises OSError."""
        source = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            for start, end in self.here:
                _copy(source, descriptor, start, end)
        finally:
            os.close(source)


def _copy(source: int, target: int, start: int, end: int) -> None:
    fast = hasattr(os, "copy_file_range")
    while start < end:
        count = 0
        if fast:
            try:
                count = os.copy_file_range(source, target, end - start, start, start)
            except OSError:  # not between these file systems
                count = 0
            fast = count > 0
        if not count:
            piece = os.pread(source, min(MIB, end - start), start)
            count = os.pwrite(target, piece, start)
        if not count:
            raise OSError(5, "the file is shorter than it was")
        start += count
