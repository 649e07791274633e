"""SPEC → Target: by its form alone, and never with an exception."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics import targets
from diagnostics.case import ClientUse, Distribution, Environment, Interpreter, Problem, Target, Variable
from diagnostics.codec import decode, encode
from diagnostics.targets.hub import id_problem
from diagnostics.targets.manifest import shipped

NOTHING = Environment()
SHA = "ab" * 32


def nowhere(path: str) -> bool:
    return False


def parse(spec: str, environment: Environment = NOTHING) -> Target:
    """A SPEC on a machine with no file that it could mean."""
    return targets.parse(spec, environment, exists=nowhere, isdir=nowhere)[0]


def code(target: Target) -> str:
    return target.problem.code if isinstance(target.problem, Problem) else ""


def with_packages(**versions: str) -> Environment:
    return Environment(
        distributions=tuple(Distribution(name=name.replace("_", "-"), version=version) for name, version in versions.items()),
        interpreter=Interpreter(executable="python", version="3.11.7"),
    )


# --- by form ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "kind", "name", "revision", "repository_type"),
    [
        ("google-bert/bert-base-uncased", "hub", "google-bert/bert-base-uncased", "main", "model"),
        ("gpt2", "hub", "gpt2", "main", "model"),
        ("gpt2@607a30d", "hub", "gpt2", "607a30d", "model"),
        ("org/name@refs/pr/3", "hub", "org/name", "refs/pr/3", "model"),
        ("  org/name  ", "hub", "org/name", "main", "model"),
        ("hub:org/name@v1", "hub", "org/name", "v1", "model"),
        ("dataset:org/name", "hub", "org/name", "main", "dataset"),
        ("demo", "demo", "", "main", "model"),
        ("demo:tls-expired", "demo", "tls-expired", "main", "model"),
        ("", "none", "", "main", "model"),
        ("https://huggingface.co/org/name", "hub", "org/name", "main", "model"),
        ("https://huggingface.co/gpt2", "hub", "gpt2", "main", "model"),
        ("https://huggingface.co/org/name/", "hub", "org/name", "main", "model"),
        ("https://hf.co/org/name", "hub", "org/name", "main", "model"),
        ("https://huggingface.co/org/name/tree/v1.0", "hub", "org/name", "v1.0", "model"),
        ("https://huggingface.co/gpt2/tree/main/onnx", "hub", "gpt2", "main", "model"),
        ("https://huggingface.co/org/name/tree/refs%2Fpr%2F1", "hub", "org/name", "refs/pr/1", "model"),
        ("https://huggingface.co/org/name/tree/refs/pr/1", "hub", "org/name", "refs/pr/1", "model"),
        ("https://huggingface.co/datasets/org/name", "hub", "org/name", "main", "dataset"),
        ("https://huggingface.co/spaces/org/name", "hub", "org/name", "main", "space"),
        ("https://huggingface.co/org/name/discussions/3", "hub", "org/name", "main", "model"),
        ("hf://Org/Name", "hub", "Org/Name", "main", "model"),
        ("hf://datasets/org/name", "hub", "org/name", "main", "dataset"),
    ],
)
def test_repositories(spec: str, kind: str, name: str, revision: str, repository_type: str) -> None:
    """Ids, revisions, prefixes, and the pages people paste."""
    target = parse(spec)
    assert (target.kind, target.name, target.revision, target.repository_type, code(target)) == (kind, name, revision, repository_type, "")


@pytest.mark.parametrize("verb", ["blob", "resolve", "raw"])
def test_a_pasted_file_is_that_file_of_the_repository(verb: str) -> None:
    """Its path becomes the pattern, unless --diagnose-files says otherwise."""
    spec = f"https://huggingface.co/org/name/{verb}/main/onnx/model.onnx?download=true"
    assert parse(spec).patterns == ("onnx/model.onnx",)
    assert targets.parse(spec, NOTHING, nowhere, nowhere, files=("*.json",))[0].patterns == ("*.json",)


@pytest.mark.parametrize(
    "spec",
    [
        "https://huggingface.co/docs/hub",
        "https://huggingface.co/models",
        "https://huggingface.co/a/b/c/d",
        "https://hub.test/org/name",
        "https://huggingface.co/api/models/gpt2",
    ],
)
def test_other_pages_are_urls(spec: str) -> None:
    assert parse(spec).kind == "url"


def test_pages_of_this_environments_hub() -> None:
    """HF_ENDPOINT's own pages, its path included; and the target knows that hub."""
    mirror = Environment(endpoint=Variable(name="HF_ENDPOINT", value="https://mirror.corp.test:8443/hf/"))
    target = parse("https://mirror.corp.test:8443/hf/org/name/tree/v2", mirror)
    assert (target.kind, target.name, target.revision, target.endpoint) == ("hub", "org/name", "v2", "https://mirror.corp.test:8443/hf")
    assert parse("org/name").endpoint == "https://huggingface.co"


