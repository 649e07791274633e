"""Errors of a system that has the file and cannot give its bytes: the disk, the file system's own checksums, a server that is gone."""

from __future__ import annotations

import errno
import os

# errno(3), by name: not every system has every one of them.
BROKEN = tuple(
    getattr(errno, name)
    for name in ("EIO", "EBADMSG", "ESTALE", "EUCLEAN", "ENODATA", "ENXIO", "ENODEV", "EREMOTEIO", "ENOTCONN", "EHOSTDOWN", "ETIMEDOUT", "ENOMEDIUM")
    if hasattr(errno, name)
)


def is_broken(error: OSError) -> bool:
    """Whether it is the medium that fails, and no right that is missing."""
    return error.errno in BROKEN


def said(error: OSError) -> str:
    """``EIO (Input/output error)``."""
    number = error.errno or errno.EIO
    return f"{errno.errorcode.get(number, str(number))} ({os.strerror(number)})"
