"""Proxies that other programs' configuration names: where a person's machine knows a way out that the environment does not tell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping

from diagnostics import redact
from diagnostics.case import ConfiguredProxy
from diagnostics.environment.proxies import shown
from diagnostics.environment.text import read_text

_SHELL = frozenset({"http_proxy", "https_proxy", "all_proxy"})
MOST_FILES, MOST_FOUND = 40, 30
GSETTINGS_SECONDS = 1.0
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+|set\s+)?([A-Za-z][\w.-]*)\s*[=:]\s*(.*?)\s*$")
_APT = re.compile(r"""(?im)^(?!\s*(?://|\#)).*?\bproxy\s+"([^"\n]+)"\s*;""")
_WORD = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s;&#"']*))""")
_DOCKER = re.compile(r'"(https?Proxy)"\s*:\s*"([^"\n]+)"')
_NONE = frozenset({"", "none", "null", "false", "direct", "off"})


def read_configured(variables: Mapping[str, str], home: str, root: str = "/") -> tuple[tuple[ConfiguredProxy, ...], list[str]]:
    """Every proxy found, and the raw values (to be hidden wherever they turn up)."""
    found = dict.fromkeys(pair for pair in _all(variables, home, root) if pair[1].strip().strip("\"'").lower() not in _NONE)
    kept = list(found)[:MOST_FOUND]
    records = tuple(ConfiguredProxy(source=redact.plain(source, 200), value=_shown(value, automatic), automatic=automatic) for source, value, automatic in kept)
    return records, [value for _, value, _ in kept]


def _shown(value: str, automatic: bool) -> str:
    return redact.url(value.strip().strip("\"'")) if automatic else shown(value.strip().strip("\"'"))


def _all(variables: Mapping[str, str], home: str, root: str) -> Iterator[tuple[str, str, bool]]:
    for name in ("PIP_PROXY", "npm_config_proxy", "npm_config_https_proxy", "CONDA_PROXY_SERVERS__HTTPS"):
        yield name, variables.get(name, ""), False
    for name in ("auto_proxy", "AUTO_PROXY"):
        yield name, variables.get(name, ""), True
    for path, keys in _files(variables, home, root):
        yield from _of_file(path, keys)
    yield from _apt(root)
    yield from _docker(home)
    yield from _desktop(variables, home)
    yield from _system()


def _files(variables: Mapping[str, str], home: str, root: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Files of ``name = value`` lines, and the names that count in each."""
    pip, git = frozenset({"proxy"}), frozenset({"proxy"})
    etc = os.path.join(root, "etc")
    config = variables.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    places = [
        variables.get("PIP_CONFIG_FILE", ""),
        f"{etc}/pip.conf",
        f"{etc}/xdg/pip/pip.conf",
        f"{sys.prefix}/pip.conf",
        *((f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf") if home else ()),
    ]
    yield from ((path, pip) for path in places if path)
    yield from ((path, git) for path in (f"{etc}/gitconfig", *((f"{home}/.gitconfig", f"{config}/git/config") if home else ())))
    yield from ((path, frozenset({"proxy", "https-proxy"})) for path in (f"{etc}/npmrc", *((f"{home}/.npmrc",) if home else ())))
    yield from (
        (path, frozenset({"http", "https"}))
        for path in (f"{etc}/conda/.condarc", f"{etc}/conda/condarc", *((f"{home}/.condarc", f"{config}/conda/.condarc") if home else ()))
    )
    yield f"{etc}/environment", _SHELL
    yield from ((path, _SHELL) for path in _login_files(etc, config, home))
    yield from ((path, frozenset({"http_proxy", "https_proxy"})) for path in (f"{etc}/wgetrc", *((f"{home}/.wgetrc",) if home else ())))
    if home:
        yield f"{home}/.curlrc", frozenset({"proxy", "-x", "--proxy"})


def _login_files(etc: str, config: str, home: str) -> Iterator[str]:
    """What a login shell reads (bash(1), zsh(1), environment.d(5)), and a service, a cron job or a container never does."""
    yield f"{etc}/profile"
    yield from (os.path.join(etc, "profile.d", name) for name in _listed(os.path.join(etc, "profile.d")) if name.endswith(".sh"))
    if home:
        yield from (f"{home}/{name}" for name in (".profile", ".bash_profile", ".bash_login", ".bashrc", ".zshenv", ".zprofile", ".zshrc"))
        folder = os.path.join(config, "environment.d")
        yield from (os.path.join(folder, name) for name in _listed(folder) if name.endswith(".conf"))


def _listed(folder: str) -> list[str]:
    """The names in a folder, a bounded number of them; none where there is none."""
    try:
        return sorted(os.listdir(folder))[:MOST_FILES]
    except OSError:
        return []


def _of_file(path: str, keys: frozenset[str]) -> Iterator[tuple[str, str, bool]]:
    """Assignments to ``keys``, whatever section they stand in; of .condarc only what stands under proxy_servers. Includes are not followed."""
    conda, inside = path.endswith("condarc"), False
    for line in read_text(path).splitlines():
        if conda and line[:1] not in (" ", "\t", "", "#"):
            inside = line.startswith("proxy_servers:")
        match = _ASSIGNMENT.match(line[:4096])
        if match and match[1].lower() in keys and (inside or not conda):
            value = _shell_word(match[2]) if keys is _SHELL else match[2].strip("\"'")
            if keys is not _SHELL or not re.search(r"[$`]", value):  # what the shell would put together is not guessed
                yield redact.path(path), value, False


def _shell_word(text: str) -> str:
    """The value of an assignment: up to the end of its quotes, or to what ends a bare word."""
    match = _WORD.match(text)
    return next((group for group in match.groups() if group is not None), "") if match else ""


def _apt(root: str) -> Iterator[tuple[str, str, bool]]:
    folder = os.path.join(root, "etc/apt/apt.conf.d")
    for path in (os.path.join(root, "etc/apt/apt.conf"), *(os.path.join(folder, name) for name in _listed(folder))):
        yield from ((path, value, False) for value in _APT.findall(read_text(path)))


def _docker(home: str) -> Iterator[tuple[str, str, bool]]:
    path = f"{home}/.docker/config.json"
    yield from ((redact.path(path), value, False) for _, value in _DOCKER.findall(read_text(path) if home else ""))


def _desktop(variables: Mapping[str, str], home: str) -> Iterator[tuple[str, str, bool]]:
    """The desktop's own settings: KDE's file; GNOME's through gsettings, where a session is there to ask."""
    if home:
        for line in read_text(f"{home}/.config/kioslaverc").splitlines():
            name, _, value = line[:4096].partition("=")
            if name.strip().lower() in ("httpsproxy", "httpproxy"):
                yield "~/.config/kioslaverc", value.strip().replace(" ", ":"), False
            elif name.strip().lower().startswith("proxy config script"):
                yield "~/.config/kioslaverc", value, True
    if variables.get("DBUS_SESSION_BUS_ADDRESS") and shutil.which("gsettings", path=variables.get("PATH", "")):
        yield from _gnome(variables)


def _gnome(variables: Mapping[str, str]) -> Iterator[tuple[str, str, bool]]:
    def ask(schema: str, key: str) -> str:
        try:
            done = subprocess.run(
                ["gsettings", "get", schema, key], capture_output=True, timeout=GSETTINGS_SECONDS, env=dict(variables), stdin=subprocess.DEVNULL, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("utf-8", "replace").strip().strip("'")

    mode = ask("org.gnome.system.proxy", "mode")
    if mode == "auto":
        yield "GNOME settings", ask("org.gnome.system.proxy", "autoconfig-url"), True
    elif mode == "manual" and (host := ask("org.gnome.system.proxy.https", "host")):
        yield "GNOME settings", f"http://{host}:{ask('org.gnome.system.proxy.https', 'port')}", False


def _system() -> Iterator[tuple[str, str, bool]]:
    """What Windows' registry or macOS' system configuration names (best effort: not run on Linux)."""
    name = {"win32": "getproxies_registry", "darwin": "getproxies_macosx_sysconf"}.get(sys.platform, "")
    read = getattr(urllib.request, name, None) if name else None
    settings: dict[str, str] = read() if read else {}
    yield from (("system settings", str(value), False) for value in settings.values())
