"""One HTTP request on a connection that the ladder opened, and a short, bounded read of what comes.

Parsing is ``http.client``'s; the limits are its own (64 KiB a header line, 100 fields). Nothing here follows redirects: a redirect starts the next leg.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import html
import http.client
import re
import socket
import ssl
import time
import zlib
from dataclasses import dataclass, field
from typing import Literal

from diagnostics import __version__
from diagnostics.case import ABSENT, Body, Response, Unseen
from diagnostics.probes.budget import Deadline
from diagnostics.redact import Secrets

USER_AGENT = f"pytest-diagnostics/{__version__}"
ANSWER_SECONDS = 10.0  # as huggingface_hub waits (HF_HUB_ETAG_TIMEOUT)
STALL_SECONDS = 8.0
SAMPLE_SECONDS = 3.0
PIECE = 1 << 16
BodyOutcome = Literal["complete", "sampled", "truncated", "stalled", "reset", "invalid"]
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_JSON = re.compile(rb'\{\s*["}]|\[\s*(?:[\[{"\]\-0-9]|true|false|null)')  # RFC 8259 §2: how an object or array goes on; "[PAD]" is a vocabulary
_HEADING = re.compile(rb"<h1[^>]*>(.*?)</h1", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What to send. ``target`` is origin-form, or absolute-form through a proxy (RFC 9112 §3.2)."""

    method: str
    target: str = field(repr=False)
    host: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How much of a body to read."""

    most_bytes: int
    seconds: float = SAMPLE_SECONDS
    keep: bool = False  # hand the bytes back (a JSON answer)


def request(sock: socket.socket, ask: Ask, deadline: Deadline, secrets: Secrets) -> tuple[Response, http.client.HTTPResponse | None]:
    """Send one request and read the header of the answer."""
    started = time.monotonic()
    connection = http.client.HTTPConnection("unused")
    connection.sock = sock
    sock.settimeout(deadline.within(ANSWER_SECONDS))
    answer = None
    try:
        _send(connection, ask)
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        outcome, message = _broken(error)
        shown = secrets.clean(message)
        seconds = time.monotonic() - started
        return Response(method=ask.method, outcome=outcome, message=shown, first_bytes=shown if outcome == "invalid" else "", seconds=seconds), None
    return describe(ask.method, answer, secrets, time.monotonic() - started), answer


def _send(connection: http.client.HTTPConnection, ask: Ask) -> None:
    connection.putrequest(ask.method, ask.target, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", ask.host)
    connection.putheader("User-Agent", USER_AGENT)
    connection.putheader("Accept", "*/*")
    connection.putheader("Accept-Encoding", "identity")
    for name, value in ask.headers:
        connection.putheader(name, value)
    connection.endheaders()


def _broken(error: Exception) -> tuple[Literal["silent", "closed", "reset", "alert", "invalid"], str]:
    """(Response.outcome, what was seen), by type."""
    if isinstance(error, TimeoutError):
        return "silent", ""
    if isinstance(error, http.client.RemoteDisconnected | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed", "closed without an answer"
    if isinstance(error, ConnectionError):
        return "reset", str(error)
    if isinstance(error, ssl.SSLError):
        return "alert", error.reason or str(error)
    if isinstance(error, http.client.BadStatusLine):
        return "invalid", str(error.args[0]) if error.args else ""
    if isinstance(error, http.client.LineTooLong):
        return "invalid", "a header line of more than 65536 bytes"
    return "invalid", str(error)


def describe(method: str, answer: http.client.HTTPResponse, secrets: Secrets, seconds: float) -> Response:
    """The record of an answer's header."""
    location = answer.headers.get("location", "")
    if location:
        secrets.learn_url(location)
    return Response(
        method=method,
        outcome="answered",
        status=answer.status,
        reason=secrets.clean(answer.reason or "", 80),
        headers=secrets.headers(answer.headers.items()),
        location=secrets.url(location) if location else "",
        length=content_length(answer),
        skew_seconds=skew(answer.headers.get("date", ""), answer.headers.get("age", "")),
        seconds=seconds,
    )


