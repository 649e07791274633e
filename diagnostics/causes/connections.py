"""Connections to the hosts themselves; a proxy's own address is the proxies' section."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator

from diagnostics.case import Address, Case, Cause, Connection, Evidence, Fault, Finding, Leg, Platform, Remedy, Resolution, Subject, Tunnel
from diagnostics.causes.claims import (
    again,
    all_in_one,
    counterfactual,
    first_hop_fine,
    host_port,
    hosts_needed,
    leg_of,
    note,
    of_leg,
    offline_remedy,
    on_legs,
    other_hosts_work,
    proxy_that_works,
    some,
    works,
)
from diagnostics.causes.shells import variable_name
from diagnostics.facts import clients

HOW = {
    ("resolution", ""): "the resolver knows no way (other names resolve)",
    ("connection", "refused"): "connections are refused",
    ("connection", "timed_out"): "packets vanish",
    ("connection", "unreachable"): "the system or a router says at once that there is no way",
    ("tunnel", ""): "the proxy opens no way",
    ("handshake", ""): "connections are cut before TLS stands",
}
HIDDEN = "***"  # what redact puts in the place of a login
BLOCKED_STATUSES = frozenset({403, 502, 503, 504})


def _direct(case: Case, faults: tuple[Fault, ...], *codes: str) -> Iterator[tuple[Fault, Leg]]:
    return ((fault, leg) for fault, leg in on_legs(case, faults, "connection", *codes) if fault.subject.kind != "proxy")


def _tried(leg: Leg) -> str:
    return ", ".join(f"{attempt.address.ip}" for attempt in leg.connection.attempts) if isinstance(leg.connection, Connection) else ""


def _facts(fault: Fault, leg: Leg) -> dict[str, str]:
    host, port = host_port(fault.subject)
    tried = _tried(leg)
    named = f"The name resolves ({tried})" if leg.resolution and not leg.resolution.literal else "The address needs no looking up"
    return {"host": host, "port": port, "addresses": tried, "named": named, "check": _check(leg)}


def _check(leg: Leg) -> str:
    """A command that asks the same server for its header alone."""
    name = f"[{leg.host}]" if ":" in leg.host else leg.host
    return f"curl -sSI -m 10 {shlex.quote(f'{leg.scheme}://{name}:{leg.port}/')}"


def _together(cause: str, pairs: Iterable[tuple[Fault, Leg]], more: Callable[[Fault, Leg], dict[str, str]] = lambda fault, leg: {}) -> list[Finding]:
    """One finding for every host that fails in the same way: it is one firewall, or one outage."""
    members = list(pairs)
    places = some(fault.subject.name for fault, _ in members)
    return all_in_one(cause, members, lambda fault, leg: {**_facts(fault, leg), "places": places, **more(fault, leg)})


def _from_endpoint(case: Case, host: str) -> bool:
    return bool(case.environment.endpoint and host in case.environment.endpoint.value)


# --- download-host-blocked ----------------------------------------------------------------------------------------------------


def _download_blocked(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The first host works and the one it sends the client to for the bytes cannot be reached, or is refused, from here."""
    found: dict[str, list[Fault]] = {}
    first = how = ""
    for fault in faults:
        leg, hub = leg_of(case, fault), first_hop_fine(case, fault)
        if leg and hub and _kept_away(fault, leg) and not any(other.code == "wrong-address" for other in of_leg(faults, fault)):
            found.setdefault(f"{leg.host}:{leg.port}", []).extend(of_leg(faults, fault))
            first, how = hub.host, how or HOW.get((fault.step, fault.code), HOW.get((fault.step, ""), "nothing gets through"))
    if not found:
        return []
    hosts = tuple(found)
    claims = tuple(fault for group in found.values() for fault in group)
    return [
        Finding(
            cause="download-host-blocked",
            subjects=tuple(Subject(kind="host", name=host) for host in hosts),
            claims=claims,
            facts={"first": first, "how": how, "hosts": ", ".join(hosts), "host": hosts[0].rpartition(":")[0], "needed": ", ".join(hosts_needed(case))},
        )
    ]


