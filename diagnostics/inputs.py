"""What a run is given beside its SPEC: a pasted error, the report of a ticket to judge again, a report to compare with. A bad file is one sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import NOT_ASKED, Case, Clues, Unseen
from diagnostics.options import Options, shown
from diagnostics.redact import Secrets, plain

MOST_BYTES = 64 << 20  # of a report
MOST_TEXT, MOST_NUMBER = 10_000, 1 << 64


@dataclass(frozen=True, kw_only=True)
class Inputs:
    spec: str = ""  # as given, or guessed from the error
    clues: Clues | Unseen = NOT_ASKED
    case: Case | None = None
    against: Case | None = None
    lines: tuple[str, ...] = ()  # to print ahead of the run


def read(chosen: Options, stdin: bytes) -> Inputs:
    """Raises pytest.UsageError for a file that cannot be used."""
    if chosen.save_ca:
        _writable(chosen.save_ca)
    case = read_case(chosen.case, "--diagnose-case") if chosen.case else None
    against = read_case(chosen.against, "--diagnose-against") if chosen.against else None
    if case is not None and chosen.repair:
        raise pytest.UsageError("--diagnose-case and --diagnose-repair do not go together: a report cannot be repaired")
    if not chosen.error:
        return Inputs(spec=chosen.spec, case=case, against=against)
    if case is not None:
        raise pytest.UsageError("--diagnose-error and --diagnose-case do not go together: the report has its own machine")
    from diagnostics import errors

    text = _error(chosen.error, stdin)
    if not text.strip():
        raise pytest.UsageError(f"--diagnose-error “{shown(chosen.error)}”: there is nothing in it to read")
    clues = errors.clues_of(text, chosen.spec)
    about = "standard input" if chosen.error == "-" else shown(chosen.error)
    return Inputs(spec=chosen.spec or clues.guessed, clues=clues, against=against, lines=tuple(errors.lines(clues, about)))


def _writable(path: str) -> None:
    """Said before the look: nobody wants to hear it after."""
    from diagnostics.probes.authority import refusal

    if why := refusal(path):
        raise pytest.UsageError(f"--diagnose-save-ca “{shown(path)}”: {why}")


def _error(name: str, stdin: bytes) -> bytes:
    if name == "-":
        return stdin
    from diagnostics.errors import read_error

    try:
        return read_error(name)
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--diagnose-error “{shown(name)}” cannot be read: {getattr(error, 'strerror', None) or 'no such name'}") from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _cleaned(value: Any) -> Any:
    """A foreign document with its texts as our own probes would have left them: whoever wrote it may have edited it. Raises ValueError for numbers that nothing has."""
    if isinstance(value, str):
        return Secrets().clean(value, MOST_TEXT)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {plain(key, MOST_TEXT): _cleaned(item) for key, item in value.items()}
    if isinstance(value, int | float) and not -MOST_NUMBER < value < MOST_NUMBER:
        raise ValueError("it holds a number that nothing has")
    return value


def read_case(name: str, option: str) -> Case:
    """The Case in a report.json (or in a file that holds nothing else)."""
    from diagnostics.codec import decode

    try:
        path = Path(name).expanduser()
        with path.open("rb") as file:  # may be a pipe, <(zcat …), whose size nobody knows
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ValueError("it is larger than a report can be")
        document = _cleaned(json.loads(text, parse_constant=_no_number))
        found = document.get("case", document) if isinstance(document, dict) else None
        if not isinstance(found, dict) or "target" not in found:
            raise ValueError("it holds no case")
        return decode(Case, found)
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it nests too deep"
        raise pytest.UsageError(f"{option} “{shown(name)}” is no report.json of ours: {shown(reason)}") from None
