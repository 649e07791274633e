"""The tables of the clients, and the stores they would trust: clients.md, section 3."""

from __future__ import annotations

import datetime

import pytest

from diagnostics.case import CaVariable, ClientUse, Environment, Interpreter, Problem, Target, Variable
from diagnostics.facts.clients import as_of, clients_of, facts, families, offline, outdated, reads_ca, title
from diagnostics.probes.route import trust

PATH = "/etc/ssl/corp.pem"


def file(variable: str, **changes: object) -> CaVariable:
    return CaVariable(**{"variable": variable, "path": PATH, "exists": True, "certificates": 1, "form": "pem", **changes})  # type: ignore[arg-type]


def folder(variable: str, form: str = "hashed") -> CaVariable:
    return CaVariable(variable=variable, path="/etc/ssl/corp", exists=True, is_directory=True, files=3, certificates=3 if form == "hashed" else 0, form=form)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", families())
def test_every_row_can_be_read(family: str) -> None:
    """Each row makes a record, with a source."""
    row = facts(family)
    assert row.family == family
    assert row.source
    assert row.connect_seconds >= 0


def test_an_unknown_family_is_a_bug() -> None:
    with pytest.raises(KeyError):
        facts("nobody")


def test_the_table_says_when_it_is_old() -> None:
    """Silent in its first year, one sentence after it."""
    assert outdated(as_of() + datetime.timedelta(days=365)) == ""
    assert as_of().isoformat() in outdated(as_of() + datetime.timedelta(days=366))


@pytest.mark.parametrize(
    ("family", "lost"),
    [("urllib", "cafile"), ("aiohttp", "cafile"), ("requests", ""), ("huggingface_hub-1", ""), ("huggingface_hub-2", ""), ("curl", ""), ("hf_xet", "all")],
)
def test_a_variable_that_is_set_and_empty(family: str, lost: str) -> None:
    """OpenSSL looks for a file without a name and keeps its folder; rustls is left without a root; everybody else takes it for unset."""
    source = trust(facts(family), Environment(ca=(CaVariable(variable="SSL_CERT_FILE", path=""),)))
    assert (source.store == "SSL_CERT_FILE") == bool(lost)
    assert (source.cafile, bool(source.capath)) == ("", lost == "cafile")


def test_variables_of_hf_xet_add_up() -> None:
    """A file and a folder are one store, and only where both lead to nothing is there none."""
    both = Environment(ca=(file("SSL_CERT_FILE"), folder("SSL_CERT_DIR", "unhashed")))
    source = trust(facts("hf_xet"), both)
    assert (source.cafile, source.capath, source.unhashed) == (PATH, "/etc/ssl/corp", True)
    one = Environment(ca=(file("SSL_CERT_FILE"), folder("SSL_CERT_DIR", "empty")))
    none = Environment(ca=(file("SSL_CERT_FILE", exists=False, form="missing"), folder("SSL_CERT_DIR", "empty")))
    assert not trust(facts("hf_xet"), one).problem
    assert trust(facts("hf_xet"), none).problem


# 3.1: which variable makes a private root trusted; the store where none is set
READS = [
    ("REQUESTS_CA_BUNDLE", {"requests", "pooch", "huggingface_hub-0", "pip"}),
    ("CURL_CA_BUNDLE", {"requests", "pooch", "huggingface_hub-0", "pip", "curl"}),
    (
        "SSL_CERT_FILE",
        {
            "httpx",
            "huggingface_hub-1",
            "httpx2",
            "huggingface_hub-2",
            "urllib",
            "torch-hub",
            "torchvision",
            "aiohttp",
            "datasets",
            "hf_xet",
            "pip",
            "curl",
            "git-lfs",
        },
    ),
    (
        "SSL_CERT_DIR",
        {
            "httpx",
            "huggingface_hub-1",
            "httpx2",
            "huggingface_hub-2",
            "urllib",
            "torch-hub",
            "torchvision",
            "aiohttp",
            "datasets",
            "hf_xet",
            "pip",
            "curl",
            "git-lfs",
        },
    ),
    ("PIP_CERT", {"pip"}),
    ("GIT_SSL_CAINFO", {"git", "git-lfs"}),
    ("GIT_SSL_CAPATH", {"git"}),
    ("NODE_EXTRA_CA_CERTS", set()),
]


@pytest.mark.parametrize(("variable", "readers"), READS)
@pytest.mark.parametrize("family", families())
def test_who_reads_which_variable(family: str, variable: str, readers: set[str]) -> None:
    """The variable is the store of those that read it; for the others it changes nothing."""
    given = folder(variable) if variable in ("SSL_CERT_DIR", "GIT_SSL_CAPATH") else file(variable)
    source = trust(facts(family), Environment(ca=(given,)))
    assert (source.store == variable) == (family in readers)
    assert bool(reads_ca(facts(family), variable)) == (family in readers)
    assert not source.problem


@pytest.mark.parametrize(
    ("family", "store"),
    [
        ("requests", "certifi"),
        ("httpx", "certifi"),
        ("huggingface_hub-0", "certifi"),
        ("huggingface_hub-1", "certifi"),
        ("huggingface_hub-2", "os"),
        ("httpx2", "os"),
        ("urllib", "os"),
        ("hf_xet", "os"),
        ("aiohttp", "os"),
        ("curl", "os"),
        ("wget", "os"),
    ],
)
def test_the_store_without_variables(family: str, store: str) -> None:
    assert trust(facts(family), Environment()).store == store


