"""URLs: one or several, with a digest behind ``#`` if the person has one."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from diagnostics import redact
from diagnostics.case import Problem, Published, Target, Unseen

SCHEMES = frozenset({"http", "https"})
HEX_LENGTH = {"sha256": 64, "sha1": 40, "md5": 32, "sha512": 128}
_DIGEST = re.compile(r"(sha256|sha512|sha1|md5)[=:]([0-9A-Fa-f]+)")
_HASH_NAMED = re.compile(r".*-([0-9a-f]{8,})\.(?:pth?|pt|bin|ckpt|th|tar|zip|tgz|gz)")  # torch/hub.py HASH_REGEX, download_url_to_file
_HOST_NAME = re.compile(r"[^\x00-\x20\x7f/?#@\\\"'<>{}|^`%]+")
MOST_URLS = 1000


def parse(text: str) -> tuple[Target, tuple[str, ...]]:
    """A target of the URLs in ``text``, separated by white space, or by commas in front of another URL; the first that cannot be used is its problem."""
    typed = [part for part in re.split(r"\s+|,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)", text) if part][:MOST_URLS]
    problem = next((detail for part in typed if (detail := url_problem(part))), "" if typed else "there is no URL")
    urls = tuple(part.partition("#")[0] if not problem else part for part in typed)
    published = () if problem else tuple(found for part in typed if (found := published_with(part)))
    names = [file_name(part) for part in urls]
    return Target(
        spec=text,
        kind="url",
        name=names[0] if len(names) == 1 else f"{len(names)} URLs",
        urls=tuple(redact.url(part) for part in urls),
        published=published,
        problem=Problem(code="url-invalid", detail=problem) if problem else Unseen("absent"),
    ), urls


def url_problem(text: str) -> str:
    """Why a download cannot begin with this URL, "" where it can (RFC 3986; the digest behind #)."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "https:// is missing in front of the host"
    if scheme.lower() not in SCHEMES:
        return f"{redact.plain(scheme, 20)}:// is no scheme that a model is downloaded with here"
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in text) or "\\" in rest.split("/")[0]:
        return "it holds a character that no URL may hold"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "its port is no number from 0 to 65535, or its host is no host"
    if not host or not _HOST_NAME.fullmatch(host) or host.strip(".") == "":
        return "it names no host"
    if port == 0:
        return "nothing can be reached at port 0"
    return _name_problem(host) or _digest_problem(parts.fragment)


def _name_problem(host: str) -> str:
    """IDNA turns what a resolver could not be asked for into an error (RFC 5890: labels of 1 to 63 octets)."""
    if ":" in host:
        return ""
    try:
        host.rstrip(".").encode("idna")
    except UnicodeError:
        return "its host is no name that can be looked up: a part of it is empty, too long or of characters no name may hold"
    return ""


def _digest_problem(fragment: str) -> str:
    match = _DIGEST.fullmatch(fragment)
    if match and not (len(match[2]) == HEX_LENGTH[match[1]] or (match[1] == "sha256" and 8 <= len(match[2]) <= 64)):
        return f"a {match[1]} has {HEX_LENGTH[match[1]]} hexadecimal digits, not {len(match[2])}"
    return "the digest behind # is not of hexadecimal digits" if fragment.startswith(("sha256=", "sha256:")) and not match else ""


def published_with(text: str) -> Published | None:
    """The digest that came with a URL, under the URL as it is shown: behind ``#``, or in the file's name as torch.hub has it (a prefix of its sha256)."""
    match = _DIGEST.fullmatch(urlsplit(text).fragment)
    name = file_name(text.partition("#")[0])
    if match:
        return Published(path=redact.url(text), algorithm=match[1], value=match[2].lower(), source=f"#{match[1]}=")  # type: ignore[arg-type]
    named = _HASH_NAMED.fullmatch(name)
    return Published(path=redact.url(text), value=named[1], source="file name") if named else None


def file_name(text: str) -> str:
    """The last segment of a URL's path, else its host."""
    try:
        parts = urlsplit(text)
        return redact.plain(unquote(parts.path.rstrip("/").rpartition("/")[2]) or parts.hostname or "", 200)
    except ValueError:
        return ""


def shown(text: str) -> str:
    """A URL to show, with its digest: that is public, and part of what was asked for."""
    bare, _, fragment = text.partition("#")
    return redact.url(text) + (f"#{fragment}" if _DIGEST.fullmatch(fragment) and "@" not in fragment and "@" not in bare else "")
