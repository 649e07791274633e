"""The file systems that take part: room, inodes, limits, whether this user may write there, who says no.

Sources: statvfs(3), getrlimit(2), pathconf(3), huggingface_hub 2.4 ``file_download.py`` (the temporary file ``<etag>.<8 hex>.incomplete`` lies beside the blob,
the snapshot's entry is a link to it, ``.locks/…/<etag>.lock`` guards it).
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from diagnostics import redact
from diagnostics.case import ABSENT, NOT_ASKED, Disk, Environment, Files, Listing, RemoteFile, Target, Unseen
from diagnostics.facts.clients import canonical
from diagnostics.probes.budget import together
from diagnostics.probes.cache import real, repository_folder
from diagnostics.probes.download_cost import to_be_written
from diagnostics.probes.files import missing_bytes
from diagnostics.probes.files_wanted import weights_format
from diagnostics.probes.mounts import FAT, FAT_LIMIT, NOT_FOR_KEEPING, is_remote, mount_of, mounts, refuses_code
from diagnostics.probes.writing import maps, may, probed, write_rate

MUCH_BYTES = 1_000_000_000  # to be written: with less no disk is slow
RATE_PATIENCE = 1.5
SECONDS = 5.0  # for one folder; a dead network file system answers nothing
BLOB_NAME = 64 + 1 + 8 + len(".incomplete")
SNAPSHOT = len("/snapshots/") + 40 + 1
CAP_SYS_RESOURCE = 24  # capabilities(7)
# Packages with compiled parts: where these lie, code must be mappable.
COMPILED = frozenset({"torch", "tokenizers", "safetensors", "numpy", "sentencepiece", "tensorflow", "jaxlib", "hf-xet", "onnxruntime"})


class Place(NamedTuple):
    """A folder that takes part, and what it must hold."""

    role: str  # "cache", "target", "temp", "xet", "packages"
    path: str
    needed: int | Unseen
    why: str
    write: bool
    also: tuple[str, ...] = ()  # folders in it that the client writes to as well
    due: tuple[RemoteFile, ...] = ()  # files to be made there
    repository: str = ""  # name of the repository's folder in it


# The first part of a path.
OF_THE_SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib64", "proc", "sbin", "sys", "usr")


def see_disks(target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen) -> tuple[Disk, ...]:
    """One record a file system (and verdict); for a path that is not there yet, its first parent that is."""
    places = _places(target, environment, listing, files)
    seen = together({index: lambda place=place: _look(place) for index, place in enumerate(places)}, SECONDS)  # type: ignore[misc]
    disks = [seen.get(index) or _silent(place) for index, place in enumerate(places)]
    of_packages = [disk for disk in disks if "packages" in disk.roles and disk.noexec is True]  # else they say nothing
    grouped = _grouped([disk for disk in disks if "packages" not in disk.roles])
    return (*grouped, *of_packages, *_with_room(grouped))


def _places(target: Target, environment: Environment, listing: Listing | Unseen, files: Files | Unseen) -> tuple[Place, ...]:
    caches = {role: real(path) for role, path in environment.caches.items()}
    places = []
    if target.kind in ("directory", "file", "list") and target.paths:
        places.append(Place("target", real(target.paths[0]), 0, "it is all here, only to be read", write=False))
    elif target.kind in ("url", "list"):
        places.append(_for_urls(target, caches, listing))
    elif "hub" in caches:
        places.append(_for_hub(target, environment, caches["hub"], listing, files))
        if "xet" in caches and places[0].write and any(use.family == "hf_xet" for use in target.transports):
            places.append(Place("xet", caches["xet"], NOT_ASKED, "", write=True))
    if "temp" in caches:
        places.append(Place("temp", caches["temp"], NOT_ASKED, "", write=True))
    return (*places, *_of_packages(environment))


def _for_hub(target: Target, environment: Environment, hub: str, listing: Listing | Unseen, files: Files | Unseen) -> Place:
    folder = repository_folder(target, environment)
    needed = to_be_written(target, listing, files, folder) if target.kind == "hub" else NOT_ASKED
    why = "" if target.kind != "hub" else "the files still missing" if needed else "all files are here" if needed == 0 else ""
    due = _due(listing, files)
    # In a model whose files were all fetched nothing is written; empty ones may still be due.
    write = needed != 0 or bool(due)
    return Place("cache", hub, needed, why, write, also=_of_repository(folder), due=due, repository=os.path.basename(folder))


def _due(listing: Listing | Unseen, files: Files | Unseen) -> tuple[RemoteFile, ...]:
    """The files that count and are not here."""
    if not isinstance(listing, Listing):
        return ()
    here = {seen.path for seen in files.files if isinstance(seen.bytes, int)} if isinstance(files, Files) else set()
    wanted = set(listing.wanted)
    return tuple(file for file in listing.files if file.path in wanted and file.path not in here)


def _for_urls(target: Target, caches: dict[str, str], listing: Listing | Unseen) -> Place:
    """torch.hub's folder for its own downloads (torch/hub.py), else the folder a person is in, where nothing is written by us."""
    needed = missing_bytes(listing, Unseen("absent"))
    if target.client and target.client.family == "urllib" and "torch" in caches:
        return Place("cache", os.path.join(caches["torch"], "hub", "checkpoints"), needed, "the files to download", write=True)
    try:
        return Place("target", os.getcwd(), needed, "the files to download", write=False)
    except OSError:  # the working folder was removed
        return Place("target", "/", ABSENT, "", write=False)


