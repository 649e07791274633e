"""Connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Address, Attempt, Connection, Journey
from diagnostics.checks.wording import attempt_text, fact, next_hop

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_hosts_accept_connections(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every host (or its proxy) accept a connection?"""
    for leg, connection in expect.reached(journeys, "connection"):
        subject = next_hop(leg)
        tried = [
            fact(subject, f"connect to {attempt.address.ip} port {connection.port}", attempt_text(attempt), "connected") for attempt in connection.attempts
        ]
        expect.that(bool(connection.address), failure(connection), subject, *tried)


def test_every_address_answers(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every address of a host that has several answer, so that no client waits for a dead one?"""
    for leg, connection in expect.reached(journeys, "connection"):
        if connection.address and len(connection.attempts) > 1:
            subject = next_hop(leg)
            tried = [
                fact(subject, f"connect to {attempt.address.ip} port {connection.port}", attempt_text(attempt), "connected") for attempt in connection.attempts
            ]
            expect.that(not dead_ends(connection), "mixed", subject, *tried, severity="warning")


def dead_ends(connection: Connection) -> tuple[Attempt, ...]:
    """Addresses that a client may have to wait for: silent ones before the one that connected, or of its family (resolvers rotate those).

    One that is refused or unreachable at once costs nothing: a client goes on to the next.
    """
    addresses = [attempt.address for attempt in connection.attempts]
    chosen = connection.address
    if not isinstance(chosen, Address):
        return ()
    before = set(addresses[: addresses.index(chosen)])
    return tuple(
        attempt for attempt in connection.attempts if attempt.outcome == "timed_out" and (attempt.address in before or attempt.address.family == chosen.family)
    )


def failure(connection: Connection) -> str:
    """One word for how every address failed; a family that is merely not routed here does not count beside one that is."""
    outcomes = {attempt.outcome for attempt in connection.attempts}
    telling = outcomes - {"unreachable", "denied"} or outcomes
    for word in ("timed_out", "refused", "reset"):
        if word in telling:
            return word
    return "unreachable"
