"""The hub's cache: what is there at a revision, what is remembered, what was left."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from diagnostics.case import ABSENT, Case, ClientUse, Environment, Listing, RemoteFile, Target, Unseen, Variable
from diagnostics.checks import test_files as checks
from diagnostics.diagnosis import diagnose
from diagnostics.probes import cache
from diagnostics.probes.files import missing_bytes, see_files
from diagnostics.probes.files_wanted import wanted_files
from tests.unit.files_made import COMMIT, cached, codes, faults_of, hub_target, listing_of, safetensors, seen_cached, tiny

OFFLINE = (Variable(name="HF_HUB_OFFLINE", value="1", truthy=True),)


def target_of_hub_2() -> Target:
    return dataclasses.replace(hub_target(), client=ClientUse(family="huggingface_hub-2", version="2.4.0"))


def offline_roots(hub: Path) -> list[str]:
    target = target_of_hub_2()
    environment = Environment(caches={"hub": str(hub)}, offline=OFFLINE)
    files = see_files(target, environment, ABSENT)
    faults = [*faults_of(checks.test_everything_asked_for_is_here, files=files, target=target, environment=environment)]
    faults += faults_of(checks.test_files_are_what_their_names_say, files=files, target=target, environment=environment)
    return [fault.code for fault in faults]


def test_a_whole_snapshot_is_complete(tmp_path: Path) -> None:
    """Everything in the hub's list is here: nothing to fetch, no defect."""
    contents = tiny()
    cached(tmp_path, contents)
    files = seen_cached(tmp_path, listing_of(contents))
    assert files.commit == COMMIT and files.exists and codes(files) == {} and files.missing == ()
    assert missing_bytes(listing_of(contents), files) == 0


def test_a_whole_snapshot_is_complete_offline_without_a_list(tmp_path: Path) -> None:
    """Older clients remember no tree: config, weights and tokenizer are enough."""
    cached(tmp_path, tiny(), tree=False)
    assert offline_roots(tmp_path) == [] and missing_bytes(ABSENT, seen_cached(tmp_path)) == 0


def test_what_is_still_to_come(tmp_path: Path) -> None:
    """The published sizes of what counts and is not here."""
    contents = tiny()
    cached(tmp_path, {"config.json": contents["config.json"]}, tree=False)
    listing = listing_of(contents)
    files = seen_cached(tmp_path, listing)
    assert files.missing == ("tokenizer.json", "model.safetensors")
    assert missing_bytes(listing, files) == len(contents["tokenizer.json"]) + len(contents["model.safetensors"])
    assert missing_bytes(listing, ABSENT) == sum(map(len, contents.values()))


def test_a_blob_that_is_not_linked_is_not_fetched_again(tmp_path: Path) -> None:
    """Another revision brought the same content: the client only links it."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    (folder / "snapshots" / COMMIT / "model.safetensors").unlink()
    assert missing_bytes(listing_of(contents), seen_cached(tmp_path, listing_of(contents))) == 0


def test_sizes_that_nobody_knows() -> None:
    """No list, no sizes: unknown, not nought."""
    listing = Listing(source="hub", files=(RemoteFile(path="a"),), wanted=("a",))
    assert isinstance(missing_bytes(listing, ABSENT), Unseen) and isinstance(missing_bytes(ABSENT, ABSENT), Unseen)


def test_nothing_cached(tmp_path: Path) -> None:
    """An empty cache: nothing is there, which is a fault only offline."""
    files = seen_cached(tmp_path / "hub")
    assert not files.exists and codes(files) == {"org/tiny": "model-not-cached"}
    assert offline_roots(tmp_path / "hub") == ["not-cached"]


def test_partly_cached_offline(tmp_path: Path) -> None:
    """Weights that the tree names and the cache lacks: not cached; a README that it lacks: nothing."""
    contents = tiny() | {"README.md": b"# hello"}
    folder = cached(tmp_path, contents)
    (folder / "snapshots" / COMMIT / "README.md").unlink()
    assert offline_roots(tmp_path) == []
    (folder / "snapshots" / COMMIT / "model.safetensors").unlink()
    for blob in (folder / "blobs").iterdir():
        if blob.stat().st_size > 5000:
            blob.unlink()
    assert offline_roots(tmp_path) == ["not-cached"]


def test_shards_that_the_cached_index_names(tmp_path: Path) -> None:
    """Offline, without a tree: the index tells which shards are not here."""
    index = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}).encode()
    contents = {"config.json": tiny()["config.json"], "model.safetensors.index.json": index, "model-00001-of-00002.safetensors": safetensors()}
    cached(tmp_path, contents, tree=False, large=("model-00001-of-00002.safetensors",))
    assert seen_cached(tmp_path).missing == ("model-00002-of-00002.safetensors",)
    assert offline_roots(tmp_path) == ["not-cached"]


def test_a_broken_link_is_an_error_only_offline(tmp_path: Path) -> None:
    """Online the client makes blob and link anew."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    (folder / "snapshots" / COMMIT / "model.safetensors").resolve().unlink()
    files = seen_cached(tmp_path, listing_of(contents))
    assert codes(files)["model.safetensors"] == "cache-link-broken"
    faults = faults_of(checks.test_files_are_what_their_names_say, files=files, target=hub_target(), environment=Environment())
    assert [(fault.code, fault.severity) for fault in faults] == [("cache-link-broken", "warning")]
    assert offline_roots(tmp_path) == ["cache-link-broken"]
    environment = Environment(caches={"hub": str(tmp_path)}, offline=OFFLINE)
    found = diagnose(Case(target=target_of_hub_2(), environment=environment, files=files))
    assert [item.cause for item in found] == ["cache-link-broken"]
    assert [remedy.run for remedy in found[0].remedies] == [
        "env -u HF_HUB_OFFLINE pytest diagnostics --diagnose org/tiny --diagnose-repair",
        "env -u HF_HUB_OFFLINE hf download org/tiny model.safetensors --force-download",
    ]


