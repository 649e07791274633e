"""This process's own environment: what a CI service says of itself, and what must not reach a shielded run."""

from __future__ import annotations

import os
from collections.abc import Mapping

# What would change how pytest behaves (https://docs.pytest.org/en/stable/reference/reference.html#environment-variables).
_OF_PYTEST = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_DEBUG", "PYTEST_THEME", "PYTEST_THEME_MODE")

_TAKEN: dict[str, str | None] = {}  # by ``shield``: what it was before


def continuous_integration(variables: Mapping[str, str] = os.environ) -> tuple[bool, str]:
    """Whether this is GitHub Actions, and the file of its step summary ("" for none)."""
    return variables.get("GITHUB_ACTIONS") == "true", variables.get("GITHUB_STEP_SUMMARY", "")


def termination_log(variables: Mapping[str, str] = os.environ, path: str = "/dev/termination-log") -> str:
    """The file that a pod's kubelet reads a container's last words from (its default terminationMessagePath); "" elsewhere."""
    return path if variables.get("KUBERNETES_SERVICE_HOST") and os.path.isfile(path) else ""


def variables() -> dict[str, str]:
    """The environment of this process, for child processes that stand for the loading one: as the user has it, without what pytest and we made of it."""
    own = {name: value for name, value in os.environ.items() if name not in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST", *_TAKEN)}
    return own | {name: value for name, value in _TAKEN.items() if value is not None}


def shield() -> None:
    """Take away what pytest would read from the environment, and third-party plugins with it."""
    for name in (*_OF_PYTEST, "PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        _TAKEN.setdefault(name, os.environ.get(name))
    for name in _OF_PYTEST:
        os.environ.pop(name, None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
