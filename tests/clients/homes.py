"""Environments of their own for the clients that cannot stand side by side, made once and kept in a folder for the tests that come later."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

# One release line each: what the table of facts says of a major version is measured against its newest release here.
HOMES = {
    "hub0": ("huggingface_hub==0.36.*", "PySocks"),
    "hub1": ("huggingface_hub==1.33.*", "socksio"),
    "hub2": ("huggingface_hub==2.4.*", "socksio"),
    "plain": ("requests==2.34.*", "PySocks", "httpx==0.28.*", "socksio", "httpx2==2.16.*", "aiohttp==3.14.*", "pooch==1.9.*"),
}
TAG = "1"  # another number makes them anew


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A client as it is measured: the row of the table, the driver's name for it, and the environment it lives in ("" is the system)."""

    name: str
    family: str
    driver: str
    home: str


MEASURED = (
    Measured(name="huggingface_hub 0.36", family="huggingface_hub-0", driver="hub", home="hub0"),
    Measured(name="huggingface_hub 1.33", family="huggingface_hub-1", driver="hub", home="hub1"),
    Measured(name="huggingface_hub 2.4", family="huggingface_hub-2", driver="hub", home="hub2"),
    Measured(name="hf_xet", family="hf_xet", driver="hf_xet", home="hub2"),
    Measured(name="requests", family="requests", driver="requests", home="plain"),
    Measured(name="pooch", family="pooch", driver="pooch", home="plain"),
    Measured(name="httpx", family="httpx", driver="httpx", home="plain"),
    Measured(name="httpx2", family="httpx2", driver="httpx2", home="plain"),
    Measured(name="urllib", family="urllib", driver="urllib", home="plain"),
    Measured(name="aiohttp", family="aiohttp", driver="aiohttp", home="plain"),
    Measured(name="curl", family="curl", driver="curl", home="plain"),
    Measured(name="wget", family="wget", driver="wget", home="plain"),
)


def folder() -> Path:
    """Where they are kept: DIAGNOSTICS_CLIENTS, else a folder of this user's among the temporary ones."""
    return Path(os.environ.get("DIAGNOSTICS_CLIENTS") or Path(tempfile.gettempdir()) / f"diagnostics-clients-{os.getuid()}")


def python_of(home: str) -> Path:
    """The interpreter of one environment, which is made where it is not there yet (about five seconds)."""
    place = folder() / f"{home}-{TAG}-{sys.version_info[0]}.{sys.version_info[1]}"
    python, whole = place / "bin" / "python", place / "whole"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, env=clean)
            subprocess.run(
                [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--disable-pip-version-check", *HOMES[home]],
                check=True,
                env=clean,
                capture_output=True,
            )
            whole.touch()
    return python
