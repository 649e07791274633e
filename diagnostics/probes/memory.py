"""How much memory this process can have: the host's, every cgroup above it (v1 and v2), the resource limits, what the kernel will promise.

psutil reports the host in a container; the true limit is the least of all ancestors (ecosystem.md 6). Sources: Linux Documentation/admin-guide/cgroup-v2.rst,
cgroup-v1/memory.rst and mm/overcommit-accounting.rst; proc(5) for meminfo; getrlimit(2).
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from diagnostics.case import ABSENT, Memory, MemoryLimit, Unseen
from diagnostics.probes.control_groups import Level, levels, number_in, read_text
from diagnostics.probes.load_cost import LoadCost
from diagnostics.redact import plain

UNLIMITED = 1 << 60  # v1 writes 9223372036854771712 for none
MOST_HOLDERS, MOST_GROUPS = 3, 500
HOLDER_BYTES = 100_000_000  # less is not worth a name


def see_memory(cost: LoadCost | Unseen, root: Path = Path("/")) -> Memory:
    """What can be had here, against what is needed. ``root`` is where /proc, /sys and /dev are looked for.

    What this very run holds is counted as free: it will be gone when the model loads.
    """
    total, available, swap_free = _host(root)
    own = own_bytes(root)
    limits = [MemoryLimit(source="host", kind="host", limit_bytes=total, used_bytes=total - available, available_bytes=available + swap_free)]
    kills = 0
    groups = list(levels(root, "memory"))
    for group in groups:
        found = [limit for limit in _limits_of(group, swap_free, own) if limit.limit_bytes < min(total, UNLIMITED)]
        limits += [replace(limit, holders=_holders(root, _members(group))) if _is_short(limit, cost) else limit for limit in found]
        kills = max(kills, _oom_kills(group))
    overcommit, commit_limit, committed = _overcommit(root)
    shm_total, shm_free = _shared_memory(root)
    return Memory(
        total_bytes=total,
        available_bytes=available,
        swap_free_bytes=swap_free,
        limits=(*limits, *_resource_limits()),
        oom_kills=kills if groups else ABSENT,
        accelerators=_accelerators(root),
        overcommit=overcommit,
        commit_limit_bytes=commit_limit,
        committed_bytes=committed,
        holders=_holders(root) if isinstance(cost, LoadCost) and cost.resident > available else (),
        shm_total_bytes=shm_total,
        shm_free_bytes=shm_free,
        **_needs(cost),
    )


def _needs(cost: LoadCost | Unseen) -> dict[str, Any]:
    if isinstance(cost, Unseen):
        return dict.fromkeys(("needed_bytes", "resident_bytes", "mapped_bytes", "private_bytes"), cost)
    return {
        "needed_bytes": cost.own,
        "resident_bytes": cost.resident,
        "mapped_bytes": cost.mapped,
        "private_bytes": cost.data,
        "largest_mapping_bytes": cost.largest,
        "needed_why": cost.why,
    }


# --- the host ---------------------------------------------------------------------------------------------------------------


def _host(root: Path) -> tuple[int, int, int]:
    """(total, available, free swap) in bytes."""
    if root == Path("/"):
        memory = psutil.virtual_memory()
        return memory.total, memory.available, _swap_free()
    values = _meminfo(root)
    total = values.get("MemTotal", 0)
    return total, values.get("MemAvailable", values.get("MemFree", total)), values.get("SwapFree", 0)


def _meminfo(root: Path) -> dict[str, int]:
    return {match[1]: int(match[2]) * 1024 for match in re.finditer(r"^(\w+):\s+(\d+) kB$", read_text(root / "proc/meminfo"), re.MULTILINE)}


def _swap_free() -> int:
    try:
        return int(psutil.swap_memory().free)
    except (OSError, RuntimeError, ValueError):  # no /proc/vmstat in some sandboxes; macOS where sysctl is denied
        return 0


def own_bytes(root: Path) -> int:
    """Anonymous memory of this process (proc(5), status: RssAnon); 0 where that is not told."""
    match = re.search(r"^RssAnon:\s+(\d+) kB$", read_text(root / "proc/self/status"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def _overcommit(root: Path) -> tuple[int | Unseen, int | Unseen, int | Unseen]:
    """(vm.overcommit_memory, CommitLimit, Committed_AS)."""
    if sys.platform == "win32":
        return ABSENT, *_windows_commit()
    mode, values = number_in(root / "proc/sys/vm/overcommit_memory"), _meminfo(root)
    return mode if mode is not None else ABSENT, values.get("CommitLimit", ABSENT), values.get("Committed_AS", ABSENT)


def _windows_commit() -> tuple[int | Unseen, int | Unseen]:  # pragma: no cover  # Windows
    """(limit, total) of what Windows promises: memory and page file (psapi.h, PERFORMANCE_INFORMATION, in pages)."""
    import ctypes

    figures = (ctypes.c_size_t * (13 if ctypes.sizeof(ctypes.c_size_t) == 8 else 14))()  # eleven of a pointer's size, three DWORDs
    figures[0] = ctypes.sizeof(figures)  # cb, a DWORD that is padded to the size of a pointer
    if sys.platform != "win32" or not ctypes.windll.psapi.GetPerformanceInfo(ctypes.byref(figures), ctypes.sizeof(figures)):
        return ABSENT, ABSENT
    total, limit, page = figures[1], figures[2], figures[10]
    return int(limit * page), int(total * page)


def _shared_memory(root: Path) -> tuple[int | Unseen, int | Unseen]:
    """(size, free) of /dev/shm."""
    try:
        figures = os.statvfs(root / "dev/shm")
    except (OSError, AttributeError):
        return ABSENT, ABSENT
    if not figures.f_blocks or not os.path.ismount(root / "dev/shm"):
        return ABSENT, ABSENT  # a plain folder, or none: nothing of its own that could be full
    return figures.f_blocks * figures.f_frsize, figures.f_bavail * figures.f_frsize


def _is_short(limit: MemoryLimit, cost: LoadCost | Unseen) -> bool:
    return isinstance(cost, LoadCost) and max(cost.own, cost.resident) > limit.available_bytes


def _members(group: Level) -> set[int]:
    """Processes of a control group and of those below it, as far as they are seen from here (cgroups(7), cgroup.procs)."""
    found: set[int] = set()
    for count, (folder, _, _) in enumerate(os.walk(group.folder)):
        found |= {int(text) for text in read_text(Path(folder) / "cgroup.procs").split() if text.isdigit()}
        if count >= MOST_GROUPS:
            break
    return found


def _holders(root: Path, members: set[int] | None = None) -> tuple[str, ...]:
    """The processes (of ``members``, where given) that hold most memory, but for this one."""
    if root != Path("/"):
        return ()
    held = []
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        memory, pid = process.info.get("memory_info"), process.info["pid"]
        if memory and pid != os.getpid() and memory.rss >= HOLDER_BYTES and (members is None or pid in members):
            held.append((memory.rss, pid, plain(process.info.get("name") or "?", 40)))
    return tuple(f"{rss / 1e9:.1f} GB {name} (pid {pid})" for rss, pid, name in sorted(held, reverse=True)[:MOST_HOLDERS])


def _accelerators(root: Path) -> tuple[str, ...]:
    """Device files of accelerators: NVIDIA, AMD, Intel Gaudi, TPU."""
    try:
        names = sorted(os.listdir(root / "dev"))
    except OSError:
        return ()
    return tuple(f"/dev/{name}" for name in names if re.fullmatch(r"nvidia\d+|kfd|accel\d+|hl\d+|davinci\d+", name))


# --- control groups ---------------------------------------------------------------------------------------------------------


def _limits_of(level: Level, host_swap: int, own: int) -> Iterator[MemoryLimit]:
    yield from _limits_v2(level, host_swap, own) if level.version == 2 else _limits_v1(level, host_swap, own)


def _limits_v2(level: Level, host_swap: int, own: int) -> Iterator[MemoryLimit]:
    """memory.max kills, memory.high throttles to a crawl: both count. Swap helps against memory.max only."""
    used = number_in(level.folder / "memory.current")
    if used is None:
        return
    working = max(0, used - _stat(level.folder, "inactive_file") - _stat(level.folder, "active_file"))
    swap_max, swap_used = number_in(level.folder / "memory.swap.max"), number_in(level.folder / "memory.swap.current") or 0
    swap = min(host_swap, max(0, swap_max - swap_used) if swap_max is not None else host_swap)
    for name, help_of_swap in (("memory.max", swap), ("memory.high", 0)):
        if (limit := number_in(level.folder / name)) is not None:
            yield _limit(f"cgroup v2 {level.name} {name}", limit, working, help_of_swap, own)


def _limits_v1(level: Level, host_swap: int, own: int) -> Iterator[MemoryLimit]:
    """memory.limit_in_bytes, what an ancestor that is not visible here allows (hierarchical_memory_limit), and memory with swap together."""
    used = number_in(level.folder / "memory.usage_in_bytes")
    if used is None:
        return
    reclaimable = _stat(level.folder, "total_inactive_file") + _stat(level.folder, "total_active_file")
    working = max(0, used - reclaimable)
    together, together_used = number_in(level.folder / "memory.memsw.limit_in_bytes"), number_in(level.folder / "memory.memsw.usage_in_bytes")
    limit = number_in(level.folder / "memory.limit_in_bytes")
    if limit is not None:
        yield _limit(f"cgroup v1 {level.name} memory.limit_in_bytes", limit, working, host_swap, own)
    if together is not None and together_used is not None:
        yield _limit(f"cgroup v1 {level.name} memory.memsw.limit_in_bytes", together, max(0, together_used - reclaimable), 0, own)
    above = _stat(level.folder, "hierarchical_memory_limit")
    if above and (limit is None or above < limit):
        yield _limit(f"cgroup v1 above {level.name} hierarchical_memory_limit", above, working, host_swap, own)


def _limit(source: str, limit: int, working: int, swap: int, own: int) -> MemoryLimit:
    available = max(0, limit - max(0, working - own)) + swap
    return MemoryLimit(source=plain(source), kind="cgroup", limit_bytes=limit, used_bytes=working, available_bytes=available)


def _stat(folder: Path, key: str) -> int:
    match = re.search(rf"^{key} (\d{{1,20}})$", read_text(folder / "memory.stat"), re.MULTILINE)
    return int(match[1]) if match else 0


def _oom_kills(level: Level) -> int:
    text = read_text(level.folder / ("memory.events" if level.version == 2 else "memory.oom_control"))
    match = re.search(r"^oom_kill (\d{1,10})$", text, re.MULTILINE)
    return int(match[1]) if match else 0


# --- resource limits --------------------------------------------------------------------------------------------------------


def _resource_limits() -> Iterator[MemoryLimit]:
    """RLIMIT_AS and RLIMIT_DATA, which the loading process inherits; it starts with none of it used, and its interpreter counts in what it needs."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    for name in ("RLIMIT_AS", "RLIMIT_DATA"):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft not in (resource.RLIM_INFINITY, -1) and soft < UNLIMITED:
            yield MemoryLimit(source=name, kind="rlimit", limit_bytes=soft, available_bytes=soft)
