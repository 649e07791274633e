"""The pytest glue: collect the checks, look once, judge once, let each check say its share, write the report.

Loaded by the entry point for diagnostic runs only. What thinks is elsewhere: ``run`` looks, judges and writes, ``items`` are the checks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import pytest

from diagnostics import inputs, options, redact
from diagnostics import items as nodes
from diagnostics.items import CheckFile, CheckItem, Selection
from diagnostics.redact import plain
from diagnostics.run import Run, report_folders

MEANING = {
    0: "healthy, or warnings only",
    1: "something is broken",
    2: "interrupted: the report holds what was known by then",
    3: "a bug of ours: please report it with report.json",
    5: "nothing could be verified",
}
REPAIR = ("repair: of these files what a look finds missing, cut, corrupt or misplaced; what is replaced is kept as NAME.corrupt-TIME (a list needs the look)",)
RUN = pytest.StashKey[Run]()
SELECTED = pytest.StashKey[list[Selection]]()


# --- before anything is collected ---------------------------------------------------------------------------------------------


def start(config: pytest.Config, selections: list[Selection], stdout: TextIO | None, stdin: bytes = b"") -> int | None:
    """Options are read here, so that a bad one is a usage error; what needs no run is answered here: its exit code, or None."""
    chosen = options.read(config)
    if chosen.explain:
        return _explain(chosen.explain)
    if chosen.plan:
        return _plan(chosen, config.invocation_params.dir)
    if chosen.json == "-" and stdout is None:
        raise pytest.UsageError("--diagnose-json - works on the command line of an installed pytest-diagnostics only: name a file instead")
    given = inputs.read(chosen, stdin)
    if given.lines:
        print("\n".join(given.lines))
    config.stash[RUN] = config.stash[nodes.ANSWERS] = Run(dataclasses.replace(chosen, spec=given.spec), stdout, given)
    config.stash[SELECTED] = selections
    return None


def _plan(chosen: options.Options, here: Path) -> int:
    """What a run would do; its exit code is the run's own where the target cannot be used at all."""
    from diagnostics.probes.survey import plan

    lines, usable = plan(chosen.spec, files=chosen.files, python=chosen.python)
    load = f"run: {redact.Secrets().clean(chosen.load_command, 200) or 'the load of the target'}, for at most {chosen.load_seconds:.0f} s"
    lines += [load] if chosen.load and usable else []
    lines += [f"write: the report, to {redact.path(str(next(report_folders(chosen.report, here))))}"]
    print("\n".join([*lines, *(REPAIR if chosen.repair else ())]))
    return 0 if usable else 1


def _explain(cause: str) -> int:
    from diagnostics.causes import page

    text = page.page(cause)
    if not text:
        near = page.near(cause)
        raise pytest.UsageError(f"there is no cause “{options.shown(cause)}”" + (f": did you mean {', '.join(near)}?" if near else ""))
    print(text)
    return 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """The checks, ahead of what else was asked for; pytest's -k, -m and --deselect come after and see them."""
    selections = config.stash[SELECTED]
    files = [CheckFile.of(session, module, checks) for module, checks in nodes.chosen(selections).items()]
    items[:0] = [item for file in files for item in session.genitems(file)]


# --- look and judge -----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    checks = [item.check for item in session.items if isinstance(item, CheckItem)]
    broken = session.testsfailed and not session.config.option.continue_on_collection_errors
    if not checks or broken or session.config.option.collectonly:
        return (yield)
    run = session.config.stash[RUN]
    run.show_command = session.config.option.capture in ("no", "sys")  # else nobody would see it
    run.announce = _announcing(session.config)
    with _terminated_like_interrupted(run):
        with _progress(session.config) as show:
            run.look(checks, show)
        return (yield)


