"""The variables that name certificates: missing, unreadable, not read, or not enough."""

from __future__ import annotations

from typing import Any

from diagnostics.case import ABSENT, Case, CaVariable, Fault, Finding, Leg, Remedy, Severity, Subject, Unseen
from diagnostics.causes.claims import again, of_leg, on_legs
from diagnostics.causes.settings_common import by_setting, client_of, finding_of, public_roots, quoted, set_variable, unset
from diagnostics.facts import stores
from diagnostics.facts.clients import clients_of, facts, reads_ca, title

DEFAULT_STORES = frozenset({"certifi", "os", "operating system"})
FEW_CERTIFICATES = 60  # a public bundle holds more than a hundred


def _ca(case: Case, name: str) -> CaVariable | None:
    return next((variable for variable in case.environment.ca if variable.variable == name), None)


def _readers(case: Case, variable: str) -> str:
    """The clients of this download that read a variable, as words."""
    names = [title(use) for use in clients_of(case.target) if reads_ca(facts(use.family), variable)]
    return " and ".join(names) or "no client of this download"


def bad_ca(cause: str) -> Any:
    """A variable that leads to no certificate, and the handshakes that failed for want of one."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        found = []
        for name, members, known in by_setting(cause, faults, cause):
            broken = [
                fault
                for fault, leg in on_legs(case, faults, "handshake", "untrusted", "store_unusable")
                if leg.handshake and leg.handshake.store == name and _holds_elsewhere(leg, fault)
            ]
            more = {"path": known.get("path", ""), "there": known.get("what is there", ""), "readers": _readers(case, name)}
            claims = [*members, *(other for fault in broken for other in of_leg(faults, fault))]
            # Where every client takes no notice and the handshakes hold, it is no more than untidy.
            severity: Severity | Unseen = "warning" if all(fault.severity == "warning" for fault in claims) else ABSENT
            found.append(finding_of(cause, list(dict.fromkeys(claims)), known | more, severity=severity))
        return found

    return recognise


def _holds_elsewhere(leg: Leg, fault: Fault) -> bool:
    """A store that cannot be opened explains itself; an untrusted chain only where another store of this machine holds it, or none was asked."""
    verdicts = leg.handshake.verdicts if leg.handshake else ()
    return fault.code == "store_unusable" or not verdicts or any(verdict.accepted for verdict in verdicts)


def missing_ca_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, path = finding.facts["name"], finding.facts["path"]
    variable = _ca(case, name)
    good = next((item for item in case.environment.ca if item.exists and item.form in ("pem", "hashed") and item.variable != name), None)
    wants_folder = name.endswith(("DIR", "CAPATH"))
    found = [_own_store(name, case)]
    if variable and not variable.path:  # set and empty
        return found
    if variable and variable.exists_expanded:
        whole = Remedy(do="Write the whole path: the file is there, and no client expands ~ in a variable.", run=set_variable(name, path), check=again(case))
        return [whole, *found]
    if good and good.is_directory == wants_folder:
        found.append(
            Remedy(do=f"Or name a file that is there, as {good.variable} does.", run=set_variable(name, good.path), check=f"ls -l {quoted(good.path)}")
        )
    else:
        found.append(Remedy(do="Or correct the path.", check=f"ls -l {quoted(path)}"))
    return found


def _own_store(name: str, case: Case) -> Remedy:
    """Without the variable; tried where a handshake that failed with it holds with a store of the machine's own."""
    tried = [leg.handshake for leg in case.legs if leg.handshake and leg.handshake.store == name]
    held = bool(tried) and all(any(verdict.accepted and verdict.store in DEFAULT_STORES for verdict in shaken.verdicts) for shaken in tried)
    return Remedy(do="Take the variable away: the client then uses its own store.", run=unset(name), check=again(case), proof="seen" if held else "untried")


