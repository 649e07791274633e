"""``junit.xml`` in pytest's own xunit2 shape: cause, evidence and remedy inside ``<failure>``, because every consumer shows that."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from diagnostics.case import CheckResult, Report
from diagnostics.redact import plain
from diagnostics.render import repaired, words
from diagnostics.render.failure import diagnosis_lines, failure_text, message

# Characters that XML 1.0 does not allow (§2.2), written as pytest writes them; and those it discourages, which terminals act on.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(report: Report) -> str:
    results = report.judgement.results
    count = {outcome: sum(result.outcome == outcome for result in results) for outcome in ("failed", "error", "blocked", "skipped")}
    by_text = [diagnosis for diagnosis in report.judgement.diagnoses if diagnosis.severity == "error" and not diagnosis.checks and not diagnosis.waived]
    suite = ElementTree.Element(
        "testsuite",
        name="diagnostics",
        errors=str(count["error"]),
        failures=str(count["failed"] + len(by_text)),
        skipped=str(count["blocked"] + count["skipped"]),
        tests=str(len(results) + len(by_text)),
        time=f"{report.case.seconds:.3f}",
        timestamp=legal(report.case.started.rstrip("Z")),
        hostname="localhost",  # pytest writes the machine's own name here: it is nobody's business
    )
    suite.append(_properties(report))
    suite.extend(_case(result, report) for result in results)
    for diagnosis in by_text:  # of a pasted error: no check found it, and who reads only this file must see it
        case = ElementTree.SubElement(suite, "testcase", classname="diagnostics.error", name=diagnosis.cause, time="0.000")
        _say(case, "failure", f"{diagnosis.cause}: {diagnosis.title}", "\n".join(diagnosis_lines(diagnosis)))
    root = ElementTree.Element("testsuites", name="pytest-diagnostics")
    root.append(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _properties(report: Report) -> ElementTree.Element:
    """What a dashboard sorts by."""
    live = words.live(report)
    found = {
        "target": words.target_name(report),
        "verdict": report.judgement.verdict,
        "root": live[0].cause if live else "",
        "interrupted": plain(report.interrupted, 100),
        "version": report.version,
        **_of_repair(report),
    }
    element = ElementTree.Element("properties")
    for name, value in found.items():
        if value:
            ElementTree.SubElement(element, "property", name=name, value=legal(value))
    return element


def _of_repair(report: Report) -> dict[str, str]:
    repairs = repaired.of(report)
    if repairs is None:
        return {}
    return {"repair": repaired.lead(repairs), "before": repaired.before(repairs), "repairs": "; ".join(repaired.line(item) for item in repairs.done)}


def _case(result: CheckResult, report: Report) -> ElementTree.Element:
    subject, _, name = result.check.partition("/")
    case = ElementTree.Element("testcase", classname=f"diagnostics.{subject}", name=name, time=f"{result.seconds:.3f}")
    if result.outcome == "failed":
        _say(case, "failure", message(result, report.judgement), failure_text(result, report.judgement))
    elif result.outcome == "error":
        _say(case, "error", "a bug of pytest-diagnostics", result.reason)
    elif result.outcome in ("blocked", "skipped"):
        blocked = f"blocked by {result.blocked_by}: " if isinstance(result.blocked_by, str) else ""
        _say(case, "skipped", blocked + plain(result.reason, words.MOST_TITLE), result.question, "pytest.skip")
    elif result.outcome == "warned":
        _say(case, "system-out", "", "warning: " + failure_text(result, report.judgement))
    return case


def _say(case: ElementTree.Element, tag: str, short: str, long: str, kind: str = "") -> None:
    element = ElementTree.SubElement(case, tag)
    if short:
        element.set("message", legal(short))
    if kind:
        element.set("type", kind)
    element.text = "\n".join(legal(words.command(line)) for line in long.splitlines())


def legal(value: str) -> str:
    return _ILLEGAL.sub(lambda match: f"#x{ord(match[0]):02X}", value)
