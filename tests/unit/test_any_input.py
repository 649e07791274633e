"""Whatever stands in the environment and whatever is typed: a finding or nothing, and never a traceback of ours."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagnostics import codec, environment, report, targets
from diagnostics.case import Case, Environment, Journey, Leg, Target
from diagnostics.diagnosis import judge
from diagnostics.facts import clients, routes, stores
from diagnostics.probes.survey import Survey
from diagnostics.redact import Secrets
from diagnostics.render import markdown
from tests.unit.cases import CLIENT, HUB

NAMES = (
    "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "HF_ENDPOINT", "HF_TOKEN", "HF_HOME", "HF_HUB_CACHE",
    "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT", "TRANSFORMERS_CACHE", "NETRC",
    "HOME", "SHELL", "XDG_CACHE_HOME", "PIP_CONFIG_FILE", "auto_proxy",
)  # fmt: skip
PIECES = st.sampled_from(
    ["http", "https", "socks5h", "socks", "file", "javascript", "hub", "list", "path", "dataset", "demo", "://", ":", "/", "//", "\\", "@", "#", "?", "%", "%4", "[", "]",
     "[::1]", "[fe80::1%25lo]", "..", ".", "-", "--", " ", "\t", "\n", "\r\n", "\x00", "\x1b[31m", "\x7f", "\udcff", "‮", "é", "\U0001f600", "'", '"', "$HOME", "~", "~root",
     "a" * 70, "b" * 300, "99999", "-1", "0", "3128", "0x1f", "١٢", "localhost", "127.0.0.1", "127.", "fd00::/8", "10.0.0.0/99", "*", ",", ";", "org", "name", "gpt2",
     "model.safetensors", ".toml", ".git", "main", "refs/pr/1", "sha256=", "sha256=zz", "hf_" + "A" * 34, "{x}", "%s", "<script>"]
)  # fmt: skip
TEXTS = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=40), st.sampled_from(["", "1", "x" * 1_000_000, "http://" + "u:p@" * 50_000]))
VARIABLES = st.dictionaries(st.sampled_from(NAMES), TEXTS, max_size=6)
FAMILIES = tuple(clients.families())
pytestmark = pytest.mark.filterwarnings("ignore")
OFTEN = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@OFTEN
@given(variables=VARIABLES, spec=TEXTS)
def test_any_environment_and_any_spec(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str], spec: str) -> None:
    """They are read and judged, the report is written, and it holds no raw control character."""
    surroundings, secrets, target, urls = _read(variables, spec, tmp_path_factory.getbasetemp())
    case = Case(target=target, environment=surroundings, journeys=_travelled(surroundings, target))
    judgement = judge(case)
    assert [result.reason for result in judgement.results if result.outcome == "error"] == []
    assert all(diagnosis.remedies for diagnosis in judgement.diagnoses)
    assert codec.decode(Case, json.loads(json.dumps(codec.encode(case)))) == case
    assert Survey(target, surroundings, dataclasses.replace(secrets, urls=urls)).case().target == target
    assert "\x1b" not in markdown.text(report.build(case, judgement))


def _read(variables: dict[str, str], spec: str, home: Path) -> tuple[Environment, Secrets, Target, tuple[str, ...]]:
    surroundings, secrets = environment.read(variables, home=home, root=str(home))
    target, urls = targets.parse(spec, surroundings)
    return surroundings, secrets, target, urls


def _travelled(surroundings: Environment, target: Target) -> tuple[Journey, ...]:
    """A journey to the public hub by the route this environment gives."""
    route = routes.route(clients.facts(CLIENT.family), surroundings, "https", HUB, 443)
    leg = Leg(url=f"https://{HUB}/", scheme="https", host=HUB, port=443, route=route)
    return (Journey(name="hub", purpose="the hub's API", client=CLIENT, legs=(leg,)),)


@OFTEN
@given(variables=VARIABLES, family=st.sampled_from(FAMILIES), host=st.sampled_from([HUB, "127.0.0.1", "::1", "hub.corp.example"]), port=st.integers(0, 65535))
def test_any_environment_for_any_client(tmp_path_factory: pytest.TempPathFactory, variables: dict[str, str], family: str, host: str, port: int) -> None:
    """Every client has a route and a store, with a reason where it has none that can be used."""
    surroundings, _, _, _ = _read(variables, "", tmp_path_factory.getbasetemp())
    row = clients.facts(family)
    for scheme in ("http", "https"):
        route = routes.route(row, surroundings, scheme, host, port)
        assert route.kind != "unusable" or route.problem
        assert route.kind == "direct" or route.variable
        routes.missed_entry(row, surroundings, scheme, host, port)
        routes.variables_not_read(row, surroundings, scheme)
    stores.trust(row, surroundings)


SECRET = "Zq7!x/9@w#Kk"


@OFTEN
@given(before=TEXTS, after=TEXTS, name=st.sampled_from(["HTTPS_PROXY", "http_proxy", "ALL_PROXY", "HF_ENDPOINT"]))
def test_a_password_gets_out_of_no_value(tmp_path_factory: pytest.TempPathFactory, before: str, after: str, name: str) -> None:
    """However the URL around ``user:password@`` is spelt, no record of the environment holds the password."""
    value = f"http://user:{SECRET}@" + after[:200]
    surroundings, _, target, _ = _read({name: value}, before[:200], tmp_path_factory.getbasetemp())
    case = Case(target=target, environment=surroundings, journeys=_travelled(surroundings, target))
    assert SECRET not in repr(codec.encode(case)) + repr(judge(case))
