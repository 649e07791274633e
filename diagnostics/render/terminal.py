"""The section of the terminal: the root cause first, then what to do, then why. Commands are never broken, so that they can be pasted."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field

from diagnostics.case import CheckResult, Diagnosis, Digests, Remedy, Report
from diagnostics.redact import plain
from diagnostics.render.failure import evidence_line, one_line

MOST_EVIDENCE = 10
GOOD, BAD, WARN, DIM, STRONG = {"green": True}, {"red": True, "bold": True}, {"yellow": True, "bold": True}, {"light": True}, {"bold": True}
_ASCII = str.maketrans({"✗": "x", "✓": "+", "→": ">", "“": '"', "”": '"', "…": "...", "’": "'", "–": "-", "·": "-"})


@dataclass(frozen=True)
class Line:
    """One line and pytest's markup for it."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


def section(report: Report, width: int, paths: Mapping[str, str], ascii: bool = False) -> list[Line]:
    """Everything under the title line; ``paths`` says where the documents lie."""
    width = max(40, min(width, 100))
    live = [diagnosis for diagnosis in report.judgement.diagnoses if not diagnosis.waived]
    lines = _first(report, live, width)
    for number, diagnosis in enumerate(live):
        lines += [Line("")] if number else []
        lines += _diagnosis(diagnosis, width, number == 0)
    lines += _waived(report, width)
    lines += [Line(""), *_checks(report, width), *_where(report, paths, width)]
    return [Line(_shown(line.text, ascii), line.markup) for line in lines]


def _shown(text: str, ascii: bool) -> str:
    clean = plain(text, 20000)
    return clean.translate(_ASCII).encode("ascii", "backslashreplace").decode() if ascii else clean


def _first(report: Report, live: list[Diagnosis], width: int) -> list[Line]:
    """Where nothing is wrong, that is the first line."""
    if live:
        return []
    target = report.case.target.spec or "this machine and the hub"
    if report.interrupted:
        return _wrapped(f"· Interrupted ({report.interrupted}) before anything was found wrong with {target}", width, WARN)
    if report.judgement.verdict == "unverified":
        return _wrapped(f"· Nothing could be verified about {target}", width, WARN)
    return _wrapped(f"✓ Healthy: nothing stands in the way of {target}", width, GOOD)


def _diagnosis(diagnosis: Diagnosis, width: int, first: bool) -> list[Line]:
    error = diagnosis.severity == "error"
    title = _sentence(diagnosis.title)
    lines = _wrapped(f"{'✗' if error else '!'} {title}", width, BAD if error else WARN)
    for number, remedy in enumerate(diagnosis.remedies):
        lines += _remedy(remedy, width, number > 0)
    lines += _wrapped(diagnosis.why, width, indent="  ")
    for item in diagnosis.evidence[: MOST_EVIDENCE if first else 4]:
        lines += _wrapped(evidence_line(item), width, DIM, "  · ")
    hidden = len(diagnosis.evidence) - (MOST_EVIDENCE if first else 4)
    lines += [Line(f"  · … and {hidden} more in the report", DIM)] if hidden > 0 else []
    lines += _wrapped(f"Ruled out: {'; '.join(diagnosis.ruled_out)}", width, indent="  ") if diagnosis.ruled_out else []
    whose = ", ".join(diagnosis.owner)
    explains = f"; explains {', '.join(diagnosis.explains)}" if diagnosis.explains else ""
    return [*lines, *_wrapped(f"[{diagnosis.cause}] for: {whose}{explains}", width, DIM, "  ")]


def _sentence(text: str) -> str:
    """With a capital in front, but for a name (https_proxy, ~/.netrc, huggingface.co), which would no longer be one."""
    first = text.partition(" ")[0]
    return text if not first.isalpha() else text[:1].upper() + text[1:]


def _remedy(remedy: Remedy, width: int, further: bool) -> list[Line]:
    seen = " (seen to work)" if remedy.proof == "seen" else ""
    do = _sentence(remedy.do.removeprefix("Or "))  # the line says so already
    lines = _wrapped(f"{'Or:   ' if further else 'Do:   '} {do}{seen}", width, STRONG, "  ")
    lines += [Line(f"  Run:   {one_line(remedy.run)}", {"cyan": True})] if remedy.run else []
    return lines + ([Line(f"  Check: {one_line(remedy.check)}", {"cyan": True})] if remedy.check else [])


def _waived(report: Report, width: int) -> list[Line]:
    return [
        line for diagnosis in report.judgement.diagnoses if diagnosis.waived for line in _wrapped(f"Waived: {diagnosis.title} — {diagnosis.waived}", width, DIM)
    ]


def _checks(report: Report, width: int) -> list[Line]:
    """One line for each kind of outcome."""
    results = report.judgement.results
    by = {outcome: [result for result in results if result.outcome == outcome] for outcome in ("passed", "blocked", "skipped", "error")}
    lines = [Line(f"✓ {len(by['passed'])} of {len(results)} checks passed", GOOD)] if by["passed"] else []
    if by["blocked"]:
        roots = ", ".join(dict.fromkeys(str(result.blocked_by) for result in by["blocked"] if result.blocked_by)) or "what failed before"
        lines += _wrapped(f"· {len(by['blocked'])} could not be reached behind {roots}", width)
    if by["skipped"]:
        lines += _wrapped(f"· {len(by['skipped'])} did not apply: {_kinds(by['skipped'])}", width, DIM)
    if by["error"]:
        lines += _wrapped(f"! {len(by['error'])} broke: a bug of ours, please report it", width, BAD)
    return lines + _unverified(report.case.digests if isinstance(report.case.digests, Digests) else Digests(), width)


def _kinds(results: list[CheckResult]) -> str:
    return ", ".join(dict.fromkeys(result.check.split("/")[0] for result in results))


def _unverified(digests: Digests, width: int) -> list[Line]:
    """What no digest vouches for is said, never green by silence."""
    lines = []
    if digests.unverified:
        left = f"about {digests.seconds_left:.0f} s" if digests.seconds_left else "some time"
        lines += _wrapped(
            f"· {len(digests.unverified)} files ({digests.unverified_bytes / 1e9:.1f} GB) were not hashed: --diagnose-digests all takes {left}", width
        )
    if digests.unpublished:
        lines += _wrapped(f"· {len(digests.unpublished)} files have no published digest to compare with", width, DIM)
    return lines


def _where(report: Report, paths: Mapping[str, str], width: int) -> list[Line]:
    """Where the documents lie, and how long it took."""
    lines = [Line(text) for name, text in paths.items() if not name]
    places = [path for name, path in paths.items() if name]
    if places:
        folder = places[0].rpartition("/")[0] or "."
        names = ", ".join(path.rpartition("/")[2] for path in places)
        lines.append(Line(f"  Report: {folder}/  ({names})"))
    note = f" interrupted by {report.interrupted}" if report.interrupted else ""
    return [*lines, Line(f"  Looked for {report.case.seconds:.1f} s{note}", DIM)]


def _wrapped(text: str, width: int, markup: dict[str, bool] | None = None, indent: str = "") -> list[Line]:
    """Prose, wrapped; words longer than a line (URLs, digests) stay whole."""
    hanging = indent.replace("·", " ") + ("       " if text.startswith(("Do:", "Or:")) else "  " if text.startswith(("✗", "!", "✓", "·")) else "")
    wrapped = textwrap.wrap(plain(text, 5000), width, initial_indent=indent, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
    return [Line(line, markup or {}) for line in wrapped] or [Line("")]
