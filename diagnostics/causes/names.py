"""Names: why one does not resolve. A dead resolver is one diagnosis, however many names it fails."""

from __future__ import annotations

import difflib
import errno
import shlex
from collections.abc import Callable, Iterator

from diagnostics.case import Case, Cause, Connection, Fault, Finding, Leg, Platform, Remedy, Resolution, ResolverAnswer, Subject, Unseen
from diagnostics.causes.claims import again, all_in_one, first_hop_fine, host_port, of_leg, offline_remedy, on_legs, proxy_that_works, some
from diagnostics.facts.hosts import known_hosts

NO_ROUTE = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
RESERVED_WORDS = "No name under .invalid ever exists (RFC 6761)."
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
    if leg.route.kind != "direct" or _reserved(leg) or not isinstance(resolution, Resolution) or not isinstance(platform, Platform):
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
            "host": leg.host,
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


# --- resolvers ----------------------------------------------------------------------------------------------------------------


def _not_configured(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    if isinstance(case.resolvers, Unseen):
        return []
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if resolution.error not in ("IDNA", "TIMED_OUT") and not _reserved(leg) and (not case.resolvers or _not_looked_up(resolution))
    ]
    where = "/etc/nsswitch.conf leaves DNS out (hosts: {})" if case.resolvers else "/etc/resolv.conf names no server"
    return all_in_one(
        "dns-not-configured", pairs, lambda fault, leg: {"host": leg.host, "where": where.format(leg.resolution.sources if leg.resolution else "")}
    )


def _not_looked_up(resolution: Resolution) -> bool:
    """The resolvers know the name, and the system does not ask them."""
    words = resolution.sources.split()
    return bool(words) and not {"dns", "resolve", "nss_dns"} & set(words) and any(answer.addresses for answer in resolution.resolvers)


def _not_configured_remedies(finding: Finding, case: Case) -> list[Remedy]:
    check = f"getent hosts {shlex.quote(finding.facts['host'])}"
    if case.resolvers:
        return [Remedy(do="Add dns to the hosts line of /etc/nsswitch.conf: “hosts: files dns”.", run="grep -n hosts: /etc/nsswitch.conf", check=check)]
    platform = case.environment.platform
    cut_off = isinstance(platform, Platform) and platform.default_route is False
    unplugged = " There is no default route either: connect this machine to its network first, which usually names a resolver by itself." if cut_off else ""
    return [
        Remedy(
            do=f"Name a resolver in /etc/resolv.conf (a line “nameserver ADDRESS”; ask your network's admin for the address). In a container give it one with --dns ADDRESS.{unplugged}",
            run="cat /etc/resolv.conf",
            check=check,
        ),
        *offline_remedy(case),
    ]


def _resolver_faults(case: Case, faults: tuple[Fault, ...], chosen: Callable[[Resolution], bool]) -> list[tuple[Fault, Leg]]:
    """Names that do not resolve in this way, though they could be asked for and no other way out is known."""
    found = ((fault, leg, resolution) for fault, leg, resolution in _unresolved(case, faults) if resolution.error != "IDNA" and not _reserved(leg))
    return [(fault, leg) for fault, leg, resolution in found if not proxy_that_works(leg) and chosen(resolution)]


def _unheard(resolution: Resolution) -> str:
    """How the resolvers cannot be heard: at all, over UDP, over TCP; "" where they can. One that is silent about a single name can be heard."""
    over = {transport: [answer for answer in resolution.resolvers if answer.transport == transport] for transport in ("udp", "tcp")}
    dead = {transport: all(answer.error and not answer.answers_others for answer in answers) for transport, answers in over.items()}
    if dead["udp"]:
        return "at all" if dead["tcp"] else "over UDP"
    long = [answer for answer in over["udp"] if not answer.error]
    return "over TCP" if dead["tcp"] and long and all(answer.truncated for answer in long) else ""


def _server_unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = _resolver_faults(case, faults, lambda resolution: bool(case.resolvers and _unheard(resolution)))
    if not pairs:
        return []
    resolution = pairs[0][1].resolution
    assert isinstance(resolution, Resolution)
    how = _unheard(resolution)
    return [
        Finding(
            cause="dns-server-unreachable",
            subjects=tuple(Subject(kind="resolver", name=server) for server in case.resolvers or ()),
            claims=tuple(fault for fault, _ in pairs),
            facts={
                "servers": some(case.resolvers or ()),
                "resolvers": "The DNS resolver" if len(case.resolvers or ()) == 1 else "None of the DNS resolvers",
                "answers": ("does not answer" if len(case.resolvers or ()) == 1 else "answers") + ("" if how == "at all" else f" {how}"),
                "how": how,
                "tried": {
                    "at all": "Each configured resolver was asked directly, over UDP and TCP, and none answered.",
                    "over UDP": "Over TCP the resolver answers; over UDP, where the system asks first, nothing comes back.",
                    "over TCP": "Over UDP the resolver says that its answer is too long and has to be fetched over TCP; there nothing comes back.",
                }[how],
                "denied": "yes" if any(answer.error == "denied" for answer in resolution.resolvers) else "",
                "local": "yes" if all(server.startswith("127.") or server == "::1" for server in case.resolvers or ()) else "",
                "hosts": some(leg.host for _, leg in pairs),
                "host": pairs[0][1].host,
            },
        )
    ]


