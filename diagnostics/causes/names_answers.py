"""Resolvers that answer, and have no address to give."""

from __future__ import annotations

import difflib
import shlex

from diagnostics.case import Case, Fault, Finding, Leg, Remedy, Resolution
from diagnostics.causes.claims import all_in_one, first_hop_fine, offline_remedy, proxy_that_works, some
from diagnostics.causes.names_common import admission, answers_of, looked_up, rcodes_of, reserved, resolver_faults, unresolved
from diagnostics.causes.names_resolvers import unheard
from diagnostics.facts.hosts import known_hosts

RESERVED_WORDS = "No name under .invalid ever exists (RFC 6761)."


def _empty(resolution: Resolution) -> bool:
    """An answer without an address, whole (what is truncated is none)."""
    if not rcodes_of(resolution):
        return resolution.error in ("EAI_NODATA", "EAI_ADDRFAMILY") and not unheard(resolution)
    answers = answers_of(resolution)
    return any(answer.rcode == "NOERROR" and not answer.truncated for answer in answers) and not any(answer.addresses for answer in answers)


def no_address(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in resolver_faults(case, faults, _empty) if fault.subject.kind != "proxy"]
    hosts = some(looked_up(leg) for _, leg in pairs)
    return all_in_one("dns-no-address", pairs, lambda fault, leg: {"host": looked_up(leg), "hosts": hosts, **admission(leg)})


def no_address_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host = finding.facts["host"]
    return [
        Remedy(
            do=f"Check the spelling of {host}; if it is right, ask your network's admin whether the resolver filters it, or use another resolver.{finding.facts['extended']}",
            check=f"getent ahosts {shlex.quote(host)}",
        )
    ]


def name_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in unresolved(case, faults)
        if "NXDOMAIN" in rcodes_of(resolution) or reserved(leg) or (not rcodes_of(resolution) and resolution.error in ("EAI_NONAME", "IDNA"))
        if fault.subject.kind != "proxy" and not proxy_that_works(leg)
    ]
    hosts = some(looked_up(leg) for _, leg in pairs)

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        near = difflib.get_close_matches(looked_up(leg).lower(), [host for host in known_hosts() if host != looked_up(leg).lower()], 1, 0.8)
        return {
            "host": looked_up(leg),
            "hosts": hosts,
            "near": near[0] if near else "",
            "servers": ", ".join(case.resolvers or ()),
            "knows": _who_knows(leg),
            "says": RESERVED_WORDS if reserved(leg) else "The resolver works and answers that there is no such name (NXDOMAIN).",
            "later": "yes" if first_hop_fine(case, fault) else "",
            **admission(leg),
        }

    return all_in_one("dns-name-unknown", pairs, facts)


def _who_knows(leg: Leg) -> str:
    """A resolver that gives an address, though one before it says that there is no such name."""
    answers = leg.resolution.resolvers if isinstance(leg.resolution, Resolution) else ()
    return next((answer.server for answer in answers if answer.addresses), "")


def name_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    check = f"getent hosts {shlex.quote(facts['host'])}"
    if facts["knows"]:
        do = f"{facts['knows']} knows {facts['host']}; the resolver in front of it in /etc/resolv.conf says that there is no such name, and its word ends the search. Put {facts['knows']} first."
        return [Remedy(do=do, run="cat /etc/resolv.conf", check=check)]
    meant = f" Did you mean {facts['near']}?" if facts["near"] else ""
    setting = " It comes from HF_ENDPOINT." if case.environment.endpoint and facts["host"] in case.environment.endpoint.value else ""
    admin = (
        f" If the spelling is right, this network's resolver ({facts['servers']}) hides it: ask its admin to allow {facts['host']}." if facts["servers"] else ""
    )
    return [
        Remedy(do=f"Check the spelling of {facts['host']}.{meant}{setting}{'' if facts['says'] == RESERVED_WORDS else admin}", check=check),
        *offline_remedy(case),
    ]
