"""Kubernetes: what ``kubectl describe pod`` shows of a container that ended, its termination message."""

from __future__ import annotations

from diagnostics.case import Diagnosis, Report
from diagnostics.redact import plain
from diagnostics.render import words

MOST_BYTES = 4096  # kubernetes.io, "Determine the Reason for Pod Failure": a longer message is cut


def termination_message(report: Report) -> str:
    """Every root that ends the load, one line each, with what to do; "" where there is none."""
    lines = [_line(diagnosis) for diagnosis in words.live(report) if diagnosis.severity == "error"]
    return "\n".join(lines).encode()[:MOST_BYTES].decode(errors="ignore")


def _line(diagnosis: Diagnosis) -> str:
    first = diagnosis.remedies[0] if diagnosis.remedies else None
    advice = f". {plain(first.do, 600)}" + (f" Run: {words.command(first.run)}" if first.run else "") if first else ""
    return f"{diagnosis.cause}: {words.title(diagnosis)}{advice}"
