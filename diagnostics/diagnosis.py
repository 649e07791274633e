"""From a Case to its diagnoses: checks find faults, causes claim them, the first claimant is the root.

Pure: no I/O, no pytest. A preflight from Python, a replayed ticket and the pytest run all call :func:`judge`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from diagnostics import checks as checks_package
from diagnostics.agreement import heard
from diagnostics.case import (
    Case,
    Cause,
    CheckResult,
    Diagnosis,
    Evidence,
    Fault,
    Finding,
    Journey,
    Judgement,
    Leg,
    Outcome,
    Platform,
    Severity,
    Subject,
    Unseen,
    Verdict,
)
from diagnostics.causes import ORDER, SECTION_OF, SECTIONS, alternatives
from diagnostics.causes.shells import for_shell
from diagnostics.confirmation import confirm
from diagnostics.tried import led

REASONS = {
    "not_asked": "not asked for",
    "not_reached": "not reached",
    "timed_out": "ran out of time",
    "unsupported": "not supported here",
    "absent": "nothing of that kind here",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question, a plain function of records named by its parameters."""

    id: str
    module: str  # "test_tls"
    question: str
    function: Callable[..., None]
    needs: tuple[str, ...]  # names of Case fields
    tolerates: frozenset[str] = frozenset()  # those it can do without (annotated "… | Unseen")


def all_checks() -> list[Check]:
    """Every check in the order a load would meet them (``diagnostics.checks.ORDER``)."""
    names = [name for _, name, _ in pkgutil.iter_modules(checks_package.__path__) if name.startswith("test_")]
    found = []
    for name in sorted(names, key=checks_package.ORDER.index):
        module = importlib.import_module(f"diagnostics.checks.{name}")
        found += [_check(name, function) for function in vars(module).values() if inspect.isfunction(function) and function.__name__.startswith("test_")]
    return found


def check_id(module: str, function: str) -> str:
    """``test_tls`` and ``test_certificates_are_trusted`` → ``tls/certificates-are-trusted``."""
    return f"{module.rpartition('.')[2].removeprefix('test_')}/{function.removeprefix('test_').replace('_', '-')}"


def _check(module: str, function: Callable[..., None]) -> Check:
    question = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    parameters = {name: str(parameter.annotation) for name, parameter in inspect.signature(function).parameters.items() if name != "expect"}
    tolerates = frozenset(name for name, annotation in parameters.items() if "Unseen" in annotation)
    return Check(id=check_id(module, function.__name__), module=module, question=question, function=function, needs=tuple(parameters), tolerates=tolerates)


