"""The trial load: how an end is read, what it leads to, and what one that went well says of the rest. Hand-made ends, no process."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from diagnostics.case import (
    Case,
    Clues,
    Distribution,
    Environment,
    Evidence,
    Explanation,
    Files,
    FileSeen,
    Interpreter,
    Listing,
    Memory,
    MemoryLimit,
    Subject,
    Target,
    Trial,
    Unseen,
)
from diagnostics.codec import decode, encode
from diagnostics.diagnosis import diagnose, judge
from diagnostics.redact import Secrets
from diagnostics.trial import bounds_of, plan_of
from diagnostics.trial.endings import trial_of
from diagnostics.trial.plan import Plan, of_command
from diagnostics.trial.process import Bounds, Ending, run_bounded
from tests.unit.test_memory import V1, V2, tree, v1, v2

GB = 10**9
BOUNDS = Bounds(seconds=60, memory_bytes=GB, floor_bytes=0)
LOADED = Trial(
    what="BertModel", way="transformers", outcome="loaded", seconds=2.0, peak_bytes=GB, memory_limit_bytes=2 * GB, memory_limit_source="host", limit_seconds=600
)
SEGFAULT = 'Fatal Python error: Segmentation fault\n\nThread 0x01 (most recent call first):\n  File "/x/other.py", line 9 in idle\n\nCurrent thread 0x02 (most recent call first):\n  File "/x/torch/serialization.py", line 12 in _load\n  File "<string>", line 1 in <module>\n\nExtension modules: torch\n'
MISSING = "Traceback (most recent call last):\n  File \"<string>\", line 3, in main\nModuleNotFoundError: No module named 'sentencepiece'\n"


def command() -> Plan:
    return of_command(("x",), {}, "x")


def library() -> Plan:
    return dataclasses.replace(command(), way="transformers", what="BertModel", network="off")


def read(plan: Plan, secrets: Secrets | None = None, **ended: Any) -> Trial:
    trial = trial_of(plan, Ending(**ended), BOUNDS, "host", secrets or Secrets(), "")
    assert isinstance(trial, Trial)
    return trial


def said(*steps: dict[str, Any]) -> str:
    return "\n".join(json.dumps(step) for step in steps)


RAISED = said(
    {"step": "model", "what": "BertModel"},
    {"step": "raised", "type": "ModuleNotFoundError", "text": MISSING, "chain": [{"type": "ModuleNotFoundError", "text": "No module named 'sentencepiece'"}]},
)

# --- how it ended -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "ended", "outcome"),
    [
        (library(), {"exit_status": 0, "said": said({"step": "loaded"})}, ("loaded", "", 0)),
        (library(), {"exit_status": 1, "said": RAISED}, ("raised", "", 0)),
        (library(), {"exit_status": 0}, ("failed", "", 0)),
        (library(), {"signal": 9, "group_kills": 1}, ("killed", "limit", 9)),
        (library(), {"signal": 9, "above_kills": 1}, ("killed", "above", 9)),
        (library(), {"signal": 9, "host_kills": 1}, ("killed", "host", 9)),
        (library(), {"signal": 9}, ("killed", "", 9)),
        (library(), {"signal": 9, "ended_for": "memory"}, ("killed", "watch", 9)),
        (library(), {"signal": 9, "ended_for": "memory", "dry": True}, ("killed", "dry", 9)),
        (library(), {"signal": 15}, ("killed", "", 15)),
        (library(), {"signal": 11, "output": SEGFAULT}, ("crashed", "", 11)),
        (library(), {"signal": 6, "ended_for": "time"}, ("hung", "", 6)),
        (library(), {"failed": "FileNotFoundError: no python"}, ("not_started", "", 0)),
        (command(), {"exit_status": 0}, ("loaded", "", 0)),
        (command(), {"exit_status": 139}, ("failed", "", 0)),
        (command(), {"exit_status": 139, "output": SEGFAULT}, ("crashed", "", 11)),
        (command(), {"exit_status": 139, "output": "Segmentation fault (core dumped)\n"}, ("crashed", "", 11)),
        (command(), {"exit_status": 1, "output": "INFO no Segmentation fault here\n"}, ("failed", "", 0)),
        (command(), {"exit_status": 1, "output": SEGFAULT}, ("crashed", "", 11)),
        (command(), {"exit_status": 137}, ("failed", "", 0)),
        (command(), {"exit_status": 137, "group_kills": 1}, ("killed", "limit", 9)),
        (command(), {"exit_status": 1, "group_kills": 1}, ("killed", "limit", 9)),
    ],
)
def test_an_end_is_what_happened_and_not_what_was_said(plan: Plan, ended: dict[str, Any], outcome: tuple[str, str, int]) -> None:
    """A signal is the kernel's word; an exit status of 128 and more is only a shell's, and is believed with more than the number."""
    trial = read(plan, **ended)
    assert (trial.outcome, trial.killer, trial.signal) == outcome


def test_where_it_was_is_the_thread_that_got_the_signal() -> None:
    """Not another one that waits; the record survives JSON."""
    trial = read(library(), signal=11, output="before\n" + SEGFAULT)
    assert trial.frames[0] == "_load (/x/torch/serialization.py:12)" and len(trial.frames) == 1
    assert trial.output == ("before",)
    assert decode(Trial, json.loads(json.dumps(encode(trial)))) == trial


def test_texts_are_cleaned_and_bounded() -> None:
    """Colours, progress that was overwritten, titles of terminals, a token across the cut of a long line."""
    token = "hf_" + "a1B2c3D4" * 5
    noise = "\x1b[31mred\x1b[0m\n" + "0%\r50%\r100% done\n" + "\x1b]0;title\x07" + "x" * 5000 + token + "\n" + "y" * 300 + token + "y" * 380 + "\nlast\n"
    trial = read(command(), Secrets(token=token), exit_status=1, output=noise)
    assert trial.output[:2] == ("red", "100% done") and trial.output[-1] == "last"
    assert not any(token[5:] in line or "\x1b" in line for line in trial.output) and max(map(len, trial.output)) <= 401


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[1]",
        "{",
        '{"step": 3}',
        '{"step": "info", "missing_keys": 5, "counts": {"missing_keys": -3}}',
        '{"step": "raised", "chain": "x"}',
        "{" * 100_000,
    ],
)
def test_a_loader_that_says_nonsense_is_read_all_the_same(text: str) -> None:
    """Anything may write to its descriptor."""
    trial = read(library(), exit_status=0, said=text + "\n" + said({"step": "loaded"}))
    assert trial.outcome in ("loaded", "raised") and trial.missing == ()


# --- what it leads to ---------------------------------------------------------------------------------------------------------


def case(trial: Trial, **records: Any) -> Case:
    return dataclasses.replace(Case(), trial=trial, **records)


def found(case: Case) -> list[tuple[str, str]]:
    return [(diagnosis.cause, diagnosis.severity) for diagnosis in diagnose(case)]


def cut_file(code: str = "file-truncated") -> Files:
    from diagnostics.case import Defect

    seen = FileSeen(path="model.safetensors", location="/m/model.safetensors", bytes=10, content="safetensors", defects=(Defect(code=code, detail="cut"),))
    return Files(place="folder", path="/m", files=(seen,))


def too_large() -> Memory:
    limit = MemoryLimit(source="cgroup v2 /a memory.max", kind="cgroup", limit_bytes=GB, used_bytes=0, available_bytes=GB)
    return Memory(total_bytes=64 * GB, available_bytes=60 * GB, limits=(limit,), needed_bytes=3 * GB, needed_why="1 file", resident_bytes=3 * GB)


ENDS = {
    "killed": ({"signal": 9, "group_kills": 1}, "load-killed"),
    "killed by nobody known": ({"signal": 9}, "load-killed"),
    "crashed": ({"signal": 11, "output": SEGFAULT}, "load-crashed"),
    "bus": ({"signal": 7}, "load-crashed"),
    "raised": ({"exit_status": 1, "said": said({"step": "raised", "type": "RuntimeError", "text": "RuntimeError: nobody has seen this", "chain": [{"type": "RuntimeError", "text": "nobody has seen this"}]})}, "load-failed"),
    "hung": ({"signal": 6, "ended_for": "time", "seconds": 60.0}, "load-failed"),
    "named": ({"exit_status": 1, "said": RAISED}, "package-missing"),
    "illegal": ({"signal": 4, "output": SEGFAULT.replace("Segmentation fault", "Illegal instruction")}, "cpu-instruction-missing"),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_an_end_has_one_root_with_evidence_and_a_remedy(name: str) -> None:
    """What its words name, or what it was; beside a healthy twin there is none."""
    ended, cause = ENDS[name]
    diagnoses = diagnose(case(read(library(), **ended)))
    assert [diagnosis.cause for diagnosis in diagnoses] == [cause]
    assert diagnoses[0].remedies and diagnoses[0].evidence and "{" not in diagnoses[0].title + diagnoses[0].why and "<" not in diagnoses[0].title
    assert found(case(LOADED)) == []


def test_a_damaged_file_is_behind_an_exception_that_says_little() -> None:
    """Bytes before messages: the probes' root takes the end of the load under it."""
    ended = read(library(), **ENDS["raised"][0])
    judgement = judge(case(ended, files=cut_file()))
    assert [item.cause for item in judgement.diagnoses] == ["file-truncated"]
    assert "load-failed" in judgement.diagnoses[0].explains
    result = next(result for result in judgement.results if result.check == "load/the-model-loads")
    assert (result.outcome, "file-truncated" in result.reason) == ("failed", True)


