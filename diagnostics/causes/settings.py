"""Settings: what the environment tells the clients, and what the person typed.

A variable of the person's own that explains an interception or a time-out is the root; the symptom stands under it.
"""

from __future__ import annotations

import shlex
from typing import Any
from urllib.parse import urlsplit

from diagnostics.case import Case, Cause, ClientUse, Fault, Finding, Leg, Problem, Remedy, Severity, Unseen
from diagnostics.causes import settings_ca, settings_proxy, settings_target
from diagnostics.causes.claims import again, journey_of, on_legs, sign_in_page
from diagnostics.causes.settings_common import by_setting, finding_of, quoted, set_variable, simple, unset
from diagnostics.facts.clients import title
from diagnostics.facts.hosts import is_known_public

PUBLIC_HUB = "https://huggingface.co"
FOLLOWED_NOWHERE = "the client does not follow that move when it asks for a file's headers"  # utils/_http.py, hub 1.x and 2.x; file_download.py, 0.x
API_JOURNEYS = frozenset({"listing", "hub"})


# --- offline, endpoint, other settings ----------------------------------------------------------------------------------------


def _offline(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """Our own fault, and whatever the files' checks miss in the cache because nothing may be fetched."""
    found = []
    for name, members, known in by_setting("offline-mode-set", faults, "offline-mode-set"):
        absent = [
            fault
            for fault in faults
            if fault.step == "files" and fault.code in ("not-cached", "file-missing", "config-missing", "weights-missing", "shard-missing")
        ]
        found.append(
            finding_of(
                "offline-mode-set",
                [*members, *absent],
                known | {"value": known.get("value", "1"), "missing": _lacking(known.get("not here", ""))},
                ruled_out=(f"a fault of the network: {name} kept the client from asking",),
            )
        )
    return found


def _lacking(names: str) -> str:
    return f"the cache lacks {names}" if names and not names.startswith("anything") else "the cache holds nothing of this model"


def _offline_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, target = finding.facts["name"], case.target
    fetch = (
        f"hf download {shlex.quote(target.name)}"
        + (f" --revision {shlex.quote(target.revision)}" if target.revision != "main" else "")
        + (" --repo-type dataset" if target.repository_type == "dataset" else "")
    )
    others = [variable.name for variable in case.environment.offline if variable.truthy and variable.name != name]
    return [
        Remedy(
            do="Let the client use the network." if not others else f"Let the client use the network ({', '.join(others)} is set too).",
            run=unset(name, *others),
            check=again(case),
        ),
        Remedy(
            do="Or fill the cache on a machine with network, with the same cache folder, and stay offline here.",
            run=f"env -u {name} {fetch}",
            check=again(case),
        ),
    ]


def _endpoint(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The value itself; or the host that it names answers, and not as a hub."""
    endpoint = case.environment.endpoint
    if isinstance(endpoint, Unseen):
        return []
    members = [fault for fault in faults if fault.step == "setting" and fault.code == "endpoint-misconfigured"]
    answers = [
        (fault, leg)
        for step in ("response", "body")
        for fault, leg in on_legs(case, faults, step, "status", "page", "not-json", "redirect", "html")
        if _not_a_hub(case, fault, leg)
    ]
    moved = [fault for fault, leg in on_legs(case, faults, "response", "metadata") if _moved_to_https(leg)]
    if not members and not answers and moved:
        known = {"name": endpoint.name, "value": endpoint.value, "stands": f"is set to “{endpoint.value}”, which moves to https", "detail": FOLLOWED_NOWHERE}
        return [finding_of("endpoint-misconfigured", moved, known)]
    if not members and not answers:
        return []
    # What is no hub is none to the files' requests either.
    hosts = {leg.host for _, leg in answers}
    members += [fault for step in ("response", "body") for fault, leg in on_legs(case, faults, step) if leg.host in hosts]
    known = {
        "name": endpoint.name,
        "value": endpoint.value,
        "stands": f"is set to “{endpoint.value}”, which is no hub's base URL" if endpoint.value else "names no hub",
        "detail": endpoint.problem.detail if isinstance(endpoint.problem, Problem) else "what answers there is no hub",
    }
    return [finding_of("endpoint-misconfigured", members, known)]


def _moved_to_https(leg: Leg) -> bool:
    """The same address in https: for a file's HEAD the client stays with the scheme, host and port it began with, so it takes the redirect for the file."""
    here, there = urlsplit(leg.url), urlsplit(leg.response.location if leg.response else "")
    return (here.scheme, there.scheme) == ("http", "https") and here.hostname == there.hostname


def _not_a_hub(case: Case, fault: Fault, leg: Leg) -> bool:
    """Whether the API's first answer comes from something that is no hub. A hub's own refusal carries its error code; a filter's page is the filter's."""
    journey, response = journey_of(case, fault), leg.response
    if journey is None or journey.name not in API_JOURNEYS or not response or is_known_public(journey.legs[0].host):
        return journey is not None and journey.name in API_JOURNEYS and bool(response) and _has_path(case) and fault.code in ("status", "page", "not-json")
    names = {header.name for header in response.headers}
    told = names & {"x-error-code", "x-repo-commit", "x-error-message"}
    strange = response.status in (404, 405, 410, 501) or fault.code in ("page", "not-json", "html", "redirect")
    if _has_path(case) and response.status == 404 and "x-error-code" not in names:
        return True
    # A mirror that answers in JSON speaks the hub's language; a sign-in page of the network stands before every host, this one too.
    return strange and not told and response.content != "json" and not sign_in_page(journey)


def _has_path(case: Case) -> bool:
    """A path behind the public hub's host: a page's address was pasted where the base URL is meant."""
    endpoint = case.environment.endpoint
    return not isinstance(endpoint, Unseen) and "/" in endpoint.value.partition("://")[2].rstrip("/")


def _endpoint_remedies(finding: Finding, case: Case) -> list[Remedy]:
    value = finding.facts["value"].strip().strip("\"'")
    suggestion = _base_of(value)
    if finding.facts["detail"] == FOLLOWED_NOWHERE:
        whole = "https://" + value.partition("://")[2]
        return [Remedy(do="Write https:// in it.", run=set_variable("HF_ENDPOINT", whole), check=again(case))]
    without = Remedy(do=f"Take it away: the client then uses {PUBLIC_HUB}.", run=unset("HF_ENDPOINT"), check=again(case))
    if not suggestion:
        return [without]
    if suggestion.rstrip("/") == value.rstrip("/"):
        host = suggestion.partition("://")[2]
        do = f"Ask whoever runs {host} for the base URL of its hub (Artifactory: https://HOST/artifactory/api/huggingfaceml/REPOSITORY, Nexus: https://HOST/repository/NAME)."
        return [Remedy(do=do, check=f"curl -sSL {shlex.quote(suggestion + '/api/models?limit=1')}"), without]
    base = Remedy(
        do="Give the hub's base URL.", run=set_variable("HF_ENDPOINT", suggestion), check=f"curl -sS {shlex.quote(suggestion + '/api/models?limit=1')}"
    )
    return [base, without]


def _base_of(value: str) -> str:
    """What was probably meant: https in front, no path of a page, no white space. "" where that is no guess to make."""
    bare = value.partition("?")[0].partition("#")[0]
    scheme, _, rest = bare.rpartition("://")
    authority = rest.partition("/")[0]
    if (
        not authority
        or any(char.isspace() or char in "…*@\"'<>" for char in authority)
        or (not authority.partition(":")[2].isdigit() * (":" in authority) and ":" in authority)
    ):
        return ""
    return f"{scheme if scheme in ('http', 'https') else 'https'}://{authority}"


def _setting_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name = finding.facts["name"]
    if name.startswith("--"):
        return [Remedy(do=f"Give the path of a Python interpreter with {name}.", run="command -v python3", check="python3 --version")]
    return [
        Remedy(do=f"Give {name} a whole number of seconds.", run=set_variable(name, "30"), check='python -c "import huggingface_hub"'),
        Remedy(do="Or take it away.", run=unset(name), check='python -c "import huggingface_hub"'),
    ]


# --- token, netrc, caches -----------------------------------------------------------------------------------------------------


def _netrc(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The entry, and the refusals of its host."""
    found = []
    for name, members, known in by_setting("netrc-overrides-token", faults, "netrc-overrides-token"):
        entry = known.get("entry for", "")
        refused = [
            fault
            for fault, leg in on_legs(case, faults, "response", "status")
            if entry in (leg.host, "default") and leg.response and leg.response.status in (401, 403, 404)
        ]
        use = case.target.client if isinstance(case.target.client, ClientUse) else ClientUse(family="requests")
        found.append(
            finding_of(
                "netrc-overrides-token",
                [*members, *refused],
                known | {"path": name, "entry": entry, "client": title(use), "source": case.environment.token.source},
            )
        )
    return found


def _netrc_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path, entry = finding.facts["path"], finding.facts["entry"]
    return [
        Remedy(do="Let this client read no .netrc.", run=set_variable("NETRC", "/dev/null"), check=again(case)),
        Remedy(do=f"Or remove the entry “{entry}” from {path}.", run=f"grep -n {shlex.quote(entry)} {quoted(path)}", check=again(case)),
    ]


def _token(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """The token, and the refusals that a broken one earns."""
    found = []
    for name, members, known in by_setting("token-malformed", faults, "token-malformed"):
        refused = [
            fault
            for fault, leg in on_legs(case, faults, "response", "status")
            if leg.response and leg.response.status in (401, 403) and (leg.token_sent or not case.environment.token.present)
        ]
        problem = case.environment.token.problem
        gist = {"empty": "is empty"}.get(problem.code if isinstance(problem, Problem) else "", "cannot be sent as it is")
        found.append(finding_of("token-malformed", [*members, *refused], known | {"name": name, "detail": known["detail"], "gist": gist}))
    return found


def _token_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name = finding.facts["name"]
    if "/" in name or "\\" in name:
        return [Remedy(do=f"Log in again: that writes {name} anew.", run="hf auth login", check="hf auth whoami")]
    return [
        Remedy(
            do=f"Set {name} again, to the token alone (hf_… , no quotation marks, no line break); or take it away and log in.",
            run=f"{unset(name)} && hf auth login",
            check="hf auth whoami",
        ),
    ]


def _cache_remedies(finding: Finding, case: Case) -> list[Remedy]:
    name, value = finding.facts["name"], finding.facts["value"]
    return [
        Remedy(
            do="Name the cache with HF_HUB_CACHE, which every client reads, if that folder is meant.",
            run=f"{unset(name)} && {set_variable('HF_HUB_CACHE', value)}" if case.environment.shell == "posix" else set_variable("HF_HUB_CACHE", value),
            check="hf env",
        ),
        Remedy(do=f"Or take {name} away: the cache in use stays {case.environment.caches.get('hub', 'what it is')}.", run=unset(name), check="hf env"),
    ]


def _cause(id: str, title: str, why: str, recognise: Any, remedies: Any, severity: Severity = "error", lab: str | Unseen | None = None) -> Cause:
    return Cause(id=id, owner=("you",), title=title, why=why, recognise=recognise, remedies=remedies, severity=severity, lab=lab if lab is not None else id)


CAUSES: tuple[Cause, ...] = (
    _cause(
        "path-missing",
        "{path} is not there",
        "“{spec}” is a path of this machine, and nothing is at it: {detail}.",
        settings_target.target_cause("path-missing"),
        settings_target.path_remedies,
    ),
    _cause(
        "url-invalid",
        "“{spec}” is no URL that can be downloaded: {detail}",
        "No client can begin with it.",
        settings_target.target_cause("url-invalid"),
        settings_target.url_remedies,
    ),
    _cause(
        "model-id-invalid",
        "“{spec}” can be no model: {detail}",
        "It is neither a path that exists nor a well-formed repository id, so the loader fails before it asks anybody.",
        settings_target.target_cause("model-id-invalid", *settings_target.NO_MODEL),
        settings_target.id_remedies,
    ),
    _cause(
        "local-directory-shadows-id",
        "the folder {path} stands in the way of the repository “{spec}”",
        "A loader takes a folder with the model's name for the model, and this one holds no config.json.",
        settings_target.target_cause("local-directory-shadows-id"),
        settings_target.shadow_remedies,
    ),
    _cause(
        "client-setting-invalid",
        "{name} is set to “{value}”: {detail}",
        "The client reads it when it is imported, and fails there.",
        simple("client-setting-invalid"),
        _setting_remedies,
    ),
    _cause(
        "offline-mode-set",
        "{name}={value} keeps the client off the network, and {missing}",
        "While it is set, the client asks nobody and takes everything from the cache; what is not there cannot be loaded.",
        _offline,
        _offline_remedies,
    ),
    _cause(
        "endpoint-misconfigured",
        "HF_ENDPOINT {stands}: {detail}",
        "Every request of the hub's client begins with it.",
        _endpoint,
        _endpoint_remedies,
    ),
    _cause(
        "ca-bundle-missing",
        "{name} names {path}, which does not exist",
        "It is read by {readers}. A client that reads it trusts nobody, or ends with an error that names no path.",
        settings_ca.bad_ca("ca-bundle-missing"),
        settings_ca.missing_ca_remedies,
    ),
    _cause(
        "ca-bundle-invalid",
        "{name} names {path}, which holds no certificate that can be read ({there})",
        "It is read by {readers}, in place of the client's own store.",
        settings_ca.bad_ca("ca-bundle-invalid"),
        settings_ca.invalid_ca_remedies,
    ),
    _cause(
        "ca-directory-unhashed",
        "{name} names {path}, whose files lack the names that OpenSSL looks for",
        "Python's clients, curl and git read only files called by the hash of their subject, like 5ed36f99.0; hf_xet and git-lfs read all. It is read by {readers}.",
        settings_ca.bad_ca("ca-directory-unhashed"),
        settings_ca.unhashed_remedies,
    ),
    _cause(
        "ca-variable-ignored",
        "{name} is set, and {client} does not read it: {host} is not trusted",
        "The certificate of {host} holds with the certificates in {path} and fails with {store}, which {client} uses.",
        settings_ca.ignored_ca,
        settings_ca.ignored_ca_remedies,
    ),
    _cause(
        "ca-bundle-incomplete",
        "{name} leaves {client} with {count} a root of {host}",
        "The file {path} replaces the client's whole store; {store} trusts this host.",
        settings_ca.incomplete,
        settings_ca.incomplete_remedies,
    ),
    _cause(
        "proxy-variables-disagree",
        "the clients of this download use different proxies: {names} are not alike{state}",
        "{ways}. Python's clients prefer the lower-case form, hf_xet the upper-case one.",
        settings_proxy.disagree,
        settings_proxy.disagree_remedies,
    ),
    _cause(
        "no-proxy-invalid",
        "{client} cannot use the entry “{entry}” in {name}",
        "It {effect}; other clients may.",
        settings_proxy.no_proxy,
        settings_proxy.no_proxy_remedies,
    ),
    _cause(
        "proxy-variable-ignored",
        "{name} is set, and {client} does not use it for {host}: {because}",
        "The client therefore connects directly, and this network does not let it.",
        settings_proxy.ignored_proxy,
        settings_proxy.ignored_proxy_remedies,
    ),
    _cause(
        "netrc-overrides-token",
        "the entry “{entry}” in {path} replaces the token from {source}",
        "{client} sends the login of a .netrc entry in place of the token, so a private or gated repository is refused.",
        _netrc,
        _netrc_remedies,
    ),
    _cause(
        "token-malformed",
        "the token in {name} {gist}: {detail}",
        "No header may hold such a token, or the hub does not know it; the token itself is not shown here.",
        _token,
        _token_remedies,
    ),
    _cause(
        "cache-variable-deprecated",
        "{name} names another cache than the one in use: {detail}",
        "It comes from an older release of the clients.",
        simple("cache-variable-deprecated"),
        _cache_remedies,
        severity="warning",
    ),
)
