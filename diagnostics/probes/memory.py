"""How much memory this process can have: the host's, every cgroup above it (v1 and v2), the resource limits; and what the weights need.

psutil reports the host in a container; the true limit is the least of all ancestors (ecosystem.md 6). Sources: Linux Documentation/admin-guide/cgroup-v2.rst and
cgroup-v1/memory.rst; proc(5) for cgroup, mountinfo and meminfo; getrlimit(2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from diagnostics.case import ABSENT, Files, Listing, Memory, MemoryLimit, Target, Unseen
from diagnostics.probes.files_wanted import weights_format
from diagnostics.redact import plain

UNLIMITED = 1 << 60  # v1 writes 9223372036854771712 for none
MOST_BYTES = 1 << 20
# Bytes in memory at the peak for one byte on disk, a lower bound. safetensors and zip checkpoints are mapped and each tensor copied out once
# (transformers 5.23 core_model_loading.py ``_materialize_copy``, modeling_utils.py ``load_state_dict`` mmap=True); the mapped pages can be dropped.
# A GGUF is mapped as it is (llama.cpp). Others are read into memory as they are.
PEAK = {"safetensors": 1.0, "torch": 1.0, "gguf": 1.0, "onnx": 1.0, "tensorflow": 1.0, "flax": 1.0, "other": 1.0}


def see_memory(needed_bytes: int | Unseen, needed_why: str, root: Path = Path("/")) -> Memory:
    """What can be had here, against what is needed. ``root`` is where /proc, /sys and /dev are looked for."""
    total, available, swap_free = _host(root)
    limits = [MemoryLimit(source="host", kind="host", limit_bytes=total, used_bytes=total - available, available_bytes=available + swap_free)]
    kills = 0
    levels = list(_levels(root))
    for level in levels:
        limits += [limit for limit in _limits_of(level, swap_free) if limit.limit_bytes < min(total, UNLIMITED)]
        kills = max(kills, _oom_kills(level))
    return Memory(
        total_bytes=total,
        available_bytes=available,
        swap_free_bytes=swap_free,
        limits=(*limits, *_resource_limits()),
        oom_kills=kills if levels else ABSENT,
        needed_bytes=needed_bytes,
        needed_why=needed_why,
        accelerators=_accelerators(root),
    )


def needed_memory(listing: Listing | Unseen, files: Files | Unseen, target: Target) -> tuple[int | Unseen, str]:
    """Bytes that the weights take once loaded, and how that was found. A lower bound: dtype as stored, no activations, no optimizer (see ``PEAK``)."""
    sizes = _weight_sizes(listing, files)
    if not sizes:
        return Unseen("absent", "no weights whose size is known"), ""
    needed = int(sum(size * PEAK[weights_format(path)] for path, size in sizes.items()))
    kinds = ", ".join(dict.fromkeys(weights_format(path) for path in sizes))
    return needed, f"{len(sizes)} file{'s' if len(sizes) > 1 else ''} of weights ({plain(kinds, 80)}), as stored"


def _weight_sizes(listing: Listing | Unseen, files: Files | Unseen) -> dict[str, int]:
    """Path → bytes of the weights that count: as published, else as they lie here."""
    sizes: dict[str, int] = {}
    for seen in files.files if isinstance(files, Files) else ():
        size = seen.expected_bytes if isinstance(seen.expected_bytes, int) else seen.bytes
        if isinstance(size, int):
            sizes[seen.path] = size
    if isinstance(listing, Listing):
        wanted = set(listing.wanted)
        sizes |= {file.path: file.bytes for file in listing.files if file.path in wanted and isinstance(file.bytes, int)}
    return {path: size for path, size in sizes.items() if weights_format(path.rpartition("?")[0] or path) and ".index" not in path}


# --- the host ---------------------------------------------------------------------------------------------------------------


def _host(root: Path) -> tuple[int, int, int]:
    """(total, available, free swap) in bytes."""
    if root == Path("/"):
        memory = psutil.virtual_memory()
        return memory.total, memory.available, _swap_free()
    values = {match[1]: int(match[2]) * 1024 for match in re.finditer(r"^(\w+):\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)}
    total = values.get("MemTotal", 0)
    return total, values.get("MemAvailable", values.get("MemFree", total)), values.get("SwapFree", 0)


def _swap_free() -> int:
    try:
        return int(psutil.swap_memory().free)
    except (OSError, RuntimeError, ValueError):  # no /proc/vmstat in some sandboxes; macOS where sysctl is denied
        return 0


def _accelerators(root: Path) -> tuple[str, ...]:
    """Device files of accelerators: NVIDIA, AMD, Intel Gaudi, TPU."""
    try:
        names = sorted(os.listdir(root / "dev"))
    except OSError:
        return ()
    return tuple(f"/dev/{name}" for name in names if re.fullmatch(r"nvidia\d+|kfd|accel\d+|hl\d+|davinci\d+", name))


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


# --- control groups ---------------------------------------------------------------------------------------------------------


class Level(NamedTuple):
    """One control group above this process, the process's own first."""

    version: int
    name: str
    folder: Path


def _levels(root: Path) -> Iterator[Level]:
    """Every memory control group from this process's own up to what is mounted."""
    mounts = _cgroup_mounts(root)
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if number == "0" and not controllers else 1 if "memory" in controllers.split(",") else 0
        if version in mounts:
            yield from _ancestors(root, version, path, *mounts[version])


