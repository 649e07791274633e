"""Two reports beside each other: what differs between the machine where it works and the one where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diagnostics.case import Case
from diagnostics.codec import encode

MOST = 40
MOST_VALUE = 90
# Fields that differ between any two runs and tell nothing.
NOISE = frozenset({"started", "seconds", "timings", "budget_seconds", "schema", "date", "fingerprint", "skew_seconds", "bytes_per_second", "first_byte_seconds", "stalled_seconds", "sha256", "available_bytes", "used_bytes", "free_bytes", "free_inodes", "swap_free_bytes", "extended_errors", "clues", "x-request-id", "etag", "age", "peak_bytes", "memory_limit_bytes", "output_bytes"})  # fmt: skip
# What a person would look at first.
ORDER = ("environment", "packages", "journeys", "resolvers", "files", "disks", "memory", "listing", "digests", "target")
# What names a member of a list, so that members are compared with their like and not by their place.
NAMES = ("name", "variable", "package", "url", "path", "host", "server", "store", "question", "proxy", "ip", "source")


def differences(here: Case, there: Case) -> list[tuple[str, str, str]]:
    """``(place, here, there)`` for every fact that differs, what matters most first; what only one of them saw is one fact, "seen" on its side."""
    return sorted(_compared(encode(here), encode(there), ""), key=lambda row: _weight(row[0]))


def lines(here: Case, there: Case) -> list[str]:
    """To print: one line a fact."""
    rows = differences(here, there)
    if not rows:
        return ["Nothing that was seen differs from the other report."]
    shown = [f"  {place}: {_short(mine)} here, {_short(theirs)} there" for place, mine, theirs in rows[:MOST]]
    more = [f"  … and {len(rows) - MOST} more"] if len(rows) > MOST else []
    return [f"Differs from the other report ({there.started or 'without a date'}):", *shown, *more]


def _weight(place: str) -> int:
    head = place.split(".")[0].split("[")[0]
    return ORDER.index(head) if head in ORDER else len(ORDER)


def _short(value: str) -> str:
    return value if len(value) <= MOST_VALUE else value[: MOST_VALUE - 1] + "…"


def _compared(mine: Any, theirs: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """Dicts by key, lists of records by their members' own names, everything else as a value."""
    if mine == theirs:
        return
    if isinstance(mine, dict) and isinstance(theirs, dict) and ("unseen" in mine) == ("unseen" in theirs):
        for key in dict.fromkeys([*mine, *theirs]):
            if key not in NOISE:
                yield from _compared(mine.get(key), theirs.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(mine, list) and isinstance(theirs, list) and any(isinstance(item, dict) for item in (*mine, *theirs)):
        left, right = _members(mine), _members(theirs)
        for name in dict.fromkeys([*left, *right]):
            yield from _compared(left.get(name), right.get(name), f"{place}[{name}]")
    else:
        yield place, _value(mine), _value(theirs)


def _members(items: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, item in enumerate(items):
        name = str(index) if isinstance(item, dict) and "route" in item else _name(item) or str(index)  # legs: the first request here is the first there
        found[f"{name} {index}" if name in found else name] = item
    return found


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"not seen ({value['unseen'].replace('_', ' ')})" if "unseen" in value else "seen"
    if isinstance(value, list):
        return ", ".join(item if isinstance(item, str) else _name(item) or "…" for item in value) or "none"
    return "none" if value in ("", None) else str(value)


def _name(item: Any) -> str:
    return next((str(item[key]) for key in NAMES if isinstance(item, dict) and isinstance(item.get(key), str) and item[key]), "")
