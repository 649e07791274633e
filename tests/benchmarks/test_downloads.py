"""The downloader beside others in one run, small; ``python -m tests.benchmarks.downloads --full`` is the whole form, and holds the targets themselves.

At this size a round takes a fraction of a second, much of it threads that start: what is held here are ratios with room, so that a step back of half as much again shows.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.downloads import SMALL, Load, Took, available, compare

ROUNDS = 3
MIB = 1 << 20
# Bare requests, and the hub's own client, which a test environment has; what else is installed is for the whole form.
CLIENTS = ["ours", "ours+digest", "requests", "hashing", "huggingface_hub"]


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, bool], dict[str, Took]]:
    import sys

    return compare(SMALL, ROUNDS, clients=[client for client in CLIENTS if client in available(sys.executable)])


@pytest.mark.parametrize("load", [load.name for load in SMALL])
def test_no_python_client_is_much_faster(measured: dict[tuple[str, bool], dict[str, Took]], load: str) -> None:
    """The best of three rounds each: within twice the plain loop (which keeps nothing, verifies nothing and cannot go on), faster than the hub's client."""
    table = measured[load, False]
    ours = min(table["ours"].seconds)
    assert ours < 2 * min(table["requests"].seconds) + 0.25
    assert ours < 1.5 * min(table["huggingface_hub"].seconds)


def test_a_digest_is_had_beside_the_transfer(measured: dict[tuple[str, bool], dict[str, Took]]) -> None:
    """In computing, which a busy machine does not blur: not more than the transfer and the bare hashing together, and a third of them for reading it again."""
    table = measured["one", False]
    assert min(table["ours+digest"].cpu) < 1.33 * (min(table["ours"].cpu) + min(table["hashing"].cpu)) + 0.1


def test_memory_is_constant(measured: dict[tuple[str, bool], dict[str, Took]]) -> None:
    """Under 80 MB whatever is fetched: no more for four times the bytes."""
    larger = compare((Load(name="one", count=1, bytes=256 * MIB),), 1, clients=["ours", "ours+digest"])["one", False]
    for client in ("ours", "ours+digest"):
        assert larger[client].peak_mib < 76
        assert larger[client].peak_mib < measured["one", False][client].peak_mib + 16


def test_a_server_that_limits_each_connection_is_met_with_several(measured: dict[tuple[str, bool], dict[str, Took]]) -> None:
    """At 20 MB/s a connection a file of 96 MiB takes us at most two thirds of what one connection does."""
    table = compare((Load(name="one", count=1, bytes=96 * MIB),), 1, limits=(True,), clients=["ours+digest", "requests"])["one", True]
    assert table["ours+digest"].median < 0.67 * table["requests"].median
