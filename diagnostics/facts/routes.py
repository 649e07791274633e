"""The way a client would take to a URL: the tables of ``clients.toml`` applied to the proxy variables of an Environment. Pure."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Iterable

from diagnostics.case import ABSENT, Environment, Header, Problem, ProxySetting, Route, Unseen, Variable
from diagnostics.facts.clients import ClientFacts, NoProxyRules, installed

DEFAULT_PORTS = {"http": 80, "https": 443}
SOCKS_PORT = 1080
WEB_SERVER_STATUSES = frozenset({400, 404, 405, 426, 501})  # what a web server says to CONNECT
# Fields that a proxy adds to answers of its own, and not to those it passes on: RFC 9110 §11.7; squid; Blue Coat, McAfee and other gateways.
PROXY_FIELDS = frozenset({"x-squid-error", "proxy-agent", "proxy-connection", "proxy-authenticate", "x-proxy-error", "x-block-reason"})
# Every rule that any client has: what a person may have meant by an entry.
LENIENT = NoProxyRules(
    prefer="lower", list_star=True, dot_covers_apex=True, star_prefix=True, spaces_separate=True, ports="always", urls=True, networks="both", trailing_dot=True
)


def authority(host: str, port: int) -> str:
    """``host:port``, an address of IPv6 in brackets (RFC 3986 §3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def has_proxy_fields(headers: Iterable[Header]) -> bool:
    """Whether an answer to CONNECT is a proxy's by its header: Via alone says so there, for nothing was passed on."""
    return any(header.name in PROXY_FIELDS or header.name == "via" for header in headers)


# --- which proxy --------------------------------------------------------------------------------------------------------------


def route(facts: ClientFacts, environment: Environment, scheme: str, host: str, port: int) -> Route:
    """How this client would reach ``scheme://host:port``: its own variables, its own NO_PROXY grammar, its own idea of what a proxy URL is."""
    kept_out = _no_proxy_is_star(facts, environment)
    if facts.no_proxy.kills and not kept_out and (entry := killing_entry(facts, environment)):
        variable = no_proxy_of(facts, environment)
        detail = f"{facts.title} ends at the entry {entry}"
        return Route(kind="unusable", variable=variable.name if variable else "", problem=Problem(code="no-proxy-invalid", detail=detail))
    if facts.eager and not kept_out and (broken := _any_broken(facts, environment, scheme)):
        return broken
    setting = proxy_of(facts, environment, scheme)
    if setting is None:
        return Route(kind="direct")
    if entry := matching_entry(facts, environment, scheme, host, port):
        return _through(facts, setting, "direct", scheme, bypassed_by=entry)
    if ignored(facts, setting):
        return Route(kind="direct", problem=Problem(code="proxy-form-ignored", detail=f"{facts.title} takes no notice of a proxy that is written so"))
    problem = problem_of(facts, environment, setting)
    if problem:
        return _through(facts, setting, "unusable", scheme, problem=problem)
    if setting.scheme == "https" and facts.https_proxy == "direct":
        return Route(kind="direct", problem=Problem(code="proxy-scheme-ignored", detail=f"{facts.title} ignores a proxy given as https://"))
    return _through(facts, setting, "proxy", scheme)


def ignored(facts: ClientFacts, setting: ProxySetting) -> bool:
    """Whether this client goes on without a proxy because of how it is written."""
    if isinstance(setting.problem, Problem):
        return setting.problem.code in facts.ignores
    return "scheme" in facts.ignores and bool(setting.scheme) and setting.scheme not in facts.schemes


def _spoken(facts: ClientFacts, setting: ProxySetting, url_scheme: str) -> str:
    """How the proxy is spoken to, whatever stands in front of its name."""
    if setting.scheme == "https" and (facts.https_proxy == "plain" or (facts.https_proxy == "plain-for-https" and url_scheme == "https")):
        return "http"
    if setting.scheme == "socks":  # curl, git: the oldest of them
        return "socks4"
    return "http" if facts.any_scheme and setting.scheme not in facts.schemes and not setting.scheme.startswith("socks") else setting.scheme or "http"


def _through(facts: ClientFacts, setting: ProxySetting, kind: str, url_scheme: str, bypassed_by: str = "", problem: Problem | Unseen = ABSENT) -> Route:
    scheme = _spoken(facts, setting, url_scheme)
    return Route(
        kind=kind,  # type: ignore[arg-type]
        variable=setting.variable,
        proxy=setting.value,
        scheme=scheme,
        host=setting.host,
        port=setting.port if isinstance(setting.port, int) else default_port(facts, scheme, url_scheme),
        credentials=setting.credentials,
        bypassed_by=bypassed_by,
        problem=problem,
    )


def default_port(facts: ClientFacts, proxy_scheme: str, url_scheme: str) -> int:
    """The port of a proxy URL that names none (curl and git: 1080; urllib: that of what is to be fetched; everybody else: that of the proxy's scheme)."""
    if proxy_scheme.startswith("socks"):
        return SOCKS_PORT
    if facts.default_port_of_url:
        return DEFAULT_PORTS[url_scheme]
    return 443 if proxy_scheme == "https" else facts.default_port


def proxy_of(facts: ClientFacts, environment: Environment, scheme: str) -> ProxySetting | None:
    """The variable that decides, for this client and a URL of this scheme, whatever its value; None where none does."""
    if facts.cgi == "all" and _is_cgi(environment):
        return None
    for key in (scheme, "all") if facts.all_proxy else (scheme,):
        setting = _python_form(environment, key) if facts.proxy_case == "python" else _named_form(facts, environment, key)
        if setting is not None and (setting.value or facts.empty == "direct"):
            return setting if setting.value else None
    return None


def _is_cgi(environment: Environment) -> bool:
    return any(variable.name == "REQUEST_METHOD" for variable in environment.settings)


def _python_form(environment: Environment, key: str) -> ProxySetting | None:
    """urllib.request.getproxies_environment: any case, then lower case, which also takes away when it is empty."""
    name, found = f"{key}_proxy", None
    for setting in environment.proxies:
        if setting.value and setting.variable.lower() == name:
            found = setting
    if key == "http" and _is_cgi(environment):
        found = None
    for setting in environment.proxies:
        if setting.variable.endswith("_proxy") and setting.variable.lower() == name:
            found = setting if setting.value else None
    return found


def _named_form(facts: ClientFacts, environment: Environment, key: str) -> ProxySetting | None:
    lower, upper = f"{key}_proxy", f"{key}_proxy".upper()
    names = {"lower": (lower, upper), "upper": (upper, lower), "lower-only": (lower,)}[facts.proxy_case]
    readable = [name for name in names if not (name == "HTTP_PROXY" and not facts.upper_http)]
    by_name = {setting.variable: setting for setting in environment.proxies if setting.value or facts.empty != "unset"}
    return next((by_name[name] for name in readable if name in by_name), None)


def variables_not_read(facts: ClientFacts, environment: Environment, scheme: str) -> tuple[ProxySetting, ...]:
    """Usable proxy variables that are set though this client finds none for a URL of this scheme: a form, case or scheme it does not read."""
    setting = proxy_of(facts, environment, scheme)
    if setting is not None and not (setting.scheme == "https" and facts.https_proxy == "direct"):
        return ()
    kinds = ("http_proxy", "https_proxy", "all_proxy")
    return tuple(item for item in environment.proxies if item.host and not item.problem and item.variable.lower() in kinds)


def problem_of(facts: ClientFacts, environment: Environment, setting: ProxySetting) -> Problem | Unseen:
    """Why this client cannot use the value; ABSENT where it can."""
    if isinstance(setting.problem, Problem) and setting.problem.code not in facts.tolerates:
        return Problem(code="proxy-url-invalid", detail=setting.problem.detail)
    if not setting.scheme:
        return (
            ABSENT
            if facts.schemeless or setting.problem
            else Problem(code="proxy-url-invalid", detail=f"{facts.title} needs http:// in front of the proxy's name")
        )
    if setting.scheme.startswith("socks"):
        return _socks_problem(facts, environment, setting.scheme)
    if setting.scheme not in facts.schemes:
        return (
            ABSENT
            if facts.any_scheme or (facts.https_proxy != "tls" and setting.scheme == "https")
            else Problem(code="proxy-url-invalid", detail=f"{setting.scheme}:// is no kind of proxy that {facts.title} knows")
        )
    return ABSENT


def _socks_problem(facts: ClientFacts, environment: Environment, scheme: str) -> Problem | Unseen:
    if facts.socks == "none":
        return Problem(code="proxy-socks-unsupported", detail=f"{facts.title} has no SOCKS support")
    if scheme not in facts.schemes:
        usable = next((name for name in ("socks5h", "socks5") if name in facts.schemes), "http")
        return Problem(code="proxy-url-invalid", detail=f"{facts.title} does not know {scheme}://, write {usable}://")
    if facts.socks != "builtin" and not installed(environment.distributions, facts.socks):
        return Problem(code="proxy-socks-unsupported", detail=f"{facts.title} needs the package {facts.socks} for a SOCKS proxy")
    return ABSENT


def _any_broken(facts: ClientFacts, environment: Environment, scheme: str) -> Route | None:
    """httpx builds a client for every variable at the start: one bad value ends it, whatever the URL. aiohttp only takes each apart."""
    for key in dict.fromkeys((scheme, "http", "https", "all") if facts.all_proxy else (scheme, "http", "https")):
        setting = _python_form(environment, key)
        counts = setting is not None and not ignored(facts, setting) and (facts.eager == "all" or bool(setting.problem))
        problem = problem_of(facts, environment, setting) if setting is not None and counts else ABSENT
        parses = setting is not None and isinstance(setting.problem, Problem) and setting.problem.code in ("port-range", "host-missing")
        if facts.eager == "all" and parses and key not in (scheme, "all"):
            continue  # only a connection fails at it
        if setting is not None and problem:
            return _through(facts, setting, "unusable", scheme, problem=problem)
    return None


# --- which hosts go direct ----------------------------------------------------------------------------------------------------


def no_proxy_of(facts: ClientFacts, environment: Environment) -> Variable | None:
    """The form of NO_PROXY that this client reads; None where it finds none."""
    rules = facts.no_proxy
    order = {"lower": ("no_proxy", "NO_PROXY"), "upper": ("NO_PROXY", "no_proxy"), "lower-only": ("no_proxy",)}[rules.prefer]
    by_name = {variable.name: variable for variable in environment.no_proxy if variable.value or rules.empty_hides}
    found = next((by_name[name] for name in order if name in by_name), None)
    if found is None and facts.proxy_case == "python":
        found = next((variable for variable in environment.no_proxy if variable.name not in order and variable.value), None)
    # Python only lets the lower-case form take away; an empty NO_PROXY is as good as none.
    return found if found is not None and found.value else None


def _no_proxy_is_star(facts: ClientFacts, environment: Environment) -> bool:
    variable = no_proxy_of(facts, environment)
    return variable is not None and facts.no_proxy.list_star and "*" in entries(facts.no_proxy, variable.value)


def entries(rules: NoProxyRules, value: str) -> list[str]:
    """The entries of a NO_PROXY value, as this client splits it."""
    parts = value.replace(" ", ",").split(",") if rules.spaces_separate else value.split(",")
    return [part.strip() for part in parts if part.strip()]


def matching_entry(facts: ClientFacts, environment: Environment, scheme: str, host: str, port: int) -> str:
    """The entry that sends this host direct, as this client reads it; "" where none does."""
    variable = no_proxy_of(facts, environment)
    return _first_match(facts.no_proxy, variable.value, scheme, host, port) if variable else ""


def missed_entry(facts: ClientFacts, environment: Environment, scheme: str, host: str, port: int) -> tuple[str, str]:
    """The variable and the entry that were meant for this host and that this client does not understand so; ("", "") where there is none."""
    if matching_entry(facts, environment, scheme, host, port):
        return "", ""
    for variable in environment.no_proxy:
        if entry := meant(variable.value, scheme, host, port):
            return variable.name, entry
    return "", ""


def meant(value: str, scheme: str, host: str, port: int) -> str:
    """The first entry that a person may have written for this host: separated and quoted as on any system, with stars anywhere."""
    for entry in re.split(r"[,;\s\"']+", value):
        starred = "*" in entry and entry.strip("*.") and fnmatch.fnmatchcase(host.lower(), entry.lower())
        if entry and (starred or _first_match(LENIENT, entry, scheme, host, port)):
            return entry
    return ""


def killing_entry(facts: ClientFacts, environment: Environment) -> str:
    """The first entry that ends a client which cannot parse it (httpx 0.28: addresses of IPv6 in brackets or with a prefix, ports that are no number)."""
    variable = no_proxy_of(facts, environment)
    return next((entry for entry in entries(facts.no_proxy, variable.value) if _kills(entry)), "") if variable else ""


def _kills(entry: str) -> bool:
    bare = entry.split("://", 1)[-1]
    if _address(bare) is not None:
        return False
    if "://" not in entry and (bare.startswith("[") or ":" in bare.split("/")[0].rpartition(":")[0]):
        return True
    return not bare.partition("/")[0].partition(":")[2].isdigit() and ":" in bare.partition("/")[0]


def _first_match(rules: NoProxyRules, value: str, scheme: str, host: str, port: int) -> str:
    if value.strip() == "*":
        return "*"
    host = f"[{host}]" if rules.bracketed and ":" in host else host
    visible = port if port != DEFAULT_PORTS.get(scheme) else 0  # a client compares the port only where the URL spells it out
    return next((entry for entry in entries(rules, value) if _covers(rules, entry.lower(), scheme, host.lower(), visible)), "")


def _covers(rules: NoProxyRules, entry: str, scheme: str, host: str, port: int) -> bool:
    """Whether one entry covers a host. ``port`` is 0 where the URL names none."""
    if entry == "*":
        return rules.list_star
    if "://" in entry:
        return rules.urls and _covers_url(entry, scheme, host, port)
    if "/" in entry and not rules.cut_path:
        return _in_network(rules, entry, host)
    entry = entry.partition("/")[0]
    name, entry_port = _split_port(entry)
    address = _address(host)
    if entry_port:
        usable = rules.ports == "always" or (rules.ports == "names" and not (address and address.version == 4))
        return usable and entry_port == port and _covers_name(rules, name, host)
    return _covers_name(rules, name, host)


def _covers_url(entry: str, scheme: str, host: str, port: int) -> bool:
    entry_scheme, _, rest = entry.partition("://")
    name, entry_port = _split_port(rest.split("/")[0])
    wanted = 0 if entry_port == DEFAULT_PORTS.get(entry_scheme) else entry_port
    return entry_scheme in ("all", scheme) and name.strip("[]") == host and wanted in (0, port)


def _covers_name(rules: NoProxyRules, entry: str, host: str) -> bool:
    entry = entry.rstrip(".") if rules.trailing_dot else entry
    address = _address(host)
    if rules.exact_addresses and address is not None:
        meant = _address(entry.strip("[]") if rules.brackets else entry)
        if meant is not None or not rules.address_suffixes:
            return meant == address
    if entry.startswith("*."):
        return rules.star_prefix and host.endswith(entry[1:])
    bare = entry.lstrip(".")
    if host == bare:
        return bool(bare) and (entry == bare or rules.dot_covers_apex)
    return bool(bare) and host.endswith("." + bare)


def _in_network(rules: NoProxyRules, entry: str, host: str) -> bool:
    address = _address(host)
    if address is None or not rules.networks or (rules.networks == "ipv4" and address.version != 4):
        return False
    try:
        return address in ipaddress.ip_network(entry.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int]:
    """``host:port`` → both; port 0 where there is none (an IPv6 address without brackets has none)."""
    name, colon, digits = entry.rpartition(":")
    if colon and digits.isascii() and digits.isdigit() and len(digits) <= 5 and (":" not in name or name.endswith("]")):
        return name, int(digits)
    return entry, 0


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
