"""What an interpreter is and what is installed for it. Also run as it stands by another interpreter (``python -c``), perhaps an old one: no imports of ours."""

import json
import os
import re
import struct
import sys

INFO = re.compile(r"(?P<name>[^-]+(?:-[^-0-9][^-]*)*?)(?:-(?P<version>[^-]+?))?(?:-py\d[\w.]*)?(?:-[a-z][\w.]*)?\.(?:dist|egg)-info$")
MOST = 20000


def distributions(paths: "list[str]") -> "list[tuple[str, str, str]]":
    """(name, version, folder) of every installed distribution, in the order an import would look."""
    found: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for path in paths:
        folder = path or os.getcwd()
        if os.path.realpath(folder) in seen:
            continue
        seen.add(os.path.realpath(folder))
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for entry in names:
            match = INFO.match(entry) if entry.endswith("-info") else None
            if match:
                version = match.group("version") or _stated(os.path.join(folder, entry))
                found.append((match.group("name"), version, folder))
    return found[:MOST]


def _stated(path: str) -> str:
    """The Version field of an .egg-info without one in its name."""
    for place in (os.path.join(path, "PKG-INFO"), os.path.join(path, "METADATA"), path):
        try:
            if not os.path.isfile(place):  # a FIFO would be waited for
                continue
            with open(place, "rb") as file:
                match = re.search(rb"^Version: *([^\s]+)", file.read(65536), re.MULTILINE)
        except OSError:
            continue
        if match:
            return match.group(1).decode("ascii", "replace")
    return ""


def describe() -> "dict[str, object]":
    """This interpreter as plain values."""
    try:
        import ssl

        openssl, paths = ssl.OPENSSL_VERSION, ssl.get_default_verify_paths()
        cafile, capath = paths.openssl_cafile, paths.openssl_capath
    except ImportError:
        openssl = cafile = capath = ""
    return {
        "executable": sys.executable or "",
        "version": "{}.{}.{}".format(*sys.version_info[:3]) + ("" if sys.version_info[3] == "final" else sys.version_info[3]),
        "implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(sys.implementation.name, sys.implementation.name),
        "bits": struct.calcsize("P") * 8,
        "prefix": sys.prefix,
        "openssl": openssl,
        "cafile": cafile,
        "capath": capath,
        "strict_x509": sys.version_info[:2] >= (3, 13),
        "distributions": distributions(sys.path),
    }


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(describe()) + "\n")
