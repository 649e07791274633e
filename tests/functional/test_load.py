"""The trial load through the real command: what the user's own commands do to it, and that nothing is left of any of them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diagnostics.lab import model
from tests.functional.runs import Outcome, run

SCRIPT = [sys.executable, "-m", "diagnostics", "load"]
PYTHON = shlex.quote(sys.executable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A healthy model, for commands that load it or pretend to."""
    model.write(model.tiny_bert(), tmp_path / "tiny-bert")
    return tmp_path


def load(folder: Path, command: str, *options: str, seconds: float = 120) -> Outcome:
    """``pytest-diagnostics load ./tiny-bert OPTIONS -- sh -c COMMAND``."""
    return run([*SCRIPT, "./tiny-bert", f"--diagnose-report={folder}", *options, "--", "sh", "-c", command], folder, seconds=seconds)


def alive(mark: str) -> list[str]:
    """Processes whose command line holds ``mark``."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                text = Path("/proc", name, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found += [text] if mark in text and "pytest" not in text and "diagnostics" not in text else []
    return found


def groups() -> list[str]:
    return [str(path) for path in Path("/sys/fs/cgroup").glob("**/diagnostics-trial-*")]


def of_trial(outcome: Outcome) -> dict[str, object]:
    return outcome.document["case"]["trial"]  # type: ignore[no-any-return]


def test_a_command_that_works_is_healthy_and_its_output_is_seen(folder: Path) -> None:
    """Exit 0; what it prints passes through, ahead of the report."""
    outcome = load(folder, "echo loaded 12 tensors; echo and a word to stderr >&2")
    assert (outcome.code, outcome.roots) == (0, []), outcome.output
    assert "loaded 12 tensors" in outcome.output.partition(" diagnosis ==")[0] and "a word to stderr" in outcome.output
    assert "The trial load (sh -c" in outcome.output


@pytest.mark.parametrize(
    ("command", "cause", "outcome"),
    [
        (f"exec {PYTHON} -c 'import ctypes; ctypes.string_at(0)'", "load-crashed", "crashed"),
        (f"{PYTHON} -c 'import ctypes; ctypes.string_at(0)'; exit $?", "load-crashed", "crashed"),
        ("kill -9 $$", "load-killed", "killed"),
        ("exit 139", "load-failed", "failed"),
        ("exit 137", "load-failed", "failed"),
        (f"exec {PYTHON} -c 'import sentencepiece_of_nobody'", "package-missing", "failed"),
        (f"exec {PYTHON} -c 'raise RuntimeError(\"nobody has seen this\")'", "load-failed", "failed"),
    ],
    ids=["segfault", "segfault under a shell", "kill", "says 139 itself", "says 137 itself", "import", "exception"],
)
def test_each_end_leads_to_its_cause(folder: Path, command: str, cause: str, outcome: str) -> None:
    """What a command says of itself is not taken for a signal."""
    ended = load(folder, command)
    assert (ended.code, ended.roots, of_trial(ended)["outcome"]) == (1, [(cause, "error")], outcome), ended.output


@pytest.mark.parametrize("inside", ["exec", ""], ids=["the command itself", "a child of it"])
def test_what_takes_too_much_memory_is_killed_at_its_limit(folder: Path, inside: str) -> None:
    """In a control group where one may be made, else by watching; the machine keeps its memory."""
    ended = load(folder, f"{inside} {PYTHON} -c 'hold = [bytearray(8 << 20) for number in range(1000)]'; exit $?", "--diagnose-load-memory=100M")
    assert (ended.code, ended.roots) == (1, [("load-killed", "error")]), ended.output
    trial = of_trial(ended)
    assert trial["killer"] in ("limit", "watch") and trial["memory_limit_bytes"] == 100_000_000
    assert trial["peak_bytes"] < 400_000_000  # type: ignore[operator]
    assert groups() == []


def test_a_hang_is_ended_and_says_where(folder: Path) -> None:
    """Also where SIGTERM and SIGABRT are ignored."""
    (folder / "slow.py").write_text("import time\n\n\ndef wait_for_godot():\n    time.sleep(1000)\n\n\nwait_for_godot()\n")
    ended = load(folder, f"exec {PYTHON} slow.py", "--diagnose-load-timeout=2")
    assert (ended.code, ended.roots, of_trial(ended)["outcome"]) == (1, [("load-failed", "error")], "hung"), ended.output
    assert "wait_for_godot" in ended.first_line + ended.output
    ended = load(folder, "trap '' TERM ABRT; while :; do sleep 0.2; done", "--diagnose-load-timeout=1")
    assert (of_trial(ended)["outcome"], ended.code) == ("hung", 1)


def test_what_runs_away_is_found_and_ended(folder: Path) -> None:
    """Daemons in sessions of their own, whose parents have ended."""
    ended = load(folder, "(setsid sleep 98761 &); setsid sleep 98761 & exit 0")
    assert (ended.code, of_trial(ended)["left_running"]) == (0, 2)
    assert (alive("sleep 98761"), groups()) == ([], [])


def test_gigabytes_of_output_are_bounded(folder: Path) -> None:
    """The beginning and the end are kept; the report stays small."""
    noise = "import sys; print('begin'); [sys.stdout.write('x' * 1048576) for number in range(200)]; sys.exit('the end of it all')"
    ended = load(folder, f"{PYTHON} -c {shlex.quote(noise)} > /dev/stderr", seconds=300)
    assert of_trial(ended)["output_bytes"] > 200 << 20  # type: ignore[operator]
    assert any("the end of it all" in line for line in of_trial(ended)["output"])  # type: ignore[attr-defined]
    assert (folder / "report.json").stat().st_size < 2_000_000


def test_colours_and_credentials_do_not_reach_the_report(folder: Path) -> None:
    """Its own terminal sees what it prints; the documents hold neither."""
    token = "hf_" + "aBcDeFgHiJ" * 3 + "KLMN"
    load(folder, f"printf '\\033[31mloading with {token}\\033[0m\\033]0;owned\\007\\n'; exit 3")
    documents = "".join((folder / name).read_text() for name in ("report.html", "report.json", "report.md", "junit.xml"))
    assert (token in documents, "\x1b" in documents, "\\u001b" in documents) == (False, False, False)
    assert "loading with" in documents


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_whatever_ends_us(folder: Path, end: signal.Signals) -> None:
    """Ctrl-C and SIGTERM leave a report; kill -9 cannot, but the load ends all the same."""
    command = [*SCRIPT, "./tiny-bert", f"--diagnose-report={folder}", "--", "sh", "-c", "echo begun; (setsid sleep 98762 &); sleep 98762"]
    variables = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    assert process.stdout is not None
    while line := process.stdout.readline():
        if b"begun" in line:
            break
    time.sleep(0.3)
    process.send_signal(end)
    with process.stdout:
        process.stdout.read()
    process.wait(60)
    deadline = time.monotonic() + 20
    while (alive("sleep 98762") or groups()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (alive("sleep 98762"), groups()) == ([], [])
    assert (folder / "report.json").exists() is (end is not signal.SIGKILL)


def test_a_keeper_that_is_killed_leaves_nothing_either(folder: Path) -> None:
    """A command that kills its parent: no verdict on the load, and no process of it."""
    ended = load(folder, "(setsid sleep 98763 &); kill -9 $PPID; sleep 98763")
    assert of_trial(ended)["unseen"] == "unsupported", ended.output
    assert (alive("sleep 98763"), groups()) == ([], [])


def test_without_being_asked_nothing_is_tried(folder: Path) -> None:
    """The check is skipped, with the way to ask."""
    outcome = run([sys.executable, "-m", "diagnostics", "./tiny-bert", f"--diagnose-report={folder}", "-rs"], folder)
    checks = {item["check"]: item for item in outcome.document["checks"]}
    assert (checks["load/the-model-loads"]["outcome"], "--diagnose-load" in checks["load/the-model-loads"]["reason"]) == ("skipped", True)
    assert outcome.document["case"]["trial"]["unseen"] == "not_asked"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["load"], "name what is to be loaded"),
        (["load", "./x", "--"], "no command stands behind --"),
        (["load", "./x", "--", "no-such-program"], "there is no program"),
        (["./x", "--diagnose-load", "--diagnose-load-memory=lots"], "give bytes"),
        (["./x", "--diagnose-load", "--diagnose-load-timeout=never"], "give seconds between 0.5 and 86400"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_wrong_use_is_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    """Exit 4, and no traceback."""
    outcome = run([sys.executable, "-m", "diagnostics", *arguments], tmp_path)
    assert (outcome.code, said in outcome.output, "Traceback" in outcome.output) == (4, True, False), outcome.output
