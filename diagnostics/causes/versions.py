"""Versions: packages that this load needs, in the interpreter that will load. Here: there, new enough, in agreement; the rest of the section is in ``versions_*``."""

from __future__ import annotations

import re
import shlex

from diagnostics.case import Case, Cause, Fault, Finding, Remedy, Severity
from diagnostics.causes import versions_imports, versions_model, versions_torch
from diagnostics.causes.claims import again
from diagnostics.causes.files_pickles import WEIGHTS_ONLY
from diagnostics.causes.files_words import found, named, of_step, seen, shell_path
from diagnostics.causes.versions_common import facts_of, failed_imports, import_text, install, one_each, python_of, show
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical


def _missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """What is not installed, and the imports that ended for want of it or of another package."""
    own = of_step(faults, "packages", "missing")
    modules = {versions.module_of(_name(fault)) or _name(fault).replace("-", "_") for fault in own}
    ended = failed_imports(faults, r"^ModuleNotFoundError")
    in_pieces = {_missing_module(fault) for fault in ended if not _is_another(fault)}  # its metadata is there, and it is not: broken
    wanted = [fault for fault in ended if _is_another(fault) and _missing_module(fault) not in in_pieces]
    same = [fault for fault in wanted if _missing_module(fault) in modules]
    others = [fault for fault in wanted if _missing_module(fault) not in modules]
    findings = found("package-missing", [*own, *same], facts_of(case, own)) if own else []
    for module in dict.fromkeys(_missing_module(fault) for fault in others):
        members = [fault for fault in others if _missing_module(fault) == module]
        package = canonical(versions.distribution_of(module))
        callers = named(fault.subject for fault in members)
        facts = facts_of(case, members) | {"packages": package, "why": f"the import of {callers} ends without it"}
        findings += found("package-missing", members, facts)
    return findings


def _missing_module(fault: Fault) -> str:
    return seen(fault, "missing module").seen.split(".")[0]


def _is_another(fault: Fault) -> bool:
    """Whether the module that was not found is another package's: one of its own that is gone means that it is broken."""
    package, missing = canonical(fault.subject.name), seen(fault, "missing module").seen
    own = {versions.module_of(package).split(".")[0], package.replace("-", "_")}
    part_of_another = "." in missing and versions.distribution_of(missing) == missing  # numpy._core: numpy is there, a part of it is not
    return bool(missing) and _missing_module(fault) not in own and not part_of_another


def _name(fault: Fault) -> str:
    return canonical(re.split(r"[<>=!~ \[;]", fault.subject.name)[0])


