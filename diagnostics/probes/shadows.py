"""Files and folders of a person's own that an import takes for a package: in the working folder and in PYTHONPATH, which come before what is installed."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Mapping

from diagnostics import redact
from diagnostics.case import Environment, Interpreter, Shadow
from diagnostics.environment.text import read_text
from diagnostics.probes.cache import real

# Of Python's own modules those that torch, transformers and huggingface_hub import; one of the same name in the working folder comes first.
OF_PYTHON = (
    frozenset(
        [
            "abc",
            "ast",
            "base64",
            "bisect",
            "calendar",
            "codecs",
            "collections",
            "colorsys",
            "concurrent",
            "configparser",
            "contextlib",
            "contextvars",
            "copy",
            "copyreg",
            "csv",
            "ctypes",
            "dataclasses",
            "datetime",
            "decimal",
            "difflib",
            "dis",
            "email",
            "enum",
            "fnmatch",
            "fractions",
            "functools",
            "getpass",
            "glob",
            "gzip",
            "hashlib",
            "heapq",
            "html",
            "http",
            "importlib",
            "inspect",
            "io",
            "json",
            "keyword",
            "linecache",
            "locale",
            "logging",
            "math",
            "multiprocessing",
            "numbers",
            "opcode",
            "operator",
            "os",
            "pathlib",
            "pickle",
            "pickletools",
            "platform",
            "pprint",
            "queue",
            "random",
            "re",
            "secrets",
            "select",
            "selectors",
            "shutil",
            "signal",
            "socket",
            "ssl",
            "stat",
            "statistics",
            "string",
            "struct",
            "subprocess",
            "symtable",
            "tarfile",
            "tempfile",
            "textwrap",
            "threading",
            "time",
            "timeit",
            "token",
            "tokenize",
            "traceback",
            "types",
            "typing",
            "unittest",
            "urllib",
            "uuid",
            "warnings",
            "weakref",
            "xml",
            "zipfile",
        ]
    )
    - set(sys.builtin_module_names)
    - {"abc", "codecs", "io", "os", "site", "stat"}
)  # loaded before the working folder counts


def find_shadows(modules: Mapping[str, str], environment: Environment) -> tuple[Shadow, ...]:
    """What hides one of ``modules`` (module → distribution) or a module of Python's own, and where."""
    places = _places(environment)
    installed = {os.path.realpath(real(item.location)) for item in environment.distributions if item.location}
    return tuple(
        found for folder, where in places if os.path.realpath(folder) not in installed for found in _in_folder(folder, where, modules, _names_in(folder))
    )


def _places(environment: Environment) -> list[tuple[str, str]]:
    settings = {item.name: item.value for item in environment.settings}
    places = [(folder, "PYTHONPATH") for folder in settings.get("PYTHONPATH", "").split(os.pathsep) if folder and "…" not in folder]
    if not settings.get("PYTHONSAFEPATH"):
        with contextlib.suppress(OSError):  # it was removed
            places.insert(0, (os.getcwd(), "the working folder"))
    return list(dict(places).items())


def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()


def _in_folder(folder: str, where: str, modules: Mapping[str, str], names: frozenset[str]) -> Iterable[Shadow]:
    if any(re.fullmatch(r"[\w.]+\.(dist|egg)-info", name) for name in names) or _is_library(folder, names):
        return
    for module, package in (*modules.items(), *((name, "") for name in sorted(OF_PYTHON))):
        path = _hiding(folder, module, names)
        if path and not _is_source_of(folder, package):
            yield Shadow(module=module, path=redact.path(path), package=package, where=where)


def _is_library(folder: str, names: frozenset[str]) -> bool:
    """Python's own library, or a folder of packages."""
    return {"os.py", "types.py", "functools.py"} <= names or os.path.basename(folder) in ("site-packages", "dist-packages")


def _hiding(folder: str, module: str, names: frozenset[str]) -> str:
    """The file or regular package that an import would find; a folder without __init__.py gives way to what is installed (PEP 420)."""
    if f"{module}.py" in names:
        return os.path.join(folder, f"{module}.py")
    return os.path.join(folder, module) if module in names and os.path.isfile(os.path.join(folder, module, "__init__.py")) else ""


def _is_source_of(folder: str, package: str) -> bool:
    """A checkout of that very package, in which it was installed for development."""
    if not package:
        return False
    places = (folder, os.path.dirname(os.path.abspath(folder)))  # src/ below the project
    for path in (os.path.join(place, name) for place in places for name in ("pyproject.toml", "setup.py", "setup.cfg", "PKG-INFO")):
        if re.search(rf"""name\s*[=:]\s*["']?{re.escape(package)}["']?\s*[,\n]""", read_text(path, 1 << 16), re.IGNORECASE):
            return True
    return False


def foreign_paths(environment: Environment) -> tuple[str, ...]:
    """Folders of PYTHONPATH that hold another Python's packages (``…/python3.9/site-packages`` for a 3.11)."""
    interpreter = environment.interpreter
    value = next((item.value for item in environment.settings if item.name == "PYTHONPATH"), "")
    own = re.match(r"\d+\.\d+", interpreter.version) if isinstance(interpreter, Interpreter) else None
    found = []
    for folder in value.split(os.pathsep):
        match = re.search(r"[/\\]python(\d+\.\d+)[/\\](?:site|dist)-packages", folder)
        if match and own and match[1] != own[0] and os.path.isdir(folder):
            found.append(redact.path(folder))
    return tuple(found)
