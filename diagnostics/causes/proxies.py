"""Proxies: their value, their own address, what they answer to CONNECT."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from diagnostics.case import Case, Cause, Evidence, Fault, Finding, Interpreter, Leg, Remedy, Subject, Tunnel
from diagnostics.causes.claims import again, by_subject, counterfactual, host_port, hosts_needed, leg_of, note, of_leg, on_legs, proxy_that_works, works
from diagnostics.causes.settings_common import quoted, set_variable, unset
from diagnostics.causes.shells import variable_name
from diagnostics.facts import clients
from diagnostics.facts.clients import installed
from diagnostics.facts.hosts import filter_product, of_the_hub
from diagnostics.facts.routes import DEFAULT_PORTS, PROXY_FIELDS, WEB_SERVER_STATUSES, authority, has_proxy_fields

SOCKS_UNREACHED = frozenset({1, 3, 4, 5, 6})
UNSPOKEN = frozenset({"ntlm", "negotiate", "kerberos", "digest"})  # that no Python client speaks to a proxy of itself; all speak Basic
DENIALS = frozenset(range(300, 500)) - {407}


def _tunnels(case: Case, faults: tuple[Fault, ...], *codes: str) -> Iterator[tuple[Fault, Leg, Tunnel]]:
    for fault, leg in on_legs(case, faults, "tunnel", *codes):
        if isinstance(leg.tunnel, Tunnel):
            yield fault, leg, leg.tunnel


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


def _facts(fault: Fault, leg: Leg) -> dict[str, str]:
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


def _without_proxy(finding: Finding, case: Case) -> list[Remedy]:
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


# --- proxy-bypassed -----------------------------------------------------------------------------------------------------------


def _bypassed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    found = []
    for fault in faults:
        leg = leg_of(case, fault)
        if leg and leg.route.bypassed_by and fault.step in ("resolution", "connection", "handshake") and works(leg, f"proxy:{leg.route.variable}"):
            claims = of_leg(faults, fault)
            names = ", ".join(variable.name for variable in case.environment.no_proxy if leg.route.bypassed_by in variable.value)
            facts = {
                "host": leg.host,
                "entry": leg.route.bypassed_by,
                "no_proxy": names or "NO_PROXY",
                "variable": leg.route.variable,
                "proxy": leg.route.proxy,
            }
            subject = Subject(kind="variable", name=names or "NO_PROXY")
            answer = counterfactual(leg, f"proxy:{leg.route.variable}")
            seen = (note(fault.subject, f"through the proxy of {leg.route.variable}", answer.detail if answer else ""),)
            found.append(Finding(cause="proxy-bypassed", subjects=(subject,), claims=claims, facts=facts, evidence=seen))
    return _joined(found)


def _joined(findings: list[Finding]) -> list[Finding]:
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.facts["entry"], []).append(finding)
    return [
        Finding(
            cause=group[0].cause,
            subjects=group[0].subjects,
            claims=tuple(dict.fromkeys(fault for finding in group for fault in finding.claims)),
            facts=group[0].facts,
            evidence=group[0].evidence,
        )
        for group in groups.values()
    ]


def _bypassed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = facts["no_proxy"].split(", ")[0]
    value = next((variable.value for variable in case.environment.no_proxy if variable.name == name), "")
    entries = [entry.strip() for entry in value.split(",") if entry.strip()]
    kept = ",".join(entry for entry in entries if entry != facts["entry"] and not _sends_bytes_around(entry, facts["host"]))
    gone = [entry for entry in entries if entry not in kept.split(",")]
    do = f"Take {'the entry' if len(gone) < 2 else 'the entries'} {' and '.join(gone)} out of {facts['no_proxy']}: it sends {facts['host']} around the proxy {facts['proxy']}, through which it answers."
    return [Remedy(do=do, run=set_variable(name, kept) if kept else unset(name), check=again(case), proof="seen")]


def _sends_bytes_around(entry: str, host: str) -> bool:
    """Whether an entry sends the hub's hosts of bytes around the proxy as well: it shows only once the hub itself answers."""
    bare = entry.lower().lstrip("*").lstrip(".")
    return host == "huggingface.co" and any(name.lstrip("*.") == bare or name.endswith("." + bare) for name in of_the_hub())


# --- the value ----------------------------------------------------------------------------------------------------------------


