"""HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from diagnostics.case import Body, ClientTrial, Evidence, Journey, Leg, Response, Subject, Unseen
from diagnostics.checks.wording import destination, fact, size
from diagnostics.facts.clients import title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diagnostics.diagnosis import Expect

WORTH_RESUMING_BYTES = 1 << 20
API_JOURNEYS = ("hub", "listing", "tree")
FILE_JOURNEYS = ("small-file", "largest-file")
DEFAULT_ENDPOINT = "https://huggingface.co"
OF_A_REPOSITORY = ("GatedRepo", "RevisionNotFound", "EntryNotFound")  # X-Error-Code of a repository that is there (utils/_http.py, hf_raise_for_status)
OF_PACKAGES = ("ImportError", "ModuleNotFoundError")  # a matter of what is installed, which other checks look at
PAGES = (".html", ".htm", ".xhtml", ".php", "/")
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".gguf", ".onnx", ".msgpack", ".npz", ".zip", ".gz", ".tar", ".tgz")
TELLING = (
    "server",
    "via",
    "content-type",
    "x-error-code",
    "x-error-message",
    "x-request-id",
    "www-authenticate",
    "retry-after",
    "ratelimit",
    "x-cache",
    "x-squid-error",
    "x-amz-request-id",
)


def test_hosts_answer(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does every host answer what it is asked, in HTTP?"""
    for leg, response in expect.reached(journeys, "response"):
        subject = destination(leg)
        how = {"silent": f"no answer in {response.seconds:.0f} s", "closed": "the connection was closed without an answer", "reset": "the connection was reset"}
        expect.that(
            response.outcome == "answered",
            _code(journeys, leg, response.outcome),
            subject,
            fact(subject, f"{leg.method} {leg.url}", how.get(response.outcome, response.message), "an HTTP answer"),
        )


