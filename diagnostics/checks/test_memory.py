"""Memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Accelerator, Accelerators, Environment, Evidence, Memory, MemoryLimit, Platform, Severity, Subject, Unseen
from diagnostics.checks.wording import fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

HOST = Subject(kind="machine", name="host")
SHM_BYTES = 8 << 20  # with less, worker processes end with a bus error on their first batch
HEURISTIC, STRICT = 0, 2  # vm.overcommit_memory


def test_the_weights_fit_into_memory(memory: Memory, accelerators: Accelerators | Unseen, expect: Expect) -> None:
    """Can this process have the memory that the weights take?

    An error where the load itself cannot have what it needs; a warning where the weights can be mapped but never be in memory all at once.
    """
    if not isinstance(memory.needed_bytes, int):
        expect.skip(memory.needed_why or "how much the weights need is not known")
        return
    for kind in ("host", "cgroup"):
        limits = sorted((limit for limit in memory.limits if limit.kind == kind), key=lambda limit: limit.available_bytes)
        for limit in limits[:1]:
            _judge(memory, limit, _may_go_elsewhere(memory, accelerators), expect)


def test_the_weights_fit_into_the_address_space(memory: Memory, expect: Expect) -> None:
    """Do the limits set for this process (ulimit) leave room for the weights?"""
    for limit in memory.limits:
        needed = memory.mapped_bytes if limit.source == "RLIMIT_AS" else memory.private_bytes
        if limit.kind == "rlimit" and isinstance(needed, int):
            subject = Subject(kind="machine", name=limit.source)
            expect.that(limit.available_bytes >= needed, "rlimit", subject, *_seen(memory, limit, subject, needed), step="memory")
    if not expect.examined:
        expect.skip("no such limit is set, or how much the weights need is not known")


def test_the_system_promises_enough(memory: Memory, environment: Environment, expect: Expect) -> None:
    """Does the system promise as much memory as the load asks for (overcommit, page file)?"""
    limit, taken, needed = memory.commit_limit_bytes, memory.committed_bytes, memory.private_bytes
    windows = isinstance(environment.platform, Platform) and environment.platform.system == "Windows"
    if (windows or memory.overcommit == STRICT) and isinstance(limit, int) and isinstance(taken, int) and isinstance(needed, int):
        left = max(0, limit - taken)
        seen = [
            fact(HOST, "can be promised", size(left), f"at least {size(needed)} ({memory.needed_why})"),
            fact(HOST, "limit", size(limit)),
            fact(HOST, "memory", f"{size(memory.available_bytes)} available of {size(memory.total_bytes)}"),
        ]
        expect.that(left >= needed, "pagefile" if windows else "overcommit", HOST, *seen, step="memory")
    else:
        expect.skip("this system promises more than it has, or how much the weights need is not known")


def test_shared_memory_has_room(memory: Memory, expect: Expect) -> None:
    """Has /dev/shm room for what worker processes share?"""
    total, free = memory.shm_total_bytes, memory.shm_free_bytes
    if isinstance(total, int) and isinstance(free, int):
        subject = Subject(kind="folder", name="/dev/shm")
        seen = [fact(subject, "free", size(free), f"at least {size(SHM_BYTES)}"), fact(subject, "size", size(total))]
        expect.that(free >= SHM_BYTES, "shm", subject, *seen, severity="warning", step="memory")
    else:
        expect.skip("there is no /dev/shm of its own here")


def test_an_accelerator_has_room(memory: Memory, accelerators: Accelerators, expect: Expect) -> None:
    """Has an accelerator that may be used room for the weights?"""
    needed = memory.resident_bytes
    known = [device for device in accelerators.devices if device.visible and isinstance(device.free_bytes, int)]
    if not known or not isinstance(needed, int):
        expect.skip("no accelerator whose memory is known, or how much the weights need is not known")
        return
    together = sum(_free(device) for device in known)
    subject = Subject(kind="machine", name=known[0].name if len(known) == 1 else f"{len(known)} accelerators")
    seen = [fact(subject, "free", size(together), f"at least {size(needed)} ({memory.needed_why})")]
    seen += [fact(Subject(kind="machine", name=f"GPU {device.index} {device.name}"), "free", _room(device)) for device in known[:8]]
    # Without a quantisation that runs on an accelerator alone the model may as well be loaded on the processor.
    severity: Severity = "error" if accelerators.wanted else "warning"
    expect.that(together >= needed, "gpu", subject, *seen, severity=severity, step="memory")


def _free(device: Accelerator) -> int:
    return device.free_bytes if isinstance(device.free_bytes, int) else 0


def _room(device: Accelerator) -> str:
    total = f" of {size(device.total_bytes)}" if isinstance(device.total_bytes, int) else ""
    return f"{size(_free(device))}{total}" + (f"; held by {', '.join(device.holders[:3])}" if device.holders else "")


def _may_go_elsewhere(memory: Memory, accelerators: Accelerators | Unseen) -> bool:
    """Whether an accelerator may take the weights, past this memory."""
    devices = [device for device in accelerators.devices if device.visible] if isinstance(accelerators, Accelerators) else []
    if not devices:
        return bool(memory.accelerators) and isinstance(accelerators, Unseen)
    known = all(isinstance(device.free_bytes, int) for device in devices)
    return not known or not isinstance(memory.resident_bytes, int) or sum(_free(device) for device in devices) >= memory.resident_bytes


def _judge(memory: Memory, limit: MemoryLimit, elsewhere: bool, expect: Expect) -> None:
    """One ceiling: what the load cannot do without, then what its use will want."""
    needed, resident, subject = memory.needed_bytes, memory.resident_bytes, Subject(kind="machine", name=limit.source)
    assert isinstance(needed, int)
    wanted = resident if isinstance(resident, int) else needed
    if limit.available_bytes >= max(needed, wanted if not elsewhere else 0) and not _refused_at_once(memory, limit):
        expect.that(True, limit.kind, subject, step="memory")
    elif limit.available_bytes < needed or _refused_at_once(memory, limit):
        most = max(needed, wanted) if _refused_at_once(memory, limit) else needed
        severity: Severity = "warning" if elsewhere else "error"
        expect.that(False, limit.kind, subject, *_seen(memory, limit, subject, most), severity=severity, step="memory")
    else:
        crawls = fact(subject, "what happens", "the weights are mapped and read from disk again and again")
        expect.that(False, limit.kind, subject, *_seen(memory, limit, subject, wanted), crawls, severity="warning", step="memory")


def _refused_at_once(memory: Memory, limit: MemoryLimit) -> bool:
    """Whether one file alone is larger than all memory and swap: the kernel refuses such a mapping (mm/util.c __vm_enough_memory, mode 0)."""
    largest, swap = memory.largest_mapping_bytes, memory.swap_free_bytes if isinstance(memory.swap_free_bytes, int) else 0
    return limit.kind == "host" and memory.overcommit == HEURISTIC and isinstance(largest, int) and largest > memory.total_bytes + swap


def _seen(memory: Memory, lowest: MemoryLimit, subject: Subject, needed: int) -> list[Evidence]:
    seen = [
        fact(subject, "can be had", size(lowest.available_bytes), f"at least {size(needed)} ({memory.needed_why})"),
        fact(subject, "limit", size(lowest.limit_bytes)),
    ]
    seen += [fact(subject, "in use", size(lowest.used_bytes))] if isinstance(lowest.used_bytes, int) else []
    seen += [fact(HOST, "memory", f"{size(memory.available_bytes)} available of {size(memory.total_bytes)}")] if lowest.kind != "host" else []
    seen += [fact(subject, "held by", text) for text in (memory.holders if lowest.kind == "host" else lowest.holders)]
    seen += [fact(subject, "processes killed for memory so far", memory.oom_kills)] if isinstance(memory.oom_kills, int) and memory.oom_kills else []
    return seen + ([fact(HOST, "accelerator", ", ".join(memory.accelerators[:4]))] if memory.accelerators else [])
