"""What people typed and set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from diagnostics.case import CaVariable, ClientUse, Environment, Evidence, Files, Leg, Problem, ProxySetting, Subject, Target, Variable
from diagnostics.checks.test_files import broken_links
from diagnostics.checks.wording import fact
from diagnostics.facts import routes, stores
from diagnostics.facts.clients import clients_of, facts, is_for_hub_client, offline, title

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

PUBLIC_HUB = "https://huggingface.co"
# Read by programs of other people only: what is wrong with them is no matter of a model.
FOREIGN_CA = frozenset({"NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"})


def test_target_can_be_used(target: Target, expect: Expect) -> None:
    """Is what is to be loaded well-formed, and there if it is a path?"""
    if target.kind == "none" and not target.problem:
        expect.skip("no target was given")
        return
    problem = target.problem
    if isinstance(problem, Problem):
        subject = Subject(kind="target", name=target.spec)
        expect.that(
            False,
            problem.code,
            subject,
            fact(subject, "as given", target.spec, "org/name[@revision], a URL, a path or a list"),
            fact(subject, "what is wrong", problem.detail),
            step="setting",
        )
    else:
        expect.that(True, "target", Subject(kind="target", name=target.spec), step="setting")


def test_client_may_use_the_network(environment: Environment, target: Target, here: tuple[Files, ...], expect: Expect) -> None:
    """Is the client allowed on the network, or everything it needs here already?"""
    if target.kind != "hub":
        expect.skip("only a download from a hub minds the offline switches")
        return
    variable = offline(environment, target)
    complete = any(files.exists and files.files and not set(files.missing) - broken_links(files) for files in here)
    subject = _variable_subject(variable.name if variable else "HF_HUB_OFFLINE")
    missing = [name for files in here for name in files.missing if name not in broken_links(files)]
    seen = [fact(subject, "value", variable.value, "unset, or 0")] if variable else []
    seen += [
        fact(
            Subject(kind="folder", name=environment.caches.get("hub", "the cache")),
            "not here",
            ", ".join(missing[:8]) or "anything of this model",
            "every file of the revision",
        )
    ]
    expect.that(variable is None or complete, "offline-mode-set", subject, *seen, step="setting")


def test_endpoint_is_a_hub_address(environment: Environment, target: Target, expect: Expect) -> None:
    """Is HF_ENDPOINT, where it is set, the base URL of a hub?"""
    endpoint = environment.endpoint
    if not isinstance(endpoint, Variable):
        expect.skip("HF_ENDPOINT is not set")
        return
    subject = _variable_subject(endpoint.name)
    wrong = [fact(subject, "value", endpoint.value or "(empty)", PUBLIC_HUB), *_what_is_wrong(subject, endpoint)]
    expect.that(not endpoint.problem, "endpoint-misconfigured", subject, *wrong, severity="error" if _of_a_hub(target) else "warning", step="setting")


def test_client_settings_can_be_read(environment: Environment, target: Target, expect: Expect) -> None:
    """Can the client read its other settings?"""
    if not environment.settings:
        expect.skip("none is set")
    for setting in environment.settings:
        subject = _variable_subject(setting.name)
        read = setting.name.startswith("--") or is_for_hub_client(target)
        wrong = [fact(subject, "value", setting.value or "(empty)"), *_what_is_wrong(subject, setting)]
        expect.that(not setting.problem, "client-setting-invalid", subject, *wrong, severity="error" if read else "warning", step="setting")


def test_ca_variables_name_certificates(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Does every variable that names certificates lead to some?"""
    if not environment.ca:
        expect.skip("none is set")
    untrusted = any(leg.handshake and leg.handshake.outcome in ("untrusted", "store_unusable") for leg in legs)
    secure = not legs or any("https" in (leg.scheme, leg.route.scheme) for leg in legs)
    for variable in environment.ca:
        if variable.variable not in FOREIGN_CA:
            code, matters = _ca_verdict(variable, environment, target, untrusted, secure)
            subject = _variable_subject(variable.variable)
            seen = [fact(subject, "path", variable.path or "(empty)"), fact(subject, "what is there", described(variable), "certificates in PEM form")]
            expect.that(not code, code, subject, *seen, severity="error" if matters else "warning", step="setting")


