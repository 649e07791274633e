"""From the first request of a URL to its bytes: every redirect starts the next leg, and a leg that failed is asked "and if…?"."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin, urlsplit

from diagnostics.case import NOT_ASKED, Body, Journey, Leg, Published, Response, Unseen
from diagnostics.facts.hosts import is_instance_metadata
from diagnostics.probes import counterfactual
from diagnostics.probes import http as http_probe
from diagnostics.probes.leg import REDIRECTS, Arrival, Means, Stop, go, port_of

WORTH_RESUMING_BYTES = 1 << 20
MOST_LEGS = 12  # huggingface_hub and requests give up later; a loop shows sooner


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A journey to make."""

    name: str
    purpose: str
    url: str = field(repr=False)
    path: str = ""
    published: Published | Unseen = NOT_ASKED
    sample: http_probe.Sample
    head_first: bool = False
    xet: bool = False  # another client moves what lies in Xet storage: the journey ends where the hub says so
    headers: tuple[tuple[str, str], ...] = ()


def travel(trip: Trip, means: Means, publish: Callable[[Journey], None]) -> tuple[Journey, list[Arrival]]:
    """Follow ``trip`` over its redirects to the bytes; ``publish`` sees every step."""
    journey = Journey(name=trip.name, purpose=trip.purpose, client=means.client, path=trip.path, published=trip.published)
    arrivals: list[Arrival] = []

    def show(leg: Leg) -> None:
        publish(dataclasses.replace(journey, legs=(*(arrival.leg for arrival in arrivals), leg)))

    for stop in _stops(trip, means, arrivals):
        arrival = _examined(stop, means, show)
        if any(item.question == counterfactual.CONNECTS_LATER and item.works for item in arrival.leg.counterfactuals):
            arrival = _examined(stop, dataclasses.replace(means, patient=True), show)
        arrivals.append(arrival)
    journey = dataclasses.replace(journey, legs=tuple(arrival.leg for arrival in arrivals))
    journey = dataclasses.replace(
        journey, legs=_with_ranges(journey, arrivals, trip, means), method_fallback=counterfactual.get_instead(journey, arrivals, means)
    )
    publish(journey)
    return journey, arrivals


def _examined(stop: Stop, means: Means, show: Callable[[Leg], None]) -> Arrival:
    """One request, and what else was found out where it failed."""
    arrival = go(stop, means, show)
    return dataclasses.replace(arrival, leg=counterfactual.examine(arrival, stop, means))


def _stops(trip: Trip, means: Means, arrivals: list[Arrival]) -> Iterator[Stop]:
    """The requests one after another: HEAD first where the client asks so, GET where the bytes are, wherever a redirect points."""
    get = functools.partial(Stop, sample=trip.sample, headers=trip.headers)
    yield Stop(url=trip.url, method="HEAD", headers=trip.headers) if trip.head_first else get(url=trip.url)
    seen: set[tuple[str, str]] = set()
    while len(arrivals) < MOST_LEGS:
        last, url = arrivals[-1], arrivals[-1].parts.geturl()
        response = last.leg.response
        if not isinstance(response, Response) or not isinstance(response.status, int) or (trip.xet and response.status < 400 and last.xet[0]):
            return
        if response.status in REDIRECTS and last.location:
            following = _joined(url, last.location)
            if (last.leg.method, following) in seen or not _http(following):
                return
            seen.add((last.leg.method, following))
            same = _origin(following) == _origin(url)
            method, sample = ("HEAD", None) if last.leg.method == "HEAD" and same else ("GET", trip.sample)
            in_the_clear = urlsplit(url).scheme == "https" and urlsplit(following).scheme == "http"
            yield Stop(url=following, method=method, sample=sample, headers=trip.headers, with_token=not in_the_clear, pointed_to=True)
        elif last.leg.method == "HEAD" and response.status < 300:
            yield get(url=url)
        else:
            return


def _with_ranges(journey: Journey, arrivals: list[Arrival], trip: Trip, means: Means) -> tuple[Leg, ...]:
    """The legs, the last one with what came of asking for a part (RFC 9110 §14.2), where the file is large enough to be worth resuming."""
    last = arrivals[-1].leg
    if trip.sample.keep or not isinstance(last.body, Body) or last.body.outcome not in ("complete", "sampled"):
        return journey.legs
    if not isinstance(last.body.expected, int) or last.body.expected < WORTH_RESUMING_BYTES:
        return journey.legs
    part = go(
        Stop(url=arrivals[-1].parts.geturl(), sample=http_probe.Sample(most_bytes=1024, seconds=2.0), headers=(*trip.headers, ("Range", "bytes=1-512"))), means
    )
    status = part.leg.response.status if part.leg.response else 0
    answer: Literal["honoured", "ignored", "refused", "untested"] = (
        "honoured" if status == 206 else "ignored" if status == 200 else "refused" if isinstance(status, int) and status >= 400 else "untested"
    )
    return (*journey.legs[:-1], dataclasses.replace(last, body=dataclasses.replace(last.body, ranges=answer)))


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; "" where that is no address (an unclosed bracket)."""
    try:
        return urljoin(url, location)
    except ValueError:
        return ""


def _http(url: str) -> bool:
    """Whether a redirect's target can be asked at all; a host with other characters than a name or an address is nobody's."""
    try:
        parts = urlsplit(url)
        if is_instance_metadata(parts.hostname or ""):  # credentials of this machine's role would come back
            return False
        return parts.scheme in ("http", "https") and bool(re.fullmatch(r"[\w.:%-]{1,253}", parts.hostname or "")) and port_of(parts) > 0
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, port_of(parts)
