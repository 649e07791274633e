"""The report as a record: what was seen and judged, with the hosts this target needs. The renderers (``diagnostics.render``) only show it."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from diagnostics import __version__
from diagnostics.case import NOT_ASKED, Case, Judgement, Leg, Repairs, Report, Unseen
from diagnostics.reaching import hosts_of

Holder = TypeVar("Holder", Case, Leg)
WAITED = "the run ended early while it waited for "


def build(case: Case, judgement: Judgement, interrupted: str = "", repairs: Repairs | Unseen = NOT_ASKED) -> Report:
    """Everything a renderer needs. A run that ended early is never green: what it did not see may be broken."""
    if interrupted and judgement.verdict in ("healthy", "degraded"):
        judgement = dataclasses.replace(judgement, verdict="unverified")
    return Report(
        version=__version__, case=case, judgement=judgement, hosts=hosts_of(case), interrupted=interrupted, waited_for=_waited_for(case), repairs=repairs
    )


def cut_short(case: Case) -> Case:
    """The case of a run that ended early: what it was waiting for then did not run out of time, it was not reached."""
    case = _not_reached(case)
    if isinstance(case.journeys, Unseen):
        return case
    journeys = (dataclasses.replace(journey, legs=tuple(map(_not_reached, journey.legs))) for journey in case.journeys)
    return dataclasses.replace(case, journeys=tuple(journeys))


def _not_reached(record: Holder) -> Holder:
    late = {
        each.name: Unseen("not_reached", f"{WAITED}{value.detail or each.name}")
        for each in dataclasses.fields(record)
        if isinstance(value := getattr(record, each.name), Unseen) and value.why == "timed_out"
    }
    changes: dict[str, Any] = late
    return dataclasses.replace(record, **changes)


def _waited_for(case: Case) -> str:
    """What a run that ended early was waiting for: a step of a leg, which names its host, before whole records."""
    details = (value.detail for record in (*case.legs, case) for value in vars(record).values() if isinstance(value, Unseen))
    return next((detail.removeprefix(WAITED) for detail in details if detail.startswith(WAITED)), "")
