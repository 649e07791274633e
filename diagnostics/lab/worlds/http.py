"""HTTP: who answers, and what is said. The healthy ones are odd answers that every client takes well."""

from __future__ import annotations

import json

from diagnostics.lab import hub as hubs
from diagnostics.lab import tls
from diagnostics.lab.http import App, Reply, Request, file, page, redirect, text
from diagnostics.lab.stage import CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import put_up_hub

FILES = "files.example"
WRONG_TOKEN = hubs.TOKEN[:-2] + "99"  # as well formed as the right one
BIG = bytes(range(256)) * 8192  # 2 MiB
S3_DENIED = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>LAB</RequestId></Error>'
S3: tuple[tuple[str, str], ...] = (("x-amz-request-id", "LABREQUEST"), ("Server", "AmazonS3"))
BLOCK_PAGE = page("Web Page Blocked", "The page you have requested has been blocked: category Artificial Intelligence.", 403, (("Server", "FortiGate"),))


def by_url(stage: Stage, app: App, path: str = "/tiny/model.safetensors", host: str = FILES) -> str:
    """A file by URL at a host that answers as ``app`` does."""
    base = stage.web(host, app)
    stage.spec = base + path
    return base


def saying(reply: Reply) -> App:
    return lambda request: reply


def hub_but(stage: Stage, when: hubs.When, reply: Reply) -> None:
    """The hub, but for some requests."""
    put_up_hub(stage, hub=hubs.instead(hubs.hub(hubs.tiny()), when, reply))


def head_of_files(request: Request) -> bool:
    return request.method == "HEAD" and hubs.of_files(request)


def weights() -> bytes:
    found = hubs.tiny().file("model.safetensors")
    assert found is not None
    return found.data


# --- who ----------------------------------------------------------------------------------------------------------------------


@world("http-repository-missing")
def repository_missing(stage: Stage) -> None:
    """A repository that does not exist, asked without a token: the hub says 401."""
    put_up_hub(stage)
    stage.spec = "lab/tinny-bert"


@world("http-repository-missing-token", cause="http-repository-missing")
def repository_missing_token(stage: Stage) -> None:
    """With a valid token it says 404."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = hubs.TOKEN
    stage.spec = "lab/tinny-bert"


@world("http-repository-missing-private", cause="http-repository-missing")
def repository_private(stage: Stage) -> None:
    """A private repository, asked without a token: nobody can tell it from none."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, private=True))


@world("http-repository-missing-mirror", cause="http-repository-missing")
def repository_missing_mirror(stage: Stage) -> None:
    """A mirror that does not have it, and says so in its own words."""
    base = stage.web("mirror.example", saying(text('{"error":"model not found"}', 404, "application/json")))
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME


@world("healthy-http-private", cause="")
def healthy_private(stage: Stage) -> None:
    """The same private repository with its token."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, private=True))
    stage.variables["HF_TOKEN"] = hubs.TOKEN


@world("http-gated")
def gated(stage: Stage) -> None:
    """A gated model without a token."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, gated="auto"))


@world("http-gated-not-granted", cause="http-gated")
def gated_not_granted(stage: Stage) -> None:
    """A gated model with the valid token of an account that has not been let in."""
    inner = hubs.hub(hubs.Repository(files=hubs.tiny().files, gated="manual"))
    refusal = hubs.refusal(403, "GatedRepo", f"Access to model {hubs.NAME} is restricted and you are not in the authorized list.")
    put_up_hub(stage, hub=hubs.instead(inner, hubs.of_files, refusal))
    stage.variables["HF_TOKEN"] = hubs.TOKEN


@world("http-gated-large-only", cause="http-gated")
def gated_listing_too(stage: Stage) -> None:
    """A hub that refuses even the list of files of a gated model."""
    refusal = hubs.refusal(401, "GatedRepo", f"Access to model {hubs.NAME} is restricted.")
    hub_but(stage, lambda request: hubs.NAME in request.path, refusal)


@world("healthy-http-gated", cause="")
def healthy_gated(stage: Stage) -> None:
    """A gated model with a token that is let in."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, gated="auto"))
    stage.variables["HF_TOKEN"] = hubs.TOKEN


@world("http-token-rejected")
def token_rejected(stage: Stage) -> None:
    """An expired token makes even a public model fail."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = WRONG_TOKEN


