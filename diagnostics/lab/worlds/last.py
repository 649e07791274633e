"""What nothing better explains."""

from __future__ import annotations

from diagnostics.lab import hub as hubs
from diagnostics.lab.http import Reply
from diagnostics.lab.stage import HUB, Stage
from diagnostics.lab.worlds import world

PATIENCE_SECONDS = 9.0  # huggingface_hub waits ten


@world("survey-timed-out", twin="healthy-hub-late")
def survey_timed_out(stage: Stage) -> None:
    """A hub that answers everything in order, and takes nine seconds for each answer."""
    late(stage, PATIENCE_SECONDS)
    stage.options.append("--diagnose-timeout=12")


@world("healthy-hub-late", cause="")
def healthy_hub_late(stage: Stage) -> None:
    """A hub that takes a second for each answer."""
    late(stage, 1.0)


def late(stage: Stage, seconds: float) -> None:
    cdn = stage.web("cdn-lfs.hf.co", hubs.cdn(hubs.tiny()))

    def slowed(reply: Reply) -> Reply:
        return reply.but(wait_seconds=seconds)

    base = stage.web(HUB, hubs.spoiled(hubs.hub(hubs.tiny(), cdn=cdn), hubs.always, slowed))
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME
