"""``pytest-diagnostics SPEC``: the same run, shielded from the pytest configuration and the folders it happens to stand among."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest
import pytest_diagnostics

from diagnostics import __version__, errors
from diagnostics.causes import BY_ID
from diagnostics.environment.process import shield
from diagnostics.redact import plain

PACKAGE = Path(__file__).parent
USAGE = """usage: pytest-diagnostics [SPEC] [options]
       pytest-diagnostics load [SPEC] [options] [-- COMMAND …]
       pytest-diagnostics fetch SPEC [--to DIR]
       pytest-diagnostics explain ID|FILE|-

SPEC: org/name[@revision], https://…, ./path, list:NAME, demo[:fault]; nothing: this machine and the hub.
Options are those of pytest (-k EXPRESSION, -x, -q, …) and:

{options}

Exit: 0 healthy or warnings only, 1 broken, 2 interrupted, 3 a bug of ours, 4 usage, 5 nothing verified.
"""


def usage() -> str:
    """What can be said on the command line, from the very table that pytest is given."""
    options = [(f"--{name.replace('_', '-')} {value}", help) for name, (value, help) in pytest_diagnostics.OPTIONS.items()]
    options += [(f"--{name.replace('_', '-')}", help) for name, help in pytest_diagnostics.FLAGS.items()]
    return USAGE.format(options="\n".join(f"  {option:<40} {help}" for option, help in options))


def main(arguments: list[str] | None = None) -> int:
    """Run with ``arguments`` (default: the command line's); returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["--help"], ["-h"], ["help"]):
        print(usage(), end="")
        return 0
    if given[:1] == ["--version"]:
        print(f"pytest-diagnostics {__version__}")
        return 0
    if given[:1] == ["fetch"]:
        from diagnostics import fetching

        return fetching.main(given[1:])
    if given[:1] == ["explain"]:
        if len(given) != 2:
            print("usage: pytest-diagnostics explain ID|FILE|-", file=sys.stderr)
            return 4
        return explain(given[1])
    if given[:1] == ["load"]:
        return load(given[1:])
    return run(given)


def load(arguments: list[str]) -> int:
    """The survey, then the load itself: the target's, or a command of the user's behind ``--``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options, command = arguments[:at], arguments[at + 1 :]
    if at < len(arguments) and not command:
        print("usage: pytest-diagnostics load [SPEC] [options] [-- COMMAND …]: no command stands behind --", file=sys.stderr)
        return 4
    if not command and not any(not argument.startswith("-") or argument.startswith("--diagnose=") for argument in options):
        print("usage: pytest-diagnostics load [SPEC] [options] [-- COMMAND …]: name what is to be loaded, or a command", file=sys.stderr)
        return 4
    return run(["--diagnose-load", *options, *([f"--diagnose-load-command={shlex.join(command)}"] if command else [])])


def explain(name: str) -> int:
    """The page of a cause; or what a file's (or standard input's) error can mean, by the text alone: 1 where something in it is known to be wrong, else 0."""
    if name != "-" and (name in BY_ID or not (os.path.exists(name) or "/" in name or "." in name)):  # an id has neither
        return run([f"--diagnose-explain={name}"])
    try:
        text = errors.read_error(name)
    except OSError as error:
        print(f"“{plain(name, 80)}” cannot be read: {error.strerror}", file=sys.stderr)
        return 4
    if not text.strip():
        print(f"“{plain(name, 80)}”: there is nothing in it to read", file=sys.stderr)
        return 4
    clues = errors.clues_of(text, "")
    print("\n".join(errors.lines(clues)))
    return 1 if clues.explanations else 0


def run(arguments: list[str]) -> int:
    """pytest with our checks, our ini file, and no configuration, conftest or plugin of anybody else."""
    try:
        here = os.getcwd()
    except OSError:
        print("the working folder does not exist any more: go to another one", file=sys.stderr)
        return 4
    shield()
    # sys, not fd: capturing needs no temporary file then, and a machine without room for one can be diagnosed.
    own = ["-c", str(PACKAGE / "shielded.ini"), f"--rootdir={here}", "--noconftest", "-p", "no:cacheprovider", "--capture=sys", "--no-header"]
    try:
        return int(pytest.main([*own, str(PACKAGE / "checks"), *arguments], plugins=[pytest_diagnostics]))
    except BrokenPipeError:  # whoever read us (head, less) has seen enough; the report is written by then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
