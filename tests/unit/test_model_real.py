"""Against the real thing, where transformers and torch are installed (they are no dependency): what they save is healthy, what we fault they refuse or load amiss."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.unit.test_model import MISFITS, model, roots

if importlib.util.find_spec("transformers") is None or importlib.util.find_spec("torch") is None:
    pytest.skip("tried in a second environment (.ci/run): transformers and torch are not installed", allow_module_level=True)

SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 120}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
T5 = {"vocab_size": 120, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
PARTS = {key: value for key, value in SMALL.items() if key != "vocab_size"}
VISION = {**PARTS, "image_size": 32, "patch_size": 8}
WHISPER = {
    "vocab_size": 120, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
REAL: list[tuple[str, str, dict[str, Any]]] = [
    ("BertConfig", "BertForMaskedLM", SMALL),
    ("BertConfig", "BertForSequenceClassification", {**SMALL, "num_labels": 5}),
    ("RobertaConfig", "RobertaForSequenceClassification", {**SMALL, "num_labels": 3}),
    ("XLMRobertaConfig", "XLMRobertaModel", SMALL),
    ("ElectraConfig", "ElectraForMaskedLM", {**SMALL, "embedding_size": 16}),
    ("DistilBertConfig", "DistilBertForMaskedLM", {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": 120, "n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    ("LlamaConfig", "LlamaForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    ("LlamaConfig", "LlamaForCausalLM", {**SMALL, "tie_word_embeddings": True}),
    ("MistralConfig", "MistralForCausalLM", GROUPED),
    ("Qwen2Config", "Qwen2ForCausalLM", {**SMALL, "num_key_value_heads": 2}),
    ("Qwen3Config", "Qwen3ForCausalLM", GROUPED),
    ("GemmaConfig", "GemmaForCausalLM", GROUPED),
    ("Gemma2Config", "Gemma2ForCausalLM", GROUPED),
    ("Gemma3TextConfig", "Gemma3ForCausalLM", GROUPED),
    ("T5Config", "T5ForConditionalGeneration", T5),
    ("T5Config", "T5EncoderModel", T5),
    ("MT5Config", "MT5ForConditionalGeneration", T5),
    ("ViTConfig", "ViTForImageClassification", VISION),
    ("CLIPConfig", "CLIPModel", {"text_config": {**SMALL, "max_position_embeddings": 20}, "vision_config": VISION, "projection_dim": 16}),
    ("CLIPTextConfig", "CLIPTextModel", SMALL),
    ("WhisperConfig", "WhisperForConditionalGeneration", WHISPER),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.logging.set_verbosity_error()


@pytest.mark.parametrize(("config", "kind", "keys"), REAL, ids=[f"{kind}-{number}" for number, (_, kind, _) in enumerate(REAL)])
def test_what_transformers_saves_is_healthy(tmp_path: Path, config: str, kind: str, keys: dict[str, Any]) -> None:
    """Whole, in shards, as a pickle and as a legacy pickle: no root."""
    import torch
    import transformers

    made = getattr(transformers, kind)(getattr(transformers, config)(**keys))
    made.save_pretrained(tmp_path / "whole")
    made.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    for name, new in (("zip", True), ("legacy", False)):
        shutil.copytree(tmp_path / "whole", tmp_path / name, ignore=lambda folder, names: ["model.safetensors"])
        torch.save(made.state_dict(), tmp_path / name / "pytorch_model.bin", _use_new_zipfile_serialization=new)
    assert {name: roots(tmp_path / name) for name in ("whole", "shards", "zip", "legacy")} == {"whole": [], "shards": [], "zip": [], "legacy": []}


@pytest.mark.parametrize("name", [name for name in MISFITS if "nobody knows" not in name])
def test_what_we_fault_transformers_refuses_or_loads_amiss(tmp_path: Path, name: str) -> None:
    """An exception, or tensors that are missing, left over or mismatched; the healthy twin has none of it."""
    import transformers

    def amiss(folder: Path, architecture: str) -> bool:
        try:
            _, said = getattr(transformers, architecture).from_pretrained(folder, output_loading_info=True)
        except (OSError, ValueError, RuntimeError, KeyError, AssertionError):
            return True
        return any(said[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))

    _, config, shapes = MISFITS[name]
    kind = config.get("architectures", ["GPT2Model" if config.get("model_type") == "gpt2" else "BertModel"])[0]
    if name == "no model_type":
        kind = "AutoModel"
    assert amiss(model(tmp_path / "bad", config, shapes), kind)
    assert not amiss(model(tmp_path / "good"), "BertModel")
