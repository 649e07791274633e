"""Host names, addresses, user names and home folders as tokens that are the same everywhere in one report. Public hosts stay.

Tokens keep what a diagnosis stands on: which hosts are one and the same, which share a domain, which addresses are private.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diagnostics.case import Case, Packages, Remedy, Report, Unseen
from diagnostics.facts.hosts import is_known_public

_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4})(?![\w:])")
_NAME = re.compile(r"(?<![\w-])[\w-]+(?:\.[\w-]+)+(?![\w-])")
_IN_URL = re.compile(r"://(?:[^/@\s]*@)?([\w.-]+)")
_WITH_PORT = re.compile(r"(?<![\w.-])([\w-]+(?:\.[\w-]+)+):\d{1,5}(?!\w)")
_HOME = re.compile(r"((?:/home|/Users|[\\/]Users)[\\/]+)([^/\\\s:'\",;]+)")
_LEFT_BY = frozenset({"via", "x-cache", "x-served-by", "x-squid-error", "proxy-agent", "server", "warning"})  # fields in which proxies name themselves
# Accounts that many machines have: they name nobody, and their names are words of the report.
_COMMON = frozenset(
    [
        "root",
        "nobody",
        "user",
        "users",
        "admin",
        "ubuntu",
        "debian",
        "runner",
        "jovyan",
        "vscode",
        "app",
        "data",
        "model",
        "models",
        "python",
        "test",
        "hub",
        "cache",
        "home",
        "node",
        "build",
        "ci",
        "dev",
        "me",
    ]
)
# Ids and codes are ours, and versions may look like addresses.
_KEPT = frozenset(
    [
        "cause",
        "check",
        "checks",
        "explains",
        "step",
        "code",
        "blocked_by",
        "version",
        "installed",
        "minimum",
        "below",
        "requires",
        "openssl",
        "libc",
        "release",
        "family",
        "started",
    ]
)


def anonymize(report: Report) -> Report:
    """The report with everything that names this site replaced."""
    return _over(_Tokens(report).text, report)  # type: ignore[no-any-return]


def _over(change: Callable[[str], str], value: Any, hint: Any = str) -> Any:
    """A copy of ``value`` with every free text in it changed; texts that may only be one of a few words stay."""
    if isinstance(value, Unseen):
        return Unseen(value.why, change(value.detail))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        kept = frozenset() if isinstance(value, Remedy) else _KEPT  # what a remedy calls "check" is a command
        return dataclasses.replace(value, **{name: _over(change, getattr(value, name), hints[name]) for name in hints if name not in kept})
    if isinstance(value, tuple | list):
        return type(value)(_over(change, item, (get_args(hint) or (str,))[0]) for item in value)
    if isinstance(value, dict):
        return {key: _over(change, item) for key, item in value.items()}
    return change(value) if isinstance(value, str) and not _closed(hint) else value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _closed(hint: Any) -> bool:
    return get_origin(hint) is Literal or any(get_origin(part) is Literal for part in get_args(hint))


class _Tokens:
    """The names of one report, numbered as they are met, and what stands for each."""

    def __init__(self, report: Report) -> None:
        self.hosts: dict[str, str] = {}
        self.domains: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self.words = re.compile(r"(?!)")  # users whose name may stand anywhere
        self.labels = re.compile(r"(?!)")  # hosts without a domain
        self.versions = _versions(report.case)
        texts: list[str] = []

        def listen(text: str) -> str:
            texts.append(text)
            return text

        _over(listen, report)
        self._learn_hosts([*_structured(report.case), *_named(report)], texts)
        self._learn_users(report.case, texts)
        self.text = functools.lru_cache(maxsize=20_000)(self._text)

    def _learn_hosts(self, stated: list[str], texts: list[str]) -> None:
        found = [*stated, *(name for text in texts for pattern in (_IN_URL, _WITH_PORT) for name in pattern.findall(text))]
        names = [name for name in dict.fromkeys(text.lower().strip(".*") for text in found) if _names_a_site(name)]
        for domain in dict.fromkeys(domain for name in names if (domain := name.partition(".")[2]) and ("." in domain or name.count(".") == 1)):
            if "." in domain and not is_known_public(f"www.{domain}") and not is_known_public(domain):
                self.domains[domain] = f"domain-{len(self.domains) + 1}.example"
        for name in names:
            self._host(name)
        bare = [re.escape(name) for name in names if "." not in name]
        if bare:
            either = "|".join(bare)
            self.labels = re.compile(rf"(?i)(?<=://)(?:{either})(?![\w.-])|(?<=@)(?:{either})(?![\w.-])|(?<![\w.-])(?:{either})(?=:\d)|^(?:{either})$")

    def _learn_users(self, case: Case, texts: list[str]) -> None:
        platform = case.environment.platform
        owners = [disk.denied_owner for disk in case.disks or () if disk.denied_owner and not disk.denied_owner.isdigit()]
        found = [platform.user if platform else "", *owners, *(match[1] for text in texts for match in _HOME.findall(text))]
        for name in dict.fromkeys(name.lower() for name in found):
            if name not in ("", "root", "nobody"):
                self.users[name] = f"user-{len(self.users) + 1}"
        anywhere = sorted((re.escape(name) for name in self.users if len(name) > 2 and name not in _COMMON), key=len, reverse=True)
        if anywhere:
            self.words = re.compile(rf"(?i)(?<![A-Za-z0-9])(?:{'|'.join(anywhere)})(?![A-Za-z0-9])")

    def _text(self, value: str) -> str:
        if value.lower() in self.users:
            return self.users[value.lower()]
        value = _IPV4.sub(self._address, _IPV6.sub(self._address, value))
        value = self.labels.sub(lambda match: self._host(match[0].lower()), _NAME.sub(self._name, value))
        value = _HOME.sub(lambda match: match[1] + self.users.get(match[2].lower(), match[2]), value)
        return self.words.sub(lambda match: self.users[match[0].lower()], value)

    def _name(self, match: re.Match[str]) -> str:
        name = match[0].lower()
        if name in self.domains:
            return self.domains[name]
        return self._host(name) if name in self.hosts or (self._domain(name) and _names_a_site(name)) else match[0]

    def _host(self, name: str) -> str:
        if name in self.domains:
            return self.domains[name]
        if name not in self.hosts:
            domain = self._domain(name)
            self.hosts[name] = f"host-{len(self.hosts) + 1}.{self.domains[domain] if domain else 'example'}"
        return self.hosts[name]

    def _domain(self, name: str) -> str:
        """The nearest domain above a name that is one of this site."""
        parts = name.split(".")
        return next((domain for index in range(1, len(parts)) if (domain := ".".join(parts[index:])) in self.domains), "")

    def _address(self, match: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            return match[0]
        if address.is_loopback or address.is_unspecified or match[0] in self.versions:
            return match[0]
        if str(address) not in self.addresses:
            self.addresses[str(address)] = _stand_in(address, len(self.addresses) + 1)
        return self.addresses[str(address)]


def _stand_in(address: ipaddress.IPv4Address | ipaddress.IPv6Address, number: int) -> str:
    """An address of the same kind that is nobody's; what is public becomes one of RFC 6598 or RFC 9637, which no check takes for private."""
    if address.version == 6:
        return f"{'fe80' if address.is_link_local else 'fd00' if address.is_private else '3fff'}::{number:x}"
    base = "169.254.0.0" if address.is_link_local else "10.0.0.0" if address.is_private else "100.64.0.0"
    return str(ipaddress.IPv4Address(base) + number % 65_000)


