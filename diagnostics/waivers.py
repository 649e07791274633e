"""Accepted findings: they stay in every report, marked with their reason, and do not fail the run until their date."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import re
from dataclasses import dataclass

from diagnostics.case import Diagnosis, Judgement
from diagnostics.causes import BY_ID
from diagnostics.diagnosis import outcome_of, verdict
from diagnostics.redact import plain


@dataclass(frozen=True, kw_only=True)
class Waiver:
    cause: str
    subject: str = ""
    reason: str
    until: datetime.date


def parse_waiver(text: str, today: datetime.date) -> Waiver:
    """``ID[:subject]=reason,until`` with an ISO date. Raises ValueError with what to write."""
    head, equals, rest = text.partition("=")
    reason, comma, until = rest.rpartition(",")
    cause, _, subject = head.strip().partition(":")
    if not equals or not comma or not reason.strip():
        raise ValueError("write it as ID=reason,YYYY-MM-DD")
    if cause not in BY_ID:
        near = difflib.get_close_matches(cause.lower(), list(BY_ID), 1, 0.5)
        raise ValueError(f"there is no cause “{plain(cause, 60)}”" + (f": did you mean {near[0]}?" if near else ""))
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", until.strip()):
        raise ValueError("the date after the last comma must be YYYY-MM-DD")
    try:
        day = datetime.date.fromisoformat(until.strip())
    except ValueError:
        raise ValueError("there is no such date") from None
    if (day - today).days > 3660:
        raise ValueError("a waiver ends within ten years")
    return Waiver(cause=cause, subject=subject, reason=plain(reason.strip(), 200), until=day)


def apply_waivers(judgement: Judgement, waivers: tuple[Waiver, ...], today: datetime.date) -> Judgement:
    """The judgement with its waived roots marked; an expired waiver marks nothing and says that it expired."""
    if not waivers:
        return judgement
    diagnoses = tuple(_marked(diagnosis, waivers, today) for diagnosis in judgement.diagnoses)
    ordered = tuple(sorted(diagnoses, key=lambda diagnosis: bool(diagnosis.waived)))
    results = tuple(dataclasses.replace(result, outcome=outcome_of(result, ordered)) for result in judgement.results)
    return Judgement(diagnoses=ordered, results=results, verdict=verdict(ordered, results))


def _marked(diagnosis: Diagnosis, waivers: tuple[Waiver, ...], today: datetime.date) -> Diagnosis:
    for waiver in waivers:
        if waiver.cause == diagnosis.cause and (not waiver.subject or waiver.subject in {subject.name for subject in diagnosis.subjects}):
            if waiver.until < today:
                return dataclasses.replace(diagnosis, expired=f"“{waiver.reason}”, until {waiver.until.isoformat()}")
            return dataclasses.replace(diagnosis, waived=f"{waiver.reason} (until {waiver.until.isoformat()})")
    return diagnosis