def _ca_verdict(variable: CaVariable, environment: Environment, target: Target, untrusted: bool, secure: bool) -> tuple[str, bool]:
    """What is wrong with a variable ("" for nothing), and whether it keeps a client of this download from trusting anybody.

    ``secure``: TLS takes part. Without it only a client that opens its store whatever the address minds.
    """
    for use in clients_of(target):
        row = facts(use.family)
        for rule, decisive, code in stores.useless(row, environment):
            if decisive is variable:
                return code, untrusted or rule.bad == "error-always" or (secure and (rule.bad == "error-https" or row.replaces_store))
    return _broken_for_everybody(variable), False


def _broken_for_everybody(variable: CaVariable) -> str:
    """What is wrong whoever reads it. What is set and empty is nothing to most."""
    if not variable.path:
        return ""
    if variable.form == "missing":
        return "ca-bundle-missing"
    if variable.is_directory and variable.form == "unhashed":
        return "ca-directory-unhashed"
    return "" if variable.form in ("pem", "hashed") else "ca-bundle-invalid"


def described(variable: CaVariable) -> str:
    """What is at a CA variable's path, in words."""
    if variable.is_directory:
        return {
            "empty": "an empty folder",
            "unhashed": f"a folder of {variable.files} files, none with OpenSSL's hash name",
            "hashed": f"a folder with {variable.certificates} hashed certificates",
        }.get(variable.form, "a folder")
    words = {
        "missing": "nothing", "empty": "an empty file", "der": "a certificate in DER form", "text": "a file without a PEM certificate",
        "damaged-pem": "a PEM file that cannot be parsed", "pem": f"{variable.certificates} certificate{'s' * (variable.certificates != 1)}",
    }  # fmt: skip
    return words.get(variable.form, variable.form) if variable.readable else "a file that may not be read"


