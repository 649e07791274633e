"""The interpreter that the model will load in: this one, or another through a child process."""

from __future__ import annotations

import errno
import importlib.resources
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from diagnostics import redact
from diagnostics.case import Distribution, Interpreter, Problem, Unseen
from diagnostics.environment import inventory

SECONDS = 10.0
MOST_BYTES = 16 * 1024 * 1024
# A json.py in the working folder is not the one that is meant.
WITHOUT_HERE = "import sys\nsys.path[:] = [path for path in sys.path if path]\n"
# Variables that would make the child do more than it is asked for, or write.
NOT_PASSED = frozenset({"PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONDEBUG", "PYTHONVERBOSE", "PYTHONPROFILEIMPORTTIME", "PYTHONWARNINGS", "PYTHONDEVMODE"})


def read_interpreter(python: str, variables: Mapping[str, str]) -> tuple[Interpreter | Unseen, tuple[Distribution, ...], Problem | None]:
    """What ``python`` is ("" is this one) and what is installed for it; a problem where it cannot be asked.

    Codes: interpreter-missing, interpreter-unusable, interpreter-silent, no-process.
    """
    if not python or _same(python, sys.executable):
        return *records(inventory.describe()), None
    described = _ask(python, variables)
    if isinstance(described, Problem):
        return Unseen("unsupported", described.detail), (), described
    return *records(described), None


def _same(one: str, other: str) -> bool:
    """The very same path: two virtual environments may share one real executable."""
    return bool(other) and os.path.abspath(one) == os.path.abspath(other)


def _ask(python: str, variables: Mapping[str, str]) -> dict[str, Any] | Problem:
    shown = redact.path(python)
    program = WITHOUT_HERE + importlib.resources.files("diagnostics.environment").joinpath("inventory.py").read_text(encoding="utf-8")
    passed = {name: value for name, value in variables.items() if name not in NOT_PASSED and "\0" not in value}
    try:
        done = subprocess.run(
            [os.path.expanduser(python), "-B", "-c", program], capture_output=True, timeout=SECONDS, stdin=subprocess.DEVNULL, env=passed, check=False
        )
    except subprocess.TimeoutExpired:
        return Problem(code="interpreter-silent", detail=f"{shown} did not answer within {SECONDS:.0f} s")
    except (FileNotFoundError, NotADirectoryError):
        return Problem(code="interpreter-missing", detail=f"there is no {shown}")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM):  # the machine refuses a process: not this interpreter's fault
            return Problem(code="no-process", detail=f"no further process could be started to ask {shown} ({os.strerror(error.errno)})")
        return Problem(code="interpreter-unusable", detail=f"{shown} cannot be run: {redact.plain(getattr(error, 'strerror', None) or str(error))}")
    return _described(done.stdout[:MOST_BYTES], done.returncode, shown)


def _described(output: bytes, returncode: int, shown: str) -> dict[str, Any] | Problem:
    """The last line of the child's output, if it is what a Python would have said."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    try:
        described = json.loads(lines[-1]) if lines and returncode == 0 else None
        records(described)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        described = None
    if not isinstance(described, dict):
        return Problem(code="interpreter-unusable", detail=f"{shown} is no Python that can be asked what is installed (exit status {returncode})")
    return described


def records(described: Any) -> tuple[Interpreter, tuple[Distribution, ...]]:
    """What ``inventory.describe`` said as records. Raises ValueError, TypeError or KeyError for anything else."""
    interpreter = Interpreter(
        executable=redact.path(str(described["executable"])),
        version=redact.plain(str(described["version"]), 40),
        implementation=redact.plain(str(described["implementation"]), 40),
        bits=int(described["bits"]),
        prefix=redact.path(str(described["prefix"])),
        openssl=redact.plain(str(described["openssl"]), 80),
        strict_x509=bool(described["strict_x509"]),
        cafile=redact.path(str(described.get("cafile", ""))),
        capath=redact.path(str(described.get("capath", ""))),
    )
    found = tuple(
        Distribution(name=redact.plain(str(name), 100), version=redact.plain(str(version), 60), location=redact.path(str(place)))
        for name, version, place in described["distributions"]
    )
    return interpreter, found
