"""Diagnoses why a pretrained model cannot be downloaded or loaded: ``pytest diagnostics``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diagnostics.case import Explanation

__all__ = ["explain"]
__version__ = "0.1.0"


def explain(error: str | bytes | BaseException) -> list[Explanation]:
    """The causes that a pasted error, a whole log or an exception can have, best first, without looking at anything else; empty where nothing is known to be wrong.

    Each has ``cause`` (an id of the catalogue), ``confidence`` (0 … 1), ``evidence`` (what in the text speaks for it), ``look`` (what to look at to be sure)
    and ``subjects`` (the host, path, package … that the text names).
    """
    from diagnostics.clues import explain as read  # loaded only where it is asked for: importing the package stays light

    return read(error)
