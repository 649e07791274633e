"""Sets of bytes of a file: sorted, disjoint, half-open ranges. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Range = tuple[int, int]  # from, and up to but not including
Ranges = tuple[Range, ...]


def joined(ranges: Iterable[Range]) -> Ranges:
    """The same bytes, sorted, each once; neighbours are one range."""
    result: list[Range] = []
    for start, end in sorted(item for item in ranges if item[0] < item[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((start, end))
    return tuple(result)


def total(ranges: Iterable[Range]) -> int:
    """Bytes in disjoint ranges."""
    return sum(end - start for start, end in ranges)


def without(ranges: Iterable[Range], taken: Iterable[Range]) -> Ranges:
    """The bytes of ``ranges`` that are not in ``taken``."""
    left = list(joined(ranges))
    for start, end in joined(taken):
        left = [piece for low, high in left for piece in ((low, min(high, start)), (max(low, end), high)) if piece[0] < piece[1]]
    return tuple(left)


def within(ranges: Iterable[Range], size: int) -> Ranges:
    """Only what lies in a file of ``size`` bytes."""
    return joined((max(start, 0), min(end, size)) for start, end in ranges)


def missing(size: int, here: Iterable[Range]) -> Ranges:
    """What is still to be had of a file of ``size`` bytes."""
    return without(((0, size),), here)


def front(here: Iterable[Range]) -> int:
    """Up to where all bytes from the first on are here."""
    first = next(iter(joined(here)), (0, 0))
    return first[1] if first[0] == 0 else 0


def halved(position: int, end: int, least: int, step: int = 1 << 20) -> int:
    """Where to divide what is left of a segment so that neither part is shorter than ``least``; ``end`` where it should stay whole. On a multiple of ``step`` if it can be."""
    if end - position < 2 * least:
        return end
    middle = position + (end - position) // 2
    aligned = middle - middle % step
    return aligned if aligned - position >= least else middle


def shared(position: int, end: int, block: int, least: int) -> int:
    """Where a segment that one connection works through ends when others are to take part: after a block, so that the pieces come nearly in order (a digest follows
    them), and near the file's end in the middle of what is left. ``end`` where it is too short to be shared."""
    return position + block if end - position >= 2 * block and block >= least else halved(position, end, least)
