"""One repair between two looks: the source, the plan, the doing; what stands in the way is said once."""

from __future__ import annotations

from collections.abc import Callable

from diagnostics.case import Case, Diagnosis, Repaired
from diagnostics.environment.process import variables
from diagnostics.facts.clients import offline
from diagnostics.probes.survey import Survey
from diagnostics.redact import path as shown_path
from diagnostics.repair.place import clean
from diagnostics.repair.plan import obstacle, repairs, unwritable
from diagnostics.repair.source import Found, Judge, find, place_of
from diagnostics.repair.work import Means, perform

NOTHING = "nothing of it is missing, cut, corrupt or misplaced"


def put_right(case: Case, diagnoses: tuple[Diagnosis, ...], survey: Survey, named: str, judge: Judge, tell: Callable[[str], None], done: list[Repaired]) -> str:
    """Plan and do; what came of each is added to ``done`` at once, so that an interrupt leaves no gap in the report. Returns why what is not done cannot be done, or need not."""
    if case.target.spec.partition(":")[0] == "demo":
        return "a demo is gone when its look is over"
    if case.target.problem:
        return case.target.problem.detail or case.target.problem.code
    place = place_of(case)
    if place is None:
        return "nothing of it is here: that is a download, not a repair"
    found = find(case, survey, named, judge)
    if isinstance(found, str):
        return found if _anything_wrong(case) else NOTHING
    plan = repairs(case, diagnoses, found.source)
    if not plan:
        clean(place)
        return NOTHING if not _anything_wrong(case) else f"{found.source.name} has no other content for it"
    hindrance = _offline(case, found) or obstacle(case, diagnoses, found.way)
    for outcome in perform(plan, place, _means(case, found, survey, hindrance, tell)):
        done.append(outcome)
    return next((item.reason for item in done if item.outcome in ("refused", "failed")), "") and (hindrance or unwritable(case, shown_path(place.folder)))


def _offline(case: Case, found: Found) -> str:
    """The variable that keeps the client off the network keeps a repair off it too."""
    variable = offline(case.environment, found.target)
    return f"{variable.name} is set: nothing may be fetched" if variable else ""


def _anything_wrong(case: Case) -> bool:
    files = case.files
    return bool(files and (files.missing or files.unfinished or any(seen.defects for seen in files.files))) or any(
        digest.actual != digest.expected for digest in (case.digests.checked if case.digests else ())
    )


def _means(case: Case, found: Found, survey: Survey, hindrance: str, tell: Callable[[str], None]) -> Means:
    return Means(
        environment=case.environment,
        secrets=found.secrets,
        target=found.target,
        commit=found.source.commit,
        endpoint=found.endpoint,
        url=found.url,
        python=survey.python,
        variables=variables(),
        obstacle=hindrance,
        tell=tell,
    )
