"""Installed distributions as their metadata says: what they require, whether their files are all there, what they were built for. Nothing is imported.

Sources: core metadata 2.4 (Requires-Dist, Requires-Python), the wheel's WHEEL and RECORD files (packaging.python.org, binary distribution format; recording installed
projects), PEP 600 (manylinux tags name the glibc).
"""

from __future__ import annotations

import csv
import io
import os
import re
from email.parser import HeaderParser

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from diagnostics.case import Distribution, Interpreter, Platform, Unseen
from diagnostics.facts import versions
from diagnostics.facts.clients import canonical
from diagnostics.probes.cache import read_small, real
from diagnostics.redact import plain

MOST_METADATA = 1 << 20
MOST_RECORD = 8 << 20
MOST_FILES = 30_000
LARGE_FILES = 1500  # a package of more files takes long to import


def requires(item: Distribution, markers: dict[str, str]) -> list[Requirement]:
    """The requirements that hold here without extras."""
    found = []
    for line in metadata(item).get_all("Requires-Dist", []):
        try:
            required = Requirement(line)
            if required.marker is None or required.marker.evaluate({**markers, "extra": ""}):
                found.append(required)
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName):
            continue  # an old package's own dialect
    return found


def markers(interpreter: Interpreter | Unseen) -> dict[str, str]:
    """What another Python makes of environment markers; platform and implementation are this one's."""
    if not isinstance(interpreter, Interpreter) or not (match := re.match(r"(\d+)\.(\d+)", interpreter.version)):
        return {}
    return {"python_version": f"{match[1]}.{match[2]}", "python_full_version": interpreter.version}


def metadata(item: Distribution):  # type: ignore[no-untyped-def]  # email.message.Message, whose type parameters differ between Python releases
    return HeaderParser().parsestr(_text(item, "METADATA", MOST_METADATA))


def requires_python(item: Distribution) -> str:
    return plain(str(metadata(item).get("Requires-Python") or ""), 60)


def info_folder(item: Distribution) -> str:
    """The distribution's .dist-info folder, "" where there is none."""
    folder = real(item.location)
    try:
        entries = [entry for entry in os.listdir(folder) if entry.endswith(".dist-info") and canonical(entry.split("-")[0]) == canonical(item.name)]
    except OSError:
        entries = []
    fitting = [entry for entry in entries if entry == f"{entry.split('-')[0]}-{item.version}.dist-info"] or entries
    return os.path.join(folder, fitting[0]) if fitting else ""


def _text(item: Distribution, name: str, most: int) -> str:
    folder = info_folder(item)
    return read_small(os.path.join(folder, name), most).decode("utf-8", "replace") if folder else ""


# --- its files ----------------------------------------------------------------------------------------------------------------


def files_of(item: Distribution) -> list[tuple[str, int | None]]:
    """(path below its folder, size) of the files that RECORD lists, compiled copies left out; empty where there is no RECORD."""
    rows = csv.reader(io.StringIO(_text(item, "RECORD", MOST_RECORD)))
    try:
        listed = [(row[0], int(row[2]) if row[2].isdigit() else None) for row in rows if len(row) == 3 and row[0]]
    except csv.Error:
        return []
    return [(path, size) for path, size in listed[:MOST_FILES] if not path.endswith((".pyc", ".pyo"))]


def is_large(files: list[tuple[str, int | None]]) -> bool:
    return len(files) > LARGE_FILES


def defect_of(item: Distribution, files: list[tuple[str, int | None]]) -> str:
    """What of the package's code is not as it was installed: a file gone, or of another size (edited by right, perhaps: a reason to try); "" for nothing."""
    folder = real(item.location)
    code = [(path, size) for path, size in files if re.search(r"\.(py|so|pyd|dylib|dll)(\.[\d.]+)?$", path) and not path.startswith("..")]
    for path, size in code:
        try:
            actual = os.stat(os.path.join(folder, path)).st_size
        except OSError:
            return f"{plain(path, 120)} is not there"
        if size is not None and actual != size:
            return f"{plain(path, 120)} has {actual} bytes, {size} were installed"
    return ""


