"""Accelerators: a made NVML library, trees of device files, and torch's build against them."""

from __future__ import annotations

import dataclasses
import datetime
import json
from pathlib import Path

import pytest

from diagnostics import codec
from diagnostics.case import ABSENT, Accelerator, Accelerators, Case, Environment, Memory, Packages, Platform, TorchBuild, Variable
from diagnostics.diagnosis import diagnose
from diagnostics.facts import accelerators as facts
from diagnostics.probes.accelerator import see_accelerators
from tests.unit.nvml_made import library

GB = 10**9


def environment(visible: str | None = None) -> Environment:
    return Environment(settings=(Variable(name="CUDA_VISIBLE_DEVICES", value=visible),) if visible is not None else (), platform=Platform(system="Linux"))


def seen(tmp_path: Path, visible: str | None = None, **changes: str) -> Accelerators:
    return see_accelerators(environment(visible), {}, library(tmp_path, **changes), tmp_path)


def judged(found: Accelerators, torch: TorchBuild | None = None, memory: Memory | None = None, container: str = "") -> list[tuple[str, str]]:
    """(cause, severity) of the roots; every text is filled in."""
    case = Case(
        accelerators=found,
        packages=Packages(python="/env/bin/python", judged=True, torch=torch or ABSENT),
        memory=memory or ABSENT,
        environment=Environment(platform=Platform(system="Linux", container=container)),
    )
    roots = diagnose(case)
    assert all("<" not in item.title + item.why and all(remedy.do and remedy.check for remedy in item.remedies) for item in roots)
    return [(item.cause, item.severity) for item in roots]


CPU = TorchBuild(version="2.13.0+cpu")


def cuda(version: str = "12.8", torch: str = "2.9.0", machine: str = "x86_64") -> TorchBuild:
    built = facts.build_facts(torch, version, machine)
    return TorchBuild(version=torch, cuda=version, architectures=built.kernels if built else (), ptx=built.ptx if built else "")


# --- what is seen ---------------------------------------------------------------------------------------------------------------


def test_this_machine_has_its_truth() -> None:
    """Whatever is here: no exception, JSON both ways, and without a card no alarm for any build of torch."""
    found = see_accelerators(environment(), {})
    assert codec.decode(Accelerators, json.loads(json.dumps(codec.encode(found)))) == found
    if found.source == "none" and not found.message:
        assert judged(found, CPU) == judged(found, cuda()) == []


def test_what_nvml_says(tmp_path: Path) -> None:
    """Driver, CUDA, names without control characters, memory, capability, who computes there."""
    found = seen(tmp_path)
    assert (found.source, found.driver, found.cuda, len(found.devices)) == ("nvml", "570.10", "12.8", 2)
    first = found.devices[0]
    assert (first.total_bytes, first.free_bytes, first.capability, first.holders) == (16 * GB, 15 * GB, "8.6", ("process 77 (2.0 GB)",))
    assert "\x1b" not in first.name and first.visible and judged(found, cuda()) == []


def test_a_lost_device_is_left_out(tmp_path: Path) -> None:
    """One of two fell off the bus."""
    assert [device.index for device in seen(tmp_path, LOST="0").devices] == [1]


@pytest.mark.parametrize(
    ("value", "visible"),
    [("0", [0]), ("1,0", [0, 1]), ("", []), ("-1", []), ("0,7,1", [0]), ("GPU-2", [1]), ("GPU-", []), ("none", []), (" 1 ", [1]), ("MIG-abc", [])],
)
def test_visible_devices(tmp_path: Path, value: str, visible: list[int]) -> None:
    """Numbers or beginnings of UUIDs; the first that fits none ends the list."""
    found = seen(tmp_path, value)
    assert [device.index for device in found.devices if device.visible] == visible
    assert bool(found.hidden_by) == (not visible)


