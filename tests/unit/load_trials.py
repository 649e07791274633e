"""Loads for real, each in a child under a control group of its own: ``python -m tests.unit.load_trials FOLDER LOADER [LIMIT …]``.

The parent imports what the load needs and only then forks, so that a child is charged with what the load itself takes: the limit under which it just loads is what
the load takes beside what the interpreter holds after its imports. Without limits the least is searched for. The model's files are put out of the page cache
before each load, else their pages would be charged to whoever read them first.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GROUPS = Path("/sys/fs/cgroup/memory")  # v1
SECONDS = 120.0
STEP = 8_000_000  # bytes: how exactly the least is searched for


def may_make_groups() -> bool:
    """Whether this user may make control groups of v1 for memory here."""
    return os.access(GROUPS / "cgroup.procs", os.W_OK) and (GROUPS / "memory.limit_in_bytes").exists()


def prepare(folder: Path, loader: str) -> Any:
    """Import whatever the load imports; returns the load as a function."""
    import torch

    torch.set_num_threads(1)
    if loader == "torch":
        path = next(path for path in sorted(folder.iterdir()) if path.suffix in (".bin", ".pt"))
        return lambda: torch.load(path, weights_only=True)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    kind = getattr(transformers, name)
    for module in (kind.__module__, "transformers.core_model_loading", "transformers.conversion_mapping"):
        importlib.import_module(module)
    with tempfile.TemporaryDirectory() as small:  # a first load imports the rest
        config = kind.config_class(**dict.fromkeys(("hidden_size", "intermediate_size", "n_embd", "vocab_size", "max_position_embeddings", "n_positions"), 8))
        for key in ("num_attention_heads", "num_hidden_layers", "num_key_value_heads", "num_local_experts", "num_experts_per_tok"):
            if hasattr(config, key):
                setattr(config, key, 1)
        kind(config).save_pretrained(small)
        kind.from_pretrained(small)
    return lambda: kind.from_pretrained(folder)


def tried(load: Any, folder: Path, limit: int) -> bool:
    """Whether ``load`` ends well in a child that may have ``limit`` bytes."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    group = GROUPS / f"pytest-diagnostics-load-{os.getpid()}"
    group.mkdir(exist_ok=True)
    (group / "memory.limit_in_bytes").write_text(str(limit))
    child = os.fork()
    if not child:
        code = 1
        try:
            (group / "cgroup.procs").write_text(str(os.getpid()))
            kept = load()
            code = 0 if kept is not None else 1
        finally:
            os._exit(code)
    ended = _waited_for(child)
    _remove(group)
    return ended


def _waited_for(child: int) -> bool:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.02)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def _remove(group: Path) -> None:
    for _ in range(100):  # the kernel lets go of the last process a moment later
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)


def least(load: Any, folder: Path) -> int:
    """The smallest limit under which it loads, to within STEP."""
    low, high = 0, sum(path.stat().st_size for path in folder.iterdir()) // 4 + STEP
    while not tried(load, folder, high):
        low, high = high, high * 2
    while high - low > STEP:
        middle = (low + high) // 2
        low, high = (low, middle) if tried(load, folder, middle) else (middle, high)
    return high


def main() -> None:
    folder, loader, limits = Path(sys.argv[1]), sys.argv[2], [int(text) for text in sys.argv[3:]]
    load = prepare(folder, loader)
    gc.collect()
    gc.freeze()  # what is not written to stays the parent's
    print(json.dumps([tried(load, folder, limit) for limit in limits] if limits else least(load, folder)))


if __name__ == "__main__":
    main()
