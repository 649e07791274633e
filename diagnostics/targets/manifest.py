"""Lists of files in TOML: shipped ones by name, a person's own by path. ``render.manifest`` writes them (``--diagnose-manifest``).

::

    name = "gpt2-124M"                       # what a person would call it; optional
    base = "https://host/path/"              # in front of every url that is not absolute; optional
    folder = "~/models/gpt2"                 # where the files lie on this machine; from the list's own folder where it is relative; optional
    as_of = 2019-11-05                       # the day the list was right; optional
    source = "where the list comes from"     # optional

    [[files]]
    path = "hparams.json"                    # its name in the target; the last segment of the url where absent
    url = "hparams.json"                     # absolute, or behind base; the path where absent. With a folder there need be none
    role = "config"                          # see facts/roles.py; optional
    bytes = 90                               # optional
    sha256 = "…"                             # optional; also sha1, md5, sha512, git_sha1 (git's name for the content), sha256_prefix (torch.hub's)
    source = "where this digest comes from"  # optional

A file's path stays inside the target's folder: absolute paths and ``..`` make the list unusable.
"""

from __future__ import annotations

import difflib
import importlib.resources
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

from diagnostics import redact
from diagnostics.case import ABSENT, Problem, Published, RemoteFile, Target
from diagnostics.facts import roles
from diagnostics.targets.url import HEX_LENGTH, file_name, url_problem

Found = tuple[Target, tuple[str, ...]]
MOST_BYTES, MOST_FILES = 8 * 1024 * 1024, 20_000
LEAST_PREFIX = 8  # torch/hub.py HASH_REGEX
# key → (algorithm, digits at least, digits at most)
DIGESTS = {name: (name, length, length) for name, length in HEX_LENGTH.items()} | {
    "git_sha1": ("git-sha1", 40, 40),
    "sha256_prefix": ("sha256", LEAST_PREFIX, 64),
}


class Unusable(Exception):
    """A list that cannot be used; its text says why, in one line."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One entry: the file, the digests published of it, and its URL as typed."""

    file: RemoteFile
    digests: tuple[Published, ...]
    url: str


def shipped() -> tuple[str, ...]:
    """Names of the lists that come with the package."""
    folder = importlib.resources.files("diagnostics.targets") / "manifests"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def parse(text: str, exists: Callable[[str], bool]) -> Found:
    """The list with this name, or at this path."""
    if text in shipped():
        content = (importlib.resources.files("diagnostics.targets") / "manifests" / f"{text}.toml").read_text(encoding="utf-8")
        return _read(text, content, text, "")
    path = os.path.expanduser(text) if "\0" not in text else text
    if not exists(path):
        known = ", ".join(shipped())
        near = difflib.get_close_matches(text, shipped(), 1, 0.5)
        return _unusable(
            text,
            "path-missing" if text.endswith(".toml") or "/" in text else "unknown-manifest",
            f"there is no such list{f': did you mean {near[0]}?' if near else ''}; shipped with pytest-diagnostics: {known}",
        )
    try:
        target, urls = _read(text, _content(path), os.path.basename(path).removesuffix(".toml"), os.path.dirname(os.path.abspath(path)))
    except OSError as error:
        return _unusable(text, "manifest-invalid", f"the list cannot be read: {redact.plain(error.strerror or 'unknown reason')}")
    if target.paths and not exists(os.path.expanduser(target.paths[0])):
        return _unusable(text, "path-missing", f"the folder that the list names is not there: {target.paths[0]}")
    return target, urls


def _content(path: str) -> str:
    if not os.path.isfile(path):
        raise IsADirectoryError(21, "it is no file")
    with open(path, "rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")


def _unusable(text: str, code: str, detail: str) -> Found:
    return Target(spec=text, kind="list", name=redact.plain(text, 200), problem=Problem(code=code, detail=detail)), ()


def _read(spec: str, content: str, name: str, beside: str) -> Found:
    try:
        table = tomllib.loads(content)
        folder = _folder(table, beside)
        files = [_listed(table, entry, number, bool(folder)) for number, entry in enumerate(_entries(table), 1)]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return _unusable(spec, "manifest-invalid", f"it is no TOML: {redact.plain(str(error), 120)}")
    except Unusable as error:
        return _unusable(spec, "manifest-invalid", redact.Secrets().clean(str(error)))
    urls = tuple(one.url for one in files if one.url)
    given = table.get("name")
    target = Target(
        spec=spec,
        kind="list",
        name=redact.plain(given if isinstance(given, str) else name, 200),
        urls=tuple(redact.url(url) for url in urls),
        paths=(redact.path(folder),) if folder else (),
        published=tuple(digest for one in files for digest in one.digests),
        listed=tuple(one.file for one in files),
    )
    return target, urls


def _folder(table: dict[str, Any], beside: str) -> str:
    """Where the files lie, "" where the list does not say."""
    folder = _text(table, "folder", 0)
    if not folder:
        return ""
    if "\0" in folder or not beside:
        raise Unusable("its folder is no path")
    return os.path.normpath(os.path.join(beside, os.path.expanduser(folder)))


def _entries(table: dict[str, Any]) -> list[dict[str, Any]]:
    entries = table.get("files")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise Unusable("it names no [[files]]")
    if len(entries) > MOST_FILES:
        raise Unusable(f"it names more than {MOST_FILES} files")
    return entries


def _listed(table: dict[str, Any], entry: dict[str, Any], number: int, local: bool) -> Listed:
    base, path, address = (_text(source, key, number) for source, key in ((table, "base"), (entry, "path"), (entry, "url")))
    url = urljoin(base, address or path) if base else address
    if (problem := url_problem(url)) and not (local and not url):
        raise Unusable(f"file {number}: {problem}")
    path = path or file_name(url)
    if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path) or "\0" in path or not path:
        raise Unusable(f"file {number}: its path leads out of the folder")
    size, role = entry.get("bytes"), _text(entry, "role", number)
    file = RemoteFile(
        path=redact.plain(path, 1000),
        bytes=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else ABSENT,
        url=redact.url(url) if url else "",
        role=role if role in roles.NAMES else roles.role_of(path),
    )
    source = redact.plain(_text(entry, "source", number) or "list", 200)
    return Listed(file=file, url=url, digests=tuple(_digest(entry, key, file, number, source) for key in DIGESTS if key in entry))


def _text(table: dict[str, Any], key: str, number: int) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise Unusable(f"file {number}: {key} is no text" if number else f"its {key} is no text")
    return value


def _digest(entry: dict[str, Any], key: str, file: RemoteFile, number: int, source: str) -> Published:
    value, (algorithm, least, most) = entry[key], DIGESTS[key]
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]+", value) or not least <= len(value) <= most:
        digits = str(most) if least == most else f"{least} to {most}"
        raise Unusable(f"file {number}: a {key} has {digits} hexadecimal digits")
    path = file.url or file.path
    return Published(path=path, algorithm=algorithm, value=value.lower(), source=source, bytes=file.bytes)  # type: ignore[arg-type]
