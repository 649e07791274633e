"""``python -m diagnostics.lab``: the worlds; ``… WORLD``: diagnose in it; ``… WORLD -- COMMAND {spec}``: run something else in it.

A world that needs a network namespace gets one: as root, or where the system lets users have their own.
"""

from __future__ import annotations

import os
import subprocess
import sys

from diagnostics.lab.stage import Namespace, Stage
from diagnostics.lab.worlds import World, named, worlds

INSIDE = "DIAGNOSTICS_LAB_INSIDE"


def main(arguments: list[str]) -> int:
    if not arguments:
        print("\n".join(f"{world.name:34} {world.needs:13} {world.title}" for world in worlds().values()))
        return 0
    try:
        world = named(arguments[0])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 4
    command = arguments[2:] if arguments[1:2] == ["--"] else [sys.executable, "-m", "pytest", "diagnostics", "--diagnose={spec}", *arguments[1:]]
    if world.needs == "namespace" and os.environ.get(INSIDE) != world.name:
        return _enter(world, arguments)
    return run(world, command)


def _enter(world: World, arguments: list[str]) -> int:
    """This again, in namespaces of its own."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    own = ["unshare", *user, "--net", "--mount", "--fork", "--kill-child", sys.executable, "-m", "diagnostics.lab", *arguments]
    return subprocess.run(own, env={**os.environ, INSIDE: world.name}, check=False).returncode


def run(world: World, command: list[str]) -> int:
    """``command`` in the world, with the world's variables; ``{spec}`` stands for what is to be diagnosed there."""
    with Namespace() if world.needs == "namespace" else Stage() as stage:
        world.build(stage)
        filled = [part.replace("{spec}", stage.spec) for part in command]
        python = [f"--diagnose-python={stage.python}"] if stage.python and "--diagnose={spec}" in command else []
        return subprocess.run([*filled, *python, *stage.options], env=stage.environment(), cwd=stage.work, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
