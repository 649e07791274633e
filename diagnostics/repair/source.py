"""Where whole files come from, looked at: the target's own repository, the one a snapshot is of, or what the user named (a repository, a list, URLs)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from diagnostics.case import ABSENT, Case, Diagnosis, Files, Judgement, Listing, RemoteFile, Target, record
from diagnostics.probes import cache
from diagnostics.probes.listing import resolve_url
from diagnostics.probes.survey import DEFAULT_ENDPOINT, Survey, prepare
from diagnostics.redact import Secrets, plain
from diagnostics.repair.clone import hub_clone
from diagnostics.repair.place import Place
from diagnostics.repair.plan import SNAPSHOT, Source, is_pointer, own_source

Judge = Callable[[Case], Judgement]


@record
class Found:
    """A source and the way to it."""

    source: Source
    target: Target
    secrets: Secrets
    endpoint: str = ""
    urls: dict[str, str]  # path → URL as it is to be asked, of what is no repository
    way: tuple[Diagnosis, ...] = ()  # what the look at it found

    def url(self, path: str) -> str:
        """Where this file is fetched, signature and all; "" where nobody knows."""
        if self.target.kind != "hub":
            return self.urls.get(path, "")
        return resolve_url(self.target, self.endpoint, self.source.commit or self.target.revision, path)


def place_of(case: Case) -> Place | None:
    """Where this target's files lie; None for one that has no place here."""
    target, files = case.target, case.files
    if not isinstance(files, Files):
        return None
    if target.kind == "hub":
        folder = cache.repository_folder(target, case.environment)
        commit = files.commit
        return Place(kind="cache", folder=folder, entries=os.path.join(folder, "snapshots", commit)) if folder and commit and os.path.isdir(folder) else None
    if target.kind != "directory" or not target.paths:
        return None
    folder = os.path.normpath(cache.real(target.paths[0]))
    if SNAPSHOT.search(folder):
        return Place(kind="cache", folder=os.path.dirname(os.path.dirname(folder)), entries=folder)
    return Place(kind="folder", folder=folder, entries=folder)


def find(case: Case, survey: Survey, named: str, judge: Judge) -> Found | str:
    """The source for this target; a sentence where there is none. ``named`` is what the user named, "" for nothing."""
    if case.target.kind == "hub" and not named:
        source = own_source(case)
        if source is None:
            return "nothing was seen of its files"
        return _found(case, survey, source)
    spec, clone = named or _of_snapshot(case), ""
    if not spec:
        spec = clone = _of_clone(case, survey)
    if not spec:
        return "nobody said where whole files of this folder come from: name it with --diagnose-repair-from ORG/NAME (or a list, or URLs)"
    found = _looked_at(spec, survey, judge)
    return replace(found, source=replace(found.source, pointers_only=True)) if clone and isinstance(found, Found) else found


def _of_snapshot(case: Case) -> str:
    """The repository whose snapshot a folder is, by its path."""
    match = SNAPSHOT.search(os.path.normpath(cache.real(case.target.paths[0]))) if case.target.kind == "directory" and case.target.paths else None
    if match is None:
        return ""
    return f"{'hub' if match['kind'] == 'model' else 'dataset'}:{match['name'].replace('--', '/', 1)}@{match['commit']}"


def _of_clone(case: Case, survey: Survey) -> str:
    """The repository and commit that a folder of git-lfs pointers was cloned from, if from the hub that this environment points to; the pointers name the content."""
    files = case.files
    if case.target.kind != "directory" or not isinstance(files, Files) or not any(is_pointer(seen) for seen in files.files):
        return ""
    return hub_clone(cache.real(case.target.paths[0]), urlsplit(survey.secrets.endpoint or DEFAULT_ENDPOINT).hostname or "")


def _looked_at(spec: str, survey: Survey, judge: Judge) -> Found | str:
    """A look at the source alone."""
    shown = plain(spec, 200)
    try:
        look = prepare(
            spec, timeout=survey.budget_seconds, digests="none", python=survey.python, wanted=frozenset({"journeys", "legs", "listing", "resolvers"})
        )
    except ValueError as error:
        return f"{shown}: {plain(str(error))}"
    if look.target.kind not in ("hub", "url", "list"):
        look.stop()
        return f"{look.target.spec} is no repository, list or URL that files could be fetched from"
    if look.target.problem:
        look.stop()
        return f"{look.target.spec}: {look.target.problem.detail or look.target.problem.code}"
    try:
        case = look.run()
    finally:
        look.stop()
    for url in look.secrets.urls:
        survey.secrets.learn_url(url)
    return _found(case, look, _source(case, look), judge(case).diagnoses)


def _found(case: Case, look: Survey, source: Source, way: tuple[Diagnosis, ...] = ()) -> Found:
    urls = {} if case.target.kind == "hub" else {file.path: raw for file, raw in zip(source.files, look.secrets.urls, strict=False)}
    endpoint = (look.secrets.endpoint or DEFAULT_ENDPOINT).rstrip("/")
    return Found(source=source, target=case.target, secrets=look.secrets, endpoint=endpoint, urls=urls, way=way)


def _source(case: Case, look: Survey) -> Source:
    listing = case.listing if isinstance(case.listing, Listing) else Listing(source="hub")
    if case.target.kind == "hub":
        commit = listing.commit
        return Source(name=f"{case.target.name}{f' at {commit[:12]}' if commit else ''}", files=listing.files, wanted=listing.wanted, commit=commit)
    sizes = {item.path: item for item in case.target.published}
    listed = {file.url: file.path for file in case.target.listed if file.url}
    files = tuple(
        RemoteFile(
            path=listed.get(shown) or _file_name(shown),
            bytes=sizes[shown].bytes if shown in sizes else ABSENT,
            sha256=sizes[shown].value if shown in sizes and sizes[shown].algorithm == "sha256" and len(sizes[shown].value) == 64 else ABSENT,
            url=shown,
        )
        for shown in look.target.urls
    )
    return Source(name=case.target.name or case.target.spec, files=files, digests=case.target.published)


def _file_name(url: str) -> str:
    return plain(unquote(urlsplit(url).path.rpartition("/")[2]), 500)
