"""What a failed check says: its share of the diagnosis, for pytest's FAILURES and for JUnit."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostics.case import CheckResult, Diagnosis, Evidence, Judgement
from diagnostics.diagnosis import roots_of
from diagnostics.redact import plain
from diagnostics.render.words import MOST_TITLE, alternative, command, commands, evidence_line, leading

MOST_EVIDENCE = 12


def message(result: CheckResult, judgement: Judgement) -> str:
    """One line: ``cause-id: title``."""
    roots = roots_of(result, judgement.diagnoses)
    return "; ".join(f"{root.cause}: {plain(root.title, MOST_TITLE)}" for root in roots) or plain(result.reason, MOST_TITLE)


def failure_text(result: CheckResult, judgement: Judgement) -> str:
    """Cause, evidence found by this check, remedies."""
    lines = [line for root in roots_of(result, judgement.diagnoses) for line in _share(root, result)]
    return "\n".join(lines) or plain(result.reason, 2000)


def _share(root: Diagnosis, result: CheckResult) -> list[str]:
    claims = frozenset(root.claims)
    mine = list(dict.fromkeys(item for fault in result.faults if fault in claims for item in fault.evidence))
    return diagnosis_lines(root, mine)


def diagnosis_lines(root: Diagnosis, evidence: Sequence[Evidence] | None = None) -> list[str]:
    """A root as plain lines: title, why, evidence (its own where none is given), the first remedies."""
    shown = root.evidence if evidence is None else evidence
    waived = f" (waived: {plain(root.waived, 300)})" if root.waived else ""
    lines = [f"{root.cause}: {plain(root.title, MOST_TITLE)}{waived}", f"  {plain(root.why, 1000)}"]
    lines += [f"  {evidence_line(item)}" for item in shown[:MOST_EVIDENCE]]
    lines += [f"  … and {len(shown) - MOST_EVIDENCE} more in the report"] if len(shown) > MOST_EVIDENCE else []
    for number, remedy in enumerate(root.remedies[:2]):
        lines.append(f"  {leading(remedy, number)}: {plain(alternative(remedy.do) if number else remedy.do, 1000)}")
        lines += [f"  {'Run: ' if not index else '     '}{line}" for index, line in enumerate(commands(remedy.run))] if remedy.run else []
        lines += [f"  Check: {command(remedy.check)}"] if remedy.check else []
    return lines
