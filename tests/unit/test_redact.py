"""Nothing secret and nothing unprintable gets into a record."""

from __future__ import annotations

import base64
import time
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics import redact
from diagnostics.redact import HIDDEN, Secrets, path

UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
PASSWORD = "p@ss:w/rd#1?x"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://huggingface.co/gpt2/resolve/main/config.json", "https://huggingface.co/gpt2/resolve/main/config.json"),
        ("https://cdn.test/x?X-Amz-Signature=abc", "https://cdn.test/x"),
        ("https://cdn.test/x#fragment", "https://cdn.test/x"),
        ("https://me:secret@host.test/x", "https://***@host.test/x"),
        ("me:secret@host.test:3128", "***@host.test:3128"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://hf.co/@scope/x", "https://hf.co/@scope/x"),
        ("http://localhost:8000/@scope/x", "http://localhost:8000/@scope/x"),
        ("https://host.test:443/x?email=a@b.test", "https://host.test:443/x"),
        ("host.test:3128", "host.test:3128"),
        ("", ""),
    ],
)
def test_a_url_keeps_what_is_no_secret(value: str, shown: str) -> None:
    """Scheme, host, port and path stay; credentials, query and fragment go."""
    assert redact.url(value) == shown


@pytest.mark.parametrize("scheme", ["http://", "https://", "", "socks5h://"])
@pytest.mark.parametrize(
    "password", ["s3cr3t-w0rd", PASSWORD, "s3cr/t-w0rd", "s3c#rt-w0rd", "s3c?rt-w0rd", "@s3crt-w0rd@", "12/s3crt-w0rd", "12#s3crt-w0rd", "12?s3crt-w0rd"]
)
def test_a_password_is_hidden_however_it_is_written(scheme: str, password: str) -> None:
    """An unescaped / ? # or @ in a password moves the borders of the URL, and still nothing of it shows."""
    for tail in ("", "/path", "/path?query=1"):
        shown = redact.url(f"{scheme}user:{password}@proxy.test:3128{tail}")
        assert "w0rd" not in shown
        assert "s3c" not in shown
        assert "rd#1" not in shown
        assert "ss:w" not in shown


def test_a_password_without_its_at_sign_is_hidden() -> None:
    """user:password with the rest forgotten is not shown as host and port."""
    assert "secret" not in redact.url("http://user:secret")


@given(st.text(max_size=200))
def test_any_text_becomes_printable(text: str) -> None:
    """One line, no control, formatting or surrogate characters, whatever came in."""
    for shown in (redact.plain(text), redact.url(text), redact.path(text), Secrets().clean(text)):
        assert all(unicodedata.category(char) not in UNSAFE for char in shown)
        assert len(shown) <= 1000


@given(st.binary(max_size=200))
def test_any_bytes_become_printable(data: bytes) -> None:
    for shown in (redact.plain(data), Secrets().clean(data)):
        assert all(unicodedata.category(char) not in UNSAFE for char in shown)


def test_length_is_bounded() -> None:
    """A megabyte becomes a line that says it was cut."""
    assert len(redact.plain("x" * 1_000_000)) == redact.LIMIT
    assert redact.plain("x" * 1_000_000).endswith("…")
    assert len(Secrets().clean(b"x" * 1_000_000)) == redact.LIMIT


@pytest.mark.parametrize(
    "text", ["a:" * 16000, "x:y@" * 6000, "http://" * 3000, "hf_" * 9000, "basic " * 5000, "https://a" * 3000 + "?", "a" * 30000 + "@?", "a:b" * 10000 + "@c"]
)
def test_hostile_text_costs_no_time(text: str) -> None:
    """No text makes the patterns backtrack: a megabyte page from a server must not stop the survey."""
    started = time.perf_counter()
    Secrets().clean(text, 4000)
    redact.url(text)
    redact.path(text)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize(
    "text",
    [
        "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345",
        "Authorization: Bearer abc.def-ghi_jkl",
        "Proxy-Authorization: Basic dXNlcjpwYXNzd29yZA==",
        "ghp_0123456789abcdefghij",
        "NTLM TlRMTVNTUAACAAAA",
    ],
)
def test_credentials_are_recognised_by_their_form(text: str) -> None:
    """A token that nobody told us of is hidden too."""
    assert redact.HIDDEN in Secrets().clean(f"said {text} there")


@pytest.mark.parametrize("text", ["hf_transfer", "hf_xet 1.8.0", "huggingface_hub", "it is 12:30 at host", "mail someone@host.test", "https://host.test/x"])
def test_what_is_no_credential_stays(text: str) -> None:
    assert Secrets().clean(text) == text


@pytest.mark.parametrize(
    "text",
    ["(Caused by ProxyError('http://me:secret@h:1'))", "see https://h.test/x?sig=a@secret", "via me:secret@proxy.test", "url=https://me:s@secret@h.test/x,"],
)
def test_credentials_in_running_text_are_hidden(text: str) -> None:
    assert "secret" not in Secrets().clean(text)


# --- secrets that are known ---------------------------------------------------------------------------------------------------

PASSWORDS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=30)


@settings(max_examples=200)
@given(password=PASSWORDS, before=st.text(max_size=10), after=st.text(max_size=10))
def test_a_known_password_shows_nowhere(password: str, before: str, after: str) -> None:
    """As it is, percent-encoded, or in Basic credentials: a proxy's password is hidden wherever it turns up."""
    address = f"http://user:{quote(password, safe='')}@proxy.test:3128"
    secrets = Secrets(proxies={"https_proxy": address})
    basic = base64.b64encode(f"user:{password}".encode()).decode()
    for form in (password, quote(password, safe=""), basic, address):
        shown = secrets.clean(f"{before} {form} {after}")
        assert form not in shown or form in f"{before} {after} {redact.HIDDEN}"


