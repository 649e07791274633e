"""Run by the Python of a client's own environment: every setting in a process of its own, the client's own request, and what came of it.

A line of JSON in (``{"variables": {…}, "url": "…", "seconds": 1.5}``), a line out (``{"works": true, "said": ""}``), one after the other, so that whoever
asks can tell from its own servers which way each went. Only the standard library and the client: nothing of ours is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

LIMIT = 1.0  # seconds beyond the client's own time-out
PIECE = 1 << 16


def by_requests(url: str, seconds: float) -> int:
    import requests

    with requests.get(url, timeout=seconds, stream=True) as answer:
        for _ in answer.iter_content(PIECE):
            pass
        return answer.status_code


def by_httpx(url: str, seconds: float) -> int:
    import httpx

    with httpx.Client(follow_redirects=True, timeout=seconds) as client:
        return client.get(url).status_code


def by_httpx2(url: str, seconds: float) -> int:
    import httpx2

    with httpx2.Client(follow_redirects=True, timeout=seconds) as client:
        return client.get(url).status_code


def by_urllib(url: str, seconds: float) -> int:
    import urllib.request

    with urllib.request.urlopen(url, timeout=seconds) as answer:
        answer.read()
        return int(answer.status)


def by_aiohttp(url: str, seconds: float) -> int:
    import asyncio

    import aiohttp

    async def fetch() -> int:
        async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=seconds)) as session, session.get(url) as answer:
            await answer.read()
            return answer.status

    return asyncio.run(fetch())


def by_hub(url: str, seconds: float) -> int:
    """The metadata of a file, as every download begins; for other addresses the library's own session."""
    if "/resolve/" in url and "/body/" not in url:
        from huggingface_hub import get_hf_file_metadata

        time.sleep = lambda seconds: None  # between its tries: the outcome is what is measured
        get_hf_file_metadata(url, timeout=seconds)
        return 200
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    following = {"follow_redirects": True} if "httpx" in type(session).__module__ else {}
    answer = session.get(url, timeout=seconds, **following)
    return int(answer.status_code)


def by_hf_xet(url: str, seconds: float) -> int:
    """A file from Xet storage, as huggingface_hub asks for it; the base of ``url`` is the CAS."""
    from hf_xet import XetFileInfo, XetSession

    base, _, rest = url.partition("/xet/")
    digest, _, size = rest.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        group = XetSession().new_file_download_group(
            endpoint=base,
            token="xet-LabXetTokenLabXetToken",
            token_expiry_unix_secs=1 << 33,
            token_refresh_url=base + "/api/models/lab/tiny-bert/xet-read-token/main",
            token_refresh_headers={},
            custom_headers={},
            progress_callback=None,
        )
        with group:
            group.start_download_file(XetFileInfo(digest, int(size)), os.path.join(folder, "file"))
        return 200 if os.path.getsize(os.path.join(folder, "file")) == int(size) else 500


def by_pooch(url: str, seconds: float) -> int:
    import pooch

    with tempfile.TemporaryDirectory() as folder:
        pooch.retrieve(url, None, path=folder, downloader=pooch.HTTPDownloader(timeout=seconds, progressbar=False))
    return 200


def by_curl(url: str, seconds: float) -> int:
    return by_tool(["curl", "-sSfL", "--max-time", str(seconds), "-o", os.devnull, url])


def by_wget(url: str, seconds: float) -> int:
    return by_tool(["wget", "-q", "--tries=1", f"--timeout={seconds}", "-O", os.devnull, url])


def by_tool(command: list[str]) -> int:
    import subprocess

    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise RuntimeError(f"{done.returncode} {done.stderr.strip()}")
    return 200


# What is imported once, because it reads nothing of the environment then. aiohttp makes its context at import: it is imported anew for every setting.
PRELOADED = {
    "requests": ("requests", "socks"),
    "httpx": ("httpx", "socksio"),
    "httpx2": ("httpx2", "socksio"),
    "pooch": ("pooch", "requests"),
    "aiohttp": ("yarl", "multidict", "asyncio", "ssl", "http.cookies", "frozenlist", "aiosignal", "attr", "email.utils"),
    "urllib": ("urllib.request", "ssl"),
    "hub": ("requests", "httpx", "httpx2", "socksio", "yaml", "tqdm.auto", "filelock"),
}
CLIENTS: dict[str, Callable[[str, float], int]] = {
    name[3:]: function for name, function in list(globals().items()) if name.startswith("by_") and name != "by_tool"
}


def main(client: str) -> None:
    for module in PRELOADED.get(client, ()):
        with contextlib.suppress(ImportError):
            __import__(module)
    for line in sys.stdin:
        said = apart(CLIENTS[client], json.loads(line))
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()


def apart(ask: Callable[[str, float], int], cell: dict[str, Any]) -> dict[str, Any]:
    """One setting, in a child of this process, which is ended where it hangs."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        os.dup2(2, 1)
        os.environ.clear()
        os.environ.update(cell["variables"])
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, cell["seconds"] + LIMIT)
        os.write(writing, json.dumps(tried(ask, cell["url"], cell["seconds"])).encode()[:60000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    said: dict[str, Any] = json.loads(data) if data else {"works": False, "said": "it did not end"}
    return said


def tried(ask: Callable[[str, float], int], url: str, seconds: float) -> dict[str, Any]:
    try:
        status = ask(url, seconds)
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is what the client says
        return {"works": False, "said": f"{type(error).__name__}: {error}"[:600]}
    return {"works": status < 400, "said": str(status)}


if __name__ == "__main__":
    main(sys.argv[1])