@world("http-token-rejected-gated", cause="http-token-rejected")
def token_rejected_gated(stage: Stage) -> None:
    """An expired token for a gated model: without it the list works, and files would still be refused."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, gated="auto"))
    stage.variables["HF_TOKEN"] = WRONG_TOKEN


@world("http-token-rejected-private", cause="http-token-rejected")
def token_rejected_private(stage: Stage) -> None:
    """An expired token for a private model: nothing works without one either, and whoami tells."""
    put_up_hub(stage, hubs.Repository(files=hubs.tiny().files, private=True))
    stage.variables["HF_TOKEN"] = WRONG_TOKEN


@world("http-token-rejected-nothing", cause="http-token-rejected")
def token_rejected_nothing(stage: Stage) -> None:
    """No target; the hub refuses the token that this environment holds."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = WRONG_TOKEN
    stage.spec = ""


@world("http-token-scope")
def token_scope(stage: Stage) -> None:
    """A fine-grained token that may not read this repository."""
    message = "The token does not have the required permissions."
    hub_but(stage, lambda request: hubs.NAME in request.path, hubs.refusal(403, "", message))
    stage.variables["HF_TOKEN"] = hubs.TOKEN


@world("http-token-scope-gated", cause="http-token-scope")
def token_scope_gated(stage: Stage) -> None:
    """A fine-grained token without the right to gated repositories, of an account that has been let in."""
    message = "Please enable access to public gated repositories in your fine-grained token settings to view this repository."
    hub_but(stage, hubs.of_files, hubs.refusal(403, "GatedRepo", message))
    stage.variables["HF_TOKEN"] = hubs.TOKEN


@world("http-authentication-required")
def authentication_required(stage: Stage) -> None:
    """A file server that wants a login."""
    by_url(stage, saying(text("Authorization required", 401, headers=(("WWW-Authenticate", 'Basic realm="models"'),))))


@world("http-authentication-required-mirror", cause="http-authentication-required")
def authentication_required_mirror(stage: Stage) -> None:
    """A company's mirror (Artifactory) that serves nobody without a login."""
    refusal = text('{"errors":[{"status":401,"message":"Unauthorized"}]}', 401, "application/json", (("WWW-Authenticate", 'Basic realm="Artifactory Realm"'),))
    stage.variables["HF_ENDPOINT"] = stage.web("mirror.example", saying(refusal))
    stage.spec = hubs.NAME


@world("http-forbidden")
def forbidden(stage: Stage) -> None:
    """Storage that refuses: AccessDenied."""
    by_url(stage, saying(text(S3_DENIED.format(code="AccessDenied", message="Access Denied"), 403, "application/xml", S3)))


@world("http-forbidden-expired-link", needs="namespace", cause="http-forbidden", twin="healthy-internet")
def forbidden_expired_link(stage: Namespace) -> None:
    """A presigned link whose time is over."""
    expired = text(S3_DENIED.format(code="AccessDenied", message="Request has expired"), 403, "application/xml", S3)
    by_url(stage, saying(expired), "/model.bin?X-Amz-Expires=3600&X-Amz-Signature=" + "c0ffee" * 8, "models.s3.amazonaws.com")


@world("http-forbidden-signature", needs="namespace", cause="http-forbidden", twin="healthy-internet")
def forbidden_signature(stage: Namespace) -> None:
    """The CDN refuses the signed link that the hub gave (a clock, or a proxy that rewrites queries)."""
    refusal = text(S3_DENIED.format(code="SignatureDoesNotMatch", message="The request signature we calculated does not match"), 403, "application/xml", S3)
    stage.web(CDN, saying(refusal.with_headers(("X-Amz-Cf-Id", "lab"))))
    stage.web(HUB, hubs.hub(hubs.tiny(), cdn=f"https://{CDN}"))
    stage.spec = hubs.NAME


# --- something in between -----------------------------------------------------------------------------------------------------


@world("http-blocked-by-filter")
def blocked(stage: Stage) -> None:
    """A filter that names itself answers 403 to everything."""
    hub_but(stage, hubs.always, BLOCK_PAGE)


