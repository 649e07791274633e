"""Memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Memory, MemoryLimit, Subject
from diagnostics.checks.wording import fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_the_weights_fit_into_memory(memory: Memory, expect: Expect) -> None:
    """Can this process have the memory that the weights take?"""
    _judge(memory, expect, ("host", "cgroup"))


def test_the_weights_fit_into_the_address_space(memory: Memory, expect: Expect) -> None:
    """Do the limits set for this process (ulimit) leave room for the weights?"""
    if any(limit.kind == "rlimit" for limit in memory.limits):
        _judge(memory, expect, ("rlimit",))
    else:
        expect.skip("no such limit is set")


def _judge(memory: Memory, expect: Expect, kinds: tuple[str, ...]) -> None:
    """One fault for each kind of ceiling, at its lowest; nothing is said of ceilings that are high enough."""
    needed = memory.needed_bytes
    if not isinstance(needed, int):
        expect.skip("how much the weights need is not known" if memory.needed_why == "" else memory.needed_why)
        return
    for kind in kinds:
        limits = sorted((limit for limit in memory.limits if limit.kind == kind), key=lambda limit: limit.available_bytes)
        if limits:
            lowest, subject = limits[0], Subject(kind="machine", name=limits[0].source)
            expect.that(
                lowest.available_bytes >= needed,
                kind,
                subject,
                *_seen(memory, lowest, subject, needed),
                severity="warning" if memory.accelerators else "error",
                step="memory",
            )


def _seen(memory: Memory, lowest: MemoryLimit, subject: Subject, needed: int) -> list[Evidence]:
    seen = [
        fact(subject, "can be had", size(lowest.available_bytes), f"at least {size(needed)} ({memory.needed_why})"),
        fact(subject, "limit", size(lowest.limit_bytes)),
    ]
    seen += [fact(subject, "in use", size(lowest.used_bytes))] if isinstance(lowest.used_bytes, int) else []
    machine = Subject(kind="machine", name="host")
    seen += [fact(machine, "memory", f"{size(memory.available_bytes)} available of {size(memory.total_bytes)}")] if lowest.kind != "host" else []
    seen += [fact(subject, "processes killed for memory so far", memory.oom_kills)] if isinstance(memory.oom_kills, int) and memory.oom_kills else []
    return seen + ([fact(machine, "accelerator", ", ".join(memory.accelerators[:4]))] if memory.accelerators else [])
