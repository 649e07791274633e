"""One local file: its size, what its bytes are, its defects; and what it asks of the files beside it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace

from diagnostics import redact
from diagnostics.case import ABSENT, Defect, FileSeen, Unseen
from diagnostics.probes import read_errors
from diagnostics.probes.cache import is_inside
from diagnostics.probes.files_judged import by_name
from diagnostics.probes.formats import Bytes, Look, Need, look_at

MOST_NEEDS = 500
Looks = dict[str, Look]  # by location: what was read once need not be read again
Needs = tuple[tuple[str, Need], ...]  # (who needs it, what)


def examine(path: str, location: str, expected: int | Unseen = ABSENT) -> FileSeen:
    """One file: ``path`` is its name in the target, ``location`` where it is. Links are followed; what is no regular file is not opened for long."""
    return examine_whole(path, location, expected)[0]


def examine_whole(path: str, location: str, expected: int | Unseen = ABSENT) -> tuple[FileSeen, Look]:
    """The same, and what its tables say (tensors, other files)."""
    seen = FileSeen(path=redact.plain(path, 500), location=redact.path(location), expected_bytes=expected)
    try:
        descriptor = os.open(location, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:
        return replace(seen, defects=(_not_opened(location, error),)), Look("")
    try:
        return _read(seen, path, descriptor)
    except OSError as error:
        return replace(seen, defects=(Defect(code="file-unreadable", detail=f"reading it fails: {read_errors.said(error)}"),)), Look("")
    finally:
        os.close(descriptor)


def _read(seen: FileSeen, path: str, descriptor: int) -> tuple[FileSeen, Look]:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return replace(seen, content="special", defects=(Defect(code="file-unreadable", detail="it is no regular file"),)), Look("")
    file = Bytes(descriptor, status.st_size)
    head = file.head()
    look = by_name(path, look_at(file, head), file, head, seen.expected_bytes)
    due = seen.expected_bytes if isinstance(seen.expected_bytes, int) else look.expected
    return replace(seen, bytes=status.st_size, content=look.content, defects=look.defects, expected_bytes=due), look


def needs_of(path: str, look: Look) -> Needs:
    """What a file needs beside it, by paths in the target. TensorFlow's index names its data files by what follows its own stem."""
    folder = path.rpartition("/")[0]
    found = []
    for need in look.needs[:MOST_NEEDS]:
        name = path.removesuffix(".index") + need.path if need.path.startswith(".data-") else f"{folder}/{need.path}" if folder else need.path
        if is_inside(name):
            found.append((path, replace(need, path=os.path.normpath(name).replace(os.sep, "/"))))
    return tuple(found)


def with_companions(files: Iterable[FileSeen], needs: Needs, sizes: Mapping[str, int]) -> tuple[tuple[FileSeen, ...], tuple[FileSeen, ...]]:
    """(the files, those that others find too short marked; what others name and is not here). ``sizes`` has every file of the target."""
    short = {need.path: (who, need) for who, need in needs if need.bytes > sizes.get(need.path, need.bytes)}
    gone = {need.path: (who, need) for who, need in needs if need.path not in sizes}
    marked = [_shortened(seen, *short.pop(seen.path)) if seen.path in short and not seen.defects else seen for seen in files]
    marked += [_shortened(FileSeen(path=path, bytes=sizes[path], content="binary"), who, need) for path, (who, need) in short.items()]
    absent = [FileSeen(path=redact.plain(path, 500), defects=(Defect(code=need.code, detail=f"{who} names it"),)) for path, (who, need) in gone.items()]
    return tuple(marked), tuple(absent)


def _shortened(seen: FileSeen, who: str, need: Need) -> FileSeen:
    missing = need.bytes - (seen.bytes if isinstance(seen.bytes, int) else 0)
    defect = Defect(code="file-truncated", detail=redact.plain(f"{who} needs {need.bytes} bytes of it, {missing} are missing"), offset=seen.bytes)
    return replace(seen, defects=(defect,), expected_bytes=seen.expected_bytes if isinstance(seen.expected_bytes, int) else need.bytes)


def _not_opened(location: str, error: OSError | ValueError) -> Defect:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ENOENT, errno.ELOOP) and os.path.islink(location):
        return Defect(code="cache-link-broken", detail=f"it is a link to {redact.path(os.readlink(location))}, where nothing is")
    if number in (errno.ENOENT, errno.ENOTDIR):
        return Defect(code="file-missing", detail="it went away")
    if isinstance(error, OSError) and read_errors.is_broken(error):
        return Defect(code="file-unreadable", detail=f"reading it fails: {read_errors.said(error)}")
    return Defect(code="file-unreadable", detail=f"{os.strerror(number or errno.EACCES)}{who_owns(location)}")


def who_owns(location: str) -> str:
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
