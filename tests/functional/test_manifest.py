"""``--diagnose-manifest``: the list that is written can be read back as a target, says what was published, and holds no secret."""

from __future__ import annotations

import hashlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from diagnostics.lab.http import file
from diagnostics.lab.hub import COMMIT, NAME, TOKEN
from diagnostics.lab.model import tiny_bert
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import put_up_hub
from tests.functional.runs import Outcome, run

BERT = {item.path: item for item in tiny_bert()}


def diagnose(stage: Stage, folder: Path, spec: str, *options: str) -> Outcome:
    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={spec}", f"--diagnose-report={folder}", *options]
    return run(command, folder, stage.environment(), cwd=stage.work)


def listed(stage: Stage, folder: Path, spec: str, *options: str) -> tuple[dict[str, Any], Outcome]:
    """The list of a target, and the run in which it is the target."""
    place = folder / "the list.toml"
    first = diagnose(stage, folder, spec, f"--diagnose-manifest={place}", *options)
    assert "list of files: " in first.output, first.output
    assert tomllib.loads(place.read_text())["as_of"]
    return tomllib.loads(place.read_text()), diagnose(stage, folder, f"list:{place}", "--diagnose-digests=all")


def put_folder(stage: Stage) -> Path:
    folder = stage.work / "my model"
    folder.mkdir()
    for item in BERT.values():
        (folder / item.path).write_bytes(item.data)
    return folder


def test_a_repository_of_the_hub(tmp_path: Path) -> None:
    """URLs at the commit; LFS's sha256, git's ids of small files; and the hub's token nowhere."""
    with Stage() as stage:
        put_up_hub(stage)
        stage.variables["HF_TOKEN"] = TOKEN
        table, again = listed(stage, tmp_path, NAME)
    assert table["base"].endswith(f"/{NAME}/resolve/{COMMIT}/") and table["name"] == NAME
    weights = next(entry for entry in table["files"] if entry["path"] == "model.safetensors")
    assert weights == {
        "path": "model.safetensors",
        "role": "weights",
        "bytes": len(BERT["model.safetensors"].data),
        "sha256": BERT["model.safetensors"].sha256,
        "source": "hub listing",
    }
    assert {entry["path"]: entry["git_sha1"] for entry in table["files"] if "git_sha1" in entry}["config.json"] == BERT["config.json"].git_sha1
    assert TOKEN not in (tmp_path / "the list.toml").read_text()
    assert (again.roots, again.code) == ([], 0)
    case = again.document["case"]
    assert {journey["published"]["algorithm"] for journey in case["journeys"]} == {"sha256", "git-sha1"}, "compared with what arrives"
    assert {entry["path"] for entry in table["files"]} == {item["path"] for item in case["target"]["listed"]}


def test_what_the_cache_holds_offline(tmp_path: Path) -> None:
    """Without the network, the cache's own memory is the list."""
    with Stage() as stage:
        put_up_hub(stage)
        download = "import sys; from huggingface_hub import snapshot_download as d; d(sys.argv[1])"
        assert run([sys.executable, "-c", download, NAME], stage.work, stage.environment()).code == 0
        stage.variables["HF_HUB_OFFLINE"] = "1"
        place = tmp_path / "list.toml"
        assert diagnose(stage, tmp_path, NAME, f"--diagnose-manifest={place}", "--diagnose-digests=none").code == 0
    table = tomllib.loads(place.read_text())
    assert COMMIT in table["base"] and "cache" in table["source"]
    assert {entry["path"]: entry.get("sha256", entry.get("git_sha1")) for entry in table["files"]}["model.safetensors"] == BERT["model.safetensors"].sha256


def test_a_folder_is_read_back_and_what_changed_since_is_found(tmp_path: Path) -> None:
    """Nobody published digests of it: computed where they are asked for; a byte changed later, a file gone later are found by the list."""
    with Stage() as stage:
        folder = put_folder(stage)
        table, again = listed(stage, tmp_path, f"path:{folder}", "--diagnose-digests=all")
        assert (again.roots, again.code) == ([], 0)
        assert table["folder"] == str(folder) and all("url" not in entry for entry in table["files"])
        assert {entry["source"] for entry in table["files"]} == {"computed here"}
        assert {entry["path"]: entry["sha256"] for entry in table["files"]}["config.json"] == hashlib.sha256(BERT["config.json"].data).hexdigest()
        weights = bytearray(BERT["model.safetensors"].data)
        weights[-1] ^= 1
        (folder / "model.safetensors").write_bytes(weights)
        changed = diagnose(stage, tmp_path, f"list:{tmp_path / 'the list.toml'}")
        assert changed.roots == [("file-checksum-mismatch", "error")]
        (folder / "model.safetensors").unlink()
        gone = diagnose(stage, tmp_path, f"list:{tmp_path / 'the list.toml'}")
        assert [cause for cause, _ in gone.roots] == ["file-missing"]


def test_without_being_asked_nothing_is_computed(tmp_path: Path) -> None:
    """The list says sizes, and the line below the report how many entries lack a digest."""
    with Stage() as stage:
        outcome = diagnose(stage, tmp_path, f"path:{put_folder(stage)}", f"--diagnose-manifest={tmp_path / 'list.toml'}")
    table = tomllib.loads((tmp_path / "list.toml").read_text())
    assert all("sha256" not in entry and entry["bytes"] for entry in table["files"])
    assert f"({len(table['files'])} of them without a published digest" in outcome.output


def test_urls_keep_no_signature(tmp_path: Path) -> None:
    """The size from the answer, the digest that came with the URL; no query, no password."""
    data = b"x" * 5000
    digest = hashlib.sha256(data).hexdigest()
    with Stage() as stage:
        base = stage.web("files.example", lambda request: file(data))
        place = tmp_path / "list.toml"
        diagnose(stage, tmp_path, f"url:{base}/a.bin?sig=hunter2hunter2 {base}/b.bin#sha256={digest}", f"--diagnose-manifest={place}")
        again = diagnose(stage, tmp_path, f"list:{place}")
    entries = tomllib.loads(place.read_text())["files"]
    assert [(entry["path"], entry["bytes"], entry["sha256"]) for entry in entries] == [("a.bin", 5000, digest), ("b.bin", 5000, digest)]
    assert entries[0]["source"] == "computed here" and entries[1]["source"] == "#sha256="
    assert "hunter2" not in place.read_text()
    assert again.roots == []


@pytest.mark.parametrize("spec", ["", "path:/no/such/folder"])
def test_what_nothing_lists_is_said_and_not_written(spec: str, tmp_path: Path) -> None:
    with Stage() as stage:
        stage.variables["HF_HUB_OFFLINE"] = "1"
        outcome = diagnose(stage, tmp_path, spec, f"--diagnose-manifest={tmp_path / 'list.toml'}")
    assert "no list of files could be written: " in outcome.output
    assert not (tmp_path / "list.toml").exists()
