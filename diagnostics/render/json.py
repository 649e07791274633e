"""``report.json``: the public shape, ``report.schema.json``. It only grows."""

from __future__ import annotations

import json
import math
from typing import Any

from diagnostics.case import Case, CheckResult, Diagnosis, Files, Listing, Repaired, Repairs, Report
from diagnostics.codec import encode
from diagnostics.render.ticket import ticket


def text(report: Report) -> str:
    """ASCII, so that no terminal, editor or log on the way can trip over it."""
    return json.dumps(document(report), indent=2, ensure_ascii=True, allow_nan=False)


def document(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; ``diagnoses[0]`` is what to act on."""
    case = report.case
    whole = {
        "schema": 1,
        "tool": {"name": "pytest-diagnostics", "version": report.version},
        "started": case.started,
        "seconds": round(case.seconds, 3),
        "verdict": report.judgement.verdict,
        **({"interrupted": report.interrupted} if report.interrupted else {}),
        "targets": [_target(case)],
        "hosts": [encode(host) for host in report.hosts],
        "ticket": ticket(report),
        "diagnoses": [_diagnosis(diagnosis) for diagnosis in report.judgement.diagnoses],
        "checks": [_check(result) for result in report.judgement.results],
        **_repairs(report),
        "environment": encode(case.environment),
        "case": encode(case),
    }
    return _sound(whole)  # type: ignore[no-any-return]


def _sound(value: Any) -> Any:
    """What every reader of JSON takes: no lone surrogates (RFC 8259 §8.2), no infinities (§6)."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_sound(item) for item in value]
    return {_sound(key): _sound(item) for key, item in value.items()} if isinstance(value, dict) else value


def _target(case: Case) -> dict[str, Any]:
    """The target as it was resolved; files and bytes are those that count for the loader, as far as anybody told."""
    listing, target = case.listing, case.target
    revision = listing.commit if isinstance(listing, Listing) and listing.commit else target.revision
    sizes = _sizes(case)
    return {"spec": target.spec, "kind": target.kind, "revision": revision, "files": len(sizes), "bytes": sum(sizes)}


def _sizes(case: Case) -> list[int]:
    """One number a file that counts, 0 where nobody knows: of the listing, or of what lies here."""
    if isinstance(case.listing, Listing):
        wanted = frozenset(case.listing.wanted)
        known = [file.bytes for file in case.listing.files if file.path in wanted]
    else:
        known = [file.bytes for file in case.files.files] if isinstance(case.files, Files) else []
    return [size if isinstance(size, int) else 0 for size in known]


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "cause": diagnosis.cause,
        "severity": diagnosis.severity,
        "owner": list(diagnosis.owner),
        "title": diagnosis.title,
        "why": diagnosis.why,
        "subjects": encode(diagnosis.subjects),
        "evidence": encode(diagnosis.evidence),
        "remedies": encode(diagnosis.remedies),
        "ruled_out": list(diagnosis.ruled_out),
        "explains": list(diagnosis.explains),
        "checks": list(diagnosis.checks),
        **({"waived": diagnosis.waived} if diagnosis.waived else {}),
        **({"waiver_expired": diagnosis.expired} if diagnosis.expired else {}),
    }


def _repairs(report: Report) -> dict[str, Any]:
    """What was broken before a repair, and what came of it; nothing where none was asked for."""
    found = report.repairs
    if not isinstance(found, Repairs):
        return {}
    before = {"verdict": found.before.verdict, "diagnoses": [_diagnosis(diagnosis) for diagnosis in found.before.diagnoses]}
    return {"repairs": [_repaired(item) for item in found.done], "before": before, **({"not_repaired": found.cannot} if found.cannot else {})}


def _repaired(item: Repaired) -> dict[str, Any]:
    repair = item.repair
    plan = {name: getattr(repair, name) for name in ("kind", "path", "location", "why", "how", "source", "cause")}
    sizes = {"bytes": repair.bytes if isinstance(repair.bytes, int) else None, "fetched_bytes": item.fetched_bytes}
    return {**plan, **sizes, "outcome": item.outcome, "reason": item.reason, "by": item.by, "kept": item.kept, "seconds": round(item.seconds, 3)}


def _check(result: CheckResult) -> dict[str, Any]:
    return {
        "check": result.check,
        "question": result.question,
        "outcome": result.outcome,
        "blocked_by": result.blocked_by if isinstance(result.blocked_by, str) else None,
        "reason": result.reason,
        "seconds": round(result.seconds, 4),
    }
