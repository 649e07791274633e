"""What is pasted into a shell stays words there, whatever shell it is: a path or a redirect's target may hold anything."""

from __future__ import annotations

import ast
import re
import shlex

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.case import Case, Finding, Model, Remedy, Subject
from diagnostics.causes.model import CAUSES
from diagnostics.causes.settings_common import set_variable, unset
from diagnostics.causes.shells import FORMS, command, for_shell, number, translated, variable_name

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
    assert words_in_fish(translated(set_variable("X", text), "fish")) == ["set", "-x", "X", text]


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
    shown = translated(set_variable("X", text), "powershell")
    inner = shown.removeprefix("$env:X = '").removesuffix("'")
    assert all(len(run) % 2 == 0 for run in re.findall("['\u2018-\u201b]+", inner)), shown


@pytest.mark.parametrize("shell", ["posix", "fish", "powershell", "cmd"])
def test_a_variable_of_a_foreign_report_is_a_name(shell: str) -> None:
    for text in (translated(set_variable("X; evil #", "1"), shell), translated(unset("X&evil $(id)"), shell)):
        assert not re.search(r"[#&(]|; ?evil", text)
    assert (variable_name("HTTPS_PROXY"), number("12"), number("1); evil()")) == ("HTTPS_PROXY", "12", "0")


def test_a_folder_that_is_a_command_is_a_word_in_the_remedy_of_a_head() -> None:
    """Within double quotes the shell would have run it."""
    cause = next(cause for cause in CAUSES if cause.id == "shape-mismatch")
    facts = {"key": "num_labels", "rows": "3", "config": "2", "folder": "/m/$(touch owned)`id`"}
    remedies = cause.remedies(Finding(cause=cause.id, subjects=(Subject(kind="file", name="x"),), facts=facts, claims=()), Case(model=Model()))
    assert shlex.split(remedies[0].run)[2].count("$(touch owned)") == 1
    assert '"' not in remedies[0].run.replace("'\"'\"'", "")  # all of it within single quotes, where nothing is expanded


# --- places that variables are kept in ----------------------------------------------------------------------------------------

VALUES = ["/etc/ssl/a.crt", "a b", 'say "x"', "50%", "$HOME/x", "back\\slash", "{braces}", "it's", "a:b, c#d", "ü"]
PRINTABLE = st.text(alphabet="\\'\"; &|$`%^!{}#:,ab/é\u2019", max_size=20)


@given(PRINTABLE)
def test_a_value_is_itself_in_a_pod(text: str) -> None:
    """YAML reads it back; $$ is what Kubernetes makes one dollar of."""
    document = yaml.safe_load(translated(set_variable("X", text), "kubernetes"))
    assert [(item["name"], item["value"].replace("$$", "$")) for item in document["env"]] == [("X", text)]


@given(PRINTABLE)
def test_a_value_is_itself_in_an_image(text: str) -> None:
    """One instruction; a backslash stands before what Docker would expand or end at."""
    line = translated(set_variable("X", text), "dockerfile")
    value = re.fullmatch(r'ENV X="((?:[^"\\$]|\\.)*)"', line)
    assert value and re.sub(r"\\(.)", r"\1", value[1]) == text


@given(PRINTABLE)
def test_a_value_is_itself_in_a_unit(text: str) -> None:
    section, line = translated(set_variable("X", text), "systemd").splitlines()
    value = re.fullmatch(r'Environment="X=((?:[^"\\]|\\.)*)"', line)
    assert section == "[Service]"
    assert value and re.sub(r"\\(.)", r"\1", value[1]).replace("%%", "%") == text


@given(PRINTABLE)
def test_a_value_is_itself_in_a_notebook(text: str) -> None:
    """Either %env takes it as it stands, or Python sets it."""
    line = translated(set_variable("X", text), "notebook").splitlines()[0]
    if line.startswith("%env "):
        assert line == f"%env X={text}"
        assert not re.search(r"[${}]", text)
    else:
        assert ast.literal_eval(line.partition(" = ")[2]) == text


JOINED = 'cat "$(python -m certifi)" company-root.pem > ca-all.pem; export SSL_CERT_FILE="$PWD/ca-all.pem"; export REQUESTS_CA_BUNDLE="$PWD/ca-all.pem"'


