"""Versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import (
    ABSENT,
    Accelerator,
    Accelerators,
    Architecture,
    Conflict,
    Environment,
    Evidence,
    ImportTrial,
    Interpreter,
    Packages,
    Quantization,
    Requirement,
    Severity,
    Subject,
    TorchBuild,
    Unseen,
)
from diagnostics.checks.wording import fact
from diagnostics.facts import versions
from diagnostics.facts.accelerators import fits
from diagnostics.facts.clients import canonical

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_needed_packages_are_installed(packages: Packages, expect: Expect) -> None:
    """Is every package installed that this model needs?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            subject = _subject(item.package)
            there = isinstance(item.installed, str)
            seen = [fact(subject, f"in {packages.python}", "not installed", item.why)]
            seen += [fact(subject, "installed elsewhere", item.elsewhere)] if item.elsewhere else []
            expect.that(there, "missing", subject, *seen, severity=_severity(item), step="packages")
        for conflict in packages.conflicts:
            if not conflict.installed:
                subject = _subject(conflict.requires)
                expect.that(
                    False,
                    "missing",
                    subject,
                    fact(subject, f"in {packages.python}", "not installed", f"{conflict.package} {conflict.version} requires it"),
                    step="packages",
                )


def test_packages_are_new_enough(packages: Packages, expect: Expect) -> None:
    """Is every one of them new enough for the model and for each other?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            if isinstance(item.installed, str) and item.minimum and versions.is_version(item.installed):
                subject, code = _subject(item.package), "too-old-for-pickle" if item.message == "torch" else "too-old"
                expect.that(
                    versions.satisfies(item.installed, f">={item.minimum}"),
                    code,
                    subject,
                    *_version(subject, item, f"{item.minimum} or newer"),
                    severity=_severity(item),
                    step="packages",
                )
        if not expect.examined:
            expect.skip("no lowest version is known for these packages")


def test_packages_still_have_what_is_relied_on(packages: Packages, expect: Expect) -> None:
    """Is none of them so new that something relied on is gone?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            if isinstance(item.installed, str) and item.below and versions.is_version(item.installed):
                subject = _subject(item.package)
                expect.that(
                    versions.satisfies(item.installed, f"<{item.below}"),
                    "too-new",
                    subject,
                    *_version(subject, item, f"older than {item.below}"),
                    step="packages",
                )
        if not expect.examined:
            expect.skip("no removal is known that concerns these packages")


def test_packages_agree(packages: Packages, expect: Expect) -> None:
    """Do the packages agree with what they require of each other?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            expect.that(True, "conflict", _subject(item.package), step="packages")
        for conflict in packages.conflicts:
            if conflict.installed and not _is_about_python(conflict):
                subject = _subject(f"{conflict.package} {conflict.version}")
                name = canonical(conflict.requires.split("<")[0].split(">")[0].split("=")[0].split("!")[0].split("~")[0])
                severity: Severity = "error" if canonical(conflict.package) == "transformers" and name in versions.checked_at_import() else "warning"
                expect.that(
                    False,
                    "conflict",
                    subject,
                    fact(subject, "requires", conflict.requires),
                    fact(_subject(name), "installed", conflict.installed, conflict.requires),
                    severity=severity,
                    step="packages",
                )


def test_packages_are_installed_once(packages: Packages, expect: Expect) -> None:
    """Is each of them installed only once?"""
    if _is_judged(packages, expect):
        doubled = {text.partition(":")[0]: text.partition(": ")[2] for text in packages.duplicates}
        for item in packages.requirements:
            subject = _subject(item.package)
            expect.that(
                item.package not in doubled,
                "doubled",
                subject,
                fact(subject, "installed", doubled.get(item.package, "once"), "once"),
                severity="warning",
                step="packages",
            )


def test_what_is_loaded_is_what_is_installed(packages: Packages, expect: Expect) -> None:
    """Has this process loaded the versions that are installed now?"""
    if _is_judged(packages, expect):
        changed = {text.partition(":")[0]: text.partition(": ")[2] for text in packages.superseded}
        for item in packages.requirements:
            subject = _subject(item.package)
            seen = fact(subject, "in this process", changed.get(item.package, "as installed"), "one version")
            expect.that(item.package not in changed, "superseded", subject, seen, severity="warning", step="packages")


def test_packages_are_made_for_this_python(packages: Packages, environment: Environment, expect: Expect) -> None:
    """Are they made for this Python and this machine?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            expect.that(True, "python", _subject(item.package), step="packages")
        works = {trial.package for trial in packages.imports if trial.outcome == "imported"}  # whatever its metadata say
        for conflict in (item for item in packages.conflicts if _is_about_python(item) and item.package not in works):
            subject = _subject(f"{conflict.package} {conflict.version}")
            expect.that(False, "python", subject, fact(subject, "asks for", conflict.requires), fact(subject, "here", conflict.installed), step="packages")
        interpreter = environment.interpreter
        if isinstance(interpreter, Interpreter) and interpreter.bits < 64 and any(not isinstance(item.installed, str) for item in packages.requirements):
            subject = Subject(kind="machine", name=packages.python)
            expect.that(
                False, "python", subject, fact(subject, "asks for", "a Python of 64 bits"), fact(subject, "here", f"{interpreter.bits} bits"), step="packages"
            )


