"""HTTP: who answered, and what it says. The status alone tells little; the headers tell whether the origin spoke or something between.

Statuses: RFC 9110, 429 and 511: RFC 6585, 451: RFC 7725. Hub headers: huggingface_hub ``utils/_http.py`` (``X-Error-Code``, ``X-Request-Id``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Cause, Fault, Finding, Leg, Listing, Remedy, Response, Subject
from diagnostics.causes.claims import (
    again,
    all_in_one,
    by_subject,
    counterfactual,
    hosts_needed,
    journey_of,
    offline_remedy,
    on_legs,
    sign_in_page,
    with_same_answers,
    works,
)
from diagnostics.facts import hosts

HUB_HEADERS = frozenset({"x-error-code", "x-error-message", "x-repo-commit", "x-request-id", "x-linked-etag", "x-xet-hash"})
API_JOURNEYS = ("hub", "listing", "tree")
QUOTA_WORDS = (
    "quota exceeded",
    "quota has been exceeded",
    "exceeded the quota",
    "download quota",
    "bandwidth quota",
    "over its data quota",
    "exceeded their data quota",
    "exceeded its lfs budget",
    "too many users have viewed or downloaded",
)


def _refused(case: Case, faults: tuple[Fault, ...], *statuses: int) -> Iterator[tuple[Fault, Leg, Response]]:
    """Requests answered with one of these statuses (any, where none is given)."""
    for fault, leg in on_legs(case, faults, "response", "status"):
        if isinstance(leg.response, Response) and (not statuses or leg.response.status in statuses):
            yield fault, leg, leg.response


def _header(response: Response, name: str) -> str:
    return next((header.value for header in response.headers if header.name == name), "")


def _facts(fault: Fault, leg: Leg) -> dict[str, str]:
    response = leg.response
    assert isinstance(response, Response)
    title = response.title or (leg.body.title if leg.body else "")
    return {
        "host": leg.host,
        "url": leg.url,
        "method": leg.method,
        "status": f"{response.status} {response.reason}".strip(),
        "title": title,
        "page": f" The page says “{title}”." if title else "",
        "message": _header(response, "x-error-message"),
        "retry_after": _header(response, "retry-after"),
        "server": _header(response, "server"),
        "token": "yes" if leg.token_sent else "",
    }


def _is_hub(case: Case, leg: Leg) -> bool:
    """Whether this leg asks the hub itself (not the CDN, not somebody's URL)."""
    return case.target.kind in ("hub", "none") and ("/resolve/" in leg.url or "/api/" in leg.url)


def _repository(case: Case) -> Subject:
    return Subject(kind="repository", name=case.target.name)


# --- something in between -----------------------------------------------------------------------------------------------------


def by_something_between(case: Case, leg: Leg) -> bool:
    """Whether a filter answered in the origin's place: it names itself, or the fields that the origin always sends are missing."""
    response = leg.response
    if not isinstance(response, Response):
        return False
    headers = {header.name: header.value for header in response.headers}
    if HUB_HEADERS & set(headers):
        return False
    if _filter(leg):
        return True
    if not hosts.origin_headers(leg.host, headers):
        return True
    same = [other for other in case.legs if other.host == leg.host and other.response and other.response.status != response.status]
    return any(HUB_HEADERS & {header.name for header in other.response.headers} for other in same if other.response)


def _filter(leg: Leg) -> str:
    """The filter or proxy that the answer names."""
    response = leg.response
    if not isinstance(response, Response):
        return ""
    title = response.title or (leg.body.title if leg.body else "")
    return hosts.filter_product({header.name: header.value for header in response.headers}, title)


def _foreign_portal(leg: Leg) -> str:
    """Where plain http to the host is redirected, when that is a foreign page."""
    found = counterfactual(leg, "plain-http")
    if found is not None and not found.works and found.detail[:3] in ("301", "302", "303", "307", "308", "511"):
        return found.detail.partition(" to ")[2].split(" “")[0] or "a sign-in page"
    return ""


def _portal(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    """511, or plain http to the host redirected to a foreign page."""
    found: list[tuple[Fault, Leg, str]] = []
    for step in ("response", "handshake", "body", "connection"):
        for fault, leg in on_legs(case, faults, step):
            if leg.response and leg.response.status == 511:
                found.append((fault, leg, leg.response.title or "its sign-in page"))
            elif page := _foreign_portal(leg) or _redirected_plainly(case, leg):
                found.append((fault, leg, page))
    if not found:
        return []
    claims = tuple(dict.fromkeys(fault for fault, _, _ in found))
    return [
        Finding(
            cause="http-captive-portal",
            subjects=tuple(dict.fromkeys(fault.subject for fault in claims)),
            claims=claims,
            facts={"page": found[0][2], "host": found[0][1].host},
        )
    ]


def _redirected_plainly(case: Case, leg: Leg) -> str:
    """A plain-http leg of a journey that is sent away to a sign-in page."""
    journey = next((journey for journey in case.journeys or () if leg in journey.legs), None)
    return sign_in_page(journey) if journey else ""


def _portal_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Open http://{facts['host']}/ in a browser on this machine and sign in to the network ({facts['page']}), then try again. A machine without a browser needs a network without sign-in.",
            check=f"curl -sSI http://{shlex.quote(facts['host'])}/",
        )
    ]


