"""What is here of a target: a folder's files, or what the hub's cache holds at a revision. Headers only, a few reads a file.

For every file that counts: its size, what its bytes are, and its defects, with codes equal to the cause ids of the files section.
"""

from __future__ import annotations

from diagnostics.case import Environment, Files, Listing, Problem, Target, Unseen
from diagnostics.probes import cache
from diagnostics.probes.files_cached import see_cached
from diagnostics.probes.files_folder import local_remembered, see_folder, see_listed, see_single
from diagnostics.probes.files_one import Looks, owner_name
from diagnostics.probes.files_wanted import wanted_files

__all__ = ["local_remembered", "missing_bytes", "owner_name", "see_files", "wanted_files"]


def see_files(target: Target, environment: Environment, listing: Listing | Unseen, looks: Looks | None = None) -> Files | Unseen:
    """The target's files on this machine. ``Unseen`` for a target that has no place here. ``looks`` is filled with what the files' own tables say."""
    if isinstance(target.problem, Problem):
        return Unseen("absent", f"the target cannot be used: {target.problem.detail or target.problem.code}")
    if target.kind == "hub":
        return see_cached(target, environment, listing, looks)
    if target.kind in ("directory", "file") and target.paths:
        path = cache.real(target.paths[0])
        return see_folder(target, path, looks) if target.kind == "directory" else see_single(path)
    if target.kind == "list" and target.paths:
        return see_listed(target, cache.real(target.paths[0]), looks)
    return Unseen("absent", "a download from a URL leaves no trace that would be looked for" if target.kind in ("url", "list") else "no model was named")


def missing_bytes(listing: Listing | Unseen, files: Files | Unseen) -> int | Unseen:
    """Bytes still to be fetched: the published sizes of the files that count and are not here. Where only some sizes are known, at least so many."""
    if isinstance(files, Files) and files.place != "cache":
        return 0
    if not isinstance(listing, Listing):
        complete = isinstance(files, Files) and files.exists and bool(files.files) and not files.missing
        return 0 if complete else Unseen("absent", "nobody said how large the files are")
    here = {seen.path for seen in files.files if isinstance(seen.bytes, int)} if isinstance(files, Files) else set()
    due = [file for file in listing.files if file.path in set(listing.wanted) and file.path not in here]
    known = [file.bytes for file in due if isinstance(file.bytes, int)]
    return sum(known) if known or not due else Unseen("absent", "nobody said how large the files are")
