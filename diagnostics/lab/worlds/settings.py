"""What the environment tells the clients, and what the person typed: a world for each way to get it wrong, and for what looks wrong and is not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from diagnostics.lab import hub as hubs
from diagnostics.lab import model, tcp, tls
from diagnostics.lab.http import Reply, Request, file, page, redirect
from diagnostics.lab.proxy import Policy, http_proxy
from diagnostics.lab.stage import CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import behind_proxy, fill_cache, put_up_hub

OTHER_TOKEN = "hf_LabTokenLabTokenLabTokenLabToken99"


# --- what was typed -----------------------------------------------------------------------------------------------------------


@world("model-id-invalid")
def model_id_invalid(stage: Stage) -> None:
    """An id with more than one slash, as copied from an address."""
    put_up_hub(stage)
    stage.spec = "models/lab/tiny-bert"


@world("model-id-with-space", cause="model-id-invalid")
def model_id_with_space(stage: Stage) -> None:
    """An id with a space in it."""
    put_up_hub(stage)
    stage.spec = "lab/tiny bert"


@world("path-missing", twin="healthy-folder")
def path_missing(stage: Stage) -> None:
    """A folder whose name was mistyped."""
    model.write(model.tiny_bert(), stage.work / "models" / "tiny-bert")
    stage.spec = str(stage.work / "models" / "tiny_bert")


@world("path-missing-relative", cause="path-missing", twin="healthy-folder")
def path_missing_relative(stage: Stage) -> None:
    """A path from here that begins with a dot, and no part of it is here."""
    stage.spec = "./output/checkpoint-500"


@world("local-directory-shadows-id")
def local_directory_shadows_id(stage: Stage) -> None:
    """A folder for results, named like the model."""
    put_up_hub(stage)
    (stage.work / "lab" / "tiny-bert").mkdir(parents=True)
    (stage.work / "lab" / "tiny-bert" / "results.csv").write_text("loss\n0.1\n")


@world("healthy-local-model-named-like-id", cause="", twin="healthy-folder")
def healthy_local_model_named_like_id(stage: Stage) -> None:
    """A folder named like the model that is one."""
    model.write(model.tiny_bert(), stage.work / "lab" / "tiny-bert")
    stage.spec = "lab/tiny-bert"


@world("url-invalid", twin="healthy-url")
def url_invalid(stage: Stage) -> None:
    """A URL whose port is no number."""
    stage.spec = "https://files.example:80a/tiny/model.safetensors"


@world("url-invalid-scheme", cause="url-invalid", twin="healthy-url")
def url_invalid_scheme(stage: Stage) -> None:
    """A URL of a store that needs a client of its own."""
    stage.spec = "s3://bucket/tiny/model.safetensors"


# --- offline ------------------------------------------------------------------------------------------------------------------


@world("offline-mode-set", twin="healthy-cached-offline")
def offline_mode_set(stage: Stage) -> None:
    """HF_HUB_OFFLINE, and nothing of the model in the cache."""
    put_up_hub(stage)
    stage.variables["HF_HUB_OFFLINE"] = "1"


@world("offline-cache-partial", cause="offline-mode-set", twin="healthy-cached-offline")
def offline_cache_partial(stage: Stage) -> None:
    """TRANSFORMERS_OFFLINE, and the weights are not in the cache."""
    put_up_hub(stage)
    fill_cache(stage, hubs.tiny())
    next(stage.hub_cache.rglob("snapshots/*/model.safetensors")).unlink()
    stage.variables["TRANSFORMERS_OFFLINE"] = "YES"


@world("healthy-offline-false", cause="")
def healthy_offline_false(stage: Stage) -> None:
    """HF_HUB_OFFLINE=0 is not offline; it also outranks TRANSFORMERS_OFFLINE."""
    put_up_hub(stage)
    stage.variables |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}


# --- HF_ENDPOINT --------------------------------------------------------------------------------------------------------------


@world("endpoint-misconfigured", twin="healthy-mirror")
def endpoint_misconfigured(stage: Stage) -> None:
    """HF_ENDPOINT without a scheme."""
    base = put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = base.removeprefix("http://")


@world("endpoint-empty", cause="endpoint-misconfigured", twin="healthy-mirror")
def endpoint_empty(stage: Stage) -> None:
    """HF_ENDPOINT set to nothing."""
    put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = ""


@world("endpoint-trailing-space", cause="endpoint-misconfigured", twin="healthy-mirror")
def endpoint_trailing_space(stage: Stage) -> None:
    """HF_ENDPOINT with a space behind it."""
    base = put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = base + " "


@world("endpoint-of-a-page", cause="endpoint-misconfigured", twin="healthy-internet", needs="namespace")
def endpoint_of_a_page(stage: Namespace) -> None:
    """HF_ENDPOINT is the address of a page of the public hub."""
    put_up_hub(stage)
    stage.variables["HF_ENDPOINT"] = f"https://{HUB}/models"


@world("endpoint-of-a-website", cause="endpoint-misconfigured", twin="healthy-mirror")
def endpoint_of_a_website(stage: Stage) -> None:
    """HF_ENDPOINT names a web site that answers everything with its start page."""
    stage.variables["HF_ENDPOINT"] = stage.web("www.corp.example", lambda request: page("Initech Artifactory"))
    stage.spec = hubs.NAME


@world("endpoint-without-api", cause="endpoint-misconfigured", twin="healthy-mirror")
def endpoint_without_api(stage: Stage) -> None:
    """HF_ENDPOINT names a web server that knows no such path."""
    stage.variables["HF_ENDPOINT"] = stage.web("www.corp.example", lambda request: page("404 Not Found", status=404, headers=(("Server", "nginx/1.24.0"),)))
    stage.spec = hubs.NAME


@world("endpoint-to-sign-in", cause="endpoint-misconfigured", twin="healthy-mirror")
def endpoint_to_sign_in(stage: Stage) -> None:
    """HF_ENDPOINT names an artifact store that sends everybody to its sign-in page."""

    def store(request: Request) -> Reply:
        return page("Sign in – Artifactory") if request.path == "/ui/login" else redirect("/ui/login")

    stage.variables["HF_ENDPOINT"] = stage.web("artifacts.corp.example", store)
    stage.spec = hubs.NAME


@world("healthy-mirror-under-a-path", cause="", twin="healthy-mirror")
def healthy_mirror_under_a_path(stage: Stage) -> None:
    """An artifact store that serves a hub under a path, with a slash at the end."""
    inner, prefix = hubs.hub(hubs.tiny()), "/api/huggingfaceml/remote"
    base = stage.web("artifacts.corp.example", lambda request: inner(dataclasses.replace(request, target=request.target.replace(prefix, "", 1))))
    stage.variables["HF_ENDPOINT"] = f"{base}{prefix}/"
    stage.spec = hubs.NAME


# --- other settings -----------------------------------------------------------------------------------------------------------


@world("client-setting-invalid")
def client_setting_invalid(stage: Stage) -> None:
    """A time-out that is no number ends the import of huggingface_hub."""
    put_up_hub(stage)
    stage.variables["HF_HUB_ETAG_TIMEOUT"] = "30s"


@world("healthy-settings", cause="")
def healthy_settings(stage: Stage) -> None:
    """Settings that are well-formed, some of them odd."""
    put_up_hub(stage)
    stage.variables |= {"HF_HUB_ETAG_TIMEOUT": " 30 ", "HF_HUB_DISABLE_XET": "off", "HF_HUB_ENABLE_HF_TRANSFER": "maybe", "REQUESTS_CA_BUNDLE": ""}


@world("cache-variable-deprecated", severity="warning")
def cache_variable_deprecated(stage: Stage) -> None:
    """TRANSFORMERS_CACHE, which no client of this download reads any more."""
    put_up_hub(stage)
    stage.variables["TRANSFORMERS_CACHE"] = str(stage.home / "old-cache")


# --- token and .netrc ---------------------------------------------------------------------------------------------------------


@world("token-malformed")
def token_malformed(stage: Stage) -> None:
    """A token in quotation marks, as an env file passed it on."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = f'"{hubs.TOKEN}"'