def _blocked(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in _refused(case, faults, 403, 451) if by_something_between(case, leg)]
    pairs += [
        (fault, leg)
        for step in ("body", "response")
        for fault, leg in on_legs(case, faults, step, "page", "page-head", "not-json", "metadata", "method")
        if _page_of_filter(case, fault, leg)
    ]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        place = _in_place_of(case, fault, leg)
        allow = ", ".join(name for name in hosts_needed(case) if name != f"{leg.host}:{leg.port}" or leg.host == place)
        told = f"The answer lacks the headers that {place} always sends" if hosts.is_known_public(place) else "The answer names a filter"
        return {**_facts(fault, leg), "host": place, "by": f" ({_filter(leg)})" if _filter(leg) else "", "hosts": allow, "told": told}

    return all_in_one("http-blocked-by-filter", with_same_answers(case, faults, pairs), facts)


def _in_place_of(case: Case, fault: Fault, leg: Leg) -> str:
    """The host that was asked: where a filter redirects to a host of its own, the one before."""
    journey = journey_of(case, fault)
    before = journey.legs[fault.leg - 1] if journey and fault.leg > 0 else None
    return before.host if before and hosts.is_known_public(before.host) and not hosts.is_known_public(leg.host) else leg.host


def _page_of_filter(case: Case, fault: Fault, leg: Leg) -> bool:
    if fault.code == "method":
        return False
    if _filter(leg):
        return True
    known = hosts.is_known_public(leg.host) and not (leg.body and leg.body.content in ("json", "xml", "lfs-pointer"))
    return known and fault.code in ("page", "page-head") and by_something_between(case, leg)


def _blocked_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Ask your network's admin to allow {facts['hosts']} (the filter answered {facts['status']} in the host's place){': ' + facts['title'] if facts['title'] else ''}.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        ),
        *offline_remedy(case),
    ]


def _legally(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject("http-legally-blocked", [(fault, leg) for fault, leg, _ in _refused(case, faults, 451)], _facts)


def _legally_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"{finding.facts['host']} may not serve this here for legal reasons. Use another source, or ask its owner.",
            check=f"curl -sSI {shlex.quote(finding.facts['url'])}",
        )
    ]


# --- how much -----------------------------------------------------------------------------------------------------------------


def _quota(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("response", "body") for fault, leg in on_legs(case, faults, step, "status", "page") if _says_quota(leg)]
    return by_subject("http-quota-exceeded", with_same_answers(case, faults, pairs), _facts)


def _says_quota(leg: Leg) -> bool:
    response = leg.response
    texts = (response.title, response.first_bytes, _header(response, "x-error-message")) if isinstance(response, Response) else ()
    return any(word in text.lower() for text in (*texts, leg.body.title if leg.body else "") for word in QUOTA_WORDS)


def _quota_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"The owner's download quota at {finding.facts['host']} is spent, for everybody: take the file from another source, or come back in a day.",
            check=f"curl -sSI {shlex.quote(finding.facts['url'])}",
        )
    ]