@pytest.mark.parametrize(
    "name",
    [
        "org/name",
        "gpt2",
        "a",
        "A-b_c.d",
        "0",
        "org/" + "x" * 96,
        "-a",
        "a-",
        ".a",
        "a.",
        "a--b",
        "a..b",
        "a.git",
        "a/b/c",
        "a b",
        "ä",
        "",
        "/",
        "a/",
        "/a",
        "a/-b",
        "a-/b",
        "x" * 97,
        "a@b",
        "a:b",
        "_a",
        "a_",
        "a/_b",
        "org/a.git/",
    ],
)
def test_ids_as_the_hubs_own_client_takes_them(name: str) -> None:
    """A sentence for each that validate_repo_id rejects, none for the others."""
    validators = pytest.importorskip("huggingface_hub.utils")
    try:
        validators.validate_repo_id(name)
        valid = True
    except validators.HFValidationError:
        valid = False
    assert (id_problem(name) == "") == valid


@settings(max_examples=400)
@given(st.text(alphabet="ab0-_./@ é", max_size=12) | st.text(alphabet="ab-.", min_size=90, max_size=100))
def test_any_id_as_the_hubs_own_client_takes_it(name: str) -> None:
    """Never is an id taken here that the client rejects, and hardly the other way round."""
    validators = pytest.importorskip("huggingface_hub.utils")
    try:
        validators.validate_repo_id(name)
        valid = True
    except validators.HFValidationError:
        valid = False
    assert (id_problem(name) == "") == valid


@pytest.mark.parametrize(
    "spec",
    [
        "org/name/extra",
        "org//name",
        "org/na me",
        "a--b",
        "org/name@",
        "hub:",
        "hub:a b",
        "modèle",
        "org/name@a b",
        "dataset:a/b/c",
        "<script>",
        "$(id)",
        "a" * 200,
    ],
)
def test_what_can_be_no_id(spec: str) -> None:
    assert code(parse(spec)) == "model-id-invalid"


@pytest.mark.parametrize("spec", ["foo:bar", "s3:bucket", "model:org/name"])
def test_unknown_prefixes(spec: str) -> None:
    target = parse(spec)
    assert (target.kind, code(target)) == ("none", "unknown-prefix")


# --- URLs ---------------------------------------------------------------------------------------------------------------------


def test_one_url_with_a_digest() -> None:
    """The digest is published for the URL as it is shown; the raw URL keeps its signature and goes to probes only."""
    target, raw = targets.parse(f"https://host.test/a/model.zip?sig=s3cr3tw0rd#sha256={SHA.upper()}", NOTHING, nowhere, nowhere)
    assert (target.kind, target.name, target.urls, code(target)) == ("url", "model.zip", ("https://host.test/a/model.zip",), "")
    assert raw == ("https://host.test/a/model.zip?sig=s3cr3tw0rd",)
    (published,) = target.published
    assert (published.path, published.algorithm, published.value) == (target.urls[0], "sha256", SHA)
    assert "s3cr3tw0rd" not in repr(target)
    assert SHA.upper() in target.spec


@pytest.mark.parametrize("between", [" ", "\n", ", ", ",", "  \t"])
def test_several_urls(between: str) -> None:
    target, raw = targets.parse(f"https://a.test/1{between}https://b.test/2", NOTHING, nowhere, nowhere)
    assert target.urls == raw == ("https://a.test/1", "https://b.test/2")
    assert target.name == "2 URLs"


def test_a_comma_within_a_url_stays() -> None:
    assert parse("https://a.test/1,2").urls == ("https://a.test/1,2",)


def test_torch_hub_names_carry_a_digest() -> None:
    """A prefix of the file's sha256, eight digits or more."""
    (published,) = parse("https://download.pytorch.org/models/resnet18-f37072fd.pth").published
    assert (published.value, published.source) == ("f37072fd", "file name")
    assert parse("https://host.test/model-final.pth").published == ()


@pytest.mark.parametrize(
    "spec",
    [
        "https://",
        "https:///x",
        "https://h:abc/x",
        "https://h:99999/x",
        "https://h:0/x",
        "ftp://h/x",
        "s3://bucket/x",
        "https://[::1/x",
        "https://h/x\x00y",
        "https://a..b/x",
        "https://" + "a" * 70 + ".test/x",
        "http://h\\x/y",
        "url:host.test/x",
        "url:",
        "https://h/x#sha256=zz",
        "https://h/x#sha256=abc",
        "https://ok.test/1 https:///2",
        "javascript://x",
    ],
)
def test_what_can_be_no_url(spec: str) -> None:
    target = parse(spec)
    assert (target.kind, code(target)) == ("url", "url-invalid")
    assert isinstance(target.problem, Problem)
    assert target.problem.detail


