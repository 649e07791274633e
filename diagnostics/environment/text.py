"""Reading what may be anything: bounded, never blocking on what is no regular file, never raising for bad bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import BinaryIO

MOST_BYTES = 256 * 1024
CHUNK = 256 * 1024
TRUE_VALUES = frozenset({"1", "ON", "YES", "TRUE"})  # huggingface_hub constants.py ENV_VARS_TRUE_VALUES


def is_true(value: str | None) -> bool:
    """Whether the hub's clients take ``value`` for true."""
    return value is not None and value.upper() in TRUE_VALUES


def is_name(host: str) -> bool:
    """Whether a resolver can be asked for it, or it is an address (IDNA: labels of 1 to 63 octets, RFC 5890)."""
    if ":" in host:
        return True
    try:
        return bool(host.rstrip(".").encode("idna"))
    except UnicodeError:
        return False


def read_bytes(path: str, most: int = MOST_BYTES) -> bytes | None:
    """The first ``most`` bytes of a regular file; None where there is none or it cannot be read (a FIFO would block for ever)."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return up_to(file, most)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return None


def up_to(file: BinaryIO, most: int) -> bytes:
    """The next ``most`` bytes. Not ``read(most)``, which takes that much memory at once, however short the file: too much under a ulimit -v."""
    parts = []
    while most and (part := file.read(min(most, CHUNK))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def read_text(path: str, most: int = MOST_BYTES) -> str:
    """A configuration file's text, "" where there is none; bytes that are no UTF-8 become the replacement character."""
    data = read_bytes(path, most)
    return (data or b"").decode("utf-8-sig", "replace")


def expand_user(value: str) -> str:
    """``os.path.expanduser``, and the value itself where it holds what no user's name may."""
    try:
        return os.path.expanduser(value)
    except ValueError:  # a NUL
        return value


def expand(value: str, variables: Mapping[str, str], home: str) -> str:
    """A path as huggingface_hub reads it: ``~`` and ``$VARIABLES`` expanded from *these* variables."""
    text = (
        home + value[1:]
        if home and (value == "~" or value.startswith("~/"))
        else expand_user(value)
        if value.startswith("~") and value[1:2] not in ("", "/")
        else value
    )
    return _expand_variables(text, variables)


def _expand_variables(text: str, variables: Mapping[str, str]) -> str:
    """os.path.expandvars over ``variables``; what is not set stays as it is."""
    if "$" not in text:
        return text
    parts = text.split("$")
    out = [parts[0]]
    for part in parts[1:]:
        braced = part.startswith("{") and "}" in part
        name = part[1 : part.index("}")] if braced else part[: len(part) - len(part.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"))]
        rest = part[len(name) + 2 * braced :]
        out.append(variables[name] + rest if name in variables else "$" + part)
    return "".join(out)
