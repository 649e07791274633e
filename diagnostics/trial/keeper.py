"""The process that stands between us and a trial load: it starts it, bounds it, reads what it prints, measures it, and ends all of it, also when we are killed.

A program of its own (``python -I -S keeper.py FD``), of the standard library alone. The request comes over the socket FD as one line of JSON; one line goes back
when the group is made, one when all is over. When the socket closes (we are gone, whatever killed us), everything it started is ended.

Sources: prctl(2) PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG; proc(5) oom_score_adj, stat; wait4(2); Linux Documentation/admin-guide/cgroup-v2.rst
(memory.events, memory.peak, cgroup.kill) and cgroup-v1/memory.rst (memory.oom_control, memory.max_usage_in_bytes).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
HEAD_BYTES, TAIL_BYTES, SAID_BYTES = 64 << 10, 256 << 10, 1 << 20
MOST_AT_ONCE = 65536
WATCH_SECONDS = 0.1  # between two looks at how much memory is taken
DUMP_SECONDS = 3.0  # for a Python that was told to say where it is
AFTER_SECONDS = 1.0  # for helpers of a load that has ended (resource trackers, workers) to end by themselves
END_SECONDS = 5.0
MARK = "DIAGNOSTICS_TRIAL"  # a variable that every process of the trial inherits


class Kept:
    """The beginning and the end of a stream of any length."""

    def __init__(self, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self.head, self.tail, self.most_head, self.most_tail, self.count = bytearray(), bytearray(), head, tail, 0

    def add(self, data: bytes) -> None:
        self.count += len(data)
        room = self.most_head - len(self.head)
        self.head += data[:room]
        self.tail += data[room:] if room > 0 else data
        if len(self.tail) > 2 * self.most_tail:
            del self.tail[: -self.most_tail]

    def text(self) -> str:
        cut = self.count - len(self.head) - min(len(self.tail), self.most_tail)
        middle = b"\n[...]\n" if cut > 0 else b""
        return bytes(self.head + middle + self.tail[-self.most_tail :]).decode("utf-8", "replace")


class Group:
    """A control group of our own with a limit on memory, where one may be made; else nothing but ``folder`` ""."""

    def __init__(self, candidates: list[dict[str, Any]], most_bytes: int) -> None:
        self.folder, self.version = "", 0
        for candidate in candidates:
            if self._make(candidate, most_bytes):
                return

    def _make(self, candidate: dict[str, Any], most_bytes: int) -> bool:
        folder = os.path.join(candidate["folder"], f"diagnostics-trial-{os.getpid()}")
        version = candidate["version"]
        try:
            os.mkdir(folder)
        except OSError:
            return False
        self.folder, self.version = folder, version
        try:
            _write(os.path.join(folder, "memory.max" if version == 2 else "memory.limit_in_bytes"), str(most_bytes))
            for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
                with contextlib.suppress(OSError):  # no accounting of swap here
                    _write(os.path.join(folder, name), "0" if version == 2 else str(most_bytes))
            self._try_to_enter()
        except OSError:
            self.remove()
            self.folder = ""
            return False
        return True

    def _try_to_enter(self) -> None:
        """A child that moves itself there, and ends: whether it may is known only so. Raises OSError where it may not."""
        child = os.fork()
        if child == 0:
            try:
                self.enter()
            except OSError:
                os._exit(1)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            raise PermissionError(self.folder)

    def enter(self) -> None:
        if self.folder:
            _write(os.path.join(self.folder, "cgroup.procs"), str(os.getpid()))

    def kills(self) -> int:
        return _kills(self.folder, self.version) if self.folder else 0

    def peak(self) -> int:
        return _number(os.path.join(self.folder, "memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")) if self.folder else 0

    def members(self) -> list[int]:
        return [int(line) for line in _read(os.path.join(self.folder, "cgroup.procs")).split()] if self.folder else []

    def remove(self) -> None:
        end = time.monotonic() + END_SECONDS
        while self.folder and os.path.isdir(self.folder) and time.monotonic() < end:
            try:
                os.rmdir(self.folder)
            except OSError:  # the kernel lets go of the last process a moment later
                time.sleep(0.02)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except (OSError, ValueError):
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0


def _kills(folder: str, version: int) -> int:
    match = re.search(r"^oom_kill (\d+)$", _read(os.path.join(folder, "memory.events" if version == 2 else "memory.oom_control")), re.MULTILINE)
    return int(match[1]) if match else 0


def _host_kills() -> int:
    match = re.search(r"^oom_kill (\d+)$", _read("/proc/vmstat"), re.MULTILINE)
    return int(match[1]) if match else 0


def _available() -> int:
    match = re.search(r"^MemAvailable:\s+(\d+) kB$", _read("/proc/meminfo"), re.MULTILINE)
    return int(match[1]) * 1024 if match else 1 << 60


# --- processes ----------------------------------------------------------------------------------------------------------------


def _descendants() -> list[int]:
    """Processes below this one, zombies left out. As a subreaper it is the parent of those whose own has ended, so that none gets away."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            fields = _read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if len(fields) > 1 and fields[0] not in ("Z", "X"):
                parents[int(name)] = int(fields[1])
    own = os.getpid()
    return [pid for pid in parents if _leads_to(pid, own, parents)]


