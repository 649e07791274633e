"""The way of each request, rung by rung: how far it got, what was seen there, and how long it took."""

from __future__ import annotations

from typing import Any

from diagnostics.case import Body, Connection, Handshake, Journey, Leg, Resolution, Response, Tunnel, Unseen
from diagnostics.redact import plain
from diagnostics.render.words import duration, size

STEPS = (("resolution", "Name"), ("connection", "Connection"), ("tunnel", "Proxy"), ("handshake", "TLS"), ("response", "Answer"), ("body", "Content"))
MARKS = {"good": "✓", "bad": "✗", "behind": "·"}
GOOD = frozenset(["open", "accepted", "complete", "sampled"])


def ladder(journey: Journey) -> dict[str, Any]:
    """``{"purpose", "legs": [{"method", "url", "by", "steps": [{"label", "state", "mark", "seen", "time"}]}]}``."""
    return {"purpose": plain(journey.purpose, 200), "legs": [_leg(leg) for leg in journey.legs]}


def _leg(leg: Leg) -> dict[str, Any]:
    steps = [_step(label, getattr(leg, name)) for name, label in STEPS]
    return {"method": leg.method, "url": leg.url, "by": leg.route.proxy if leg.route.kind == "proxy" else "", "steps": [step for step in steps if step]}


def _step(label: str, record: Any) -> dict[str, str]:
    """One rung; empty where it was not asked for."""
    if isinstance(record, Unseen):
        if record.why == "timed_out":
            return _rung(label, "bad", record.detail or "out of time", "")
        return _rung(label, "behind", "not reached", "") if record.why == "not_reached" else {}
    return _rung(label, "good" if went_well(record) else "bad", seen(record), duration(record.seconds) if record.seconds else "")


def _rung(label: str, state: str, what: str, time: str) -> dict[str, str]:
    return {"label": label, "state": state, "mark": MARKS[state], "seen": plain(what, 120), "time": time}


def went_well(record: Any) -> bool:
    """Whether the request could go on from this step."""
    if isinstance(record, Resolution):
        return bool(record.addresses)
    if isinstance(record, Connection):
        return bool(record.address)
    if isinstance(record, Response):
        return record.outcome == "answered" and isinstance(record.status, int) and record.status < 400
    return record.outcome in GOOD


def seen(record: Any) -> str:
    """What was seen at this step, in a few words."""
    match record:
        case Resolution():
            return ", ".join(address.ip for address in record.addresses[:2]) + (" …" if len(record.addresses) > 2 else "") or record.error
        case Connection():
            return f"port {record.port}" if record.address else ", ".join(dict.fromkeys(_words(attempt.outcome) for attempt in record.attempts))
        case Tunnel():
            return _status(record)
        case Handshake():
            return record.version if record.outcome == "accepted" else record.message or record.alert or _words(record.outcome)
        case Response():
            return _status(record)
        case Body():
            return _content(record)
    return ""


def _status(record: Tunnel | Response) -> str:
    if isinstance(record.status, int):
        return f"{record.status} {record.title or record.reason}".strip()
    return record.message or _words(record.outcome)


def _content(record: Body) -> str:
    rate = f", {size(record.bytes_per_second)}/s" if isinstance(record.bytes_per_second, int | float) else ""
    return f"{size(record.bytes)}{rate}" if record.outcome in GOOD else f"{_words(record.outcome)} after {size(record.bytes)}"


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")
