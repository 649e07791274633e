"""The ``pytest11`` entry point: loads in every pytest run of the environment, so it imports nothing of ``diagnostics`` until a diagnostic run is asked for.

It stands aside where the package ``diagnostics`` found first is somebody else's: their project must work as before.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TextIO

import pytest

NAME = "diagnostics"
OPTIONS = {
    "diagnose": ("SPEC", "what to diagnose: org/name, a URL, a path, list:NAME, demo (default: this machine and the hub)"),
    "diagnose_report": ("DIR", "where report.html, report.json, report.md and junit.xml go (default: reports)"),
    "diagnose_timeout": ("SECONDS", "the survey's budget (default: 30)"),
    "diagnose_digests": ("auto|none|all", "how much to hash: what ten seconds allow, nothing, everything"),
    "diagnose_files": ("GLOB", "which files count, comma-separated (default: those that the loader takes)"),
    "diagnose_python": ("PATH", "the interpreter the model will load in (default: this one)"),
    "diagnose_manifest": ("FILE", "write the target's files as a list (url, size, digest, role) that --diagnose list:FILE reads"),
    "diagnose_error": ("FILE|-", "an error or a whole log: what it can mean, then what of it is so here (with or without a SPEC)"),
    "diagnose_case": ("FILE", "judge the report.json of a ticket again with today's rules, without looking at this machine"),
    "diagnose_against": ("FILE", "say what differs from the machine of another report.json"),
    "diagnose_repair_from": ("SPEC", "with --diagnose-repair: where whole files of a folder come from (org/name[@revision], list:NAME, a URL)"),
    "diagnose_load_timeout": ("SECONDS", "the budget of the trial load (default: 600)"),
    "diagnose_load_memory": ("SIZE", "memory that the trial load may take, as in 4G (default: what can be had here)"),
    "diagnose_load_command": ("COMMAND", "a command of your own as the trial load"),
    "diagnose_shell": (
        "SHELL",
        "how remedies are written: posix, fish, powershell, cmd, dockerfile, kubernetes, systemd, notebook (default: the shell at hand)",
    ),
    "diagnose_save_ca": ("FILE", "where TLS is intercepted: write the authority's certificate there, to compare its fingerprint with the admin's"),
    "diagnose_json": ("-|FILE", "the JSON document to stdout, and nothing else there; or to a file"),
}
FLAGS = {
    "diagnose_plan": "say what would be asked, read and written, and stop",
    "diagnose_repair": "put right what is missing, cut, corrupt or misplaced of the target's files, then look again",
    "diagnose_load": "try the load itself, in a child process with memory, time and network bounded",
    "diagnose_failures": "in your own runs: a test that failed by a known cause says so in its report",
    "diagnose_anonymize": "host names, addresses and user names as stable tokens in every report",
}
Selection = tuple[str, ...]  # what an argument names inside our package: (), ("checks", "test_tls.py", "::test_x")
ANSWERED = pytest.StashKey[int]()  # the exit code of a run that was answered before it began
STDIN = pytest.StashKey[bytes]()  # what was piped in for --diagnose-error -
STDOUT = pytest.StashKey[TextIO]()  # the real one, where --diagnose-json - keeps it for the document


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Every option is also an ini setting (``diagnose_timeout = 60``)."""
    pluginmanager.register(_Answered(), "diagnostics-answered")
    group = parser.getgroup("diagnose", "why a model cannot be downloaded or loaded (pytest-diagnostics)")
    for name, (metavar, text) in OPTIONS.items():
        group.addoption(_flag(name), dest=name, metavar=metavar, default=None, help=text)
        parser.addini(name, text, default="")
    for name, text in FLAGS.items():
        group.addoption(_flag(name), dest=name, action="store_true", default=None, help=text)
        parser.addini(name, text, default="")
    group.addoption(
        "--diagnose-waive",
        dest="diagnose_waive",
        metavar="ID[:SUBJECT]=REASON,UNTIL",
        action="append",
        default=None,
        help="accept a finding until a date (repeatable)",
    )
    parser.addini("diagnose_waive", "accepted findings, one a line", type="linelist", default=[])
    group.addoption("--diagnose-explain", dest="diagnose_explain", metavar="ID", default=None, help="print the page of one cause")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# --- is this a diagnostic run? ------------------------------------------------------------------------------------------------