@contextlib.contextmanager
def _terminated_like_interrupted(run: Run) -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: with a report. A second one does not end the writing of it."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if not run.interrupted:
            run.interrupted = "SIGTERM"
            raise KeyboardInterrupt("SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        run.interrupted = run.interrupted or "Ctrl-C"
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until the report is written: pytest_unconfigure
        run.restore = lambda: signal.signal(signal.SIGTERM, before)
        raise
    else:
        signal.signal(signal.SIGTERM, before)


def _announcing(config: pytest.Config) -> Callable[[str], None]:
    """A line ahead of what may take minutes."""
    reporter = config.pluginmanager.getplugin("terminalreporter")

    def announce(text: str) -> None:
        if reporter is not None and config.option.verbose >= 0:
            reporter.ensure_newline()
            reporter.write_line(plain(text, 400))
            reporter._tw.flush()

    return announce


@contextlib.contextmanager
def _progress(config: pytest.Config) -> Iterator[Callable[[str], None] | None]:
    """A line that is overwritten, on a terminal only."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty or not reporter.hasmarkup or config.option.verbose < 0:
        yield None
        return
    lock, shown_at = threading.Lock(), [0.0]

    def show(text: str) -> None:
        with lock:  # probes speak from their threads
            if time.monotonic() - shown_at[0] >= 0.1:
                shown_at[0] = time.monotonic()
                reporter.rewrite(plain(text if text.startswith("repairing ") else f"looking: {text}", 78), erase=True)

    try:
        yield show
    finally:
        with lock:
            shown_at[0] = float("inf")
            reporter.rewrite("", erase=True)
            reporter.write("\r")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Any:
    """Checks run pytest's plain way, whatever repeats, forks or reruns the user's tests."""
    if not isinstance(item, CheckItem):
        return None
    return item.config.pluginmanager.getplugin("runner").pytest_runtest_protocol(item=item, nextitem=nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if isinstance(item, CheckItem) and item.result:
        report.diagnosis = str(item.result.outcome)  # type: ignore[attr-defined]  # for our own status and for pytest-html
    return report


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    outcome = getattr(report, "diagnosis", "")
    if report.when == "call" and outcome == "warned" and report.passed:
        return "warned", "W", ("WARNED", {"yellow": True})
    if report.when == "call" and outcome == "blocked" and report.skipped:
        return "blocked", "b", ("BLOCKED", {"yellow": True})
    return None


# --- speak --------------------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Ahead of the summary, whatever ended the run."""
    run = session.config.stash[RUN]
    run.finish(session.config.invocation_params.dir)
    session.exitstatus = run.exit_code(int(session.exitstatus))


def pytest_unconfigure(config: pytest.Config) -> None:
    if RUN in config.stash:
        config.stash[RUN].restore()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> Generator[None, object, object]:
    """Ours first: the root cause stands ahead of pytest's FAILURES, which then need no page a check."""
    run = config.stash[RUN]
    if run.report is not None:
        _section(terminalreporter, run, int(exitstatus))
        for report in terminalreporter.stats.get("failed", ()):
            if getattr(report, "diagnosis", ""):
                report.longrepr = str(report.longrepr).partition("\n")[0]
    return (yield)


def _section(reporter: pytest.TerminalReporter, run: Run, exitstatus: int) -> None:
    from diagnostics.environment.process import continuous_integration
    from diagnostics.render import github, terminal

    assert run.report is not None
    writer = reporter._tw
    reporter.ensure_newline()
    reporter.section("diagnosis", bold=True)
    for line in terminal.section(run.report, writer.fullwidth, run.written, ascii=not _speaks_unicode(writer)):
        writer.line(line.text, **line.markup)
    for text in (*run.unwritten, *run.notes, *run.differences()):
        writer.line(text, yellow=text in run.unwritten)
    code = run.exit_code(exitstatus)
    writer.line(f"exit {code}: {MEANING.get(code, 'see pytest')}")
    on_github, _ = continuous_integration()
    if on_github:  # at the beginning of a line, or GitHub does not see it
        for command in github.workflow_commands(run.report):
            writer.line(command)


def _speaks_unicode(writer: Any) -> bool:
    encoding = getattr(getattr(writer, "_file", None), "encoding", None) or "ascii"
    try:
        "✗✓→“…".encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_header(cells: list[str]) -> None:
    """pytest-html users get the cause as a column."""
    cells.insert(2, "<th>Cause</th>")


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_row(report: pytest.TestReport, cells: list[str]) -> None:
    import html

    cause = str(report.longrepr).split(":", 1)[0] if report.failed and hasattr(report, "diagnosis") else ""
    cells.insert(2, f"<td>{html.escape(cause)}</td>")
