"""Packages that are installed and cannot be imported: the loader's own message says why (glibc dlerror(3) in English, CPython, numpy)."""

from __future__ import annotations

import re

from diagnostics.case import Case, Cause, Fault, Finding, Memory, Platform, Remedy, Unseen
from diagnostics.causes.claims import again
from diagnostics.causes.files_words import found, named, of_step, seen
from diagnostics.causes.versions_common import NO_MEMORY, NO_THREAD, Recognise, facts_of, failed_imports, import_text, install, python_of, show
from diagnostics.facts.clients import canonical

NUMPY = r"compiled using NumPy 1\.x|numpy\.dtype size changed|_ARRAY_API not found|numpy\.core\.multiarray failed to import|module compiled against (?:API|ABI) version"
MISSING_LIBRARY = r"([\w.+-]+\.so[\w.]*|[\w.+-]+\.dll): cannot open shared object file: No such file"
OLD_LIBRARY = r"version [`'‘](?P<version>(?:GLIBC|GLIBCXX|CXXABI|GCC|OPENSSL|GOMP)_?[\w.]*)['’] not found|DLL load failed"
# libraries that a package brings itself: absent, the package is broken, not the system
OWN_LIBRARIES = r"lib(torch|c10|shm|caffe2|tensorflow|tokenizers|numpy|openblas|scipy)\w*"
OTHER_MACHINE = r"wrong ELF class|incompatible architecture|cannot execute binary|is not a valid Win32"
NEEDS_NEWER = r"^SyntaxError: (?!.*null bytes)"
DRIVER_LIBRARIES = r"libcuda\.so|libnvidia-ml"


def _culprit_first(faults: list[Fault]) -> list[Fault]:
    """Of imports that ended by the same error: the package that it is about, then those that fail with it."""
    text = import_text(faults[0])
    doubted = [fault for fault in faults if seen(fault, "metadata").seen]
    own = [fault for fault in faults if canonical(fault.subject.name).replace("-", "_") in text]
    first = ([fault for fault in own if fault in doubted] or own or doubted or faults)[0]
    return [first, *(fault for fault in faults if fault is not first)]


def _about(case: Case, faults: list[Fault]) -> dict[str, str]:
    first, text = faults[0], import_text(faults[0])
    return facts_of(case, [first]) | {"error": text, "metadata": seen(first, "metadata").seen, "others": named(fault.subject for fault in faults)}


def _by_error(cause: str, pattern: str, unless: str = "") -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = [fault for fault in failed_imports(faults, pattern) if not unless or not re.search(unless, import_text(fault))]
        groups = {text: [fault for fault in own if import_text(fault) == text] for text in dict.fromkeys(import_text(fault) for fault in own)}
        return [finding for members in map(_culprit_first, groups.values()) for finding in found(cause, members, _about(case, members))]

    return recognise


