"""The proxy variables and NO_PROXY, every spelling, as set."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping

from diagnostics.case import ABSENT, Problem, ProxySetting, Unseen, Variable
from diagnostics.redact import HIDDEN, Secrets, plain

KINDS = frozenset({"http_proxy", "https_proxy", "all_proxy"})
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
NO_PROXY_LIMIT = 8000
_HOST = re.compile(r"[^\s/?#@\\\"'<>{}|^`\[\]:]+")  # loose: names with underscores, IDNs, IPv4
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]")


def read_proxies(variables: Mapping[str, str]) -> tuple[tuple[ProxySetting, ...], dict[str, str]]:
    """Every http, https and all proxy variable in any case, in the environment's order; and the raw values, for probes only."""
    named = {name: value for name, value in variables.items() if name.lower() in KINDS}
    return tuple(setting(name, value) for name, value in named.items()), named


def read_no_proxy(variables: Mapping[str, str]) -> tuple[Variable, ...]:
    """NO_PROXY in every spelling, credentials in it hidden."""
    named = [(name, value) for name, value in variables.items() if name.lower() == "no_proxy"]
    return tuple(Variable(name=plain(name), value=Secrets().clean(value, NO_PROXY_LIMIT)) for name, value in named)


def setting(name: str, value: str) -> ProxySetting:
    """One proxy variable's value, taken apart as loosely as the most lenient client does; ``problem`` is what any client may stumble over.

    Codes of the problem: white-space, quotes, control-character, password-unescaped, host-missing, host-invalid, port-invalid, port-range, scheme-empty.
    """
    bare = value.strip(string.whitespace + "\"'")
    match = SCHEME.match(bare)
    scheme = match[1].lower() if match else ""
    rest = (bare[match.end() :] if match else bare).removeprefix("" if match else "//")
    userinfo, at, after = rest.rpartition("@")
    host, port, remainder = _authority(after)
    return ProxySetting(
        variable=plain(name),
        value=shown(value),
        scheme=plain(scheme, 20),
        host=plain(host, 255),
        port=port if isinstance(port, int) else ABSENT,
        credentials=bool(at),
        problem=_problem(value, userinfo, host, port, remainder) if value else ABSENT,
    )


def shown(value: str) -> str:
    """A proxy URL to show: scheme, host and port. Everything before the last ``@`` may be a password, whatever stands in it; so may all that follows the port."""
    lead = value[: len(value) - len(value.lstrip(" \t\"'"))]
    match = SCHEME.match(value[len(lead) :]) or re.match("//", value[len(lead) :])
    prefix = match[0] if match else ""
    _, at, after = value[len(lead) + len(prefix) :].rpartition("@")
    authority = re.split(r"[/?#]", after, maxsplit=1)[0]
    rest = after[len(authority) :]
    if not _plausible(authority):
        # No border to be seen: a "user:password" whose "@" was forgotten, or a password with an "@" in it, would be shown.
        authority, rest = HIDDEN if authority.strip() else authority, ""
    return plain(f"{lead}{prefix}{HIDDEN + '@' if at else ''}{authority}{'/…' if rest.strip(' /') else rest}")


def _plausible(authority: str) -> bool:
    """A host, perhaps with a port, and nothing that looks like a user with a password."""
    bare = authority.strip(" \t\"'")
    host, port, _ = _authority(bare)
    named = bool(_HOST.fullmatch(host) or _IPV6.fullmatch(f"[{host}]"))
    mistyped = isinstance(port, str) and len(port) <= 5 and ("." in host or host == "localhost")
    return named and (not isinstance(port, str) or mistyped)


def _authority(text: str) -> tuple[str, int | str | None, str]:
    """``host[:port][/rest]`` → host without brackets, the port (as text where it is no number, None where there is none), the rest."""
    authority, slash, remainder = re.split(r"([/?#])", text, maxsplit=1) if re.search(r"[/?#]", text) else (text, "", "")
    bracketed = re.match(r"\[([^\]]*)\]", authority)
    host = bracketed[1] if bracketed else authority.partition(":")[0]
    tail = authority[bracketed.end() :] if bracketed else authority[len(host) :]
    if not tail.startswith(":"):
        return host + tail, None, slash + remainder
    digits = tail[1:]
    if not digits:
        return host, None, slash + remainder
    usable = digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 65535
    return host, int(digits) if usable else digits, slash + remainder


def _problem(value: str, userinfo: str, host: str, port: int | str | None, remainder: str) -> Problem | Unseen:
    """The first thing a client stumbles over. No detail repeats a piece of the value that may be a password."""
    if any((ord(char) < 32 and char not in "\t\r\n") or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in value):
        return Problem(code="control-character", detail="it holds a character that no URL may hold")
    if re.search(r"[/?#]", userinfo):
        return Problem(
            code="password-unescaped", detail="the user name or password holds one of / ? #, which ends the address there: write them as %2F %3F %23"
        )
    if value.strip()[:1] in ("'", '"') or value.strip()[-1:] in ("'", '"'):
        return Problem(code="quotes", detail="the quotation marks are part of the value")
    if value != value.strip():
        return Problem(code="white-space", detail="white space surrounds the address")
    if not host:
        return Problem(code="host-missing", detail="it names no host")
    if not (_HOST.fullmatch(host) or _IPV6.fullmatch(f"[{host}]")):
        return Problem(code="host-invalid", detail="what stands for the host is no host name")
    if isinstance(port, str):
        return Problem(
            code="port-range" if port.isascii() and port.isdigit() else "port-invalid",
            detail="what stands for the port is no number from 0 to 65535" + ("" if port.isdigit() else "; is it a password, with its @ missing?"),
        )
    return Problem(code="scheme-empty", detail="no http: stands in front of its //") if value.startswith("//") else ABSENT
