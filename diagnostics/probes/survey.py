"""All probes at once, within a budget. It takes as long as its slowest chain; what it has seen can be asked for at any time.

Chains: the hub's listing → one small file and the largest one; the listing → files here → disks, memory, packages. Everything else stands alone.
Hashing would distort the network's times on few cores, so it is a phase of its own after the rest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from diagnostics import environment as environment_module
from diagnostics import targets
from diagnostics.case import (
    ABSENT,
    NOT_ASKED,
    Case,
    ClientTrial,
    ClientUse,
    Connection,
    Environment,
    Files,
    Interpreter,
    Journey,
    Listing,
    Published,
    RemoteFile,
    Target,
    Timing,
    Unseen,
)
from diagnostics.environment.process import variables
from diagnostics.facts import clients
from diagnostics.probes import (
    accelerator,
    authority,
    cache_state,
    checksums,
    client_trial,
    disk,
    dns,
    files,
    limits,
    memory,
    model,
    model_build,
    pace,
    packages,
)
from diagnostics.probes import http as http_probe
from diagnostics.probes.budget import Deadline, start
from diagnostics.probes.files_one import Looks
from diagnostics.probes.journey import Trip, travel
from diagnostics.probes.leg import Arrival, Means, was_silent
from diagnostics.probes.listing import api_trip, resolve_url, see_listing
from diagnostics.probes.load_cost import load_cost
from diagnostics.probes.stores import client_store, other_stores
from diagnostics.probes.xet import see_xet
from diagnostics.redact import Secrets

DEFAULT_ENDPOINT = "https://huggingface.co"
DIGEST_SECONDS = 10.0
GRACE_SECONDS = 1.0  # for what ran out of the budget to say so
MOST_URLS = 16
FILE_SAMPLE = http_probe.Sample(most_bytes=32 << 20, seconds=2.2)
ON_NETWORK = frozenset({"journeys", "legs", "listing", "client_trial"})
ON_LISTING = frozenset({"files", "model", "disks", "memory", "limits", "cache_state", "accelerators", "packages", "digests"})
RECORDS = (
    "resolvers",
    "journeys",
    "listing",
    "files",
    "model",
    "disks",
    "memory",
    "limits",
    "cache_state",
    "accelerators",
    "packages",
    "digests",
    "client_trial",
)
ASIDE = ("pace", "saved_authority")  # that come with others, or on request: nothing waits for them
CONFIG, MOST_CONFIG, CONFIG_SECONDS = "config.json", 1 << 20, 8.0
GUESSED_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # as transformers names them (utils/__init__.py, SAFE_WEIGHTS_NAME, WEIGHTS_NAME)
EVERYTHING = ON_NETWORK | ON_LISTING | {"resolvers"}
Progress = Callable[[str], None]
DigestMode = Literal["auto", "none", "all"]


class Survey:
    """One look at a target. ``run`` blocks until done or out of time; ``case`` is what is known now."""

    def __init__(
        self,
        target: Target,
        environment: Environment,
        secrets: Secrets,
        *,
        wanted: frozenset[str] = EVERYTHING,
        budget_seconds: float = 30.0,
        digests: DigestMode = "auto",
        python: str = "",
        listed: bool = False,
        build: bool = False,
        progress: Progress | None = None,
        cleanup: contextlib.ExitStack | None = None,
        save_ca: str = "",
    ) -> None:
        self.target, self.environment, self.secrets = target, environment, secrets
        self._save_ca = save_ca
        self.wanted, self.budget_seconds, self.digests, self.python = wanted, budget_seconds, digests, python
        self.listed = listed  # a list of files is to be written
        self.build = build  # the architecture is to be built by the library itself
        self._progress = progress or (lambda text: None)
        self._cleanup = cleanup or contextlib.ExitStack()
        self._lock = threading.Lock()
        self._journeys: dict[str, Journey] = {}
        self._arrived: dict[str, Arrival] = {}  # where each journey ended, with what is in no record
        self._seen: dict[str, Any] = {}
        self._timings: dict[str, Timing] = {}
        self._failures: list[BaseException] = []
        self._stopped = threading.Event()
        self._starting = threading.Lock()  # a process and its folder, or the end of everything
        self._found = threading.Event()  # what is here of the target is known
        self._configured = threading.Event()  # its config.json was fetched, or will not be
        self._config: Mapping[str, Any] = {}
        self._started, self._begun, self._seconds = "", 0.0, 0.0
        self._means: Means | None = None

    def run(self) -> Case:
        """Look. Raises what a probe raises: that is a bug of ours."""
        self._begun = time.monotonic()
        self._started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        deadline = Deadline(self.budget_seconds)
        try:
            self._look(deadline)
            if self._failures:
                raise self._failures[0]
            self._hash()
        finally:
            self.stop()
        return self.case()

    def stop(self) -> None:
        """End what is still under way; what was seen stays."""
        self._stopped.set()
        if not self._seconds and self._begun:
            self._seconds = time.monotonic() - self._begun
        if self._means:
            self._means.sockets.close_all()
        with self._starting:
            self._cleanup.close()

    def case(self) -> Case:
        """What is known now."""
        with self._lock:
            seen, journeys, timings = dict(self._seen), tuple(self._journeys.values()), tuple(self._timings.values())
        waited: dict[str, Any] = {name: Unseen("timed_out", f"{name} were still being looked at") for name in self._asked() if name not in seen}
        if journeys and "journeys" not in seen:
            waited["journeys"] = journeys
        known = {**waited, **seen}
        return Case(
            started=self._started,
            seconds=self._seconds or (time.monotonic() - self._begun if self._begun else 0.0),
            budget_seconds=self.budget_seconds,
            target=self.target,
            environment=self.environment,
            timings=timings,
            **{name: known.get(name, NOT_ASKED) for name in ASIDE},
            **{name: known[name] for name in RECORDS if name in known},
        )

    def _asked(self) -> Iterator[str]:
        """Names of the records that this survey is to bring."""
        wanted = self.wanted | ({"journeys"} if self.wanted & ON_NETWORK else set())
        yield from (name for name in RECORDS if name in wanted)

    # --- the chains ---

    def _look(self, deadline: Deadline) -> None:
        chains = {"resolvers": self._look_at_resolvers, "network": self._look_at_network}
        if "client_trial" in self.wanted:
            chains["client"] = self._try_client
        listed = threading.Event()
        threads = [self._start(name, chain, deadline, listed) for name, chain in chains.items()]
        if self.wanted & ON_LISTING:
            threads.append(self._start("machine", self._look_at_machine, deadline, listed))
            threads.append(self._start("packages", self._look_at_packages, deadline, listed))
        end = time.monotonic() + self.budget_seconds + GRACE_SECONDS
        while any(thread.is_alive() for thread in threads) and time.monotonic() < end and not self._failures and not self._stopped.is_set():
            time.sleep(0.01)

    def _start(self, name: str, chain: Callable[[Deadline, threading.Event], None], deadline: Deadline, listed: threading.Event) -> threading.Thread:
        def run() -> None:
            started = time.monotonic()
            try:
                chain(deadline, listed)
            except BaseException as error:  # noqa: BLE001  # handed to run(), which raises it: a bug of ours must not pass for a finding
                if not self._stopped.is_set():
                    self._failures.append(error)
            finally:
                listed.set() if name == "network" else None
                self._found.set() if name == "machine" else None
                self._configured.set() if name == "network" else None
                with self._lock:
                    self._timings[name] = Timing(probe=name, seconds=time.monotonic() - started)

        thread = threading.Thread(target=run, name=f"diagnose-{name}", daemon=True)
        start(thread)
        return thread

    def _saw(self, **records: Any) -> None:
        with self._lock:
            if not self._stopped.is_set():
                self._seen.update(records)

    def _publish(self, journey: Journey) -> None:
        with self._lock:
            if not self._stopped.is_set():
                self._journeys[journey.name] = journey

    def _look_at_resolvers(self, _deadline: Deadline, _listed: threading.Event) -> None:
        if "resolvers" in self.wanted or self.wanted & ON_NETWORK:
            self._saw(resolvers=dns.configured_resolvers())

    def _try_client(self, deadline: Deadline, listed: threading.Event) -> None:
        """Beside everything else: what the client says of itself."""
        reason = self._no_network_because() or client_trial.worth_trying(self.target, self.environment)

        def largest(seconds: float) -> str:
            listed.wait(seconds)
            with self._lock:
                listing = self._seen.get("listing")
            return _by_size(listing)[-1].path if isinstance(listing, Listing) and listing.files else ""

        tried: ClientTrial | Unseen = NOT_ASKED if reason is None else reason
        if reason is None:
            tried = client_trial.see_client(
                self.target,
                self.environment,
                self.secrets,
                variables(),
                self.python,
                deadline,
                largest,
                self._cleanup,
                self._silence_is_known,
                self._starting,
                self._stopped.is_set,
            )
        self._saw(client_trial=tried)

    def _silence_is_known(self) -> bool:
        """Whether the probes have ended, and met a host that says nothing: the client would only wait for it as well."""
        with self._lock:
            if "journeys" not in self._seen:
                return False
            legs = [leg for journey in self._journeys.values() for leg in journey.legs]
        steps = [step for leg in legs for step in (leg.connection, leg.tunnel, leg.handshake, leg.response) if step]
        return any(was_silent(step) for step in steps if not (isinstance(step, Connection) and step.address))

    def _look_at_network(self, deadline: Deadline, listed: threading.Event) -> None:
        reason = self._no_network_because()
        if reason is not None:
            self._saw(journeys=reason, listing=self._listing_without_network(reason))
            return
        self._means = self._make_means(deadline)
        if self.target.kind == "hub":
            self._look_at_hub(self._means, listed)
        else:
            self._saw(listing=self._listing_without_network(ABSENT))
            listed.set()
            self._travel_all(self._trips(), self._means)
        with self._lock:
            journeys = tuple(self._journeys.values())
        self._saw(journeys=journeys, pace=pace.see_pace(journeys, self._arrived, self._to_come(), self._means))
        if self._save_ca:
            self._saw(saved_authority=authority.save(self._save_ca, journeys, self._means))

    def _no_network_because(self) -> Unseen | None:
        if self.target.problem:
            return Unseen("not_asked", f"the target cannot be used: {self.target.problem.detail or self.target.problem.code}")
        if not self.wanted & (ON_NETWORK | ON_LISTING):
            return NOT_ASKED
        if self.target.kind in ("directory", "file") or (self.target.paths and self.target.kind == "list" and not self.target.urls):
            return Unseen("absent", "a local folder needs no network")
        if not self.wanted & ON_NETWORK and self.target.kind != "hub":
            return NOT_ASKED
        if offline := clients.offline(self.environment, self.target):
            return Unseen("not_asked", f"{offline.name} is set: the client will not use the network")
        if self.environment.endpoint and self.environment.endpoint.problem and self.target.kind in ("hub", "none"):
            return Unseen("not_asked", "HF_ENDPOINT is not a URL that can be asked")
        return None

    def _make_means(self, deadline: Deadline) -> Means:
        client = self.target.client or ClientUse(family="requests")
        facts = clients.facts(client.family)
        return Means(
            client=client,
            facts=facts,
            environment=self.environment,
            secrets=self.secrets,
            store=client_store(facts, self.environment),
            other_stores=other_stores(facts, self.environment),
            servers=dns.configured_resolvers(),
            endpoint=urlsplit(self._endpoint),
            deadline=deadline,
        )

    @property
    def _endpoint(self) -> str:
        return (self.secrets.endpoint or DEFAULT_ENDPOINT).rstrip("/")

    def _look_at_hub(self, means: Means, listed: threading.Event) -> None:
        self._progress(f"asking {means.endpoint_host} for {self.target.name}")
        listing = see_listing(self.target, self._endpoint, means, self._publish)
        self._saw(listing=listing)
        listed.set()
        if self.wanted & ON_NETWORK:
            self._travel_all(self._file_trips(listing, means), means)
            self._guess_on(listing, means)

    def _guess_on(self, listing: Listing | Unseen, means: Means) -> None:
        """Without a listing the weights' name is guessed, the commonest first: they show the host of the bytes, which config.json does not."""
        if not isinstance(listing, Listing) and self.target.repository_type == "model" and self._served("small-file"):
            for path in GUESSED_WEIGHTS:
                self._travel_all([self._file_trip("largest-file", RemoteFile(path=path), "", means)], means)
                if not self._absent("largest-file"):
                    return

    def _served(self, name: str) -> bool:
        return any(leg.response and leg.response.status == 200 for leg in self._journeys[name].legs) if name in self._journeys else False

    def _absent(self, name: str) -> bool:
        """Whether the repository was found to hold no such file."""
        legs = self._journeys[name].legs
        return bool(legs and legs[0].response and legs[0].response.status in (404, 410))

    def _file_trips(self, listing: Listing | Unseen, means: Means) -> list[Trip]:
        """One small file and the largest: the largest shows the hosts that serve the bytes."""
        if not isinstance(listing, Listing):
            return [self._file_trip("small-file", RemoteFile(path="config.json"), "", means)] if self._api_answered() else []
        if not listing.files:
            return []
        by_size = _by_size(listing)
        largest, small = by_size[-1], next((file for file in by_size if file.path == "config.json"), by_size[0])
        trips = [self._file_trip("largest-file", largest, listing.commit, means)]
        return trips + ([self._file_trip("small-file", small, listing.commit, means)] if small is not largest else [])

    def _file_trip(self, name: str, file: RemoteFile, commit: str, means: Means) -> Trip:
        published = _published(file)
        purpose = f"the largest file ({file.path})" if name == "largest-file" else f"a small file ({file.path})"
        url = resolve_url(self.target, self._endpoint, commit or self.target.revision, file.path)
        sample = dataclasses.replace(FILE_SAMPLE, keep=file.path == CONFIG and (not isinstance(file.bytes, int) or file.bytes <= MOST_CONFIG))
        moved = means.facts.head_first and any(use.family == "hf_xet" for use in self.target.transports)
        return Trip(name=name, purpose=purpose, url=url, path=file.path, published=published, sample=sample, head_first=means.facts.head_first, xet=moved)

    def _api_answered(self) -> bool:
        """Whether the listing failed by an answer, so that a file may still be had."""
        journey = self._journeys.get("listing")
        last = journey.legs[-1] if journey and journey.legs else None
        return bool(last and last.response and isinstance(last.response.status, int))

    def _trips(self) -> list[Trip]:
        if self.target.kind == "none":
            return [api_trip("hub", "the hub's API", f"{self._endpoint}/api/models?limit=1")]
        pairs = list(zip(self.secrets.urls, self.target.urls, strict=False))
        chosen = _chosen([url for url, _ in pairs])
        published = {item.path: item for item in reversed(self.target.published)}  # a list gives the strongest digest first
        return [
            Trip(
                name=f"url-{number}",
                purpose=f"file {number} of {len(pairs)}" if len(pairs) > 1 else "the file",
                url=url,
                path=shown,
                published=published.get(shown, ABSENT),
                sample=FILE_SAMPLE,
            )
            for number, (url, shown) in enumerate(pairs, 1)
            if number - 1 in chosen
        ]

    def _travel_all(self, trips: list[Trip], means: Means) -> None:
        threads = []
        for trip in trips:
            self._publish(Journey(name=trip.name, purpose=trip.purpose, client=means.client, path=trip.path))
            threads.append(threading.Thread(target=self._travel, args=(trip, means), name=f"diagnose-{trip.name}", daemon=True))
        for thread in threads:
            start(thread)
        for thread in threads:
            thread.join() if thread.ident else None  # one that could not be started has done its work already

    def _travel(self, trip: Trip, means: Means) -> None:
        try:
            _, arrivals = travel(trip, means, self._publish)
            self._arrived[trip.name] = arrivals[-1]
            if trip.xet and trip.name == "largest-file" and arrivals[-1].xet[0]:
                self._travel_xet(trip, arrivals[-1].xet, means)
            if trip.sample.keep and trip.path == CONFIG:
                self._config = packages.config_from(arrivals[-1].leg, arrivals[-1].content)
                self._configured.set()
        except BaseException as error:  # noqa: BLE001  # as in _start
            if not self._stopped.is_set():
                self._failures.append(error)

    def _travel_xet(self, trip: Trip, fields: tuple[str, str], means: Means) -> None:
        """The bytes' own journey, with the settings of the client that moves them."""
        use = next(use for use in self.target.transports if use.family == "hf_xet")
        facts = clients.facts(use.family)
        theirs = dataclasses.replace(
            means, client=use, facts=facts, store=client_store(facts, self.environment), other_stores=other_stores(facts, self.environment)
        )
        see_xet(trip, fields, means, theirs, self._publish)

    def _to_come(self) -> int | Unseen:
        """Bytes still to be fetched, as far as is known by now."""
        with self._lock:
            listing, here = self._seen.get("listing", ABSENT), self._seen.get("files", ABSENT)
        return files.missing_bytes(listing, here)

    def _listing_without_network(self, reason: Unseen) -> Listing | Unseen:
        if self.target.kind in ("url", "list") and self.target.urls:
            sizes = {item.path: item.bytes for item in self.target.published} | {file.url: file.bytes for file in self.target.listed}
            listed = tuple(RemoteFile(path=url, bytes=sizes.get(url, ABSENT), url=url) for url in self.target.urls)
            return Listing(source="manifest", files=listed, wanted=tuple(self.target.urls))
        return reason if reason is not ABSENT else Unseen("absent", "no repository to list")

    def _look_at_machine(self, deadline: Deadline, listed: threading.Event) -> None:
        listed.wait(max(0.0, deadline.left() - 3.0))
        with self._lock:
            listing = self._seen.get("listing", Unseen("timed_out", "the list of files"))
        headers: Looks = {}
        here = files.see_files(self.target, self.environment, listing, headers)
        self._saw(files=here)
        if "limits" in self.wanted:  # before other processes are started
            self._saw(limits=limits.see_limits(self.target, self.environment, self._will_download(listing, here)))
        self._found.set()
        looks: dict[str, Callable[[], Any]] = {
            "model": lambda: model.see_model(self.target, self.environment, here, headers),
            "disks": lambda: disk.see_disks(self.target, self.environment, listing, here),
            "memory": lambda: memory.see_memory(load_cost(listing, here, self.target, self.environment, headers)),
            "cache_state": lambda: cache_state.see_cache_state(self.target, self.environment, listing, here, self._seen.get("disks", NOT_ASKED)),
        }
        for name, look in looks.items():
            if name in self.wanted:
                self._saw(**{name: look()})
        if self.build and "model" in self.wanted:
            self._build(here, headers, deadline)

    def _build(self, here: Files | Unseen, headers: Looks, deadline: Deadline) -> None:
        """Every name and shape by the library itself: torch's import takes seconds, so this comes last, with the time that is left."""
        self._progress("building the architecture without its weights")
        seen, weights = self._seen.get("model", NOT_ASKED), model.weights_of(here, headers)
        left = max(1.0, deadline.left() - 1.0)
        self._saw(model=model_build.with_build(seen, weights, self.environment, self.python, left, variables()))

    def _will_download(self, listing: Listing | Unseen, here: Files | Unseen) -> bool:
        """Whether the client would fetch anything: not of what is all here, not when it was told to stay off the network."""
        if self.target.kind in ("directory", "file", "none") or clients.offline(self.environment, self.target):
            return False
        return files.missing_bytes(listing, here) != 0

    def _look_at_packages(self, deadline: Deadline, _listed: threading.Event) -> None:
        """What runs other processes, beside what reads files."""
        self._found.wait(max(0.0, deadline.left() - 3.0))
        with self._lock:
            listing, here = (self._seen.get(name, Unseen("timed_out", name)) for name in ("listing", "files"))
        configs = packages.configs_of(here)
        if CONFIG not in configs and self.target.kind == "hub":
            self._configured.wait(min(CONFIG_SECONDS, max(0.0, deadline.left() - 3.0)))
            configs = {CONFIG: self._config} if self._config else {}
        if "accelerators" in self.wanted:
            self._saw(accelerators=accelerator.see_accelerators(self.environment, configs.get(CONFIG, {})))
        if "packages" in self.wanted:
            self._saw(packages=packages.see_packages(self.target, self.environment, listing, here, self.python, configs))

    def _hash(self) -> None:
        """The phase of its own: every core reads files."""
        if "digests" not in self.wanted or self._stopped.is_set():
            return
        listing, here = self._seen.get("listing", NOT_ASKED), self._seen.get("files", NOT_ASKED)

        began = time.monotonic()

        def progress(done: int, total: int) -> None:
            self._progress(_hashed(done, total, time.monotonic() - began))

        seen = checksums.see_digests(self.target, self.environment, listing, here, self.digests, DIGEST_SECONDS, progress, self._stopped, self.listed)
        self._saw(digests=seen)


