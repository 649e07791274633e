"""What there is to compute on, without a framework: NVIDIA through its management library (or nvidia-smi), others by their device files.

Sources: NVML API reference (nvml.h), CUDA C programming guide (CUDA_VISIBLE_DEVICES), Linux /sys/bus/pci.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostics.case import ABSENT, Accelerator, Accelerators, Environment
from diagnostics.facts.accelerators import quantization_facts
from diagnostics.probes.budget import together
from diagnostics.probes.cache import read_small
from diagnostics.redact import plain

SECONDS = 5.0
MOST_DEVICES, MOST_PROCESSES = 32, 16
LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
DEVICE_FILES = re.compile(r"nvidia\d+|nvidiactl|nvidia-uvm|kfd|dxg")
NVIDIA_VENDOR, DISPLAY_CLASSES = "0x10de", ("0x0300", "0x0302")
MEMORY_BYTES = ctypes.c_ulonglong
# nvml.h nvmlReturn_t
MEANINGS = {
    4: "no permission",
    9: "the driver is not loaded",
    18: "driver and library are of different versions (updated without a restart)",
    15: "the GPU is lost",
}


class NvmlRefused(Exception):
    """NVML answered a call with a code."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: {MEANINGS.get(code, f'code {code}')}")


class _Memory(ctypes.Structure):  # nvmlMemory_t
    _fields_ = (("total", MEMORY_BYTES), ("free", MEMORY_BYTES), ("used", MEMORY_BYTES))


class _Process(ctypes.Structure):  # nvmlProcessInfo_t of the _v3 call
    _fields_ = (("pid", ctypes.c_uint), ("used", MEMORY_BYTES), ("gpu_instance", ctypes.c_uint), ("compute_instance", ctypes.c_uint))


def see_accelerators(environment: Environment, config: Mapping[str, Any], library: str = LIBRARY, root: Path = Path("/")) -> Accelerators:
    """Every accelerator, what this process may use of it, and whether this target, by its config.json, asks for one."""
    asked = together({"nvml": lambda: _by_nvml(library)}, SECONDS).get("nvml") or Accelerators(source="none", message="the NVIDIA driver does not answer")
    if asked.source == "none":
        by_tool = _by_smi() if root == Path("/") else None
        asked = by_tool or _by_device_files(root, asked.message)
    found = _with_visibility(asked, environment)
    present = _device_files(root)
    unreadable = tuple(path for path in present if not os.access(root / path.lstrip("/"), os.R_OK | os.W_OK))
    return replace(found, files=present, unreadable=unreadable, wanted=wanted_for(config))


def wanted_for(config: Mapping[str, Any]) -> str:
    """Why the target's own configuration asks for an accelerator; "" where it does not."""
    method = quantization_method(config)
    row = quantization_facts(method)
    return f"its weights are quantised ({method}), which runs on an accelerator only" if row and row.accelerator else ""


def quantization_method(config: Mapping[str, Any]) -> str:
    """``quant_method`` of config.json's quantization_config, "" for none."""
    quantized = config.get("quantization_config")
    if not isinstance(quantized, dict):
        return ""
    method = quantized.get("quant_method")
    legacy = "bitsandbytes" if quantized.get("load_in_4bit") or quantized.get("load_in_8bit") else ""
    return plain(method.lower(), 40) if isinstance(method, str) and method else legacy


# --- NVML -------------------------------------------------------------------------------------------------------------------


def _by_nvml(library: str) -> Accelerators:
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return Accelerators(source="none")
    try:
        _call(nvml, "nvmlInit_v2")
    except (NvmlRefused, AttributeError) as error:
        return Accelerators(source="none", message=plain(str(error), 200))
    try:
        return Accelerators(source="nvml", devices=_devices(nvml), driver=_text(nvml, "nvmlSystemGetDriverVersion"), cuda=_cuda(nvml))
    except (NvmlRefused, AttributeError) as error:
        return Accelerators(source="none", message=plain(str(error), 200))
    finally:
        nvml.nvmlShutdown()


