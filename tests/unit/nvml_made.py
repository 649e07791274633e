"""A management library of NVIDIA's as far as it is asked, compiled here: with as many devices as a test wants."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#include <stdio.h>
#include <string.h>
typedef unsigned long long u64;
typedef struct { u64 total, free, used; } memory_t;
typedef struct { unsigned pid; u64 used; unsigned gpu, compute; } process_t;
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "%s", DRIVER); return 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = CUDA; return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = COUNT; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { if (index == LOST) return 15; *device = (void *)(u64)(index + 1); return 0; }
int nvmlDeviceGetName(void *device, char *text, unsigned size) { snprintf(text, size, "Made \x1b[31m GPU"); return 0; }
int nvmlDeviceGetUUID(void *device, char *text, unsigned size) { snprintf(text, size, "GPU-%llu0000000-0000", (u64)device); return 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *memory) { memory->total = 16000000000ull; memory->free = FREE; memory->used = memory->total - memory->free; return 0; }
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) { *major = CAPABILITY / 10; *minor = CAPABILITY % 10; return 0; }
int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) { return 3; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, process_t *processes) {
    *count = 1; processes[0].pid = 77; processes[0].used = 2000000000ull; return 0;
}
"""
DEFAULTS = {"INIT": "0", "DRIVER": '"570.10"', "CUDA": "12080", "COUNT": "2", "LOST": "99", "FREE": "15000000000ull", "CAPABILITY": "86"}


def library(folder: Path, **changes: str) -> str:
    """Path of a compiled library; skips where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here to make a library with")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvml.c").write_text(SOURCE)
    options = [f"-D{name}={value}" for name, value in {**DEFAULTS, **changes}.items()]
    subprocess.run([compiler, "-shared", "-fPIC", "-w", *options, "-o", str(folder / "nvml.so"), str(folder / "nvml.c")], check=True)
    return str(folder / "nvml.so")
