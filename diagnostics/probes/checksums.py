"""Every file byte for byte against whatever is published or remembered of it.

Sources of digests, in this order: the SPEC's own (#sha256=, a manifest), the hub's listing, what the cache remembers (trees/<commit>.json, the blob's name,
``.cache/huggingface`` beside a download), SHA256SUMS and <file>.sha256 beside the file, the prefix in a torch.hub file name (torch/hub.py HASH_REGEX).
"""

from __future__ import annotations

import hashlib
import itertools
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from diagnostics import redact
from diagnostics.case import Defect, Digest, Digests, Environment, Files, FileSeen, Listing, Published, Target, Unseen
from diagnostics.probes import cache, checksums_kept, read_errors
from diagnostics.probes import checksums_archives as archives
from diagnostics.probes import checksums_copies as copies
from diagnostics.probes.budget import start
from diagnostics.probes.files import local_remembered

CHUNK = 1 << 20
COMPUTED = "computed here"
MOST_SUMS_BYTES = 4 << 20
LEFT_BEHIND_SECONDS = 2.0
POLL_SECONDS = 0.005
GUESS_BYTES_PER_SECOND = 300e6  # before anything was measured (ecosystem.md 10: one core without SHA instructions)
ALGORITHMS = {64: "sha256", 40: "sha1", 32: "md5", 128: "sha512"}
SUM_FILES = ("SHA256SUMS", "sha256sums.txt", "SHA256SUMS.txt", "sha256sum.txt", "checksums.txt")
_TORCH_HUB = re.compile(r".+-(?P<prefix>[0-9a-f]{8,64})\.pth?$")
_SUM_LINE = re.compile(r"^\\?(?P<digest>[0-9A-Fa-f]{64}) [ *](?P<path>.+)$|^SHA256 \((?P<bsd>.+)\) = (?P<hex>[0-9A-Fa-f]{64})$")
Mode = Literal["auto", "none", "all"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Task:
    """One content to hash: where it lies, how large it is, and every path that is to have a digest of it."""

    location: str
    bytes: int
    expected: tuple[Published, ...]


def see_digests(
    target: Target,
    environment: Environment,
    listing: Listing | Unseen,
    files: Files | Unseen,
    mode: Mode,
    seconds: float,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    listed: bool = False,
) -> Digests | Unseen:
    """Hash what is here and compare. ``auto`` stops after ``seconds``; ``progress`` gets (bytes hashed, bytes in all); ``stop`` ends it within 1 MiB a thread.

    With ``listed`` (a list of files is to be written) ``Digests.known`` has every digest; mode ``all`` then also hashes what has no published one.
    """
    if not isinstance(files, Files):
        return files
    published = list(_published(target, environment, listing, files))
    named = {item.path for item in published}
    unpublished = tuple(seen.path for seen in files.files if isinstance(seen.bytes, int) and seen.path not in named)
    tasks = _tasks(files, published)
    if mode == "none":
        return Digests(
            unverified=_paths(tasks),
            unverified_bytes=_total(tasks),
            unpublished=unpublished,
            seconds_left=_total(tasks) / GUESS_BYTES_PER_SECOND,
            known=tuple(published) if listed else (),
        )
    if listed and mode == "all":
        tasks = _tasks(files, [*published, *(Published(path=path, value="", source=COMPUTED) for path in unpublished)])
    table = checksums_kept.kept(environment)
    known = _known(tasks, table) if mode == "auto" else {}
    due = [task for task in tasks if task.location not in known]
    hashing = _Hashing(due, seconds if mode == "auto" else None, progress, stop or threading.Event())
    read, took = hashing.run()
    _keep(read, table)
    hashed = {**known, **read}
    found = tuple(digest for task in tasks if task.location in hashed for digest in _compared(task, *hashed[task.location]))
    checked = tuple(digest for digest in found if digest.expected)
    left = [task for task in tasks if task.location not in hashed]
    rate = sum(task.bytes for task in tasks if task.location in read) / took if read and took > 0 else GUESS_BYTES_PER_SECOND
    return Digests(
        checked=copies.with_copies(checked, {item.path: task.location for task in tasks for item in task.expected}, environment, hashing.over),
        unverified=_paths(left),
        unverified_bytes=_total(left),
        unpublished=unpublished,
        seconds_left=_total(left) / max(rate, 1.0),
        unreadable=tuple(_unreadable(tasks, hashing.unreadable)),
        known=(*published, *_computed(found)) if listed else (),
    )


def _unreadable(tasks: list[Task], defects: Mapping[str, Defect]) -> Iterator[FileSeen]:
    for task in tasks:
        if task.location in defects:
            yield FileSeen(path=task.expected[0].path, location=redact.path(task.location), bytes=task.bytes, defects=(defects[task.location],))


def _computed(found: Iterable[Digest]) -> Iterator[Published]:
    """Digests of what nobody published one of, as they are here."""
    for digest in found:
        if not digest.expected and isinstance(digest.actual, str):
            yield Published(path=digest.path, value=digest.actual, source=COMPUTED, bytes=digest.bytes)


def _known(tasks: list[Task], table: checksums_kept.Kept) -> dict[str, tuple[dict[str, str], float]]:
    """What an earlier run hashed of files that have not changed since."""
    found = {task.location: table.digests(task.location, {item.algorithm for item in task.expected}) for task in tasks}
    return {location: (digests, 0.0) for location, digests in found.items() if digests is not None}


def _keep(read: dict[str, tuple[dict[str, str], float]], table: checksums_kept.Kept) -> None:
    for location, (digests, _) in read.items():
        table.keep(location, digests)
    table.save()


def _total(tasks: list[Task]) -> int:
    return sum(task.bytes for task in tasks)


def _paths(tasks: list[Task]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.path for task in tasks for item in task.expected))