def test_a_driver_that_cannot_be_used(tmp_path: Path) -> None:
    """Updated without a restart: what NVML says is the reason, where a CUDA build shows that one is meant."""
    found = seen(tmp_path, INIT="18")
    assert found.source == "none" and "without a restart" in found.message
    assert judged(found, cuda()) == [("gpu-not-visible", "warning")] and judged(found, CPU) == []


def test_no_library_at_all(tmp_path: Path) -> None:
    """Neither a card nor a driver: no alarm, whatever torch is built for."""
    found = see_accelerators(environment(), {}, "no-such-library.so", tmp_path)
    assert found.source == "none" and judged(found, cuda()) == judged(found, CPU) == []


def test_a_card_on_the_bus_that_a_container_was_not_given(tmp_path: Path) -> None:
    """/sys shows it, nothing else does."""
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text("0x10de\n")
    (device / "class").write_text("0x030200\n")
    found = see_accelerators(environment(), {}, "no-such-library.so", tmp_path)
    assert judged(found, cuda(), container="docker") == [("gpu-not-visible", "warning")] and judged(found, CPU) == []
    (device / "class").write_text("0x040300\n")  # the card's sound
    assert see_accelerators(environment(), {}, "no-such-library.so", tmp_path).source == "none"


def test_an_amd_card(tmp_path: Path) -> None:
    """By the kernel's own table; the processor is a node of it, too."""
    for node, count in (("0", 0), ("1", 120)):
        folder = tmp_path / "sys/class/kfd/kfd/topology/nodes" / node
        folder.mkdir(parents=True)
        (folder / "properties").write_text(f"cpu_cores_count 8\nsimd_count {count}\n")
    found = see_accelerators(environment(), {}, "no-such-library.so", tmp_path)
    assert [device.kind for device in found.devices] == ["amd"] and judged(found, TorchBuild(version="2.9", hip="6.4")) == []


def test_what_the_target_asks_for(tmp_path: Path) -> None:
    """quantization_config of a method that runs on an accelerator only."""

    def wanted(config: dict[str, object]) -> str:
        return see_accelerators(environment(), config, "no-such-library.so", tmp_path).wanted

    assert "eetq" in wanted({"quantization_config": {"quant_method": "EETQ"}})
    assert wanted({"quantization_config": {"quant_method": "bitsandbytes"}}) == wanted({}) == wanted({"quantization_config": "x"}) == ""


# --- judged ---------------------------------------------------------------------------------------------------------------------


def cards(*devices: Accelerator, **changes: str) -> Accelerators:
    return Accelerators(source="nvml", devices=devices or (card(),), driver="570.10", cuda="12.8", **changes)  # type: ignore[arg-type]


def card(capability: str = "8.6", free: int = 15 * GB, **changes: object) -> Accelerator:
    return Accelerator(name="Made GPU", total_bytes=16 * GB, free_bytes=free, capability=capability, **changes)  # type: ignore[arg-type]


def test_a_build_without_cuda() -> None:
    """A warning beside a card; an error where the weights ask for one; nothing without a card."""
    assert judged(cards(), CPU) == [("torch-without-cuda", "warning")]
    assert judged(cards(wanted="its weights are quantised"), CPU) == [("torch-without-cuda", "error")]


def test_a_driver_that_is_too_old() -> None:
    """Of one major version any driver will do (minor version compatibility)."""
    assert judged(cards(), cuda("13.0")) == [("cuda-driver-too-old", "error")]
    assert judged(cards(), cuda("12.9")) == judged(cards(), cuda("11.8")) == []