def _rate_limited(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        response = leg.response
        assert isinstance(response, Response)
        reset = _header(response, "retry-after") or _ratelimit_seconds(_header(response, "ratelimit")) or _header(response, "x-ratelimit-reset")
        return {
            **_facts(fault, leg),
            "wait": f"for {reset} s" if reset.isdigit() else f"until {reset}" if reset else "for a few minutes",
            "seconds": reset if reset.isdigit() and len(reset) < 7 else "300",
        }

    return by_subject("http-rate-limited", [(fault, leg) for fault, leg, _ in _refused(case, faults, 429)], facts)


def _ratelimit_seconds(value: str) -> str:
    """``t`` of ``"api";r=0;t=55`` (draft-ietf-httpapi-ratelimit-headers)."""
    return next((part.strip()[2:] for part in value.split(";") if part.strip().startswith("t=")), "")


def _rate_limited_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    login = (
        []
        if facts["token"]
        else [Remedy(do="Log in: the hub allows more to those it knows.", run="hf auth login", check="hf auth whoami")]
        if case.target.kind in ("hub", "none")
        else []
    )
    return [
        Remedy(
            do=f"Wait {facts['wait'].removeprefix('for ')}, then go on with fewer workers; machines that share an address share its limit.",
            run=f"sleep {facts['seconds']}",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        ),
        *login,
    ]


# --- who ----------------------------------------------------------------------------------------------------------------------


def _token_rejected(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in _refused(case, faults, 401, 403) if leg.token_sent and _token_is_bad(leg, response)]
    return all_in_one(
        "http-token-rejected",
        pairs,
        lambda fault, leg: {
            **_facts(fault, leg),
            "source": case.environment.token.source or "the token",
            "public": " Without it the same request works." if works(leg, "without-token") else "",
        },
    )


def _token_is_bad(leg: Leg, response: Response) -> bool:
    whoami = counterfactual(leg, "whoami")
    known_bad = whoami is not None and whoami.detail == "401"
    return response.status == 401 and (works(leg, "without-token") or (known_bad and _header(response, "x-error-code") not in ("GatedRepo",)))


def _token_rejected_remedies(finding: Finding, case: Case) -> list[Remedy]:
    source = finding.facts["source"]
    found = []
    if finding.facts["public"]:
        run = f"unset {shlex.quote(source)}" if source.isidentifier() else "hf auth logout"
        found.append(
            Remedy(
                do=f"This request needs no token (a private or gated model's files would): take the rejected one away ({source}).",
                run=run,
                check=again(case),
                proof="seen",
            )
        )
    return [
        *found,
        Remedy(
            do=f"{'Where a token is needed, replace it' if found else 'Replace it'}: create a new token in the hub's settings and store it (it comes from {source} now).",
            run="hf auth login",
            check="hf auth whoami",
        ),
    ]


def _gated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in _refused(case, faults, 401, 403)
        if (_header(response, "x-error-code") == "GatedRepo" or _listed_gated(case, leg)) and not _about_token(leg, response)
    ]
    found = all_in_one(
        "http-gated",
        pairs,
        lambda fault, leg: {
            **_facts(fault, leg),
            "page": f"{_base(case, leg)}/{case.target.name}",
            "name": case.target.name,
            "state": "your account has not been granted access" if leg.token_sent else "no token was sent",
        },
    )
    return [Finding(cause=item.cause, subjects=(_repository(case),), claims=item.claims, facts=item.facts) for item in found]


def _about_token(leg: Leg, response: Response) -> bool:
    """The hub names the token's settings: the account has been let in, this token may not use that."""
    said = f"{_header(response, 'x-error-message')} {response.first_bytes}".lower()
    return leg.token_sent and response.status == 403 and any(words in said for words in ("fine-grained", "token settings", "required permission"))


def _listed_gated(case: Case, leg: Leg) -> bool:
    return isinstance(case.listing, Listing) and bool(case.listing.gated) and _is_hub(case, leg) and not works(leg, "without-token")


def _base(case: Case, leg: Leg) -> str:
    return case.target.endpoint or f"{leg.scheme}://{leg.host}"


def _gated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    login = Remedy(
        do="Then log in on this machine with a token of that account (a fine-grained one needs “read access to public gated repositories”).",
        run="hf auth login",
        check=again(case),
    )
    return [
        Remedy(
            do=f"Open {facts['page']} in a browser, signed in, and accept the terms (some owners grant access by hand: wait for their mail).",
            check="hf auth whoami",
        ),
        login,
    ]


def _token_scope(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in _refused(case, faults, 403) if leg.token_sent and works(leg, "whoami") and not by_something_between(case, leg)]
    return all_in_one("http-token-scope", pairs, lambda fault, leg: {**_facts(fault, leg), "source": case.environment.token.source, "name": case.target.name})


def _token_scope_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Edit the token in the hub's settings (Access Tokens) and give it read access to {facts['name'] or 'this repository'}, or use another token ({facts['source']} holds the present one).",
            run="hf auth login",
            check="hf auth whoami",
        )
    ]


def _authentication(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in _refused(case, faults, 401) if not _about_repository(case, leg, response)]
    return by_subject(
        "http-authentication-required",
        pairs,
        lambda fault, leg: {
            **_facts(fault, leg),
            "how": _header(leg.response, "www-authenticate") if isinstance(leg.response, Response) else "",
            "what": "refuses the credentials that were sent" if leg.token_sent else "wants credentials, and none were sent",
        },
    )