def xet_fields(headers: http.client.HTTPMessage) -> tuple[str, str]:
    """A file's hash in Xet storage and the address of its token, ("", "") where it is not there (huggingface_hub ``utils/_xet.py``)."""
    digest = headers.get("x-xet-hash", "")
    linked = re.search(r"<([^<>\s]{1,2000})>[^,]{0,200}\brel=\"?xet-auth\b", ", ".join(headers.get_all("link", []))[:8000])
    refresh = linked[1] if linked else headers.get("x-xet-refresh-route", "")
    return (digest.lower(), refresh) if refresh and re.fullmatch(r"[0-9a-fA-F]{64}", digest) else ("", "")


def content_length(answer: http.client.HTTPResponse) -> int | Unseen:
    text = (answer.headers.get("content-length") or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else ABSENT


def skew(date: str, age: str = "") -> float | Unseen:
    """Local clock minus the server's, in seconds (RFC 9110 §6.6.1); a cached answer's Date is old by its Age."""
    try:
        moment = email.utils.parsedate_to_datetime(date)
        return time.time() - moment.timestamp() - (int(age) if age.isdigit() else 0)
    except (ValueError, TypeError, OverflowError):
        return ABSENT


class _Content:
    """What comes, as a client unpacks it (RFC 9110 §8.4): its digests, and its beginning."""

    def __init__(self, encoding: str, length: int | Unseen, sample: Sample) -> None:
        self.encoding, self.count, self.kept = encoding, 0, bytearray()
        self._keep, self._most = sample.keep, 4 * sample.most_bytes
        self._decoder = zlib.decompressobj(wbits=47) if encoding in ("gzip", "x-gzip", "deflate") else None  # 47: either header
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % length, usedforsecurity=False) if isinstance(length, int) and not encoding else None

    @property
    def whole(self) -> bool:
        """Whether what came unpacks to something with an end."""
        return self.count <= self._most and (self._decoder is None or self._decoder.eof)

    def take(self, piece: bytes) -> None:
        """Raises zlib.error where it is not what its encoding says. A bomb is unpacked no further than four times the sample."""
        data = self._decoder.decompress(piece, max(1, self._most - self.count + 1)) if self._decoder and self.count <= self._most else piece
        self.count += len(data)
        self._sha256.update(data)
        if self._git:
            self._git.update(data)
        if self._keep or len(self.kept) < 8192:
            self.kept += data

    def digests(self, whole: bool) -> dict[str, str | Unseen]:
        known = whole and self.whole and not (self.encoding and self._decoder is None)
        reason = Unseen("not_asked", "read in part" if not self.encoding else f"sent as {self.encoding}")
        return {"sha256": self._sha256.hexdigest() if known else reason, "git_sha1": self._git.hexdigest() if known and self._git else reason}


