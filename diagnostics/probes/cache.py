"""The Hugging Face hub's cache on disk: which commit a revision is, what lies in its snapshot, what the cache remembers of sizes and digests.

Layout (clients.md 7.4; huggingface_hub ``file_download.py``, ``_tree_cache.py``, ``utils/_shared_blobs.py``)::

    HUB/models--org--name/refs/main                      commit
                         /blobs/<etag>                   content; <etag> is git's sha1 of a small file, sha256 of a large one
                         /blobs/<etag>[.<8 hex>].incomplete
                         /snapshots/<commit>/<path> -> ../../blobs/<etag>
                         /.no_exist/<commit>/<path>
                         /trees/<commit>.json            sizes and digests (1.33 and later)
    HUB/blobs/<2 hex>/<xet hash>                         shared between repositories (2.x); a repository's blob links to it

Nothing here raises for what it finds.
"""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any

from diagnostics.case import ABSENT, Environment, Listing, RemoteFile, Target, Unseen
from diagnostics.environment.text import up_to
from diagnostics.probes.files_wanted import wanted_files
from diagnostics.redact import plain

MOST_TREE_BYTES = 16 << 20
MOST_ENTRIES = 20_000
DEEPEST = 12
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
INCOMPLETE = re.compile(r"(?P<etag>[^.]+)(?:\.[0-9a-f]{8})?\.incomplete$")


def real(path: str) -> str:
    """A record's path (home as ``~``) as the system takes it."""
    return os.path.expanduser(path)


def repository_folder(target: Target, environment: Environment) -> str:
    """Where the cache keeps this repository (``repo_folder_name``); "" where there is no cache folder."""
    hub = environment.caches.get("hub", "")
    return os.path.join(real(hub), f"{target.repository_type}s--{target.name.replace('/', '--')}") if hub and target.name else ""


def commit_of(folder: str, revision: str, listing: Listing | Unseen) -> str:
    """The commit that the hub names, else the one that the cache remembers for this revision; "" for neither."""
    if isinstance(listing, Listing) and _COMMIT.fullmatch(listing.commit):
        return listing.commit
    if _COMMIT.fullmatch(revision):
        return revision
    if not folder or ".." in revision.split("/") or revision.startswith("/"):
        return ""
    text = read_small(os.path.join(folder, "refs", revision), 100).decode("ascii", "replace").strip()
    return text if _COMMIT.fullmatch(text) else ""


def read_small(path: str, most: int) -> bytes:
    """The first ``most`` bytes of a regular file, b"" where there is none or it may not be read. A FIFO or a device is not opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return up_to(file, most)
    except (OSError, ValueError):
        return b""


def read_proc(path: str, most: int = 1 << 20) -> str:
    """A file of /proc as text, "" where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(most).decode("utf-8", "replace")
    except OSError:
        return ""


def load_json(path: str, most: int) -> Any:
    """A JSON file's value; None where there is none, it is longer than ``most`` bytes or does not parse."""
    data = read_small(path, most + 1)
    if not data or len(data) > most:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def remembered_files(folder: str, commit: str) -> tuple[RemoteFile, ...]:
    """What ``trees/<commit>.json`` says of the files of a commit: sizes and digests, usable without the network."""
    if not commit:
        return ()
    value = load_json(os.path.join(folder, "trees", f"{commit}.json"), MOST_TREE_BYTES)
    entries = value.get("files") if isinstance(value, dict) and value.get("format_version") == 1 else None
    if not isinstance(entries, dict):
        return ()
    found = [_remembered(path, entry) for path, entry in list(entries.items())[:MOST_ENTRIES] if isinstance(entry, dict) and is_inside(path)]
    return tuple(found)


def _remembered(path: str, entry: dict[str, Any]) -> RemoteFile:
    large = _hex(entry.get("lfs_sha256"), _SHA256)
    size = entry.get("lfs_size") if large else entry.get("size")
    return RemoteFile(
        path=plain(path, 500),
        bytes=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else ABSENT,
        sha256=large or ABSENT,
        git_sha1=ABSENT if large else _hex(entry.get("blob_id"), _COMMIT) or ABSENT,
    )


def _hex(value: Any, form: re.Pattern[str]) -> str:
    return value if isinstance(value, str) and form.fullmatch(value) else ""


