"""The proxy variables and NO_PROXY: not read, not alike, not understood."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from diagnostics.case import Case, ClientUse, Fault, Finding, Leg, Problem, ProxySetting, Remedy, Route, Severity, Subject
from diagnostics.causes.claims import again, counterfactual, of_leg, on_legs
from diagnostics.causes.settings_common import by_setting, client_of, finding_of, set_variable, unset
from diagnostics.facts import routes
from diagnostics.facts.clients import ClientFacts, clients_of, facts, title


def ignored_proxy(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The way direct is closed, and a proxy variable is set in a form this client does not read."""
    groups: dict[str, list[tuple[Fault, Leg]]] = {}
    for fault, leg in _direct_failures(case, faults):
        if setting := _unread(case, fault, leg):
            groups.setdefault(setting.variable, []).append((fault, leg))
    return [_ignored_proxy_finding(case, faults, name, members) for name, members in groups.items()]


def _direct_failures(case: Case, faults: tuple[Fault, ...]) -> Iterator[tuple[Fault, Leg]]:
    for fault, leg in (
        *on_legs(case, faults, "resolution", "failed", "timed_out"),
        *on_legs(case, faults, "connection", "timed_out", "refused", "unreachable", "reset"),
        *on_legs(case, faults, "handshake", "closed", "reset", "silent"),
    ):
        if leg.route.kind == "direct" and not leg.route.bypassed_by:
            yield fault, leg


def _unread(case: Case, fault: Fault, leg: Leg) -> ProxySetting | None:
    """A variable that this client does not read and whose proxy opens the way, or was not tried."""
    _, row = client_of(case, fault)
    settings = routes.variables_not_read(row, case.environment, leg.scheme)
    tried = {setting.variable: _tried(leg, setting, case) for setting in settings}
    works = next((setting for setting in settings if tried[setting.variable] is True), None)
    # Without a trial only a failed connection speaks for a closed network; a name or a handshake may fail for many reasons.
    untried = (
        next((setting for setting in settings if tried[setting.variable] is None), None)
        if fault.step == "connection" and fault.code in ("timed_out", "unreachable")
        else None
    )
    return works or untried


def _tried(leg: Leg, setting: ProxySetting, case: Case) -> bool | None:
    """Whether the variable's proxy opened the way; several variables of one proxy were tried once, under the first one's name."""
    same = [other.variable for other in case.environment.proxies if (other.host, other.port) == (setting.host, setting.port)]
    answers = [answer.works for name in same if (answer := counterfactual(leg, f"proxy:{name}"))]
    return any(answers) if answers else None


def _ignored_proxy_finding(case: Case, faults: tuple[Fault, ...], name: str, members: list[tuple[Fault, Leg]]) -> Finding:
    use, row = client_of(case, members[0][0])
    leg = members[0][1]
    setting = next(item for item in case.environment.proxies if item.variable == name)
    empty = next((item.variable for item in case.environment.proxies if not item.value and item.variable.lower() == name.lower()), "")
    seen = any(_tried(leg, setting, case) for _, leg in members)
    known = {
        "name": name,
        "value": setting.value,
        "client": title(use),
        "host": ", ".join(dict.fromkeys(leg.host for _, leg in members)),
        "scheme": leg.scheme,
        "wanted": _form_read(row, leg.scheme),
        "empty": empty,
        "seen": "yes" if seen else "",
    }
    known["because"] = _because(row, setting, leg.scheme, empty)
    claims = [other for fault, _ in members for other in of_leg(faults, fault) if other.step == fault.step]
    subjects = (Subject(kind="variable", name=name), *dict.fromkeys(fault.subject for fault, _ in members))
    return Finding(cause="proxy-variable-ignored", subjects=subjects, claims=tuple(dict.fromkeys(claims)), facts=known)


def _form_read(row: ClientFacts, scheme: str) -> str:
    """The variable to set for this client: in upper case where it reads that, for most people write it so."""
    upper = row.proxy_case != "lower-only" and not (scheme == "http" and not row.upper_http)
    return f"{scheme}_proxy".upper() if upper else f"{scheme}_proxy"


def _because(row: ClientFacts, setting: ProxySetting, scheme: str, empty: str) -> str:
    kind = setting.variable.lower()
    if empty:
        return f"{empty} is set and empty, which hides it"
    if kind == "all_proxy" and not row.all_proxy:
        return f"{row.title} does not read {setting.variable}"
    if setting.scheme == "https" and row.https_proxy == "direct":
        return f"{row.title} ignores a proxy given as https://"
    if kind in ("http_proxy", "https_proxy") and kind != f"{scheme}_proxy":
        return f"{setting.variable} counts for {kind[:-6]}:// addresses only, and this one is {scheme}://"
    return f"{row.title} does not read it in this case"


