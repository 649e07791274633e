"""GitHub Actions: one annotation a root, and the step summary."""

from __future__ import annotations

from diagnostics.case import Diagnosis, Report
from diagnostics.redact import plain
from diagnostics.render import markdown, words


def workflow_commands(report: Report) -> list[str]:
    """One line a root, to print at the beginning of a line. Escaped as the toolkit does (actions/toolkit, core/src/command.ts)."""
    return [f"::{diagnosis.severity} title={_property(words.title(diagnosis))}::{_data(_advice(diagnosis))}" for diagnosis in words.live(report)]


def _advice(diagnosis: Diagnosis) -> str:
    """The first remedy, with its command; GitHub shows the lines as they are."""
    if not diagnosis.remedies:
        return plain(diagnosis.why, 1000)
    first = diagnosis.remedies[0]
    return "\n".join([plain(first.do, 1000), *([f"Run: {line}" for line in words.commands(first.run)] if first.run else []), f"({diagnosis.cause})"])


def _data(value: str) -> str:
    """A message: the ends of lines, and what would decode to them. ``##[`` begins an old form of command anywhere in a line."""
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace("##[", "# #[")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def step_summary(report: Report) -> str:
    return markdown.text(report) + "\n"
