"""The texts under ``reports/examples``, generated from the samples."""

from __future__ import annotations

from pathlib import Path

from diagnostics.case import Report
from diagnostics.render import FILES, terminal
from diagnostics.render.anonymize import anonymize
from tests.examples import broken, healthy, several

FOLDER = Path(__file__).parents[2] / "reports" / "examples"


def documents() -> dict[str, str]:
    """File name under ``reports/examples`` → text."""
    shown = {"broken": broken(), "healthy": healthy(), "several": several()}
    texts = {f"{folder}/{name}": render(report) for folder, report in shown.items() for name, render in FILES.items()}
    texts |= {f"{folder}/terminal.txt": _terminal(report) for folder, report in shown.items()}
    return {**texts, "anonymized/report.md": FILES["report.md"](anonymize(several()))}


def _terminal(report: Report) -> str:
    paths = {name: f"reports/{name}" for name in FILES}
    return "\n".join(line.text for line in terminal.section(report, 80, paths)) + "\n"
