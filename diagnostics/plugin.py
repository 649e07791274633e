"""The pytest glue: collect the checks, look once, judge once, let each check say its share, write the report.

Loaded by the entry point for diagnostic runs only. Everything that thinks is elsewhere.
"""

from __future__ import annotations

import contextlib
import datetime
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from diagnostics import options
from diagnostics.case import CheckResult, Judgement, Report
from diagnostics.diagnosis import Check, all_checks
from diagnostics.redact import path as shown_path

if TYPE_CHECKING:
    from diagnostics.probes.survey import Survey

PACKAGE = Path(__file__).parent
CHECKS = PACKAGE / "checks"
ALWAYS = frozenset({"target", "environment"})  # records that cost nothing to have
EXIT = {"healthy": 0, "degraded": 0, "broken": 1, "unverified": 5}
MEANING = {
    0: "healthy, or warnings only",
    1: "something is broken",
    2: "interrupted: the report holds what was known by then",
    3: "a bug of ours: please report it with report.json",
    5: "nothing could be verified",
}


class CheckFailed(AssertionError):
    """A check that failed; its text is the diagnosis."""


class OurBug(RuntimeError):
    """A check or a probe of ours broke."""


class Run:
    """One diagnostic run: what was asked, seen and judged."""

    def __init__(self, chosen: options.Options) -> None:
        self.options = chosen
        self.report: Report | None = None
        self.results: dict[str, CheckResult] = {}
        self.bug = ""
        self.written: dict[str, str] = {}
        self.document: Any = None  # where --diagnose-json writes


RUN = pytest.StashKey[Run]()


# --- before anything is collected ---------------------------------------------------------------------------------------------


def instead_of_a_run(config: pytest.Config) -> int | None:
    """Options are read here, so that a bad one is a usage error; what needs no run is answered here: its exit code, or None."""
    chosen = options.read(config)
    config.stash[RUN] = Run(chosen)
    if chosen.explain:
        return _explain(chosen.explain)
    if chosen.plan:
        from diagnostics.probes.survey import plan

        print("\n".join(plan(chosen.spec, files=chosen.files)))
        return 0
    return None


def _explain(cause: str) -> int:
    from diagnostics.causes import page

    text = page.page(cause)
    if not text:
        near = page.near(cause)
        raise pytest.UsageError(f"there is no cause “{options.shown(cause)}”" + (f": did you mean {', '.join(near)}?" if near else ""))
    print(text)
    return 0


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    run = config.stash[RUN]
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if run.options.json == "-":
        run.document = sys.stdout
        if reporter is not None:  # stdout carries the document and nothing else
            run.document = reporter._tw._file
            from _pytest.config import create_terminal_writer

            reporter._tw = create_terminal_writer(config, sys.stderr)


# --- collection: our files, whatever the user's python_files says -------------------------------------------------------------


class CheckFile(pytest.File):
    """One module of checks."""

    def collect(self) -> Iterator[CheckItem]:
        for check in all_checks():
            if check.module == self.path.stem:
                yield CheckItem.from_parent(self, name=check.function.__name__, check=check)


