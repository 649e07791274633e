"""Names: why one does not resolve. A dead resolver is one diagnosis, however many names it fails."""

from __future__ import annotations

import errno
import shlex

from diagnostics.case import Case, Cause, Connection, Fault, Finding, Leg, Platform, Remedy, Resolution, Subject
from diagnostics.causes import names_answers, names_resolvers
from diagnostics.causes.claims import again, all_in_one, host_port, of_leg, offline_remedy, on_legs, proxy_that_works, some
from diagnostics.causes.names_common import looked_up, reserved, unresolved

NO_ROUTE = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


# --- network-offline ----------------------------------------------------------------------------------------------------------


def _offline(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Nothing at all is reachable: not even a way to a resolver, or to any address."""
    journeys = [journey for journey in case.journeys or () if journey.legs]
    legs = [journey.legs[0] for journey in journeys]
    if not legs or not all(len(journey.legs) == 1 and _no_way(journey.legs[0], case) for journey in journeys):
        return []
    claims = tuple(fault for fault in faults if fault.step in ("resolution", "connection") and fault.code in ("failed", "unreachable"))
    if not claims:
        return []
    platform = case.environment.platform
    unplugged = isinstance(platform, Platform) and platform.link_up is False
    because = "no network card of this machine has a link" if unplugged else "the system knows no route, neither to them nor to a resolver"
    facts = {"hosts": some(leg.host for leg in legs), "because": because}
    return [Finding(cause="network-offline", subjects=(Subject(kind="machine", name="network"),), claims=claims, facts=facts)]


def _no_way(leg: Leg, case: Case) -> bool:
    """The system knows no route, neither to an address nor to any resolver. A route that was shut on purpose says EHOSTUNREACH or EACCES, and is no such case."""
    platform, resolution = case.environment.platform, leg.resolution
    if leg.route.kind != "direct" or reserved(leg) or not isinstance(resolution, Resolution) or not isinstance(platform, Platform):
        return False
    if platform.default_route is True or proxy_that_works(leg):
        return False
    silent = all(answer.error == "unreachable" for answer in resolution.resolvers) or _unplugged(platform, resolution)
    if isinstance(leg.connection, Connection):
        return silent and all(attempt.outcome == "unreachable" and attempt.errno in NO_ROUTE for attempt in leg.connection.attempts)
    return silent and (bool(resolution.resolvers) or platform.link_up is False)


def _unplugged(platform: Platform, resolution: Resolution) -> bool:
    """Every cable is out and every radio off, and a resolver on this machine itself (systemd-resolved) has nothing to say."""
    local = all(answer.server.startswith("127.") or answer.server == "::1" for answer in resolution.resolvers)
    return platform.link_up is False and local and not any(answer.addresses for answer in resolution.resolvers)


def _offline_remedies(finding: Finding, case: Case) -> list[Remedy]:
    platform = case.environment.platform
    container = platform.container if isinstance(platform, Platform) else ""
    where = {
        "slurm": "Compute nodes of a cluster often have no way out: download on the login node into a shared HF_HOME, then run with HF_HUB_OFFLINE=1.",
        "docker": "Start the container with a network (it may run with --network none), or bake the model into the image.",
        "kaggle": "Turn the notebook's setting Internet on, or attach the model as an input.",
        "kubernetes": "Check the pod's NetworkPolicy, or bring the model with an init container or a volume.",
    }
    return [
        Remedy(
            do=where.get(container, "Connect this machine to a network, or bring the files another way (download on a connected machine, copy the cache)."),
            check="ip route",
        ),
        *offline_remedy(case),
    ]


# --- dns-wrong-address --------------------------------------------------------------------------------------------------------


def _wrong_address(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    found = []
    for fault, leg in on_legs(case, faults, "resolution", "wrong-address"):
        resolution = leg.resolution
        assert isinstance(resolution, Resolution)
        facts = {
            "host": looked_up(leg),
            "address": ", ".join(address.ip for address in resolution.addresses),
            "source": _source(resolution),
            "domain": resolution.search_domain,
        }
        found.append(Finding(cause="dns-wrong-address", subjects=(fault.subject,), claims=of_leg(faults, fault), facts=facts))
    return _merged(found)


def _source(resolution: Resolution) -> str:
    """Who says so."""
    if resolution.hosts_file:
        return "the hosts file"
    return f"the search domain {resolution.search_domain}" if resolution.search_domain else "the resolver"


def _merged(findings: list[Finding]) -> list[Finding]:
    """One finding a subject."""
    merged: dict[tuple[Subject, ...], Finding] = {}
    for finding in findings:
        before = merged.get(finding.subjects)
        claims = (*before.claims, *finding.claims) if before else finding.claims
        merged[finding.subjects] = Finding(cause=finding.cause, subjects=finding.subjects, claims=claims, facts=finding.facts)
    return list(merged.values())


def _wrong_address_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host = finding.facts["host"]
    if finding.facts["source"] == "the hosts file":
        return [
            Remedy(
                do=f"Remove the line for {host} from the hosts file (/etc/hosts, or C:\\Windows\\System32\\drivers\\etc\\hosts).",
                run=f"grep -n {shlex.quote(host)} /etc/hosts",
                check=f"getent hosts {shlex.quote(host)}",
            )
        ]
    if domain := finding.facts["domain"]:
        return [
            Remedy(
                do=f"{host}.{domain} exists (every name under {domain} does) and is tried for {host}: take {domain} out of the search line of /etc/resolv.conf, lower “options ndots” there to 1, or ask whoever runs {domain} to remove the wildcard.",
                run="grep -nE 'search|ndots' /etc/resolv.conf",
                check=f"getent hosts {shlex.quote(host)}",
            )
        ]
    return [
        Remedy(
            do=f"The resolver sends {host} to {finding.facts['address']}: a sinkhole or block list. Ask whoever runs it (Pi-hole, company DNS) to allow {host}, or use another resolver.",
            check=f"getent hosts {shlex.quote(host)}",
        )
    ]


# --- dns-slow -----------------------------------------------------------------------------------------------------------------


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.resolution, Resolution)
        silent = dict.fromkeys(answer.server for answer in leg.resolution.resolvers if answer.error)
        return {
            "host": host_port(fault.subject)[0],
            "seconds": f"{leg.resolution.seconds:.1f}",
            "silent": ", ".join(silent),
            "so": " and was not done" if fault.code == "failed" else "",
        }

    too_slow = [
        (fault, leg)
        for fault, leg, resolution in unresolved(case, faults)
        if resolution.error == "TIMED_OUT" and any(answer.addresses for answer in resolution.resolvers)
    ]
    late = [*too_slow, *on_legs(case, faults, "resolution", "slow")]
    unfinished = [(fault, leg) for fault, leg in on_legs(case, faults, "resolution", "timed_out") if late]  # the budget went there
    return all_in_one("dns-slow", [*late, *unfinished], facts, "error" if too_slow or unfinished else None)


def _slow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    silent = finding.facts["silent"]
    do = (
        f"Move the resolver that does not answer ({silent}) out of /etc/resolv.conf or behind the one that does."
        if silent
        else "Ask whoever runs the resolver, or put a faster one first in /etc/resolv.conf; “options timeout:1 attempts:2” there shortens the wait."
    )
    return [Remedy(do=do, run="cat /etc/resolv.conf", check=again(case))]


CAUSES = (
    Cause(
        id="network-offline",
        owner=("machine",),
        title="This machine has no network: there is no way to any host or resolver",
        why="Every host ({hosts}) failed at the very first step: {because}. Retrying cannot help.",
        recognise=_offline,
        remedies=_offline_remedies,
        lab="network-offline",
    ),
    Cause(
        id="dns-wrong-address",
        owner=("network", "you"),
        title="The name {host} leads to {address}, where it is not; {source} says so",
        why="Something (a hosts entry, a sinkhole, a block list, a search domain) answers in the place of DNS, so every connection goes nowhere or to somebody else.",
        recognise=_wrong_address,
        remedies=_wrong_address_remedies,
        lab="dns-wrong-address",
    ),
    Cause(
        id="dns-not-configured",
        owner=("machine",),
        title="No DNS resolver is configured on this machine, so no name resolves",
        why="{where}. The name of {host} could not be looked up anywhere.",
        recognise=names_resolvers.not_configured,
        remedies=names_resolvers.not_configured_remedies,
        lab="dns-not-configured",
    ),
    Cause(
        id="dns-server-unreachable",
        owner=("network",),
        title="{resolvers} {servers} {answers}, so names do not resolve",
        why="{tried} Nothing is known against {hosts}: this machine cannot find out where to go.",
        recognise=names_resolvers.server_unreachable,
        remedies=names_resolvers.server_unreachable_remedies,
        lab="dns-server-unreachable",
    ),
    Cause(
        id="dns-server-failure",
        owner=("network",),
        title="The DNS resolver {server} {says} {hosts}",
        why="The resolver is reachable, and it could not, or would not, look the name up. The client sees only “temporary failure in name resolution”.",
        recognise=names_resolvers.server_failure,
        remedies=names_resolvers.server_failure_remedies,
        lab="dns-server-failure",
    ),
    Cause(
        id="dns-no-address",
        owner=("network",),
        title="In DNS, {hosts} exists but has no address",
        why="The resolver knows the name and has neither an A nor an AAAA record for it.",
        recognise=names_answers.no_address,
        remedies=names_answers.no_address_remedies,
        lab="dns-no-address",
    ),
    Cause(
        id="dns-name-unknown",
        owner=("you", "network"),
        title="The name {hosts} does not exist, says DNS",
        why="{says} Either it is misspelt, or this network hides it.{extended}",
        recognise=names_answers.name_unknown,
        remedies=names_answers.name_unknown_remedies,
        lab="dns-name-unknown",
    ),
    Cause(
        id="dns-slow",
        owner=("network",),
        severity="warning",
        title="Looking up {host} took {seconds} s{so}",
        why="Every new connection pays this wait. Usually the first resolver in the list does not answer and the second one does.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab="dns-slow",
    ),
)
