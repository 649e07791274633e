"""Folders are put right from where their user says they came, snapshots from the repository that their path names; nothing else of a folder is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics.case import Environment, Repair, Target
from diagnostics.lab import hub as hubs
from diagnostics.lab import model
from diagnostics.lab.http import App, file, text
from diagnostics.lab.hub import Repository
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from diagnostics.probes.survey import prepare
from diagnostics.redact import Secrets
from diagnostics.repair.place import Place
from diagnostics.repair.source import _found, _source
from diagnostics.repair.work import Means, perform
from tests.functional.damages import Cached, broken_link, flipped, mend, sharded, truncated
from tests.functional.runs import run

REPOSITORY = sharded(model.SMALL)
SHARD = "model-00002-of-00002.safetensors"


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with Stage() as stage:
        put_up_hub(stage, REPOSITORY)
        for name, value in stage.variables.items():
            monkeypatch.setenv(name, value)
        yield stage


@pytest.fixture
def folder(stage: Stage) -> Path:
    return model.write(REPOSITORY.files, stage.work / "model")


def wrong(folder: Path) -> list[str]:
    return [item.path for item in REPOSITORY.files if not (folder / item.path).is_file() or (folder / item.path).read_bytes() != item.data]


def data(path: str) -> bytes:
    found = REPOSITORY.file(path)
    assert found is not None
    return found.data


def test_a_folder_without_a_source_is_left_alone(stage: Stage, folder: Path) -> None:
    """Not even where its config names a repository: anybody can write that."""
    (folder / SHARD).write_bytes(b"")
    mended = mend(str(folder))
    assert mended.done == []
    assert "--diagnose-repair-from" in mended.cannot
    assert [request for requests in stage.visits.values() for request in requests] == []


def test_a_healthy_folder_needs_no_source(folder: Path) -> None:
    """Nothing to repair is no reason to ask for anything."""
    mended = mend(str(folder))
    assert (mended.done, mended.cannot, mended.after.verdict) == ([], "nothing of it is missing, cut, corrupt or misplaced", "healthy")


def test_a_folder_is_put_right_from_the_repository_that_was_named(folder: Path) -> None:
    """Cut, empty, missing, of the tokenizer and of the weights; what lay there is kept beside."""
    os.truncate(folder / SHARD, 5000)
    (folder / "model-00001-of-00002.safetensors").unlink()
    (folder / "tokenizer.json").write_bytes(b"")
    mended = mend(str(folder), named=REPOSITORY.name)
    assert sorted(mended.outcomes) == [
        ("corrupt", "tokenizer.json", "repaired"),
        ("cut", SHARD, "repaired"),
        ("missing", "model-00001-of-00002.safetensors", "repaired"),
    ]
    assert (mended.after.verdict, wrong(folder)) == ("healthy", [])
    assert sorted(path.name.partition(".corrupt-")[0] for path in folder.glob("*.corrupt-*")) == [SHARD, "tokenizer.json"]
    assert (next(folder.glob(f"{SHARD}.corrupt-*"))).stat().st_size == 5000
    assert not (folder / ".diagnostics-repair").exists()


def test_an_edited_file_stays(folder: Path) -> None:
    """It is whole: that it differs from the source's is its owner's wish."""
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    (folder / SHARD).unlink()
    mended = mend(str(folder), named=REPOSITORY.name)
    assert mended.outcomes == [("missing", SHARD, "repaired")]
    assert wrong(folder) == ["config.json"]


def test_a_folder_of_another_model_is_not_mixed(folder: Path) -> None:
    """The other shard is not the source's: nothing is put beside it."""
    (folder / SHARD).unlink()
    (folder / "model-00001-of-00002.safetensors").write_bytes(model.safetensors({"embeddings.word_embeddings.weight": (10, 10)}))
    mended = mend(str(folder), named=REPOSITORY.name)
    assert mended.done == []
    assert not (folder / SHARD).exists()


def test_a_link_in_a_folder_is_replaced_and_what_it_leads_to_is_not(folder: Path, stage: Stage) -> None:
    """Somebody else's file at its end may be anybody's."""
    shared = stage.work / "shared.safetensors"
    shared.write_bytes(data(SHARD)[:5000])
    (folder / SHARD).unlink()
    (folder / SHARD).symlink_to(shared)
    mended = mend(str(folder), named=REPOSITORY.name)
    assert [item.outcome for item in mended.done] == ["repaired"]
    assert (wrong(folder), shared.stat().st_size) == ([], 5000)
    assert next(folder.glob(f"{SHARD}.corrupt-*")).is_symlink()