def _cgroup_mounts(root: Path) -> dict[int, tuple[str, str]]:
    """Version → (root of the mount within the hierarchy, where it is mounted)."""
    mounts: dict[int, tuple[str, str]] = {}
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(kinds) < 3:
            continue
        version = 2 if kinds[0] == "cgroup2" else 1 if kinds[0] == "cgroup" and "memory" in kinds[2].split(",") else 0
        if version:
            mounts.setdefault(version, (unescaped(fields[3]), unescaped(fields[4])))
    return mounts


def unescaped(field: str) -> str:
    """A path of mountinfo: blanks and the like stand there as octal escapes (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def _ancestors(root: Path, version: int, path: str, mounted: str, mount_point: str) -> Iterator[Level]:
    """From the group itself up to the mount. A path outside of what is mounted (a namespace, a container) means the mount itself."""
    inside = path == mounted or path.startswith(mounted.rstrip("/") + "/")
    below = path[len(mounted.rstrip("/")) :].strip("/") if inside else ""
    parts = [part for part in below.split("/") if part not in ("", "..")] if ".." not in below.split("/") else []
    base = root / mount_point.lstrip("/")
    for count in range(len(parts), -1, -1):
        folder = base.joinpath(*parts[:count])
        if folder.is_dir():
            yield Level(version, "/" + "/".join(parts[:count]), folder)


def _limits_of(level: Level, host_swap: int) -> Iterator[MemoryLimit]:
    yield from _limits_v2(level, host_swap) if level.version == 2 else _limits_v1(level, host_swap)


def _limits_v2(level: Level, host_swap: int) -> Iterator[MemoryLimit]:
    """memory.max kills, memory.high throttles to a crawl: both count. Swap helps against memory.max only."""
    used = _number(level.folder / "memory.current")
    if used is None:
        return
    working = max(0, used - _stat(level.folder, "inactive_file"))
    swap_max, swap_used = _number(level.folder / "memory.swap.max"), _number(level.folder / "memory.swap.current") or 0
    swap = min(host_swap, max(0, swap_max - swap_used) if swap_max is not None else host_swap)
    for name, help_of_swap in (("memory.max", swap), ("memory.high", 0)):
        if (limit := _number(level.folder / name)) is not None:
            yield _limit(f"cgroup v2 {level.name} {name}", limit, working, help_of_swap)


def _limits_v1(level: Level, host_swap: int) -> Iterator[MemoryLimit]:
    """memory.limit_in_bytes, what an ancestor that is not visible here allows (hierarchical_memory_limit), and memory with swap together."""
    used = _number(level.folder / "memory.usage_in_bytes")
    if used is None:
        return
    reclaimable = _stat(level.folder, "total_inactive_file")
    working = max(0, used - reclaimable)
    together, together_used = _number(level.folder / "memory.memsw.limit_in_bytes"), _number(level.folder / "memory.memsw.usage_in_bytes")
    limit = _number(level.folder / "memory.limit_in_bytes")
    if limit is not None:
        yield _limit(f"cgroup v1 {level.name} memory.limit_in_bytes", limit, working, host_swap)
    if together is not None and together_used is not None:
        yield _limit(f"cgroup v1 {level.name} memory.memsw.limit_in_bytes", together, max(0, together_used - reclaimable), 0)
    above = _stat(level.folder, "hierarchical_memory_limit")
    if above and (limit is None or above < limit):
        yield _limit(f"cgroup v1 above {level.name} hierarchical_memory_limit", above, working, host_swap)


def _limit(source: str, limit: int, working: int, swap: int) -> MemoryLimit:
    return MemoryLimit(source=plain(source), kind="cgroup", limit_bytes=limit, used_bytes=working, available_bytes=max(0, limit - working) + swap)


def _number(path: Path) -> int | None:
    """A control file's number; None where there is none, or it says "max"."""
    text = _text(path).strip()
    return int(text) if re.fullmatch(r"\d{1,20}", text) else None


def _stat(folder: Path, key: str) -> int:
    match = re.search(rf"^{key} (\d{{1,20}})$", _text(folder / "memory.stat"), re.MULTILINE)
    return int(match[1]) if match else 0


def _oom_kills(level: Level) -> int:
    text = _text(level.folder / ("memory.events" if level.version == 2 else "memory.oom_control"))
    match = re.search(r"^oom_kill (\d{1,10})$", text, re.MULTILINE)
    return int(match[1]) if match else 0


# --- resource limits --------------------------------------------------------------------------------------------------------


def _resource_limits() -> Iterator[MemoryLimit]:
    """RLIMIT_AS and RLIMIT_DATA of this process, which the loading one inherits. What this process maps now stands for what any would."""
    try:
        import resource  # not on Windows
    except ImportError:
        return
    used = psutil.Process().memory_info()
    for name, now in (("RLIMIT_AS", used.vms), ("RLIMIT_DATA", getattr(used, "data", used.rss))):
        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft not in (resource.RLIM_INFINITY, -1) and soft < UNLIMITED:
            yield MemoryLimit(source=name, kind="rlimit", limit_bytes=soft, used_bytes=int(now), available_bytes=max(0, soft - int(now)))
