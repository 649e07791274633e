"""What the checks say alike: subjects and evidence of a leg."""

from __future__ import annotations

import errno
import os

from diagnostics.case import Attempt, Evidence, Leg, ResolverAnswer, Subject
from diagnostics.facts.routes import authority


def next_hop(leg: Leg) -> Subject:
    """Who is spoken to first: the proxy, or the host itself."""
    if leg.route.kind == "proxy":
        return Subject(kind="proxy", name=authority(leg.route.host, leg.route.port))
    return destination(leg)


def destination(leg: Leg) -> Subject:
    return Subject(kind="host", name=f"{leg.host}:{leg.port}")


def said_by(answer: ResolverAnswer) -> str:
    """One resolver's word."""
    if answer.error:
        others = ", though it answers another question" if answer.answers_others else ""
        return {
            "timed_out": f"no answer in {answer.seconds:.0f} s{others}",
            "refused": "port 53 refused",
            "unreachable": "unreachable",
            "denied": "this machine's own packet filter does not let the question out",
            "invalid": "an answer that cannot be read",
        }[answer.error]
    found = "too long an answer for UDP" if answer.truncated else ", ".join(answer.addresses) or "no address"
    return f"{answer.rcode or 'no rcode'}, {found}" + "".join(f" ({text})" for text in answer.extended_errors)


def attempt_text(attempt: Attempt) -> str:
    """One connection attempt."""
    if attempt.outcome == "connected":
        return "connected" if attempt.seconds < 0.5 else f"connected in {attempt.seconds:.1f} s"
    if attempt.outcome == "timed_out":
        return f"no answer in {attempt.seconds:.1f} s"
    return f"{os.strerror(attempt.errno)} ({errno.errorcode.get(attempt.errno, attempt.errno)})"


def size(count: float) -> str:
    """Bytes as a person reads them (decimal units, as hubs show them)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def fact(subject: Subject, name: str, seen: object, expected: str = "") -> Evidence:
    return Evidence(subject=subject, fact=name, seen=str(seen), expected=expected)
