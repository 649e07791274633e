"""Every world of the lab through the real command: the first diagnosis is its cause, there is no second root, and nothing secret gets out."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from diagnostics.case import Unseen
from diagnostics.causes import ORDER
from diagnostics.lab.worlds import World, worlds
from tests.functional import applying
from tests.functional.runs import SECRETS, Outcome, in_world, why_no_namespace

WORLDS = list(worlds().values())
AT_ONCE = 2 + (os.cpu_count() or 1)
TRIED = frozenset(worlds()[name].cause for name in applying.WORLDS)
no_namespace = functools.cache(why_no_namespace)


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Outcome]]]:
    """What came of every world that is asked for. Some run at once, as most of their time is waiting; each is a process in a namespace of its own."""
    asked = [item.callspec.params.get("world") for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ready = [world.name for world in asked if isinstance(world, World) and not (world.needs == "namespace" and no_namespace())]
        yield {name: pool.submit(in_world, name, tmp_path_factory.mktemp(name[:40])) for name in ready}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("world", [pytest.param(world, id=world.name) for world in WORLDS])
def test_the_first_diagnosis_is_the_root_cause(world: World, outcomes: dict[str, Future[Outcome]]) -> None:
    """And it is the only one; a healthy world has none."""
    if world.name not in outcomes:
        pytest.skip(no_namespace())
    outcome = outcomes[world.name].result()
    expected = [(world.cause, world.severity)] if world.cause else []
    assert outcome.roots == expected, outcome.output
    assert outcome.code == (1 if world.cause and world.severity == "error" else 0), outcome.output
    assert outcome.document["verdict"] == ("healthy" if not world.cause else "broken" if world.severity == "error" else "degraded")
    assert [secret for secret in SECRETS if secret in outcome.everything()] == []
    if world.cause:
        root = outcome.document["diagnoses"][0]
        title, first = (" ".join(text.split()) for text in (root["title"], outcome.first_line))
        assert title[1:30] in first, "the first line of our section names the root cause"
        assert root["evidence"], "somebody has to be able to believe it"
        assert root["remedies"], "and to do something about it"
        seen = any(remedy["proof"] == "seen" and remedy["run"] for remedy in root["remedies"])
        assert not seen or world.cause in TRIED, "what was seen to work is tried in test_remedies.py"


def test_every_cause_has_its_world() -> None:
    """Or says why the lab cannot provoke it."""
    names = set(worlds())
    missing = [cause.id for cause in ORDER if isinstance(cause.lab, str) and cause.lab not in names]
    silent = [cause.id for cause in ORDER if isinstance(cause.lab, Unseen) and not cause.lab.detail]
    assert missing == []
    assert silent == []


def test_every_fault_has_a_healthy_twin() -> None:
    """The bad case is believed only because its twin passes."""
    known = worlds()
    assert [world.name for world in WORLDS if world.cause and (world.twin not in known or known[world.twin].cause)] == []