def _hashed(done: int, total: int, seconds: float) -> str:
    """How far hashing is, how fast, and how long it will still take."""
    rate = done / seconds if seconds > 0.2 else 0.0
    return f"verified {done / 1e6:.0f} of {total / 1e6:.0f} MB" + (f", {rate / 1e6:.0f} MB/s, {(total - done) / rate:.0f} s left" if rate else "")


def _by_size(listing: Listing) -> list[RemoteFile]:
    """The files that count, or all where none does, the largest last."""
    counted = [file for file in listing.files if file.path in listing.wanted] or list(listing.files)
    return sorted(counted, key=lambda file: file.bytes if isinstance(file.bytes, int) else 0)


def _chosen(urls: list[str]) -> set[int]:
    """Which of many URLs are asked: the first of every host, then the others in order, as many as are allowed."""
    hosts = [urlsplit(url).netloc for url in urls]
    firsts = sorted({host: index for index, host in reversed(list(enumerate(hosts)))}.values())
    others = sorted(set(range(len(urls))) - set(firsts))
    return set([*firsts, *others][:MOST_URLS])


def _published(file: RemoteFile) -> Published | Unseen:
    """The digest that the listing gives."""
    if isinstance(file.sha256, str):
        return Published(path=file.path, algorithm="sha256", value=file.sha256, source="hub listing", bytes=file.bytes)
    if isinstance(file.git_sha1, str):
        return Published(path=file.path, algorithm="git-sha1", value=file.git_sha1, source="hub listing", bytes=file.bytes)
    return ABSENT


