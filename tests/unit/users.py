"""Asking as somebody without root's rights."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any


def unprivileged(ask: Callable[[], Any], tmp_path: Path) -> Any:
    """The answer of a user who may not read everything: nobody's in a child process, where this one is root. It travels as JSON."""
    return _as_nobody(ask, tmp_path) if os.geteuid() == 0 else ask()


def _as_nobody(ask: Callable[[], Any], tmp_path: Path) -> Any:
    parent = tmp_path
    while parent != parent.parent:
        if not stat.S_IMODE(parent.stat().st_mode) & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
        parent = parent.parent
    "".encode("ascii").decode("idna")  # nobody may not be able to read this Python's own library: these are imported late
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, json.dumps(ask()).encode())
        finally:  # a copy of pytest must not go on
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)