def _structured(case: Case) -> Iterator[str]:
    """Host names that stand in fields of their own, or where proxies write theirs."""
    for setting in case.environment.proxies:
        yield setting.host
    for entry in case.environment.netrc:
        yield entry.host
    for variable in case.environment.no_proxy:
        yield from (entry.strip().partition(":")[0] for entry in variable.value.split(",") if "." in entry)
    for leg in case.legs:
        yield from (leg.host, leg.route.host)
        for item in leg.handshake.chain if leg.handshake else ():
            yield from item.names
        for header in (*(leg.response.headers if leg.response else ()), *(leg.tunnel.headers if leg.tunnel else ())):
            yield from _NAME.findall(header.value) if header.name in _LEFT_BY else ()


def _named(report: Report) -> Iterator[str]:
    """Host names that the judgement names as such."""
    for host in report.hosts:
        yield host.host
    for diagnosis in report.judgement.diagnoses:
        for subject in (*diagnosis.subjects, *(item.subject for item in diagnosis.evidence)):
            if subject.kind in ("host", "proxy", "resolver"):
                yield re.sub(r":\d+$", "", subject.name)


def _names_a_site(name: str) -> bool:
    if not re.fullmatch(r"[\w.-]+", name) or name == "localhost" or not re.search(r"[^\W\d_]", name) or is_known_public(name):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def _versions(case: Case) -> frozenset[str]:
    """Versions of what is installed: four numbers are not always an address."""
    known = {item.version for item in case.environment.distributions}
    if isinstance(case.packages, Packages):
        known |= {item.installed for item in case.packages.requirements if isinstance(item.installed, str)}
        known |= {item.version for item in case.packages.conflicts} | {item.installed for item in case.packages.conflicts}
    return frozenset(known)