@pytest.mark.parametrize(
    "spec",
    [
        "https://host.test",
        "http://127.0.0.1:8000/x",
        "https://[::1]:8443/x",
        "https://bücher.test/x",
        "https://host.test/ä b".replace(" ", "%20"),
        "https://me:pw@host.test/x",
        "https://under_score.test/x",
        "https://host.test./x",
    ],
)
def test_what_can_be_a_url(spec: str) -> None:
    assert (parse(spec).kind, code(parse(spec))) == ("url", "")


# --- paths --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "weights.bin").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("model", "directory"),
        ("./model", "directory"),
        ("path:model", "directory"),
        ("./org/name", "directory"),
        ("weights.bin", "file"),
        ("./weights.bin", "file"),
        (".", "directory"),
    ],
)
def test_paths_that_are_there(place: Path, spec: str, kind: str) -> None:
    """An existing path is that path; it is kept absolute, home as ~."""
    target, _ = targets.parse(spec, NOTHING)
    assert (target.kind, code(target)) == (kind, "")
    assert os.path.isabs(os.path.expanduser(target.paths[0]))


@pytest.mark.parametrize("spec", ["./none", "../none/x", "/none/x", "~/none-of-this", "path:none", "~nobody-here/x", "C:\\models\\x"])
def test_paths_that_are_not(place: Path, spec: str) -> None:
    """Which of its parents is there is said."""
    target, _ = targets.parse(spec, NOTHING)
    assert code(target) == "path-missing"
    assert isinstance(target.problem, Problem)
    assert target.problem.detail


def test_which_parent_is_there(place: Path) -> None:
    target, _ = targets.parse(str(place / "model" / "a" / "b"), NOTHING)
    assert isinstance(target.problem, Problem)
    assert str(place / "model") in target.problem.detail
    assert "a/b" in target.problem.detail


def test_a_folder_in_the_repositorys_way(place: Path) -> None:
    """A folder named like the id that is no model; with a config it is the model; hub: means the repository all the same."""
    target, _ = targets.parse("org/name", NOTHING)
    assert (target.kind, target.name, code(target)) == ("hub", "org/name", "local-directory-shadows-id")
    assert target.paths == (str(place / "org/name"),)
    assert code(targets.parse("hub:org/name", NOTHING)[0]) == ""
    (place / "org/name/config.json").write_text("{}")
    target, _ = targets.parse("org/name", NOTHING)
    assert (target.kind, code(target)) == ("directory", "")


# --- lists --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped())
def test_shipped_lists_can_be_used(name: str) -> None:
    target = parse(f"list:{name}")
    assert (target.kind, code(target), target.name) == ("list", "", name)
    assert target.urls


def test_gpt2_has_its_seven_files() -> None:
    target = parse("list:gpt2-124M")
    assert len(target.urls) == 7
    assert all(url.startswith("https://openaipublic.blob.core.windows.net/gpt-2/models/124M/") for url in target.urls)
    assert {item.path.rpartition("/")[2] for item in target.published} == {"encoder.json", "vocab.bpe", "model.ckpt.data-00000-of-00001"}


def test_a_list_of_ones_own(place: Path) -> None:
    (place / "my.toml").write_text(
        f'name = "mine"\nbase = "https://host.test/m/"\n[[files]]\npath = "a.bin"\nbytes = 3\nsha256 = "{SHA}"\n[[files]]\nurl = "https://other.test/b?sig=s3cr3tw0rd"\n'
    )
    for spec in ("my.toml", "./my.toml", "list:my.toml", f"list:{place}/my.toml"):
        target, raw = targets.parse(spec, NOTHING)
        assert (target.kind, target.name, code(target)) == ("list", "mine", "")
        assert raw == ("https://host.test/m/a.bin", "https://other.test/b?sig=s3cr3tw0rd")
        assert "s3cr3tw0rd" not in repr(target)
        assert (target.published[0].path, target.published[0].bytes) == ("https://host.test/m/a.bin", 3)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "files = 1",
        "[[files]]",
        "[[files]]\nurl = 1",
        "[[files]]\nurl = 'x'",
        "not toml",
        "[[files]]\nurl='https://h/x'\npath='../x'",
        "[[files]]\nurl='https://h/x'\npath='/etc/passwd'",
        "[[files]]\nurl='https://h/x'\nsha256='zz'",
        "[[files]]\nurl='https://h:abc/x'",
        "\x00",
        "a = " + "[" * 3000,
        "[[files]]\nurl='https://h/x'\npath='C:x'",
        "base='https://h/'\n[[files]]\npath='~/x'",
    ],
)
def test_lists_that_cannot_be_used(place: Path, content: str) -> None:
    (place / "my.toml").write_text(content)
    target, raw = targets.parse("list:my.toml", NOTHING)
    assert (code(target), raw) == ("manifest-invalid", ())