@world("token-with-space", cause="token-malformed")
def token_with_space(stage: Stage) -> None:
    """A token file that holds a label in front of the token."""
    put_up_hub(stage)
    _token_file(stage, f"token: {hubs.TOKEN}\n".encode())


@world("token-not-ascii", cause="token-malformed")
def token_not_ascii(stage: Stage) -> None:
    """A token that was pasted with a typographic dash."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = hubs.TOKEN.replace("_", "–")


@world("token-empty", cause="token-malformed")
def token_empty(stage: Stage) -> None:
    """A secret that the job does not have became an empty variable, and the model is gated."""
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(), gated="auto"))
    stage.variables["HF_TOKEN"] = ""


@world("healthy-token", cause="")
def healthy_token(stage: Stage) -> None:
    """A gated model, and the token of an account that has access; the file ends with a line break."""
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(), gated="auto"))
    _token_file(stage, f"{hubs.TOKEN}\r\n".encode())


@world("healthy-token-empty", cause="")
def healthy_token_empty(stage: Stage) -> None:
    """An empty HF_TOKEN where nothing needs one."""
    put_up_hub(stage)
    stage.variables["HF_TOKEN"] = ""


def _token_file(stage: Stage, content: bytes) -> None:
    path = stage.home / "hf" / "token"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@world("netrc-overrides-token", twin="healthy-token")
def netrc_overrides_token(stage: Stage) -> None:
    """huggingface_hub 0.x sends an old .netrc entry in place of the token of an account that has access."""
    stage.interpreter(huggingface_hub="0.36.2", requests="2.34.2")
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(), gated="auto"))
    stage.variables["HF_TOKEN"] = hubs.TOKEN
    _netrc(stage)


def _netrc(stage: Stage) -> None:
    path = stage.home / ".netrc"
    path.write_text(f"machine {tcp.LOOPBACK} login lab password {OTHER_TOKEN}\n")
    path.chmod(0o600)


@world("healthy-netrc", cause="", twin="healthy-token")
def healthy_netrc(stage: Stage) -> None:
    """The same entry, and a client that reads no .netrc."""
    put_up_hub(stage, hubs.Repository(files=model.tiny_bert(), gated="auto"))
    stage.variables["HF_TOKEN"] = hubs.TOKEN
    _netrc(stage)


# --- certificates -------------------------------------------------------------------------------------------------------------


@world("ca-bundle-missing")
def ca_bundle_missing(stage: Stage) -> None:
    """SSL_CERT_FILE names a file of another machine: huggingface_hub fails at its first call, even over plain http."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = "/opt/corp/ca-certificates.pem"


