"""The lab's hub is one that the real huggingface_hub downloads from, and what it leaves in its cache is what we take for healthy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from diagnostics.lab.http import App
from diagnostics.lab.hub import COMMIT, NAME, TOKEN, Repository, hub
from diagnostics.lab.model import tiny_bert
from diagnostics.lab.stage import HUB, Stage
from diagnostics.lab.worlds.healthy import put_up_hub
from tests.functional.runs import run

DOWNLOAD = "import sys; from huggingface_hub import snapshot_download as d; print(d(sys.argv[1]))"


def download(stage: Stage, name: str = NAME) -> int:
    """snapshot_download by the real client, in a process of its own."""
    return run([sys.executable, "-c", DOWNLOAD, name], stage.work, stage.environment()).code


def diagnose(stage: Stage, folder: Path, spec: str = NAME, *options: str) -> list[tuple[str, str]]:
    """Causes and severities of the roots that we find."""
    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={spec}", f"--diagnose-report={folder}", *options]
    return run(command, folder, stage.environment(), cwd=stage.work).roots


def test_the_real_client_downloads_and_we_find_nothing_wrong(tmp_path: Path) -> None:
    """Online afterwards, and offline; every byte verified."""
    with Stage() as stage:
        put_up_hub(stage)
        assert download(stage) == 0
        assert (stage.hub_cache / "models--lab--tiny-bert" / "snapshots" / COMMIT / "model.safetensors").exists()
        assert diagnose(stage, tmp_path, NAME, "--diagnose-digests=all") == []
        checked = json.loads((tmp_path / "report.json").read_text())["case"]["digests"]["checked"]
        assert {item["path"] for item in checked} >= {"model.safetensors", "config.json"}
        assert all(item["actual"] == item["expected"] for item in checked)
        stage.variables["HF_HUB_OFFLINE"] = "1"
        assert diagnose(stage, tmp_path) == []


def test_a_corrupted_blob_is_found_offline(tmp_path: Path) -> None:
    """The client hands it out without a word; the blob's own name is the digest."""
    with Stage() as stage:
        put_up_hub(stage)
        assert download(stage) == 0
        blob = (stage.hub_cache / "models--lab--tiny-bert" / "snapshots" / COMMIT / "model.safetensors").resolve()
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(bytes(data))
        stage.variables["HF_HUB_OFFLINE"] = "1"
        assert download(stage) == 0, "the real client notices nothing"
        assert diagnose(stage, tmp_path) == [("file-checksum-mismatch", "error")]


@pytest.mark.parametrize(
    ("application", "token", "cause"),
    [
        (hub(Repository(files=tiny_bert(), gated="auto")), "", "http-gated"),
        (hub(Repository(files=tiny_bert(), gated="auto")), TOKEN, ""),
        (hub(Repository(files=tiny_bert(), private=True)), "", "http-repository-missing"),
        (hub(Repository(files=tiny_bert(), private=True)), TOKEN, ""),
        (hub(Repository(files=tiny_bert())), "hf_WrongTokenWrongTokenWrongTokenWrong0", "http-token-rejected"),
        (hub(Repository(name="lab/other", files=tiny_bert())), TOKEN, "http-repository-missing"),
    ],
    ids=["gated", "gated with a token", "private", "private with a token", "a wrong token", "another repository"],
)
def test_we_fail_where_the_real_client_fails(application: App, token: str, cause: str, tmp_path: Path) -> None:
    """And only there."""
    with Stage() as stage:
        stage.variables["HF_ENDPOINT"] = stage.web(HUB, application)
        stage.variables |= {"HF_TOKEN": token} if token else {}
        assert (download(stage) != 0) == bool(cause)
        assert diagnose(stage, tmp_path) == ([(cause, "error")] if cause else [])
