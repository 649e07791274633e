"""What the hub's client writes into its cache beside the files of a model, and what it takes up again of an earlier download. Bytes, as files hold them.

Read in the sources of huggingface_hub 0.36, 1.0 to 1.26 and 2.4, and held against the real client (tests/functional/test_bytes.py): ``CACHEDIR.TAG`` since 1.9
(``_local_folder.py``), ``trees/<commit>.json`` since 1.22 (``_tree_cache.py`` write_tree_cache), an unfinished ``<etag>.incomplete`` taken up until 1.17
(``file_download.py``, ``resume_size``; from 1.18 on every process begins its own, #4228).
"""

from __future__ import annotations

import json
import os
from typing import Any

from diagnostics.case import ClientUse, Files, Listing, RemoteFile, Target, Unseen
from diagnostics.facts.versions import is_version, satisfies
from diagnostics.probes.cache import size_of
from diagnostics.probes.files import missing_bytes

TAG_BYTES, REF_BYTES = 191, 40


def to_be_written(target: Target, listing: Listing | Unseen, files: Files | Unseen, folder: str) -> int | Unseen:
    """Bytes that fetching what is missing adds to the cache; ``folder`` is the repository's there. 0 where nothing is missing."""
    missing = missing_bytes(listing, files)
    if not isinstance(missing, int) or not missing or not isinstance(listing, Listing) or not folder:
        return missing
    return max(0, missing - _taken_up(target, listing, files, folder)) + _beside(target, listing, folder)


def _version(target: Target) -> str:
    client = target.client
    known = isinstance(client, ClientUse) and client.installed and client.family.startswith("huggingface_hub") and is_version(client.version)
    return client.version if known and isinstance(client, ClientUse) else ""


def _beside(target: Target, listing: Listing, folder: str) -> int:
    version, written = _version(target), 0
    if version and satisfies(version, ">=1.9") and not os.path.exists(os.path.join(os.path.dirname(folder), "CACHEDIR.TAG")):
        written += TAG_BYTES
    if target.revision != listing.commit and not os.path.exists(os.path.join(folder, "refs", target.revision)):
        written += REF_BYTES
    tree = os.path.join(folder, "trees", f"{listing.commit}.json")
    if version and satisfies(version, ">=1.22") and listing.source == "hub" and not os.path.exists(tree):
        written += len(json.dumps({"format_version": 1, "files": {file.path: _entry(file) for file in listing.files}}, indent=1))
    return written


def _entry(file: RemoteFile) -> dict[str, Any]:
    """As long as the client's own entry."""
    size = file.bytes if isinstance(file.bytes, int) else 0
    large = {"lfs_sha256": "0" * 64, "lfs_size": size} if isinstance(file.sha256, str) else {}
    return {"size": size, "blob_id": "0" * 40, **large, **({"xet_hash": "0" * 64} if file.xet else {})}


def _taken_up(target: Target, listing: Listing, files: Files | Unseen, folder: str) -> int:
    """Bytes that an older client need not fetch again."""
    version = _version(target)
    if not version or not satisfies(version, "<1.18"):
        return 0
    here = {seen.path for seen in files.files if isinstance(seen.bytes, int)} if isinstance(files, Files) else set()
    due = [file for file in listing.files if file.path in set(listing.wanted) and file.path not in here and isinstance(file.bytes, int)]
    return sum(min(_begun(folder, file), file.bytes if isinstance(file.bytes, int) else 0) for file in due)


def _begun(folder: str, file: RemoteFile) -> int:
    etag = file.sha256 if isinstance(file.sha256, str) else file.git_sha1
    return (size_of(os.path.join(folder, "blobs", f"{etag}.incomplete")) or 0) if isinstance(etag, str) else 0
