"""``os.environ``, the platform and configuration files → Environment and Secrets. The only reader of ``os.environ``.

Nothing in here raises for what it finds: no home, no passwd entry, binary configuration files, undecodable bytes, values of a megabyte.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from diagnostics import redact
from diagnostics.case import Environment, Problem, Variable
from diagnostics.environment.caches import cache_paths, deprecated
from diagnostics.environment.certificates import read_ca
from diagnostics.environment.configured import read_configured
from diagnostics.environment.credentials import read_netrc, read_token
from diagnostics.environment.interpreter import read_interpreter
from diagnostics.environment.machine import read_platform, read_shell
from diagnostics.environment.proxies import read_no_proxy, read_proxies
from diagnostics.environment.settings import read_endpoint, read_offline, read_settings
from diagnostics.facts.clients import installed
from diagnostics.redact import Secrets

__all__ = ["read"]


def read(variables: Mapping[str, str] = os.environ, python: str = "", home: Path | None = None, root: str = "/") -> tuple[Environment, Secrets]:
    """What this environment tells the clients, and the credentials in it, which are for probes only.

    ``python`` is the interpreter the model will load in ("" is this one); ``root`` is where /etc and /proc are looked for.
    """
    folder = str(home) if home is not None else _home(variables)
    proxies, raw_proxies = read_proxies(variables)
    configured, raw_configured = read_configured(variables, folder, root)
    caches = cache_paths(variables, folder)
    token, token_text = read_token(variables, caches["token"])
    netrc, logins = read_netrc(variables, folder)
    interpreter, distributions, problem = read_interpreter(python, variables)
    transformers = installed(distributions, "transformers")
    environment = Environment(
        proxies=proxies,
        no_proxy=read_no_proxy(variables),
        ca=read_ca(variables),
        offline=read_offline(variables),
        settings=(*read_settings(variables), *_unusable(python, problem)),
        endpoint=read_endpoint(variables),
        token=token,
        netrc=netrc,
        caches={role: redact.path(path, 8000) for role, path in caches.items()},  # whole: they are opened by these
        deprecated_caches=deprecated(variables, caches["hub"], folder, transformers.version if transformers else ""),
        configured_proxies=configured,
        interpreter=interpreter,
        platform=read_platform(variables, root),
        distributions=distributions,
        shell=read_shell(variables),  # type: ignore[arg-type]
    )
    endpoint = variables.get("HF_ENDPOINT", "")
    return environment, Secrets(token=token_text, proxies=raw_proxies, configured=tuple(raw_configured), endpoint=endpoint, netrc=logins)


def _home(variables: Mapping[str, str]) -> str:
    """The home folder as ``os.path.expanduser`` finds it, from these variables; "" for a user without one."""
    if named := variables.get("HOME" if os.name == "posix" else "USERPROFILE"):
        return named
    if os.name != "posix":
        return ""
    import pwd  # not on Windows

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except (KeyError, OSError):
        return ""


def _unusable(python: str, problem: Problem | None) -> tuple[Variable, ...]:
    return (Variable(name="--diagnose-python", value=redact.path(python), problem=problem),) if problem and problem.code != "no-process" else ()