def prepare(
    spec: str,
    *,
    files: tuple[str, ...] = (),
    timeout: float = 30.0,
    digests: DigestMode = "auto",
    python: str = "",
    wanted: frozenset[str] = EVERYTHING,
    listed: bool = False,
    build: bool = False,
    progress: Progress | None = None,
    save_ca: str = "",
) -> Survey:
    """A survey of ``spec`` in this process's environment; ``demo`` brings its own. Raises ValueError where ``demo:FAULT`` does not exist."""
    stack = contextlib.ExitStack()
    environment, secrets = environment_module.read(python=python)
    target, raw = targets.parse(spec, environment, files=files)
    if target.kind == "demo":
        from diagnostics.lab.demo import start_demo

        demo = stack.enter_context(start_demo(target.name))
        python = python or demo.python
        environment, secrets = environment_module.read(demo.variables, python=python, home=Path(demo.home))
        with contextlib.chdir(demo.work):
            target, raw = targets.parse(demo.spec, environment, files=files)
        target = dataclasses.replace(target, spec=spec)
    secrets = dataclasses.replace(secrets, urls=raw)
    return Survey(
        target,
        environment,
        secrets,
        wanted=wanted,
        budget_seconds=timeout,
        digests=digests,
        python=python,
        listed=listed,
        build=build,
        progress=progress,
        cleanup=stack,
        save_ca=save_ca,
    )


