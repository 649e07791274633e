"""TLS, as the client that will download does it: its trust store, its strictness; then the chain, and what other stores say of it.

A failed handshake is repeated without verification to read the chain and the server's clock; nothing secret goes over that connection.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from diagnostics.case import Certificate, Handshake, StoreVerdict
from diagnostics.probes import certificates
from diagnostics.probes.budget import Deadline, OpenSockets, together
from diagnostics.redact import path as shown_path
from diagnostics.redact import plain

HANDSHAKE_SECONDS = 8.0
VERDICT_SECONDS = 4.0
MOST_FILES = 2000  # of a folder of certificates
_ALERT, _HANDSHAKE = 21, 22  # content types, RFC 8446 §5.1
_CERTIFICATE_REQUEST = 13
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "BAD_RECORD_TYPE",
    "RECORD_LAYER_FAILURE",
    "BAD_LEGACY_VERSION",
    "LENGTH_MISMATCH",
}
Outcome = Literal["accepted", "untrusted", "alert", "closed", "reset", "silent", "not_tls", "store_unusable", "error"]
Dial = Callable[[], socket.socket | None]  # a fresh connection to the same server, by the same route


@dataclass(frozen=True, kw_only=True)
class Store:
    """A set of trusted roots and how strictly a chain is held to it."""

    name: str  # "certifi", "operating system", or the variable that names it
    cafile: str = ""
    capath: str = ""
    bundle: str = ""  # a file with the same roots as ``capath``
    strict: bool = False  # VERIFY_X509_STRICT, as create_default_context sets from Python 3.13 on
    silently_empty: bool = False  # this client goes on without the roots of a path that is unusable
    unhashed: bool = False  # every file of the folder counts, whatever its name (rustls, Go)
    common_name: bool = True  # a certificate without alternative names counts for the name in its subject
    anybody: bool = False  # for looking only: no credential goes through it


@dataclass
class _Overheard:
    """What OpenSSL's message callback tells: alerts with their numbers, and whether a client certificate was asked for."""

    alert: int = -1
    alert_from: str = ""
    certificate_requested: bool = False
    server_spoke: bool = False

    def __call__(self, _conn: Any, direction: str, _version: Any, content: Any, message: Any, _data: bytes) -> None:
        incoming = direction == "read"
        if incoming:
            self.server_spoke = True
        if content == _ALERT and message != 0:
            self.alert, self.alert_from = int(message), "server" if incoming else "us"
        if content == _HANDSHAKE and incoming and message == _CERTIFICATE_REQUEST:
            self.certificate_requested = True


@dataclass(frozen=True, kw_only=True)
class Channel:
    """An encrypted connection, and what may still be overheard on it."""

    sock: ssl.SSLSocket
    overheard: _Overheard = field(default_factory=_Overheard)


def context_for(store: Store) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError included) where the store cannot be loaded."""
    if store.anybody:
        return unverified_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if store.strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0x80000)
    context.hostname_checks_common_name = store.common_name
    for cafile, capath in ((store.cafile, ""), ("", store.capath)):  # one that cannot be read does not take the other away
        if cafile or capath:
            try:
                context.load_verify_locations(cafile or None, capath or None)
            except OSError:
                if not store.silently_empty:
                    raise
    if store.unhashed:
        _load_every_file(context, store.capath)
    return context


def _load_every_file(context: ssl.SSLContext, folders: str) -> None:
    """What a client loads that knows nothing of OpenSSL's hash names."""
    for folder in filter(None, folders.split(os.pathsep)):
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(folder))[:MOST_FILES]:
                with contextlib.suppress(OSError):  # no certificate, or none that may be read
                    context.load_verify_locations(os.path.join(folder, name))


