"""What a file of a model is for, by its name alone."""

from __future__ import annotations

import re

# The first that fits. Names as transformers, diffusers, sentence-transformers, torch.hub, TensorFlow, llama.cpp and OpenAI's GPT-2 give them.
ROLES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("index", re.compile(r".+\.index(\.[\w-]+)?\.json$|.+\.ckpt[\w.-]*\.index$|checkpoint$")),
    ("tokenizer", re.compile(r"(tokenizer[\w.-]*|special_tokens_map|added_tokens|vocab|encoder|chat_template)\.json$|.+\.(model|spm|bpe|tiktoken|vocab|jinja)$|(vocab|merges)\.txt$")),
    ("code", re.compile(r".+\.py$|requirements[\w.-]*\.txt$")),
    ("config", re.compile(r"(.*config[\w.-]*|modules|model_index|params|hparams|processor[\w.-]*|preprocessor[\w.-]*)\.(json|ya?ml)$")),
    ("weights", re.compile(r".+\.(safetensors|bin|pt|pth|ckpt|th|gguf|ggml|onnx|onnx_data|h5|hdf5|keras|msgpack|npz|pb|tflite|nemo|ot|pdparams)$|.+\.data-\d{5}-of-\d{5}$|.+\.ckpt[\w.-]*\.meta$")),
    ("data", re.compile(r".+\.(parquet|arrow|csv|tsv|jsonl|gz|tgz|tar|zip|zst|xz|bz2|npy|idx\d-ubyte)$")),
    ("text", re.compile(r".+\.(md|txt|rst|pdf)$|(license|licence|notice|readme)[\w.-]*$", re.IGNORECASE)),
)  # fmt: skip
NAMES = frozenset({name for name, _ in ROLES} | {"other"})


def role_of(path: str) -> str:
    """A key of NAMES; "other" for a name that tells nothing."""
    name = path.rpartition("/")[2].lower()
    return next((role for role, form in ROLES if form.fullmatch(name)), "other")