def _url_invalid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    claims = [fault for fault in faults if fault.step == "setting" and fault.code == "proxy-url-invalid"]
    legs = [
        (fault, leg) for fault, leg in on_legs(case, faults, "tunnel", "unsupported") if leg.route.problem and leg.route.problem.code == "proxy-url-invalid"
    ]
    names = dict.fromkeys([*(leg.route.variable for _, leg in legs), *(fault.subject.name for fault in claims)])
    found = []
    for name in names:
        mine = tuple(fault for fault in claims if fault.subject.name == name) + tuple(fault for fault, leg in legs if leg.route.variable == name)
        setting = next((setting for setting in case.environment.proxies if setting.variable == name), None)
        problem = next((leg.route.problem for _, leg in legs if leg.route.variable == name), None) or (setting.problem if setting else None)
        value = setting.value if setting else ""
        found.append(
            Finding(
                cause="proxy-url-invalid",
                subjects=(Subject(kind="variable", name=name),),
                claims=mine,
                facts={"variable": name, "value": value, "problem": problem.detail if problem else "", "code": problem.code if problem else ""},
            )
        )
    return found


def _url_invalid_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name = finding.facts["variable"]
    return [
        Remedy(
            do=f"Write the value of {name} as http://host:port, or http://user:password@host:port; in user and password percent-encode every character that is no letter or digit (@ is %40, : is %3A, / is %2F, # is %23).",
            run=set_variable(name, "http://USER:PASSWORD@HOST:PORT"),
            check='python -c "import urllib.request as u; print(sorted(u.getproxies()))"',
        )
    ]


def _socks(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg in on_legs(case, faults, "tunnel", "unsupported")
        if leg.route.problem and leg.route.problem.code == "proxy-socks-unsupported"
    ]
    family = case.target.client.family if case.target.client else "requests"
    package = clients.facts(family).socks
    title = clients.title(case.target.client) if case.target.client else family
    lack = (
        f"{title} speaks HTTP to every proxy"
        if package in ("none", "")
        else f"It needs the package {package} for SOCKS, which is not installed in this interpreter"
    )
    return by_subject("proxy-socks-unsupported", pairs, lambda fault, leg: {**_facts(fault, leg), "client": title, "package": package, "lack": lack})


def _socks_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["package"] in ("none", "builtin", ""):
        return [
            Remedy(
                do=f"Name an HTTP proxy in {facts['variable']}, or run a local relay from HTTP to SOCKS: {facts['client']} cannot use SOCKS at all.",
                check=again(case),
            )
        ]
    return [_install_socks(case, facts["package"], facts["client"])]


def _install_socks(case: Case, package: str, client: str) -> Remedy:
    interpreter = case.environment.interpreter
    python = quoted(interpreter.executable) if isinstance(interpreter, Interpreter) and interpreter.executable else "python"
    return Remedy(
        do=f"Install the SOCKS support of {client} into the interpreter that downloads.",
        run=f"{python} -m pip install {shlex.quote(package)}",
        check=f"{python} -c 'import {'socks' if package == 'PySocks' else package}'",
    )


# Counterfactual → (scheme to write, how the proxy is spoken to).
RIGHT_SCHEMES = {"plain-proxy": ("http", "speaks plain HTTP"), "tls-proxy": ("https", "wants to be spoken to over TLS")}


def _right_scheme(leg: Leg) -> str:
    """The counterfactual by which the proxy is one after all, "" for none."""
    return next((name for name in RIGHT_SCHEMES if works(leg, name)), "")


def _scheme_wrong(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in _tunnels(case, faults) if _right_scheme(leg)]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        right, speaks = RIGHT_SCHEMES[_right_scheme(leg)]
        client = clients.facts(case.target.client.family if case.target.client else "requests")
        return {
            **_facts(fault, leg),
            "given": leg.route.scheme or "http",
            "right": right,
            "speaks": speaks,
            "usable": "yes" if client.https_proxy == "tls" else "",
        }

    seen = tuple(dict.fromkeys(_spoken_to(fault, leg, _right_scheme(leg)) for fault, leg in pairs))[:2]
    return by_subject("proxy-scheme-wrong", pairs, facts, evidence=seen)


def _spoken_to(fault: Fault, leg: Leg, question: str) -> Evidence:
    answer = counterfactual(leg, question)
    return note(fault.subject, f"spoken to as {RIGHT_SCHEMES[question][0]}://", answer.detail if answer else "")


