"""The variables that name CA files and folders, and what a client would find there."""

from __future__ import annotations

import functools
import os
import re
import ssl
import stat
from collections.abc import Mapping

from diagnostics import redact
from diagnostics.case import CaVariable
from diagnostics.environment.text import expand_user, read_bytes

VARIABLES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
)
OF_OPENSSL = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR"})  # X509_get_default_cert_file_env(3): taken as they are, empty or not
FOLDERS = frozenset({"SSL_CERT_DIR", "GIT_SSL_CAPATH"})
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # X509_NAME_hash, openssl-rehash(1)
MOST_BYTES = 8 * 1024 * 1024
_BLOCK = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")


def read_ca(variables: Mapping[str, str]) -> tuple[CaVariable, ...]:
    """Each CA variable that is set; an empty one only where some client takes that for a store without a root (OpenSSL's own variables)."""
    return tuple(look(name, variables[name]) for name in VARIABLES if variables.get(name) or (name in OF_OPENSSL and name in variables))


def look(variable: str, value: str) -> CaVariable:
    """What is at the path. ``~`` is not expanded: no client does. A folder variable may list several, as PATH does (X509_LOOKUP_hash_dir(3))."""
    paths = [part for part in value.split(os.pathsep) if part] if variable in FOLDERS else [value]
    shown = redact.plain(value, 1000) if value.startswith("~") else os.pathsep.join(redact.path(path) for path in paths)
    states = [_stat(path) for path in paths]
    present = [(path, state) for path, state in zip(paths, states, strict=True) if state is not None]
    if not present:
        expanded = value.startswith("~") and _stat(expand_user(value)) is not None
        return CaVariable(variable=variable, path=shown, exists_expanded=expanded)
    folders = [path for path, state in present if stat.S_ISDIR(state.st_mode)]
    if folders:
        return _folder(variable, shown, folders)
    return _file(variable, shown, present[0][0], present[0][1])


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except PermissionError:
        return os.stat_result((stat.S_IFREG, *(0,) * 9))  # there is something, and it may not be looked at
    except (OSError, ValueError):
        return None


def _folder(variable: str, shown: str, folders: list[str]) -> CaVariable:
    names: list[str] = []
    readable = True
    for folder in folders:
        try:
            names += os.listdir(folder)
        except OSError:
            readable = False
    hashed = sum(bool(HASHED.fullmatch(name)) for name in names)
    form = "hashed" if hashed else "unhashed" if names else "empty"
    return CaVariable(variable=variable, path=shown, exists=True, is_directory=True, readable=readable, certificates=hashed, files=len(names), form=form)  # type: ignore[arg-type]


def _file(variable: str, shown: str, path: str, state: os.stat_result) -> CaVariable:
    data = read_bytes(path, MOST_BYTES)
    if data is None:
        return CaVariable(variable=variable, path=shown, exists=True, readable=False, form="text")
    count, form = certificates_in(path, data)
    return CaVariable(variable=variable, path=shown, exists=True, certificates=count, form=form)  # type: ignore[arg-type]


@functools.lru_cache(maxsize=8)  # several variables name one file as a rule; keyed by its content
def certificates_in(path: str, data: bytes) -> tuple[int, str]:
    """How many certificates a client loads from the file, and its form; the file is given to OpenSSL as a client would give it."""
    if not data.strip():
        return 0, "empty"
    blocks = len(_BLOCK.findall(data))
    if not blocks:
        return 0, "der" if _is_der(data) else "text"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        return 0, "damaged-pem"
    return context.cert_store_stats()["x509"], "pem"


def _is_der(data: bytes) -> bool:
    """ASN.1 SEQUENCE of a length that fits, holding another SEQUENCE: a certificate without PEM's armour (RFC 5280 §4.1)."""
    if data[:1] != b"\x30" or len(data) < 8:
        return False
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data)
    except ssl.SSLError:
        return False
    return True
