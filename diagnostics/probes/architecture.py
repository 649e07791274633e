"""What a model's configuration asks of the installed libraries: a known architecture, code of its own, a quantisation, a build of torch.

Read from source text with ``ast``; nothing is imported and no code of the model runs. Sources: transformers ``models/auto/configuration_auto.py`` and
``auto_mappings.py`` (CONFIG_MAPPING_NAMES), ``dynamic_module_utils.py`` (resolve_trust_remote_code, get_imports).
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from diagnostics.case import ABSENT, Architecture, Distribution, Files, Leg, Quantization, TorchBuild, Unseen
from diagnostics.facts.accelerators import build_facts, quantization_facts
from diagnostics.probes.accelerator import quantization_method
from diagnostics.probes.cache import load_json, read_small, real
from diagnostics.redact import plain

MOST_CONFIG, MOST_SOURCE = 1 << 20, 4 << 20
REGISTRIES = ("auto_mappings.py", "configuration_auto.py")
MOST_CODE_FILES = 50


def configs_of(files: Files | Unseen) -> dict[str, Mapping[str, Any]]:
    """The model's config.json and tokenizer_config.json as they lie here; what is not here or is no object is left out."""
    places = {item.path: item.location for item in files.files if item.location} if isinstance(files, Files) else {}
    loaded = {name: load_json(real(places[name]), MOST_CONFIG) for name in ("config.json", "tokenizer_config.json") if name in places}
    return {name: value for name, value in loaded.items() if isinstance(value, dict)}


def config_from(leg: Leg, content: bytes) -> dict[str, Any]:
    """The object that a journey brought, {} where it did not bring a whole one."""
    if not leg.response or leg.response.status != 200 or not leg.body or leg.body.outcome != "complete":
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def architecture_of(config: Mapping[str, Any], transformers: Distribution | None) -> Architecture | Unseen:
    """The model type, and whether this transformers has it."""
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type or transformers is None:
        return Unseen("absent", "no config.json that names a model type is here, or no transformers is installed")
    known = known_types(real(transformers.location))
    remote = config.get("auto_map")
    classes = tuple(plain(f"{key}: {_class(value)}", 120) for key, value in remote.items()) if isinstance(remote, dict) else ()
    return Architecture(
        model_type=plain(model_type, 80),
        version=transformers.version,
        known=model_type in known if known else ABSENT,
        nearest=plain(next(iter(difflib.get_close_matches(model_type, known, 1, 0.6)), ""), 80),
        since=plain(str(config.get("transformers_version") or ""), 30),
        remote_code=classes[:8],
        remote_only=bool(classes) and bool(known) and model_type not in known and isinstance(remote, dict) and "AutoConfig" in remote,
    )


def _class(value: object) -> str:
    """``modeling_x.XModel``; a list for tokenizers (slow, fast)."""
    return next((item for item in value if isinstance(item, str)), "") if isinstance(value, list) else str(value)


def known_types(site: str) -> frozenset[str]:
    """Every model type in the registry of the transformers installed in ``site``; empty where it cannot be read."""
    folder = os.path.join(site, "transformers", "models", "auto")
    found: set[str] = set()
    for name in REGISTRIES:
        tree = _parsed(os.path.join(folder, name))
        found |= set(_registered(tree)) if tree else set()
    return frozenset(found)