def is_inside(path: Any) -> bool:
    """Whether a path from a list stays inside the folder it is joined to."""
    return (
        isinstance(path, str)
        and bool(path)
        and not path.startswith(("/", "\\"))
        and ".." not in re.split(r"[/\\]", path)
        and "\0" not in path
        and not re.match(r"[A-Za-z]:", path)
    )


def remembered_listing(target: Target, environment: Environment) -> Listing | Unseen:
    """The list of files as the cache remembers it for the target's revision, for use without the network."""
    folder = repository_folder(target, environment)
    commit = commit_of(folder, target.revision, ABSENT)
    files = remembered_files(folder, commit)
    if not files:
        return Unseen("absent", "the cache remembers no list of this model's files")
    return Listing(source="cache", commit=commit, files=files, wanted=wanted_files(tuple(file.path for file in files), target.loader, target.patterns))


def walk(folder: str, hidden: bool = False) -> list[str]:
    """Paths of what is no folder under ``folder``, relative, "/"-separated, sorted; at most MOST_ENTRIES, DEEPEST levels. Links to folders are followed once each.

    Raises OSError where ``folder`` itself cannot be listed; a folder further down that cannot be listed is left out.
    """
    found: list[str] = []
    visited: set[tuple[int, int]] = set()
    waiting = [("", 0)]
    while waiting and len(found) < MOST_ENTRIES:
        below, depth = waiting.pop()
        try:
            entries = sorted(os.scandir(os.path.join(folder, below) if below else folder), key=lambda entry: entry.name)
        except OSError:
            if not below:
                raise
            continue
        for entry in entries:
            if entry.name.startswith(".") and not hidden:
                continue
            path = f"{below}/{entry.name}" if below else entry.name
            if not _is_folder(entry):
                found.append(path)
            elif depth < DEEPEST and _first_visit(entry, visited):
                waiting.append((path, depth + 1))
    return sorted(found[:MOST_ENTRIES])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _first_visit(entry: os.DirEntry[str], visited: set[tuple[int, int]]) -> bool:
    try:
        seen = entry.stat()
    except OSError:
        return True
    key = (seen.st_dev, seen.st_ino)
    if key in visited and seen.st_ino:
        return False
    visited.add(key)
    return True


def blob_of(folder: str, file: RemoteFile) -> str:
    """The blob that the client would take for a file instead of downloading it, "" where there is none."""
    for etag in (file.sha256, file.git_sha1):
        if isinstance(etag, str) and os.path.isfile(path := os.path.join(folder, "blobs", etag)):
            return path
    return ""


def blob_name(path: str) -> str:
    """The blob that a snapshot's entry links to, by its name; "" for what is no link into a folder of blobs."""
    try:
        folder, name = os.path.split(os.readlink(path))
    except (OSError, ValueError):
        return ""
    return plain(name, 200) if os.path.basename(folder) == "blobs" else ""


def leads_inside(path: str, folder: str) -> bool:
    """Whether a snapshot's entry, all links followed, ends in this repository's folder, its blobs or the shared blobs: what the client itself makes."""
    places = (folder, os.path.join(folder, "blobs"), os.path.join(os.path.dirname(folder), "blobs"))
    target = os.path.realpath(path)
    return any(target.startswith(os.path.realpath(place) + os.sep) for place in places)


def unfinished_blobs(folder: str) -> list[tuple[str, int]]:
    """(path, bytes) of downloads that were left: ``<etag>.incomplete`` (0.x) and ``<etag>.<8 hex>.incomplete`` (1.x, 2.x)."""
    blobs = os.path.join(folder, "blobs")
    try:
        names = sorted(name for name in os.listdir(blobs) if name.endswith(".incomplete"))
    except OSError:
        return []
    return [(os.path.join(blobs, name), size) for name in names[:100] if (size := size_of(os.path.join(blobs, name))) is not None]


def size_of(path: str) -> int | None:
    """A file's size, links followed; None where it is not there or may not be asked."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return None


def known_missing(folder: str, commit: str) -> set[str]:
    """Paths that the hub does not have at this commit (``.no_exist``)."""
    try:
        return set(walk(os.path.join(folder, ".no_exist", commit), hidden=True)) if commit else set()
    except OSError:
        return set()
