"""The cache folders as each client computes them, and the variables that used to steer them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping

from diagnostics import redact
from diagnostics.case import ABSENT, Problem, Unseen, Variable
from diagnostics.environment.text import expand

# Variable → what it steers. transformers 4 read the first three, transformers 5 reads none of them.
DEPRECATED = ("TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE", "PYTORCH_PRETRAINED_BERT_CACHE", "HUGGINGFACE_HUB_CACHE")


def cache_paths(variables: Mapping[str, str], home: str) -> dict[str, str]:
    """Raw paths by role: home, hub, xet, token, torch, temp, digests (huggingface_hub constants.py; torch/hub.py; tempfile)."""
    base = variables.get("XDG_CACHE_HOME", os.path.join(home or "~", ".cache"))
    hf_home = expand(variables.get("HF_HOME", os.path.join(base, "huggingface")), variables, home)
    hub = expand(variables.get("HF_HUB_CACHE", variables.get("HUGGINGFACE_HUB_CACHE", os.path.join(hf_home, "hub"))), variables, home)
    torch_base = variables.get("XDG_CACHE_HOME", os.path.join(home or "~", ".cache"))
    torch = expand(variables.get("TORCH_HOME", os.path.join(torch_base, "torch")), variables, home)
    return {
        "home": hf_home,
        "hub": hub,
        "xet": expand(variables.get("HF_XET_CACHE", os.path.join(hf_home, "xet")), variables, home),
        "token": expand(variables.get("HF_TOKEN_PATH", os.path.join(hf_home, "token")), variables, home),
        "datasets": expand(variables.get("HF_DATASETS_CACHE", os.path.join(hf_home, "datasets")), variables, home),
        "torch": torch,
        "temp": temp_path(variables),
        "digests": expand(os.path.join(base, "pytest-diagnostics"), variables, home),  # our own, of large files (probes/checksums_kept.py)
    }


def temp_path(variables: Mapping[str, str]) -> str:
    """The folder for temporary files: the first of TMPDIR, TEMP, TMP that is a folder, else the system's (tempfile._candidate_tempdir_list)."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        path = variables.get(name, "")
        if path and "\0" not in path and os.path.isdir(path):
            return os.path.abspath(path)
    named = next((variables[name] for name in ("TMPDIR", "TEMP", "TMP") if variables.get(name)), "")
    try:
        return tempfile.gettempdir()
    except OSError:  # FileNotFoundError: no folder at all can be written
        return named or "/tmp"


def deprecated(variables: Mapping[str, str], hub: str, home: str, transformers: str) -> tuple[Variable, ...]:
    """The old cache variables that are set; one that names another folder than the cache in use has a problem.

    Codes: ignored (no client reads it any more), steers-elsewhere (transformers 4 still follows it).
    """
    named = [(name, expand(variables[name], variables, home)) for name in DEPRECATED if variables.get(name)]
    return tuple(Variable(name=name, value=redact.path(path), problem=_problem(name, path, hub, transformers)) for name, path in named)


def _problem(name: str, path: str, hub: str, transformers: str) -> Problem | Unseen:
    if os.path.normpath(path) == os.path.normpath(hub):
        return ABSENT
    if name != "HUGGINGFACE_HUB_CACHE" and transformers.split(".")[0].isdigit() and int(transformers.split(".")[0][:6]) < 5:
        return Problem(code="steers-elsewhere", detail=f"transformers {transformers} puts its files there, the hub's client into {redact.path(hub)}")
    return Problem(code="ignored", detail=f"the cache in use is {redact.path(hub)}")
