"""What is set: read as the clients read it, whatever it is."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from diagnostics import environment
from diagnostics.case import CaVariable, Environment, Problem, ProxySetting, Token, Unseen, Variable
from diagnostics.codec import decode, encode
from diagnostics.environment.certificates import look
from diagnostics.environment.configured import read_configured
from diagnostics.environment.inventory import INFO
from diagnostics.environment.machine import container, default_route
from diagnostics.environment.proxies import setting
from diagnostics.environment.settings import endpoint_problem
from tests.unit.users import unprivileged

trustme = pytest.importorskip("trustme")


def read(tmp_path: Path, variables: dict[str, str], **more: str) -> Environment:
    return environment.read(variables, home=tmp_path, root=str(tmp_path / "root"), **more)[0]


def problem(value: object) -> str:
    found = getattr(value, "problem", None)
    return found.code if isinstance(found, Problem) else ""


# --- proxies ------------------------------------------------------------------------------------------------------------------


def test_every_spelling_is_seen(tmp_path: Path) -> None:
    """Each case of a name by itself, empty values too, and nothing else."""
    names = ["http_proxy", "HTTP_PROXY", "Https_Proxy", "ALL_PROXY"]
    seen = read(tmp_path, {**dict.fromkeys(names, "http://h:1"), "https_proxy": "", "ftp_proxy": "http://h:1", "TRAVIS_APT_PROXY": "x"})
    assert [item.variable for item in seen.proxies] == [*names, "https_proxy"]
    assert seen.proxies[-1].value == ""
    assert not seen.proxies[-1].problem


@pytest.mark.parametrize(
    ("value", "scheme", "host", "port", "code"),
    [
        ("http://proxy.test:3128", "http", "proxy.test", 3128, ""),
        ("proxy.test:3128", "", "proxy.test", 3128, ""),
        ("HTTPS://Proxy.test", "https", "Proxy.test", None, ""),
        ("http://[::1]:3128/", "http", "::1", 3128, ""),
        ("http://user:p%40ss@proxy.test:3128", "http", "proxy.test", 3128, ""),
        ("http://user:p@ss@proxy.test:3128", "http", "proxy.test", 3128, ""),
        (" http://proxy.test:3128 ", "http", "proxy.test", 3128, "white-space"),
        ('"http://proxy.test:3128"', "http", "proxy.test", 3128, "quotes"),
        ("http://proxy.test:abc", "http", "proxy.test", None, "port-invalid"),
        ("http://proxy.test:99999", "http", "proxy.test", None, "port-range"),
        ("http://user:p@ss:w/rd#1@proxy.test:3129", "http", "proxy.test", 3129, "password-unescaped"),
        ("http://", "http", "", None, "host-missing"),
        ("http://:3128", "http", "", 3128, "host-missing"),
        ("http://pro xy:1", "http", "pro xy", 1, "host-invalid"),
        ("http://proxy.test:31\x0028", "http", "proxy.test", None, "control-character"),
        ("http://\udcff.test:1", "http", "\\udcff.test", 1, "control-character"),
    ],
)
def test_a_proxy_value_is_taken_apart(value: str, scheme: str, host: str, port: int | None, code: str) -> None:
    """The pieces, and what a client may stumble over."""
    found = setting("https_proxy", value)
    assert (found.scheme, found.host, found.port if isinstance(found.port, int) else None, problem(found)) == (scheme, host, port, code)


SECRET = "s3cr3tw0rd"


@pytest.mark.parametrize("password", [SECRET, f"a/{SECRET}", f"a#{SECRET}", f"a?{SECRET}", f"a@{SECRET}", f"{SECRET}:8080", f"80/{SECRET}", f"80#{SECRET}"])
@pytest.mark.parametrize("scheme", ["http://", "", " http://", '"http://'])
def test_no_password_shows(password: str, scheme: str) -> None:
    """Whatever the password holds, whether its borders are clear or not; and with its @ forgotten."""
    for value in (f"{scheme}user:{password}@proxy.test:3128", f"{scheme}user:{password.replace('@', '')}"):
        found = setting("https_proxy", value)
        assert SECRET not in found.value
        assert SECRET not in str(found.problem)
    assert setting("x", f"{scheme}user:{password}@proxy.test:3128").credentials


# --- certificates -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:  # type: ignore[name-defined]
    return trustme.CA()


def test_forms_of_a_ca_file(tmp_path: Path, authority: trustme.CA) -> None:  # type: ignore[name-defined]
    """What is at the path, as a client would find it."""
    pem = authority.cert_pem.bytes()
    der = __import__("ssl").PEM_cert_to_DER_cert(pem.decode())
    two = trustme.CA().cert_pem.bytes()
    contents = {
        "pem": pem,
        "two": pem + b"\n# comment\n" + two,
        "empty": b"",
        "blank": b"\n \n",
        "text": b"hello",
        "der": der,
        "cut": pem[: len(pem) // 2],
        "torn": pem.replace(b"M", b"!", 5),
        "binary": bytes(range(256)) * 4,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    seen = {name: look("SSL_CERT_FILE", str(tmp_path / name)) for name in contents}
    assert {name: item.form for name, item in seen.items()} == {
        "pem": "pem",
        "two": "pem",
        "empty": "empty",
        "blank": "empty",
        "text": "text",
        "der": "der",
        "cut": "damaged-pem",
        "torn": "damaged-pem",
        "binary": "text",
    }
    assert (seen["pem"].certificates, seen["two"].certificates, seen["cut"].certificates) == (1, 2, 0)
    assert all(item.exists and item.readable for item in seen.values())


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    seen = look("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert (seen.exists, seen.form) == (False, "missing")


def test_a_tilde_is_not_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No client expands it: the path is not there even where the file is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "ca.pem").write_text("x")
    assert look("SSL_CERT_FILE", "~/ca.pem") == CaVariable(variable="SSL_CERT_FILE", path="~/ca.pem", exists_expanded=True)
    assert look("SSL_CERT_FILE", "~/other.pem") == CaVariable(variable="SSL_CERT_FILE", path="~/other.pem")


def test_folders(tmp_path: Path) -> None:
    """Hashed, unhashed, empty; several of them joined as PATH joins."""
    for name, files in {"hashed": ["5ed36f99.0", "x.pem"], "plain": ["x.pem"], "empty": []}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text("x")
    seen = {name: look("SSL_CERT_DIR", str(tmp_path / name)) for name in ("hashed", "plain", "empty")}
    assert {name: (item.form, item.certificates, item.files) for name, item in seen.items()} == {
        "hashed": ("hashed", 1, 2),
        "plain": ("unhashed", 0, 1),
        "empty": ("empty", 0, 0),
    }
    both = look("SSL_CERT_DIR", f"{tmp_path}/none:{tmp_path}/hashed")
    assert (both.exists, both.form, both.is_directory) == (True, "hashed", True)
    assert look("SSL_CERT_FILE", str(tmp_path / "plain")).is_directory


def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    """A named pipe in a variable is no file, and is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert look("SSL_CERT_FILE", str(tmp_path / "pipe")).certificates == 0
    seen = read(tmp_path, {"HF_TOKEN_PATH": str(tmp_path / "pipe"), "NETRC": str(tmp_path / "pipe"), "PIP_CONFIG_FILE": str(tmp_path / "pipe")})
    assert not seen.token.present
    assert seen.netrc == ()


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """A bundle without permission is there, and not readable."""
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "ca.pem").chmod(0)
    assert unprivileged(lambda: look("SSL_CERT_FILE", str(tmp_path / "ca.pem")).readable, tmp_path) is False


