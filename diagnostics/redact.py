"""Secrets out, control characters out, lengths bounded: the one way in for text we do not control.

Everything that comes from a server, a file or a variable passes through here before it becomes part of a record.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from diagnostics.case import Header

LIMIT = 300
HIDDEN = "***"

# Header fields that tell who answered, why, and what comes; everything else (cookies, signed URLs) stays out.
HEADERS = frozenset(
    [
        "accept-ranges",
        "age",
        "cache-control",
        "cf-cache-status",
        "cf-mitigated",
        "cf-ray",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "last-modified",
        "location",
        "mime-version",
        "proxy-agent",
        "proxy-authenticate",
        "proxy-connection",
        "ratelimit",
        "ratelimit-policy",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "server",
        "transfer-encoding",
        "via",
        "warning",
        "www-authenticate",
        "x-amz-cf-id",
        "x-amz-cf-pop",
        "x-amz-error-code",
        "x-amz-request-id",
        "x-azure-ref",
        "x-block-reason",
        "x-cache",
        "x-error-code",
        "x-error-message",
        "x-fastly-request-id",
        "x-github-request-id",
        "x-goog-hash",
        "x-guploader-uploadid",
        "x-hub-cache",
        "x-linked-etag",
        "x-linked-size",
        "x-ms-error-code",
        "x-ms-request-id",
        "x-powered-by",
        "x-proxy-error",
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-repo-commit",
        "x-request-id",
        "x-served-by",
        "x-squid-error",
        "x-xet-hash",
    ]
)

# C0, C1 and DEL; bidirectional and invisible formatting (RFC 8265's "Cf"); surrogates; line and paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Tokens by their shape (huggingface.co, GitHub, GitLab, AWS, JSON web tokens: RFC 7519), with whatever stands around them: a log escapes, a file is named so.
_TOKENS = re.compile(
    r"\bhf_(?:[A-Za-z0-9]{20,}|(?=[a-z]*[0-9A-Z])[A-Za-z0-9]{8,})\b|hf_(?:oauth|jwt)_[\w.~+/=-]{8,}|hf_(?=[a-z0-9]*[A-Z])[A-Za-z0-9]{30,}"
    r"|api_org_[A-Za-z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|\bsk-[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?"
    r"|(?i:\b(?:bearer|basic|negotiate|ntlm)\s+[A-Za-z0-9._~+/=-]{8,})"
)
# Secrets by their name: assignments, header fields, a line of .netrc, curl's options, a URL that was percent-encoded as a whole.
_NAMED = re.compile(
    r"(\b(?:HF|HUGGING_?FACE|HUGGINGFACEHUB)\w{0,20}_TOKEN=|[A-Z0-9_]{0,40}(?:PASSWORD|PASSWD|SECRET|SECRET_ACCESS_KEY|API_?KEY)=[\"']?"
    r"|(?i:(?<![a-z])(?:password|passwd|secret|api_?key|(?:access|refresh|auth|session)_token)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)"
    r"|(?<![\w?-])(?i:token)=[\"']?(?=[\w.-]{12})|(?i:\blogin\s+\S{1,200}\s+password\s+)|(?<!\S)(?:-u|-U|--user|--proxy-user)[ =](?=[^\s:]{0,200}:))"
    r"(?:[^\s\"'&,;)]{4,})"
)
_FIELDS = re.compile(r"(?i)\b((?:set-)?cookie[\"']?:\s|(?:proxy-)?authorization[\"']?[:=]\s?[\"']?(?:token|digest|aws4-hmac-sha256)\s)[^\r\n]{4,}")
_SECRET_FRAGMENT = re.compile(r"#(?!(?:sha\d+|md5)=)[^=]{0,100}=")  # a digest is public
_ENCODED = re.compile(r"(?i)(%3A%2F%2F)[^\s/\"'<>]{1,300}?%40")
_BETWEEN_URLS = re.compile(r"(?<=[,;|=()\[\]{}])(?=[A-Za-z][A-Za-z0-9+.-]{0,20}://)")
_QUOTE_IN_PASSWORD = re.compile(r"(://)[^\s/?#@:]{0,100}:[^\s/@]{0,100}[\"'<>][^\s/@]{0,100}@")
_WORD = re.compile(r"[^\s\"'<>]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}://")
_HOST_AND_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[^\s/?#@:\\]*)(?::[0-9]{0,5})?")


def plain(value: str | bytes, limit: int = LIMIT) -> str:
    """``value`` as one line of printable text of at most ``limit`` characters; what is not printable is written as an escape."""
    text = value[: limit * 4].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value[: limit * 4]
    shown = "".join(_escape(char) if char != " " and unicodedata.category(char) in _UNSAFE_CATEGORIES else char for char in text)
    # GitHub's runner takes "##[add-mask]…" for a command wherever it stands in a line (ActionCommand.TryParse).
    shown = shown.replace("##[", "#\\x23[")
    return shown if len(shown) <= limit and len(value) <= limit * 4 else shown[: limit - 1] + "…"


def _escape(char: str) -> str:
    code = ord(char)
    if char in "\r\n\t":
        return " "
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def url(value: str) -> str:
    """A URL without credentials, query and fragment (signed URLs carry rights in the query).

    An unescaped ``/ ? # @`` in a password moves the borders of a URL; where they cannot be told, more is hidden rather than less.
    """
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "", value
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    later = rest[len(authority) :]
    if "@" in authority:
        host = authority.rpartition("@")[2]
        known = "@" not in later and _HOST_AND_PORT.fullmatch(host)
        shown = f"{HIDDEN}@{host}{_bare(later)}" if known else HIDDEN
    elif "@" in later and (":" in authority or not _HOST_AND_PORT.fullmatch(authority)):
        shown = _behind_a_torn_password(authority, later)
    elif _HOST_AND_PORT.fullmatch(authority):
        shown = authority + _bare(later)
    else:
        shown = f"{authority.partition(':')[0]}:{HIDDEN}" if ":" in authority else authority + _bare(later)
    return plain(f"{scheme}{separator}{shown}")


def _bare(text: str) -> str:
    """A path without query and fragment."""
    return re.split(r"[?#]", text, maxsplit=1)[0]


def _behind_a_torn_password(authority: str, later: str) -> str:
    """``user:pa/ss@host`` and ``host:8080/@scope/name`` look alike: the second is a port, and an ``@`` in a path, with no host behind it."""
    path = _bare(later)
    behind = later.rpartition("@")[2]
    is_port = bool(_HOST_AND_PORT.fullmatch(authority))
    if is_port and "@" not in path:
        return HIDDEN if not later.startswith("/") else authority + path
    is_scope = "." in authority or not re.search("[^/]@", path)
    if is_port and is_scope and not re.search(r"[.:]", behind.partition("/")[0]):
        return authority + path
    host = re.split(r"[/?#]", behind, maxsplit=1)[0]
    return f"{HIDDEN}@{host}" if _HOST_AND_PORT.fullmatch(host) and "?" not in later else HIDDEN


def _without_credentials(text: str) -> str:
    """Free text with ``user:password@`` and the queries of URLs hidden. Linear in the text's length: it may be anybody's."""
    text = _QUOTE_IN_PASSWORD.sub(rf"\1{HIDDEN}@", text)
    return _WORD.sub(lambda match: "".join(_hide_userinfo(word) for word in _BETWEEN_URLS.split(match[0])), text)


def _hide_userinfo(word: str) -> str:
    if not any(char in word for char in "@?#"):
        return word
    if scheme := _SCHEME.search(word):
        return word[: scheme.start()] + url(word[scheme.start() :]) if "@" in word or "?" in word or _SECRET_FRAGMENT.search(word) else word
    if re.match(r"[^?]{0,400}/[^?]{0,400}\?[^=]{1,80}=", word):  # the query of an address without its host, as urllib3 words it
        return f"{word.partition('?')[0]}?{HIDDEN}"
    userinfo, at, host = word.rpartition("@")
    return f"{HIDDEN}@{host}" if at and ":" in userinfo and re.match(r"[\w\[.-]", host) else word


def _without_tokens(text: str) -> str:
    """Text without what looks like a secret, or is named as one."""
    text = _FIELDS.sub(rf"\1{HIDDEN}", _TOKENS.sub(HIDDEN, text))
    return _ENCODED.sub(rf"\1{HIDDEN}%40", _NAMED.sub(rf"\1{HIDDEN}", text))


def path(value: str | os.PathLike[str], limit: int = 1000) -> str:
    """A path with the home folder as ``~``."""
    text, home = _without_tokens(os.fspath(value)), os.path.expanduser("~")
    if "://" in text:
        return url(text)  # an address where a path is meant
    if home not in ("/", "~", "") and (text == home or text.startswith(home.rstrip("/\\") + os.sep)):
        text = "~" + text[len(home.rstrip("/\\")) :]
    return plain(text, limit)


@dataclass(frozen=True)
class Secrets:
    """Credentials and signed URLs: for probes, in no record. ``repr`` shows none of it."""

    token: str = field(default="", repr=False)
    proxies: dict[str, str] = field(default_factory=dict, repr=False)  # variable → URL as set
    configured: tuple[str, ...] = field(default=(), repr=False)  # as other programs' files name them, in the order of Environment.configured_proxies
    urls: tuple[str, ...] = field(default=(), repr=False)  # of the target, with their queries
    endpoint: str = field(default="", repr=False)
    netrc: dict[str, str] = field(default_factory=dict, repr=False)  # host → "login:password"
    _needles: list[str] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        texts = {self.token, *self.netrc.values(), *(login.partition(":")[2] for login in self.netrc.values())}
        for address in (*self.proxies.values(), *self.configured, *self.urls, self.endpoint):
            texts |= set(_secret_parts(address))
        self.learn(texts)

    def learn(self, texts: Iterable[str]) -> None:
        """Hide these from now on (the query of a redirect's target, say)."""
        for text in texts:
            if len(text) >= 4:
                self._needles.extend(form for form in _forms(text) if form not in self._needles)
        self._needles.sort(key=len, reverse=True)

    def learn_url(self, address: str) -> None:
        self.learn(_secret_parts(address))

    def clean(self, value: str | bytes, limit: int = LIMIT) -> str:
        """``value`` printable, short, and without any secret we know or recognise."""
        most = limit * 8
        text = value[:most].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value[:most]
        cut = len(value) > most
        for needle in self._needles:
            text = text.replace(needle, HIDDEN)
        text = _without_credentials(_without_tokens(text))
        if cut:
            # A secret that the cut went through is no longer recognised: leave out as much as one may be long.
            longest = max((len(needle) for needle in self._needles), default=0)
            text = text[: max(len(text) - max(longest, 200), 0)] + "…"
        return plain(text, limit)

    def url(self, address: str) -> str:
        """A URL to show: no credentials, no query, no secret in its path."""
        return self.clean(url(address))

    def headers(self, pairs: Iterable[tuple[str, str]]) -> tuple[Header, ...]:
        """The header fields worth showing, cleaned."""
        shown = []
        for name, value in pairs:
            if name.lower() in HEADERS:
                text = self.url(value) if name.lower() in ("location",) else self.clean(value, 200)
                shown.append(Header(name=name.lower(), value=text))
        return tuple(shown[:40])


def _secret_parts(address: str) -> list[str]:
    """Credentials, query and fragment of a URL, however badly it is written."""
    rest = address.split("://", 1)[-1]
    parts = re.split(r"[?#]", rest, maxsplit=1)[1:]
    parts += [value for part in parts for _, _, value in [pair.partition("=") for pair in part.split("&")] if len(value) >= 8]
    userinfo, at, _ = rest.rpartition("@")
    if at:
        parts += [userinfo, *userinfo.split(":", 1)[1:]]
    with contextlib.suppress(ValueError):
        parts.append(urlsplit(address).password or "")
    return parts


def _forms(text: str) -> list[str]:
    """The ways a secret turns up: as it is, percent-decoded and -encoded, as Basic credentials, in a page and in JSON."""
    raw = unquote(text)
    data = raw.encode(
        "utf-8", "surrogateescape" if all(not 0xD800 <= ord(char) <= 0xDFFF or 0xDC80 <= ord(char) <= 0xDCFF for char in raw) else "surrogatepass"
    )
    encoded = base64.b64encode(data).decode()
    return [
        form
        for form in dict.fromkeys((text, raw, quote(data, safe=""), encoded, encoded.rstrip("="), html.escape(raw), json.dumps(raw)[1:-1]))
        if len(form) >= 4
    ]