def test_order_of_the_variables() -> None:
    """requests takes REQUESTS_CA_BUNDLE before CURL_CA_BUNDLE, httpx2 the file before the folder."""
    both = Environment(ca=(file("CURL_CA_BUNDLE"), file("REQUESTS_CA_BUNDLE"), folder("SSL_CERT_DIR"), file("SSL_CERT_FILE")))
    assert trust(facts("requests"), both).store == "REQUESTS_CA_BUNDLE"
    source = trust(facts("huggingface_hub-2"), both)
    assert (source.store, source.cafile, source.capath) == ("SSL_CERT_FILE", PATH, "")


def test_urllib_keeps_the_other_half_of_the_system_store() -> None:
    """OpenSSL's SSL_CERT_FILE replaces the file and leaves the folder."""
    source = trust(facts("urllib"), Environment(ca=(file("SSL_CERT_FILE"),)))
    assert source.cafile == PATH
    assert source.capath


def test_requests_takes_a_folder_too() -> None:
    source = trust(facts("requests"), Environment(ca=(folder("REQUESTS_CA_BUNDLE"),)))
    assert (source.cafile, source.capath, bool(source.problem)) == ("", "/etc/ssl/corp", False)


BROKEN = [
    ("huggingface_hub-2", file("SSL_CERT_FILE", exists=False, form="missing"), "ca-bundle-missing"),
    ("huggingface_hub-2", folder("SSL_CERT_FILE"), "ca-bundle-invalid"),
    ("huggingface_hub-2", file("SSL_CERT_FILE", form="der", certificates=0), "ca-bundle-invalid"),
    ("huggingface_hub-2", file("SSL_CERT_FILE", form="damaged-pem", certificates=0), "ca-bundle-invalid"),
    ("requests", file("REQUESTS_CA_BUNDLE", exists=False, form="missing"), "ca-bundle-missing"),
    ("requests", file("CURL_CA_BUNDLE", form="text", certificates=0), "ca-bundle-invalid"),
    ("urllib", file("SSL_CERT_FILE", exists=False, form="missing"), ""),
    ("requests", file("SSL_CERT_FILE", exists=False, form="missing"), ""),
    ("huggingface_hub-2", folder("SSL_CERT_DIR", "unhashed"), ""),
]


@pytest.mark.parametrize(("family", "variable", "code"), BROKEN)
def test_which_broken_variable_ends_a_client(family: str, variable: CaVariable, code: str) -> None:
    """3.2: httpx and requests end; urllib takes no notice; a folder is never reported by anybody."""
    problem = trust(facts(family), Environment(ca=(variable,))).problem
    assert (problem.code if isinstance(problem, Problem) else "") == code


@pytest.mark.parametrize(
    ("family", "variable", "strict"),
    [
        ("requests", "", True),
        ("huggingface_hub-2", "", False),
        ("huggingface_hub-2", "SSL_CERT_FILE", True),
        ("hf_xet", "SSL_CERT_FILE", False),
        ("urllib", "", True),
    ],
)
def test_strictness_of_python_3_13(family: str, variable: str, strict: bool) -> None:
    """3.3: hub 2 is exempt until SSL_CERT_FILE is set; before Python 3.13 nobody is strict."""
    ca = (file(variable),) if variable else ()
    new, old = (Interpreter(executable="python", version=version, strict_x509=new) for version, new in (("3.13.0", True), ("3.11.7", False)))
    assert trust(facts(family), Environment(ca=ca, interpreter=new)).strict == strict
    assert not trust(facts(family), Environment(ca=ca, interpreter=old)).strict


def test_a_client_is_called_by_its_name_and_version() -> None:
    assert title(ClientUse(family="huggingface_hub-2", version="2.4.0")) == "huggingface_hub 2.4.0"
    assert title(ClientUse(family="urllib")) == "urllib"


HUB = ClientUse(family="huggingface_hub-2", version="2.4.0")


def flags(**values: str) -> Environment:
    return Environment(offline=tuple(Variable(name=name, value=value, truthy=value.upper() in ("1", "ON", "YES", "TRUE")) for name, value in values.items()))


@pytest.mark.parametrize(
    ("values", "kind", "deciding"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "model", "HF_HUB_OFFLINE"),
        ({"TRANSFORMERS_OFFLINE": "yes"}, "model", "TRANSFORMERS_OFFLINE"),
        ({"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"}, "model", ""),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"}, "model", "TRANSFORMERS_OFFLINE"),
        ({"HF_HUB_OFFLINE": "2"}, "model", ""),
        ({"HF_DATASETS_OFFLINE": "1"}, "model", ""),
        ({"HF_DATASETS_OFFLINE": "1"}, "dataset", "HF_DATASETS_OFFLINE"),
        ({}, "model", ""),
    ],
)
def test_which_offline_switch_counts(values: dict[str, str], kind: str, deciding: str) -> None:
    """HF_HUB_OFFLINE=0 with TRANSFORMERS_OFFLINE=1 is online (clients.md 7.1)."""
    target = Target(spec="org/name", kind="hub", repository_type=kind, client=HUB)  # type: ignore[arg-type]
    found = offline(flags(**values), target)
    assert (found.name if found else "") == deciding


def test_offline_switches_are_the_hubs_alone() -> None:
    assert offline(flags(HF_HUB_OFFLINE="1"), Target(spec="https://h/x", kind="url", client=ClientUse(family="requests"))) is None


def test_clients_of_a_target() -> None:
    assert clients_of(Target(spec="x", kind="directory")) == ()
    assert [use.family for use in clients_of(Target(spec="x", kind="hub", client=HUB, transports=(ClientUse(family="hf_xet"),)))] == [
        "huggingface_hub-2",
        "hf_xet",
    ]
