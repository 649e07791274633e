"""The clients' other variables: offline flags, endpoint, numbers that are read at import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from diagnostics import redact
from diagnostics.case import ABSENT, Problem, Unseen, Variable
from diagnostics.environment.text import is_name, is_true

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
# huggingface_hub constants.py, _as_int: int() at import, of an empty string too.
INTEGERS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
SWITCHES = (
    "HF_HUB_DISABLE_XET", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DISABLE_SYMLINKS", "HF_HUB_ENABLE_HF_TRANSFER", "HF_XET_HIGH_PERFORMANCE",
    "HF_DEBUG", "HUGGINGFACE_CO_STAGING", "HF_HUB_DISABLE_SHARED_BLOBS",
)  # fmt: skip
# Shown, never judged: they change what a client does.
PLAIN = (
    "REQUEST_METHOD",
    "HF_XET_CLIENT_CONNECT_TIMEOUT",
    "HF_XET_CLIENT_READ_TIMEOUT",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS",
    "CUDA_VISIBLE_DEVICES",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSAFEPATH",
    "PYTHONNOUSERSITE",
)


def read_offline(variables: Mapping[str, str]) -> tuple[Variable, ...]:
    """The offline flags that are set, with the hub's own idea of what is true."""
    return tuple(
        Variable(name=name, value=redact.Secrets().clean(variables[name], 60), truthy=is_true(variables[name])) for name in OFFLINE if name in variables
    )


def read_settings(variables: Mapping[str, str]) -> tuple[Variable, ...]:
    """The other settings that are set, with what is wrong with them."""
    known = [name for name in (*INTEGERS, *SWITCHES, *PLAIN) if name in variables]
    return tuple(_setting(name, variables[name]) for name in known)


def _setting(name: str, value: str) -> Variable:
    problem = _integer_problem(value) if name in INTEGERS else ABSENT
    return Variable(name=name, value=redact.Secrets().clean(value), truthy=is_true(value), problem=problem)


def _integer_problem(value: str) -> Problem | Unseen:
    """What int(), called at import, says of it."""
    try:
        int(value)
    except ValueError:
        return Problem(code="not-an-integer", detail="it is empty" if not value.strip() else "it is no whole number")
    return ABSENT


def read_endpoint(variables: Mapping[str, str]) -> Variable | Unseen:
    """HF_ENDPOINT as set. A path or a private host is no problem; a mirror may have both."""
    value = variables.get("HF_ENDPOINT")
    if value is None:
        return ABSENT
    return Variable(name="HF_ENDPOINT", value=redact.url(value.strip()), problem=endpoint_problem(value))


def endpoint_problem(value: str) -> Problem | Unseen:
    """Why the hub's client cannot use this base URL. Codes: empty, white-space, control-character, quotes, no-scheme, scheme-unknown, host-missing, host-invalid,
    port-invalid, query."""
    if not value.strip():
        return Problem(code="empty", detail="it is set and empty, which the client does not take for unset")
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) <= 0xDFFF for char in value.strip()):
        return Problem(code="control-character", detail="it holds a character that no URL may hold")
    if re.search(r"\s", value):
        return Problem(code="white-space", detail="there is white space in it" if value == value.strip() else "white space stands before or behind it")
    if value[0] in "'\"" or value[-1] in "'\"":
        return Problem(code="quotes", detail="the quotation marks are part of the value")
    return _url_problem(value)


def _url_problem(value: str) -> Problem | Unseen:
    scheme, separator, rest = value.partition("://")
    if not separator or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return Problem(code="no-scheme", detail="https:// is missing in front of the host")
    if scheme.lower() not in ("http", "https"):
        return Problem(code="scheme-unknown", detail=f"{redact.plain(scheme, 20)}:// is no kind of address a hub has")
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError:
        return Problem(code="port-invalid", detail="its port is no number from 0 to 65535, or its host is no host")
    if not host:
        return Problem(code="host-missing", detail="it names no host")
    if port == 0:
        return Problem(code="port-invalid", detail="nothing can be reached at port 0")
    if not is_name(host):
        return Problem(code="host-invalid", detail="its host is no name that can be looked up")
    if parts.query or parts.fragment or re.search(r"[?#]", rest):
        return Problem(code="query", detail="a base URL has no ? and no #")
    return ABSENT