def _scheme_wrong_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name, right = facts["variable"], facts["right"]
    if right == "https" and not facts["usable"]:
        return [
            Remedy(do=f"This client cannot speak to a proxy over TLS: ask for the proxy's plain port, and give it in {name}.", check=again(case)),
            *_without_proxy(finding, case),
        ]
    why = (
        " (also where the variable is HTTPS_PROXY: its name says which addresses go through it, not how the proxy is spoken to)"
        if right == "http" and facts["given"] == "https"
        else ""
    )
    do = f"Write {right}:// in front of the proxy in {name}{why}."
    return [Remedy(do=do, run=set_proxy(case, name, right), check=again(case), proof="seen")]


# --- its address --------------------------------------------------------------------------------------------------------------


def _name_unknown(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "resolution", "failed") if fault.subject.kind == "proxy"]
    return by_subject("proxy-name-unknown", pairs, _facts)


def _name_unknown_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = host_port(finding.subjects[0])[0].strip("[]")
    return [
        Remedy(
            do=f"Check the spelling of {name} in {facts['variable']}; a company's proxy usually resolves only inside its network or VPN.",
            check=f"getent hosts {shlex.quote(name)}",
        ),
        *_without_proxy(finding, case),
    ]


def _unreachable(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "connection") if fault.subject.kind == "proxy" and fault.code != "mixed"]
    pairs += [(fault, leg) for fault, leg, _ in _tunnels(case, faults, "silent") if not works(leg, "proxy-alive") and not _opens_for_others(case, leg)]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        how = {
            "refused": "refuses the connection",
            "timed_out": "does not answer",
            "unreachable": "cannot be reached (no route)",
            "reset": "resets the connection",
            "silent": "accepts the connection and then says nothing",
        }
        return {**_facts(fault, leg), "how": how.get(fault.code, "does not answer")}

    return by_subject("proxy-unreachable", pairs, facts)


def _opens_for_others(case: Case, leg: Leg) -> bool:
    return any(isinstance(other.tunnel, Tunnel) and other.tunnel.outcome == "open" for other in case.legs if other.route.proxy == leg.route.proxy)


def _unreachable_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    host, port = host_port(finding.subjects[0])
    direct = _without_proxy(finding, case)
    do = f"{facts['variable']} names {facts['proxy']}. Start the proxy, correct host and port, or connect the network or VPN it belongs to."
    mine = Remedy(do=do, check=f"curl -sS -m 5 -o /dev/null telnet://{shlex.quote(host)}:{port}")
    return [*direct, mine] if direct else [mine]


def _not_a_proxy(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in _tunnels(case, faults) if _is_no_proxy(case, leg, tunnel)]

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
            **_facts(fault, leg),
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
        return not _opens_for_others(case, leg)
    return tunnel.status in WEB_SERVER_STATUSES and not has_proxy_fields(tunnel.headers) and not _opens_for_others(case, leg)


def _not_a_proxy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name, proxy = facts["variable"] or "HTTPS_PROXY", facts["proxy"]
    check = f"curl -sv -m 5 -x {shlex.quote(facts['given'] + '://' + proxy)} {shlex.quote(facts['address'])} -o /dev/null"
    if facts["socks"]:
        do = f"It is a SOCKS 5 proxy: write socks5h:// in front of {proxy} in {name}" + (
            f" (the client needs {facts['package']} for it)." if facts["package"] else "."
        )
        missing = bool(facts["package"] and case.environment.distributions) and installed(case.environment.distributions, facts["package"]) is None
        named = Remedy(do=do, run=set_proxy(case, name, "socks5h"), check=again(case), proof="untried" if missing else "seen")
        return [_install_socks(case, facts["package"], "the client"), replace(named, follows=True)] if missing else [named]
    return [
        Remedy(
            do=f"Correct host and port in {name}: what listens at {proxy} is something else (a web server, SSH, another service).",
            run=set_variable(name, "http://HOST:PORT"),
            check=check,
        ),
        *_without_proxy(finding, case),
    ]


# --- its answer ---------------------------------------------------------------------------------------------------------------


def _auth_required(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in _tunnels(case, faults) if tunnel.status == 407]
    pairs += [(fault, leg) for fault, leg in on_legs(case, faults, "response") if leg.response and leg.response.status == 407]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        schemes = leg.tunnel.schemes if isinstance(leg.tunnel, Tunnel) else _offered(leg)
        sent = leg.route.credentials
        setting = next((setting for setting in case.environment.proxies if setting.variable == leg.route.variable), None)
        value = setting.value if setting else leg.route.proxy
        return {
            **_facts(fault, leg),
            "schemes": ", ".join(schemes) or "none named",
            "sent": "yes" if sent else "",
            "offers": f"It offers: {', '.join(schemes)}. " if schemes else "",
            "code": "" if leg.route.scheme.startswith("socks") else " (407)",
            "value": value,
            "state": "refuses the user name and password it was sent" if sent else "wants a user name and password, and none is set",
        }

    return _of_proxy(by_subject("proxy-auth-required", pairs, facts))