def test_empty_is_unset_but_to_openssl(tmp_path: Path) -> None:
    """requests takes an empty variable for none; OpenSSL takes it for a file that is not there."""
    assert [(item.variable, item.path) for item in read(tmp_path, {"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": ""}).ca] == [("SSL_CERT_FILE", "")]


# --- flags, numbers, endpoint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "truthy"),
    [
        ("1", True),
        ("true", True),
        ("Yes", True),
        ("on", True),
        ("ON", True),
        ("0", False),
        ("", False),
        ("2", False),
        ("y", False),
        (" 1", False),
        ("wahr", False),
    ],
)
def test_what_the_hub_takes_for_true(tmp_path: Path, value: str, truthy: bool) -> None:
    assert read(tmp_path, {"HF_HUB_OFFLINE": value}).offline == (Variable(name="HF_HUB_OFFLINE", value=value, truthy=truthy),)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("10", ""),
        (" 10 ", ""),
        ("-1", ""),
        ("0.5", "not-an-integer"),
        ("abc", "not-an-integer"),
        ("", "not-an-integer"),
        ("9" * 5000, "not-an-integer"),
        ("10s", "not-an-integer"),
    ],
)
@pytest.mark.parametrize("name", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_numbers_are_read_as_the_import_reads_them(tmp_path: Path, name: str, value: str, code: str) -> None:
    """int() at import, of an empty string too."""
    (found,) = read(tmp_path, {name: value}).settings
    assert problem(found) == code


@pytest.mark.parametrize("value", ["abc", "10", ""])
def test_numbers_against_the_client_itself(value: str) -> None:
    """huggingface_hub's constants fail to import exactly where we say so."""
    constants = pytest.importorskip("huggingface_hub.constants").__file__
    done = subprocess.run([sys.executable, constants], env={"HF_HUB_ETAG_TIMEOUT": value}, capture_output=True, check=False)
    assert (done.returncode != 0) == (value != "10")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("https://huggingface.co", ""), ("https://huggingface.co/", ""), ("http://localhost:8000", ""), ("https://mirror.corp.test/artifactory/api/huggingfaceml/x", ""), ("http://10.0.0.1:8000/", ""), ("https://[::1]:8443", ""),
        ("", "empty"), ("  ", "empty"), ("huggingface.co", "no-scheme"), ("hf-mirror.com", "no-scheme"), ("https:/huggingface.co", "no-scheme"), ("ftp://h", "scheme-unknown"), ("https://h:abc", "port-invalid"),
        ("http://h:8000 ", "white-space"), ("https://", "host-missing"), ('"https://h"', "quotes"), ("https://h?x=1", "query"), ("https://h\x1b", "control-character"), ("://h", "no-scheme"), ("https://[::1", "port-invalid"),
    ],
)  # fmt: skip
def test_endpoints(value: str, code: str) -> None:
    """A mirror, a path and a private host are no problem; what the client cannot ask is."""
    found = endpoint_problem(value)
    assert (found.code if isinstance(found, Problem) else "") == code


