"""Memory: the least of all ceilings, on trees as Linux lays them out, v1, v2, both, nested; and on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, Distribution, Environment, Files, FileSeen, Listing, Memory, MemoryLimit, Platform, RemoteFile, Target, Unseen
from diagnostics.diagnosis import diagnose
from diagnostics.probes.files_one import Looks
from diagnostics.probes.formats.reading import Look, Tensor
from diagnostics.probes.load_cost import LoadCost, load_cost
from diagnostics.probes.memory import see_memory
from tests.unit.control_groups_made import group

GB = 10**9

MIB = 1 << 20
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


def tree(root: Path, groups: str, mounts: str, files: dict[str, str | int], total_kb: int = 64_000_000, swap_kb: int = 0) -> Path:
    """A fake /proc and /sys."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    (root / "proc/self/mountinfo").write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\nbroken line\n" + mounts)
    (root / "proc/meminfo").write_text(f"MemTotal:       {total_kb} kB\nMemFree:  1 kB\nMemAvailable:   {total_kb - 1_000_000} kB\nSwapFree: {swap_kb} kB\n")
    for path, content in files.items():
        place = root / "sys/fs/cgroup" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"{content}\n")
    return root


def v2(folder: str, limit: str | int = "max", current: int = 0, inactive: int = 0, **more: str | int) -> dict[str, str | int]:
    prefix = f"{folder}/" if folder else ""
    return {f"{prefix}memory.max": limit, f"{prefix}memory.current": current, f"{prefix}memory.stat": f"anon 5\ninactive_file {inactive}\n"} | {
        f"{prefix}memory.{name}": value for name, value in more.items()
    }


def v1(folder: str, limit: int = 9223372036854771712, usage: int = 0, inactive: int = 0, hierarchical: int = 9223372036854771712) -> dict[str, str | int]:
    prefix = f"memory/{folder}/" if folder else "memory/"
    stat = f"cache 1\nhierarchical_memory_limit {hierarchical}\ntotal_inactive_file {inactive}\n"
    return {
        f"{prefix}memory.limit_in_bytes": limit,
        f"{prefix}memory.usage_in_bytes": usage,
        f"{prefix}memory.stat": stat,
        f"{prefix}memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3",
    }


def cost(count: int) -> LoadCost:
    """A load that takes so many bytes, however one counts."""
    return LoadCost(own=count, resident=count, mapped=count, data=count, largest=count, why="1 file of weights")


def cgroups(memory: Memory) -> dict[str, int]:
    """Source → what can be had there."""
    return {limit.source: limit.available_bytes for limit in memory.limits if limit.kind == "cgroup"}


def test_without_a_limit_there_is_the_host_alone(tmp_path: Path) -> None:
    """No cgroup, or only unlimited ones: the host's figures, no alarm."""
    plain = see_memory(ABSENT, tree(tmp_path / "a", "", "", {}))
    unlimited = see_memory(ABSENT, tree(tmp_path / "b", "0::/x\n4:memory:/y\n", V2.format(root="/") + V1.format(root="/"), v2("x") | v1("y")))
    assert cgroups(plain) == cgroups(unlimited) == {}
    assert plain.total_bytes == 64_000_000 * 1024 and plain.available_bytes == 63_000_000 * 1024 and plain.oom_kills is ABSENT


def test_a_container_of_v2(tmp_path: Path) -> None:
    """memory.max less what is in use, but for page cache that can be dropped."""
    root = tree(tmp_path, "0::/\n", V2.format(root="/"), v2("", 2000 * MIB, 900 * MIB, 400 * MIB, events="low 0\noom 2\noom_kill 2"))
    memory = see_memory(ABSENT, root)
    assert cgroups(memory) == {"cgroup v2 / memory.max": 1500 * MIB} and memory.oom_kills == 2


def test_the_least_of_nested_groups(tmp_path: Path) -> None:
    """A limit on an ancestor holds though the own group has none (Slurm, systemd, no cgroup namespace)."""
    files = (
        v2("")
        | v2("slurm/job", 1500 * MIB, 500 * MIB)
        | v2("slurm/job/step/task", "max", 100 * MIB)
        | v2("slurm/job/step", 3000 * MIB, 100 * MIB)
        | v2("slurm")
    )
    memory = see_memory(ABSENT, tree(tmp_path, "0::/slurm/job/step/task\n", V2.format(root="/"), files))
    assert cgroups(memory) == {"cgroup v2 /slurm/job/step memory.max": 2900 * MIB, "cgroup v2 /slurm/job memory.max": 1000 * MIB}


