"""SPEC → Target, by its form alone and a ``stat`` of the path it names: hub, url, directory, file, list, demo, none.

``org/name[@revision]``, a bare legacy id, ``https://…[#sha256=…]`` (several, separated by white space or commas), a path, ``list.toml``,
``demo[:fault]``; the prefixes ``hub: url: path: list: dataset:`` settle every doubt. Paths in a Target have the home folder as ``~``.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable

from diagnostics import redact
from diagnostics.case import Environment, Problem, Target
from diagnostics.targets import clients, directory, hub, manifest, url

__all__ = ["parse"]

PREFIXES = ("hub", "dataset", "url", "path", "list", "demo")
_PREFIX = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?!//)(.*)", re.DOTALL)
Found = tuple[Target, tuple[str, ...]]
Stat = Callable[[str], bool]


def parse(spec: str, environment: Environment, exists: Stat = os.path.exists, isdir: Stat = os.path.isdir, files: tuple[str, ...] = ()) -> Found:
    """What is to be loaded, and its URLs as typed (for ``Secrets.urls``: they may carry signatures). Never raises for a SPEC of any shape.

    ``files`` are the patterns of ``--diagnose-files``. ``Target.problem`` says why a SPEC cannot be used: model-id-invalid, path-missing, url-invalid,
    local-directory-shadows-id, unknown-manifest, manifest-invalid, unknown-prefix.
    """
    target, urls = _by_form(spec.strip(), environment, _quiet(exists), _quiet(isdir))
    target = dataclasses.replace(target, spec=shown(spec), patterns=tuple(redact.plain(pattern) for pattern in files) or target.patterns)
    return clients.chosen(target, environment), urls


def _quiet(stat: Stat) -> Stat:
    def answer(path: str) -> bool:
        try:
            return stat(path)
        except (OSError, ValueError):  # ValueError: a NUL, or bytes that no path may hold
            return False

    return answer


def shown(spec: str) -> str:
    """A SPEC to show: no credentials, no query but a digest, and no token pasted in its place."""
    return redact.plain(" ".join(url.shown(part) if "://" in part else redact.Secrets().clean(part) for part in spec.split()[:20]))


def _by_form(spec: str, environment: Environment, exists: Stat, isdir: Stat) -> Found:
    if not spec:
        return hub.nothing(environment), ()
    if (match := _PREFIX.fullmatch(spec)) and not _is_windows_path(spec) and not (exists(spec) and match[1] not in PREFIXES):
        return _by_prefix(match[1], match[2], environment, exists, isdir)
    if spec == "demo":
        return Target(spec=spec, kind="demo"), ()
    if "://" in spec:
        return _pasted(spec, environment)
    return _bare(spec, environment, exists, isdir)


def _is_windows_path(spec: str) -> bool:
    return len(spec) > 2 and spec[1] == ":" and spec[2] in "\\/"


def _by_prefix(prefix: str, rest: str, environment: Environment, exists: Stat, isdir: Stat) -> Found:
    match prefix:
        case "hub" | "dataset":
            return hub.identified(rest, environment, "dataset" if prefix == "dataset" else "model"), ()
        case "url":
            return url.parse(rest)
        case "path":
            return directory.at(rest, exists, isdir), ()
        case "list":
            return manifest.parse(rest, exists)
        case "demo":
            return Target(spec=rest, kind="demo", name=redact.plain(rest, 80)), ()
    problem = Problem(code="unknown-prefix", detail=f"there is no prefix {redact.plain(prefix, 40)}: (hub: dataset: url: path: list: demo: are known)")
    return Target(spec=rest, kind="none", problem=problem), ()


def _pasted(spec: str, environment: Environment) -> Found:
    """URLs; but the page of a repository is the repository."""
    if page := hub.page(spec, environment):
        return page, ()
    return url.parse(spec)


def _bare(spec: str, environment: Environment, exists: Stat, isdir: Stat) -> Found:
    if directory.is_clearly_a_path(spec):
        return (
            (manifest.parse(spec, exists))
            if spec.endswith(".toml") and "\0" not in spec and exists(os.path.expanduser(spec))
            else (directory.at(spec, exists, isdir), ())
        )
    if spec.endswith(".toml"):
        return manifest.parse(spec, exists)
    if exists(spec):
        return _existing(spec, environment, exists, isdir), ()
    return hub.identified(spec, environment, "model"), ()


def _existing(spec: str, environment: Environment, exists: Stat, isdir: Stat) -> Target:
    """A relative name that exists: a folder that is no model and is named like a repository stands in the repository's way."""
    if isdir(spec) and not hub.id_problem(spec) and not directory.is_model(spec, exists):
        target = hub.identified(spec, environment, "model")
        detail = f"the folder {redact.path(os.path.abspath(spec))} has the repository's name and holds no config.json"
        return dataclasses.replace(target, paths=(redact.path(os.path.abspath(spec)),), problem=Problem(code="local-directory-shadows-id", detail=detail))
    return directory.at(spec, exists, isdir)
