"""``pytest-diagnostics fetch SPEC [--to DIR]``: bring the files of a target here; where that fails, say why as a diagnosis does."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from diagnostics.case import Listing, Target, Unseen
from diagnostics.redact import plain
from diagnostics.repair.arrival import cache_place, into_cache
from diagnostics.repair.place import Busy, Place, Refused
from diagnostics.transfer import Access, Outcome, Progress, Wanted, fetch
from diagnostics.transfer.progress import Bars, Lines
from diagnostics.transfer.telling import OF_HERE, lines, total_size
from diagnostics.transfer.wanted import Unusable, access_for, folder_for, listing_of, wanted_of

DONE, FAILED, INTERRUPTED, BUG, USAGE = 0, 1, 2, 3, 4


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(plain(message, 300), file=sys.stderr)
        raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="pytest-diagnostics fetch", description=__doc__)
    parser.add_argument("spec", metavar="SPEC", help="org/name[@revision], dataset:org/name, https://…[#sha256=…], list:NAME, files.toml, demo")
    parser.add_argument(
        "--to",
        metavar="DIR",
        default="",
        help="the folder (default: for a repository the hub's cache; else one of the target's name, for one URL the working folder)",
    )
    parser.add_argument("--diagnose-files", metavar="GLOB", default="", help="which files, comma-separated (default: those that the loader takes)")
    parser.add_argument("--diagnose-report", metavar="DIR", default="", help="where the report of a failure goes (default: reports)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    return parser


def main(arguments: list[str]) -> int:
    """The exit code: 0 all is here, 1 something is not, 2 interrupted (what came is kept), 3 a bug of ours, 4 usage."""
    given = _parser().parse_args(arguments)
    try:
        with _terminated_like_interrupted():
            return _run(given)
    except KeyboardInterrupt:
        print("\ninterrupted: what came is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    except Exception:  # noqa: BLE001  # the outermost: a bug of ours ends with its own exit code, whatever it is
        from diagnostics.redact import Secrets

        secrets = Secrets()
        print("\n".join(secrets.clean(line, 500) for line in traceback.format_exc().splitlines()), file=sys.stderr)
        return BUG


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(given: argparse.Namespace) -> int:
    from diagnostics.probes.survey import prepare

    patterns = tuple(part.strip() for part in given.diagnose_files.split(",") if part.strip())
    try:
        world = prepare(given.spec, files=patterns)
    except ValueError as error:  # demo:FAULT that does not exist
        print(plain(str(error), 300), file=sys.stderr)
        return USAGE
    try:
        target, environment, secrets = world.target, world.environment, world.secrets
        if target.problem:
            return _explain(given, patterns)
        listing: Listing | Unseen = listing_of(target, environment, secrets) if target.kind == "hub" else Unseen("absent")
        if target.kind == "hub" and not isinstance(listing, Listing):
            _print(iter([f"✗ {target.spec}: the hub did not give its list of files"]))
            return _explain(given, patterns)
        try:
            wanted = wanted_of(target, secrets, listing)
        except Unusable as error:
            print(f"{plain(given.spec, 100)}: {error}", file=sys.stderr)
            return USAGE
        if not wanted:
            print(
                f"{plain(given.spec, 100)}: no file of it counts" + (f" with --diagnose-files {plain(given.diagnose_files, 80)}" if patterns else ""),
                file=sys.stderr,
            )
            return FAILED
        own = given.to or given.spec.startswith("demo")  # a folder, not the cache
        place = None if own or not isinstance(listing, Listing) else cache_place(target, environment, listing.commit)
        try:
            outcomes = _brought(given, target, wanted, access_for(target, environment, secrets), place)
        except (OSError, Busy, Refused) as error:
            _print(iter([f"✗ {plain(given.spec, 100)}: the cache cannot take it ({plain(str(error), 200) or 'another process is at work in it'})"]))
            return FAILED
    finally:
        world.stop()
    return _judged(given, patterns, outcomes)


def _brought(given: argparse.Namespace, target: Target, wanted: tuple[Wanted, ...], access: Access, place: Place | None) -> tuple[Outcome, ...]:
    """Into ``place`` in the hub's cache, or into a folder; what came of each is told."""
    folder = Path(place.entries) if place else folder_for(target, given.to)
    started = time.monotonic()
    with _shown(wanted, given.quiet) as progress:

        def bring(files: tuple[Wanted, ...], into: Path) -> tuple[Outcome, ...]:
            return fetch(files, into, access=access, progress=progress)

        outcomes = into_cache(place, wanted, target.revision, bring) if place else bring(wanted, folder)
    _print(lines(outcomes, str(folder.expanduser().absolute()), time.monotonic() - started))
    return outcomes


def _judged(given: argparse.Namespace, patterns: tuple[str, ...], outcomes: tuple[Outcome, ...]) -> int:
    failed = [outcome.failure for outcome in outcomes if outcome.failure]
    if not failed:
        return DONE
    return FAILED if all(failure.reason in OF_HERE for failure in failed) else _explain(given, patterns)


@contextlib.contextmanager
def _shown(wanted: tuple[Wanted, ...], quiet: bool) -> Iterator[Progress | None]:
    if quiet:
        yield None
    elif sys.stderr.isatty():
        bars = Bars(sys.stderr, total_size(item.size for item in wanted), len(wanted))
        try:
            yield bars
        finally:
            bars.close()
    else:
        yield Lines(lambda text: print(text, file=sys.stderr, flush=True))


def _print(texts: Iterator[str]) -> None:
    """As far as this terminal's encoding goes."""
    encoding = sys.stdout.encoding or "ascii"
    for text in texts:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _explain(given: argparse.Namespace, patterns: tuple[str, ...]) -> int:
    """Why it failed: the diagnosis of the same target, with its report."""
    from diagnostics.diagnosis import all_checks
    from diagnostics.options import Options
    from diagnostics.render import terminal
    from diagnostics.run import Run

    run = Run(Options(spec=given.spec, files=patterns, report=given.diagnose_report))
    run.look(all_checks(), None)
    run.finish(Path.cwd())
    assert run.report is not None
    print()
    if not any(diagnosis.severity == "error" for diagnosis in run.report.judgement.diagnoses):
        print("A look at it just now found nothing in the way: try again; if it stays, what is said above is for whoever serves the files.\n")
    _print(line.text for line in terminal.section(run.report, shutil.get_terminal_size().columns, run.written))
    _print(iter(run.unwritten))
    return FAILED
