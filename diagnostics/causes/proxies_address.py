"""Where a proxy is said to be: a name nobody knows, nothing there, or something that is no proxy."""

from __future__ import annotations

import shlex
from dataclasses import replace

from diagnostics.case import Case, Fault, Finding, Leg, Remedy, Tunnel
from diagnostics.causes.claims import again, by_subject, host_port, on_legs, works
from diagnostics.causes.proxies_common import facts_of, install_socks, opens_for_others, set_proxy, tunnels, without_proxy
from diagnostics.causes.settings_common import set_variable
from diagnostics.facts import clients
from diagnostics.facts.clients import installed
from diagnostics.facts.routes import WEB_SERVER_STATUSES, has_proxy_fields


def name_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "resolution", "failed") if fault.subject.kind == "proxy"]
    return by_subject("proxy-name-unknown", pairs, facts_of)


def name_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = host_port(finding.subjects[0])[0].strip("[]")
    return [
        Remedy(
            do=f"Check the spelling of {name} in {facts['variable']}; a company's proxy usually resolves only inside its network or VPN.",
            check=f"getent hosts {shlex.quote(name)}",
        ),
        *without_proxy(finding, case),
    ]


def unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "connection") if fault.subject.kind == "proxy" and fault.code != "mixed"]
    pairs += [(fault, leg) for fault, leg, _ in tunnels(case, faults, "silent") if not works(leg, "proxy-alive") and not opens_for_others(case, leg)]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        how = {
            "refused": "refuses the connection",
            "timed_out": "does not answer",
            "unreachable": "cannot be reached (no route)",
            "reset": "resets the connection",
            "silent": "accepts the connection and then says nothing",
        }
        return {**facts_of(fault, leg), "how": how.get(fault.code, "does not answer")}

    return by_subject("proxy-unreachable", pairs, facts)


def unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    host, port = host_port(finding.subjects[0])
    direct = without_proxy(finding, case)
    do = f"{facts['variable']} names {facts['proxy']}. Start the proxy, correct host and port, or connect the network or VPN it belongs to."
    mine = Remedy(do=do, check=f"curl -sS -m 5 -o /dev/null telnet://{shlex.quote(host)}:{port}")
    return [*direct, mine] if direct else [mine]


def not_a_proxy(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in tunnels(case, faults) if _is_no_proxy(case, leg, tunnel)]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        tunnel = leg.tunnel
        assert isinstance(tunnel, Tunnel)
        server = next((header.value for header in tunnel.headers if header.name == "server"), "")
        said = (
            f"“{tunnel.first_bytes}”"
            if tunnel.outcome == "not_http" and tunnel.first_bytes
            else f"{tunnel.status} {tunnel.reason}".strip()
            if tunnel.status
            else {"closed": "by closing the connection", "reset": "by resetting the connection"}.get(tunnel.outcome, "with nothing")
        )
        package = clients.facts(case.target.client.family if case.target.client else "requests").socks
        return {
            **facts_of(fault, leg),
            "alive": "",
            "said": said + (f" (Server: {server})" if server else ""),
            "given": leg.route.scheme or "http",
            "socks": "yes" if works(leg, "socks-proxy") and package != "none" else "",
            "package": "" if package == "builtin" else package,
        }

    return by_subject("proxy-not-a-proxy", pairs, facts)


def _is_no_proxy(case: Case, leg: Leg, tunnel: Tunnel) -> bool:
    if tunnel.outcome == "tls_failed" and works(leg, "proxy-with-any-certificate"):
        return False  # a proxy it is: its certificate is the matter
    if tunnel.outcome in ("not_http", "tls_failed") or (tunnel.protocol.startswith("socks") and works(leg, "proxy-alive")):
        return True
    if tunnel.outcome in ("closed", "reset"):
        return not opens_for_others(case, leg)
    return tunnel.status in WEB_SERVER_STATUSES and not has_proxy_fields(tunnel.headers) and not opens_for_others(case, leg)


def not_a_proxy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name, proxy = facts["variable"] or "HTTPS_PROXY", facts["proxy"]
    check = f"curl -sv -m 5 -x {shlex.quote(facts['given'] + '://' + proxy)} {shlex.quote(facts['address'])} -o /dev/null"
    if facts["socks"]:
        do = f"It is a SOCKS 5 proxy: write socks5h:// in front of {proxy} in {name}" + (
            f" (the client needs {facts['package']} for it)." if facts["package"] else "."
        )
        missing = bool(facts["package"] and case.environment.distributions) and installed(case.environment.distributions, facts["package"]) is None
        named = Remedy(do=do, run=set_proxy(case, name, "socks5h"), check=again(case), proof="untried" if missing else "seen")
        return [install_socks(case, facts["package"], "the client"), replace(named, follows=True)] if missing else [named]
    return [
        Remedy(
            do=f"Correct host and port in {name}: what listens at {proxy} is something else (a web server, SSH, another service).",
            run=set_variable(name, "http://HOST:PORT"),
            check=check,
        ),
        *without_proxy(finding, case),
    ]
