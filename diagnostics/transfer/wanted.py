"""SPEC → the files that are to be brought, with what is published of them: the hub's listing, a list, URLs, the demo."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

from diagnostics.case import ABSENT, ClientUse, Environment, Listing, Published, RemoteFile, Target, Unseen
from diagnostics.probes.cache import is_inside
from diagnostics.probes.listing import resolve_url
from diagnostics.probes.survey import DEFAULT_ENDPOINT, Survey
from diagnostics.redact import Secrets, plain
from diagnostics.targets.url import file_name
from diagnostics.transfer.records import Access, Wanted

# The digest that proves the most comes first.
STRENGTH = ("sha512", "sha256", "sha1", "git-sha1", "md5", "crc32")


class Unusable(Exception):
    """Why there is nothing to fetch, in one line for who typed it."""


def endpoint_of(secrets: Secrets) -> str:
    return (secrets.endpoint or DEFAULT_ENDPOINT).rstrip("/")


def access_for(target: Target, environment: Environment, secrets: Secrets) -> Access:
    """The way the target's own client would take."""
    client = target.client if isinstance(target.client, ClientUse) else ClientUse(family="requests")
    return Access(environment=environment, secrets=secrets, client=client, endpoint=endpoint_of(secrets) if target.kind == "hub" else "")


def listing_of(target: Target, environment: Environment, secrets: Secrets, seconds: float = 30.0) -> Listing | Unseen:
    """Ask the hub; Unseen where it did not say: a diagnosis tells why."""
    return Survey(target, environment, secrets, wanted=frozenset({"listing"}), budget_seconds=seconds).run().listing


def wanted_of(target: Target, secrets: Secrets, listing: Listing | Unseen) -> tuple[Wanted, ...]:
    """The files that count. Raises Unusable where the SPEC names none that could be fetched."""
    if target.kind == "hub":
        found = _of_hub(target, endpoint_of(secrets), listing) if isinstance(listing, Listing) else ()
    elif target.kind in ("url", "list"):
        found = _of_urls(target, secrets.urls)
    else:
        raise Unusable("give a model's id, a data set's, a URL or a list: there is nothing to be fetched of anything else")
    return _distinct(found)


def _of_hub(target: Target, endpoint: str, listing: Listing) -> tuple[Wanted, ...]:
    counted = set(listing.wanted)
    return tuple(
        Wanted(
            name=file.path,
            url=resolve_url(target, endpoint, listing.commit or target.revision, file.path),
            size=file.bytes,
            digest=published(file),
        )
        for file in listing.files
        if file.path in counted
    )


def published(file: RemoteFile) -> Published | Unseen:
    """The digest that the hub's listing gives."""
    if isinstance(file.sha256, str):
        return Published(path=file.path, algorithm="sha256", value=file.sha256, source="hub listing", bytes=file.bytes)
    if isinstance(file.git_sha1, str):
        return Published(path=file.path, algorithm="git-sha1", value=file.git_sha1, source="hub listing", bytes=file.bytes)
    return ABSENT


def _of_urls(target: Target, urls: tuple[str, ...]) -> tuple[Wanted, ...]:
    listed = {file.url: file for file in target.listed if file.url}
    digests = {item.path: item for item in sorted(target.published, key=lambda item: -STRENGTH.index(item.algorithm))}  # the strongest last
    return tuple(_of_url(url, shown, listed.get(shown), digests.get(shown, ABSENT)) for url, shown in zip(urls, target.urls, strict=True))


def _of_url(url: str, shown: str, file: RemoteFile | None, digest: Published | Unseen) -> Wanted:
    return Wanted(name=file.path if file else file_name(shown), url=url, size=file.bytes if file else ABSENT, digest=digest)


def _distinct(found: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """Raises Unusable for a name that leads out of the folder, or that two files would have."""
    named: dict[str, Wanted] = {}
    for item in found:
        if not is_inside(item.name):
            raise Unusable(f"“{plain(item.name, 80)}” leads out of the folder")
        if item.name in named and named[item.name].url != item.url:
            raise Unusable(f"two of the files would be “{plain(item.name, 80)}”: write a list (.toml) that gives each a path of its own")
        named[item.name] = dataclasses.replace(item)
    return tuple(named.values())


def folder_for(target: Target, to: str) -> Path:
    """Where the files go: where ``--to`` or the list says, one URL into the working folder, and else into a folder of the target's name."""
    if to:
        return Path(os.path.expanduser(to))
    if target.kind == "list" and target.paths:
        return Path(target.paths[0]).expanduser()  # the list's own folder
    if target.kind == "url" and len(target.urls) == 1:
        return Path()
    name = target.name.rstrip("/").rpartition("/")[2]
    return Path(name if is_inside(name) and name not in (".", "") else "fetched")
