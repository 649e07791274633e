"""What holds for every test: no warning passes, and where NOTHING_MAY_BE_SKIPPED is set (.ci/run) no test is skipped for want of a tool."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator

import hypothesis
import pytest

# The same examples every time where a gate hangs on it; new ones at a desk, where somebody can look.
hypothesis.settings.register_profile("gate", derandomize=True)
hypothesis.settings.load_profile("gate" if os.environ.get("NOTHING_MAY_BE_SKIPPED") else "default")

# A shell without job control starts what it puts into the background deaf to Ctrl-C, and so would be all that the tests start and interrupt.
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Here and not in pyproject.toml, which a user's ``pytest diagnostics`` in a checkout would read."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("error"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    elsewhere = "tried in a second environment" in str(report.longrepr)
    if report.skipped and os.environ.get("NOTHING_MAY_BE_SKIPPED") and not elsewhere and not hasattr(report, "diagnosis"):
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report
