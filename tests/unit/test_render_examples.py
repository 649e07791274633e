"""What is shown in the repository is what is generated now."""

from __future__ import annotations

import pytest

from tests.examples.written import FOLDER, documents


@pytest.mark.parametrize("name", documents())
def test_an_example_is_what_is_generated_now(name: str) -> None:
    """``python -m tests.examples`` writes them again."""
    assert (FOLDER / name).read_text(encoding="utf-8") == documents()[name]


def test_no_example_is_left_over() -> None:
    assert {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()} == set(documents())
