"""The way through a proxy: CONNECT (RFC 9110 §9.3.6), TLS to the proxy itself, SOCKS 4 and 5 (RFC 1928, 1929).

Credentials are sent once: a proxy that refuses them is remembered, so that no second thread repeats a wrong password.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from diagnostics import redact
from diagnostics.case import Header, Response, Route, Tunnel
from diagnostics.facts.routes import WEB_SERVER_STATUSES, authority, has_proxy_fields
from diagnostics.probes import http, tls
from diagnostics.probes.budget import Deadline, OpenSockets
from diagnostics.redact import Secrets

TUNNEL_SECONDS = 8.0
TLS_SECONDS = 3.0  # with the proxy itself: a plain one waits for the end of what it takes for a header
GREETING_SECONDS = 3.0  # of SOCKS: nobody has to be reached for it
RELAY_SECONDS = 0.2
HEAD_BYTES = 65536
_SOCKS5_REPLIES = {
    1: "general failure",
    2: "not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


@dataclass
class Verdicts:
    """What each proxy said of the credentials it was shown. One thread at a time shows them to a proxy that has not spoken yet."""

    refused: dict[str, Tunnel | Response] = field(default_factory=dict)  # by proxy and login; a Response is to a request in absolute form
    accepted: set[str] = field(default_factory=set)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def showing(self, proxy: str, login: str) -> Iterator[Tunnel | Response | None]:
        """What the proxy said of this login before, alone with it where it has not spoken yet; None where it may be shown."""
        key = f"{proxy} {login}"
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        if not login or key in self.accepted:
            yield None
            return
        with lock:
            yield self.refused.get(key)

    def note(self, proxy: str, login: str, answer: Tunnel | Response) -> None:
        """Remember what the proxy said of the login."""
        if login and answer.status == 407:
            self.refused[f"{proxy} {login}"] = answer
        elif login and isinstance(answer.status, int):
            self.accepted.add(f"{proxy} {login}")


def credentials(address: str) -> tuple[str, str]:
    """User and password of a proxy URL, percent-decoded; empty where there are none."""
    userinfo, at, _ = address.split("://", 1)[-1].rpartition("@")
    user, _, password = userinfo.partition(":")
    return (unquote(user), unquote(password)) if at else ("", "")


def authorization(address: str) -> str:
    """The value of Proxy-Authorization (RFC 7617), or ""."""
    user, password = credentials(address)
    return "Basic " + base64.b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode() if user or password else ""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """What is asked of a proxy: a way to ``host:port``. ``address`` is the proxy's URL with its credentials."""

    route: Route
    address: str = field(repr=False)
    host: str
    port: int
    absolute: bool = False  # no tunnel: the request goes to the proxy itself, in absolute form
    store: tls.Store  # for TLS with the proxy itself
    deadline: Deadline
    sockets: OpenSockets
    secrets: Secrets

    @property
    def proxy(self) -> str:
        return authority(self.route.host, self.route.port)


def open_tunnel(sock: socket.socket, passage: Passage, verdicts: Verdicts) -> tuple[Tunnel, socket.socket | None]:
    """Through the proxy at the other end of ``sock``; the socket that comes back leads to the host."""
    login = authorization(passage.address) if passage.route.credentials else ""
    with verdicts.showing(passage.proxy, login) as before:
        if isinstance(before, Tunnel):
            passage.sockets.discard(sock)
            return before, None
        socks = passage.route.scheme.startswith("socks")
        tunnel, inner = _closing(_socks(sock, passage), sock, passage) if socks else _http_tunnel(sock, passage, login)
        verdicts.note(passage.proxy, login, replace(tunnel, status=200) if socks and tunnel.outcome == "open" else tunnel)
    return tunnel, inner


def _closing(tunnel: Tunnel, sock: socket.socket, passage: Passage) -> tuple[Tunnel, socket.socket | None]:
    if tunnel.outcome == "open":
        return tunnel, sock
    passage.sockets.discard(sock)
    return tunnel, None


