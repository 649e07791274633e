"""An exception as an object: its chain, and the codes it carries itself, so that nothing has to be read from a sentence."""

from __future__ import annotations

import errno
import os
import traceback

from diagnostics.clues.failures import MESSAGE_CHARACTERS, MOST_SAID, Failure, Said
from diagnostics.clues.features import numbers


def failure_of(error: BaseException) -> Failure:
    """The chain of ``error``, the first error first; what ``from None`` hides stays hidden, as in Python's own traceback."""
    chain = _chain(error)
    return Failure(said=tuple(_said(item) for item in reversed(chain)), frames=tuple(frame for item in chain for frame in _frames(item))[:400])


def _chain(error: BaseException) -> list[BaseException]:
    """From the last to the first; also through ``reason`` and ``args``, where urllib3, requests and urllib keep what happened."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting and len(found) < MOST_SAID:
        here = waiting.pop(0)
        if here is None or any(here is other for other in found):
            continue
        found.append(here)
        following = here.__cause__ or (None if here.__suppress_context__ else here.__context__)
        inner = [value for value in (getattr(here, "reason", None), getattr(here, "os_error", None), *_args(here)) if isinstance(value, BaseException)]
        members = getattr(here, "exceptions", ()) if isinstance(here, BaseExceptionGroup) else ()
        waiting = [following, *inner, *members, *waiting]
    return found


def _args(error: BaseException) -> tuple[object, ...]:
    args = getattr(error, "args", ())
    return args if isinstance(args, tuple) else ()


def _said(error: BaseException) -> Said:
    module = type(error).__module__
    name = type(error).__qualname__ if module in ("builtins", "__main__") else f"{module}.{type(error).__qualname__}"
    return Said(type=name, message=_message(error), codes=tuple(_codes(error)))


def _message(error: BaseException) -> str:
    try:
        return str(error)[:MESSAGE_CHARACTERS]
    except Exception:  # noqa: BLE001  # anybody's __str__: an exception that cannot even be printed still has its class and codes
        return ""


def _codes(error: BaseException) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    number = getattr(error, "errno", None)
    if type(error).__name__ == "gaierror" and isinstance(number, int):
        found.append(("gai", numbers("gai").get(number, "EAI")))
    elif (
        isinstance(error, OSError)
        and isinstance(number, int)
        and number in errno.errorcode
        and not hasattr(error, "verify_code")
        and type(error).__module__ != "ssl"
    ):
        found.append(("errno", errno.errorcode[number]))
    verify = getattr(error, "verify_code", None)
    if isinstance(verify, int):
        found.append(("verify", str(verify)))
    status = _status(error)
    if status:
        found.append(("status", str(status)))
    code = _header(error, "x-error-code")
    if code:
        found.append(("hub", code))
    return found


def _status(error: BaseException) -> int:
    """requests, httpx: ``response.status_code``; aiohttp: ``status``; urllib: ``code``."""
    response = getattr(error, "response", None)
    for value in (getattr(response, "status_code", None), getattr(error, "status", None), getattr(error, "code", None)):
        if isinstance(value, int) and not isinstance(value, bool) and 300 <= value <= 599:
            return value
    return 0


def _header(error: BaseException, name: str) -> str:
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        value = headers.get(name) if headers is not None else None
    except (AttributeError, TypeError, ValueError):  # whatever calls itself headers
        return ""
    return value if isinstance(value, str) else ""


def _frames(error: BaseException) -> list[str]:
    return [f"{os.fspath(frame.f_code.co_filename)} {frame.f_code.co_name}" for frame, _ in traceback.walk_tb(error.__traceback__)][-60:]