@dataclass
class Expect:
    """What a check is given to say what it found: healthy, a fault, or not applicable."""

    check: str
    faults: list[Fault] = field(default_factory=list)
    examined: int = 0
    blocked: list[tuple[str, int]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    _at: tuple[str, int, str] = ("", -1, "")

    def reached(self, journeys: Iterable[Journey], step: str) -> Iterator[tuple[Leg, Any]]:
        """Every leg that got as far as ``step``, with that step's record. A leg that was cut short there is a fault by itself."""
        for journey in journeys:
            for index, leg in enumerate(journey.legs):
                self._at = (journey.name, index, step)
                seen = getattr(leg, step)
                if not isinstance(seen, Unseen):
                    yield leg, seen
                elif seen.why == "timed_out":
                    subject = Subject(kind="host", name=f"{leg.host}:{leg.port}")
                    self.that(False, "timed_out", subject, Evidence(subject=subject, fact=step, seen=seen.detail or "no result within the budget"))
                elif seen.why == "not_reached":
                    self.blocked.append((journey.name, index))
        self._at = ("", -1, "")

    def that(self, healthy: bool, code: str, subject: Subject, *evidence: Evidence, severity: Severity = "error", step: str = "") -> bool:
        """Count one thing examined; note a fault ``code`` where it is not healthy."""
        self.examined += 1
        if not healthy:
            journey, leg, at = self._at
            self.faults.append(
                Fault(
                    check=self.check,
                    step=step or at or self.check.split("/")[0],
                    code=code,
                    subject=subject,
                    evidence=evidence,
                    journey=journey,
                    leg=leg,
                    severity=severity,
                )
            )
        return healthy

    def skip(self, reason: str) -> None:
        """Not applicable, and why."""
        self.reasons.append(reason)


def judge(case: Case, wanted: Iterable[str] | None = None) -> Judgement:
    """Run the checks (all, or those whose ids are ``wanted``), let causes claim what they found, and say what follows."""
    selected = None if wanted is None else set(wanted)
    asked = [(check, *_ask(check, case)) for check in all_checks() if selected is None or check.id in selected]
    faults = tuple(fault for _, expect, _, _ in asked for fault in expect.faults)
    diagnoses = heard(case, led(case, attribute(case, faults)))
    results = tuple(_result(check, expect, error, seconds, diagnoses) for check, expect, error, seconds in asked)
    diagnoses = confirm(case, diagnoses, results)
    return Judgement(diagnoses=diagnoses, results=results, verdict=verdict(diagnoses, results))


def diagnose(case: Case) -> list[Diagnosis]:
    """The root causes in this Case, what to act on first."""
    return list(judge(case).diagnoses)


def _ask(check: Check, case: Case) -> tuple[Expect, str, float]:
    """Ask one check; returns what it expected, the traceback of a bug of ours if there is one, and seconds."""
    expect, started = Expect(check.id), time.perf_counter()
    records = {name: getattr(case, name) for name in check.needs}
    unseen = [(name, value) for name, value in records.items() if isinstance(value, Unseen) and name not in check.tolerates]
    error = ""
    if unseen:
        _not_seen(expect, *unseen[0])
    else:
        try:
            check.function(**records, expect=expect)
        except Exception:  # noqa: BLE001  # a bug of ours must not hide what the other checks found; it becomes a pytest ERROR and exit 3
            error = traceback.format_exc()
    return expect, error, time.perf_counter() - started


def _not_seen(expect: Expect, name: str, unseen: Unseen) -> None:
    if unseen.why == "timed_out":
        subject = Subject(kind="probe", name=name)
        expect.that(False, "timed_out", subject, Evidence(subject=subject, fact="waited for", seen=unseen.detail or name), step=name)
    elif unseen.why == "not_reached":
        expect.blocked.append(("", -1))
        expect.skip(unseen.detail or f"{name}: {REASONS[unseen.why]}")
    else:
        expect.skip(unseen.detail or f"{name}: {REASONS[unseen.why]}")


def attribute(case: Case, faults: tuple[Fault, ...]) -> tuple[Diagnosis, ...]:
    """Let every cause, in the one total order, claim faults; the first claimant of a fault is the root, later ones go under it."""
    owner_of: dict[int, int] = {}  # fault → index of its root
    roots: list[tuple[Cause, Finding, list[str]]] = []
    for cause in ORDER:
        for finding in cause.recognise(case, faults):
            claims = frozenset(finding.claims)  # thousands of files may be broken alike
            claimed = [index for index, fault in enumerate(faults) if fault in claims]
            fresh = [index for index in claimed if index not in owner_of]
            for root in {owner_of[index] for index in claimed if index in owner_of}:
                if cause.id not in (roots[root][0].id, "unexplained", *roots[root][2]):
                    roots[root][2].append(cause.id)
            if fresh:
                owner_of |= dict.fromkeys(fresh, len(roots))
                roots.append((cause, finding, []))
    diagnoses = [
        _diagnosis(cause, finding, explains, case, [faults[index] for index, owner in owner_of.items() if owner == number])
        for number, (cause, finding, explains) in enumerate(roots)
    ]
    return tuple(sorted(diagnoses, key=_load_order))


def _diagnosis(cause: Cause, finding: Finding, explains: list[str], case: Case, claims: list[Fault]) -> Diagnosis:
    evidence = dict.fromkeys((*finding.evidence, *(item for fault in claims for item in fault.evidence)))
    mildest = all(fault.severity == "warning" for fault in claims)
    severity: Severity = finding.severity or ("warning" if mildest else cause.severity)
    return Diagnosis(
        cause=cause.id,
        severity=severity,
        owner=cause.owner,
        title=cause.title.format_map(_Facts(finding.facts)),
        why=cause.why.format_map(_Facts(finding.facts)),
        subjects=finding.subjects,
        evidence=tuple(evidence),
        remedies=tuple(
            for_shell(remedy, case.environment.shell, is_root(case)) for remedy in (*alternatives.remedies(claims, case), *cause.remedies(finding, case))
        ),
        ruled_out=tuple(dict.fromkeys((*finding.ruled_out, *alternatives.ruled_out(claims, case)))),
        explains=tuple(explains),
        checks=tuple(dict.fromkeys(fault.check for fault in claims)),
        claims=tuple(claims),
    )


def is_root(case: Case) -> bool:
    platform = case.environment.platform
    return isinstance(platform, Platform) and platform.euid == 0


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return f"<{key}>"


def _load_order(diagnosis: Diagnosis) -> tuple[bool, int, int]:
    ids = [cause.id for cause in ORDER]
    return diagnosis.severity == "warning", SECTIONS.index(SECTION_OF[diagnosis.cause]), ids.index(diagnosis.cause)


def _result(check: Check, expect: Expect, error: str, seconds: float, diagnoses: tuple[Diagnosis, ...]) -> CheckResult:
    result = CheckResult(
        check=check.id, question=check.question, outcome="passed", reason="; ".join(dict.fromkeys(expect.reasons)), seconds=seconds, faults=tuple(expect.faults)
    )
    if error:
        return replace(result, outcome="error", reason=error)
    if expect.faults:
        roots = roots_of(result, diagnoses)
        result = replace(result, outcome="failed", reason="; ".join(dict.fromkeys(f"{root.cause}: {root.title}" for root in roots)))
        return replace(result, outcome=outcome_of(result, diagnoses))
    if expect.blocked and not expect.examined:
        root = _blocking(expect, diagnoses)
        if root is None:  # nothing stands in the way: there was nothing to reach
            return replace(result, outcome="skipped", reason=result.reason or "not reached")
        return replace(result, outcome="blocked", blocked_by=root.cause, reason=f"not reached: {root.title}")
    if not expect.examined:
        return replace(result, outcome="skipped", reason=result.reason or "nothing to examine here")
    return result


def roots_of(result: CheckResult, diagnoses: tuple[Diagnosis, ...]) -> tuple[Diagnosis, ...]:
    """The roots that claim what this check found."""
    mine = frozenset(result.faults)
    return tuple(root for root in diagnoses if not mine.isdisjoint(root.claims))


def outcome_of(result: CheckResult, diagnoses: tuple[Diagnosis, ...]) -> Outcome:
    """The outcome of a check that found faults follows its roots: an error that is not waived fails it."""
    if result.outcome not in ("failed", "warned"):
        return result.outcome
    return "failed" if any(root.severity == "error" and not root.waived for root in roots_of(result, diagnoses)) else "warned"


def _blocking(expect: Expect, diagnoses: tuple[Diagnosis, ...]) -> Diagnosis | None:
    """The root on whose account a check got nothing to see: of the same leg, of the same journey, or the first error."""
    journeys = {journey for journey, _ in expect.blocked}
    same_leg = (root for root in diagnoses if any((fault.journey, fault.leg) in expect.blocked for fault in root.claims))
    same_journey = (root for root in diagnoses if any(fault.journey in journeys for fault in root.claims))
    first_error = (root for root in diagnoses if root.severity == "error")
    return next(same_leg, None) or next(same_journey, None) or next(first_error, None)


def verdict(diagnoses: tuple[Diagnosis, ...], results: tuple[CheckResult, ...]) -> Verdict:
    """One word for all of it; waived roots do not count."""
    live = [diagnosis for diagnosis in diagnoses if not diagnosis.waived]
    if any(diagnosis.severity == "error" for diagnosis in live):
        return "broken"
    if not any(result.outcome in ("passed", "warned", "failed") for result in results):
        return "unverified"
    return "degraded" if live else "healthy"
