"""--diagnose-case and --diagnose-against read a file that somebody sent: its texts and numbers are as hostile as a server's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diagnostics import inputs
from diagnostics.case import Case, Target
from diagnostics.codec import encode
from diagnostics.inputs import read_case
from diagnostics.redact import plain
from diagnostics.render.terminal import _shown

EVIL = "\x1b[31m ##[add-mask]x https://user:sekretpw@h/x\n::set-output name=a::b"


def written(folder: Path, text: str) -> str:
    (folder / "report.json").write_text(text, encoding="utf-8")
    return str(folder / "report.json")


def test_the_texts_of_a_foreign_report_are_cleaned(tmp_path: Path) -> None:
    """Its twin, as we write it, is read back the same."""
    good = Case(target=Target(spec="org/name", kind="hub"), started="2026-11-22T01:00:00Z")
    assert read_case(written(tmp_path, json.dumps(encode(good))), "--diagnose-case") == good
    found = read_case(written(tmp_path, json.dumps(encode(Case(target=Target(spec=EVIL, kind="hub"), started=EVIL)))), "--diagnose-case")
    for text in (found.target.spec, found.started):
        assert not any(part in text for part in ("\x1b", "\n", "##[", "sekretpw")), text


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity", "1" + "0" * 400])
def test_a_number_that_nothing_has_is_no_report(number: str, tmp_path: Path) -> None:
    """Later it would be an OverflowError of ours, or a report.json that is no JSON."""
    text = json.dumps(encode(Case(target=Target(spec="x", kind="hub")))).replace('"seconds": 0.0', f'"seconds": {number}')
    assert number in text
    with pytest.raises(pytest.UsageError, match=r"no report.json of ours"):
        read_case(written(tmp_path, text), "--diagnose-case")


def test_what_does_not_end_is_no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """/dev/zero says that it is empty, and would be read until the memory ends."""
    monkeypatch.setattr(inputs, "MOST_BYTES", 1 << 16)
    with pytest.raises(pytest.UsageError, match="larger than a report can be"):
        read_case("/dev/zero", "--diagnose-case")


def test_no_line_of_ours_is_a_command_to_githubs_runner() -> None:
    """Its runner looks for :: behind leading blanks, where a line may have been wrapped, and for ##[ anywhere."""
    assert not _shown("    ::add-mask::x", False).lstrip().startswith("::")
    assert _shown("a ::1 b", False) == "a ::1 b"
    assert "##[" not in plain("x ##[add-mask]y")
