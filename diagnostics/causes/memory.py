"""Memory: the machine's, the container's, and what ulimit leaves. The least of them decides; where it is not the machine, the machine is not to blame."""

from __future__ import annotations

import re
from collections.abc import Callable

from diagnostics.case import Case, Cause, Fault, Finding, Memory, Platform, Remedy, Unseen
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, of_step, seen
from diagnostics.causes.versions_common import NO_MEMORY, failed_imports, threads_without_memory

# Where the machine itself is somebody's setting: (what to do, what to run).
ROOMIER = {
    "wsl": ("Let WSL have more of the machine's memory: memory=… below [wsl2] in .wslconfig of the Windows user, then restart it.", "wsl.exe --shutdown"),
    "colab": ("Take a runtime with more memory (Runtime, Change runtime type, High-RAM).", ""),
}
Recognise = Callable[[Case, tuple[Fault, ...]], list[Finding]]


def _facts(case: Case, fault: Fault) -> dict[str, str]:
    line, platform = seen(fault, "can be had"), case.environment.platform
    return {
        "source": fault.subject.name,
        "available": line.seen,
        "needed": re.sub(r"^at least | \(.*", "", line.expected),
        "why_needed": re.sub(r"^[^(]*\(|\)$", "", line.expected),
        "limit": seen(fault, "limit").seen,
        "used": seen(fault, "in use").seen or "an unknown amount",
        "host": seen(fault, "memory").seen or "more",
        "kills": seen(fault, "processes killed for memory so far").seen,
        "container": platform.container if isinstance(platform, Platform) else "",
        "consequence": _consequence(fault),
        "holders": "; ".join(item.seen for item in fault.evidence if item.fact == "held by"),
    }


def _consequence(fault: Fault) -> str:
    """How it ends: killed, or mapped and slow."""
    if crawls := seen(fault, "what happens").seen:
        return f"The load may still succeed, but then {crawls}: every use of the model crawls, and anything that copies it is killed"
    if fault.code == "cgroup":
        return "Beyond its limit the kernel kills the process (“Killed”, exit status 137), without a traceback"
    return "The load would end with “Killed” (exit status 137) or a memory error"


def _by_kind(cause: str, kind: str, *under: str) -> Recognise:
    """The ceiling of this kind; the faults of ``under`` are the same want, seen from further out."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "memory", kind)
        return found(cause, [*own, *(of_step(faults, "memory", *under) if under else [])], _facts(case, own[0])) if own else []

    return recognise


def _limited(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The container's limit is the root only where the machine itself would have the room."""
    own, host = of_step(faults, "memory", "cgroup"), of_step(faults, "memory", "host")
    if any(fault.severity == "error" for fault in host) or (host and not any(fault.severity == "error" for fault in own)):
        return []
    return _by_kind("memory-limited-by-container", "cgroup")(case, faults)


