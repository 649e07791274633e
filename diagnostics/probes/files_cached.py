"""What the hub's cache holds of a target at a revision."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import ABSENT, Environment, Files, FileSeen, Listing, RemoteFile, Target, Unseen
from diagnostics.probes import cache
from diagnostics.probes.files_folder import MOST_EXAMINED, MOST_JSON, left_behind
from diagnostics.probes.files_one import Looks, Needs, examine, examine_whole, needs_of, who_owns, with_companions
from diagnostics.probes.files_sets import absent, absent_members
from diagnostics.probes.files_wanted import wanted_files, weights_format
from diagnostics.probes.formats import Look

_ESSENTIAL = re.compile(r"(.*/)?(config\.json|adapter_config\.json|model_index\.json|modules\.json)$")


def see_cached(target: Target, environment: Environment, listing: Listing | Unseen, looks: Looks | None = None) -> Files | Unseen:
    folder = cache.repository_folder(target, environment)
    if not folder:
        return Unseen("absent", "no cache folder is known")
    commit = cache.commit_of(folder, target.revision, listing)
    snapshot = os.path.join(folder, "snapshots", commit) if commit else ""
    try:
        present = cache.walk(snapshot, hidden=True) if snapshot and os.path.isdir(snapshot) else []
    except OSError as error:
        detail = f"{os.strerror(error.errno or errno.EACCES)}{who_owns(snapshot)}"
        return Files(place="cache", path=redact.path(folder), readable=False, commit=commit, absent=(absent(".", "file-unreadable", detail),), message=detail)
    remote = {file.path: file for file in (listing.files if isinstance(listing, Listing) else cache.remembered_files(folder, commit))}
    wanted = _wanted(target, listing, remote, present)
    files, needed = _cached_files(folder, snapshot, present, wanted, remote, looks)
    gone = _gone(target, folder, snapshot, listing, wanted, files, present, cache.known_missing(folder, commit))
    gone = tuple({seen.path: seen for seen in (*needed, *gone)}.values())
    return Files(
        place="cache",
        path=redact.path(folder),
        exists=bool(files),
        commit=commit,
        files=files,
        absent=gone,
        missing=tuple(seen.path for seen in gone if seen.path != target.name),
        unfinished=tuple(left_behind(os.path.basename(path), path, "a download was cut short") for path, _ in cache.unfinished_blobs(folder)),
        ref=cache.commit_of(folder, target.revision, ABSENT),
    )


def _wanted(target: Target, listing: Listing | Unseen, remote: dict[str, RemoteFile], present: list[str]) -> tuple[str, ...]:
    if isinstance(listing, Listing) and listing.wanted:
        return listing.wanted
    return wanted_files(tuple(dict.fromkeys((*remote, *present))), target.loader, target.patterns)


def _cached_files(
    folder: str, snapshot: str, present: list[str], wanted: tuple[str, ...], remote: dict[str, RemoteFile], looks: Looks | None
) -> tuple[tuple[FileSeen, ...], tuple[FileSeen, ...]]:
    """(The files that count and are in the snapshot, or whose blob is there so that the client will only link it; what they name and is not here.)"""
    there, found = set(present), []
    needs: Needs = ()
    for path in wanted[:MOST_EXAMINED]:
        file = remote.get(path)
        size = file.bytes if file else ABSENT
        if path in there:
            seen, look = _cached_file(folder, snapshot, path, size)
            needs += needs_of(path, look)
            if looks is not None and look.tensors:
                looks[seen.location] = look
            found.append(seen)
        elif file and (blob := cache.blob_of(folder, file)):
            found.append(examine(path, blob, size))
    sizes = {path: length for path in present if (length := cache.size_of(os.path.join(snapshot, path))) is not None} if needs else {}
    return with_companions(found, needs, sizes)


def _cached_file(folder: str, snapshot: str, path: str, expected: int | Unseen) -> tuple[FileSeen, Look]:
    location = os.path.join(snapshot, path)
    if os.path.islink(location) and os.path.exists(location) and not cache.leads_inside(location, folder):
        size = cache.size_of(location)
        seen = FileSeen(
            path=redact.plain(path, 500),
            location=redact.path(location),
            bytes=size if size is not None else ABSENT,
            expected_bytes=expected,
            content="link-elsewhere",
        )
        return seen, Look("")
    seen, look = examine_whole(path, location, expected)
    return replace(seen, blob=cache.blob_name(location)), look


def _gone(
    target: Target,
    folder: str,
    snapshot: str,
    listing: Listing | Unseen,
    wanted: tuple[str, ...],
    files: tuple[FileSeen, ...],
    present: list[str],
    never: set[str],
) -> tuple[FileSeen, ...]:
    """What is not in the cache. With the hub's list: all that counts. With only the cache's own memory: what no load can do without."""
    if not files:
        return (absent(target.name, "model-not-cached", f"nothing of it is in {redact.path(folder)}"),)
    broken = {seen.path for seen in files if any(defect.code == "cache-link-broken" for defect in seen.defects)}
    here = {seen.path for seen in files} - broken
    due = [path for path in wanted if path not in here and path not in never]
    if not isinstance(listing, Listing):
        due = _needed_by_any_load(due, here)
    named = [absent(path, "file-missing", "it is not in the cache") for path in due]
    members = (
        absent_members(frozenset(here), frozenset(present), lambda name: cache.load_json(os.path.join(snapshot, name), MOST_JSON), target.loader)
        if snapshot
        else ()
    )
    return tuple({seen.path: seen for seen in (*named, *(member for member in members if member.path not in here))}.values())


def _needed_by_any_load(due: Iterable[str], here: set[str]) -> list[str]:
    """Weights, their index and the config; the tokenizer where none of it is here. A partial download by choice leaves the rest out."""
    tokenized = any(_is_tokenizer(path) for path in here)
    return [path for path in due if weights_format(path) or _ESSENTIAL.match(path) or (_is_tokenizer(path) and not tokenized)]


def _is_tokenizer(path: str) -> bool:
    return bool(re.search(r"(^|/)(tokenizer\.json|tokenizer\.model|vocab\.(json|txt)|spiece\.model|sentencepiece\.bpe\.model|\w+\.tiktoken)$", path))
