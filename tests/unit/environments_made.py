"""Tiny virtual environments whose packages are made here, whole or broken on purpose, with the metadata that pip would leave."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

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
REGISTRY = 'from collections import OrderedDict\nCONFIG_MAPPING_NAMES = OrderedDict([("bert", "BertConfig"), ("llama", "LlamaConfig")])\nCONFIG_MAPPING_NAMES.update({"mimi_decoder": "X"})\n'
TORCH = "from typing import Optional\n__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"


def environment(folder: Path, **changes: dict[str, str] | None) -> tuple[Environment, Path]:
    """A virtual environment with the usual loaders, each a few lines long; ``changes`` by distribution: files (path → content), or None to leave it out.

    Returns what is known of it, and its interpreter.
    """
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (folder / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n")
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for name, version in VERSIONS.items():
        if changes.get(name, {}) is not None:
            install(site, name, version, {**whole(name), **(changes.get(name) or {})})
    for name, files in changes.items():
        if name not in VERSIONS and files is not None:
            install(site, name, "1.0", files)
    interpreter, distributions, problem = read_interpreter(str(python), {})
    assert problem is None and isinstance(interpreter, Interpreter)
    return Environment(distributions=distributions, interpreter=interpreter, platform=Platform(system="Linux", machine="x86_64", libc="glibc 2.36")), python


def whole(name: str) -> dict[str, str]:
    """The files of a package that can be imported."""
    files = {f"{name}/__init__.py": f"__version__ = {VERSIONS[name]!r}\n"}
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
