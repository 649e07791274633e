"""Disk: real small file systems where we are root, hand-made records for what this kernel cannot provoke."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, NOT_ASKED, Case, ClientUse, Disk, Distribution, Environment, Listing, Platform, RemoteFile, Target, Unseen, Variable
from diagnostics.diagnosis import diagnose
from diagnostics.probes import disk as probe
from diagnostics.probes import writing
from diagnostics.probes.disk import see_disks
from diagnostics.probes.mounts import Mount, mount_of
from diagnostics.probes.writing import write_probe, write_rate
from tests.unit.files_made import cached, hub_target, listing_of, tiny
from tests.unit.users import unprivileged

ROOT = sys.platform == "linux" and hasattr(os, "geteuid") and os.geteuid() == 0
TARGET = Target(spec="org/tiny", kind="hub", name="org/tiny", client=ClientUse(family="huggingface_hub-2", version="2.4.0"))


@contextlib.contextmanager
def mounted(place: Path, *options: str) -> Iterator[Path]:
    """A small tmpfs; skips where it cannot be mounted."""
    place.mkdir(parents=True, exist_ok=True)
    done = (
        subprocess.run(["mount", "-t", "tmpfs", *(("-o", ",".join(options)) if options else ()), "none", str(place)], capture_output=True, check=False)
        if ROOT
        else None
    )
    if done is None or done.returncode:
        pytest.skip("mounting a small tmpfs needs root and CAP_SYS_ADMIN")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def disks_of(hub: Path, listing: Listing | Unseen = ABSENT, target: Target = TARGET, temp: Path | None = None) -> tuple[Disk, ...]:
    caches = {"hub": str(hub)} | ({"temp": str(temp)} if temp else {})
    return see_disks(target, Environment(caches=caches), listing, ABSENT)


def large(count: int) -> Listing:
    return Listing(source="hub", files=(RemoteFile(path="model.safetensors", bytes=count),), wanted=("model.safetensors",))


def judged(*disks: Disk, target: Target = TARGET, offline: bool = False) -> list[tuple[str, str]]:
    """(cause, severity) of the roots; every text is filled in."""
    variables = (Variable(name="HF_HUB_OFFLINE", value="1", truthy=True),) if offline else ()
    case = Case(target=target, disks=disks, environment=Environment(offline=variables, platform=Platform(system="Linux", user="ann")))
    found = [item for item in diagnose(case) if item.cause != "offline-mode-set"]
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in found)
    return [(item.cause, item.severity) for item in found]


def entries(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


# --- real ---------------------------------------------------------------------------------------------------------------------------


def test_a_writable_folder_is_healthy_and_stays_as_it_was(tmp_path: Path) -> None:
    """Room, inodes, a write that worked, links; nothing is left behind."""
    disks = disks_of(tmp_path, large(1000), temp=tmp_path)
    assert [(disk.roles, disk.writable, disk.symlinks, disk.read_only) for disk in disks] == [(("cache", "temp"), True, True, False)]
    assert isinstance(disks[0].needed_bytes, int) and 1000 < disks[0].needed_bytes < 2000 and disks[0].kind and disks[0].mount and entries(tmp_path) == []
    assert judged(*disks) == []
    assert codec.decode(Disk, json.loads(json.dumps(codec.encode(disks[0])))) == disks[0]


def test_a_named_probe_leaves_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no nameless files."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    assert write_probe(str(tmp_path)) == 0 and entries(tmp_path) == []
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "")))
    assert write_probe(str(tmp_path)) == errno.EIO and entries(tmp_path) == []


def test_how_fast_it_writes_is_tried_where_much_is_to_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a large download into ample room; not for a small one, nor where room is scarce; at most 32 MB, and nothing is left."""
    written: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: written.append(len(data)) or real(descriptor, data))
    rate = disks_of(tmp_path, large(2 * 10**9))[0].write_bytes_per_second
    assert (isinstance(rate, float) and rate > 0) or rate.why == "timed_out"  # type: ignore[union-attr]
    assert 128 << 10 <= sum(written) < (48 << 20) and entries(tmp_path) == []
    assert disks_of(tmp_path, large(10**6))[0].write_bytes_per_second == disks_of(tmp_path, large(10**15))[0].write_bytes_per_second == NOT_ASKED
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.ENOSPC, "")))
    assert write_rate(str(tmp_path)) == Unseen("not_reached", os.strerror(errno.ENOSPC)) and entries(tmp_path) == []


