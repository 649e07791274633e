"""The section of the terminal and what GitHub Actions is told."""

from __future__ import annotations

import dataclasses
import re
import unicodedata

import pytest

from diagnostics.case import Remedy, Report
from diagnostics.render import FILES, github, terminal
from diagnostics.render.terminal import columns
from tests.examples import SAMPLES, broken, healthy, hostile, several

PATHS = {name: f"reports/{name}" for name in FILES}


def lines(report: Report, width: int = 80, ascii: bool = False) -> list[str]:
    return [line.text for line in terminal.section(report, width, PATHS, ascii)]


def test_root_then_remedy_then_evidence_then_checks() -> None:
    """In the order in which a person acts."""
    text = "\n".join(lines(broken()))
    order = [
        "✗ TLS to huggingface.co",
        "  Do:    ",
        "  Run:   ",
        "  Check: ",
        "  Why:   ",
        "  · huggingface.co:443: verification",
        "  Or:    Ask the admin",
        "[tls-intercepted]",
        " checks passed",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.startswith(order[0])


def test_healthy_is_said_first_and_passing_checks_take_one_line() -> None:
    found = lines(healthy())
    assert found[0] == "✓ Healthy: nothing stands in the way of google-bert/bert-base-uncased"
    passed = sum(result.outcome == "passed" for result in healthy().judgement.results)
    assert [line for line in found if "passed" in line] == [f"✓ {passed} of {len(healthy().judgement.results)} checks passed"]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", SAMPLES)
def test_prose_keeps_to_the_width_and_commands_stay_whole(name: str, width: int) -> None:
    report = SAMPLES[name]()
    found = lines(report, width)
    pasted = [line for line in found if re.match(r"  (Run|Check): ", line)]
    for line in found:
        assert line in pasted or columns(line) <= width or max(len(word) for word in line.split()) > width - 12
    if name != "hostile":
        commands = [text for item in report.judgement.diagnoses if not item.waived for remedy in item.remedies for text in (remedy.run, remedy.check) if text]
        assert [line.partition(":")[2].strip() for line in pasted] == commands


def test_a_command_of_any_length_is_one_line() -> None:
    found = broken()
    first = dataclasses.replace(found.judgement.diagnoses[0], remedies=(Remedy(do="Paste.", run="echo " + "x " * 20_000 + "end"),))
    shown = lines(dataclasses.replace(found, judgement=dataclasses.replace(found.judgement, diagnoses=(first,))), 40)
    assert [line for line in shown if "Run:" in line] == ["  Run:   echo " + "x " * 20_000 + "end"]


def test_wide_characters_count_twice() -> None:
    """A path in Chinese wraps where the terminal does."""
    found = broken()
    first = dataclasses.replace(found.judgement.diagnoses[0], title=" ".join(["模型下载"] * 12))
    shown = lines(dataclasses.replace(found, judgement=dataclasses.replace(found.judgement, diagnoses=(first,))), 40)
    assert max(columns(line) for line in shown if "模" in line) <= 40
    assert columns("模a\u0301") == 3


@pytest.mark.parametrize("name", SAMPLES)
def test_ascii_is_ascii(name: str) -> None:
    assert all(line.isascii() for line in lines(SAMPLES[name](), ascii=True))


def test_nothing_hostile_acts_on_the_terminal() -> None:
    shown = lines(hostile())
    assert {char for line in shown for char in line if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")} == set()


def test_no_line_is_a_workflow_command() -> None:
    """The runner takes ``::name`` after blanks, and ``##[`` anywhere, for a command of ours."""
    found = broken()
    first = dataclasses.replace(found.judgement.diagnoses[0], title="x " * 38 + "::stop-commands::t ##[error]t", why="::add-mask::e")
    shown = lines(dataclasses.replace(found, judgement=dataclasses.replace(found.judgement, diagnoses=(first,))), 80)
    assert any("stop-commands" in line for line in shown)
    assert [line for line in (*shown, *lines(hostile())) if line.lstrip().startswith("::") or "##[" in line] == []


def test_an_interrupted_or_empty_run_is_never_green() -> None:
    assert lines(SAMPLES["unverified"]())[0].startswith("· Nothing could be verified")
    stopped = dataclasses.replace(healthy(), interrupted="Ctrl-C")
    assert lines(stopped)[0].startswith("· Interrupted (Ctrl-C) before anything was found wrong")


def test_a_waived_root_is_said_and_not_alarmed() -> None:
    found = terminal.section(SAMPLES["waived"](), 80, PATHS)
    assert any(line.text.startswith("· Waived: TLS to huggingface.co") for line in found)
    assert not any(line.markup.get("red") for line in found)


# --- GitHub Actions -----------------------------------------------------------------------------------------------------------


def test_one_annotation_a_root() -> None:
    commands = github.workflow_commands(several())
    assert [command.partition(" ")[0] for command in commands] == ["::error", "::error", "::warning"]
    assert github.workflow_commands(healthy()) == github.workflow_commands(SAMPLES["waived"]()) == []


def test_an_annotation_holds_one_command_and_nothing_that_ends_it() -> None:
    """Title and message are escaped as the toolkit does."""
    for command in github.workflow_commands(hostile()):
        parsed = re.fullmatch(r"::(?:error|warning) title=([^:,\r\n]*)::([^\r\n]*)", command)
        assert parsed
        assert "##[" not in command
        assert re.findall(r"%(?!25|0A|0D|3A|2C)", command) == []


def test_an_annotation_says_what_to_do() -> None:
    assert "Get the root certificate" in github.workflow_commands(broken())[0]
    assert "%0ARun: cat " in github.workflow_commands(broken())[0]


def test_a_title_with_separators_stays_a_title() -> None:
    found = broken()
    first = dataclasses.replace(found.judgement.diagnoses[0], title="100%: a, b::c")
    command = github.workflow_commands(dataclasses.replace(found, judgement=dataclasses.replace(found.judgement, diagnoses=(first,))))[0]
    assert command.startswith("::error title=100%25%3A a%2C b%3A%3Ac::")
