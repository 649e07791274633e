"""The journey of the bytes where they lie in Xet storage: the hub's token by the hub's client, then the CAS and the store of the pieces as hf_xet asks them.

huggingface_hub ``file_download.py`` (xet_get) and ``utils/_xet.py``; the Xet protocol's specification, api.md and download_protocol.md. The token of the
storage goes to the CAS that the hub names with it and nowhere else, and into no record.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin, urlsplit

from diagnostics.case import Counterfactual, Journey, Leg
from diagnostics.facts.hosts import is_instance_metadata
from diagnostics.probes import counterfactual
from diagnostics.probes import http as http_probe
from diagnostics.probes.journey import Trip, travel
from diagnostics.probes.leg import Arrival, Means, Stop, go

HOME = "https://huggingface.co"  # in whose name the hub gives its own addresses; a client puts the endpoint's in its place
JSON_SAMPLE = http_probe.Sample(most_bytes=4 << 20, seconds=8.0, keep=True)
FIRST_BYTES = ("Range", "bytes=0-65535")  # of the file: the answer names only the pieces that hold them
SAMPLE = http_probe.Sample(most_bytes=8 << 20)
Publish = Callable[[Journey], None]


def see_xet(trip: Trip, fields: tuple[str, str], hub: Means, mover: Means, publish: Publish) -> Journey:
    """Follow ``trip``'s file to its pieces. ``hub`` is how the hub's client goes, ``mover`` how hf_xet does; where it fails, plain HTTP is tried too."""
    digest, refresh = fields
    walk = _Walk(Journey(name="xet", purpose=f"the pieces of the largest file ({trip.path}) in Xet storage", client=mover.client), publish)
    address = _at_endpoint(refresh, trip.url, hub)
    if not _askable(address):
        return walk.journey
    granted = walk.go(Stop(url=address, sample=JSON_SAMPLE, confidential=True), hub)
    about = _json(granted)
    base, token = str(about.get("casUrl") or ""), str(about.get("accessToken") or "")
    if _went_well(granted.leg) and _askable(base) and token.isascii() and token.isprintable():
        mover.secrets.learn([token])
        pieces = _pieces(base.rstrip("/"), digest, token, walk, mover)
        if pieces:
            walk.go(Stop(url=pieces[0], sample=SAMPLE, headers=pieces[1], pointed_to=True, with_token=False), mover)
    if not _went_well(walk.journey.legs[-1]):
        walk.add(_by_plain_http(trip, hub))
    publish(walk.journey)
    return walk.journey


def _pieces(base: str, digest: str, token: str, walk: _Walk, mover: Means) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """Where the first piece lies, and the range of it to ask for; None where the CAS did not say so in a form that we know."""
    headers = (("Authorization", f"Bearer {token}"), FIRST_BYTES)
    stop = Stop(url=f"{base}/v1/reconstructions/{digest}", sample=JSON_SAMPLE, headers=headers, pointed_to=True, with_token=False, confidential=True)
    answered = walk.go(stop, mover)
    if answered.leg.response and answered.leg.response.status in (404, 410):  # an endpoint of this name may be gone one day
        newer = dataclasses.replace(stop, url=f"{base}/v2/reconstructions/{digest}")
        walk.go(newer, mover, instead=True)
        return None
    known: Any = _json(answered).get("fetch_info")
    first = next((item for group in known.values() if isinstance(group, list) for item in group), None) if isinstance(known, dict) else None
    if not isinstance(first, dict) or not _askable(str(first.get("url") or "")):
        return None
    mover.secrets.learn_url(str(first["url"]))
    part = first.get("url_range")
    ends = (part.get("start"), part.get("end")) if isinstance(part, dict) else (None, None)
    wanted = (("Range", f"bytes={ends[0]}-{ends[1]}"),) if all(isinstance(end, int) for end in ends) else ()
    return str(first["url"]), wanted


@dataclasses.dataclass
class _Walk:
    """The journey as far as it went."""

    journey: Journey
    publish: Publish

    def go(self, stop: Stop, means: Means, instead: bool = False) -> Arrival:
        """One leg more (or another in the last one's place), with what can be found out about it where it fails."""
        before = self.journey.legs[:-1] if instead else self.journey.legs

        def show(leg: Leg) -> None:
            self.publish(dataclasses.replace(self.journey, legs=(*before, leg)))

        arrival = go(stop, means, show)
        leg = counterfactual.examine(arrival, stop, means)
        self.journey = dataclasses.replace(self.journey, legs=(*before, leg))
        return dataclasses.replace(arrival, leg=leg)

    def add(self, answer: Counterfactual) -> None:
        """To the last leg."""
        last = self.journey.legs[-1]
        last = dataclasses.replace(last, counterfactuals=(*last.counterfactuals, answer))
        self.journey = dataclasses.replace(self.journey, legs=(*self.journey.legs[:-1], last))


def _by_plain_http(trip: Trip, hub: Means) -> Counterfactual:
    """Whether the same file comes as it does for who does not speak Xet (HF_HUB_DISABLE_XET=1): over the redirect of the hub."""
    seen, _ = travel(dataclasses.replace(trip, name="plain", xet=False, published=trip.published), hub, lambda _: None)
    last = seen.legs[-1]
    came = bool(last.body and last.body.outcome in ("complete", "sampled") and last.body.content != "html")
    return Counterfactual(question="without-xet", works=_went_well(last) and came, detail=f"by GET from {last.host}" if came else f"no more from {last.host}")


def _went_well(leg: Leg) -> bool:
    fine = leg.response and isinstance(leg.response.status, int) and leg.response.status < 300
    return bool(fine) and not (leg.body and leg.body.outcome not in ("complete", "sampled"))


def _at_endpoint(refresh: str, url: str, hub: Means) -> str:
    """The token's address: relative to the file's, and under the endpoint that is set; "" for none."""
    base = hub.endpoint.geturl().rstrip("/")
    try:
        return base + refresh.removeprefix(HOME) if refresh.startswith(HOME + "/") and base else urljoin(url, refresh)
    except ValueError:  # an unclosed bracket
        return ""


def _json(arrival: Arrival) -> dict[str, Any]:
    try:
        found = json.loads(arrival.content or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _askable(url: str) -> bool:
    """An address that a server may send us to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and port != 0 and bool(re.fullmatch(r"[\w.:%-]{1,253}", host)) and not is_instance_metadata(host)