# --- what is published ------------------------------------------------------------------------------------------------------


def _published(target: Target, environment: Environment, listing: Listing | Unseen, files: Files) -> Iterator[Published]:
    """One digest a path, from the source that is to be trusted most."""
    known: set[str] = set()
    sources = (
        _of_spec(target, files),
        _of_listing(listing, "hub listing"),
        _remembered(target, environment, files),
        _beside(files),
        _in_names(files),
        archives.published(files),
    )
    here = {seen.path for seen in files.files}
    for item in itertools.chain(*sources):
        if item.path in here and item.path not in known:
            known.add(item.path)
            yield item


def _of_spec(target: Target, files: Files) -> Iterator[Published]:
    """The SPEC's own digests. Those of a list go by the path it gives them; of a URL, by its last part."""
    paths = {file.url or file.path: file.path for file in target.listed}
    strongest = tuple(reversed(target.published))  # the first of a file's digests is to win
    by_path = {paths.get(item.path, item.path): item for item in strongest}
    by_name = {item.path.rpartition("/")[2]: item for item in strongest if item.path not in paths}
    for seen in files.files:
        if item := by_path.get(seen.path) or by_name.get(seen.path.rpartition("/")[2]):
            yield replace(item, path=seen.path)


def _of_listing(listing: Listing | Unseen, source: str) -> Iterator[Published]:
    for file in listing.files if isinstance(listing, Listing) else ():
        if isinstance(file.sha256, str):
            yield Published(path=file.path, value=file.sha256, source=source, bytes=file.bytes)
        elif isinstance(file.git_sha1, str):
            yield Published(path=file.path, algorithm="git-sha1", value=file.git_sha1, source=source, bytes=file.bytes)


def _remembered(target: Target, environment: Environment, files: Files) -> Iterator[Published]:
    if files.place == "folder":
        folder = cache.real(files.path)
        yield from _of_listing(Listing(source="folder", files=local_remembered(folder)), ".cache/huggingface/trees")
        yield from _of_metadata(folder, files)
        yield from _of_blobs(os.path.dirname(os.path.dirname(os.path.normpath(folder))), files)  # a snapshot of the cache, named by its path
    elif files.place == "cache":
        folder = cache.repository_folder(target, environment)
        yield from _of_listing(Listing(source="cache", files=cache.remembered_files(folder, files.commit)), "trees/<commit>.json")
        yield from _of_blobs(folder, files)


