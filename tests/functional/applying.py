"""In a world of the lab: diagnose, then paste each remedy of the first root that is marked seen into a fresh shell, and let the real client download there.

``python applying.py OUT.json --diagnose=SPEC [OPTIONS]``. What came of it goes to OUT.json: the first cause, and each remedy with the client's exit code and last words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# Worlds whose first root has a remedy that was seen to work, every kind of it: no cause may lack one (tests/functional/test_worlds.py).
WORLDS = (
    "xet-cas-blocked",
    "xet-cas-blocked-by-filter",
    "xet-store-fails",
    "xet-other-proxy",
    "proxy-required-conda",
    "proxy-required-profile",
    "http-token-rejected",
    "http-method-blocked",
    "proxy-variable-hidden",
    "proxy-variable-all-with-urllib",
    "proxy-socks-is-http",
    "proxy-bypassed",
    "proxy-bypassed-dropped",
    "proxy-bypassed-cdn",
    "tls-intercepted-url",
    "tls-intercepted-ca-variable-ignored",
    "tls-chain-incomplete",
    "tls-chain-incomplete-private",
    "tls-handshake-cut-intolerant",
    "dns-server-unreachable-over-udp",
    "proxy-required",
    "proxy-required-git",
    "proxy-required-environment",
    "proxy-required-login",
    "ca-bundle-missing-requests",
    "ca-bundle-incomplete",
    "ca-variable-ignored",
    "ca-variable-ignored-by-requests",
    "ca-variable-ignored-alone",
    "proxy-variable-ignored",
    "proxy-variable-ignored-dropped",
    "proxy-variables-disagree-dead",
    "proxy-variables-empty",
    "no-proxy-invalid",
    "no-proxy-star",
    "proxy-scheme-wrong-hangs",
    "proxy-scheme-wrong-plain",
    "proxy-wants-tls",
    "proxy-name-unknown",
    "proxy-unreachable-plain",
    "proxy-auth-plain",
    "proxy-denied-plain",
    "proxy-upstream-plain",
    "ca-store-outdated",
    "ca-store-outdated-certifi",
    "ca-store-outdated-expired-root",
)
FETCHED_BY_HAND = ("http-method-blocked",)  # causes whose remedy fetches the file itself, because the client cannot
NOTHING_BEHIND = {
    "http-token-rejected-nothing": "no model is named, so nothing is downloaded",
    "proxy-scheme-wrong": "its proxy leads nowhere; proxy-scheme-wrong-hangs is the same with a hub behind it",
}
SECONDS = 60
FETCHERS = {
    "requests": "import sys, requests; requests.get(sys.argv[1].partition('#')[0], timeout=20).raise_for_status()",
    "urllib": "import sys, urllib.request; urllib.request.urlopen(sys.argv[1].partition('#')[0], timeout=20).read()",
}


def diagnose(options: list[str], folder: str) -> dict[str, Any]:
    """The report of a run in this world."""
    subprocess.run([sys.executable, "-m", "pytest", "diagnostics", f"--diagnose-report={folder}", *options], capture_output=True, check=False)
    document: dict[str, Any] = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    return document


def client(target: dict[str, Any], spec: str) -> list[str]:
    """The command that downloads this target as its own client does."""
    if target["kind"] == "hub":
        return [str(Path(sys.executable).with_name("hf")), "download", "--quiet", spec.removeprefix("hub:")]
    return [sys.executable, "-c", FETCHERS[target["client"]["family"]], spec]


def apply(run: str, command: list[str]) -> dict[str, Any]:
    """The client after ``run`` in a shell of its own, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        bin_folder = str(Path(sys.executable).parent)
        variables = {**os.environ, "HF_HUB_CACHE": cache, "PATH": f"{bin_folder}:{os.environ.get('PATH', '')}", "NO_COLOR": "1"}
        script = f'{run}\nended=$?; [ $ended = 0 ] || exit $ended\n"$@"'
        try:
            done = subprocess.run(
                ["sh", "-c", script, "sh", *command], env=variables, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return {"code": -1, "said": f"no end within {SECONDS} s"}
    return {"code": done.returncode, "said": (done.stdout + done.stderr)[-800:]}


def main(out: str, options: list[str]) -> None:
    spec = next(option.partition("=")[2] for option in options if option.startswith("--diagnose="))
    with tempfile.TemporaryDirectory() as folder:
        document = diagnose(options, folder)
    root = document["diagnoses"][0] if document["diagnoses"] else {"cause": "", "remedies": []}
    target = document["case"]["target"]
    command = ["true"] if root["cause"] in FETCHED_BY_HAND else client(target, spec)
    by_hand = any(option.startswith("--diagnose-save-ca") for option in options)  # what a person has compared with the admin's: the first remedy
    seen = root["remedies"][:1] if by_hand else [remedy for remedy in root["remedies"] if remedy["proof"] == "seen" and remedy["run"]]
    told = {
        "cause": root["cause"],
        "before": apply("true", client(target, spec)),
        "tried": [{**remedy, **apply(remedy["run"], command)} for remedy in seen],
    }
    Path(out).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
