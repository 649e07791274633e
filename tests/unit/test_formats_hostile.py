"""Every format cut at every byte, every bit of its tables flipped, and random bytes: an answer each time, soon, and never "intact" where the format itself can tell.

The full size: ``MUTATIONS=10000 pytest tests/unit/test_formats_hostile.py``.
"""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from collections.abc import Iterator

import pytest

from diagnostics.probes.formats import Bytes, Look, look_at, look_at_index
from tests.unit.test_formats import TELLS_ITS_END, WHOLE

MUTATIONS = int(os.environ.get("MUTATIONS", "100"))
FLIPPED = 400  # bytes from the beginning, where tables are; and as many from the end
# Cut there, what is left is whole by itself: a text of JSON has no length.
NO_LENGTH = ("config.json",)
# protobuf messages have no length of their own: cut between the graph and what stands behind it, what is left is one.
BETWEEN_FIELDS = {"model.onnx": 856}


class Memory(Bytes):
    """Bytes that lie in no file."""

    def __init__(self, content: bytes) -> None:
        super().__init__(-1, len(content))
        self.content = content

    def read(self, offset: int, count: int) -> bytes:
        data = self.content[max(0, offset) : max(0, offset) + max(0, min(count, self.size - offset))]
        self.read_bytes += len(data)
        return data


def look(content: bytes, name: str) -> Look:
    file = Memory(content)
    return look_at_index(file) if name.endswith(".index") else look_at(file, file.head())


@pytest.mark.parametrize("name", [name for name in TELLS_ITS_END if name not in NO_LENGTH])
def test_cut_at_any_byte_it_is_not_intact(name: str) -> None:
    """Whichever byte is the last: a defect, or bytes that are no longer taken for that format."""
    kind, make = WHOLE[name]
    content = make()
    taken = [cut for cut in range(1, len(content)) if (seen := look(content[:cut], name)).content == kind and not seen.defects]
    lost = [cut for cut in taken if content[cut:].strip(b"\0")]  # what fills a GGUF's last tensor up to its alignment is no loss
    assert lost == [BETWEEN_FIELDS[name]] if name in BETWEEN_FIELDS else lost == []


@pytest.mark.parametrize("name", WHOLE)
def test_any_flipped_bit_in_a_table_is_answered(name: str) -> None:
    """One bit, at its beginning and at its end."""
    content = WHOLE[name][1]()
    for place in sorted({*range(min(FLIPPED, len(content))), *range(max(0, len(content) - FLIPPED), len(content))}):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            assert isinstance(look(bytes(damaged), name), Look)


def mutations(content: bytes, seed: str) -> Iterator[bytes]:
    """Bytes changed, cut out, doubled and swapped; numbers blown up, as a hostile file has them."""
    source = random.Random(seed)
    for _ in range(MUTATIONS):
        damaged = bytearray(content)
        for _ in range(source.randrange(1, 9)):
            at = source.randrange(len(damaged))
            match source.randrange(5):
                case 0:
                    damaged[at] = source.randrange(256)
                case 1:
                    width = source.choice((1, 2, 4, 8))
                    damaged[at : at + width] = source.choice((b"\xff", b"\x00", b"\x7f")) * width
                case 2:
                    del damaged[at : at + source.choice((1, 4, 100))]
                case 3:
                    damaged[at:at] = damaged[at : at + source.choice((1, 8, 64))]
                case 4:
                    other = source.randrange(len(damaged))
                    damaged[at], damaged[other] = damaged[other], damaged[at]
            damaged = damaged or bytearray(b"x")
        yield bytes(damaged)


@pytest.mark.parametrize("name", WHOLE)
def test_noise_is_answered_in_bounded_time_and_memory(name: str) -> None:
    """A few thousand bytes cost neither seconds nor a hundred megabytes, whatever stands in them."""
    content = WHOLE[name][1]()
    tracemalloc.start()
    try:
        for damaged in mutations(content, name):
            started = time.process_time()
            assert isinstance(look(damaged, name), Look)
            assert time.process_time() - started < 2.0
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