@world("ca-bundle-missing-tilde", cause="ca-bundle-missing")
def ca_bundle_missing_tilde(stage: Stage) -> None:
    """A quoted ~, which no client expands; the file is there."""
    put_up_hub(stage)
    _written(stage.home / "corp.pem", b"whatever it holds")
    stage.variables["SSL_CERT_FILE"] = "~/corp.pem"


@world("ca-bundle-missing-requests", cause="ca-bundle-missing", twin="healthy-internet", needs="namespace")
def ca_bundle_missing_requests(stage: Namespace) -> None:
    """REQUESTS_CA_BUNDLE names nothing, and requests downloads."""
    weights = hubs.tiny().files[-1]
    base = stage.web("files.example", lambda request: file(weights.data, weights.sha256))
    stage.spec = f"{base}/tiny/model.safetensors"
    stage.variables["REQUESTS_CA_BUNDLE"] = "/etc/pki/corp/bundle.pem"


@world("ca-bundle-missing-unread", cause="ca-bundle-missing", twin="healthy-internet", needs="namespace", severity="warning")
def ca_bundle_missing_unread(stage: Namespace) -> None:
    """REQUESTS_CA_BUNDLE names nothing, and the client does not read it."""
    put_up_hub(stage)
    stage.variables["REQUESTS_CA_BUNDLE"] = "/etc/pki/corp/bundle.pem"


@world("ca-bundle-invalid")
def ca_bundle_invalid(stage: Stage) -> None:
    """SSL_CERT_FILE names an empty file."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = _written(stage.home / "corp.pem", b"")


@world("ca-bundle-text", cause="ca-bundle-invalid")
def ca_bundle_text(stage: Stage) -> None:
    """SSL_CERT_FILE names the page that the download of the certificate gave."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = _written(stage.home / "corp.pem", b"<!DOCTYPE html><title>Sign in</title>")


@world("ca-bundle-folder", cause="ca-bundle-invalid")
def ca_bundle_folder(stage: Stage) -> None:
    """SSL_CERT_FILE names a folder."""
    put_up_hub(stage)
    (stage.home / "certificates").mkdir()
    stage.variables["SSL_CERT_FILE"] = str(stage.home / "certificates")


