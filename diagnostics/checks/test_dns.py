"""Names."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from diagnostics.case import Journey, Leg, Resolution, Subject
from diagnostics.checks.wording import fact, next_hop, said_by
from diagnostics.facts.hosts import is_known_public

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

SLOW_SECONDS = 2.5
FORGED = frozenset({"4", "15", "16", "17"})  # forged answer, blocked, censored, filtered
HOSTNAME_MISMATCH = 62  # X509_V_ERR_HOSTNAME_MISMATCH


def test_names_resolve(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does the name of every host (or of its proxy) resolve?"""
    for leg, resolution in expect.reached(journeys, "resolution"):
        subject = next_hop(leg)
        expect.that(
            bool(resolution.addresses),
            "failed",
            subject,
            fact(subject, "getaddrinfo", f"{resolution.error} {resolution.message}".strip(), "an address"),
            *(fact(Subject(kind="resolver", name=answer.server), f"answer over {answer.transport}", said_by(answer)) for answer in resolution.resolvers),
        )


def test_names_resolve_quickly(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every name resolve without a wait?"""
    for leg, resolution in expect.reached(journeys, "resolution"):
        if resolution.addresses and not resolution.literal:
            subject = next_hop(leg)
            slow = [
                fact(Subject(kind="resolver", name=answer.server), f"answer over {answer.transport}", said_by(answer))
                for answer in resolution.resolvers
                if answer.error
            ]
            seen = fact(subject, "seconds to resolve", f"{resolution.seconds:.1f}", f"less than {SLOW_SECONDS}")
            expect.that(resolution.seconds < SLOW_SECONDS, "slow", subject, seen, *slow, severity="warning")


def test_names_lead_to_their_hosts(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every name lead to an address at which that host can be?"""
    for leg, resolution in expect.reached(journeys, "resolution"):
        if resolution.addresses and not resolution.literal:
            subject = next_hop(leg)
            addresses = ", ".join(address.ip for address in resolution.addresses)
            evidence = [fact(subject, "resolves to", addresses, "a public address")]
            evidence += [fact(subject, "hosts file", ", ".join(resolution.hosts_file))] if resolution.hosts_file else []
            evidence += [fact(subject, "search domain", resolution.search_domain)] if resolution.search_domain else []
            evidence += [fact(subject, "where a resolver says it is", item.detail) for item in leg.counterfactuals if item.question == "other-address"]
            evidence += [
                fact(Subject(kind="resolver", name=answer.server), f"answer over {answer.transport}", said_by(answer)) for answer in resolution.resolvers
            ]
            expect.that(answered(leg) or not misled(leg, resolution), "wrong-address", subject, *evidence)


def answered(leg: Leg) -> bool:
    """Whether somebody answered as this host should: an address is only wrong where it leads nowhere."""
    if leg.scheme == "https" and leg.route.kind == "direct":
        return bool(leg.handshake and leg.handshake.outcome == "accepted")
    return bool(leg.connection and leg.connection.address) if leg.route.kind == "proxy" else bool(leg.response and leg.response.outcome == "answered")


def misled(leg: Leg, resolution: Resolution) -> bool:
    """No host is at 0.0.0.0, nor where a resolver says that it sends others; and none that is found where somebody else says."""
    addresses = [ipaddress.ip_address(address.ip.partition("%")[0]) for address in resolution.addresses]
    if all(address.is_unspecified for address in addresses):
        return True
    if leg.route.kind == "proxy":
        return False
    if _captured(leg, resolution) or admitted(resolution) or any(item.question == "other-address" and item.works for item in leg.counterfactuals):
        return True
    # On this machine itself somebody may play a public host on purpose (a mirror); then whoever answers goes by its name.
    own = all(address.is_loopback or address.is_unspecified or address.is_link_local for address in addresses)
    return own and is_known_public(leg.host) and not _goes_by_that_name(leg)


def _captured(leg: Leg, resolution: Resolution) -> bool:
    """Whether a search domain answers in the place of a name that is complete; for a short one (hub, hub.svc) that is what search domains are for."""
    complete = is_known_public(leg.host) or any(answer.addresses for answer in resolution.resolvers)
    return bool(resolution.search_domain) and complete


def admitted(resolution: Resolution) -> str:
    """The extended error with which a resolver says that this is no true answer (RFC 8914 §4), "" where none does."""
    said = (text for answer in resolution.resolvers for text in answer.extended_errors)
    return next((text for text in said if text.removeprefix("EDE ").split(" ", 1)[0].rstrip(":") in FORGED), "")


def _goes_by_that_name(leg: Leg) -> bool:
    """Whether somebody is there, and does not show another's certificate."""
    return bool(leg.connection and leg.connection.address) and not (leg.handshake and leg.handshake.code == HOSTNAME_MISMATCH)