def _about_repository(case: Case, leg: Leg, response: Response) -> bool:
    """A hub's 401 for a repository says that it is private or not there; a mirror that wants a login says so with a challenge and nothing of the hub's."""
    challenge = _header(response, "www-authenticate").lower()
    hub_speaks = bool(HUB_HEADERS & {header.name for header in response.headers})
    return case.target.kind == "hub" and _is_hub(case, leg) and (hub_speaks or not challenge or challenge.startswith("bearer"))


def _authentication_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if case.target.kind in ("hub", "none") and hosts.is_known_public(facts["host"]):
        return [Remedy(do=f"Log in: {facts['host']} serves nothing without credentials.", run="hf auth login", check=again(case))]
    if case.target.kind in ("hub", "none"):
        return [
            Remedy(
                do=f"{facts['host']} (HF_ENDPOINT) serves nobody without credentials: get an access token from whoever runs it and set HF_TOKEN, which the hub's client sends as “Authorization: Bearer”.",
                run="read -rs HF_TOKEN && export HF_TOKEN",
                check=again(case),
            )
        ]
    return [
        Remedy(
            do=f"Give your client credentials for {facts['host']} (it asks for: {facts['how'] or 'not said'}), for instance in ~/.netrc, which requests and curl -n read.",
            run=f"printf 'machine %s login USER password PASSWORD\\n' {shlex.quote(facts['host'])} >> ~/.netrc && chmod 600 ~/.netrc",
            check=f"curl -nsSI {shlex.quote(facts['url'])}",
        )
    ]


# --- what ---------------------------------------------------------------------------------------------------------------------


def _repository_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in _refused(case, faults, 401, 404)
        if case.target.kind == "hub" and _is_hub(case, leg) and _no_repository(case, fault, leg, response)
    ]
    found = all_in_one(
        "http-repository-missing",
        pairs,
        lambda fault, leg: {
            **_facts(fault, leg),
            "name": case.target.name,
            "hub": _base(case, leg),
            "sent": "with a token" if leg.token_sent else "without a token",
        },
    )
    return [Finding(cause=item.cause, subjects=(_repository(case),), claims=item.claims, facts=item.facts) for item in found]


def _no_repository(case: Case, fault: Fault, leg: Leg, response: Response) -> bool:
    code = _header(response, "x-error-code")
    if code in ("RevisionNotFound", "EntryNotFound", "GatedRepo"):
        return False
    if code == "RepoNotFound" or response.status == 401:
        return True
    journey = journey_of(case, fault)
    return journey is not None and journey.name == "listing"


def _repository_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    login = [] if facts["token"] else [Remedy(do="If it is private, log in with an account that may read it.", run="hf auth login", check=again(case))]
    mirror = f" You ask {facts['hub']} (HF_ENDPOINT): a mirror may lack it." if case.environment.endpoint else ""
    return [
        Remedy(
            do=f"Check the spelling of {facts['name']} (upper and lower case count), on {facts['hub']}.{mirror}",
            check=f"hf download {shlex.quote(facts['name'])} --dry-run",
        ),
        *login,
    ]


def _revision_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in _refused(case, faults, 404) if _header(response, "x-error-code") == "RevisionNotFound"]
    found = all_in_one(
        "http-revision-missing",
        pairs,
        lambda fault, leg: {**_facts(fault, leg), "name": case.target.name, "revision": case.target.revision, "hub": _base(case, leg)},
    )
    return [Finding(cause=item.cause, subjects=(_repository(case),), claims=item.claims, facts=item.facts) for item in found]


def _revision_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Look which branches, tags and commits {facts['name']} has, and name one of them (or leave the revision out for “main”).",
            run=f"python -c {shlex.quote('from huggingface_hub import list_repo_refs as l; print(l(' + repr(facts['name']) + '))')}",
            check=again(case),
        )
    ]


def _file_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in _refused(case, faults, 404, 410)]
    return by_subject(
        "http-file-missing",
        pairs,
        lambda fault, leg: {
            **_facts(fault, leg),
            "file": _path(case, fault) or leg.url,
            "gone": "was there and has been removed (410)" if leg.response and leg.response.status == 410 else "is not there (404)",
        },
    )


def _path(case: Case, fault: Fault) -> str:
    journey = journey_of(case, fault)
    return journey.path if journey else ""


def _file_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    where = "the list of files on the model's page" if case.target.kind == "hub" else f"the page or repository that the link to {facts['host']} comes from"
    return [Remedy(do=f"Check the path (upper and lower case count) against {where}; the file may have moved.", check=f"curl -sSI {shlex.quote(facts['url'])}")]