def test_a_slow_disk_is_a_warning() -> None:
    """Where the whole would take more than an hour; an ordinary one, and one that was not tried, is none."""
    assert judged(made(needed_bytes=5 * 10**9, write_bytes_per_second=1e6)) == [("disk-slow", "warning")]
    assert judged(made(needed_bytes=5 * 10**9, write_bytes_per_second=5e7)) == judged(made(write_bytes_per_second=Unseen("timed_out"))) == []


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """Its first parent counts; nothing is made."""
    disk = disks_of(tmp_path / "a" / "b" / "hub")[0]
    assert not disk.exists and disk.writable is True and entries(tmp_path) == []


def test_too_little_room(tmp_path: Path) -> None:
    """A real file system of 4 MiB and a model of 100 MB; and one that just fits."""
    with mounted(tmp_path / "small", "size=4m"):
        disk = disks_of(tmp_path / "small", large(100_000_000))[0]
        assert disk.kind == "tmpfs" and isinstance(disk.free_bytes, int) and disk.free_bytes <= 4 << 20 and disk.mount == str(tmp_path / "small")
        assert judged(disk) == [("disk-space-insufficient", "error")]
        assert judged(*disks_of(tmp_path / "small", large(disk.free_bytes - 1000))) == []


@pytest.mark.parametrize(
    ("point", "system"), [("/etc/ssl/certs", True), ("/usr/lib", True), ("/", False), ("/data", False), ("/devel", False), ("/run/media/me/disk", False)]
)
def test_no_cache_is_sent_into_the_systems_own_folders(point: str, system: bool) -> None:
    """A container's mounts below /etc have room, and are no place for models."""
    assert probe.of_the_system(point) is system


def test_a_place_with_room_is_named(tmp_path: Path) -> None:
    """Where the cache's file system is too small, another one of this machine that has the room."""
    with mounted(tmp_path / "small", "size=4m"):
        disks = disks_of(tmp_path / "small", large(50_000_000))
        if len(disks) < 2:
            pytest.skip("no other file system with room is mounted here")
        found = diagnose(Case(target=TARGET, disks=disks))[0]
        assert disks[1].roles == ("elsewhere",) and "HF_HOME" in found.remedies[0].run and disks[1].path.rstrip("/") in found.remedies[0].run