def test_memory_high_counts_and_swap_helps_against_max_only(tmp_path: Path) -> None:
    """Above memory.high the process crawls; memory.max may be passed with swap, as far as swap.max and the host allow."""
    files = v2("g", 1000 * MIB, 0, 0, high=600 * MIB) | {"g/memory.swap.max": 500 * MIB, "g/memory.swap.current": 100 * MIB}
    memory = see_memory(ABSENT, tree(tmp_path, "0::/g\n", V2.format(root="/"), files, swap_kb=10_000_000))
    assert cgroups(memory) == {"cgroup v2 /g memory.max": 1400 * MIB, "cgroup v2 /g memory.high": 600 * MIB}


def test_a_container_of_v1_whose_path_is_the_hosts(tmp_path: Path) -> None:
    """Docker without a namespace: the mount's root is what the path begins with."""
    root = tree(tmp_path, "4:memory:/docker/abc\n", V1.format(root="/docker/abc"), v1("", 300 * MIB, 100 * MIB, 50 * MIB))
    memory = see_memory(ABSENT, root)
    assert cgroups(memory) == {"cgroup v1 / memory.limit_in_bytes": 250 * MIB} and memory.oom_kills == 3


def test_a_v1_limit_that_is_set_above_what_is_mounted(tmp_path: Path) -> None:
    """hierarchical_memory_limit knows of an ancestor that is not visible here."""
    memory = see_memory(ABSENT, tree(tmp_path, "4:memory:/pod/c\n", V1.format(root="/pod/c"), v1("", usage=10 * MIB, hierarchical=400 * MIB)))
    assert cgroups(memory) == {"cgroup v1 above / hierarchical_memory_limit": 390 * MIB}


def test_a_hybrid_machine(tmp_path: Path) -> None:
    """v2 is mounted without the memory controller: v1 has the limit."""
    files = v1("batch", 700 * MIB, 100 * MIB) | v1("") | {"unified/cgroup.procs": "1"}
    mounts = V1.format(root="/") + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    memory = see_memory(ABSENT, tree(tmp_path, "4:memory:/batch\n0::/batch\n", mounts, files))
    assert cgroups(memory) == {"cgroup v1 /batch memory.limit_in_bytes": 600 * MIB}


@pytest.mark.parametrize("content", ["", "garbage", "-5", "9" * 400, "\x00\xff", "1e9"])
def test_control_files_of_any_shape(tmp_path: Path, content: str) -> None:
    """What cannot be read as a number is no limit."""
    memory = see_memory(ABSENT, tree(tmp_path, "0::/g\nxx\n:::\n", V2.format(root="/"), {"g/memory.max": content, "g/memory.current": content}))
    assert cgroups(memory) == {}


@pytest.mark.parametrize("path", ["/../../other", "/not/there", "/g\\040x"])
def test_paths_that_are_not_here_mean_the_mount(tmp_path: Path, path: str) -> None:
    """A group outside of the namespace: the mount point itself is what is above us."""
    memory = see_memory(ABSENT, tree(tmp_path, f"0::{path}\n", V2.format(root="/"), v2("", 100 * MIB)))
    assert cgroups(memory) == {"cgroup v2 / memory.max": 100 * MIB}


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    """A container with 1 TB on a machine with 64 GB."""
    assert cgroups(see_memory(ABSENT, tree(tmp_path, "0::/\n", V2.format(root="/"), v2("", 10**12)))) == {}


def test_accelerators_are_noted(tmp_path: Path) -> None:
    """Device files, no driver asked."""
    root = tree(tmp_path, "", "", {})
    (root / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "kfd", "null"):
        (root / "dev" / name).touch()
    assert see_memory(ABSENT, root).accelerators == ("/dev/kfd", "/dev/nvidia0")


def test_this_machine_is_healthy() -> None:
    """The real thing: figures that make sense, and JSON both ways."""
    memory = see_memory(cost(1))
    assert 0 < memory.available_bytes <= memory.total_bytes and all(limit.available_bytes > 0 for limit in memory.limits)
    assert codec.decode(Memory, json.loads(json.dumps(codec.encode(memory)))) == memory
    assert diagnose(Case(memory=memory)) == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a control group needs root")
