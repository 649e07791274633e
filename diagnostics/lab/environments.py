"""Tiny virtual environments whose packages are made here, whole or broken on purpose, with the metadata that pip would leave."""

from __future__ import annotations

import base64
import hashlib
import io
import pickle
import struct
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from diagnostics.case import Environment, Interpreter, Platform
from diagnostics.environment.interpreter import read_interpreter

VERSIONS = {
    "transformers": "5.24.0",
    "torch": "2.13.0",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "huggingface_hub": "2.4.0",
    "numpy": "2.4.6",
    "regex": "2026.1",
}
NOTHING: Mapping[str, Any] = MappingProxyType({})
REGISTRY = 'from collections import OrderedDict\nCONFIG_MAPPING_NAMES = OrderedDict([("bert", "BertConfig"), ("llama", "LlamaConfig")])\nCONFIG_MAPPING_NAMES.update({"mimi_decoder": "X"})\n'
TORCH = "from typing import Optional\n__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"


Changes = Mapping[str, dict[str, str] | None]


def make(folder: Path, versions: Mapping[str, str] = VERSIONS, requires: Mapping[str, tuple[str, ...]] = NOTHING, changes: Changes = NOTHING) -> Path:
    """A virtual environment with these distributions, each a few lines long; returns its interpreter.

    ``changes`` by distribution: files (path → content) that come on top, or None to leave it out. ``requires`` by distribution: what it requires.
    """
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n")
    for name, version in {**dict.fromkeys(changes, "1.0"), **versions}.items():
        files = changes.get(name, {})
        if files is not None:
            install(site_of(folder), name, version, {**whole(name, version), **files}, requires.get(name, ()))
    return python


def site_of(folder: Path) -> Path:
    """Where the environment's packages lie."""
    return folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def environment(folder: Path, **changes: dict[str, str] | None) -> tuple[Environment, Path]:
    """An environment with ``changes``: what is known of it, and its interpreter."""
    python = make(folder, changes=changes)
    interpreter, distributions, problem = read_interpreter(str(python), {})
    assert problem is None and isinstance(interpreter, Interpreter)
    return Environment(distributions=distributions, interpreter=interpreter, platform=Platform(system="Linux", machine="x86_64", libc="glibc 2.36")), python


def whole(name: str, version: str) -> dict[str, str]:
    """The files of a package that can be imported."""
    module = name.replace("-", "_")
    files = {f"{module}/__init__.py": f"__version__ = {version!r}\n"}
    if name == "transformers":
        files |= {"transformers/models/auto/configuration_auto.py": REGISTRY}
    return files | ({"torch/version.py": TORCH} if name == "torch" else {})


def install(site: Path, name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> None:
    """Files and metadata as pip leaves them. A file whose content is ``GONE`` is recorded and not there."""
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    rows = []
    for path, content in files.items():
        data = content.encode()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(data)}")
        if content != GONE:
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(data)
    python = next((line.removeprefix("python ") for line in requires if line.startswith("python ")), "")
    lines = [f"Requires-Dist: {line}" for line in requires if not line.startswith("python ")] + ([f"Requires-Python: {python}"] if python else [])
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines, ""]))
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nTag: {tag}\n")
    (info / "RECORD").write_text("\n".join([*rows, f"{info.name}/RECORD,,", ""]))


GONE = "this file went away"


def checkpoint() -> bytes:
    """A small checkpoint in torch's zip form, as ``torch.save`` lays it out: one tensor of 1000 floats in an ordered dict."""
    pickled = (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04"
        b"ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07M\xe8\x03tq\x08QK\x00M\xe8\x03\x85q\tK\x01\x85q\n\x89h\x00)Rq\x0btq\x0cRq\rs."
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pytorch_model/data.pkl", pickled)
        archive.writestr("pytorch_model/byteorder", "little")
        archive.writestr("pytorch_model/data/0", hashlib.shake_256(b"weights").digest(4000))
        archive.writestr("pytorch_model/version", "3\n")
    return buffer.getvalue()


def legacy_checkpoint(path: Path, count: int) -> None:
    """A checkpoint of one tensor of ``count`` floats in the form before torch 1.6, which is read whole (torch/serialization.py ``_legacy_save``)."""
    number = b"J" + struct.pack("<i", count)
    tensor = (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04"
        b"ctorch\nFloatStorage\nq\x05X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07"
        + number
        + b"Ntq\x08QK\x00"
        + number
        + b"\x85q\tK\x01\x85q\n\x89h\x00)Rq\x0b"
        b"tq\x0cRq\rs."
    )
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = b"".join(pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, system)) + tensor + pickle.dumps(["0"], protocol=2)
    block = hashlib.shake_256(b"weights").digest(1 << 20)
    with path.open("wb") as file:
        file.write(head + struct.pack("<q", count))
        for start in range(0, 4 * count, len(block)):
            file.write(block[: 4 * count - start])