def plan(spec: str, *, files: tuple[str, ...] = (), python: str = "") -> tuple[list[str], bool]:
    """What a run would do, with no I/O beyond reading the environment: hosts, files, commands; and whether the target can be used at all."""
    environment, secrets = environment_module.read(python=python)
    target, raw = targets.parse(spec, environment, files=files)
    survey = Survey(target, environment, dataclasses.replace(secrets, urls=raw))
    lines = [f"target: {target.spec or 'none'} ({target.kind}{' ' + target.name if target.name else ''})"]
    reason = survey._no_network_because()
    if target.kind == "demo":
        return [*lines, "ask: a hub of its own on 127.0.0.1", "write: its files, in a temporary folder (removed at the end)"], True
    if reason is not None:
        lines.append(f"network: none ({reason.detail or reason.why})")
    else:
        addresses = target.urls if target.kind in ("url", "list") else (secrets.url(survey._endpoint),)
        lines += [f"ask: {address}, and the hosts it redirects to" for address in addresses]
        lines += [f"through: the proxy in {setting.variable}, {setting.value}" for setting in environment.proxies]
        lines += [f"resolver: {server}" for server in dns.configured_resolvers()]
    lines += [f"read: {path}" for path in target.paths]
    lines += [f"look at: {name} cache {path}" for name, path in environment.caches.items()]
    if isinstance(environment.interpreter, Interpreter):
        lines.append(f"run: {environment.interpreter.executable}, to import in it what the model needs, and nvidia-smi where there is no NVML")
    if reason is None and isinstance(target.client, ClientUse) and client_trial.tried_for(target):
        lines.append(f"run: {clients.title(target.client)} in it, to ask for two files; what it writes goes into a temporary folder (removed)")
    return [*lines, "write: the digest cache, and a short probe file in each folder that takes part (removed at once)"], not target.problem
