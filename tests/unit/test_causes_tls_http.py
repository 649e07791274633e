"""Look-alikes of TLS and HTTP on hand-made Cases: the same status or the same OpenSSL text, another cause."""

from __future__ import annotations

import dataclasses

import pytest

from diagnostics.case import Body, Environment, Header, Journey, Leg, StoreVerdict, Target, Token, Unseen, Variable
from diagnostics.causes.claims import sign_in_page
from diagnostics.diagnosis import diagnose
from diagnostics.facts import hosts
from diagnostics.probes import tls
from diagnostics.probes.http import content_kind
from tests.unit.cases import CDN, HUB, answer, body, case, causes, certificate, handshake, journey, leg, response, stopped_at

NOW = "2026-11-24T12:00:00Z"
MIRROR = Environment(endpoint=Variable(name="HF_ENDPOINT", value="https://mirror.example"))
NOTHING = Unseen("not_asked")


def untrusted(code: int, *chain: object, host: str = HUB, **changes: object) -> Leg:
    return stopped_at("handshake", handshake(outcome="untrusted", code=code, chain=chain or (certificate(),), **changes), host)


def refused(status: int, *headers: Header, host: str = HUB, **changes: object) -> Leg:
    return leg(host, response=response(status, *headers, **{"reason": "", **changes}), body=NOTHING)


# --- TLS ----------------------------------------------------------------------------------------------------------------------


def test_an_expired_root_is_the_stores_fault_an_expired_leaf_the_servers() -> None:
    """OpenSSL says 10 for both; what was sent tells."""
    root_late = case(journey(untrusted(10)), started=NOW)
    leaf_late = case(journey(untrusted(10, certificate(not_after="2026-10-01T00:00:00Z"))), started=NOW)
    assert causes(root_late) == ["ca-store-outdated"]
    assert causes(leaf_late) == ["tls-certificate-expired"]


def test_a_company_root_in_the_systems_store_is_an_interception_for_who_looks_into_certifi() -> None:
    """The same verdict of the other store for a public issuer means an old certifi."""
    accepts = (StoreVerdict(store="operating system", path="/etc/ssl/cert.pem", accepted=True),)
    company = untrusted(20, certificate("Initech"), store="certifi", verdicts=accepts, roots=3)
    public = untrusted(20, certificate("DigiCert Inc"), store="certifi", verdicts=accepts, roots=140)
    assert causes(case(journey(company))) == ["tls-intercepted"]
    assert causes(case(journey(public))) == ["ca-store-outdated"]


def test_a_public_host_whose_chain_could_not_be_read_is_intercepted_all_the_same() -> None:
    """A private host is not."""
    unread = handshake(outcome="untrusted", code=20, chain=())
    assert causes(case(journey(stopped_at("handshake", unread)))) == ["tls-intercepted"]
    assert causes(case(journey(stopped_at("handshake", unread, "hub.corp.example")))) == ["tls-issuer-unknown"]


def test_one_authority_of_two_hosts_is_one_diagnosis() -> None:
    """Hosts of one company share their root, and their trouble."""
    both = [journey(untrusted(20, certificate("Initech"), host=host), name=host) for host in ("hub.corp.example", "lfs.corp.example")]
    assert causes(case(*both)) == ["tls-issuer-unknown"]


def test_a_clock_older_than_this_program_needs_no_witness() -> None:
    """No server told its time; a certificate that is not valid yet is the server's fault only where the clock is possible."""
    young = untrusted(9, certificate(not_before="2026-11-01T00:00:00Z"))
    assert causes(case(journey(young), started="1970-01-01T00:02:00Z")) == ["clock-wrong"]
    assert causes(case(journey(young), started="2026-11-30T00:00:00Z")) == ["tls-not-yet-valid"]


def test_nginxs_page_about_a_client_certificate_speaks_for_the_bare_head_too() -> None:
    """A 400 that does not speak of certificates is a 400."""
    asked = handshake(certificate_requested=True)
    page = dataclasses.replace(refused(400, title="400 No required SSL certificate was sent"), handshake=asked)
    head = dataclasses.replace(refused(400), handshake=asked, method="HEAD")
    assert causes(case(journey(page), journey(head, name="small-file"))) == ["tls-client-certificate-required"]
    assert causes(case(journey(dataclasses.replace(refused(400, title="400 Bad Request"), handshake=asked)))) == ["http-request-rejected"]