def _http_tunnel(sock: socket.socket, passage: Passage, login: str) -> tuple[Tunnel, socket.socket | None]:
    started = time.monotonic()
    secure = passage.route.scheme == "https"
    blank = Tunnel(proxy=passage.proxy, protocol="https" if secure else "http", outcome="silent", credentials_sent=bool(login))
    if secure:
        hurried = Deadline(passage.deadline.within(TLS_SECONDS))
        shaken, channel = tls.handshake(sock, passage.route.host, passage.store, hurried, passage.sockets)
        if channel is None:
            message = passage.secrets.clean(f"TLS to the proxy itself: {shaken.outcome} ({shaken.message})")
            return replace(
                blank, outcome="tls_failed", reason=shaken.outcome, credentials_sent=False, message=message, seconds=time.monotonic() - started
            ), None
        sock = relayed(channel.sock, passage.sockets)
    if passage.absolute:
        return replace(blank, outcome="open", credentials_sent=False, seconds=time.monotonic() - started), sock
    tunnel = replace(_connect(sock, passage, login, blank), seconds=time.monotonic() - started)
    return _closing(tunnel, sock, passage)


def relayed(secure: ssl.SSLSocket, sockets: OpenSockets) -> socket.socket:
    """A plain socket in place of an encrypted one: the ssl module begins no TLS within TLS on a socket that it already wraps."""
    near, far = socket.socketpair()
    sockets.add(near)
    threading.Thread(target=_relay, args=(secure, far, sockets), name="diagnose-relay", daemon=True).start()
    return near


def _relay(secure: ssl.SSLSocket, far: socket.socket, sockets: OpenSockets) -> None:
    """Bytes both ways until either side ends. One thread for both: an SSL object may not be used by two."""
    far.settimeout(TUNNEL_SECONDS)
    try:
        while True:
            ready = [secure] if secure.pending() else select.select([secure, far], [], [], RELAY_SECONDS)[0]
            for sock in ready:
                piece = _decrypted(secure) if sock is secure else sock.recv(http.PIECE)
                if piece == b"":
                    return
                if piece:
                    secure.settimeout(TUNNEL_SECONDS)
                    (far if sock is secure else secure).sendall(piece)
    except (OSError, ValueError):  # ValueError: closed meanwhile
        return
    finally:
        far.close()
        sockets.discard(secure)


def _decrypted(secure: ssl.SSLSocket) -> bytes | None:
    """What has come; None where that was a record without content (a session ticket)."""
    secure.setblocking(False)
    try:
        return secure.recv(http.PIECE)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def _connect(sock: socket.socket, passage: Passage, login: str, blank: Tunnel) -> Tunnel:
    """CONNECT and its answer; of a refusal also the page's title, which often says who refuses."""
    host, port = passage.host, passage.port
    authority = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"User-Agent: {http.USER_AGENT}"]
    lines += [f"Proxy-Authorization: {login}"] if login else []
    end = time.monotonic() + passage.deadline.within(TUNNEL_SECONDS)
    try:
        sock.settimeout(max(0.01, end - time.monotonic()))
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace"))
        data = _read_head(sock, end)
    except TimeoutError:
        return blank
    except OSError as error:
        return replace(blank, outcome="reset", message=passage.secrets.clean(str(error)))
    return _answer(data, sock, blank, passage.secrets) if data else replace(blank, outcome="closed")


def _read_head(sock: socket.socket, end: float) -> bytes:
    """Up to the end of the header; what came where the peer closed earlier or says no HTTP."""
    data = b""
    while b"\r\n\r\n" not in data and b"\n\n" not in data and len(data) < HEAD_BYTES:
        sock.settimeout(max(0.01, end - time.monotonic()))
        try:
            piece = sock.recv(1) if data.startswith(b"HTTP/") else sock.recv(5)  # not a byte beyond the header: TLS begins there
        except TimeoutError:
            if data:
                break
            raise
        if not piece:
            break
        data += piece
        if len(data) >= 5 and not data.startswith(b"HTTP/"):
            sock.settimeout(0.3)
            try:
                return data + sock.recv(400)
            except OSError:
                return data
    return data


def _answer(data: bytes, sock: socket.socket, blank: Tunnel, secrets: Secrets) -> Tunnel:
    parsed = http.parse_head(data)
    if parsed is None:
        return replace(blank, outcome="not_http", first_bytes=secrets.clean(data[:4096], 80))
    status, reason, pairs = parsed
    page = b"" if 200 <= status < 300 else _page(sock)
    headers = secrets.headers(pairs)
    return replace(
        blank,
        outcome="open" if 200 <= status < 300 else "refused",
        status=status,
        reason=secrets.clean(reason, 80),
        headers=headers,
        schemes=auth_schemes(headers),
        title=secrets.clean(http.title(page), 160),
        first_bytes=secrets.clean(page[:4096], 120),
    )


