"""The tensors and storages that a pickle of torch.save describes, found in what the opcodes would build; nothing is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diagnostics.probes.formats.pickles import MOST_OPCODES, Global, Made, Stored
from diagnostics.probes.formats.reading import Tensor

DEEPEST = 12


@dataclass(frozen=True)
class Storage:
    """One of torch's storages, as the pickle names it."""

    key: str
    numel: int
    dtype: str


# torch/storage.py and torch/_utils.py: the typed storages, and bytes an element
STORAGE_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1,
    "ByteStorage": 1, "BoolStorage": 1, "UntypedStorage": 1, "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16, "QInt8Storage": 1, "QUInt8Storage": 1,
    "QInt32Storage": 4, "QUInt4x2Storage": 1, "QUInt2x4Storage": 1,
}  # fmt: skip
_DTYPES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16", "LongStorage": "I64", "IntStorage": "I32",
    "ShortStorage": "I16", "CharStorage": "I8", "ByteStorage": "U8", "BoolStorage": "BOOL",
}  # fmt: skip


def storage_of(value: Any) -> Storage | None:
    """What a persistent id stands for, None where it is none of torch's (torch/serialization.py ``persistent_id``)."""
    inner = value.value if isinstance(value, Stored) else value
    if not isinstance(inner, tuple) or len(inner) < 5 or inner[0] not in ("storage", b"storage"):
        return None
    kind, key, numel = inner[1], inner[2], inner[4]
    key = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
    if not (isinstance(kind, Global) and isinstance(key, str) and isinstance(numel, int) and not isinstance(numel, bool) and 0 <= numel < 1 << 60):
        return None
    return Storage(key, numel, kind.name)


def contents(value: Any) -> tuple[dict[str, Tensor], dict[str, Storage]]:
    """(tensors by dotted name, storages by key) of what torch.save wrote: a state dict, one inside a checkpoint, or a whole module."""
    tensors: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    for _ in range(MOST_OPCODES):
        if not waiting:
            break
        name, item, depth = waiting.pop()
        if id(item) in seen and not isinstance(item, Made):
            continue
        seen.add(id(item))
        if storage := storage_of(item):
            storages[storage.key] = storage
            continue
        if tensor := _tensor(item):
            tensors.setdefault(name, tensor[0])
            storages[tensor[1].key] = tensor[1]
        elif depth < DEEPEST:
            waiting += [(inner, below, depth + 1) for inner, below in _below(name, item)]
    return tensors, storages


def _tensor(item: Any) -> tuple[Tensor, Storage] | None:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, …), also inside _rebuild_parameter."""
    for _ in range(4):
        if not (isinstance(item, Made) and isinstance(item.what, Global) and item.what.name.startswith("_rebuild_") and isinstance(item.arguments, tuple)):
            return None
        first = item.arguments[0] if item.arguments else None
        if (storage := storage_of(first)) and len(item.arguments) > 2:
            size = item.arguments[2]
            if isinstance(size, Made):  # torch.Size((…,))
                size = size.arguments[0] if isinstance(size.arguments, tuple) and size.arguments else ()
            whole = isinstance(size, tuple) and all(isinstance(number, int) and not isinstance(number, bool) for number in size)
            return (Tensor(size, _DTYPES.get(storage.dtype, storage.dtype)), storage) if whole else None
        item = first
    return None


def _below(name: str, item: Any) -> list[tuple[str, Any]]:
    if isinstance(item, dict):
        own = [(f"{name}.{key}" if name else str(key), value) for key, value in item.items()]
        return [(_module_name(inner), value) for inner, value in own]
    if isinstance(item, list | tuple):
        return [(name, value) for value in item[:100_000]]
    return [(name, item.arguments)] if isinstance(item, Made) else []


def _module_name(name: str) -> str:
    """Without the fields in which torch.nn.Module keeps its members."""
    for own in ("_modules", "_parameters", "_buffers"):
        name = name.replace(f".{own}.", ".").removeprefix(f"{own}.").removesuffix(f".{own}")
    return "" if name in ("_modules", "_parameters", "_buffers") else name