def _server_unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    check = f"getent hosts {shlex.quote(facts['host'])}"
    remedies = []
    if facts["how"] == "over UDP":
        run = "echo 'options use-vc' | sudo tee -a /etc/resolv.conf"
        remedies.append(Remedy(do="Let the C library ask over TCP, where the resolver answers.", run=run, check=check, proof="seen"))
    if facts["how"] != "at all":
        port = "53/udp" if facts["how"] == "over UDP" else "53/tcp"
        remedies.append(Remedy(do=f"Ask your network's admin to let {port} through to {facts['servers']}.", check=check))
        return [*remedies, *offline_remedy(case)]
    if facts["local"]:
        do = f"{facts['servers']} is this machine itself: start the resolver that should run here (systemd-resolved, dnsmasq, a VPN client), or name another in /etc/resolv.conf."
        remedies.append(Remedy(do=do, run="systemctl status systemd-resolved", check=check))
    else:
        denied = " A packet filter of this very machine drops the questions (iptables, nft): look there first." if facts["denied"] else ""
        do = f"Nothing comes back from {facts['servers']} (named in /etc/resolv.conf). Connect the VPN it belongs to, correct the address, or ask your network's admin.{denied}{_in_container(case)}"
        remedies.append(Remedy(do=do, run="cat /etc/resolv.conf", check=check))
    return [*remedies, *offline_remedy(case)]


def _in_container(case: Case) -> str:
    platform = case.environment.platform
    container = platform.container if isinstance(platform, Platform) else ""
    return " In a container, start it with --dns ADDRESS, or repair the host's resolver." if container in ("docker", "podman") else ""


def _fails(resolution: Resolution) -> bool:
    """Somebody answers, and nobody says anything of use; or an answer comes only when asked again."""
    if _unheard(resolution):
        return False
    silent = any(answer.answers_others for answer in resolution.resolvers)
    return (_rcodes(resolution) <= FAILED_RCODES and bool(_rcodes(resolution) or silent)) or _unsteady(resolution)


def _unsteady(resolution: Resolution) -> bool:
    return resolution.error not in ("TIMED_OUT", "EAI_NONAME", "EAI_NODATA") and any(answer.addresses for answer in _answers(resolution))


def _server_failure(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = _resolver_faults(case, faults, _fails)
    hosts = some(leg.host for _, leg in pairs)
    return all_in_one("dns-server-failure", pairs, lambda fault, leg: {"hosts": hosts, **_failure_facts(leg)})


def _failure_facts(leg: Leg) -> dict[str, str]:
    assert isinstance(leg.resolution, Resolution)
    resolution = leg.resolution
    refusing = [answer for answer in _answers(resolution) if answer.rcode in FAILED_RCODES]
    silent = [answer for answer in resolution.resolvers if answer.answers_others]
    who = (refusing or silent or list(resolution.resolvers))[0]
    rcode = str(who.rcode) if refusing else ""
    return {
        "host": leg.host,
        "server": who.server,
        "rcode": rcode,
        "says": f"answers {rcode} for" if rcode else "says nothing about" if silent else "answers only now and then about",
        "extended": "; ".join(dict.fromkeys(text for answer in refusing for text in answer.extended_errors)),
        "dnssec": "yes" if any(answer.checking_disabled_helps is True for answer in refusing) else "",
    }


def _server_failure_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    server, host = facts["server"], facts["host"]
    if facts["dnssec"]:
        do = f"{server} refuses {host} because its DNSSEC signatures do not hold (it answers with checking disabled). Check this machine's clock; else report it to whoever runs the resolver or the zone."
    elif facts["rcode"] == "REFUSED":
        do = f"{server} refuses to answer this machine about {host}: a policy, or a resolver for other networks. Ask whoever runs it, or use the resolver your network hands out."
    elif facts["rcode"]:
        do = f"{server} could not find out about {host} ({facts['rcode']}). Try again in a minute; if it stays, report it to whoever runs the resolver, or use another."
    elif facts["says"] == "says nothing about":
        do = f"{server} answers other questions and drops those about {host}: a filter, or a resolver that cannot reach that zone's servers. Ask whoever runs it, or use another resolver."
    else:
        do = f"{server} answered about {host} only when asked once more: try again, and report it to whoever runs the resolver if it stays."
    return [
        Remedy(do=do + (f" It says: {facts['extended']}." if facts["extended"] else ""), run="cat /etc/resolv.conf", check=f"getent hosts {shlex.quote(host)}"),
        *offline_remedy(case),
    ]


def _empty(resolution: Resolution) -> bool:
    """An answer without an address, whole (what is truncated is none)."""
    if not _rcodes(resolution):
        return resolution.error in ("EAI_NODATA", "EAI_ADDRFAMILY") and not _unheard(resolution)
    answers = _answers(resolution)
    return any(answer.rcode == "NOERROR" and not answer.truncated for answer in answers) and not any(answer.addresses for answer in answers)


def _no_address(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in _resolver_faults(case, faults, _empty) if fault.subject.kind != "proxy"]
    hosts = some(leg.host for _, leg in pairs)
    return all_in_one("dns-no-address", pairs, lambda fault, leg: {"host": leg.host, "hosts": hosts, **_admission(leg)})


def _admission(leg: Leg) -> dict[str, str]:
    """What the resolvers add in words."""
    answers = _answers(leg.resolution) if isinstance(leg.resolution, Resolution) else []
    said = "; ".join(dict.fromkeys(text for answer in answers for text in answer.extended_errors))
    return {"extended": f" It says: {said}." if said else ""}


def _no_address_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host = finding.facts["host"]
    return [
        Remedy(
            do=f"Check the spelling of {host}; if it is right, ask your network's admin whether the resolver filters it, or use another resolver.{finding.facts['extended']}",
            check=f"getent ahosts {shlex.quote(host)}",
        )
    ]


def _name_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if "NXDOMAIN" in _rcodes(resolution) or _reserved(leg) or (not _rcodes(resolution) and resolution.error in ("EAI_NONAME", "IDNA"))
        if fault.subject.kind != "proxy" and not proxy_that_works(leg)
    ]
    hosts = some(leg.host for _, leg in pairs)

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        near = difflib.get_close_matches(leg.host.lower(), [host for host in known_hosts() if host != leg.host.lower()], 1, 0.8)
        return {
            "host": leg.host,
            "hosts": hosts,
            "near": near[0] if near else "",
            "servers": ", ".join(case.resolvers or ()),
            "knows": _who_knows(leg),
            "says": RESERVED_WORDS if _reserved(leg) else "The resolver works and answers that there is no such name (NXDOMAIN).",
            "later": "yes" if first_hop_fine(case, fault) else "",
            **_admission(leg),
        }

    return all_in_one("dns-name-unknown", pairs, facts)