def _page(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("body", "response") for fault, leg in on_legs(case, faults, step, "page", "page-head", "not-json")]
    return by_subject(
        "http-html-instead-of-file",
        pairs,
        lambda fault, leg: {**_facts(fault, leg), "thing": _thing(leg), "blob": "yes" if "/blob/" in leg.url else ""},
    )


def _thing(leg: Leg) -> str:
    """What comes in the file's place."""
    kinds = {"lfs-pointer": "a git-lfs pointer (three lines of text)", "xml": "an XML answer", "json": "a JSON answer", "text": "a line of text"}
    return kinds.get(leg.body.content if leg.body else "", "a web page")


def _page_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["blob"]:
        url = facts["url"].replace("/blob/", "/resolve/", 1) if "github.com" not in facts["host"] else facts["url"].replace("/blob/", "/raw/", 1)
        return [
            Remedy(
                do="That is the address of the page about the file. The file itself is at:",
                run=f"curl -sSLO {shlex.quote(url)}",
                check=f"curl -sSLI {shlex.quote(url)}",
            )
        ]
    if facts["thing"].startswith("a git-lfs"):
        media = facts["url"].replace("https://raw.githubusercontent.com/", "https://media.githubusercontent.com/media/", 1)
        media = re.sub(r"^https://github\.com/([^/]+/[^/]+)/raw/", r"https://media.githubusercontent.com/media/\1/", media)
        return [
            Remedy(
                do="The repository keeps this file in git-lfs: take it from where the real bytes are, or clone with git-lfs installed (git lfs pull).",
                run=f"curl -sSLO {shlex.quote(media)}" if media != facts["url"] else "git lfs pull",
                check=f"curl -sSL {shlex.quote(media)} | head -c 60",
            )
        ]
    return [
        Remedy(
            do=f"Open {facts['url']} in a browser: a sign-in or consent page, a block page, or the link of a page instead of the file's. Take the direct link of the file.",
            check=f"curl -sSL {shlex.quote(facts['url'])} | head -c 200",
        )
    ]


# --- how ----------------------------------------------------------------------------------------------------------------------