def _of_repository(folder: str) -> tuple[str, ...]:
    """The repository's own folders in the cache, where they are there: somebody else (sudo, another user) may have made them."""
    if not folder:
        return ()
    locks = os.path.join(os.path.dirname(folder), ".locks")
    own = (folder, *(os.path.join(folder, name) for name in ("blobs", "snapshots", "refs")), locks, os.path.join(locks, os.path.basename(folder)))
    return tuple(path for path in own if os.path.isdir(path))


def _of_packages(environment: Environment) -> tuple[Place, ...]:
    """The folders of installed packages with compiled parts."""
    folders = dict.fromkeys(item.location for item in environment.distributions if canonical(item.name) in COMPILED and item.location)
    return tuple(Place("packages", real(folder), NOT_ASKED, "", write=False) for folder in folders)


# --- one folder -------------------------------------------------------------------------------------------------------------


def _look(place: Place) -> Disk:
    folder, exists = _standing(place.path)
    mount = mount_of(folder)
    disk = Disk(
        roles=(place.role,),
        path=redact.path(place.path),
        mount=redact.path(mount.point),
        kind=redact.plain(mount.kind, 40),
        remote=is_remote(mount.kind),
        noexec=refuses_code(mount) if place.role == "packages" else NOT_ASKED,
        exists=exists,
        needed_bytes=place.needed,
        needed_why=place.why,
        needed_files=len(place.due) if place.due else NOT_ASKED,
    )
    disk = _with_figures(disk, folder, mount.options)
    if place.write:
        return _with_rate(probed(_with_limits(disk, place, folder), (folder, *place.also)), folder)
    return replace(disk, mappable=_target_maps(place.path)) if place.role == "target" else disk


def _with_rate(disk: Disk, folder: str) -> Disk:
    """How fast the cache takes bytes: asked only where much is to come, so that a disk is not worn by every run, and where there is room for that and more."""
    needed, free = disk.needed_bytes, disk.free_bytes
    if "cache" not in disk.roles or disk.writable is not True or not (isinstance(needed, int) and isinstance(free, int)):
        return disk
    if needed < MUCH_BYTES or free < needed + MUCH_BYTES:
        return disk
    tried = together(
        {"rate": lambda: write_rate(folder)}, RATE_PATIENCE
    )  # on a thread of its own: a disk that is busy must not cost us what else is known of it
    return replace(disk, write_bytes_per_second=tried.get("rate", Unseen("timed_out", f"no answer within {RATE_PATIENCE} s")))


def _silent(place: Place) -> Disk:
    silent = Unseen("timed_out", f"{redact.path(place.path)} did not answer within {SECONDS:.0f} s")
    return Disk(roles=(place.role,), path=redact.path(place.path), writable=silent, needed_bytes=place.needed, needed_why=place.why, message=silent.detail)


