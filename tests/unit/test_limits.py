"""Limits on open files, processes and threads: real ones where root may set them, trees of files for the rest."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Case, ClientUse, Environment, Limits, Memory, MemoryLimit, Platform, ProcessLimit, Target
from diagnostics.diagnosis import diagnose
from diagnostics.environment.text import read_bytes
from diagnostics.probes import budget, limits
from diagnostics.probes.cache import read_small
from diagnostics.probes.limits import see_limits
from tests.unit.control_groups_made import group
from tests.unit.files_made import hub_target
from tests.unit.users import unprivileged

ROOT = sys.platform == "linux" and os.geteuid() == 0
SEE = (
    "import json; from diagnostics import codec; from diagnostics.case import Environment, Target; from diagnostics.probes.limits import see_limits; "
    "print(json.dumps(codec.encode(see_limits(Target(spec='x', kind='hub'), Environment(), {downloads}))))"
)


def seen_in_child(prepare: Callable[[], None], downloads: bool = True) -> Limits:
    """What a child process sees after ``prepare``."""
    command = [sys.executable, "-c", SEE.format(downloads=downloads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=prepare)
    return codec.decode(Limits, json.loads(done.stdout))


def judged(seen: Limits, container: str = "", target: Target | None = None) -> list[str]:
    case = Case(target=target or hub_target(), limits=seen, environment=Environment(platform=Platform(system="Linux", container=container)))
    found = diagnose(case)
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [item.cause for item in found]


def test_this_machine_is_healthy() -> None:
    """As it is: enough of everything, and JSON both ways."""
    seen = see_limits(hub_target(), Environment(platform=Platform(system="Linux", euid=os.geteuid())), downloads=True)
    assert seen.starts_threads is True and judged(seen) == []
    assert codec.decode(Limits, json.loads(json.dumps(codec.encode(seen)))) == seen


def test_few_open_files() -> None:
    """ulimit -n, for real: 32 do for a load and not for a download of eight files at once."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))

    assert judged(seen_in_child(few)) == ["open-files-limited"]
    assert judged(seen_in_child(few, downloads=False)) == []
    assert judged(seen_in_child(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))) == []


def test_the_remedy_knows_the_hard_limit() -> None:
    """Where the hard limit suffices the soft one is raised to it; where not, an admin is asked."""
    seen = Limits(open_files=20, open_files_hard=1024, open_files_needed=40, open_files_why="8 downloads")
    assert diagnose(Case(limits=seen))[0].remedies[0].run == "ulimit -n 1024"
    assert "limits.conf" in diagnose(Case(limits=dataclasses.replace(seen, open_files_hard=20)))[0].remedies[0].do
    assert diagnose(Case(limits=dataclasses.replace(seen, open_files_hard=ABSENT)))[0].remedies[0].run == "ulimit -n 4096"


def test_xet_opens_more() -> None:
    """The parallel transport has connections of its own."""
    plain = see_limits(hub_target(), Environment(), downloads=True)
    xet = see_limits(dataclasses.replace(hub_target(), transports=(ClientUse(family="hf_xet", role="bytes"),)), Environment(), downloads=True)
    assert isinstance(plain.open_files_needed, int) and isinstance(xet.open_files_needed, int) and xet.open_files_needed > plain.open_files_needed


@pytest.mark.skipif(not ROOT, reason="becoming nobody needs root")
def test_few_processes(tmp_path: Path) -> None:
    """ulimit -u, for real, as nobody; root is not bound by it."""

    def see(count: int) -> object:
        resource.setrlimit(resource.RLIMIT_NPROC, (count, count))
        return codec.encode(see_limits(hub_target(), Environment(), downloads=True))

    assert judged(codec.decode(Limits, unprivileged(lambda: see(1), tmp_path))) == ["processes-limited"]
    assert judged(codec.decode(Limits, unprivileged(lambda: see(4000), tmp_path))) == []


@pytest.mark.skipif(not ROOT, reason="a control group needs root")
def test_a_group_of_few_processes() -> None:
    """pids.max of v1, for real: three do not suffice, two hundred do."""
    with group("pids", "pids.max", "3") as join:
        assert judged(seen_in_child(join)) == ["processes-limited"]
    with group("pids", "pids.max", "200") as join:
        assert judged(seen_in_child(join)) == []


def test_groups_by_trees(tmp_path: Path) -> None:
    """v2, nested: every ancestor counts; "max" is no limit."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (tmp_path / "proc/self/mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    for name, most in (("a", "100"), ("a/b", "max")):
        folder = tmp_path / "sys/fs/cgroup" / name
        folder.mkdir(parents=True)
        (folder / "pids.max").write_text(f"{most}\n")
        (folder / "pids.current").write_text("98\n")
    found = see_limits(hub_target(), Environment(platform=Platform(system="Linux", euid=0)), True, tmp_path).processes
    assert [(limit.source, limit.limit, limit.used) for limit in found] == [("cgroup v2 /a pids.max", 100, 97)]


@pytest.mark.parametrize(("container", "text"), [("docker", "--pids-limit"), ("podman", "--pids-limit"), ("", "TasksMax")])
def test_the_remedy_speaks_the_containers_language(container: str, text: str) -> None:
    """Docker and Podman have an option; others have their own files."""
    seen = Limits(processes=(ProcessLimit(source="cgroup v2 /a pids.max", limit=10, used=9),), processes_needed=11, processes_why="a thread a core")
    remedy = diagnose(Case(limits=seen, environment=Environment(platform=Platform(system="Linux", container=container))))[0].remedies[0]
    assert text in remedy.do + remedy.run


def test_without_threads_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread may be started, tasks run one after the other: the survey must not break where it is to say why."""

    def refuse(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(budget.threading.Thread, "start", refuse)
    assert budget.together({"a": lambda: 1, "b": lambda: 2}, 1.0) == {"a": 1, "b": 2}
    assert limits._starts_threads() is False
    assert judged(Limits(starts_threads=False)) == ["processes-limited"]


def test_threads_that_find_no_room_for_their_stacks() -> None:
    """Under a small ulimit -v that is the reason, not a count of processes; without such a limit, or where the count is reached, it is the count."""

    def causes(limits: Limits, *more: MemoryLimit) -> list[str]:
        return [item.cause for item in diagnose(Case(limits=limits, memory=Memory(total_bytes=1 << 34, available_bytes=1 << 33, limits=more)))]

    refused = Limits(starts_threads=False)
    few = dataclasses.replace(refused, processes=(ProcessLimit(source="RLIMIT_NPROC", limit=10, used=10),), processes_needed=4)
    narrow = MemoryLimit(source="RLIMIT_AS", kind="rlimit", limit_bytes=358_000_000, available_bytes=358_000_000)
    assert causes(refused, narrow) == ["address-space-limited"] and causes(refused) == ["processes-limited"]
    assert causes(few, narrow) == ["processes-limited"]
    assert causes(refused, dataclasses.replace(narrow, limit_bytes=1 << 40, available_bytes=1 << 40)) == ["processes-limited"]


def test_reading_a_short_file_takes_no_more_than_it_holds(tmp_path: Path) -> None:
    """Whatever may be read at most: under a ulimit -v a buffer of that size is refused."""
    (tmp_path / "short").write_bytes(b"x" * 600_000)
    assert len(read_small(str(tmp_path / "short"), 1 << 60)) == len(read_bytes(str(tmp_path / "short"), 1 << 60) or b"") == 600_000
    assert len(read_small(str(tmp_path / "short"), 300_000)) == 300_000
