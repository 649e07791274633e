"""What is here of a target: a folder's files, or what the hub's cache holds at a revision. Headers only, a few reads a file.

For every file that counts: its size, what its bytes are, and its defects, with codes equal to the cause ids of the files section.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import ABSENT, Defect, Environment, Files, FileSeen, Listing, Problem, RemoteFile, Target, Unseen
from diagnostics.probes import cache
from diagnostics.probes.files_judged import by_name
from diagnostics.probes.files_sets import absent, absent_members
from diagnostics.probes.files_wanted import wanted_files, weights_format
from diagnostics.probes.formats import Bytes, Look, look_at

__all__ = ["missing_bytes", "see_files", "wanted_files"]

MOST_EXAMINED = 4000
MOST_JSON = 64 << 20
MOST_LISTED = 200  # unfinished downloads to name
# huggingface_hub, curl and wget2, aria2, Chromium, Firefox, torch.hub
_UNFINISHED = re.compile(r"(?P<name>.+?)(\.[0-9a-f]{8,64})?(\.incomplete|\.part|\.aria2|\.crdownload|\.partial)$")
_ESSENTIAL = re.compile(r"(.*/)?(config\.json|adapter_config\.json|model_index\.json|modules\.json)$")


def see_files(target: Target, environment: Environment, listing: Listing | Unseen) -> Files | Unseen:
    """The target's files on this machine. ``Unseen`` for a target that has no place here."""
    if isinstance(target.problem, Problem):
        return Unseen("absent", f"the target cannot be used: {target.problem.detail or target.problem.code}")
    if target.kind == "hub":
        return _see_cached(target, environment, listing)
    if target.kind in ("directory", "file") and target.paths:
        path = cache.real(target.paths[0])
        return _see_folder(target, path) if target.kind == "directory" else _see_single(path)
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


# --- one file ---------------------------------------------------------------------------------------------------------------


def examine(path: str, location: str, expected: int | Unseen = ABSENT) -> FileSeen:
    """One file: ``path`` is its name in the target, ``location`` where it is. Links are followed; what is no regular file is not opened for long."""
    seen = FileSeen(path=redact.plain(path, 500), location=redact.path(location), expected_bytes=expected)
    try:
        descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        return replace(seen, defects=(_not_opened(location, error),))
    try:
        return _read(seen, path, descriptor)
    except OSError as error:
        return replace(seen, defects=(Defect(code="file-unreadable", detail=f"reading it fails: {os.strerror(error.errno or errno.EIO)}"),))
    finally:
        os.close(descriptor)


def _read(seen: FileSeen, path: str, descriptor: int) -> FileSeen:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return replace(seen, content="special", defects=(Defect(code="file-unreadable", detail="it is no regular file"),))
    file = Bytes(descriptor, status.st_size)
    head = file.head()
    look = by_name(path, look_at(file, head), file, head, seen.expected_bytes)
    return replace(seen, bytes=status.st_size, content=look.content, defects=look.defects, expected_bytes=_expected(seen.expected_bytes, look))


def _expected(published: int | Unseen, look: Look) -> int | Unseen:
    return published if isinstance(published, int) else look.expected


def _not_opened(location: str, error: OSError | ValueError) -> Defect:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ENOENT, errno.ELOOP) and os.path.islink(location):
        return Defect(code="cache-link-broken", detail=f"it is a link to {redact.path(os.readlink(location))}, where nothing is")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return Defect(code="file-missing", detail="it went away")
    return Defect(code="file-unreadable", detail=f"{os.strerror(number or errno.EACCES)}{_who_owns(location)}")


def _who_owns(location: str) -> str:
    try:
        status = os.stat(location)
    except (OSError, ValueError):
        return ""
    euid = f", we are user {os.geteuid()}" if hasattr(os, "geteuid") else ""
    return f": {stat.filemode(status.st_mode)}, owner {owner_name(status.st_uid)}{euid}"


