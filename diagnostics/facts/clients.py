"""What each download client reads from its environment, and trusts: the reader of ``clients.toml``."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import re
import tomllib
from typing import Any, Literal

from diagnostics.case import ABSENT, ClientUse, Distribution, Environment, Problem, Target, Unseen, Variable, record

OLD_AFTER_DAYS = 365


@record
class NoProxyRules:
    """How a client reads NO_PROXY. Every client matches a bare name and (by suffix) what lies under it."""

    prefer: Literal["lower", "upper", "lower-only"]
    empty_hides: bool = False  # the preferred form, set and empty, hides the other
    list_star: bool = False  # "*" counts as one entry among others, not only alone
    dot_covers_apex: bool = False  # ".host" covers "host" itself
    star_prefix: bool = False  # "*.host" is understood
    spaces_separate: bool = False
    ports: Literal["always", "names", "never"] = "never"  # "host:port" is understood (for names only, or for addresses too)
    urls: bool = False  # "https://host" is understood
    networks: Literal["", "ipv4", "both"] = ""  # address/bits is understood
    trailing_dot: bool = False  # "host." is "host"
    exact_addresses: bool = False  # an address matches only itself, no suffix of it
    address_suffixes: bool = False  # … but what is no whole address ("0.0.1") is compared as the end of one
    brackets: bool = True  # "[::1]" as an entry is that address
    cut_path: bool = False  # what stands behind a "/" is not looked at
    bracketed: bool = False  # compares "[::1]", so that only an entry in brackets covers an IPv6 address
    kills: bool = False  # an entry it cannot parse ends the client


@record
class CaRule:
    """One variable that a client takes its trust store from."""

    variable: str
    takes: Literal["file", "directory", "either"]
    bad: Literal["error-always", "error-https", "ignored"]  # what a path that cannot be loaded does
    unhashed: bool = False  # files of a folder need no OpenSSL hash names
    empty: Literal["unset", "set"] = "unset"  # set and empty: as if unset, or a store without a root


@record
class ClientFacts:
    """One family of clients. Times are seconds, 0 means none."""

    family: str
    title: str
    distribution: str  # canonical name on the package index; "" for what is no distribution
    proxy_case: Literal["python", "lower", "upper", "lower-only"]  # which form wins; "python": any case is read, lower wins
    empty: Literal["falls-through", "unset", "direct"]  # a form that wins and is empty: on to ALL_PROXY; as if unset; no proxy at all
    upper_http: bool = True  # HTTP_PROXY in upper case is read
    all_proxy: bool = True
    cgi: Literal["", "http", "all"] = ""  # what is dropped where REQUEST_METHOD is set (CVE-2016-1000110): HTTP_PROXY, or every proxy variable
    schemes: tuple[str, ...]  # of the proxy's URL
    socks: str  # "builtin", "none", or the distribution that it needs
    https_proxy: Literal["tls", "plain", "plain-for-https", "direct"]  # an https:// proxy: TLS to it; taken for http:// (for https URLs only); ignored
    any_scheme: bool = False  # what else stands in front of a proxy is taken for http://
    schemeless: bool = True
    default_port: int = 80
    default_port_of_url: bool = False  # a proxy without a port is looked for at the port of the URL's scheme
    tolerates: tuple[str, ...] = ()  # codes of ProxySetting.problem that do it no harm
    ignores: tuple[str, ...] = ()  # codes for which it goes direct, without a word; "scheme" is one that it does not know
    eager: Literal["", "all", "parse"] = ""  # every proxy variable is made ready (or parsed only) at the start, whatever the URL
    no_proxy: NoProxyRules
    default_store: Literal["certifi", "os"]
    ca: tuple[CaRule, ...] = ()  # in order
    replaces_store: bool = True  # the first variable that is set is the only store; False: file and folder replace their like
    first_variable: bool = False  # … of the first that is set
    variables_add: bool = False  # all variables that are set make up the store
    tls: Literal["python", "rustls", "openssl", "gnutls", "go"] = "python"  # "python": the OpenSSL of its interpreter
    common_name: bool = True  # a certificate without alternative names counts for the name in its subject
    strict: Literal["always", "with-variable", "never"]  # create_default_context: VERIFY_X509_STRICT from Python 3.13
    netrc: Literal["", "wins", "error"] = ""  # what an entry does to a token
    head_first: bool = False
    connect_seconds: float = 0
    read_seconds: float = 0
    retries: int = 0  # further tries where no connection comes about
    redirects: int = 0  # that are followed
    keeps_token: bool = False  # across a redirect to another host
    verifies: tuple[str, ...] = ("length", "encoding")  # of what came: against Content-Length, and that it unpacks; nobody has a digest to compare with
    source: str = ""


@record
class TrustSource:
    """The store a client would verify certificates with. The paths are to be opened as they are."""

    store: str  # "certifi", "os", or the variable's name
    cafile: str = ""
    capath: str = ""
    strict: bool = False
    unhashed: bool = False  # every file of the folder counts, whatever its name
    common_name: bool = True
    problem: Problem | Unseen = ABSENT


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("clients.toml").read_text(encoding="utf-8"))


@functools.cache
def families() -> tuple[str, ...]:
    """Every family the table knows."""
    return tuple(name for name, value in _table().items() if isinstance(value, dict))


@functools.cache
def facts(family: str) -> ClientFacts:
    """The table's row for ``family``. Raises KeyError for one it does not have."""
    row = dict(_table()[family])
    row = {**_table()[row.pop("like")], **row} if "like" in row else row
    row["no_proxy"] = NoProxyRules(**row["no_proxy"])
    row["ca"] = tuple(CaRule(**rule) for rule in row["ca"])
    row |= {name: tuple(row[name]) for name in ("schemes", "tolerates", "ignores", "verifies") if name in row}
    return ClientFacts(family=family, **row)


