"""Every document of every sample: valid in its own format, and nothing in it that its bytes were not meant to do."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import pytest
from lxml import etree

from diagnostics import codec
from diagnostics.case import Case, Report
from diagnostics.render import FILES, html, junit, markdown
from diagnostics.render import json as json_renderer
from tests.examples import SAMPLES, broken, healthy

NAMES = list(SAMPLES)
every_sample = pytest.mark.parametrize("name", NAMES)


@functools.cache
def sample(name: str) -> Report:
    return SAMPLES[name]()


@functools.cache
def rendered(name: str, document: str) -> str:
    return FILES[document](sample(name))


@pytest.mark.parametrize("document", FILES)
@every_sample
def test_no_document_holds_a_character_that_acts(name: str, document: str) -> None:
    """No escape sequence, bidirectional mark, NUL or lone surrogate, whatever a record brought."""
    acting = {char for char in rendered(name, document) if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") and char not in "\n\u2060"}
    assert acting == set()
    rendered(name, document).encode()


# --- JSON ---------------------------------------------------------------------------------------------------------------------


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(importlib.resources.files("diagnostics.render").joinpath("report.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@every_sample
def test_json_is_valid_against_its_schema(name: str) -> None:
    assert [error.message for error in validator().iter_errors(json.loads(rendered(name, "report.json")))] == []


def test_the_schema_refuses_what_is_no_report() -> None:
    """The twin: it can fail."""
    document = json_renderer.document(broken())
    for spoilt in ({**document, "verdict": "fine"}, {**document, "targets": []}, {key: value for key, value in document.items() if key != "diagnoses"}):
        assert not validator().is_valid(spoilt)


@every_sample
def test_the_first_diagnosis_is_the_root(name: str) -> None:
    judged = sample(name).judgement.diagnoses
    assert [item["cause"] for item in json.loads(rendered(name, "report.json"))["diagnoses"]] == [diagnosis.cause for diagnosis in judged]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hostile"])
def test_the_case_comes_back_whole(name: str) -> None:
    """A ticket's report.json can be judged again."""
    assert codec.decode(Case, json.loads(rendered(name, "report.json"))["case"]) == sample(name).case


def test_a_hostile_case_comes_back_too() -> None:
    """Its lone surrogates do not; they are no text."""
    assert codec.decode(Case, json.loads(rendered("hostile", "report.json"))["case"]).target.kind == "hub"


def test_json_counts_the_files_of_a_folder() -> None:
    """Without a listing, what lies there is the target."""
    found = sample("huge")
    local = dataclasses.replace(found, case=dataclasses.replace(found.case, listing=Case().listing))
    assert json_renderer.document(local)["targets"][0]["files"] == 2000


def test_json_holds_no_infinity() -> None:
    endless = dataclasses.replace(healthy(), case=dataclasses.replace(healthy().case, budget_seconds=float("inf")))
    assert json.loads(json_renderer.text(endless))["case"]["budget_seconds"] is None


# --- JUnit --------------------------------------------------------------------------------------------------------------------


@functools.cache
def xunit() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(str(Path(__file__).with_name("junit.xsd"))))


@every_sample
def test_junit_is_valid(name: str) -> None:
    tree = etree.fromstring(rendered(name, "junit.xml").encode())
    xunit().assertValid(tree)
    suite = tree.find("testsuite")
    cases = suite.findall("testcase")
    assert (int(suite.get("tests")), int(suite.get("failures"))) == (len(cases), sum(case.find("failure") is not None for case in cases))
    assert int(suite.get("errors")) == sum(case.find("error") is not None for case in cases)


def test_junit_says_cause_evidence_and_remedy_inside_the_failure() -> None:
    failure = etree.fromstring(rendered("broken", "junit.xml").encode()).find(".//failure")
    assert failure.get("message").startswith("tls-intercepted: TLS to huggingface.co is intercepted")
    for expected in ("Initech Web Gateway 2", "unable to get local issuer certificate", "Do: ", "Run: ", "Check: pytest diagnostics"):
        assert expected in failure.text


def test_junit_of_a_waived_root_does_not_fail() -> None:
    """It is still said, as a warning."""
    tree = etree.fromstring(rendered("waived", "junit.xml").encode())
    assert tree.find(".//failure") is None
    assert "ticket 4711" in tree.findtext(".//system-out")


def test_xml_takes_no_character_that_it_forbids() -> None:
    assert junit.legal("a\x1b\x00\ud800\ufffe\x9bé😀") == "a#x1B#x00#xD800#xFFFE#x9Bé😀"


# --- Markdown -----------------------------------------------------------------------------------------------------------------


def outside_code(text: str) -> str:
    """Markdown without its fences and code spans (CommonMark 4.5, 6.1)."""
    return re.sub(r"(?<![`\\])(`+)(?!`).+?(?<!`)\1(?!`)", "", re.sub(r"(?ms)^(`{3,})(?:sh|text)\n.*?^\1$", "", text))


