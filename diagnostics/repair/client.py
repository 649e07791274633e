"""The installed huggingface_hub at work, in a process of the interpreter that will load: it fetches into a cache of its own, so that nothing it got wrong gets a final name.

It takes any bytes of the right size for good (``file_download.py`` compares no digest): what it brings is verified before it is used.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from diagnostics.case import Target, record
from diagnostics.environment.interpreter import NOT_PASSED
from diagnostics.redact import Secrets, plain

START_SECONDS = 60.0
STALL_SECONDS = 180.0  # without a byte more on the disk, and without a word: its own time-outs are shorter
MOST_BYTES = 1 << 40  # of a file whose size nobody said
SLACK_BYTES = 64 << 20
MARK = "diagnose-repair "
# The working folder is left first of all: a json.py that lies there must not run.
PROGRAM = r"""
import sys
sys.path[:] = [path for path in sys.path if path]
import json, os, queue, threading
def say(**what):
    sys.stdout.write("\ndiagnose-repair " + json.dumps(what) + "\n")
    sys.stdout.flush()
try:
    import huggingface_hub
    say(version=str(huggingface_hub.__version__))
except BaseException as error:
    say(failed=type(error).__name__, message=str(error)[:1500])
    raise SystemExit(1)
given, asked = json.loads(sys.argv[1]), queue.Queue()
def listen():
    for line in sys.stdin:
        asked.put(json.loads(line))
    os._exit(0)  # whoever asked is gone, however that ended
threading.Thread(target=listen, daemon=True).start()
while True:
    path = asked.get()
    try:
        at = huggingface_hub.hf_hub_download(given["name"], path, repo_type=given["kind"], revision=given["commit"], cache_dir=given["cache"])
        say(path=path, at=str(at))
    except BaseException as error:
        say(path=path, failed=type(error).__name__, message=str(error)[:1500])
"""


@record
class Brought:
    """One file in the client's own cache, or why it is not there."""

    at: str = ""  # the file itself, links followed
    problem: str = ""


class HubClient:
    """One process for all files of one commit. ``version`` is "" where the client is not installed there, or does not start."""

    def __init__(self, python: str, target: Target, commit: str, cache: str, variables: Mapping[str, str], secrets: Secrets) -> None:
        self.cache, self._secrets, self.version, self.problem = cache, secrets, "", ""
        given = json.dumps({"name": target.name, "kind": target.repository_type, "commit": commit, "cache": cache})
        command = [os.path.expanduser(python) if python else sys.executable, "-B", "-c", PROGRAM, given]
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_variables(variables),
                start_new_session=os.name == "posix",
                text=True,
                errors="replace",
            )
        except (OSError, ValueError) as error:
            self.problem = plain(str(error))
            return
        self._listener = threading.Thread(target=self._listen, name="diagnose-repair-client", daemon=True)
        self._listener.start()
        first = self._next(START_SECONDS)
        self.version = plain(str(first.get("version", "")), 40)
        self.problem = "" if self.version else self._problem(first)

    def fetch(self, path: str, tell: Callable[[int], None], size: int | None = None) -> Brought:
        """Bring one file of the commit. ``tell`` gets the bytes on the disk now and then; what grows beyond ``size`` by more than a little is ended."""
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(path) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            return Brought(problem="huggingface_hub's process ended")
        said = self._next(STALL_SECONDS, tell, MOST_BYTES if size is None else _bytes_in(self.cache) + size + SLACK_BYTES)
        at = os.path.realpath(str(said["at"])) if said.get("at") and said.get("path") == path else ""
        if at and os.path.isfile(at) and at.startswith(os.path.realpath(self.cache) + os.sep):
            return Brought(at=at)
        return Brought(problem=self._problem(said))

    def close(self) -> None:
        """End it, and what it started."""
        process = getattr(self, "_process", None)
        if process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        self._listener.join(5.0)
        if not self._listener.is_alive():
            process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in self._process.stdout:
                if line.startswith(MARK) and len(line) < 1 << 16:
                    with contextlib.suppress(ValueError):
                        value = json.loads(line.removeprefix(MARK))
                        self._said.put(value if isinstance(value, dict) else {})
        self._said.put({})  # the end

    def _next(self, patience: float, tell: Callable[[int], None] | None = None, most: int = MOST_BYTES) -> dict[str, Any]:
        """What it says next; nothing where it ended, where neither a word nor a byte came for ``patience`` seconds, or where its cache grew beyond ``most`` bytes."""
        size, since = -1, time.monotonic()
        while time.monotonic() - since < patience:
            with contextlib.suppress(queue.Empty):
                return self._said.get(timeout=0.5)
            now = _bytes_in(self.cache)
            if now > most:
                self.close()
                return {"failed": "ValueError", "message": "more came than the file is long: the download was ended"}
            if now != size:
                size, since = now, time.monotonic()
                if tell:
                    tell(now)
        self.close()
        return {"failed": "TimeoutError", "message": f"nothing came for {patience:.0f} s"}

    def _problem(self, said: dict[str, Any]) -> str:
        if not said:
            return "huggingface_hub's process ended"
        message = " ".join(str(said.get("message", "")).split())
        return self._secrets.clean(f"{said.get('failed', '')}: {message}", 300)


def _variables(variables: Mapping[str, str]) -> dict[str, str]:
    """As the user's own process has them, but quiet, and without a store that its cache would share with others."""
    passed = {name: value for name, value in variables.items() if name not in NOT_PASSED and "\0" not in value}
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_SYMLINKS_WARNING": "1", "HF_HUB_DISABLE_SHARED_BLOBS": "1"}
    return passed | quiet


def _bytes_in(folder: str) -> int:
    """Bytes of blobs in a cache, finished or not: what was written, not what was set aside for it."""
    total = 0
    for below, _, names in os.walk(folder):
        if os.path.basename(below) == "blobs":
            for name in names:
                with contextlib.suppress(OSError):
                    seen = os.lstat(os.path.join(below, name))
                    total += min(seen.st_size, getattr(seen, "st_blocks", seen.st_size) * 512)
    return total
