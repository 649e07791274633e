"""``report.md``: what goes into a ticket. It fits a GitHub issue whatever the case holds, and nothing in it links, mentions or renders but what we mean to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from diagnostics.case import Diagnosis, Evidence, Remedy, Report
from diagnostics.redact import plain
from diagnostics.render import repaired, words
from diagnostics.render.ticket import TITLE, ticket

MOST_CHARACTERS = 60_000  # GitHub takes 65,536 in an issue
MOST_COMMAND = 2000
MARKS = {"healthy": "✅", "degraded": "⚠️", "broken": "❌", "unverified": "❔"}
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>|~!$&]")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
# Mentions and references are found in the rendered text, so only a character in between helps: a word joiner, without width.
_REFERENCE = re.compile(r"(?<=[@#])|(?<=\bGH)(?=-\d)|(?<=\bgh)(?=-\d)")
_LINK = re.compile(r"(?i)(?<=\bwww)\.|:(?=//)|(?<=\bmailto):|(?<=\bxmpp):")
_BLOCK = re.compile(r"^([-+=]|\d{1,9}(?=[.)]))")


@dataclass(frozen=True)
class Room:
    """How much is shown of each kind; the first that fits is taken."""

    evidence: int
    hosts: int
    checks: int
    reason: int


ROOMS = (Room(25, 100, 100, 300), Room(10, 40, 100, 120), Room(4, 20, 40, 60), Room(0, 10, 0, 0))


def text(report: Report) -> str:
    """At most 60,000 characters; what does not fit is left out in whole blocks, and said."""
    for room in ROOMS:
        blocks = _blocks(report, room)
        whole = "\n".join(blocks)
        if len(whole) <= MOST_CHARACTERS:
            return whole
    return _fitting(blocks)


def _blocks(report: Report, room: Room) -> list[str]:
    live = words.live(report)
    waived = [diagnosis for diagnosis in report.judgement.diagnoses if diagnosis.waived]
    blocks = [_head(report), *(_diagnosis(item, number, room) for number, item in enumerate(live)), *(_waived(item) for item in waived), _repairs(report, room)]
    return [block for block in (*blocks, _unhashed(report), _hosts(report, room), _checks(report, room), _environment(report), _foot(report)) if block]


def _fitting(blocks: list[str]) -> str:
    """As many whole blocks as fit, in order: none is cut in the middle of a fence or a table."""
    note = "\n… {} more parts left out to fit a ticket; report.json has it all.\n"
    kept: list[str] = []
    length = len(note) + 10
    for block in blocks:
        length += len(block) + 1
        if length > MOST_CHARACTERS:
            break
        kept.append(block)
    return "\n".join(kept) + note.format(len(blocks) - len(kept))


# --- text that stays text -----------------------------------------------------------------------------------------------------


def escape(value: str, limit: int = 1000) -> str:
    """Text that means nothing to Markdown, HTML or GitHub (mentions, references, links)."""
    escaped = _SPECIAL.sub(lambda match: _ENTITIES.get(match[0], "\\" + match[0]), plain(value, limit).strip())
    return _BLOCK.sub(_inline, _LINK.sub(lambda match: "\\" + match[0], _REFERENCE.sub("\u2060", escaped)))


def _inline(match: re.Match[str]) -> str:
    """The beginning of a list or a rule, as text."""
    return match[0] + "\\" if match[0].isdigit() else "\\" + match[0]


def span(value: str, limit: int = 400) -> str:
    """A code span for a table's cell: exactly this text, whatever it is (GFM 6.1); "" for none."""
    line = plain(value, limit).strip()
    if not line:
        return ""
    if "\\|" in line:  # inside a table the two cannot be told apart in a code span
        return escape(line, limit)
    fence = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}".replace("|", "\\|")


def code(value: str) -> str:
    """A command in a fence longer than any run of backticks in it. One too long for a ticket is named, not cut."""
    text = "\n".join(words.commands(value))
    if len(text) > MOST_COMMAND:
        return "*(a long command: see report.json)*"
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}sh\n{text}\n{fence}"


def _longest_run(line: str) -> int:
    return max((len(run) for run in re.findall("`+", line)), default=0)


# --- the blocks ---------------------------------------------------------------------------------------------------------------


def _head(report: Report) -> str:
    verdict = report.judgement.verdict
    note = f" Interrupted by {escape(report.interrupted, 60)}: this is what was known by then." if report.interrupted else ""
    return f"## {MARKS[verdict]} {escape(words.lead(report))}\n\n**{verdict}**, for {span(words.target_name(report))}.{note}\n"