def read(answer: http.client.HTTPResponse, sock: socket.socket, sample: Sample, deadline: Deadline, secrets: Secrets) -> tuple[Body, bytes]:
    """A short read: until the end, enough bytes, enough seconds, or silence. Returns the kept bytes too (the first 8 KiB at least)."""
    started, end = time.monotonic(), time.monotonic() + deadline.within(sample.seconds)
    expected = content_length(answer)
    content = _Content(_encoding(answer), expected, sample)
    count, first, message = 0, 0.0, ""
    outcome: BodyOutcome = "sampled"
    quiet, pause = time.monotonic(), 0.0
    while count < sample.most_bytes and time.monotonic() < end:
        with contextlib.suppress(OSError, ValueError):
            sock.settimeout(deadline.within(STALL_SECONDS))
        try:
            piece = answer.read1(min(PIECE, sample.most_bytes - count)) if not answer.chunked else answer.read1(PIECE)
            content.take(piece)
        except (OSError, http.client.HTTPException, ValueError, zlib.error) as error:
            outcome, message = _cut(error)
            break
        if not piece:
            outcome = "truncated" if isinstance(expected, int) and count < expected else "complete"
            break
        now = time.monotonic()
        first, pause, quiet = first or now - started, max(pause, now - quiet if count else 0.0), now
        count += len(piece)
    if outcome == "sampled" and isinstance(expected, int) and count >= expected:
        outcome = "complete"
    seconds = time.monotonic() - started
    head = bytes(content.kept[:8192])
    whole = outcome == "complete" and content.whole
    return Body(
        outcome=outcome,
        bytes=count,
        expected=expected,
        encoding=secrets.clean(content.encoding, 40),
        content_bytes=content.count if whole else Unseen("not_asked", "read in part"),
        content=content_kind(head),
        title=secrets.clean(title(head), 160),
        first_byte_seconds=first if count else ABSENT,
        longest_pause_seconds=pause,
        stalled_seconds=time.monotonic() - quiet if outcome == "stalled" else 0.0,
        bytes_per_second=count / seconds if count and seconds > 0 else ABSENT,
        message=secrets.clean(message),
        seconds=seconds,
        **content.digests(whole),  # type: ignore[arg-type]
    ), bytes(content.kept)


def _encoding(answer: http.client.HTTPResponse) -> str:
    named = (answer.headers.get("content-encoding") or "").strip().lower()
    return "" if named == "identity" else named


def _cut(error: Exception) -> tuple[BodyOutcome, str]:
    if isinstance(error, TimeoutError):
        return "stalled", ""
    if isinstance(error, http.client.IncompleteRead) and _no_chunk(error):
        return "invalid", "something that is no chunk in a chunked answer"
    if isinstance(error, http.client.IncompleteRead | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "truncated", ""
    if isinstance(error, ConnectionError):
        return "reset", str(error)
    if isinstance(error, zlib.error):
        return "invalid", f"content that is not what its Content-Encoding says ({error})"
    return "invalid", f"{type(error).__name__}: {error}"


def _no_chunk(error: http.client.IncompleteRead) -> bool:
    """http.client raises the same for an end and for a chunk size that is no number; the latter in the course of parsing something."""
    parsing = error.__context__
    return isinstance(parsing, ValueError) and not str(parsing).endswith("b''")


def content_kind(head: bytes) -> str:
    """What the first bytes are: ``empty``, ``html``, ``xml``, ``json``, ``lfs-pointer``, ``gzip``, ``text`` or ``binary``."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    lower = text[:512].lower()
    if not head:
        return "empty"
    if lower.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or (b"<html" in lower and lower.startswith((b"<!--", b"<?xml"))):
        return "html"
    if lower.startswith((b"<?xml", b"<error", b"<listbucketresult")):
        return "xml"
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return "lfs-pointer"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if _JSON.match(text):
        return "json"
    return "text" if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head[:512]) else "binary"


def title(page: bytes) -> str:
    """A page's title, or its first heading."""
    match = _TITLE.search(page[:8192]) or _HEADING.search(page[:8192])
    if not match:
        return ""
    text = re.sub(r"<[^>]*>", " ", match[1].decode("utf-8", "replace"))
    return " ".join(html.unescape(text).split())


def parse_head(data: bytes) -> tuple[int, str, list[tuple[str, str]]] | None:
    """Status, reason and fields of an answer's header; None where it is no HTTP (RFC 9112 §4)."""
    lines = data.split(b"\r\n\r\n", 1)[0].replace(b"\r\n", b"\n").split(b"\n")
    match = re.fullmatch(rb"HTTP/\d\.\d\s+(\d{3})(?:\s+(.*))?", lines[0].strip())
    if not match:
        return None
    fields = (line.partition(b":") for line in lines[1:200])
    pairs = [(name.decode("latin-1").strip(), value.decode("latin-1").strip()) for name, colon, value in fields if colon]
    return int(match[1]), (match[2] or b"").decode("latin-1"), pairs