def test_who_holds_the_memory_of_a_group_that_is_too_small() -> None:
    """Its own processes alone, for real; nobody is named where it suffices."""
    held = "import time; kept = b'x' * 200_000_000; print('held', flush=True); time.sleep(60)"
    look = (
        "import sys; from diagnostics.probes.load_cost import LoadCost; from diagnostics.probes.memory import see_memory; "
        "m = see_memory(LoadCost(own=int(sys.argv[1]), resident=1, mapped=1, data=1, largest=1, why='')); print([l.holders for l in m.limits if l.kind == 'cgroup'][:1])"
    )
    with group("memory", "memory.limit_in_bytes", str(900 * MIB)) as join:
        holder = subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE, preexec_fn=join)
        try:
            assert holder.stdout and holder.stdout.readline() == b"held\n"
            seen = [
                subprocess.run([sys.executable, "-c", look, needed], capture_output=True, text=True, check=True, preexec_fn=join).stdout
                for needed in (str(GB), str(100 * MIB))
            ]
        finally:
            holder.kill()
            holder.wait()
            assert holder.stdout
            holder.stdout.close()
    assert f"(pid {holder.pid})" in seen[0] and seen[0].count("pid") == 1 and seen[1] == "[()]\n"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is enforced on Linux")
def test_an_address_space_limit_is_seen() -> None:
    """ulimit -v, for real, in a child process."""
    code = "from diagnostics.probes.load_cost import LoadCost; from diagnostics.probes.memory import see_memory; print([(l.source, l.limit_bytes) for l in see_memory(LoadCost(own=1, resident=1, mapped=1, data=1, largest=1, why='')).limits if l.kind == 'rlimit'])"
    limit = 3 << 30
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    )
    assert done.stdout.strip() == f"[('RLIMIT_AS', {limit})]"


# --- what is needed ---------------------------------------------------------------------------------------------------------------


def needs(listing: Listing | Unseen, files: Files | Unseen, loader: str = "transformers", looks: Looks | None = None, **installed: str) -> LoadCost:
    found = tuple(Distribution(name=name, version=version) for name, version in (installed or {"transformers": "5.24.0"}).items())
    taken = load_cost(listing, files, Target(spec="a/b", kind="hub", loader=loader), Environment(distributions=found), looks)
    assert isinstance(taken, LoadCost)
    return taken


def test_weights_are_what_is_needed() -> None:
    """The published sizes of the weights that count; not the tokenizer, not the copy in another format."""
    files = tuple(
        RemoteFile(path=path, bytes=size) for path, size in (("model.safetensors", 440 * MIB), ("pytorch_model.bin", 440 * MIB), ("tokenizer.json", MIB))
    )
    taken = needs(Listing(source="hub", files=files, wanted=("model.safetensors", "tokenizer.json")), ABSENT)
    assert taken.resident == 440 * MIB and "safetensors" in taken.why


def test_of_a_file_that_is_a_pointer_its_true_size_is_needed() -> None:
    """A git-lfs pointer of 130 bytes stands for the weights."""
    here = Files(place="folder", path="/m", files=(FileSeen(path="model.safetensors", bytes=134, expected_bytes=5 * GB),))
    assert needs(ABSENT, here).resident == 5 * GB


def test_no_sizes_no_need() -> None:
    """Nothing is known: no verdict."""
    assert isinstance(load_cost(ABSENT, ABSENT, Target(spec="", kind="none"), Environment()), Unseen)


def weights(path: str, content: str, size: int = GB) -> Files:
    return Files(place="folder", path="/m", files=(FileSeen(path=path, bytes=size, content=content),))


def test_what_is_mapped_is_no_memory_of_ones_own() -> None:
    """safetensors and zip checkpoints stay the file's pages; a legacy pickle is read whole; an older transformers builds the model first."""
    assert needs(ABSENT, weights("model.safetensors", "safetensors")).own == 0
    assert needs(ABSENT, weights("pytorch_model.bin", "torch-zip")).own == 0
    assert needs(ABSENT, weights("pytorch_model.bin", "torch-legacy")).own == GB
    assert needs(ABSENT, weights("model.safetensors", "safetensors"), transformers="4.40.0").own == GB
    assert needs(ABSENT, weights("model.pt", "torch-zip"), loader="torch", torch="2.13.0").own > GB
    assert needs(ABSENT, weights("model-q4.gguf", "gguf"), loader="", llama_cpp_python="0.3").own == 0


