"""``--diagnose-failures``: any failing test of the user's own that failed by a known cause says so in a section of its report. No survey, the exception alone."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from diagnostics import errors

SURE = 0.3  # of the best explanation: a guess is no help in a test's report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.excinfo is not None and not _is_the_tests_own(item, call.excinfo):
        clues = errors.clues_of(call.excinfo.value, "")
        if clues.decided and clues.explanations and clues.explanations[0].confidence >= SURE:
            report.sections.append(("diagnosis", "\n".join(errors.lines(clues)[:6])))
    return report


def _is_the_tests_own(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> bool:
    """An assertion in the test itself compares texts: what they speak of did not happen."""
    return excinfo.errisinstance(AssertionError) and str(excinfo.traceback[-1].path) == str(item.path)