@pytest.mark.parametrize("damage", [truncated, flipped, broken_link])
def test_a_snapshot_named_by_its_path_is_a_cache(damage: object, stage: Stage) -> None:
    """Its path says which repository and which commit; blobs and links are put right, not the folder of links."""
    fill_cache(stage, REPOSITORY)
    cached = Cached(stage.hub_cache, REPOSITORY)
    damage(cached)  # type: ignore[operator]
    mended = mend(str(cached.link("config.json").parent))
    assert [(item.repair.path, item.outcome) for item in mended.done] == [(SHARD, "repaired")], (mended.done, mended.cannot)
    assert (mended.after.verdict, cached.wrong(), cached.left()) == ("healthy", [], [])
    assert cached.link(SHARD).is_symlink()


def files_app(headers: tuple[tuple[str, str], ...] = ()) -> App:
    known = {item.path: item for item in REPOSITORY.files}

    def app(request: object) -> object:
        found = known.get(request.path.rpartition("/")[2])  # type: ignore[attr-defined]
        return file(found.data, found.sha256, headers=headers) if found else text("no", 404)

    return app  # type: ignore[return-value]


def test_a_list_puts_a_folder_right(stage: Stage, folder: Path) -> None:
    """A manifest with digests; what it does not publish a digest of is judged by its own tables."""
    base = stage.web("files.example", files_app())
    entries = "".join(f'[[files]]\npath = "{item.path}"\nbytes = {len(item.data)}\nsha256 = "{item.sha256}"\n' for item in REPOSITORY.files)
    (stage.work / "files.toml").write_text(f'base = "{base}/x/"\n{entries}')
    os.truncate(folder / SHARD, 5000)
    (folder / "tokenizer.json").write_text("<html><title>no</title></html>")
    mended = mend(str(folder), named=str(stage.work / "files.toml"))
    assert sorted(mended.outcomes) == [("corrupt", "tokenizer.json", "repaired"), ("cut", SHARD, "repaired")], mended.done
    assert (mended.after.verdict, wrong(folder)) == ("healthy", [])


def test_a_signed_url_puts_one_file_right_and_shows_nowhere(stage: Stage, folder: Path, tmp_path: Path) -> None:
    """Through the real command: the query of the address is in no output."""
    base = stage.web("files.example", files_app())
    os.truncate(folder / SHARD, 5000)
    url = f"{base}/x/{SHARD}?X-Amz-Signature={'c0ffee' * 8}#sha256={REPOSITORY.file(SHARD).sha256}"  # type: ignore[union-attr]
    import sys

    command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={folder}", f"--diagnose-repair-from={url}", f"--diagnose-report={tmp_path}"]
    outcome = run(command, tmp_path, stage.environment(), cwd=stage.work)
    assert outcome.code == 0, outcome.output
    assert [(item["path"], item["outcome"]) for item in outcome.document["repairs"]] == [(SHARD, "repaired")]
    assert "c0ffeec0ffee" not in outcome.everything()


def test_a_source_that_is_none_is_said(folder: Path) -> None:
    """A folder, a list that does not exist, a repository that does not exist."""
    (folder / SHARD).unlink()
    for named in ("./nowhere", "list:nothing", "lab/unknown"):
        mended = mend(str(folder), named=named)
        assert {item.outcome for item in mended.done} <= {"refused"}
        assert mended.cannot, named
        assert not (folder / SHARD).exists()


@pytest.mark.parametrize(
    ("command", "sentence"), [("--diagnose-repair", "a repair needs a target"), ("--diagnose=demo:file-truncated --diagnose-repair", "a demo is gone")]
)
def test_what_cannot_be_repaired_says_why(command: str, sentence: str, stage: Stage, tmp_path: Path) -> None:
    """No target; a world of the demo."""
    import sys

    outcome = run(
        [sys.executable, "-m", "pytest", "diagnostics", *command.split(), f"--diagnose-report={tmp_path}", "-k", "files or dns"],
        tmp_path,
        stage.environment(),
        cwd=stage.work,
    )
    assert sentence in " ".join(outcome.output.split()), outcome.output
    assert outcome.document["not_repaired"].startswith(sentence)


def test_a_dataset_is_a_repository_too(stage: Stage) -> None:
    """datasets--… in the cache, /datasets/ in the addresses."""
    fill_cache(stage, REPOSITORY)
    folder = stage.hub_cache / "models--lab--tiny-bert"
    folder.rename(stage.hub_cache / "datasets--lab--tiny-bert")
    blob = stage.hub_cache / "datasets--lab--tiny-bert" / "blobs" / REPOSITORY.file(SHARD).sha256  # type: ignore[union-attr]
    os.truncate(blob, 5000)
    mended = mend(f"dataset:{REPOSITORY.name}")
    assert [(item.repair.path, item.outcome) for item in mended.done] == [(SHARD, "repaired")], mended.done
    assert blob.read_bytes() == data(SHARD)


