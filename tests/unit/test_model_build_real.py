"""The real transformers builds what it saved itself: tiny models of every type it has, no false alarm; and what is changed in them is found.

The full size, every type: ``EVERY=1 pytest tests/unit/test_model_build_real.py``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import ABSENT, Distribution, Environment, Misfit, Model, ModelBuild, Unseen
from diagnostics.environment.process import variables
from diagnostics.probes import model_build
from diagnostics.probes.files import see_files
from diagnostics.probes.model import Weights, see_model, weights_of
from tests.unit.files_made import folder_target
from tests.unit.test_model import HERE, model, renamed, without

if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
    pytest.skip("tried in a second environment (.ci/run): transformers and torch are not installed", allow_module_level=True)

EVERY = int(os.environ.get("EVERY", "4"))  # each fourth type
MOST_PARAMETERS = 3_000_000
TASKS = ("CAUSAL_LM", "MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_CLASSIFICATION")
# Keys by which configurations are made small, wherever a type has them.
SMALL = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "image_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers", "n_layers", "num_key_value_heads", "num_experts_per_tok", "num_attention_groups"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "num_heads", "encoder_attention_heads", "decoder_attention_heads", "n_heads", "num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("intermediate_size", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim", "hidden_dim", "ffn_dim"), 48),
    **dict.fromkeys(("head_dim", "d_kv", "patch_size"), 8),
    "vocab_size": 120, "max_position_embeddings": 64, "moe_intermediate_size": 16, "embedding_size": 16, "pad_token_id": 0,
}  # fmt: skip


def kinds() -> Iterator[tuple[str, str, str]]:
    """(model type, configuration, class) of everything this transformers has."""
    from transformers.models.auto import modeling_auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    mappings = [getattr(modeling_auto, f"MODEL_FOR_{task}_MAPPING_NAMES") for task in TASKS] + [modeling_auto.MODEL_MAPPING_NAMES]
    for kind, config in CONFIG_MAPPING_NAMES.items():
        name = next((mapping[kind] for mapping in mappings if kind in mapping), None)
        if name:
            yield kind, config, name if isinstance(name, str) else name[0]


def saved(folder: Path, config: str, name: str) -> bool:
    """Whether a tiny model of this type could be made and saved here: some need other packages, some cannot be made so small."""
    import torch
    import transformers

    try:
        kind = getattr(transformers, config)
        own = kind()
        keys = {key: value for key, value in SMALL.items() if isinstance(getattr(own, key, None), int)}
        with torch.device("meta"):
            size = sum(parameter.numel() for parameter in getattr(transformers, name)(kind(**keys)).parameters())
        if size > MOST_PARAMETERS:
            return False
        getattr(transformers, name)(kind(**keys)).save_pretrained(folder)
    except Exception:  # noqa: BLE001  # theirs, of any kind: this type is left out
        return False
    return True


def build_of(folder: Path) -> tuple[Model | Unseen, ModelBuild | Unseen, list[Misfit]]:
    """The program of the child, in a fork that has torch already: its import costs more than all the rest."""
    files = see_files(folder_target(folder), HERE, ABSENT)
    weights = weights_of(files, {})
    assert isinstance(weights, Weights)
    told = see_model(folder_target(folder), HERE, files)
    if (reason := model_build._why_not(weights, HERE)) is not None:
        return told, reason, []
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(model_build.question(weights))
        asked.seek(0)
        child = os.fork()
        if child == 0:
            try:
                os.dup2(asked.fileno(), 0)
                os.dup2(said.fileno(), 1)
                sys.stdin = open(0)  # noqa: SIM115
                exec(model_build.PROGRAM, {})
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        said.seek(0)
        line = next(line for line in said.read().decode().splitlines() if line.startswith(model_build.MARK))
    build = model_build._record(json.loads(line.removeprefix(model_build.MARK)), weights, "python", 0.0)
    return told, build, model_build.misfits_of(build, weights.file)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import transformers

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()


@pytest.mark.filterwarnings("ignore")
def test_what_transformers_saves_it_builds_without_a_misfit(tmp_path: Path) -> None:
    """Every fourth type (EVERY=1: all): neither the headers nor the build have anything to say, and nearly all can be built."""
    wrong, looked, failed = {}, 0, []
    for kind, config, name in list(kinds())[::EVERY]:
        folder = tmp_path / kind
        if saved(folder, config, name):
            told, build, misfits = build_of(folder)
            looked += 1
            failed += [kind] if not (isinstance(build, ModelBuild) and build.outcome == "built") else []
            if misfits or (isinstance(told, Model) and told.misfits):
                wrong[kind] = [
                    (misfit.code, misfit.name, misfit.seen, misfit.expected) for misfit in (*misfits, *(told.misfits if isinstance(told, Model) else ()))
                ]
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{looked} types; not built: {failed}")
    assert wrong == {}
    assert looked >= 150 // EVERY and len(failed) <= looked // 10


CHANGES: dict[str, tuple[dict[str, Any], dict[str, tuple[int, ...]] | None, list[str]]] = {
    "as it is": ({}, None, []),
    "a layer is gone": ({}, without("layer.1."), ["tensors-missing"]),
    "a prefix": ({}, renamed(lambda name: f"module.{name}"), ["tensors-misnamed"]),
    "another width": ({"intermediate_size": 40}, None, ["shape-mismatch"]),
    "another vocabulary": ({"vocab_size": 77, "pad_token_id": 0}, None, ["vocabulary-mismatch"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_was_changed_is_found_by_the_build_alone(tmp_path: Path, name: str) -> None:
    """Without our tables: the loader's own view of names and shapes."""
    config, shapes, expected = CHANGES[name]
    _, build, misfits = build_of(model(tmp_path / "m", config, shapes))
    assert isinstance(build, ModelBuild) and build.outcome == "built", build
    assert [misfit.code for misfit in misfits] == expected


def test_code_of_the_models_own_is_never_run(tmp_path: Path) -> None:
    """auto_map names a file beside the config; nothing imports it."""
    folder = model(tmp_path / "m", {"model_type": "own", "architectures": ["Own"], "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}})
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    _, build, misfits = build_of(folder)
    assert isinstance(build, ModelBuild) and (build.outcome, build.stage) == ("failed", "config") and misfits == []
    assert not (tmp_path / "ran").exists()


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The whole way, with this interpreter: seconds for torch, and an answer."""
    folder = model(tmp_path / "m")
    installed = Environment(distributions=(Distribution(name="torch", version="2"), Distribution(name="transformers", version="5")))
    files = see_files(folder_target(folder), installed, ABSENT)
    seen = model_build.with_build(see_model(folder_target(folder), installed, files), weights_of(files, {}), installed, sys.executable, 120.0, variables())
    assert isinstance(seen, Model) and isinstance(seen.build, ModelBuild) and seen.build.outcome == "built", seen
    assert seen.misfits == ()
