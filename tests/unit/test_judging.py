"""What a check's outcome says, beside its root."""

from __future__ import annotations

import dataclasses

from diagnostics.case import NOT_REACHED, CheckResult
from diagnostics.diagnosis import judge
from tests.unit.cases import case, journey, leg


def outcomes(steps: dict[str, object]) -> dict[str, CheckResult]:
    """The results of a journey of one healthy leg with these steps in place of its own."""
    return {result.check: result for result in judge(case(journey(dataclasses.replace(leg(), **steps)))).results}


def test_a_check_is_blocked_by_a_root() -> None:
    """A name that fails stands in the way of every later question."""
    resolution = dataclasses.replace(leg().resolution, addresses=(), error="EAI_NONAME", resolvers=())
    later = dict.fromkeys(("connection", "tunnel", "handshake", "response", "body"), NOT_REACHED)
    result = outcomes({"resolution": resolution, **later})["tls/handshakes-complete"]
    assert result.outcome == "blocked"
    assert result.blocked_by


def test_nothing_is_blocked_where_nothing_is_wrong() -> None:
    """What was not reached without any fault was not there to be reached: skipped, and said so."""
    result = outcomes({"body": NOT_REACHED})["transfer/bytes-keep-coming"]
    assert result.outcome == "skipped"
    assert result.reason