@world("http-blocked-by-filter-nameless", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_nameless(stage: Namespace) -> None:
    """A bare 403 in the public hub's name, without any header of the hub's."""
    stage.web(HUB, saying(text("Forbidden", 403)))
    stage.spec = hubs.NAME


@world("http-blocked-by-filter-token", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_with_token(stage: Namespace) -> None:
    """The same with a token, which is not to blame."""
    stage.web(HUB, saying(text("Forbidden", 403)))
    stage.variables["HF_TOKEN"] = hubs.TOKEN
    stage.spec = hubs.NAME


@world("http-blocked-by-filter-page", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_page(stage: Namespace) -> None:
    """A block page with status 200."""
    stage.web(HUB, saying(page("Access to this web site is blocked", "Category: generative AI")))
    stage.spec = hubs.NAME


@world("http-blocked-by-filter-451", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_451(stage: Namespace) -> None:
    """A provider's 451 without the hub's headers."""
    stage.web(HUB, saying(page("Unavailable", "by order", 451)))
    stage.spec = hubs.NAME


@world("http-blocked-by-filter-files", cause="http-blocked-by-filter")
def blocked_files(stage: Stage) -> None:
    """The API passes; files ending in .safetensors are blocked by a product that names itself."""
    hub_but(stage, hubs.of_file("model.safetensors"), BLOCK_PAGE)


@world("http-blocked-by-filter-redirect", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_redirect(stage: Namespace) -> None:
    """Every request is redirected to a block page at another host."""
    stage.web("block.opendns.com", saying(page("This site is blocked", "Cisco Umbrella")))
    stage.web(HUB, saying(redirect("https://block.opendns.com/?domain=huggingface.co&url=blocked")))
    stage.spec = hubs.NAME


@world("http-blocked-by-filter-url", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_url(stage: Namespace) -> None:
    """A block page with 200 where a checkpoint is due."""
    by_url(stage, saying(page("Blocked by your organisation")), "/models/resnet18-f37072fd.pth", "download.pytorch.org")


@world("http-blocked-by-filter-download-host", needs="namespace", cause="http-blocked-by-filter", twin="healthy-internet")
def blocked_cdn(stage: Namespace) -> None:
    """The hub passes, the host of the bytes is answered by the filter."""
    stage.web(CDN, saying(BLOCK_PAGE))
    stage.web(HUB, hubs.hub(hubs.tiny(), cdn=f"https://{CDN}"))
    stage.spec = hubs.NAME


@world("http-captive-portal-dropping", needs="namespace", cause="http-captive-portal", twin="healthy-internet")
def portal_dropping(stage: Namespace) -> None:
    """A portal that drops https and redirects http."""
    stage.web(HUB, saying(redirect("http://10.1.0.1/guest/")), port=80, secure=False)
    stage.firewall("tcp dport 443 drop")
    stage.spec = hubs.NAME


@world("tls-certificate-expired-no-portal", needs="namespace", cause="tls-certificate-expired", twin="healthy-internet")
def root_elsewhere(stage: Namespace) -> None:
    """Plain http to the host is redirected to another host of its owner for good: no portal, whatever else is wrong."""
    leaf = tls.public_authority().issue("download.pytorch.org", valid=tls.expired())
    stage.web("download.pytorch.org", saying(file(weights())), leaf=leaf)
    stage.web("download.pytorch.org", saying(redirect("https://pytorch.example/", 301)), port=80, secure=False)
    stage.spec = "https://download.pytorch.org/models/a.pth"


@world("http-captive-portal", needs="namespace", twin="healthy-internet")
def portal(stage: Namespace) -> None:
    """A hotel: https is answered with the portal's own certificate, plain http redirected to its page."""
    stage.web(HUB, saying(redirect("https://portal.hotel.example/login")), leaf=tls.self_signed("portal.hotel.example"))
    stage.web(HUB, saying(redirect("http://portal.hotel.example/login")), port=80, secure=False)
    stage.spec = hubs.NAME


@world("http-captive-portal-refused", needs="namespace", cause="http-captive-portal", twin="healthy-internet")
def portal_refusing(stage: Namespace) -> None:
    """A portal that refuses https and redirects http."""
    stage.web(HUB, saying(redirect("http://portal.hotel.example/login")), port=80, secure=False)
    stage.spec = hubs.NAME


@world("http-captive-portal-511", needs="namespace", cause="http-captive-portal", twin="healthy-internet")
def portal_511(stage: Namespace) -> None:
    """A file by plain http, answered with 511 (RFC 6585 §6)."""
    base = stage.web("files.corp.example", saying(page("Network Authentication Required", status=511)), port=80, secure=False)
    stage.spec = f"{base}/model.bin"


@world("http-captive-portal-http", needs="namespace", cause="http-captive-portal", twin="healthy-internet")
def portal_http(stage: Namespace) -> None:
    """A mirror by plain http: every host is redirected to the sign-in page."""
    stage.web("portal.hotel.example", saying(page("Welcome to the Grand Hotel", "Please sign in")), port=80, secure=False)
    stage.variables["HF_ENDPOINT"] = stage.web("mirror.example", saying(redirect("http://portal.hotel.example/login?orig=1")), port=80, secure=False)
    stage.spec = hubs.NAME


@world("http-legally-blocked")
def legally_blocked(stage: Stage) -> None:
    """The hub itself says 451."""
    hub_but(stage, lambda request: hubs.NAME in request.path, hubs.refusal(451, "", "Access to this resource is disabled for legal reasons."))


# --- what ---------------------------------------------------------------------------------------------------------------------


@world("http-revision-missing")
def revision_missing(stage: Stage) -> None:
    """No such branch."""
    put_up_hub(stage)
    stage.spec = f"{hubs.NAME}@v2-final"


@world("http-file-missing")
def file_missing(stage: Stage) -> None:
    """A link to a file that is gone."""
    by_url(stage, saying(text("<html><head><title>404 Not Found</title></head><body>nginx</body></html>", 404, "text/html")))


@world("http-file-missing-410", cause="http-file-missing")
def file_gone(stage: Stage) -> None:
    """The host knows that it was there."""
    by_url(stage, saying(text("gone", 410)))


@world("http-file-missing-hub", cause="http-file-missing")
def file_missing_hub(stage: Stage) -> None:
    """The list of files names one that the hub then does not have."""
    missing = hubs.refusal(404, "EntryNotFound", "Entry not found").with_headers(("X-Repo-Commit", hubs.COMMIT))
    hub_but(stage, hubs.of_file("model.safetensors"), missing)


@world("http-file-missing-s3", needs="namespace", cause="http-file-missing", twin="healthy-internet")
def file_missing_s3(stage: Namespace) -> None:
    """torch.hub's host: NoSuchKey."""
    gone = text(S3_DENIED.format(code="NoSuchKey", message="The specified key does not exist."), 404, "application/xml", (*S3, ("X-Amz-Cf-Id", "lab")))
    by_url(stage, saying(gone), "/models/resnet99-00000000.pth", "download.pytorch.org")


@world("http-request-rejected-closed-bucket", needs="namespace", cause="http-request-rejected", twin="healthy-internet")
def bucket_closed(stage: Namespace) -> None:
    """Azure: 409, public access is not permitted on this storage account."""
    closed = (
        "<?xml version='1.0'?><Error><Code>PublicAccessNotPermitted</Code><Message>Public access is not permitted on this storage account.</Message></Error>"
    )
    fields = (("x-ms-request-id", "lab"), ("x-ms-error-code", "PublicAccessNotPermitted"))
    by_url(stage, saying(text(closed, 409, "application/xml", fields)), "/gpt-2/models/124M/encoder.json", "openaipublic.blob.core.windows.net")


@world("http-file-missing-gpt2", needs="namespace", cause="http-file-missing", twin="healthy-internet")
def file_missing_gpt2(stage: Namespace) -> None:
    """OpenAI's bucket of GPT-2 is gone: ContainerNotFound."""
    gone = text(
        "<?xml version='1.0'?><Error><Code>ContainerNotFound</Code><Message>The specified container does not exist.</Message></Error>",
        404,
        "application/xml",
        (("x-ms-request-id", "lab"), ("x-ms-error-code", "ContainerNotFound")),
    )
    by_url(stage, saying(gone), "/gpt-2/models/124M/model.ckpt.data-00000-of-00001", "openaipublic.blob.core.windows.net")


@world("http-html-instead-of-file")
def html_instead(stage: Stage) -> None:
    """A log-in page with status 200 where a checkpoint is due."""
    by_url(stage, saying(page("Sign in - Initech SSO")))


@world("http-html-instead-of-file-blob", needs="namespace", cause="http-html-instead-of-file", twin="healthy-internet")
def html_blob(stage: Namespace) -> None:
    """The page about a file on GitHub instead of the file."""
    answer = page("repo/model.pt at main · org/repo · GitHub").with_headers(("X-GitHub-Request-Id", "LAB"))
    by_url(stage, saying(answer), "/org/repo/blob/main/model.pt", "github.com")


@world("http-html-instead-of-file-hub", cause="http-html-instead-of-file")
def html_from_hub(stage: Stage) -> None:
    """A mirror whose front end answers every file with its page."""
    put_up_hub(stage, hub=hubs.instead(hubs.hub(hubs.tiny()), hubs.of_files, page("Mirror")))


@world("http-html-instead-of-file-consent", needs="namespace", cause="http-html-instead-of-file", twin="healthy-internet")
def html_consent(stage: Namespace) -> None:
    """Google Drive's page about large files it cannot scan."""
    by_url(
        stage,
        saying(page("Google Drive - Virus scan warning", "Google Drive can't scan this file for viruses.")),
        "/uc?id=1abc&export=download",
        "drive.google.com",
    )


@world("http-html-instead-of-file-pointer", needs="namespace", cause="http-html-instead-of-file", twin="healthy-internet")
def pointer_instead(stage: Namespace) -> None:
    """GitHub's raw host serves the git-lfs pointer in place of the file."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 438000000\n"
    answer = text(pointer, headers=(("X-GitHub-Request-Id", "LAB"),))
    by_url(stage, saying(answer), "/org/repo/main/model.pt", "raw.githubusercontent.com")


@world("http-html-instead-of-file-json", cause="http-html-instead-of-file")
def json_instead(stage: Stage) -> None:
    """An API's complaint with status 200 where weights are due."""
    by_url(stage, saying(text('{"error": "please sign in"}', content_type="application/json")))


# --- how much -----------------------------------------------------------------------------------------------------------------


@world("http-rate-limited")
def rate_limited(stage: Stage) -> None:
    """429 with Retry-After."""
    hub_but(stage, hubs.always, hubs.refusal(429, "", "We had to rate limit your IP.").with_headers(("Retry-After", "120")))


@world("http-rate-limited-fields", cause="http-rate-limited")
def rate_limited_fields(stage: Stage) -> None:
    """429 with the hub's RateLimit field, for files only."""
    hub_but(
        stage,
        hubs.of_files,
        hubs.refusal(429, "", "Too many requests").with_headers(
            ("RateLimit", '"resolvers";r=0;t=55'), ("RateLimit-Policy", '"fixed window";"resolvers";q=3000;w=300')
        ),
    )


@world("http-rate-limited-bare", cause="http-rate-limited")
def rate_limited_bare(stage: Stage) -> None:
    """429 and nothing else, by URL."""
    by_url(stage, saying(text("Too Many Requests", 429)))


@world("http-rate-limited-date", cause="http-rate-limited")
def rate_limited_date(stage: Stage) -> None:
    """Retry-After as a date (RFC 9110 §10.2.3)."""
    by_url(stage, saying(text("Too Many Requests", 429, headers=(("Retry-After", "Wed, 25 Nov 2099 07:28:00 GMT"),))))


@world("http-quota-exceeded", needs="namespace", twin="healthy-internet")
def quota(stage: Namespace) -> None:
    """Google Drive's page about a file that too many have fetched."""
    words = "Sorry, you can't view or download this file at this time. Too many users have viewed or downloaded this file recently."
    by_url(stage, saying(page("Google Drive - Quota exceeded", words)), "/uc?id=1abc&export=download", "drive.google.com")


@world("http-quota-exceeded-lfs", needs="namespace", cause="http-quota-exceeded", twin="healthy-internet")
def quota_lfs(stage: Namespace) -> None:
    """GitHub's LFS bandwidth is spent."""
    words = "This repository exceeded its LFS budget. The account responsible for the budget should increase it to restore access."
    answer = text(json.dumps({"message": words}), 403, "application/json", (("X-GitHub-Request-Id", "LAB"),))
    by_url(stage, saying(answer), "/media/org/repo/main/model.pt", "media.githubusercontent.com")


# --- how ----------------------------------------------------------------------------------------------------------------------


@world("http-method-blocked")
def method_blocked(stage: Stage) -> None:
    """HEAD is refused, GET works."""
    hub_but(stage, head_of_files, page("Method Not Allowed", status=405))


@world("http-method-blocked-403", cause="http-method-blocked")
def method_blocked_403(stage: Stage) -> None:
    """HEAD is answered 403, GET works."""
    hub_but(stage, head_of_files, text("", 403))


@world("http-method-blocked-cut", cause="http-method-blocked")
def method_cut(stage: Stage) -> None:
    """HEAD is cut, GET works."""
    hub_but(stage, head_of_files, Reply(dropped=True, cut_by_reset=True))


@world("http-redirect-loop")
def redirect_loop(stage: Stage) -> None:
    """Two addresses that point to each other."""
    by_url(stage, lambda request: redirect("/b" if request.path == "/a" else "/a"), "/a")


@world("http-redirect-loop-self", cause="http-redirect-loop")
def redirect_to_itself(stage: Stage) -> None:
    """A login that is never content: each redirect adds to the query."""
    by_url(stage, lambda request: redirect(f"/a?step={int(request.query.get('step', '0')) + 1}"), "/a")


@world("http-redirect-loop-nowhere", cause="http-redirect-loop")
def redirect_nowhere(stage: Stage) -> None:
    """A redirect without Location."""
    by_url(stage, saying(Reply(status=302)))


@world("http-redirect-loop-scheme", cause="http-redirect-loop")
def redirect_to_scheme(stage: Stage) -> None:
    """A redirect to a scheme that no client follows."""
    by_url(stage, saying(redirect("s3://bucket/model.bin")))


@world("http-redirect-loop-hub", cause="http-redirect-loop")
def redirect_loop_hub(stage: Stage) -> None:
    """A mirror that sends every file to itself."""
    put_up_hub(stage, hub=lambda request: redirect(request.target) if hubs.of_files(request) else hubs.hub(hubs.tiny())(request))


@world("http-metadata-missing")
def metadata_missing(stage: Stage) -> None:
    """A caching proxy in front of a mirror that drops the hub's fields."""
    without = ("X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "ETag")
    put_up_hub(stage, hub=hubs.spoiled(hubs.hub(hubs.tiny()), hubs.of_files, lambda reply: reply.with_headers(without=without)))


@world("http-metadata-missing-commit", cause="http-metadata-missing")
def commit_missing(stage: Stage) -> None:
    """Only X-Repo-Commit is dropped."""
    put_up_hub(stage, hub=hubs.spoiled(hubs.hub(hubs.tiny()), hubs.of_files, lambda reply: reply.with_headers(without=("X-Repo-Commit",))))


@world("http-metadata-missing-etag", cause="http-metadata-missing")
def etag_missing(stage: Stage) -> None:
    """Only ETag and X-Linked-Etag are dropped."""
    put_up_hub(stage, hub=hubs.spoiled(hubs.hub(hubs.tiny()), hubs.of_files, lambda reply: reply.with_headers(without=("ETag", "X-Linked-Etag"))))


@world("http-server-error")
def server_error(stage: Stage) -> None:
    """503 with Retry-After."""
    hub_but(stage, hubs.always, page("Service Unavailable", status=503, headers=(("Retry-After", "30"),)))


@world("http-server-error-gateway", needs="namespace", cause="http-server-error", twin="healthy-internet")
def server_error_gateway(stage: Namespace) -> None:
    """The hub's own load balancer says 504."""
    stage.web(HUB, saying(page("504 Gateway Time-out", status=504, headers=(("X-Amz-Cf-Id", "lab"), ("Via", "1.1 abc.cloudfront.net (CloudFront)")))))
    stage.spec = hubs.NAME


@world("http-server-error-download-host", cause="http-server-error")
def server_error_cdn(stage: Stage) -> None:
    """The hub is fine, its storage answers 500."""
    put_up_hub(stage, cdn=saying(text(S3_DENIED.format(code="InternalError", message="We encountered an internal error."), 500, "application/xml", S3)))


@world("http-server-error-files", cause="http-server-error")
def server_error_files(stage: Stage) -> None:
    """The API answers, files are 502."""
    hub_but(stage, hubs.of_files, page("502 Bad Gateway", status=502))


@world("http-request-rejected")
def rejected(stage: Stage) -> None:
    """400 for a URL."""
    by_url(stage, saying(text("Bad Request", 400)))


@world("http-no-response")
def no_response(stage: Stage) -> None:
    """The request is taken, and nothing comes."""
    hub_but(stage, hubs.always, Reply(silent=True))


@world("http-no-response-closed", cause="http-no-response")
def no_response_closed(stage: Stage) -> None:
    """The connection is closed on every request."""
    hub_but(stage, hubs.always, Reply(dropped=True))


@world("http-no-response-tls", needs="namespace", cause="http-no-response", twin="healthy-internet")
def no_response_tls(stage: Namespace) -> None:
    """The same behind a good handshake, with a reset."""
    stage.web(HUB, saying(Reply(dropped=True, cut_by_reset=True)))
    stage.spec = hubs.NAME


@world("http-invalid-response")
def invalid(stage: Stage) -> None:
    """Something that is no HTTP answers."""
    by_url(stage, saying(Reply(raw=b"-ERR unknown command 'GET'\r\n")))


@world("http-invalid-response-0.9", cause="http-invalid-response")
def invalid_old(stage: Stage) -> None:
    """HTTP/0.9: a page without a header."""
    by_url(stage, saying(Reply(raw=b"<html><body>It works</body></html>\n")))


@world("http-invalid-response-giant", cause="http-invalid-response")
def invalid_giant(stage: Stage) -> None:
    """A header line of 100 kB."""
    by_url(stage, saying(Reply(raw=b"HTTP/1.1 200 OK\r\nX-Filler: " + b"a" * 100_000 + b"\r\nContent-Length: 0\r\n\r\n")))


@world("http-invalid-response-many", cause="http-invalid-response")
def invalid_many(stage: Stage) -> None:
    """More header fields than any client takes."""
    by_url(stage, saying(Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X-Filler: a\r\n" * 200 + b"Content-Length: 0\r\n\r\n")))


@world("http-invalid-response-chunks", cause="http-invalid-response")
def invalid_chunks(stage: Stage) -> None:
    """Chunks that are none."""
    by_url(stage, saying(file(weights()).but(chunked=True, garbage_after=20_000, ranges=False)))


@world("http-invalid-response-tls", needs="certificates", cause="http-invalid-response")
def invalid_tls(stage: Stage) -> None:
    """http:// to a port that speaks TLS."""
    base = stage.web(FILES, saying(file(weights())), leaf=tls.public_authority().issue("127.0.0.1"))
    stage.spec = base.replace("https://", "http://") + "/model.bin"


@world("http-request-rejected-tls-port", cause="http-request-rejected")
def rejected_tls_port(stage: Stage) -> None:
    """nginx: http:// was sent to its port of https."""
    by_url(stage, saying(page("400 The plain HTTP request was sent to HTTPS port", status=400)))


@world("http-range-unsupported", severity="warning", twin="healthy-http-big")
def range_unsupported(stage: Stage) -> None:
    """A part is asked for, and all of it comes."""
    by_url(stage, saying(file(BIG, "big").but(ranges=False)))


# --- an endpoint that is none, as only the network shows ------------------------------------------------------------------------


@world("endpoint-misconfigured-page", cause="endpoint-misconfigured")
def endpoint_page(stage: Stage) -> None:
    """HF_ENDPOINT is a web site."""
    stage.variables["HF_ENDPOINT"] = stage.web("www.example", saying(page("Welcome")))
    stage.spec = hubs.NAME


@world("endpoint-misconfigured-path", cause="endpoint-misconfigured")
def endpoint_path(stage: Stage) -> None:
    """HF_ENDPOINT with a path too much: the hub finds nothing under it."""
    base = put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = f"{base}/models"


@world("endpoint-misconfigured-not-found", cause="endpoint-misconfigured")
def endpoint_not_found(stage: Stage) -> None:
    """HF_ENDPOINT is a web server without any of the hub's addresses."""
    stage.variables["HF_ENDPOINT"] = stage.web("www.example", saying(page("404 Not Found", status=404, headers=(("Server", "nginx"),))))
    stage.spec = hubs.NAME


# --- odd and well -------------------------------------------------------------------------------------------------------------


def of_a_hub(stage: Stage, spoil: hubs.When, change: object) -> None:
    put_up_hub(stage, hub=hubs.spoiled(hubs.hub(hubs.tiny()), spoil, change))  # type: ignore[arg-type]


@world("healthy-http-weak-etag", cause="")
def healthy_weak_etag(stage: Stage) -> None:
    """ETags in their weak form."""
    of_a_hub(stage, hubs.of_files, lambda reply: reply.with_headers(*((name, f"W/{value}") for name, value in reply.headers if name == "ETag")))


@world("healthy-http-uppercase", cause="")
def healthy_uppercase(stage: Stage) -> None:
    """Header names in capitals."""
    of_a_hub(stage, hubs.always, lambda reply: reply.but(headers=tuple((name.upper(), value) for name, value in reply.headers)))


@world("healthy-http-chunked", cause="")
def healthy_chunked(stage: Stage) -> None:
    """The API's answers in chunks, without a length."""
    of_a_hub(stage, hubs.of_api, lambda reply: reply.but(chunked=True))


@world("healthy-http-308", cause="")
def healthy_308(stage: Stage) -> None:
    """A renamed repository: the hub redirects everything with 307 and a relative Location."""

    def app(request: Request) -> Reply:
        return redirect(request.target.replace("old-name/bert", hubs.NAME), 307) if "old-name/bert" in request.target else hubs.hub(hubs.tiny())(request)

    put_up_hub(stage, hub=app)
    stage.spec = "old-name/bert"


@world("healthy-http-to-https", needs="namespace", cause="")
def healthy_to_https(stage: Namespace) -> None:
    """A URL by http that is redirected to https on the same host."""
    stage.web("files.corp.example", saying(file(weights())))
    stage.web("files.corp.example", lambda request: redirect(f"https://files.corp.example{request.target}", 301), port=80, secure=False)
    stage.spec = "http://files.corp.example/tiny/model.safetensors"


@world("healthy-http-blob", needs="namespace", cause="")
def healthy_blob(stage: Namespace) -> None:
    """The address of a page about a file on the hub: it tells the repository, which is what is looked at."""
    put_up_hub(stage)
    stage.spec = f"https://{HUB}/{hubs.NAME}/blob/main/model.safetensors"


@world("healthy-http-page", cause="")
def healthy_page(stage: Stage) -> None:
    """A URL of a page is allowed to be a page."""
    by_url(stage, saying(page("Model card")), "/models/card.html")


@world("healthy-http-big", cause="")
def healthy_big(stage: Stage) -> None:
    """A file of two megabytes, with ranges."""
    by_url(stage, saying(file(BIG, "big")), "/model.bin")


@world("healthy-http-slow", cause="")
def healthy_slow(stage: Stage) -> None:
    """A hub that thinks for a second."""
    of_a_hub(stage, hubs.of_api, lambda reply: reply.but(wait_seconds=1.0))


@world("healthy-http-1.0", cause="")
def healthy_old(stage: Stage) -> None:
    """A server of HTTP/1.0 that ends every connection."""
    data = weights()
    by_url(stage, saying(Reply(raw=b"HTTP/1.0 200 OK\r\nServer: SimpleHTTP/0.6\r\nContent-Type: application/octet-stream\r\n\r\n" + data)))


@world("healthy-http-not-in-tree", cause="")
def healthy_private_terms(stage: Stage) -> None:
    """A page in HTML at the hub's root does no harm."""
    hub_but(stage, lambda request: request.path == "/", page("Hub"))
