"""Versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Packages, Requirement, Severity, Subject
from diagnostics.checks.wording import fact
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect


def test_needed_packages_are_installed(packages: Packages, expect: Expect) -> None:
    """Is every package installed that this model needs?"""
    if _is_judged(packages, expect):
        for item in packages.requirements:
            subject = _subject(item.package)
            there = isinstance(item.installed, str)
            expect.that(there, "missing", subject, fact(subject, f"in {packages.python}", "not installed", item.why), severity=_severity(item), step="packages")
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
            if conflict.installed:
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