def invalid_ca_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, path = finding.facts["name"], finding.facts["path"]
    variable = _ca(case, name)
    without = _own_store(name, case)
    if variable and variable.form == "der":
        pem = path.rpartition(".")[0] + ".pem" if path.endswith((".der", ".crt", ".cer")) else path + ".pem"
        run = f"openssl x509 -inform der -in {quoted(path)} -out {quoted(pem)} && {set_variable(name, pem)}"
        return [
            Remedy(
                do="The file is a certificate in DER form; the clients read PEM. Convert it.", run=run, check=f"openssl x509 -noout -subject -in {quoted(pem)}"
            ),
            without,
        ]
    if variable and variable.is_directory:
        return [
            Remedy(
                do=f"{name} names a folder; give it one file of PEM certificates{' (SSL_CERT_DIR is the variable for a folder)' if name == 'SSL_CERT_FILE' else ''}.",
                check=f"ls -l {quoted(path)}",
            ),
            without,
        ]
    if variable and not variable.readable:
        return [Remedy(do="This user may not read that file.", run=f"ls -l {quoted(path)}", check=f"head -c 30 {quoted(path)}"), without]
    return [
        Remedy(
            do=f"Put a bundle of PEM certificates there ({finding.facts['there']} is there now), or name another file.",
            check=f"grep -c 'BEGIN CERTIFICATE' {quoted(path)}",
        ),
        without,
    ]


def unhashed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, path = finding.facts["name"], finding.facts["path"]
    found = [
        Remedy(
            do="Give the files the names that OpenSSL looks for.",
            run=f"openssl rehash {quoted(path)}",
            check=f"ls {quoted(path)} | grep -E '^[0-9a-f]{{8}}\\.[0-9]+$'",
        )
    ]
    if name == "SSL_CERT_DIR":
        joined = path.rstrip("/") + "-bundle.pem"
        found.append(
            Remedy(
                do="Or join them into one file and name that.",
                run=f"cat {quoted(path)}/*.pem > {quoted(joined)} && {unset(name)} && {set_variable('SSL_CERT_FILE', joined)}",
                check=again(case),
            )
        )
    return found


