"""Who answers on the way to a model."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagnostics.facts import hosts


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("huggingface.co", True),
        ("HuggingFace.co.", True),
        ("cdn-lfs-us-1.hf.co", True),
        ("cas-server.xethub.hf.co", True),
        ("download.pytorch.org", True),
        ("huggingface.co.evil.test", False),
        ("nothf.co", False),
        ("hub.corp.test", False),
        ("", False),
    ],
)
def test_known_hosts(host: str, known: bool) -> None:
    """A name is known whole or by its end at a dot."""
    assert hosts.is_known_public(host) is known


@pytest.mark.parametrize(
    ("issuer", "product"),
    [
        ("CN=Zscaler Intermediate Root CA (zscalertwo.net), O=Zscaler Inc.", "Zscaler"),
        ("CN=FGT60F, O=Fortinet, OU=Certificate Authority", "Fortinet FortiGate"),
        ("CN=ca.corp.goskope.com, O=Corp", "Netskope"),
        ("CN=Cisco Umbrella Secondary SubCA nyc-SG", "Cisco Umbrella"),
        ("CN=mitmproxy, O=mitmproxy", "mitmproxy"),
        ("CN=PortSwigger CA, O=PortSwigger", "Burp Suite"),
        ("CN=Kaspersky Anti-Virus Personal Root Certificate, O=AO Kaspersky Lab", "Kaspersky"),
        ("CN=Sophos SSL CA_C01001", "Sophos"),
        ("CN=DigiCert TLS RSA SHA256 2020 CA1, O=DigiCert Inc", ""),
        ("CN=Amazon RSA 2048 M02, O=Amazon", ""),
        ("CN=R11, O=Let's Encrypt", ""),
        ("CN=Initech Web Gateway 2", ""),
        ("", ""),
    ],
)
def test_inspection_products(issuer: str, product: str) -> None:
    assert hosts.inspection_product(issuer) == product


@pytest.mark.parametrize(
    ("organisation", "public"),
    [
        ("Let's Encrypt", True),
        ("DigiCert Inc", True),
        ("Google Trust Services LLC", True),
        ("Amazon", True),
        ("Sectigo Limited", True),
        ("Initech", False),
        ("Amazonia Corp", False),
        ("", False),
        ("Zscaler Inc.", False),
    ],
)
def test_public_authorities(organisation: str, public: bool) -> None:
    """Whole words count: a company may begin alike."""
    assert hosts.public_authority(organisation) is public


def test_no_inspection_product_is_a_public_authority() -> None:
    assert not any(hosts.public_authority(product) for product in hosts._table()["inspection"])


@pytest.mark.parametrize(
    ("host", "names", "own"),
    [
        ("huggingface.co", ["X-Request-Id", "Date"], True),
        ("huggingface.co", ["Server", "Date"], False),
        ("openaipublic.blob.core.windows.net", ["x-ms-request-id"], True),
        ("github.com", ["content-type"], False),
        ("hub.corp.test", ["date"], True),
    ],
)
def test_headers_of_the_origin(host: str, names: list[str], own: bool) -> None:
    """An answer without what the host always sends is somebody else's; of an unknown host nothing is held against it."""
    assert hosts.origin_headers(host, names) is own


@pytest.mark.parametrize(
    ("headers", "title", "product"),
    [
        ({"Server": "squid/5.7", "X-Squid-Error": "ERR_ACCESS_DENIED 0"}, "", "Squid"),
        ({"server": "nginx"}, "Web Page Blocked!", "Fortinet FortiGuard"),
        ({"Via": "1.1 proxy (McAfee Web Gateway 10)"}, "", "Skyhigh / McAfee Web Gateway"),
        ({}, "Access to this site has been blocked", "a web filter"),
        ({"server": "cloudflare"}, "Just a moment...", ""),
        ({"server": "AmazonS3"}, "", ""),
        ({"x-powered-by": "huggingface-moon"}, "org/name · Hugging Face", ""),
        ({}, "404 Not Found", ""),
    ],
)
def test_filters(headers: dict[str, str], title: str, product: str) -> None:
    assert hosts.filter_product(headers, title) == product


@given(text=st.text(max_size=300), headers=st.dictionaries(st.sampled_from(["server", "Via", "x"]), st.text(max_size=100)))
def test_any_text_can_be_asked(text: str, headers: dict[str, str]) -> None:
    assert isinstance(hosts.inspection_product(text) + hosts.filter_product(headers, text), str)
    assert hosts.public_authority(text) in (True, False)
    assert hosts.is_known_public(text) in (True, False)


def test_a_long_text_costs_no_time() -> None:
    started = time.perf_counter()
    hosts.inspection_product("cisco " * 200_000)
    hosts.filter_product({"server": "x" * 1_000_000}, "site " * 200_000)
    hosts.public_authority("a " * 500_000)
    assert time.perf_counter() - started < 10


def test_purpose_and_near_misses() -> None:
    assert hosts.purpose("huggingface.co")
    assert hosts.purpose("nobody.test") == ""
    assert "huggingface.co" in hosts.known_hosts()
    assert not any("*" in name for name in hosts.known_hosts())
