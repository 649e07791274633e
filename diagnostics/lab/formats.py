"""Small true files of each format, written with the standard library by the formats' own documents: what the real writers leave, byte by byte of their tables."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import Any

from diagnostics.lab.hdf5 import hdf5 as hdf5
from diagnostics.lab.hdf5 import noise as noise
from diagnostics.probes.formats.tensorflow import MAGIC, crc32c, masked

# --- torch ----------------------------------------------------------------------------------------------------------------------


class _Name:
    """A global by name, for the pickler below."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Storage:
    """A persistent id of torch's."""

    def __init__(self, key: str, numel: int, kind: str) -> None:
        self.id = ("storage", _Name("torch", kind), key, "cpu", numel)


class _Tensor:
    def __init__(self, storage: _Storage, shape: tuple[int, ...]) -> None:
        self.storage, self.shape = storage, shape


_PythonPickler: Any = pickle._Pickler  # the one in Python, whose steps can be written by hand


class _Pickler(_PythonPickler):  # type: ignore[misc]
    """torch's: storages by persistent id, tensors by a call of _rebuild_tensor_v2."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Storage):
            super().save(obj.id, save_persistent_id=False)
            self.write(pickle.BINPERSID)
        elif isinstance(obj, _Tensor):
            self.save(_Name("torch._utils", "_rebuild_tensor_v2"))
            self.save((obj.storage, 0, obj.shape, tuple(1 for _ in obj.shape), False, OrderedDict()))
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def torch_pickle(value: Any) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def _state(shapes: dict[str, tuple[int, ...]]) -> tuple[dict[str, _Tensor], list[_Storage]]:
    storages = [_Storage(str(number), _count(shape), "FloatStorage") for number, shape in enumerate(shapes.values())]
    return {name: _Tensor(storage, shape) for storage, (name, shape) in zip(storages, shapes.items(), strict=True)}, storages


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for number in shape:
        count *= number
    return count


SHAPES = {"embed.weight": (50, 8), "layer.weight": (8, 8), "layer.bias": (8,)}


def torch_zip(shapes: dict[str, tuple[int, ...]] | None = None, extra: Any = None, without: str = "") -> bytes:
    """A state dict as torch ≥ 1.6 saves it; ``extra`` is one more entry, ``without`` a record that is left out."""
    state, storages = _state(shapes or SHAPES)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("m/data.pkl", torch_pickle({**state, **({"extra": extra} if extra is not None else {})}))
        archive.writestr("m/byteorder", "little")
        for storage in storages:
            if storage.id[2] != without:
                archive.writestr(f"m/data/{storage.id[2]}", noise(4 * storage.id[4], storage.id[2]))
        archive.writestr("m/version", "3\n")
    return buffer.getvalue()


def torch_legacy(shapes: dict[str, tuple[int, ...]] | None = None) -> bytes:
    """The same as torch < 1.6 did: magic number, version, system, object, keys, then each storage behind its length."""
    state, storages = _state(shapes or SHAPES)
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}]
    parts = [pickle.dumps(value, 2) for value in head] + [torch_pickle(state), pickle.dumps([storage.id[2] for storage in storages], 2)]
    return b"".join(parts) + b"".join(struct.pack("<q", storage.id[4]) + noise(4 * storage.id[4], storage.id[2]) for storage in storages)


class Runs:
    """A pickle that would start a program; nobody loads it."""

    def __reduce__(self) -> Any:
        import os

        return os.system, ("echo this must never be seen",)


class OfMain:
    """A class that no loader knows."""


# --- GGUF -----------------------------------------------------------------------------------------------------------------------


def gguf(version: int = 3, tensors: dict[str, tuple[int, ...]] | None = None, metadata: dict[str, Any] | None = None, order: str = "<") -> bytes:
    """F32 tensors behind their table, aligned to 32."""
    wide, chosen = ("I" if version == 1 else "Q"), tensors or {"token_embd.weight": (7, 32), "output.weight": (3, 5)}

    def text(value: str) -> bytes:
        return struct.pack(order + wide, len(value)) + value.encode()

    entries = {"general.architecture": "llama", "tokens": ["a", "b", "c"], "llama.block_count": 2, **(metadata or {})}
    out = b"GGUF" + struct.pack(order + "I" + wide + wide, version, len(chosen), len(entries))
    for key, value in entries.items():
        out += text(key)
        if isinstance(value, str):
            out += struct.pack(order + "I", 8) + text(value)
        elif isinstance(value, int):
            out += struct.pack(order + "II", 4, value)
        else:
            out += struct.pack(order + "II" + wide, 9, 8, len(value)) + b"".join(map(text, value))
    at, data = 0, b""
    for name, shape in chosen.items():
        out += text(name) + struct.pack(order + "I", len(shape)) + b"".join(struct.pack(order + wide, number) for number in reversed(shape))
        out += struct.pack(order + "IQ", 0, at)
        size = 4 * _count(shape)
        data += noise(size, name) + bytes(-size % 32)
        at = len(data)
    return out + bytes(-len(out) % 32) + data


# --- protobuf: ONNX, SavedModel, sentencepiece ------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(outside: dict[str, tuple[int, int]] | None = None) -> bytes:
    """ModelProto with one initializer inside, and one outside for each (location → offset, length)."""
    weights = field(1, 10) + field(1, 20) + field(2, 1) + field(8, b"W") + field(9, noise(800))
    graph = field(1, field(1, b"x") + field(4, b"MatMul")) + field(2, b"main") + field(5, weights)
    for location, (offset, length) in (outside or {}).items():
        entries = {"location": location, "offset": str(offset), "length": str(length)}
        external = b"".join(field(13, field(1, key.encode()) + field(2, value.encode())) for key, value in entries.items())
        graph += field(5, field(1, length // 4) + field(2, 1) + field(8, location.encode()) + external + field(14, 1))
    return field(1, 8) + field(2, b"pytorch") + field(3, b"2.13.0") + field(7, graph) + field(8, field(2, 17))


def saved_model() -> bytes:
    return field(1, 1) + field(2, field(1, field(4, b"serve")) + field(2, noise(900)))


def sentencepiece(pieces: int = 60) -> bytes:
    return b"".join(field(1, field(1, f"piece{number}".encode()) + b"\x15" + struct.pack("<f", -number)) for number in range(pieces)) + field(
        2, field(1, b"text.txt") + field(4, pieces)
    )


# --- TensorFlow -------------------------------------------------------------------------------------------------------------------


def tf_index(shapes: dict[str, tuple[int, ...]] | None = None, shards: int = 1) -> tuple[bytes, bytes]:
    """(the index, the bytes of the first data file) of a checkpoint of float32 tensors, all in the first file."""
    entries, data = [(b"", field(1, shards) + field(3, field(1, 1)))], b""
    for name, shape in sorted((shapes or SHAPES).items()):
        size = 4 * _count(shape)
        dims = b"".join(field(2, field(1, number)) for number in shape)
        entries.append(
            (
                name.encode(),
                field(1, 1) + field(2, dims) + field(4, len(data)) + field(5, size) + b"\x35" + struct.pack("<I", masked(crc32c(noise(size, name)))),
            )
        )
        data += noise(size, name)
    blocks = b""

    def block(members: list[tuple[bytes, bytes]]) -> tuple[int, int]:
        nonlocal blocks
        body = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in members) + struct.pack("<II", 0, 1)
        place = len(blocks), len(body)
        blocks += body + b"\0" + struct.pack("<I", masked(crc32c(body + b"\0")))
        return place

    inner = block(entries)
    meta = block([])
    index = block([(entries[-1][0] + b"z", varint(inner[0]) + varint(inner[1]))])
    footer = b"".join(map(varint, (*meta, *index)))
    return blocks + footer.ljust(40, b"\0") + struct.pack("<Q", MAGIC), data


# --- flax -------------------------------------------------------------------------------------------------------------------------


def msgpack(value: Any) -> bytes:
    """Just what flax writes: maps, short texts, integers, arrays."""
    if isinstance(value, dict):
        return bytes([0x80 | len(value)]) + b"".join(msgpack(key) + msgpack(inner) for key, inner in value.items())
    if isinstance(value, str):
        return bytes([0xA0 | len(value)]) + value.encode()
    if isinstance(value, tuple):
        return bytes([0x90 | len(value)]) + b"".join(map(msgpack, value))
    if isinstance(value, bytes):
        return b"\xc6" + struct.pack(">I", len(value)) + value
    return bytes([value]) if value < 128 else b"\xcd" + struct.pack(">H", value)


def flax(shapes: dict[str, tuple[int, ...]] | None = None) -> bytes:
    def array(shape: tuple[int, ...]) -> bytes:
        inner = b"\x93" + msgpack(shape) + msgpack("float32") + msgpack(noise(4 * _count(shape)))
        return b"\xc9" + struct.pack(">I", len(inner)) + b"\x01" + inner

    chosen = shapes or SHAPES
    return bytes([0x81]) + msgpack("params") + bytes([0x80 | len(chosen)]) + b"".join(msgpack(name) + array(shape) for name, shape in chosen.items())


# --- NumPy ------------------------------------------------------------------------------------------------------------------------


def npy(shape: tuple[int, ...] = (10, 10)) -> bytes:
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''}), }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + noise(8 * _count(shape))


def npz(**arrays: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (arrays or {"a": npy(), "b": npy((5,))}).items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def keras(without: str = "", size: int = 4096) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": hdf5(0, size)}.items():
            if name != without:
                archive.writestr(name, content)
    return buffer.getvalue()
