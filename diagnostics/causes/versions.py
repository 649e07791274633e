"""Versions: packages that this load needs, in the interpreter that will load."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from diagnostics.case import Case, Cause, Fault, Finding, Packages, Remedy, Requirement
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, named, of_step, seen, shell_path
from diagnostics.facts.clients import canonical

Recognise = Callable[[Case, tuple[Fault, ...]], list[Finding]]


def _python(case: Case) -> str:
    """The interpreter as it goes into a command."""
    path = case.packages.python if isinstance(case.packages, Packages) else ""
    return shell_path(path) if path else "python"


def _requirement(case: Case, fault: Fault) -> Requirement | None:
    items = case.packages.requirements if isinstance(case.packages, Packages) else ()
    return next((item for item in items if item.package == fault.subject.name), None)


def _facts(case: Case, faults: list[Fault]) -> dict[str, str]:
    first = faults[0]
    item = _requirement(case, first)
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
    }


def _all(cause: str, *codes: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "packages", *codes)
        return found(cause, own, _facts(case, own)) if own else []

    return recognise


def _each(cause: str, *codes: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        return [finding for fault in of_step(faults, "packages", *codes) for finding in found(cause, [fault], _facts(case, [fault]))]

    return recognise


def _install(case: Case, *what: str) -> str:
    return f"{_python(case)} -m pip install {shlex.join(what)}"


def _show(case: Case, *names: str) -> str:
    return f"{_python(case)} -m pip show {shlex.join(names)}"


def _missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    wanted = [subject.name for subject in finding.subjects]
    elsewhere = Remedy(
        do="Or, if the model will load in another environment, name its interpreter.", run=f"{again(case)} --diagnose-python /path/to/python", check=again(case)
    )
    return [
        Remedy(
            do=f"Install {finding.facts['packages']} into the interpreter that will load the model.",
            run=_install(case, *wanted),
            check=_show(case, *[re.split(r"[<>=!~ ]", name)[0] for name in wanted]),
        ),
        elsewhere,
    ]


def _too_old_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, minimum = finding.facts["package"], finding.facts["minimum"]
    return [Remedy(do=f"Upgrade {package} to {minimum} or newer.", run=_install(case, "--upgrade", f"{package}>={minimum}"), check=_show(case, package))]


def _pickle_remedies(finding: Finding, case: Case) -> list[Remedy]:
    take = Remedy(
        do="Or take the model in safetensors form: another revision (many repositories have a pull request refs/pr/… that adds it), or convert it on a machine with a newer torch.",
        check=again(case),
    )
    return [*_too_old_remedies(finding, case), take]


def _too_new_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, below = finding.facts["package"], finding.facts["below"]
    pin = Remedy(do=f"Or keep {package} below {below}.", run=_install(case, f"{package}<{below}"), check=_show(case, package))
    caller = re.match(r"[^;]*?(\S+) before ([\d.]+)", finding.facts["why"].rpartition("; ")[2])
    if not caller:
        return [pin]
    return [
        Remedy(
            do=f"Upgrade {caller[1]}, which relies on what is gone.",
            run=_install(case, "--upgrade", f"{caller[1]}>={caller[2]}"),
            check=_show(case, caller[1], package),
        ),
        pin,
    ]


def _conflict_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, requires = finding.facts["package"].split(" ")[0], finding.facts["requires"]
    fit = Remedy(do=f"Install a version that satisfies both: {requires}.", run=_install(case, requires), check=f"{_python(case)} -m pip check")
    newer = Remedy(do=f"Or bring {package} up to what is installed beside it.", run=_install(case, "--upgrade", package), check=f"{_python(case)} -m pip check")
    return [fit, newer]


def _mixed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package = finding.facts["package"]
    return [
        Remedy(
            do=f"Remove {package} until pip finds no more of it, then install it once, with this interpreter's own pip.",
            run=f"{_python(case)} -m pip uninstall -y {shlex.quote(canonical(package))}; {_install(case, '--force-reinstall', package)}",
            check=_show(case, "-f", package) + " | head -12",
        )
    ]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="package-missing",
        owner=("you",),
        title="Not installed for {python}: {packages}",
        why="The model cannot be loaded without: {why}.",
        recognise=_all("package-missing", "missing"),
        remedies=_missing_remedies,
        lab="package-missing",
    ),
    Cause(
        id="torch-too-old-for-pickle",
        owner=("you",),
        title="torch {version} is too old for this model's pickled weights: transformers asks for {minimum}",
        why="There are no safetensors weights, only a pickled checkpoint. {why} ({source}).",
        recognise=_all("torch-too-old-for-pickle", "too-old-for-pickle"),
        remedies=_pickle_remedies,
        lab="torch-too-old-for-pickle",
    ),
    Cause(
        id="package-too-old",
        owner=("you",),
        title="{package} {version} is too old: {minimum} or newer is needed",
        why="{why} ({source}).",
        recognise=_each("package-too-old", "too-old"),
        remedies=_too_old_remedies,
        lab="package-too-old",
    ),
    Cause(
        id="package-too-new",
        owner=("you",),
        title="{package} {version} is too new: something relied on was removed in {below}",
        why="{why} ({source}).",
        recognise=_each("package-too-new", "too-new"),
        remedies=_too_new_remedies,
        lab="package-too-new",
    ),
    Cause(
        id="package-conflict",
        owner=("you",),
        title="{package} requires {requires}, and {installed} is installed",
        why="The two cannot be used together as they are; the import ends with an error, or something fails later.",
        recognise=_each("package-conflict", "conflict"),
        remedies=_conflict_remedies,
        lab="package-conflict",
    ),
    Cause(
        id="environment-mixed",
        owner=("you",),
        severity="warning",
        title="{package} is installed more than once: {installed}",
        why="Which of them is imported depends on the order of the path; files of one version may meet those of the other.",
        recognise=_each("environment-mixed", "doubled"),
        remedies=_mixed_remedies,
        lab="environment-mixed",
    ),
)