def found_package() -> Path | None:
    """The folder (or file) that ``import diagnostics`` would find, whoever's it is; imports nothing."""
    try:
        spec = importlib.util.find_spec(NAME)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.origin is not None:
        return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    return Path(next(iter(spec.submodule_search_locations or ()), ""))


def is_ours(folder: Path) -> bool:
    return folder.name == NAME and (folder / "diagnosis.py").is_file() and (folder / "checks" / "test_dns.py").is_file()


def _asked_by_option(config: pytest.Config) -> bool:
    """On this very command line: an ``addopts`` of the project is a setting for diagnostic runs, not a wish for one."""
    given = [argument for argument in config.invocation_params.args if isinstance(argument, str)]
    return any(argument.startswith("--diagnose") and argument != _flag("diagnose_failures") for argument in given)


def _split(config: pytest.Config) -> tuple[list[str], list[tuple[Path, Selection]]]:
    """The arguments that are not ours, and what the others select in which copy of our package."""
    others, ours = [], []
    for argument in config.args:
        # Cheap and enough for nearly every run: an argument of ours leads to or through a folder of our name.
        selected = _selected(config, argument) if NAME in argument or NAME in str(config.invocation_params.dir) else None
        if selected is None:
            others.append(argument)
        else:
            ours.append(selected)
    return others, ours


def _selected(config: pytest.Config, argument: str) -> tuple[Path, Selection] | None:
    """The copy of our package that an argument leads into, and what it names there; None where it is not about us.

    ``diagnostics`` and ``diagnostics/checks/…`` that name no existing path mean the package that is installed.
    """
    name, colons, function = argument.partition("::")
    names = ("::" + function,) if colons else ()
    path = os.path.join(config.invocation_params.dir, name)
    module = name.split(".")
    if config.option.pyargs and module[0] == NAME and all(part.isidentifier() for part in module):
        inside = (*module[1:], *names)
    elif os.path.exists(path):
        real = Path(os.path.realpath(path))
        folder = next((folder for folder in (real, *real.parents) if is_ours(folder)), None)
        return (folder, (*real.relative_to(folder).parts, *names)) if folder else None
    elif (parts := Path(name.replace("\\", "/")).parts)[:1] == (NAME,):
        inside = (*parts[1:], *names)
    else:
        return None
    found = found_package()
    if found is not None and is_ours(found):
        return found.resolve(), inside
    return None


def _prefer(folder: Path) -> None:
    """Make ``import diagnostics`` find this copy (a checkout beside an installed one)."""
    found = found_package()
    if found is not None and found.resolve() == folder:
        return
    if NAME in sys.modules:
        raise pytest.UsageError(
            f"the checks asked for are those in {folder}, but {NAME} was already imported from {found}: install the checkout (python -m pip install -e .) or run elsewhere"
        )
    sys.path.insert(0, str(folder.parent))
    importlib.invalidate_caches()


def _is_shielded(config: pytest.Config) -> bool:
    """Whether this is the console script's run, by its ini file."""
    return config.inipath is not None and config.inipath.name == "shielded.ini" and is_ours(config.inipath.parent)


def _take_spec(config: pytest.Config, others: list[str]) -> list[str]:
    """``pytest-diagnostics [options] SPEC [options]``: the one argument that pytest could not place."""
    if len(others) > 1 or (others and config.option.diagnose):
        raise pytest.UsageError("give one SPEC; several URLs go into one, in quotes")
    config.option.diagnose = others[0] if others else config.option.diagnose
    return []


def _not_theirs(config: pytest.Config, others: list[str]) -> None:
    """An option of ours beside a folder of our name that is theirs: their tests could not import it any more."""
    theirs = next((argument for argument in others if Path(argument.split("::")[0]).parts[:1] == (NAME,)), None)
    if theirs is not None and _asked_by_option(config):
        raise pytest.UsageError(f"“{theirs}” is a folder of this project, not pytest-diagnostics: run pytest-diagnostics SPEC instead")


