"""A pasted error on its way into a run: read it, say what it can mean, aim the survey at what it names, and put the clues into the Case."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from diagnostics import redact
from diagnostics.case import ABSENT, Clues, Explanation, Unseen
from diagnostics.clues import explanations, failures_in
from diagnostics.clues.failures import Failure
from diagnostics.clues.matching import DECIDES, hits_of
from diagnostics.clues.subjects import paths, repositories
from diagnostics.confirmation import how_sure
from diagnostics.facts.signatures import look

MOST_BYTES = 64 << 20
MOST_FILES = 40  # of a traceback that are looked for here
_CLEAN = redact.Secrets()


def read_error(name: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``; of a longer one the beginning and the end. Raises OSError."""
    if name == "-":
        return sys.stdin.buffer.read(MOST_BYTES)
    path = Path(name).expanduser()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= MOST_BYTES:
            return file.read(MOST_BYTES)
        begin = file.read(MOST_BYTES // 2)
        file.seek(size - MOST_BYTES // 2)
        return begin + b"\n" + file.read(MOST_BYTES // 2)


def clues_of(text: bytes | BaseException, spec: str) -> Clues:
    """What the error can mean, whether it is from this machine, and what it is about where no SPEC says so."""
    failures = failures_in(text)
    found = explanations(failures)
    decided = any(hits[0].signature.rank >= DECIDES for failure in failures if (hits := hits_of(failure)))
    return Clues(explanations=tuple(found), decided=decided, here=_is_from_here(failures), guessed="" if spec else guessed(failures))


def guessed(failures: list[Failure]) -> str:
    """A SPEC that the text names: a model's folder that lies here, else a repository of the hub; "" where it names neither."""
    for failure in reversed(failures):
        text = "\n".join(said.text for said in failure.said)
        for path in paths(text):
            folder = _folder(path)
            if folder:
                return f"path:{folder}"
    for failure in reversed(failures):
        for name in repositories("\n".join(said.text for said in failure.said), failure.source):
            return f"hub:{name}"
    return ""


def _folder(name: str) -> str:
    """The folder of a model that lies here, or the file itself where nothing else of a model is beside it."""
    path = Path(name).expanduser()
    try:
        if not path.exists() or "models--" in name:
            return ""
        folder = path if path.is_dir() else path.parent
        return str(folder if (folder / "config.json").exists() or path.is_dir() else path)
    except OSError:
        return ""


def _is_from_here(failures: list[Failure]) -> bool | Unseen:
    """By the files that the tracebacks name: the interpreter's own are the same on many machines, so others count first."""
    names = {frame.rpartition(" ")[0] for failure in failures for frame in failure.frames}
    absolute = sorted(name for name in names if name.startswith(("/", "C:\\", "D:\\")) and not name.startswith(("/usr/lib/", "//", "/net/")))[:MOST_FILES]
    if not absolute:
        return ABSENT
    return sum(1 for name in absolute if _exists(name)) * 2 > len(absolute)


def _exists(name: str) -> bool:
    try:
        return os.path.exists(name)
    except ValueError:  # a NUL in a name
        return False


def lines(clues: Clues, about: str = "") -> list[str]:
    """What the text says, to print ahead of the survey."""
    if not clues.explanations:
        return ["The text: nothing in it is known to be wrong."]
    shown = [f"The text can mean{' (of ' + about + ')' if about else ''}:"]
    for number, item in enumerate(clues.explanations[:5], 1):
        shown.append(f"  {number}. {item.cause} ({how_sure(item)}, {item.confidence:.0%}): {_sentence(item)}")
        if item.look and number <= 3:
            shown.append(f"     look at: {item.look}")
    first = clues.explanations[0].evidence[0]
    shown.append(f"  because {first.subject.name} says: {first.seen}")
    if clues.guessed:
        shown.append(f"No SPEC was given; by the text it is about {redact.plain(clues.guessed, 200)}.")
    return shown


def _sentence(item: Explanation) -> str:
    names = ", ".join(f"{subject.kind} {subject.name}" for subject in item.subjects[:3])
    return look().get(item.cause, {}).get("means", "") + (f" [{_CLEAN.clean(names, 160)}]" if names else "")
