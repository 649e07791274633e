"""What of a target's files is to be put right, and how: missing, cut, corrupt, misplaced, stale. Pure; a setting is never "repaired".

The hub's cache is put right from the repository that it caches; a folder from a source that its user named, or, where it is a snapshot of a cache, from that
repository. A file that is whole is left alone, whatever the source has under its name.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from diagnostics.case import (
    ABSENT,
    CacheState,
    Case,
    Defect,
    Diagnosis,
    Digest,
    Digests,
    Disk,
    Files,
    FileSeen,
    Listing,
    Published,
    RemoteFile,
    Repair,
    Unseen,
    record,
)
from diagnostics.causes import SECTION_OF

# Defects of the bytes themselves: other bytes put them right. A pickle that could be unsafe, or a file that may not be read, is none of these.
CUT = frozenset({"file-truncated"})
CORRUPT = frozenset(
    [
        "archive-damaged",
        "file-empty",
        "file-structure-damaged",
        "file-trailing-bytes",
        "file-zero-filled",
        "format-unrecognised",
        "html-instead-of-file",
        "json-invalid",
        "lfs-pointer",
        "safetensors-header-invalid",
    ]
)
GONE = frozenset({"cache-link-broken", "file-missing"})
ON_THE_WAY = frozenset({"settings", "names", "connections", "proxies", "tls", "http", "transfer"})  # sections that stand between here and the bytes
SNAPSHOT = re.compile(r"(?P<kind>model|dataset)s--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")
Kind = Literal["missing", "cut", "corrupt", "misplaced", "stale"]
_COMMIT, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_POINTER = re.compile(r"stands for (?P<size>\d{1,18}) bytes, sha256 (?P<oid>[0-9a-f]{64})")
_PARTIAL = re.compile(r"(?P<etag>[0-9a-f]{40,64})(?:\.[0-9a-f]{8})?\.incomplete$")


@record
class Source:
    """Where whole files come from."""

    name: str  # for reading: "lab/tiny-bert at 5f1c0e4"
    files: tuple[RemoteFile, ...] = ()
    wanted: tuple[str, ...] = ()  # of them, those that count for the loader
    commit: str = ""
    digests: tuple[Published, ...] = ()  # that came with a list or a URL
    pointers_only: bool = False  # known from a git clone: good for what its pointers name, and for nothing else

    @functools.cached_property
    def by_path(self) -> dict[str, RemoteFile]:
        return {file.path: file for file in reversed(self.files)}

    def file(self, path: str) -> RemoteFile | None:
        return self.by_path.get(path)


def own_source(case: Case) -> Source | None:
    """The repository that the cache caches, as the hub (or, without the network, the cache) lists it; None for a target that has none."""
    if case.target.kind != "hub" or not isinstance(case.files, Files):
        return None
    listing = case.listing if isinstance(case.listing, Listing) else Listing(source="cache")
    commit = listing.commit or case.files.commit
    return Source(name=f"{case.target.name}{f' at {commit[:12]}' if commit else ''}", files=listing.files, wanted=listing.wanted, commit=commit)


def repairs(case: Case, diagnoses: Iterable[Diagnosis], source: Source | None = None) -> tuple[Repair, ...]:
    """Everything that is to be put right, what no load can do without first; empty where nothing is, or nobody said where whole files are to come from."""
    files, source = case.files, source or own_source(case)
    if not isinstance(files, Files) or not files.readable or source is None or is_of_another_revision(case, source):
        return ()
    found = [*_of_files(case, files, source), *(() if source.pointers_only else _of_absent(case, files, source))]
    found += _of_ref(case, files, source) if files.files or found else []
    found += _of_memories(case)
    found += _of_partials(files, found)
    return tuple(_answering(repair, case, tuple(diagnoses)) for repair in found)


def obstacle(case: Case, diagnoses: Iterable[Diagnosis], way: Iterable[Diagnosis] = ()) -> str:
    """Why nothing can be fetched: the title of the first error on the way to the bytes (``way``: of the look at the source); "" for a free way."""
    found = (*diagnoses, *way)
    return next((item.title for item in found if item.severity == "error" and not item.waived and SECTION_OF.get(item.cause) in ON_THE_WAY), "")


def unwritable(case: Case, place: str) -> str:
    """Why nothing can be written at ``place`` (home as ~): a file system that takes part and refuses; "" where none does."""
    refusing = (disk for disk in case.disks or () if _holds(disk, place) and (disk.read_only is True or disk.writable is False))
    return next((f"nothing can be written in {disk.denied_at or disk.path}" for disk in refusing), "")


def _holds(disk: Disk, place: str) -> bool:
    return bool({"cache", "target"} & set(disk.roles)) and (place == disk.path or place.startswith(disk.path.rstrip("/") + "/"))


def is_of_another_revision(case: Case, source: Source) -> bool:
    """Whether a folder holds files of another revision than the source's: one repaired shard would then make a model that nobody ever made."""
    if not isinstance(case.files, Files) or case.files.place == "cache" or SNAPSHOT.search(case.files.path):
        return False
    known = {digest.path: digest for digest in _checked(case) if digest.actual == digest.expected}
    return any(_differs(seen, known.get(seen.path), source.file(seen.path)) for seen in case.files.files if not seen.defects or is_pointer(seen))