def _address_space(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The limit, the imports that found no memory under it, and the threads that found no room for their stacks."""
    own, failed, threads = of_step(faults, "memory", "rlimit"), failed_imports(faults, NO_MEMORY), threads_without_memory(case, faults)
    limit = next((limit for limit in case.memory.limits if limit.kind == "rlimit"), None) if isinstance(case.memory, Memory) else None
    if own:
        return found("address-space-limited", [*own, *failed, *threads], _facts(case, own[0]))
    if limit is None or not (failed or threads):
        return []
    facts = {
        "source": limit.source,
        "limit": f"{limit.limit_bytes / 1e6:.0f} MB",
        "needed": "more",
        "why_needed": f"The import of {failed[0].subject.name} alone finds no memory" if failed else "A thread finds no room for its stack",
    }
    return found("address-space-limited", [*failed, *threads], facts)


def _smaller(finding: Finding, case: Case) -> Remedy:
    return Remedy(
        do='Or load it smaller or elsewhere: a quantised variant, half precision (dtype=torch.bfloat16, which helps where the file holds float32), device_map="auto" onto an accelerator or, with accelerate, offloaded to disk.',
        check=again(case),
    )


def _insufficient_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    held = f" Most is held by {facts['holders']}." if facts["holders"] else ""
    end = Remedy(
        do=f"See what holds the memory and end what is not needed, or take a machine with more: {facts['needed']} are needed, {facts['available']} can be had.{held}",
        run="ps -eo pid,user,rss,comm --sort=-rss | head",
        check="free -h",
    )
    more = ROOMIER.get(facts["container"])
    return [*([Remedy(do=more[0], run=more[1], check="free -h")] if more else []), end, _smaller(finding, case)]


def _container_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    amount = _gigabytes(facts["needed"])
    ways = {
        "docker": Remedy(do=f"Start the container with more memory than {facts['needed']}.", run=f"docker run --memory {amount}g …", check=again(case)),
        "podman": Remedy(do=f"Start the container with more memory than {facts['needed']}.", run=f"podman run --memory {amount}g …", check=again(case)),
        "kubernetes": Remedy(
            do=f"Raise the container's resources.limits.memory (and requests) to {amount}Gi or more in the pod's manifest.",
            run="kubectl describe pod $HOSTNAME",
            check=again(case),
        ),
        "slurm": Remedy(do="Ask for more memory in the job.", run=f"#SBATCH --mem={amount}G", check=again(case)),
    }
    general = Remedy(
        do=f"Raise the limit of {facts['source']} ({facts['limit']}) above {facts['needed']} plus what is in use ({facts['used']}); whoever set it up (systemd, a batch system, a container) has the setting.",
        run="cat /proc/self/cgroup",
        check=again(case),
    )
    held = Remedy(do=f"Or end what holds the memory there: {facts['holders']}.", run="ps -eo pid,user,rss,comm --sort=-rss | head", check=again(case))
    return [ways.get(facts["container"], general), *([held] if facts["holders"] else []), _smaller(finding, case)]


def _gigabytes(text: str) -> int:
    """A size as the report words it, as whole gigabytes with room for the process itself."""
    match = re.match(r"([\d.]+) (\w+)", text)
    unit = {"B": 1e-9, "kB": 1e-6, "MB": 1e-3, "GB": 1.0, "TB": 1e3}
    return int(float(match[1]) * unit.get(match[2], 1.0) * 1.25) + 2 if match else 4


def _address_remedies(finding: Finding, case: Case) -> list[Remedy]:
    option = "-v" if "AS" in finding.facts["source"] else "-d"
    return [
        Remedy(
            do="Lift the limit in the shell that starts the load (a hard limit: in /etc/security/limits.conf or the batch system's settings, by its admin).",
            run=f"ulimit {option} unlimited",
            check=f"ulimit {option}",
        )
    ]


def _promised(cause: str, code: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "memory", code)
        if not own:
            return []
        line = seen(own[0], "can be promised")
        facts = _facts(case, own[0]) | {"available": line.seen, "needed": re.sub(r"^at least | \(.*", "", line.expected)}
        return found(cause, own, facts | {"why_needed": re.sub(r"^[^(]*\(|\)$", "", line.expected)})

    return recognise


def _overcommit_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do="Let the kernel promise more than it has (its default), by the admin of this machine.",
            run="sudo sysctl vm.overcommit_memory=0",
            check="cat /proc/sys/vm/overcommit_memory",
        ),
        Remedy(
            do="Or add swap, which counts towards what may be promised.",
            run="sudo fallocate -l 32G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile",
            check="grep -i commit /proc/meminfo",
        ),
    ]


def _pagefile_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"Let Windows manage the page file's size, or set it larger (System, Advanced, Performance, Virtual memory) by at least {finding.facts['needed']}; then restart.",
            run="systempropertiesperformance.exe",
            check=again(case),
        ),
        _smaller(finding, case),
    ]


def _shared(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "memory", "shm")
    return found("shared-memory-too-small", own, _facts(case, own[0]) | {"free": seen(own[0], "free").seen, "size": seen(own[0], "size").seen}) if own else []


def _shared_remedies(finding: Finding, case: Case) -> list[Remedy]:
    ways = {
        "docker": Remedy(do="Start the container with more shared memory.", run="docker run --shm-size 8g …", check="df -h /dev/shm"),
        "podman": Remedy(do="Start the container with more shared memory.", run="podman run --shm-size 8g …", check="df -h /dev/shm"),
        "kubernetes": Remedy(
            do="Mount an emptyDir with medium: Memory at /dev/shm in the pod's manifest (and count it in resources.limits.memory).",
            run="kubectl explain pod.spec.volumes.emptyDir.medium",
            check="df -h /dev/shm",
        ),
    }
    larger = Remedy(do="Make it larger, by the admin of this machine.", run="sudo mount -o remount,size=8g /dev/shm", check="df -h /dev/shm")
    clean = Remedy(do="Or remove what dead processes left there, or do without workers (num_workers=0).", run="ls -l /dev/shm", check="df -h /dev/shm")
    return [ways.get(finding.facts["container"], larger), clean]


def _accelerator(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = of_step(faults, "memory", "gpu")
    if not own:
        return []
    line = seen(own[0], "free")
    held = "; ".join(item.seen.partition("held by ")[2] for item in own[0].evidence if "held by " in item.seen)
    facts = {"device": own[0].subject.name, "free": line.seen, "needed": re.sub(r"^at least | \(.*", "", line.expected), "holders": held}
    return found("gpu-memory-insufficient", own, facts)


def _accelerator_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    held = f" It is held by {facts['holders']}: end what is not needed." if facts["holders"] else ""
    return [
        Remedy(do=f"See who holds the memory of the accelerator.{held}", run="nvidia-smi", check="nvidia-smi --query-gpu=memory.free --format=csv"),
        Remedy(
            do='Or load it smaller (dtype=torch.bfloat16, a quantised variant), or let a part of it stay on the processor (device_map="auto").',
            check=again(case),
        ),
    ]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="address-space-limited",
        owner=("machine",),
        title="A limit on this process ({source}) allows {limit}, and loading takes {needed}",
        why="It counts what is mapped, not what is used, so the load fails with “cannot allocate memory” while memory is free. {why_needed}.",
        recognise=_address_space,
        remedies=_address_remedies,
        lab="address-space-limited",
    ),
    Cause(
        id="memory-limited-by-container",
        owner=("machine",),
        title="The limit of {source} leaves {available} of memory, and loading takes {needed}",
        why="The machine has {host}, but this process may not have it: its limit is {limit}. {consequence}. {why_needed}.",
        recognise=_limited,
        remedies=_container_remedies,
        lab="memory-limited-by-container",
    ),
    Cause(
        id="memory-insufficient",
        owner=("machine",),
        title="Loading takes {needed} of memory, and {available} can be had on this machine",
        why="{consequence}. {why_needed}.",
        recognise=_by_kind("memory-insufficient", "host", "cgroup"),
        remedies=_insufficient_remedies,
        lab="memory-insufficient",
    ),
    Cause(
        id="memory-overcommit-refused",
        owner=("machine",),
        title="The kernel promises only {available} more memory, and loading asks for {needed}",
        why="Strict accounting (vm.overcommit_memory=2) refuses a mapping beyond {limit} in all, however much is free: {host}. {why_needed}.",
        recognise=_promised("memory-overcommit-refused", "overcommit"),
        remedies=_overcommit_remedies,
        lab=Unseen("unsupported", "vm.overcommit_memory is the whole machine's; a tree of files and a hand-made Case stand in"),
    ),
    Cause(
        id="pagefile-too-small",
        owner=("machine",),
        title="Windows can promise only {available} more memory, and loading asks for {needed}",
        why="What a process may map is bounded by memory and page file together, {limit}; beyond it the load ends with error 1455. {why_needed}.",
        recognise=_promised("pagefile-too-small", "pagefile"),
        remedies=_pagefile_remedies,
        lab=Unseen("unsupported", "Windows; a hand-made Case stands in"),
    ),
    Cause(
        id="gpu-memory-insufficient",
        owner=("machine",),
        title="{device}: {free} free, and the weights take {needed}",
        why="The load onto the accelerator ends with “CUDA out of memory”.",
        recognise=_accelerator,
        remedies=_accelerator_remedies,
        lab=Unseen("unsupported", "no accelerator here; a made NVML library and a hand-made Case stand in"),
    ),
    Cause(
        id="shared-memory-too-small",
        owner=("machine",),
        severity="warning",
        title="/dev/shm has {free} free of {size}",
        why="Worker processes hand each other data there; without room they end with “Bus error” or “No space left on device”.",
        recognise=_shared,
        remedies=_shared_remedies,
        lab="shared-memory-too-small",
    ),
)
