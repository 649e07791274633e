"""Where a file goes: its folder, opened step by step so that no link leads out of it, and the names beside it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import time
from pathlib import Path

from diagnostics.probes.cache import is_inside

PART = "diagnostics-part"  # browsers and other tools have a .part of their own, which is not ours to begin anew
LONGEST_NAME = 200  # bytes of a name that still leaves room for what is added to it (255 on most file systems)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_RELATIVE = os.open in os.supports_dir_fd and os.rename in os.supports_dir_fd and os.stat in os.supports_dir_fd


class Unsafe(OSError):
    """A name that leads out of the folder."""


class Place:
    """One file's place under ``into``. Raises OSError where the folder cannot be made or entered; Unsafe where the name leads elsewhere."""

    def __init__(self, into: Path, name: str) -> None:
        if not is_inside(name) or any(part in ("", ".") for part in name.split("/")) or "\\" in name:
            raise Unsafe(errno.EACCES, "its name leads out of the folder")
        *folders, self.leaf = name.split("/")
        self.path = into.joinpath(*folders, self.leaf)
        self.folder = self.path.parent
        self._at = _descend(into, folders) if _RELATIVE else _made(self.folder)
        stem = self.leaf if len(os.fsencode(self.leaf)) <= LONGEST_NAME else f"{self.leaf[:40]}-{hashlib.sha256(os.fsencode(self.leaf)).hexdigest()[:16]}"
        self.part, self.journal, self.corrupt = f"{stem}.{PART}", f".{stem}.part-journal", f"{stem}.corrupt-"

    def close(self) -> None:
        if self._at is not None:
            os.close(self._at)
            self._at = None

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a regular file beside the others; never through a link. Raises OSError."""
        flags |= _NO_LINK
        descriptor = os.open(name, flags, 0o666, dir_fd=self._at) if _RELATIVE else os.open(self.folder / name, flags, 0o666)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is no regular file")
        return descriptor

    def seen(self, name: str, follow: bool = False) -> os.stat_result | None:
        """What lies under a name; None for nothing."""
        try:
            return os.stat(name, dir_fd=self._at, follow_symlinks=follow) if _RELATIVE else os.stat(self.folder / name, follow_symlinks=follow)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return None
            raise

    def rename(self, old: str, new: str) -> None:
        if _RELATIVE:
            os.replace(old, new, src_dir_fd=self._at, dst_dir_fd=self._at)
        else:
            os.replace(self.folder / old, self.folder / new)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._at) if _RELATIVE else os.unlink(self.folder / name)

    def put_aside(self, name: str) -> str:
        """Rename what lies there to ``.corrupt-TIME``; returns the new path."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        free = next(
            f"{self.corrupt}{stamp}{suffix}"
            for suffix in ("", *(f"-{number}" for number in range(1, 10_000)))
            if not self.seen(f"{self.corrupt}{stamp}{suffix}")
        )
        self.rename(name, free)
        return str(self.folder / free)

    def free_bytes(self) -> int:
        """What this user may still write there."""
        if not hasattr(os, "statvfs"):
            return shutil.disk_usage(self.folder).free
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize

    def sync(self) -> None:
        """Let the names outlive a power cut. Not every file system can: then it needs no telling."""
        if self._at is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._at)


def _made(folder: Path) -> int | None:
    folder.mkdir(parents=True, exist_ok=True)
    return None


def _descend(into: Path, folders: list[str]) -> int:
    """The folder's descriptor: ``into`` is the person's own and may be a link, nothing below it may."""
    into.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    here = os.open(into, flags)
    for name in folders:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=here)
            below = os.open(name, flags | os.O_NOFOLLOW, dir_fd=here)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise Unsafe(error.errno, f"{name} on the way to it is no folder, or a link") from None
            raise
        finally:
            os.close(here)
        here = below
    return here
