"""What a pickled checkpoint names that ``torch.load`` refuses by default. Opcodes are read (pickletools); nothing is executed.

Source: torch/_weights_only_unpickler.py ``_get_allowed_globals`` (torch 2.13).
"""

from __future__ import annotations

import io
import os
import pickletools
import re
import zipfile
from collections.abc import Iterator

from diagnostics.case import Files, FileSeen, PickledGlobals, Unseen
from diagnostics.probes.cache import real
from diagnostics.probes.files_wanted import weights_format
from diagnostics.redact import plain

MOST_PICKLE = 4 << 20
MOST_FILES = 8
ALLOWED = re.compile(
    r"collections\.(OrderedDict|Counter)|builtins\.(set|bytearray|complex)|__builtin__\.(set|bytearray|complex)|_codecs\.encode|copyreg\._reconstructor"
    r"|torch\.(Tensor|Size|device|dtype|\w+Storage|[a-z]+\d*|storage\.\w+|nn\.parameter\.\w+|_utils\._rebuild_\w+|_tensor\._rebuild_\w+|serialization\._get_layout"
    r"|cuda\.\w+|nested\._internal\.nested_tensor\.\w+|distributed\._tensor\.\w+|_prims_common\.\w+|jit\._pickle\.\w+)"
)
# These run code when they are called: the files' own matter (pickle-unsafe), not a question of an allow-list.
DANGEROUS = re.compile(
    r"(os|posix|nt|subprocess|sys|shutil|socket|runpy|importlib|pty|ctypes|webbrowser|code|pickle|_pickle|urllib.*|requests.*)\..*"
    r"|(builtins|__builtin__)\.(eval|exec|compile|open|__import__|getattr|setattr|globals|input|breakpoint)"
)


def refused_globals(files: Files | Unseen) -> tuple[PickledGlobals, ...]:
    """Of each pickled file of weights here, the names that the default unpickler refuses; files with dangerous ones are left out."""
    if not isinstance(files, Files):
        return ()
    weights = [item for item in files.files if weights_format(item.path) == "torch" and item.location and not item.defects]
    return tuple(found for item in weights[:MOST_FILES] if (found := _of_file(item)))


def _of_file(item: FileSeen) -> PickledGlobals | None:
    names = set(globals_of(_pickle_in(real(item.location), item.content)))
    refused = sorted(name for name in names if not ALLOWED.fullmatch(name))
    if not refused or any(DANGEROUS.fullmatch(name) for name in refused):
        return None
    return PickledGlobals(path=item.path, refused=tuple(plain(name, 120) for name in refused[:8]))


def _pickle_in(path: str, content: str) -> bytes:
    """The pickle of a checkpoint in zip form; b"" for a legacy one, whose several pickles are read by no rule of ours."""
    if content != "zip":
        return b""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = next((info for info in archive.infolist() if os.path.basename(info.filename) == "data.pkl"), None)
            if inside is None or inside.file_size > MOST_PICKLE:
                return b""
            with archive.open(inside) as file:
                return file.read(MOST_PICKLE)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError):
        return b""


def globals_of(data: bytes) -> Iterator[str]:
    """Every ``module.name`` that the pickle asks for, as far as it can be read."""
    texts: list[str] = []  # strings pushed so far
    memo: dict[int, str] = {}
    last = ""
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "GLOBAL":
                yield str(argument).replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL" and len(texts) >= 2:
                yield ".".join(texts[-2:])
            elif isinstance(argument, str) and "UNICODE" in opcode.name:
                last = argument
                texts = [*texts[-3:], argument]
            elif opcode.name in ("BINPUT", "LONG_BINPUT", "PUT") or opcode.name == "MEMOIZE":
                memo[int(argument) if argument is not None else len(memo)] = last
            elif opcode.name in ("BINGET", "LONG_BINGET", "GET") and argument is not None:
                texts = [*texts[-3:], memo.get(int(argument), "")]
    except (ValueError, OverflowError, UnicodeDecodeError, MemoryError, IndexError):
        return