def _installed_elsewhere(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """What is missing here is installed for another Python, the one that ``pip`` or ``python`` means in this shell; or the path holds another Python's packages."""
    own = [fault for fault in of_step(faults, "packages", "missing") if seen(fault, "installed elsewhere").seen]
    foreign = of_step(faults, "packages", "foreign")
    findings = []
    if own:
        facts = facts_of(case, own) | {"kind": "elsewhere", "what": f"{named(fault.subject for fault in own)} is installed for another Python"}
        severity: Severity = "error" if any(fault.severity == "error" for fault in own) else "warning"
        findings += found("environment-mixed", own, facts | {"where": f"in {facts['elsewhere']}, and not for {facts['python']}"}, severity=severity)
    if foreign:
        held = seen(foreign[0], "holds")
        facts = facts_of(case, foreign) | {"kind": "foreign", "what": "PYTHONPATH holds the packages of another Python", "where": held.seen}
        findings += found("environment-mixed", [*foreign, *failed_imports(faults)], facts, severity="error")
    return findings


def _doubled(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    findings = []
    for fault in of_step(faults, "packages", "doubled"):
        facts = facts_of(case, [fault])
        more = {"kind": "doubled", "what": f"{facts['package']} is installed more than once", "where": facts["installed"]}
        findings += found("environment-mixed", [fault], facts | more)
    return findings


def _superseded(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Installed after this process began."""
    own = of_step(faults, "packages", "superseded")
    if not own:
        return []
    what = f"{named(fault.subject for fault in own)} was installed anew while this process runs"
    return found("environment-mixed", own, facts_of(case, own) | {"kind": "superseded", "what": what, "where": seen(own[0], "in this process").seen})


def _mixed(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return [*_installed_elsewhere(case, faults), *_doubled(case, faults), *_superseded(case, faults)]


def _conflict(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Contradictions, and the import of the package that says so itself (transformers ``require_version``)."""
    findings = []
    for fault in of_step(faults, "packages", "conflict"):
        facts = facts_of(case, [fault])
        name = canonical(re.split(r"[<>=!~ \[;]", facts["requires"])[0])
        ended = [item for item in failed_imports(faults, r"is required for a normal functioning|requires? ") if name in canonical(import_text(item))]
        findings += found("package-conflict", [fault, *ended], facts)
    return findings


# --- remedies -----------------------------------------------------------------------------------------------------------------


def _missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    wanted = [name.strip() for name in finding.facts["packages"].split(", ")] if finding.subjects[0].name not in finding.facts["packages"] else []
    wanted = wanted or [
        subject.name for subject in finding.subjects if not any(subject == claim.subject and claim.code == "import" for claim in finding.claims)
    ]
    elsewhere = Remedy(
        do="Or, if the model will load in another environment, name its interpreter.", run=f"{again(case)} --diagnose-python /path/to/python", check=again(case)
    )
    return [
        Remedy(
            do=f"Install {finding.facts['packages']} into the interpreter that will load the model.",
            run=install(case, *wanted),
            check=show(case, *[re.split(r"[<>=!~ ]", name)[0] for name in wanted]),
        ),
        elsewhere,
    ]


def _too_old_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, minimum = finding.facts["package"], finding.facts["minimum"]
    return [Remedy(do=f"Upgrade {package} to {minimum} or newer.", run=install(case, "--upgrade", f"{package}>={minimum}"), check=show(case, package))]


def _pickle_remedies(finding: Finding, case: Case) -> list[Remedy]:
    take = Remedy(
        do="Or take the model in safetensors form: another revision (many repositories have a pull request refs/pr/… that adds it), or convert it on a machine with a newer torch.",
        check=again(case),
    )
    return [*_too_old_remedies(finding, case), take]


def _too_new_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, below = finding.facts["package"], finding.facts["below"]
    pin = Remedy(do=f"Or keep {package} below {below}.", run=install(case, f"{package}<{below}"), check=show(case, package))
    caller = re.match(r"[^;]*?(\S+) before ([\d.]+)", finding.facts["why"].rpartition("; ")[2])
    if not caller:
        return [pin]
    return [
        Remedy(
            do=f"Upgrade {caller[1]}, which relies on what is gone.",
            run=install(case, "--upgrade", f"{caller[1]}>={caller[2]}"),
            check=show(case, caller[1], package),
        ),
        pin,
    ]


def _conflict_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, requires = finding.facts["package"].split(" ")[0], finding.facts["requires"]
    fit = Remedy(do=f"Install a version that satisfies both: {requires}.", run=install(case, requires), check=f"{python_of(case)} -m pip check")
    newer = Remedy(
        do=f"Or bring {package} up to what is installed beside it.", run=install(case, "--upgrade", package), check=f"{python_of(case)} -m pip check"
    )
    return [fit, newer]


def _mixed_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package, kind = finding.facts["package"], finding.facts["kind"]
    if kind == "foreign":
        return [Remedy(do="Take PYTHONPATH away, or those folders out of it.", run="unset PYTHONPATH", check=again(case))]
    if kind == "superseded":
        return [Remedy(do="Restart this process (in a notebook: the kernel), so that it loads what is installed now.", check=show(case, package))]
    if kind == "elsewhere":
        wanted = [subject.name for subject in finding.subjects]
        here = Remedy(do="Install with the pip of the interpreter that will load the model.", run=install(case, *wanted), check=show(case, *wanted))
        there = Remedy(do="Or load with the Python that has it.", run=f"{again(case)} --diagnose-python /path/to/python", check=again(case))
        return [here, there]
    return [
        Remedy(
            do=f"Remove {package} until pip finds no more of it, then install it once, with this interpreter's own pip.",
            run=f"{python_of(case)} -m pip uninstall -y {shlex.quote(canonical(package))}; {install(case, '--force-reinstall', package)}",
            check=show(case, "-f", package) + " | head -12",
        )
    ]


def _shadow(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    findings = []
    for fault in of_step(faults, "packages", "shadow"):
        facts = facts_of(case, [fault]) | {"path": fault.subject.name, "hides": seen(fault, "hides").seen, "where": seen(fault, "found in").seen}
        findings += found("package-shadowed", [fault], facts)
    return findings


def _shadow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    stem, dot, suffix = path.rpartition(".") if path.endswith(".py") else (path, "", "")
    rename = Remedy(
        do="Rename it (and remove its compiled copies, __pycache__), or run from another folder.",
        run=f"mv {shell_path(path)} {shell_path(f'{stem}_own{dot}{suffix}')}",
        check=again(case),
    )
    return [rename]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="package-shadowed",
        owner=("you",),
        title="{path} hides {hides}",
        why="{where} comes before what is installed on Python's path, so an import finds this in its place: “partially initialized module”, or “has no attribute”.",
        recognise=_shadow,
        remedies=_shadow_remedies,
        lab="package-shadowed",
    ),
    Cause(
        id="environment-mixed",
        owner=("you",),
        severity="warning",
        title="{what}: {where}",
        why="pip and python, or two places on Python's path, are not of one environment: what one installs the other does not import, or files of one version meet those of another.",
        recognise=_mixed,
        remedies=_mixed_remedies,
        lab="environment-mixed",
    ),
    Cause(
        id="package-missing",
        owner=("you",),
        title="Not installed for {python}: {packages}",
        why="The model cannot be loaded without: {why}.",
        recognise=_missing,
        remedies=_missing_remedies,
        lab="package-missing",
    ),
    *versions_imports.FIRST,
    Cause(
        id="torch-too-old-for-pickle",
        owner=("you",),
        title="torch {version} is too old for this model's pickled weights: transformers asks for {minimum}",
        why="There are no safetensors weights, only a pickled checkpoint. {why} ({source}).",
        recognise=one_each("torch-too-old-for-pickle", "too-old-for-pickle"),
        remedies=_pickle_remedies,
        lab="torch-too-old-for-pickle",
    ),
    Cause(
        id="package-too-old",
        owner=("you",),
        title="{package} {version} is too old: {minimum} or newer is needed",
        why="{why} ({source}).",
        recognise=one_each("package-too-old", "too-old"),
        remedies=_too_old_remedies,
        lab="package-too-old",
    ),
    Cause(
        id="package-too-new",
        owner=("you",),
        title="{package} {version} is too new: something relied on was removed in {below}",
        why="{why} ({source}).",
        recognise=one_each("package-too-new", "too-new"),
        remedies=_too_new_remedies,
        lab="package-too-new",
    ),
    WEIGHTS_ONLY,
    Cause(
        id="package-conflict",
        owner=("you",),
        title="{package} requires {requires}, and {installed} is installed",
        why="The two cannot be used together as they are; the import ends with an error, or something fails later.",
        recognise=_conflict,
        remedies=_conflict_remedies,
        lab="package-conflict",
    ),
    *versions_imports.CAUSES,
    *versions_model.CAUSES,
    *versions_torch.CAUSES,
)
