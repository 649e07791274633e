"""GitHub Actions: one annotation a root, and the step summary."""

from __future__ import annotations

from diagnostics.case import Report
from diagnostics.redact import plain
from diagnostics.render import markdown


def workflow_commands(report: Report) -> list[str]:
    """Workflow commands; ``%``, line ends and the properties' separators are escaped as the toolkit does."""
    return [
        f"::{'error' if diagnosis.severity == 'error' else 'warning'} title={_property(diagnosis.title)}::{_data(diagnosis.remedies[0].do if diagnosis.remedies else diagnosis.why)}"
        for diagnosis in report.judgement.diagnoses
        if not diagnosis.waived
    ]


def _data(value: str) -> str:
    return plain(value, 2000).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def step_summary(report: Report) -> str:
    return markdown.text(report) + "\n"
