"""Trust stores: the one the client uses, and the others on this machine that could be asked."""

from __future__ import annotations

import os
import re
import ssl

from diagnostics.case import Environment
from diagnostics.facts.clients import ClientFacts
from diagnostics.probes.route import trust
from diagnostics.probes.tls import Store

# Where httpcore2 looks beyond OpenSSL's compiled-in paths (httpcore2/_ssl.py), and what the distributions use.
_OS_FILES = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)


def operating_system(strict: bool = False) -> Store:
    """OpenSSL's compiled-in paths, whatever SSL_CERT_FILE says; the distributions' bundles where neither is there (as httpcore2/_ssl.py)."""
    paths = ssl.get_default_verify_paths()
    cafile = paths.openssl_cafile if os.path.isfile(paths.openssl_cafile) else ""
    capath = paths.openssl_capath if os.path.isdir(paths.openssl_capath) and (cafile or _hashed(paths.openssl_capath)) else ""
    if not cafile and not capath:
        cafile = next((path for path in _OS_FILES if os.path.isfile(path)), "")
    bundle = next((path for path in _OS_FILES if os.path.isfile(path)), "") if capath and not cafile else ""
    return Store(name="operating system", cafile=cafile, capath=capath, bundle=bundle, strict=strict)


def _hashed(folder: str) -> bool:
    """Whether a folder holds files with OpenSSL's hash names, the only ones it reads."""
    try:
        return any(re.fullmatch(r"[0-9a-fA-F]{8}\.\d", name) for name in os.listdir(folder))
    except OSError:
        return False


def certifi_store(strict: bool = False) -> Store:
    """The bundle that comes with the certifi package, as requests uses it."""
    import certifi

    return Store(name="certifi", cafile=certifi.where(), strict=strict)


def client_store(facts: ClientFacts, environment: Environment) -> Store:
    """The store and strictness this client would use, by its own rules."""
    source = trust(facts, environment)
    if source.store == "certifi":
        return certifi_store(source.strict)
    if source.store == "os":
        return operating_system(source.strict)
    return Store(name=source.store, cafile=source.cafile, capath=source.capath, strict=source.strict, silently_empty=not source.problem)


def other_stores(facts: ClientFacts, environment: Environment) -> tuple[Store, ...]:
    """Every store on this machine that is worth asking: certifi, the operating system's, each variable's path."""
    named = [
        Store(
            name=variable.variable,
            cafile="" if variable.is_directory else os.path.expanduser(variable.path),
            capath=os.path.expanduser(variable.path) if variable.is_directory else "",
        )
        for variable in environment.ca
        if variable.exists and variable.certificates
    ]
    return (certifi_store(), operating_system(), *named)
