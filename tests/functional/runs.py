"""The real command in a child process, and what came of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostics.lab.hub import TOKEN

SECRETS = (TOKEN, "c0ffeec0ffee", "pa%ss/w@rd", "pa%25ss%2Fw%40rd")  # planted: a token, a signature of a URL, a proxy's password
DOCUMENTS = ("report.html", "report.json", "report.md", "junit.xml")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One run: its exit code, what it printed, and the folder of its report."""

    code: int
    output: str
    folder: Path

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return found

    @property
    def roots(self) -> list[tuple[str, str]]:
        return [(item["cause"], item["severity"]) for item in self.document["diagnoses"]]

    @property
    def first_line(self) -> str:
        """The first line of our section."""
        _, _, section = self.output.partition(" diagnosis ==")
        return section.partition("\n")[2].partition("\n")[0]

    def everything(self) -> str:
        """All that anybody could read."""
        return "\n".join([self.output, *((self.folder / name).read_text() for name in DOCUMENTS if (self.folder / name).exists())])


def run(command: list[str], folder: Path, variables: Mapping[str, str] | None = None, cwd: Path | None = None, seconds: float = 120) -> Outcome:
    """Run to the end, colourless, with a clean environment and the report in ``folder``."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE")}
    done = subprocess.run(
        command, cwd=cwd or folder, env={**clean, **(variables or {})}, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )
    return Outcome(code=done.returncode, output=done.stdout + done.stderr, folder=folder)


def in_world(name: str, folder: Path, *options: str) -> Outcome:
    """``pytest diagnostics`` in a world of the lab."""
    return run([sys.executable, "-m", "diagnostics.lab", name, f"--diagnose-report={folder}", *options], folder)


def why_no_namespace() -> str:
    """Why this user can have no network namespace here; "" where he can."""
    tools = [tool for tool in ("unshare", "ip", "nft") if shutil.which(tool) is None]
    if tools:
        return f"needs {', '.join(tools)} (Debian: util-linux iproute2 nftables)"
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    tried = subprocess.run(["unshare", *user, "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"needs a network namespace: {tried.stderr.strip()}"