def test_another_dtype_than_stored_is_a_copy(tmp_path: Path) -> None:
    """config.json names bfloat16 and the file holds float32: half of it is made anew; alike, or quantised, nothing is; what is read whole is there beside it."""

    def own(config: dict[str, object], name: str = "model.safetensors", content: str = "safetensors", dtype: str = "F32", version: str = "5.24.0") -> int:
        (tmp_path / "config.json").write_text(json.dumps(config))
        files = tuple(FileSeen(path=path, location=str(tmp_path / path), bytes=4000, content=content) for path in ("config.json", name))
        looks = {str(tmp_path / name): Look(content, tensors={"a": Tensor((10, 100), dtype), "ids": Tensor((500,), "I64")})}
        return needs(ABSENT, Files(place="folder", path=str(tmp_path), files=files), looks=looks, transformers=version).own

    assert own({"dtype": "bfloat16"}) == own({"torch_dtype": "float16"}) == own({"dtype": "half"}) == 2000
    assert (
        own({"dtype": "float32"}) == own({"dtype": "float"}) == own({}) == own({"dtype": "bfloat16", "quantization_config": {}}) == own({"dtype": ["x"]}) == 0
    )
    assert own({"dtype": "float32"}, dtype="F16") == own({"dtype": "float32"}, "pytorch_model.bin", "torch-zip", "F16") == 4000
    assert own({"dtype": "float16"}, dtype="BF16") == 2000
    assert own({"dtype": "float32"}, "pytorch_model.bin", "torch-legacy", "F16") == 8000
    assert own({"dtype": "float32"}, dtype="F16", version="4.40.0") == 4000


def test_experts_that_are_merged_are_a_copy(tmp_path: Path) -> None:
    """transformers 5 stacks what the file holds one by one; an older one takes them as they are."""
    (tmp_path / "config.json").write_text('{"model_type": "mixtral", "dtype": "bfloat16"}')
    names = [f"model.layers.0.block_sparse_moe.experts.{number}.w{part}.weight" for number in range(4) for part in (1, 2, 3)]
    table = {name: Tensor((10, 10), "BF16") for name in (*names, "model.layers.0.block_sparse_moe.gate.weight", "model.embed_tokens.weight")}
    files = tuple(FileSeen(path=path, location=str(tmp_path / path), bytes=3000, content="safetensors") for path in ("config.json", "model.safetensors"))
    here, looks = Files(place="folder", path=str(tmp_path), files=files), {str(tmp_path / "model.safetensors"): Look("safetensors", tensors=table)}
    merged = needs(ABSENT, here, looks=looks, transformers="5.24.0")
    assert merged.own == 12 * 100 * 2 and "experts merged" in merged.why
    assert needs(ABSENT, here, looks=looks, transformers="4.57.3").own == 0


# --- judging ----------------------------------------------------------------------------------------------------------------------