def _kept_away(fault: Fault, leg: Leg) -> bool:
    if fault.step == "resolution":
        return fault.code == "failed" and _only_this_name(leg)
    if fault.step == "connection":
        return fault.subject.kind != "proxy" and fault.code in ("refused", "timed_out", "unreachable", "reset")
    if fault.step == "tunnel":
        tunnel = leg.tunnel
        return isinstance(tunnel, Tunnel) and (tunnel.status in BLOCKED_STATUSES or tunnel.outcome in ("silent", "closed", "reset"))
    return fault.step == "handshake" and fault.code in ("closed", "reset", "silent")


def _only_this_name(leg: Leg) -> bool:
    """The resolver answers, but not for this name."""
    resolution = leg.resolution
    return isinstance(resolution, Resolution) and (
        not resolution.resolvers or any(not answer.error or answer.answers_others for answer in resolution.resolvers)
    )


def _download_blocked_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    do = f"{facts['first']} only says where the files are; the bytes come from {facts['hosts']}. Ask your network's admin to allow exactly these hosts, outgoing: {facts['needed']}."
    return [Remedy(do=do, check=f"curl -sSI https://{shlex.quote(facts['host'])}/"), *offline_remedy(case)]


# --- proxy-required -----------------------------------------------------------------------------------------------------------


def _proxy_required(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Direct requests die, no proxy variable is set, and another program's configuration names a proxy."""
    environment = case.environment
    named = [configured for configured in environment.configured_proxies if not configured.automatic]
    if not named or any(setting.value for setting in environment.proxies):
        return []
    dead = [(fault, leg) for fault, leg in _dead_direct(case, faults)]
    working = next((name for _, leg in dead if (name := proxy_that_works(leg))), "")
    asking = next((name for _, leg in dead if (name := _proxy_that_wants_login(leg))), "")
    refused = all(leg.route.kind == "direct" and any(item.question.startswith("proxy:") and not item.works for item in leg.counterfactuals) for _, leg in dead)
    if not dead or (refused and not working and not asking):
        return []
    chosen = next((configured for configured in named if configured.source == (working or asking)), named[0])
    claims = tuple(dict.fromkeys(other for fault, _ in dead for other in of_leg(faults, fault)))
    value = chosen.value if "://" in chosen.value else f"http://{chosen.value}"
    return [
        Finding(
            cause="proxy-required",
            subjects=tuple(dict.fromkeys(fault.subject for fault, _ in dead)),
            claims=claims,
            evidence=_through_proxies(dead),
            facts={
                "source": chosen.source,
                "proxy": value,
                "proof": "seen" if working else "",
                "login": "yes" if asking and not working else "",
                "hosts": ", ".join(dict.fromkeys(leg.host for _, leg in dead)),
            },
        )
    ]


def _through_proxies(dead: list[tuple[Fault, Leg]]) -> tuple[Evidence, ...]:
    """What the proxies that are named somewhere said when they were asked."""
    asked = ((fault.subject, item) for fault, leg in dead for item in leg.counterfactuals if item.question.startswith("proxy:"))
    return tuple(note(subject, f"through the proxy in {item.question.removeprefix('proxy:')}", item.detail) for subject, item in asked)


def _proxy_that_wants_login(leg: Leg) -> str:
    """The program whose proxy is there and asks who we are (407); "" where none."""
    asking = (item.question.removeprefix("proxy:") for item in leg.counterfactuals if item.question.startswith("proxy:") and item.detail.startswith("407"))
    return next(asking, "")


def _dead_direct(case: Case, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Leg]]:
    yield from _direct(case, faults, "timed_out", "unreachable", "refused", "reset")
    yield from ((fault, leg) for fault, leg in on_legs(case, faults, "resolution", "failed") if leg.route.kind == "direct")