def incomplete(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The variable's bundle replaces the client's own store, which would have done."""
    groups: dict[str, list[tuple[Fault, Leg]]] = {}
    for fault, leg in on_legs(case, faults, "handshake", "untrusted"):
        shaken = leg.handshake
        variable = _ca(case, shaken.store) if shaken else None
        if shaken and variable and variable.certificates and any(verdict.accepted and verdict.store in DEFAULT_STORES for verdict in shaken.verdicts):
            groups.setdefault(variable.variable, []).append((fault, leg))
    found = []
    for name, members in groups.items():
        variable = _ca(case, name)
        assert variable is not None
        hosts = ", ".join(dict.fromkeys(leg.host for _, leg in members))
        use, _ = client_of(case, members[0][0])
        better = next(
            verdict.store for _, leg in members if leg.handshake for verdict in leg.handshake.verdicts if verdict.accepted and verdict.store in DEFAULT_STORES
        )
        known = {
            "name": name,
            "path": variable.path,
            "count": _count(variable.certificates),
            "host": hosts,
            "client": title(use),
            "store": _store_words(better),
        }
        claims = [other for fault, _ in members for other in of_leg(faults, fault) if other.step == "handshake"]
        ruled_out = (f"an interception: the certificate of {hosts} holds with {_store_words(better)}",)
        found.append(
            Finding(
                cause="ca-bundle-incomplete",
                subjects=(Subject(kind="variable", name=name), *dict.fromkeys(fault.subject for fault, _ in members)),
                claims=tuple(dict.fromkeys(claims)),
                facts=known,
                ruled_out=ruled_out,
            )
        )
    return found


def _count(certificates: int) -> str:
    return "one certificate, which is not" if certificates == 1 else f"{certificates} certificates, none of which is"


def _store_words(store: str) -> str:
    return {"certifi": "certifi's store", "os": "the operating system's store", "operating system": "the operating system's store"}.get(store, store)


def _joined(case: Case, name: str, path: str) -> str:
    """The command that joins the public roots with the person's own file and names the result."""
    target = path.rpartition(".")[0] + "-and-public.pem" if "." in path.rpartition("/")[2] else path + "-and-public.pem"
    return f"cat {public_roots(case)} {quoted(path)} > {quoted(target)} && {set_variable(name, target)}"


def incomplete_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, path = finding.facts["name"], finding.facts["path"]
    others = any(leg.handshake and leg.handshake.outcome == "accepted" and leg.handshake.store == name for leg in case.legs)
    without = Remedy(do="Take the variable away: the client's own store trusts this host.", run=unset(name), check=again(case), proof="seen")
    join = Remedy(do="Join the public roots with that file, so that both are trusted, and name the result.", run=_joined(case, name, path), check=again(case))
    return [join] if others else [without, join]  # what another host needs of it would be missing


def ignored_ca(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The handshake fails with the client's store and holds with that of a variable which it does not read."""
    groups: dict[str, list[tuple[Fault, Leg]]] = {}
    for fault, leg in on_legs(case, faults, "handshake", "untrusted", "store_unusable"):
        if name := _ignored_variable(case, fault, leg):
            groups.setdefault(name, []).append((fault, leg))
    found = []
    for name, members in groups.items():
        use, row = client_of(case, members[0][0])
        variable = _ca(case, name)
        assert variable is not None
        wanted = next(
            (rule.variable for rule in row.ca if rule.takes in ("either", "directory" if variable.is_directory else "file")),
            row.ca[0].variable if row.ca else "",
        )
        hosts = ", ".join(dict.fromkeys(leg.host for _, leg in members))
        store = members[0][1].handshake.store if members[0][1].handshake else ""
        known = {
            "name": name,
            "path": variable.path,
            "client": title(use),
            "wanted": wanted,
            "host": hosts,
            "store": _store_words(store),
            "count": str(variable.certificates),
        }
        claims = [other for fault, _ in members for other in of_leg(faults, fault) if other.step == "handshake"]
        subjects = (Subject(kind="variable", name=name), *dict.fromkeys(fault.subject for fault, _ in members))
        found.append(Finding(cause="ca-variable-ignored", subjects=subjects, claims=tuple(dict.fromkeys(claims)), facts=known))
    return found


def _ignored_variable(case: Case, fault: Fault, leg: Leg) -> str:
    """The variable with whose store this handshake holds, if this client does not take its store from there."""
    _, row = client_of(case, fault)
    used = {variable.variable for _, variable in stores.effective_ca(row, case.environment)}
    accepted = [verdict.store for verdict in (leg.handshake.verdicts if leg.handshake else ()) if verdict.accepted]
    if any(store in DEFAULT_STORES or store in used for store in accepted):
        return ""  # not the variable's root is what is missing
    return next((store for store in accepted if _ca(case, store)), "")


def ignored_ca_remedies(finding: Finding, case: Case) -> list[Remedy]:
    known = finding.facts
    wanted, path = known["wanted"], known["path"]
    if not wanted:
        return [Remedy(do=f"{known['client']} reads no variable for certificates: add the certificate to the operating system's store.", check=again(case))]
    few = known["count"].isdigit() and int(known["count"]) < FEW_CERTIFICATES
    variable = _ca(case, known["name"])
    direct = Remedy(do=f"Set {wanted}, which {known['client']} reads, to the same path.", run=set_variable(wanted, path), check=again(case), proof="seen")
    if few and variable and not variable.is_directory:
        return [
            direct,
            Remedy(
                do=f"That file holds {known['count']} certificates and would be the client's whole store: where other hosts are not inspected, join the public roots with it.",
                run=_joined(case, wanted, path),
                check=again(case),
            ),
        ]
    return [direct]
