"""The platform: system, container, whether there is a way out, who runs this."""

from __future__ import annotations

import os
import platform
import socket
import struct
import sys
from collections.abc import Mapping

from diagnostics import redact
from diagnostics.case import ABSENT, Platform, Unseen
from diagnostics.environment.text import read_bytes, read_text

GET_FLAGS, GET_HARDWARE = 0x8913, 0x8927  # linux/sockios.h
ETHERNET, RUNNING = 1, 0x40  # linux/if_arp.h (wireless too), linux/if.h: IFF_RUNNING
ROUTE_UP, ROUTE_REJECT = 0x1, 0x200  # linux/route.h
# Most telling first: a Kubernetes pod is also a container, a notebook service also runs in one.
BY_VARIABLE = (
    ("KUBERNETES_SERVICE_HOST", "kubernetes"), ("COLAB_RELEASE_TAG", "colab"), ("COLAB_GPU", "colab"), ("KAGGLE_KERNEL_RUN_TYPE", "kaggle"),
    ("APPTAINER_CONTAINER", "apptainer"), ("SINGULARITY_CONTAINER", "apptainer"),
)  # fmt: skip
BY_FILE = (("/.dockerenv", "docker"), ("/run/.containerenv", "podman"))
BY_LATE_VARIABLE = (("SLURM_JOB_ID", "slurm"), ("WSL_DISTRO_NAME", "wsl"), ("WSL_INTEROP", "wsl"))


def read_platform(variables: Mapping[str, str], root: str = "/") -> Platform:
    """What this runs on. ``root`` is where /proc and the containers' marker files are looked for."""
    return Platform(
        system=platform.system(),
        release=redact.plain(platform.release(), 100),
        machine=redact.plain(platform.machine(), 40),
        libc=_libc(),
        container=container(variables, root),
        default_route=default_route(root),
        link_up=link_up(),
        user=redact.plain(_user(), 60),
        euid=os.geteuid() if hasattr(os, "geteuid") else ABSENT,
    )


def _libc() -> str:
    try:
        return redact.plain(os.confstr("CS_GNU_LIBC_VERSION") or "", 60) if hasattr(os, "confstr") else ""
    except (ValueError, OSError):
        return "musl" if sys.platform == "linux" else ""


def _user() -> str:
    """The name that belongs to the effective user id; the id where the user has no entry (an arbitrary id in a container)."""
    if not hasattr(os, "geteuid"):
        return ""
    import pwd  # not on Windows

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except (KeyError, OSError):
        return str(os.geteuid())


def container(variables: Mapping[str, str], root: str = "/") -> str:
    """docker, podman, kubernetes, apptainer, slurm, colab, kaggle, wsl, what the variable ``container`` names, or ""."""
    for name, kind in BY_VARIABLE:
        if variables.get(name):
            return kind
    for path, kind in BY_FILE:
        if read_bytes(os.path.join(root, path.lstrip("/")), 1) is not None:
            return kind
    if named := variables.get("container"):
        return redact.plain(named, 40)
    groups = read_text(os.path.join(root, "proc/1/cgroup"), 65536)
    if kind := next((kind for mark, kind in (("kubepods", "kubernetes"), ("/docker", "docker"), ("libpod", "podman"), ("/lxc", "lxc")) if mark in groups), ""):
        return kind
    late = next((kind for name, kind in BY_LATE_VARIABLE if variables.get(name)), "")
    return late or ("wsl" if "microsoft" in read_text(os.path.join(root, "proc/sys/kernel/osrelease"), 4096).lower() else "")


def default_route(root: str = "/") -> bool | Unseen:
    """Whether the kernel has a default route, of either family (proc(5), net/route and net/ipv6_route). Linux only."""
    ipv4, ipv6 = (read_text(os.path.join(root, "proc/net", name)) for name in ("route", "ipv6_route"))
    if not ipv4 and not ipv6:
        return Unseen("unsupported", "no routing table to read")
    return any(_default_ipv4(line.split()) for line in ipv4.splitlines()[1:]) or any(_default_ipv6(line.split()) for line in ipv6.splitlines())


def link_up() -> bool | Unseen:
    """Whether any network card of this machine has a link (netdevice(7)); absent where it has none (a container without a network). Linux only."""
    if sys.platform != "linux":
        return Unseen("unsupported", "no way to ask the cards")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        cards = [name for _, name in socket.if_nameindex() if _interface(sock, GET_HARDWARE, name) == ETHERNET]
        return any(_interface(sock, GET_FLAGS, name) & RUNNING for name in cards) if cards else ABSENT


def _interface(sock: socket.socket, request: int, name: str) -> int:
    """The first two bytes of what the kernel says of an interface; 0 where it is gone meanwhile."""
    import fcntl  # not on Windows

    try:
        reply = fcntl.ioctl(sock, request, struct.pack("16s16x", name.encode()[:15]))
    except OSError:
        return 0
    return int(struct.unpack_from("H", reply, 16)[0])


def _default_ipv4(fields: list[str]) -> bool:
    return len(fields) >= 8 and fields[1] == fields[7] == "00000000" and bool(_hex(fields[3]) & ROUTE_UP) and not _hex(fields[3]) & ROUTE_REJECT


def _default_ipv6(fields: list[str]) -> bool:
    return (
        len(fields) >= 10
        and fields[0] == "0" * 32
        and fields[1] == "00"
        and fields[9] != "lo"
        and bool(_hex(fields[8]) & ROUTE_UP)
        and not _hex(fields[8]) & ROUTE_REJECT
    )


def _hex(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0


def read_shell(variables: Mapping[str, str]) -> str:
    """The shell that a command would be pasted into."""
    if platform.system() == "Windows":
        return "powershell" if variables.get("PSModulePath") and not variables.get("PROMPT") else "cmd"
    return "fish" if os.path.basename(variables.get("SHELL", "")) == "fish" else "posix"