def ignored_proxy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    known = finding.facts
    proof: Any = "seen" if known.get("seen") else "untried"
    setting = next((item for item in case.environment.proxies if item.variable == known["name"]), None)
    if known.get("empty"):
        return [
            Remedy(do=f"Take the empty {known['empty']} away, so that {known['name']} counts.", run=unset(case, known["empty"]), check=again(case), proof=proof)
        ]
    wanted = known["wanted"]
    if case.environment.shell in ("posix", "fish"):
        # The value may hold a password that is not ours to print: let the shell copy it.
        run = f'export {wanted}="${known["name"]}"' if case.environment.shell == "posix" else f'set -x {wanted} "${known["name"]}"'
    else:
        run = set_variable(case, wanted, setting.value if setting else "http://proxy:3128")
    if setting and setting.scheme == "https" and wanted.lower() == known["name"].lower():
        run = set_variable(case, wanted, "http://" + setting.value.partition("://")[2])
    return [Remedy(do=f"Set {wanted}, which {known['client']} reads, to the same proxy.", run=run, check=again(case), proof=proof)]


def disagree(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Two clients of one download go different ways; an error only where one of the ways is closed and the other open."""
    found = []
    for _, members, known in by_setting("proxy-variables-disagree", faults, "proxy-variables-disagree"):
        broken = [fault for step in ("resolution", "connection", "tunnel") for fault, leg in on_legs(case, faults, step) if _other_way_works(case, leg)]
        names = [setting.variable for setting in case.environment.proxies if setting.variable in known["name"].split(" and ")]
        ways = "; ".join(f"{item.fact.removeprefix('what ').removesuffix(' uses')}: {item.seen}" for item in members[0].evidence)
        severity: Severity = "error" if broken else "warning"
        found.append(finding_of("proxy-variables-disagree", [*members, *broken], known | {"names": " and ".join(names), "ways": ways}, severity=severity))
    return found


def _other_way_works(case: Case, leg: Leg) -> bool:
    """Whether another of the variables opens the way that this one does not."""
    others = [setting.variable for setting in case.environment.proxies if setting.variable != leg.route.variable]
    return any(answer.works for name in others if (answer := counterfactual(leg, f"proxy:{name}")))


def disagree_remedies(finding: Finding, case: Case) -> list[Remedy]:
    names = finding.facts["names"].split(" and ")
    good = next((setting for setting in case.environment.proxies if setting.variable in names and setting.value and not setting.problem), None)
    if good is None or len(names) < 2:
        return [Remedy(do="Set the lower-case and the upper-case form alike.", check="env | grep -i _proxy=")]
    run = (
        "; ".join(f'export {name}="${good.variable}"' for name in names if name != good.variable)
        if case.environment.shell == "posix"
        else "; ".join(set_variable(case, name, good.value) for name in names if name != good.variable)
    )
    return [Remedy(do=f"Set all of them alike (here to the value of {good.variable}; choose the right one).", run=run, check="env | grep -i _proxy=")]


def no_proxy(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """An entry that ends the client, or that it does not understand and that was meant for the host."""
    found = []
    for name, members, known in by_setting("no-proxy-invalid", faults, "no-proxy-invalid"):
        uses = [use for use in clients_of(case.target) if facts(use.family).no_proxy.kills]
        entry = known.get("entry") or next((routes.killing_entry(facts(use.family), case.environment) for use in uses), "")
        use = uses[0] if uses and not known.get("entry") else next(iter(clients_of(case.target)), ClientUse(family="requests"))
        legs = [fault for fault, leg in on_legs(case, faults, "tunnel") if _of_no_proxy(leg.route) or (known.get("entry") and _misses(case, fault, leg))]
        effect = "does not understand it" if known.get("entry") else "ends with an error at it, whatever it is asked for"
        found.append(finding_of("no-proxy-invalid", [*members, *legs], known | {"name": name, "entry": entry, "client": title(use), "effect": effect}))
    return found


def _of_no_proxy(route: Route) -> bool:
    return isinstance(route.problem, Problem) and route.problem.code == "no-proxy-invalid"


def _misses(case: Case, fault: Fault, leg: Leg) -> bool:
    return bool(routes.missed_entry(client_of(case, fault)[1], case.environment, leg.scheme, leg.host, leg.port)[1])


def no_proxy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, entry = finding.facts["name"], finding.facts["entry"]
    value = next((variable.value for variable in case.environment.no_proxy if variable.name == name), "")
    kept = [part.strip() for part in value.split(",") if part.strip() and part.strip() != entry]
    rewritten = _rewritten(entry, case)
    hosts = ([rewritten] if rewritten and rewritten not in kept else []) if finding.facts["effect"].startswith("does not") else []
    run = set_variable(case, name, ",".join([*kept, *hosts])) if kept or hosts else unset(case, name)
    instead = f"Write {rewritten} for {entry}." if hosts else f"Remove the entry {entry}."
    return [Remedy(do=f"{instead} Every client understands plain host names separated by commas.", run=run, check=again(case))]


def _rewritten(entry: str, case: Case) -> str:
    """The entry in the form that every client reads: the bare host."""
    bare = entry.partition("://")[2] or entry
    bare = bare.partition("/")[0].removeprefix("*").lstrip(".").rstrip(".")
    name, colon, port = bare.rpartition(":")
    bare = name if colon and port.isdigit() and ":" not in name else bare
    if "/" in entry and "://" not in entry:
        return next((leg.host for leg in case.legs if leg.route.kind == "proxy"), "")
    return "" if any(char.isspace() or char in "\"'" for char in bare) else bare