def _stand_aside(config: pytest.Config, others: list[str]) -> None:
    """A run of ours was clearly wanted, and the package found is somebody else's: say so where pytest would fail anyway, or an option of ours was given."""
    lost = any(
        Path(argument.split("::")[0]).parts[:1] == (NAME,) and not os.path.exists(config.invocation_params.dir / argument.split("::")[0]) for argument in others
    )
    if not (_asked_by_option(config) or (lost and not config.option.pyargs)):
        return
    found = found_package()
    if found is not None and not is_ours(found):
        raise pytest.UsageError(f"the package “{NAME}” that Python finds first is not pytest-diagnostics but {found}: run pytest-diagnostics SPEC instead")


class _Answered:
    """What needs no run (``--diagnose-explain``) ends here: a wrapper has to go on."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int | None:
        return config.stash.get(ANSWERED, None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, object, object]:
    """Load the plugin for a diagnostic run only. A wrapper, so that it stands ahead of pytest-xdist's: such a run uses one process."""
    others, ours = _split(config)
    if _is_shielded(config):
        others = _take_spec(config, others)
    _not_theirs(config, others)
    if not ours:
        _stand_aside(config, others)
        found = found_package() if _asked_by_option(config) else None
        if found is None:
            return (yield)
        ours = [(found.resolve(), ())]
        others = others if config.args_source is pytest.Config.ArgsSource.ARGS else []
    _prefer(ours[0][0])
    config.args = others
    if hasattr(config.option, "numprocesses"):
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # -W error is about the user's code
        from diagnostics import plugin
    config.pluginmanager.register(plugin, "diagnostics.plugin")
    done = plugin.start(config, [selection for _, selection in ours], config.stash.get(STDOUT, None), config.stash.get(STDIN, b""))
    if done is not None:
        config.stash[ANSWERED] = done
    return (yield)


NEEDS_MODEL = "needs_model"
MARKER = (
    NEEDS_MODEL
    + '(SPEC, otherwise="fail"): the test loads this model; where it would not load, the test fails (or is skipped: otherwise="skip") with the diagnosis'
)


@pytest.fixture(scope="session")
def preflight(request: pytest.FixtureRequest) -> Callable[..., object]:
    """``preflight("org/name")`` raises, with the root cause and the remedy, where that model would not load here; each model is looked at once a session."""
    _require_ours()
    from diagnostics import needs

    return needs.of(request.config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.needs_model``, ahead of every fixture; a mark that the project itself declares is its own."""
    if item.get_closest_marker(NEEDS_MODEL) and [line for line in item.config.getini("markers") if line.startswith(NEEDS_MODEL)] == [MARKER]:
        _require_ours()
        from diagnostics import needs

        needs.see(item)


def _require_ours() -> None:
    found = found_package()
    if found is not None and not is_ours(found):
        pytest.fail(f"the package “{NAME}” that Python finds first is not pytest-diagnostics but {found}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    """--diagnose-failures is for the user's own runs, in xdist's workers too."""
    config.addinivalue_line("markers", MARKER)
    wanted = config.getoption("diagnose_failures") or str(config.getini("diagnose_failures")).lower() in ("1", "true", "yes", "on")
    found = found_package() if wanted else None
    if found is not None and is_ours(found):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from diagnostics import failures
        config.pluginmanager.register(failures, "diagnostics.failures")


# --- --diagnose-json - --------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Ahead of pytest's capturing and of any conftest: what they print goes to stderr, the document alone to stdout."""
    if _asked_by_option(early_config) and getattr(early_config.known_args_namespace, "diagnose_json", None) == "-":
        early_config.stash[STDOUT] = _keep_stdout(early_config)
    if _asked_by_option(early_config) and getattr(early_config.known_args_namespace, "diagnose_error", None) == "-":
        early_config.stash[STDIN] = sys.stdin.buffer.read(64 << 20)  # pytest's capturing closes it
    return (yield)


def _keep_stdout(config: pytest.Config) -> TextIO:
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)

    def restore() -> None:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)

    config.add_cleanup(restore)
    return os.fdopen(os.dup(kept), "w", encoding="utf-8")


def main() -> int:
    """The console script: ours, even where a folder of our name stands first on the path."""
    here = Path(__file__).resolve().parent
    _prefer(here.parent if here.name == "entry" else here / NAME)
    from diagnostics import cli

    return cli.main()