def unverified_context(floor: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """For looking only: no credential is ever sent through it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if floor:
        with contextlib.suppress(ValueError):
            context.minimum_version = floor
    return context


def handshake(sock: socket.socket, host: str, store: Store, deadline: Deadline, sockets: OpenSockets) -> tuple[Handshake, Channel | None]:
    """One verified handshake over ``sock``, which is used up where it fails."""
    started = time.monotonic()
    try:
        context = context_for(store)
    except OSError as error:
        sockets.discard(sock)
        return Handshake(
            outcome="store_unusable", store=store.name, store_file=shown_path(store.cafile), message=plain(str(error)), reason=_reason(error)
        ), None
    overheard = _Overheard()
    outcome, failure, wrapped = _shake(sock, context, host, deadline.within(HANDSHAKE_SECONDS), overheard, sockets)
    holding = shown_path(store.cafile or store.bundle)
    seen = Handshake(
        outcome=outcome, store=store.name, store_file=holding, certificate_requested=overheard.certificate_requested, seconds=time.monotonic() - started
    )
    if wrapped is None:
        sockets.discard(sock)
        return _failed(seen, failure, overheard), None
    cipher = wrapped.cipher()
    seen = replace(seen, version=wrapped.version() or "", cipher=cipher[0] if cipher else "", chain=certificates.presented(wrapped))
    return seen, Channel(sock=wrapped, overheard=overheard)


def _shake(
    sock: socket.socket, context: ssl.SSLContext, host: str, seconds: float, overheard: _Overheard, sockets: OpenSockets
) -> tuple[Outcome, Exception | None, ssl.SSLSocket | None]:
    """(outcome, what went wrong, the encrypted socket)."""
    with contextlib.suppress(AttributeError):
        context._msg_callback = overheard  # type: ignore[attr-defined]  # private since 3.8; without it only the alert's number is unknown
    sock.settimeout(seconds)
    try:
        wrapped = context.wrap_socket(sock, server_hostname=host.strip("[]") or None, do_handshake_on_connect=False)
        sockets.replace(sock, wrapped)
    except (OSError, ValueError) as error:
        return "reset" if isinstance(error, ConnectionError) else "error", error, None
    try:
        wrapped.do_handshake()
    except (OSError, ValueError) as error:
        sockets.discard(wrapped)
        return _outcome(error, overheard), error, None
    return "accepted", None, wrapped


def _outcome(error: Exception, overheard: _Overheard) -> Outcome:
    """The kind of failure, by type, reason and alert."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "untrusted"
    if isinstance(error, TimeoutError):
        return "silent"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed"
    if isinstance(error, ConnectionError):
        return "reset"
    if isinstance(error, ssl.SSLError):
        if overheard.alert >= 0 and overheard.alert_from == "server":
            return "alert"
        if (error.reason or "") in _NOT_TLS:
            return "not_tls"
        return "alert" if overheard.alert >= 0 or overheard.server_spoke else "error"
    return "error"


def _failed(seen: Handshake, error: Exception | None, overheard: _Overheard) -> Handshake:
    """With what OpenSSL says about it."""
    return replace(
        seen,
        code=getattr(error, "verify_code", 0) if isinstance(error, ssl.SSLCertVerificationError) else 0,
        message=plain(getattr(error, "verify_message", "") or str(error)),
        reason=_reason(error),
        alert=alert_name(overheard.alert),
        alert_sent_by="" if overheard.alert < 0 else "server" if overheard.alert_from == "server" else "us",
    )


def _reason(error: BaseException | None) -> str:
    return plain(getattr(error, "reason", None) or "")


def alert_name(number: int) -> str:
    """``handshake_failure`` for 40; "" for none. RFC 8446 §6."""
    if number < 0:
        return ""
    try:
        return ssl.AlertDescription(number).name.removeprefix("ALERT_DESCRIPTION_").lower()
    except ValueError:
        return {116: "certificate_required", 120: "no_application_protocol"}.get(number, f"alert {number}")


# --- why, when it failed ------------------------------------------------------------------------------------------------------


def look(
    dial: Dial, host: str, deadline: Deadline, sockets: OpenSockets, ask_date: Callable[[ssl.SSLSocket], tuple[str, float | None]]
) -> tuple[tuple[Certificate, ...], str, float | None]:
    """The chain, the server's Date and the skew, over a connection that trusts anybody and is told nothing."""
    channel = _open(dial, host, unverified_context(), deadline, sockets)
    if channel is None:
        return (), "", None
    try:
        chain = certificates.presented(channel)
        date, skew = ask_date(channel)
    finally:
        sockets.discard(channel)
    return chain, date, skew


def verdicts(dial: Dial, host: str, stores: tuple[Store, ...], deadline: Deadline, sockets: OpenSockets) -> tuple[StoreVerdict, ...]:
    """What each of ``stores`` says of the same server, asked at once."""
    tasks = {store: (lambda store=store: verdict(dial, host, store, deadline, sockets)) for store in stores}
    found = together(tasks, deadline.within(VERDICT_SECONDS))
    return tuple(found[store] for store in stores if store in found)


def verdict(dial: Dial, host: str, store: Store, deadline: Deadline, sockets: OpenSockets, extra: str = "") -> StoreVerdict:
    """One store's word; ``extra`` is PEM text of a certificate to add to it."""
    seen = StoreVerdict(store=store.name, path=shown_path(store.cafile or store.capath), strict=store.strict, accepted=False, code=-1)
    try:
        context = context_for(store)
        if extra:
            context.load_verify_locations(cadata=extra)
    except (OSError, ValueError) as error:
        return replace(seen, message=plain(str(error)))
    sock = dial()
    if sock is None:
        return replace(seen, message="no second connection")
    outcome, failure, wrapped = _shake(sock, context, host, deadline.within(VERDICT_SECONDS), _Overheard(), sockets)
    sockets.discard(wrapped or sock)
    if outcome == "accepted":
        return replace(seen, accepted=True, code=0)
    return replace(seen, code=getattr(failure, "verify_code", -1), message=plain(getattr(failure, "verify_message", "") or str(failure)))


def _open(dial: Dial, host: str, context: ssl.SSLContext, deadline: Deadline, sockets: OpenSockets) -> ssl.SSLSocket | None:
    sock = dial()
    if sock is None:
        return None
    _, _, wrapped = _shake(sock, context, host, deadline.within(VERDICT_SECONDS), _Overheard(), sockets)
    if wrapped is None:
        sockets.discard(sock)
    return wrapped


def versions_that_work(dial: Dial, host: str, deadline: Deadline, sockets: OpenSockets) -> tuple[str, ...]:
    """Protocol versions the server agrees to when old ones and weak ciphers are allowed."""
    tasks = {
        version.name: (lambda version=version: _speaks(dial, host, version, deadline, sockets))
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    }
    found = together(tasks, deadline.within(VERDICT_SECONDS))
    return tuple(name for name in tasks if found.get(name))


def _speaks(dial: Dial, host: str, version: ssl.TLSVersion, deadline: Deadline, sockets: OpenSockets) -> bool:
    context = unverified_context()
    try:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
        context.minimum_version = version
    except ValueError:
        return False
    channel = _open(dial, host, context, deadline, sockets)
    if channel is not None:
        sockets.discard(channel)
    return channel is not None


def works_without_name(dial: Dial, deadline: Deadline, sockets: OpenSockets) -> bool:
    """Whether a handshake that names no host (no SNI, RFC 6066 §3) gets further: then something filters by name."""
    channel = _open(dial, "", unverified_context(), deadline, sockets)
    if channel is not None:
        sockets.discard(channel)
    return channel is not None


def speaks_tls(dial: Dial, host: str, deadline: Deadline, sockets: OpenSockets) -> bool:
    """Whether a handshake comes about at all, whoever it is with."""
    channel = _open(dial, host, unverified_context(), deadline, sockets)
    if channel is not None:
        sockets.discard(channel)
    return channel is not None


def works_in_12(dial: Dial, host: str, deadline: Deadline, sockets: OpenSockets) -> bool:
    """Whether a ClientHello without TLS 1.3, and so without its longer key shares, gets through where the usual one does not."""
    context = unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    channel = _open(dial, host, context, deadline, sockets)
    if channel is not None:
        sockets.discard(channel)
    return channel is not None


def plain_service(words: bytes) -> bool:
    """Whether what a port says unasked, or to plain HTTP, shows that it speaks no TLS at all. A 400 does not: TLS servers answer plain HTTP so."""
    if words[:5].upper() == b"HTTP/":
        return words[8:13].strip()[:3] != b"400"
    return bool(words) and words[0] not in (20, 21, 22, 23)


def cut_unprompted(dial: Dial, sockets: OpenSockets, seconds: float = 0.7) -> bool:
    """Whether the other side ends a connection on which nothing was said."""
    sock = dial()
    if sock is None:
        return True
    sock.settimeout(seconds)
    try:
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        sockets.discard(sock)


def first_words(dial: Dial, host: str, sockets: OpenSockets, seconds: float = 1.5) -> bytes:
    """What a server that does not speak TLS says: unasked (SSH, SMTP) or to a plain HTTP request."""
    sock = dial()
    if sock is None:
        return b""
    try:
        sock.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            if banner := sock.recv(400):
                return banner
        sock.settimeout(seconds)
        sock.sendall(b"HEAD / HTTP/1.1\r\nHost: " + host.encode("ascii", "ignore") + b"\r\nConnection: close\r\n\r\n")
        return sock.recv(400)
    except (OSError, UnicodeError):
        return b""
    finally:
        sockets.discard(sock)
