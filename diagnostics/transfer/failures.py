"""What went wrong on the way, as data: by type, errno, verify code and status; by text only where nothing else is there. Which of it may pass."""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from http import HTTPStatus

import requests
import urllib3

from diagnostics.case import ABSENT
from diagnostics.redact import Secrets
from diagnostics.transfer.records import Failure, Reason

# RFC 9110 §15: what a server says of itself or of the moment; 501 and 505 say that it never will.
PASSING_STATUSES = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Where nobody was ever met, these are no accident; after an answer they are a restart or a route that flaps.
NOBODY_THERE = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")  # http.client has no other word for it


def of(error: BaseException, secrets: Secrets, host: str = "", url: str = "") -> Failure:
    """A failure of the network from the exception that requests, urllib3, http.client or the socket raised."""
    chain = list(_chain(error))
    root = next((item for item in chain if isinstance(item, OSError) and not isinstance(item, requests.RequestException)), chain[-1])
    tunnel = next((match for item in chain if (match := _TUNNEL.search(str(item)))), None)
    status = int(tunnel[1]) if tunnel else ABSENT
    kind: tuple[Reason, bool] = ("proxy", status in PASSING_STATUSES) if isinstance(status, int) else _kind(chain, root)
    number = getattr(root, "verify_code", None) if isinstance(root, ssl.SSLCertVerificationError) else root.errno if isinstance(root, OSError) else None
    return Failure(
        reason=kind[0],
        detail=secrets.clean(str(root), 200),
        status=status,
        errno=number if isinstance(number, int) else ABSENT,
        exception=type(root).__name__,
        host=host,
        url=secrets.url(url) if url else "",
        passing=kind[1],
    )


def _kind(chain: list[BaseException], root: BaseException) -> tuple[Reason, bool]:
    """(what it is, whether it may pass)."""
    if "CA certificate bundle" in str(root):  # requests' own check of the path (adapters.py cert_verify)
        return "certificate", False
    match root:
        case ssl.SSLCertVerificationError():
            return "certificate", False
        case ssl.SSLError():
            return "tls", isinstance(root, ssl.SSLEOFError | ssl.SSLZeroReturnError)
        case socket.gaierror():
            return "name", root.errno == socket.EAI_AGAIN
        case TimeoutError():
            return "timed-out", True
        case OSError() if not isinstance(root, requests.RequestException):
            return "proxy" if _by_proxy(chain) else "connection", True
    if any(isinstance(item, urllib3.exceptions.TimeoutError | requests.Timeout) for item in chain):
        return "timed-out", True
    if any(isinstance(item, http.client.IncompleteRead) for item in chain):
        return "cut", True
    return ("proxy" if _by_proxy(chain) else "answer-invalid"), False


def _by_proxy(chain: list[BaseException]) -> bool:
    kinds = requests.exceptions.ProxyError | requests.exceptions.InvalidProxyURL | urllib3.exceptions.ProxyError
    return any(isinstance(item, kinds) for item in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and what it was made of: causes, contexts, ``reason`` of urllib3, arguments of requests."""
    waiting: list[BaseException] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < 20:
        item = waiting.pop(0)
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        parts = (getattr(item, "reason", None), *item.args, item.__cause__, item.__context__)
        waiting += [part for part in parts if isinstance(part, BaseException)]


def of_status(status: int, secrets: Secrets, host: str, url: str, wait_seconds: float = 0.0) -> Failure:
    """An answer that is no content."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    return Failure(
        reason="status",
        status=status,
        detail=f"{status} {phrase}".strip(),
        host=host,
        url=secrets.url(url),
        passing=status in PASSING_STATUSES,
        wait_seconds=wait_seconds,
    )


def of_disk(error: OSError, path: str) -> Failure:
    """The file system's refusal. ``path`` is for reading."""
    full = error.errno in FULL
    return Failure(
        reason="no-space" if full else "disk", errno=error.errno or ABSENT, exception=type(error).__name__, detail=f"{error.strerror or error}: {path}"
    )
