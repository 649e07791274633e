"""However a run ends, what was known by then is in the report."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.runs import Outcome

CLEAN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@contextlib.contextmanager
def silent_host() -> Iterator[tuple[str, Callable[[], None]]]:
    """A host that takes a connection and a request, and says nothing; and a wait until it is asked: the survey is under way then."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(60)

        def until_asked() -> None:
            connection = stack.enter_context(listener.accept()[0])
            connection.recv(1)

        yield f"http://127.0.0.1:{listener.getsockname()[1]}/model.bin", until_asked


def begin(spec: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={spec}", f"--diagnose-report={folder}", *options]
    return subprocess.Popen(command, cwd=folder, env={**CLEAN, "HOME": str(folder)}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen[str], folder: Path) -> Outcome:
    output, _ = process.communicate(timeout=60)
    return Outcome(code=process.returncode, output=output, folder=folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_report(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, and the SIGTERM of a scheduler: exit 2, and the report says what was being waited for, which is nobody's fault yet."""
    with silent_host() as (spec, until_asked):
        process = begin(spec, tmp_path)
        until_asked()
        process.send_signal(number)
        outcome = end(process, tmp_path)
    assert outcome.code == 2, outcome.output
    assert outcome.document["interrupted"] == ("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
    assert outcome.first_line.startswith(f"· Interrupted ({outcome.document['interrupted']}) before anything was found wrong, while waiting for"), (
        outcome.output
    )
    assert outcome.document["verdict"] == "unverified"
    assert outcome.document["diagnoses"] == [], "silence that was cut short is no finding"


def test_a_second_interrupt_does_not_end_the_writing(tmp_path: Path) -> None:
    """Two SIGTERMs in a row, as impatient schedulers send them."""
    with silent_host() as (spec, until_asked):
        process = begin(spec, tmp_path)
        until_asked()
        process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        outcome = end(process, tmp_path)
    assert outcome.document["interrupted"] == "SIGTERM"
    assert outcome.code == 2, outcome.output


def test_a_host_that_never_answers_ends_within_the_budget(tmp_path: Path) -> None:
    """A survey that runs out of time is judged by what it saw."""
    with silent_host() as (spec, _):
        started = time.monotonic()
        outcome = end(begin(spec, tmp_path, "--diagnose-timeout=3"), tmp_path)
        seconds = time.monotonic() - started
    assert outcome.code == 1, outcome.output
    assert len(outcome.roots) == 1
    assert outcome.document["seconds"] < 3 + 3
    assert seconds < 30, "ample room for a busy machine"
