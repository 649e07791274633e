"""The checks as pytest items: found by name, not by walking folders, so that no ``python_files``, conftest or ``__init__`` on the way matters."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from diagnostics.case import CheckResult
from diagnostics.diagnosis import Check, all_checks
from diagnostics.redact import plain

CHECKS = Path(__file__).parent / "checks"
Selection = tuple[str, ...]


class Answers(Protocol):
    """Where the items find what was judged."""

    def result(self, check: str) -> CheckResult | None: ...
    def text(self, result: CheckResult) -> str: ...
    def bug(self) -> str: ...


ANSWERS = pytest.StashKey[Answers]()


class CheckFailed(AssertionError):
    """A check that failed; its text is the diagnosis."""


class OurBug(RuntimeError):
    """A check or a probe of ours broke."""


class CheckFile(pytest.Collector):
    """One module of checks. No pytest.File: its id is the same wherever the package is installed."""

    def __init__(self, *, checks: list[Check], **more: Any) -> None:
        super().__init__(**more)
        self.checks = checks

    @classmethod
    def of(cls, session: pytest.Session, module: str, checks: list[Check]) -> CheckFile:
        name = f"diagnostics/checks/{module}.py"
        return cls.from_parent(session, name=name, nodeid=name, path=CHECKS / f"{module}.py", checks=checks)

    def collect(self) -> Iterator[CheckItem]:
        for check in self.checks:
            yield CheckItem.from_parent(self, name=check.function.__name__, check=check)


class CheckItem(pytest.Item):
    """One question; its answer is in the judgement."""

    def __init__(self, *, check: Check, **more: Any) -> None:
        super().__init__(**more)
        self.check = check
        # What a survey's threads leave behind is no warning of this check, and -W error is about the user's code.
        self.add_marker(pytest.mark.filterwarnings("ignore"))

    @property
    def result(self) -> CheckResult | None:
        return self.config.stash[ANSWERS].result(self.check.id)

    def setup(self) -> None:
        """A bug of ours is a pytest ERROR, never a finding."""
        if bug := self.config.stash[ANSWERS].bug():
            raise OurBug(bug)
        if self.result is None:
            raise OurBug("this check was not judged")
        if self.result.outcome == "error":
            raise OurBug(self.result.reason)

    def runtest(self) -> None:
        result = self.result
        assert result is not None, "setup saw to it"
        if result.outcome in ("blocked", "skipped"):
            pytest.skip(f"blocked by {result.blocked_by}: {result.reason}" if result.blocked_by else result.reason)
        if result.outcome == "failed":
            raise CheckFailed(self.config.stash[ANSWERS].text(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The diagnosis, without a traceback through us."""
        if isinstance(excinfo.value, CheckFailed | OurBug):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, self.check.function.__code__.co_firstlineno - 1, self.name

    @property
    def location(self) -> tuple[str, int | None, str]:
        """As the node id says it, wherever the package lies."""
        return self.nodeid.partition("::")[0], self.check.function.__code__.co_firstlineno - 1, self.name


def chosen(selections: Iterable[Selection]) -> dict[str, list[Check]]:
    """The checks that arguments name, by module, in the order of a load. Raises pytest.UsageError for one that is not there."""
    every = all_checks()
    wanted: list[Check] = []
    for selection in selections:
        found = [check for check in every if _named(check, selection)]
        if not found:
            raise pytest.UsageError(_unknown(every, selection))
        wanted += found
    modules: dict[str, list[Check]] = {}
    for check in every:
        if check in wanted:
            modules.setdefault(check.module, []).append(check)
    return modules


def _named(check: Check, selection: Selection) -> bool:
    """Whether ``("checks", "test_tls.py", "::test_x")``, or any beginning of it, names this check."""
    own = ("checks", check.module, f"::{check.function.__name__}")
    return tuple(part.removesuffix(".py") for part in selection) == own[: len(selection)]


def _unknown(every: list[Check], selection: Selection) -> str:
    asked = plain("/".join(selection).replace("/::", "::"), 120)
    ids = [f"checks/{check.module}.py::{check.function.__name__}" for check in every]
    near = difflib.get_close_matches(asked, [*ids, *dict.fromkeys(name.partition("::")[0] for name in ids)], 3, 0.6)
    return f"there is no check “diagnostics/{asked}”" + (f": did you mean {', '.join('diagnostics/' + name for name in near)}?" if near else "")
