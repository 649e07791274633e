"""``report.html``: one self-contained file, readable without scripts, in dark and light, from 390 px up, and on paper.

Autoescape is on and whatever is printed passes :func:`_shown`: hostile evidence is the norm here.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import TYPE_CHECKING, Any

from diagnostics.case import CheckResult, Report
from diagnostics.redact import plain
from diagnostics.render import json as json_renderer
from diagnostics.render import repaired, words
from diagnostics.render.ladder import ladder
from diagnostics.render.ticket import TITLE, ticket

if TYPE_CHECKING:
    import jinja2

MOST_JSON = 2_000_000
MOST_EVIDENCE = 200
MOST_HOSTS = 500
MOST_TEXT = 2000
OUTCOMES = ("error", "failed", "warned", "blocked", "passed", "skipped")  # the worst first
TONES = {"error": "bad", "failed": "bad", "warned": "warn", "passed": "good", "broken": "bad", "degraded": "warn", "healthy": "good", "warning": "warn"}
SAID = {"skipped": "not applicable", "error": "our bug"}


class Command(str):
    """A text that is never cut."""


def text(report: Report) -> str:
    """The page."""
    from markupsafe import Markup, escape

    document = json_renderer.text(report)
    cut = len(document) > MOST_JSON
    live = words.live(report)
    return _page().render(
        report=report,
        case=report.case,
        target=words.target_name(report),
        verdict=report.judgement.verdict,
        lead=words.lead(report),
        live=live,
        repairs=_repairs(report),
        waived=[item for item in report.judgement.diagnoses if item.waived],
        counts=[(outcome, count) for outcome in reversed(OUTCOMES) if (count := sum(result.outcome == outcome for result in report.judgement.results))],
        subjects=_by_subject(report.judgement.results),
        ladders=[ladder(journey) for journey in report.case.journeys or () if journey.legs],
        facts=words.environment(report),
        unhashed=words.besides(report.case),
        rerun=Command(words.rerun(report)),
        document=Markup(escape(document[:MOST_JSON])),  # ASCII already; its ends of lines are meant
        cut=cut,
        ticket=Markup(escape(ticket(report))),
    )


def _repairs(report: Report) -> dict[str, Any] | None:
    found = repaired.of(report)
    if found is None:
        return None
    lines = [(item.outcome in ("repaired", "not_needed"), repaired.SAID[item.outcome], repaired.line(item)) for item in found.done[:MOST_EVIDENCE]]
    return {"lead": repaired.lead(found), "before": repaired.before(found), "lines": lines, "kept": Command(repaired.kept(found))}


@functools.cache
def _page() -> jinja2.Template:
    import jinja2

    source = importlib.resources.files("diagnostics.render").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown)
    environment.filters |= {"command": Command, "sentence": words.title, "owners": words.owners, "alternative": words.alternative}
    environment.globals |= {"tones": TONES, "said": SAID, "most_evidence": MOST_EVIDENCE, "most_hosts": MOST_HOSTS, "ticket_title": TITLE}
    return environment.from_string(source)


def _shown(value: Any) -> Any:
    """What the template prints: every text that is not markup of ours, printable and bounded; commands, whole."""
    if isinstance(value, Command):
        return "\n".join(words.commands(value))
    return plain(value, MOST_TEXT) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _by_subject(results: tuple[CheckResult, ...]) -> list[tuple[str, list[CheckResult], str]]:
    """Checks by subject, with the subject's worst outcome."""
    groups: dict[str, list[CheckResult]] = {}
    for result in results:
        groups.setdefault(result.check.split("/")[0], []).append(result)
    return [(subject, found, min((result.outcome for result in found), key=OUTCOMES.index)) for subject, found in groups.items()]
