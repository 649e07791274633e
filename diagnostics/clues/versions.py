"""Too old or too new: where a text gives the requirement and the version found, the numbers decide."""

from __future__ import annotations

from collections.abc import Mapping

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

Causes = tuple[tuple[str, float], ...]


def which_way(causes: Causes, names: Mapping[str, str]) -> Causes:
    """``causes`` as they are, or with the one of package-too-old and package-too-new in front that the versions in the text prove."""
    required, found = names.get("required", "").rstrip("."), names.get("found", "").rstrip(".")
    if not required or not found:
        return causes
    try:
        wanted, version = SpecifierSet(required), Version(found)
    except (InvalidSpecifier, InvalidVersion):
        return causes
    floors = [Version(item.version) for item in wanted if item.operator in (">=", ">", "~=", "==") and "*" not in item.version]
    first = "package-too-old" if any(version < floor for floor in floors) else "package-too-new"
    return ((first, 0.9), *((cause, 0.04) for cause, _ in causes if cause != first))