@pytest.mark.parametrize(
    ("capability", "build", "fits"),
    [
        ("12.0", cuda("12.8", "2.7.0"), True),
        ("12.0", cuda("12.4", "2.6.0"), False),
        ("6.1", cuda("12.8", "2.8.0"), False),
        ("6.1", cuda("12.6", "2.9.0"), True),
        ("8.9", cuda("12.4", "2.6.0"), True),
        ("9.0", cuda("11.7", "2.0.0"), False),
        ("7.0", cuda("12.8", "2.7.1+cu128"), False),
        ("7.0", cuda("12.8", "2.8.0+cu128"), True),
        ("7.0", cuda("12.8", "2.11.0+cu128"), False),
        ("10.3", cuda("12.9", "2.13.0+cu129"), True),
        ("11.0", cuda("12.9", "2.13.0+cu129"), False),
        ("11.0", cuda("13.0", "2.13.0+cu130", "aarch64"), True),
        ("8.7", cuda("12.6", "2.7.0a0+nv25.3", "aarch64"), True),
        ("7.2", cuda("12.6", "2.7.0a0+nv25.3", "aarch64"), True),
        ("7.2", cuda("12.6", "2.7.0+cu126", "aarch64"), False),
        ("13.0", cuda("13.2", "2.13.0+cu132"), True),
        ("", cuda("12.8", "2.8.0"), True),
    ],
)
def test_kernels_for_the_card(capability: str, build: TorchBuild, fits: bool) -> None:
    """By the table of builds: the device's own major with a lower minor, or PTX; an unknown capability, and a build of somebody else's, is no alarm."""
    assert judged(dataclasses.replace(cards(card(capability)), cuda="13.2"), build) == ([] if fits else [("gpu-unsupported", "error")])


def test_a_hidden_card() -> None:
    """CUDA_VISIBLE_DEVICES hides all: a warning with a CUDA build, an error where one is needed, nothing for a CPU build."""
    hidden = cards(card(visible=False), hidden_by="CUDA_VISIBLE_DEVICES=-1")
    assert judged(hidden, cuda()) == [("gpu-not-visible", "warning")] and judged(hidden, CPU) == []
    assert ("gpu-not-visible", "error") in judged(cards(card(visible=False), hidden_by="CUDA_VISIBLE_DEVICES=", wanted="quantised"), cuda())


def test_too_little_memory_on_the_card() -> None:
    """A warning, for the model may be loaded on the processor; an error where it must not; several cards count together."""
    host = Memory(total_bytes=64 * GB, available_bytes=60 * GB, needed_bytes=0, resident_bytes=20 * GB, needed_why="1 file of weights", mapped_bytes=0)
    assert judged(cards(), cuda(), host) == [("gpu-memory-insufficient", "warning")]
    assert judged(cards(wanted="quantised"), cuda(), host) == [("gpu-memory-insufficient", "error")]
    assert judged(cards(card(), card()), cuda(), host) == []


def test_a_card_with_room_spares_the_machine() -> None:
    """Weights that go straight onto it need not fit into the machine's memory."""
    from diagnostics.case import MemoryLimit

    small = MemoryLimit(source="host", kind="host", limit_bytes=8 * GB, used_bytes=GB, available_bytes=7 * GB)
    host = Memory(total_bytes=8 * GB, available_bytes=7 * GB, limits=(small,), needed_bytes=0, resident_bytes=14 * GB, needed_why="1 file of weights")
    assert judged(cards(), cuda(), host) == []
    assert judged(Accelerators(source="none"), cuda(), host) == [("memory-insufficient", "warning")]


def test_the_remedy_is_a_build_that_has_the_kernels_and_that_the_driver_runs() -> None:
    """The newest such; never one that this driver cannot run."""

    def wheel(capability: str, driver: str) -> str:
        found = dataclasses.replace(cards(card(capability)), cuda=driver)
        case = Case(
            accelerators=found,
            packages=Packages(python="/env/bin/python", judged=True, torch=cuda("11.8" if capability == "12.0" else "13.0")),
        )
        root = next(item for item in diagnose(case) if item.cause in ("gpu-unsupported", "cuda-driver-too-old"))
        return root.remedies[0].run.rpartition("/")[2]

    assert wheel("12.0", "13.0") == "cu132" and wheel("12.0", "12.8") == "cu129"
    assert wheel("6.1", "13.0") == "cu126"


def test_the_table_is_dated_and_sourced() -> None:
    """Every build has a source."""
    assert facts.as_of() <= datetime.date.today() + datetime.timedelta(days=3650) and all(row["source"] for row in facts._table()["builds"])
