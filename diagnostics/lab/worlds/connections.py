"""Connections that do not come about."""

from __future__ import annotations

from diagnostics.lab import hub as hubs
from diagnostics.lab import tcp
from diagnostics.lab.stage import HUB, Stage
from diagnostics.lab.worlds import world


@world("connection-refused")
def connection_refused(stage: Stage) -> None:
    """Nothing listens at the hub's port."""
    port = stage.stack.enter_context(tcp.refused_port())
    stage.variables["HF_ENDPOINT"] = stage.url(HUB, port)
    stage.spec = hubs.NAME
