"""How fast the bytes come on one connection, and on several at once: asked only where the download would take minutes and all else is well.

Some links and hosts limit each connection, some all of them together; only the former are helped by a client that opens several. A few megabytes, a second or so.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from diagnostics.case import ABSENT, Body, Header, Journey, Leg, Pace, Response, Unseen
from diagnostics.probes import http as http_probe
from diagnostics.probes.budget import together
from diagnostics.probes.leg import Arrival, Means, Stop, go

CONNECTIONS = 4
WORTH_SECONDS = 120.0  # a download that takes less is helped by nothing
TRIAL = http_probe.Sample(most_bytes=4 << 20, seconds=1.2)
LEAST_LEFT_SECONDS = 5.0  # of the survey's budget
LEAST_SAMPLE_SECONDS = 1.0
LIMITS = frozenset(
    [
        "ratelimit",
        "ratelimit-limit",
        "ratelimit-policy",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    ]
)


def see_pace(journeys: tuple[Journey, ...], last: dict[str, Arrival], needed_bytes: int | Unseen, means: Means) -> Pace | Unseen:
    """The pace of the journey that read longest; ``last`` is where each journey arrived, its signed URL included."""
    read = [(leg.body.seconds, journey, leg, leg.body) for journey in journeys for leg in journey.legs[-1:] if isinstance(leg.body, Body)]
    sampled = [item for item in read if item[3].outcome in ("sampled", "complete") and item[0] >= LEAST_SAMPLE_SECONDS]
    if not sampled:
        return Unseen("absent", "no file was large enough to measure the rate")
    _, journey, leg, body = max(sampled, key=lambda item: item[0])
    single = body.bytes_per_second if isinstance(body.bytes_per_second, float) else 0.0
    seen = Pace(
        journey=journey.name,
        host=leg.host,
        single_bytes_per_second=single,
        first_byte_seconds=body.first_byte_seconds,
        longest_pause_seconds=body.longest_pause_seconds,
        needed_bytes=needed_bytes,
        limits=_limits(journeys),
    )
    long = bool(single) and isinstance(needed_bytes, int) and needed_bytes / single > WORTH_SECONDS
    healthy = all(_went_well(leg) for journey in journeys for leg in journey.legs)
    if not (long and healthy and body.ranges == "honoured" and isinstance(body.expected, int) and means.deadline.left() > LEAST_LEFT_SECONDS):
        return seen
    return _with_several(seen, last[journey.name], body.expected, means) if journey.name in last else seen


def _went_well(leg: Leg) -> bool:
    return isinstance(leg.response, Response) and isinstance(leg.response.status, int) and leg.response.status < 400


def _limits(journeys: tuple[Journey, ...]) -> tuple[Header, ...]:
    """Rate-limit fields of any answer, each name once, the latest value."""
    found = {header.name: header for journey in journeys for leg in journey.legs if leg.response for header in leg.response.headers if header.name in LIMITS}
    return tuple(found.values())


def _with_several(seen: Pace, arrival: Arrival, length: int, means: Means) -> Pace:
    """The same file on several connections, each at another place of it."""
    apart = max(length // (CONNECTIONS + 1), 1)
    asks: dict[int, Callable[[], Arrival]] = {}
    for number in range(1, CONNECTIONS + 1):
        start = min(number * apart, max(length - 1, 0))
        ranged = ("Range", f"bytes={start}-{min(start + TRIAL.most_bytes, length) - 1}")
        asks[number] = functools.partial(go, Stop(url=arrival.parts.geturl(), sample=TRIAL, headers=(ranged,)), means)
    started = time.monotonic()
    answers = together(asks, means.deadline.within(TRIAL.seconds + 3.0))
    bodies = [answer.leg.body for answer in answers.values() if isinstance(answer.leg.body, Body)]
    refused = next((_refusal(answer.leg) for answer in answers.values() if _refusal(answer.leg)), "")
    longest = max((body.seconds for body in bodies), default=0.0)
    rate = sum(body.bytes for body in bodies) / longest if longest > 0 and len(bodies) == CONNECTIONS else ABSENT
    return Pace(
        **{name: getattr(seen, name) for name in ("journey", "host", "single_bytes_per_second", "first_byte_seconds", "longest_pause_seconds", "needed_bytes")},
        limits=seen.limits,
        connections=CONNECTIONS,
        together_bytes_per_second=rate,
        refused=refused,
        seconds=time.monotonic() - started,
    )


def _refusal(leg: Leg) -> str:
    """What a further connection got instead of bytes; "" where it got them."""
    if isinstance(leg.response, Response) and leg.response.status == 206:
        return ""
    if isinstance(leg.response, Response):
        return str(leg.response.status) if isinstance(leg.response.status, int) else leg.response.outcome
    return "no connection"
