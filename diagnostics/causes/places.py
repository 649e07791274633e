"""Variables as the place keeps them that starts the process: a Dockerfile, a pod, a unit of systemd, a notebook. What goes before (joining files) stays a command,
to be run once where the files lie."""

from __future__ import annotations

import json
import re

from diagnostics.causes.statements import Part, Statement, Word

PLACES = ("dockerfile", "kubernetes", "systemd", "notebook")
INSIDE = "/etc/ssl/model-ca"  # where a file of the working folder is put inside an image, a pod or a service


def written(found: list[Statement], place: str) -> str:
    """Lines for that place."""
    return "\n".join({"dockerfile": _dockerfile, "kubernetes": _kubernetes, "systemd": _systemd, "notebook": _notebook}[place](found))


def _pairs(found: list[Statement]) -> list[tuple[str, Word]]:
    return [pair for item in found if item.kind == "set" for pair in item.pairs]


def _gone(found: list[Statement]) -> list[str]:
    return [name for item in found if item.kind == "unset" for name in item.names]


def _before(found: list[Statement]) -> str:
    """What has to be run once."""
    return "; ".join(item.raw for item in found if item.kind not in ("set", "unset"))


def _file(word: Word) -> str:
    """The name of a file of the working folder (``"$PWD/name"``); "" for any other value."""
    whole = word[0] == Part("variable", "PWD") if word else False
    return word[1].text.lstrip("/") if whole and len(word) == 2 and word[1].kind == "text" else ""


def _value(word: Word) -> str:
    """The value as text. A variable of the shell at hand is named as such: it means nothing elsewhere."""
    if name := _file(word):
        return f"{INSIDE}/{name}"
    return "".join(part.text if part.kind == "text" else f"<{part.text}>" for part in word)


def _files(found: list[Statement]) -> list[str]:
    return list(dict.fromkeys(filter(None, (_file(word) for _, word in _pairs(found)))))


def _dockerfile(found: list[Statement]) -> list[str]:
    """ENV expands ``$NAME`` and reads backslashes (docs.docker.com/reference/dockerfile, Environment replacement). It cannot take a variable away."""
    lines = [f"# once, beside the Dockerfile: {_before(found)}"] if _before(found) else []
    lines += [f"COPY {json.dumps([name, f'{INSIDE}/'])}" for name in _files(found)]
    values = [(name, re.sub(r'(["\\$])', r"\\\1", _value(word))) for name, word in _pairs(found)]
    lines += ["ENV " + " ".join(f'{name}="{value}"' for name, value in values)] if values else []
    return lines + [f"# take the ENV or ARG line of {name} away (empty is not the same), or start it with: env -u {name} …" for name in _gone(found)]


def _kubernetes(found: list[Statement]) -> list[str]:
    """Of the container; JSON strings are YAML strings (YAML 1.2 §1.3). ``$(X)`` would be expanded, ``$$`` is one dollar (Kubernetes API, EnvVar)."""
    files = _files(found)
    lines = [f"# once: {_before(found)}"] if _before(found) else []
    lines += [f"# once: kubectl create configmap model-ca {' '.join(f'--from-file={name}' for name in files)}"] if files else []
    values = [(name, _value(word).replace("$", "$$")) for name, word in _pairs(found)]
    lines += ["env:", *(f"  - {{name: {name}, value: {json.dumps(value)}}}" for name, value in values)] if values else []
    if files:
        lines += ["volumeMounts:", f"  - {{name: model-ca, mountPath: {INSIDE}}}", "# and of the pod:", "volumes:"]
        lines += ["  - {name: model-ca, configMap: {name: model-ca}}"]
    return lines + [f"# take {name} out of env" for name in _gone(found)]


def _systemd(found: list[Statement]) -> list[str]:
    """``systemctl edit UNIT``; % is a specifier, quotes and backslashes are C-style (systemd.exec(5), Environment=; systemd.syntax(7))."""
    lines = [f"# once: {_before(found)}"] if _before(found) else []
    lines += [f"# once: sudo install -D -m 644 {name} {INSIDE}/{name}" for name in _files(found)]
    values = [(name, re.sub(r'(["\\])', r"\\\1", _value(word)).replace("%", "%%")) for name, word in _pairs(found)]
    lines += ["[Service]", *(f'Environment="{name}={value}"' for name, value in values)] if values else []
    gone = _gone(found)
    return lines + ([*([] if values else ["[Service]"]), f"UnsetEnvironment={' '.join(gone)}"] if gone else [])


def _notebook(found: list[Statement]) -> list[str]:
    """One cell, in the order of the statements: a command finds the variables that were set before it."""
    lines = [line for item in found for line in _in_cell(item)]
    return lines + (["# in the first cell: clients read these when they are imported"] if lines else [])


def _in_cell(item: Statement) -> list[str]:
    if item.kind == "set":
        return [_set_in_cell(name, word) for name, word in item.pairs]
    if item.kind == "unset":
        return [f"from os import environ; environ.pop({name!r}, None)" for name in item.names]
    return [f"!{item.raw}"]


def _set_in_cell(name: str, word: Word) -> str:
    """``%env`` expands ``$x`` and ``{x}`` as Python's, so that a value with one of them is set by Python itself (IPython, magics/osm.py)."""
    if file := _file(word):
        return f"from os import environ, path; environ[{name!r}] = path.abspath({json.dumps(file)})"
    if re.search(r"[${}\\'\"]|^\s|\s$", _value(word)):
        return f"from os import environ; environ[{name!r}] = {json.dumps(_value(word), ensure_ascii=True)}"
    return f"%env {name}={_value(word)}"
