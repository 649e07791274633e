"""How much and who: quotas, rate limits, tokens, gates, logins."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from diagnostics.case import Case, Fault, Finding, Leg, Listing, Remedy, Response
from diagnostics.causes.claims import (
    again,
    all_in_one,
    by_subject,
    counterfactual,
    on_legs,
    with_same_answers,
    works,
)
from diagnostics.causes.http_common import HUB_HEADERS, base_of, by_something_between, facts_of, header, is_hub, refused, repository
from diagnostics.facts import hosts

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


def quota(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("response", "body") for fault, leg in on_legs(case, faults, step, "status", "page") if _says_quota(leg)]
    return by_subject("http-quota-exceeded", with_same_answers(case, faults, pairs), facts_of)


def _says_quota(leg: Leg) -> bool:
    response = leg.response
    texts = (response.title, response.first_bytes, header(response, "x-error-message")) if isinstance(response, Response) else ()
    return any(word in text.lower() for text in (*texts, leg.body.title if leg.body else "") for word in QUOTA_WORDS)


def quota_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [
        Remedy(
            do=f"The owner's download quota at {finding.facts['host']} is spent, for everybody: take the file from another source, or come back in a day.",
            check=f"curl -sSI {shlex.quote(finding.facts['url'])}",
        )
    ]


def rate_limited(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        response = leg.response
        assert isinstance(response, Response)
        reset = header(response, "retry-after") or _ratelimit_seconds(header(response, "ratelimit")) or header(response, "x-ratelimit-reset")
        return {
            **facts_of(fault, leg),
            "wait": f"for {reset} s" if reset.isdigit() else f"until {reset}" if reset else "for a few minutes",
            "seconds": reset if reset.isdigit() and len(reset) < 7 else "300",
        }

    return by_subject("http-rate-limited", [(fault, leg) for fault, leg, _ in refused(case, faults, 429)], facts)


def _ratelimit_seconds(value: str) -> str:
    """``t`` of ``"api";r=0;t=55`` (draft-ietf-httpapi-ratelimit-headers)."""
    return next((part.strip()[2:] for part in value.split(";") if part.strip().startswith("t=")), "")


def rate_limited_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


def token_rejected(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in refused(case, faults, 401, 403) if leg.token_sent and _token_is_bad(leg, response)]
    return all_in_one(
        "http-token-rejected",
        pairs,
        lambda fault, leg: {
            **facts_of(fault, leg),
            "source": case.environment.token.source or "the token",
            "public": " Without it the same request works."
            if works(leg, "without-token") and all(works(leg, "without-token") for leg in _of_files(pairs))
            else "",
            "files": "yes" if any(True for _ in _of_files(pairs)) or case.target.kind != "hub" else "",
        },
    )


def _of_files(pairs: list[tuple[Fault, Leg]]) -> Iterator[Leg]:
    """The requests for files: whether those need a token, the list of files does not tell (a gated model's is open to all)."""
    yield from (leg for _, leg in pairs if "/resolve/" in leg.url)


def _token_is_bad(leg: Leg, response: Response) -> bool:
    whoami = counterfactual(leg, "whoami")
    known_bad = whoami is not None and whoami.detail == "401"
    return response.status == 401 and (works(leg, "without-token") or (known_bad and header(response, "x-error-code") not in ("GatedRepo",)))


def token_rejected_remedies(finding: Finding, case: Case) -> list[Remedy]:
    source = finding.facts["source"]
    found = []
    if finding.facts["public"]:
        run = f"unset {shlex.quote(source)}" if source.isidentifier() else "hf auth logout"
        found.append(
            Remedy(
                do=f"This request needs no token (a private or gated model's files would): take the rejected one away ({source}).",
                run=run,
                check=again(case),
                proof="seen" if finding.facts["files"] else "untried",
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


def gated(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in refused(case, faults, 401, 403)
        if (header(response, "x-error-code") == "GatedRepo" or _listed_gated(case, leg)) and not _about_token(leg, response)
    ]
    found = all_in_one(
        "http-gated",
        pairs,
        lambda fault, leg: {
            **facts_of(fault, leg),
            "page": f"{base_of(case, leg)}/{case.target.name}",
            "name": case.target.name,
            "state": "your account has not been granted access" if leg.token_sent else "no token was sent",
        },
    )
    return [Finding(cause=item.cause, subjects=(repository(case),), claims=item.claims, facts=item.facts) for item in found]


def _about_token(leg: Leg, response: Response) -> bool:
    """The hub names the token's settings: the account has been let in, this token may not use that."""
    said = f"{header(response, 'x-error-message')} {response.first_bytes}".lower()
    return leg.token_sent and response.status == 403 and any(words in said for words in ("fine-grained", "token settings", "required permission"))


def _listed_gated(case: Case, leg: Leg) -> bool:
    return isinstance(case.listing, Listing) and bool(case.listing.gated) and is_hub(case, leg) and not works(leg, "without-token")


def gated_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    login = Remedy(
        do="Then log in on this machine with a token of that account (a fine-grained one needs “read access to public gated repositories”).",
        run="hf auth login",
        check=again(case),
        follows=True,
    )
    return [
        Remedy(
            do=f"Open {facts['page']} in a browser, signed in, and accept the terms (some owners grant access by hand: wait for their mail).",
            check="hf auth whoami",
        ),
        login,
    ]


def token_scope(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in refused(case, faults, 403) if leg.token_sent and works(leg, "whoami") and not by_something_between(case, leg)]
    return all_in_one("http-token-scope", pairs, lambda fault, leg: {**facts_of(fault, leg), "source": case.environment.token.source, "name": case.target.name})


def token_scope_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Edit the token in the hub's settings (Access Tokens) and give it read access to {facts['name'] or 'this repository'}, or use another token ({facts['source']} holds the present one).",
            run="hf auth login",
            check="hf auth whoami",
        )
    ]


def authentication(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in refused(case, faults, 401) if not _about_repository(case, leg, response)]
    return by_subject(
        "http-authentication-required",
        pairs,
        lambda fault, leg: {
            **facts_of(fault, leg),
            "how": header(leg.response, "www-authenticate") if isinstance(leg.response, Response) else "",
            "what": "refuses the credentials that were sent" if leg.token_sent else "wants credentials, and none were sent",
        },
    )


def _about_repository(case: Case, leg: Leg, response: Response) -> bool:
    """A hub's 401 for a repository says that it is private or not there; a mirror that wants a login says so with a challenge and nothing of the hub's."""
    challenge = header(response, "www-authenticate").lower()
    hub_speaks = bool(HUB_HEADERS & {header.name for header in response.headers})
    return case.target.kind == "hub" and is_hub(case, leg) and (hub_speaks or not challenge or challenge.startswith("bearer"))


def authentication_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
