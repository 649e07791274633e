"""The ``pytest11`` entry point: loads in every pytest run of the environment, so it imports nothing of ``diagnostics`` until a diagnostic run is asked for.

It stands aside where the package ``diagnostics`` found first is somebody else's: their project must work as before.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator
from pathlib import Path

import pytest

NAME = "diagnostics"
OPTIONS = {
    "diagnose": ("SPEC", "what to diagnose: org/name, a URL, a path, list:NAME, demo (default: this machine and the hub)"),
    "diagnose_report": ("DIR", "where report.html, report.json, report.md and junit.xml go (default: reports)"),
    "diagnose_timeout": ("SECONDS", "the survey's budget (default: 30)"),
    "diagnose_digests": ("auto|none|all", "how much to hash: what ten seconds allow, nothing, everything"),
    "diagnose_files": ("GLOB", "which files count, comma-separated (default: those that the loader takes)"),
    "diagnose_python": ("PATH", "the interpreter the model will load in (default: this one)"),
    "diagnose_json": ("-|FILE", "the JSON document to stdout, and nothing else there; or to a file"),
}
FLAGS = {
    "diagnose_plan": "say what would be asked, read and written, and stop",
    "diagnose_anonymize": "host names, addresses and user names as stable tokens in every report",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Every option is also an ini setting (``diagnose_timeout = 60``)."""
    group = parser.getgroup("diagnose", "why a model cannot be downloaded or loaded (pytest-diagnostics)")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption("--" + name.replace("_", "-"), dest=name, metavar=metavar, default=None, help=text)
        parser.addini(name, text, default="")
    for name, text in FLAGS.items():
        group.addoption("--" + name.replace("_", "-"), dest=name, action="store_true", default=None, help=text)
        parser.addini(name, text, default="")
    group.addoption("--diagnose-waive", dest="diagnose_waive", metavar="ID[:SUBJECT]=REASON,UNTIL", action="append", default=None, help="accept a finding until a date (repeatable)")
    parser.addini("diagnose_waive", "accepted findings, one a line", type="linelist", default=[])
    group.addoption("--diagnose-explain", dest="diagnose_explain", metavar="ID", default=None, help="print the page of one cause")


def package_folder() -> Path | None:
    """Our package, if it is the one that ``import diagnostics`` finds; None where somebody else's comes first."""
    try:
        spec = importlib.util.find_spec(NAME)
    except (ImportError, ValueError, AttributeError):
        return None
    folder = Path(spec.origin).parent if spec and spec.origin else None
    return folder if folder and (folder / "diagnosis.py").is_file() and (folder / "checks" / "test_dns.py").is_file() else None


def _asked_by_option(config: pytest.Config) -> bool:
    return any(config.getoption(name, None) for name in (*OPTIONS, *FLAGS, "diagnose_waive", "diagnose_explain"))


def _named(config: pytest.Config, argument: str) -> bool:
    """Whether an argument is ``diagnostics`` (or something in it) without being a path of the user's."""
    path = argument.split("::")[0]
    return path.replace("\\", "/").split("/")[0] == NAME and not (config.invocation_params.dir / path).exists()


def _inside(config: pytest.Config, argument: str, folder: Path) -> bool:
    path = config.invocation_params.dir / argument.split("::")[0]
    return path.exists() and (path.resolve() == folder or folder in path.resolve().parents)


def _wanted(config: pytest.Config) -> bool:
    """Whether this is a diagnostic run: an option of ours, or an argument that leads into our checks."""
    if _asked_by_option(config):
        return True
    if not any(NAME in argument for argument in config.args):
        return False
    if config.option.pyargs and any(argument.split("::")[0].split(".")[0] == NAME for argument in config.args):
        return package_folder() is not None
    folder = package_folder()
    return folder is not None and any(_named(config, argument) or _inside(config, argument, folder) for argument in config.args)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Load the plugin for a diagnostic run only; one process, whatever ``-n`` says."""
    if not _wanted(config):
        return (yield)
    folder = package_folder()
    if folder is None:
        spec = importlib.util.find_spec(NAME)
        place = os.path.dirname(spec.origin) if spec and spec.origin else "nowhere"
        raise pytest.UsageError(f"the package “diagnostics” found first is not pytest-diagnostics but {place}: run pytest-diagnostics SPEC instead")
    if config.getoption("numprocesses", None) or config.getoption("dist", "no") != "no":
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
    _point_to_checks(config, folder)
    from diagnostics import plugin

    config.pluginmanager.register(plugin, "diagnostics.plugin")
    done = plugin.instead_of_a_run(config)
    if done is not None:
        return done
    return (yield)


def _point_to_checks(config: pytest.Config, folder: Path) -> None:
    """``diagnostics`` that names no existing path means the installed checks; so does an option of ours without any path."""
    given = config.args_source == pytest.Config.ArgsSource.ARGS
    if not given:
        config.args = [str(folder / "checks")]
        return
    config.args = [_installed(argument, folder) if not config.option.pyargs and _named(config, argument) else argument for argument in config.args]


def _installed(argument: str, folder: Path) -> str:
    path, *parts = argument.split("::")
    inside = path.replace("\\", "/").split("/", 1)[1:]
    return "::".join([str(folder.joinpath(*inside)) if inside and inside[0] else str(folder / "checks"), *parts])
