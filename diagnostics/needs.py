"""In the user's own tests: ``@pytest.mark.needs_model("org/name")`` and the fixture ``preflight``. Loaded when the first of them is met."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from diagnostics.readiness import Kept, NotReady, Ready, ready

SECONDS = 15.0
MARK = 'say @pytest.mark.needs_model("org/name"), with otherwise="skip" for a test that is skipped where the model would not load'
KEPT = pytest.StashKey[Kept]()  # one look a model and session: a hundred tests must not wait for the same black hole


def of(config: pytest.Config) -> Callable[..., Ready]:
    """The fixture: a function of a SPEC that raises NotReady where it would not load here."""
    kept = config.stash.setdefault(KEPT, Kept(seconds=math.inf, failures=True))

    def preflight(spec: str, *, seconds: float = SECONDS, files: tuple[str, ...] = (), python: str = "") -> Ready:
        __tracebackhide__ = True
        return ready(spec, seconds=seconds, files=files, python=python, kept=kept)

    return preflight


def see(item: pytest.Item) -> None:
    """Fail or skip ``item`` with the diagnosis, where a model that it needs would not load."""
    for mark in item.iter_markers("needs_model"):
        spec, otherwise = mark.args[0] if len(mark.args) == 1 else None, mark.kwargs.get("otherwise", "fail")
        if not isinstance(spec, str) or otherwise not in ("fail", "skip") or mark.kwargs.keys() - {"otherwise"}:
            pytest.fail(MARK, pytrace=False)
        if reason := _reason(item.config, spec):
            pytest.skip(f"{spec}: {reason.partition(chr(10))[0]}") if otherwise == "skip" else pytest.fail(reason, pytrace=False)


def _reason(config: pytest.Config, spec: str) -> str:
    try:
        of(config)(spec)
    except (NotReady, ValueError) as error:  # ValueError: demo:FAULT that does not exist
        return str(error)
    return ""
