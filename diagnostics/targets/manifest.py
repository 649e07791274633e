"""Lists of files in TOML: shipped ones by name, a person's own by path.

::

    name = "gpt2-124M"                       # what a person would call it; optional
    base = "https://host/path/"              # in front of every url that is not absolute; optional
    as_of = 2019-11-05                       # the day the list was right; optional
    source = "where the list comes from"     # optional

    [[files]]
    path = "hparams.json"                    # its name in the target; the last segment of the url where absent
    url = "hparams.json"                     # absolute, or behind base; the path where absent
    bytes = 90                               # optional
    sha256 = "…"                             # optional; also sha1, md5, sha512

A file's path stays inside the target's folder: absolute paths and ``..`` make the list unusable.
"""

from __future__ import annotations

import importlib.resources
import os
import re
import tomllib
from collections.abc import Callable
from typing import Any
from urllib.parse import urljoin

from diagnostics import redact
from diagnostics.case import ABSENT, Problem, Published, Target, Unseen
from diagnostics.targets.url import HEX_LENGTH, file_name, url_problem

Found = tuple[Target, tuple[str, ...]]
MOST_BYTES, MOST_FILES = 4 * 1024 * 1024, 10_000


class Unusable(Exception):
    """A list that cannot be used; its text says why, in one line."""


def shipped() -> tuple[str, ...]:
    """Names of the lists that come with the package."""
    folder = importlib.resources.files("diagnostics.targets") / "manifests"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def parse(text: str, exists: Callable[[str], bool]) -> Found:
    """The list with this name, or at this path."""
    if text in shipped():
        content = (importlib.resources.files("diagnostics.targets") / "manifests" / f"{text}.toml").read_text(encoding="utf-8")
        return _read(text, content, text)
    path = os.path.expanduser(text) if "\0" not in text else text
    if not exists(path):
        known = ", ".join(shipped())
        return _unusable(
            text,
            "path-missing" if text.endswith(".toml") or "/" in text else "unknown-manifest",
            f"there is no such list; shipped with pytest-diagnostics: {known}",
        )
    try:
        return _read(text, _content(path), os.path.basename(path).removesuffix(".toml"))
    except OSError as error:
        return _unusable(text, "manifest-invalid", f"the list cannot be read: {redact.plain(error.strerror or 'unknown reason')}")


def _content(path: str) -> str:
    if not os.path.isfile(path):
        raise IsADirectoryError(21, "it is no file")
    with open(path, "rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")


def _unusable(text: str, code: str, detail: str) -> Found:
    return Target(spec=text, kind="list", name=redact.plain(text, 200), problem=Problem(code=code, detail=detail)), ()


def _read(spec: str, content: str, name: str) -> Found:
    try:
        table = tomllib.loads(content)
        files = [_file(table, entry, number) for number, entry in enumerate(_entries(table), 1)]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return _unusable(spec, "manifest-invalid", f"it is no TOML: {redact.plain(str(error), 120)}")
    except Unusable as error:
        return _unusable(spec, "manifest-invalid", redact.Secrets().clean(str(error)))
    urls = tuple(url for _, url, _ in files)
    given = table.get("name")
    target = Target(
        spec=spec,
        kind="list",
        name=redact.plain(given if isinstance(given, str) else name, 200),
        urls=tuple(redact.url(url) for url in urls),
        published=tuple(digest for _, _, digests in files for digest in digests),
    )
    return target, urls


def _entries(table: dict[str, Any]) -> list[dict[str, Any]]:
    entries = table.get("files")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise Unusable("it names no [[files]]")
    if len(entries) > MOST_FILES:
        raise Unusable(f"it names more than {MOST_FILES} files")
    return entries


def _file(table: dict[str, Any], entry: dict[str, Any], number: int) -> tuple[str, str, tuple[Published, ...]]:
    """(path, URL, digests) of one entry."""
    base, path, address = (_text(source, key, number) for source, key in ((table, "base"), (entry, "path"), (entry, "url")))
    url = urljoin(base, address or path) if base else address
    if problem := url_problem(url):
        raise Unusable(f"file {number}: {problem}")
    path = path or file_name(url)
    if path.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", path) or ".." in re.split(r"[/\\]", path) or "\0" in path or not path:
        raise Unusable(f"file {number}: its path leads out of the folder")
    size = entry.get("bytes")
    known: int | Unseen = size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else ABSENT
    return path, url, tuple(_digest(entry, algorithm, url, number, known) for algorithm in HEX_LENGTH if algorithm in entry)


def _text(table: dict[str, Any], key: str, number: int) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise Unusable(f"file {number}: {key} is no text")
    return value


def _digest(entry: dict[str, Any], algorithm: str, url: str, number: int, size: int | Unseen) -> Published:
    value = entry[algorithm]
    if not isinstance(value, str) or not re.fullmatch(r"[0-9A-Fa-f]+", value) or len(value) != HEX_LENGTH[algorithm]:
        raise Unusable(f"file {number}: a {algorithm} has {HEX_LENGTH[algorithm]} hexadecimal digits")
    return Published(path=redact.url(url), algorithm=algorithm, value=value.lower(), source="list", bytes=size)  # type: ignore[arg-type]
