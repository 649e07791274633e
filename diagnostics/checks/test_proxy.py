"""Proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Journey, Leg, Subject, Tunnel
from diagnostics.checks.wording import destination, fact

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_proxies_open_the_way(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does the proxy, where one is used, open the way to every host?"""
    for leg, tunnel in expect.reached(journeys, "tunnel"):
        subject = Subject(kind="proxy", name=tunnel.proxy)
        expect.that(tunnel.outcome == "open", tunnel.outcome, subject, *_evidence(subject, leg, tunnel))
    if not expect.examined and not expect.blocked:
        expect.skip("no request needs a tunnel through a proxy")


def _evidence(subject: Subject, leg: Leg, tunnel: Tunnel) -> list[Evidence]:
    answer = f"{tunnel.status} {tunnel.reason}".strip() if isinstance(tunnel.status, int) else tunnel.outcome
    found = [fact(subject, f"asked for {destination(leg).name}", answer, "200")]
    found += [fact(subject, "set by", leg.route.variable)] if leg.route.variable else []
    found += [fact(subject, "title of its page", tunnel.title)] if tunnel.title else []
    found += [fact(subject, "first bytes", tunnel.first_bytes)] if tunnel.first_bytes and not tunnel.title else []
    found += [fact(subject, "it says", tunnel.message)] if tunnel.message else []
    found += (
        [fact(subject, "authentication it offers", ", ".join(tunnel.schemes)), fact(subject, "credentials sent", "yes" if tunnel.credentials_sent else "no")]
        if tunnel.schemes
        else []
    )
    return found + [fact(subject, header.name, header.value) for header in tunnel.headers if header.name in ("server", "via", "x-squid-error", "proxy-agent")]