@pytest.mark.parametrize("words", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 Not Found\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail ESMTP\r\n"])
def test_what_speaks_plainly_speaks_no_tls(words: bytes) -> None:
    """Whatever the handshake ended with."""
    assert tls.plain_service(words)


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_silence_a_400_and_an_alert_do_not_show_that(words: bytes) -> None:
    """A TLS server says 400, or an alert, to plain HTTP."""
    assert not tls.plain_service(words)


# --- HTTP ---------------------------------------------------------------------------------------------------------------------


def test_a_mirror_without_the_repository_and_a_web_server_without_a_hub() -> None:
    """Both say 404 without the hub's fields; the mirror says it in JSON."""
    json = refused(404, Header(name="server", value="nginx"), host="mirror.example", content="json")
    page = refused(404, Header(name="server", value="nginx"), host="mirror.example", content="html")
    assert causes(case(journey(json), environment=MIRROR)) == ["http-repository-missing"]
    assert causes(case(journey(page), environment=MIRROR)) == ["endpoint-misconfigured"]


def test_a_hub_without_any_api_is_one_where_its_files_come() -> None:
    """hf_hub_download asks for nothing but files; without one of them the same 404 means that the repository is not there."""
    no_api = refused(404, Header(name="server", value="nginx"), content="text")
    commit, gated = Header(name="x-repo-commit", value="1" * 40), Header(name="x-error-code", value="GatedRepo")
    path = "/org/name/resolve/main/config.json"
    comes = leg(path=path, method="HEAD", response=response(200, commit, Header(name="etag", value='"1"')), body=NOTHING)
    page = leg(body=body(content="html"))
    assert causes(case(journey(page), journey(comes, name="small-file"))) == []
    assert causes(case(journey(page))) != []
    closed = dataclasses.replace(refused(401, gated), url=f"https://{HUB}{path}", method="HEAD")
    unknown = dataclasses.replace(refused(404), url=f"https://{HUB}{path}", method="HEAD")
    assert causes(case(journey(no_api), journey(comes, name="small-file"))) == []
    assert causes(case(journey(no_api), journey(closed, name="small-file"))) == ["http-gated"]
    assert causes(case(journey(no_api), journey(unknown, name="small-file"))) == ["http-repository-missing"]


def test_a_revision_that_a_hub_does_not_know_is_not_excused_by_the_file_that_is_not_there_either() -> None:
    """The listing and the guessed file say the same: neither is only an API that is not there."""
    no_revision = refused(404, Header(name="x-error-code", value="RevisionNotFound"))
    file = dataclasses.replace(no_revision, url=f"https://{HUB}/org/name/resolve/v9/config.json", method="HEAD")
    assert causes(case(journey(no_revision), journey(file, name="small-file"))) == ["http-revision-missing"]
    assert causes(case(journey(refused(404, content="text")), journey(file, name="small-file"))) == ["http-revision-missing"]


def test_an_endpoint_by_plain_http_that_moves_to_https_is_the_variables_fault() -> None:
    """A redirect to another host without the hub's fields is a mirror that lost them."""
    endpoint = Environment(endpoint=Variable(name="HF_ENDPOINT", value="http://mirror.example"))
    path = "/org/name/resolve/main/config.json"
    page = Header(name="content-type", value="text/html")

    def moved(location: str) -> Leg:
        whole = leg("mirror.example", path=path, method="HEAD", response=response(301, page, location=location), body=NOTHING)
        return dataclasses.replace(whole, url=f"http://mirror.example{path}")

    def found(location: str) -> list[str]:
        return causes(case(journey(moved(location), leg("mirror.example", path=path), name="small-file"), environment=endpoint))

    assert found(f"https://mirror.example{path}") == ["endpoint-misconfigured"]
    assert found(f"https://other.example{path}") == ["http-metadata-missing"]


def test_a_gated_refusal_that_names_the_tokens_settings_is_the_tokens_fault() -> None:
    """An account that has not been let in is told so."""
    with_token = Environment(token=Token(present=True, source="HF_TOKEN"))

    def said(words: str) -> Leg:
        gated = (Header(name="x-error-code", value="GatedRepo"), Header(name="x-error-message", value=words), Header(name="x-request-id", value="1"))
        return dataclasses.replace(refused(403, *gated), token_sent=True, counterfactuals=answer("whoami", True))

    scope = said("Please enable access to public gated repositories in your fine-grained token settings to view this repository.")
    assert causes(case(journey(scope), environment=with_token)) == ["http-token-scope"]
    assert causes(case(journey(said("you are not in the authorized list")), environment=with_token)) == ["http-gated"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("<Error><Code>AccessDenied</Code><Message>Request has expired</Message>", "expired"),
        ("<Error><Code>SignatureDoesNotMatch</Code><Message>x</Message>", "does not fit"),
        ("<Error><Code>RequestTimeTooSkewed</Code><Message>x</Message>", "clock"),
        ("<Error><Code>AccessDenied</Code><Message>Access Denied</Message>", "not public"),
    ],
)
def test_a_storages_refusal_is_read(code: str, words: str) -> None:
    """Four reasons, one status."""
    url = Target(spec="https://m.s3.amazonaws.com/x", kind="url", urls=("https://m.s3.amazonaws.com/x",), client=case().target.client)
    found = refused(403, Header(name="x-amz-request-id", value="1"), host="m.s3.amazonaws.com", first_bytes=code, content="xml")
    diagnosis = diagnose(case(journey(found, name="url-1"), target=url))[0]
    assert diagnosis.cause == "http-forbidden"
    assert words in diagnosis.remedies[0].do


