"""What loading these weights takes: memory of the process's own, weights in all, address space. Lower bounds: a load that gets less cannot work.

Measured with transformers 5.24, torch 2.13 (CPU build), 734 MB of float32, smallest cgroup limit less what the process holds after its imports:
safetensors and zip-format .bin 14 and 54 MB (both stay mapped, their pages are the file's), legacy .bin 754 MB (read whole), another dtype than stored: the copy
(float16 to float32 744 MB, float32 to bfloat16 383 MB). Smallest RLIMIT_AS: torch alone 671 MB, transformers 795, and with safetensors 1460 more (mapped by
safetensors and by torch), with .bin 745. Smallest RLIMIT_DATA: 236, 361, and 745 more for either.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable

from diagnostics.case import Distribution, Environment, Files, FileSeen, Listing, Target, Unseen, record
from diagnostics.facts import versions
from diagnostics.facts.clients import installed
from diagnostics.probes.cache import load_json, read_small, real
from diagnostics.probes.files_wanted import weights_format
from diagnostics.redact import plain

MOST_CONFIG = 1 << 20
MOST_HEADER = 32 << 20
# After ``import torch, transformers`` (anonymous memory, address space, private writable mappings), in bytes, least seen.
TORCH_IMPORTED = 200_000_000
TORCH_ADDRESS_SPACE = 600_000_000
TORCH_DATA = 220_000_000
# torch's names of dtypes in config.json → bits
CONFIG_BITS = {"float32": 32, "float": 32, "float16": 16, "half": 16, "bfloat16": 16, "float64": 64}
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


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


def load_cost(listing: Listing | Unseen, files: Files | Unseen, target: Target, environment: Environment) -> LoadCost | Unseen:
    """What the target's loader takes; ``Unseen`` where no weights of a known size are there."""
    sizes = weight_sizes(listing, files)
    if not sizes:
        return Unseen("absent", "no weights whose size is known")
    seen = {item.path: item for item in files.files} if isinstance(files, Files) else {}
    torch = installed(environment.distributions, "torch") is not None and target.loader in ("transformers", "torch", "diffusers")
    converted = _converted(files) if target.loader == "transformers" else {}
    own = sum(size if _is_read_whole(path, seen.get(path), target, environment) else 0 for path, size in sizes.items())
    own = max(own, sum(int(sizes[path] * factor) for path, factor in converted.items() if path in sizes))
    total = sum(sizes.values())
    return LoadCost(
        own=own + (TORCH_IMPORTED if torch else 0),
        resident=total,
        mapped=sum(size * _mappings(path, target) for path, size in sizes.items()) + (TORCH_ADDRESS_SPACE if torch else 0),
        data=total + (TORCH_DATA if torch else 0),
        largest=max(sizes.values()),
        why=_why(sizes, own, bool(converted)) + (", with the libraries themselves" if torch and own else ""),
    )


def _why(sizes: dict[str, int], own: int, converted: bool) -> str:
    kinds = ", ".join(dict.fromkeys(weights_format(path) for path in sizes))
    how = "converted to the dtype that config.json names" if converted else "read whole" if own else "mapped, as stored"
    return f"{len(sizes)} file{'s' if len(sizes) > 1 else ''} of weights ({plain(kinds, 80)}), {how}"


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


def _converted(files: Files | Unseen) -> dict[str, float]:
    """Path → bytes made for each byte stored, where the tensors are stored in another floating dtype than config.json names.

    transformers 5 takes ``dtype="auto"`` unless told otherwise: what config.json names (``_get_dtype``); ``_materialize_copy`` then copies every tensor.
    """
    if not isinstance(files, Files):
        return {}
    places = {item.path: real(item.location) for item in files.files if item.location}
    config = load_json(places.get("config.json", ""), MOST_CONFIG)
    named = (config.get("dtype") or config.get("torch_dtype")) if isinstance(config, dict) and "quantization_config" not in config else None
    bits = CONFIG_BITS.get(named) if isinstance(named, str) else None
    if not bits:
        return {}
    stored = {path: _stored_dtype(place) for path, place in places.items() if weights_format(path) == "safetensors" and ".index" not in path}
    return {path: bits / CONFIG_BITS[dtype] for path, dtype in stored.items() if dtype and dtype != named and CONFIG_BITS.get(dtype)}


def _stored_dtype(path: str) -> str:
    """The floating dtype of most bytes of a safetensors file, by its header; "" where it is another or cannot be read."""
    head = read_small(path, 8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= MOST_HEADER:
        return ""
    try:
        header = json.loads(read_small(path, 8 + length)[8:])
    except (ValueError, RecursionError):
        return ""
    return _NAMES.get(_most_used(header.values() if isinstance(header, dict) else ()), "")


def _most_used(tensors: Iterable[object]) -> str:
    totals: dict[str, int] = {}
    for tensor in tensors:
        dtype, shape = (tensor.get("dtype"), tensor.get("shape")) if isinstance(tensor, dict) else (None, None)
        if isinstance(dtype, str) and isinstance(shape, list) and all(isinstance(part, int) for part in shape):
            count = CONFIG_BITS.get(_NAMES.get(dtype, ""), 8)
            for part in shape[:16]:
                count *= max(0, min(part, 1 << 40))
            totals[dtype] = totals.get(dtype, 0) + count
    return max(totals, key=lambda name: totals[name], default="")
