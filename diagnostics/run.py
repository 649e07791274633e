"""One diagnostic run: look once, judge once, write what is known, whatever ended it."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pytest

from diagnostics import options, redact
from diagnostics.case import NO_TRIAL, NOT_ASKED, Case, CheckResult, Judgement, Repaired, Repairs, Report, Trial, Unseen
from diagnostics.diagnosis import Check
from diagnostics.inputs import Inputs
from diagnostics.waivers import apply_waivers

if TYPE_CHECKING:
    from diagnostics.probes.survey import Survey

FREE = frozenset({"target", "environment"})  # records that need no probe
LISTS = frozenset({"listing", "journeys", "files", "digests"})  # what a list of files is written from
FOR_A_REPAIR = frozenset({"files", "digests", "journeys", "legs", "listing", "cache_state", "disks"})  # what a repair is planned from
FOR_A_TRIAL = frozenset({"files", "listing", "journeys", "model"})  # what has to be known of a target before it is loaded
EXIT = {"healthy": 0, "degraded": 0, "broken": 1, "unverified": 5}


class Run:
    """What was asked, seen, judged and written."""

    def __init__(self, chosen: options.Options, stdout: TextIO | None = None, given: Inputs | None = None) -> None:
        self.options, self.stdout, self.given = chosen, stdout, given or Inputs(spec=chosen.spec)
        self.report: Report | None = None
        self.interrupted = ""  # by what
        self.written: dict[str, str] = {}  # kind of report → where it is
        self.unwritten: list[str] = []  # what could not be written, and why
        self.notes: list[str] = []  # what else was written, to print
        self.show_command = False  # what the user's own command prints is passed through
        self.announce: Callable[[str], None] = lambda text: None
        self._trial: Trial | Unseen = NO_TRIAL
        self.restore: Callable[[], object] = lambda: None  # gives back what the run took over (a signal handler)
        self._survey: Survey | None = None
        self._checks: list[str] = []
        self._bug = ""
        self._bug_told = False
        self._before: Judgement | None = None  # of the first look, where something was to be repaired
        self._done: list[Repaired] = []
        self._cannot = ""

    # --- look and judge ---

    def look(self, checks: list[Check], progress: Callable[[str], None] | None) -> None:
        """Survey what these checks need, then judge. An interrupt passes through; a bug of ours is kept for the items to tell."""
        with _quiet():
            self._checks = [check.id for check in checks]
            if self.given.case is not None:
                self._judge()
                return
            wanted = self._wanted(checks)
            self._look_once(wanted, progress)
            if self.options.repair and not self._bug:
                self._repair(progress)
                if any(item.outcome in ("repaired", "not_needed") for item in self._done):
                    self._look_once(wanted, progress)
            if self.options.load and "trial" in wanted and not self._bug:
                self._call(lambda: self._try(progress))
                self._judge()

    def _wanted(self, checks: list[Check]) -> frozenset[str]:
        """The records that these checks need, and what was asked for beside them."""
        chosen, asked = self.options, frozenset(name for check in checks for name in check.needs) - FREE
        for extra, wanted in ((LISTS, bool(chosen.manifest)), (FOR_A_REPAIR, chosen.repair), (FOR_A_TRIAL, chosen.load and asked == {"trial"})):
            asked |= extra if wanted else frozenset()
        return asked

    def _look_once(self, wanted: frozenset[str], progress: Callable[[str], None] | None) -> None:
        from diagnostics.probes.survey import prepare

        chosen = self.options
        try:
            survey = prepare(
                chosen.spec,
                files=chosen.files,
                timeout=chosen.timeout,
                digests=chosen.digests,
                python=chosen.python,
                wanted=wanted,
                listed=bool(chosen.manifest),
                build=chosen.load,  # with a trial load, torch's seconds are asked for anyway
                progress=progress,
                save_ca="" if self._before else chosen.save_ca,
            )
        except ValueError as error:  # demo:FAULT that does not exist
            raise pytest.UsageError(redact.plain(str(error))) from None
        self._survey = survey
        self._call(survey.run)
        survey.stop()
        self._judge()

    def _call(self, phase: Callable[[], object]) -> None:
        """What it raises is a bug of ours, kept for the items to tell; an interrupt passes through, and ends what is under way."""
        survey = self._survey
        assert survey is not None
        try:
            call = pytest.CallInfo.from_call(phase, "setup", reraise=(KeyboardInterrupt, SystemExit, pytest.exit.Exception))
        except BaseException:
            survey.stop()
            raise
        if call.excinfo is not None:
            self._bug = _clean_lines(survey, str(call.excinfo.getrepr(style="native")))

    # --- put right ---

    def _repair(self, progress: Callable[[str], None] | None) -> None:
        """Between two looks; what was broken before is kept for the report."""
        from diagnostics.diagnosis import judge
        from diagnostics.repair.session import put_right

        survey, case = self._survey, self._seen()
        assert survey is not None and self.report is not None
        self._before = self._judged(case)
        self._cannot = "" if self.options.spec else "a repair needs a target that was named: --diagnose SPEC"
        if self._cannot:
            self._judge()
            return

        def work() -> None:
            whole = apply_waivers(judge(case), self.options.waivers, datetime.date.today())  # a broken network counts, whatever was asked with -k
            self._cannot = put_right(case, whole.diagnoses, survey, self.options.repair_from, judge, progress or (lambda text: None), self._done)

        try:
            self._call(work)
        finally:
            self._judge()  # with what was done, also after an interrupt

    def _try(self, progress: Callable[[str], None] | None) -> None:
        """The load itself, a phase of its own. An interrupt passes through, after all of it was ended."""
        from diagnostics.diagnosis import judge
        from diagnostics.environment.process import variables
        from diagnostics.trial import plan_of, try_load

        survey = self._survey
        assert survey is not None
        if self.options.spec.split(":")[0] == "demo":
            self._trial = Unseen("absent", "a demo brings a world of its own, whose model is not loaded")
            return
        chosen, case = self.options, survey.case()
        command = tuple(shlex.split(chosen.load_command))
        first = next((item.title for item in judge(case).diagnoses if item.severity == "error"), "")
        plan = plan_of(case, variables(), chosen.python, command, survey.secrets.clean(chosen.load_command, 200), first)
        if isinstance(plan, Unseen):
            self._trial = plan
            return
        self._trial = Unseen("not_asked", "the run was interrupted before the trial load had ended")
        self.announce(f"trying the load: {plan.what} (at most {chosen.load_seconds:.0f} s; network {plan.network}: {plan.network_why})")

        def tell(seconds: float) -> None:
            if progress:
                progress(f"the load, {seconds:.0f} s of at most {chosen.load_seconds:.0f}")

        self._trial = try_load(plan, case, survey.secrets, seconds=chosen.load_seconds, memory=chosen.load_memory, show=self.show_command, progress=tell)

    def _judge(self) -> None:
        from diagnostics import report
        from diagnostics.render.anonymize import anonymize

        case = self._seen()
        repairs = NOT_ASKED if self._before is None else Repairs(before=self._before, done=tuple(self._done), cannot=self._cannot)
        self.report = report.build(case, self._judged(case), self.interrupted or ("a bug of ours" if self._bug else ""), repairs)
        if self.options.anonymize:
            self.report = anonymize(self.report)

    def _judged(self, case: Case) -> Judgement:
        from diagnostics.diagnosis import judge

        return apply_waivers(judge(case, self._checks), self.options.waivers, datetime.date.today())

    def _seen(self) -> Case:
        """What is known: of this machine, or of the one that a report is from; with the clues of a pasted error."""
        if self.given.case is not None:
            return self._for_shell(self.given.case)
        from diagnostics.report import cut_short

        assert self._survey is not None
        case = self._for_shell(dataclasses.replace(self._survey.case(), clues=self.given.clues, trial=self._trial))
        return cut_short(case) if self.interrupted or self._bug else case

    def _for_shell(self, case: Case) -> Case:
        """The same case with remedies to be written for the shell or place that was asked for."""
        if self.options.shell == "auto":
            return case
        return dataclasses.replace(case, environment=dataclasses.replace(case.environment, shell=self.options.shell))

    def differences(self) -> list[str]:
        """What differs from the machine of --diagnose-against, to print."""
        from diagnostics.comparison import lines

        return lines(self.report.case, self.given.against) if self.report is not None and self.given.against is not None else []

    # --- for the items ---

    def result(self, check: str) -> CheckResult | None:
        return next((result for result in self.report.judgement.results if result.check == check), None) if self.report else None

    def text(self, result: CheckResult) -> str:
        from diagnostics.render.failure import failure_text

        return failure_text(result, self.report.judgement if self.report else Judgement(diagnoses=(), results=(), verdict="unverified"))

    def bug(self) -> str:
        """The traceback of a survey that broke, once; then a word."""
        told, self._bug_told = self._bug_told, bool(self._bug)
        return "the survey broke: see the first error" if self._bug and told else self._bug

    # --- speak ---

    def finish(self, here: Path) -> None:
        """Judge what is known, if that was not possible before, and write it."""
        with _quiet():
            late = self.report is not None and self.interrupted and not self.report.interrupted  # during a repair, or the look after it
            if late or (self.report is None and (self._survey is not None or self.given.case is not None)):
                self._judge()
            if self.report is not None:
                self._write(self.report, here)
            if self.options.manifest and self._survey is not None:
                self._write_manifest(self._seen(), here)  # before names were made anonymous: it is for use

    def exit_code(self, before: int) -> int:
        """0 healthy or warnings only, 1 broken (or the user's own tests failed), 3 a bug of ours, 5 nothing verified; what pytest says of itself stays."""
        if self.report is None or before in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
            return before
        judgement = self.report.judgement
        if self._bug or any(result.outcome == "error" for result in judgement.results):
            return 3
        theirs = before == pytest.ExitCode.TESTS_FAILED and not any(result.outcome == "failed" for result in judgement.results)
        return 1 if theirs else EXIT[judgement.verdict]

    def _write(self, report: Report, here: Path) -> None:
        from diagnostics.environment.process import continuous_integration, termination_log
        from diagnostics.render import github, kubernetes, write_all
        from diagnostics.render import json as json_renderer

        with self._noting("no report"):
            self.written = {kind: redact.path(path) for kind, path in write_all(report, list(report_folders(self.options.report, here))).items()}
        if self.stdout is not None or self.options.json:
            with self._noting("no JSON document"):
                document = json_renderer.text(report) + "\n"
                if self.stdout is not None:
                    self.stdout.write(document)
                    self.stdout.close()
                else:
                    (here / self.options.json).write_text(document, encoding="utf-8")
        _, summary = continuous_integration()
        if summary:
            with self._noting("no step summary"), open(summary, "a", encoding="utf-8") as file:
                file.write(github.step_summary(report))
        if (log := termination_log()) and (message := kubernetes.termination_message(report)):
            with self._noting("no termination message"), open(log, "w", encoding="utf-8") as file:
                file.write(message + "\n")

    def _write_manifest(self, case: Case, here: Path) -> None:
        from diagnostics.render import manifest, write

        try:
            document = manifest.text(case)
        except manifest.NoList as error:
            self.unwritten.append(f"no list of files could be written: {error}")
            return
        place = here / Path(self.options.manifest).expanduser()
        with self._noting("no list of files"):
            self.notes.append(f"list of files: {redact.path(write(place, document))}{_bare(manifest.without_digest(document))}")

    @contextlib.contextmanager
    def _noting(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.unwritten.append(f"{what} could be written: {error.strerror or redact.plain(str(error))}")


def report_folders(asked: str, here: Path) -> Iterator[Path]:
    """Where the report may go, best first."""
    if asked:
        yield here / Path(asked).expanduser()
    yield here / "reports"
    with contextlib.suppress(OSError):  # no folder for temporary files at all
        yield Path(tempfile.gettempdir()) / "pytest-diagnostics"


def _bare(count: int) -> str:
    return f" ({count} of them without a published digest: --diagnose-digests all computes it of what lies here)" if count else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of what we use are not the user's, who may have made every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _clean_lines(survey: Survey, text: str) -> str:
    """A traceback that shows no credential: the message of an exception may hold a URL."""
    return "\n".join(survey.secrets.clean(line, 500) for line in text.splitlines())
