"""What errors say and what it can mean: the reader of the tables beside this file, one a section of causes.md.

A signature names the causes it can have, best first, with how sure one may be of each from the text alone. A newer wording is one more entry, or one more
text in an entry's ``any``. ``rank`` is how much it decides: what a code or an id of the hub says (80 and more), a sentence that only one thing prints (60-79),
an errno or status (40-59), a class (20-39), a sentence that many things print (below 20). Of two that fit, the higher rank decides, then the deeper error.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from typing import Any

from diagnostics.case import record

SECTIONS = ("settings", "names", "connections", "proxies", "tls", "http", "disk", "transfer", "files", "versions", "memory", "model", "load")
KEYS = frozenset({"types", "errno", "gai", "verify", "alert", "status", "hub", "has", "any", "match", "proxy", "phase", "frames", "not", "chain", "loader"})


@record
class Signature:
    """One wording or code, and what it can mean."""

    id: str
    section: str
    rank: int
    causes: tuple[tuple[str, float], ...]
    seen: tuple[str, ...]  # client and versions
    example: str
    types: tuple[str, ...] = ()  # classes, without module
    errno: tuple[str, ...] = ()
    gai: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    alert: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    hub: tuple[str, ...] = ()  # X-Error-Code
    has: tuple[str, ...] = ()  # all of these, lower case
    any: tuple[str, ...] = ()  # one of these
    not_: tuple[str, ...] = ()  # none of these in the chain
    chain: tuple[str, ...] = ()  # one of these anywhere in the chain, or just before it
    frames: tuple[str, ...] = ()  # one of these in the traceback's "file function" lines
    match: str = ""  # a pattern; its named groups become subjects
    proxy: bool | None = None
    loader: bool = False  # where a traceback has frames, code of a loader or client among them: a file of the program's own is no model's
    phase: str = ""
    level: str = "error"  # "warning": holds also where the program went on


@functools.cache
def signatures() -> tuple[Signature, ...]:
    """All of them, in the order of the sections and files."""
    return tuple(_signature(section, entry) for section in SECTIONS for entry in _table(section).get("signature", ()))


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A signature's pattern, compiled when the first text comes so far: hundreds of them would cost the first call more than all of its reading."""
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


@functools.cache
def look() -> dict[str, dict[str, str]]:
    """Cause → ``means`` (a sentence), ``look`` (what to look at to be sure), ``do`` and perhaps ``run``."""
    return {cause: dict(entry) for cause, entry in _table("look").items() if isinstance(entry, dict)}


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath(f"signatures/{name}.toml").read_text(encoding="utf-8"))


def _signature(section: str, entry: dict[str, Any]) -> Signature:
    when = entry["when"]
    unknown = set(when) - KEYS
    if unknown:
        raise ValueError(f"{entry['id']}: {', '.join(unknown)} in `when`")
    return Signature(
        id=entry["id"],
        section=section,
        rank=entry["rank"],
        causes=tuple(entry["causes"].items()),
        seen=tuple(entry.get("seen", ())),
        example=entry.get("example", ""),
        types=_tuple(when, "types"),
        errno=_tuple(when, "errno"),
        gai=_tuple(when, "gai"),
        verify=_tuple(when, "verify"),
        alert=_tuple(when, "alert"),
        status=_tuple(when, "status"),
        hub=_tuple(when, "hub"),
        has=_tuple(when, "has"),
        any=_tuple(when, "any"),
        not_=_tuple(when, "not"),
        chain=_tuple(when, "chain"),
        frames=_tuple(when, "frames"),
        match=when.get("match", ""),
        proxy=when.get("proxy"),
        phase=when.get("phase", ""),
        loader=when.get("loader", False),
        level=entry.get("level", "error"),
    )


def _tuple(when: dict[str, Any], key: str) -> tuple[str, ...]:
    value = when.get(key, ())
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else (str(value),)
