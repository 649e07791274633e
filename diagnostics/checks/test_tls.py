"""TLS."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Handshake, Journey, Leg, Subject
from diagnostics.checks.wording import destination, duration, fact

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

SKEW_SECONDS = 300.0
AGREE_SECONDS = 120.0
DATE_CODES = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def test_handshakes_complete(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every host speak TLS to the end of the handshake?"""
    for leg, handshake in expect.reached(journeys, "handshake"):
        subject = destination(leg)
        complete = handshake.outcome in ("accepted", "untrusted", "store_unusable")
        expect.that(complete, handshake.outcome, subject, *_how_it_ended(subject, handshake))


def test_certificates_are_trusted(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every host present a certificate that the client trusts?"""
    for leg, handshake in expect.reached(journeys, "handshake"):
        if handshake.outcome in ("accepted", "untrusted", "store_unusable"):
            subject = destination(leg)
            expect.that(handshake.outcome == "accepted", handshake.outcome, subject, *_why_untrusted(subject, handshake))


def test_clock_is_right(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does this machine's clock agree with the servers'?"""
    skews = {leg.host: skew for journey in journeys for leg in journey.legs if isinstance(skew := _skew(leg), float)}
    dated = [leg for journey in journeys for leg in journey.legs if leg.handshake and leg.handshake.code in DATE_CODES]
    if not skews:
        expect.skip("no server told its time")
        return
    middle = statistics.median(skews.values())
    agreed = [host for host, skew in skews.items() if abs(skew - middle) < AGREE_SECONDS]
    # One server may be wrong itself; two that agree, or one whose certificate fails by its date, speak for this clock's fault.
    off = abs(middle) > SKEW_SECONDS and (len(agreed) > 1 or bool(dated))
    subject = Subject(kind="machine", name="clock")
    direction = "ahead of" if middle > 0 else "behind"
    seen = [fact(subject, f"against {host}", f"{duration(abs(skews[host]))} {direction} its Date header", "less than 5 min") for host in agreed]
    expect.that(not off, "skew", subject, *seen, severity="error" if dated else "warning")


def _skew(leg: Leg) -> object:
    if leg.response and isinstance(leg.response.skew_seconds, float):
        return leg.response.skew_seconds
    return leg.handshake.skew_seconds if leg.handshake else None


def _how_it_ended(subject: Subject, handshake: Handshake) -> list[Evidence]:
    how = {
        "closed": "closed by the other side",
        "reset": "reset by the other side",
        "silent": f"no answer in {handshake.seconds:.1f} s",
        "not_tls": "what came is not TLS",
    }
    found = [fact(subject, "handshake", how.get(handshake.outcome, handshake.reason or handshake.message), "completed")]
    found += (
        [fact(subject, "alert", f"{handshake.alert} (from {'the server' if handshake.alert_sent_by == 'server' else 'our side'})")] if handshake.alert else []
    )
    found += [fact(subject, "first bytes", handshake.first_bytes, "a TLS record")] if handshake.first_bytes else []
    return found + ([fact(subject, "versions that would work", ", ".join(handshake.versions_that_work))] if handshake.versions_that_work else [])


def _why_untrusted(subject: Subject, handshake: Handshake) -> list[Evidence]:
    found = [
        fact(subject, "verification", f"{handshake.message} (code {handshake.code})" if handshake.code else handshake.message, f"trusted by {handshake.store}")
    ]
    if handshake.chain:
        leaf, last = handshake.chain[0], handshake.chain[-1]
        found += [fact(subject, "certificate", leaf.subject), fact(subject, "issuer", last.issuer, f"a root in the store “{handshake.store}”")]
        found += [fact(subject, "fingerprint (sha256) of the last certificate sent", last.fingerprint)]
        found += [fact(subject, "valid", f"{leaf.not_before} to {leaf.not_after}")]
        found += [fact(subject, "names", ", ".join(leaf.names[:8]) or "none")]
    words = {True: "accepts it", False: "refuses it"}
    found += [
        fact(subject, f"store “{verdict.store}”", words[verdict.accepted] + (f": {verdict.message}" if verdict.message else ""))
        for verdict in handshake.verdicts
    ]
    return found
