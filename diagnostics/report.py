"""The report as a record: what was seen and judged, with the hosts this target needs. The renderers (``diagnostics.render``) only show it."""

from __future__ import annotations

from diagnostics import __version__
from diagnostics.case import Case, Host, Judgement, Leg, Report


def build(case: Case, judgement: Judgement, interrupted: str = "") -> Report:
    """Everything a renderer needs."""
    return Report(version=__version__, case=case, judgement=judgement, hosts=hosts_of(case), interrupted=interrupted)


def hosts_of(case: Case) -> tuple[Host, ...]:
    """Every host that was asked, as it was met, for what, and whether it was reached."""
    found: dict[tuple[str, int], Host] = {}
    for journey in case.journeys or ():
        for leg in journey.legs:
            before = found.get((leg.host, leg.port))
            purpose = "metadata" if leg is journey.legs[0] and journey.name in ("hub", "listing", "tree") else "files"
            needed_for = (
                before.needed_for if before and purpose in before.needed_for else ", ".join(filter(None, (before.needed_for if before else "", purpose)))
            )
            found[leg.host, leg.port] = Host(host=leg.host, port=leg.port, needed_for=needed_for, reached=reached(leg) or bool(before and before.reached))
    return tuple(found.values())


def reached(leg: Leg) -> bool:
    """Whether the host itself answered."""
    return bool(leg.response and leg.response.outcome == "answered" and leg.response.status != 407)
