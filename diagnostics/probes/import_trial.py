"""Whether packages can be imported, tried in child processes of the interpreter that will load: with the loader's own message, and a deadline.

A package that is large (torch takes seconds) and of which nothing makes us doubt is given a moment only: one that fails, fails early.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from diagnostics import redact
from diagnostics.case import ImportTrial
from diagnostics.environment.interpreter import NOT_PASSED
from diagnostics.probes.budget import together

MOMENT_SECONDS = 1.2  # for what is large and not doubted
PATIENCE_SECONDS = 15.0
MOST_OUTPUT = 1 << 20
MARK = "diagnose-import "
# The first to be ended where memory runs out; the working folder is no part of the question (see shadows); the deepest error is the reason.
# First of all it leaves: a json.py that lies there must not run.
PROGRAM = r"""
import sys
sys.path[:] = [path for path in sys.path if path]
import json, time
try:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
except OSError:
    pass
for name in sys.argv[1:]:
    start, said = time.time(), {"module": name}
    sys.stderr.write("\n" + "diagnose-import " + name + "\n")
    sys.stderr.flush()
    try:
        __import__(name)
        said["origin"] = getattr(sys.modules.get(name), "__file__", "") or ""
    except BaseException as error:
        seen, reason = [], error
        while reason is not None and reason not in seen and len(seen) < 20:
            seen.append(reason)
            reason = reason.__cause__ or (None if reason.__suppress_context__ else reason.__context__)
        said["error"], said["message"] = type(error).__name__, str(error)[:1500]
        deepest = [item for item in seen if isinstance(item, (ImportError, OSError, MemoryError, SyntaxError))]
        if deepest and deepest[-1] is not error:
            said["error"], said["message"] = type(deepest[-1]).__name__, str(deepest[-1])[:1500]
        said["missing"] = next((item.name or "" for item in seen[::-1] if isinstance(item, ModuleNotFoundError)), "")
    said["seconds"] = time.time() - start
    sys.stdout.write("\n" + "diagnose-import " + json.dumps(said) + "\n")
    sys.stdout.flush()
"""


class Candidate(NamedTuple):
    """A package to be tried."""

    package: str
    module: str
    large: bool = False
    doubt: str = ""


def try_imports(python: str, candidates: Iterable[Candidate], variables: Mapping[str, str]) -> tuple[ImportTrial, ...]:
    """Each candidate's import in ``python`` ("" is this one): large ones in a process of their own, the small ones one after the other in one."""
    wanted = list(candidates)
    small = [item for item in wanted if not item.large]
    groups = [*([small] if small else []), *([item] for item in wanted if item.large)]
    tasks = {number: lambda group=group: _run(python, group, variables) for number, group in enumerate(groups)}
    done = together(tasks, PATIENCE_SECONDS + 2.0)
    by_package = {trial.package: trial for trials in done.values() for trial in trials}
    return tuple(by_package[item.package] for item in wanted if item.package in by_package)


def _run(python: str, group: list[Candidate], variables: Mapping[str, str]) -> list[ImportTrial]:
    patience = PATIENCE_SECONDS if any(item.doubt or not item.large for item in group) else MOMENT_SECONDS
    command = [os.path.expanduser(python) if python else sys.executable, "-B", "-c", PROGRAM, *(item.module for item in group)]
    started = time.monotonic()
    output, errors, status = _output(command, patience, clean_variables(variables))
    said = {item["module"]: item for item in _said(output)}
    trials = [_trial(item, said.get(item.module), _errors_of(item, errors)) for item in group if item.module in said]
    rest = [item for item in group if item.module not in said]
    if rest and status is not None:  # the first that says nothing ended the process
        trials.append(_crashed(rest[0], status, _errors_of(rest[0], errors), time.monotonic() - started))
        trials += _run(python, rest[1:], variables) if rest[1:] else []
    return trials


def _errors_of(item: Candidate, errors: str) -> str:
    """What was written to stderr while this one was imported."""
    return errors.partition(f"\n{MARK}{item.module}\n")[2].partition(f"\n{MARK}")[0]


def clean_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment, but for what makes a Python do more; the dynamic loader speaks English."""
    return {name: value for name, value in variables.items() if name not in NOT_PASSED and "\0" not in value} | {"LC_ALL": "C"}


def _output(command: list[str], patience: float, variables: Mapping[str, str]) -> tuple[str, str, int | None]:
    """(stdout, stderr, exit status); the status is None where it had to be ended, or could not be started."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(variables), start_new_session=os.name == "posix"
        )
    except (OSError, ValueError):
        return "", "", None
    try:
        output, errors = process.communicate(timeout=patience)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        end_with_children(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=1.0)
        return "", "", None
    return output[:MOST_OUTPUT].decode("utf-8", "replace"), errors[:MOST_OUTPUT].decode("utf-8", "replace"), status


def end_with_children(process: subprocess.Popen[bytes]) -> None:
    """With what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
    except OSError:
        process.kill()


def _said(output: str) -> list[dict[str, Any]]:
    found = []
    for line in output.splitlines():
        if line.startswith(MARK):
            with contextlib.suppress(ValueError):
                value = json.loads(line.removeprefix(MARK))
                found += [value] if isinstance(value, dict) and isinstance(value.get("module"), str) else []
    return found


def _trial(item: Candidate, said: dict[str, Any] | None, errors: str) -> ImportTrial:
    said = said or {}
    if item.doubt and not said.get("error") and not said.get("origin"):  # PEP 420 takes any folder of its name
        said = {**said, "error": "ImportError", "message": "nothing but a folder of its name is there"}
    failed = isinstance(said.get("error"), str)
    return ImportTrial(
        package=item.package,
        module=item.module,
        outcome="failed" if failed else "imported",
        error=_clean(said.get("error"), 80) if failed else "",
        message=(_clean(said.get("message"), 600) or _last_words(errors)) if failed else _numpy_warning(errors),
        missing=_clean(said.get("missing"), 120),
        origin=redact.path(str(said.get("origin", ""))),
        doubt=redact.plain(item.doubt, 200),
        seconds=float(said.get("seconds", 0.0)),
    )


def _clean(value: object, limit: int) -> str:
    return redact.Secrets().clean(value, limit) if isinstance(value, str) else ""


def _last_words(errors: str) -> str:
    """What was written where the exception says nothing: OpenBLAS interrupts the process when it gets no thread (driver/others/blas_server.c)."""
    lines = [line for line in errors.splitlines() if line.strip()]
    told = next((line for line in lines if "pthread_create failed" in line), lines[-1] if lines else "")
    return _clean(told, 300)


def _numpy_warning(errors: str) -> str:
    """What numpy 2 writes, without ending the import, when a module built for numpy 1 is loaded."""
    match = re.search(r"A module that was compiled using NumPy 1\.x cannot be run in\s+NumPy [\d.]+", errors)
    return redact.plain(" ".join(match[0].split()), 200) if match else ""


def _crashed(item: Candidate, status: int, errors: str, seconds: float) -> ImportTrial:
    """It ended without a word: by a signal (a killed one says nothing of the package), or by an exit of its own."""
    number = -status if status < 0 else 0
    last = _last_words(errors)
    outcome = "unfinished" if number == 9 else "crashed"
    return ImportTrial(
        package=item.package,
        module=item.module,
        outcome=outcome,  # type: ignore[arg-type]
        message=last or (f"ended by signal {number}" if number else f"exit status {status}"),
        signal=number,
        doubt=redact.plain(item.doubt, 200),
        seconds=seconds,
    )