def test_an_endpoint_with_credentials_hides_them(tmp_path: Path) -> None:
    seen, secrets = environment.read({"HF_ENDPOINT": f"https://me:{SECRET}@hub.test"}, home=tmp_path, root=str(tmp_path))
    assert isinstance(seen.endpoint, Variable)
    assert seen.endpoint.value == "https://***@hub.test"
    assert SECRET not in repr(encode(seen))
    assert SECRET in secrets.endpoint
    assert SECRET not in secrets.clean(f"it said {SECRET}")


# --- token and netrc ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("hf_" + "a" * 34, ""),
        ("hf_" + "a" * 34 + "\n", ""),
        (" hf_" + "a" * 34 + " ", ""),
        ("hf_a b", "white-space"),
        ("hf_é", "not-ascii"),
        ('"hf_abc"', "quotes"),
        ("hf_\x07", "control-character"),
        ("hf_\udcff", "undecodable"),
        ("hf_\u200b", "not-ascii"),
    ],
)
def test_a_tokens_shape(tmp_path: Path, value: str, code: str) -> None:
    """Line breaks and the ends are stripped as the client does; what then may stand in no header is said, and the token never."""
    seen, secrets = environment.read({"HF_TOKEN": value}, home=tmp_path, root=str(tmp_path))
    assert seen.token.present
    assert seen.token.source == "HF_TOKEN"
    assert problem(seen.token) == code
    assert secrets.token == value.strip()
    assert value.strip() not in repr(encode(seen))