def _differs(seen: FileSeen, digest: Digest | None, file: RemoteFile | None) -> bool:
    """A whole file of weights, or a pointer to one, that is not the source's. Small files may have been edited, by right."""
    if file and isinstance(file.sha256, str) and (pointed := pointed_to(seen)):
        return pointed.value != file.sha256
    if file is None or not seen.content.startswith(("safetensors", "torch", "gguf", "hdf5", "onnx")):
        return False
    if digest and isinstance(file.sha256, str) and digest.algorithm == "sha256":
        return file.sha256 != digest.expected
    return isinstance(file.bytes, int) and isinstance(seen.bytes, int) and file.bytes != seen.bytes


# --- files that are here ------------------------------------------------------------------------------------------------------


def _of_files(case: Case, files: Files, source: Source) -> Iterator[Repair]:
    wrong = {digest.path: digest for digest in _checked(case) if digest.actual != digest.expected}
    right = {digest.path for digest in _checked(case) if digest.actual == digest.expected}
    for seen in files.files:
        if seen.content == "link-elsewhere" or (source.pointers_only and not is_pointer(seen)):  # leads out of the cache: a person's own doing
            continue
        defect = next((item for item in seen.defects if item.code in CUT | CORRUPT | GONE), None)
        if seen.path in wrong or (defect and seen.path not in right):
            yield _replaced(seen, defect, wrong.get(seen.path), _expected(seen, source, wrong.get(seen.path)), files, source)
        elif not seen.defects and files.place == "cache" and _lies_among_blobs(seen):
            yield _linked(seen, source)


def _checked(case: Case) -> tuple[Digest, ...]:
    return case.digests.checked if isinstance(case.digests, Digests) else ()


def _expected(seen: FileSeen, source: Source, digest: Digest | None) -> Published | Unseen:
    """What the file is to be: by its source, else by what was compared, else by the blob's own name."""
    file = source.file(seen.path)
    if not seen.blob and (pointed := pointed_to(seen)):
        return pointed
    if file and (published := published_of(file, source)):
        return published
    if digest:
        return Published(path=seen.path, algorithm=digest.algorithm, value=digest.expected, source=digest.source)  # type: ignore[arg-type]
    return by_name(seen.path, seen.blob)


def published_of(file: RemoteFile, source: Source) -> Published | Unseen:
    """The digest that the source gives of a file."""
    if isinstance(file.sha256, str):
        return Published(path=file.path, value=file.sha256, source="hub listing", bytes=file.bytes)
    if isinstance(file.git_sha1, str):
        return Published(path=file.path, algorithm="git-sha1", value=file.git_sha1, source="hub listing", bytes=file.bytes)
    return next((item for item in source.digests if item.path == file.url), ABSENT)


def by_name(path: str, blob: str) -> Published | Unseen:
    """The digest that a blob's name is: sha256 of a large file, git's sha1 of a small one."""
    if _SHA256.fullmatch(blob):
        return Published(path=path, value=blob, source="blob name")
    return Published(path=path, algorithm="git-sha1", value=blob, source="blob name") if _COMMIT.fullmatch(blob) else ABSENT


def _blob(published: Published | Unseen, seen: FileSeen | None) -> str:
    """The name that the cache gives the right content."""
    named = published.value if isinstance(published, Published) and published.algorithm in ("sha256", "git-sha1") else ""
    return named if _SHA256.fullmatch(named) or _COMMIT.fullmatch(named) else seen.blob if seen else ""