def _page(sock: socket.socket, limit: int = 8192) -> bytes:
    data, end = b"", time.monotonic() + 0.8
    try:
        while len(data) < limit and b"</title>" not in data.lower() and time.monotonic() < end:
            sock.settimeout(max(0.01, end - time.monotonic()))
            piece = sock.recv(2048)
            if not piece:
                break
            data += piece
    except OSError:
        pass
    return data


def auth_schemes(headers: tuple[Header, ...]) -> tuple[str, ...]:
    """Scheme names of every Proxy-Authenticate challenge (RFC 9110 §11.6.1)."""
    values = (header.value for header in headers if header.name == "proxy-authenticate")
    found = [word for value in values for part in value.split(",") if (word := part.strip().split(" ")[0]) and "=" not in word]
    return tuple(dict.fromkeys(found))


def is_proxy_like(tunnel: Tunnel) -> bool:
    """Whether the answer to CONNECT is one that a proxy gives, whatever it says of this host."""
    return isinstance(tunnel.status, int) and (tunnel.status not in WEB_SERVER_STATUSES or has_proxy_fields(tunnel.headers))


def alive(sock: socket.socket, seconds: float = 2.0) -> bool:
    """Whether what listens there answers HTTP at all: a question about itself, to no other host."""
    try:
        sock.settimeout(seconds)
        sock.sendall(b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n")
        return sock.recv(16).startswith(b"HTTP/")
    except OSError:
        return False


# --- SOCKS -------------------------------------------------------------------------------------------------------------------


def _socks(sock: socket.socket, passage: Passage) -> Tunnel:
    started = time.monotonic()
    old = passage.route.scheme.startswith("socks4")
    blank = Tunnel(proxy=passage.proxy, protocol="socks4" if old else "socks5", outcome="silent", credentials_sent=not old and passage.route.credentials)
    sock.settimeout(passage.deadline.within(TUNNEL_SECONDS if old else GREETING_SECONDS))
    try:
        tunnel = (_socks4 if old else _socks5)(sock, credentials(passage.address), passage.host, passage.port, blank)
    except TimeoutError:
        tunnel = blank
    except ConnectionError as error:
        tunnel = replace(blank, outcome="reset", message=passage.secrets.clean(str(error)))
    except EOFError:
        tunnel = replace(blank, outcome="closed")
    except (OSError, UnicodeError) as error:
        tunnel = replace(blank, outcome="refused", message=passage.secrets.clean(str(error)))
    return replace(tunnel, seconds=time.monotonic() - started)


def _socks5(sock: socket.socket, login: tuple[str, str], host: str, port: int, blank: Tunnel) -> Tunnel:
    """RFC 1928 with the name resolved by the proxy (socks5h). ``status`` is the reply; a refused login counts as HTTP's 407."""
    methods = b"\x00\x02" if any(login) else b"\x00"
    sock.sendall(bytes((5, len(methods))) + methods)
    answer = _take(sock, 2)
    if answer[0] != 5:
        return replace(blank, outcome="not_http", first_bytes=redact.Secrets().clean(answer))
    sock.settimeout(TUNNEL_SECONDS)
    if answer[1] == 2:
        user, password = (part.encode()[:255] for part in login)
        sock.sendall(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if _take(sock, 2)[1]:
            return replace(blank, outcome="refused", status=407, message="the SOCKS proxy refused the user name or password")
    elif answer[1]:
        return replace(blank, outcome="refused", status=407, message="the SOCKS proxy wants an authentication that was not offered")
    name = host.strip("[]").encode("idna")
    sock.sendall(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + struct.pack(">H", port))
    _, reply, _, kind = _take(sock, 4)
    _take(sock, {1: 4, 4: 16}.get(kind) or _take(sock, 1)[0])
    _take(sock, 2)
    if reply == 0:
        return replace(blank, outcome="open")
    return replace(blank, outcome="refused", status=reply, message=f"SOCKS reply {reply}: {_SOCKS5_REPLIES.get(reply, 'unknown')}")


def _socks4(sock: socket.socket, login: tuple[str, str], host: str, port: int, blank: Tunnel) -> Tunnel:
    """SOCKS 4A: the name goes along for the proxy to resolve."""
    sock.sendall(b"\x04\x01" + struct.pack(">H", port) + b"\x00\x00\x00\x01" + login[0].encode() + b"\x00" + host.encode("idna") + b"\x00")
    reply = _take(sock, 8)[1]
    return replace(blank, outcome="open") if reply == 90 else replace(blank, outcome="refused", status=reply, message=f"SOCKS 4 reply {reply}")


def _take(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
