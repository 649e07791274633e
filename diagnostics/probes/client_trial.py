"""The installed client itself, in a child process of the interpreter that will load: its own metadata request and a short read, with a deadline.

It runs in the environment as it is, with two differences: what it would write goes into a folder that is removed, and the token's path is spelled out, since
it would be looked for beside that. Nothing of the user's cache is read or changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diagnostics import redact
from diagnostics.case import NOT_ASKED, ClientTrial, ClientUse, Environment, Request, Target, Unseen
from diagnostics.environment.interpreter import NOT_PASSED
from diagnostics.probes.budget import Deadline
from diagnostics.redact import Secrets

SECONDS = 6.0
SLICE = 0.1
PATIENCE = 10.0  # of one request, as the client has by itself (HF_HUB_ETAG_TIMEOUT): longer than we wait, so that our haste is never its failure
MOST_LINE = 1 << 16
SMALL, SHORT = "config.json", 1024
# huggingface_hub asks the hub once a day which agents there are; a list that is there and new spares it.
HARNESSES = '{"standardEnvVars": [], "harnesses": {}}'
# hf_hub_url, get_hf_file_metadata, build_hf_headers and get_session are public in 0.x (requests), 1.x (httpx) and 2.x (httpx2) alike.
PROGRAM = r"""
import sys
sys.path[:] = [path for path in sys.path if path]
import json, time
try:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
except OSError:
    pass
def say(**said):
    sys.stdout.write("\n" + "diagnose-client " + json.dumps(said) + "\n")
    sys.stdout.flush()
def chain(error):
    seen = []
    while error is not None and error not in seen and len(seen) < 8:
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [[type(item).__name__, str(item)[:1500]] for item in seen]
def status_of(error):
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(status, int):
            return status
        error = error.__cause__
    return 0
start = time.time()
try:
    import huggingface_hub
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session
except BaseException as error:
    say(version="", errors=chain(error))
    sys.exit()
say(version=huggingface_hub.__version__, seconds=time.time() - start)
name, kind, revision, seconds, short = json.loads(sys.stdin.readline())
def read(url, headers):
    headers = dict(headers, Range="bytes=0-%d" % (short - 1))
    headers["Accept-Encoding"] = "identity"
    session = get_session()
    if hasattr(session, "stream") and "httpx" in type(session).__module__:
        with session.stream("GET", url, headers=headers, timeout=seconds, follow_redirects=True) as answer:
            answer.raise_for_status()
            return len(next(answer.iter_bytes(short), b""))
    with session.get(url, headers=headers, timeout=seconds, stream=True) as answer:
        answer.raise_for_status()
        return len(next(answer.iter_content(short), b""))
for line in sys.stdin:
    path, moved = json.loads(line)
    start, said, stage = time.time(), {"path": path, "bytes": 0}, "metadata"
    try:
        url = hf_hub_url(name, path, repo_type=kind, revision=revision)
        found = get_hf_file_metadata(url, timeout=seconds)
        there = found.location or url
        xet = moved and getattr(found, "xet_file_data", None) is not None
        if not xet:
            stage = "bytes"
            same = there.split("/")[:3] == url.split("/")[:3]
            said["bytes"] = read(there, build_hf_headers() if same else {})
        said["host"] = there.split("/")[2].rpartition("@")[2] if not xet else ""
    except BaseException as error:
        said["errors"], said["status"] = chain(error), status_of(error)
    say(stage=stage, seconds=time.time() - start, **said)
