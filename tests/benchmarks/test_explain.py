"""What reading a pasted error costs: as ratios in one run, so that a busy machine changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

import diagnostics
from tests.unit.test_explain import PLAIN, rows

LINE = "2026-05-01 10:00:00,123 - trainer - INFO - step 100 loss 0.1234 lr 1e-5 tokens/s 1234\n"
LONG = 64 << 10


def seconds(call: Callable[[], object]) -> float:
    """The best of three: what it costs, and not what else the machine did."""
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def explaining(text: str) -> float:
    return seconds(lambda: diagnostics.explain(text))


def a_pass_over(text: str) -> float:
    """The yardstick: splitting a text into lines and each line into words."""
    return seconds(lambda: [line.split() for line in text.splitlines()])


def test_a_long_log_costs_less_than_splitting_it_into_words() -> None:
    """Thirty megabytes: found where it fails, at several times the pace of the plainest pass over it (20 MB/s and more on a slow machine)."""
    log = LINE * (30_000_000 // len(LINE)) + PLAIN
    assert diagnostics.explain(log)[0].cause == "disk-space-insufficient"
    assert explaining(log) < a_pass_over(log) / 2


def test_it_grows_no_faster_than_the_text() -> None:
    """Four times the log costs at most five times."""
    short, long = LINE * 50_000 + PLAIN, LINE * 200_000 + PLAIN
    assert explaining(long) < 5 * explaining(short)


def test_a_text_of_64_kib_costs_little() -> None:
    """A log with a traceback: no more than a few passes over it (4 ms on a slow machine); sixty tracebacks in it: some more."""
    log = LINE * ((LONG - len(PLAIN)) // len(LINE)) + PLAIN
    yardstick = a_pass_over(LINE * (LONG // len(LINE)))
    assert explaining(log) < 40 * yardstick
    assert explaining("".join(row["text"] for row in rows("loader_errors.jsonl"))[:LONG]) < 120 * yardstick


HOSTILE = ["a", "A.", "a-", "/a", "1", "0.", "'", "(", "[", "{", "`", "\n", "\t", "\x1b[", "\x1b]0;", "\\n", "> ", "| ", "a | ", "E   ", "x: ", '{"log":"x\\n"}\n', '{"a":[', "Error: ", "Traceback (most recent call last):\n", '  File "x", line 1, in f\n', "KeyError: 'a'\n", "model-00001-of-00002.safetensors ", "No such file or directory: ", "http://a.b/", "requires `", "\u0130", "2026-01-01T00:00:00Z ", "The above exception was the direct cause of the following exception:\n", "NameResolutionError(", "host='a', port=1 ", "pip install "]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE, ids=lambda unit: json.dumps(unit)[:30])
def test_no_text_is_worth_waiting_for(unit: str) -> None:
    """Whatever is repeated to 64 KiB, and to a megabyte: bounded, and no pattern goes astray in it."""
    yardstick = a_pass_over(LINE * (LONG // len(LINE)))
    short, long = (unit * (LONG // len(unit) + 1))[:LONG], (unit * ((1 << 20) // len(unit) + 1))[: 1 << 20]
    assert explaining(short) < 200 * yardstick
    assert explaining(long) < 800 * yardstick