def test_packages_can_be_imported(packages: Packages, expect: Expect) -> None:
    """Can each of them be imported, in a process of its own?"""
    if _is_judged(packages, expect):
        for trial in packages.imports:
            if trial.outcome != "unfinished":
                expect.that(trial.outcome == "imported", "import", _subject(trial.package), *_import(trial), step="packages")
                _mixed_with_numpy(trial, expect)
        if not expect.examined:
            expect.skip("none of them ended its import in the time given")


def _mixed_with_numpy(trial: ImportTrial, expect: Expect) -> None:
    """Imported, but numpy says that the two do not fit; what uses both fails later."""
    if trial.outcome == "imported" and trial.message:
        subject = _subject(trial.package)
        expect.that(False, "import", subject, *_import(trial), step="packages")


def test_no_file_hides_a_package(packages: Packages, expect: Expect) -> None:
    """Does no file or folder of your own have the name of a package that is needed?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            expect.that(True, "shadow", _subject(item.package), step="packages")
        for shadow in packages.shadows:
            subject = Subject(kind="file", name=shadow.path)
            seen = [fact(subject, "hides", shadow.package or f"Python's own {shadow.module}", "a name of its own"), fact(subject, "found in", shadow.where)]
            # A script elsewhere does not have the working folder on its path; one of the package's name is hardly there for anything else.
            expect.that(False, "shadow", subject, *seen, severity="error" if shadow.package else "warning", step="packages")


def test_the_path_is_of_one_environment(packages: Packages, expect: Expect) -> None:
    """Are all packages of one Python?"""
    if _is_judged(packages, expect):
        for path in packages.foreign_paths:
            subject = Subject(kind="variable", name="PYTHONPATH")
            expect.that(False, "foreign", subject, fact(subject, "holds", path, f"packages of {packages.python}"), step="packages")
        if not packages.foreign_paths:
            expect.that(True, "foreign", Subject(kind="variable", name="PYTHONPATH"), step="packages")


def test_the_architecture_is_known(packages: Packages, expect: Expect) -> None:
    """Does the installed transformers know the model's architecture?"""
    model = packages.architecture
    if not isinstance(model, Architecture) or not isinstance(model.known, bool):
        expect.skip(model.detail if isinstance(model, Unseen) and model.detail else "the registry of architectures cannot be read")
        return
    subject = Subject(kind="model", name=model.model_type)
    seen = [fact(subject, f"in {model.library} {model.version}", "not known", "a model type of its registry")]
    seen += [fact(subject, "nearest", model.nearest)] if model.nearest else []
    seen += [fact(subject, "written by", f"transformers {model.since}")] if model.since else []
    seen += [fact(subject, "its own code", ", ".join(model.remote_code))] if model.remote_code else []
    expect.that(model.known, "remote-code" if model.remote_only else "architecture", subject, *seen, step="packages")


def test_quantised_weights_can_be_used(packages: Packages, accelerators: Accelerators | Unseen, expect: Expect) -> None:
    """Is there what the model's quantisation asks for?"""
    asked = packages.quantization
    if not isinstance(asked, Quantization):
        expect.skip("not quantised, as far as its config.json is here")
        return
    subject = Subject(kind="model", name=asked.method)
    devices = [device for device in accelerators.devices if device.visible] if isinstance(accelerators, Accelerators) else []
    if asked.accelerator and isinstance(accelerators, Accelerators):
        expect.that(bool(devices), "no-accelerator", subject, fact(subject, "accelerators", "none that may be used", "one"), step="packages")
    weak = [device for device in devices if asked.capability and device.capability and _number(device.capability) < _number(asked.capability)]
    if devices and asked.capability:
        seen = [fact(subject, device.name, f"compute capability {device.capability}", f"{asked.capability} or higher") for device in weak[:4]]
        expect.that(len(weak) < len(devices), "capability", subject, *seen, step="packages")
    if not expect.examined:
        expect.skip("it runs on any device")


