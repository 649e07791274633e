"""Host names, addresses, user names and home folders as tokens that are the same everywhere in one report. Public hosts stay."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from diagnostics.case import Case, Judgement, Report
from diagnostics.codec import decode, encode
from diagnostics.facts.hosts import is_known_public

_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_HOME = re.compile(r"(/home/|/Users/|\\Users\\)[^/\\\s:'\"]+")
KEPT = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})


def anonymize(report: Report) -> Report:
    """The report with everything that names this site replaced."""
    tokens = _Tokens(report.case)
    case = decode(Case, tokens.over(encode(report.case)))
    judgement = decode(Judgement, tokens.over(encode(report.judgement)))
    hosts = tuple(type(host)(host=tokens.text(host.host), port=host.port, needed_for=host.needed_for, reached=host.reached) for host in report.hosts)
    return Report(version=report.version, case=case, judgement=judgement, hosts=hosts, interrupted=report.interrupted, extra=report.extra)


class _Tokens:
    """The names of one case and what stands for each."""

    def __init__(self, case: Case) -> None:
        names = sorted(_names(case), key=len, reverse=True)
        self.names = {name: f"host-{number}.example" for number, name in enumerate(names, 1)}
        platform = case.environment.platform
        self.user = platform.user if platform and platform.user not in ("", "root") and len(platform.user) > 2 else ""
        self.addresses: dict[str, str] = {}

    def over(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.over(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.over(item) for key, item in value.items()}
        return value

    def text(self, value: str) -> str:
        for name, token in self.names.items():
            value = re.sub(rf"(?i)(?<![\w-]){re.escape(name)}(?![\w-])", token, value)
        value = _IPV4.sub(self._address, _IPV6.sub(self._address, value))
        value = _HOME.sub(r"\1user-1", value)
        return re.sub(rf"(?<![\w-]){re.escape(self.user)}(?![\w-])", "user-1", value) if self.user else value

    def _address(self, match: re.Match[str]) -> str:
        text = match[0]
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return text
        if text in KEPT or address.is_loopback:
            return text
        if text not in self.addresses:
            number = len(self.addresses) + 1
            self.addresses[text] = f"192.0.2.{number % 255}" if address.version == 4 else f"2001:db8::{number:x}"
        return self.addresses[text]


def _names(case: Case) -> set[str]:
    """Every host name the case holds that is not public."""
    found = {leg.host for leg in case.legs} | {leg.route.host for leg in case.legs} | {setting.host for setting in case.environment.proxies}
    found |= {entry.host for entry in case.environment.netrc}
    found |= {
        match
        for text in (case.target.endpoint, *case.target.urls, *(item.value for item in case.environment.configured_proxies))
        for match in re.findall(r"://(?:[^/@\s]*@)?([\w.-]+)", text)
    }
    found |= {name.lstrip("*.") for leg in case.legs if leg.handshake for item in leg.handshake.chain for name in item.names}
    found |= {entry.strip().lstrip("*.") for variable in case.environment.no_proxy for entry in variable.value.split(",")}
    found |= {subject.name.partition(":")[0] for item in (case.clues.explanations if case.clues else ()) for subject in item.subjects if subject.kind == "host"}
    return {name for name in found if name and "." in name and name not in KEPT and not is_known_public(name) and not _is_address(name)}


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
