"""Formats: the healthy file of each beside the same file cut, zeroed, flipped and lengthened; and what a pickle would import."""

from __future__ import annotations

import collections
import io
import pickle
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnostics.case import Case, Environment, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.facts.pickles import judge
from diagnostics.lab import formats as made
from diagnostics.lab.formats import noise
from diagnostics.probes.files import see_files
from diagnostics.probes.formats import Bytes, Look, look_at, look_at_index
from diagnostics.probes.formats.pickles import Global, scan
from tests.unit.files_made import folder_target, safetensors

WHOLE: dict[str, tuple[str, Callable[[], bytes]]] = {  # name of the file → what its bytes are, a true one
    "model.safetensors": ("safetensors", safetensors),
    "pytorch_model.bin": ("torch-zip", made.torch_zip),
    "old.pth": ("torch-legacy", made.torch_legacy),
    "plain.pt": ("pickle", lambda: made.torch_pickle({"a": 1, "b": [1.5, "x"] * 50})),
    "a.gguf": ("gguf", made.gguf),
    "v1.gguf": ("gguf", lambda: made.gguf(1)),
    "v2.gguf": ("gguf", lambda: made.gguf(2)),
    "big-endian.gguf": ("gguf", lambda: made.gguf(3, order=">")),
    "tf_model.h5": ("hdf5", made.hdf5),
    "new.h5": ("hdf5", lambda: made.hdf5(3)),
    "model.onnx": ("onnx", made.onnx),
    "saved_model.pb": ("protobuf", made.saved_model),
    "spiece.model": ("sentencepiece", made.sentencepiece),
    "flax_model.msgpack": ("msgpack", made.flax),
    "weights.npz": ("npz", made.npz),
    "array.npy": ("npy", made.npy),
    "model.keras": ("keras", made.keras),
    "config.json": ("json", lambda: b'{"model_type": "bert", "hidden_size": 8, "architectures": ["BertModel"]}'),
    "model.ckpt.index": ("tensorflow-index", lambda: made.tf_index()[0]),
}
# What their own tables do not tell: bytes lost behind the last piece of a sentencepiece model or within a longer text.
TELLS_ITS_END = [name for name in WHOLE if name != "spiece.model"]


def look(content: bytes, name: str, folder: Path) -> Look:
    path = folder / "bytes"
    path.write_bytes(content)
    with path.open("rb") as file:
        opened = Bytes(file.fileno(), len(content))
        return look_at_index(opened) if name.endswith(".index") else look_at(opened, opened.head())


def roots(folder: Path) -> list[str]:
    target = folder_target(folder)
    return [found.cause for found in diagnose(Case(target=target, files=see_files(target, Environment(), Unseen("absent"))))]


def alone(tmp_path: Path, name: str, content: bytes) -> list[str]:
    """Ids of the roots of a folder with this one file of weights."""
    folder = tmp_path / "alone"
    folder.mkdir(exist_ok=True)
    for other in folder.iterdir():
        other.unlink()
    (folder / name).write_bytes(content)
    if name in ("weights.npz", "array.npy"):  # no model: what is no model is judged whole
        return roots(folder)
    if name != "config.json":
        (folder / "config.json").write_bytes(WHOLE["config.json"][1]())
    if name in ("config.json", "spiece.model"):
        (folder / "model.safetensors").write_bytes(safetensors())
    if name.endswith(".index"):
        (folder / "model.ckpt.data-00000-of-00001").write_bytes(made.tf_index()[1])
    return [root for root in roots(folder) if root != "weights-framework-mismatch"]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_has_no_defect(tmp_path: Path, name: str) -> None:
    """Each true file is known by its bytes and holds together."""
    content, make = WHOLE[name]
    seen = look(make(), name, tmp_path)
    assert (seen.content, seen.defects) == (content, ()) and alone(tmp_path, name, make()) == []


