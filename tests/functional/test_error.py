"""A pasted error through the real command: explained, aimed at, then confirmed or not; and a ticket's report judged again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.functional.runs import Outcome, in_world, run

PYTEST = [sys.executable, "-m", "pytest"]
SCRIPT = [sys.executable, "-m", "diagnostics"]
GPU = 'Traceback (most recent call last):\n  File "/app/main.py", line 3, in load\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n'
REFUSED = "httpx2.ConnectError: [Errno 111] Connection refused\n"


def pasted(folder: Path, text: str, *options: str) -> Outcome:
    """``pytest diagnostics --diagnose-error FILE`` with a demo as the target."""
    (folder / "error.log").write_text(text)
    return run([*PYTEST, "diagnostics", f"--diagnose-report={folder}", "--diagnose-error=error.log", *options], folder)


def test_an_error_is_confirmed_by_the_probes(tmp_path: Path) -> None:
    """What it can mean stands ahead of the run; the diagnosis is the probes' own, and names the text as evidence."""
    outcome = pasted(tmp_path, REFUSED, "--diagnose=demo:connection-refused")
    assert outcome.output.startswith("The text can mean (of error.log):\n  1. connection-refused")
    assert (outcome.code, outcome.roots[0]) == (1, ("connection-refused", "error"))
    assert any("Connection refused" in line["seen"] and line["subject"]["kind"] == "text" for line in outcome.document["diagnoses"][0]["evidence"])


def test_an_error_that_nothing_here_can_show_is_the_diagnosis_itself(tmp_path: Path) -> None:
    """From another machine, of a healthy target: its confidence is said, and the exit code is that of something broken."""
    outcome = pasted(tmp_path, GPU, "--diagnose=demo")
    assert (outcome.code, outcome.roots) == (1, [("gpu-memory-insufficient", "error")])
    assert "The error says that the accelerator has no room for it" in outcome.first_line
    failures = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("failure")
    assert [failure.get("message", "").partition(":")[0] for failure in failures] == ["gpu-memory-insufficient"]


def test_names_of_the_text_are_hidden_where_that_is_asked_for(tmp_path: Path) -> None:
    """--diagnose-anonymize: hosts and the home folder of the pasted text too, in every document; its twin shows them."""
    text = "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='hub.initech.example', port=443): Max retries exceeded (Caused by NewConnectionError('x: [Errno 111] Connection refused'))\n"
    for options, hidden in (([], False), (["--diagnose-anonymize"], True)):
        pasted(tmp_path, text, "--diagnose=demo", *options)
        documents = "".join((tmp_path / name).read_text() for name in ("report.json", "report.html", "report.md", "junit.xml"))
        assert ("initech" in documents) is not hidden


def test_a_healthy_log_of_a_healthy_target_is_healthy(tmp_path: Path) -> None:
    """The twin: nothing in it is known to be wrong."""
    outcome = pasted(tmp_path, "INFO loaded in 3.2 s\n", "--diagnose=demo")
    assert (outcome.code, outcome.roots) == (0, [])
    assert outcome.output.startswith("The text: nothing in it is known to be wrong.")


def test_an_error_is_read_from_standard_input(tmp_path: Path) -> None:
    """Before pytest's capturing closes it; with the JSON document alone on stdout."""
    command = [*PYTEST, "diagnostics", f"--diagnose-report={tmp_path}", "--diagnose=demo", "--diagnose-error", "-", "--diagnose-json", "-"]
    done = subprocess.run(command, input=GPU, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert json.loads(done.stdout)["diagnoses"][0]["cause"] == "gpu-memory-insufficient"
    assert "The text can mean (of standard input)" in done.stderr


@pytest.mark.parametrize(("text", "code", "said"), [(GPU, 1, "1. gpu-memory-insufficient"), ("INFO all is well\n", 0, "nothing in it is known to be wrong")])
def test_the_console_script_explains_a_file_without_looking_at_anything(tmp_path: Path, text: str, code: int, said: str) -> None:
    """No survey, no report: the text alone. A name that is no file is a cause's page."""
    (tmp_path / "x.log").write_text(text)
    outcome = run([*SCRIPT, "explain", "x.log"], tmp_path)
    assert (outcome.code, said in outcome.output, list(tmp_path.iterdir())) == (code, True, [tmp_path / "x.log"])
    assert "# connection-refused" in run([*SCRIPT, "explain", "connection-refused"], tmp_path).output


def test_a_ticket_is_judged_again_and_compared(tmp_path: Path) -> None:
    """Without the machine: the same roots; and what differs from where it works."""
    for name, spec in (("bad", "demo:connection-refused"), ("good", "demo")):
        (tmp_path / name).mkdir()
        run([*SCRIPT, spec, f"--diagnose-report={tmp_path / name}"], tmp_path)
    bad, good = tmp_path / "bad" / "report.json", tmp_path / "good" / "report.json"
    again = run([*SCRIPT, f"--diagnose-case={bad}", f"--diagnose-against={good}", f"--diagnose-report={tmp_path}"], tmp_path)
    assert (again.code, again.roots[0]) == (1, ("connection-refused", "error"))
    assert "Differs from the other report" in again.output and "refused here, connected there" in again.output


@pytest.mark.parametrize("option", ["--diagnose-error", "--diagnose-case", "--diagnose-against"])
def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, option: str) -> None:
    """A usage error, not a traceback."""
    outcome = run([*SCRIPT, "demo", f"{option}=no-such-file"], tmp_path)
    assert (outcome.code, "Traceback" in outcome.output) == (4, False)
    assert option in outcome.output


@pytest.mark.parametrize("text", ["", " \n\n\t\n"], ids=["empty", "blank"])
def test_nothing_to_read_is_no_clean_bill(tmp_path: Path, text: str) -> None:
    """A log that never arrived (an empty pipe, the wrong file) is a wrong use, not a healthy one."""
    (tmp_path / "x.log").write_text(text)
    for command in ([*SCRIPT, "demo", "--diagnose-error=x.log"], [*SCRIPT, "explain", "./x.log"]):
        outcome = run(command, tmp_path)
        assert (outcome.code, "nothing in it to read" in outcome.output) == (4, True), outcome.output


def test_a_vague_error_gives_way_to_what_is_seen(tmp_path: Path) -> None:
    """In a world of the lab: the sentence that transformers prints for everything, and the one cause behind it."""
    (tmp_path / "error.log").write_text(
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.\n"
    )
    outcome = in_world("connection-refused", tmp_path, f"--diagnose-error={tmp_path / 'error.log'}")
    assert outcome.roots[0][0] == "connection-refused"
