"""Which control groups stand above this process, for one controller, v1 and v2 (cgroups(7); proc(5) for cgroup and mountinfo)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from diagnostics.probes.mounts import unescaped

MOST_BYTES = 1 << 20


class Level(NamedTuple):
    """One control group above this process, the process's own first."""

    version: int
    name: str
    folder: Path


def levels(root: Path, controller: str) -> Iterator[Level]:
    """Every group that ``controller`` ("memory", "pids") may limit, from this process's own up to what is mounted."""
    mounts = _mounts(root, controller)
    for line in read_text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = 2 if number == "0" and not controllers else 1 if controller in controllers.split(",") else 0
        if version in mounts:
            yield from _ancestors(root, version, path, *mounts[version])


def _mounts(root: Path, controller: str) -> dict[int, tuple[str, str]]:
    """Version → (root of the mount within the hierarchy, where it is mounted)."""
    mounts: dict[int, tuple[str, str]] = {}
    for line in read_text(root / "proc/self/mountinfo").splitlines():
        before, separator, after = line.partition(" - ")
        fields, kinds = before.split(" "), after.split(" ")
        if not separator or len(fields) < 6 or len(kinds) < 3:
            continue
        version = 2 if kinds[0] == "cgroup2" else 1 if kinds[0] == "cgroup" and controller in kinds[2].split(",") else 0
        if version:
            mounts.setdefault(version, (unescaped(fields[3]), unescaped(fields[4])))
    return mounts


def _ancestors(root: Path, version: int, path: str, mounted: str, mount_point: str) -> Iterator[Level]:
    """From the group itself up to the mount. A path outside of what is mounted (a namespace, a container) means the mount itself."""
    inside = path == mounted or path.startswith(mounted.rstrip("/") + "/")
    below = path[len(mounted.rstrip("/")) :].strip("/") if inside else ""
    parts = [part for part in below.split("/") if part] if ".." not in below.split("/") else []
    base = root / mount_point.lstrip("/")
    for count in range(len(parts), -1, -1):
        folder = base.joinpath(*parts[:count])
        if folder.is_dir():
            yield Level(version, "/" + "/".join(parts[:count]), folder)


def read_text(path: Path) -> str:
    """A control file's text, "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def number_in(path: Path) -> int | None:
    """A control file's number; None where there is none, or it says "max"."""
    text = read_text(path).strip()
    return int(text) if re.fullmatch(r"\d{1,20}", text) else None
