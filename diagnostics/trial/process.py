"""A command under the keeper: started, waited for, and all of it ended, whatever becomes of us or of the keeper."""

from __future__ import annotations

import contextlib
import json
import os
import secrets as tokens
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from diagnostics.case import record
from diagnostics.trial.keeper import MARK

KEEPER = Path(__file__).with_name("keeper.py")
MOST_REPLY = 8 << 20
GRACE_SECONDS = 15.0  # for the keeper to end everything
TICK_SECONDS = 0.5


@record
class Bounds:
    """What the load may take. ``groups`` are folders of control groups in which one of our own may be made, best first; ``above`` those that already hold us."""

    seconds: float
    memory_bytes: int
    floor_bytes: int  # of the machine's available memory: below it the load is ended
    groups: tuple[tuple[int, str], ...] = ()  # (version, folder)
    above: tuple[tuple[int, str], ...] = ()


@record
class Ending:
    """How it ended, as the keeper saw it. Texts are raw: hostile and unredacted."""

    exit_status: int | None = None
    signal: int = 0
    ended_for: str = ""  # "time", "memory", "parent": why the keeper ended it
    dry: bool = False  # because the machine's own memory ran out
    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_bytes: int = 0
    group: bool = False  # it had a control group of its own
    group_peak_bytes: int = 0
    group_kills: int = 0  # processes that the kernel killed at our own limit
    above_kills: int = 0  # … at a limit above
    host_kills: int = 0  # … on the whole machine
    left: int = 0  # processes that were still running after it had ended
    output: str = ""
    output_bytes: int = 0
    said: str = ""  # what the loader reported of itself
    failed: str = ""  # why it could not be started
    lost: int = 0  # the signal that ended the keeper itself


def run_bounded(
    command: list[str],
    variables: Mapping[str, str],
    bounds: Bounds,
    *,
    show: bool = False,
    own_temp: bool = False,
    says: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Ending:
    """Run it to its end. ``show`` passes its output through (and our stdin to it), ``says`` gives it descriptor 3 to report on. Raises OSError without a process."""
    mark = tokens.token_hex(8)
    request = {
        "command": command,
        "variables": {**variables, MARK: mark},
        "seconds": bounds.seconds,
        "memory": bounds.memory_bytes,
        "floor": bounds.floor_bytes,
        "groups": [{"version": version, "folder": folder} for version, folder in bounds.groups],
        "above": [{"version": version, "folder": folder} for version, folder in bounds.above],
        "show": show,
        "stdin": show,
        "own_temp": own_temp,
        "says": says,
    }
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            keeper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(KEEPER), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=None if show else subprocess.DEVNULL,
                start_new_session=True,
            )
        group = ""
        try:
            ours.sendall(json.dumps(request).encode() + b"\n")
            for reply in _replies(ours, keeper, progress):
                group = reply.get("group", group)
                if "result" in reply:
                    return _ending(reply["result"], bool(group))
        finally:
            ours.close()  # tells it that we are done, or gone
            _wait(keeper)
            if keeper.returncode != 0:
                _end_rest(group, mark)
    if keeper.returncode is not None and keeper.returncode < 0:
        return Ending(lost=-keeper.returncode, group=bool(group))
    raise RuntimeError(f"the keeper of the trial load ended with {keeper.returncode} and without a word")


def _replies(ours: socket.socket, keeper: subprocess.Popen[bytes], progress: Callable[[float], None] | None) -> Iterator[dict[str, Any]]:
    """Line by line, until it hangs up."""
    ours.settimeout(TICK_SECONDS)
    started, data = time.monotonic(), b""
    while len(data) < MOST_REPLY:
        try:
            more = ours.recv(1 << 16)
        except TimeoutError:
            if progress:
                progress(time.monotonic() - started)
            if keeper.poll() is not None:
                return
            continue
        except OSError:  # reset: it was killed
            return
        if not more:
            return
        data += more
        *lines, data = data.split(b"\n")
        yield from (json.loads(line) for line in lines)


def _ending(result: dict[str, Any], group: bool) -> Ending:
    return Ending(
        exit_status=result["exit"],
        signal=result["signal"],
        ended_for=result["ended_for"],
        dry=result["dry"],
        seconds=result["seconds"],
        processor_seconds=result["processor_seconds"],
        peak_bytes=result["peak"],
        group=group,
        group_peak_bytes=result["group_peak"],
        group_kills=result["group_kills"],
        above_kills=max(result["above_kills"], default=0),
        host_kills=result["host_kills"],
        left=result["left"],
        output=result["output"],
        output_bytes=result["output_bytes"],
        said=result["said"],
        failed=result["failed"],
    )


def _wait(keeper: subprocess.Popen[bytes]) -> None:
    """It ends by itself when we hang up; a second Ctrl-C does not keep it from that."""
    end = time.monotonic() + GRACE_SECONDS
    while keeper.poll() is None:
        try:
            keeper.wait(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            keeper.kill()
        except KeyboardInterrupt:
            continue


def _end_rest(group: str, mark: str) -> None:
    """What a keeper that was killed left: by its control group, and by the variable that everything of the trial inherits."""
    end = time.monotonic() + 5.0
    while time.monotonic() < end and (left := _marked(mark) + _members(group)):
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    if group:
        with contextlib.suppress(OSError):
            os.rmdir(group)


def _members(group: str) -> list[int]:
    try:
        return [int(line) for line in Path(group, "cgroup.procs").read_text().split()] if group else []
    except (OSError, ValueError):
        return []


def _marked(mark: str) -> list[int]:
    needle, found = f"{MARK}={mark}".encode(), []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in Path("/proc", name, "environ").read_bytes():
                    found.append(int(name))
    return found
