"""``python -m tests.examples`` writes ``reports/examples``; a test holds that they are what is generated now."""

from __future__ import annotations

from tests.examples.written import FOLDER, documents

for name, text in documents().items():
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    print(path)
