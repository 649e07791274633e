"""Lists of files: what they may say, and what comes of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from diagnostics import targets
from diagnostics.case import Case, Digests, Environment, Files, FileSeen, Published, RemoteFile, Target, Unseen
from diagnostics.facts.roles import NAMES, role_of
from diagnostics.probes.checksums import see_digests
from diagnostics.probes.files import see_files
from diagnostics.render.manifest import NoList, text
from diagnostics.targets.manifest import shipped

SHA = "ab" * 32


def read(place: Path, content: str) -> Target:
    (place / "list.toml").write_text(content)
    return targets.parse(f"list:{place / 'list.toml'}", Environment())[0]


def test_sizes_without_digests_and_roles_are_kept(tmp_path: Path) -> None:
    target = read(tmp_path, 'base = "https://h.test/"\n[[files]]\npath = "a/config.json"\nbytes = 5\n[[files]]\npath = "x"\nrole = "weights"\n')
    assert target.listed == (
        RemoteFile(path="a/config.json", bytes=5, url="https://h.test/a/config.json", role="config"),
        RemoteFile(path="x", url="https://h.test/x", role="weights"),
    )


@pytest.mark.parametrize("digits", [7, 65])
def test_a_prefix_is_as_long_as_torch_hub_takes_it(tmp_path: Path, digits: int) -> None:
    good = read(tmp_path, f"[[files]]\nurl = 'https://h.test/x'\nsha256_prefix = '{'a' * 8}'")
    assert good.published == (Published(path="https://h.test/x", value="a" * 8, source="list"),)
    bad = read(tmp_path, f"[[files]]\nurl = 'https://h.test/x'\nsha256_prefix = '{'a' * digits}'")
    assert bad.problem and "8 to 64" in bad.problem.detail


def test_every_digest_is_compared_by_its_own_rule(tmp_path: Path) -> None:
    """A prefix as one, git's name for a content with its header, MD5; the strongest of several decides."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.bin").write_bytes(b"hello\n")
    sha256, git, md5 = (
        "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "ce013625030ba8dba906f756967f9e9ca394464a",
        "b1946ac92492d2347c6235b4d2611184",
    )

    def actual(line: str) -> tuple[str, bool]:
        target = read(tmp_path, f"folder = 'm'\n[[files]]\npath = 'a.bin'\n{line}")
        digests = see_digests(target, Environment(), Unseen("absent"), see_files(target, Environment(), Unseen("absent")), "all", 10.0)
        assert isinstance(digests, Digests) and len(digests.checked) == 1
        return digests.checked[0].algorithm, digests.checked[0].actual == digests.checked[0].expected

    assert actual(f"sha256_prefix = '{sha256[:9]}'") == ("sha256", True)
    assert actual("sha256_prefix = '5891b5b51'") == ("sha256", False)
    assert actual(f"git_sha1 = '{git}'") == ("git-sha1", True)
    assert actual(f"md5 = '{md5}'") == ("md5", True)
    assert actual(f"md5 = '{'0' * 32}'\nsha256 = '{sha256}'") == ("sha256", True)


def test_a_file_of_the_same_name_elsewhere_has_no_digest_of_it(tmp_path: Path) -> None:
    """A list goes by paths: the other config.json is another file."""
    for name in ("config.json", "1/config.json"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"{}")
    target = read(tmp_path, f"folder = 'm'\n[[files]]\npath = 'config.json'\nsha256 = '{SHA}'\n[[files]]\npath = '1/config.json'")
    digests = see_digests(target, Environment(), Unseen("absent"), see_files(target, Environment(), Unseen("absent")), "all", 10.0)
    assert isinstance(digests, Digests)
    assert [digest.path for digest in digests.checked] == ["config.json"] and digests.unpublished == ("1/config.json",)


def test_what_the_list_names_and_the_folder_lacks(tmp_path: Path) -> None:
    """Missing, and too short; what the list does not name does not count."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.txt").write_bytes(b"abc")
    (tmp_path / "m" / "not listed.json").write_bytes(b"{")
    target = read(tmp_path, "folder = 'm'\n[[files]]\npath = 'a.txt'\nbytes = 4\n[[files]]\npath = 'b.txt'")
    files = see_files(target, Environment(), Unseen("absent"))
    assert isinstance(files, Files)
    assert [(seen.path, seen.defects[0].code) for seen in files.files] == [("a.txt", "file-truncated")]
    assert files.missing == ("b.txt",)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    target = read(tmp_path, "folder = 'm'\n[[files]]\npath = 'a'")
    assert target.problem and target.problem.code == "path-missing"
    assert not read(tmp_path, "folder = '.'\n[[files]]\npath = 'a'").problem


def test_hostile_names_are_written_so_that_they_read_back() -> None:
    """Quotes, line ends, DEL and brackets in a path are data."""
    name = 'a"b]\x7f[[files]]\n\\.bin'
    from diagnostics.redact import plain

    shown = plain(name, 500)
    files = Files(place="folder", path="/m", files=(FileSeen(path=shown, bytes=3), FileSeen(path="𝕏 é.json", bytes=1)))
    table = tomllib.loads(text(Case(target=Target(spec="/m", kind="directory", paths=("/m",)), files=files, started="2026-11-24T01:02:03Z")))
    assert [entry["path"] for entry in table["files"]] == [shown, "𝕏 é.json"]
    assert table["folder"] == "/m" and str(table["as_of"]) == "2026-11-24"


def test_nothing_to_list() -> None:
    with pytest.raises(NoList):
        text(Case(target=Target(spec="", kind="none")))


@pytest.mark.parametrize("name", shipped())
def test_what_is_shipped_says_where_it_comes_from(name: str) -> None:
    """Source and date, a role a file; a digest only of a length that is one."""
    content = (Path(targets.__file__).parent / "manifests" / f"{name}.toml").read_text()
    table = tomllib.loads(content)
    assert table["source"] and table["as_of"].year >= 2026 and content.startswith("# ")
    assert {entry["role"] for entry in table["files"]} <= NAMES
    paths = [entry["path"] for entry in table["files"]]
    assert len(paths) == len(set(paths))


def test_a_shipped_prefix_is_the_one_in_the_file_name() -> None:
    """As torch.hub reads it there."""
    for name in shipped():
        if name.startswith("torchvision"):
            target = targets.parse(f"list:{name}", Environment())[0]
            assert len(target.published) == len(target.urls)
            assert all(f"-{item.value}.pth" in item.path for item in target.published)


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("model-00001-of-00002.safetensors", "weights"),
        ("model.safetensors.index.json", "index"),
        ("checkpoint", "index"),
        ("1_Pooling/config.json", "config"),
        ("tokenizer_config.json", "tokenizer"),
        ("vocab.txt", "tokenizer"),
        ("modeling_x.py", "code"),
        ("data/train.parquet", "data"),
        ("README.md", "text"),
        ("what", "other"),
    ],
)
def test_roles(path: str, role: str) -> None:
    assert role_of(path) == role