def _of_metadata(folder: str, files: Files) -> Iterator[Published]:
    """``.cache/huggingface/download/<path>.metadata``: commit, etag, time (huggingface_hub ``_local_folder.py``). A file edited since is a person's own."""
    for seen in files.files:
        name = os.path.join(folder, ".cache", "huggingface", "download", f"{seen.path}.metadata")
        lines = cache.read_small(name, 4096).decode("ascii", "replace").split("\n")
        if len(lines) > 2 and not _edited(os.path.join(folder, seen.path), lines[2]):
            yield from _by_etag(seen.path, lines[1].strip(), ".cache/huggingface/download")


def _edited(path: str, noted: str) -> bool:
    """As ``read_download_metadata`` decides it: changed more than a second after the download was noted."""
    try:
        return os.stat(path).st_mtime - 1 > float(noted)
    except (OSError, ValueError):
        return True


def _of_blobs(folder: str, files: Files) -> Iterator[Published]:
    """A blob's name is its digest: sha256 of a large file, git's sha1 of a small one."""
    blobs = os.path.realpath(os.path.join(folder, "blobs"))
    for seen in files.files:
        location = cache.real(seen.location)
        if os.path.realpath(os.path.dirname(location)) != blobs and os.path.islink(location):
            location = os.path.join(os.path.dirname(location), os.readlink(location))
        if os.path.realpath(os.path.dirname(location)) == blobs:  # itself a link where blobs are shared between repositories
            yield from _by_etag(seen.path, os.path.basename(location), "blob name")


def _by_etag(path: str, etag: str, source: str) -> Iterator[Published]:
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        yield Published(path=path, value=etag, source=source)
    elif re.fullmatch(r"[0-9a-f]{40}", etag):
        yield Published(path=path, algorithm="git-sha1", value=etag, source=source)


def _beside(files: Files) -> Iterator[Published]:
    """SHA256SUMS and the like, and ``<file>.sha256``, in the same folder (sha256sum(1), GNU and BSD form)."""
    if files.place == "cache":
        return
    base = cache.real(files.path) if files.place == "folder" else os.path.dirname(cache.real(files.path))
    tables = {name: _sums(os.path.join(base, name)) for name in SUM_FILES if os.path.isfile(os.path.join(base, name))}
    for seen in files.files:
        for name, table in tables.items():
            if value := table.get(seen.path):
                yield Published(path=seen.path, value=value, source=name)
        for suffix in (".sha256", ".sha256sum"):
            own = cache.read_small(f"{cache.real(seen.location)}{suffix}", 4096).decode("utf-8", "replace")
            if match := re.match(r"\s*([0-9A-Fa-f]{64})\b", own):
                yield Published(path=seen.path, value=match[1].lower(), source=f"{os.path.basename(seen.path)}{suffix}")


def _sums(path: str) -> dict[str, str]:
    table = {}
    for line in cache.read_small(path, MOST_SUMS_BYTES).decode("utf-8", "replace").splitlines():
        if match := _SUM_LINE.match(line.strip()):
            name = (match["path"] or match["bsd"]).removeprefix("./")
            table[name] = (match["digest"] or match["hex"]).lower()
    return table


def _in_names(files: Files) -> Iterator[Published]:
    for seen in files.files:
        if match := _TORCH_HUB.match(seen.path.rpartition("/")[2]):
            yield Published(path=seen.path, value=match["prefix"], source="file name")


# --- hashing ----------------------------------------------------------------------------------------------------------------


def _tasks(files: Files, published: list[Published]) -> list[Task]:
    """One task a content, smallest first: several links to one blob are hashed once."""
    by_path: dict[str, FileSeen] = {seen.path: seen for seen in files.files}
    groups: dict[str, list[Published]] = {}
    sizes: dict[str, int] = {}
    for item in published:
        seen = by_path[item.path]
        if isinstance(seen.bytes, int) and seen.content != "link-elsewhere" and not any(defect.code == "file-unreadable" for defect in seen.defects):
            location = os.path.realpath(cache.real(seen.location))
            groups.setdefault(location, []).append(item)
            sizes[location] = seen.bytes
    return sorted((Task(location, sizes[location], tuple(items)) for location, items in groups.items()), key=lambda task: task.bytes)


