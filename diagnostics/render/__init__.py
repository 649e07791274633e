"""Five renderers, each a function of the report; none of them thinks. Here: writing what they made."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from diagnostics.case import Report
from diagnostics.render import html, json, junit, markdown

FILES = {"report.html": html.text, "report.json": json.text, "report.md": markdown.text, "junit.xml": junit.text}


def write_all(report: Report, folders: Sequence[Path]) -> dict[str, Path]:
    """Write every document into the first of ``folders`` that takes them; name → path. Raises OSError where none does."""
    texts = {name: render(report) for name, render in FILES.items()}
    failure = OSError("no folder was given")
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return {name: write(folder / name, text) for name, text in texts.items()}
        except OSError as error:
            failure = error
    raise failure


def write(path: Path, text: str) -> Path:
    """Beside, then renamed: a reader sees the old report or the new one, and no planted link is followed."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(beside, flags, 0o644)
    try:
        with open(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    return path
