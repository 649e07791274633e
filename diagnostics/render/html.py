"""``report.html``: one self-contained file, readable without scripts, in dark and light, from 390 px up. Autoescape is on: hostile evidence is the norm here."""

from __future__ import annotations

import importlib.resources
from typing import Any

from diagnostics.case import Journey, Leg, Report, Unseen
from diagnostics.redact import plain
from diagnostics.render import json as json_renderer

STEPS = (("resolution", "name"), ("connection", "connect"), ("tunnel", "proxy"), ("handshake", "TLS"), ("response", "answer"), ("body", "content"))
OWNERS = {"you": "a setting or file of your own", "machine": "this machine", "network": "your network", "server": "the server", "author": "the model's author"}
MOST_JSON = 2_000_000


def text(report: Report) -> str:
    """The page."""
    import jinja2

    template = importlib.resources.files("diagnostics.render").joinpath("report.html.j2").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, finalize=_shown).from_string(template)
    document = json_renderer.text(report)
    return page.render(
        report=report,
        case=report.case,
        target=report.case.target.spec or "this machine and the hub",
        verdict=report.judgement.verdict,
        live=[item for item in report.judgement.diagnoses if not item.waived],
        waived=[item for item in report.judgement.diagnoses if item.waived],
        subjects=_by_subject(report),
        ladders=[_ladder(journey) for journey in report.case.journeys or () if journey.legs],
        facts=_facts(report),
        owners=OWNERS,
        document=document if len(document) <= MOST_JSON else document[:MOST_JSON] + "\n… cut here; report.json has it all",
    )


def _shown(value: Any) -> Any:
    """What a template prints: every text printable, whatever brought it here."""
    return plain(value, 10000) if type(value) is str and "\n" not in value else value


def _by_subject(report: Report) -> list[tuple[str, list[Any], str]]:
    """Checks by subject, with the subject's worst outcome."""
    order = ("error", "failed", "warned", "blocked", "passed", "skipped")
    groups: dict[str, list[Any]] = {}
    for result in report.judgement.results:
        groups.setdefault(result.check.split("/")[0], []).append(result)
    return [(subject, results, min((result.outcome for result in results), key=order.index)) for subject, results in groups.items()]


def _ladder(journey: Journey) -> dict[str, Any]:
    return {
        "purpose": journey.purpose,
        "legs": [
            {
                "method": leg.method,
                "url": leg.url,
                "by": leg.route.proxy if leg.route.kind == "proxy" else "",
                "steps": [_step(leg, name, label) for name, label in STEPS],
            }
            for leg in journey.legs
        ],
    }


def _step(leg: Leg, name: str, label: str) -> dict[str, str]:
    """One rung: how it went, and how long it took."""
    seen = getattr(leg, name)
    if isinstance(seen, Unseen):
        state = {"not_asked": "none", "not_reached": "behind", "timed_out": "bad"}.get(seen.why, "none")
        return {"label": label, "state": state, "time": "out of time" if seen.why == "timed_out" else ""}
    return {"label": label, "state": "good" if _went_well(name, seen) else "bad", "time": _milliseconds(seen.seconds)}


def _went_well(name: str, seen: Any) -> bool:
    if name == "resolution":
        return bool(seen.addresses)
    if name == "connection":
        return bool(seen.address)
    if name == "response":
        return seen.outcome == "answered" and isinstance(seen.status, int) and seen.status < 400
    return seen.outcome in ("open", "accepted", "complete", "sampled")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


def _facts(report: Report) -> list[tuple[str, str]]:
    """The environment in a few lines; all of it is in the JSON below."""
    environment = report.case.environment
    rows = []
    if environment.platform:
        platform = environment.platform
        rows.append(("platform", " ".join(part for part in (platform.system, platform.release, platform.machine, platform.libc, platform.container) if part)))
    if environment.interpreter:
        rows += [("Python", f"{environment.interpreter.version} — {environment.interpreter.executable}"), ("TLS library", environment.interpreter.openssl)]
    if report.case.target.client:
        rows.append(("client", f"{report.case.target.client.family} {report.case.target.client.version}"))
    rows += [(setting.variable, setting.value) for setting in environment.proxies]
    rows += [(variable.name, variable.value) for variable in (*environment.no_proxy, *environment.offline, *environment.settings)]
    rows += [(variable.variable, variable.path) for variable in environment.ca]
    rows += [("resolvers", ", ".join(report.case.resolvers))] if report.case.resolvers else []
    rows += [("token", f"present, from {environment.token.source}" if environment.token.present else "none")]
    return rows + [(f"{name} cache", path) for name, path in environment.caches.items()]
