"""Inside other people's pytest: their settings, plugins and folders neither break our run nor notice that we are installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.functional.runs import Outcome, run

PYTEST = [sys.executable, "-m", "pytest"]
HEAVY = ("diagnostics", "requests", "dns", "psutil", "jinja2", "tqdm")
DEMO = "--diagnose=demo"
BROKEN = "--diagnose=demo:connection-refused"


def ours(folder: Path, *options: str, **more: object) -> Outcome:
    """``pytest diagnostics`` in a folder that has none."""
    return run([*PYTEST, "diagnostics", f"--diagnose-report={folder}", *options], folder, **more)  # type: ignore[arg-type]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_an_unrelated_run_imports_nothing_of_ours(tmp_path: Path) -> None:
    """Our entry point loads in every pytest run of the environment, so it must weigh nothing."""
    write(tmp_path, test_it_dot_py=f"import sys\ndef test_it():\n    assert [name for name in {HEAVY!r} if name in sys.modules] == []\n")
    outcome = run([*PYTEST, "-q"], tmp_path)
    assert outcome.code == 0, outcome.output
    assert "1 passed" in outcome.output
    assert "diagnosis" not in outcome.output


def test_a_project_with_its_own_package_diagnostics_works_as_before(tmp_path: Path) -> None:
    """Its folder of our name is its own: by path, from the root, and by default."""
    write(tmp_path, diagnostics____init___dot_py="X = 1\n", diagnostics__test_own_dot_py="from diagnostics import X\n\ndef test_own():\n    assert X == 1\n")
    (tmp_path / "diagnostics" / "__init__.py").write_text("X = 1\n")
    for arguments in ([], ["diagnostics"], ["diagnostics/test_own.py::test_own"]):
        outcome = run([*PYTEST, "-q", *arguments], tmp_path)
        assert outcome.code == 0, outcome.output
        assert "1 passed" in outcome.output
    refused = run([*PYTEST, "diagnostics", DEMO], tmp_path)
    assert refused.code == 4
    assert "run pytest-diagnostics SPEC instead" in refused.output
    assert "Traceback" not in refused.output


def test_the_console_script_is_shielded_from_the_folder_it_stands_in(tmp_path: Path) -> None:
    """pytest.ini, conftest.py, PYTEST_ADDOPTS and a folder of our name change nothing."""
    write(
        tmp_path,
        pytest_dot_ini="[pytest]\naddopts = --no-such-option\n",
        conftest_dot_py="raise SystemExit('read')\n",
        diagnostics__x_dot_py="raise SystemExit('read')\n",
    )
    script = Path(sys.executable).with_name("pytest-diagnostics")
    outcome = run([str(script), "demo", f"--diagnose-report={tmp_path}"], tmp_path, {"PYTEST_ADDOPTS": "--no-such-option", "PYTEST_PLUGINS": "nowhere"})
    assert outcome.code == 0, outcome.output
    assert outcome.document["verdict"] == "healthy"


@pytest.mark.parametrize("arguments", [["demo", "-q"], ["-q", "demo"], ["--diagnose-timeout", "20", "demo", "-x"], ["--diagnose=demo"]], ids=" ".join)
def test_the_console_script_takes_its_spec_anywhere(arguments: list[str], tmp_path: Path) -> None:
    """Among options with and without values; two are a usage error."""
    script = str(Path(sys.executable).with_name("pytest-diagnostics"))
    outcome = run([script, *arguments, f"--diagnose-report={tmp_path}"], tmp_path)
    assert outcome.code == 0, outcome.output
    assert outcome.document["targets"][0]["spec"] == "demo"
    refused = run([script, *arguments, "another"], tmp_path)
    assert refused.code == 4
    assert "give one SPEC" in refused.output


def test_pyargs_means_the_installed_checks(tmp_path: Path) -> None:
    """As for any installed package of tests."""
    assert run([*PYTEST, "--pyargs", "diagnostics", DEMO, f"--diagnose-report={tmp_path}"], tmp_path).roots == []


@pytest.mark.parametrize(
    "options",
    [
        ["-n2"],
        ["-W", "error"],
        ["-p", "no:junitxml"],
        ["-p", "no:terminal"],
        ["-p", "no:cacheprovider", "-s"],
        ["-o", "python_files=spec_*.py"],
        ["--import-mode=importlib"],
        ["-vv"],
        ["-q", "-q"],
    ],
    ids=" ".join,
)
def test_their_options_do_not_break_a_run(options: list[str], tmp_path: Path) -> None:
    """A broken world is diagnosed whatever else they have switched on."""
    outcome = ours(tmp_path, BROKEN, *options)
    assert outcome.code == 1, outcome.output
    assert outcome.roots == [("connection-refused", "error")]


def test_collect_only_looks_at_nothing(tmp_path: Path) -> None:
    """The checks are listed, nothing is asked, no report is written."""
    outcome = ours(tmp_path, BROKEN, "--collect-only", "-q")
    assert outcome.code == 0, outcome.output
    assert "diagnostics/checks/test_tls.py::test_certificates_are_trusted" in outcome.output
    assert not (tmp_path / "report.json").exists()


def test_a_selection_looks_only_at_what_it_needs(tmp_path: Path) -> None:
    """-k and node ids: what was typed can be judged without a network."""
    outcome = ours(tmp_path, BROKEN, "-k", "test_target_can_be_used")
    assert outcome.code == 0, outcome.output
    assert outcome.document["case"]["journeys"]["unseen"] == "not_asked"
    outcome = run([*PYTEST, "diagnostics/checks/test_connection.py::test_hosts_accept_connections", BROKEN, f"--diagnose-report={tmp_path}"], tmp_path)
    assert [item["check"] for item in outcome.document["checks"]] == ["connection/hosts-accept-connections"]
    assert outcome.code == 1


def test_exitfirst_stops_after_the_first_failure(tmp_path: Path) -> None:
    """The survey is whole all the same: it came before."""
    outcome = ours(tmp_path, BROKEN, "-x")
    assert "stopping after 1 failures" in outcome.output
    assert outcome.roots == [("connection-refused", "error")]


def test_their_own_junit_file_holds_the_diagnosis(tmp_path: Path) -> None:
    """Cause, evidence and remedy inside <failure>, which every consumer shows."""
    ours(tmp_path, BROKEN, "--junitxml=theirs.xml")
    failures = list(ElementTree.parse(tmp_path / "theirs.xml").iter("failure"))
    assert len(failures) == 1
    text = failures[0].get("message", "") + (failures[0].text or "")
    assert "connection-refused" in text
    assert "Do: " in text


def test_json_on_stdout_is_the_document_and_nothing_else(tmp_path: Path) -> None:
    """What pytest prints goes to stderr."""
    import subprocess

    done = subprocess.run(
        [*PYTEST, "diagnostics", BROKEN, "--diagnose-json=-", f"--diagnose-report={tmp_path}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert json.loads(done.stdout)["diagnoses"][0]["cause"] == "connection-refused"
    assert "diagnosis" in done.stderr


def test_settings_come_from_the_ini_file_too(tmp_path: Path) -> None:
    """Each option is also an ini setting; the command line wins."""
    write(tmp_path, pytest_dot_ini="[pytest]\ndiagnose = demo:connection-refused\ndiagnose_timeout = 20\n")
    assert ours(tmp_path).document["case"]["budget_seconds"] == 20.0
    assert ours(tmp_path, DEMO).roots == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--diagnose-timeout=soon"], "give seconds between 0.5 and 3600"),
        (["--diagnose-timeout=nan"], "give seconds"),
        (["--diagnose-digests=some"], "say one of auto, none, all"),
        (["--diagnose-waive=tls-intercepted"], "ID=reason,YYYY-MM-DD"),
        (["--diagnose-waive=no-such-cause=because,2030-01-01"], "there is no cause"),
        (["--diagnose-explain=proxy-dennied"], "did you mean proxy-denied"),
        (["--diagnose=demo:no-such-fault"], "the lab has no world"),
        (["--diagnose=demo:healthy-internet"], "python -m diagnostics.lab"),
        (["-o", "diagnose_plan=perhaps"], "say true or false"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_bad_option_is_one_sentence(options: list[str], words: str, tmp_path: Path) -> None:
    """A usage error, exit 4, never a traceback."""
    outcome = ours(tmp_path, *options)
    assert outcome.code == 4, outcome.output
    assert words in outcome.output
    assert "Traceback" not in outcome.output


def test_a_check_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    """With the one that may have been meant."""
    outcome = run([*PYTEST, "diagnostics/checks/test_tsl.py", DEMO], tmp_path)
    assert outcome.code == 4
    assert "did you mean diagnostics/checks/test_tls.py" in outcome.output


def test_a_waiver_keeps_the_run_green_and_the_finding_in_the_report(tmp_path: Path) -> None:
    """Until its date; an expired one changes nothing."""
    waived = ours(tmp_path, BROKEN, "--diagnose-waive=connection-refused=known,2099-01-01".replace("2099", "2030"))
    assert waived.code == 0, waived.output
    assert waived.roots == [("connection-refused", "error")]
    assert "Waived" in waived.output
    assert ours(tmp_path, BROKEN, "--diagnose-waive=connection-refused=known,2020-01-01").code == 1


def test_their_failing_tests_beside_ours_still_fail_the_run(tmp_path: Path) -> None:
    """A healthy machine does not hide a broken test."""
    write(tmp_path, test_own_dot_py="def test_own():\n    assert 1 == 2\n")
    outcome = run([*PYTEST, "diagnostics", "test_own.py", DEMO, f"--diagnose-report={tmp_path}"], tmp_path)
    assert outcome.code == 1
    assert outcome.roots == []


def test_github_gets_a_summary_and_one_annotation_a_root(tmp_path: Path) -> None:
    """At the beginning of a line, or GitHub does not see it."""
    summary = tmp_path / "summary.md"
    outcome = ours(tmp_path, BROKEN, variables={"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)})
    assert len([line for line in outcome.output.splitlines() if line.startswith("::error title=")]) == 1
    assert "connection-refused" in summary.read_text()


def test_nothing_verified_is_never_green(tmp_path: Path) -> None:
    """Exit 5 where every check that ran had nothing to examine."""
    outcome = ours(tmp_path, DEMO, "-k", "test_tls and handshakes")
    assert outcome.code == 5, outcome.output
    assert outcome.document["verdict"] == "unverified"