def test_a_damaged_blob_is_an_error_online_too(tmp_path: Path) -> None:
    """The client takes what lies in the cache for good."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    (folder / "snapshots" / COMMIT / "model.safetensors").resolve().write_bytes(contents["model.safetensors"][:100])
    files = seen_cached(tmp_path, listing_of(contents))
    target = hub_target()
    found = diagnose(Case(target=target, files=files))
    assert [item.cause for item in found] == ["file-truncated"]
    assert [remedy.run for remedy in found[0].remedies[:2]] == [
        "pytest diagnostics --diagnose org/tiny --diagnose-repair",
        "hf download org/tiny model.safetensors --force-download",
    ]


def test_downloads_that_were_cut_short_are_listed(tmp_path: Path) -> None:
    """Of old and of new clients; no fault online, where the client begins again."""
    folder = cached(tmp_path, tiny())
    (folder / "blobs" / ("a" * 64 + ".incomplete")).write_bytes(b"123")
    (folder / "blobs" / ("b" * 64 + ".12345678.incomplete")).write_bytes(b"1")
    files = seen_cached(tmp_path)
    assert [seen.bytes for seen in files.unfinished] == [3, 1]
    assert faults_of(checks.test_nothing_is_left_half_downloaded, files=files, target=hub_target(), environment=Environment()) == []


def test_shared_blobs_are_inside(tmp_path: Path) -> None:
    """2.x links a repository's blob to one shared store: that is no link out of the cache."""
    contents = tiny()
    folder = cached(tmp_path, contents)
    blob = (folder / "snapshots" / COMMIT / "model.safetensors").resolve()
    shared = tmp_path / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(f"../../blobs/ab/{'ab' * 32}")
    files = seen_cached(tmp_path, listing_of(contents))
    assert codes(files) == {} and {seen.content for seen in files.files} == {"json", "safetensors"}


def test_a_link_out_of_the_cache_is_not_read(tmp_path: Path) -> None:
    """A snapshot's entry that leads elsewhere is listed, not opened."""
    folder = cached(tmp_path / "hub", tiny())
    (tmp_path / "private").write_bytes(b"{")
    link = folder / "snapshots" / COMMIT / "tokenizer.json"
    link.unlink()
    link.symlink_to(tmp_path / "private")
    seen = next(seen for seen in seen_cached(tmp_path / "hub").files if seen.path == "tokenizer.json")
    assert (seen.content, seen.defects) == ("link-elsewhere", ())


