"""The target as a list of files in TOML (``targets.manifest`` reads it back): url or path, size, digest, role, source, date.

Digests are those that were published (LFS sha256, git's blob ids, the list's own) or, asked for by ``--diagnose-digests all``, computed here; an entry says which.
A list holds no token and no query of a URL: records have none. Host names and paths stay in it, whatever ``--diagnose-anonymize`` says: it is for use.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from diagnostics.case import ABSENT, Body, Case, Files, Listing, Published, RemoteFile, Unseen
from diagnostics.facts.roles import role_of

KEYS = {"git-sha1": "git_sha1"}  # algorithm → key, where they differ
LENGTHS = {"sha256": 64}  # a shorter value is a prefix
COMPUTED = "computed here"
Known = dict[str, list[Published]]  # path → digests


class NoList(Exception):
    """Why this target cannot be written as a list; for a person."""


def text(case: Case) -> str:
    """The document. Raises NoList for a target that nothing lists."""
    if case.target.problem:
        raise NoList(f"the target cannot be used: {case.target.problem.detail or case.target.problem.code}")
    listed, source = _listed(case)
    if not listed:
        raise NoList("nothing says which files the target has")
    known = _digests(case)
    head = {"name": case.target.name or case.target.spec, **_place(case), "source": source}
    lines = ["# Written by pytest-diagnostics; `--diagnose list:THIS-FILE` reads it.", *(f"{key} = {_toml(value)}" for key, value in head.items() if value)]
    if day := re.match(r"\d{4}-\d\d-\d\d", case.started):
        lines.append(f"as_of = {day[0]}")
    return "\n".join([*lines, *(line for file in listed for line in _entry(file, known.get(file.path, []), case))]) + "\n"


def without_digest(document: str) -> int:
    """How many entries of a document have no digest."""
    return sum(not re.search(r"^(sha|md5|git_sha1)", entry, re.MULTILINE) for entry in document.split("[[files]]")[1:])


def _toml(value: object) -> str:
    """A basic string (TOML 1.0): JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# --- which files --------------------------------------------------------------------------------------------------------------


def _listed(case: Case) -> tuple[list[RemoteFile], str]:
    """The files that count, and who says so."""
    target, here = case.target, case.files
    if target.listed:
        return list(target.listed), f"the list {target.spec}"
    if target.kind == "url":
        return [RemoteFile(path=_last(url), url=url, bytes=_length(case, url)) for url in target.urls], "the URLs, as their hosts answered"
    if target.kind == "hub" and isinstance(case.listing, Listing) and case.listing.files:
        counted = set(case.listing.wanted)
        files = [file for file in case.listing.files if file.path in counted or not counted]
        return files, f"the hub's list of {target.name} at {case.listing.commit or target.revision}"
    if isinstance(here, Files) and here.files:
        found = [RemoteFile(path=seen.path, bytes=seen.bytes) for seen in here.files]
        return found, f"the cache's files of {target.name} at {here.commit}" if here.place == "cache" else "the files that lie in the folder"
    return [], ""


def _last(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def _length(case: Case, url: str) -> int | Unseen:
    """Bytes of what a URL serves: published, or the length of its last answer."""
    for item in case.target.published:
        if item.path == url and isinstance(item.bytes, int):
            return item.bytes
    for journey in case.journeys or ():
        last = journey.legs[-1] if journey.path == url and journey.legs else None
        if last and last.response and last.response.status == 200 and isinstance(last.response.length, int):
            return last.response.length
    return ABSENT


def _place(case: Case) -> dict[str, str]:
    """``base`` of what is fetched, ``folder`` of what lies here."""
    target, here = case.target, case.files
    if target.kind == "hub":
        seen = [record.commit for record in (case.listing, here) if isinstance(record, Listing | Files) and record.commit]
        kind = "" if target.repository_type == "model" else f"{target.repository_type}s/"
        return {"base": f"{target.endpoint}/{kind}{quote(target.name, safe='/')}/resolve/{quote(seen[0] if seen else target.revision, safe='')}/"}
    if target.kind in ("directory", "list") and target.paths:
        return {"folder": target.paths[0]}
    if target.kind == "file" and target.paths:
        return {"folder": re.split(r"[/\\][^/\\]*$", target.paths[0])[0] or "/"}
    return {}


# --- digests ------------------------------------------------------------------------------------------------------------------


def _digests(case: Case) -> Known:
    known: Known = {}
    for item in (*case.target.published, *(case.digests.known if case.digests else ()), *_of_listing(case), *_of_bodies(case)):
        path = next((file.path for file in case.target.listed if item.path == file.url), _last(item.path) if "://" in item.path else item.path)
        if all(item.algorithm != other.algorithm for other in known.setdefault(path, [])):
            known[path].append(item)
    return known


def _of_listing(case: Case) -> Iterable[Published]:
    for file in case.listing.files if isinstance(case.listing, Listing) and case.target.kind == "hub" else ():
        if isinstance(file.sha256, str):
            yield Published(path=file.path, value=file.sha256, source="hub listing")
        elif isinstance(file.git_sha1, str):
            yield Published(path=file.path, algorithm="git-sha1", value=file.git_sha1, source="hub listing")


def _of_bodies(case: Case) -> Iterable[Published]:
    """What arrived whole during the survey, at its own URL."""
    for journey in case.journeys or ():
        body = journey.legs[-1].body if journey.legs and journey.path in case.target.urls else None
        if isinstance(body, Body) and body.outcome == "complete" and isinstance(body.sha256, str) and isinstance(_length(case, journey.path), int):
            yield Published(path=journey.path, value=body.sha256, source=COMPUTED)


def _entry(file: RemoteFile, known: list[Published], case: Case) -> list[str]:
    lines = ["", "[[files]]", f"path = {_toml(file.path)}"]
    if file.url or (case.target.kind == "hub" and quote(file.path, safe="/") != file.path):
        lines.append(f"url = {_toml(file.url or quote(file.path, safe='/'))}")
    lines.append(f"role = {_toml(file.role or role_of(file.path))}")
    if isinstance(file.bytes, int):
        lines.append(f"bytes = {file.bytes}")
    lines += [f"{_key(item)} = {_toml(item.value)}" for item in known]
    sources = dict.fromkeys(item.source for item in known if item.source != "list")
    return lines + ([f"source = {_toml(', '.join(sources))}"] if sources else [])


def _key(item: Published) -> str:
    key = KEYS.get(item.algorithm, item.algorithm)
    return f"{key}_prefix" if len(item.value) < LENGTHS.get(item.algorithm, 0) else key
