"""An HTTP/1.1 server of functions: a request in, a reply out, and the reply may misbehave in every way that is seen in the wild.

Written on a socket and not on http.server, which would repair what is to be broken. RFC 9110, RFC 9112.
"""

from __future__ import annotations

import email.utils
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from diagnostics.lab import tcp

HEAD_BYTES = 65536
PIECE = 16384
Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked. Header names are lower case; ``target`` is as sent."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Percent-decoded; of an absolute-form target only its path."""
        bare = re.sub(r"^[a-z]+://[^/?#]*", "", self.target)
        return unquote(bare.partition("?")[0]) or "/"

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def host(self) -> str:
        return self.headers.get("host", "")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered, and how it goes wrong. Byte counts are of the body as sent."""

    status: int = 200
    reason: str = ""
    headers: Pairs = ()
    body: bytes = b""
    ranges: bool = True  # honour a Range
    claimed: int | None = None  # a Content-Length other than the true one
    chunked: bool = False
    garbage_after: int | None = None  # of a chunked body: then something that is no chunk
    cut_after: int | None = None  # end the connection there
    cut_by_reset: bool = False  # … with a RST
    stall_after: int | None = None  # say nothing more there, connection open
    pause_after: int | None = None  # say nothing there for ``pause_seconds``, and go on
    pause_seconds: float = 0.0
    bytes_per_second: float = 0.0  # 0: as fast as it goes
    wait_seconds: float = 0.0  # before the answer
    silent: bool = False  # no answer, connection open
    dropped: bool = False  # no answer, connection ended
    raw: bytes | None = None  # sent in place of all of this

    def but(self, **changes: object) -> Reply:
        return replace(self, **changes)  # type: ignore[arg-type]

    def with_headers(self, *pairs: tuple[str, str], without: Iterable[str] = ()) -> Reply:
        """With these fields in place of others of their name, and ``without`` some."""
        gone = {name.lower() for name, _ in pairs} | {name.lower() for name in without}
        return replace(self, headers=(*((name, value) for name, value in self.headers if name.lower() not in gone), *pairs))


App = Callable[[Request], Reply]


# --- replies that are often wanted --------------------------------------------------------------------------------------------


def text(body: str, status: int = 200, content_type: str = "text/plain; charset=utf-8", headers: Pairs = ()) -> Reply:
    return Reply(status=status, headers=(("Content-Type", content_type), *headers), body=body.encode())


def page(title: str, words: str = "", status: int = 200, headers: Pairs = ()) -> Reply:
    """An HTML page, as filters, portals and web servers answer with."""
    body = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1><p>{words}</p></body></html>\n"
    return text(body, status, "text/html; charset=utf-8", headers)


def redirect(location: str, status: int = 302, headers: Pairs = ()) -> Reply:
    return Reply(status=status, headers=(("Location", location), *headers))


def file(data: bytes, etag: str = "", content_type: str = "application/octet-stream", headers: Pairs = ()) -> Reply:
    """A file with an ETag, to be fetched whole or in ranges."""
    tag = (("ETag", f'"{etag}"'),) if etag else ()
    return Reply(headers=(("Content-Type", content_type), *tag, *headers), body=data)


def corrupted(data: bytes) -> bytes:
    """As long as ``data``, and one bit in the middle flipped."""
    middle = len(data) // 2
    return data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :]


# --- the server ---------------------------------------------------------------------------------------------------------------


def serving(app: App, visits: list[Request] | None = None, clock_seconds: float = 0.0) -> tcp.Talk:
    """A talk that answers requests with ``app``, one after another on each connection. ``visits`` keeps them; ``clock_seconds`` is how wrong Date is."""

    def talk(sock: socket.socket) -> None:
        rest = b""
        while True:
            request, rest = read_request(sock, rest)
            if request is None:
                return
            if visits is not None:
                visits.append(request)
            if not send(sock, request, app(request), clock_seconds):
                return

    return talk


def read_request(sock: socket.socket, rest: bytes = b"") -> tuple[Request | None, bytes]:
    """The next request, and what came behind it. None where the client ended or sent what is no HTTP."""
    data = rest
    while b"\r\n\r\n" not in data:
        piece = sock.recv(PIECE) if len(data) < HEAD_BYTES else b""
        if not piece:
            return None, b""
        data += piece
    head, _, data = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3:
        return None, b""
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    length = int(headers.get("content-length", "0"))
    while len(data) < length and (piece := sock.recv(PIECE)):
        data += piece
    return Request(method=words[0], target=words[1], headers=headers, body=data[:length]), data[length:]


def send(sock: socket.socket, request: Request, reply: Reply, clock_seconds: float = 0.0) -> bool:
    """Send the reply; True where the connection may be used again."""
    time.sleep(reply.wait_seconds)
    if reply.silent:
        tcp.stay_silent(sock)
        return False
    if reply.dropped:
        return _cut(sock, reply)
    if reply.raw is not None:
        sock.sendall(reply.raw)
        return False
    reply = _ranged(request, reply) if reply.ranges else reply
    sock.sendall(_head(reply if _keeps(request) else _closing(reply), clock_seconds))
    if request.method == "HEAD" or reply.status in (204, 304):
        return _keeps(request)
    return _send_body(sock, reply) and _keeps(request)


def _closing(reply: Reply) -> Reply:
    """As it is said where the connection ends with the answer (RFC 9112 §9.6): else a client asks on it again."""
    return reply if any(name.lower() == "connection" for name, _ in reply.headers) else reply.with_headers(("Connection", "close"))


def _keeps(request: Request) -> bool:
    return request.headers.get("connection", "").lower() != "close"


def _cut(sock: socket.socket, reply: Reply) -> bool:
    if reply.cut_by_reset:
        time.sleep(0.0 if reply.dropped else 0.1)  # a reset overtakes what the other side has not read yet
        tcp.reset(sock)
    return False


def _ranged(request: Request, reply: Reply) -> Reply:
    """The part that a Range asks for (RFC 9110 §14): one range of a 200; If-Range is honoured."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if reply.status != 200:
        return reply
    reply = reply.with_headers(("Accept-Ranges", "bytes"))
    tag = next((value for name, value in reply.headers if name == "ETag"), "")
    if not match or not any(match.groups()) or request.headers.get("if-range", tag) != tag:
        return reply
    size = len(reply.body)
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if first > last:
        return reply.but(status=416, body=b"").with_headers(("Content-Range", f"bytes */{size}"))
    return reply.but(status=206, body=reply.body[first : last + 1]).with_headers(("Content-Range", f"bytes {first}-{last}/{size}"))