def _parsed(path: str) -> ast.Module | None:
    source = read_small(path, MOST_SOURCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old escape in somebody's string is not our matter
            return ast.parse(source) if source else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _registered(tree: ast.Module) -> Iterator[str]:
    """Keys of CONFIG_MAPPING_NAMES, whether assigned or added later."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "CONFIG_MAPPING_NAMES" for target in targets):
                yield from _keys(node.value)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _is_update(node.value.func):
            yield from _keys(node.value)


def _is_update(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "CONFIG_MAPPING_NAMES"


def _keys(node: ast.expr) -> Iterator[str]:
    """First members of pairs and keys of dicts."""
    for part in ast.walk(node):
        if isinstance(part, ast.Tuple) and len(part.elts) == 2 and isinstance(part.elts[0], ast.Constant) and isinstance(part.elts[0].value, str):
            yield part.elts[0].value
        elif isinstance(part, ast.Dict):
            yield from (key.value for key in part.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


# --- the model's own code -----------------------------------------------------------------------------------------------------


def remote_imports(files: Files | Unseen) -> tuple[str, ...]:
    """Top-level modules that the model's own code imports, but for what it tries and does without (``get_imports``), Python's own and its own files."""
    if not isinstance(files, Files):
        return ()
    code = [item for item in files.files if item.path.endswith(".py") and item.location][:MOST_CODE_FILES]
    own = {item.path.rpartition("/")[2].removesuffix(".py") for item in code}
    found: dict[str, None] = {}
    for item in code:
        tree = _parsed(real(item.location))
        found |= dict.fromkeys(_imports(tree.body)) if tree else {}
    return tuple(name for name in found if name not in own and name not in sys.stdlib_module_names and name.isidentifier())


def _imports(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Of the statements that run for sure: those in ``try`` and ``if`` are optional (transformers drops the first and asks is_…_available in the second)."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def has_module(name: str, folders: Iterable[str]) -> bool:
    """Whether an import would find the module in one of these folders: a package, a source file, a compiled one."""
    for folder in folders:
        base = os.path.join(folder, name)
        if os.path.isdir(base) or os.path.isfile(base + ".py"):
            return True
        try:
            if any(entry.startswith(name + ".") and entry.endswith((".so", ".pyd")) for entry in os.listdir(folder)):
                return True
        except OSError:
            continue
    return False


# --- quantisation, torch ------------------------------------------------------------------------------------------------------


def quantization_of(config: Mapping[str, Any]) -> Quantization | Unseen:
    method = quantization_method(config)
    if not method:
        return Unseen("absent", "not quantised, as far as config.json is here")
    row = quantization_facts(method)
    return Quantization(method=method, packages=row.packages, accelerator=row.accelerator, capability=row.capability) if row else Quantization(method=method)


def torch_build(torch: Distribution | None) -> TorchBuild | Unseen:
    """torch/version.py as it is written: version, CUDA and HIP it was built for."""
    if torch is None:
        return Unseen("absent", "no torch is installed")
    tree = _parsed(os.path.join(real(torch.location), "torch", "version.py"))
    said = dict(_constants(tree)) if tree else {}
    cuda = plain(said.get("cuda", ""), 20)
    version = plain(said.get("__version__", "") or torch.version, 40)
    facts = build_facts(version, cuda, _machine_of(torch)) if cuda and not _is_condas(torch) else None
    return TorchBuild(
        version=version,
        cuda=cuda,
        hip=plain(said.get("hip", "") or said.get("rocm", ""), 40),
        architectures=facts.kernels if facts else (),
        ptx=facts.ptx if facts else "",
    )


def _about(torch: Distribution, name: str) -> str:
    """A short file of the distribution's own metadata folder; "" where it has none."""
    return read_small(os.path.join(real(torch.location), f"torch-{torch.version}.dist-info", name), 4096).decode("utf-8", "replace")


def _machine_of(torch: Distribution) -> str:
    return "aarch64" if "_aarch64" in _about(torch, "WHEEL") else "x86_64"


def _is_condas(torch: Distribution) -> bool:
    """Built by others than torch's own project, for architectures of their choice (PEP 376, INSTALLER)."""
    return _about(torch, "INSTALLER").strip() == "conda"


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0] if isinstance(node, ast.Assign) else None
        value = node.value if isinstance(node, ast.AnnAssign | ast.Assign) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield target.id, value.value


def is_sentencepiece(path: str) -> bool:
    """Whether a ``tokenizer.model`` is a SentencePiece model (a protocol buffer, sentencepiece_model.proto: field 1, pieces) and not tiktoken's text."""
    return bool(re.match(rb"\n[\x01-\x7f]", read_small(path, 64)))
