"""Names."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from diagnostics.case import Connection, Journey, Leg, Resolution, Subject
from diagnostics.checks.wording import fact, next_hop, said_by
from diagnostics.facts.hosts import is_known_public

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

SLOW_SECONDS = 2.5


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
    """No host is at 0.0.0.0; a known public one neither on this machine nor where only a hosts entry says so."""
    addresses = [ipaddress.ip_address(address.ip.partition("%")[0]) for address in resolution.addresses]
    if all(address.is_unspecified for address in addresses):
        return True
    if leg.route.kind == "proxy" or not is_known_public(leg.host):
        return False
    if all(str(address) in ("127.0.0.1", "::1") or address.is_unspecified or address.is_link_local for address in addresses):
        return True
    elsewhere = {ip for answer in resolution.resolvers for ip in answer.addresses}
    private = all(address.is_loopback or address.is_link_local or address.is_private for address in addresses)
    return private and bool(resolution.hosts_file) and bool(elsewhere) and not elsewhere & set(resolution.hosts_file) and isinstance(leg.connection, Connection)
