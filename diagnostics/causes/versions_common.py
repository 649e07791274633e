"""What the causes of the versions section ask alike, and the words of pip."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from diagnostics.case import Case, Fault, Finding, Memory, Packages, Requirement
from diagnostics.causes.files_words import found, named, of_step, seen, shell_path

# What an import says where it gets no memory (CPython, libstdc++, glibc's loader, OpenBLAS).
NO_MEMORY = (
    r"MemoryError|annot allocate memory|bad_alloc|Memory allocation still failed|failed to map segment from shared object$|error return without exception set"
)
# … and where it gets no thread (OpenBLAS, CPython, clone(2) EAGAIN).
NO_THREAD = r"pthread_create failed|can.t start new thread|Resource temporarily unavailable"
THREADS = "threads"  # the subject of what could start no thread (checks/test_transfer.py)
SMALL_LIMIT = 4 << 30  # bytes of address space: a few dozen threads, each with a stack of 8 MB and an arena of 64, use it up
Recognise = Callable[[Case, tuple[Fault, ...]], list[Finding]]


def threads_without_memory(case: Case, faults: tuple[Fault, ...]) -> list[Fault]:
    """Threads that could not be started under a small limit on address space, where no count of processes is reached: a stack found no room (EAGAIN, too)."""
    limits = case.memory.limits if isinstance(case.memory, Memory) else ()
    refused = of_step(faults, "limits", "processes")
    if any(fault.subject.name != THREADS for fault in refused) or not any(limit.kind == "rlimit" and limit.limit_bytes <= SMALL_LIMIT for limit in limits):
        return []
    return [*refused, *failed_imports(faults, NO_THREAD)]


def python_of(case: Case) -> str:
    """The interpreter as it goes into a command."""
    path = case.packages.python if isinstance(case.packages, Packages) else ""
    return shell_path(path) if path else "python"


def requirement_of(case: Case, fault: Fault) -> Requirement | None:
    items = case.packages.requirements if isinstance(case.packages, Packages) else ()
    return next((item for item in items if item.package == fault.subject.name), None)


def facts_of(case: Case, faults: list[Fault]) -> dict[str, str]:
    first = faults[0]
    item = requirement_of(case, first)
    return {
        "packages": named(fault.subject for fault in faults),
        "package": first.subject.name,
        "python": case.packages.python if isinstance(case.packages, Packages) else "",
        "why": item.why if item else first.evidence[0].expected,
        "version": seen(first, "version").seen,
        "minimum": item.minimum if item else "",
        "below": item.below if item else "",
        "source": item.source if item else "",
        "requires": seen(first, "requires").seen,
        "installed": seen(first, "installed").seen,
        "elsewhere": seen(first, "installed elsewhere").seen,
    }


def all_in_one(cause: str, *codes: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "packages", *codes)
        return found(cause, own, facts_of(case, own)) if own else []

    return recognise


def one_each(cause: str, *codes: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        return [finding for fault in of_step(faults, "packages", *codes) for finding in found(cause, [fault], facts_of(case, [fault]))]

    return recognise


def install(case: Case, *what: str) -> str:
    return f"{python_of(case)} -m pip install {shlex.join(what)}"


def show(case: Case, *names: str) -> str:
    return f"{python_of(case)} -m pip show {shlex.join(names)}"


def import_text(fault: Fault) -> str:
    """What ended an import."""
    return seen(fault, "import").seen


def failed_imports(faults: tuple[Fault, ...], pattern: str = "") -> list[Fault]:
    """Imports that failed, those whose error matches."""
    return [fault for fault in of_step(faults, "packages", "import") if re.search(pattern, import_text(fault))]
