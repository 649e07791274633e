"""Bytes from servers, certificates and files reach no terminal, page, XML or pasted command raw."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from diagnostics.lab import http as lab_http
from diagnostics.lab.stage import Stage
from tests.functional.runs import Outcome, run

MARK = "$(touch${IFS}pwned)`touch${IFS}pwned`"
EVIL = f"\x1b[31mred\x07</script><script>alert(1)</script>]]><!--{MARK}\u202e\x9b"
NOISE = {"evil": EVIL, "title": f"<title>Access denied {EVIL}</title>"}


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)


def diagnose(reply: lab_http.Reply, folder: Path, path: str = "/model.bin") -> Outcome:
    with Stage() as stage:
        base = stage.web("evil.example", lambda request: reply)
        command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose=url:{base}{path}", f"--diagnose-report={folder}"]
        return run(command, folder, stage.environment(), cwd=stage.work)


REPLIES = {
    "headers": lab_http.Reply(status=403, headers=(("Server", EVIL), ("Via", EVIL), ("X-Squid-Error", EVIL), ("Content-Type", EVIL)), body=b"no"),
    "page": lab_http.text(f"<html><head><title>Blocked {EVIL}</title></head></html>", 403, "text/html"),
    "reason": lab_http.Reply(status=404, reason=EVIL.replace("\n", ""), body=b""),
    "location": lab_http.redirect(f"http://127.0.0.1:9/{EVIL}"),
    "location with a password": lab_http.redirect("http://user:hunter2hunter2@127.0.0.1:9/x?sig=hunter2hunter2"),
    "no http": lab_http.Reply(raw=EVIL.encode() * 100 + b"\r\n\r\n"),
    "ten megabytes of headers": lab_http.Reply(headers=tuple((f"X-{number}", "a" * 60000) for number in range(170)), body=b"x"),
    "an endless line": lab_http.Reply(raw=b"HTTP/1.1 200 OK\r\nServer: " + b"A" * (10 << 20) + b"\r\n\r\n"),
    "a length that lies": lab_http.Reply(headers=(("Content-Length", "9" * 40),), body=b"x"),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_nothing_hostile_gets_out_raw(reply: lab_http.Reply, tmp_path: Path) -> None:
    """Terminal, HTML, XML, Markdown and commands; and our own code does not stumble."""
    outcome = diagnose(reply, tmp_path)
    assert outcome.code in (0, 1), outcome.output
    _assert_clean(outcome)


def _assert_clean(outcome: Outcome) -> None:
    assert "INTERNALERROR" not in outcome.output
    assert "Traceback" not in outcome.everything()
    for text in (outcome.output, *((outcome.folder / name).read_text() for name in ("report.html", "report.md", "junit.xml", "report.json"))):
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert "hunter2" not in outcome.everything()
    tags = Tags()
    tags.feed((outcome.folder / "report.html").read_text())
    assert "script" not in tags.seen
    ElementTree.parse(outcome.folder / "junit.xml")
    code = r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)"  # CommonMark §6.1: as many backticks behind as in front
    assert "<script" not in re.sub(code, "", (outcome.folder / "report.md").read_text(), flags=re.DOTALL)
    for command in _commands(outcome):
        if "$(touch" in command:
            assert re.search(r"'[^']*\$\(touch[^']*'", command), command
    assert not list(outcome.folder.rglob("pwned"))


def _commands(outcome: Outcome) -> list[str]:
    return [text for diagnosis in outcome.document["diagnoses"] for remedy in diagnosis["remedies"] for text in (remedy["run"], remedy["check"])]


def test_a_hostile_path_is_quoted_in_commands(tmp_path: Path) -> None:
    """The URL comes from a person, or from whoever sent it to him."""
    outcome = diagnose(lab_http.text("no", 404), tmp_path, f"/a;{MARK};'b")
    assert outcome.code == 1
    _assert_clean(outcome)