def module_of(item: Distribution, files: list[tuple[str, int | None]], known: str) -> str:
    """The module that the package brings: the one that is known, else the first folder or file of its own."""
    tops = [re.split(r"[/.]", path)[0] for path, _ in files if not path.startswith("..") and ".dist-info" not in path]
    return known if known else next((top for top in tops if top.isidentifier()), canonical(item.name).replace("-", "_"))


# --- what it was built for ------------------------------------------------------------------------------------------------------


def tag_problem(item: Distribution, interpreter: Interpreter | Unseen, platform: Platform | Unseen) -> str:
    """Why none of the wheel's tags fits this interpreter and machine; "" where one does, or none is given."""
    tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)\s*$", _text(item, "WHEEL", 1 << 16), re.MULTILINE)
    if not tags or not isinstance(interpreter, Interpreter) or not isinstance(platform, Platform):
        return ""
    match = re.match(r"(\d+)\.(\d+)", interpreter.version)
    number = (int(match[1]), int(match[2])) if match else (0, 0)
    problems = [_problem_of(python, abi, system, number, interpreter, platform) for python, abi, system in tags]
    return "" if not all(problems) else problems[0]


def _problem_of(python: str, abi: str, system: str, number: tuple[int, int], interpreter: Interpreter, platform: Platform) -> str:
    built = [(int(match[1]), int(match[2])) for match in re.finditer(r"cp(\d)(\d+)", python)]
    if built and interpreter.implementation == "CPython" and "py3" not in python:
        stable = "abi3" in abi and any(item <= number for item in built)
        if number not in built and not stable:
            return f"it was built for Python {built[0][0]}.{built[0][1]}"
    return _system_problem(system, platform)


def _system_problem(system: str, platform: Platform) -> str:
    if system == "any":
        return ""
    if platform.system == "Linux":
        if "linux" not in system:
            return f"it was built for {plain(system, 40)}"
        machine = {"AMD64": "x86_64"}.get(platform.machine, platform.machine)
        if machine and machine not in system and not (machine == "i686" and "i386" in system):
            return f"it was built for {plain(system, 40)}, and this machine is {machine}"
        return _libc_problem(system, platform.libc)
    return f"it was built for {plain(system, 40)}" if "linux" in system and platform.system in ("Darwin", "Windows") else ""


def _libc_problem(system: str, libc: str) -> str:
    asked = [(int(match[1]), int(match[2])) for match in re.finditer(r"manylinux_(\d+)_(\d+)", system)]
    here = re.search(r"glibc (\d+)\.(\d+)", libc)
    if "musl" in system and here:
        return "it was built for musl, and this system has glibc"
    if asked and here and min(asked) > (int(here[1]), int(here[2])):
        return f"it was built for glibc {min(asked)[0]}.{min(asked)[1]}, and this system has {here[1]}.{here[2]}"
    return "it was built for glibc, and this system has musl" if "manylinux" in system and libc == "musl" else ""


# --- doubled ------------------------------------------------------------------------------------------------------------------


def doubled(distributions: tuple[Distribution, ...], names: set[str]) -> tuple[str, ...]:
    """Needed packages that are installed twice: in one folder (a broken upgrade), or once more in the user's own site (PEP 370), in another version."""
    found: dict[str, list[Distribution]] = {}
    for item in distributions:
        if canonical(item.name) in names:
            found.setdefault(canonical(item.name), []).append(item)
    return tuple(f"{name}: " + ", ".join(f"{item.version} in {item.location}" for item in items) for name, items in found.items() if _really_doubled(items))


def _really_doubled(items: list[Distribution]) -> bool:
    different = len({item.version for item in items}) > 1
    return different and (len({item.location for item in items}) < len(items) or any(_is_user_site(item.location) for item in items))


def _is_user_site(location: str) -> bool:
    return bool(re.search(r"^~[/\\](\.local[/\\]lib|Library[/\\]Python|AppData[/\\]Roaming[/\\]Python)", location))


def satisfies_python(item: Distribution, interpreter: Interpreter | Unseen) -> bool:
    """Whether the interpreter is one that the package says it runs on."""
    asked = requires_python(item)
    return not asked or not isinstance(interpreter, Interpreter) or not interpreter.version or versions.satisfies(interpreter.version, asked)
