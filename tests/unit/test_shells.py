"""What is pasted into a shell stays words there, whatever shell it is: a path or a redirect's target may hold anything."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.case import Case, Environment, Finding, Model, Subject
from diagnostics.causes.model import CAUSES
from diagnostics.causes.settings_common import set_variable, unset
from diagnostics.causes.shells import command, number, variable_name

ODD = st.text(alphabet="\\'\"; &|$`%^!\u2019\u2018ab/", max_size=20)


def words_in_fish(text: str) -> list[str]:
    """How fish splits a command without expansions (fish-doc, Quotes): \\' and \\\\ count within single quotes, ; ends it."""
    words: list[str | None] = [None]
    quote, position = "", 0
    while position < len(text):
        char, after = text[position], text[position + 1 : position + 2]
        escaped = char == "\\" and after and (not quote or after in f"\\{quote}" or (quote == '"' and after == "$"))
        if escaped:
            words[-1], position = (words[-1] or "") + after, position + 1
        elif char == quote or (not quote and char in "'\""):
            words[-1], quote = words[-1] or "", "" if quote else char
        elif quote or char not in " ;&|":
            assert quote == "'" or char not in "$`", text
            words[-1] = (words[-1] or "") + char
        else:
            words.append(None)
        position += 1
    assert not quote
    return [word for word in words if word is not None]


@given(ODD)
def test_a_word_is_one_word_in_fish(text: str) -> None:
    """shlex.quote alone is not enough: fish goes on behind \\'."""
    assert words_in_fish(command(f"ls {shlex.quote(text)}", "fish")) == ["ls", text]
    assert words_in_fish(command(set_variable(Case(environment=Environment(shell="fish")), "X", text), "fish")) == ["set", "-x", "X", text]


def test_fish_without_our_help_would_run_it() -> None:
    """The twin: what the quotes of POSIX make of it."""
    assert words_in_fish("ls " + shlex.quote("\\'\"; evil \\'"))[2] == "evil"


@given(ODD)
def test_nothing_but_quotes_separates_in_cmd(text: str) -> None:
    """cmd knows double quotes alone: outside of them stands nothing that it would run."""
    shown = command(f"curl {shlex.quote(text)}", "cmd")
    assert not re.search(r"[&|<>^]", re.sub(r'"[^"]*"', "", shown)), shown


@given(ODD)
def test_a_curly_quote_ends_no_string_of_powershell(text: str) -> None:
    """PowerShell takes ‘ ’ ‚ ‛ for ' where a string ends: each is doubled."""
    shown = command(set_variable(Case(environment=Environment(shell="powershell")), "X", text), "powershell")
    inner = shown.removeprefix("$env:X = '").removesuffix("'")
    assert all(len(run) % 2 == 0 for run in re.findall("['\u2018-\u201b]+", inner)), shown


@pytest.mark.parametrize("shell", ["posix", "fish", "powershell", "cmd"])
def test_a_variable_of_a_foreign_report_is_a_name(shell: str) -> None:
    case = Case(environment=Environment(shell=shell))  # type: ignore[arg-type]
    for text in (set_variable(case, "X; evil #", "1"), unset(case, "X&evil $(id)")):
        assert not re.search(r"[#&(]|; ?evil", text)
    assert (variable_name("HTTPS_PROXY"), number("12"), number("1); evil()")) == ("HTTPS_PROXY", "12", "0")


def test_a_folder_that_is_a_command_is_a_word_in_the_remedy_of_a_head() -> None:
    """Within double quotes the shell would have run it."""
    cause = next(cause for cause in CAUSES if cause.id == "shape-mismatch")
    facts = {"key": "num_labels", "rows": "3", "config": "2", "folder": "/m/$(touch owned)`id`"}
    remedies = cause.remedies(Finding(cause=cause.id, subjects=(Subject(kind="file", name="x"),), facts=facts, claims=()), Case(model=Model()))
    assert shlex.split(remedies[0].run)[2].count("$(touch owned)") == 1
    assert '"' not in remedies[0].run.replace("'\"'\"'", "")  # all of it within single quotes, where nothing is expanded