@pytest.mark.parametrize("name", TELLS_ITS_END)
@pytest.mark.parametrize("part", [0.3, 0.6, 0.97])
def test_a_file_cut_short_is_truncated_and_nothing_else(tmp_path: Path, name: str, part: float) -> None:
    """Cut at a third, at two thirds, near its end: one root, file-truncated (of JSON: json-invalid, it has no length)."""
    content = WHOLE[name][1]()
    expected = "json-invalid" if name.endswith(".json") else "file-truncated"
    assert alone(tmp_path, name, content[: int(len(content) * part)]) == [expected]


@pytest.mark.parametrize("name", [name for name in TELLS_ITS_END if name not in ("config.json", "plain.pt", "model.ckpt.index")])
def test_zeros_where_bytes_are_due(tmp_path: Path, name: str) -> None:
    """The right length and zeros behind two fifths of it: a copy that broke off."""
    content = made_large(name)
    cut = int(len(content) * 0.4)
    assert alone(tmp_path, name, content[:cut] + bytes(len(content) - cut)) == ["file-zero-filled"]


def made_large(name: str) -> bytes:
    """A true file of each format of more than a few blocks."""
    shapes = {f"layer.{number}.weight": (101, 73) for number in range(6)}
    large: dict[str, Callable[[], bytes]] = {
        "model.safetensors": lambda: safetensors({f"t{number}": 30_001 for number in range(6)}),
        "pytorch_model.bin": lambda: made.torch_zip(shapes),
        "old.pth": lambda: made.torch_legacy(shapes),
        "model.onnx": lambda: made.onnx() + made.field(20, noise(30_000)),
        "saved_model.pb": lambda: made.saved_model() + made.field(2, noise(30_000)),
        "flax_model.msgpack": lambda: made.flax(shapes),
        "weights.npz": lambda: made.npz(a=made.npy((90, 90)), b=made.npy((80, 80))),
        "array.npy": lambda: made.npy((90, 90)),
        "model.keras": lambda: made.keras(size=40_000),
        "tf_model.h5": lambda: made.hdf5(0, 40_000),
        "new.h5": lambda: made.hdf5(3, 40_000),
    }
    if name.endswith(".gguf"):
        return made.gguf(1 if name.startswith("v1") else 3, shapes)
    return large.get(name, WHOLE[name][1])()


