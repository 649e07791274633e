"""Something in between answers in the host's place: portals, filters, legal refusals."""

from __future__ import annotations

import shlex

from diagnostics.case import Case, Fault, Finding, Leg, Remedy
from diagnostics.causes.claims import (
    all_in_one,
    by_subject,
    counterfactual,
    hosts_needed,
    journey_of,
    offline_remedy,
    on_legs,
    sign_in_page,
    with_same_answers,
)
from diagnostics.causes.http_common import by_something_between, facts_of, filter_of, refused
from diagnostics.facts import hosts


def _foreign_portal(leg: Leg) -> str:
    """Where plain http to the host is redirected, when that is a foreign page."""
    found = counterfactual(leg, "plain-http")
    if found is not None and not found.works and found.detail[:3] in ("301", "302", "303", "307", "308", "511"):
        return found.detail.partition(" to ")[2].split(" “")[0] or "a sign-in page"
    return ""


def portal(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """511, or plain http to the host redirected to a foreign page."""
    found: list[tuple[Fault, Leg, str]] = []
    for step in ("response", "handshake", "body", "connection"):
        for fault, leg in on_legs(case, faults, step):
            if leg.response and leg.response.status == 511:
                found.append((fault, leg, leg.response.title or "its sign-in page"))
            elif page := _foreign_portal(leg) or _redirected_plainly(case, leg):
                found.append((fault, leg, page))
    if not found:
        return []
    claims = tuple(dict.fromkeys(fault for fault, _, _ in found))
    return [
        Finding(
            cause="http-captive-portal",
            subjects=tuple(dict.fromkeys(fault.subject for fault in claims)),
            claims=claims,
            facts={"page": found[0][2], "host": found[0][1].host},
        )
    ]


def _redirected_plainly(case: Case, leg: Leg) -> str:
    """A plain-http leg of a journey that is sent away to a sign-in page."""
    journey = next((journey for journey in case.journeys or () if leg in journey.legs), None)
    return sign_in_page(journey) if journey else ""


def portal_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Open http://{facts['host']}/ in a browser on this machine and sign in to the network ({facts['page']}), then try again. A machine without a browser needs a network without sign-in.",
            check=f"curl -sSI http://{shlex.quote(facts['host'])}/",
        )
    ]


def blocked(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in refused(case, faults, 403, 451) if by_something_between(case, leg)]
    pairs += [
        (fault, leg)
        for step in ("body", "response")
        for fault, leg in on_legs(case, faults, step, "page", "page-head", "not-json", "metadata", "method")
        if _page_of_filter(case, fault, leg)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        place = _in_place_of(case, fault, leg)
        allow = ", ".join(name for name in hosts_needed(case) if name != f"{leg.host}:{leg.port}" or leg.host == place)
        told = f"The answer lacks the headers that {place} always sends" if hosts.is_known_public(place) else "The answer names a filter"
        return {**facts_of(fault, leg), "host": place, "by": f" ({filter_of(leg)})" if filter_of(leg) else "", "hosts": allow, "told": told}

    return all_in_one("http-blocked-by-filter", with_same_answers(case, faults, pairs), facts)


def _in_place_of(case: Case, fault: Fault, leg: Leg) -> str:
    """The host that was asked: where a filter redirects to a host of its own, the one before."""
    journey = journey_of(case, fault)
    before = journey.legs[fault.leg - 1] if journey and fault.leg > 0 else None
    return before.host if before and hosts.is_known_public(before.host) and not hosts.is_known_public(leg.host) else leg.host


def _page_of_filter(case: Case, fault: Fault, leg: Leg) -> bool:
    if fault.code == "method":
        return False
    if filter_of(leg):
        return True
    known = hosts.is_known_public(leg.host) and not (leg.body and leg.body.content in ("json", "xml", "lfs-pointer"))
    return known and fault.code in ("page", "page-head") and by_something_between(case, leg)


def blocked_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Ask your network's admin to allow {facts['hosts']} (the filter answered {facts['status']} in the host's place){': ' + facts['title'] if facts['title'] else ''}.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        ),
        *offline_remedy(case),
    ]


def legally(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject("http-legally-blocked", [(fault, leg) for fault, leg, _ in refused(case, faults, 451)], facts_of)


def legally_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"{finding.facts['host']} may not serve this here for legal reasons. Use another source, or ask its owner.",
            check=f"curl -sSI {shlex.quote(finding.facts['url'])}",
        )
    ]