def _replaced(seen: FileSeen, defect: Defect | None, digest: Digest | None, expected: Published | Unseen, files: Files, source: Source) -> Repair:
    size = _size(seen, expected, source)
    blob = _blob(expected, seen)
    repair = Repair(
        kind=_kind(seen, defect, digest, blob),
        path=seen.path,
        location=seen.location,
        why=_why(defect, digest),
        how="fetch",
        source=source.name,
        bytes=size,
        size=size,
        digest=expected,
        blob=blob,
        good_bytes=_good_bytes(seen, defect, size),
        copy=digest.copy if digest else "",
    )
    return _cheapest(repair, _partial(files, blob))


def _size(seen: FileSeen, expected: Published | Unseen, source: Source) -> int | Unseen:
    file = source.file(seen.path)
    known = (file.bytes if file else ABSENT, expected.bytes if isinstance(expected, Published) else ABSENT, seen.expected_bytes)
    return next((size for size in known if isinstance(size, int)), ABSENT)


def _kind(seen: FileSeen, defect: Defect | None, digest: Digest | None, blob: str) -> Kind:
    if seen.blob and blob and seen.blob != blob:
        return "misplaced"  # the link leads to the content of another revision
    if defect and defect.code in GONE:
        return "missing"
    return "cut" if defect and defect.code in CUT else "corrupt"


def _why(defect: Defect | None, digest: Digest | None) -> str:
    if defect:
        return f"{defect.code}: {defect.detail}" if defect.detail else defect.code
    return f"its {digest.algorithm} is {str(digest.actual)[:12]}…, published is {digest.expected[:12]}…" if digest else ""


def _good_bytes(seen: FileSeen, defect: Defect | None, size: int | Unseen) -> int:
    """How much of the beginning may be right; its digest, or its structure, decides at the end."""
    if defect is None or not isinstance(seen.bytes, int):
        return 0
    if defect.code == "file-zero-filled" and isinstance(defect.offset, int):
        return min(defect.offset, seen.bytes)
    if defect.code in CUT:
        return seen.bytes
    return size if defect.code == "file-trailing-bytes" and isinstance(size, int) and size < seen.bytes else 0


def _partial(files: Files, blob: str) -> FileSeen | None:
    """The longest of the downloads of this blob that were left."""
    left = [item for item in files.unfinished if (match := _PARTIAL.match(item.path)) and blob and match["etag"] == blob and isinstance(item.bytes, int)]
    return max(left, key=lambda item: item.bytes if isinstance(item.bytes, int) else 0, default=None)


def _cheapest(repair: Repair, partial: FileSeen | None) -> Repair:
    """The way that fetches least."""
    if repair.copy:
        return replace(repair, how="copy", bytes=0)
    left = partial.bytes if partial and isinstance(partial.bytes, int) else 0
    if left > repair.good_bytes and partial:
        repair = replace(repair, partial=partial.location, good_bytes=left)
    size, good = repair.size, repair.good_bytes
    if not good or not isinstance(size, int) or not isinstance(repair.digest, Published):
        return replace(repair, good_bytes=0, partial="")  # nobody could say whether the pieces fit
    if good >= size:
        return replace(repair, how="trim", bytes=0, good_bytes=size)
    return replace(repair, how="continue", bytes=size - good)


def _lies_among_blobs(seen: FileSeen) -> bool:
    folder, _, name = seen.location.rpartition("/")
    return folder.endswith("/blobs") and bool(_SHA256.fullmatch(name) or _COMMIT.fullmatch(name))


def is_pointer(seen: FileSeen) -> bool:
    """Whether a git-lfs pointer lies in the file's place."""
    return any(defect.code == "lfs-pointer" for defect in seen.defects)


def pointed_to(seen: FileSeen) -> Published | Unseen:
    """The content that a pointer stands for, by its own words (``files_judged``: "stands for N bytes, sha256 X")."""
    detail = next((defect.detail for defect in seen.defects if defect.code == "lfs-pointer"), "")
    match = _POINTER.fullmatch(detail)
    return Published(path=seen.path, value=match["oid"], source="git-lfs pointer", bytes=int(match["size"])) if match else ABSENT


def _linked(seen: FileSeen, source: Source) -> Repair:
    """Here, and not in the snapshot: the client links it by itself where it may ask the hub, and misses it where it may not."""
    name = seen.location.rpartition("/")[2]
    return Repair(
        kind="misplaced",
        path=seen.path,
        location=seen.location,
        why="its content is in the cache, the snapshot does not lead to it",
        how="link",
        source=source.name,
        size=seen.bytes,
        digest=by_name(seen.path, name),
        blob=name,
    )


# --- files that are not here --------------------------------------------------------------------------------------------------


