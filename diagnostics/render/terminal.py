"""The section of the terminal: the root cause first, then what to do, then why. Commands are never broken, so that they can be pasted."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnostics.case import CheckResult, Diagnosis, Remedy, Report
from diagnostics.redact import plain
from diagnostics.render import repaired, words
from diagnostics.render.ticket import short

MOST_EVIDENCE = {True: 10, False: 4}  # of the first root, of each further one
MOST_REPAIRS = 8
GOOD, BAD, WARN, DIM, STRONG, PASTE = (
    {"green": True},
    {"red": True, "bold": True},
    {"yellow": True, "bold": True},
    {"light": True},
    {"bold": True},
    {"cyan": True},
)
_ASCII = str.maketrans(
    {
        "✗": "x",
        "✓": "+",
        "→": ">",
        "“": '"',
        "”": '"',
        "‘": "'",
        "…": "...",
        "’": "'",
        "–": "-",
        "—": "-",
        "·": "-",
        "×": "x",
        "≥": ">=",
        "≤": "<=",
        "\u00a0": " ",
    }
)
# The runner of GitHub Actions takes a line that begins so (after any blanks), or holds "##[", for a command: docs, "Workflow commands".
_WORKFLOW_COMMAND = re.compile(r"^(\s*):(?=:[A-Za-z])")


@dataclass(frozen=True)
class Line:
    """One line and pytest's markup for it."""

    text: str
    markup: dict[str, bool] = field(default_factory=dict)


def section(report: Report, width: int, paths: Mapping[str, str], ascii: bool = False) -> list[Line]:
    """Everything under the title line; ``paths`` says where the documents lie."""
    width = max(40, min(width, 100))
    live = words.live(report)
    lines = _first(report, live, width)
    lines += [] if live else _repairs(report, width)
    for number, diagnosis in enumerate(live):
        lines += [Line("")] if number else []
        lines += _diagnosis(diagnosis, width, number == 0)
        lines += [] if number else _repairs(report, width)
    lines += _waived(report, width)
    lines += _wrapped(f"· {saved}", width, STRONG) if (saved := words.saved_authority(report.case)) else []
    lines += [Line(""), *_wrapped(f"· {said}", width)] if (said := short(report)) else []
    lines += [Line(""), *_checks(report, width), *_where(report, paths, width)]
    return [Line(_shown(line.text, ascii), line.markup) for line in lines]


def _shown(text: str, ascii: bool) -> str:
    clean = _WORKFLOW_COMMAND.sub(r"\1: ", words.command(text)).replace("##[", "# #[")
    return clean.translate(_ASCII).encode("ascii", "backslashreplace").decode() if ascii else clean


def _first(report: Report, live: list[Diagnosis], width: int) -> list[Line]:
    """Where nothing is wrong, that is the first line."""
    if live:
        return []
    target = words.target_name(report)
    if report.interrupted:
        return _wrapped(f"· {words.interrupted(report)}: {target}", width, WARN)
    if report.judgement.verdict == "unverified":
        return _wrapped(f"· Nothing could be verified about {target}", width, WARN)
    said = words.nothing_stands(report)
    return _wrapped(f"✓ Healthy: {said[:1].lower()}{said[1:]} of {target}{words.how_far(report)}", width, GOOD)


def _diagnosis(diagnosis: Diagnosis, width: int, first: bool) -> list[Line]:
    """Title, first remedy, why, evidence, further remedies, whose."""
    error = diagnosis.severity == "error"
    lines = _wrapped(f"{'✗' if error else '!'} {words.title(diagnosis)}", width, BAD if error else WARN)
    lines += [line for remedy in diagnosis.remedies[:1] for line in _remedy(remedy, width, "Do:")]
    lines += _wrapped(f"Why:   {plain(diagnosis.why, 1000)}", width, indent="  ", hang=9) if diagnosis.why else []
    for item in diagnosis.evidence[: MOST_EVIDENCE[first]]:
        lines += _wrapped(f"· {words.evidence_line(item)}", width, DIM, "  ")
    hidden = len(diagnosis.evidence) - MOST_EVIDENCE[first]
    lines += [Line(f"  · … and {hidden} more in the report", DIM)] if hidden > 0 else []
    lines += [line for number, remedy in enumerate(diagnosis.remedies) if number for line in _remedy(remedy, width, f"{words.leading(remedy, number)}:")]
    lines += _wrapped(f"A waiver is over: {plain(diagnosis.expired, 300)}", width, WARN, "  ") if diagnosis.expired else []
    lines += _wrapped(f"Ruled out: {plain('; '.join(diagnosis.ruled_out), 1000)}", width, indent="  ") if diagnosis.ruled_out else []
    explains = f"; explains {', '.join(diagnosis.explains)}" if diagnosis.explains else ""
    return [*lines, *_wrapped(f"[{diagnosis.cause}] whose: {words.owners(diagnosis)}{explains}", width, DIM, "  ")]


