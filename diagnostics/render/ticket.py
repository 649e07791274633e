"""The ticket for whoever runs the firewall or the proxy: which connections this target needs, and what became of each. Plain text, to be mailed as it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from diagnostics.case import Host, Report
from diagnostics.facts import hosts as known
from diagnostics.facts.routes import authority
from diagnostics.reaching import BLOCKED
from diagnostics.redact import plain
from diagnostics.render.words import target_name

WIDTH, MOST_HOSTS, MOST_NAMED = 78, 100, 5
MARKS = {"reached": "open", "not-tried": "not tried"}


def blocked(report: Report) -> tuple[Host, ...]:
    """The hosts on whose way something stands that an admin could take away."""
    return tuple(host for host in report.hosts if host.state in BLOCKED and not _on_this_machine(host))


def _on_this_machine(host: Host) -> bool:
    """A loopback address (RFC 6890) never leaves the machine: whatever answers or refuses there is its user's."""
    addresses = [host.through.rpartition(":")[0].strip("[]")] if host.through else list(host.addresses)
    return bool(addresses) and all(address.startswith("127.") or address in ("::1", "localhost") for address in addresses)


def short(report: Report) -> str:
    """One sentence for a terminal; "" where nothing is blocked."""
    named = [f"{_place(host)} {host.state.replace('-', ' ')}" for host in blocked(report)]
    if not named:
        return ""
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return plain(f"For your admin: {', '.join(named[:MOST_NAMED])}{more}; “{TITLE}” in report.md is the ticket to send", 1000)


TITLE = "Connections this target needs"


def ticket(report: Report, most: int = MOST_HOSTS) -> str:
    """The whole text, lines of at most 78 columns but for long names; "" where no host was asked at all."""
    return "\n".join(plain(line, 500).rstrip() for line in _lines(report, most)) + "\n" if report.hosts else ""


def _lines(report: Report, most: int) -> Iterator[str]:
    target, here = target_name(report), next((host.source for host in report.hosts if host.source), "")
    yield f"Subject: outgoing connections for {target}"
    yield ""
    machine = f"this machine ({here})" if here else "this machine"
    yield from _prose(f"To download {target}, {machine} has to open these TCP connections. None comes in from outside.")
    yield ""
    for host in report.hosts[:most]:
        yield f"  {_mark(host):<9} {_place(host)}  ({host.needed_for or 'files'})"
        yield from _prose("; ".join(filter(None, (f"at {', '.join(host.addresses[:4])}" if host.addresses else "", host.how))), " " * 12)
    if len(report.hosts) > most:
        yield f"  … and {len(report.hosts) - most} more in report.json"
    yield ""
    yield from _proxies(report)
    yield from _prose(_further(report))
    yield f"Seen at {report.case.started or 'an unknown time'} by pytest-diagnostics {report.version}. No credentials in here."


def _mark(host: Host) -> str:
    return MARKS.get(host.state, "BLOCKED" if host.state in BLOCKED else "reached, with trouble" if host.reached else "trouble")


def _place(host: Host) -> str:
    return authority(host.host, host.port)


def _proxies(report: Report) -> Iterator[str]:
    ways = dict.fromkeys(host.through for host in report.hosts)
    variables = {authority(leg.route.host, leg.route.port): leg.route.variable for leg in report.case.legs if leg.route.kind == "proxy"}
    for way in ways:
        if way:
            variable = f" (by {variables[way]})" if variables.get(way) else ""
            yield from _prose(
                f"Through the proxy {way}{variable}: this machine opens a connection to it, and it has to let CONNECT through to the hosts above."
            )
    if "" in ways:
        yield from _prose("No proxy is used" + (" for the others." if len(ways) > 1 else "."))


def _further(report: Report) -> str:
    """What else may be needed and was not seen: a hub names the hosts of the bytes only in its answers."""
    stopped = [host for host in report.hosts if host.state in BLOCKED or host.state == "not-tried"]
    if not stopped:
        return "The hosts were found by following the redirects of this very target."
    named = known.of_the_hub() if any(host.host == "huggingface.co" for host in stopped) else ()
    listed = f" For huggingface.co they are by its own list of {known.as_of()}: {', '.join(named)} (port 443; not tried)." if named else ""
    return f"The hosts were found by following redirects; those that only a blocked host would name are not known yet.{listed}"


def _prose(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(plain(text, 2000), WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