def test_a_full_disk(tmp_path: Path) -> None:
    """ENOSPC of the write itself."""
    with mounted(tmp_path / "full", "size=1m"):
        with contextlib.suppress(OSError), (tmp_path / "full" / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        disks = disks_of(tmp_path / "full", large(10))
        assert disks[0].write_errno == errno.ENOSPC and judged(disks[0]) == [("disk-space-insufficient", "error")]
        assert entries(tmp_path / "full") == ["filler"]
        temp = disks_of(tmp_path / "hub", temp=tmp_path / "full")
        assert judged(*temp) == [("temp-space-insufficient", "warning")]


def test_no_inodes(tmp_path: Path) -> None:
    """Room, and no file can be made."""
    with mounted(tmp_path / "few", "size=4m", "nr_inodes=3"):
        with contextlib.suppress(OSError):
            for number in range(5):
                (tmp_path / "few" / str(number)).touch()
        disk = disks_of(tmp_path / "few", large(10))[0]
        assert disk.free_inodes == 0 and judged(disk) == [("disk-inodes-exhausted", "error")]


def test_inodes_that_are_not_counted_are_no_alarm(tmp_path: Path) -> None:
    """btrfs and some overlays say 0 of 0."""
    with mounted(tmp_path / "any", "size=4m", "nr_inodes=0"):
        disk = disks_of(tmp_path / "any", large(10))[0]
        assert isinstance(disk.free_inodes, Unseen) and judged(disk) == []


def test_a_read_only_file_system(tmp_path: Path) -> None:
    """EROFS: a fault where something must be written, none where all is here."""
    with mounted(tmp_path / "ro", "size=4m"):
        cached(tmp_path / "ro" / "hub", tiny())
        subprocess.run(["mount", "-o", "remount,ro", str(tmp_path / "ro")], check=True)
        disk = disks_of(tmp_path / "ro" / "hub", large(10))[0]
        assert disk.read_only is True and disk.write_errno == errno.EROFS and judged(disk) == [("disk-read-only", "error")]
        assert judged(disk, offline=True) == []
        from diagnostics.probes.files import see_files

        environment = Environment(caches={"hub": str(tmp_path / "ro" / "hub")})
        complete = see_disks(TARGET, environment, listing_of(tiny()), see_files(hub_target(), environment, listing_of(tiny())))
        assert complete[0].needed_bytes == 0 and judged(*complete) == []


def test_a_read_only_model_folder_is_healthy(tmp_path: Path) -> None:
    """A mounted model is only to be read."""
    with mounted(tmp_path / "ro", "size=1m", "ro"):
        target = Target(spec="x", kind="directory", paths=(str(tmp_path / "ro"),))
        assert judged(*disks_of(tmp_path, target=target), target=target) == []


@pytest.mark.skipif(not ROOT, reason="becoming nobody needs root")
def test_a_cache_of_somebody_else(tmp_path: Path) -> None:
    """The folder that refuses is named, with owner and mode; also where only a part of the cache is somebody else's."""
    tmp_path.chmod(0o777)
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "hub").mkdir()
    answer = unprivileged(lambda: codec.encode(disks_of(tmp_path / "closed" / "hub", large(10))), tmp_path)
    assert isinstance(answer, list)
    disk = codec.decode(Disk, answer[0])
    assert (disk.writable, disk.denied_at, disk.denied_owner, disk.denied_mode) == (False, str(tmp_path / "closed"), "root", "drwx------")
    assert judged(disk) == [("cache-not-writable", "error")]
    open_hub = tmp_path / "open"
    open_hub.mkdir()
    open_hub.chmod(0o777)
    (open_hub / "models--org--tiny" / "blobs").mkdir(parents=True)
    part = codec.decode(Disk, unprivileged(lambda: codec.encode(disks_of(open_hub, large(10))), tmp_path)[0])  # type: ignore[index]
    assert part.denied_at == str(open_hub / "models--org--tiny") and judged(part) == [("cache-not-writable", "error")]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    """HF_HOME inside of a file."""
    (tmp_path / "file").write_text("x")
    disk = disks_of(tmp_path / "file" / "hub", large(10))[0]
    assert disk.writable is False and judged(disk) == [("cache-not-writable", "error")] and (tmp_path / "file").read_text() == "x"


