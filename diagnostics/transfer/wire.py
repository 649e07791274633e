"""One request to its answer, over the redirects: by the environment's proxy and trust store, with credentials only for the host they are for.

On requests' adapter and not on its Session: that follows redirects, reads their bodies, keeps cookies, and asks the environment on its own.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import requests
import requests.adapters
import urllib3

from diagnostics import __version__
from diagnostics.case import ABSENT, Route, Unseen
from diagnostics.facts import clients
from diagnostics.facts.hosts import is_instance_metadata
from diagnostics.probes.leg import REDIRECTS, port_of
from diagnostics.probes.route import route
from diagnostics.probes.stores import client_store
from diagnostics.transfer import failures
from diagnostics.transfer.records import Access, Failure, Limits

MOST_REDIRECTS = 10
WORTH_READING = 64 << 10  # of an answer nobody wants, so that its connection can be used again
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(?:(\d{1,19})-(\d{1,19})|\*)/(?:(\d{1,19})|\*)\s*", re.IGNORECASE)


@dataclass(kw_only=True)
class Answer:
    """An answer whose body is still to be read. ``url`` is where it came from in the end, signature and all."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    url: str = field(repr=False)
    host: str
    redirected: bool
    raw: Any = field(repr=False)

    @property
    def length(self) -> int | Unseen:
        """Content-Length of a body that is not chunked (RFC 9112 §6.3)."""
        text = self.headers.get("content-length", "").split(",")[0].strip()
        chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 and not chunked else ABSENT

    @property
    def content_range(self) -> tuple[int | Unseen, int | Unseen, int | Unseen]:
        """(first, behind the last, of how many) as Content-Range says (RFC 9110 §14.4)."""
        match = _CONTENT_RANGE.fullmatch(self.headers.get("content-range", ""))
        first, last, size = (int(text) if text is not None else ABSENT for text in match.groups()) if match else (ABSENT,) * 3
        return first, last + 1 if isinstance(last, int) else last, size

    @property
    def encoding(self) -> str:
        text = self.headers.get("content-encoding", "").strip().lower()
        return "" if text == "identity" else text

    def read_into(self, view: memoryview) -> int:
        """Bytes of the body into ``view``; 0 at its end. Past urllib3, whose ``read`` copies each of them twice. Raises what ``failures.of`` understands."""
        source = self.raw._fp
        return int(source.readinto(view)) if hasattr(source, "readinto") else self._copied(view)

    def _copied(self, view: memoryview) -> int:
        data = self.raw.read(len(view), decode_content=False)
        view[: len(data)] = data
        return len(data)

    def read_some(self, most: int) -> bytes:
        """What has come by now, at least one byte; b"" at the end."""
        source = self.raw._fp
        data: bytes = source.read1(most) if hasattr(source, "read1") else self.raw.read(most, decode_content=False)
        return data

    @property
    def is_over(self) -> bool:
        """Whether all of the body was read."""
        return bool(self.raw._fp.isclosed())

    def abort(self) -> None:
        """Wake the thread that waits for it (urllib3 2.3 and later; before that its time-out does)."""
        if hasattr(self.raw, "shutdown"):
            with contextlib.suppress(OSError, ValueError):
                self.raw.shutdown()

    def leave(self, whole: bool) -> None:
        """Let the connection be used again after ``whole`` of the body was read; else end it."""
        if whole:
            self.raw.release_conn()
        else:
            self.raw.close()


