"""Local folders and files."""

from __future__ import annotations

import os
from collections.abc import Callable

from diagnostics import redact
from diagnostics.case import Problem, Target, Unseen

Stat = Callable[[str], bool]
# A folder that holds one of these is meant as a model (transformers, diffusers, sentence-transformers, peft, timm exports, original layouts).
SIGNS = (
    "config.json", "model_index.json", "modules.json", "adapter_config.json", "params.json", "tokenizer.json", "tokenizer_config.json",
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "saved_model.pb",
)  # fmt: skip


def is_clearly_a_path(spec: str) -> bool:
    """Written as a path: absolute, from here, from the parent, from home, or as Windows writes it."""
    return spec.startswith(("/", "./", "../", "~", ".\\", "..\\", "\\")) or spec in (".", "..") or (len(spec) > 2 and spec[1] == ":" and spec[2] in "\\/")


def is_model(path: str, exists: Stat) -> bool:
    """Whether a folder looks like a model, by a few names in it."""
    return any(exists(os.path.join(path, name)) for name in SIGNS)


def at(spec: str, exists: Stat, isdir: Stat) -> Target:
    """The folder or file at a path; which of its parents is there, where it is not."""
    path = os.path.abspath(os.path.expanduser(spec)) if spec and "\0" not in spec else spec
    kind = "file" if exists(path) and not isdir(path) else "directory"
    problem = Unseen("absent") if exists(path) else _missing(path, exists)
    return Target(spec=spec, kind=kind, name=redact.plain(os.path.basename(path.rstrip("/")) or path), paths=(redact.path(path),), problem=problem)  # type: ignore[arg-type]


def _missing(path: str, exists: Stat) -> Problem:
    parent = os.path.dirname(path)
    while parent and not exists(parent) and parent != os.path.dirname(parent):
        parent = os.path.dirname(parent)
    if not parent or not exists(parent):
        return Problem(code="path-missing", detail="no part of it is there")
    rest = redact.plain(os.path.relpath(path, parent))
    return Problem(code="path-missing", detail=f"{redact.path(parent)} is there, {rest} in it is not", near=redact.path(parent))