def _offered(leg: Leg) -> tuple[str, ...]:
    headers = leg.response.headers if leg.response else ()
    return tuple(header.value.split(" ")[0] for header in headers if header.name == "proxy-authenticate")


def _auth_required_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
        *_without_proxy(finding, case),
        Remedy(do=do, run=set_variable(name, f"{facts['given']}://USER:PASSWORD@{facts['proxy']}"), check=again(case)),
    ]


def _upstream_failed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in _tunnels(case, faults) if _did_not_get_through(case, leg, tunnel)]
    pairs += [(fault, leg) for fault, leg, status in _plain_refusals(case, faults) if status >= 500]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        known, tunnel = _facts(fault, leg), leg.tunnel if isinstance(leg.tunnel, Tunnel) else None
        socks = tunnel is not None and tunnel.protocol.startswith("socks")
        said = tunnel.message if tunnel and socks else f"answers {known['status']}" if known["status"] else ""
        return {**known, "answer": said or "says nothing more"}

    return _of_proxy(by_subject("proxy-upstream-failed", pairs, facts))


def _of_proxy(findings: list[Finding]) -> list[Finding]:
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


def _did_not_get_through(case: Case, leg: Leg, tunnel: Tunnel) -> bool:
    if tunnel.outcome == "silent":
        return (works(leg, "proxy-alive") and not tunnel.protocol.startswith("socks")) or _opens_for_others(case, leg)
    socks = tunnel.protocol.startswith("socks") and tunnel.status in SOCKS_UNREACHED
    return tunnel.status in (500, 502, 503, 504) or socks


def _upstream_failed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        *_without_proxy(finding, case),
        Remedy(
            do=f"The proxy {facts['proxy']} works and cannot reach {facts['target']} itself (its DNS, its route, or the host). Try again in a minute; if it stays, give its admin this report.",
            check=again(case),
        ),
    ]


def _denied(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, tunnel in _tunnels(case, faults, "refused", "closed", "reset") if _says_no(tunnel)]
    pairs += [(fault, leg) for fault, leg, status in _plain_refusals(case, faults) if status < 500 and status != 407]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        answer = leg.tunnel if isinstance(leg.tunnel, Tunnel) else leg.response
        title = answer.title if answer else ""
        return {**_facts(fault, leg), "page": f" Its page says “{title}”." if title else "", "hosts": ", ".join(hosts_needed(case))}

    return _of_proxy(by_subject("proxy-denied", pairs, facts))


def _says_no(tunnel: Tunnel) -> bool:
    if tunnel.protocol.startswith("socks"):
        return tunnel.status != 407 and tunnel.status not in SOCKS_UNREACHED
    return not isinstance(tunnel.status, int) or tunnel.status in DENIALS


def _denied_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        *_without_proxy(finding, case),
        Remedy(
            do=f"Ask the admin of the proxy {facts['proxy']} to allow these hosts: {facts['hosts']}{_download_hosts(case)}.",
            check=f"curl -sSI -x {shlex.quote(facts['given'] + '://' + facts['proxy'])} {shlex.quote(facts['address'])}",
        ),
    ]


def _download_hosts(case: Case) -> str:
    """Where the public hub sends its clients for the bytes, which a refusal at the first host hides."""
    hosts = {leg.host for leg in case.legs}
    return ", and for the bytes *.hf.co and *.xethub.hf.co (port 443)" if hosts == {"huggingface.co"} else ""


# --- proxy-from-pac-only ------------------------------------------------------------------------------------------------------


def _pac_only(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    automatic = next((configured for configured in case.environment.configured_proxies if configured.automatic), None)
    if automatic is None or any(setting.value for setting in case.environment.proxies):
        return []
    dead = [
        (fault, leg)
        for step in ("resolution", "connection")
        for fault, leg in on_legs(case, faults, step, "failed", "timed_out", "refused", "unreachable", "reset")
        if leg.route.kind == "direct" and not proxy_that_works(leg)
    ]
    claims = tuple(dict.fromkeys(other for fault, _ in dead for other in of_leg(faults, fault)))
    return (
        [
            Finding(
                cause="proxy-from-pac-only",
                subjects=(Subject(kind="variable", name=automatic.source),),
                claims=claims,
                facts={"pac": automatic.value, "source": automatic.source, "host": dead[0][1].host},
            )
        ]
        if claims
        else []
    )


def _pac_only_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Open {facts['pac']} and take the address after PROXY for {facts['host']} (or ask your admin for it); Python clients do not read PAC files.",
            run=set_variable("HTTPS_PROXY", "http://HOST:PORT"),
            check=again(case),
        )
    ]