def _method(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = list(on_legs(case, faults, "response", "method"))
    return by_subject("http-method-blocked", pairs, lambda fault, leg: {**_facts(fault, leg), "answer": _answer_to_head(leg)})


def _answer_to_head(leg: Leg) -> str:
    response = leg.response
    return f"answered {response.status} {response.reason}".strip() if isinstance(response, Response) and response.status else "not answered"


def _method_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = case.target.name or "ORG/NAME"
    return [
        Remedy(
            do=f"Ask your network's admin to let HEAD requests to {facts['host']} pass: the client begins with one and never tries GET.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        ),
        Remedy(
            do=f"Meanwhile fetch the files by GET and load {name} from that folder.",
            run=f"mkdir -p model && cd model && curl -sSLO {shlex.quote(facts['url'])}",
            check="ls -l",
            proof="seen",
        ),
    ]


def _loop(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        journey = journey_of(case, fault)
        steps = [step.url for step in journey.legs] if journey else [leg.url]
        chain = " → ".join(dict.fromkeys(steps))
        location = leg.response.location if leg.response else ""
        return {
            **_facts(fault, leg),
            "chain": chain,
            "told": _redirected_where(leg, location),
            "how": f"After {len(steps)} requests the last answer points on, to {location or 'nowhere'}.",
        }

    return by_subject("http-redirect-loop", on_legs(case, faults, "response", "redirect"), facts)


def _redirected_where(leg: Leg, location: str) -> str:
    """What the last redirect is worth."""
    if not location:
        return f"{leg.host} redirects without saying where ({leg.response.status if leg.response else ''} without Location)"
    scheme = location.partition(":")[0].lower()
    if hosts.is_instance_metadata(location.partition("://")[2].partition("/")[0].partition(":")[0]):
        return f"{leg.host} redirects to a metadata service of the cloud, where no model lies: nobody asked there"
    if "://" in location and scheme not in ("http", "https"):
        return f"{leg.host} redirects to a place that no client goes to ({scheme}://…)"
    return f"The redirects of {leg.host} do not end"


def _loop_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    setting = " Check HF_ENDPOINT (http or https, with or without www)." if case.environment.endpoint else ""
    return [
        Remedy(
            do=f"Report it to whoever runs {facts['host']}, with this chain: {facts['chain']}.{setting} Use another URL or mirror meanwhile.",
            check=f"curl -sSIL --max-redirs 12 {shlex.quote(facts['url'])}",
        )
    ]


def _metadata(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "http-metadata-missing",
        on_legs(case, faults, "response", "metadata"),
        lambda fault, leg: {**_facts(fault, leg), "missing": next((item.seen.removeprefix("without ") for item in fault.evidence), "")},
    )


def _metadata_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Use a hub or mirror that passes the headers {facts['missing']} on (or have the proxy in front of {facts['host']} let them through): the client refuses files without them.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        )
    ]


def _server_error(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in _refused(case, faults) if isinstance(response.status, int) and response.status >= 500]
    return by_subject("http-server-error", pairs, _facts)


def _server_error_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    wait = f" in {facts['retry_after']} s (it says so)" if facts["retry_after"].isdigit() else " in a few minutes"
    status = ", look at https://status.huggingface.co meanwhile" if facts["host"] == "huggingface.co" else ""
    return [Remedy(do=f"The trouble is at {facts['host']}: try again{wait}{status}.", check=f"curl -sSI {shlex.quote(facts['url'])}"), *offline_remedy(case)]


def _forbidden(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        code, said = _storage_error(leg)
        return {**_facts(fault, leg), "code": code, "said": f" It says: {', '.join(filter(None, (code, said)))}." if code else ""}

    return by_subject("http-forbidden", [(fault, leg) for fault, leg, _ in _refused(case, faults, 403)], facts)


def _storage_error(leg: Leg) -> tuple[str, str]:
    """Code and message of a storage's error: in XML (S3, GCS, Azure), or in the field that names it."""
    response = leg.response
    if not isinstance(response, Response):
        return "", ""
    code, said = (re.search(rf"<{tag}>([^<]{{1,120}})", response.first_bytes) for tag in ("Code", "Message"))
    named = _header(response, "x-amz-error-code") or _header(response, "x-ms-error-code")
    return code[1] if code else named, said[1].strip().rstrip(".") if said else ""


WHY_FORBIDDEN = (  # words of a storage's code or message, and what they call for
    (
        ("request has expired", "expiredtoken", "token has expired", "signature not valid in the specified time"),
        "the signed link has expired: fetch a fresh one, and check this machine's clock (date -u)",
    ),
    (("requesttimetooskewed",), "this machine's clock is off: set it, then try again"),
    (
        ("signaturedoesnotmatch", "signature we calculated", "authenticationfailed", "invalidaccesskeyid"),
        "the signed link does not fit: it was cut or changed on the way (quote it in the shell, because of its &), or a proxy rewrites queries",
    ),
    (
        ("accessdenied", "access denied", "accountproblem"),
        "the file is not public, or not there at all (storages say the same for both): check the link, or ask its owner",
    ),
)


def _forbidden_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    said = (facts["code"] + facts["said"]).lower()
    advice = next((text for words, text in WHY_FORBIDDEN if any(word in said for word in words)), "")
    advice = (
        advice
        or "a link that has expired (fetch a fresh one), missing rights, or a country it does not serve. Ask its owner, with the request id in the evidence"
    )
    return [Remedy(do=f"{facts['host']} itself refuses this: {advice}.", check=f"curl -sS {shlex.quote(facts['url'])} | head -c 400")]


def _rejected(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in _refused(case, faults)
        if isinstance(response.status, int) and 400 <= response.status < 500 and response.status != 407
    ]
    return by_subject("http-request-rejected", pairs, lambda fault, leg: {**_facts(fault, leg), "advice": _advice(leg)})


def _advice(leg: Leg) -> str:
    advice = {
        400: "the host does not understand the URL or a header: check it for stray characters",
        405: "the host does not allow this method at that address: check the URL",
        406: "the host has nothing in a form the client accepts",
        408: "the host waited too long for the request: try again, or another network",
        409: "the storage does not allow public access (any more): check the link, or ask its owner",
        411: "something between demands a length: ask the network's admin",
        412: "a precondition failed: remove partial files and fetch anew",
        414: "the URL is too long",
        416: "the range asked for is not there: remove partial files and fetch anew",
        421: "the request reached the wrong server: a proxy or hosts entry mixes hosts up",
        431: "the headers are too large: a huge cookie or token",
    }
    if leg.response and "https port" in f"{leg.response.title} {leg.response.first_bytes}".lower().replace("https server", "https port"):
        return "this port speaks TLS: write https:// in place of http://"
    return advice.get(leg.response.status if leg.response and isinstance(leg.response.status, int) else 0, "what the status says")


def _rejected_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    return [Remedy(do=f"{facts['host']} answered {facts['status']}: {facts['advice']}.", check=f"curl -sSI {shlex.quote(facts['url'])}")]


def _no_response(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "response", "silent", "closed", "reset") if not works(leg, "tls-instead")]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.response, Response)
        how = {
            "silent": f"does not answer ({leg.response.seconds:.0f} s)",
            "closed": "closes the connection without an answer",
            "reset": "resets the connection without an answer",
        }
        return {**_facts(fault, leg), "how": how[fault.code]}

    return by_subject("http-no-response", pairs, facts)


