"""Names: why one does not resolve. A dead resolver is one diagnosis, however many names it fails."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Cause, Fault, Finding, Leg, Platform, Remedy, Resolution, ResolverAnswer, Subject, Unseen
from diagnostics.causes.claims import again, all_in_one, by_subject, first_hop_fine, host_port, of_leg, offline_remedy, on_legs, proxy_that_works
from diagnostics.facts.hosts import known_hosts

FAILED_RCODES = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH"})


def _unresolved(case: Case, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Leg, Resolution]]:
    for fault, leg in on_legs(case, faults, "resolution", "failed"):
        if isinstance(leg.resolution, Resolution):
            yield fault, leg, leg.resolution


def _answers(resolution: Resolution) -> list[ResolverAnswer]:
    return [answer for answer in resolution.resolvers if not answer.error]


def _rcodes(resolution: Resolution) -> set[str]:
    return {answer.rcode for answer in _answers(resolution) if isinstance(answer.rcode, str)}


# --- network-offline ----------------------------------------------------------------------------------------------------------


def _offline(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Nothing at all is reachable: not even a way to a resolver, or to any address."""
    ends = [journey.legs[-1] for journey in case.journeys or () if journey.legs]
    if not ends or not all(len(journey.legs) == 1 and _no_way(journey.legs[0]) for journey in case.journeys or () if journey.legs):
        return []
    if any(leg.route.kind != "direct" for leg in ends):
        return []
    claims = tuple(fault for fault in faults if fault.step in ("resolution", "connection") and fault.code in ("failed", "unreachable"))
    return (
        [
            Finding(
                cause="network-offline",
                subjects=(Subject(kind="machine", name="network"),),
                claims=claims,
                facts={"hosts": ", ".join(dict.fromkeys(leg.host for leg in ends))},
            )
        ]
        if claims
        else []
    )


def _no_way(leg: Leg) -> bool:
    if leg.connection:
        return all(attempt.outcome == "unreachable" for attempt in leg.connection.attempts)
    resolution = leg.resolution
    return isinstance(resolution, Resolution) and bool(resolution.resolvers) and all(answer.error == "unreachable" for answer in resolution.resolvers)


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
            "host": leg.host,
            "address": ", ".join(address.ip for address in resolution.addresses),
            "source": "the hosts file" if resolution.hosts_file else "the resolver",
        }
        found.append(Finding(cause="dns-wrong-address", subjects=(fault.subject,), claims=of_leg(faults, fault), facts=facts))
    return _merged(found)


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
    return [
        Remedy(
            do=f"The resolver sends {host} to {finding.facts['address']}: a sinkhole or block list. Ask whoever runs it (Pi-hole, company DNS) to allow {host}, or use another resolver.",
            check=f"getent hosts {shlex.quote(host)}",
        )
    ]


# --- resolvers ----------------------------------------------------------------------------------------------------------------


def _not_configured(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    if isinstance(case.resolvers, Unseen) or case.resolvers:
        return []
    pairs = [(fault, leg) for fault, leg, resolution in _unresolved(case, faults) if resolution.error != "IDNA"]
    return all_in_one("dns-not-configured", pairs, lambda fault, leg: {"host": leg.host})


def _not_configured_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Name a resolver in /etc/resolv.conf (a line “nameserver ADDRESS”; ask your network's admin for the address). In a container give it one with --dns ADDRESS.",
            check=f"getent hosts {shlex.quote(finding.facts['host'])}",
        )
    ]


def _server_unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if resolution.error != "IDNA" and case.resolvers and not _answers(resolution) and not proxy_that_works(leg)
    ]
    if not pairs:
        return []
    servers = ", ".join(case.resolvers or ())
    subjects = tuple(Subject(kind="resolver", name=server) for server in case.resolvers or ())
    hosts = ", ".join(dict.fromkeys(leg.host for _, leg in pairs))
    return [
        Finding(
            cause="dns-server-unreachable",
            subjects=subjects,
            claims=tuple(fault for fault, _ in pairs),
            facts={"servers": servers, "hosts": hosts, "host": pairs[0][1].host},
        )
    ]


def _server_unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    platform = case.environment.platform
    container = platform.container if isinstance(platform, Platform) else ""
    hint = " In a container, start it with --dns ADDRESS, or repair the host's resolver." if container in ("docker", "podman") else ""
    return [
        Remedy(
            do=f"The resolver {finding.facts['servers']} (from /etc/resolv.conf) does not answer. Connect the VPN it belongs to, correct the address, or ask your network's admin.{hint}",
            run="cat /etc/resolv.conf",
            check=f"getent hosts {shlex.quote(finding.facts['host'])}",
        ),
        *offline_remedy(case),
    ]


def _server_failure(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if _rcodes(resolution) and _rcodes(resolution) <= FAILED_RCODES and not proxy_that_works(leg)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.resolution, Resolution)
        answers = [answer for answer in _answers(leg.resolution) if answer.rcode in FAILED_RCODES]
        extended = "; ".join(dict.fromkeys(text for answer in answers for text in answer.extended_errors))
        dnssec = any(answer.checking_disabled_helps is True for answer in answers)
        return {"host": leg.host, "server": answers[0].server, "rcode": str(answers[0].rcode), "extended": extended, "dnssec": "yes" if dnssec else ""}

    return all_in_one("dns-server-failure", pairs, facts)


