"""Diagnoses why a pretrained model cannot be downloaded or loaded: ``pytest diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from diagnostics.case import Explanation
    from diagnostics.readiness import Ready

__all__ = ["explain", "preflight", "watch"]
__version__ = "0.1.0"


def explain(error: str | bytes | BaseException) -> list[Explanation]:
    """The causes that a pasted error, a whole log or an exception can have, best first, without looking at anything else; empty where nothing is known to be wrong.

    Each has ``cause`` (an id of the catalogue), ``confidence`` (0 … 1), ``evidence`` (what in the text speaks for it), ``look`` (what to look at to be sure)
    and ``subjects`` (the host, path, package … that the text names).
    """
    from diagnostics.clues import explain as read  # loaded only where it is asked for: importing the package stays light

    return read(error)


def watch(spec: str = "", *, seconds: float = 15.0, look: bool = True) -> AbstractContextManager[None]:
    """Around a load: an exception with a known cause becomes ``diagnostics.watching.Diagnosed``, which says why and what to do; what was raised is its ``__cause__``.

    ``spec`` is what is loaded (else what the exception names); ``seconds`` bounds the look at this machine, ``look=False`` leaves it out.
    """
    from diagnostics.watching import watching

    return watching(spec, seconds, look)


def preflight(spec: str = "", *, seconds: float = 15.0, files: tuple[str, ...] = (), python: str = "") -> Ready:
    """Before a load: raises ``diagnostics.readiness.NotReady``, whose first line is the root cause and what to do, where the load of ``spec`` would fail.

    What it returns holds the ``judgement`` and its ``warnings``, and works as a context manager around the load: what fails all the same is explained as by
    ``watch``. ``seconds`` bounds the look; a healthy verdict is kept for a minute, in this process and for this environment. Nothing is hashed.
    """
    from diagnostics.readiness import ready

    return ready(spec, seconds=seconds, files=files, python=python)


def load_ipython_extension(shell: Any) -> None:
    """``%load_ext diagnostics``."""
    from diagnostics import notebook

    notebook.load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """``%unload_ext diagnostics``."""
    from diagnostics import notebook

    notebook.unload(shell)