def _head(reply: Reply, clock_seconds: float) -> bytes:
    own = {name.lower() for name, _ in reply.headers}
    pairs = list(reply.headers)
    if "date" not in own:
        pairs.append(("Date", email.utils.formatdate(time.time() + clock_seconds, usegmt=True)))
    if reply.chunked:
        pairs.append(("Transfer-Encoding", "chunked"))
    elif "content-length" not in own and reply.status not in (204, 304):
        pairs.append(("Content-Length", str(len(reply.body) if reply.claimed is None else reply.claimed)))
    lines = [f"HTTP/1.1 {reply.status} {reply.reason or _phrase(reply.status)}", *(f"{name}: {value}" for name, value in pairs)]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _send_body(sock: socket.socket, reply: Reply) -> bool:
    """True where all of it went out as announced."""
    sent = 0
    limits = [limit for limit in (reply.cut_after, reply.stall_after, reply.garbage_after) if limit is not None]
    body = reply.body[: min(limits)] if limits else reply.body
    for piece in _pieces(body, reply.bytes_per_second):
        if reply.pause_after is not None and sent <= reply.pause_after < sent + len(piece):
            time.sleep(reply.pause_seconds)
        sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if reply.chunked else piece)
        sent += len(piece)
    if reply.stall_after is not None:
        tcp.stay_silent(sock)
        return False
    if reply.cut_after is not None:
        return _cut(sock, reply)
    if reply.garbage_after is not None:
        sock.sendall(b"this is no chunk\r\n")
        return False
    if reply.chunked:
        sock.sendall(b"0\r\n\r\n")
    return reply.claimed in (None, sent)


def _pieces(body: bytes, bytes_per_second: float) -> Iterator[bytes]:
    """The body in pieces; throttled, ten a second."""
    step = max(1, int(bytes_per_second / 10)) if bytes_per_second else PIECE
    for start in range(0, len(body), step):
        piece = body[start : start + step]
        yield piece
        if bytes_per_second:
            time.sleep(len(piece) / bytes_per_second)