def _split(url: str) -> SplitResult:
    """Its parts; of an address that is none, no parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


class Wire:
    """The connections of one transfer, shared by its threads."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access, self._limits = access, limits
        self._facts = clients.facts(access.client.family)
        store = client_store(self._facts, access.environment)
        self._verify = store.cafile or store.capath or True
        self._endpoint = _split(access.endpoint or access.secrets.endpoint)
        self._adapter = requests.adapters.HTTPAdapter(pool_connections=32, pool_maxsize=limits.streams, max_retries=0)
        self._learnt: set[str] = set()
        self.secrets = access.secrets

    def close(self) -> None:
        self._adapter.close()

    def ask(self, url: str, headers: Mapping[str, str], pointed_to: bool = False) -> Answer | Failure:
        """GET ``url``, to which a server pointed before where it was ``pointed_to``. Redirects are followed, each by its own route and with its own credentials."""
        following, redirects = url, 0
        while True:
            self._learn(following)
            answer = self._one(following, headers, pointed_to or redirects > 0)
            if isinstance(answer, Failure) or answer.status not in REDIRECTS or not answer.headers.get("location"):
                return answer
            self._drain(answer)
            redirects += 1
            try:
                target = urljoin(following, answer.headers["location"])
                problem = redirect_problem(following, target, redirects)
            except ValueError:
                problem = "it leads to no address"
            if problem:
                return Failure(reason="redirect-refused", detail=problem, host=answer.host, url=self.secrets.url(following), status=answer.status)
            following = target

    def _learn(self, url: str) -> None:
        """Its signature is to be shown nowhere."""
        query = urlsplit(url).query
        if query and query not in self._learnt:
            self._learnt.add(query)
            self.secrets.learn_url(url)

    def _one(self, url: str, headers: Mapping[str, str], pointed_to: bool) -> Answer | Failure:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", port_of(parts)
        except ValueError as error:
            return Failure(reason="name", detail=f"no address: {error}", exception=type(error).__name__)
        way = route(self._facts, self._access.environment, parts.scheme, host, port)
        if way.kind == "unusable":
            return Failure(reason="proxy", detail=way.problem.detail if way.problem else "", host=way.host or host)
        if pointed_to and way.kind == "direct" and (trap := _metadata_address(host, port)):
            return Failure(reason="redirect-refused", detail=f"{host} is {trap}, a cloud's metadata service", host=host)
        try:
            return self._send(parts, headers, way, pointed_to)
        except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            return failures.of(error, self.secrets, host=way.host if way.kind == "proxy" else host, url=url)

    def _send(self, parts: SplitResult, headers: Mapping[str, str], way: Route, pointed_to: bool) -> Answer:
        own = {"User-Agent": f"pytest-diagnostics/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity", **headers}
        if login := self._login(parts, pointed_to):
            own["Authorization"] = login
        asked = requests.Request("GET", _without_login(parts), headers=own).prepare()
        proxies = {parts.scheme: self._proxy(way)} if way.kind == "proxy" else {}
        response = self._adapter.send(
            asked, stream=True, timeout=(self._limits.connect_seconds, self._limits.stall_seconds), verify=self._verify, proxies=proxies
        )
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(status=response.status_code, headers=found, url=parts.geturl(), host=parts.hostname or "", redirected=pointed_to, raw=response.raw)

    def _proxy(self, way: Route) -> str:
        """The proxy's URL as set, with its credentials, and the scheme by which this client takes it."""
        raw = self._access.secrets.proxies.get(way.variable, "").strip(" \t\"'")
        return f"{way.scheme}://{raw.partition('://')[2] if '://' in raw else raw}"

    def _login(self, parts: SplitResult, pointed_to: bool) -> str:
        """What is sent there, and nowhere else: the URL's own login, what ~/.netrc holds for the host (where this client reads it), the token for the hub itself."""
        host = parts.hostname or ""
        if parts.username and not pointed_to:
            return _basic(f"{unquote(parts.username)}:{unquote(parts.password or '')}")
        if self._facts.netrc and host in self._access.secrets.netrc:
            return _basic(self._access.secrets.netrc[host])
        token = self._access.secrets.token if self._is_endpoint(parts) else ""
        return f"Bearer {token}" if token and token.isascii() and token.isprintable() else ""

    def _is_endpoint(self, parts: SplitResult) -> bool:
        """The same scheme, host and port: never another service on that host, never in the clear where it was not."""
        return bool(parts.hostname) and (parts.scheme, parts.hostname, port_of(parts)) == (
            self._endpoint.scheme,
            self._endpoint.hostname,
            port_of(self._endpoint),
        )

    @staticmethod
    def _drain(answer: Answer) -> None:
        """A short body is read, so that its connection can be used again; a long one is not."""
        try:
            left = WORTH_READING if isinstance(answer.length, int) and answer.length <= WORTH_READING else 0
            while left > 0 and (data := answer.read_some(left)):  # of an empty one too: http.client wants its end to be met
                left -= len(data)
            answer.leave(answer.is_over)
        except (OSError, http.client.HTTPException, ValueError):
            answer.leave(False)


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode("utf-8", "surrogateescape")).decode()


def _without_login(parts: SplitResult) -> str:
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def redirect_problem(here: str, there: str, count: int) -> str:
    """Why a redirect is not followed; "" where it is."""
    if count > MOST_REDIRECTS:
        return f"more than {MOST_REDIRECTS} redirects"
    try:
        before, after = urlsplit(here), urlsplit(there)
        host, port = after.hostname or "", port_of(after)
    except ValueError:
        return "it leads to no address"
    if after.scheme not in ("http", "https"):
        return f"it leads to {after.scheme[:20]}:"
    if before.scheme == "https" and after.scheme == "http":
        return f"it leads from https into the clear, to {host}"
    if not re.fullmatch(r"[\w.:%-]{1,253}", host) or port == 0:
        return "it leads to no host"
    return f"it leads to {host}, a cloud's metadata service" if is_instance_metadata(host) else ""


def _metadata_address(host: str, port: int) -> str:
    """The address of a cloud's metadata service that a name stands for, "" for any other; what does not resolve is told by the connection."""
    try:
        found = {str(answer[4][0]) for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return ""
    return next((address for address in sorted(found) if _is_address(address) and is_instance_metadata(address)), "")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
