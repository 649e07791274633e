"""How long to wait before asking again. Pure."""

from __future__ import annotations

import email.utils
import math
import random
from collections.abc import Callable, Mapping

from diagnostics.transfer.records import Limits


def pause(tries: int, limits: Limits, told: float = 0.0, chance: Callable[[], float] = random.random) -> float:
    """Seconds before try number ``tries`` + 1: twice as long each time, half of it by chance, so that many clients do not come back at once; at least what the server told."""
    longest = min(limits.first_wait_seconds * 2.0 ** min(max(tries - 1, 0), 60), limits.most_wait_seconds)
    return max(told, longest * (0.5 + 0.5 * chance()))


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a server asks to wait (RFC 9110 §10.2.3: seconds, or a date); 0 where it does not say, or not so that it can be read. ``now`` is Unix time."""
    text = headers.get("retry-after", "").strip()[:64]
    if not text:
        return 0.0
    try:
        seconds = (
            float(text) if text.replace(".", "", 1).isdigit() and text.isascii() else email.utils.parsedate_to_datetime(text).timestamp() - _date(headers, now)
        )
    except (ValueError, TypeError, OverflowError, OSError):
        return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


def _date(headers: Mapping[str, str], now: float) -> float:
    """The server's own clock, where it shows it: a date is meant by that."""
    try:
        return email.utils.parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return now
