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
    read = tuple((rule, by_name[rule.variable]) for rule in facts.ca if rule.variable in by_name and (by_name[rule.variable].path or rule.empty == "set"))
    return read[:1] if facts.first_variable or (facts.replaces_store and not facts.variables_add) else read


def useless(facts: ClientFacts, environment: Environment) -> tuple[tuple[CaRule, CaVariable, str], ...]:
    """The variables among those that this client gets no certificate from, and why; none where variables add up and another one will do."""
    decisive = effective_ca(facts, environment)
    found = tuple((rule, variable, code) for rule, variable in decisive if (code := ca_problem(rule, variable)))
    return () if facts.variables_add and len(found) < len(decisive) else found


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
        return TrustSource(store=facts.default_store, strict=strict, common_name=facts.common_name)
    problem = next((Problem(code=code, detail=variable.path) for rule, variable, code in useless(facts, environment) if rule.bad != "ignored"), ABSENT)
    files, folders = _paths(decisive, directory=False), _paths(decisive, directory=True)
    if not facts.replaces_store:
        named = {rule.takes for rule, _ in decisive}
        cafile, capath = openssl_paths(environment)
        files = files if files or "file" in named else cafile
        folders = folders if folders or "directory" in named else capath
    unhashed = any(rule.unhashed for rule, _ in decisive)
    return TrustSource(
        store=decisive[0][1].variable, cafile=files, capath=folders, strict=strict, unhashed=unhashed, common_name=facts.common_name, problem=problem
    )


def openssl_paths(environment: Environment) -> tuple[str, str]:
    """The file and the folder that OpenSSL of the loading interpreter looks in by itself (a conda Python has its own)."""
    interpreter = environment.interpreter
    if isinstance(interpreter, Interpreter) and (interpreter.cafile or interpreter.capath):
        return expanduser(interpreter.cafile), expanduser(interpreter.capath)
    paths = ssl.get_default_verify_paths()
    return paths.openssl_cafile, paths.openssl_capath


def _paths(decisive: tuple[tuple[CaRule, CaVariable], ...], directory: bool) -> str:
    """The path to open as a file (or as a folder): what is there decides where the client takes either."""
    for rule, variable in decisive:
        as_directory = rule.takes == "directory" or (rule.takes == "either" and variable.is_directory)
        if as_directory == directory:
            return pathsep.join(expanduser(path) for path in variable.path.split(pathsep)) if variable.exists else variable.path
    return ""
