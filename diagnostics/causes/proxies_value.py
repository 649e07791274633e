"""What the variables say of a proxy: around it, unusable, by another scheme, or nothing because a PAC file says it."""

from __future__ import annotations

from diagnostics.case import Case, Evidence, Fault, Finding, Leg, Remedy, Subject
from diagnostics.causes.claims import again, by_subject, counterfactual, leg_of, note, of_leg, on_legs, proxy_that_works, works
from diagnostics.causes.proxies_common import facts_of, install_socks, set_proxy, tunnels, without_proxy
from diagnostics.causes.settings_common import set_variable, unset
from diagnostics.facts import clients
from diagnostics.facts.hosts import of_the_hub


def bypassed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
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


def bypassed_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


def pac_only(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
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


def pac_only_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Open {facts['pac']} and take the address after PROXY for {facts['host']} (or ask your admin for it); Python clients do not read PAC files.",
            run=set_variable("HTTPS_PROXY", "http://HOST:PORT"),
            check=again(case),
        )
    ]


def url_invalid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
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


def url_invalid_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name = finding.facts["variable"]
    return [
        Remedy(
            do=f"Write the value of {name} as http://host:port, or http://user:password@host:port; in user and password percent-encode every character that is no letter or digit (@ is %40, : is %3A, / is %2F, # is %23).",
            run=set_variable(name, "http://USER:PASSWORD@HOST:PORT"),
            check='python -c "import urllib.request as u; print(sorted(u.getproxies()))"',
        )
    ]


def socks(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
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
    return by_subject("proxy-socks-unsupported", pairs, lambda fault, leg: {**facts_of(fault, leg), "client": title, "package": package, "lack": lack})


def socks_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["package"] in ("none", "builtin", ""):
        return [
            Remedy(
                do=f"Name an HTTP proxy in {facts['variable']}, or run a local relay from HTTP to SOCKS: {facts['client']} cannot use SOCKS at all.",
                check=again(case),
            )
        ]
    return [install_socks(case, facts["package"], facts["client"])]


# Counterfactual → (scheme to write, how the proxy is spoken to).
RIGHT_SCHEMES = {"plain-proxy": ("http", "speaks plain HTTP"), "tls-proxy": ("https", "wants to be spoken to over TLS")}


def _right_scheme(leg: Leg) -> str:
    """The counterfactual by which the proxy is one after all, "" for none."""
    return next((name for name in RIGHT_SCHEMES if works(leg, name)), "")


def scheme_wrong(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in tunnels(case, faults) if _right_scheme(leg)]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        right, speaks = RIGHT_SCHEMES[_right_scheme(leg)]
        client = clients.facts(case.target.client.family if case.target.client else "requests")
        return {
            **facts_of(fault, leg),
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


def scheme_wrong_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name, right = facts["variable"], facts["right"]
    if right == "https" and not facts["usable"]:
        return [
            Remedy(do=f"This client cannot speak to a proxy over TLS: ask for the proxy's plain port, and give it in {name}.", check=again(case)),
            *without_proxy(finding, case),
        ]
    why = (
        " (also where the variable is HTTPS_PROXY: its name says which addresses go through it, not how the proxy is spoken to)"
        if right == "http" and facts["given"] == "https"
        else ""
    )
    do = f"Write {right}:// in front of the proxy in {name}{why}."
    return [Remedy(do=do, run=set_proxy(case, name, right), check=again(case), proof="seen")]
