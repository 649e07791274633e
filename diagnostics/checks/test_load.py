"""The trial load."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from diagnostics.case import Evidence, Files, Subject, Trial
from diagnostics.checks.wording import duration, fact, size

if TYPE_CHECKING:
    from diagnostics.diagnosis import Expect

MOST_LINES = 6
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
# Tensors that models do without, or make themselves: poolers nobody uses, buffers of older versions.
NOT_MISSED = re.compile(r"(^|\.)pooler\.|\.(position_ids|masked_bias|inv_freq|num_batches_tracked)$")


def test_the_model_loads(trial: Trial, expect: Expect) -> None:
    """Does the load, tried as you would do it, end with the model in memory?"""
    subject = _subject(trial)
    expect.that(trial.outcome == "loaded", trial.outcome, subject, *_ended(trial, subject), step="load")


def test_what_was_loaded_is_whole(trial: Trial, here: tuple[Files, ...], expect: Expect) -> None:
    """Did every weight of the loaded model come from its files, and is it a number?"""
    if trial.outcome != "loaded":
        expect.skip("nothing was loaded")
        return
    if trial.way == "command":
        expect.skip("what a command of your own loads is not known")
        return
    subject = _subject(trial)
    missing = [name for name in trial.missing if not NOT_MISSED.search(name)]
    if missing:
        more = max(len(missing), trial.missing_count - (len(trial.missing) - len(missing)))
        seen = fact(subject, missing[0], "not in any file", f"{more} that the loaded model needs: {', '.join(missing[:4])}{' …' if more > 4 else ''}")
        unused = [fact(subject, "left over in the files", f"{trial.unused_count}: {', '.join(trial.unused[:4])}")] if trial.unused else []
        because = fact(subject, "because", "The loader itself said so in the trial load")
        expect.that(False, "tensors-missing", _weights(here) or subject, seen, because, *unused, step="model")
    for code, names, what in (("nan", trial.not_a_number, "not a number (NaN)"), ("meta", trial.without_numbers, "without numbers (on the meta device)")):
        if names:
            seen = fact(subject, what, ", ".join(names[:4]) + (" …" if len(names) > 4 else ""), "none")
            expect.that(False, code, subject, seen, severity="warning", step="load")
    expect.that(True, "whole", subject, step="load")


def _weights(here: tuple[Files, ...]) -> Subject | None:
    """The file of the weights, the first of several."""
    places = (seen.location for files in here for seen in files.files if seen.path.endswith(WEIGHTS) and seen.location)
    return next((Subject(kind="file", name=place) for place in places), None)


def _subject(trial: Trial) -> Subject:
    return Subject(kind="load", name="the command" if trial.way == "command" else trial.what)


def _ended(trial: Trial, subject: Subject) -> list[Evidence]:
    """How it ended, with what is needed to believe it."""
    found = [fact(subject, "ended", how(trial), "the end of the load, and no error")]
    found += [fact(subject, "first error", trial.first_error)] if trial.first_error else []
    found += [fact(subject, "while at", trial.step)] if trial.step and trial.outcome != "loaded" else []
    found += [fact(subject, "in", line) for line in trial.frames[:4]]
    lines = trial.traceback or trial.output
    found += [fact(subject, "said", line) for line in lines[-MOST_LINES:]]
    found += [fact(subject, "was", trial.what)] if trial.way == "command" else []
    found += [fact(subject, "memory at its peak", f"{size(trial.peak_bytes)}, {size(trial.memory_limit_bytes)} were allowed ({trial.memory_limit_source})")]
    found += [fact(subject, "time", f"{trial.seconds:.1f} s, {duration(trial.limit_seconds)} were allowed")]
    found += [fact(subject, "network", f"{trial.network}: {trial.network_why}")]
    return found + ([fact(subject, "left running", f"{trial.left_running} processes, which were ended", "none")] if trial.left_running else [])


def how(trial: Trial) -> str:
    """The end of it in a few words."""
    match trial.outcome:
        case "loaded":
            return "well"
        case "raised":
            return f"{trial.error}: {trial.message}" if trial.message else trial.error
        case "failed":
            return f"exit status {trial.exit_status}"
        case "hung":
            return f"not at all: it was stopped after {duration(trial.seconds)}"
        case "not_started":
            return f"before it began: {trial.message}"
        case _:
            return f"by signal {trial.signal} ({_name(trial.signal)})"


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