@world("ca-bundle-der", cause="ca-bundle-invalid", needs="certificates")
def ca_bundle_der(stage: Stage) -> None:
    """SSL_CERT_FILE names a certificate in DER form, as Windows exports it."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = _written(stage.home / "corp.cer", tls.root(*tls.COMPANY).der)


@world("ca-bundle-cut", cause="ca-bundle-invalid", needs="certificates")
def ca_bundle_cut(stage: Stage) -> None:
    """SSL_CERT_FILE names a PEM file that ends in the middle."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = _written(stage.home / "corp.pem", tls.root(*tls.COMPANY).pem[:300])


@world("ca-folder-missing", cause="ca-bundle-missing", twin="healthy-internet", needs="namespace")
def ca_folder_missing(stage: Namespace) -> None:
    """SSL_CERT_DIR names nothing: the client says nothing and trusts nobody."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_DIR"] = "/etc/pki/corp"


@world("ca-directory-unhashed", twin="healthy-ca-directory", needs="namespace")
def ca_directory_unhashed(stage: Namespace) -> None:
    """SSL_CERT_DIR names a folder of *.pem files."""
    put_up_hub(stage)
    _written(stage.home / "certs" / "public.pem", tls.public_root().pem)
    stage.variables["SSL_CERT_DIR"] = str(stage.home / "certs")


@world("healthy-ca-directory", cause="", twin="healthy-internet", needs="namespace")
def healthy_ca_directory(stage: Namespace) -> None:
    """The same folder, its files named by their hash."""
    put_up_hub(stage)
    _written(stage.home / "certs" / f"{tls.subject_hash(tls.public_root())}.0", tls.public_root().pem)
    stage.variables["SSL_CERT_DIR"] = str(stage.home / "certs")


@world("ca-bundle-incomplete", twin="healthy-ca-joined", needs="namespace")
def ca_bundle_incomplete(stage: Namespace) -> None:
    """SSL_CERT_FILE holds the company's root alone, and nobody opens TLS here."""
    put_up_hub(stage)
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.root(*tls.COMPANY), name="corp.pem"))


@world("ca-bundle-incomplete-cdn", cause="ca-bundle-incomplete", twin="healthy-ca-joined", needs="namespace")
def ca_bundle_incomplete_cdn(stage: Namespace) -> None:
    """The company's gateway opens TLS to the hub and lets the CDN pass: with the company's root alone, only the weights fail."""
    put_up_intercepted(stage, HUB)
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.root(*tls.COMPANY), name="corp.pem"))


@world("healthy-ca-joined", cause="", twin="healthy-internet", needs="namespace")
def healthy_ca_joined(stage: Namespace) -> None:
    """The gateway, and a file with the public roots and the company's."""
    put_up_intercepted(stage, HUB)
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.public_root(), tls.root(*tls.COMPANY), name="both.pem"))


@world("ca-variable-ignored", twin="healthy-ca-os-store", needs="namespace")
def ca_variable_ignored(stage: Namespace) -> None:
    """The company's root in REQUESTS_CA_BUNDLE, which huggingface_hub 1.x and 2.x do not read."""
    put_up_intercepted(stage, HUB, CDN)
    stage.variables["REQUESTS_CA_BUNDLE"] = str(stage.trust(tls.public_root(), tls.root(*tls.COMPANY), name="corp.pem"))


@world("ca-variable-ignored-by-requests", cause="ca-variable-ignored", twin="healthy-ca-os-store", needs="namespace")
def ca_variable_ignored_by_requests(stage: Namespace) -> None:
    """The company's root in SSL_CERT_FILE, which requests does not read."""
    weights = hubs.tiny().files[-1]
    base = stage.web("files.example", lambda request: file(weights.data, weights.sha256), leaf=tls.root(*tls.COMPANY).issue("files.example"))
    stage.spec = f"{base}/tiny/model.safetensors"
    stage.variables["SSL_CERT_FILE"] = str(stage.trust(tls.public_root(), tls.root(*tls.COMPANY), name="corp.pem"))


@world("ca-variable-ignored-alone", cause="ca-variable-ignored", twin="healthy-ca-os-store", needs="namespace")
def ca_variable_ignored_alone(stage: Namespace) -> None:
    """CURL_CA_BUNDLE with the company's root alone: the same path in the right variable would do for what is intercepted."""
    put_up_intercepted(stage, HUB, CDN)
    stage.variables["CURL_CA_BUNDLE"] = str(stage.trust(tls.root(*tls.COMPANY), name="corp.pem"))


