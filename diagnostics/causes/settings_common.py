"""What the causes of the settings section ask alike, and the words of a shell."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from diagnostics.case import Case, ClientUse, Fault, Finding, Handshake
from diagnostics.causes.claims import journey_of
from diagnostics.causes.shells import variable_name
from diagnostics.facts.clients import ClientFacts, clients_of, facts, installed


def finding_of(cause: str, faults: list[Fault], facts_: dict[str, str], **more: Any) -> Finding:
    subjects = tuple(dict.fromkeys(fault.subject for fault in faults))
    return Finding(cause=cause, subjects=subjects, claims=tuple(faults), facts=facts_, **more)


def by_setting(cause: str, faults: tuple[Fault, ...], *codes: str) -> Iterator[tuple[str, list[Fault], dict[str, str]]]:
    """Setting faults of these codes by subject: (subject's name, faults, their evidence as facts)."""
    groups: dict[str, list[Fault]] = {}
    for fault in faults:
        if fault.step == "setting" and fault.code in codes:
            groups.setdefault(fault.subject.name, []).append(fault)
    for name, members in groups.items():
        yield name, members, _facts(name, members[0])


def _facts(name: str, fault: Fault) -> dict[str, str]:
    """A fault's evidence by name; what is wrong is its ``detail``."""
    seen = {item.fact: item.seen for item in fault.evidence}
    return {"name": name, "code": fault.code, "detail": seen.get("what is wrong", ""), **seen}


def client_of(case: Case, fault: Fault) -> tuple[ClientUse, ClientFacts]:
    """The client of a fault's journey, else that of the target, with what is known of it."""
    journey = journey_of(case, fault)
    use = journey.client if journey else next(iter(clients_of(case.target)), ClientUse(family="requests"))
    return use, facts(use.family)


def set_variable(variable: str, value: str) -> str:
    """The command that sets a variable; ``shells`` words it for the shell at hand."""
    return f"export {variable_name(variable)}={quoted(value)}"


def unset(*variables: str) -> str:
    """The command that takes variables away."""
    return "unset " + " ".join(variable_name(variable) for variable in variables)


def public_roots(case: Case) -> str:
    """A word of the shell: the file with the public roots that the client trusts already; certifi's where the client's store is no file, or empty."""
    own = (
        leg.handshake.store_file
        for leg in case.legs
        if isinstance(leg.handshake, Handshake) and leg.handshake.store in ("operating system", "certifi") and leg.handshake.roots != 0
    )
    found, certifi = next(filter(None, own), ""), installed(case.environment.distributions, "certifi")
    if found and "certifi" not in found:  # that path would be of this interpreter
        return quoted(found)
    return '"$(python -m certifi)"' if certifi or not case.environment.distributions else "/etc/ssl/certs/ca-certificates.crt"


def quoted(value: str) -> str:
    """Quoted for the shell; ``~`` is written out, for inside quotes nobody expands it."""
    return '"$HOME"/' + shlex.quote(value[2:]) if value.startswith("~/") else shlex.quote(value)


def simple(cause: str, *codes: str) -> Any:
    """Recognise faults of a check of ours by their code alone, one finding a subject."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        return [finding_of(cause, members, known) for _, members, known in by_setting(cause, faults, *(codes or (cause,)))]

    return recognise
