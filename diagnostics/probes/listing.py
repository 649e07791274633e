"""The files of a target, with sizes and digests: from the hub's API, or from what the SPEC itself brings.

Hub API: ``GET /api/models/{id}/revision/{rev}`` and ``GET /api/models/{id}/tree/{commit}?recursive=true`` (huggingface_hub ``hf_api.py``:
``repo_info``, ``list_repo_tree``). A mirror without the tree still gives names (``siblings``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from diagnostics.case import ABSENT, Journey, Leg, Listing, RemoteFile, Target, Unseen
from diagnostics.probes import http as http_probe
from diagnostics.probes.files import wanted_files
from diagnostics.probes.journey import Trip, travel
from diagnostics.probes.leg import Means
from diagnostics.redact import plain

MOST_JSON = 32 << 20
API_SECONDS = 10.0
MOST_FILES = 20000
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")
Publish = Callable[[Journey], None]


def api_root(target: Target, endpoint: str) -> str:
    return f"{endpoint}/api/{target.repository_type}s/{quote(target.name, safe='/')}"


def resolve_url(target: Target, endpoint: str, revision: str, path: str) -> str:
    """Where the client fetches a file (``hf_hub_url``)."""
    prefix = "" if target.repository_type == "model" else f"{target.repository_type}s/"
    return f"{endpoint}/{prefix}{quote(target.name, safe='/')}/resolve/{quote(revision, safe='')}/{quote(path, safe='/')}"


def api_trip(name: str, purpose: str, url: str) -> Trip:
    return Trip(name=name, purpose=purpose, url=url, sample=http_probe.Sample(most_bytes=MOST_JSON, seconds=API_SECONDS, keep=True))


def see_listing(target: Target, endpoint: str, means: Means, publish: Publish) -> Listing | Unseen:
    """Ask the hub what the target is made of. ``Unseen`` where it did not say: the journeys tell why."""
    url = f"{api_root(target, endpoint)}/revision/{quote(target.revision, safe='')}"
    info = _json(api_trip("listing", "the hub's API", url), means, publish)
    if not isinstance(info, dict):
        return Unseen("not_reached", "the hub did not give the list of files")
    commit = str(info.get("sha") or "")
    commit = commit if _SHA1.fullmatch(commit) else ""
    files = _from_tree(_tree(target, endpoint, commit or target.revision, means, publish)) or _from_siblings(info)
    gated = info.get("gated")
    return Listing(
        source="hub",
        commit=commit,
        gated=gated if isinstance(gated, str) and gated in ("auto", "manual") else "",
        files=files,
        wanted=wanted_files(tuple(file.path for file in files), target.loader, target.patterns),
    )


def _tree(target: Target, endpoint: str, revision: str, means: Means, publish: Publish) -> list[Any]:
    """All pages of the tree; empty where this hub has none."""
    url = f"{api_root(target, endpoint)}/tree/{quote(revision, safe='')}?recursive=true&expand=false"
    found = _json(api_trip("tree", "the hub's list of files", url), means, publish)
    return found[:MOST_FILES] if isinstance(found, list) else []


def _json(trip: Trip, means: Means, publish: Publish) -> Any:
    """The JSON that a journey ended with; None where there is none."""
    _, arrivals = travel(trip, means, publish)
    last = arrivals[-1]
    if not _answered_well(last.leg):
        return None
    try:
        return json.loads(last.content)
    except (ValueError, RecursionError):
        return None


def _answered_well(leg: Leg) -> bool:
    return bool(leg.response and leg.response.status == 200 and leg.body and leg.body.outcome == "complete")


def _from_tree(entries: list[Any]) -> tuple[RemoteFile, ...]:
    files = []
    for entry in entries:
        if isinstance(entry, dict) and entry.get("type") == "file" and safe_path(entry.get("path")):
            lfs = entry.get("lfs") if isinstance(entry.get("lfs"), dict) else {}
            assert isinstance(lfs, dict)
            files.append(
                RemoteFile(
                    path=plain(entry["path"], 500),
                    bytes=_size(lfs.get("size", entry.get("size"))),
                    sha256=_digest(lfs.get("oid") or lfs.get("sha256"), _SHA256),
                    git_sha1=ABSENT if lfs else _digest(entry.get("oid"), _SHA1),
                    xet=_digest(entry.get("xetHash"), _SHA256) is not ABSENT,
                )
            )
    return tuple(files)


def _from_siblings(info: dict[str, Any]) -> tuple[RemoteFile, ...]:
    siblings = info.get("siblings")
    files = []
    for entry in siblings if isinstance(siblings, list) else []:
        if isinstance(entry, dict) and safe_path(entry.get("rfilename")):
            lfs = entry.get("lfs") if isinstance(entry.get("lfs"), dict) else {}
            assert isinstance(lfs, dict)
            size = _size(lfs.get("size", entry.get("size")))
            files.append(
                RemoteFile(
                    path=plain(entry["rfilename"], 500),
                    bytes=size,
                    sha256=_digest(lfs.get("sha256"), _SHA256),
                    git_sha1=ABSENT if lfs else _digest(entry.get("blobId"), _SHA1),
                )
            )
    return tuple(files[:MOST_FILES])


def safe_path(path: object) -> bool:
    """Whether a name from a server stays inside the target's folder."""
    if not isinstance(path, str) or not path or len(path) > 1000 or path.startswith(("/", "\\")) or "\0" in path:
        return False
    parts = re.split(r"[/\\]", path)
    return ".." not in parts and not re.match(r"[A-Za-z]:", path)


def _size(value: object) -> int | Unseen:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 60 else ABSENT


def _digest(value: object, form: re.Pattern[str]) -> str | Unseen:
    return value.lower() if isinstance(value, str) and form.fullmatch(value.lower()) else ABSENT