def _no_response_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    more = (
        [Remedy(do="If the host is only slow, give the client more time.", run="export HF_HUB_ETAG_TIMEOUT=60 HF_HUB_DOWNLOAD_TIMEOUT=60", check=again(case))]
        if case.target.kind == "hub" and not facts["how"].startswith("closes")
        else []
    )
    return [
        Remedy(
            do=f"{facts['host']} takes the request and {facts['how']}: try again in a few minutes; if it works from another network, a filter here swallows it: ask this network's admin.",
            check=f"curl -sSI -m 30 {shlex.quote(facts['url'])}",
        ),
        *more,
        *offline_remedy(case),
    ]


def _invalid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("response", "body") for fault, leg in on_legs(case, faults, step, "invalid", "alert")]
    pairs += [(fault, leg) for fault, leg in on_legs(case, faults, "response", "closed", "reset") if works(leg, "tls-instead")]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        said = leg.response.message if leg.response and leg.response.outcome != "answered" else leg.body.message if leg.body else ""
        encrypted = "yes" if works(leg, "tls-instead") else ""
        said = "it ends plain requests and takes up TLS" if encrypted else said or "something that does not parse"
        return {"host": leg.host, "port": str(leg.port), "url": leg.url, "said": said.strip(), "tls": encrypted}

    return by_subject("http-invalid-response", pairs, facts)


def _invalid_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["tls"]:
        secure = facts["url"].replace("http://", "https://", 1)
        where = "HF_ENDPOINT" if case.environment.endpoint else "the URL"
        return [
            Remedy(do=f"Port {facts['port']} of {facts['host']} speaks TLS: write https:// in {where}.", check=f"curl -sSI {shlex.quote(secure)}", proof="seen")
        ]
    return [
        Remedy(
            do=f"Look what listens at {facts['host']}:{facts['port']} (it answered: {facts['said']}): another service, TLS on a plain port (then write https://), or a broken proxy in front of it.",
            check=f"curl -sSv -m 10 {shlex.quote(facts['url'])} -o /dev/null",
        )
    ]


def _ranges(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject("http-range-unsupported", on_legs(case, faults, "body", "ranges"), _facts)


def _ranges_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Expect to start over after a cut, or use a mirror that honours ranges: {facts['host']} sends the whole file whatever part is asked for.",
            check=f"curl -sS -r 0-99 -o /dev/null -w '%{{http_code}}\\n' {shlex.quote(facts['url'])}",
        )
    ]


