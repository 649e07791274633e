"""Trust stores: the one the client uses, and the others on this machine that could be asked."""

from __future__ import annotations

import os
import re

from diagnostics.case import Environment
from diagnostics.facts.clients import ClientFacts, installed
from diagnostics.facts.stores import openssl_paths
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


def operating_system(environment: Environment, strict: bool = False, common_name: bool = True) -> Store:
    """OpenSSL's compiled-in paths, whatever SSL_CERT_FILE says; the distributions' bundles where neither is there (as httpcore2/_ssl.py)."""
    file, folder = openssl_paths(environment)
    cafile = file if os.path.isfile(file) else ""
    capath = folder if os.path.isdir(folder) and (cafile or _hashed(folder)) else ""
    if not cafile and not capath:
        cafile = next((path for path in _OS_FILES if os.path.isfile(path)), "")
    bundle = next((path for path in _OS_FILES if os.path.isfile(path)), "") if capath and not cafile else ""
    return Store(name="operating system", cafile=cafile, capath=capath, bundle=bundle, strict=strict, common_name=common_name)


def _hashed(folder: str) -> bool:
    """Whether a folder holds files with OpenSSL's hash names, the only ones it reads."""
    try:
        return any(re.fullmatch(r"[0-9a-fA-F]{8}\.\d", name) for name in os.listdir(folder))
    except OSError:
        return False


def certifi_store(environment: Environment, strict: bool = False, common_name: bool = True) -> Store:
    """The bundle that comes with the certifi package of the loading interpreter, as requests uses it; this one's where that has none."""
    found = installed(environment.distributions, "certifi")
    theirs = os.path.join(os.path.expanduser(found.location), "certifi", "cacert.pem") if found and found.location else ""
    if not os.path.isfile(theirs):
        import certifi

        theirs = certifi.where()
    return Store(name="certifi", cafile=theirs, strict=strict, common_name=common_name)


def client_store(facts: ClientFacts, environment: Environment) -> Store:
    """The store and strictness this client would use, by its own rules."""
    source = trust(facts, environment)
    if source.store == "certifi":
        return certifi_store(environment, source.strict, source.common_name)
    if source.store == "os":
        return operating_system(environment, source.strict, source.common_name)
    return Store(
        name=source.store,
        cafile=source.cafile,
        capath=source.capath,
        strict=source.strict,
        silently_empty=not source.problem,
        unhashed=source.unhashed,
        common_name=source.common_name,
    )


def other_stores(facts: ClientFacts, environment: Environment) -> tuple[Store, ...]:
    """Every store on this machine that is worth asking: certifi, the operating system's, each variable's path."""
    named = [
        Store(
            name=variable.variable,
            cafile="" if variable.is_directory else os.path.expanduser(variable.path),
            capath=os.path.expanduser(variable.path) if variable.is_directory else "",
            common_name=facts.common_name,
        )
        for variable in environment.ca
        if variable.exists and variable.certificates
    ]
    return (certifi_store(environment, common_name=facts.common_name), operating_system(environment, common_name=facts.common_name), *named)
