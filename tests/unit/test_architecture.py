"""Imports point one way, and each room keeps to its own: held over the syntax trees, so that no import is run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "diagnostics"
BASE = {"case", "redact", "facts", "codec"}
LOOKERS = BASE | {"environment", "targets", "probes", "__init__"}
# room → rooms it may know; what is not named here sees all.
MAY_KNOW = {
    "case": set(),
    "redact": {"case"},
    "codec": {"case"},
    "facts": {"case", "facts"},
    "environment": BASE | {"environment"},
    "targets": BASE | {"environment", "targets"},
    "probes": LOOKERS,
    "transfer": LOOKERS | {"transfer"},
    "repair": LOOKERS | {"repair", "transfer", "causes"},
    "causes": {"case", "facts", "causes"},
    "checks": {"case", "facts", "checks", "diagnosis"},
    "diagnosis": {"agreement", "case", "facts", "causes", "checks", "confirmation", "tried"},
    "agreement": {"case", "facts", "causes"},
    "confirmation": {"case", "facts", "causes"},
    "errors": {"case", "redact", "facts", "clues", "confirmation"},
    "trial": LOOKERS | {"trial", "errors"},
    "tried": {"case", "facts", "causes", "confirmation"},
    "clues": {"case", "redact", "facts", "clues"},
    "waivers": {"case", "causes", "diagnosis", "redact"},
    "reaching": {"case", "facts"},
    "report": {"case", "__init__", "reaching"},
    "render": {"case", "facts", "codec", "redact", "diagnosis", "reaching", "render"},
}
# The one import that crosses: demo brings its own world, and only where it is asked for.
CROSSINGS = {("probes/survey.py", "lab")}
MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Rooms of ours that a module imports; those for type checkers only count too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "diagnostics":
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            yield from ("__init__" if name.startswith("__") else name for name in names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("diagnostics."))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(PACKAGE)) for path in MODULES])
def test_imports_point_one_way(path: Path) -> None:
    """case, redact and facts know nobody above them; looking does not know judging; judging and speaking do no I/O."""
    allowed = MAY_KNOW.get(room(path))
    if allowed is None:
        return
    crossing = {(str(path.relative_to(PACKAGE)), name) for name in imported(path) if name not in allowed}
    assert crossing <= CROSSINGS


def test_only_the_environment_reads_the_environment() -> None:
    """os.environ in one room, so that a demo or a replay can bring another; the lab sets up processes of its own."""
    readers = {room(path) for path in MODULES if "os.environ" in path.read_text() or "getenv(" in path.read_text()}
    assert readers <= {"environment", "lab"}


@pytest.mark.parametrize("name", ["causes", "checks", "clues", "confirmation", "diagnosis", "render"])
def test_judging_and_speaking_do_no_network(name: str) -> None:
    """No module of theirs imports what reaches a network or starts a process."""
    reaching = {"socket", "ssl", "http.client", "requests", "dns", "psutil", "subprocess", "urllib.request"}
    for path in MODULES:
        if room(path) == name:
            nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
            names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
            assert not names & reaching, path


def test_the_entry_point_imports_nothing_of_ours_when_it_loads() -> None:
    """At its top level; it loads in every pytest run of the environment."""
    tree = ast.parse((PACKAGE / "entry" / "pytest_diagnostics.py").read_text())
    top = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {(node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert top <= set(sys.stdlib_module_names) | {"pytest"}