def _proxy_required_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    hidden = HIDDEN in facts["proxy"]
    copied = _copied(facts["source"]) if hidden else ""
    seen = facts["proof"] == "seen" and (bool(copied) or not hidden)
    value = copied or shlex.quote(facts["proxy"])
    lines = f"export HTTPS_PROXY={value} https_proxy={value}"
    do = f"Give the clients the proxy that {facts['source']} already uses." + (" Through it the host answers." if seen else "")
    do += " It asks for a login: write http://USER:PASSWORD@ in front of its host, special characters percent-encoded." if facts["login"] else ""
    do += f" Put the login from {facts['source']} in the place of {HIDDEN}, special characters percent-encoded." if hidden and not copied else ""
    do += " Its login is copied, not shown." if copied else ""
    return [Remedy(do=do, run=lines, check=again(case), proof="seen" if seen else "untried")]


# By the end of a source's name: the shell's own words for what stands there, login included.
_COPIES = {
    "gitconfig": "$(git config --get http.proxy)",
    "git/config": "$(git config --get http.proxy)",
    "pip.conf": "$(python -m pip config get global.proxy)",
    ".npmrc": "$(npm config get https-proxy)",
    "npmrc": "$(npm config get https-proxy)",
    "/etc/environment": "$(. /etc/environment; echo $https_proxy)",
}


def _copied(source: str) -> str:
    """A word of the shell that holds the proxy of ``source``, which may hold a password that is not ours to print; "" where there is no such word."""
    if source.isidentifier():
        return f'"${variable_name(source)}"'
    return next((f'"{command}"' for end, command in _COPIES.items() if source.endswith(end)), "")


# --- the plain ones -----------------------------------------------------------------------------------------------------------


def _refused(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return _together("connection-refused", _direct(case, faults, "refused"))


def _refused_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    target = f"{facts['host']}:{facts['port']}"
    if _from_endpoint(case, facts["host"]):
        do = f"HF_ENDPOINT points to {target}, where nothing listens: start that service, or correct the host and port (unset HF_ENDPOINT for the public hub)."
    else:
        do = f"Check the port; if it is right, the service at {target} is down or a firewall rejects it: ask whoever runs the host, or your network's admin, about {target}/tcp."
    return [Remedy(do=do, check=facts["check"]), *offline_remedy(case)]


def _timed_out(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    others = other_hosts_work(case)
    nobody = " No host answered at all: it may be that this network lets nothing out but through a proxy."
    said = f" Other hosts answer ({some(others)})." if others else nobody if len({leg.host for leg in case.legs}) > 1 else ""
    found = _together("connection-timed-out", _direct(case, faults, "timed_out"), lambda fault, leg: {"others": said})
    mixed = [(fault, leg) for fault, leg in _direct(case, faults, "mixed") if not _ipv6_dead(leg)]
    silent = some(f"{address} (one address of {leg.host})" for _, leg in mixed for address in _silent(leg))
    return found + all_in_one(
        "connection-timed-out", mixed, lambda fault, leg: {**_facts(fault, leg), "places": silent, "others": " Its other addresses answer."}
    )


def _silent(leg: Leg) -> list[str]:
    attempts = leg.connection.attempts if isinstance(leg.connection, Connection) else ()
    return [attempt.address.ip for attempt in attempts if attempt.outcome == "timed_out"]


def _timed_out_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts.get("one"):
        do = f"Clients that happen to take {facts['places']} wait for it and go on to another. Report it to whoever runs {facts['host']} or its DNS; if this network drops it, ask its admin to allow that address as well."
        return [Remedy(do=do, check=f"getent ahosts {shlex.quote(facts['host'])}")]
    if all(address.startswith("127.") or address == "::1" for address in facts["addresses"].split(", ")):
        do = f"{facts['places']} is this machine: the service there takes no connections (it hangs, or its queue is full), or a packet filter of this machine drops them. Restart it."
    else:
        hosts = ", ".join(hosts_needed(case)) or facts["places"]
        do = f"Something drops the packets to {facts['places']} (nothing came back, not even a refusal). Ask your network's admin to allow, outgoing: {hosts}; or for the proxy to use, and set HTTPS_PROXY."
    setting = f" The host comes from HF_ENDPOINT ({case.environment.endpoint.value}): check it first." if case.environment.endpoint else ""
    return [Remedy(do=do + (setting if _from_endpoint(case, facts["host"]) else ""), check=facts["check"]), *offline_remedy(case)]


def _reset(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = list(_direct(case, faults, "reset"))
    pairs += [(fault, leg) for fault, leg in on_legs(case, faults, "handshake", "reset", "closed") if _cut_before_speaking(leg)]
    plain = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "response", "reset", "closed")
        if leg.route.kind == "direct" and leg.scheme == "http" and not works(leg, "tls-instead")
    ]
    pairs += [(fault, leg) for fault, leg in plain if fault.code == "reset" or _cut_before_speaking(leg)]
    return _together("connection-reset", pairs)


def _cut_before_speaking(leg: Leg) -> bool:
    return any(item.question == "says-nothing" and not item.works for item in leg.counterfactuals)


def _reset_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Something on the way (a firewall, a filter, a full load balancer) accepts connections to {facts['places']} and cuts them. Try another network; if it works there, ask this network's admin about {facts['places']}.",
            check=facts["check"],
        ),
        *offline_remedy(case),
    ]