def _remedy(remedy: Remedy, width: int, word: str) -> list[Line]:
    do = plain(words.alternative(remedy.do) if word != "Do:" else remedy.do, 1000)
    seen = " (seen to work)" if remedy.proof == "seen" else ""
    lines = _wrapped(f"{word:<6} {do}{seen}", width, STRONG, "  ", 9)
    for label, text in (("Run:", remedy.run), ("Check:", remedy.check)):
        lines += [Line(f"  {label if not number else '':<6} {line}", PASTE) for number, line in enumerate(words.commands(text))] if text else []
    return lines


def _repairs(report: Report, width: int) -> list[Line]:
    """What was repaired between the two looks, and what was broken before."""
    repairs = repaired.of(report)
    if repairs is None:
        return []
    whole = bool(repairs.done) and all(item.outcome in ("repaired", "not_needed") for item in repairs.done)
    lines = _wrapped(f"{'✓' if whole else '!' if repairs.done else '·'} {repaired.lead(repairs)}", width, GOOD if whole else WARN if repairs.done else DIM)
    lines += _wrapped(f"· {repaired.before(repairs)}", width, DIM, "  ") if repaired.before(repairs) else []
    for item in repairs.done[:MOST_REPAIRS]:
        lines += _wrapped(f"· {repaired.line(item)}", width, DIM if item.outcome in ("repaired", "not_needed") else WARN, "  ")
    hidden = len(repairs.done) - MOST_REPAIRS
    lines += [Line(f"  · … and {hidden} more in the report", DIM)] if hidden > 0 else []
    if command := repaired.kept(repairs):
        lines += [*_wrapped("When what was replaced is not wanted any more:", width, DIM, "  "), Line(f"  Run:   {words.command(command)}", PASTE)]
    return lines


def _waived(report: Report, width: int) -> list[Line]:
    waived = [diagnosis for diagnosis in report.judgement.diagnoses if diagnosis.waived]
    return [line for diagnosis in waived for line in _wrapped(f"· Waived: {words.title(diagnosis)} — {plain(diagnosis.waived, 300)}", width, DIM)]


def _checks(report: Report, width: int) -> list[Line]:
    """One line for each kind of outcome that pytest's own summary does not explain."""
    results = report.judgement.results
    by = {outcome: [result for result in results if result.outcome == outcome] for outcome in ("passed", "blocked", "skipped", "error")}
    lines = [Line(f"✓ {len(by['passed'])} of {len(results)} checks passed", GOOD)] if by["passed"] else []
    if by["blocked"]:
        roots = ", ".join(dict.fromkeys(str(result.blocked_by) for result in by["blocked"] if result.blocked_by)) or "what failed before"
        lines += _wrapped(f"· {len(by['blocked'])} could not be reached behind {roots}", width)
    if by["skipped"]:
        lines += _wrapped(f"· {len(by['skipped'])} did not apply{_kinds(by['skipped'], results)}", width, DIM)
    if by["error"]:
        lines += _wrapped(f"! {len(by['error'])} broke: a bug of ours, please report it", width, BAD)
    return lines + [line for text in words.besides(report.case) for line in _wrapped(f"· {text}", width, DIM)]


def _kinds(skipped: list[CheckResult], results: Sequence[CheckResult]) -> str:
    """The subjects of which no check applied; naming those of which some did would tell nothing."""
    asked = {_subject(result) for result in results if result.outcome != "skipped"}
    whole = [subject for subject in dict.fromkeys(map(_subject, skipped)) if subject not in asked]
    return f", among them all about {' and '.join(filter(None, (', '.join(whole[:-1]), whole[-1])))}" if whole else ""


def _subject(result: CheckResult) -> str:
    return result.check.split("/")[0]


def _where(report: Report, paths: Mapping[str, str], width: int) -> list[Line]:
    """Where the documents lie, and how long it took. A path is never broken."""
    lines = [Line(text) for name, text in paths.items() if not name]
    places = [path for name, path in paths.items() if name]
    if places:
        folder = places[0].rpartition("/")[0] or "."
        lines.append(Line(f"  Report: {folder}/"))
        lines += _wrapped(", ".join(path.rpartition("/")[2] for path in places), width, indent="          ")
    note = f", interrupted by {plain(report.interrupted, 60)}" if report.interrupted else ""
    return [*lines, *_wrapped(f"Looked for {report.case.seconds:.1f} s{note}", width, DIM, "  ")]


def _wrapped(text: str, width: int, markup: dict[str, bool] | None = None, indent: str = "", hang: int = 0) -> list[Line]:
    """Prose in lines of at most ``width`` columns; words longer than a line (URLs, digests) stay whole."""
    hanging = " " * (hang or len(indent) + (2 if text.startswith(("✗ ", "! ", "✓ ", "· ")) else 0))
    lines, line = [], indent
    for word in plain(text, 5000).split(" "):
        started = line not in (indent, hanging) and line.strip() not in ("✗", "!", "✓", "·")  # a mark stands beside the first word, however long that is
        if started and word and columns(line) + 1 + columns(word) > width:
            lines.append(line.rstrip())
            line, started = hanging, False
        line += (" " if line not in (indent, hanging) else "") + word
    return [Line(each, markup or {}) for each in (*lines, line.rstrip())]


def columns(text: str) -> int:
    """Columns on a terminal: two for East Asian wide characters (UAX #11), none for combining ones."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