@pytest.mark.parametrize(
    ("shell", "lines"),
    [
        ("powershell", ["Get-Content (python -m certifi), 'company-root.pem' | Set-Content -Encoding ascii 'ca-all.pem'", '$env:SSL_CERT_FILE = "$PWD/ca-all.pem"']),
        ("cmd", ['copy /b "%i" + "company-root.pem" "ca-all.pem"', 'set "SSL_CERT_FILE=%CD%/ca-all.pem"']),
        ("fish", ["cat (python -m certifi) company-root.pem > ca-all.pem", 'set -x SSL_CERT_FILE "$PWD"/ca-all.pem']),
        ("dockerfile", ['COPY ["ca-all.pem", "/etc/ssl/model-ca/"]', 'ENV SSL_CERT_FILE="/etc/ssl/model-ca/ca-all.pem" REQUESTS_CA_BUNDLE="/etc/ssl/model-ca/ca-all.pem"']),
        ("kubernetes", ["kubectl create configmap model-ca --from-file=ca-all.pem", '{name: SSL_CERT_FILE, value: "/etc/ssl/model-ca/ca-all.pem"}', "mountPath: /etc/ssl/model-ca"]),
        ("systemd", ["sudo install -D -m 644 ca-all.pem /etc/ssl/model-ca/ca-all.pem", 'Environment="SSL_CERT_FILE=/etc/ssl/model-ca/ca-all.pem"']),
        ("notebook", ['!cat "$(python -m certifi)" company-root.pem > ca-all.pem', "environ['SSL_CERT_FILE'] = path.abspath(\"ca-all.pem\")"]),
    ],
)  # fmt: skip
def test_a_bundle_is_made_and_named_in_every_form(shell: str, lines: list[str]) -> None:
    """The file is joined where the lines can be run, and lies where the variable says."""
    shown = translated(JOINED, shell)
    assert [line for line in lines if line not in shown] == []
    assert "export" not in shown


@pytest.mark.parametrize("shell", FORMS)
def test_a_variable_is_taken_away_in_every_form(shell: str) -> None:
    """Never by setting it empty: an empty https_proxy hides HTTPS_PROXY (clients.md, 1)."""
    shown = translated("unset HTTPS_PROXY https_proxy", shell)
    assert "HTTPS_PROXY" in shown and "https_proxy" in shown
    assert not re.search(r"(?m)ENV HTTPS_PROXY|^Environment=|value: ", shown)


def test_a_cell_sets_a_variable_before_the_command_that_needs_it() -> None:
    """In the order in which the lines were written."""
    assert translated("export X=1; hf download a/b", "notebook").splitlines()[:2] == ["%env X=1", "!hf download a/b"]


def test_cmd_takes_a_variable_away_without_a_blank_for_a_value() -> None:
    """``set A= & …`` would set it to the blank before the ampersand."""
    assert translated("unset HTTPS_PROXY https_proxy", "cmd") == 'set "HTTPS_PROXY=" & set "https_proxy="'


@pytest.mark.parametrize("shell", FORMS)
def test_a_password_that_the_shell_copies_is_never_written(shell: str) -> None:
    """`${X#*://}` and "$X" stand for what is set; a file cannot copy it, so there it is named."""
    shown = translated('export HTTPS_PROXY="http://${HTTPS_PROXY#*://}"; export https_proxy="$HTTPS_PROXY"', shell)
    assert "#*://" not in shown
    assert "HTTPS_PROXY" in shown and "https_proxy" in shown


@pytest.mark.parametrize("shell", ["posix", *FORMS])
@pytest.mark.parametrize("text", ["ls -la /x | head", "hf download a/b", "sudo timedatectl set-ntp true", "echo 'a;b' && true || false"])
def test_what_sets_nothing_stays_a_command(text: str, shell: str) -> None:
    """But for the quotes of cmd, and the mark of a notebook."""
    shown = for_shell(Remedy(do="", run=text), shell).run
    assert shown.removeprefix("!" if shell == "notebook" else "").replace('"', "'") == text


def test_a_command_of_ours_has_one_line_and_only_a_place_has_more() -> None:
    """An end of line in a value can forge no line of a report."""
    assert "\n" not in for_shell(Remedy(do="", run="export X='a\nb'"), "posix").run
    assert for_shell(Remedy(do="", run="export X='a\nb'"), "kubernetes").run.splitlines() == ["env:", '  - {name: X, value: "a b"}']
