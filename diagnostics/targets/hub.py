"""Repositories on a hub: ids, revisions, and the pages people paste instead."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from diagnostics import redact
from diagnostics.case import Environment, Problem, Target, Unseen, Variable

PUBLIC = "https://huggingface.co"
PUBLIC_HOSTS = frozenset({"huggingface.co", "hf.co", "www.huggingface.co"})
LONGEST_ID = 96
# huggingface_hub/utils/_validators.py REPO_ID_REGEX
_ID = re.compile(r"(\b[\w\-.]+\b/)?\b[\w\-.]{1,96}\b", re.ASCII)
# First segments of pages that are no repository.
_PAGES = frozenset(
    {
        "models",
        "datasets",
        "spaces",
        "docs",
        "blog",
        "pricing",
        "settings",
        "join",
        "login",
        "organizations",
        "collections",
        "papers",
        "tasks",
        "api",
        "new",
        "chat",
        "learn",
        "posts",
    }
)
_VERBS = frozenset({"tree", "blob", "resolve", "raw", "commit", "commits", "blame", "discussions", "viewer"})
_REVISION = re.compile(r"[^\s\x00-\x1f\x7f~^:?*\[\\]+")  # git-check-ref-format(1)


def endpoint_of(environment: Environment) -> str:
    """The base URL of the hub this environment points to, redacted, without a trailing slash; HF_ENDPOINT, where it can be used."""
    endpoint = environment.endpoint
    if isinstance(endpoint, Variable) and endpoint.value and not endpoint.problem:
        return endpoint.value.rstrip("/")
    return PUBLIC


def nothing(environment: Environment) -> Target:
    """No target: the machine, the caches, and the hub this environment points to."""
    return Target(spec="", kind="none", endpoint=endpoint_of(environment))


def identified(text: str, environment: Environment, repository_type: str) -> Target:
    """``org/name[@revision]``."""
    name, at, revision = text.partition("@")
    problem = id_problem(name) or (_revision_problem(revision) if at else "")
    return _target(name, revision or "main", environment, repository_type, (), problem)


def _target(name: str, revision: str, environment: Environment, repository_type: str, patterns: tuple[str, ...], problem: str = "") -> Target:
    return Target(
        spec=name,
        kind="hub",
        name=redact.Secrets().clean(name, 200),
        repository_type=repository_type,  # type: ignore[arg-type]
        revision=redact.Secrets().clean(revision, 200),
        endpoint=endpoint_of(environment),
        patterns=patterns,
        problem=Problem(code="model-id-invalid", detail=problem) if problem else Unseen("absent"),
    )


def id_problem(name: str) -> str:
    """What is wrong with a repository id, "" for a well-formed one (huggingface_hub/utils/_validators.py validate_repo_id)."""
    if not name:
        return "it is empty"
    if name.count("/") > 1:
        return "a repository id has at most one slash, as in org/name"
    if any(part == "" for part in name.split("/")):
        return "nothing stands before or behind the slash"
    if any(char.isspace() for char in name):
        return "there is white space in it"
    if not re.fullmatch(r"[\w\-./]+", name, re.ASCII):
        return "only letters, digits and - _ . may stand in a repository id"
    if len(name.rpartition("/")[2]) > LONGEST_ID:
        return f"the name is longer than {LONGEST_ID} characters"
    if "--" in name or ".." in name:
        return "two dashes or two dots in a row may not stand in a repository id"
    if not _ID.fullmatch(name):
        return "no part of it may begin or end with - or ."
    return "it may not end in .git" if name.endswith(".git") else ""


def _revision_problem(revision: str) -> str:
    if not revision:
        return "no revision stands behind the @"
    return "" if _REVISION.fullmatch(revision) and len(revision) <= 255 else "that is no name of a branch, tag or commit behind the @"


def page(text: str, environment: Environment) -> Target | None:
    """The repository whose page or file was pasted from the browser, on this environment's hub or the public one; None for any other URL."""
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return None
    ours = urlsplit(endpoint_of(environment))
    own = host == ours.netloc.rpartition("@")[2].lower()
    if parts.scheme not in ("http", "https", "hf") or not (own or host in PUBLIC_HOSTS or parts.scheme == "hf") or re.search(r"\s", text) or "#sha256=" in text:
        return None
    path = ((parts.netloc and "/" + parts.netloc if parts.scheme == "hf" else "") + parts.path).removeprefix(ours.path if own else "")
    return _of_path([unquote(part) for part in path.split("/") if part], environment)


def _of_path(segments: list[str], environment: Environment) -> Target | None:
    """``[datasets|spaces/]org/name[/tree|blob|resolve|raw/revision[/file]]``."""
    repository_type = {"datasets": "dataset", "spaces": "space"}.get(segments[0] if segments else "", "model")
    rest = segments[1:] if repository_type != "model" or segments[:1] == ["models"] else segments
    if not rest or (repository_type == "model" and rest[0] in _PAGES):
        return None
    verb = next((index for index in (1, 2) if len(rest) > index and rest[index] in _VERBS), 0)
    name, tail = "/".join(rest[: verb or 2]), rest[verb:] if verb else rest[2:]
    if id_problem(name) or (tail and not verb):
        return None
    revision = tail[1] if len(tail) > 1 and tail[0] in ("tree", "blob", "resolve", "raw", "blame", "commits", "commit") else "main"
    if revision == "refs" and tail[2:3] in (["pr"], ["convert"]) and len(tail) > 3:
        revision, tail = "/".join(tail[1:4]), [*tail[:2], *tail[4:]]
    file = "/".join(tail[2:]) if tail and tail[0] in ("blob", "resolve", "raw", "blame") else ""
    return _target(name.partition("@")[0], revision, environment, repository_type, (redact.plain(file),) if file else ())