def _standing(path: str) -> tuple[str, bool]:
    """The folder itself or its first parent that is there, and whether it is the folder itself. One that may not be entered counts as there."""
    current = os.path.abspath(path)
    while True:
        try:
            os.stat(current)
            return current, current == os.path.abspath(path)
        except (OSError, ValueError):  # not there, or a parent refuses: go up to it
            pass
        parent = os.path.dirname(current)
        if parent == current:
            return current, False
        current = parent


def _with_figures(disk: Disk, folder: str, options: frozenset[str]) -> Disk:
    """Sizes and inodes, as this user may have them (f_bavail, f_favail; what is reserved for root counts where we may use it)."""
    if not hasattr(os, "statvfs"):
        return _with_usage(disk, folder, options)
    try:
        figures = os.statvfs(folder)
    except OSError as error:
        return replace(disk, message=f"its size cannot be asked: {os.strerror(error.errno or errno.EIO)}")
    blocks = max(figures.f_bavail, figures.f_bfree if may_use_reserve() else 0)
    return replace(
        disk,
        total_bytes=figures.f_blocks * figures.f_frsize,
        free_bytes=blocks * figures.f_frsize,
        free_inodes=figures.f_favail if figures.f_files else Unseen("unsupported", "this file system does not count inodes"),
        read_only=bool(figures.f_flag & os.ST_RDONLY) or "ro" in options,
    )


def may_use_reserve() -> bool:
    """Whether the blocks that a file system keeps for root are ours to use (capabilities(7): CAP_SYS_RESOURCE; containers drop it)."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            held = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
        return bool(int(held, 16) >> CAP_SYS_RESOURCE & 1)
    except (OSError, ValueError, IndexError):
        return False


def _with_usage(disk: Disk, folder: str, options: frozenset[str]) -> Disk:
    """Windows."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return replace(disk, message=f"its size cannot be asked: {redact.plain(error.strerror or 'unknown reason')}")
    return replace(disk, total_bytes=usage.total, free_bytes=usage.free, read_only="ro" in options)


def _with_limits(disk: Disk, place: Place, folder: str) -> Disk:
    """The largest file and the longest name and path to be made, against what is allowed."""
    largest = max((file for file in place.due if isinstance(file.bytes, int)), key=lambda file: file.bytes, default=None)  # type: ignore[arg-type,return-value]
    limit, by = _file_limit(disk.kind)
    names, paths = _lengths(place)
    return replace(
        disk,
        largest_bytes=largest.bytes if largest else NOT_ASKED,
        largest_path=redact.plain(largest.path, 200) if largest else "",
        file_limit_bytes=limit,
        file_limit_by=by,
        longest_name=names,
        longest_path=paths,
        name_limit=_pathconf(folder, "PC_NAME_MAX"),
        path_limit=_path_limit(folder),
    )


def _file_limit(kind: str) -> tuple[int | Unseen, str]:
    """(bytes, who says so) of the largest file that may be written."""
    limits = [(FAT_LIMIT, f"the file system {kind}")] if kind.lower() in FAT else []
    try:
        import resource  # not on Windows

        soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        limits += [(soft, "ulimit -f")] if soft != resource.RLIM_INFINITY and soft >= 0 else []
    except ImportError:
        pass
    return min(limits) if limits else (ABSENT, "")


def _lengths(place: Place) -> tuple[int, int]:
    """Bytes of the longest name and the longest path that the client will make; the folder's own parts count too."""
    base = len(os.fsencode(place.path)) + (1 + len(os.fsencode(place.repository)) if place.repository else 0)
    parts = [part for part in (*place.path.split(os.sep), place.repository, *_parts(place.due)) if part]
    tail = max([len("/blobs/") + BLOB_NAME, *(SNAPSHOT + len(os.fsencode(file.path)) for file in place.due)]) if place.repository else 0
    return max([*(len(os.fsencode(part)) for part in parts), BLOB_NAME if place.repository else 0]), base + tail


def _parts(due: Iterable[RemoteFile]) -> list[str]:
    return [part for file in due for part in file.path.split("/")]


def _pathconf(folder: str, name: str) -> int | Unseen:
    try:
        return os.pathconf(folder, name) if hasattr(os, "pathconf") else 255
    except (OSError, ValueError):
        return ABSENT


