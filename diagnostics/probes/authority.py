"""On request (``--diagnose-save-ca``): the certificate of the authority that signs in place of the real one, as a file to compare with what the admin hands out.

Nothing is trusted by it: the file is written, and its fingerprint told. A file that is there is never overwritten.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from diagnostics import redact
from diagnostics.case import Handshake, Journey, Leg, SavedAuthority, Unseen
from diagnostics.facts.routes import authority
from diagnostics.probes import certificates, tls
from diagnostics.probes.leg import Means, Stop, go

SECONDS = 5.0
MOST_FILES = 2000
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.\d{1,2}")
Der = bytes


@dataclass(frozen=True, kw_only=True)
class Found:
    """One certificate, and where it was found."""

    der: Der
    source: Literal["presented", "on this machine"]
    root: bool


def save(path: str, journeys: tuple[Journey, ...], means: Means) -> SavedAuthority | Unseen:
    """Write the best certificate for ``path``: a root that is on this machine or was presented, else the highest intermediate that was presented."""
    leg = next((leg for journey in journeys for leg in journey.legs if isinstance(leg.handshake, Handshake) and leg.handshake.outcome == "untrusted"), None)
    if leg is None:
        return Unseen("absent", "no certificate was met that the client does not trust, so there is none to save")
    chain = presented(leg, means)
    found = next(iter(sorted(_candidates(chain, means), key=lambda item: not item.root)), None)
    if found is None:
        return Unseen("absent", f"{leg.host} presented no certificate but its own: the authority's has to come from the admin")
    text = ssl.DER_cert_to_PEM_cert(found.der)
    host = authority(leg.host, leg.port)
    record = SavedAuthority(
        path=redact.path(path),
        host=host,
        subject=subject_of(found.der),
        fingerprint=hashlib.sha256(found.der).hexdigest(),
        source=found.source,
        root=found.root,
    )
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        return Unseen("unsupported", f"{record.path} was not written: {redact.plain(error.strerror or 'unknown reason')}")
    return record


def _candidates(chain: tuple[Der, ...], means: Means) -> Iterator[Found]:
    """What may be an authority's: of this machine's stores what has the name of the last issuer, then what was presented behind the leaf, from the end."""
    if not chain:
        return
    issuer = _info(chain[-1]).get("issuer", ())
    for store in dict.fromkeys((*means.other_stores, means.store)):
        yield from (Found(der=der, source="on this machine", root=True) for der in roots(store) if _info(der).get("subject", ()) == issuer)
    for der in reversed(chain[1:] if len(chain) > 1 else chain):
        info = _info(der)
        self_issued = bool(info.get("subject")) and info.get("subject") == info.get("issuer")
        if len(chain) > 1 or self_issued:
            yield Found(der=der, source="presented", root=self_issued)


def roots(store: tls.Store) -> list[Der]:
    """The certificates of a store's file, or of the hashed files in its folder, which OpenSSL reads only as needed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    files = [store.cafile] if store.cafile else []
    with contextlib.suppress(OSError):
        names = sorted(os.listdir(store.capath))[:MOST_FILES] if store.capath else []
        files += [os.path.join(store.capath, name) for name in names if _HASHED.fullmatch(name)]
    for path in files:
        with contextlib.suppress(OSError):  # ssl.SSLError is one
            context.load_verify_locations(path)
    return context.get_ca_certs(binary_form=True)


def presented(leg: Leg, means: Means) -> tuple[Der, ...]:
    """The chain as this leg's server sends it, leaf first, over a connection that trusts anybody and is told nothing."""
    host = f"[{leg.host}]" if ":" in leg.host else leg.host
    dial = go(Stop(url=f"https://{host}:{leg.port}/", method="HEAD", with_token=False), means).dial
    sock = dial() if dial else None
    if sock is None:
        return ()
    try:
        sock.settimeout(means.deadline.within(SECONDS))
        wrapped = tls.unverified_context().wrap_socket(sock, server_hostname=leg.host or None)
        means.sockets.replace(sock, wrapped)
    except (OSError, ValueError):
        means.sockets.discard(sock)
        return ()
    try:
        return _chain(wrapped)
    finally:
        means.sockets.discard(wrapped)


def _chain(sock: ssl.SSLSocket) -> tuple[Der, ...]:
    """All of it where this Python tells (``get_unverified_chain`` is private before 3.13); else the leaf."""
    import _ssl

    inner: Any = getattr(sock, "_sslobj", None)
    get_chain = getattr(inner, "get_unverified_chain", None)
    if get_chain is None:
        leaf = sock.getpeercert(binary_form=True)
        return (leaf,) if leaf else ()
    return tuple(item.public_bytes(_ssl.ENCODING_DER) for item in (get_chain() or ())[: certificates.MOST_CERTIFICATES])


def subject_of(der: Der) -> str:
    return certificates.one_line(_info(der).get("subject", ()))


def _info(der: Der) -> dict[str, Any]:
    """Names of a certificate; {} where OpenSSL cannot read it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=der)
    except (ssl.SSLError, ValueError):
        return {}
    known = context.get_ca_certs()
    return dict(known[0]) if known else _info_of_any(der)


def _info_of_any(der: Der) -> dict[str, Any]:
    """``get_ca_certs`` leaves out what is no authority's; a leaf is read by the reader of files."""
    import _ssl
    import tempfile

    with contextlib.suppress(OSError), tempfile.NamedTemporaryFile("w", suffix=".pem", encoding="ascii") as file:
        file.write(ssl.DER_cert_to_PEM_cert(der))
        file.flush()
        decode: Any = getattr(_ssl, "_test_decode_cert", None)
        return dict(decode(file.name)) if decode else {}
    return {}  # no room for it


def refusal(path: str) -> str:
    """Why ``path`` cannot be written to, "" where it can: asked before the look, for nobody wants to hear it after."""
    if os.path.lexists(path):
        return "there is something of that name, and nothing is overwritten"
    folder = os.path.dirname(os.path.abspath(path))
    return "" if os.path.isdir(folder) and os.access(folder, os.W_OK) else f"{redact.path(folder)} is no folder that can be written to"
