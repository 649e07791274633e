"""Which repository of a hub a git clone is of, and at which commit: read from ``.git``, nothing is run.

git-config(1), gitrepository-layout(5): ``[remote "origin"] url``, ``HEAD``, ``refs/heads/…``, ``packed-refs``.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from diagnostics.probes.cache import is_inside, read_small

MOST_BYTES = 1 << 20
ALIASES = {"hf.co": "huggingface.co", "www.huggingface.co": "huggingface.co"}
_ORIGIN = re.compile(r'^\s*\[remote "origin"\]\s*$(?P<body>(?:\n(?!\s*\[).*)*)', re.MULTILINE)
_URL = re.compile(r"^\s*url\s*=\s*(?P<url>\S+)\s*$", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"(?P<kind>datasets/)?(?P<name>[\w.-]{1,96}/[\w.-]{1,96}?)(\.git)?/?$")


def hub_clone(folder: str, host: str) -> str:
    """``hub:ORG/NAME@COMMIT`` of a clone from ``host`` (a hub's name); "" for a folder that is none."""
    git = os.path.join(folder, ".git")
    origin = _origin(read_small(os.path.join(git, "config"), MOST_BYTES).decode("utf-8", "replace"))
    there, path = _split(origin)
    match = _NAME.fullmatch(path)
    commit = _commit(git)
    if not host or ALIASES.get(there, there) != ALIASES.get(host, host) or match is None or not commit:
        return ""
    return f"{'dataset' if match['kind'] else 'hub'}:{match['name']}@{commit}"


def _origin(config: str) -> str:
    section = _ORIGIN.search(config)
    url = _URL.search(section["body"]) if section else None
    return url["url"] if url else ""


def _split(url: str) -> tuple[str, str]:
    """(host, path) of a URL, or of git's ``user@host:path``."""
    if match := re.fullmatch(r"[\w.-]+@([\w.-]+):(.+)", url):
        return match[1].lower(), match[2]
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").lower(), parts.path.lstrip("/")
    except ValueError:
        return "", ""


def _commit(git: str) -> str:
    head = _line(os.path.join(git, "HEAD"))
    ref = head.removeprefix("ref: ")
    if ref == head or not is_inside(ref):
        return head if _COMMIT.fullmatch(head) else ""
    loose = _line(os.path.join(git, *ref.split("/")))
    if _COMMIT.fullmatch(loose):
        return loose
    packed = read_small(os.path.join(git, "packed-refs"), MOST_BYTES).decode("ascii", "replace")
    return next((line[:40] for line in packed.splitlines() if line[40:] == f" {ref}" and _COMMIT.fullmatch(line[:40])), "")


def _line(path: str) -> str:
    return read_small(path, 500).decode("utf-8", "replace").strip()
