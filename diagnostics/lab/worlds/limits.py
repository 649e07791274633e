"""What the machine allows a process: descriptors, processes, memory, locks. Limits are set on the lab's own process, which has one for itself in its namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

from diagnostics.lab import environments, model
from diagnostics.lab import hub as hubs
from diagnostics.lab.stage import Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import put_up_hub

PR_CAPBSET_DROP = 24  # prctl(2)
CAPABILITIES = {"dac_override": 1, "dac_read_search": 2}  # capabilities(7)
GROUPS = Path("/sys/fs/cgroup")
# A host of 400 MB, of which 300 can be had.
SMALL_HOST = "MemTotal: 400000 kB\nMemFree: 290000 kB\nMemAvailable: 300000 kB\nBuffers: 0 kB\nCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nShmem: 0 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"


def bound(stage: Namespace, name: str, most: int) -> None:
    """A resource limit for what is started from now on (getrlimit(2))."""
    number = getattr(resource, name)
    before = resource.getrlimit(number)
    stage.stack.callback(resource.setrlimit, number, before)
    resource.setrlimit(number, (most, before[1]))


def without_capabilities(_stage: Namespace, *names: str) -> None:
    """What is started from now on does not have them, though it is root's; this process keeps its own."""
    for name in names:
        if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, CAPABILITIES[name], 0, 0, 0):
            raise RuntimeError(f"prctl: {os.strerror(ctypes.get_errno())}")


def in_group(stage: Namespace, controller: str, file: str, file2: str, value: int) -> None:
    """A control group of one limit for this process and what it starts: v1 (``file``), or v2 (``file2``)."""
    first = GROUPS / controller
    parent, name = (first, file) if first.is_dir() else (GROUPS, file2)
    folder = parent / f"diagnostics-lab-{os.getpid()}"
    folder.mkdir()
    (folder / name).write_text(str(value))
    (folder / "cgroup.procs").write_text(str(os.getpid()))

    def leave() -> None:
        with contextlib.suppress(OSError):
            (parent / "cgroup.procs").write_text(str(os.getpid()))
            folder.rmdir()

    stage.stack.callback(leave)


def local(stage: Stage, **changes: dict[str, str] | None) -> None:
    """A tiny model in a folder, and an environment that could load it."""
    stage.spec = str(model.write(model.tiny_bert(), stage.work / "tiny-bert"))
    stage.python = str(environments.make(stage.folder / "env", changes=changes))


@world("open-files-limited", needs="namespace")
def open_files_limited(stage: Namespace) -> None:
    """ulimit -n below what eight downloads at once open."""
    put_up_hub(stage)
    bound(stage, "RLIMIT_NOFILE", 38)


@world("processes-limited", needs="namespace", twin="healthy-environment")
def processes_limited(stage: Namespace) -> None:
    """A control group in which hardly a further process may be started."""
    local(stage)
    own = len(os.listdir("/proc/self/task"))
    in_group(stage, "pids", "pids.max", "pids.max", own + 2)


@world("lock-held")
def lock_held(stage: Stage) -> None:
    """Somebody (here the lab) holds the lock of the weights, and fetches nothing."""
    import fcntl

    put_up_hub(stage)
    weights = hubs.tiny().file("model.safetensors")
    assert weights is not None
    path = stage.hub_cache / ".locks" / "models--lab--tiny-bert" / f"{weights.etag}.lock"
    path.parent.mkdir(parents=True)
    file = stage.stack.enter_context(path.open("w"))
    fcntl.flock(file, fcntl.LOCK_EX)


@world("healthy-left-locks", cause="")
def healthy_left_locks(stage: Stage) -> None:
    """Lock files that the client left behind, as it always does; nobody holds them."""
    put_up_hub(stage)
    place = stage.hub_cache / ".locks" / "models--lab--tiny-bert"
    place.mkdir(parents=True)
    for file in hubs.tiny().files:
        (place / f"{file.etag}.lock").touch()


@world("memory-limited-by-container", needs="namespace", twin="healthy-container")
def memory_limited_by_container(stage: Namespace) -> None:
    """A control group of 160 MB: the libraries alone take more."""
    local(stage)
    in_group(stage, "memory", "memory.limit_in_bytes", "memory.max", 160_000_000)


@world("healthy-container", cause="", needs="namespace")
def healthy_container(stage: Namespace) -> None:
    """A control group of 600 MB, /dev/shm as Docker gives it, and a model that fits."""
    local(stage)
    stage.mount("-t", "tmpfs", "-o", "size=64m", "none", "/dev/shm")
    in_group(stage, "memory", "memory.limit_in_bytes", "memory.max", 600_000_000)


@world("memory-insufficient", needs="namespace", twin="healthy-container")
def memory_insufficient(stage: Namespace) -> None:
    """A machine with 300 MB to be had, and weights of more."""
    local(stage)
    stage.bind("/proc/meminfo", SMALL_HOST)
    place = Path(stage.spec)
    (place / "model.safetensors").unlink()
    (place / "config.json").write_text('{"model_type": "mimi_decoder"}')  # whose tensors nobody compares
    environments.legacy_checkpoint(place / "pytorch_model.bin", 65_000_000)


@world("address-space-limited", needs="namespace", twin="healthy-environment")
def address_space_limited(stage: Namespace) -> None:
    """ulimit -v below what torch maps."""
    local(stage)
    bound(stage, "RLIMIT_AS", 590_000_000)


@world("shared-memory-too-small", needs="namespace", twin="healthy-container", severity="warning")
def shared_memory_too_small(stage: Namespace) -> None:
    """/dev/shm of one megabyte."""
    local(stage)
    stage.mount("-t", "tmpfs", "-o", "size=1m", "none", "/dev/shm")
