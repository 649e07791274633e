"""A hub as huggingface_hub knows it: repositories over the API and ``resolve`` URLs, and the CDN that the bytes of large files come from.

What is answered, and with which header fields, follows ``huggingface_hub`` 0.36 to 2.4 (``hf_api.py``, ``file_download.py``, ``utils/_http.py``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from diagnostics.lab.http import App, Pairs, Reply, Request, file, redirect, text
from diagnostics.lab.model import ModelFile, tiny_bert

NAME = "lab/tiny-bert"
COMMIT = "5f1c0e4a9d7b3c2e8a6f4d1b0c9e8f7a6b5c4d3e"
OWN: Pairs = (("X-Request-Id", "Root=1-lab"), ("X-Powered-By", "lab-hub"))
TOKEN = "hf_LabTokenLabTokenLabTokenLabToken00"  # a planted credential: no output may ever show it
_API = re.compile(r"/api/(models|datasets)/(?P<name>[^/]+/[^/]+|[^/]+?)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?")
FILE = re.compile(r"/(?:datasets/)?(?P<name>[^/]+/[^/]+|[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """One repository with one commit, on ``main``."""

    name: str = NAME
    files: tuple[ModelFile, ...] = ()
    commit: str = COMMIT
    gated: str = ""  # "auto" or "manual": only who has the hub's token gets files
    private: bool = False

    def file(self, path: str) -> ModelFile | None:
        return next((file for file in self.files if file.path == path), None)


def tiny() -> Repository:
    return Repository(files=tiny_bert())


def hub(*repositories: Repository, cdn: str = "", token: str = TOKEN, tree: bool = True) -> App:
    """The hub's application. Large files are redirected to ``cdn`` where one is named; ``tree`` false is a mirror without that endpoint."""
    known = {repository.name: repository for repository in repositories}

    def app(request: Request) -> Reply:
        return _answer(request, known, cdn, token, tree).with_headers(*OWN)

    return app


def _answer(request: Request, known: dict[str, Repository], cdn: str, token: str, tree: bool) -> Reply:
    sent = request.headers.get("authorization", "")
    if sent and sent != f"Bearer {token}":
        return refusal(401, "", "Invalid credentials in Authorization header")
    if request.path == "/api/whoami-v2":
        return _json({"type": "user", "name": "lab"}) if sent else refusal(401, "", "Invalid username or password.")
    if request.path in ("/api/models", "/api/datasets"):
        return _json([{"id": name} for name in known])
    if match := _API.fullmatch(request.path):
        return _api(match, known, bool(sent), tree)
    if match := FILE.fullmatch(request.path):
        return _file(match, known, bool(sent), cdn)
    return refusal(404, "", "Sorry, we can't find the page you are looking for.")


def refusal(status: int, code: str, message: str) -> Reply:
    """What the hub says when it says no, in its own header fields."""
    fields: Pairs = (("X-Error-Code", code),) if code else ()
    return text(json.dumps({"error": message}), status, "application/json; charset=utf-8", (*fields, ("X-Error-Message", message)))


def _json(value: object) -> Reply:
    return text(json.dumps(value), content_type="application/json; charset=utf-8")


def _found(match: re.Match[str], known: dict[str, Repository], known_account: bool, for_file: bool) -> Repository | Reply:
    """The repository that is asked for, or the refusal: what does not exist and what may not be seen are told apart by nobody."""
    repository = known.get(match["name"])
    if repository is None or (repository.private and not known_account):
        return refusal(404 if known_account else 401, "RepoNotFound", "Repository not found")
    if match["revision"] not in (None, "main", repository.commit):
        return refusal(404, "RevisionNotFound", f"Invalid rev id: {match['revision']}")
    if for_file and repository.gated and not known_account:
        return refusal(401, "GatedRepo", f"Access to model {repository.name} is restricted. You must have access to it and be authenticated to access it.")
    return repository


def _api(match: re.Match[str], known: dict[str, Repository], known_account: bool, tree: bool) -> Reply:
    repository = _found(match, known, known_account, for_file=False)
    if isinstance(repository, Reply):
        return repository
    if match["what"] == "tree":
        return _json([_entry(item) for item in repository.files]) if tree else refusal(404, "", "Not found")
    siblings = [{"rfilename": item.path} for item in repository.files]
    about = {"id": repository.name, "modelId": repository.name, "sha": repository.commit, "private": repository.private, "gated": repository.gated or False}
    return _json({**about, "siblings": siblings, "tags": [], "downloads": 0})


def _entry(item: ModelFile) -> dict[str, object]:
    """One file in the tree: git's id for small files, sha256 for those in LFS."""
    pointer = {"lfs": {"oid": item.sha256, "size": len(item.data), "pointerSize": 134}} if item.large else {}
    return {"type": "file", "path": item.path, "size": len(item.data), "oid": item.git_sha1, **pointer}


def _file(match: re.Match[str], known: dict[str, Repository], known_account: bool, cdn: str) -> Reply:
    repository = _found(match, known, known_account, for_file=True)
    if isinstance(repository, Reply):
        return repository
    found = repository.file(match["path"])
    commit = ("X-Repo-Commit", repository.commit)
    if found is None:
        return refusal(404, "EntryNotFound", "Entry not found").with_headers(commit)
    if not found.large or not cdn:
        return file(found.data, found.etag, headers=(commit,))
    linked: Pairs = (("X-Linked-Etag", f'"{found.sha256}"'), ("X-Linked-Size", str(len(found.data))), ("ETag", f'"{found.git_sha1}"'), commit)
    return redirect(f"{cdn}/{repository.name}/{found.sha256}?X-Amz-Signature={'c0ffee' * 8}&response-content-disposition={quote(found.path)}", headers=linked)


def cdn(*repositories: Repository) -> App:
    """The host of the bytes: files by their sha256, to whoever holds the signed URL."""
    stored = {item.sha256: item for repository in repositories for item in repository.files}

    def app(request: Request) -> Reply:
        found = stored.get(request.path.rpartition("/")[2])
        if found is None or "X-Amz-Signature" not in request.query:
            return text('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 403, "application/xml", (("X-Amz-Request-Id", "LAB"),))
        return file(found.data, found.sha256, headers=(("X-Amz-Cf-Id", "lab"),))

    return app


# --- applications that go wrong -----------------------------------------------------------------------------------------------

When = Callable[[Request], bool]


def instead(app: App, when: When, reply: Reply) -> App:
    """``app``, but for requests that are answered with ``reply``."""
    return lambda request: reply if when(request) else app(request)


def spoiled(app: App, when: When, spoil: Callable[[Reply], Reply]) -> App:
    """``app``, its reply to some requests spoiled."""
    return lambda request: spoil(app(request)) if when(request) else app(request)


def always(_request: Request) -> bool:
    return True


def of_files(request: Request) -> bool:
    return "/resolve/" in request.path


def of_api(request: Request) -> bool:
    return request.path.startswith("/api/")


def of_file(path: str) -> When:
    return lambda request: request.path.endswith("/" + path) and "/resolve/" in request.path


def by_method(method: str) -> When:
    return lambda request: request.method == method
