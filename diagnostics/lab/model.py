"""A tiny model shaped like BERT, made of nothing: the same bytes everywhere, and transformers loads it.

safetensors: 8 bytes of little-endian header length, a JSON header, the tensors (https://huggingface.co/docs/safetensors, "Format").
"""

from __future__ import annotations

import array
import functools
import hashlib
import json
import random
import string
import sys
from dataclasses import dataclass
from pathlib import Path

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LARGE_SUFFIXES = (".safetensors", ".bin", ".h5", ".gguf")  # what a hub keeps in LFS
POOL = 4096  # random numbers that every tensor is filled from


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes of a BERT; ``hidden`` is divisible by ``heads``."""

    hidden: int = 32
    layers: int = 2
    heads: int = 2
    intermediate: int = 64
    vocabulary: int = 200
    positions: int = 64


TINY = Shape()
SMALL = Shape(hidden=128, intermediate=512)  # more than a megabyte: large enough that resuming matters


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of a repository."""

    path: str
    data: bytes

    @functools.cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @functools.cached_property
    def git_sha1(self) -> str:
        """The id git gives the blob."""
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data, usedforsecurity=False).hexdigest()

    @property
    def large(self) -> bool:
        """Whether a hub keeps it in LFS, and so serves it from another host."""
        return self.path.endswith(LARGE_SUFFIXES)

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_sha1


@functools.cache
def tiny_bert(shape: Shape = TINY) -> tuple[ModelFile, ...]:
    """Every file of the model: config, tokenizer, weights, README."""
    words = vocabulary(shape.vocabulary)
    texts = {
        "README.md": "---\nlibrary_name: transformers\nlicense: apache-2.0\n---\n\n# tiny-bert\n\nRandom weights from the fault lab of pytest-diagnostics.\n",
        "config.json": _json(config(shape)),
        "special_tokens_map.json": _json({name.strip("[]").lower() + "_token": name for name in SPECIAL}),
        "tokenizer.json": _json(tokenizer(words)),
        "tokenizer_config.json": _json({"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": shape.positions}),
        "vocab.txt": "\n".join(words) + "\n",
    }
    files = {path: text.encode() for path, text in texts.items()} | {"model.safetensors": safetensors(tensors(shape))}
    return tuple(ModelFile(path=path, data=files[path]) for path in sorted(files))


def write(files: tuple[ModelFile, ...], folder: Path) -> Path:
    """The model as a local folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        (folder / file.path).write_bytes(file.data)
    return folder


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def config(shape: Shape) -> dict[str, object]:
    """config.json as transformers 4 and 5 write it for a BertModel."""
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.intermediate,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": shape.positions,
        "model_type": "bert",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": 0,
        "torch_dtype": "float32",
        "type_vocab_size": 2,
        "vocab_size": shape.vocabulary,
    }


def vocabulary(size: int) -> tuple[str, ...]:
    """WordPiece entries: special tokens, characters, continuations, then placeholders as BERT has them."""
    characters = (*string.ascii_lowercase, *string.digits, *string.punctuation)
    pieces = (*SPECIAL, *characters, *(f"##{char}" for char in string.ascii_lowercase + string.digits))
    return (*pieces, *(f"[unused{number}]" for number in range(size - len(pieces))))[:size]


def tokenizer(words: tuple[str, ...]) -> dict[str, object]:
    """tokenizer.json of the tokenizers library, for WordPiece."""
    identifiers = {word: number for number, word in enumerate(words)}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    begin, first, end, second = (_piece("SpecialToken", "[CLS]", 0), _piece("Sequence", "A", 0), _piece("SpecialToken", "[SEP]", 0), _piece("Sequence", "B", 1))
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": identifiers[name], "content": name, **special} for name in SPECIAL],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first, end],
            "pair": [begin, first, end, second, _piece("SpecialToken", "[SEP]", 1)],
            "special_tokens": {name: {"id": name, "ids": [identifiers[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": identifiers},
    }


def _piece(kind: str, identifier: str, segment: int) -> dict[str, object]:
    return {kind: {"id": identifier, "type_id": segment}}


def tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name → dimensions of every tensor of transformers' BertModel (modeling_bert.py)."""
    hidden, wide = shape.hidden, shape.intermediate
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (shape.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (shape.positions, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        **_norm("embeddings.LayerNorm", hidden),
    }
    for number in range(shape.layers):
        layer = f"encoder.layer.{number}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            found |= _dense(f"{layer}.attention.{part}", hidden, hidden)
        found |= _norm(f"{layer}.attention.output.LayerNorm", hidden)
        found |= (
            _dense(f"{layer}.intermediate.dense", wide, hidden) | _dense(f"{layer}.output.dense", hidden, wide) | _norm(f"{layer}.output.LayerNorm", hidden)
        )
    return found | _dense("pooler.dense", hidden, hidden)


def _dense(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (size,), f"{name}.bias": (size,)}


def safetensors(shapes: dict[str, tuple[int, ...]]) -> bytes:
    """A safetensors file of float32 tensors: small random numbers, ones for the scale of a LayerNorm."""
    pool = _random_floats()
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    content = bytearray()
    for name in sorted(shapes):
        count = functools.reduce(int.__mul__, shapes[name])
        start = len(content)
        content += _ones(count) if name.endswith("LayerNorm.weight") else (pool * (count // POOL + 1))[: 4 * count]
        header[name] = {"dtype": "F32", "shape": list(shapes[name]), "data_offsets": [start, len(content)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin on a multiple of eight
    return len(text).to_bytes(8, "little") + text + bytes(content)


def _random_floats() -> bytes:
    source = random.Random(20181011)
    return _little_endian(array.array("f", (source.gauss(0.0, 0.02) for _ in range(POOL))))


def _ones(count: int) -> bytes:
    return _little_endian(array.array("f", [1.0]) * count)


def _little_endian(numbers: array.array[float]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
