"""What remains when nothing better explains it."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.case import Case, Cause, Evidence, Fault, Finding, Remedy, Subject, Unseen
from diagnostics.causes.claims import again, note

LATE_SECONDS = 2.5


def _timed_out(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    claims = tuple(fault for fault in faults if fault.code == "timed_out" and any(item.fact in ("waited for", fault.step) for item in fault.evidence))
    if not claims:
        return []
    waited = "; ".join(dict.fromkeys(item.seen for fault in claims for item in fault.evidence[:1]))
    return [
        Finding(
            cause="survey-timed-out",
            subjects=tuple(dict.fromkeys(fault.subject for fault in claims)),
            claims=claims,
            facts={"waited": waited, "budget": _looked_for(case)},
            evidence=tuple(_slow_steps(case)),
        )
    ]


def _slow_steps(case: Case) -> Iterator[Evidence]:
    """Where the time went: steps that were well in the end, and late."""
    for leg in case.legs:
        subject = Subject(kind="host", name=f"{leg.host}:{leg.port}")
        steps = (("its name", leg.resolution), ("a connection", leg.connection), ("TLS", leg.handshake), (f"an answer to {leg.method}", leg.response))
        yield from (note(subject, f"seconds for {what}", f"{step.seconds:.1f}", "") for what, step in steps if step and step.seconds >= LATE_SECONDS)


def _looked_for(case: Case) -> str:
    """Seconds: the budget, or less where the run was interrupted before."""
    ended_early = 0 < case.seconds < case.budget_seconds
    return f"{case.seconds:.1f}" if ended_early else f"{case.budget_seconds:.0f}"


def _timed_out_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"Give the survey more time; if it waits for {finding.facts['waited']} again, look at that host or disk.",
            run=again(case) + f" --diagnose-timeout {max(60, int(case.budget_seconds) * 3)}",
            check=again(case),
        )
    ]


def _unexplained(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Everything: what another cause claimed before stays with it, the rest is reported whole."""
    groups: dict[tuple[str, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.step, fault.code), []).append(fault)
    return [
        Finding(
            cause="unexplained",
            subjects=tuple(dict.fromkeys(fault.subject for fault in group)),
            claims=tuple(group),
            facts={"step": step, "code": code, "subject": group[0].subject.name},
        )
        for (step, code), group in groups.items()
    ]


def _unexplained_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Report it to the maintainers of pytest-diagnostics with report.json attached: it holds everything that was seen, and no secret.",
            check=again(case),
        )
    ]


CAUSES = (
    Cause(
        id="survey-timed-out",
        owner=("network",),
        title="Looking did not end within {budget} s: still waiting for {waited}",
        why="A probe ran out of the budget, and nothing that was seen explains why. What was seen was in order, however late.",
        recognise=_timed_out,
        remedies=_timed_out_remedies,
        lab="survey-timed-out",
    ),
    Cause(
        id="unexplained",
        owner=("author",),
        title="Something is wrong at {subject} ({step}: {code}) that no known cause explains",
        why="A check found a fault, with the evidence below, and no entry of the catalogue fits it. That is a gap in our catalogue.",
        recognise=_unexplained,
        remedies=_unexplained_remedies,
        lab=Unseen("unsupported", "by definition nothing known provokes it; hand-made faults in the tests do"),
    ),
)