def _leads_to(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    for _ in range(len(parents)):
        pid = parents.get(pid, 0)
        if pid == ancestor:
            return True
        if pid <= 1:
            return False
    return False


def _taken(pids: list[int], more_than: int) -> int:
    """Memory of their own that these processes hold together (anonymous and shared; mapped files can be dropped). What forked processes share counts once, by
    the slower look that tells it (smaps_rollup), where it would be too much otherwise."""
    total = sum(_field(f"/proc/{pid}/status", "Rss(?:Anon|Shmem)") for pid in pids)
    if total <= more_than or len(pids) < 2:
        return total
    shares = [_field(f"/proc/{pid}/smaps_rollup", "Pss_(?:Anon|Shmem)") for pid in pids]
    return sum(shares) or total


def _field(path: str, names: str) -> int:
    return sum(int(match[1]) * 1024 for match in re.finditer(rf"^{names}:\s+(\d+) kB$", _read(path), re.MULTILINE))


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


class Load:
    """The load itself, from its start to the end of its last process."""

    def __init__(self, request: dict[str, Any], group: Group, control: socket.socket) -> None:
        self.request, self.group, self.control = request, group, control
        self.pid, self.peak, self.processor_seconds = 0, 0, 0.0
        self.status: int | None = None
        self.output, self.said = Kept(), bytearray()
        self.shown = {1: bool(request["show"]), 2: bool(request["show"])}
        self.read_from: dict[int, int] = {}  # descriptor → 1 stdout, 2 stderr, 3 what the loader says
        self.started = time.monotonic()
        self.deadline = self.started + request["seconds"]
        self.ended_for = ""  # time, memory, parent
        self.dry = False  # the machine's memory ran out
        self.left = 0
        self.most_taken = 0

    # --- start ---

    def start(self) -> str:
        """ "" or why it could not be started."""
        pipes = {number: os.pipe() for number in (1, 2, 3)}
        failed, tell = os.pipe()
        keeper = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self._become(pipes, tell, keeper)
        os.close(tell)
        for number, (reading, writing) in pipes.items():
            os.close(writing)
            os.set_blocking(reading, False)
            self.read_from[reading] = number
        with os.fdopen(failed, "rb") as file:
            return file.read(4096).decode("utf-8", "replace")

    def _become(self, pipes: dict[int, tuple[int, int]], tell: int, keeper: int) -> None:
        """In the child, between fork and exec."""
        try:
            os.setsid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != keeper:  # it ended before it could be asked for
                os._exit(1)
            with contextlib.suppress(OSError):
                _write("/proc/self/oom_score_adj", "1000")
            self.group.enter()
            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
            for heard in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(heard, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            if not self.request["stdin"]:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            wanted = (1, 2, 3) if self.request["says"] else (1, 2)
            writing = {number: os.dup(pipes[number][1]) if pipes[number][1] <= 3 else pipes[number][1] for number in wanted}
            for number in wanted:
                os.dup2(writing[number], number)
            os.execvpe(self.request["command"][0], self.request["command"], self.request["variables"])
        except BaseException as error:  # noqa: BLE001  # whatever it is, the child must not go on as a second keeper
            with contextlib.suppress(OSError):
                os.write(tell, f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:4000])
        os._exit(127)

    # --- watch ---

    def watch(self) -> None:
        """Until the load has ended, or has to be ended."""
        looked, pause = 0.0, WATCH_SECONDS
        while self.status is None:
            self._read(0.05)
            self._reap()
            now = time.monotonic()
            if now >= self.deadline:
                return self._out_of_time()
            if self._parent_is_gone():
                self.ended_for = "parent"
                return None
            if now - looked >= pause:
                if self._takes_too_much():
                    self.ended_for = "memory"
                    return None
                looked = time.monotonic()
                pause = max(WATCH_SECONDS, 10 * (looked - now))  # thousands of processes take their time to be looked at
        return self._after()

    def _takes_too_much(self) -> bool:
        """Where no control group bounds it, and where the machine runs dry, we are the ones who end it."""
        taken = _taken(_descendants(), self.request["memory"])
        self.most_taken = max(self.most_taken, taken)
        self.dry = _available() < self.request["floor"]
        return self.dry or taken > self.request["memory"]  # in a group of its own too: root may leave it

    def _out_of_time(self) -> None:
        """Ask where it is (faulthandler writes its traceback at SIGABRT), then end it."""
        self.ended_for = "time"
        _send(_descendants() or [self.pid], signal.SIGABRT)
        end = time.monotonic() + DUMP_SECONDS
        while time.monotonic() < end and _descendants():
            self._read(0.05)
            self._reap()

    def _after(self) -> None:
        """What it left running, after a moment."""
        end = time.monotonic() + AFTER_SECONDS
        while time.monotonic() < end and (self._read(0.02) or _descendants()) and not self._parent_is_gone():
            self._reap()
        self.left = len(_descendants())

    def _parent_is_gone(self) -> bool:
        ready, _, _ = select.select([self.control], [], [], 0)
        return bool(ready) and not self.control.recv(4096)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.peak = max(self.peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
            self.processor_seconds += usage.ru_utime + usage.ru_stime
            if pid == self.pid:
                self.status = status

    def _read(self, seconds: float) -> bool:
        """What it printed meanwhile; whether there was any."""
        if not self.read_from:
            time.sleep(seconds)
            return False
        ready, _, _ = select.select(list(self.read_from), [], [], seconds)
        for descriptor in ready:
            try:
                data = os.read(descriptor, MOST_AT_ONCE)
            except BlockingIOError:
                continue
            if not data:
                os.close(descriptor)
                del self.read_from[descriptor]
                continue
            self._take(self.read_from[descriptor], data)
        return bool(ready)

    def _take(self, number: int, data: bytes) -> None:
        if number == 3:
            self.said += data[: SAID_BYTES - len(self.said)]
            return
        self.output.add(data)
        if self.shown[number]:
            self._show(number, data)

    def _show(self, number: int, data: bytes) -> None:
        """On our own terminal or pipe, in pieces that a pipe takes without making us wait past the deadline."""
        while data:
            _, ready, _ = select.select([], [number], [], 0.5)
            if not ready:
                if time.monotonic() >= self.deadline or self._parent_is_gone():
                    return
                continue
            try:
                data = data[os.write(number, data[:4096]) :]
            except OSError:  # whoever read us has seen enough
                self.shown[number] = False
                return

    # --- end ---

    def end(self) -> None:
        """All of it, however it resists."""
        end = time.monotonic() + END_SECONDS
        while time.monotonic() < end:
            left = set(_descendants()) | set(self.group.members())
            left.discard(os.getpid())
            if not left:
                break
            if self.group.version == 2:
                with contextlib.suppress(OSError):
                    _write(os.path.join(self.group.folder, "cgroup.kill"), "1")
            _send(sorted(left), signal.SIGKILL)
            self._reap()
            self._read(0.01)
        if not os.path.isdir("/proc/self"):
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
        while self.status is None and time.monotonic() < end + 1.0:
            self._reap()
            time.sleep(0.01)
        while self._read(0.0):
            pass

    def result(self) -> dict[str, Any]:
        status = self.status
        return {
            "exit": os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0,
            "ended_for": self.ended_for,
            "dry": self.dry,
            "seconds": time.monotonic() - self.started,
            "processor_seconds": self.processor_seconds,
            "peak": max(self.peak, self.most_taken),
            "group_peak": self.group.peak(),
            "group_kills": self.group.kills(),
            "left": self.left,
            "output": self.output.text(),
            "output_bytes": self.output.count,
            "said": bytes(self.said).decode("utf-8", "replace"),
        }


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            _LIBC.prctl(option, value, 0, 0, 0)


_LIBC: Any = ctypes.CDLL(None) if os.name == "posix" else None


@contextlib.contextmanager
def _own_temp(variables: dict[str, str], wanted: bool) -> Iterator[None]:
    """A folder for temporary files of its own, removed with all that a killed load leaves in it; the usual one where none can be made."""
    folder = ""
    if wanted:
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix="diagnostics-trial-", dir=variables.get("TMPDIR") or None)
            variables["TMPDIR"] = folder
    try:
        yield
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _request(control: socket.socket) -> dict[str, Any]:
    data = b""
    while not data.endswith(b"\n"):
        more = control.recv(65536)
        if not more:
            sys.exit(0)  # nobody asks any more
        data += more
    return json.loads(data)  # type: ignore[no-any-return]


def _reply(control: socket.socket, **what: Any) -> None:
    with contextlib.suppress(OSError):
        control.sendall(json.dumps(what).encode() + b"\n")


def main(descriptor: int) -> None:
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    request = _request(control)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    group = Group(request["groups"], request["memory"])
    _reply(control, group=group.folder)
    try:
        with _own_temp(request["variables"], request["own_temp"]):
            host_kills, above = _host_kills(), [_kills(item["folder"], item["version"]) for item in request["above"]]
            load = Load(request, group, control)
            failed = load.start()
            try:
                if not failed:
                    load.watch()
            finally:
                load.end()
            result = {
                **load.result(),
                "failed": failed,
                "host_kills": _host_kills() - host_kills,
                "above_kills": [_kills(item["folder"], item["version"]) - before for item, before in zip(request["above"], above, strict=True)],
            }
    finally:
        group.remove()
    _reply(control, result=result)


if __name__ == "__main__":
    main(int(sys.argv[1]))