def test_proxy_variables_can_be_read(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Can every client of this download read the proxy variables?"""
    if not environment.proxies and not environment.no_proxy:
        expect.skip("no proxy variable is set")
    found = {
        (title(use), route.variable, route.problem): route
        for use, scheme, host, port in _requests(target, legs)
        for route in [routes.route(facts(use.family), environment, scheme, host, port)]
    }
    for (client, variable, problem), route in found.items():
        subject = _variable_subject(variable)
        # A SOCKS proxy is a matter of the tunnel: the value can be read.
        readable = route.kind != "unusable" or not isinstance(problem, Problem) or problem.code == "proxy-socks-unsupported"
        value = route.proxy or next((item.value for item in environment.no_proxy if item.name == variable), "")
        seen = [fact(subject, "value", value), fact(subject, f"what {client} makes of it", problem.detail)] if isinstance(problem, Problem) else []
        expect.that(readable, problem.code if isinstance(problem, Problem) else "proxy-url-invalid", subject, *seen, step="setting")


def test_no_proxy_is_understood(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Does the client understand the NO_PROXY entries that are meant for its hosts?"""
    if not environment.no_proxy:
        expect.skip("NO_PROXY is not set")
    uses = clients_of(target)[:1]
    for leg in legs:
        for use in uses:
            name, entry = routes.missed_entry(facts(use.family), environment, leg.scheme, leg.host, leg.port)
            # A proxy that serves the host all the same does no harm; neither does an entry that would not have helped.
            harmed = bool(entry) and leg.route.kind == "proxy" and any(answer.question == "direct" and answer.works for answer in leg.counterfactuals)
            subject = _variable_subject(name or "NO_PROXY")
            seen = [
                fact(subject, "entry", entry, f"a form that {title(use)} understands"),
                fact(subject, f"way to {leg.host}", f"through {leg.route.proxy}", "direct"),
            ]
            expect.that(not harmed, "no-proxy-invalid", subject, *seen, step="setting")


def test_proxy_variables_agree(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Do all clients of this download use the same proxy?"""
    if len({setting.variable for setting in environment.proxies}) < 2:
        expect.skip("fewer than two proxy variables are set")
        return
    if len(clients_of(target)) < 2:
        expect.skip("one client alone fetches this")
        return
    for scheme in dict.fromkeys(scheme for _, scheme, _, _ in _requests(target, legs)):
        chosen = {title(use): routes.proxy_of(facts(use.family), environment, scheme) for use in clients_of(target)}
        agree = len({_proxy_identity(setting) for setting in chosen.values()}) == 1
        names = tuple(dict.fromkeys(setting.variable for setting in environment.proxies if setting.variable.lower() in (f"{scheme}_proxy", "all_proxy")))
        subject = _variable_subject(" and ".join(names) or "the proxy variables")
        seen = [fact(subject, f"what {name} uses", f"{setting.variable}={setting.value}" if setting else "no proxy") for name, setting in chosen.items()]
        expect.that(agree, "proxy-variables-disagree", subject, *seen, severity="warning", step="setting")


def _proxy_identity(setting: ProxySetting | None) -> tuple[object, ...]:
    return (setting.host, setting.port or 0, setting.value if setting.problem else "") if setting else ()


def test_netrc_leaves_the_token_alone(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Does the token reach the hub, and no .netrc entry in its place?"""
    row = facts(target.client.family) if isinstance(target.client, ClientUse) else None
    if not environment.token.present or not environment.netrc or row is None or not row.netrc:
        expect.skip("there is no token, no .netrc, or the client does not read it")
        return
    for _scheme, host, _port in dict.fromkeys((scheme, host, port) for _, scheme, host, port in _requests(target, ())):
        entry = next((item for item in environment.netrc if item.host in (host, "default")), None)
        subject = Subject(kind="file", name=entry.path if entry else ".netrc")
        refused = any(leg.host == host and leg.response and leg.response.status in (401, 403, 404) for leg in legs)
        seen = [fact(subject, "entry for", entry.host if entry else "", f"none for {host}"), fact(subject, "token from", environment.token.source)]
        expect.that(entry is None, "netrc-overrides-token", subject, *seen, severity="error" if refused or row.netrc == "error" else "warning", step="setting")


def test_token_can_be_sent(environment: Environment, target: Target, legs: tuple[Leg, ...], expect: Expect) -> None:
    """Is the token one that can be sent?"""
    token = environment.token
    if not token.present and not token.problem:
        expect.skip("there is no token")
        return
    refused = any(leg.response and leg.response.status in (401, 403) for leg in legs)
    subject = Subject(kind="file" if "/" in token.source or "\\" in token.source else "variable", name=token.source)
    problem = token.problem if isinstance(token.problem, Problem) else None
    # An empty variable is as good as none wherever no token is needed.
    wrong = problem is not None and (problem.code != "empty" or refused)
    seen = [fact(subject, "what is wrong", problem.detail, "printable ASCII without white space")] if problem else []
    expect.that(not wrong, "token-malformed", subject, *seen, severity="error" if _of_a_hub(target) else "warning", step="setting")


def test_cache_variables_are_current(environment: Environment, expect: Expect) -> None:
    """Do only variables that the clients still read name the cache?"""
    if not environment.deprecated_caches:
        expect.skip("no old cache variable is set")
    for variable in environment.deprecated_caches:
        subject = _variable_subject(variable.name)
        wrong = [fact(subject, "value", variable.value, environment.caches.get("hub", "")), *_what_is_wrong(subject, variable)]
        expect.that(not variable.problem, "cache-variable-deprecated", subject, *wrong, severity="warning", step="setting")


def _variable_subject(name: str) -> Subject:
    return Subject(kind="variable", name=name)


def _what_is_wrong(subject: Subject, variable: Variable) -> list[Evidence]:
    return [fact(subject, "what is wrong", variable.problem.detail)] if isinstance(variable.problem, Problem) else []


def _of_a_hub(target: Target) -> bool:
    return target.kind == "hub" or (target.kind == "none" and not target.problem)


def _requests(target: Target, legs: tuple[Leg, ...]) -> Iterator[tuple[ClientUse, str, str, int]]:
    """Each client with each place it goes to: what was travelled, else what the target names."""
    places = dict.fromkeys([*((leg.scheme, leg.host, leg.port) for leg in legs), *_places(target)])
    for use in clients_of(target):
        yield from ((use, *place) for place in places)


def _places(target: Target) -> Iterator[tuple[str, str, int]]:
    for address in target.urls or ((target.endpoint or PUBLIC_HUB,) if _of_a_hub(target) else ()):
        try:
            parts = urlsplit(address)
            if parts.hostname:
                yield parts.scheme, parts.hostname, parts.port or routes.DEFAULT_PORTS.get(parts.scheme, 443)
        except ValueError:  # the target's own problem
            continue