def test_lists_that_are_not_there(place: Path) -> None:
    assert code(targets.parse("list:no-such-list", NOTHING)[0]) == "unknown-manifest"
    assert code(targets.parse("none.toml", NOTHING)[0]) == code(targets.parse("list:none.toml", NOTHING)[0]) == "path-missing"
    (place / "folder.toml").mkdir()
    assert code(targets.parse("folder.toml", NOTHING)[0]) == "manifest-invalid"


# --- who fetches it -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ("0.36.2", "huggingface_hub-0"),
        ("1.33.0", "huggingface_hub-1"),
        ("2.4.0", "huggingface_hub-2"),
        ("3.0.0", "huggingface_hub-2"),
        ("1.0.0rc1", "huggingface_hub-1"),
        ("odd", "huggingface_hub-2"),
    ],
)
def test_the_hubs_client(version: str, family: str) -> None:
    """By its major version; one that is newer than the table is taken for the newest known."""
    target = parse("org/name", with_packages(huggingface_hub=version, requests="2.34.2"))
    assert target.client == ClientUse(family=family, version=version)


def test_without_the_hubs_client() -> None:
    """requests stands in, and it is said that the client is not there."""
    client = parse("org/name", with_packages(requests="2.34.2")).client
    assert client == ClientUse(family="requests", version="2.34.2", installed=False)


def test_xet_moves_the_bytes() -> None:
    """Where hf_xet is installed and not switched off."""
    here = with_packages(huggingface_hub="2.4.0", hf_xet="1.8.0")
    assert parse("org/name", here).transports == (ClientUse(family="hf_xet", version="1.8.0", role="bytes"),)
    off = Environment(distributions=here.distributions, settings=(Variable(name="HF_HUB_DISABLE_XET", value="1", truthy=True),))
    assert parse("org/name", off).transports == ()
    assert parse("https://h.test/x", here).transports == ()


@pytest.mark.parametrize(
    ("spec", "packages", "family"),
    [
        ("https://download.pytorch.org/models/resnet18-f37072fd.pth", {"torch": "2.13.0", "requests": "2"}, "urllib"),
        ("https://host.test/x-0123abcd.pth", {"torch": "2.13.0", "requests": "2"}, "urllib"),
        ("https://download.pytorch.org/models/resnet18-f37072fd.pth", {"requests": "2"}, "requests"),
        ("https://host.test/x.zip", {"torch": "2.13.0", "requests": "2"}, "requests"),
        ("list:gpt2-124M", {"requests": "2"}, "requests"),
    ],
)
def test_who_fetches_urls(spec: str, packages: dict[str, str], family: str) -> None:
    client = parse(spec, with_packages(**packages)).client
    assert isinstance(client, ClientUse)
    assert client.family == family


def test_a_local_path_has_no_client(place: Path) -> None:
    target, _ = targets.parse("./model", with_packages(huggingface_hub="2.4.0", transformers="5.23.0"))
    assert not target.client
    assert target.loader == "transformers"


# --- anything at all ----------------------------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=60)
    | st.text(alphabet="hubrlpathis:/@#?.~ \\[]%", max_size=30)
    | st.sampled_from(
        ["\0", "list:\0", "path:\0", "~\0", "x" * 100_000, "https://" + "a" * 100_000, "path:", "list:", "hub:", ":", "@", "#", "demo:", "\ud800"]
    )
)
def test_no_spec_is_too_odd(spec: str) -> None:
    """A target comes out, printable, that can be written as JSON; one that cannot be used says why."""
    target, raw = targets.parse(spec, NOTHING, isdir=nowhere)
    assert decode(Target, encode(target)) == target
    assert isinstance(raw, tuple)
    shown = [target.spec, target.name, *target.urls, *target.paths, target.problem.detail if target.problem else ""]
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for text in shown for char in text)
    assert all(len(text) <= 2000 for text in shown)


@given(
    password=st.text(alphabet="abcdefghij0123456789", min_size=8, max_size=20),
    form=st.sampled_from(
        [
            "https://me:{}@h.test/x",
            "https://h.test/x?sig={}",
            "url:https://me:{}@h.test/x",
            "https://me:{}@h:abc/x",
            "https://h.test/x?a=1&sig={} https://h.test/y",
        ]
    ),
)
def test_no_secret_in_a_target(password: str, form: str) -> None:
    """Credentials and signatures of a URL are in the raw URLs only."""
    target, _ = targets.parse(form.format(password), NOTHING, nowhere, nowhere)
    assert password not in repr(target)