def _server_failure_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["dnssec"]:
        do = f"{facts['server']} refuses {facts['host']} because its DNSSEC signatures do not hold (it answers with checking disabled). Check this machine's clock; else report it to whoever runs the resolver or the zone."
    elif facts["rcode"] == "REFUSED":
        do = f"{facts['server']} refuses to answer this machine about {facts['host']}: a policy, or a resolver for other networks. Ask whoever runs it, or use the resolver your network hands out."
    else:
        do = f"{facts['server']} could not find out about {facts['host']} ({facts['rcode']}). Try again in a minute; if it stays, report it to whoever runs the resolver, or use another."
    return [
        Remedy(do=do + (f" It says: {facts['extended']}." if facts["extended"] else ""), check=f"getent hosts {shlex.quote(facts['host'])}"),
        *offline_remedy(case),
    ]


def _no_address(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if ("NOERROR" in _rcodes(resolution) and not any(answer.addresses for answer in _answers(resolution)))
        or (not _rcodes(resolution) and resolution.error in ("EAI_NODATA", "EAI_ADDRFAMILY"))
        if fault.subject.kind != "proxy" and not proxy_that_works(leg)
    ]
    return by_subject("dns-no-address", pairs, lambda fault, leg: {"host": leg.host})


def _no_address_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host = finding.facts["host"]
    return [
        Remedy(
            do=f"{host} exists but has no address here. Check its spelling; if it is right, ask your network's admin whether the resolver filters it, or use another resolver.",
            check=f"getent ahosts {shlex.quote(host)}",
        )
    ]


def _name_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if "NXDOMAIN" in _rcodes(resolution) or (not _rcodes(resolution) and resolution.error in ("EAI_NONAME", "IDNA"))
        if fault.subject.kind != "proxy" and not proxy_that_works(leg)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        near = difflib.get_close_matches(leg.host.lower(), [host for host in known_hosts() if host != leg.host.lower()], 1, 0.8)
        return {
            "host": leg.host,
            "near": near[0] if near else "",
            "servers": ", ".join(case.resolvers or ()),
            "later": "yes" if first_hop_fine(case, fault) else "",
        }

    return by_subject("dns-name-unknown", pairs, facts)


def _name_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    meant = f" Did you mean {facts['near']}?" if facts["near"] else ""
    setting = " It comes from HF_ENDPOINT." if case.environment.endpoint and facts["host"] in case.environment.endpoint.value else ""
    admin = (
        f" If the spelling is right, this network's resolver ({facts['servers']}) hides it: ask its admin to allow {facts['host']}." if facts["servers"] else ""
    )
    return [Remedy(do=f"Check the spelling of {facts['host']}.{meant}{setting}{admin}", check=f"getent hosts {shlex.quote(facts['host'])}")]


# --- dns-slow -----------------------------------------------------------------------------------------------------------------


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.resolution, Resolution)
        silent = dict.fromkeys(answer.server for answer in leg.resolution.resolvers if answer.error)
        return {"host": host_port(fault.subject)[0], "seconds": f"{leg.resolution.seconds:.1f}", "silent": ", ".join(silent)}

    return all_in_one("dns-slow", on_legs(case, faults, "resolution", "slow"), facts)


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
        why="Every host ({hosts}) failed at the very first step, and the system says that there is no route at all. Retrying cannot help.",
        recognise=_offline,
        remedies=_offline_remedies,
        lab="network-offline",
    ),
    Cause(
        id="dns-wrong-address",
        owner=("network", "you"),
        title="{host} resolves to {address}, where it cannot be; {source} says so",
        why="A public host is never at an unspecified, loopback or otherwise local address. Something (a hosts entry, a sinkhole, a block list) answers in its place, so every connection goes nowhere.",
        recognise=_wrong_address,
        remedies=_wrong_address_remedies,
        lab="dns-wrong-address",
    ),
    Cause(
        id="dns-not-configured",
        owner=("machine",),
        title="No DNS resolver is configured on this machine, so no name resolves",
        why="/etc/resolv.conf names no server. The name of {host} could not be looked up anywhere.",
        recognise=_not_configured,
        remedies=_not_configured_remedies,
        lab="dns-not-configured",
    ),
    Cause(
        id="dns-server-unreachable",
        owner=("network",),
        title="The DNS resolver {servers} does not answer, so no name resolves",
        why="Each configured resolver was asked directly, over UDP and TCP, and none answered. {hosts} may be perfectly well; this machine cannot find out where it is.",
        recognise=_server_unreachable,
        remedies=_server_unreachable_remedies,
        lab="dns-server-unreachable",
    ),
    Cause(
        id="dns-server-failure",
        owner=("network",),
        title="The DNS resolver {server} answers {rcode} for {host}",
        why="The resolver is reachable and says that it could not, or would not, look the name up. The client sees only “temporary failure in name resolution”.",
        recognise=_server_failure,
        remedies=_server_failure_remedies,
        lab="dns-server-failure",
    ),
    Cause(
        id="dns-no-address",
        owner=("network",),
        title="{host} exists in DNS but has no address",
        why="The resolver knows the name and has neither an A nor an AAAA record for it.",
        recognise=_no_address,
        remedies=_no_address_remedies,
        lab="dns-no-address",
    ),
    Cause(
        id="dns-name-unknown",
        owner=("you", "network"),
        title="The name {host} does not exist, says DNS",
        why="The resolver works and answers that there is no such name (NXDOMAIN). Either it is misspelt, or this network hides it.",
        recognise=_name_unknown,
        remedies=_name_unknown_remedies,
        lab="dns-name-unknown",
    ),
    Cause(
        id="dns-slow",
        owner=("network",),
        severity="warning",
        title="Looking up {host} took {seconds} s",
        why="Every new connection pays this wait. Usually the first resolver in the list does not answer and the second one does.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab="dns-slow",
    ),
)
