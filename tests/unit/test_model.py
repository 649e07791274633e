"""The model: config, tokenizer and weights that fit, and each way in which they do not, beside the healthy twin; probes on real files, then diagnose."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, Diagnosis, Distribution, Environment, Model, Target, Variable
from diagnostics.causes import model as causes
from diagnostics.diagnosis import judge
from diagnostics.facts import architectures
from diagnostics.lab import formats as made
from diagnostics.lab import model as lab
from diagnostics.probes.files import see_files
from diagnostics.probes.formats import Tensor
from diagnostics.probes.model import see_model
from diagnostics.probes.model_fit import compare
from diagnostics.probes.model_tokenizer import see_tokenizer
from tests.unit.files_made import folder_target

INSTALLED = (
    Distribution(name="torch", version="2.13.0"),
    Distribution(name="transformers", version="5.24.0"),
    Distribution(name="tokenizers", version="0.22.2"),
)
HERE = Environment(distributions=INSTALLED)
SHAPE = lab.TINY
Shapes = dict[str, tuple[int, ...]]


def model(folder: Path, config: dict[str, Any] | None = None, shapes: Shapes | None = None, **changes: Any) -> Path:
    """The lab's tiny BERT, with other tensors, and with ``config``'s keys changed (None takes one out)."""
    lab.write(lab.tiny_bert(), folder)
    whole = json.loads((folder / "config.json").read_text()) | (config or {})
    (folder / "config.json").write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
    if shapes is not None:
        (folder / "model.safetensors").write_bytes(lab.safetensors(shapes))
    for name, content in changes.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def seen(folder: Path, environment: Environment = HERE) -> Case:
    target = folder_target(folder)
    files = see_files(target, environment, ABSENT)
    return Case(target=target, environment=environment, files=files, model=see_model(target, environment, files))


def judged(folder: Path, environment: Environment = HERE) -> list[Diagnosis]:
    judgement = judge(seen(folder, environment))
    assert not [result.reason for result in judgement.results if result.outcome == "error"]
    return list(judgement.diagnoses)


def roots(folder: Path, environment: Environment = HERE) -> list[str]:
    return [found.cause for found in judged(folder, environment)]


BERT = lab.tensors(SHAPE)


def without(*parts: str) -> Shapes:
    return {name: shape for name, shape in BERT.items() if not any(part in name for part in parts)}


def renamed(rename: Callable[[str], str]) -> Shapes:
    return {rename(name): shape for name, shape in BERT.items()}


# --- healthy --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        ({}, None),
        ({}, renamed(lambda name: f"bert.{name}")),  # as a model with a head saves them
        ({}, renamed(lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"))),  # the first releases
        ({}, without("pooler")),
        ({}, {**BERT, "embeddings.position_ids": (1, 64)}),
        ({"type_vocab_size": None, "max_position_embeddings": 64}, None),  # a key left out takes its default
        ({"num_attention_heads": 8}, None),  # no shape tells
        (
            {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
            {**BERT, "classifier.weight": (3, 32), "classifier.bias": (3,)},
        ),
        ({"model_type": "something-new"}, None),
        ({"model_type": "something-new", "num_hidden_layers": 1}, None),
        ({"vocab_size": 200, "pad_token_id": 199}, None),
        ({"pad_token_id": -1}, None),
        ({"pad_token_id": None}, None),
    ],
)
def test_what_fits_is_healthy(tmp_path: Path, config: dict[str, Any], shapes: Shapes | None) -> None:
    """Prefixes that the loader knows, old names, no pooler, extra buffers, defaults, heads, types nobody knows: no root."""
    assert roots(model(tmp_path, config, shapes)) == []


def test_what_was_seen_is_recorded(tmp_path: Path) -> None:
    """Type, rows, parameters, tokenizer: in the record, which survives JSON."""
    found = seen(model(tmp_path)).model
    assert isinstance(found, Model) and (found.model_type, found.rows, found.tensors) == ("bert", SHAPE.vocabulary, len(BERT))
    assert found.tokenizer and found.tokenizer.largest_id == SHAPE.vocabulary - 1 and found.parameters > 10_000 and found.compared == len(BERT)
    assert codec.decode(Model, json.loads(json.dumps(codec.encode(found)))) == found


def test_a_smaller_tokenizer_is_no_fault(tmp_path: Path) -> None:
    """Embeddings are padded to round sizes: fewer ids than rows is how most models are."""
    assert roots(model(tmp_path, {"vocab_size": 256}, lab.tensors(lab.Shape(vocabulary=256)))) == []


def test_the_same_model_in_other_forms(tmp_path: Path) -> None:
    """A zip of torch, a legacy file, shards with their index: compared alike."""
    for name, content in (("zip", made.torch_zip(BERT)), ("legacy", made.torch_legacy(BERT))):
        folder = model(tmp_path / name)
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)
        assert roots(folder) == []
        found = seen(folder).model
        assert found and found.compared == len(BERT)
    assert roots(sharded(tmp_path / "shards")) == []


def sharded(folder: Path, second: Shapes | None = None) -> Path:
    model(folder)
    (folder / "model.safetensors").unlink()
    halves = [{name: shape for name, shape in BERT.items() if ("layer.1" in name) is later} for later in (False, True)]
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {name: shard for half, shard in zip(halves, names, strict=True) for name in half}
    for shard, half in zip(names, (halves[0], second or halves[1]), strict=True):
        (folder / shard).write_bytes(lab.safetensors(half))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return folder


# --- each misfit ----------------------------------------------------------------------------------------------------------------

MISFITS: dict[str, tuple[str, dict[str, Any], Shapes | None]] = {
    "vocab_size of another base": ("vocabulary-mismatch", {"vocab_size": 28996}, None),
    "a padding id without a row": ("vocabulary-mismatch", {"pad_token_id": 200}, None),
    "hidden size": ("shape-mismatch", {"hidden_size": 64}, None),
    "intermediate size": ("shape-mismatch", {"intermediate_size": 128}, None),
    "positions": ("shape-mismatch", {"max_position_embeddings": 512}, None),
    "heads that do not divide": ("shape-mismatch", {"num_attention_heads": 5}, None),
    "more layers than there are": ("tensors-missing", {"num_hidden_layers": 12}, None),
    "fewer layers than there are": ("shape-mismatch", {"num_hidden_layers": 1}, None),
    "a layer lost": ("tensors-missing", {}, without("layer.1.")),
    "the embedding lost": ("tensors-missing", {}, without("word_embeddings")),
    "one tensor lost": ("tensors-missing", {}, without("layer.0.output.dense.weight")),
    "DataParallel": ("tensors-misnamed", {}, renamed(lambda name: f"module.{name}")),
    "DataParallel over the prefix": ("tensors-misnamed", {}, renamed(lambda name: f"module.bert.{name}")),
    "torch.compile": ("tensors-misnamed", {}, renamed(lambda name: f"_orig_mod.{name}")),
    "Lightning": ("tensors-misnamed", {}, renamed(lambda name: f"model.bert.{name}")),
    "ZeRO-3": ("tensors-unconsolidated", {}, dict.fromkeys(BERT, (0,))),
    "ZeRO-3 of the large ones": ("tensors-unconsolidated", {}, {name: (0,) if len(shape) > 1 else shape for name, shape in BERT.items()}),
    "no model_type": ("model-type-missing", {"model_type": None}, None),
    "more labels than the head has": (
        "shape-mismatch",
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}},
        {**BERT, "classifier.weight": (2, 32), "classifier.bias": (2,)},
    ),
    "a head that was never saved": ("tensors-missing", {"architectures": ["BertForSequenceClassification"]}, None),
    "a type nobody knows, fewer layers": ("tensors-missing", {"model_type": "something-new", "num_hidden_layers": 4}, None),
    "a type nobody knows, another vocabulary": ("vocabulary-mismatch", {"model_type": "something-new", "vocab_size": 5000}, None),
    "the config of GPT-2": ("tensors-missing", {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_each_misfit_is_one_root(tmp_path: Path, name: str) -> None:
    """One root, the true one, with a title that names what differs and a remedy to paste."""
    code, config, shapes = MISFITS[name]
    found = judged(model(tmp_path, config, shapes))
    assert [item.cause for item in found] == [code]
    assert not re.search(r"<\w+>", found[0].title + found[0].why)
    assert found[0].remedies and all(remedy.do and remedy.check for remedy in found[0].remedies) and found[0].evidence


def test_two_sizes_name_their_bases(tmp_path: Path) -> None:
    """28996 against 30522: the report says cased and uncased, and which of the three is the odd one out."""
    large = lab.Shape(vocabulary=30522)
    folder = model(tmp_path, {"vocab_size": 28996}, lab.tensors(large), tokenizer__json=json.dumps(lab.tokenizer(lab.vocabulary(30522))))
    (found,) = judged(folder)
    assert "bert-base-cased" in found.why and "bert-base-uncased" in found.why and "config.json" in found.remedies[0].do


@pytest.mark.parametrize(("size", "code"), [(200, []), (150, []), (201, ["vocabulary-mismatch"]), (5000, ["vocabulary-mismatch"])])
def test_ids_without_a_row(tmp_path: Path, size: int, code: list[str]) -> None:
    """A tokenizer may make fewer ids than there are rows, not one more."""
    assert roots(model(tmp_path, tokenizer__json=json.dumps(lab.tokenizer(lab.vocabulary(max(size, 120)))))) == code


def test_a_tokenizer_of_another_known_base_though_no_id_is_out_of_range(tmp_path: Path) -> None:
    """Cased ids in an uncased embedding: every word would be another."""
    folder = model(tmp_path, {"vocab_size": 30522}, lab.tensors(lab.Shape(vocabulary=30522)), tokenizer__json=json.dumps(lab.tokenizer(lab.vocabulary(28996))))
    (found,) = judged(folder)
    assert found.cause == "vocabulary-mismatch" and "bert-base-cased" in found.title and "tokenizer" in found.remedies[0].do


def test_added_tokens_without_a_row_are_a_warning(tmp_path: Path) -> None:
    """A [PAD] that was added without resize_token_embeddings breaks only when it is used; one that a type has by right is none."""
    tokenizer = lab.tokenizer(lab.vocabulary(200))
    tokenizer["added_tokens"] += [{"id": 200, "content": "<extra>", "special": True}]  # type: ignore[operator]
    (found,) = judged(model(tmp_path / "a", tokenizer__json=json.dumps(tokenizer)))
    assert (found.cause, found.severity) == ("vocabulary-mismatch", "warning") and "<extra>" in found.title
    assert architectures.model_type("gemma3_text") and "<image_soft_token>" in architectures.model_type("gemma3_text").beyond_rows  # type: ignore[union-attr]


def test_an_index_of_another_save(tmp_path: Path) -> None:
    """The index places tensors in a shard that does not hold them."""
    folder = sharded(tmp_path, second={"other.weight": (3, 3)})
    (found,) = judged(folder)
    assert found.cause == "tensors-missing" and "model.safetensors.index.json" in found.title


def test_a_broken_file_is_its_own_root(tmp_path: Path) -> None:
    """A truncated shard, a config that does not parse: nothing is said of shapes and names on top."""
    folder = sharded(tmp_path / "a")
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    assert roots(folder) == ["file-truncated"]
    shard.unlink()
    assert roots(folder) == ["shard-missing"]
    assert roots(model(tmp_path / "b", config__json='{"model_type": "bert",')) == ["json-invalid"]
    assert roots(model(tmp_path / "c", tokenizer__json='{"model": ')) == ["json-invalid"]


def test_quantised_weights_are_not_compared_as_if_they_were_not(tmp_path: Path) -> None:
    """Packed matrices have other shapes and names; the embedding is still compared."""
    packed = {(name[:-6] + "qweight" if name.endswith("dense.weight") else name): shape for name, shape in BERT.items()}
    assert roots(model(tmp_path / "a", {"quantization_config": {"quant_method": "gptq"}}, packed)) == []
    assert roots(model(tmp_path / "b", {"quantization_config": {"quant_method": "gptq"}, "vocab_size": 300}, packed)) == ["vocabulary-mismatch"]


# --- framework, type, adapters, tokenizers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "installed", "expected"),
    [
        ("tf_model.h5", made.hdf5(), (), ["error"]),
        ("tf_model.h5", made.hdf5(), (("tensorflow", "2.15.0"),), ["error"]),  # transformers 5 has no TensorFlow side
        ("flax_model.msgpack", made.flax(), (), ["error"]),
        ("onnx/model.onnx", made.onnx(), (), ["error"]),
        ("model.onnx", made.onnx(), (("onnxruntime", "1.20"),), ["warning"]),
        ("model.gguf", made.gguf(), (), ["warning"]),
        ("pytorch_model.bin", made.torch_zip(BERT), (), []),
    ],
)
def test_weights_of_another_framework(tmp_path: Path, name: str, content: bytes, installed: tuple[tuple[str, str], ...], expected: list[str]) -> None:
    """What torch's transformers does not read, beside a config that is for it; a warning where another reader is installed."""
    folder = model(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    environment = Environment(distributions=(*INSTALLED, *(Distribution(name=one, version=version) for one, version in installed)))
    found = judged(folder, environment)
    assert [(item.cause, item.severity) for item in found] == [("weights-framework-mismatch", severity) for severity in expected]


def test_tensorflow_weights_are_fine_where_an_older_transformers_reads_them(tmp_path: Path) -> None:
    """transformers 4 with TensorFlow loads tf_model.h5."""
    folder = model(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "tf_model.h5").write_bytes(made.hdf5())
    older = Environment(distributions=(Distribution(name="transformers", version="4.44.0"), Distribution(name="tensorflow", version="2.15.0")))
    assert roots(folder, older) == []


def test_configs_of_other_libraries_need_no_model_type(tmp_path: Path) -> None:
    """timm, diffusers, CTranslate2: their config.json has another form."""
    for number, config in enumerate(({"architecture": "resnet50", "num_classes": 1000}, {"_class_name": "UNet2DConditionModel"}, {"add_source_bos": False})):
        folder = model(tmp_path / str(number))
        (folder / "config.json").write_text(json.dumps(config))
        assert roots(folder) == []


def test_a_folder_too_deep(tmp_path: Path) -> None:
    """The pooling of a sentence-transformers model, named by itself: the remedy names the folder above."""
    model(tmp_path)
    pooling = tmp_path / "1_Pooling"
    pooling.mkdir()
    (pooling / "config.json").write_text('{"word_embedding_dimension": 32, "pooling_mode_mean_tokens": true}')
    (found,) = judged(pooling)
    assert found.cause == "model-type-missing" and str(tmp_path) in found.remedies[0].run
    modules = [
        {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert roots(tmp_path) == []


def adapter(folder: Path, base: str, shapes: Shapes | None = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    (folder / "adapter_model.safetensors").write_bytes(
        lab.safetensors(shapes or {"base_model.model.a.lora_A.weight": (4, 8), "base_model.model.a.lora_B.weight": (8, 4)})
    )
    return folder


def test_an_adapter_and_its_base(tmp_path: Path) -> None:
    """A base on the hub is fetched, a path must be there, offline it must be cached."""
    base = model(tmp_path / "base")
    assert roots(adapter(tmp_path / "1", "org/base")) == []
    assert roots(adapter(tmp_path / "2", str(base))) == []
    assert roots(adapter(tmp_path / "3", "/no/such/base")) == ["adapter-base-missing"]
    offline = Environment(distributions=INSTALLED, caches={"hub": str(tmp_path / "hub")}, offline=(Variable(name="HF_HUB_OFFLINE", value="1", truthy=True),))
    assert roots(adapter(tmp_path / "4", "org/base"), offline) == ["adapter-base-missing"]
    (tmp_path / "hub" / "models--org--base" / "snapshots").mkdir(parents=True)
    assert roots(adapter(tmp_path / "5", "org/base"), offline) == []


def test_an_empty_adapter(tmp_path: Path) -> None:
    """Saved under ZeRO-3 without gathering."""
    assert roots(adapter(tmp_path / "a", "org/base", {"base_model.model.a.lora_A.weight": (0,), "base_model.model.a.lora_B.weight": (0,)})) == [
        "tensors-unconsolidated"
    ]


def test_what_a_tokenizer_lacks(tmp_path: Path) -> None:
    """Its class reads vocab.txt, and neither that nor tokenizer.json is here; each of the two alone is enough."""
    folder = model(tmp_path)
    (folder / "tokenizer.json").unlink()
    assert roots(folder) == []
    (folder / "vocab.txt").unlink()
    (found,) = judged(folder)
    assert found.cause == "tokenizer-incomplete" and "vocab.txt" in found.title


CHAT = """{%- for message in messages %}
    {%- if message.role == "system" %}{%- continue %}{%- endif %}
    {%- if message.role == "assistant" %}{% generation %}{{- message.content | tojson }}{% endgeneration %}{%- else %}{{ raise_exception("no") }}{%- endif %}
{%- endfor %}"""


def test_a_chat_template_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    """With loop controls and the tag that transformers adds: in a file, as the key of the configuration, or several by name."""
    forms: dict[str, object] = {"one": CHAT, "several": [{"name": "default", "template": CHAT}], "none": None, "odd": 7}
    for name, value in forms.items():
        assert roots(model(tmp_path / name, tokenizer_config__json=json.dumps({"chat_template": value}))) == []
    folder = model(tmp_path / "file")
    (folder / "chat_template.jinja").write_text(CHAT)
    assert roots(folder) == []


@pytest.mark.parametrize("cut", [CHAT[:-4], CHAT.replace("{%- endfor %}", ""), CHAT.replace("tojson }}", "tojson }")])
def test_a_chat_template_that_does_not_parse_is_a_warning(cut: str, tmp_path: Path) -> None:
    """The model loads; its first conversation fails. The file's own name and the line are said."""
    folder = model(tmp_path, tokenizer_config__json=json.dumps({"chat_template": CHAT}))
    (folder / "chat_template.jinja").write_text(cut)
    (found,) = judged(folder)
    assert (found.cause, found.severity) == ("tokenizer-incomplete", "warning")
    assert "chat_template.jinja" in found.title and "line " in found.title
    assert "chat_template.jinja" in found.remedies[0].do


def test_a_tokenizer_of_special_tokens_alone(tmp_path: Path) -> None:
    """What is saved where no vocabulary was found: five entries beside an embedding of thousands."""
    shapes = lab.tensors(lab.Shape(vocabulary=2000))
    assert roots(model(tmp_path / "a", {"vocab_size": 2000}, shapes, tokenizer__json=json.dumps(lab.tokenizer(lab.SPECIAL)))) == ["tokenizer-incomplete"]
    assert roots(model(tmp_path / "b", {"vocab_size": 2000}, shapes)) == []


@pytest.mark.parametrize(("version", "expected"), [("0.19.1", ["tokenizer-incomplete"]), ("0.20.0", []), ("", [])])
def test_merges_that_an_older_library_does_not_read(tmp_path: Path, version: str, expected: list[str]) -> None:
    """“data did not match any variant of untagged enum”: merges are pairs since tokenizers 0.20."""
    tokenizer = {"version": "1.0", "added_tokens": [], "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}}
    environment = Environment(distributions=(*INSTALLED[:2], *((Distribution(name="tokenizers", version=version),) if version else ())))
    assert roots(model(tmp_path, tokenizer__json=json.dumps(tokenizer)), environment) == expected


def test_ids_are_counted_in_every_form() -> None:
    """tokenizer.json of each kind, vocab.json, vocab.txt, sentencepiece, tiktoken, with added tokens."""
    forms: list[tuple[dict[str, bytes], int, int]] = [
        (
            {
                "tokenizer.json": json.dumps(
                    {"added_tokens": [{"id": 7, "content": "x"}], "model": {"type": "BPE", "vocab": {'a"': 0, "é,}": 3}, "merges": []}}
                ).encode()
            },
            3,
            7,
        ),
        (
            {
                "tokenizer.json": json.dumps(
                    {"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["▁a", -1.5], ["]", -2e-05]]}}, indent=1
                ).encode()
            },
            2,
            -1,
        ),
        ({"vocab.json": b'{"a": 0, "b": 9}', "merges.txt": b"a b", "added_tokens.json": b'{"<x>": 10}'}, 9, 10),
        ({"vocab.txt": b"[PAD]\n[UNK]\n\nthe\n"}, 3, -1),
        ({"spiece.model": made.sentencepiece(60)}, 59, -1),
        ({"qwen.tiktoken": b"IQ== 0\nIg== 1\nIw== 2\n"}, 2, -1),
    ]
    for files, largest, added in forms:
        found = see_tokenizer(list(files), lambda name, files=files: files.get(name, b""))  # type: ignore[misc]
        assert found and found.tokenizer.largest_id == largest and (found.tokenizer.largest_added_id or -1) == added
    assert see_tokenizer(["tokenizer_config.json"], lambda name: b"{}") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": {"vocab": {"a": }}}', b'{"model": {"vocab": {"a": 99999999999999999999}}}', b'{"added_tokens": [' + b"[" * 100_000, b'{"added_tokens": [1, {"id": "x"}, {"id": true}], "model": 5}', b'"vocab": [["a", 1' * 1000])  # fmt: skip
def test_hostile_tokenizers(content: bytes) -> None:
    """Nothing that a tokenizer's file holds is an exception."""
    for name in ("tokenizer.json", "vocab.json", "spiece.model", "added_tokens.json", "tokenizer_config.json", "a.tiktoken", "vocab.txt"):
        see_tokenizer(["tokenizer.json", name], lambda asked, name=name: content if asked == name else b"{}")  # type: ignore[misc]
        see_tokenizer([name], lambda asked: content)


@pytest.mark.parametrize("value", [None, [], {}, "x", -1, 0, 1e400, True, [[[]]], {"a": {}}, 1 << 70])
def test_hostile_configs(value: Any) -> None:
    """Every key of a config as anything at all: an answer."""
    tensors = {name: Tensor(shape, "F32") for name, shape in BERT.items()}
    for kind in (*architectures.known(), "something-new"):
        facts = architectures.model_type(kind)
        keys = {
            *(facts.defaults if facts else ()),
            "text_config",
            "vocab_size",
            "architectures",
            "id2label",
            "num_labels",
            "tie_word_embeddings",
            "quantization_config",
            "num_hidden_layers",
        }
        for key in keys:
            compare({"model_type": kind, key: value}, tensors)
    compare({"model_type": value}, tensors)


BLOCKS = {"token_embd.weight": (3, 32), "blk.0.attn_q.weight": (32, 32), "blk.1.attn_q.weight": (32, 32)}
PIECES = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        (BLOCKS, PIECES, []),
        (BLOCKS, {}, []),
        ({name: shape for name, shape in BLOCKS.items() if "blk.1" not in name}, PIECES, ["tensors-missing"]),
        ({**BLOCKS, "token_embd.weight": (4, 32)}, PIECES, ["vocabulary-mismatch"]),
        (BLOCKS, {**PIECES, "split.tensors.count": 5}, ["tensors-missing"]),
        (BLOCKS, {**PIECES, "split.tensors.count": 3}, []),
    ],
)
def test_gguf_against_its_own_metadata(tmp_path: Path, tensors: Shapes, metadata: dict[str, Any], expected: list[str]) -> None:
    """Blocks, the vocabulary, the sum of the parts: what llama.cpp refuses when it loads; in a folder and named by itself."""
    (tmp_path / "m.gguf").write_bytes(made.gguf(3, tensors, metadata))
    assert roots(tmp_path) == expected
    target = Target(spec="m", kind="file", paths=(str(tmp_path / "m.gguf"),))
    files = see_files(target, HERE, ABSENT)
    found = judge(Case(target=target, environment=HERE, files=files, model=see_model(target, HERE, files)))
    assert [item.cause for item in found.diagnoses] == expected


# --- the whole ----------------------------------------------------------------------------------------------------------------------


def test_every_type_fits_its_own_table() -> None:
    """Tensors made from a type's own facts fit it, and each of them taken away is missed."""
    for kind in architectures.known():
        facts = architectures.model_type(kind)
        assert facts is not None
        config: dict[str, Any] = {"model_type": kind}
        tensors: dict[str, Tensor] = {}
        for pattern, form in facts.tensors.items():
            count = next((architectures.dimension(key, config, facts) or 0 for prefix, key in facts.layers.items() if pattern.startswith(prefix)), 0)
            shape = tuple(architectures.dimension(part, config, facts) or 1 for part in form)
            tensors |= {pattern.replace("{layer}", str(layer)): Tensor(shape, "F32") for layer in range(count if "{layer}" in pattern else 1)}
        assert compare(config, tensors)[0] == []
        for name in list(tensors)[:: max(1, len(tensors) // 4)]:
            misfits, _ = compare(config, {key: tensor for key, tensor in tensors.items() if key != name})
            assert [misfit.code for misfit in misfits] == ["tensors-missing"], (kind, name)


def test_the_section_is_complete(tmp_path: Path) -> None:
    """Each code that the probe can give has its cause, and each cause its misfit here."""
    ids = {cause.id for cause in causes.CAUSES}
    assert {code for code, _, _ in MISFITS.values()} | {"weights-framework-mismatch", "adapter-base-missing", "tokenizer-incomplete"} == ids


def test_commands_quote_what_they_hold(tmp_path: Path) -> None:
    """A folder with quotes and a dollar in its name stays one word of the command."""
    import shlex

    folder = model(tmp_path / "it's $HOME; rm -rf", MISFITS["DataParallel"][1], MISFITS["DataParallel"][2])
    for remedy in judged(folder)[0].remedies:
        words = shlex.split(remedy.run)
        assert words[0] == "python" and len(words) == 3 and compile(words[2], "remedy", "exec")


def test_a_large_model_is_judged_by_its_headers_alone(tmp_path: Path) -> None:
    """Thirty shards with 30,000 tensors, 140 GB as sparse files: judged in seconds at most (the benchmark asks for half of one)."""
    folder = model(tmp_path, {"model_type": "something-new", "vocab_size": 1000, "num_hidden_layers": 100})
    shutil.rmtree(folder / "x", ignore_errors=True)
    (folder / "model.safetensors").unlink()
    names: dict[str, str] = {}
    for number in range(30):
        shard = f"model-{number + 1:05d}-of-00030.safetensors"
        header: dict[str, Any] = {}
        at = 0
        for index in range(1000):
            name = f"model.layers.{(number * 1000 + index) // 300}.experts.{index}.weight"
            header[name] = {"dtype": "BF16", "shape": [1000, 2333], "data_offsets": [at, at + 4_666_000]}
            names[name], at = shard, at + 4_666_000
        text = json.dumps(header).encode()
        with (folder / shard).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + at)
            file.seek(-8, 2)
            file.write(b"not zero")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    started = time.monotonic()
    assert roots(folder) == []
    assert time.monotonic() - started < 30.0


def test_without_a_config_there_is_nothing_to_fit(tmp_path: Path) -> None:
    """A single file and a data set: not asked, with the reason."""
    (tmp_path / "data.csv").write_text("a,b\n")
    target = Target(spec=str(tmp_path), kind="directory", paths=(str(tmp_path),))
    assert not see_model(target, HERE, see_files(target, HERE, ABSENT))


def test_no_layers_at_all_is_a_number_too(tmp_path: Path) -> None:
    """num_hidden_layers 0 is not the default of 12: the layers in the file are too many, none is missing."""
    found = judged(model(tmp_path / "m", {"num_hidden_layers": 0}))
    assert [root.cause for root in found] == ["shape-mismatch"] and "0 layers" in found[0].title


def packed(tensors: Shapes) -> Shapes:
    """As GPTQ leaves a layer: packed integers, scales and zeros in the place of its weight."""
    found: Shapes = {}
    for name, shape in tensors.items():
        if name.endswith("query.weight"):
            found |= {name.removesuffix("weight") + part: (4, 4) for part in ("qweight", "scales", "qzeros")}
        else:
            found[name] = shape
    return found


@pytest.mark.parametrize(
    ("config", "shapes", "expected"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, packed(BERT), []),
        ({"quantization_config": {"quant_method": "awq"}}, None, ["tensors-missing"]),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, None, []),  # packed while it is loaded
        ({}, packed(BERT), ["tensors-missing"]),
        ({"quantization": {"bits": 4}}, packed(BERT), []),  # mlx says it so
        ({"text_config": {"quantization_config": {"quant_method": "gptq"}}}, packed(BERT), []),
    ],
)
def test_packed_weights_and_what_the_config_says_of_them(tmp_path: Path, config: dict[str, Any], shapes: Shapes | None, expected: list[str]) -> None:
    """quantization_config without packed weights, and packed weights without it; whether the backend is installed is another question."""
    found = seen(model(tmp_path / "m", config, shapes))
    assert isinstance(found.model, Model)
    assert [misfit.code for misfit in found.model.misfits] == expected
    assert [root for root in roots(tmp_path / "m") if root == "tensors-missing"] == expected


def test_another_loader_reads_a_file_of_its_own(tmp_path: Path) -> None:
    """quantize_config.json beside them: AutoGPTQ's."""
    found = seen(model(tmp_path / "m", {}, packed(BERT), quantize_config__json="{}"))
    assert isinstance(found.model, Model) and found.model.misfits == ()
