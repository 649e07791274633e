"""The proxy variables and NO_PROXY: not read, not alike, not understood."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from diagnostics.case import Case, ClientUse, Evidence, Fault, Finding, Leg, Problem, ProxySetting, Remedy, Route, Severity, Subject
from diagnostics.causes.claims import again, counterfactual, note, of_leg, on_legs, works
from diagnostics.causes.settings_common import by_setting, client_of, finding_of, set_variable, unset
from diagnostics.causes.shells import variable_name
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
    return Finding(cause="proxy-variable-ignored", subjects=subjects, claims=tuple(dict.fromkeys(claims)), facts=known, evidence=_way(members, setting, case))


def _way(members: list[tuple[Fault, Leg]], setting: ProxySetting, case: Case) -> tuple[Evidence, ...]:
    """What the proxy of a variable said where it was tried."""
    fault, leg = members[0]
    same = [other.variable for other in case.environment.proxies if (other.host, other.port) == (setting.host, setting.port)]
    answer = next((found for name in same if (found := counterfactual(leg, f"proxy:{name}"))), None)
    return (note(fault.subject, f"through the proxy of {setting.variable}", answer.detail),) if answer else ()


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
        return [Remedy(do=f"Take the empty {known['empty']} away, so that {known['name']} counts.", run=unset(known["empty"]), check=again(case), proof=proof)]
    wanted = known["wanted"]
    run = copy_variable(wanted, setting) if setting else set_variable(wanted, "http://HOST:PORT")
    if setting and setting.scheme == "https" and wanted.lower() == known["name"].lower():
        run = set_variable(wanted, "http://" + setting.value.partition("://")[2])
    return [Remedy(do=f"Set {wanted}, which {known['client']} reads, to the same proxy.", run=run, check=again(case), proof=proof)]


def disagree(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Two clients of one download go different ways; an error only where one of the ways is closed and the other open."""
    found = []
    for _, members, known in by_setting("proxy-variables-disagree", faults, "proxy-variables-disagree"):
        names = [setting.variable for setting in case.environment.proxies if setting.variable in known["name"].split(" and ")]
        broken = [(fault, leg) for step in ("resolution", "connection", "tunnel") for fault, leg in on_legs(case, faults, step) if _working(case, leg, names)]
        ways = "; ".join(f"{item.fact.removeprefix('what ').removesuffix(' uses')}: {item.seen}" for item in members[0].evidence)
        severity: Severity = "error" if broken else "warning"
        good = next((_working(case, leg, names) for _, leg in broken), "")
        used = next((leg.route.variable for _, leg in broken), "")
        hidden = next((setting.variable for setting in case.environment.proxies if setting.variable in names and not setting.value), "") if good else ""
        state = (
            f" ({used}'s proxy does not lead to {broken[0][1].host}, that of {good} does)"
            if used
            else f" ({hidden} is empty, which hides {good})"
            if hidden
            else ""
        )
        more = {"names": " and ".join(names), "ways": ways, "good": good, "state": state}
        seen = _way(broken, next(item for item in case.environment.proxies if item.variable == good), case) if good else ()
        found.append(finding_of("proxy-variables-disagree", [*members, *(fault for fault, _ in broken)], known | more, severity=severity, evidence=seen))
    return found


def _working(case: Case, leg: Leg, names: list[str]) -> str:
    """The variable among these that opens the way which this leg did not find, "" for none."""
    others = [setting for setting in case.environment.proxies if setting.variable in names and setting.variable != leg.route.variable]
    return next((setting.variable for setting in others if _tried(leg, setting, case)), "")


