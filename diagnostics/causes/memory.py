"""Memory: the machine's, the container's, and what ulimit leaves. The least of them decides; where it is not the machine, the machine is not to blame."""

from __future__ import annotations

import re
from collections.abc import Callable

from diagnostics.case import Case, Cause, Fault, Finding, Platform, Remedy
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, of_step, seen

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
    }


def _by_kind(cause: str, kind: str, *under: str) -> Recognise:
    """The ceiling of this kind; the faults of ``under`` are the same want, seen from further out."""

    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "memory", kind)
        return found(cause, [*own, *(of_step(faults, "memory", *under) if under else [])], _facts(case, own[0])) if own else []

    return recognise


def _limited(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The container's limit is the root only where the machine itself would have the room."""
    if of_step(faults, "memory", "host"):
        return []
    return _by_kind("memory-limited-by-container", "cgroup")(case, faults)


def _smaller(finding: Finding, case: Case) -> Remedy:
    return Remedy(
        do='Or load it smaller or elsewhere: a quantised variant, half precision (dtype=torch.bfloat16, which helps where the file holds float32), device_map="auto" onto an accelerator or, with accelerate, offloaded to disk.',
        check=again(case),
    )


def _insufficient_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    end = Remedy(
        do=f"See what holds the memory and end what is not needed, or take a machine with more: {facts['needed']} are needed, {facts['available']} can be had.",
        run="ps -eo pid,user,rss,comm --sort=-rss | head",
        check="free -h",
    )
    return [end, _smaller(finding, case)]


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
    return [ways.get(facts["container"], general), _smaller(finding, case)]


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


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="address-space-limited",
        owner=("machine",),
        title="A limit on this process ({source}, {limit}) leaves {available}, and the weights take {needed}",
        why="It counts what is mapped, not what is used, so the load fails with “cannot allocate memory” while memory is free. {why_needed}.",
        recognise=_by_kind("address-space-limited", "rlimit"),
        remedies=_address_remedies,
        lab="address-space-limited",
    ),
    Cause(
        id="memory-limited-by-container",
        owner=("machine",),
        title="The limit of {source} leaves {available} of memory, and the weights take {needed}",
        why="The machine has {host}, but this process may not have it: beyond {limit} the kernel kills it (“Killed”, exit status 137), without a traceback. {why_needed}.",
        recognise=_limited,
        remedies=_container_remedies,
        lab="memory-limited-by-container",
    ),
    Cause(
        id="memory-insufficient",
        owner=("machine",),
        title="The weights take {needed} of memory, and {available} can be had on this machine",
        why="The load would end with “Killed” (exit status 137) or a memory error. {why_needed}.",
        recognise=_by_kind("memory-insufficient", "host", "cgroup"),
        remedies=_insufficient_remedies,
        lab="memory-insufficient",
    ),
)
