"""What the causes of proxies share: the tunnels they look at, the facts they tell, the way around."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Fault, Finding, Interpreter, Leg, Remedy, Subject, Tunnel
from diagnostics.causes.claims import again, counterfactual, on_legs
from diagnostics.causes.settings_common import quoted, set_variable, unset
from diagnostics.causes.shells import variable_name
from diagnostics.facts.routes import DEFAULT_PORTS, authority


def tunnels(case: Case, faults: tuple[Fault, ...], *codes: str) -> Iterator[tuple[Fault, Leg, Tunnel]]:
    for fault, leg in on_legs(case, faults, "tunnel", *codes):
        if isinstance(leg.tunnel, Tunnel):
            yield fault, leg, leg.tunnel


def facts_of(fault: Fault, leg: Leg) -> dict[str, str]:
    tunnel = leg.tunnel if isinstance(leg.tunnel, Tunnel) else leg.response or None
    status = f"{tunnel.status} {tunnel.reason}".strip() if tunnel and isinstance(tunnel.status, int) else ""
    if isinstance(tunnel, Tunnel) and tunnel.protocol.startswith("socks"):
        status = tunnel.message
    direct = counterfactual(leg, "direct")
    return {
        "proxy": authority(leg.route.host, leg.route.port),
        "variable": leg.route.variable,
        "value": leg.route.proxy,
        "host": leg.host,
        "target": authority(leg.host, leg.port),
        "given": leg.route.scheme or "http",
        "address": f"{leg.scheme}://{leg.host}" + (f":{leg.port}" if leg.port != DEFAULT_PORTS.get(leg.scheme) else "") + "/",
        "alive": "yes" if status else "",
        "status": status,
        "title": tunnel.title if tunnel else "",
        "direct": "works" if direct and direct.works else "fails" if direct else "",
    }


def set_proxy(case: Case, name: str, scheme: str = "http") -> str:
    """The line that gives the variable's own value another scheme; a value with credentials is edited where it is, for it is not ours to print."""
    setting = next((item for item in case.environment.proxies if item.variable == name), None)
    name = variable_name(name)
    if setting is None:
        return set_variable(name, f"{scheme}://HOST:PORT")
    if setting.credentials:
        return f'export {name}="{scheme}://${{{name}#*://}}"'
    return set_variable(name, f"{scheme}://" + setting.value.partition("://")[2])


def without_proxy(finding: Finding, case: Case) -> list[Remedy]:
    """Going direct, where that was seen to work: for this host alone where the proxy serves others, else at all."""
    facts = finding.facts
    if facts.get("direct") != "works" or not facts.get("variable"):
        return []
    host = facts["host"]
    if facts.get("alive") == "yes":
        do = f"Send {host} around the proxy: it answers directly from here."
        return [Remedy(do=do, run=_with_entry(case, host), check=again(case), proof="seen")]
    scheme = facts["address"].partition("://")[0]
    counting = [item.variable for item in case.environment.proxies if item.value and item.variable.lower() in (f"{scheme}_proxy", "all_proxy")]
    return [
        Remedy(do=f"Go without the proxy: {host} answers directly from here.", run=unset(*(counting or [facts["variable"]])), check=again(case), proof="seen")
    ]


def _with_entry(case: Case, host: str) -> str:
    """The line that adds a host to the form of NO_PROXY that counts (the lower-case one where it is set)."""
    known = next((item for name in ("no_proxy", "NO_PROXY") for item in case.environment.no_proxy if item.name == name and item.value.strip(" ,")), None)
    if known is None:
        return set_variable("NO_PROXY", host)
    return set_variable(known.name, f"{known.value.strip(' ,')},{host}")


def install_socks(case: Case, package: str, client: str) -> Remedy:
    interpreter = case.environment.interpreter
    python = quoted(interpreter.executable) if isinstance(interpreter, Interpreter) and interpreter.executable else "python"
    return Remedy(
        do=f"Install the SOCKS support of {client} into the interpreter that downloads.",
        run=f"{python} -m pip install {shlex.quote(package)}",
        check=f"{python} -c 'import {'socks' if package == 'PySocks' else package}'",
    )


def of_proxy(findings: list[Finding]) -> list[Finding]:
    """With the proxy as their subject, one for each, whatever host a plain request was for."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.facts["proxy"], []).append(finding)
    return [
        Finding(
            cause=group[0].cause,
            subjects=(Subject(kind="proxy", name=proxy),),
            claims=tuple(dict.fromkeys(fault for finding in group for fault in finding.claims)),
            facts=group[0].facts,
        )
        for proxy, group in groups.items()
    ]


def opens_for_others(case: Case, leg: Leg) -> bool:
    return any(isinstance(other.tunnel, Tunnel) and other.tunnel.outcome == "open" for other in case.legs if other.route.proxy == leg.route.proxy)
