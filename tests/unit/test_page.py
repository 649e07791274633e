"""The page of a cause, and the page of all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diagnostics.causes import BY_ID, page

CAUSES = Path(__file__).parents[2] / "diagnostics" / "CAUSES.md"


def test_the_page_of_all_causes_is_the_catalogue_of_today() -> None:
    """``python -m diagnostics.causes.page > diagnostics/CAUSES.md`` writes it."""
    assert CAUSES.read_text(encoding="utf-8") == page.all_pages()


@pytest.mark.parametrize("cause", BY_ID)
def test_every_cause_has_a_page_that_helps(cause: str) -> None:
    """What it is, why, whose, what to do and how to see it; its places are open and not in capitals, but in what is to be typed."""
    text = page.page(cause)
    assert text.startswith(f"# {cause}\n")
    for part in ("- Severity: ", "- Whose: ", "- What to do: ", "- To see it: "):
        assert part in text
    assert not re.search(r"(?<!\$)\{\w+\}", text)
    assert len(text) > 200
    raw = BY_ID[cause].title + BY_ID[cause].why
    told = " ".join(line for line in text.splitlines() if line and not line.startswith(("#", "- ")))
    places = {name.upper().replace("_", " ") for name in re.findall(r"\{(\w+)\}", raw)}
    assert [place for place in places if re.search(rf"\b{place}\b", told) and place not in raw] == []


def test_an_unknown_id_finds_the_one_that_was_meant() -> None:
    """And none where nothing is near."""
    assert page.page("tls-interceptd") == ""
    assert page.near("tls-interceptd")[0] == "tls-intercepted"
    assert page.near("xyzzy") == []