def _python(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Not made for this Python or machine, with the imports that show it."""
    own = of_step(faults, "packages", "python")
    findings = []
    for fault in own:
        name = canonical(fault.subject.name.split(" ")[0])
        failed = [item for item in failed_imports(faults) if canonical(item.subject.name) == name]
        facts = facts_of(case, [fault]) | {"asks": seen(fault, "asks for").seen, "here": seen(fault, "here").seen, "error": ""}
        findings += found("python-unsupported", [fault, *failed], facts)
    machine = _by_error("python-unsupported", f"{OTHER_MACHINE}|{NEEDS_NEWER}")(case, faults)
    told = [_with(finding, asks="another Python or machine", here=finding.facts["error"]) for finding in machine]
    return [*findings, *told]


def _with(finding: Finding, **facts: str) -> Finding:
    return found(finding.cause, finding.claims, finding.facts | facts)[0]


def _library(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """A library of the system's that is absent or too old; one of the package's own is the package's matter."""
    findings = []
    for finding in _by_error("system-library-missing", f"{MISSING_LIBRARY}|{OLD_LIBRARY}", unless=rf"{OWN_LIBRARIES}\.so[\w.]*: cannot open")(case, faults):
        text = finding.facts["error"]
        absent, old = re.search(MISSING_LIBRARY, text), re.search(OLD_LIBRARY, text)
        what = (
            f"{absent[1]} is not on this system"
            if absent
            else f"the system's library has no {old['version']}"
            if old and old["version"]
            else "a DLL is missing"
        )
        findings.append(_with(finding, what=what, library=absent[1] if absent else "", wanted=(old["version"] or "") if old and not absent else ""))
    return findings


def _instruction(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    own = [fault for fault in failed_imports(faults) if seen(fault, "signal").seen == "4"]
    return found("cpu-instruction-missing", own, _about(case, own)) if own else []


def _broken(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Whatever nothing above explains; where a limit on memory is set, an import that found none says nothing of the package."""
    limited = isinstance(case.memory, Memory) and any(limit.kind == "rlimit" for limit in case.memory.limits)
    return _by_error("package-broken", "", unless=f"{NO_MEMORY}|{NO_THREAD}" if limited else NO_THREAD)(case, faults)


# --- remedies -----------------------------------------------------------------------------------------------------------------


def _numpy_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package = finding.facts["package"]
    newer = [package] if canonical(package) != "numpy" else []
    upgrade = Remedy(
        do=f"Or take a version of {package} that was built for numpy 2.", run=install(case, "--upgrade", *newer), check=show(case, "numpy", *newer)
    )
    return [Remedy(do="Keep numpy below 2 for this version.", run=install(case, "numpy<2"), check=show(case, "numpy")), *([upgrade] if newer else [])]


def _library_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    package, library, wanted = facts["package"], facts["library"], facts["wanted"]
    if re.match(r"libcu|libnv|libnccl", library):
        text = f"Install {package} again with the CUDA libraries that its wheels bring along."
        return [Remedy(do=text, run=install(case, "--force-reinstall", package), check=_try(case, package))]
    if wanted.startswith("GLIBC_"):
        text = f"This system's glibc is older than the build needs ({wanted}): use a newer system or container image, or an older version of {package} built for an older glibc."
        return [Remedy(do=text, run="ldd --version | head -1", check=_try(case, package))]
    if wanted:
        text = f"The libstdc++ that is found first is too old (it lacks {wanted}): update it; in a conda environment install libstdcxx-ng, and look at LD_LIBRARY_PATH."
        return [Remedy(do=text, run="sudo apt-get install --only-upgrade libstdc++6", check=_try(case, package))]
    packages = {
        "libGL.so.1": "libgl1",
        "libgomp.so.1": "libgomp1",
        "libstdc++.so.6": "libstdc++6",
        "libglib-2.0.so.0": "libglib2.0-0",
        "libsndfile.so.1": "libsndfile1",
    }
    name = packages.get(library, "")
    run = f"sudo apt-get install {name}" if name else f"apt-file search {library}" if re.fullmatch(r"[\w.+-]+", library) else ""
    return [Remedy(do="Install the system package that brings it (in a container: add it to the image).", run=run, check=_try(case, package))]


def _try(case: Case, package: str) -> str:
    module = canonical(package).replace("-", "_")
    return f"{python_of(case)} -c 'import {module}'" if module.isidentifier() else again(case)


def _instruction_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package = finding.facts["package"]
    return [
        Remedy(
            do=f"Take a build of {package} for this processor (conda-forge has builds for older ones), or a machine with a newer one; in a virtual machine pass the host's processor through.",
            run="grep -m1 flags /proc/cpuinfo",
            check=_try(case, package),
        )
    ]


def _broken_remedies(finding: Finding, case: Case) -> list[Remedy]:
    package = finding.facts["package"]
    exact = f"{package}=={finding.facts['version']}" if finding.facts["version"] else package
    return [
        Remedy(
            do=f"Install {package} anew, every file of it.",
            run=install(case, "--force-reinstall", "--no-cache-dir", "--no-deps", exact),
            check=_try(case, package),
        ),
        Remedy(
            do="If that is not it, make a fresh environment: files of several versions may lie over each other.",
            run="python -m venv ~/fresh",
            check=again(case),
        ),
    ]


def _python_remedies(finding: Finding, case: Case) -> list[Remedy]:
    platform = case.environment.platform
    machine = platform.machine if isinstance(platform, Platform) else "this machine"
    return [
        Remedy(
            do=f"Make an environment with a Python that it is made for (64 bits, for {machine}), and install there.",
            run="uv venv --python 3.12 ~/venv && ~/venv/bin/python -m pip install transformers torch",
            check=again(case),
        ),
        Remedy(
            do="Or take versions that are made for this one.",
            run=install(case, "--upgrade", "--force-reinstall", finding.facts["package"].split(" ")[0]),
            check=again(case),
        ),
    ]


FIRST: tuple[Cause, ...] = (
    Cause(
        id="python-unsupported",
        owner=("you",),
        title="{package} is not made for this Python: {asks}; here: {here}",
        why="What it has compiled cannot be loaded by {python}, or its code is written for another version.",
        recognise=_python,
        remedies=_python_remedies,
        lab="python-unsupported",
    ),
    Cause(
        id="numpy-abi-mismatch",
        owner=("you",),
        title="{package} was built for another numpy than the one installed",
        why="Compiled parts fit one major version of numpy only: {error}.",
        recognise=_by_error("numpy-abi-mismatch", NUMPY),
        remedies=_numpy_remedies,
        lab="numpy-abi-mismatch",
    ),
)
CAUSES: tuple[Cause, ...] = (
    Cause(
        id="system-library-missing",
        owner=("machine",),
        title="{package} cannot be loaded: {what}",
        why="The dynamic loader says: {error}.",
        recognise=_library,
        remedies=_library_remedies,
        lab="system-library-missing",
    ),
    Cause(
        id="cpu-instruction-missing",
        owner=("machine",),
        title="{package} uses instructions that this processor does not have",
        why="Its import ends with “Illegal instruction” (SIGILL).",
        recognise=_instruction,
        remedies=_instruction_remedies,
        lab=Unseen("unsupported", "a processor without them; a test raises the same signal from a made package, and a hand-made Case stands in"),
    ),
    Cause(
        id="package-broken",
        owner=("you",),
        title="{package} is installed and cannot be imported",
        why="{error} {metadata}",
        recognise=_broken,
        remedies=_broken_remedies,
        lab="package-broken",
    ),
)
