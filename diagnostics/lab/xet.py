"""Xet storage as hf_xet knows it: a hub that points to it, the CAS that says where the pieces are, and the store that holds them.

After the hub's HEAD (X-Xet-Hash, Link rel="xet-auth") the client asks the hub for a token, the CAS for the file's pieces, and the store for those
(huggingface_hub ``utils/_xet.py``; the Xet protocol's own specification, api.md and xorb.md).
"""

from __future__ import annotations

import json
import re
import time

from diagnostics.lab import hub as hubs
from diagnostics.lab.http import App, Pairs, Reply, Request, file, text
from diagnostics.lab.model import ModelFile

CAS, STORE = "cas-server.xethub.hf.co", "transfer.xethub.hf.co"
TOKEN = "xet-LabXetTokenLabXetToken"  # planted: no output may ever show it
CHUNK = 1 << 16
_TOKEN = re.compile(r"/api/(?:models|datasets)/(?P<name>[^/]+/[^/]+)/xet-read-token/(?P<revision>[^/]+)")
_PIECES = re.compile(r"/v1/reconstructions/(?P<hash>[0-9a-f]{64})")


def hub(*repositories: hubs.Repository, cdn: str, cas: str, token: str = hubs.TOKEN) -> App:
    """The hub's application where large files lie in Xet storage. Who does not speak Xet follows the redirect to ``cdn``."""
    inner = hubs.hub(*repositories, cdn=cdn, token=token)
    large = {(repository.name, item.path): item for repository in repositories for item in repository.files if item.large}

    def app(request: Request) -> Reply:
        if _TOKEN.fullmatch(request.path):
            return _granted(cas).with_headers(*hubs.OWN)
        reply = inner(request)
        match = hubs.FILE.fullmatch(request.path)
        item = large.get((match["name"], match["path"])) if match else None
        if match is None or item is None or reply.status != 302:
            return reply
        refresh = f"https://huggingface.co/api/models/{match['name']}/xet-read-token/{match['revision']}"
        return reply.with_headers(("X-Xet-Hash", item.sha256), ("Link", f'<{refresh}>; rel="xet-auth"'))

    return app


def _granted(cas: str) -> Reply:
    """The token that the CAS wants, and where the CAS is: in fields for Python, in JSON for Rust."""
    ends = int(time.time()) + 3600
    fields: Pairs = (("X-Xet-Cas-Url", cas), ("X-Xet-Access-Token", TOKEN), ("X-Xet-Token-Expiration", str(ends)))
    return text(json.dumps({"casUrl": cas, "accessToken": TOKEN, "exp": ends}), content_type="application/json; charset=utf-8", headers=fields)


def cas(*repositories: hubs.Repository, store: str) -> App:
    """Which pieces a file is made of and where they are. The newer endpoint is not known here; the client then asks for the older one."""
    known = {item.sha256: item for repository in repositories for item in repository.files}

    def app(request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return text("unauthorized", 401)
        match = _PIECES.fullmatch(request.path)
        item = known.get(match["hash"]) if match else None
        return text("not found", 404) if item is None else text(json.dumps(_pieces(item, store)), content_type="application/json", headers=hubs.OWN)

    return app


def _pieces(item: ModelFile, store: str) -> dict[str, object]:
    """A file as one xorb, whole."""
    count, packed = (len(item.data) + CHUNK - 1) // CHUNK, len(xorb(item.data))
    whole = {"start": 0, "end": count}
    address = f"{store}/xorb/{item.sha256}?X-Amz-Signature={'c0ffee' * 8}"
    return {
        "offset_into_first_range": 0,
        "terms": [{"hash": item.sha256, "unpacked_length": len(item.data), "range": whole}],
        "fetch_info": {item.sha256: [{"range": whole, "url": address, "url_range": {"start": 0, "end": packed - 1}}]},
    }


def store(*repositories: hubs.Repository) -> App:
    """The host of the pieces, to whoever holds the signed URL."""
    known = {item.sha256: item for repository in repositories for item in repository.files}

    def app(request: Request) -> Reply:
        item = known.get(request.path.rpartition("/")[2])
        return (
            text("denied", 403)
            if item is None or "X-Amz-Signature" not in request.query
            else file(xorb(item.data), item.sha256, headers=(("X-Amz-Cf-Id", "lab"),))
        )

    return app


def xorb(data: bytes) -> bytes:
    """Chunks, each with its header: version, packed length, scheme (0 is none), length (xorb.md)."""
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    return b"".join(b"\0" + len(chunk).to_bytes(3, "little") + b"\0" + len(chunk).to_bytes(3, "little") + chunk for chunk in chunks)
