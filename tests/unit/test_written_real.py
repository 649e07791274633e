"""Files as the writers of their formats write them (gguf, onnx, h5py): nothing is wrong with any of them, and each that is cut is one fault."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import Case
from diagnostics.diagnosis import diagnose
from tests.unit.files_made import folder_target, seen_in

if any(importlib.util.find_spec(name) is None for name in ("gguf", "onnx", "h5py")):
    pytest.skip("tried in a second environment (.ci/run): gguf, onnx or h5py is not installed", allow_module_level=True)


def random(*shape: int) -> Any:
    import numpy

    return numpy.random.default_rng(1).random(shape, dtype=numpy.float32)


def by_gguf(path: Path) -> None:
    """Plain, half and quantised tensors."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(8)
    writer.add_tensor("plain", random(32, 64))
    writer.add_tensor("half", random(32, 64).astype("float16"))
    writer.add_tensor("packed", gguf.quants.quantize(random(32, 64), gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def by_onnx(path: Path, **how: Any) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 64), ("y", 32))]
    weights = numpy_helper.from_array(random(64, 32), "W")
    model = helper.make_model(helper.make_graph([helper.make_node("MatMul", ["x", "W"], ["y"])], "g", ends[:1], ends[1:], [weights]))
    onnx.save_model(model, str(path), **how)


def by_onnx_beside(path: Path) -> None:
    """With the weights in a file of their own."""
    by_onnx(path, save_as_external_data=True, all_tensors_to_one_file=True, location="model.onnx_data", size_threshold=0)


def by_h5py(path: Path, **how: Any) -> None:
    """Nested, chunked and packed, text, empty, scalar, one that may grow."""
    import h5py

    with h5py.File(path, "w", **how) as file:
        file.create_dataset("a/b/c", data=random(30, 4))
        file.create_dataset("packed", data=random(100, 100), chunks=(10, 10), compression="gzip")
        file.create_dataset("text", data="text")
        file.create_dataset("empty", shape=(0,), dtype="f4")
        file.create_dataset("scalar", data=3.0)
        file.create_dataset("grows", shape=(3,), maxshape=(None,), dtype="f4")
        file.attrs["layer_names"] = ["a"]


def by_h5py_latest(path: Path) -> None:
    by_h5py(path, libver="latest")


WRITERS: list[tuple[str, Callable[[Path], None]]] = [
    ("model.gguf", by_gguf),
    ("model.onnx", by_onnx),
    ("model.onnx", by_onnx_beside),
    ("model.h5", by_h5py),
    ("model.h5", by_h5py_latest),
]


def roots(folder: Path) -> list[str]:
    return [diagnosis.cause for diagnosis in diagnose(Case(target=folder_target(folder), files=seen_in(folder)))]


@pytest.mark.parametrize(("name", "write"), WRITERS, ids=[write.__name__ for _, write in WRITERS])
def test_what_the_writers_write_is_whole_and_cut_it_is_not(name: str, write: Callable[[Path], None], tmp_path: Path) -> None:
    """The same file with its last quarter gone, beside it."""
    write(tmp_path / name)
    assert roots(tmp_path) == []
    largest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: -largest.stat().st_size // 4])
    assert len(roots(tmp_path)) == 1
