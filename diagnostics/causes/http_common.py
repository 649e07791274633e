"""What the causes of the HTTP section ask of an answer: its status and fields, who gave it, and the words that all of them use."""

from __future__ import annotations

from collections.abc import Iterator

from diagnostics.case import Case, Fault, Leg, Response, Subject
from diagnostics.causes.claims import (
    on_legs,
)
from diagnostics.facts import hosts

HUB_HEADERS = frozenset({"x-error-code", "x-error-message", "x-repo-commit", "x-request-id", "x-linked-etag", "x-xet-hash"})
API_JOURNEYS = ("hub", "listing", "tree")


def refused(case: Case, faults: tuple[Fault, ...], *statuses: int) -> Iterator[tuple[Fault, Leg, Response]]:
    """Requests answered with one of these statuses (any, where none is given)."""
    for fault, leg in on_legs(case, faults, "response", "status"):
        if isinstance(leg.response, Response) and (not statuses or leg.response.status in statuses):
            yield fault, leg, leg.response


def header(response: Response, name: str) -> str:
    return next((header.value for header in response.headers if header.name == name), "")


def facts_of(fault: Fault, leg: Leg) -> dict[str, str]:
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
        "message": header(response, "x-error-message"),
        "retry_after": header(response, "retry-after"),
        "server": header(response, "server"),
        "token": "yes" if leg.token_sent else "",
    }


def is_hub(case: Case, leg: Leg) -> bool:
    """Whether this leg asks the hub itself (not the CDN, not somebody's URL)."""
    return case.target.kind in ("hub", "none") and ("/resolve/" in leg.url or "/api/" in leg.url)


def repository(case: Case) -> Subject:
    return Subject(kind="repository", name=case.target.name)


def by_something_between(case: Case, leg: Leg) -> bool:
    """Whether a filter answered in the origin's place: it names itself, or the fields that the origin always sends are missing."""
    response = leg.response
    if not isinstance(response, Response):
        return False
    headers = {header.name: header.value for header in response.headers}
    if HUB_HEADERS & set(headers):
        return False
    if filter_of(leg):
        return True
    if not hosts.origin_headers(leg.host, headers):
        return True
    same = [other for other in case.legs if other.host == leg.host and other.response and other.response.status != response.status]
    return any(HUB_HEADERS & {header.name for header in other.response.headers} for other in same if other.response)


def filter_of(leg: Leg) -> str:
    """The filter or proxy that the answer names."""
    response = leg.response
    if not isinstance(response, Response):
        return ""
    title = response.title or (leg.body.title if leg.body else "")
    return hosts.filter_product({header.name: header.value for header in response.headers}, title)


def base_of(case: Case, leg: Leg) -> str:
    return case.target.endpoint or f"{leg.scheme}://{leg.host}"