def test_where_a_token_comes_from(tmp_path: Path) -> None:
    """HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the file; HF_HUB_DISABLE_IMPLICIT_TOKEN sends none; an empty one is noted."""
    (tmp_path / "token").write_text("hf_fromfile\n")
    path = {"HF_TOKEN_PATH": str(tmp_path / "token")}
    assert environment.read({"HF_TOKEN": "hf_a", "HUGGING_FACE_HUB_TOKEN": "hf_b", **path}, home=tmp_path)[1].token == "hf_a"
    assert environment.read({"HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "hf_b", **path}, home=tmp_path)[1].token == "hf_b"
    assert environment.read(path, home=tmp_path)[1].token == "hf_fromfile"
    assert not read(tmp_path, {"HF_TOKEN": "hf_a", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).token.present
    assert problem(read(tmp_path, {"HF_TOKEN": ""}).token) == "empty"
    assert read(tmp_path, {}).token == Token(present=False)


def test_netrc(tmp_path: Path) -> None:
    """Hosts for the record, logins for probes only; a file nobody can parse is none."""
    (tmp_path / ".netrc").write_text(f"machine hub.test login me password {SECRET}\ndefault login you password other-{SECRET}\n")
    seen, secrets = environment.read({}, home=tmp_path, root=str(tmp_path))
    assert [entry.host for entry in seen.netrc] == ["hub.test", "default"]
    assert SECRET not in repr(encode(seen))
    assert secrets.netrc["hub.test"] == f"me:{SECRET}"
    assert read(tmp_path, {"NETRC": "/dev/null"}).netrc == ()
    for content in (b"machine", b"\xff\xfe machine \x00", b"machine h login", b"macdef x\n", b"\x00" * 100):
        (tmp_path / "odd").write_bytes(content)
        assert isinstance(read(tmp_path, {"NETRC": str(tmp_path / "odd")}).netrc, tuple)


# --- caches -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "hub", "home"),
    [
        ({}, "{home}/.cache/huggingface/hub", "{home}/.cache/huggingface"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub", "/xdg/huggingface"),
        ({"HF_HOME": "/data/hf"}, "/data/hf/hub", "/data/hf"),
        ({"HF_HOME": "~/hf"}, "{home}/hf/hub", "{home}/hf"),
        ({"HF_HOME": "$SCRATCH/hf", "SCRATCH": "/scratch"}, "/scratch/hf/hub", "/scratch/hf"),
        ({"HF_HOME": "${SCRATCH}/hf", "SCRATCH": "/scratch"}, "/scratch/hf/hub", "/scratch/hf"),
        ({"HF_HOME": "$NONE/hf"}, "$NONE/hf/hub", "$NONE/hf"),
        ({"HF_HUB_CACHE": "/a", "HUGGINGFACE_HUB_CACHE": "/b"}, "/a", "{home}/.cache/huggingface"),
        ({"HUGGINGFACE_HUB_CACHE": "/b"}, "/b", "{home}/.cache/huggingface"),
    ],
)
def test_cache_folders(tmp_path: Path, variables: dict[str, str], hub: str, home: str) -> None:
    """As huggingface_hub computes them, here and in its own import."""
    caches = read(tmp_path, variables).caches
    assert (caches["hub"], caches["home"]) == (hub.format(home=tmp_path), home.format(home=tmp_path))
    constants = pytest.importorskip("huggingface_hub.constants").__file__
    code = "import runpy,sys; c = runpy.run_path(sys.argv[1]); print(c['HF_HUB_CACHE']); print(c['HF_HOME'])"
    done = subprocess.run([sys.executable, "-c", code, constants], env={**variables, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [caches["hub"], caches["home"]]


def test_old_cache_variables(tmp_path: Path) -> None:
    """A problem only where they name another folder than the one in use."""
    assert problem(read(tmp_path, {"TRANSFORMERS_CACHE": "/old"}).deprecated_caches[0]) == "ignored"
    assert problem(read(tmp_path, {"TRANSFORMERS_CACHE": "/new/", "HF_HUB_CACHE": "/new"}).deprecated_caches[0]) == ""
    assert problem(read(tmp_path, {"HUGGINGFACE_HUB_CACHE": "/b"}).deprecated_caches[0]) == ""
    assert problem(read(tmp_path, {"HUGGINGFACE_HUB_CACHE": "/b", "HF_HUB_CACHE": "/a"}).deprecated_caches[0]) == "ignored"


# --- other programs' configuration --------------------------------------------------------------------------------------------

CONFIGURED = {
    ".pip/pip.conf": "[global]\nproxy = http://pip.test:1\n",
    ".gitconfig": '[user]\n\tname = x\n[http]\n\tproxy = http://git.test:1\n[http "https://x.test"]\n  proxy = http://git2.test:1\n',
    ".npmrc": "registry=https://r.test\nhttps-proxy=http://npm.test:1\n",
    ".condarc": "channels:\n  - http: no\nproxy_servers:\n    http: http://conda.test:1\n    https: 'http://conda2.test:1'\nssl_verify: true\n",
    "root/etc/environment": 'PATH="/bin"\nhttps_proxy="http://etc.test:1"\n',
    "root/etc/apt/apt.conf.d/90proxy": 'Acquire::http::Proxy "http://apt.test:1";\n// Acquire::http::Proxy "http://no.test:1";\nAcquire::https::Proxy "DIRECT";\n',
    ".docker/config.json": '{"proxies": {"default": {"httpsProxy": "http://docker.test:1"}}}',
    ".curlrc": 'proxy = "http://curl.test:1"\n',
    ".wgetrc": "https_proxy = http://wget.test:1\n",
    ".config/kioslaverc": "[Proxy Settings]\nhttpsProxy=http://kde.test 1\nProxy Config Script=http://pac.test/p.pac\n",
}


def test_proxies_that_other_programs_know(tmp_path: Path) -> None:
    """Each file's proxy with its source, comments and DIRECT left out."""
    for name, content in CONFIGURED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = read(tmp_path, {"auto_proxy": "http://pac2.test/wpad.dat", "PIP_PROXY": "http://pip2.test:1"}).configured_proxies
    values = {item.value for item in found}
    expected = {"pip", "pip2", "git", "git2", "npm", "conda", "conda2", "etc", "apt", "docker", "curl", "wget", "kde"}
    assert values == {f"http://{name}.test:1" for name in expected} | {"http://pac.test/p.pac", "http://pac2.test/wpad.dat"}
    assert {item.value for item in found if item.automatic} == {"http://pac.test/p.pac", "http://pac2.test/wpad.dat"}
    assert all(item.source for item in found)


def test_a_machine_without_them(tmp_path: Path) -> None:
    assert read(tmp_path, {}).configured_proxies == ()


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00proxy = \x00",
        b"proxy = " + b"x" * 1_000_000,
        b"\x00" * 5000,
        b"[include]\npath = .gitconfig\n",
        b"proxy = http://me:s3cr3tw0rd@h:1\n",
        b"proxy=" * 50_000,
    ],
)
def test_odd_configuration_files(tmp_path: Path, content: bytes) -> None:
    """Binary, endless, including itself, with a password: read without harm, and nothing secret shown."""
    for name in CONFIGURED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found, raw = read_configured({}, str(tmp_path), str(tmp_path / "root"))
    assert SECRET not in repr(found)
    assert len(found) <= 30
    assert all(len(item.value) <= 300 for item in found)
    assert bool(raw) == bool(found)


def test_what_a_login_shell_would_set_is_read_and_what_it_would_put_together_is_not_guessed(tmp_path: Path) -> None:
    """A comment behind the value is none of it; a variable of another meaning is none of ours."""
    (tmp_path / ".bashrc").write_text(
        "export https_proxy=http://a.test:1 # by IT\nexport all_proxy=$https_proxy\nproxy=http://b.test:2\n#export http_proxy=http://c.test:3\n"
    )
    profile = tmp_path / "root/etc/profile.d"
    profile.mkdir(parents=True)
    (profile / "proxy.sh").write_text('HTTP_PROXY="http://d.test:4"; export HTTP_PROXY\n')
    (profile / "notes.txt").write_text("https_proxy=http://e.test:5\n")
    found, _ = read_configured({}, str(tmp_path), str(tmp_path / "root"))
    assert {item.value for item in found} == {"http://a.test:1", "http://d.test:4"}


@pytest.mark.parametrize(("system", "reader"), [("win32", "getproxies_registry"), ("darwin", "getproxies_macosx_sysconf")])
def test_the_settings_of_windows_and_macos_are_asked_for(system: str, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function that urllib has there; elsewhere there is none to ask."""
    monkeypatch.setattr("urllib.request." + reader, lambda: {"https": "http://proxy.test:8080"}, raising=False)
    assert read_configured({}, str(tmp_path), str(tmp_path / "root"))[0] == ()
    monkeypatch.setattr(sys, "platform", system)
    assert [(item.source, item.value) for item in read_configured({}, str(tmp_path), str(tmp_path / "root"))[0]] == [
        ("system settings", "http://proxy.test:8080")
    ]


# --- the machine --------------------------------------------------------------------------------------------------------------


def test_default_route(tmp_path: Path) -> None:
    """Either family's; a reject route and the loopback are none; without tables nothing is said."""
    net = tmp_path / "proc/net"
    net.mkdir(parents=True)
    assert isinstance(default_route(str(tmp_path)), Unseen)
    (net / "route").write_text("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n")
    assert default_route(str(tmp_path)) is False
    (net / "ipv6_route").write_text(f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n")
    assert default_route(str(tmp_path)) is False
    (net / "ipv6_route").write_text(f"{'0' * 32} 00 {'0' * 32} 00 fe80{'0' * 27}1 00000400 00000001 00000000 00000003     eth0\n")
    assert default_route(str(tmp_path)) is True
    (net / "ipv6_route").write_text("")
    (net / "route").write_text("Iface\tDestination\n" + "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n")
    assert default_route(str(tmp_path)) is True
    (net / "route").write_text("Iface\tDestination\ngarbage\x00 here zz\n")
    assert default_route(str(tmp_path)) is False


@pytest.mark.parametrize(
    ("variables", "files", "kind"),
    [
        ({}, {}, ""),
        ({}, {".dockerenv": ""}, "docker"),
        ({}, {"run/.containerenv": ""}, "podman"),
        ({"KUBERNETES_SERVICE_HOST": "1"}, {".dockerenv": ""}, "kubernetes"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "x"}, {}, "kaggle"),
        ({"COLAB_RELEASE_TAG": "x"}, {}, "colab"),
        ({"SLURM_JOB_ID": "1"}, {}, "slurm"),
        ({"container": "podman"}, {}, "podman"),
        ({}, {"proc/1/cgroup": "0::/docker/abc"}, "docker"),
        ({}, {"proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2"}, "wsl"),
    ],
)
def test_containers(tmp_path: Path, variables: dict[str, str], files: dict[str, str], kind: str) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert container(variables, str(tmp_path)) == kind


def test_no_home_and_no_passwd_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user id that nobody knows, without HOME: an arbitrary id in a container."""
    import pwd

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME", raising=False)
    seen, _ = environment.read({}, root=str(tmp_path))
    assert seen.caches["hub"].endswith(".cache/huggingface/hub")
    assert seen.platform
    assert seen.platform.user == str(os.geteuid())


# --- interpreters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "name", "version"),
    [
        ("requests-2.34.2.dist-info", "requests", "2.34.2"),
        ("huggingface_hub-2.4.0.dist-info", "huggingface_hub", "2.4.0"),
        ("PyYAML-6.0.egg-info", "PyYAML", "6.0"),
        ("pip-23.0-py3.11.egg-info", "pip", "23.0"),
        ("my_pkg.egg-info", "my_pkg", None),
        ("torch-2.13.0+cpu.dist-info", "torch", "2.13.0+cpu"),
        ("jaraco.text-3.0.dist-info", "jaraco.text", "3.0"),
        ("zope-interface-5.0.dist-info", "zope-interface", "5.0"),
    ],
)
def test_names_of_distributions(entry: str, name: str, version: str | None) -> None:
    match = INFO.match(entry)
    assert match
    assert (match["name"], match["version"]) == (name, version)


def test_this_interpreter(tmp_path: Path) -> None:
    """pytest is installed for it, with its version."""
    seen = read(tmp_path, {})
    assert next(item.version for item in seen.distributions if item.name == "pytest") == pytest.__version__
    assert seen.interpreter
    assert seen.interpreter.version == "{}.{}.{}".format(*sys.version_info[:3])


def test_another_interpreter_says_the_same(tmp_path: Path) -> None:
    """Through a child process; folders of the working directory do not get in its way."""
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    link = tmp_path / "python"
    link.write_text(f'#!/bin/sh\ncd {tmp_path}\nexec "{sys.executable}" "$@"\n')
    link.chmod(0o755)
    seen = read(tmp_path, {"PATH": os.environ.get("PATH", ""), "PYTHONSTARTUP": "/nowhere"}, python=str(link))
    assert seen.interpreter
    assert seen.interpreter.version == "{}.{}.{}".format(*sys.version_info[:3])
    assert any(item.name == "pytest" for item in seen.distributions)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (None, "interpreter-missing"),
        ("#!/bin/sh\nexit 3\n", "interpreter-unusable"),
        ("#!/bin/sh\necho hello\n", "interpreter-unusable"),
        ("#!/bin/sh\necho '[]'\n", "interpreter-unusable"),
        ("#!/bin/sh\necho '{\"version\": 1}'\n", "interpreter-unusable"),
        ("\x00\x01", "interpreter-unusable"),
    ],
)
def test_what_is_no_interpreter(tmp_path: Path, script: str | None, code: str) -> None:
    """A problem of a setting, never a traceback."""
    path = tmp_path / "python"
    if script is not None:
        path.write_text(script)
        path.chmod(stat.S_IRWXU)
    seen = read(tmp_path, {}, python=str(path))
    assert problem(seen.settings[-1]) == code
    assert seen.settings[-1].name == "--diagnose-python"
    assert not seen.interpreter
    assert seen.distributions == ()


def test_a_silent_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given its time, and no more."""
    monkeypatch.setattr("diagnostics.environment.interpreter.SECONDS", 0.3)
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexec sleep 20\n")
    path.chmod(0o755)
    assert problem(read(tmp_path, {"PATH": os.environ.get("PATH", "")}, python=str(path)).settings[-1]) == "interpreter-silent"


# --- anything at all ----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "http_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "no_proxy",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "REQUESTS_CA_BUNDLE",
        "HF_HUB_OFFLINE",
        "HF_HUB_ETAG_TIMEOUT",
        "HF_ENDPOINT",
        "HF_TOKEN",
        "HF_TOKEN_PATH",
        "HF_HOME",
        "HF_HUB_CACHE",
        "TRANSFORMERS_CACHE",
        "XDG_CACHE_HOME",
        "TORCH_HOME",
        "TMPDIR",
        "NETRC",
        "HOME",
        "SHELL",
        "container",
        "PIP_CONFIG_FILE",
        "auto_proxy",
        "KUBERNETES_SERVICE_HOST",
        "PYTHONPATH",
    ]
)
VALUES = (
    st.text(max_size=80)
    | st.binary(max_size=40).map(lambda data: data.decode("utf-8", "surrogateescape"))
    | st.sampled_from(["\0", "~", "~nobody/x", "$HOME/$", "/", ".", "http://u:p@h", "x" * 100_000, "${", "/dev/zero", "/proc/self/mem"])
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variables=st.dictionaries(NAMES, VALUES, max_size=8))
def test_no_environment_is_too_odd(empty: Path, variables: dict[str, str]) -> None:
    """Whatever is set, an environment comes out that can be written as JSON, printable throughout."""
    seen, secrets = environment.read(variables, home=empty, root=str(empty))
    assert decode(Environment, encode(seen)) == seen
    assert "\x1b" not in repr(encode(seen))
    assert repr(secrets).isprintable()


@settings(max_examples=200, deadline=None)
@given(
    password=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=24), scheme=st.sampled_from(["http://", "", "socks5://"])
)
def test_no_password_of_any_shape_shows(password: str, scheme: str) -> None:
    """The value as set may be broken in any way; what comes before its last @ is shown nowhere."""
    found: ProxySetting = setting("https_proxy", f"{scheme}me:{password}@proxy.test:3128")
    assume(password not in repr(setting("https_proxy", f"{scheme}me:zzzzzzzz@proxy.test:3128")))  # "proxy.te" stands there anyway
    assert password not in repr(found)


def test_a_megabyte(tmp_path: Path) -> None:
    """Bounded in every field."""
    seen = read(
        tmp_path,
        dict.fromkeys(
            ("https_proxy", "NO_PROXY", "SSL_CERT_FILE", "HF_ENDPOINT", "HF_TOKEN", "HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT"), "x" * 1_000_000
        ),
    )
    assert len(repr(encode(dataclass_without_packages(seen)))) < 60_000


def dataclass_without_packages(seen: Environment) -> Environment:
    import dataclasses

    return dataclasses.replace(seen, distributions=())


def test_a_pipe_among_the_packages_is_not_waited_for(tmp_path: Path) -> None:
    """``python -m pytest`` puts the working folder onto the path: whoever made an x.egg-info there as a FIFO held up every run."""
    os.mkfifo(tmp_path / "x.egg-info")
    (tmp_path / "y.egg-info").write_text("Name: y\nVersion: 1.0\n")
    script = f"from diagnostics.environment.inventory import distributions as d; print([row[:2] for row in d([{str(tmp_path)!r}])])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=20, check=True)
    assert done.stdout.split(b"\n")[0] == b"[('x', ''), ('y', '1.0')]"