def test_a_silent_file_system_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead network mount: the survey says what it waited for."""
    import threading

    asleep = threading.Event()
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    monkeypatch.setattr(writing, "write_probe", lambda folder: asleep.wait(5) and 0)
    disk = disks_of(tmp_path, large(10))[0]
    asleep.set()
    assert isinstance(disk.writable, Unseen) and disk.writable.why == "timed_out"
    assert judged(disk) == [("survey-timed-out", "error")]


def test_mounts_are_read_with_their_escapes(tmp_path: Path) -> None:
    """Blanks, later mounts over earlier ones, lines of any shape."""
    place = tmp_path / "a b"
    place.mkdir()
    escaped = str(place).replace(" ", "\\040")
    text = f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / {escaped} rw,noexec - xfs /dev/b rw\n3 1 0:5 / {escaped} ro - nfs4 h:/x rw,vers=4\nnonsense\n9 9 - \n"
    (tmp_path / "info").write_text(text)
    assert mount_of(str(place / "x"), str(tmp_path / "info")) == Mount(str(place), "nfs4", frozenset({"ro", "rw", "vers=4"}), "h:/x")
    assert mount_of("/", str(tmp_path / "info")).kind == "ext4" and mount_of("/", str(tmp_path / "none")).point == ""


def test_targets_without_a_cache(tmp_path: Path) -> None:
    """A URL has its room counted where a person stands, and nothing is written there; torch.hub has a folder of its own."""
    caches = {"hub": str(tmp_path), "torch": str(tmp_path / "torch"), "temp": str(tmp_path)}
    listing = Listing(source="manifest", files=(RemoteFile(path="u", bytes=5),), wanted=("u",))
    url = Target(spec="https://h/x", kind="url", client=ClientUse(family="requests"))
    disks = see_disks(url, Environment(caches=caches), listing, ABSENT)
    assert {disk.roles[0]: disk.needed_bytes for disk in disks if "target" in disk.roles} == {"target": 5}
    torch = dataclasses.replace(url, client=ClientUse(family="urllib"))
    assert any(
        "cache" in disk.roles and disk.needed_bytes == 5 and disk.path.endswith("torch/hub/checkpoints")
        for disk in see_disks(torch, Environment(caches=caches), listing, ABSENT)
    )


def test_few_inodes_for_many_files(tmp_path: Path) -> None:
    """A model of many small files needs two each: the blob and the link."""
    many = Listing(source="hub", files=tuple(RemoteFile(path=f"f{n}.json", bytes=1) for n in range(30)), wanted=tuple(f"f{n}.json" for n in range(30)))
    with mounted(tmp_path / "few", "size=4m", "nr_inodes=40"):
        assert judged(disks_of(tmp_path / "few", many)[0]) == [("disk-inodes-exhausted", "error")]
        assert judged(disks_of(tmp_path / "few", large(10))[0]) == []


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """ulimit -f, for real, in a child process: below the largest file, above it, and so low that not even a short file can be written."""

    def seen(limit: int) -> Disk:
        code = f"import json, sys; from tests.unit.test_disk import *; print(json.dumps(codec.encode(disks_of(Path({str(tmp_path)!r}), large(10_000_000))[0])))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        return codec.decode(Disk, json.loads(done.stdout))

    assert judged(seen(5_000_000)) == [("file-size-limited", "error")]
    assert judged(seen(10_000_000)) == []
    assert judged(seen(100)) == [("file-size-limited", "error")]


def test_fat_has_a_largest_file() -> None:
    """4 GiB and not one byte more; no such file system can be made here."""
    disk = made(kind="vfat", largest_bytes=5 * 10**9, largest_path="model.safetensors", file_limit_bytes=(1 << 32) - 1, file_limit_by="the file system vfat")
    assert probe._file_limit("vfat")[0] == (1 << 32) - 1 and judged(disk) == [("file-size-limited", "error")]
    assert judged(dataclasses.replace(disk, largest_bytes=4 * 10**9)) == []


def test_names_and_paths_that_are_too_long(tmp_path: Path) -> None:
    """A cache so deep that the client's own names no longer fit (4095 bytes), and a folder whose name alone is too long (255)."""
    deep = tmp_path.joinpath(*["d" * 200] * 20)
    assert judged(disks_of(deep, large(10))[0]) == [("path-too-long", "error")]
    assert judged(disks_of(tmp_path / ("n" * 300), large(10))[0]) == [("path-too-long", "error")]
    assert judged(disks_of(tmp_path / ("n" * 200), large(10))[0]) == [] and entries(tmp_path) == []


def test_packages_on_a_file_system_without_code(tmp_path: Path) -> None:
    """noexec, for real: a fault where compiled packages lie there, none for a cache."""
    with mounted(tmp_path / "noexec", "size=4m", "noexec"):
        installed = (Distribution(name="torch", version="2.13", location=str(tmp_path / "noexec")),)
        disks = see_disks(TARGET, Environment(caches={"hub": str(tmp_path)}, distributions=installed), large(10), ABSENT)
        assert judged(*disks) == [("disk-noexec", "error")]
        assert judged(*disks_of(tmp_path / "noexec", large(10))) == []
    plain = (Distribution(name="torch", version="2.13", location=str(tmp_path)), Distribution(name="pytest", version="9", location=str(tmp_path / "noexec")))
    assert [
        disk for disk in see_disks(TARGET, Environment(caches={"hub": str(tmp_path)}, distributions=plain), ABSENT, ABSENT) if "packages" in disk.roles
    ] == []