def owner_name(uid: int) -> str:
    """A user's name, or the number where nobody has it (a container, a network file system)."""
    try:
        import pwd  # not on Windows

        return redact.plain(pwd.getpwuid(uid).pw_name, 60)
    except (ImportError, KeyError):
        return str(uid)


# --- folders ----------------------------------------------------------------------------------------------------------------


def _see_single(path: str) -> Files:
    seen = examine(os.path.basename(path), path)
    return Files(place="file", path=redact.path(path), files=(seen,), readable=not any(defect.code == "file-unreadable" for defect in seen.defects))


def _see_folder(target: Target, folder: str) -> Files:
    shown = redact.path(folder)
    try:
        everything = cache.walk(folder)
    except OSError as error:
        detail = f"{os.strerror(error.errno or errno.EACCES)}{_who_owns(folder)}"
        return Files(place="folder", path=shown, readable=False, absent=(absent(".", "file-unreadable", detail),), message=detail)
    left = [name for name in everything if _UNFINISHED.match(name)]
    names = [name for name in everything if name not in set(left)]
    if not names and not left:
        return Files(place="folder", path=shown, absent=(absent(".", "model-directory-empty", _empty_detail(folder)),))
    wanted = wanted_files(tuple(names), target.loader, target.patterns)
    sizes = _published_sizes(folder)
    files = tuple(examine(name, os.path.join(folder, name), sizes.get(name, ABSENT)) for name in _most_telling(wanted))
    gone = absent_members(frozenset(wanted), frozenset(names), lambda name: cache.load_json(os.path.join(folder, name), MOST_JSON), target.loader)
    return Files(
        place="folder",
        path=shown,
        files=files,
        absent=gone,
        missing=tuple(seen.path for seen in gone),
        unfinished=_unfinished(folder, left, set(names)),
        message=f"{len(wanted) - len(files)} further files were not looked at" if len(wanted) > len(files) else "",
    )


def _most_telling(wanted: tuple[str, ...]) -> list[str]:
    """As many as are looked at: weights and JSON files first where there are too many."""
    if len(wanted) <= MOST_EXAMINED:
        return list(wanted)
    return sorted(wanted, key=lambda name: (not weights_format(name), not name.endswith(".json")))[:MOST_EXAMINED]


def _empty_detail(folder: str) -> str:
    """Whether something is mounted there: an empty mount point is another mistake than an empty folder."""
    return "a file system is mounted there" if os.path.ismount(folder) else "nothing is mounted there"


def _published_sizes(folder: str) -> dict[str, int]:
    """Sizes of weights that ``hf download --local-dir`` noted beside them. Small files may have been edited since, by right."""
    return {file.path: file.bytes for file in local_remembered(folder) if isinstance(file.bytes, int) and weights_format(file.path)}


def local_remembered(folder: str) -> tuple[RemoteFile, ...]:
    """What ``.cache/huggingface/trees`` in a downloaded folder says of its files, if it speaks of one commit alone."""
    base = os.path.join(folder, ".cache", "huggingface")
    try:
        commits = [name.removesuffix(".json") for name in os.listdir(os.path.join(base, "trees")) if re.fullmatch(r"[0-9a-f]{40}\.json", name)]
    except OSError:
        return ()
    return cache.remembered_files(base, commits[0]) if len(commits) == 1 else ()


def _unfinished(folder: str, left: list[str], names: set[str]) -> tuple[FileSeen, ...]:
    """Downloads that were left, and whose file is not here (aria2 writes into the very file: there it counts though the file is)."""
    found = []
    for name in left[:MOST_LISTED]:
        match = _UNFINISHED.match(name)
        stem = match["name"] if match else name
        if stem not in names or name.endswith(".aria2"):
            found.append(_left_behind(name, os.path.join(folder, name), f"{stem} is not whole"))
    return (*found, *_left_by_hub(folder))