CAUSES = (
    Cause(
        id="proxy-bypassed",
        owner=("you",),
        title="{no_proxy} sends {host} around the proxy, and there is no direct way",
        why="The entry {entry} matches {host}, so the client does not use {proxy} from {variable}. Directly the host cannot be reached; through the proxy it can.",
        recognise=_bypassed,
        remedies=_bypassed_remedies,
        lab="proxy-bypassed",
    ),
    Cause(
        id="proxy-from-pac-only",
        owner=("network",),
        title="The proxy of this network is given by a PAC file ({pac}), which no Python client reads",
        why="Direct requests die and {source} names an automatic configuration. Browsers evaluate it; requests, httpx, urllib and hf_xet do not.",
        recognise=_pac_only,
        remedies=_pac_only_remedies,
        lab="proxy-from-pac-only",
    ),
    Cause(
        id="proxy-url-invalid",
        owner=("you",),
        title="{variable} is set to {value}, which is no usable proxy URL: {problem}",
        why="The client fails on it before any request is sent, whatever the network is like.",
        recognise=_url_invalid,
        remedies=_url_invalid_remedies,
        lab="proxy-url-invalid",
    ),
    Cause(
        id="proxy-socks-unsupported",
        owner=("you",),
        title="{variable} names a SOCKS proxy ({value}), and {client} has no SOCKS support here",
        why="{lack}; so it stops at the first request.",
        recognise=_socks,
        remedies=_socks_remedies,
        lab="proxy-socks-unsupported",
    ),
    Cause(
        id="proxy-scheme-wrong",
        owner=("you",),
        title="{variable} says {given}:// in front of {proxy}, but that proxy {speaks}",
        why="Spoken to as {given}:// says, it answers with what is no answer, or not at all; spoken to as {right}://, it answers as a proxy does.",
        recognise=_scheme_wrong,
        remedies=_scheme_wrong_remedies,
        lab="proxy-scheme-wrong",
    ),
    Cause(
        id="proxy-name-unknown",
        owner=("you",),
        title="The name of the proxy {proxy} (from {variable}) does not resolve",
        why="The client needs the proxy's address before anything else. The message it shows is about a name, and most people read it as the hub's.",
        recognise=_name_unknown,
        remedies=_name_unknown_remedies,
        lab="proxy-name-unknown",
    ),
    Cause(
        id="proxy-auth-required",
        owner=("you",),
        title="The proxy {proxy} {state}{code}",
        why="{offers}Until it is satisfied, {target} cannot be reached through it.",
        recognise=_auth_required,
        remedies=_auth_required_remedies,
        lab="proxy-auth-required",
    ),
    Cause(
        id="proxy-not-a-proxy",
        owner=("you",),
        title="What listens at {proxy} (from {variable}) is no HTTP proxy",
        why="Asked to connect to {target} it answers {said}.",
        recognise=_not_a_proxy,
        remedies=_not_a_proxy_remedies,
        lab="proxy-not-a-proxy",
    ),
    Cause(
        id="proxy-unreachable",
        owner=("you", "network"),
        title="The proxy {proxy} (from {variable}) {how}",
        why="Every request goes through it, so no host can be reached. The client's message says “connection refused” or “timed out” without naming the proxy.",
        recognise=_unreachable,
        remedies=_unreachable_remedies,
        lab="proxy-unreachable",
    ),
    Cause(
        id="proxy-upstream-failed",
        owner=("network",),
        title="The proxy {proxy} cannot reach {target} ({answer})",
        why="The proxy, which {variable} names, answers; the trouble is between it and the host.",
        recognise=_upstream_failed,
        remedies=_upstream_failed_remedies,
        lab="proxy-upstream-failed",
    ),
    Cause(
        id="proxy-denied",
        owner=("network",),
        title="The proxy {proxy} refuses to connect to {target} ({status})",
        why="{variable} names it. It answers, and says no: a policy.{page} The client shows the bare status and throws the page away.",
        recognise=_denied,
        remedies=_denied_remedies,
        lab="proxy-denied",
    ),
)