def test_weights_that_can_be_mapped(tmp_path: Path) -> None:
    """The first weights of a local folder are mapped for a moment; a folder without any says nothing."""
    target = Target(spec="x", kind="directory", paths=(str(tmp_path),))
    assert isinstance(disks_of(tmp_path, target=target)[0].mappable, Unseen)
    (tmp_path / "model.safetensors").write_bytes(b"x" * 5000)
    assert disks_of(tmp_path, target=target)[0].mappable is True and judged(*disks_of(tmp_path, target=target), target=target) == []


def test_a_place_that_cannot_be_written_has_another_named(tmp_path: Path) -> None:
    """Not only where room is short: a read-only cache is better elsewhere, too."""
    with mounted(tmp_path / "ro", "size=1m", "ro"):
        disks = disks_of(tmp_path / "ro", large(10))
        if len(disks) < 2:
            pytest.skip("no other file system that may be written is mounted here")
        assert disks[1].roles == ("elsewhere",) and disks[1].path.rstrip("/") in diagnose(Case(target=TARGET, disks=disks))[0].remedies[0].run


def test_what_is_kept_for_root_is_roots() -> None:
    """Where we hold CAP_SYS_RESOURCE the reserved blocks count as free; nobody does not."""
    if ROOT:
        held = int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")), 16)
        assert probe.may_use_reserve() == bool(held >> 24 & 1)


# --- hand-made ------------------------------------------------------------------------------------------------------------------------


def made(**changes: object) -> Disk:
    healthy = Disk(roles=("cache",), path="~/.cache/huggingface/hub", mount="/home", kind="ext4", total_bytes=10**11, free_bytes=10**10, free_inodes=10**6)
    healthy = dataclasses.replace(healthy, read_only=False, writable=True, symlinks=True, needed_bytes=10**9, needed_why="the files still missing")
    return dataclasses.replace(healthy, **changes)  # type: ignore[arg-type]


def refused(number: int, **changes: object) -> Disk:
    return made(writable=False, write_errno=number, message=os.strerror(number), symlinks=NOT_ASKED, **changes)


def test_little_room_that_suffices_is_no_alarm() -> None:
    """99 % full and enough."""
    assert judged(made(free_bytes=10**9)) == [] and judged(made(needed_bytes=ABSENT, free_bytes=5)) == []
    assert judged(made(needed_bytes=0, free_bytes=0, free_inodes=0)) == []


@pytest.mark.parametrize(
    ("disk", "cause"),
    [
        (refused(errno.EDQUOT), "disk-quota-exceeded"),  # no file system of this kernel has quotas
        (refused(errno.EROFS, read_only=True), "disk-read-only"),
        (refused(errno.EACCES, denied_at="/home/bob", denied_owner="bob", denied_mode="drwx------"), "cache-not-writable"),
        (refused(errno.EPERM), "cache-not-writable"),
        (refused(errno.ENOSPC, free_bytes=0), "disk-space-insufficient"),
        (refused(errno.ENOSPC, free_inodes=0), "disk-inodes-exhausted"),
        (refused(errno.EIO), "unexplained"),
        (made(free_bytes=10**8), "disk-space-insufficient"),
        (made(mappable=False, kind="fuse.s3fs"), "mmap-unsupported"),  # no file system of this kernel refuses to map
        (made(roles=("target",), mappable=False, kind="fuse.s3fs"), "mmap-unsupported"),
    ],
)
def test_each_refusal_is_one_root(disk: Disk, cause: str) -> None:
    """By errno and figures."""
    assert judged(disk) == [(cause, "error")]


def test_no_links_is_a_warning() -> None:
    """It works, in more room."""
    assert judged(made(symlinks=False)) == [("cache-symlinks-unsupported", "warning")]


