"""What a failed check says: its share of the diagnosis, for pytest's FAILURES and for JUnit."""

from __future__ import annotations

from diagnostics.case import CheckResult, Diagnosis, Evidence, Judgement
from diagnostics.diagnosis import roots_of
from diagnostics.redact import plain

MOST_EVIDENCE = 12


def message(result: CheckResult, judgement: Judgement) -> str:
    """One line: ``cause-id: title``."""
    roots = roots_of(result, judgement.diagnoses)
    return "; ".join(f"{root.cause}: {root.title}" for root in roots) or result.reason


def failure_text(result: CheckResult, judgement: Judgement) -> str:
    """Cause, evidence found by this check, remedies."""
    lines = [line for root in roots_of(result, judgement.diagnoses) for line in _share(root, result)]
    return "\n".join(lines) or result.reason


def _share(root: Diagnosis, result: CheckResult) -> list[str]:
    mine = dict.fromkeys(item for fault in result.faults if fault in root.claims for item in fault.evidence)
    return diagnosis_lines(root, tuple(mine))


def diagnosis_lines(root: Diagnosis, evidence: tuple[Evidence, ...] | None = None) -> list[str]:
    """A root as plain lines: title, why, evidence (its own where none is given), the first remedies."""
    shown = root.evidence if evidence is None else evidence
    lines = [f"{root.cause}: {root.title}", f"  {root.why}"]
    lines += [f"  {evidence_line(item)}" for item in shown[:MOST_EVIDENCE]]
    for remedy in root.remedies[:2]:
        lines.append(f"  Do: {remedy.do}")
        lines += [f"  Run: {one_line(remedy.run)}"] if remedy.run else []
        lines += [f"  Check: {one_line(remedy.check)}"] if remedy.check else []
    return lines


def evidence_line(item: Evidence) -> str:
    expected = f" (expected: {item.expected})" if item.expected else ""
    return f"{item.subject.name}: {item.fact}: {item.seen}{expected}"


def one_line(command: str) -> str:
    """A command to paste: one line, printable, uncut."""
    return plain(command, 10000)