def test_torch_fits_the_accelerator(packages: Packages, accelerators: Accelerators, expect: Expect) -> None:
    """Is the installed torch built for the accelerators that are here?"""
    build, nvidia = packages.torch, [device for device in accelerators.devices if device.kind == "nvidia" and device.visible]
    if not isinstance(build, TorchBuild) or not nvidia:
        expect.skip("there is no torch, or no NVIDIA accelerator that may be used")
        return
    subject = Subject(kind="package", name="torch")
    seen = [fact(subject, "version", build.version), fact(subject, "accelerators", ", ".join(device.name for device in nvidia) or "none")]
    if not build.cuda and not build.hip:
        severity: Severity = "error" if accelerators.wanted else "warning"
        expect.that(False, "cpu-build", subject, *seen, fact(subject, "built for CUDA", "no", accelerators.cuda or "yes"), severity=severity, step="packages")
    elif build.cuda and accelerators.cuda:
        # Within one major version any driver of that major runs any build (CUDA compatibility guide, minor version compatibility, from 11 on).
        fine = _number(build.cuda)[:1] <= _number(accelerators.cuda)[:1]
        driver = fact(subject, "driver", f"{accelerators.driver}, CUDA {accelerators.cuda}", f"CUDA {build.cuda}")
        expect.that(fine, "driver", subject, *seen, driver, step="packages")
    _judge_kernels(build, nvidia, expect)


def _judge_kernels(build: TorchBuild, nvidia: list[Accelerator], expect: Expect) -> None:
    for device in nvidia if build.architectures else []:
        subject = Subject(kind="machine", name=f"GPU {device.index} {device.name}")
        kernels = ", ".join(build.architectures)
        seen = [fact(subject, "compute capability", device.capability or "unknown", kernels), fact(subject, "torch", f"{build.version}, CUDA {build.cuda}")]
        expect.that(fits(device.capability, build.architectures, build.ptx), "kernels", subject, *seen, step="packages")


def test_accelerators_can_be_used(accelerators: Accelerators, packages: Packages | Unseen, expect: Expect) -> None:
    """May this process use the accelerators that are here?"""
    build = packages.torch if isinstance(packages, Packages) else ABSENT
    meant = bool(accelerators.wanted) or (isinstance(build, TorchBuild) and bool(build.cuda))
    severity: Severity = "error" if accelerators.wanted else "warning"
    machine = Subject(kind="machine", name="accelerators")
    if accelerators.devices and not any(device.visible for device in accelerators.devices):
        names = ", ".join(device.name for device in accelerators.devices)
        seen = [fact(machine, "hidden by", accelerators.hidden_by), fact(machine, "here", names)]
        expect.that(not meant, "hidden", machine, *seen, severity=severity, step="packages")
    elif accelerators.unreadable and meant:
        seen = [fact(machine, "no permission", ", ".join(accelerators.unreadable[:4]), "reading and writing")]
        expect.that(False, "hidden", machine, *seen, severity=severity, step="packages")
    elif not accelerators.devices and accelerators.message and meant:
        expect.that(False, "hidden", machine, fact(machine, "the driver says", accelerators.message, "an accelerator"), severity=severity, step="packages")
    elif accelerators.devices:
        expect.that(True, "hidden", machine, step="packages")
    else:
        expect.skip("there is none, and nothing here asks for one")


def _import(trial: ImportTrial) -> list[Evidence]:
    subject = _subject(trial.package)
    seen = [fact(subject, "import", f"{trial.error}: {trial.message}" if trial.error else trial.message, "imported")]
    seen += [fact(subject, "missing module", trial.missing)] if trial.missing else []
    seen += [fact(subject, "signal", trial.signal)] if trial.signal else []
    return seen + ([fact(subject, "metadata", trial.doubt)] if trial.doubt else [])


def _is_about_python(conflict: Conflict) -> bool:
    return conflict.requires.startswith(("Python ", "a wheel "))


def _number(text: str) -> tuple[int, ...]:
    """ "12.4" → (12, 4); () for what is no number."""
    parts = text.split(".")
    return tuple(int(part) for part in parts) if text and all(part.isdigit() for part in parts) else ()


def _is_judged(packages: Packages, expect: Expect) -> bool:
    if not packages.judged or not packages.requirements:
        expect.skip(packages.message or "no package is known to be needed for this target")
        return False
    return True


def _subject(package: str) -> Subject:
    return Subject(kind="package", name=package)


def _severity(item: Requirement) -> Severity:
    return "error" if item.required else "warning"


def _version(subject: Subject, item: Requirement, expected: str) -> list[Evidence]:
    return [fact(subject, "version", str(item.installed), expected), fact(subject, "needed because", item.why), fact(subject, "source", item.source)]
