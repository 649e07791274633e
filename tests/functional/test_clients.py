"""The table of the clients against the clients themselves: every setting of ``tests/clients/settings.py``, each client in an environment of its own.

What is compared is whether the client comes through and which proxy (or host) it reaches; which store it trusts shows in whose certificates it takes.
The table of it all is written to ``reports/clients.md``. ``python -m tests.clients.inside NAME PYTHON`` in a network namespace prints one client's cells.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.clients.homes import MEASURED, Measured, python_of
from tests.functional.runs import why_no_namespace

ROOT = Path(__file__).parents[2]
# What we do not claim to know, and why: (client, section, part of the cell's name).
UNKNOWN = (
    ("urllib", "1.1", "?x=1", "a query behind a proxy's port ends http.client alone; nobody writes that"),
    ("hf_xet", "2", "[::1]", "hf_xet finds no way to an IPv6 address through a proxy, for a reason that it keeps to itself"),
    ("wget", "3.4", "weak-rsa", "GnuTLS's own floors are not ours to try with OpenSSL"),
    ("wget", "3.4", "old-tls", "GnuTLS's own floors are not ours to try with OpenSSL"),
    ("wget", "4", "garbage", "wget takes what is no HTTP for HTTP/0.9"),
    ("wget", "4", "ssh", "wget takes what is no HTTP for HTTP/0.9"),
)  # fmt: skip
Cells = list[dict[str, Any]]


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[str, Future[Cells]]]:
    """Every client's cells; as many at once as there are cores, each in a network of its own."""
    if reason := why_no_namespace():
        pytest.skip(reason)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        found = {client.name: pool.submit(_measure, client) for client in MEASURED}
        yield found
        (ROOT / "reports" / "clients.md").write_text(_table({name: future.result() for name, future in found.items() if not future.exception()}))


def _measure(client: Measured) -> Cells:
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    inside = [sys.executable, "-m", "tests.clients.inside", client.name, str(python_of(client.home))]
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE")}
    done = subprocess.run(
        ["unshare", *user, "--net", "--mount", "--fork", "--kill-child", *inside], cwd=ROOT, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("client", MEASURED, ids=lambda client: client.name)
def test_the_prediction_is_what_the_client_does(client: Measured, measured: dict[str, Future[Cells]]) -> None:
    """No wrong cell, and at most one in twenty of which we say that we do not know."""
    cells = measured[client.name].result()
    wrong = [cell for cell in cells if not _right(cell) and not _unknown(client.name, cell)]
    assert wrong == []
    assert sum(_unknown(client.name, cell) for cell in cells) <= len(cells) / 20
    assert any(cell["theirs"]["works"] for cell in cells) and any(not cell["theirs"]["works"] for cell in cells), "both happen, or nothing was measured"


def _right(cell: dict[str, Any]) -> bool:
    ours, theirs = cell["ours"], cell["theirs"]
    return bool(ours["works"] == theirs["works"] and (not ours["works"] or ours["way"] == theirs["way"]))


def _unknown(client: str, cell: dict[str, Any]) -> bool:
    return any((client, cell["section"]) == (name, section) and part in cell["name"] for name, section, part, _ in UNKNOWN)


def _table(found: dict[str, Cells]) -> str:
    """Cells, those where we are right, wrong and do not know, by client and section; then every cell, a column a client."""
    sections = sorted({cell["section"] for cells in found.values() for cell in cells})
    lines = [
        "# Clients as measured",
        "",
        "Right / wrong / unknown, by section.",
        "",
        "| client | " + " | ".join(sections) + " | all |",
        "|---" * (len(sections) + 2) + "|",
    ]
    for name, cells in found.items():
        lines.append(
            f"| {name} | "
            + " | ".join(_count(name, [cell for cell in cells if cell["section"] in (section, "")]) for section in sections)
            + f" | {_count(name, cells)} |"
        )
    lines += [
        "",
        "P, Q and so on are proxies; - is the direct way; a cross is a failure.",
        "",
        "| setting | " + " | ".join(found) + " |",
        "|---" * (len(found) + 1) + "|",
    ]
    by_name = {name: {(cell["section"], cell["name"]): cell for cell in cells} for name, cells in found.items()}
    for key in dict.fromkeys(key for cells in by_name.values() for key in cells):
        shown = " | ".join(_shown(name, cells[key]) if key in cells else "" for name, cells in by_name.items())
        lines.append(f"| {key[0]}: `{key[1].replace('|', '')}` | {shown} |")
    return "\n".join(lines) + "\n"


def _count(name: str, cells: Cells) -> str:
    unknown = sum(_unknown(name, cell) for cell in cells)
    right = sum(_right(cell) for cell in cells if not _unknown(name, cell))
    return f"{right} / {len(cells) - right - unknown} / {unknown}"


def _shown(name: str, cell: dict[str, Any]) -> str:
    theirs = cell["theirs"]
    direct = theirs["way"].endswith(".test") or theirs["way"] in ("127.0.0.1", "::1", "")
    way = "×" if not theirs["works"] else "-" if direct else theirs["way"]
    return way if _right(cell) else f"**{way}**" + (" (not known)" if _unknown(name, cell) else "")