def test_nothing_hidden_is_written_into_a_folder(stage: Stage, folder: Path) -> None:
    """An index that names a git hook, and a source that has one: whoever made both does not get to run it."""
    hook = model.ModelFile(path=".git/hooks/post-checkout", data=b"#!/bin/sh\n")
    hostile = Repository(name="lab/hostile", files=(*REPOSITORY.files, hook))
    stage.variables["HF_ENDPOINT"] = os.environ["HF_ENDPOINT"] = stage.web("hostile.example", hubs.hub(hostile))
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["x"] = hook.path
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / SHARD).unlink()
    mended = mend(str(folder), named="lab/hostile")
    assert ("missing", SHARD, "repaired") in mended.outcomes
    assert [item.outcome for item in mended.done if item.repair.path == hook.path] in ([], ["failed"])
    assert not (folder / ".git").exists()


# --- clones without git-lfs ---------------------------------------------------------------------------------------------------


def cloned(folder: Path, url: str, commit: str = REPOSITORY.commit) -> None:
    """A clone as git without git-lfs leaves it: pointers in place of what is large."""
    git = folder / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "config").write_text(f'[core]\n\tbare = false\n[remote "origin"]\n\turl = {url}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch "main"]\n')
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs" / "heads" / "main").write_text(f"{commit}\n")
    for item in REPOSITORY.files:
        if item.large:
            (folder / item.path).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{item.sha256}\nsize {len(item.data)}\n")


def test_pointers_of_a_clone_are_replaced_by_what_they_name(stage: Stage, folder: Path) -> None:
    """From the hub that this environment points to, at the clone's own commit; what else is missing in it is its owner's."""
    cloned(folder, f"{stage.variables['HF_ENDPOINT']}/{REPOSITORY.name}.git")
    (folder / "vocab.txt").unlink()
    mended = mend(str(folder))
    assert sorted(mended.outcomes) == [("corrupt", f"model-0000{number}-of-00002.safetensors", "repaired") for number in (1, 2)], (mended.done, mended.cannot)
    assert wrong(folder) == ["vocab.txt"]
    assert len(list(folder.glob("*.corrupt-*"))) == 2


@pytest.mark.parametrize("url", ["https://elsewhere.example/lab/tiny-bert", "git@github.com:lab/tiny-bert.git", "", "https://[", "file:///etc"])
def test_a_clone_from_elsewhere_is_no_source(url: str, stage: Stage, folder: Path) -> None:
    """Only the hub that this environment points to is asked."""
    cloned(folder, url)
    mended = mend(str(folder))
    assert mended.done == []
    assert "--diagnose-repair-from" in mended.cannot
    assert [request for requests in stage.visits.values() for request in requests] == []


def test_a_pointer_to_other_content_is_not_fetched(stage: Stage, folder: Path) -> None:
    """What the hub has under this name is not what the pointer names."""
    cloned(folder, f"{stage.variables['HF_ENDPOINT']}/{REPOSITORY.name}")
    (folder / SHARD).write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 794816\n")
    mended = mend(str(folder))
    assert mended.done == []
    assert (folder / SHARD).read_text().startswith("version ")


def test_a_list_gives_each_file_its_own_path(stage: Stage, tmp_path: Path) -> None:
    """Two parts of a pipeline have a config.json each: the paths of the list count, not the ends of its addresses."""
    text = "".join(f'[[files]]\npath = "{part}/config.json"\nurl = "http://127.0.0.1:9/{part}/config.json"\n' for part in ("unet", "text_encoder"))
    (tmp_path / "files.toml").write_text(text)
    look = prepare(f"list:{tmp_path / 'files.toml'}", wanted=frozenset())
    found = _found(look.case(), look, _source(look.case(), look))
    look.stop()
    assert [found.url(f"{part}/config.json") for part in ("unet", "text_encoder")] == [
        f"http://127.0.0.1:9/{part}/config.json" for part in ("unet", "text_encoder")
    ]
    assert found.url("config.json") == ""


def test_a_ref_stays_where_its_files_could_not_be_had(tmp_path: Path) -> None:
    """The cache works offline by the ref it has: it is not led to a commit of which nothing is here."""
    folder, old, new = tmp_path / "models--a--b", "a" * 40, "b" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text(old)
    (folder / "snapshots" / old).mkdir(parents=True)
    missing = Repair(kind="missing", path="model.safetensors", location="", why="", how="fetch", blob="c" * 64, size=10, bytes=10)
    ref = Repair(kind="stale", path="refs/main", location="", why="", how="write")
    means = Means(environment=Environment(), secrets=Secrets(), target=Target(spec="a/b", kind="hub", name="a/b"), commit=new, obstacle="the CDN is blocked")
    done = list(perform((missing, ref), Place(kind="cache", folder=str(folder), entries=str(folder / "snapshots" / new)), means))
    assert [item.outcome for item in done] == ["refused", "refused"]
    assert (folder / "refs/main").read_text() == old