def as_of() -> datetime.date:
    """The day the table was measured."""
    day = _table()["as_of"]
    assert isinstance(day, datetime.date)
    return day


def outdated(today: datetime.date | None = None) -> str:
    """A sentence to show where the table is older than a year, else ""."""
    age = ((today or datetime.date.today()) - as_of()).days
    return (
        f"what is known of the clients' settings is of {as_of().isoformat()}, {age} days old: a newer release of pytest-diagnostics may know better"
        if age > OLD_AFTER_DAYS
        else ""
    )


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(distributions: tuple[Distribution, ...], name: str) -> Distribution | None:
    """The distribution ``name`` that an import would find, or None."""
    return next((item for item in distributions if canonical(item.name) == canonical(name)), None)


def title(use: ClientUse) -> str:
    """A client as a person calls it, with its version: "huggingface_hub 2.4.0"."""
    return f"{facts(use.family).title} {use.version}".strip()


def clients_of(target: Target) -> tuple[ClientUse, ...]:
    """Every client that takes part in fetching ``target``."""
    return (*((target.client,) if isinstance(target.client, ClientUse) else ()), *target.transports)


def is_for_hub_client(target: Target) -> bool:
    """Whether huggingface_hub fetches ``target``: the one that is installed, or the one that will be where another stands in for it."""
    stands_in = isinstance(target.client, ClientUse) and not target.client.installed
    return any(use.family.startswith("huggingface_hub") for use in clients_of(target)) or (target.kind == "hub" and (stands_in or not target.client))


def reads_ca(row: ClientFacts, variable: str) -> CaRule | None:
    """The rule by which a client reads a CA variable; None where it does not."""
    return next((rule for rule in row.ca if rule.variable == variable), None)


def offline(environment: Environment, target: Target) -> Variable | None:
    """The variable that keeps the client of ``target`` off the network, if one does (huggingface_hub constants.py, datasets config.py).

    HF_HUB_OFFLINE decides where it holds anything at all, even a "0"; TRANSFORMERS_OFFLINE is asked only else.
    """
    if not is_for_hub_client(target):
        return None
    by_name = {variable.name: variable for variable in environment.offline if variable.value}
    deciding = by_name.get("HF_HUB_OFFLINE") or by_name.get("TRANSFORMERS_OFFLINE")
    if target.repository_type == "dataset" and not (deciding and deciding.truthy):
        deciding = by_name.get("HF_DATASETS_OFFLINE", deciding)
    return deciding if deciding and deciding.truthy else None