def test_a_temporary_folder_that_is_closed_is_a_warning() -> None:
    """Python itself goes on to the next one."""
    assert judged(made(), dataclasses.replace(refused(errno.EACCES), roles=("temp",), path="/var/tmp/x")) == [("cache-not-writable", "warning")]


def test_a_file_where_the_cache_should_be_is_no_matter_of_rights() -> None:
    """A folder there is."""

    def said(number: int, mode: str) -> tuple[str, str, str]:
        disk = refused(number, denied_at="/x/file", denied_owner="root", denied_mode=mode)
        found = diagnose(Case(target=TARGET, disks=(disk,)))[0]
        return found.cause, found.title, " ".join(remedy.run for remedy in found.remedies)

    cause, title, runs = said(errno.ENOTDIR, "-rw-rw-rw-")
    assert cause == "cache-not-writable" and "is a file" in title and "mv /x/file /x/file.old" in runs
    cause, title, runs = said(errno.EACCES, "drwx------")
    assert cause == "cache-not-writable" and "may not write" in title and "mv " not in runs


def test_commands_quote_hostile_paths() -> None:
    """A mount named like a command is one word."""
    disk = refused(errno.EACCES, denied_at="/x; rm -rf $HOME", denied_owner="bob", denied_mode="drwx------")
    runs = [remedy.run + remedy.check for remedy in diagnose(Case(target=TARGET, disks=(disk,)))[0].remedies]
    assert any("'/x; rm -rf $HOME'" in run for run in runs) and all("; rm -rf $HOME" not in run.replace("'/x; rm -rf $HOME'", "") for run in runs)


def test_nobody_is_told_to_take_over_the_system() -> None:
    """Where / or somebody's /data refuses, the cache goes elsewhere; chown is for one's own folders only."""
    for denied, own in (("/", False), ("/data", False), ("~/.cache", True), ("~/.cache/huggingface/hub/models--a", True)):
        disk = refused(errno.EACCES, denied_at=denied, denied_owner="root", denied_mode="drwxr-xr-x")
        runs = " ".join(remedy.run for remedy in diagnose(Case(target=TARGET, disks=(disk,)))[0].remedies)
        assert ("chown" in runs) == own


@pytest.mark.parametrize(
    ("container", "kind", "text"), [("docker", "overlay", "docker run -v"), ("kubernetes", "overlay", "emptyDir"), ("docker", "ext4", ""), ("", "overlay", "")]
)
def test_a_containers_own_layer_is_not_the_place_for_models(container: str, kind: str, text: str) -> None:
    """A volume is the way out; where the cache lies on a volume already, or outside of a container, it is not."""
    disk = made(kind=kind, free_bytes=10**6)
    root = diagnose(Case(disks=(disk,), environment=Environment(platform=Platform(system="Linux", user="ann", container=container))))[0]
    assert root.cause == "disk-space-insufficient"
    said = root.remedies[0].do + root.remedies[0].run
    assert text in said if text else "volume" not in " ".join(remedy.do for remedy in root.remedies)


@pytest.mark.parametrize("latency", [0.0, 0.008, 0.03])
def test_what_a_sync_takes_by_itself_is_not_the_disks_rate(latency: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """150 MB/s behind a sync of up to 30 ms is 150 MB/s: within a factor of two, where the sync alone would make a tenth of it."""
    clock, pending, real_write = [0.0], [0], os.write

    def write(descriptor: int, data: bytes) -> int:
        pending[0] += len(data)
        return real_write(descriptor, data)

    def fsync(_: int) -> None:
        clock[0] += latency + pending[0] / 150e6
        pending[0] = 0

    monkeypatch.setattr("diagnostics.probes.writing.os.write", write)
    monkeypatch.setattr("diagnostics.probes.writing.os.fsync", fsync)
    monkeypatch.setattr("diagnostics.probes.writing.time.monotonic", lambda: clock[0])
    rate = write_rate(str(tmp_path))
    assert isinstance(rate, float) and 75e6 < rate < 300e6
