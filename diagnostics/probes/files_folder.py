"""A local folder or file that is to be loaded: what counts in it, what is missing, what was left half-downloaded."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import ABSENT, Defect, Files, FileSeen, RemoteFile, Target
from diagnostics.probes import cache
from diagnostics.probes.files_one import Looks, Needs, examine_whole, needs_of, who_owns, with_companions
from diagnostics.probes.files_sets import absent, absent_members
from diagnostics.probes.files_wanted import wanted_files, weights_format

MOST_EXAMINED = 4000
MOST_JSON = 64 << 20
MOST_LISTED = 200  # unfinished downloads to name
# huggingface_hub, curl and wget2, aria2, Chromium, Firefox, torch.hub, rsync
_UNFINISHED = re.compile(r"(?P<name>.+?)(\.[0-9a-f]{8,64})?(\.incomplete|\.part|\.aria2|\.crdownload|\.partial|\.download|\.tmp|\.!ut)$")


def see_single(path: str) -> Files:
    """One file by itself, with what it needs beside it."""
    name, folder = os.path.basename(path), os.path.dirname(path)
    seen, look = examine_whole(name, path)
    needs = needs_of(name, look)
    sizes = {need.path: size for _, need in needs if (size := cache.size_of(os.path.join(folder, need.path))) is not None}
    files, gone = with_companions((seen,), needs, sizes)
    unreadable = any(defect.code == "file-unreadable" for defect in seen.defects)
    return Files(place="file", path=redact.path(path), files=files, absent=gone, missing=tuple(item.path for item in gone), readable=not unreadable)


def see_folder(target: Target, folder: str, looks: Looks | None = None) -> Files:
    shown = redact.path(folder)
    try:
        everything = cache.walk(folder)
    except OSError as error:
        detail = f"{os.strerror(error.errno or errno.EACCES)}{who_owns(folder)}"
        return Files(place="folder", path=shown, readable=False, absent=(absent(".", "file-unreadable", detail),), message=detail)
    left = [name for name in everything if _UNFINISHED.match(name)]
    names = [name for name in everything if name not in set(left)]
    if not names and not left:
        return Files(place="folder", path=shown, absent=(absent(".", "model-directory-empty", _empty_detail(folder)),))
    wanted = wanted_files(tuple(names), target.loader, target.patterns)
    sizes = _published_sizes(folder)
    telling = _most_telling(wanted)
    files, needed = _examined(folder, telling, names, sizes, looks)
    members = absent_members(frozenset(wanted), frozenset(names), lambda name: cache.load_json(os.path.join(folder, name), MOST_JSON), target.loader)
    gone = tuple({seen.path: seen for seen in (*needed, *members, *_levels(folder, members))}.values())
    return Files(
        place="folder",
        path=shown,
        files=files,
        absent=gone,
        missing=tuple(seen.path for seen in gone),
        unfinished=(*_unfinished(folder, left, set(names)), *(_left_in_cache(folder) if gone else ())),
        message=f"{len(wanted) - len(telling)} further files were not looked at" if len(wanted) > len(telling) else "",
    )


def see_listed(target: Target, folder: str, looks: Looks | None = None) -> Files:
    """What a list of files names, in the folder that it names."""
    shown = redact.path(folder)
    try:
        names = cache.walk(folder, hidden=True)
    except OSError as error:
        detail = f"{os.strerror(error.errno or errno.EACCES)}{who_owns(folder)}"
        return Files(place="folder", path=shown, readable=False, absent=(absent(".", "file-unreadable", detail),), message=detail)
    there, listed = set(names), [file.path for file in target.listed]
    sizes = {file.path: file.bytes for file in target.listed if isinstance(file.bytes, int)}
    files, needed = _examined(folder, [path for path in listed if path in there][:MOST_EXAMINED], names, sizes, looks)
    gone = (*(absent(path, "file-missing", "the list names it, it is not in the folder") for path in listed if path not in there), *needed)
    left = [name for name in names if _UNFINISHED.match(name) and name not in set(listed)]
    return Files(
        place="folder",
        path=shown,
        files=files,
        absent=gone,
        missing=tuple(seen.path for seen in gone),
        unfinished=_unfinished(folder, left, there) if gone else (),
    )


def _examined(
    folder: str, telling: list[str], names: list[str], sizes: dict[str, int], looks: Looks | None
) -> tuple[tuple[FileSeen, ...], tuple[FileSeen, ...]]:
    """(the files; what they name and is not here)."""
    seen: list[FileSeen] = []
    needs: Needs = ()
    for name in telling:
        one, look = examine_whole(name, os.path.join(folder, name), sizes.get(name, ABSENT))
        seen.append(replace(one, blob=cache.blob_name(os.path.join(folder, name))))
        needs += needs_of(name, look)
        if looks is not None and look.tensors:
            looks[one.location] = look
    lengths = {name: size for name in names if (size := cache.size_of(os.path.join(folder, name))) is not None} if needs else {}
    return with_companions(seen, needs, lengths)


def _levels(folder: str, members: tuple[FileSeen, ...]) -> tuple[FileSeen, ...]:
    """A missing config that is one level up: the path is one too deep."""
    lacks = any(seen.path == "config.json" and not seen.defects[0].detail for seen in members)
    above = os.path.dirname(folder.rstrip("/"))
    if lacks and os.path.isfile(os.path.join(above, "config.json")):
        return (absent("config.json", "config-missing", f"there is one in the folder above, {redact.path(above)}"),)
    return ()


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
            found.append(left_behind(name, os.path.join(folder, name), f"{stem} is not whole"))
    return (*found, *_left_by_hub(folder))


def _left_in_cache(folder: str) -> list[FileSeen]:
    """Downloads that were left in the hub's cache, where the folder is a snapshot of it, named by its path."""
    snapshots, commit = os.path.split(os.path.normpath(folder))
    if os.path.basename(snapshots) != "snapshots" or not re.fullmatch(r"[0-9a-f]{40}", commit):
        return []
    return [
        left_behind(os.path.basename(path), path, "a download into this snapshot was cut short")
        for path, _ in cache.unfinished_blobs(os.path.dirname(snapshots))
    ]


def left_behind(path: str, location: str, detail: str) -> FileSeen:
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
    return [] if whole and done else [left_behind(name, os.path.join(base, name), "a download into this folder was cut short") for name in names[:MOST_LISTED]]