def _path_limit(folder: str) -> int | Unseen:
    """Bytes a path may have, its ending zero not counted; on Windows 259 characters, or many where long paths are switched on."""
    if sys.platform == "win32":
        return ABSENT if _long_paths_on() else 259
    limit = _pathconf(folder, "PC_PATH_MAX")
    return limit - 1 if isinstance(limit, int) and limit > 0 else limit


def _long_paths_on() -> bool:  # pragma: no cover  # Windows
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
    except OSError:
        return False


def _target_maps(path: str) -> bool | Unseen:
    """Whether the weights in a local folder can be mapped; the first of them is tried."""
    file = path if os.path.isfile(path) else _first_weights(path)
    if not file:
        return NOT_ASKED
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError):
        return NOT_ASKED  # the files' own matter
    try:
        return maps(descriptor)
    finally:
        os.close(descriptor)


def _first_weights(folder: str) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if weights_format(name) and not name.endswith(".json"))
    except OSError:
        return ""
    return os.path.join(folder, names[0]) if names else ""


# --- grouping ---------------------------------------------------------------------------------------------------------------


def _grouped(disks: list[Disk]) -> tuple[Disk, ...]:
    """One record for roles that share a file system and get the same answer there."""
    groups: dict[tuple[object, ...], Disk] = {}
    for disk in disks:
        key = (disk.mount or disk.path, disk.writable is False, disk.write_errno, isinstance(disk.writable, Unseen) and disk.writable.why == "timed_out")
        first = groups.get(key)
        groups[key] = disk if first is None else replace(first, roles=(*first.roles, *disk.roles), writable=_asked(first.writable, disk.writable))
    return tuple(groups.values())


def _asked(first: bool | Unseen, second: bool | Unseen) -> bool | Unseen:
    return second if first == NOT_ASKED else first


def _with_room(disks: Iterable[Disk]) -> tuple[Disk, ...]:
    """Where the cache's file system lacks the room or refuses: up to three others here that would do and that this user may write to (role "elsewhere")."""
    short = next((disk for disk in disks if _wants_another(disk)), None)
    if short is None or sys.platform != "linux":
        return ()
    needed = short.needed_bytes if isinstance(short.needed_bytes, int) else 0
    unfit = {disk.mount for disk in disks if _wants_another(disk)}
    found = {disk.mount: disk for folder in _candidates() if (disk := _roomy(folder)) and disk.mount not in unfit}
    fitting = [disk for disk in found.values() if isinstance(disk.free_bytes, int) and disk.free_bytes > needed and not disk.read_only]
    return tuple(sorted(fitting, key=lambda disk: (disk.kind == "overlay", -int(disk.free_bytes or 0)))[:3])


def _wants_another(disk: Disk) -> bool:
    short = isinstance(disk.needed_bytes, int) and isinstance(disk.free_bytes, int) and disk.needed_bytes > disk.free_bytes
    return "cache" in disk.roles and (short or disk.writable is False)


def of_the_system(point: str) -> bool:
    """Where nobody keeps models, though containers have mounts below (certificates, files of the runtime): FHS 3.0, chapters 3 and 4."""
    return point.split("/")[1:2] in ([name] for name in OF_THE_SYSTEM)


def _candidates() -> list[str]:
    """Folders where this user might keep a cache: home, the working folder, the top of each local file system."""
    local = [
        mount
        for mount in mounts()
        if mount.kind not in NOT_FOR_KEEPING | {"overlay"}
        and not mount.kind.startswith("fuse.")
        and not is_remote(mount.kind)
        and not of_the_system(mount.point)
    ]
    home = os.path.expanduser("~")
    try:
        here = [os.getcwd()]
    except OSError:  # the working folder was removed
        here = []
    folders = [*(mount.point for mount in local if "ro" not in mount.options), *([home] if home != "~" else []), *here]
    return [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder) and may(folder, os.W_OK | os.X_OK)]


def _roomy(folder: str) -> Disk | None:
    mount = mount_of(folder)
    if not mount.point or mount.kind in NOT_FOR_KEEPING:
        return None
    return _with_figures(
        Disk(roles=("elsewhere",), path=redact.path(folder), mount=redact.path(mount.point), kind=redact.plain(mount.kind, 40)), folder, frozenset()
    )
