"""The trial load: the load as the user would do it, in a child process with memory, time and network bounded; how it ended is data.

``plan`` says what is to be run, ``process`` runs it under the ``keeper``, ``loader`` is what the loading interpreter runs, ``endings`` makes a record of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from diagnostics.case import Case, MemoryLimit, Trial, Unseen
from diagnostics.probes.control_groups import Level, levels, number_in
from diagnostics.probes.memory import own_bytes, see_memory
from diagnostics.redact import Secrets
from diagnostics.trial.endings import trial_of
from diagnostics.trial.plan import Plan, of_command, of_target
from diagnostics.trial.process import Bounds, run_bounded

__all__ = ["plan_of", "try_load"]

SECONDS = 600.0
RESERVE = 0.05  # of the memory that can be had: left to everything else
MOST_RESERVE_BYTES = 256 << 20
FLOOR_BYTES = 64 << 20  # of the machine's memory: with less left, the load is ended before the machine stands still
LEAST_BYTES = 16 << 20


def plan_of(
    case: Case, variables: Mapping[str, str], python: str = "", command: tuple[str, ...] = (), shown: str = "", stands_in_the_way: str = ""
) -> Plan | Unseen:
    """What would be tried, or why nothing is."""
    if os.name != "posix":
        return Unseen("unsupported", "a load is bounded by means that only Unix has")
    return of_command(command, variables, shown) if command else of_target(case, python, variables, stands_in_the_way)


def try_load(
    plan: Plan,
    case: Case,
    secrets: Secrets,
    *,
    seconds: float = SECONDS,
    memory: int = 0,
    show: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Trial | Unseen:
    """Run it, to its end or ours. ``memory`` in bytes, 0 for what can be had here. Nothing of it is left, whatever happens."""
    bounds, source = bounds_of(seconds, memory)
    own = plan.way != "command"
    try:
        ending = run_bounded(list(plan.command), plan.variables, bounds, show=show and not own, own_temp=own, says=own, progress=progress)
    except OSError as error:
        return Unseen("unsupported", f"no process could be started for it ({error.strerror or 'refused'})")
    return trial_of(plan, ending, bounds, source, secrets, case.target.spec)


def bounds_of(seconds: float, memory: int, root: Path = Path("/")) -> tuple[Bounds, str]:
    """What it may take: of memory what can be had now, less a reserve for everything else; and what says so."""
    seen = see_memory(Unseen("absent"), root)
    lowest = min((limit for limit in seen.limits if limit.kind != "rlimit"), key=lambda limit: limit.available_bytes)
    free = lowest.available_bytes - own_bytes(root)  # which see_memory counts as free: this run is still here
    most = max(LEAST_BYTES, free - min(MOST_RESERVE_BYTES, int(free * RESERVE)))
    asked = 0 < memory < most
    above = list(levels(root, "memory"))
    bounds = Bounds(
        seconds=seconds,
        memory_bytes=max(LEAST_BYTES, memory) if asked else most,
        floor_bytes=min(FLOOR_BYTES, _host(seen.limits).available_bytes // 4),
        groups=tuple((level.version, str(level.folder)) for level in _where_to_make_one(above)),
        above=tuple((level.version, str(level.folder)) for level in above),
    )
    return bounds, "--diagnose-load-memory" if asked else lowest.source


def _host(limits: tuple[MemoryLimit, ...]) -> MemoryLimit:
    return next(limit for limit in limits if limit.kind == "host")


def _where_to_make_one(above: list[Level]) -> list[Level]:
    """Groups in which one of our own may be made: this process's own; of v2 (no group with processes may have limited children) also those above it, as far as
    no limit is left behind by that (cgroup-v2.rst, "No Internal Process Constraint")."""
    found: list[Level] = []
    for version in (1, 2):
        for level in (level for level in above if level.version == version):
            found.append(level)
            if version == 1 or number_in(level.folder / "memory.max") is not None or number_in(level.folder / "memory.high") is not None:
                break
    return found