def test_a_filter_that_redirects_to_its_own_page_is_said_to_stand_before_the_host() -> None:
    """Not before its own."""
    sent = leg(response=response(302, location="https://block.opendns.com/"), body=NOTHING)
    shown = leg("block.opendns.com", path="/", response=response(200, title="This site is blocked"), body=body(content="html", title="This site is blocked"))
    diagnosis = diagnose(case(journey(sent, shown)))[0]
    assert diagnosis.cause == "http-blocked-by-filter"
    assert HUB in diagnosis.title
    assert "block.opendns.com" not in diagnosis.remedies[0].do


@pytest.mark.parametrize("content", ["html", "lfs-pointer", "json", "xml"])
def test_other_things_in_a_checkpoints_place(content: str) -> None:
    """Its twin is a file that is one."""
    target = Target(spec="https://x.example/a.pth", kind="url", urls=("https://x.example/a.pth",), client=case().target.client)

    def got(kind: str) -> Leg:
        return leg("x.example", path="/a.pth", response=response(200, Header(name="server", value="x")), body=Body(outcome="complete", bytes=200, content=kind))

    assert causes(case(journey(got(content), name="url-1", path="https://x.example/a.pth"), target=target)) == ["http-html-instead-of-file"]
    assert causes(case(journey(got("binary"), name="url-1", path="https://x.example/a.pth"), target=target)) == []


def test_a_redirect_on_the_hub_needs_no_fields_one_to_the_store_does() -> None:
    """The client takes them from the last answer of the hub's own."""
    bare = {"path": "/org/old/resolve/main/a.bin", "method": "HEAD", "body": NOTHING}
    moved = leg(response=response(307, location="/org/new/resolve/main/a.bin"), **bare)
    found = leg(**{**bare, "path": "/org/new/resolve/main/a.bin"})
    away = leg(response=response(302, Header(name="location", value="x"), location=f"https://{CDN}/a"), **bare)
    stored = leg(CDN, path="/a", body=body(content="binary"))
    assert causes(case(journey(moved, found, name="largest-file"))) == []
    assert causes(case(journey(away, stored, name="largest-file"))) == ["http-metadata-missing"]


@pytest.mark.parametrize(
    ("location", "title", "portal"),
    [
        ("http://portal.hotel.example/login?orig=1", "", True),
        ("http://10.1.0.1/", "Guest WLAN", True),
        ("https://www.newname.example/", "A company", False),
        ("/elsewhere", "Sign in", False),
    ],
)
def test_sign_in_pages(location: str, title: str, portal: bool) -> None:
    """Away from the host, and about signing in."""
    first = leg("mirror.example", scheme="http", response=response(302, location=location), body=NOTHING)
    last = leg("10.1.0.1", path="/", response=response(200, title=title))
    made = Journey(name="listing", purpose="", client=case().target.client, legs=(first, last))  # type: ignore[arg-type]
    assert bool(sign_in_page(made)) is portal


@pytest.mark.parametrize("text", [b'{"a": 1}', b"{}", b"[]", b"[ {", b"[1, 2]", b"[true]"])
def test_json_goes_on_like_json(text: bytes) -> None:
    """An object or an array."""
    assert content_kind(text) == "json"


@pytest.mark.parametrize("text", [b"[PAD]\n[UNK]\n", b"[model]\nname = 1\n", b"{{ template }}"])
def test_vocabularies_and_tables_are_no_json(text: bytes) -> None:
    """They begin alike."""
    assert content_kind(text) == "text"


def test_addresses_that_were_given_up() -> None:
    """Only below the prefix."""
    assert hosts.moved_to("https://openaipublic.blob.core.windows.net/gpt-2/models/124M/encoder.json")
    assert hosts.moved_to("https://openaipublic.blob.core.windows.net/clip/models/x.pt") is None