def _left_behind(path: str, location: str, detail: str) -> FileSeen:
    size = cache.size_of(location)
    return FileSeen(
        path=redact.plain(path, 500),
        location=redact.path(location),
        bytes=size if size is not None else ABSENT,
        content="unfinished",
        defects=(Defect(code="download-unfinished", detail=redact.plain(detail)),),
    )


def _left_by_hub(folder: str) -> list[FileSeen]:
    """``.cache/huggingface/download/<path>.<hash>.incomplete`` of ``hf download --local-dir``, whose file is not here."""
    base = os.path.join(folder, ".cache", "huggingface", "download")
    try:
        names = [name for name in cache.walk(base, hidden=True) if name.endswith(".incomplete")]
    except OSError:
        return []
    done = {name.removesuffix(".metadata") for name in cache.walk(base, hidden=True) if name.endswith(".metadata")}
    whole = all(os.path.exists(os.path.join(folder, name)) for name in done)
    return [] if whole and done else [_left_behind(name, os.path.join(base, name), "a download into this folder was cut short") for name in names[:MOST_LISTED]]


# --- the hub's cache --------------------------------------------------------------------------------------------------------


def _see_cached(target: Target, environment: Environment, listing: Listing | Unseen) -> Files | Unseen:
    folder = cache.repository_folder(target, environment)
    if not folder:
        return Unseen("absent", "no cache folder is known")
    commit = cache.commit_of(folder, target.revision, listing)
    snapshot = os.path.join(folder, "snapshots", commit) if commit else ""
    try:
        present = cache.walk(snapshot, hidden=True) if snapshot and os.path.isdir(snapshot) else []
    except OSError as error:
        detail = f"{os.strerror(error.errno or errno.EACCES)}{_who_owns(snapshot)}"
        return Files(place="cache", path=redact.path(folder), readable=False, commit=commit, absent=(absent(".", "file-unreadable", detail),), message=detail)
    remote = {file.path: file for file in (listing.files if isinstance(listing, Listing) else cache.remembered_files(folder, commit))}
    wanted = _wanted(target, listing, remote, present)
    files = _cached_files(folder, snapshot, present, wanted, remote)
    gone = _gone(target, folder, snapshot, listing, wanted, files, present, cache.known_missing(folder, commit))
    return Files(
        place="cache",
        path=redact.path(folder),
        exists=bool(files),
        commit=commit,
        files=files,
        absent=gone,
        missing=tuple(seen.path for seen in gone if seen.path != target.name),
        unfinished=tuple(_left_behind(os.path.basename(path), path, "a download was cut short") for path, _ in cache.unfinished_blobs(folder)),
    )


def _wanted(target: Target, listing: Listing | Unseen, remote: dict[str, RemoteFile], present: list[str]) -> tuple[str, ...]:
    if isinstance(listing, Listing) and listing.wanted:
        return listing.wanted
    return wanted_files(tuple(dict.fromkeys((*remote, *present))), target.loader, target.patterns)


def _cached_files(folder: str, snapshot: str, present: list[str], wanted: tuple[str, ...], remote: dict[str, RemoteFile]) -> tuple[FileSeen, ...]:
    """The files that count and are in the snapshot, or whose blob is there so that the client will only link it."""
    there, found = set(present), []
    for path in wanted[:MOST_EXAMINED]:
        file = remote.get(path)
        size = file.bytes if file else ABSENT
        if path in there:
            found.append(_cached_file(folder, snapshot, path, size))
        elif file and (blob := cache.blob_of(folder, file)):
            found.append(examine(path, blob, size))
    return tuple(found)


def _cached_file(folder: str, snapshot: str, path: str, expected: int | Unseen) -> FileSeen:
    location = os.path.join(snapshot, path)
    if os.path.islink(location) and os.path.exists(location) and not cache.leads_inside(location, folder):
        size = cache.size_of(location)
        return FileSeen(
            path=redact.plain(path, 500),
            location=redact.path(location),
            bytes=size if size is not None else ABSENT,
            expected_bytes=expected,
            content="link-elsewhere",
        )
    return examine(path, location, expected)


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