def _diagnosis(diagnosis: Diagnosis, number: int, room: Room) -> str:
    lines = [f"### Also: {escape(words.title(diagnosis))}", ""] if number else []
    lines += [line for remedy in diagnosis.remedies[:1] for line in _remedy(remedy, "Do")]
    lines += [escape(diagnosis.why), "", f"`{diagnosis.cause}` · {diagnosis.severity} · {words.owners(diagnosis)}", ""]
    lines += _evidence(diagnosis.evidence, room.evidence if number == 0 else room.evidence // 2)
    lines += [line for number, remedy in enumerate(diagnosis.remedies[:4]) if number for line in _remedy(remedy, words.leading(remedy, number))]
    lines += [f"A waiver is over: {escape(diagnosis.expired, 300)}", ""] if diagnosis.expired else []
    lines += [f"Explains: {', '.join(f'`{item}`' for item in diagnosis.explains)}", ""] if diagnosis.explains else []
    lines += [f"Ruled out: {escape('; '.join(diagnosis.ruled_out))}", ""] if diagnosis.ruled_out else []
    return "\n".join(lines)


def _remedy(remedy: Remedy, word: str) -> list[str]:
    seen = " *(seen to work)*" if remedy.proof == "seen" else ""
    do = words.alternative(remedy.do) if word != "Do" else remedy.do
    lines = [f"**{word}:** {escape(do)}{seen}", ""]
    lines += [code(remedy.run), ""] if remedy.run else []
    return lines + (["Check:", "", code(remedy.check), ""] if remedy.check else [])


def _evidence(evidence: tuple[Evidence, ...], most: int) -> list[str]:
    rows = [f"| {span(item.subject.name)} | {escape(item.fact, 200)} | {span(item.seen)} | {escape(item.expected, 400)} |" for item in evidence[:most]]
    hidden = len(evidence) - len(rows)
    table = ["| where | what | seen | expected |", "|---|---|---|---|", *rows, ""] if rows else []
    return table + ([f"… and {hidden} more in report.json", ""] if hidden > 0 else [])


def _waived(diagnosis: Diagnosis) -> str:
    return f"*Waived:* `{diagnosis.cause}` {escape(words.title(diagnosis))} — {escape(diagnosis.waived, 300)}\n"


def _repairs(report: Report, room: Room) -> str:
    repairs = repaired.of(report)
    if repairs is None:
        return ""
    shown = repairs.done[: max(room.evidence, 4)]
    lines = ["### Repair", "", escape(repaired.lead(repairs)), "", *([escape(repaired.before(repairs)), ""] if repaired.before(repairs) else [])]
    lines += [f"- {escape(repaired.line(item))}" for item in shown]
    lines += [f"- … and {len(repairs.done) - len(shown)} more in report.json"] if len(shown) < len(repairs.done) else []
    command = repaired.kept(repairs)
    return "\n".join(
        [*lines, "", *(["When what was replaced is not wanted any more:", "", code(command), ""] if command and len(command) < MOST_COMMAND else [])]
    )


def _unhashed(report: Report) -> str:
    return "".join(f"- {escape(line)}\n" for line in words.besides(report.case))


def _hosts(report: Report, room: Room) -> str:
    """The ticket, in a fence longer than any run of backticks in it."""
    lines = ticket(report, room.hosts).splitlines()
    fence = "`" * max(3, max(map(_longest_run, lines), default=0) + 1)
    return "\n".join([f"### {TITLE}", "", f"{fence}text", *lines, fence, ""]) if lines else ""


def _checks(report: Report, room: Room) -> str:
    """Those that say something first."""
    results = sorted(report.judgement.results, key=lambda result: result.outcome in ("passed", "skipped"))
    rows = [f"| {result.check} | {result.outcome} | {escape(result.reason, room.reason)} |" for result in results[: room.checks]]
    passed = sum(result.outcome == "passed" for result in results)
    more = [f"… and {len(results) - len(rows)} more in report.json", ""] if len(results) > len(rows) else []
    table = ["| check | outcome | reason |", "|---|---|---|", *rows, ""] if rows else []
    return "\n".join([f"<details><summary>{passed} of {len(results)} checks passed</summary>", "", *table, *more, "</details>", ""])


def _environment(report: Report) -> str:
    rows = [f"| {escape(name)} | {span(value)} |" for name, value in words.environment(report)]
    return "\n".join(["<details><summary>Environment</summary>", "", "| | |", "|---|---|", *rows, "", "</details>", ""])


def _foot(report: Report) -> str:
    return f"Made by `{_bare(words.rerun(report))}`: pytest-diagnostics {report.version}, {escape(report.case.started)}, {report.case.seconds:.1f} s. No credentials in here.\n"


def _bare(command: str) -> str:
    return command if "`" not in command and len(command) < 300 else "pytest diagnostics"
