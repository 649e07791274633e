"""What a proxy answers to CONNECT: log in, no way on, not allowed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Fault, Finding, Leg, Remedy, Tunnel
from diagnostics.causes.claims import again, by_subject, hosts_needed, on_legs, works
from diagnostics.causes.proxies_common import facts_of, of_proxy, opens_for_others, tunnels, without_proxy
from diagnostics.causes.settings_common import set_variable
from diagnostics.facts.hosts import filter_product
from diagnostics.facts.routes import PROXY_FIELDS

SOCKS_UNREACHED = frozenset({1, 3, 4, 5, 6})


UNSPOKEN = frozenset({"ntlm", "negotiate", "kerberos", "digest"})  # that no Python client speaks to a proxy of itself; all speak Basic


DENIALS = frozenset(range(300, 500)) - {407}


def _plain_refusals(case: Case, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Leg, int]]:
    """Refusals of requests in absolute form (RFC 9112 §3.2.2) that are the proxy's own: by its fields, or because the host itself grants the request."""
    for step in ("response", "body"):
        for fault, leg in on_legs(case, faults, step):
            response = leg.response
            if not response or leg.route.kind != "proxy" or leg.scheme != "http" or not isinstance(response.status, int) or response.status < 400:
                continue
            named = filter_product({header.name: header.value for header in response.headers}, response.title)
            if named or works(leg, "direct") or any(header.name in PROXY_FIELDS for header in response.headers):
                yield fault, leg, response.status


def auth_required(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in tunnels(case, faults) if tunnel.status == 407]
    pairs += [(fault, leg) for fault, leg in on_legs(case, faults, "response") if leg.response and leg.response.status == 407]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        schemes = leg.tunnel.schemes if isinstance(leg.tunnel, Tunnel) else _offered(leg)
        sent = leg.route.credentials
        setting = next((setting for setting in case.environment.proxies if setting.variable == leg.route.variable), None)
        value = setting.value if setting else leg.route.proxy
        return {
            **facts_of(fault, leg),
            "schemes": ", ".join(schemes) or "none named",
            "sent": "yes" if sent else "",
            "offers": f"It offers: {', '.join(schemes)}. " if schemes else "",
            "code": "" if leg.route.scheme.startswith("socks") else " (407)",
            "value": value,
            "state": "refuses the user name and password it was sent" if sent else "wants a user name and password, and none is set",
        }

    return of_proxy(by_subject("proxy-auth-required", pairs, facts))


def _offered(leg: Leg) -> tuple[str, ...]:
    headers = leg.response.headers if leg.response else ()
    return tuple(header.value.split(" ")[0] for header in headers if header.name == "proxy-authenticate")


def auth_required_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = facts["variable"] or "HTTPS_PROXY"
    offered = {scheme.strip().lower() for scheme in facts["schemes"].split(",")}
    if offered and offered <= UNSPOKEN:
        return [
            Remedy(
                do=f"{facts['proxy']} offers only {facts['schemes']}, which no Python client speaks. Run a local relay that does (px, cntlm) and point {name} to it.",
                run=set_variable(name, "http://127.0.0.1:3128"),
                check=again(case),
            )
        ]
    how = "percent-encoded (@ is %40, : is %3A, / is %2F, # is %23). Do not try often: companies lock accounts."
    do = f"Correct your user name and password in {name}, {how}" if facts["sent"] else f"Put your user name and password into {name}, {how}"
    return [
        *without_proxy(finding, case),
        Remedy(do=do, run=set_variable(name, f"{facts['given']}://USER:PASSWORD@{facts['proxy']}"), check=again(case)),
    ]


def upstream_failed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in tunnels(case, faults) if _did_not_get_through(case, leg, tunnel)]
    pairs += [(fault, leg) for fault, leg, status in _plain_refusals(case, faults) if status >= 500]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        known, tunnel = facts_of(fault, leg), leg.tunnel if isinstance(leg.tunnel, Tunnel) else None
        socks = tunnel is not None and tunnel.protocol.startswith("socks")
        said = tunnel.message if tunnel and socks else f"answers {known['status']}" if known["status"] else ""
        return {**known, "answer": said or "says nothing more"}

    return of_proxy(by_subject("proxy-upstream-failed", pairs, facts))


def _did_not_get_through(case: Case, leg: Leg, tunnel: Tunnel) -> bool:
    if tunnel.outcome == "silent":
        return (works(leg, "proxy-alive") and not tunnel.protocol.startswith("socks")) or opens_for_others(case, leg)
    socks = tunnel.protocol.startswith("socks") and tunnel.status in SOCKS_UNREACHED
    return tunnel.status in (500, 502, 503, 504) or socks


def upstream_failed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        *without_proxy(finding, case),
        Remedy(
            do=f"The proxy {facts['proxy']} works and cannot reach {facts['target']} itself (its DNS, its route, or the host). Try again in a minute; if it stays, give its admin this report.",
            check=again(case),
        ),
    ]


def denied(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in tunnels(case, faults, "refused", "closed", "reset") if _says_no(tunnel)]
    pairs += [(fault, leg) for fault, leg, status in _plain_refusals(case, faults) if status < 500 and status != 407]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        answer = leg.tunnel if isinstance(leg.tunnel, Tunnel) else leg.response
        title = answer.title if answer else ""
        return {**facts_of(fault, leg), "page": f" Its page says “{title}”." if title else "", "hosts": ", ".join(hosts_needed(case))}

    return of_proxy(by_subject("proxy-denied", pairs, facts))


def _says_no(tunnel: Tunnel) -> bool:
    if tunnel.protocol.startswith("socks"):
        return tunnel.status != 407 and tunnel.status not in SOCKS_UNREACHED
    return not isinstance(tunnel.status, int) or tunnel.status in DENIALS


def denied_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        *without_proxy(finding, case),
        Remedy(
            do=f"Ask the admin of the proxy {facts['proxy']} to allow these hosts: {facts['hosts']}{_download_hosts(case)}.",
            check=f"curl -sSI -x {shlex.quote(facts['given'] + '://' + facts['proxy'])} {shlex.quote(facts['address'])}",
        ),
    ]


def _download_hosts(case: Case) -> str:
    """Where the public hub sends its clients for the bytes, which a refusal at the first host hides."""
    hosts = {leg.host for leg in case.legs}
    return ", and for the bytes *.hf.co and *.xethub.hf.co (port 443)" if hosts == {"huggingface.co"} else ""