@world("healthy-ca-os-store", cause="", twin="healthy-internet", needs="namespace")
def healthy_ca_os_store(stage: Namespace) -> None:
    """The company's root in the operating system's store, which huggingface_hub 2.x trusts; certifi does not have it."""
    put_up_intercepted(stage, HUB, CDN)
    stage.stores(system=(tls.public_root(), tls.root(*tls.COMPANY)))


@world("healthy-ca-foreign", cause="", twin="healthy-internet", needs="namespace")
def healthy_ca_foreign(stage: Namespace) -> None:
    """Variables of other programs: a healthy bundle that this client does not read, and one of Node that names nothing."""
    put_up_hub(stage)
    stage.variables |= {"REQUESTS_CA_BUNDLE": str(stage.trust(tls.public_root())), "NODE_EXTRA_CA_CERTS": "/opt/corp/node.pem"}


def put_up_intercepted(stage: Namespace, *hosts: str) -> None:
    """The hub and its CDN, behind a gateway of the company's that opens the TLS to ``hosts`` and shows certificates of its own."""
    company, known = tls.root(*tls.COMPANY), hubs.tiny()
    leaves = {name: company.issue(name) for name in hosts}
    bytes_from = stage.web(CDN, hubs.cdn(known), leaf=leaves.get(CDN))
    stage.web(HUB, hubs.hub(known, cdn=bytes_from), leaf=leaves.get(HUB))
    stage.spec = known.name


