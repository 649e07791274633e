"""The token and .netrc: their shape and source for the record, their text for probes only."""

from __future__ import annotations

import netrc
import os
from collections.abc import Mapping

from diagnostics import redact
from diagnostics.case import ABSENT, NetrcEntry, Problem, Token, Unseen
from diagnostics.environment.text import MOST_BYTES, expand_user, is_true, read_bytes

MOST_TOKEN_BYTES = 64 * 1024


def read_token(variables: Mapping[str, str], token_path: str) -> tuple[Token, str]:
    """The token as huggingface_hub finds it (utils/_auth.py): HF_TOKEN, HUGGING_FACE_HUB_TOKEN, the token file; line breaks are dropped, the ends stripped."""
    if is_true(variables.get("HF_HUB_DISABLE_IMPLICIT_TOKEN")):
        return Token(present=False, source="HF_HUB_DISABLE_IMPLICIT_TOKEN"), ""
    name = next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if variables.get(name)), "")
    emptied = next((name for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") if name in variables), "")
    if name and (text := clean(variables[name])):
        return Token(present=True, source=name, problem=problem_of(text)), text
    file = read_bytes(token_path, MOST_TOKEN_BYTES)
    if file is not None:
        source = redact.path(token_path)
        text = clean(file.decode("utf-8", "surrogateescape"))
        if text:
            return Token(present=True, source=source, problem=problem_of(text)), text
        emptied = emptied or source
    if emptied:
        return Token(present=False, source=emptied, problem=Problem(code="empty", detail="it is set and holds nothing")), ""
    return Token(present=False), ""


def clean(token: str) -> str:
    """What the hub's client makes of a token before it sends it."""
    return token.replace("\r", "").replace("\n", "").strip()


def problem_of(token: str) -> Problem | Unseen:
    """What keeps a token out of an HTTP header (RFC 9110 §11.6.2: token68) or from being one. The token itself is in no detail."""
    if any(0xD800 <= ord(char) <= 0xDFFF or char == "�" for char in token):
        return Problem(code="undecodable", detail="it holds bytes that are no UTF-8")
    if not token.isascii():
        return Problem(code="not-ascii", detail=f"character {next(i for i, char in enumerate(token, 1) if not char.isascii())} of {len(token)} is not ASCII")
    if any(char.isspace() for char in token):
        return Problem(code="white-space", detail=f"character {next(i for i, char in enumerate(token, 1) if char.isspace())} of {len(token)} is white space")
    if not token.isprintable():
        return Problem(code="control-character", detail="it holds a control character")
    if token[0] in "'\"" or token[-1] in "'\"":
        return Problem(code="quotes", detail="the quotation marks are part of it")
    return ABSENT


def read_netrc(variables: Mapping[str, str], home: str) -> tuple[tuple[NetrcEntry, ...], dict[str, str]]:
    """The hosts of the .netrc that requests reads (utils.py get_netrc_auth), and their logins. A file it cannot parse counts as none."""
    named = variables.get("NETRC")
    places = [expand_user(named)] if named is not None else [os.path.join(home, name) for name in (".netrc", "_netrc") if home]
    path = next((place for place in places if read_bytes(place, 1) is not None), "")
    if not path:
        return (), {}
    hosts = _hosts(path)
    return tuple(NetrcEntry(host=redact.plain(host), path=redact.path(path)) for host in hosts), hosts


def _hosts(path: str) -> dict[str, str]:
    """Host → "login:password"; the default entry is "default". Python's own parser, as requests uses it."""
    if len(read_bytes(path) or b"") >= MOST_BYTES:
        return {}  # a .netrc of this size is none
    try:
        hosts = netrc.netrc(path).hosts
    except (netrc.NetrcParseError, OSError, UnicodeError, IndexError):
        return {}
    return {host: f"{login or account or ''}:{password or ''}" for host, (login, account, password) in hosts.items()}
