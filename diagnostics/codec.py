"""Records to plain JSON values and back. Unknown keys are ignored, missing ones take their default; a value of the wrong type is a ValueError."""

from __future__ import annotations

import dataclasses
import functools
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from diagnostics.case import Unseen

R = TypeVar("R")


def encode(value: Any) -> Any:
    """A record (or a container of records) as dicts, lists, strings, numbers and booleans."""
    if isinstance(value, Unseen):
        return {"unseen": value.why, **({"detail": value.detail} if value.detail else {})}
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    return value


def decode(kind: type[R], value: Any) -> R:
    """``value`` (as :func:`encode` gives it) as a ``kind``. Raises ValueError naming the place that does not fit."""
    return _decode(kind, value, kind.__name__)  # type: ignore[no-any-return]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), value, where)
    if kind is Unseen:
        if not (isinstance(value, dict) and isinstance(value.get("unseen"), str)):
            raise ValueError(f"{where}: expected a reason why it is unseen")
        return Unseen(value["unseen"], str(value.get("detail", "")))
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list")
        return tuple(_decode(get_args(kind)[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object")
        return {str(key): _decode(get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{where}: {value!r} is none of {get_args(kind)}")
        return value
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_record(kind, value, where)  # type: ignore[arg-type]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where}: expected {kind.__name__}, not {type(value).__name__}")
    return value


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    unseen = isinstance(value, dict) and "unseen" in value
    candidates = [kind for kind in kinds if (kind is Unseen) == unseen]
    errors = []
    for kind in candidates:
        try:
            return _decode(kind, value, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; ".join(errors) or f"{where}: unexpected reason")


def _decode_record(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: expected an object")
    hints = _hints(kind)
    known = {name: _decode(hints[name], value[name], f"{where}.{name}") for name in hints if name in value}
    try:
        return kind(**known)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