def _unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        families = {attempt.address.family for attempt in leg.connection.attempts} if isinstance(leg.connection, Connection) else set()
        return {"family": " (it has IPv6 addresses only, and there is no way for IPv6 from here)" if families == {"ipv6"} else ""}

    return _together("host-unreachable", _direct(case, faults, "unreachable"), facts)


def _unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    address = facts["addresses"].split(", ")[0] or facts["host"]
    platform = case.environment.platform
    cut_off = isinstance(platform, Platform) and platform.default_route is False and not other_hosts_work(case)
    alone = " This machine has no default route: it reaches its own network only (compute nodes of a cluster often do; download on the login node)."
    return [
        Remedy(
            do=f"There is no way from here to {facts['host']} ({facts['addresses']}){facts['family']}: the system or a router says so at once.{alone if cut_off else ''} Connect the VPN it needs, repair the route, or ask your network's admin.",
            run=f"ip route get {shlex.quote(address)}",
            check=facts["check"],
        ),
        *offline_remedy(case),
    ]


# --- ipv6-broken --------------------------------------------------------------------------------------------------------------


def _ipv6_dead(leg: Leg) -> bool:
    if not isinstance(leg.connection, Connection) or not isinstance(leg.connection.address, Address):
        return False
    late = {attempt.address.family for attempt in leg.connection.attempts if attempt.outcome == "timed_out"}
    return late == {"ipv6"} and leg.connection.address.family == "ipv4"


def _ipv6(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in _direct(case, faults, "mixed") if _ipv6_dead(leg)]
    cut = [(fault, leg) for fault, leg in on_legs(case, faults, "handshake") if works(leg, "ipv4")]
    if cut:
        return [*_ipv6_cut(case, cut)]
    if not pairs:
        return []
    family = case.target.client.family if case.target.client else "requests"
    seconds = clients.facts(family).connect_seconds
    title = clients.title(case.target.client) if case.target.client else family
    wait = f"up to {seconds:.0f} s" if seconds else "more than two minutes (it has no time-out of its own)"
    facts = {**_facts(*pairs[0]), "client": title, "what": f"waits {wait}", "hosts": ", ".join(dict.fromkeys(leg.host for _, leg in pairs))}
    # A client with a time-out waits that long at each new connection and goes on; one without hangs.
    return [
        Finding(
            cause="ipv6-broken",
            subjects=tuple(dict.fromkeys(fault.subject for fault, _ in pairs)),
            claims=tuple(fault for fault, _ in pairs),
            facts=facts,
            severity="warning" if seconds else "error",
        )
    ]