def _of_absent(case: Case, files: Files, source: Source) -> Iterator[Repair]:
    """What is wanted and missing. Of a model of which nothing at all is here, nothing: that is a download, not a repair."""
    begun = bool(files.files or files.unfinished)
    names = [seen.path for seen in files.absent if seen.path not in (case.target.name, ".")]
    if begun and not files.files:
        names = list(source.wanted)
    details = {seen.path: seen.defects[0] for seen in files.absent if seen.defects}
    here = {seen.path for seen in files.files}
    for path in dict.fromkeys(names):
        file = source.file(path)
        if path not in here and (file is not None or not source.files):
            yield _missing(path, file, details.get(path), files, source)


def _missing(path: str, file: RemoteFile | None, defect: Defect | None, files: Files, source: Source) -> Repair:
    expected = published_of(file, source) if file else ABSENT
    size = file.bytes if file else ABSENT
    blob = _blob(expected, None)
    repair = Repair(
        kind="missing",
        path=path,
        location=f"{files.path.rstrip('/')}/{f'snapshots/{source.commit}/' if files.place == 'cache' else ''}{path}",
        why=(defect.detail or defect.code) if defect else "it is not here",
        how="fetch",
        source=source.name,
        bytes=size,
        size=size,
        digest=expected,
        blob=blob,
    )
    repair = _cheapest(repair, _partial(files, blob))
    return replace(repair, kind="cut") if repair.how == "continue" else repair


# --- what the cache keeps beside the files ------------------------------------------------------------------------------------


def _of_ref(case: Case, files: Files, source: Source) -> list[Repair]:
    """The commit of a branch, as the hub says it now: without it nothing is found where the network may not be used."""
    revision, listing = case.target.revision, case.listing
    told = isinstance(listing, Listing) and listing.source == "hub" and bool(_COMMIT.fullmatch(listing.commit))
    if files.place != "cache" or not told or _COMMIT.fullmatch(revision) or files.ref == source.commit or not _is_ref(revision):
        return []
    why = f"the cache says {files.ref[:12]}, the hub {source.commit[:12]}" if files.ref else f"the cache does not know which commit {revision} is"
    path = f"refs/{revision}"
    return [Repair(kind="stale" if files.ref else "missing", path=path, location=f"{files.path}/{path}", why=why, how="write", source=source.name)]


def _is_ref(revision: str) -> bool:
    return bool(revision) and not revision.startswith(("/", "\\")) and ".." not in re.split(r"[/\\]", revision) and "\0" not in revision


def _of_memories(case: Case) -> Iterator[Repair]:
    """What the cache takes for absent though the hub has it, and locks whose mere existence locks and whose owner is gone."""
    state = case.cache_state
    for stale in state.stale if isinstance(state, CacheState) else ():
        if stale.code == "no-exist":
            yield Repair(kind="stale", path=_below(stale.path, ".no_exist"), location=stale.path, why=stale.detail, how="remove")
    for lock in state.locks if isinstance(state, CacheState) else ():
        if lock.kind == "soft" and lock.alive is False:
            why = f"it is held by process {lock.pid}, which is gone"
            yield Repair(kind="stale", path=_below(lock.path, ".locks"), location=lock.path, why=why, how="remove")


def _below(path: str, folder: str) -> str:
    _, mark, rest = path.partition(f"/{folder}/")
    return f"{folder}/{rest}" if mark else os.path.basename(path)


def _of_partials(files: Files, planned: list[Repair]) -> Iterator[Repair]:
    """Downloads that were left, of files that are whole, or will be by then. Those of other revisions are not this target's."""
    taken = {repair.partial for repair in planned}
    known = {seen.blob for seen in files.files if not seen.defects} | {item.blob for item in planned if item.how != "remove"}
    for seen in files.unfinished if files.place == "cache" else ():
        match = _PARTIAL.match(seen.path)
        if match and match["etag"] in known - {""} and seen.location not in taken:
            yield Repair(
                kind="stale", path=f"blobs/{seen.path}", location=seen.location, why="a download that was cut short, of a file that is whole", how="remove"
            )


def _answering(repair: Repair, case: Case, diagnoses: tuple[Diagnosis, ...]) -> Repair:
    """With the diagnosis that names this file, or what misses it."""
    names = {repair.location, repair.path}
    found = next((item.cause for item in diagnoses if any(subject.name in names for subject in item.subjects)), "")
    missing = next((item.cause for item in diagnoses if item.cause in ("model-not-cached", "download-unfinished", "offline-mode-set")), "")
    return replace(repair, cause=found or (missing if repair.kind in ("missing", "cut") else ""))
