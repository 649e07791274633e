"""What a newcomer reads first, where it used to mislead."""

from __future__ import annotations

import dataclasses

import pytest

from diagnostics import cli, explain
from diagnostics.diagnosis import all_checks
from diagnostics.render import terminal
from tests.examples import broken, healthy


def test_the_id_in_transformers_own_sentence_is_the_subject() -> None:
    """The line alone, as people paste it; the exception's name stands before the id."""
    text = "OSError: google-bert/bert-base-uncasd is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'"
    first = explain(text)[0]
    assert ("repository", "google-bert/bert-base-uncasd") in [(subject.kind, subject.name) for subject in first.subjects]


def test_what_is_waived_is_not_passed_off_as_nothing() -> None:
    """Its twin, without the waiver, is no healthy line at all."""
    report = broken()
    waived = tuple(dataclasses.replace(diagnosis, waived="known (until 2030-01-01)") for diagnosis in report.judgement.diagnoses)
    hidden = dataclasses.replace(report, judgement=dataclasses.replace(report.judgement, diagnoses=waived, verdict="healthy"))
    assert terminal.section(hidden, 100, {})[0].text.startswith("✓ Healthy: nothing but what is waived stands in the way of")
    assert terminal.section(report, 100, {})[0].text.startswith("✗ ")


def test_a_file_that_is_not_there_is_no_unknown_cause(capsys: pytest.CaptureFixture[str]) -> None:
    """``explain FILE``: an id has neither a slash nor a dot."""
    assert cli.main(["explain", "/nowhere/crash.log"]) == 4
    assert "cannot be read: No such file" in capsys.readouterr().err


def test_green_goes_no_further_than_the_checks_that_were_asked() -> None:
    """-k disk on a machine without a network is no healthy machine."""
    report = healthy()
    some = dataclasses.replace(report, judgement=dataclasses.replace(report.judgement, results=report.judgement.results[:3]))
    first = " ".join(line.text.strip() for line in terminal.section(some, 100, {})[:2])
    assert first.endswith(f"(only 3 of {len(all_checks())} checks were asked)")
    assert "only" not in terminal.section(report, 200, {})[0].text