def judged(needed: int | Unseen, *limits: MemoryLimit, container: str = "", accelerators: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    host = MemoryLimit(source="host", kind="host", limit_bytes=32 * GB, used_bytes=4 * GB, available_bytes=28 * GB)
    memory = Memory(
        total_bytes=32 * GB,
        available_bytes=28 * GB,
        limits=(host, *limits),
        needed_bytes=needed,
        resident_bytes=needed,
        mapped_bytes=needed,
        private_bytes=needed,
        needed_why="2 files of weights (safetensors), as stored",
        accelerators=accelerators,
    )
    environment = Environment(platform=Platform(system="Linux", container=container))
    found = diagnose(Case(memory=memory, environment=environment))
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [(item.cause, item.severity) for item in found]


def cgroup(available: int) -> MemoryLimit:
    return MemoryLimit(source="cgroup v2 /a memory.max", kind="cgroup", limit_bytes=available + GB, used_bytes=GB, available_bytes=available)


def test_enough_is_enough() -> None:
    """Just enough room, in the machine, the container and the limits: no alarm."""
    rlimit = MemoryLimit(source="RLIMIT_AS", kind="rlimit", limit_bytes=9 * GB, available_bytes=8 * GB)
    assert judged(8 * GB, cgroup(8 * GB), rlimit) == [] and judged(ABSENT, cgroup(1)) == []


def test_the_machine_the_container_and_the_limit_are_told_apart() -> None:
    """Each ceiling has its own cause; where the machine itself is too small, the container is not blamed."""
    assert judged(40 * GB) == [("memory-insufficient", "error")]
    assert judged(10 * GB, cgroup(5 * GB)) == [("memory-limited-by-container", "error")]
    assert judged(40 * GB, cgroup(5 * GB)) == [("memory-insufficient", "error")]
    assert judged(10 * GB, MemoryLimit(source="RLIMIT_AS", kind="rlimit", limit_bytes=8 * GB, used_bytes=GB, available_bytes=7 * GB)) == [
        ("address-space-limited", "error")
    ]


def test_with_an_accelerator_it_is_a_warning() -> None:
    """The weights may go straight onto it, past the machine's memory."""
    assert judged(40 * GB, accelerators=("/dev/nvidia0",)) == [("memory-insufficient", "warning")]


@pytest.mark.parametrize(
    ("container", "text"), [("docker", "--memory"), ("kubernetes", "resources.limits.memory"), ("slurm", "--mem="), ("", "cgroup v2 /a memory.max")]
)
def test_the_remedy_speaks_the_containers_language(container: str, text: str) -> None:
    """Docker, Kubernetes, Slurm, or none that is known."""
    memory = Memory(total_bytes=32 * GB, available_bytes=28 * GB, limits=(cgroup(5 * GB),), needed_bytes=10 * GB, needed_why="1 file of weights")
    remedy = diagnose(Case(memory=memory, environment=Environment(platform=Platform(system="Linux", container=container))))[0].remedies[0]
    assert text in remedy.do + remedy.run


# --- what a load of these weights really does -------------------------------------------------------------------------------------


def made(**changes: object) -> Memory:
    host = MemoryLimit(source="host", kind="host", limit_bytes=32 * GB, used_bytes=4 * GB, available_bytes=28 * GB)
    healthy = Memory(
        total_bytes=32 * GB,
        available_bytes=28 * GB,
        limits=(host,),
        needed_bytes=GB,
        resident_bytes=GB,
        mapped_bytes=GB,
        private_bytes=GB,
        largest_mapping_bytes=GB,
        needed_why="1 file of weights (safetensors), mapped, as stored",
        overcommit=0,
        swap_free_bytes=0,
    )
    return dataclasses.replace(healthy, **changes)  # type: ignore[arg-type]


def roots(memory: Memory, system: str = "Linux") -> list[tuple[str, str]]:
    found = diagnose(Case(memory=memory, environment=Environment(platform=Platform(system=system))))
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [(item.cause, item.severity) for item in found]


def test_mapped_weights_larger_than_memory_are_a_warning() -> None:
    """They can be loaded, and every use of them crawls. What must be copied cannot be loaded: an error."""
    assert roots(made()) == []
    assert roots(made(needed_bytes=0, resident_bytes=40 * GB)) == [("memory-insufficient", "warning")]
    assert roots(made(needed_bytes=40 * GB, resident_bytes=40 * GB)) == [("memory-insufficient", "error")]


def test_one_file_larger_than_all_memory_cannot_be_mapped() -> None:
    """The kernel refuses such a mapping at once in its default mode, and does not when told to promise everything; swap counts."""
    huge = {"needed_bytes": 0, "resident_bytes": 40 * GB, "largest_mapping_bytes": 40 * GB}
    assert roots(made(**huge)) == [("memory-insufficient", "error")]
    assert roots(made(**huge, overcommit=1)) == [("memory-insufficient", "warning")]
    assert roots(made(**{**huge, "largest_mapping_bytes": 4 * GB})) == [("memory-insufficient", "warning")]
    assert roots(made(**huge, swap_free_bytes=16 * GB)) == [("memory-insufficient", "warning")]


def test_strict_accounting() -> None:
    """vm.overcommit_memory=2: what is promised already leaves too little, or enough; the default mode does not count."""
    tight = {"commit_limit_bytes": 16 * GB, "committed_bytes": int(15.5 * GB)}
    assert roots(made(overcommit=2, **tight)) == [("memory-overcommit-refused", "error")]
    assert roots(made(overcommit=2, commit_limit_bytes=16 * GB, committed_bytes=GB)) == [] and roots(made(overcommit=0, **tight)) == []


def test_a_page_file_that_is_too_small() -> None:
    """Windows promises no more than memory and page file together."""
    tight = {"commit_limit_bytes": 16 * GB, "committed_bytes": int(15.5 * GB), "overcommit": ABSENT}
    assert roots(made(**tight), "Windows") == [("pagefile-too-small", "error")] and roots(made(**tight), "Darwin") == []


def test_figures_of_accounting_are_read(tmp_path: Path) -> None:
    """From /proc, as Linux writes them."""
    root = tree(tmp_path, "", "", {})
    (root / "proc/sys/vm").mkdir(parents=True)
    (root / "proc/sys/vm/overcommit_memory").write_text("2\n")
    with (root / "proc/meminfo").open("a") as file:
        file.write("CommitLimit:    1000 kB\nCommitted_AS:    900 kB\n")
    memory = see_memory(cost(1), root)
    assert (memory.overcommit, memory.commit_limit_bytes, memory.committed_bytes) == (2, 1_024_000, 921_600)


def test_shared_memory() -> None:
    """Full: a warning. 64 MB as Docker gives it, or none at all: nothing."""
    assert roots(made(shm_total_bytes=64 * MIB, shm_free_bytes=63 * MIB)) == [] and roots(made()) == []
    assert roots(made(shm_total_bytes=64 * MIB, shm_free_bytes=100)) == [("shared-memory-too-small", "warning")]


def test_shared_memory_for_real(tmp_path: Path) -> None:
    """A small tmpfs at /dev/shm of another root; a plain folder there is none."""
    from tests.unit.test_disk import mounted

    root = tree(tmp_path, "", "", {})
    (root / "dev/shm").mkdir(parents=True)
    assert see_memory(ABSENT, root).shm_total_bytes is ABSENT
    with mounted(root / "dev/shm", "size=1m"):
        memory = see_memory(ABSENT, root)
        assert memory.shm_total_bytes == MIB and memory.shm_free_bytes == MIB


def test_the_containers_error_stands_before_the_machines_warning() -> None:
    """The machine could map the weights, the container cannot even start: the container is the root."""
    small = MemoryLimit(source="cgroup v2 /a memory.max", kind="cgroup", limit_bytes=GB, used_bytes=0, available_bytes=GB)
    memory = made(needed_bytes=3 * GB, resident_bytes=40 * GB)
    found = roots(dataclasses.replace(memory, limits=(*memory.limits, small)))
    assert found == [("memory-limited-by-container", "error"), ("memory-insufficient", "warning")]


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="a control group needs root")
def test_a_real_group() -> None:
    """memory.limit_in_bytes of v1, for real, in a child process; psutil still reports the host."""
    code = "import json; from diagnostics import codec; from diagnostics.probes.memory import see_memory; from tests.unit.test_memory import cost; print(json.dumps(codec.encode(see_memory(cost(300_000_000)))))"
    for limit, expected in ((200 * MIB, [("memory-limited-by-container", "error")]), (500 * MIB, [])):
        with group("memory", "memory.limit_in_bytes", str(limit)) as join:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, preexec_fn=join)
        memory = codec.decode(Memory, json.loads(done.stdout))
        own = min((item for item in memory.limits if item.kind == "cgroup"), key=lambda item: item.limit_bytes)
        assert own.limit_bytes == limit and 0 < own.available_bytes <= limit and memory.total_bytes > own.limit_bytes
        assert roots(memory) == expected