@pytest.mark.parametrize(
    "tree",
    [
        b"",
        b"[]",
        b"{",
        b'{"format_version": 1, "files": []}',
        b'{"format_version": 1, "files": {"../../x": {"size": 1}, "a": 7, "b": {"size": -1}}}',
        b"\xff" * 100,
    ],
)
def test_a_damaged_memory_is_no_memory(tmp_path: Path, tree: bytes) -> None:
    """trees/<commit>.json of any shape: what cannot be used is left out."""
    folder = cached(tmp_path, tiny())
    (folder / "trees" / f"{COMMIT}.json").write_bytes(tree)
    assert all(isinstance(file.bytes, Unseen) for file in cache.remembered_files(str(folder), COMMIT))
    assert codes(seen_cached(tmp_path)) == {}


def test_the_listing_that_the_cache_remembers(tmp_path: Path) -> None:
    """Offline the tree stands in for the hub's list, with digests."""
    contents = tiny()
    cached(tmp_path, contents)
    listing = cache.remembered_listing(hub_target(), Environment(caches={"hub": str(tmp_path)}))
    assert isinstance(listing, Listing) and listing.source == "cache" and listing.commit == COMMIT
    assert {file.path: file.sha256 or file.git_sha1 for file in listing.files} == {
        file.path: file.sha256 or file.git_sha1 for file in listing_of(contents).files
    }
    assert isinstance(cache.remembered_listing(hub_target("org/other"), Environment(caches={"hub": str(tmp_path)})), Unseen)


@pytest.mark.parametrize("revision", ["../../../etc/passwd", "/etc/passwd", "main/..", "nope"])
def test_a_revision_stays_in_the_refs(tmp_path: Path, revision: str) -> None:
    """A revision is no way out of the folder."""
    folder = cached(tmp_path, tiny())
    assert cache.commit_of(str(folder), revision, ABSENT) == ""
    assert cache.commit_of(str(folder), "main", ABSENT) == COMMIT == cache.commit_of(str(folder), COMMIT, ABSENT)


def test_data_sets_have_their_own_folder(tmp_path: Path) -> None:
    """datasets--org--name, not models--."""
    target = Target(spec="dataset:org/name", kind="hub", name="org/name", repository_type="dataset")
    assert cache.repository_folder(target, Environment(caches={"hub": str(tmp_path)})) == str(tmp_path / "datasets--org--name")


WANTED = {
    "safetensors before the rest": (("config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "onnx/model.onnx", "vocab.txt", "README.md", ".gitattributes"), ("config.json", "model.safetensors", "vocab.txt")),
    "a whole file before shards": (("config.json", "model.safetensors", "model-00001-of-00001.safetensors", "model.safetensors.index.json"), ("config.json", "model.safetensors")),
    "not the original release": (("config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json", "original/consolidated.00.pth", "consolidated.safetensors"), ("config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json")),
    "no variant where the plain is": (("config.json", "pytorch_model.bin", "model.fp16.safetensors"), ("config.json", "pytorch_model.bin")),
    "the parts of a pipeline": (("model_index.json", "all-in-one.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin", "scheduler/scheduler_config.json"), ("model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json")),
    "the modules of sentence-transformers": (("modules.json", "config.json", "model.safetensors", "1_Pooling/config.json", "openvino/openvino_model.bin"), ("modules.json", "config.json", "model.safetensors", "1_Pooling/config.json")),
    "one quantisation": (("a.Q2_K.gguf", "a.Q4_K_M.gguf", "a.Q8_0.gguf"), ("a.Q4_K_M.gguf",)),
    "all of a data set": (("data/train.parquet", "README.md", ".gitattributes"), ("data/train.parquet", "README.md")),
    "no checkpoints of the training": (("config.json", "model.safetensors", "optimizer.pt", "training_args.bin", "checkpoint-500/model.safetensors"), ("config.json", "model.safetensors")),
}  # fmt: skip


@pytest.mark.parametrize("name", WANTED)
def test_which_files_count(name: str) -> None:
    """The loader's own choice, by names alone."""
    paths, wanted = WANTED[name]
    assert wanted_files(paths, "transformers") == wanted


def test_patterns_say_otherwise() -> None:
    """--diagnose-files decides, against the whole path or its last part."""
    paths = ("config.json", "a/b.gguf", "a/c.bin")
    assert wanted_files(paths, "transformers", ("*.gguf",)) == ("a/b.gguf",)
    assert wanted_files(paths, "transformers", ("a/",)) == ("a/b.gguf", "a/c.bin")
