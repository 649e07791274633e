"""``report.json``: the public shape, ``report.schema.json``. It only grows."""

from __future__ import annotations

import json
from typing import Any

from diagnostics.case import CheckResult, Diagnosis, Report, Unseen
from diagnostics.codec import encode


def text(report: Report) -> str:
    return json.dumps(document(report), indent=2, ensure_ascii=True)


def document(report: Report) -> dict[str, Any]:
    """The report as plain JSON values; ``diagnoses[0]`` is what to act on."""
    case = report.case
    return {
        "schema": 1,
        "tool": {"name": "pytest-diagnostics", "version": report.version},
        "started": case.started,
        "seconds": round(case.seconds, 3),
        "verdict": report.judgement.verdict,
        **({"interrupted": report.interrupted} if report.interrupted else {}),
        "targets": [_target(report)],
        "hosts": [encode(host) for host in report.hosts],
        "diagnoses": [_diagnosis(diagnosis) for diagnosis in report.judgement.diagnoses],
        "checks": [_check(result) for result in report.judgement.results],
        "environment": encode(case.environment),
        "case": encode(case),
    }


def _target(report: Report) -> dict[str, Any]:
    target, listing = report.case.target, report.case.listing
    counted = [file for file in listing.files if file.path in listing.wanted] if not isinstance(listing, Unseen) else []
    sizes = [file.bytes for file in counted if isinstance(file.bytes, int)]
    revision = listing.commit if not isinstance(listing, Unseen) and listing.commit else target.revision
    return {"spec": target.spec, "kind": target.kind, "revision": revision, "files": len(counted), "bytes": sum(sizes)}


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
    }


def _check(result: CheckResult) -> dict[str, Any]:
    return {
        "check": result.check,
        "question": result.question,
        "outcome": result.outcome,
        "blocked_by": result.blocked_by if isinstance(result.blocked_by, str) else None,
        "reason": result.reason,
        "seconds": round(result.seconds, 4),
    }
