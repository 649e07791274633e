"""Digests of large files, kept between runs so that what has not changed since is not read again. Never asked where everything is to be verified.

A file is known by device, inode, size, and the times of its content and of its inode: whoever changes a byte in place changes the last of these too, and cannot set it
back. What fails on the disk by itself changes none of them; only a full check finds that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diagnostics.case import Environment
from diagnostics.probes.cache import load_json, real

LEAST_BYTES = 32 << 20  # smaller files are read faster than this would be worth
MOST_BYTES = 8 << 20
MOST_ENTRIES = 20_000
SETTLED_SECONDS = 2.0  # a file that was just written may still change within the clock's own steps
_HEX = re.compile(r"[0-9a-f]{32,128}")


@dataclass
class Kept:
    """The table of one user. ``path`` "" keeps nothing."""

    path: str
    entries: dict[str, dict[str, str]] = field(default_factory=dict)
    changed: bool = False

    def digests(self, location: str, algorithms: set[str]) -> dict[str, str] | None:
        """What was kept of a file that is as it was then; None where not all of it is known."""
        known = self.entries.get(_key(location), {})
        return {name: known[name] for name in algorithms} if algorithms <= set(known) else None

    def keep(self, location: str, digests: Mapping[str, str]) -> None:
        """Remember these of a large file that has been lying still."""
        key = _key(location)
        if self.path and key and all(_HEX.fullmatch(value) for value in digests.values()):
            self.entries[key] = {**self.entries.get(key, {}), **digests}
            self.changed = True

    def save(self) -> None:
        """Beside the old table, then in its place. What cannot be written is not kept."""
        if not self.changed:
            return
        newest = dict(list(self.entries.items())[-MOST_ENTRIES:])
        fresh = f"{self.path}.{secrets.token_hex(8)}"  # a name that nobody can have put a link at
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="ascii") as file:
                json.dump({"version": 1, "digests": newest}, file)
            os.replace(fresh, self.path)


def kept(environment: Environment) -> Kept:
    """The table as it was left; an empty one where there is none, or it is none of ours."""
    folder = environment.caches.get("digests", "")
    path = os.path.join(real(folder), "digests.json") if folder else ""
    value = load_json(path, MOST_BYTES) if path else None
    entries = value.get("digests") if isinstance(value, dict) and value.get("version") == 1 else None
    return Kept(path, {key: _clean(entry) for key, entry in entries.items() if _clean(entry)} if isinstance(entries, dict) else {})


def _clean(entry: Any) -> dict[str, str]:
    return {name: value for name, value in entry.items() if isinstance(value, str) and _HEX.fullmatch(value)} if isinstance(entry, dict) else {}


def _key(location: str) -> str:
    """What a file is known by; "" for one that is small, has just been written, or is not there."""
    try:
        seen = os.stat(location)
    except (OSError, ValueError):
        return ""
    if seen.st_size < LEAST_BYTES or time.time() - max(seen.st_mtime, seen.st_ctime) < SETTLED_SECONDS:
        return ""
    return f"{seen.st_dev}:{seen.st_ino}:{seen.st_size}:{seen.st_mtime_ns}:{seen.st_ctime_ns}"