class CheckItem(pytest.Item):
    """One question; its answer is in the judgement."""

    def __init__(self, *, check: Check, **more: Any) -> None:
        super().__init__(**more)
        self.check = check

    @property
    def result(self) -> CheckResult | None:
        return self.config.stash[RUN].results.get(self.check.id)

    def setup(self) -> None:
        """A bug of ours is a pytest ERROR, never a finding."""
        run = self.config.stash[RUN]
        if run.bug:
            raise OurBug(run.bug)
        if self.result and self.result.outcome == "error":
            raise OurBug(self.result.reason)

    def runtest(self) -> None:
        result, run = self.result, self.config.stash[RUN]
        if result is None or run.report is None:
            raise OurBug("this check was not judged")
        if result.outcome in ("blocked", "skipped"):
            pytest.skip(f"blocked by {result.blocked_by}: {result.reason}" if result.outcome == "blocked" and result.blocked_by else result.reason)
        if result.outcome == "failed":
            from diagnostics.render.failure import failure_text

            raise CheckFailed(failure_text(result, run.report.judgement))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CheckFailed | OurBug):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, self.check.function.__code__.co_firstlineno - 1, f"{self.check.id}: {self.check.question}"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    found = yield
    if PACKAGE not in file_path.parents:
        return found
    ours = file_path.parent == CHECKS and file_path.name.startswith("test_") and file_path.suffix == ".py"
    return [CheckFile.from_parent(parent, path=file_path)] if ours else []


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Of our package only the checks are tests."""
    inside = PACKAGE in collection_path.parents and collection_path.is_dir()
    return True if inside and collection_path != CHECKS else None


# --- look and judge -----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    items = [item for item in session.items if isinstance(item, CheckItem)]
    if items and not session.config.option.collectonly:
        with _terminated_like_interrupted():
            _look(session.config, [item.check for item in items])
            return (yield)
    return (yield)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does: with a report."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt("SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _look(config: pytest.Config, checks: list[Check]) -> None:
    from diagnostics.probes.survey import prepare

    run = config.stash[RUN]
    chosen = run.options
    wanted = frozenset(name for check in checks for name in check.needs) - ALWAYS
    try:
        survey = prepare(chosen.spec, files=chosen.files, timeout=chosen.timeout, digests=chosen.digests, python=chosen.python, wanted=wanted, progress=_progress(config))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    interrupted = ""
    try:
        survey.run()
    except KeyboardInterrupt as signal_:
        interrupted = str(signal_) or "Ctrl-C"
        raise
    except Exception:  # noqa: BLE001  # a bug of ours must not lose what was seen; it becomes a pytest ERROR and exit 3
        run.bug = traceback.format_exc()
    finally:
        survey.stop()
        _judge(run, survey, [check.id for check in checks], interrupted)


def _judge(run: Run, survey: Survey, wanted: Iterable[str], interrupted: str) -> None:
    from diagnostics import report
    from diagnostics.diagnosis import judge
    from diagnostics.render.anonymize import anonymize
    from diagnostics.waivers import apply_waivers

    case = survey.case()
    judgement = apply_waivers(judge(case, wanted), run.options.waivers, datetime.date.today())
    run.report = report.build(case, judgement, interrupted)
    if run.options.anonymize:
        run.report = anonymize(run.report)
    run.results = {result.check: result for result in run.report.judgement.results}


def _progress(config: pytest.Config) -> Any:
    """A line that is overwritten, on a terminal only."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is None or not reporter.isatty:
        return None

    def show(text: str) -> None:
        reporter.rewrite(f"diagnosing: {text}"[:79], erase=True)

    return show


# --- speak --------------------------------------------------------------------------------------------------------------------


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    if report.when == "call" and getattr(report, "diagnosis", "") == "warned":
        return "warned", "W", ("WARNED", {"yellow": True})
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if isinstance(item, CheckItem) and item.result:
        report.diagnosis = item.result.outcome  # type: ignore[attr-defined]  # a plain string: pytest-html and our own status read it
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Written before the summary is shown, whatever ended the run."""
    run = session.config.stash[RUN]
    if run.report is not None:
        _write(session.config, run, run.report)
        session.exitstatus = _exit_code(session, run, run.report.judgement)
    return (yield)


def _exit_code(session: pytest.Session, run: Run, judgement: Judgement) -> int:
    if session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        return int(session.exitstatus)
    if run.bug or any(result.outcome == "error" for result in judgement.results):
        return 3
    others_failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED and not any(result.outcome == "failed" for result in judgement.results)
    return 1 if others_failed else EXIT[judgement.verdict]


def _write(config: pytest.Config, run: Run, report: Report) -> None:
    from diagnostics import render
    from diagnostics.environment.process import continuous_integration
    from diagnostics.render import github
    from diagnostics.render import json as json_renderer

    try:
        written = render.write_all(report, run.options.folders(config.invocation_params.dir, Path(tempfile.gettempdir())))
        run.written = {name: shown_path(path) for name, path in written.items()}
    except OSError as error:
        run.written = {"": f"no report could be written: {error.strerror or error}"}
    if run.options.json == "-":
        run.document.write(json_renderer.text(report) + "\n")
        run.document.flush()
    elif run.options.json:
        with contextlib.suppress(OSError):
            Path(run.options.json).write_text(json_renderer.text(report), encoding="utf-8")
    on_github, summary = continuous_integration()
    if summary:
        with contextlib.suppress(OSError), open(summary, "a", encoding="utf-8") as file:
            file.write(github.step_summary(report))
    if on_github and run.options.json != "-":
        print("\n".join(github.annotations(report)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> Generator[None, object, object]:
    """Ours first: the root cause stands ahead of pytest's FAILURES."""
    run = config.stash[RUN]
    if run.report is not None:
        from diagnostics.render import terminal

        writer = terminalreporter._tw
        writer.line()
        writer.sep("=", "diagnosis", bold=True)
        for line in terminal.section(run.report, writer.fullwidth, run.written, ascii=not _speaks_unicode(writer)):
            writer.line(line.text, **line.markup)
        code = int(terminalreporter._session.exitstatus) if terminalreporter._session else int(exitstatus)  # type: ignore[attr-defined]
        writer.line(f"exit {code}: {MEANING.get(code, 'see pytest')}")
    return (yield)


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

    cause = str(report.longrepr).split(":", 1)[0] if report.failed and getattr(report, "diagnosis", "") else ""
    cells.insert(2, f"<td>{html.escape(cause)}</td>")