def _ipv6_cut(case: Case, pairs: list[tuple[Fault, Leg]]) -> list[Finding]:
    """Connected over IPv6 and cut there: no client goes back to the other addresses then."""
    title = clients.title(case.target.client) if case.target.client else "the client"
    hosts = ", ".join(dict.fromkeys(leg.host for _, leg in pairs))
    facts = {**_facts(*pairs[0]), "client": title, "what": "goes no further where it is cut after that", "hosts": hosts}
    seen = tuple(note(fault.subject, "over IPv4 alone", found.detail) for fault, leg in pairs[:1] if (found := counterfactual(leg, "ipv4")))
    subjects = tuple(dict.fromkeys(fault.subject for fault, _ in pairs))
    return [Finding(cause="ipv6-broken", subjects=subjects, claims=tuple(fault for fault, _ in pairs), facts=facts, evidence=seen)]


def _ipv6_remedies(finding: Finding, case: Case) -> list[Remedy]:
    host = finding.facts["host"]
    return [
        Remedy(
            do="Prefer IPv4 on this machine (as root, one line in /etc/gai.conf), or repair the IPv6 route.",
            run="echo 'precedence ::ffff:0:0/96 100' | sudo tee -a /etc/gai.conf",
            check=f"getent ahosts {shlex.quote(host)}",
        ),
        Remedy(do="Switch IPv6 off until the route is repaired.", run="sudo sysctl -w net.ipv6.conf.all.disable_ipv6=1", check=again(case)),
    ]


CAUSES = (
    Cause(
        id="download-host-blocked",
        owner=("network",),
        title="{first} can be reached, but {hosts}, from where the files come, cannot",
        why="{first} answers and sends the download on to another host; to that one, {how}. Small files may arrive while large ones fail.",
        recognise=_download_blocked,
        remedies=_download_blocked_remedies,
        lab="download-host-blocked",
    ),
    Cause(
        id="proxy-required",
        owner=("network", "you"),
        title="This network needs a proxy, and the environment names none ({source} does: {proxy})",
        why="Direct requests to {hosts} die, no proxy variable is set, and another program on this machine is configured to use a proxy.",
        recognise=_proxy_required,
        remedies=_proxy_required_remedies,
        lab="proxy-required",
    ),
    Cause(
        id="ipv6-broken",
        owner=("network", "machine"),
        title="IPv6 to {hosts} leads nowhere, though IPv4 works; {client} tries IPv6 first and {what}",
        why="The name has IPv6 addresses, this machine believes that it can use them, and nothing comes back. Python clients try the addresses one after another.",
        recognise=_ipv6,
        remedies=_ipv6_remedies,
        lab="ipv6-broken",
    ),
    Cause(
        id="connection-refused",
        owner=("server", "network"),
        title="Connections to {places} are refused",
        why="The host (or a firewall in its name) answers at once that nothing may be had there. {named}, so neither DNS nor the network as a whole is at fault.",
        recognise=_refused,
        remedies=_refused_remedies,
        lab="connection-refused",
    ),
    Cause(
        id="connection-reset",
        owner=("network",),
        title="Connections to {places} are cut as soon as they stand",
        why="TCP connects and the connection is reset before a word of TLS or HTTP was exchanged: something on the way filters by address or port, or the server is overloaded.",
        recognise=_reset,
        remedies=_reset_remedies,
        lab="connection-reset",
    ),
    Cause(
        id="host-unreachable",
        owner=("network",),
        title="There is no way from here to {places}",
        why="{named}, and the system or a router answered at once that this address cannot be reached.",
        recognise=_unreachable,
        remedies=_unreachable_remedies,
        lab="host-unreachable",
    ),
    Cause(
        id="connection-timed-out",
        owner=("network",),
        title="Nothing answers at {places}: packets vanish on the way",
        why="{named}, and every attempt to connect there ran out of time without any answer: that is what a firewall does which drops instead of rejecting.{others}",
        recognise=_timed_out,
        remedies=_timed_out_remedies,
        lab="connection-timed-out",
    ),
)