def test_requests_are_granted(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Is every request granted?"""
    for leg, response in _answers(journeys, expect):
        if not _optional(journeys, leg):
            subject = destination(leg)
            granted = isinstance(response.status, int) and response.status < 400
            expect.that(granted, _code(journeys, leg, "status"), subject, *_who_said_what(subject, leg, response))


def test_redirects_end(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Do the redirects lead to an answer?"""
    for leg, response in _answers(journeys, expect):
        if isinstance(response.status, int) and response.status < 400:
            subject = destination(leg)
            journey = next(journey for journey in journeys if leg in journey.legs)
            last = leg is journey.legs[-1]
            chain = " → ".join(f"{step.method} {step.url}" for step in journey.legs)
            seen = [fact(subject, "redirects", chain), fact(subject, "the last one points to", response.location or "nowhere")]
            elsewhere = (
                leg.method == "HEAD" and any(header.name == "x-xet-hash" for header in response.headers) and any(item.name == "xet" for item in journeys)
            )
            expect.that(elsewhere or not (last and 300 <= response.status < 400), "redirect", subject, *seen)


def test_content_is_what_was_asked_for(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Is the content a file (or the hub's JSON), and not somebody's web page?"""
    for journey in journeys:
        for leg, body in expect.reached([journey], "body"):
            subject = destination(leg)
            api = journey.name in API_JOURNEYS
            page = _another_kind(journey, leg, body)
            wrong = (api and body.content != "json" and body.bytes > 0 and body.outcome == "complete") or page
            if wrong and journey.name in ("listing", "tree") and any(item.name in FILE_JOURNEYS and _from_repository(item) for item in journeys):
                continue  # a server with one page for every address it does not know, and the files all the same
            assert isinstance(leg.response, Response)
            expect.that(not wrong, "page" if page else "not-json", subject, *_who_said_what(subject, leg, leg.response))


def test_files_come_with_their_metadata(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does the hub send, with each file, the headers that its client needs?"""
    for leg, response in _answers(journeys, expect):
        if leg.method == "HEAD" and "/resolve/" in leg.url and isinstance(response.status, int) and response.status < 400 and not _on_the_way(journeys, leg):
            subject = destination(leg)
            names = {header.name for header in response.headers}
            missing = [name for name, there in _needed(names, response).items() if not there]
            type_ = next((header.value for header in response.headers if header.name == "content-type"), "")
            page = "html" in type_ and response.status < 300  # of a redirect it is the page that nobody sees
            expect.that(
                not missing,
                "page-head" if page else "metadata",
                subject,
                fact(subject, f"headers of {leg.url}", f"without {', '.join(missing)}", "ETag, X-Repo-Commit and the length"),
            )


def test_downloads_can_resume(journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Could a download that was cut go on where it stopped?"""
    for leg, body in expect.reached(journeys, "body"):
        if body.ranges != "untested" and isinstance(body.expected, int) and body.expected >= WORTH_RESUMING_BYTES:
            subject = destination(leg)
            expect.that(
                body.ranges == "honoured", "ranges", subject, fact(subject, "a request for a range", body.ranges, "206 with that range"), severity="warning"
            )
    if not expect.examined:
        expect.skip("no file large enough to be worth resuming")


def test_the_client_itself_comes_through(client_trial: ClientTrial | Unseen, journeys: tuple[Journey, ...], expect: Expect) -> None:
    """Does the installed client itself, asked for the same files, get them?"""
    if isinstance(client_trial, Unseen):
        expect.skip(client_trial.detail or "it was not tried")
        return
    name = title(client_trial.client)
    subject = Subject(kind="package", name=name)
    for request in client_trial.requests:
        if request.outcome == "failed" and in_trouble(journeys):
            expect.skip(f"{name} fails as well: {request.errors[0]}")
        elif request.errors and request.errors[0].startswith(OF_PACKAGES):
            expect.skip(f"{name} lacks a part of itself: {request.errors[0]}")
        elif request.outcome != "refused":  # an answer is the hub's, and judged where the journeys met it
            seen = [fact(subject, f"{request.path}, {request.stage}", error, "fetched") for error in request.errors]
            expect.that(request.outcome == "fetched", "client-differs", subject, *seen, step="client")


def in_trouble(journeys: tuple[Journey, ...]) -> bool:
    """Whether any request of ours did not come to a good end: then a failure of the client is the same one."""
    return any(leg for journey in journeys for leg in journey.legs if not _came_through(leg))


def _came_through(leg: Leg) -> bool:
    answered = leg.response and leg.response.outcome == "answered" and isinstance(leg.response.status, int) and leg.response.status < 400
    return bool(answered) and not (leg.body and leg.body.outcome not in ("complete", "sampled")) and getattr(leg.body, "why", "") != "timed_out"


def _on_the_way(journeys: tuple[Journey, ...], leg: Leg) -> bool:
    """A redirect that stays on the hub: the client takes the fields from the answer behind it (utils/_http.py, _httpx2_follow_hub_redirects_with_backoff)."""
    legs = next(journey.legs for journey in journeys if leg in journey.legs)
    status = leg.response.status if leg.response else 0
    following = legs[legs.index(leg) + 1 :]
    return isinstance(status, int) and 300 <= status < 400 and (not following or following[0].method == "HEAD")


def _another_kind(journey: Journey, leg: Leg, body: Body) -> bool:
    """A page, a storage's error in XML, or a git-lfs pointer in the file's place; JSON only where a name promises weights."""
    path = urlsplit(leg.url).path.lower()
    name = (urlsplit(journey.path).path or journey.path).lower() or path
    if body.content == "html":
        return not (journey.name.startswith("url") and path.endswith(PAGES))
    if journey.name in API_JOURNEYS:
        return False
    if body.content == "json":
        return name.endswith(WEIGHTS)
    return body.content == "lfs-pointer" or (body.content == "xml" and name.endswith(WEIGHTS))


def _answers(journeys: tuple[Journey, ...], expect: Expect) -> Iterator[tuple[Leg, Response]]:
    for leg, response in expect.reached(journeys, "response"):
        if response.outcome == "answered":
            yield leg, response


def _optional(journeys: tuple[Journey, ...], leg: Leg) -> bool:
    """A mirror need not have the tree, nor the list of all models, nor any API where files come; nor a repository a file that was only guessed."""
    response = leg.response
    if not isinstance(response, Response) or response.status not in (404, 405, 501):
        return False
    name = next(journey.name for journey in journeys if leg in journey.legs)
    code = next((header.value for header in response.headers if header.name == "x-error-code"), "")
    if name in FILE_JOURNEYS:
        return code not in ("RepoNotFound", "RevisionNotFound") and any(journey.name == "listing" and not _went_well(journey) for journey in journeys)
    if name == "listing":
        return not code and any(journey.name in FILE_JOURNEYS and _from_repository(journey) for journey in journeys)
    if name == "hub":
        return response.content == "json" or (_at_the_default(leg) and response.content != "html")
    return name == "tree"


def _at_the_default(leg: Leg) -> bool:
    """At the hub's own address no setting of the person's can be at fault."""
    return leg.url.startswith(DEFAULT_ENDPOINT + "/")


def _from_repository(journey: Journey) -> bool:
    """Whether a repository answered: by the hub's own word (hf_hub_download needs no more), or with a file."""
    last = journey.legs[-1] if journey.legs else None
    came = bool(last and _went_well(journey) and isinstance(last.body, Body) and last.body.content in ("json", "binary"))
    return came or any(_named_by_hub(leg.response) for leg in journey.legs if isinstance(leg.response, Response))


def _named_by_hub(response: Response) -> bool:
    """Nothing but a hub names a commit, or says what of a repository it refuses."""
    return any(header.name == "x-repo-commit" or (header.name == "x-error-code" and header.value in OF_A_REPOSITORY) for header in response.headers)


def _went_well(journey: Journey) -> bool:
    last = journey.legs[-1] if journey.legs else None
    return bool(last and last.response and last.response.status == 200)


def _code(journeys: tuple[Journey, ...], leg: Leg, code: str) -> str:
    """``method`` where only the HEAD that the client begins with is refused or cut, and GET works."""
    journey = next(journey for journey in journeys if leg in journey.legs)
    return "method" if leg.method == "HEAD" and journey.method_fallback and journey.method_fallback.works else code


def _needed(names: set[str], response: Response) -> dict[str, bool]:
    """What huggingface_hub takes from the HEAD (file_download.py, get_hf_file_metadata)."""
    return {
        "X-Repo-Commit": "x-repo-commit" in names,
        "ETag": bool(names & {"etag", "x-linked-etag"}),
        "Content-Length": isinstance(response.length, int) or "x-linked-size" in names or bool(response.location),
    }


def _who_said_what(subject: Subject, leg: Leg, response: Response) -> list[Evidence]:
    found = [fact(subject, f"{leg.method} {leg.url}", f"{response.status} {response.reason}".strip())]
    found += [fact(subject, "title of the page", response.title)] if response.title else []
    body = leg.body
    if isinstance(body, Body):
        found += [fact(subject, "content", f"{body.content or 'unknown'}, {size(body.bytes)}")]
        found += [fact(subject, "title of the page", body.title)] if body.title and not response.title else []
    found += [fact(subject, "first bytes", response.first_bytes)] if response.first_bytes and not response.title else []
    found += [fact(subject, header.name, header.value) for header in response.headers if header.name in TELLING]
    return [*found, fact(subject, "token sent", "yes" if leg.token_sent else "no")]
