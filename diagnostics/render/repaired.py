"""What a repair did, in sentences that all renderers share."""

from __future__ import annotations

import shlex

from diagnostics.case import Repaired, Repairs, Report
from diagnostics.redact import plain
from diagnostics.render import words

MOST_PATHS = 10
SAID = {"repaired": "repaired", "not_needed": "nothing to do", "refused": "left as it is", "failed": "failed"}
HOW = {
    "fetch": "fetched anew",
    "continue": "continued",
    "copy": "copied",
    "trim": "cut where it ends",
    "link": "linked",
    "write": "written",
    "remove": "removed",
}


def of(report: Report) -> Repairs | None:
    """None where no repair was asked for."""
    return report.repairs if isinstance(report.repairs, Repairs) else None


def lead(repairs: Repairs) -> str:
    """How much was repaired, or why nothing was."""
    good = [item for item in repairs.done if item.outcome == "repaired"]
    if not repairs.done:
        return f"Nothing was repaired: {plain(repairs.cannot, 400)}"
    if not good and (reason := next((item.reason for item in repairs.done if item.outcome in ("refused", "failed")), "")):
        return f"Nothing could be repaired: {plain(repairs.cannot or reason, 400)}"
    fetched = sum(item.fetched_bytes for item in repairs.done)
    left = len([item for item in repairs.done if item.outcome in ("refused", "failed")])
    amount = f"{len(good)} of {len(repairs.done)}" if left else f"{len(good)}"
    return f"Repaired {amount} ({words.size(fetched)} fetched)" + (
        f"; cannot repair the rest until this is: {plain(repairs.cannot, 400)}" if repairs.cannot else ""
    )


def before(repairs: Repairs) -> str:
    """What was broken before, in a line; "" where nothing was."""
    found = [diagnosis for diagnosis in repairs.before.diagnoses if not diagnosis.waived]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"Before: {words.title(found[0])}{more}" if found else ""


def line(item: Repaired) -> str:
    """One repair and what came of it."""
    repair = item.repair
    what = HOW[repair.how] if item.outcome == "repaired" and not item.reason else SAID[item.outcome]
    by = f" by {item.by}" if item.by and item.outcome == "repaired" else ""
    size = f", {words.size(item.fetched_bytes)}" if item.fetched_bytes else ""
    reason = f": {item.reason}" if item.reason else ""
    kept = f"; what lay there is kept as {item.kept.rpartition('/')[2]}" if item.kept else ""
    why = f" ({repair.why})" if repair.why else ""
    return plain(f"{repair.path}: {repair.kind}{why}: {what}{by}{size}{reason}{kept}", 800)


def kept(repairs: Repairs) -> str:
    """The command that removes what was replaced; "" for nothing, and for more than a line holds: ``report.json`` has them."""
    paths = [item.kept for item in repairs.done if item.kept]
    return f"rm -- {' '.join(_quoted(path) for path in paths)}" if 0 < len(paths) <= MOST_PATHS else ""


def _quoted(path: str) -> str:
    return "~/" + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)