def _written(path: Path, content: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


# --- proxy variables ----------------------------------------------------------------------------------------------------------


PROXY = "http://proxy.corp.example:3128"
PYTORCH = "download.pytorch.org"


@world("proxy-variable-ignored", twin="healthy-proxy", needs="namespace")
def proxy_variable_ignored(stage: Namespace) -> None:
    """HTTP_PROXY alone, which counts for http:// addresses only, and there is no direct way."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), address="")
    stage.variables["HTTP_PROXY"] = PROXY


@world("proxy-variable-ignored-dropped", cause="proxy-variable-ignored", twin="healthy-proxy", needs="namespace")
def proxy_variable_ignored_dropped(stage: Namespace) -> None:
    """The same where names resolve and packets vanish."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), address="", direct="dropped")
    stage.variables["http_proxy"] = PROXY


@world("proxy-variable-hidden", cause="proxy-variable-ignored", twin="healthy-proxy", needs="namespace")
def proxy_variable_hidden(stage: Namespace) -> None:
    """An empty https_proxy hides HTTPS_PROXY from requests."""
    put_up_file(stage, "files.example")
    behind_proxy(stage, Policy())
    stage.variables["https_proxy"] = ""


@world("proxy-variable-all-with-urllib", cause="proxy-variable-ignored", twin="healthy-proxy", needs="namespace")
def proxy_variable_all_with_urllib(stage: Namespace) -> None:
    """ALL_PROXY alone, and torch.hub downloads, which does not read it."""
    stage.interpreter(torch="2.13.0")
    put_up_file(stage, PYTORCH)
    behind_proxy(stage, Policy(), address="")
    stage.variables["ALL_PROXY"] = PROXY


@world("healthy-proxy-all", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_all(stage: Namespace) -> None:
    """ALL_PROXY alone, without a scheme, and a client that reads it so."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(), address="")
    stage.variables["ALL_PROXY"] = "proxy.corp.example:3128"


@world("healthy-proxy-unused", cause="", twin="healthy-internet", needs="namespace")
def healthy_proxy_unused(stage: Namespace) -> None:
    """A proxy for http:// addresses that is down, and nothing here is one."""
    put_up_hub(stage)
    stage.variables["http_proxy"] = "http://proxy.corp.example:3128"


@world("proxy-variables-disagree", severity="warning")
def proxy_variables_disagree(stage: Stage) -> None:
    """Lower and upper case name different proxies: huggingface_hub takes one, hf_xet the other. Both work."""
    put_up_hub(stage)
    one, other = (stage.listen("proxy.corp.example", http_proxy(Policy()), port=port) for port in (3128, 8080))
    stage.variables |= {"http_proxy": stage.url("proxy.corp.example", one), "HTTP_PROXY": stage.url("proxy.corp.example", other)}


@world("proxy-variables-disagree-dead", cause="proxy-variables-disagree", twin="healthy-proxy", needs="namespace")
def proxy_variables_disagree_dead(stage: Namespace) -> None:
    """The lower-case form names last year's proxy, which is gone; the upper-case one works."""
    put_up_hub(stage)
    behind_proxy(stage, Policy())
    stage.place("old-proxy.corp.example")
    stage.address(stage.zone["old-proxy.corp.example"][0])
    stage.variables["https_proxy"] = "http://old-proxy.corp.example:8080"


@world("proxy-variables-empty", cause="proxy-variables-disagree", twin="healthy-proxy", needs="namespace")
def proxy_variables_empty(stage: Namespace) -> None:
    """An empty https_proxy hides HTTPS_PROXY from huggingface_hub; hf_xet uses it."""
    put_up_hub(stage)
    behind_proxy(stage, Policy())
    stage.variables["https_proxy"] = ""


@world("healthy-proxy-both", cause="", twin="healthy-proxy", needs="namespace")
def healthy_proxy_both(stage: Namespace) -> None:
    """Both forms, alike but for the slash at the end."""
    put_up_hub(stage)
    behind_proxy(stage, Policy())
    stage.variables["https_proxy"] = PROXY + "/"


# --- NO_PROXY -----------------------------------------------------------------------------------------------------------------


@world("no-proxy-invalid")
def no_proxy_invalid(stage: Stage) -> None:
    """Entries separated by spaces, which curl and git understand and Python's clients do not: the hub in the house is looked for behind the proxy."""
    put_up_hub(stage)
    stage.variables |= {"HTTP_PROXY": stage.url("proxy.corp.example", _deaf_to_the_house(stage)), "NO_PROXY": f"localhost {tcp.LOOPBACK} .corp.example"}


@world("no-proxy-semicolons", cause="no-proxy-invalid")
def no_proxy_semicolons(stage: Stage) -> None:
    """Entries separated by semicolons, as Windows has them."""
    put_up_hub(stage)
    stage.variables |= {"HTTP_PROXY": stage.url("proxy.corp.example", _deaf_to_the_house(stage)), "NO_PROXY": f"localhost;{tcp.LOOPBACK};<local>"}


@world("no-proxy-star", cause="no-proxy-invalid")
def no_proxy_star(stage: Stage) -> None:
    """An address with a star, which no client understands."""
    put_up_hub(stage)
    stage.variables |= {"HTTP_PROXY": stage.url("proxy.corp.example", _deaf_to_the_house(stage)), "NO_PROXY": "localhost,127.*"}


@world("no-proxy-ends-client", cause="no-proxy-invalid")
def no_proxy_ends_client(stage: Stage) -> None:
    """A range of IPv6 ends huggingface_hub 1.x before it has asked for anything."""
    stage.interpreter(huggingface_hub="1.33.0", httpx="0.28.1")
    put_up_hub(stage)
    stage.variables["NO_PROXY"] = "localhost,fd00::/8"


@world("healthy-no-proxy", cause="")
def healthy_no_proxy(stage: Stage) -> None:
    """The same range with huggingface_hub 2.x, and a network that covers the hub."""
    put_up_hub(stage)
    stage.variables |= {"HTTP_PROXY": stage.url("proxy.corp.example", _deaf_to_the_house(stage)), "NO_PROXY": "localhost,fd00::/8,127.0.0.0/8"}


@world("healthy-no-proxy-missed", cause="")
def healthy_no_proxy_missed(stage: Stage) -> None:
    """An entry that the client does not understand, and a proxy that serves the host all the same."""
    put_up_hub(stage)
    stage.variables |= {"HTTP_PROXY": stage.url("proxy.corp.example", stage.listen("proxy.corp.example", http_proxy(Policy()), port=3128)), "NO_PROXY": "127.*"}


def _deaf_to_the_house(stage: Stage) -> int:
    """A proxy that leads outside only; its port."""
    policy = Policy(refuses=lambda host: page("Access Denied", "Hosts of the house are not reached through this proxy.", 403, (("Via", "1.1 proxy"),)))
    return stage.listen("proxy.corp.example", http_proxy(policy), port=3128)


def put_up_file(stage: Namespace, name: str) -> None:
    """One file by URL, named with its digest as torch.hub has it."""
    weights = hubs.tiny().files[-1]
    base = stage.web(name, lambda request: file(weights.data, weights.sha256))
    stage.spec = f"{base}/tiny-{weights.sha256[:8]}.pth"