@given(secret=st.text(alphabet="abcdefghijkl0123456789", min_size=20, max_size=200), times=st.integers(1, 60), pad=st.integers(0, 400))
def test_a_cut_does_not_uncover_a_secret(secret: str, times: int, pad: int) -> None:
    """A text that is cut within a secret shows no piece of it."""
    shown = Secrets(token=secret).clean("x" * pad + secret * times, 40)
    assert secret[:8] not in shown


def test_secrets_show_nothing_of_themselves() -> None:
    """repr, str and pickling aside: no text in the representation."""
    secrets = Secrets(token="hf_tokentoken1", proxies={"https_proxy": "http://me:secret@h:1"}, urls=("https://h/x?sig=secret",), netrc={"h": "me:secret"})
    assert "secret" not in repr(secrets)
    assert "tokentoken" not in f"{secrets}"


def test_a_redirects_query_can_be_learnt() -> None:
    """A signature seen on the way is hidden from then on, and only long enough pieces are."""
    secrets = Secrets()
    secrets.learn_url("https://cdn.test/x?Signature=abcdefghij&Expires=1")
    assert "abcdefghij" not in secrets.clean("the body repeats abcdefghij here")
    assert secrets.clean("1 of 1") == "1 of 1"


def test_headers_are_kept_by_name() -> None:
    """Cookies and unknown fields stay out; a redirect's target loses its query."""
    pairs = [("Set-Cookie", "session=1"), ("Location", "https://cdn.test/x?sig=secret"), ("Server", "nginx\x1b[31m"), ("X-Secret", "1")]
    shown = {header.name: header.value for header in Secrets().headers(pairs)}
    assert shown == {"location": "https://cdn.test/x", "server": "nginx\\x1b[31m"}


def test_home_becomes_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's name in the home folder's path is not shown; another folder's is left alone."""
    monkeypatch.setenv("HOME", "/home/somebody")
    assert redact.path("/home/somebody/x") == "~/x"
    assert redact.path("/home/somebody") == "~"
    assert redact.path("/home/somebodyelse/x") == "/home/somebodyelse/x"


def test_an_address_in_place_of_a_path_is_treated_as_one() -> None:
    """A proxy's URL in SSL_CERT_FILE, say."""
    assert "secret" not in redact.path("http://me:secret@proxy.test:3128")
    assert "hf_" not in redact.path("/x/hf_AbCdEfGhIjKlMnOp1234")


TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"  # of the shape, nobody's


@pytest.mark.parametrize(
    "text",
    [
        f"model_{TOKEN}.safetensors",
        f"read\\n{TOKEN}",
        "hf_oauth_eyJhbGciOiJFZERTQSJ9.sekretsekret.sekret",
        "X-Xet-Access-Token: eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWtyZXQifQ.sekretsekret",
        "github_pat_11AAAAAAA0sekretsekretsekret",
        "HF_TOKEN=sekretsekret123",
        "AWS_SECRET_ACCESS_KEY=sekret/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "{'password': 'sekret12'}",
        "machine huggingface.co login me password sekret99",
        "curl -u user:sekret99 https://h/",
        "Cookie: token=sekretsekret; a=b",
        'Proxy-Authorization: Digest username="x", response="sekretsekret"',
        "Max retries exceeded with url: /a/b?X-Amz-Signature=sekret1234&x=y (Caused by",
        "https://h/x#access_token=sekret999",
        "http://a,http://u:sekret@proxy",
        "http://user:12/sekret@proxy/x",
        'http://user:se"kret@host/x',
        "https%3A%2F%2Fuser%3Asekret%40host",
    ],
)
def test_a_secret_in_a_pasted_line_or_a_file_name_is_known_by_its_shape_or_its_name(text: str) -> None:
    """Nobody told us of these: a log of another machine holds them."""
    for shown in (Secrets().clean(text), path(f"/models/{text}") if text.startswith("model_") else ""):
        assert not any(part in shown for part in ("sekret", "kret@", TOKEN[3:], "11AAAAAAA0", "eyJzdWI")), shown


@pytest.mark.parametrize(
    "text",
    [
        "pad_token=<pad> eos_token=</s> max_tokens=4096",
        "expected a token: got nothing",
        "http://nexus.corp:8081/@scope/name and http://nexus:8081/@scope/name",
        "https://h/x.zip#sha256=" + "0" * 64,
        "DistilBertForSequenceClassification_hf_quantizer",
        "is it so? yes=no",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert Secrets().clean(text) == text


def test_hostile_lines_are_cleaned_in_no_time() -> None:
    """Each is the worst case of one of the patterns."""
    started = time.process_time()
    for piece in ("eyJ", "-eyJ", "eyJaaaaaaaaa.", "PASSWORD", "://a:", "hf_", "%3A%2F%2F", "login a password ", "secret:   ", "A_", "-u ", "://a:'"):
        Secrets().clean(piece * (64000 // len(piece)), 8000)
    assert time.process_time() - started < 3.0


def test_the_password_of_a_netrc_alone_is_hidden() -> None:
    """A server that repeats it need not repeat the login."""
    secrets = Secrets(netrc={"hub.test": "me:hunter2hunter2"})
    assert "hunter2" not in secrets.clean("wrong password hunter2hunter2 for this host")


def test_a_secret_is_hidden_as_pages_and_json_write_it() -> None:
    secrets = Secrets(proxies={"HTTPS_PROXY": 'http://me:sek"ret&more@proxy.test:3128'})
    for shown in ("<p>sek&quot;ret&amp;more</p>", '{"password": "sek\\"ret&more"}'):
        assert "ret" not in secrets.clean(shown).replace(HIDDEN, ""), shown