@every_sample
def test_markdown_fits_a_ticket(name: str) -> None:
    assert 200 < len(rendered(name, "report.md")) <= 60_000


@every_sample
def test_markdown_cuts_nothing_in_two(name: str) -> None:
    """Fences, spans and folds are all closed."""
    prose = outside_code(rendered(name, "report.md"))
    assert prose.count("<details>") == prose.count("</details>")
    assert "```" not in re.sub(r"\\`", "", prose)


def test_markdown_renders_nothing_that_was_seen() -> None:
    """No tag, mention, reference, link or image of a hostile record."""
    prose = outside_code(rendered("hostile", "report.md"))
    assert set(re.findall(r"</?[a-z!-]+", prose)) == {"<details", "<summary", "</summary", "</details"}
    assert re.findall(r"@\w|#\d|GH-\d|(?<!\\)\]\(|(?<!\\)://|www\.e", prose) == []
    assert re.findall(r"(?m)^#+ (?!❌|Also: |Connections )", prose) == []


@pytest.mark.parametrize("text", ["a```b", "`", "``x`", "a|b", "a\\|b", "C:\\", "@you #1 <b>"])
def test_a_span_shows_exactly_its_text(text: str) -> None:
    """Cells hold one code span, and the bars in it are escaped."""
    made = markdown.span(text)
    assert not re.search(r"(?<!\\)\|", made)
    if "\\|" not in text:
        fence = re.match("`+", made)
        assert fence
        assert made.removeprefix(fence[0]).removesuffix(fence[0]).strip(" ").replace("\\|", "|") == text
        assert fence[0] not in text.split(" ")


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert markdown.code("echo ````x````").splitlines()[0] == "`````sh"
    assert markdown.code("echo x").splitlines() == ["```sh", "echo x", "```"]


def test_a_command_in_a_ticket_is_whole_or_not_there() -> None:
    assert "x" * 1999 in markdown.code("x" * 1999)
    assert "xxx" not in markdown.code("x" * 2001)


@pytest.mark.parametrize(("text", "expected"), [("- item", "\\- item"), ("1. item", "1\\. item"), ("a - b", "a - b"), ("3.11 is old", "3\\.11 is old")])
def test_text_begins_no_list(text: str, expected: str) -> None:
    assert markdown.escape(text) == expected


def test_the_ticket_begins_with_root_and_remedy() -> None:
    lines = [line for line in rendered("broken", "report.md").splitlines() if line]
    assert lines[0].startswith("## ❌ TLS to huggingface.co is intercepted")
    assert lines[2].startswith("**Do:** Get the root certificate")
    assert lines[3] == "```sh"


# --- HTML ---------------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would act on."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@every_sample
def test_the_page_is_well_formed_and_stands_on_its_own(name: str) -> None:
    """Every element is closed in order; no script, link, image, handler or form in it, and a policy that would refuse them."""
    page = Page(rendered(name, "report.html"))
    assert page.open == []
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "a", "form", "object", "svg", "base"} == set()
    assert [attribute for _, attributes in page.tags for attribute in attributes if attribute.startswith("on") or attribute in ("src", "href")] == []
    assert any("default-src 'none'" in (attributes.get("content") or "") for tag, attributes in page.tags if tag == "meta")
    assert not re.search(r"url\(|@import", rendered(name, "report.html").partition("</style>")[0])


def test_the_page_says_root_remedy_and_evidence_in_that_order() -> None:
    text = " ".join(Page(rendered("broken", "report.html")).text).partition("@media print")[2]
    places = [
        text.index(expected)
        for expected in ("TLS to huggingface.co is intercepted", "Get the root certificate", "company-root.pem > ca-all.pem", "unable to get local issuer")
    ]
    assert places == sorted(places)


def test_a_long_command_is_whole_on_the_page() -> None:
    found = broken()
    first = found.judgement.diagnoses[0]
    long = dataclasses.replace(first.remedies[0], run="echo " + "x" * 30_000 + " '<b>'")
    spoilt = dataclasses.replace(found, judgement=dataclasses.replace(found.judgement, diagnoses=(dataclasses.replace(first, remedies=(long,)),)))
    assert f"<pre>echo {'x' * 30_000} &#39;&lt;b&gt;&#39;</pre>" in html.text(spoilt)


def test_the_page_shows_how_far_each_request_came() -> None:
    """TLS failed; what lies behind it was not reached, and is not called failed."""
    page = rendered("broken", "report.html")
    assert '<li class="bad"><span class="mark" aria-hidden="true">✗</span><b>TLS</b><span class="what">unable to get local issuer certificate</span>' in page
    assert '<li class="none"><span class="mark" aria-hidden="true">·</span><b>Answer</b><span class="what">not reached</span>' in page
    assert '<li class="bad">' not in rendered("healthy", "report.html")


def test_an_unverified_page_is_never_green() -> None:
    page = rendered("unverified", "report.html")
    assert '<body class="none">' in page and "no green light" in page
    assert '<body class="good">' in rendered("healthy", "report.html")