def disagree_remedies(finding: Finding, case: Case) -> list[Remedy]:
    names, good = finding.facts["names"].split(" and "), finding.facts["good"]
    settings = {setting.variable: setting for setting in case.environment.proxies if setting.variable in names}
    usable = [setting for setting in settings.values() if setting.value and not setting.problem]
    chosen = settings[good] if good else next(iter(usable), None)
    if chosen is None or len(names) < 2:
        return [Remedy(do="Set the lower-case and the upper-case form alike.", check="env | grep -i _proxy=")]
    others = [name for name in names if name != chosen.variable]
    proof: Any = "seen" if good else "untried"
    if good and all(not settings[name].value for name in others if name in settings):
        return [
            Remedy(
                do=f"Take the empty {' and '.join(others)} away, so that {good} counts for every client.",
                run=unset(*others),
                check=again(case),
                proof=proof,
            )
        ]
    which = "which works" if good else "if that is the right one; else the other way round"
    run = "; ".join(copy_variable(name, chosen) for name in others)
    return [Remedy(do=f"Give {' and '.join(others)} the value of {chosen.variable}, {which}.", run=run, check=again(case), proof=proof)]


def copy_variable(name: str, setting: ProxySetting) -> str:
    """The line that gives ``name`` the value of another variable. The value may hold a password that is not ours to print: the shell copies it."""
    return f'export {variable_name(name)}="${variable_name(setting.variable)}"'


def no_proxy(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """An entry that ends the client, or that it does not understand and that was meant for the host."""
    found = []
    for name, members, known in by_setting("no-proxy-invalid", faults, "no-proxy-invalid"):
        uses = [use for use in clients_of(case.target) if facts(use.family).no_proxy.kills]
        entry = known.get("entry") or next((routes.killing_entry(facts(use.family), case.environment) for use in uses), "")
        use = uses[0] if uses and not known.get("entry") else next(iter(clients_of(case.target)), ClientUse(family="requests"))
        steps = ("resolution", "connection", "tunnel", "response", "body")
        legs = [
            fault
            for step in steps
            for fault, leg in on_legs(case, faults, step)
            if _of_no_proxy(leg.route) or (known.get("entry") and _misses(case, fault, leg))
        ]
        effect = "does not understand it" if known.get("entry") else "ends with an error at it, whatever it is asked for"
        found.append(finding_of("no-proxy-invalid", [*members, *legs], known | {"name": name, "entry": entry, "client": title(use), "effect": effect}))
    return found


def _of_no_proxy(route: Route) -> bool:
    return isinstance(route.problem, Problem) and route.problem.code == "no-proxy-invalid"


def _misses(case: Case, fault: Fault, leg: Leg) -> bool:
    return works(leg, "direct") and bool(routes.missed_entry(client_of(case, fault)[1], case.environment, leg.scheme, leg.host, leg.port)[1])


def no_proxy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, entry = finding.facts["name"], finding.facts["entry"]
    value = next((variable.value for variable in case.environment.no_proxy if variable.name == name), "")
    parts = [part for part in re.split(r"[,;\s\"']+", value) if part]
    if finding.facts["effect"].startswith("does not"):
        hosts = _rewritten(entry, case)
        kept = list(dict.fromkeys(part for old in parts for part in (hosts if old == entry else [old])))
        do = (
            f"Write {', '.join(hosts)} for {entry}, and commas between the entries: every client understands plain host names."
            if hosts != [entry]
            else "Separate the entries by commas: no other character does for this client."
        )
        return [Remedy(do=do, run=set_variable(name, ",".join(kept)), check=again(case), proof="seen")]
    kept = [part for part in parts if part != entry]
    run = set_variable(name, ",".join(kept)) if kept else unset(name)
    return [Remedy(do=f"Remove the entry {entry}. Every client understands plain host names separated by commas.", run=run, check=again(case))]


def _rewritten(entry: str, case: Case) -> list[str]:
    """The entry in the form that every client reads: the bare name, or the hosts of this download that it was meant for."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", entry):
        return [entry.rstrip(".")]
    bare = entry.partition("://")[2].partition("/")[0] if "://" in entry else entry
    bare = bare.removeprefix("*").strip(".")
    name, colon, port = bare.rpartition(":")
    bare = name if colon and port.isdigit() and ":" not in name else bare
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", bare) and any(char.isalpha() for char in bare):
        return [bare]
    hosts = dict.fromkeys(leg.host for leg in case.legs if leg.route.kind == "proxy" and routes.meant(entry, leg.scheme, leg.host, leg.port))
    return list(hosts) or [bare]
