"""Which packages a model needs and in which versions: the reader of ``versions.toml``."""

from __future__ import annotations

import datetime
import functools
import importlib.resources
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from diagnostics.case import record
from diagnostics.facts.clients import canonical

OLD_AFTER_DAYS = 365


@record
class Bound:
    """A floor or a removal: ``package`` must be at least ``minimum``, or below ``below``, in the company of certain versions of others."""

    package: str
    minimum: str = ""
    below: str = ""
    weights: str = ""  # it holds where the weights are of this format alone
    why: str = ""
    source: str = ""


@record
class Reader:
    """A package that reads a kind of file."""

    package: str
    why: str
    required: bool
    file: str  # the one that asks for it


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("diagnostics.facts").joinpath("versions.toml").read_text(encoding="utf-8"))


def as_of() -> datetime.date:
    """The day the table was written."""
    day = _table()["as_of"]
    assert isinstance(day, datetime.date)
    return day


def outdated(today: datetime.date | None = None) -> str:
    """A sentence to show where the table is older than a year, else ""."""
    age = ((today or datetime.date.today()) - as_of()).days
    return (
        f"what is known of package versions is of {as_of().isoformat()}, {age} days old: a newer release of pytest-diagnostics may know better"
        if age > OLD_AFTER_DAYS
        else ""
    )


def loaders() -> tuple[str, ...]:
    """Packages that load models, canonical names."""
    return tuple(_table()["loaders"])


def frameworks() -> tuple[str, ...]:
    """Packages that transformers computes with."""
    return tuple(_table()["frameworks"])


def checked_at_import() -> frozenset[str]:
    """Packages whose version transformers checks when it is imported."""
    return frozenset(_table()["checked_at_import"])


def bounds(installed: Mapping[str, str]) -> tuple[Bound, ...]:
    """Floors and removals that hold beside what is installed (canonical name → version)."""
    rows = [*_table()["floors"], *_table()["removals"]]
    return tuple(_bound(row) for row in rows if all(satisfies(installed.get(canonical(name), ""), versions) for name, versions in row.get("with", {}).items()))


def _bound(row: dict[str, Any]) -> Bound:
    return Bound(package=row["package"], **{key: row.get(key, "") for key in ("minimum", "below", "weights", "why", "source")})


def readers(paths: tuple[str, ...]) -> tuple[Reader, ...]:
    """The packages that these files ask for."""
    names = [path.rpartition("/")[2] for path in paths]
    found = []
    for row in _table()["readers"]:
        file = next((name for name in names if any(fnmatchcase(name, pattern) for pattern in row["files"])), "")
        if file and not any(name in row.get("unless", ()) for name in names):
            found.append(Reader(package=row["package"], why=row["why"], required=row["required"], file=file))
    return tuple(found)


def of_model(model_type: str, tokenizer_class: str, has_tokenizer: bool) -> tuple[tuple[str, str], ...]:
    """(package, why) that a model of this type, its tokenizer (where one is there) or this class of tokenizer asks for, whatever its files are."""
    rows = [
        row
        for row in _table()["asks"]
        if model_type in row.get("models", ())
        or (has_tokenizer and (tokenizer_class in row.get("tokenizers", ()) or (not tokenizer_class and model_type in row.get("model_types", ()))))
    ]
    return tuple((row["package"], row["why"]) for row in rows)


def module_of(package: str) -> str:
    """The module of a package (canonical name) that is not named like it; "" where nothing is known."""
    return str(_table()["modules"].get(package, ""))


def distribution_of(module: str) -> str:
    """The package that brings a module, its own name where nothing else is known."""
    return next((package for package, name in _table()["modules"].items() if name == module), module)


def used_by_loaders() -> tuple[str, ...]:
    """Packages (canonical names) that the loaders import whatever the model is."""
    return tuple(_table()["used_by_loaders"])


def imported_by_loaders() -> tuple[str, ...]:
    """Of those, packages (canonical names) whose import is quick and can fail: compiled ones, and what everything hangs on."""
    return tuple(_table()["imported_by_loaders"])


def built_for_numpy_1(package: str, version: str) -> bool:
    """Whether the wheels of this version were built for numpy 1 and do not work with numpy 2."""
    row = _table()["numpy_1"].get(package)
    return bool(row) and satisfies(version, row)


def satisfies(version: str, specifier: str) -> bool:
    """Whether a version is in a specifier (PEP 440), development and local versions included; False for what is no version."""
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except (InvalidVersion, InvalidSpecifier):
        return False


def is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True
