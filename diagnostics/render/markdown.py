"""``report.md``: what goes into a ticket. It fits a GitHub issue whatever the case holds."""

from __future__ import annotations

import re

from diagnostics.case import Diagnosis, Interpreter, Platform, Remedy, Report
from diagnostics.redact import plain
from diagnostics.render.failure import one_line

MOST_CHARACTERS = 60000
MOST_EVIDENCE = 25
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@$&])")
OWNERS = {"you": "a setting or file of your own", "machine": "this machine", "network": "the network", "server": "the server", "author": "the model's author"}


def text(report: Report) -> str:
    """At most 60,000 characters; what does not fit is cut with a note."""
    parts = [_head(report), *(_diagnosis(diagnosis) for diagnosis in report.judgement.diagnoses), _hosts(report), _checks(report), _environment(report)]
    whole = "\n".join(part for part in parts if part)
    if len(whole) <= MOST_CHARACTERS:
        return whole
    note = "\n\n… cut here to fit a ticket; report.json has it all.\n"
    return whole[: MOST_CHARACTERS - len(note)].rpartition("\n")[0] + note


def escape(value: str) -> str:
    """Text that means nothing to Markdown, HTML or GitHub (mentions, references)."""
    escaped = _SPECIAL.sub(r"\\\1", plain(value, 2000))
    return (
        escaped.replace("\\<", "&lt;")
        .replace("\\>", "&gt;")
        .replace("\\&", "&amp;")
        .replace("\\@", "@\u2060")
        .replace("\\#", "#\u2060")
        .replace("://", ":\u2060//")
    )


def code(value: str) -> str:
    """A command in a fence longer than any run of backticks in it."""
    line = one_line(value)
    fence = "`" * max(3, max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    return f"{fence}sh\n{line}\n{fence}"


def _head(report: Report) -> str:
    marks = {"healthy": "✅", "degraded": "⚠️", "broken": "❌", "unverified": "❔"}
    verdict = report.judgement.verdict
    target = escape(report.case.target.spec or "this machine and the hub")
    live = [diagnosis for diagnosis in report.judgement.diagnoses if not diagnosis.waived]
    lead = escape(_capital(live[0].title)) if live else "nothing stands in the way"
    note = f" Interrupted by {escape(report.interrupted)}: this is what was known by then." if report.interrupted else ""
    return f"## {marks[verdict]} {lead}\n\n{verdict}, for {target}; pytest-diagnostics {report.version}, {report.case.started}, {report.case.seconds:.1f} s.{note}\n"


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


def _diagnosis(diagnosis: Diagnosis) -> str:
    waived = f" *(waived: {escape(diagnosis.waived)})*" if diagnosis.waived else ""
    lines = [
        f"### {escape(_capital(diagnosis.title))}{waived}",
        "",
        f"`{diagnosis.cause}` · {diagnosis.severity} · {', '.join(OWNERS[owner] for owner in diagnosis.owner)}",
        "",
        escape(diagnosis.why),
        "",
    ]
    for remedy in diagnosis.remedies:
        lines += _remedy(remedy)
    lines += ["| where | what | seen | expected |", "|---|---|---|---|"] if diagnosis.evidence else []
    lines += [
        f"| {escape(item.subject.name)} | {escape(item.fact)} | {escape(item.seen)} | {escape(item.expected)} |" for item in diagnosis.evidence[:MOST_EVIDENCE]
    ]
    hidden = len(diagnosis.evidence) - MOST_EVIDENCE
    lines += ["", f"… and {hidden} more in report.json"] if hidden > 0 else []
    lines += ["", f"Explains: {', '.join(diagnosis.explains)}"] if diagnosis.explains else []
    lines += ["", f"Ruled out: {escape('; '.join(diagnosis.ruled_out))}"] if diagnosis.ruled_out else []
    return "\n".join([*lines, ""])


def _remedy(remedy: Remedy) -> list[str]:
    seen = " *(seen to work)*" if remedy.proof == "seen" else ""
    lines = [f"**Do:** {escape(remedy.do)}{seen}", ""]
    lines += [code(remedy.run), ""] if remedy.run else []
    return lines + (["Check:", "", code(remedy.check), ""] if remedy.check else [])


def _hosts(report: Report) -> str:
    if not report.hosts:
        return ""
    rows = [
        f"| {escape(host.host)} | {host.port} | {escape(host.needed_for)} | {'reached' if host.reached else '**not reached**'} |" for host in report.hosts[:100]
    ]
    return "\n".join(["### Hosts this target needs", "", "| host | port | for | |", "|---|---|---|---|", *rows, ""])


def _checks(report: Report) -> str:
    rows = [f"| {result.check} | {result.outcome} | {escape(plain(result.reason, 200))} |" for result in report.judgement.results]
    passed = sum(result.outcome == "passed" for result in report.judgement.results)
    return "\n".join(
        [f"<details><summary>{passed} of {len(rows)} checks passed</summary>", "", "| check | outcome | reason |", "|---|---|---|", *rows, "", "</details>", ""]
    )


def _environment(report: Report) -> str:
    environment = report.case.environment
    rows = []
    if isinstance(environment.platform, Platform):
        platform = environment.platform
        rows.append(("platform", f"{platform.system} {platform.release} {platform.machine} {platform.container}".strip()))
    if isinstance(environment.interpreter, Interpreter):
        rows += [("python", f"{environment.interpreter.version} ({environment.interpreter.executable})"), ("openssl", environment.interpreter.openssl)]
    rows += [(setting.variable, setting.value) for setting in environment.proxies]
    rows += [(variable.name, variable.value) for variable in (*environment.no_proxy, *environment.offline, *environment.settings)]
    rows += [(variable.variable, variable.path) for variable in environment.ca]
    rows += [("token", f"present, from {environment.token.source}" if environment.token.present else "none")]
    rows += [(f"{name} cache", path) for name, path in environment.caches.items()]
    named = ("huggingface-hub", "transformers", "datasets", "tokenizers", "safetensors", "torch", "requests", "httpx", "httpx2", "hf-xet", "certifi", "urllib3")
    rows += [(item.name, item.version) for item in environment.distributions if item.name.lower().replace("_", "-") in named]
    body = [f"| {escape(name)} | {escape(value)} |" for name, value in rows]
    return "\n".join(["<details><summary>Environment</summary>", "", "| | |", "|---|---|", *body, "", "</details>", ""])