"""
MARK = b"diagnose-client "


def see_client(
    target: Target,
    environment: Environment,
    secrets: Secrets,
    variables: Mapping[str, str],
    python: str,
    deadline: Deadline,
    largest: Callable[[float], str],
    at_the_end: contextlib.ExitStack,
    enough: Callable[[], bool] = lambda: False,
    starting: contextlib.AbstractContextManager[object] | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> ClientTrial | Unseen:
    """What the client says of ``config.json`` at once, and of the largest file as soon as ``largest`` (given the seconds it may wait) knows which that is.

    ``at_the_end`` is unwound when the look ends before this does: neither the process nor its folder stays behind. ``starting`` is held while they are made, so that
    no end (``ended``) comes between.
    Once ``enough`` is seen of a silence, nobody waits any longer for what the client would say of it.
    """
    client = target.client
    if not tried_for(target) or not isinstance(client, ClientUse):
        return Unseen("not_asked", "no client that could be tried is installed")
    until = Deadline(deadline.within(SECONDS))
    with contextlib.ExitStack() as own:
        with starting or contextlib.nullcontext():
            at_the_end.callback(own.close)
            child = None if ended() else _started(python, variables, environment, own)
        if child is None:
            return Unseen("unsupported", "no process could be started for it")
        asked = _Asked(child, secrets, until, enough)
        first = asked.answer()
        if first is None:
            return Unseen("timed_out", f"{client.family} to be imported")
        version = str(first.get("version", ""))
        if version != client.version:
            return Unseen("unsupported", f"it is another version that is imported ({version or 'none'})" if version else "it cannot be imported")
        asked.tell([target.name, target.repository_type, target.revision, PATIENCE, SHORT])
        moved = any(use.family == "hf_xet" for use in target.transports)
        requests = [asked.request(SMALL, moved)]
        other = largest(until.left())
        requests += [asked.request(other, moved)] if other not in ("", SMALL) else []
        seen = tuple(request for request in requests if request)
        return ClientTrial(client=client, import_seconds=float(first.get("seconds", 0.0)), requests=seen) if seen else Unseen("timed_out", "its own request")


def tried_for(target: Target) -> bool:
    """Whether huggingface_hub is there and fetches ``target``."""
    client = target.client
    return target.kind == "hub" and isinstance(client, ClientUse) and client.family.startswith("huggingface_hub") and client.installed


class _Asked:
    """The child's side of the talk: a line in, a line out, by a deadline."""

    def __init__(self, child: subprocess.Popen[bytes], secrets: Secrets, until: Deadline, enough: Callable[[], bool] = lambda: False) -> None:
        self.child, self.secrets, self.until, self.enough = child, secrets, until, enough
        self._rest = b""

    def tell(self, line: Any) -> None:
        assert self.child.stdin
        with contextlib.suppress(OSError, ValueError):
            self.child.stdin.write(json.dumps(line).encode() + b"\n")
            self.child.stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """The next thing said; None where nothing is in time, or ever."""
        assert self.child.stdout
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                with contextlib.suppress(ValueError):
                    found = json.loads(line.removeprefix(MARK)) if line.startswith(MARK) else None
                    if isinstance(found, dict):
                        return found
                continue
            try:
                if len(self._rest) > MOST_LINE or not self._something():
                    return None
                piece = os.read(self.child.stdout.fileno(), MOST_LINE)
            except (OSError, ValueError):  # the look has ended, and the pipe with it
                return None
            if not piece:
                return None
            self._rest += piece

    def _something(self) -> bool:
        """Whether there is something to read by then."""
        assert self.child.stdout
        while not select.select([self.child.stdout], [], [], min(SLICE, self.until.left()))[0]:
            if self.until.over or self.enough():
                return False
        return True

    def request(self, path: str, moved: bool) -> Request | None:
        """One file asked for, twice where the client failed at it: what fails once may have been chance."""
        found = None
        for _ in range(2):
            self.tell([path, moved])
            said = self.answer()
            if said is None:
                return found
            found = self._record(path, said)
            if found.outcome != "failed":
                break
        return found

    def _record(self, path: str, said: dict[str, Any]) -> Request:
        errors = tuple(f"{kind}: {text}" for kind, text in said.get("errors", ()))
        status = said.get("status") or 0
        return Request(
            path=redact.plain(path, 400),
            outcome="refused" if errors and status else "failed" if errors else "fetched",
            stage="bytes" if said.get("stage") == "bytes" else "metadata",
            host=self.secrets.clean(str(said.get("host", "")), 255),
            bytes=int(said.get("bytes", 0)),
            status=int(status),
            errors=tuple(self.secrets.clean(" ".join(error.split()), 400) for error in errors),
            seconds=float(said.get("seconds", 0.0)),
        )


def _started(python: str, variables: Mapping[str, str], environment: Environment, own: contextlib.ExitStack) -> subprocess.Popen[bytes] | None:
    """The child in the user's own working folder, for variables may name what lies there; None where there can be none. ``own`` ends it."""
    if os.name != "posix":  # select() knows no pipes elsewhere
        return None
    try:
        folder = own.enter_context(tempfile.TemporaryDirectory(prefix="diagnose-client-", ignore_cleanup_errors=True))
        (Path(folder) / ".agent_harnesses.json").write_text(HARNESSES)
        given = {name: value for name, value in variables.items() if name not in NOT_PASSED and "\0" not in value} | _elsewhere(environment, folder)
        command = [os.path.expanduser(python) if python else sys.executable, "-B", "-c", PROGRAM]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=given, start_new_session=True)
    except (OSError, ValueError):  # no room, no process, no such interpreter: other probes say so
        return None
    own.callback(_end, child)
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    """With everything it started."""
    with contextlib.suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout):
        with contextlib.suppress(OSError):
            pipe.close() if pipe else None
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1.0)


def _elsewhere(environment: Environment, folder: str) -> dict[str, str]:
    """Whatever the client would write, into ``folder``; the token where it is."""
    token = environment.caches.get("token", "")
    places = {name: os.path.join(folder, name.lower()) for name in ("HF_HUB_CACHE", "HF_ASSETS_CACHE", "HF_XET_CACHE")}
    kept = {"HF_TOKEN_PATH": os.path.expanduser(token)} if token else {}
    return {"HF_HOME": folder, **places, **kept, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


def worth_trying(target: Target, environment: Environment) -> Unseen | None:
    """Why the client is not tried: the demo brings an environment of its own, in which this process is not; a login that is wrong locks accounts."""
    if target.spec.startswith("demo"):
        return NOT_ASKED
    if any(setting.credentials for setting in environment.proxies):
        return Unseen("not_asked", "a proxy's login is shown once, by the probes")
    return None