@dataclass
class _Hashing:
    """The threads at work: one a core, or one a file where there are fewer. hashlib gives up the interpreter's lock for each piece."""

    tasks: list[Task]
    seconds: float | None
    progress: Progress | None
    stop: threading.Event
    total: int = 0
    done: int = 0
    hashed: dict[str, tuple[dict[str, str], float]] = field(default_factory=dict)
    unreadable: dict[str, Defect] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> tuple[dict[str, tuple[dict[str, str], float]], float]:
        """Location → (algorithm → digest, seconds) of what was hashed to its end; and seconds in all."""
        started = time.monotonic()
        self.end = None if self.seconds is None else started + self.seconds
        self.total = _total(self.tasks)
        waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for task in self.tasks:
            waiting.put(task)
        count = min(len(self.tasks), _cores())
        threads = [threading.Thread(target=self._work, args=(waiting,), name=f"diagnose-hash-{number}", daemon=True) for number in range(count)]
        for thread in threads:
            start(thread)
        patience = LEFT_BEHIND_SECONDS
        while patience > 0 and any(thread.is_alive() for thread in threads):
            time.sleep(POLL_SECONDS)
            patience -= POLL_SECONDS if self.over() else 0  # a dead disk must not hold the caller: its thread is left behind
        if self.failures:
            raise self.failures[0]
        with self.lock:
            return dict(self.hashed), time.monotonic() - started

    def over(self) -> bool:
        return self.stop.is_set() or (self.end is not None and time.monotonic() > self.end)

    def _hopeless(self, done: int, size: int, started: float) -> bool:
        """Whether this file cannot be done in time at the rate seen so far: better to say so now than to read for nothing."""
        took = time.monotonic() - started
        return self.end is not None and took > 0.2 and (size - done) * took / done > (self.end - time.monotonic()) * 1.2

    def _work(self, waiting: queue.SimpleQueue[Task]) -> None:
        try:
            while not self.over():
                task = waiting.get_nowait()
                started = time.monotonic()
                digests = self._hash(task)
                if digests is not None:
                    with self.lock:
                        self.hashed[task.location] = (digests, time.monotonic() - started)
        except queue.Empty:
            return
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits: a bug of ours
            self.failures.append(error)

    def _hash(self, task: Task) -> dict[str, str] | None:
        """Every digest asked for, from one read; None where it was stopped or the file cannot be read."""
        if any(item.algorithm == archives.ALGORITHM for item in task.expected):
            found = archives.verify(task.location, self._advance, self.over)
            return {archives.ALGORITHM: found} if found else None
        hashes = {name: _new(name, task.bytes) for name in {item.algorithm for item in task.expected}}
        buffer, done, started = bytearray(CHUNK), 0, time.monotonic()
        view = memoryview(buffer)
        try:
            with open(task.location, "rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    for one in hashes.values():
                        one.update(view[:count])
                    done += count
                    self._advance(count)
                    if self.over() or self._hopeless(done, task.bytes, started):
                        return None
        except OSError as error:
            if read_errors.is_broken(error):
                with self.lock:
                    self.unreadable[task.location] = Defect(code="file-unreadable", detail=f"reading it fails: {read_errors.said(error)}", offset=done)
            return None
        return {name: one.hexdigest() for name, one in hashes.items()}

    def _advance(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.progress:
                self.progress(self.done, self.total)


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _new(algorithm: str, size: int) -> hashlib._Hash:
    if algorithm == "git-sha1":
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # git's own name for a content (git hash-object)
    made: hashlib._Hash = hashlib.new(algorithm, usedforsecurity=False)
    return made


def _compared(task: Task, digests: dict[str, str], seconds: float) -> Iterator[Digest]:
    for item in task.expected:
        actual = digests[item.algorithm]
        shown = actual[: len(item.value)] if item.value else actual  # a prefix is compared as one (torch.hub)
        yield Digest(
            path=redact.plain(item.path, 500),
            algorithm=item.algorithm,
            expected=item.value,
            source=redact.plain(item.source),
            actual=shown,
            bytes=task.bytes,
            seconds=seconds,
        )
