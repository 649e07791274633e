"""A repository's files into the hub's cache: brought beside by the downloader, verified, and put where huggingface_hub looks for them.

What is there and as published is left alone; what is there and is not, is replaced as a repair replaces it, and kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from diagnostics.case import ABSENT, Environment, Published, Repair, Target
from diagnostics.probes.cache import is_inside, repository_folder
from diagnostics.repair.content import what_is_wrong
from diagnostics.repair.place import Place, blob_lock, clear, staging, write_small
from diagnostics.transfer import Outcome, Wanted

OTHER_SECONDS = 3600.0  # waited for another process that brings the same repository: then it is here
BLOB_SECONDS = 60.0
Bring = Callable[[tuple[Wanted, ...], Path], tuple[Outcome, ...]]


def cache_place(target: Target, environment: Environment, commit: str) -> Place | None:
    """Where the hub's cache keeps this commit; None where there is no cache, or no commit to name the snapshot by."""
    folder = repository_folder(target, environment)
    return Place(kind="cache", folder=folder, entries=os.path.join(folder, "snapshots", commit)) if folder and commit else None


def into_cache(place: Place, wanted: tuple[Wanted, ...], revision: str, bring: Bring) -> tuple[Outcome, ...]:
    """What came of each file. The ref is set when all are there. Raises OSError, ``Busy``, ``Refused``."""
    stands = {item.name: _stands(place, item) for item in wanted}
    if all(stands.values()) and _refers(place, revision):  # in a cache that nobody may write to as well
        return tuple(_already(item) for item in wanted)
    os.makedirs(os.path.join(place.folder, "blobs"), exist_ok=True)
    os.makedirs(place.entries, exist_ok=True)
    with staging(place, OTHER_SECONDS) as folder:
        here = {item.name: stands[item.name] or _here(place, item) for item in wanted}
        missing = tuple(item for item in wanted if not here[item.name])
        beside = Path(folder, os.path.basename(place.entries))
        brought = {outcome.name: outcome for outcome in (bring(missing, beside) if missing else ())}
        for item in missing:
            if not brought[item.name].failure:
                repair = _repair(item)
                with blob_lock(place, repair.blob, BLOB_SECONDS):
                    place.put(repair, str(beside / item.name))
        whole = not any(outcome.failure for outcome in brought.values())
        if whole:
            clear(folder)
    if whole and not _refers(place, revision):
        write_small(_ref(place, revision), os.path.basename(place.entries))
    return tuple(brought.get(item.name) or _already(item) for item in wanted)


def _already(item: Wanted) -> Outcome:
    return Outcome(name=item.name, outcome="already_here", bytes=item.size, verified="digest" if isinstance(item.digest, Published) else "structure")


def _ref(place: Place, revision: str) -> str:
    return os.path.join(place.folder, "refs", *revision.split("/"))


def _refers(place: Place, revision: str) -> bool:
    """Whether the cache knows that this revision is the snapshot's commit, or need not."""
    commit = os.path.basename(place.entries)
    if revision == commit or not is_inside(revision):
        return True
    try:
        return Path(_ref(place, revision)).read_text(encoding="ascii").strip() == commit
    except (OSError, ValueError):
        return False


def _stands(place: Place, item: Wanted) -> bool:
    """Whether its name in the snapshot leads to the content."""
    try:
        entry = place.entry(item.name)
        return os.path.exists(entry) and not what_is_wrong(os.path.realpath(entry), item.name, item.size, item.digest)
    except OSError:
        return False


def _here(place: Place, item: Wanted) -> bool:
    """Whether the content is in the cache, by its digest or, where none is published, its size and its own tables; it is given its name in the snapshot then."""
    repair = _repair(item)
    try:
        if what_is_wrong(os.path.realpath(place.content(repair)), item.name, item.size, item.digest):
            return False
    except OSError:
        return False
    if place.content(repair) != place.entry(item.name):
        place.link(repair)
    return True


def _repair(item: Wanted) -> Repair:
    """The file as a repair names it: its blob by what the hub's ETag is, the sha256 of large files and git's name of small ones."""
    digest = item.digest if isinstance(item.digest, Published) and item.digest.algorithm in ("sha256", "git-sha1") else None
    return Repair(
        kind="missing", path=item.name, location="", why="", how="fetch", size=item.size, digest=digest or ABSENT, blob=digest.value if digest else ""
    )
