"""``%load_ext diagnostics``: after the traceback of a failed cell, what it can mean; ``%diagnose [SPEC]`` looks and says what of it is so here."""

from __future__ import annotations

import sys
from typing import Any

from diagnostics import errors


def load(shell: Any) -> None:
    """Listen to ``shell`` (IPython's InteractiveShell)."""
    shell.events.register("post_run_cell", _after)
    shell.register_magic_function(_diagnose, "line", "diagnose")


def unload(shell: Any) -> None:
    shell.events.unregister("post_run_cell", _after)


def _after(result: Any) -> None:
    error = result.error_in_exec or result.error_before_exec
    if isinstance(error, Exception):
        clues = errors.clues_of(error, "")
        if clues.decided and clues.explanations:
            print("\n".join([*errors.lines(clues)[:6], "%diagnose looks at this machine and says which of it is so."]), file=sys.stderr)


def _diagnose(line: str) -> None:
    """``%diagnose [SPEC]``: the last error of this notebook against this machine."""
    from diagnostics.watching import diagnosed

    last = getattr(sys, "last_value", None)
    found = diagnosed(last, line.strip()) if isinstance(last, BaseException) else None
    print(str(found) if found else "Nothing is known to be wrong.")
