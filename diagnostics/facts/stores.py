"""The store that a client would trust: the tables of ``clients.toml`` applied to the CA variables of an Environment. Pure."""

from __future__ import annotations

import ssl
from os import pathsep
from os.path import expanduser

from diagnostics.case import ABSENT, CaVariable, Environment, Interpreter, Problem
from diagnostics.facts.clients import CaRule, ClientFacts, TrustSource


def effective_ca(facts: ClientFacts, environment: Environment) -> tuple[tuple[CaRule, CaVariable], ...]:
    """The CA variables that decide for this client: the first that is set, or, where file and folder add up, each of them."""
    by_name = {variable.variable: variable for variable in environment.ca}
    read = tuple((rule, by_name[rule.variable]) for rule in facts.ca if rule.variable in by_name)
    return read[:1] if facts.replaces_store else read


def ca_problem(rule: CaRule, variable: CaVariable) -> str:
    """Why this client gets no certificate from the variable: ca-bundle-missing, ca-bundle-invalid, ca-directory-unhashed, or ""."""
    if variable.form == "missing":
        return "ca-bundle-missing"
    if variable.is_directory:
        if rule.takes == "file":
            return "ca-bundle-invalid"
        unhashed = variable.form == "unhashed" and not rule.unhashed
        return "ca-directory-unhashed" if unhashed else "ca-bundle-invalid" if variable.form == "empty" else ""
    return "ca-bundle-invalid" if rule.takes == "directory" or variable.form != "pem" else ""


def trust(facts: ClientFacts, environment: Environment) -> TrustSource:
    """The store that this client would use. Where it replaces only part of the system's store, the other part is named too (OpenSSL's SSL_CERT_FILE)."""
    decisive = effective_ca(facts, environment)
    interpreter = environment.interpreter
    new_python = isinstance(interpreter, Interpreter) and interpreter.strict_x509
    strict = new_python and (facts.strict == "always" or (facts.strict == "with-variable" and bool(decisive)))
    if not decisive:
        return TrustSource(store=facts.default_store, strict=strict)
    problem = next(
        (Problem(code=code, detail=variable.path) for rule, variable in decisive if rule.bad != "ignored" and (code := ca_problem(rule, variable))), ABSENT
    )
    files, folders = _paths(decisive, directory=False), _paths(decisive, directory=True)
    if not facts.replaces_store:
        default = ssl.get_default_verify_paths()
        files, folders = files or default.openssl_cafile, folders or default.openssl_capath
    return TrustSource(store=decisive[0][1].variable, cafile=files, capath=folders, strict=strict, problem=problem)


def _paths(decisive: tuple[tuple[CaRule, CaVariable], ...], directory: bool) -> str:
    """The path to open as a file (or as a folder): what is there decides where the client takes either."""
    for rule, variable in decisive:
        as_directory = rule.takes == "directory" or (rule.takes == "either" and variable.is_directory)
        if as_directory == directory:
            return pathsep.join(expanduser(path) for path in variable.path.split(pathsep)) if variable.exists else variable.path
    return ""