@pytest.mark.parametrize("name", WHOLE)
def test_no_flipped_bit_no_cut_and_no_noise_is_an_exception(tmp_path: Path, name: str) -> None:
    """Every bit of the first 200 bytes and of the last 100, cuts at every tenth byte, random bytes written over: an answer each time, and soon."""
    content = WHOLE[name][1]()
    source = random.Random(name)
    started, count = time.monotonic(), 0
    places = [*range(0, min(200, len(content)), 2), *range(max(0, len(content) - 100), len(content), 3)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << source.randrange(8)
        assert isinstance(look(bytes(damaged), name, tmp_path), Look)
    for cut in range(0, len(content), max(10, len(content) // 60)):
        assert isinstance(look(content[:cut], name, tmp_path), Look)
    for _ in range(60):
        damaged, count = bytearray(content), count + 1
        for _ in range(source.randrange(1, 12)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        begin = source.randrange(len(damaged))
        del damaged[begin : begin + source.choice((0, 0, 1, 8, 100))]
        assert isinstance(look(bytes(damaged), name, tmp_path), Look)
    assert time.monotonic() - started < 60


# --- the inside of each format ----------------------------------------------------------------------------------------------------


def test_tensors_are_read_from_each_table(tmp_path: Path) -> None:
    """Names and shapes without loading: the same three tensors from torch's two forms, TensorFlow's index and flax."""
    for name, content in (("m.bin", made.torch_zip()), ("m.bin", made.torch_legacy()), ("m.index", made.tf_index()[0]), ("m.msgpack", made.flax())):
        found = {key.removeprefix("params."): tensor.shape for key, tensor in look(content, name, tmp_path).tensors.items()}
        assert found == made.SHAPES
    assert look(made.gguf(), "a.gguf", tmp_path).tensors["token_embd.weight"].shape == (7, 32)
    assert look(made.onnx(), "a.onnx", tmp_path).tensors["W"].shape == (10, 20)


def test_a_checkpoint_without_one_of_its_storages(tmp_path: Path) -> None:
    """The pickle names a record that the archive does not hold, or one that is too short."""
    assert alone(tmp_path, "pytorch_model.bin", made.torch_zip(without="1")) == ["archive-damaged"]
    whole = io.BytesIO(made.torch_zip())
    short = io.BytesIO()
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(short, "w") as new:
        for record in old.infolist():
            new.writestr(record, old.read(record)[: 100 if record.filename == "m/data/0" else None])
    assert alone(tmp_path, "pytorch_model.bin", short.getvalue()) == ["archive-damaged"]


def test_a_flipped_byte_in_the_pickle_of_an_archive(tmp_path: Path) -> None:
    """data.pkl is small: its CRC is checked at once."""
    content = made.torch_zip()
    at = content.index(b"embed.weight")
    assert alone(tmp_path, "pytorch_model.bin", content[:at] + b"E" + content[at + 1 :]) == ["archive-damaged"]


@pytest.mark.parametrize("size", [300, 399])
def test_external_data_of_onnx(tmp_path: Path, size: int) -> None:
    """The file in which the weights lie is missing, short, or whole."""
    (tmp_path / "config.json").write_bytes(WHOLE["config.json"][1]())
    (tmp_path / "model.onnx").write_bytes(made.onnx({"model.onnx.data": (0, 200), "model.onnx_data": (100, 300)}))
    assert roots(tmp_path) == ["file-missing"]
    (tmp_path / "model.onnx.data").write_bytes(noise(200))
    (tmp_path / "model.onnx_data").write_bytes(noise(size))
    assert roots(tmp_path)[0] == "file-truncated"
    (tmp_path / "model.onnx_data").write_bytes(noise(400))
    assert roots(tmp_path) in ([], ["weights-framework-mismatch"])


def test_a_tensorflow_checkpoint_and_its_data(tmp_path: Path) -> None:
    """GPT-2's folder: the index knows its data files and how long they are."""
    index, data = made.tf_index(shards=2)
    for name, content in {
        "checkpoint": b'model_checkpoint_path: "model.ckpt"',
        "hparams.json": b"{}",
        "encoder.json": b"{}",
        "vocab.bpe": b"a b",
        "model.ckpt.meta": noise(99),
        "model.ckpt.index": index,
    }.items():
        (tmp_path / name).write_bytes(content)
    assert roots(tmp_path) == ["shard-missing"]
    (tmp_path / "model.ckpt.data-00000-of-00002").write_bytes(data[:-1])
    (tmp_path / "model.ckpt.data-00001-of-00002").write_bytes(b"x")
    assert roots(tmp_path)[0] == "file-truncated"
    (tmp_path / "model.ckpt.data-00000-of-00002").write_bytes(data)
    assert roots(tmp_path) == []


def test_a_flipped_bit_in_the_index_of_tensorflow(tmp_path: Path) -> None:
    """Each block carries a checksum."""
    index = bytearray(made.tf_index()[0])
    index[30] ^= 4
    assert alone(tmp_path, "model.ckpt.index", bytes(index)) == ["file-structure-damaged"]


def test_the_checksum_of_a_new_superblock(tmp_path: Path) -> None:
    """HDF5 versions 2 and 3 sign their superblock; versions 0 and 1 do not."""
    content = bytearray(made.hdf5(3))
    content[29] ^= 1
    assert alone(tmp_path, "tf_model.h5", bytes(content)) == ["file-structure-damaged"]


def test_a_keras_archive_without_weights(tmp_path: Path) -> None:
    """config and metadata alone are no model."""
    assert alone(tmp_path, "model.keras", made.keras(without="model.weights.h5")) == ["archive-damaged"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_record_packed_in_another_way_and_damaged(tmp_path: Path, method: int) -> None:
    """bz2 says OSError of bad bytes, lzma an error of its own: both are the archive's."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a.npy", made.npy((90, 90)))
    content = bytearray(buffer.getvalue())
    assert look(bytes(content), "weights.npz", tmp_path).defects == ()
    content[60:90] = bytes(30)
    assert [defect.code for defect in look(bytes(content), "weights.npz", tmp_path).defects] == ["archive-damaged"]


def test_a_number_of_tensors_that_cannot_be(tmp_path: Path) -> None:
    """A count of 2^60 is not walked."""
    content = bytearray(made.gguf())
    content[15] = 0x10
    started = time.monotonic()
    assert [defect.code for defect in look(bytes(content), "a.gguf", tmp_path).defects] == ["file-structure-damaged"]
    assert time.monotonic() - started < 10


# --- pickles ------------------------------------------------------------------------------------------------------------------------


def test_what_a_pickle_would_import() -> None:
    """Globals of protocol 0 to 5, called or not, without running it."""
    for protocol in range(6):
        found = scan(pickle.dumps({"a": made.Runs(), "b": collections.OrderedDict(a=1)}, protocol))
        assert {str(name) for name in found.globals} == {"posix.system", "collections.OrderedDict"} or {str(name) for name in found.globals} == {
            "nt.system",
            "collections.OrderedDict",
        }
        assert found.end > 0 and not found.error


@pytest.mark.parametrize(
    ("module", "name", "verdict"),
    [
        ("collections", "OrderedDict", "taken"),
        ("torch._utils", "_rebuild_tensor_v2", "taken"),
        ("torch", "FloatStorage", "taken"),
        ("torch", "bfloat16", "taken"),
        ("torch.nn.modules.linear", "Linear", "refused"),
        ("numpy.core.multiarray", "scalar", "refused"),
        ("argparse", "Namespace", "refused"),
        ("pathlib", "PosixPath", "refused"),
        ("__main__", "Model", "refused"),
        ("posix", "system", "dangerous"),
        ("builtins", "eval", "dangerous"),
        ("__builtin__", "exec", "dangerous"),
        ("os.path", "join", "dangerous"),
        ("subprocess", "Popen", "dangerous"),
        ("torch", "load", "dangerous"),
        ("torch.hub", "load", "dangerous"),
        ("?", "?", "refused"),
    ],
)
def test_the_verdict_of_a_global(module: str, name: str, verdict: str) -> None:
    """Taken by weights_only, refused, or able to run code."""
    assert judge(module, name) == verdict


def test_a_pickle_that_runs_code_is_named_and_never_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The first root says so, whatever else is wrong, and nothing is printed by the payload."""
    content = made.torch_pickle({"w": 1, "x": made.Runs()})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", content)
        archive.writestr("m/version", "3")
    assert alone(tmp_path, "pytorch_model.bin", buffer.getvalue()) == ["pickle-unsafe"]
    assert alone(tmp_path, "pytorch_model.bin", pickle.dumps(made.Runs())) == ["pickle-unsafe"]
    assert "never be seen" not in "".join(capfd.readouterr())


def test_a_class_that_weights_only_refuses(tmp_path: Path) -> None:
    """A whole object saved instead of its state dict."""
    assert alone(tmp_path, "pytorch_model.bin", made.torch_zip(extra=made.OfMain())) == ["torch-weights-only"]


def test_names_made_up_while_loading() -> None:
    """STACK_GLOBAL takes its names from the stack: where they are computed, the scan says that it does not know."""
    computed = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x01x\x85R\x8c\x04path\x93."
    assert Global("?", "?") in scan(computed).globals and Global("builtins", "eval") in scan(computed).globals


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80", b"\x80\x04", b"\x80\x04.", b"R.", b"u.", b"\x80\x04" + b"(" * 100_000 + b"t" * 100_000 + b".", b"\x80\x04" + b")" + b"\x85" * 300_000 + b".", b"\x80\x04]" + b"2" * 200_000 + b".", b"h\x05.", b"\x8d" + b"\xff" * 8 + b"x", b"T\xff\xff\xff\xff", b"I" + b"9" * 100_000 + b"\n."],
)  # fmt: skip
def test_hostile_pickles(content: bytes) -> None:
    """Deep, endless, underflowing, with lengths of 2^64: an answer at once."""
    started = time.monotonic()
    found = scan(content)
    assert (found.end >= 0) != bool(found.error) and time.monotonic() - started < 60