def _call(nvml: ctypes.CDLL, name: str, *arguments: object) -> None:
    """Raises NvmlRefused for a code, AttributeError where the library is too old to have the function."""
    code = getattr(nvml, name)(*arguments)
    if code:
        raise NvmlRefused(name, code)


def _text(nvml: ctypes.CDLL, name: str, *before: object) -> str:
    buffer = ctypes.create_string_buffer(96)
    try:
        _call(nvml, name, *before, buffer, ctypes.c_uint(96))
    except (NvmlRefused, AttributeError):
        return ""
    return plain(buffer.value, 96)


def _cuda(nvml: ctypes.CDLL) -> str:
    number = ctypes.c_int()
    try:
        _call(nvml, "nvmlSystemGetCudaDriverVersion_v2", ctypes.byref(number))
    except (NvmlRefused, AttributeError):
        return ""
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _devices(nvml: ctypes.CDLL) -> tuple[Accelerator, ...]:
    count = ctypes.c_uint()
    _call(nvml, "nvmlDeviceGetCount_v2", ctypes.byref(count))
    found = []
    for index in range(min(count.value, MOST_DEVICES)):
        handle = ctypes.c_void_p()
        try:
            _call(nvml, "nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        except NvmlRefused:  # this one is lost, or not ours to see
            continue
        found.append(_device(nvml, handle, index))
    return tuple(found)


def _device(nvml: ctypes.CDLL, handle: ctypes.c_void_p, index: int) -> Accelerator:
    memory = _Memory()
    try:
        _call(nvml, "nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
        total, free = int(memory.total), int(memory.free)
    except (NvmlRefused, AttributeError):  # memory shared with the processor (Jetson, GB10) is not told
        return Accelerator(name=_text(nvml, "nvmlDeviceGetName", handle), index=index, uuid=_text(nvml, "nvmlDeviceGetUUID", handle))
    return Accelerator(
        name=_text(nvml, "nvmlDeviceGetName", handle) or "NVIDIA GPU",
        index=index,
        total_bytes=total,
        free_bytes=free,
        capability=_capability(nvml, handle),
        uuid=_text(nvml, "nvmlDeviceGetUUID", handle),
        mig=_mig(nvml, handle),
        holders=_holders(nvml, handle),
    )


def _capability(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    try:
        _call(nvml, "nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
    except (NvmlRefused, AttributeError):
        return ""
    return f"{major.value}.{minor.value}"


def _mig(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> bool:
    current, pending = ctypes.c_uint(), ctypes.c_uint()
    try:
        _call(nvml, "nvmlDeviceGetMigMode", handle, ctypes.byref(current), ctypes.byref(pending))
    except (NvmlRefused, AttributeError):
        return False
    return bool(current.value)


def _holders(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> tuple[str, ...]:
    """Processes that compute on it: "process 12 (2.1 GB)"."""
    count, processes = ctypes.c_uint(MOST_PROCESSES), (_Process * MOST_PROCESSES)()
    try:
        _call(nvml, "nvmlDeviceGetComputeRunningProcesses_v3", handle, ctypes.byref(count), processes)
    except (NvmlRefused, AttributeError):
        return ()
    known = processes[: min(count.value, MOST_PROCESSES)]
    return tuple(f"process {item.pid}" + (f" ({item.used / 1e9:.1f} GB)" if 0 < item.used < 1 << 60 else "") for item in known)


# --- nvidia-smi, device files -------------------------------------------------------------------------------------------------


def _by_smi() -> Accelerators | None:
    tool = shutil.which("nvidia-smi")
    if not tool:
        return None
    query = "index,name,uuid,memory.total,memory.free,compute_cap,driver_version"
    try:
        done = subprocess.run([tool, f"--query-gpu={query}", "--format=csv,noheader,nounits"], capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Accelerators(source="none", message="nvidia-smi does not answer")
    lines = done.stdout[: 1 << 16].decode("utf-8", "replace").splitlines()
    if done.returncode or not lines:
        said = (done.stdout + done.stderr)[:400].decode("utf-8", "replace").strip().splitlines()
        return Accelerators(source="none", message=plain(said[0] if said else f"nvidia-smi ended with {done.returncode}", 200))
    rows = [[part.strip() for part in line.split(",")] for line in lines[:MOST_DEVICES]]
    devices = tuple(_of_row(row) for row in rows if len(row) == 7 and row[0].isdigit())
    return Accelerators(source="nvidia-smi", devices=devices, driver=plain(rows[0][-1], 40))


def _of_row(row: list[str]) -> Accelerator:
    """Memory is in MiB; what is not known is "[N/A]"."""
    total, free = (int(text) << 20 if text.isdigit() else ABSENT for text in row[3:5])
    capability = row[5] if re.fullmatch(r"\d+\.\d+", row[5]) else ""
    return Accelerator(name=plain(row[1], 80), index=int(row[0]), total_bytes=total, free_bytes=free, capability=capability, uuid=plain(row[2], 80))


def _device_files(root: Path) -> tuple[str, ...]:
    try:
        return tuple(f"/dev/{name}" for name in sorted(os.listdir(root / "dev")) if DEVICE_FILES.fullmatch(name))
    except OSError:
        return ()


def _by_device_files(root: Path, message: str) -> Accelerators:
    """AMD by /dev/kfd and /sys/class/kfd; NVIDIA cards on the bus of which nothing else is seen (a container without --gpus, no driver)."""
    amd = tuple(Accelerator(name="AMD GPU", kind="amd", index=index) for index in range(_amd_nodes(root)))
    on_bus = _nvidia_on_bus(root)
    if not amd and not on_bus:
        return Accelerators(source="none", message=message)
    seen = f"{on_bus} NVIDIA card{'s' if on_bus > 1 else ''} on the bus" if on_bus else ""
    return Accelerators(source="device files", devices=amd, message="; ".join(part for part in (seen, message) if part))


def _amd_nodes(root: Path) -> int:
    """GPUs among the nodes of the kernel's compute driver: those with SIMD units (amdkfd topology)."""
    base = root / "sys/class/kfd/kfd/topology/nodes"
    try:
        names = os.listdir(base)
    except OSError:
        return 0
    return sum(bool(re.search(rb"^simd_count [1-9]", read_small(str(base / name / "properties"), 8192), re.MULTILINE)) for name in names)


def _nvidia_on_bus(root: Path) -> int:
    base = root / "sys/bus/pci/devices"
    try:
        names = os.listdir(base)[:4096]
    except OSError:
        return 0
    return sum(
        read_small(str(base / name / "vendor"), 20).strip().decode("ascii", "replace") == NVIDIA_VENDOR
        and read_small(str(base / name / "class"), 20).decode("ascii", "replace").startswith(DISPLAY_CLASSES)
        for name in names
    )


# --- which of them may be used --------------------------------------------------------------------------------------------------


def _with_visibility(seen: Accelerators, environment: Environment) -> Accelerators:
    """CUDA_VISIBLE_DEVICES: numbers or beginnings of UUIDs; the first that fits none ends the list (CUDA C programming guide, environment variables)."""
    setting = next((item for item in environment.settings if item.name == "CUDA_VISIBLE_DEVICES"), None)
    if setting is None or seen.source not in ("nvml", "nvidia-smi"):
        return seen
    allowed: set[int] = set()
    for entry in (part.strip() for part in setting.value.split(",")):
        fitting = [device.index for device in seen.devices if entry and (entry == str(device.index) or (not entry.isdigit() and device.uuid.startswith(entry)))]
        if len(fitting) != 1 and not entry.startswith("MIG-"):
            break
        allowed |= set(fitting) if fitting else {device.index for device in seen.devices if device.mig}
    devices = tuple(device if device.index in allowed else replace(device, visible=False) for device in seen.devices)
    return replace(seen, devices=devices, hidden_by="" if allowed else f"CUDA_VISIBLE_DEVICES={plain(setting.value, 80)}")
