"""An open file that is read in short pieces, what was seen of it, and where it turns into zeros."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostics.case import ABSENT, Defect, Unseen

HEAD_BYTES = 4096
BLOCK = 4096
MOST_HEADER_PARSED = 32 << 20  # of any table that is parsed as a whole
WINDOW = 1 << 16


class Bytes:
    """An open file that is only read in short pieces. ``read_bytes`` counts what it brought."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size, self.read_bytes = descriptor, size, 0

    def read(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset``. Raises OSError as the file system does."""
        data = _read_at(self.descriptor, max(0, min(count, self.size - offset)), offset)
        self.read_bytes += len(data)
        return data

    def head(self) -> bytes:
        return self.read(0, HEAD_BYTES)

    def tail(self, count: int = BLOCK) -> bytes:
        return self.read(max(0, self.size - count), count)


class Part(Bytes):
    """A stretch of another file, as a file of its own."""

    def __init__(self, file: Bytes, start: int, size: int) -> None:
        super().__init__(file.descriptor, max(0, min(size, file.size - start)))
        self.file, self.start = file, start

    def read(self, offset: int, count: int) -> bytes:
        data = self.file.read(self.start + offset, max(0, min(count, self.size - offset)))
        self.read_bytes += len(data)
        return data


def _read_at(descriptor: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows
    return os.read(descriptor, count)


class EndOfFile(Exception):
    """A table or a length leads beyond the end. ``need`` is where the file should at least end."""

    def __init__(self, need: int) -> None:
        super().__init__(need)
        self.need = need


class Broken(Exception):
    """A table that does not hold together; the text is for a person."""


class Cursor:
    """Reads a table forward through a window; skips without reading. Raises EndOfFile at the end, Broken past MOST_HEADER_PARSED bytes read."""

    def __init__(self, file: Bytes, at: int = 0, end: int | None = None, order: str = "<") -> None:
        self.file, self.at, self.order = file, at, order
        self.end = file.size if end is None else end
        self._start, self._window, self._budget = 0, b"", MOST_HEADER_PARSED

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        if self.at + count > self.end:
            raise EndOfFile(self.at + count)
        begin = self.at - self._start
        if begin < 0 or begin + count > len(self._window):
            self._budget -= max(count, WINDOW)
            if self._budget < 0:
                raise Broken("its table is too long to be one")
            self._start, self._window = self.at, self.file.read(self.at, max(count, WINDOW))
            begin = 0
            if len(self._window) < count:  # it shrank while we read
                raise EndOfFile(self.at + count)
        self.at += count
        return self._window[begin : begin + count]

    def skip(self, count: int) -> None:
        if count > self.end - self.at:
            raise EndOfFile(self.at + count)
        self.at += count

    def number(self, form: str) -> int:
        """One integer in ``struct``'s notation."""
        found: int = struct.unpack(self.order + form, self.take(struct.calcsize(self.order + form)))[0]
        return found

    def varint(self) -> int:
        """A base-128 integer (protobuf, LevelDB)."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Broken("a number in it never ends")


@dataclass(frozen=True)
class Tensor:
    """What a table says of one tensor: its shape, and its type as that format names it."""

    shape: tuple[int, ...]
    dtype: str = ""


@dataclass(frozen=True)
class Need:
    """Another file that this one names, relative to its own folder, and how long it must at least be."""

    path: str
    bytes: int = 0
    code: str = "file-missing"


@dataclass(frozen=True)
class Look:
    """What one file's bytes are, and what is wrong with them. ``expected`` is its true size where the format tells."""

    content: str
    defects: tuple[Defect, ...] = ()
    expected: int | Unseen = ABSENT
    tensors: Mapping[str, Tensor] = field(default_factory=dict, compare=False)
    needs: tuple[Need, ...] = field(default=(), compare=False)
    facts: Mapping[str, str] = field(default_factory=dict, compare=False)  # what its metadata tell (GGUF)


def truncated(file: Bytes, detail: str) -> Defect:
    return Defect(code="file-truncated", detail=detail, offset=file.size)


def promised(file: Bytes, need: int, who: str = "its own tables promise") -> Defect:
    return truncated(file, f"{who} {need} bytes, {need - file.size} are missing")


def damaged(detail: str, offset: int | Unseen = ABSENT) -> Defect:
    return Defect(code="file-structure-damaged", detail=detail, offset=offset)


def trailing(file: Bytes, end: int) -> Defect:
    return Defect(code="file-trailing-bytes", detail=f"{file.size - end} bytes more than its own tables promise", offset=end)


# --- zeros ------------------------------------------------------------------------------------------------------------------


def zeros_from(file: Bytes, start: int = 0) -> int | None:
    """The offset from which a file is nothing but zeros to its end, as a few samples show; None where its last block is not zero.

    A preallocated or crashed copy is one run of zeros; its beginning is found by halving, then checked by samples. Offsets are exact to one byte.
    """
    if file.size <= start or file.tail().strip(b"\0"):
        return None
    low, high = start, max(start, file.size - BLOCK)  # high: known to be zeros from here on
    step = BLOCK
    while high > low:
        probe = max(low, high - step)
        if file.read(probe, BLOCK).strip(b"\0"):
            low = probe
            break
        high, step = probe, step * 2
    while high - low > BLOCK:
        middle = (low + high) // 2
        if file.read(middle, BLOCK).strip(b"\0"):
            low = middle
        else:
            high = middle
    first = _first_zero(file, max(start, high - BLOCK), high)
    return first if _all_zeros(file, first) else None


def _first_zero(file: Bytes, low: int, high: int) -> int:
    block = file.read(low, high - low)
    return low + len(block.rstrip(b"\0"))


def _all_zeros(file: Bytes, start: int) -> bool:
    """Whether 32 samples between ``start`` and the end are zeros."""
    length = file.size - start
    return not any(file.read(start + length * step // 32, 512).strip(b"\0") for step in range(32))


def enough_zeros(size: int, start: int) -> bool:
    """Whether a run of zeros from ``start`` is too long to be an accident: a quarter of the file, or 1 MiB; a block at least."""
    return size - start >= max(BLOCK, min(size // 4, 1 << 20))


def zero_filled(start: int, size: int) -> Defect:
    return Defect(code="file-zero-filled", detail=f"only zeros from byte {start} to its end ({size - start} bytes)", offset=start)


def zero_tail(file: Bytes) -> tuple[Defect, ...]:
    """A last quarter of zeros: less may be right in a format whose tables are not read here (an optimizer's empty slots)."""
    start = zeros_from(file)
    return (zero_filled(start, file.size),) if start is not None and file.size - start >= max(BLOCK, file.size // 4) else ()