@pytest.mark.parametrize(("container", "text"), [("wsl", ".wslconfig"), ("colab", "High-RAM"), ("", "end what is not needed")])
def test_where_the_machine_is_a_setting_the_remedy_says_which(container: str, text: str) -> None:
    """WSL and Colab give a part of a machine, which looks like a small one."""
    memory = Memory(total_bytes=8 * GB, available_bytes=7 * GB, limits=(MemoryLimit(source="host", kind="host", limit_bytes=8 * GB, available_bytes=7 * GB),))
    memory = dataclasses.replace(memory, needed_bytes=10 * GB, resident_bytes=10 * GB, needed_why="1 file of weights")
    root = diagnose(Case(memory=memory, environment=Environment(platform=Platform(system="Linux", container=container))))[0]
    assert root.cause == "memory-insufficient" and text in root.remedies[0].do


def test_who_holds_a_groups_memory_goes_into_the_remedy() -> None:
    """Beside the way to a larger limit."""
    limit = dataclasses.replace(cgroup(5 * GB), holders=("3.0 GB java (pid 9)",))
    memory = Memory(total_bytes=32 * GB, available_bytes=28 * GB, limits=(limit,), needed_bytes=10 * GB, resident_bytes=10 * GB, needed_why="1 file of weights")
    root = diagnose(Case(memory=memory))[0]
    assert root.cause == "memory-limited-by-container" and any("3.0 GB java (pid 9)" in remedy.do for remedy in root.remedies)