def _reserved(leg: Leg) -> bool:
    """A name that cannot exist, whatever the resolvers do (RFC 6761 §6.4)."""
    return leg.host.lower().rstrip(".").rpartition(".")[2] == "invalid"


def _who_knows(leg: Leg) -> str:
    """A resolver that gives an address, though one before it says that there is no such name."""
    answers = leg.resolution.resolvers if isinstance(leg.resolution, Resolution) else ()
    return next((answer.server for answer in answers if answer.addresses), "")


def _name_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


# --- dns-slow -----------------------------------------------------------------------------------------------------------------


def _slow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.resolution, Resolution)
        silent = dict.fromkeys(answer.server for answer in leg.resolution.resolvers if answer.error)
        return {
            "host": host_port(fault.subject)[0],
            "seconds": f"{leg.resolution.seconds:.1f}",
            "silent": ", ".join(silent),
            "so": "and was not done" if fault.code == "failed" else "",
        }

    too_slow = [
        (fault, leg)
        for fault, leg, resolution in _unresolved(case, faults)
        if resolution.error == "TIMED_OUT" and any(answer.addresses for answer in resolution.resolvers)
    ]
    return all_in_one("dns-slow", [*too_slow, *on_legs(case, faults, "resolution", "slow")], facts, "error" if too_slow else None)


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
        recognise=_not_configured,
        remedies=_not_configured_remedies,
        lab="dns-not-configured",
    ),
    Cause(
        id="dns-server-unreachable",
        owner=("network",),
        title="{resolvers} {servers} {answers}, so names do not resolve",
        why="{tried} Nothing is known against {hosts}: this machine cannot find out where to go.",
        recognise=_server_unreachable,
        remedies=_server_unreachable_remedies,
        lab="dns-server-unreachable",
    ),
    Cause(
        id="dns-server-failure",
        owner=("network",),
        title="The DNS resolver {server} {says} {hosts}",
        why="The resolver is reachable, and it could not, or would not, look the name up. The client sees only “temporary failure in name resolution”.",
        recognise=_server_failure,
        remedies=_server_failure_remedies,
        lab="dns-server-failure",
    ),
    Cause(
        id="dns-no-address",
        owner=("network",),
        title="In DNS, {hosts} exists but has no address",
        why="The resolver knows the name and has neither an A nor an AAAA record for it.",
        recognise=_no_address,
        remedies=_no_address_remedies,
        lab="dns-no-address",
    ),
    Cause(
        id="dns-name-unknown",
        owner=("you", "network"),
        title="The name {hosts} does not exist, says DNS",
        why="{says} Either it is misspelt, or this network hides it.{extended}",
        recognise=_name_unknown,
        remedies=_name_unknown_remedies,
        lab="dns-name-unknown",
    ),
    Cause(
        id="dns-slow",
        owner=("network",),
        severity="warning",
        title="Looking up {host} took {seconds} s {so}",
        why="Every new connection pays this wait. Usually the first resolver in the list does not answer and the second one does.",
        recognise=_slow,
        remedies=_slow_remedies,
        lab="dns-slow",
    ),
)
