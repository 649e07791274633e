"""What is there: repositories, revisions, files, and pages in their place."""

from __future__ import annotations

import re
import shlex

from diagnostics.case import Case, Fault, Finding, Leg, Remedy, Response
from diagnostics.causes.claims import (
    again,
    all_in_one,
    by_subject,
    journey_of,
    on_legs,
)
from diagnostics.causes.http_common import base_of, facts_of, header, is_hub, refused, repository
from diagnostics.facts import hosts


def repository_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in refused(case, faults, 401, 404)
        if case.target.kind == "hub" and is_hub(case, leg) and _no_repository(case, fault, leg, response)
    ]
    found = all_in_one(
        "http-repository-missing",
        pairs,
        lambda fault, leg: {
            **facts_of(fault, leg),
            "name": case.target.name,
            "hub": base_of(case, leg),
            "sent": "with a token" if leg.token_sent else "without a token",
        },
    )
    return [Finding(cause=item.cause, subjects=(repository(case),), claims=item.claims, facts=item.facts) for item in found]


def _no_repository(case: Case, fault: Fault, leg: Leg, response: Response) -> bool:
    code = header(response, "x-error-code")
    if code in ("RevisionNotFound", "EntryNotFound", "GatedRepo"):
        return False
    if code == "RepoNotFound" or response.status == 401:
        return True
    journey = journey_of(case, fault)
    return journey is not None and journey.name == "listing"


def repository_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
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


def revision_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in refused(case, faults, 404) if header(response, "x-error-code") == "RevisionNotFound"]
    found = all_in_one(
        "http-revision-missing",
        pairs,
        lambda fault, leg: {**facts_of(fault, leg), "name": case.target.name, "revision": case.target.revision, "hub": base_of(case, leg)},
    )
    return [Finding(cause=item.cause, subjects=(repository(case),), claims=item.claims, facts=item.facts) for item in found]


def revision_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Look which branches, tags and commits {facts['name']} has, and name one of them (or leave the revision out for “main”).",
            run=f"python -c {shlex.quote('from huggingface_hub import list_repo_refs as l; print(l(' + repr(facts['name']) + '))')}",
            check=again(case),
        )
    ]


def file_missing(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, _ in refused(case, faults, 404, 410)]
    return by_subject(
        "http-file-missing",
        pairs,
        lambda fault, leg: {
            **facts_of(fault, leg),
            "file": _file(case, fault, leg),
            "gone": "was there and has been removed (410)" if leg.response and leg.response.status == 410 else "is not there (404)",
        },
    )


def _file(case: Case, fault: Fault, leg: Leg) -> str:
    """Its path in the repository; of a URL the last segment: all of it stands in the evidence."""
    journey = journey_of(case, fault)
    path = (journey.path if journey else "") or leg.url
    return path.rstrip("/").rpartition("/")[2] if "://" in path else path


def file_missing_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    where = "the list of files on the model's page" if case.target.kind == "hub" else f"the page or repository that the link to {facts['host']} comes from"
    return [Remedy(do=f"Check the path (upper and lower case count) against {where}; the file may have moved.", check=f"curl -sSI {shlex.quote(facts['url'])}")]


def page(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("body", "response") for fault, leg in on_legs(case, faults, step, "page", "page-head", "not-json")]
    return by_subject(
        "http-html-instead-of-file",
        pairs,
        lambda fault, leg: {**facts_of(fault, leg), "thing": _thing(leg), "blob": "yes" if "/blob/" in leg.url else ""},
    )


def _thing(leg: Leg) -> str:
    """What comes in the file's place."""
    kinds = {"lfs-pointer": "a git-lfs pointer (three lines of text)", "xml": "an XML answer", "json": "a JSON answer", "text": "a line of text"}
    return kinds.get(leg.body.content if leg.body else "", "a web page")


def page_remedies(finding: Finding, case: Case) -> list[Remedy]:
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
