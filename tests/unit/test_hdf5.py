"""HDF5: what is in it is read from its own tables, and each way in which these can be broken is told from the healthy twin."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest

from diagnostics.lab import formats as made
from diagnostics.lab.hdf5 import UNDEFINED
from diagnostics.probes.formats import Look, Tensor
from tests.unit.test_formats_hostile import Memory, look

SIZE = 4096


def broken(version: int, at: int, value: bytes) -> Look:
    content = bytearray(made.hdf5(version, SIZE))
    content[at : at + len(value)] = value
    return look(bytes(content), "m.h5")


@pytest.mark.parametrize(("version", "rows"), [(0, 218), (2, 231), (3, 231)])
def test_datasets_are_read_by_their_paths(version: int, rows: int) -> None:
    """Names, shapes and types, without a library."""
    seen = look(made.hdf5(version, SIZE), "m.h5")
    assert seen == Look("hdf5", (), SIZE)
    assert seen.tensors == {"kernel": Tensor((rows, 4), "float32"), "bias": Tensor((4,), "float32")}


OLD = made.hdf5(0, SIZE)
LAYOUT = OLD.index(bytes([3, 1]) + struct.pack("<Q", 592))  # of kernel: version 3, contiguous
SPACE = OLD.index(bytes([1, 2, 0]) + bytes(5) + struct.pack("<QQ", 218, 4))
FAULTS = {
    "the root has no header": (96, b"\7", "is none"),
    "a group that leads beyond the end": (96 + 24, struct.pack("<Q", 1 << 40), "beyond its end"),
    "a tree that is none": (136, b"EERT", "tree"),
    "names that are no heap": (184, b"PAEH", "no heap"),
    "a member without a name": (280 + 8, struct.pack("<Q", 1 << 20), "no name"),
    "a node that is none": (280, b"DONS", "none"),
    "a dataset whose header leads beyond the end": (280 + 16, struct.pack("<Q", SIZE - 3), "beyond its end"),
    "data that end behind the file": (LAYOUT + 2, struct.pack("<Q", SIZE - 100), "the file at 4096"),
    "data that are fewer than the shape asks for": (LAYOUT + 10, struct.pack("<Q", 8), "its shape asks for"),
    "a shape that asks for more": (SPACE + 8, struct.pack("<Q", 1 << 50), "its shape asks for"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_format_forbids(name: str) -> None:
    """One place changed: file-structure-damaged, and where."""
    at, value, detail = FAULTS[name]
    defects = broken(0, at, value).defects
    assert [defect.code for defect in defects] == ["file-structure-damaged"]
    assert detail in defects[0].detail and isinstance(defects[0].offset, int)


def test_a_tree_that_leads_back_into_itself_ends() -> None:
    """Level 1 whose child is the node itself."""
    content = bytearray(made.hdf5(0, SIZE))
    content[136 + 5] = 1
    content[136 + 32 : 136 + 40] = struct.pack("<Q", 136)
    seen = look(bytes(content), "m.h5")
    assert seen.defects and seen.defects[0].code == "file-structure-damaged"


def test_a_message_that_is_too_short_is_no_exception() -> None:
    """A link message of no bytes where the symbol table was; nothing below it is known then."""
    content = bytearray(made.hdf5(0, SIZE))
    content[96 + 16 : 96 + 20] = struct.pack("<HH", 2, 0)
    assert look(bytes(content), "m.h5").tensors == {}


def test_data_that_were_never_written_are_no_fault() -> None:
    """A dataset of fill values alone has no place in the file."""
    seen = broken(0, LAYOUT + 2, struct.pack("<Q", UNDEFINED))
    assert seen.defects == () and "kernel" in seen.tensors


@pytest.mark.parametrize("at", [60, 170, 280])
def test_a_header_of_version_two_has_its_own_checksum(at: int) -> None:
    """Any bit in the root's or a dataset's header."""
    content = bytearray(made.hdf5(3, SIZE))
    content[at] ^= 1
    assert [defect.code for defect in look(bytes(content), "m.h5").defects] == ["file-structure-damaged"]


def keras(weights: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": weights}.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_weights_inside_a_keras_archive() -> None:
    """They are read where they are stored; packed ones are left alone."""
    seen = look(keras(made.hdf5(0, SIZE)), "m.keras")
    assert (seen.content, seen.defects) == ("keras", ()) and seen.tensors["kernel"].shape == (218, 4)
    assert look(keras(made.hdf5(0, SIZE), zipfile.ZIP_DEFLATED), "m.keras").defects == ()


def test_weights_inside_an_archive_that_are_broken() -> None:
    """Cut before they were put in, or something else: the archive is whole, and useless."""
    inner = made.hdf5(0, SIZE)
    cut, other = look(keras(inner[: SIZE // 2]), "m.keras").defects, look(keras(b"<html>" * 100), "m.keras").defects
    assert [defect.code for defect in (*cut, *other)] == ["archive-damaged", "archive-damaged"]
    assert "model.weights.h5: its superblock promises 4096 bytes" in cut[0].detail and "no HDF5" in other[0].detail


def test_many_datasets_cost_reads_of_headers_alone() -> None:
    """Not of the data: less than a twentieth of a file that is nearly all data."""
    content = made.hdf5(0, 1 << 20)
    file = Memory(content)
    from diagnostics.probes.formats.hdf5 import look_at_hdf5

    assert look_at_hdf5(file).tensors and file.read_bytes < len(content) // 20