CAUSES = (
    Cause(
        id="http-captive-portal",
        owner=("network",),
        title="This network wants a sign-in first: {host} is answered by {page}",
        why="Requests are redirected to a foreign page until somebody signs in. Encrypted requests fail in strange ways meanwhile.",
        recognise=_portal,
        remedies=_portal_remedies,
        lab="http-captive-portal",
    ),
    Cause(
        id="http-quota-exceeded",
        owner=("server",),
        title="The download quota for this file at {host} is spent",
        why="The host sends a page or an error about its quota in place of the file.",
        recognise=_quota,
        remedies=_quota_remedies,
        lab="http-quota-exceeded",
    ),
    Cause(
        id="http-blocked-by-filter",
        owner=("network",),
        title="A filter{by} answers in place of {host} ({status})",
        why="{told}: something between blocks it by policy.{page} A client reads it as a wrong token or a missing file.",
        recognise=_blocked,
        remedies=_blocked_remedies,
        lab="http-blocked-by-filter",
    ),
    Cause(
        id="http-legally-blocked",
        owner=("server",),
        title="{host} withholds this for legal reasons (451)",
        why="The origin itself says so.{page}",
        recognise=_legally,
        remedies=_legally_remedies,
        lab="http-legally-blocked",
    ),
    Cause(
        id="http-rate-limited",
        owner=("you",),
        title="{host} allows no more requests from here {wait} (429)",
        why="Too many requests came from this address or account within the host's window.",
        recognise=_rate_limited,
        remedies=_rate_limited_remedies,
        lab="http-rate-limited",
    ),
    Cause(
        id="http-token-rejected",
        owner=("you",),
        title="The hub rejects the token from {source} (401)",
        why="The token is invalid or expired, and a bad token fails even what needs none.{public}",
        recognise=_token_rejected,
        remedies=_token_rejected_remedies,
        lab="http-token-rejected",
    ),
    Cause(
        id="http-gated",
        owner=("you",),
        title="{name} is gated: its terms have to be accepted first, and {state}",
        why="The hub says that this repository exists and is open only to accounts that accepted its terms.",
        recognise=_gated,
        remedies=_gated_remedies,
        lab="http-gated",
    ),
    Cause(
        id="http-token-scope",
        owner=("you",),
        title="The token from {source} is valid but may not read {name} (403)",
        why="The hub knows the token (whoami works) and refuses this repository: a fine-grained token without that right, or an account without access.",
        recognise=_token_scope,
        remedies=_token_scope_remedies,
        lab="http-token-scope",
    ),
    Cause(
        id="http-authentication-required",
        owner=("you",),
        title="{host} {what} (401)",
        why="It asks for: {how}.",
        recognise=_authentication,
        remedies=_authentication_remedies,
        lab="http-authentication-required",
    ),
    Cause(
        id="http-repository-missing",
        owner=("you",),
        title="{hub} has no repository {name}, or it is private and hidden (asked {sent})",
        why="The hub answers {status}. It says the same for what does not exist and for what this account may not see.",
        recognise=_repository_missing,
        remedies=_repository_missing_remedies,
        lab="http-repository-missing",
    ),
    Cause(
        id="http-revision-missing",
        owner=("you",),
        title="{name} has no revision “{revision}”",
        why="The repository is there; no branch, tag or commit has that name.",
        recognise=_revision_missing,
        remedies=_revision_missing_remedies,
        lab="http-revision-missing",
    ),
    Cause(
        id="http-file-missing",
        owner=("you", "author"),
        title="{file} {gone} at {host}",
        why="The host answers, and has no such file at {url}.",
        recognise=_file_missing,
        remedies=_file_missing_remedies,
        lab="http-file-missing",
    ),
    Cause(
        id="http-html-instead-of-file",
        owner=("server", "network"),
        title="{host} sends {thing} where a file is due",
        why="The answer to {url} has status {status}.{page} A client saves it under the file's name, and the loader fails much later.",
        recognise=_page,
        remedies=_page_remedies,
        lab="http-html-instead-of-file",
    ),
    Cause(
        id="http-method-blocked",
        owner=("network",),
        title="HEAD requests to {host} are blocked ({answer}), though GET works",
        why="The hub's client asks HEAD first, for size and digest, and gives up when that fails. Something between allows only GET.",
        recognise=_method,
        remedies=_method_remedies,
        lab="http-method-blocked",
    ),
    Cause(
        id="http-redirect-loop",
        owner=("server",),
        title="{told}",
        why="{how}",
        recognise=_loop,
        remedies=_loop_remedies,
        lab="http-redirect-loop",
    ),
    Cause(
        id="http-metadata-missing",
        owner=("server",),
        title="{host} answers without headers that the hub's client needs ({missing})",
        why="Without them the client cannot tell which commit and which bytes it gets, and refuses the file with “not on huggingface.co” or “no ETag”.",
        recognise=_metadata,
        remedies=_metadata_remedies,
        lab="http-metadata-missing",
    ),
    Cause(
        id="http-server-error",
        owner=("server",),
        title="{host} answers {status}",
        why="The host itself has trouble.{page} Nothing on this machine is at fault.",
        recognise=_server_error,
        remedies=_server_error_remedies,
        lab="http-server-error",
    ),
    Cause(
        id="http-forbidden",
        owner=("server",),
        title="{host} refuses access ({status})",
        why="The refusal comes from the host itself.{said}{page}",
        recognise=_forbidden,
        remedies=_forbidden_remedies,
        lab="http-forbidden",
    ),
    Cause(
        id="http-request-rejected",
        owner=("server",),
        title="{host} rejects the request ({status})",
        why="It answered {method} {url} so.{page}",
        recognise=_rejected,
        remedies=_rejected_remedies,
        lab="http-request-rejected",
    ),
    Cause(
        id="http-no-response",
        owner=("server", "network"),
        title="{host} takes the request and {how}",
        why="The connection (and TLS, where it is due) stands, the request was sent, and no answer begins.",
        recognise=_no_response,
        remedies=_no_response_remedies,
        lab="http-no-response",
    ),
    Cause(
        id="http-invalid-response",
        owner=("server", "network"),
        title="What answers at {host}:{port} is not valid HTTP",
        why="It sent: {said}.",
        recognise=_invalid,
        remedies=_invalid_remedies,
        lab="http-invalid-response",
    ),
    Cause(
        id="http-range-unsupported",
        owner=("server",),
        severity="warning",
        title="{host} does not honour ranges, so a download that is cut starts over",
        why="A request for a part of the file was answered with all of it.",
        recognise=_ranges,
        remedies=_ranges_remedies,
        lab="http-range-unsupported",
    ),
)