def test_a_missing_package_is_no_damaged_file() -> None:
    """Two roots where the exception names another one: neither hides the other."""
    assert sorted(cause for cause, _ in found(case(read(library(), exit_status=1, said=RAISED), files=cut_file()))) == ["file-truncated", "package-missing"]


def test_too_little_memory_is_behind_a_kill_for_memory() -> None:
    """And not behind a signal that somebody sent; a warning becomes the error that it was."""
    killed = read(library(), signal=9, group_kills=1)
    assert found(case(killed, memory=too_large())) == [("memory-limited-by-container", "error")]
    mild = dataclasses.replace(too_large(), needed_bytes=GB // 2)
    assert found(case(LOADED, memory=mild))[0][1] == "warning"
    assert found(case(killed, memory=mild)) == [("memory-limited-by-container", "error")]
    assert "load-killed" in [cause for cause, _ in found(case(read(library(), signal=9), memory=mild))]


def test_a_load_that_went_well_is_not_contradicted_in_silence() -> None:
    """What it refutes becomes a warning that says so; what it does not look at stays an error, and says that."""
    soft, hard = diagnose(case(LOADED, files=cut_file())), diagnose(case(LOADED, files=cut_file("file-zero-filled")))
    assert [(item.cause, item.severity) for item in (*soft, *hard)] == [("file-truncated", "warning"), ("file-zero-filled", "error")]
    assert all(any(line.fact == "the trial load" for line in item.evidence) for item in (*soft, *hard))
    by_files = dataclasses.replace(LOADED, way="files")
    assert found(case(by_files, files=cut_file())) == [("file-truncated", "error")]


def test_weights_that_stayed_random_are_a_root_of_a_load_that_went_well() -> None:
    """But for those that models do without; what was left over in the files is no fault."""
    told = said({"step": "info", "missing_keys": ["encoder.layer.1.output.dense.weight", "pooler.dense.weight"], "unexpected_keys": ["cls.x"], "counts": {"missing_keys": 2, "unexpected_keys": 1}}, {"step": "loaded"})  # fmt: skip
    trial = read(library(), exit_status=0, said=told)
    assert (trial.missing_count, trial.unused_count) == (2, 1)
    assert found(case(trial)) == [("tensors-missing", "error")]
    assert found(case(dataclasses.replace(trial, missing=("pooler.dense.weight",), missing_count=1))) == []


def test_an_explanation_must_be_sure() -> None:
    """A guess stays with the load that failed."""
    guess = Explanation(cause="shape-mismatch", confidence=0.2, evidence=(Evidence(subject=Subject(kind="text", name="the error"), fact="says", seen="x"),))
    trial = dataclasses.replace(read(library(), **ENDS["raised"][0]), clues=Clues(explanations=(guess,), decided=False, here=True))
    assert found(case(trial)) == [("load-failed", "error")]


def test_a_keeper_that_was_killed_says_nothing_of_the_load() -> None:
    """Not a verdict: unseen, with the reason."""
    assert isinstance(trial_of(library(), Ending(lost=9), BOUNDS, "host", Secrets(), ""), Unseen)


# --- what is tried ------------------------------------------------------------------------------------------------------------

HERE = Files(
    place="folder",
    path="/m",
    files=tuple(FileSeen(path=name, location=f"/m/{name}", bytes=1) for name in ("config.json", "model.safetensors", "tokenizer.json")),
)


def target(*packages: str, kind: str = "directory", files: Files | Unseen = HERE, **more: Any) -> Case:
    environment = Environment(
        distributions=tuple(Distribution(name=name, version="1.0") for name in packages), interpreter=Interpreter(executable="/py", version="3.11")
    )
    return dataclasses.replace(
        Case(), target=Target(spec="/m", kind=kind, name="lab/m", paths=("/m",), loader="transformers"), environment=environment, files=files, **more
    )  # type: ignore[arg-type]


def names(*paths: str) -> Files:
    return dataclasses.replace(HERE, files=tuple(FileSeen(path=name, location=f"/m/{name}", bytes=1) for name in paths))


@pytest.mark.parametrize(
    ("seen", "way"),
    [
        (target("transformers", "torch"), "transformers"),
        (target("transformers", "torch", "sentence-transformers", files=names("modules.json", "config.json", "model.safetensors")), "sentence-transformers"),
        (target("transformers", "torch", files=names("modules.json", "config.json", "model.safetensors")), "transformers"),
        (target("diffusers", "torch", files=names("model_index.json", "unet/config.json")), "diffusers"),
        (target("torch", files=names("model_index.json", "unet/config.json")), ""),
        (target("peft", "transformers", files=names("adapter_config.json", "adapter_model.safetensors")), "peft"),
        (target("transformers", files=names("adapter_config.json", "adapter_model.safetensors")), ""),
        (target("torch", files=names("pytorch_model.bin")), "files"),
        (target("safetensors", files=names("pytorch_model.bin")), ""),
        (target("transformers", "torch", files=names("config.json", "model-q4.gguf")), ""),
        (target("transformers", kind="none"), ""),
    ],
)
def test_the_load_is_the_one_its_files_ask_for(seen: Case, way: str) -> None:
    """By the library that is there; where there is none, that is said and nothing is tried."""
    plan = plan_of(seen, {})
    assert (plan.way if isinstance(plan, Plan) else "") == way
    assert isinstance(plan, Plan) or plan.detail


def test_the_network_is_used_only_where_something_is_missing_and_the_way_is_open() -> None:
    """Offline where all is here; not at all where something else stands in the way first."""
    cached = dataclasses.replace(HERE, place="cache")
    part = dataclasses.replace(cached, missing=("model.safetensors",))
    listing = Listing(source="tree", wanted=("config.json", "model.safetensors"), files=())
    off = plan_of(target("transformers", kind="hub", files=cached), {})
    on = plan_of(target("transformers", kind="hub", files=part, listing=listing, journeys=()), {})
    blocked = plan_of(target("transformers", kind="hub", files=part, listing=listing, journeys=()), {}, stands_in_the_way="TLS is intercepted")
    assert isinstance(off, Plan) and isinstance(on, Plan) and isinstance(blocked, Unseen)
    assert (off.network, off.variables["HF_HUB_OFFLINE"], on.network, "HF_HUB_OFFLINE" in on.variables) == ("off", "1", "on", False)
    assert (blocked.why, "TLS is intercepted" in blocked.detail) == ("not_reached", True)


def test_the_load_may_take_what_can_be_had_less_a_reserve(tmp_path: Path) -> None:
    """The least of all limits, or what was asked for where that is less."""
    limited = tree(tmp_path, "0::/a\n", V2.format(root="/"), v2("a", 10 * GB) | v2(""))
    bounds, source = bounds_of(60, 0, limited)
    assert (9 * GB < bounds.memory_bytes < 10 * GB, source) == (True, "cgroup v2 /a memory.max")
    asked, by = bounds_of(60, 100_000_000, limited)
    assert (asked.memory_bytes, by) == (100_000_000, "--diagnose-load-memory")
    assert bounds_of(60, 100 * GB, limited)[0] == bounds


def test_a_group_of_our_own_is_made_where_no_limit_is_left_behind(tmp_path: Path) -> None:
    """v2: a process's own group may have no limited children, the one above may; not past a limit. v1: always in its own."""
    free = bounds_of(60, 0, tree(tmp_path / "free", "0::/a/b\n", V2.format(root="/"), v2("a/b") | v2("a") | v2("")))[0]
    held = bounds_of(60, 0, tree(tmp_path / "held", "0::/a/b\n", V2.format(root="/"), v2("a/b", 10 * GB) | v2("a") | v2("")))[0]
    old = bounds_of(60, 0, tree(tmp_path / "old", "4:memory:/y\n", V1.format(root="/"), v1("y") | v1("")))[0]
    assert [[Path(folder).name for _, folder in bounds.groups] for bounds in (free, held, old)] == [["b", "a", "cgroup"], ["b"], ["y"]]


@pytest.mark.parametrize(("outcome", "roots"), [("hung", ["dns-name-unknown"]), ("failed", ["dns-name-unknown", "load-failed"])])
def test_a_command_that_waits_may_wait_for_the_network(outcome: str, roots: list[str]) -> None:
    """What stands in the way there is behind a wait, and not behind an exception that speaks of something else."""
    from tests.unit.cases import journey, leg, unresolved

    seen = case(read(command(), **({"signal": 6, "ended_for": "time"} if outcome == "hung" else {"exit_status": 1})))
    nowhere = journey(leg(resolution=unresolved("EAI_NONAME", {"rcode": "NXDOMAIN"})))
    assert [cause for cause, _ in found(dataclasses.replace(seen, journeys=(nowhere,)))] == roots


# --- the keeper, for real -----------------------------------------------------------------------------------------------------

SHARED = (
    "import os, time\nhold = bytearray(os.urandom(1 << 20)) * 150\nfor number in range(3):\n    if os.fork() == 0: time.sleep(1); os._exit(0)\ntime.sleep(1)"
)
TOGETHER = (
    "import os, time\nfor number in range(4):\n    if os.fork() == 0: hold = bytearray(os.urandom(1 << 20)) * 80; time.sleep(20); os._exit(0)\ntime.sleep(20)"
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tried in a second environment: /proc tells what is taken")
@pytest.mark.parametrize(("program", "ended"), [(SHARED, ""), (TOGETHER, "memory")], ids=["shared by forked processes", "taken by several together"])
def test_without_a_control_group_memory_is_watched(program: str, ended: str) -> None:
    """What forked processes share counts once; what several take counts together."""
    bounds = Bounds(seconds=60, memory_bytes=200 << 20, floor_bytes=0)
    ending = run_bounded([sys.executable, "-c", program], {"PATH": "/usr/bin:/bin"}, bounds)
    assert (ending.ended_for, ending.group) == (ended, False)
