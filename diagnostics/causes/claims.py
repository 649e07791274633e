"""What the causes ask of a Case alike: which faults, which leg, and the words for a remedy."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from diagnostics.case import Case, Counterfactual, Evidence, Fault, Files, Finding, Journey, Leg, Remedy, Severity, Subject
from diagnostics.causes.shells import variable_name


def leg_of(case: Case, fault: Fault) -> Leg | None:
    """The leg on which a fault was found."""
    journey = journey_of(case, fault)
    return journey.legs[fault.leg] if journey and 0 <= fault.leg < len(journey.legs) else None


def journey_of(case: Case, fault: Fault) -> Journey | None:
    return next((journey for journey in case.journeys or () if journey.name == fault.journey), None)


def on_legs(case: Case, faults: Iterable[Fault], step: str, *codes: str) -> Iterator[tuple[Fault, Leg]]:
    """Faults of one step (and, where given, of these codes) with their legs."""
    for fault in faults:
        if fault.step == step and (not codes or fault.code in codes) and (leg := leg_of(case, fault)):
            yield fault, leg


def of_leg(faults: Iterable[Fault], fault: Fault) -> tuple[Fault, ...]:
    """Every fault of the same leg."""
    return tuple(other for other in faults if (other.journey, other.leg) == (fault.journey, fault.leg))


def with_same_answers(case: Case, faults: Iterable[Fault], pairs: Iterable[tuple[Fault, Leg]]) -> list[tuple[Fault, Leg]]:
    """``pairs``, and what the same host refused with the same status elsewhere: the answer to a HEAD has no page that would tell who speaks."""
    found = list(pairs)
    known = {(leg.host, leg.port, leg.response.status, _server(leg)) for _, leg in found if leg.response}
    claimed = {fault for fault, _ in found}
    for fault, leg in on_legs(case, faults, "response", "status", "method"):
        if fault not in claimed and leg.response and (leg.host, leg.port, leg.response.status, _server(leg)) in known:
            found.append((fault, leg))
    return found


def _server(leg: Leg) -> str:
    return next((header.value for header in leg.response.headers if header.name == "server"), "") if leg.response else ""


SIGN_IN = re.compile(r"portal|captive|hot-?spot|log-?in|log-?on|sign-?in|wi-?fi|wlan|guest|welcome|auth", re.IGNORECASE)


def sign_in_page(journey: Journey) -> str:
    """Where plain http is sent away from the host asked for, to a page that is about signing in; "" where it is not."""
    first = journey.legs[0] if journey.legs else None
    if first is None or first.scheme != "http" or not first.response or not first.response.location:
        return ""
    target, last = urlsplit(first.response.location), journey.legs[-1]
    foreign = target.hostname not in (None, first.host) and not target.path.startswith(urlsplit(first.url).path)
    title = (last.response.title if last.response else "") or (last.body.title if last.body else "")
    return first.response.location if foreign and SIGN_IN.search(f"{first.response.location} {title}") else ""


def by_subject(cause: str, pairs: Iterable[tuple[Fault, Leg]], facts: Callable[[Fault, Leg], dict[str, str]], **more: object) -> list[Finding]:
    """One finding for each subject, claiming all its faults."""
    groups: dict[Subject, list[tuple[Fault, Leg]]] = {}
    for fault, leg in pairs:
        groups.setdefault(fault.subject, []).append((fault, leg))
    return [
        Finding(cause=cause, subjects=(subject,), claims=tuple(fault for fault, _ in members), facts=facts(*members[0]), **more)  # type: ignore[arg-type]
        for subject, members in groups.items()
    ]


def all_in_one(
    cause: str, pairs: Iterable[tuple[Fault, Leg]], facts: Callable[[Fault, Leg], dict[str, str]], severity: Severity | None = None
) -> list[Finding]:
    """One finding for everything of this kind."""
    members = list(pairs)
    if not members:
        return []
    subjects = tuple(dict.fromkeys(fault.subject for fault, _ in members))
    made = Finding(cause=cause, subjects=subjects, claims=tuple(fault for fault, _ in members), facts=facts(*members[0]))
    return [made] if severity is None else [Finding(cause=cause, subjects=subjects, claims=made.claims, facts=made.facts, severity=severity)]


def some(names: Iterable[str], most: int = 3) -> str:
    """The first of these names, and how many more there are."""
    unique = list(dict.fromkeys(names))
    if len(unique) <= most + 1:
        return " and ".join(filter(None, (", ".join(unique[:-1]), *unique[-1:])))
    return f"{', '.join(unique[:most])} and {len(unique) - most} more"


def counterfactual(leg: Leg, question: str) -> Counterfactual | None:
    """The answer to one "and if…?", where it was asked."""
    return next((item for item in leg.counterfactuals if item.question == question), None)


def works(leg: Leg, question: str) -> bool:
    found = counterfactual(leg, question)
    return found is not None and found.works


def fails(leg: Leg, question: str) -> bool:
    found = counterfactual(leg, question)
    return found is not None and not found.works


def proxy_that_works(leg: Leg) -> str:
    """The variable or program whose proxy would have connected, though this request went direct; "" where none."""
    return next((item.question.removeprefix("proxy:") for item in leg.counterfactuals if item.question.startswith("proxy:") and item.works), "")


def first_hop_fine(case: Case, fault: Fault) -> Leg | None:
    """The first leg of a journey whose later leg, on another host, is at fault; None where the fault is on the first host itself."""
    journey = journey_of(case, fault)
    if not journey or fault.leg <= 0:
        return None
    first, here = journey.legs[0], journey.legs[fault.leg]
    return first if first.host != here.host and first.response and first.response.outcome == "answered" else None


def other_hosts_work(case: Case, host: str = "") -> tuple[str, ...]:
    """Hosts of this survey that answered, but for ``host``."""
    return tuple(dict.fromkeys(leg.host for leg in case.legs if leg.host != host and leg.response and leg.response.outcome == "answered"))


def hosts_needed(case: Case) -> tuple[str, ...]:
    """Every host and port that was asked for, in order: what an admin has to allow."""
    return tuple(dict.fromkeys(f"{leg.host}:{leg.port}" for leg in case.legs))


def host_port(subject: Subject) -> tuple[str, str]:
    host, _, port = subject.name.rpartition(":")
    return (host, port) if port.isdigit() else (subject.name, "")


def export(variable: str, value: str) -> str:
    return f"export {variable_name(variable)}={shlex.quote(value)}"


def exports(variables: Iterable[str], value: str) -> str:
    """The line that gives several variables one value."""
    return "export " + " ".join(f"{variable_name(variable)}={shlex.quote(value)}" for variable in variables)


def again(case: Case) -> str:
    """The command that shows whether it worked."""
    return "pytest diagnostics" + (f" --diagnose {shlex.quote(case.target.spec)}" if case.target.spec else "")


def fetch_check(leg: Leg) -> str:
    """A command that asks the same URL as this leg did."""
    return f"curl -sSI {shlex.quote(leg.url)}"


def note(subject: Subject, fact: str, seen: str, expected: str = "") -> Evidence:
    return Evidence(subject=subject, fact=fact, seen=seen, expected=expected)


def offline_remedy(case: Case) -> list[Remedy]:
    """Where the model is here already, the network can be left out."""
    if isinstance(case.files, Files) and case.files.place == "cache" and case.files.files and not case.files.missing:
        return [
            Remedy(
                do="Everything this model needs is in the cache already: tell the client to stay off the network meanwhile.",
                run="export HF_HUB_OFFLINE=1",
                check=again(case),
                proof="untried",
            )
        ]
    return []
