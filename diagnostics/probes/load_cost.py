"""What loading these weights takes: memory of the process's own, weights in all, address space. Lower bounds: a load that gets less cannot work.

Measured with transformers 5.24, torch 2.13 (CPU build): smallest cgroup limit less what the process holds after its imports (tests/unit/load_trials.py; held in
small by tests/unit/test_load_cost_real.py). Of 744 MB of float32: safetensors and zip-format .bin 18 MB (both stay mapped, their pages are the file's), legacy .bin
764 (read whole), made bfloat16 394. Of 372 MB of float16 made float32: safetensors, sharded or not, and zip-format .bin 764, legacy .bin 1137 (read whole, and the
copy). Experts that the file holds one by one are merged, which is a copy of them: 733 where they are 680 (the stacks of one layer are made beside their join).
Smallest RLIMIT_AS: torch alone 671 MB, transformers 795, and with safetensors 1460 more (mapped by safetensors and by torch), with .bin 745. Smallest RLIMIT_DATA:
236, 361, and 745 more for either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

from diagnostics.case import Distribution, Environment, Files, FileSeen, Listing, Target, Unseen, record
from diagnostics.facts import versions
from diagnostics.facts.clients import installed
from diagnostics.probes.cache import load_json, real
from diagnostics.probes.files_one import Looks
from diagnostics.probes.files_wanted import weights_format
from diagnostics.probes.formats.reading import Tensor
from diagnostics.redact import plain

MOST_CONFIG = 1 << 20
# After ``import torch, transformers`` (anonymous memory, address space, private writable mappings), in bytes, least seen.
TORCH_IMPORTED = 200_000_000
TORCH_ADDRESS_SPACE = 600_000_000
TORCH_DATA = 220_000_000
# torch's names of dtypes in config.json → bits
CONFIG_BITS = {"float32": 32, "float": 32, "float16": 16, "half": 16, "bfloat16": 16, "float64": 64, "double": 64}
_ALIASES = {"float": "float32", "half": "float16", "double": "float64"}
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
# transformers 5 conversion_mapping.py: MergeModulelist over "experts.*", for Mixtral's and Qwen2-MoE's names and all models that share them.
_ONE_EXPERT = re.compile(r"\.experts\.\d+\.(w[123]|gate_proj|up_proj|down_proj)\.weight$")


@record
class LoadCost:
    """Bytes. ``own``: private memory at the peak, imports included. ``resident``: the weights as they are used. ``mapped`` and ``data``: what RLIMIT_AS and
    RLIMIT_DATA (and strict overcommit) count. ``largest``: the largest single mapping."""

    own: int
    resident: int
    mapped: int
    data: int
    largest: int
    why: str


def load_cost(listing: Listing | Unseen, files: Files | Unseen, target: Target, environment: Environment, looks: Looks | None = None) -> LoadCost | Unseen:
    """What the target's loader takes; ``Unseen`` where no weights of a known size are there. ``looks`` is what the files' own tables say, by location."""
    sizes = weight_sizes(listing, files)
    if not sizes:
        return Unseen("absent", "no weights whose size is known")
    seen = {item.path: item for item in files.files} if isinstance(files, Files) else {}
    torch = installed(environment.distributions, "torch") is not None and target.loader in ("transformers", "torch", "diffusers")
    whole = sum(size for path, size in sizes.items() if _is_read_whole(path, seen.get(path), target, environment))
    made, how = _made_anew(files, environment, looks or {}) if target.loader == "transformers" else (0, "")
    # Before 4.50 the model was built first, in the dtype that it gets: that and the converted weights are the same memory.
    own = max(whole, made) if _is_older(installed(environment.distributions, "transformers"), "4.50") else whole + made
    total = sum(sizes.values())
    return LoadCost(
        own=own + (TORCH_IMPORTED if torch else 0),
        resident=max(total, own),
        mapped=sum(size * _mappings(path, target) for path, size in sizes.items()) + (TORCH_ADDRESS_SPACE if torch else 0),
        data=total + (TORCH_DATA if torch else 0),
        largest=max(sizes.values()),
        why=_why(sizes, whole, how) + (", with the libraries themselves" if torch and own else ""),
    )


def _why(sizes: dict[str, int], whole: int, how: str) -> str:
    kinds = ", ".join(dict.fromkeys(weights_format(path) for path in sizes))
    ways = [*(["read whole"] if whole else []), *([how] if how else [])] or ["mapped, as stored"]
    return f"{len(sizes)} file{'s' if len(sizes) > 1 else ''} of weights ({plain(kinds, 80)}), {' and '.join(ways)}"


def weight_sizes(listing: Listing | Unseen, files: Files | Unseen) -> dict[str, int]:
    """Path → bytes of the weights that count: as published, else as they lie here."""
    sizes: dict[str, int] = {}
    for seen in files.files if isinstance(files, Files) else ():
        size = seen.expected_bytes if isinstance(seen.expected_bytes, int) else seen.bytes
        if isinstance(size, int):
            sizes[seen.path] = size
    if isinstance(listing, Listing):
        wanted = set(listing.wanted)
        sizes |= {file.path: file.bytes for file in listing.files if file.path in wanted and isinstance(file.bytes, int)}
    return {path: size for path, size in sizes.items() if weights_format(path.rpartition("?")[0] or path) and ".index" not in path}


def _is_read_whole(path: str, seen: FileSeen | None, target: Target, environment: Environment) -> bool:
    """Whether the file's content becomes memory of the process's own.

    transformers 5.24 ``modeling_utils.py``: ``safe_open(backend="mmap")`` and ``get_slice`` (``_load_pretrained_model``), ``torch.load(mmap=True)`` for zip files
    (``load_state_dict``); before 4.50 the model was first built with random weights (PR #36335). safetensors ``safe_open`` maps on Linux; torch.load without
    ``mmap=True`` reads (torch/serialization.py). GGUF through llama.cpp is mapped; through transformers it is widened, which is more still.
    """
    kind = weights_format(path)
    if target.loader == "transformers" and _is_older(installed(environment.distributions, "transformers"), "4.50"):
        return True
    if kind in ("safetensors", "gguf"):
        return False
    if kind == "torch":
        content = seen.content if seen else ""
        return content in ("torch-legacy", "pickle") or (target.loader == "torch" and content in ("zip", "torch-zip"))
    return kind in ("tensorflow", "flax")  # h5py and msgpack read


def _mappings(path: str, target: Target) -> int:
    """How often the file is mapped at once: ``safe_open`` keeps its own mapping beside torch's (safetensors bindings/python/src/lib.rs, Storage::Torch)."""
    return 2 if weights_format(path) == "safetensors" and target.loader in ("transformers", "torch", "diffusers") else 1


def _is_older(item: Distribution | None, version: str) -> bool:
    return item is not None and versions.is_version(item.version) and versions.satisfies(item.version, f"<{version}")


def _made_anew(files: Files | Unseen, environment: Environment, looks: Looks) -> tuple[int, str]:
    """(bytes, how) of tensors that are not taken as they are stored: another floating dtype than config.json names, and experts that are merged.

    transformers 5 takes ``dtype="auto"`` unless told otherwise: what config.json names (``_get_dtype``); ``_materialize_copy`` then copies every tensor.
    """
    if not isinstance(files, Files):
        return 0, ""
    places = {item.path: item.location for item in files.files if item.location}
    config = load_json(real(places.get("config.json", "")), MOST_CONFIG)
    config = config if isinstance(config, dict) and "quantization_config" not in config else {}
    named = config.get("dtype") or config.get("torch_dtype")
    named = named if isinstance(named, str) and named in CONFIG_BITS else ""
    merging = bool(config) and not _is_older(installed(environment.distributions, "transformers"), "5")
    tables = [looks[place].tensors for path, place in places.items() if place in looks and weights_format(path) in ("safetensors", "torch")]
    converted = sum(_bytes_made(table, named, False) for table in tables)
    merged = sum(_bytes_made(table, named, merging) for table in tables) - converted
    how = [*(["converted to the dtype that config.json names"] if converted else []), *(["its experts merged"] if merged else [])]
    return converted + merged, " and ".join(how)


def _bytes_made(tensors: Mapping[str, Tensor], named: str, merging: bool) -> int:
    made = 0
    for name, tensor in tensors.items():
        stored = _NAMES.get(tensor.dtype, "")
        if stored and ((named and stored != _ALIASES.get(named, named)) or (merging and _ONE_EXPERT.search(name))):
            made += prod(tensor.shape) * CONFIG_BITS[named or stored] // 8
    return made
