"""Resolvers that are not there, cannot be heard, or fail."""

from __future__ import annotations

import shlex

from diagnostics.case import Case, Fault, Finding, Leg, Platform, Remedy, Resolution, Subject, Unseen
from diagnostics.causes.claims import all_in_one, offline_remedy, some
from diagnostics.causes.names_common import answers_of, looked_up, rcodes_of, reserved, resolver_faults, unresolved

FAILED_RCODES = frozenset({"SERVFAIL", "REFUSED", "FORMERR", "NOTIMP", "NOTAUTH"})


def not_configured(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    if isinstance(case.resolvers, Unseen):
        return []
    pairs = [
        (fault, leg)
        for fault, leg, resolution in unresolved(case, faults)
        if resolution.error not in ("IDNA", "TIMED_OUT") and not reserved(leg) and (not case.resolvers or _not_looked_up(resolution))
    ]
    where = "/etc/nsswitch.conf leaves DNS out (hosts: {})" if case.resolvers else "/etc/resolv.conf names no server"
    return all_in_one(
        "dns-not-configured", pairs, lambda fault, leg: {"host": looked_up(leg), "where": where.format(leg.resolution.sources if leg.resolution else "")}
    )


def _not_looked_up(resolution: Resolution) -> bool:
    """The resolvers know the name, and the system does not ask them."""
    words = resolution.sources.split()
    return bool(words) and not {"dns", "resolve", "nss_dns"} & set(words) and any(answer.addresses for answer in resolution.resolvers)


def not_configured_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


def unheard(resolution: Resolution) -> str:
    """How the resolvers cannot be heard: at all, over UDP, over TCP; "" where they can. One that is silent about a single name can be heard."""
    over = {transport: [answer for answer in resolution.resolvers if answer.transport == transport] for transport in ("udp", "tcp")}
    dead = {transport: all(answer.error and not answer.answers_others for answer in answers) for transport, answers in over.items()}
    if dead["udp"]:
        return "at all" if dead["tcp"] else "over UDP"
    long = [answer for answer in over["udp"] if not answer.error]
    return "over TCP" if dead["tcp"] and long and all(answer.truncated for answer in long) else ""


def server_unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = resolver_faults(case, faults, lambda resolution: bool(case.resolvers and unheard(resolution)))
    if not pairs:
        return []
    resolution = pairs[0][1].resolution
    assert isinstance(resolution, Resolution)
    how = unheard(resolution)
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
                "hosts": some(looked_up(leg) for _, leg in pairs),
                "host": looked_up(pairs[0][1]),
            },
        )
    ]


def server_unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
    if unheard(resolution):
        return False
    silent = any(answer.answers_others for answer in resolution.resolvers)
    return (rcodes_of(resolution) <= FAILED_RCODES and bool(rcodes_of(resolution) or silent)) or _unsteady(resolution)


def _unsteady(resolution: Resolution) -> bool:
    return resolution.error not in ("TIMED_OUT", "EAI_NONAME", "EAI_NODATA") and any(answer.addresses for answer in answers_of(resolution))


def server_failure(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = resolver_faults(case, faults, _fails)
    hosts = some(looked_up(leg) for _, leg in pairs)
    return all_in_one("dns-server-failure", pairs, lambda fault, leg: {"hosts": hosts, **_failure_facts(leg)})


def _failure_facts(leg: Leg) -> dict[str, str]:
    assert isinstance(leg.resolution, Resolution)
    resolution = leg.resolution
    refusing = [answer for answer in answers_of(resolution) if answer.rcode in FAILED_RCODES]
    silent = [answer for answer in resolution.resolvers if answer.answers_others]
    who = (refusing or silent or list(resolution.resolvers))[0]
    rcode = str(who.rcode) if refusing else ""
    return {
        "host": looked_up(leg),
        "server": who.server,
        "rcode": rcode,
        "says": f"answers {rcode} for" if rcode else "says nothing about" if silent else "answers only now and then about",
        "extended": "; ".join(dict.fromkeys(text for answer in refusing for text in answer.extended_errors)),
        "dnssec": "yes" if any(answer.checking_disabled_helps is True for answer in refusing) else "",
    }


def server_failure_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
