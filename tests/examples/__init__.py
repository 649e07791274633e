"""Sample reports, made by hand: what the examples under ``reports/examples`` show and what the tests of the renderers are fed.

Each is a :class:`Report` as a run would build it: a Case, judged. No clock, no machine and no network takes part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from diagnostics import report
from diagnostics.case import (
    Case,
    Certificate,
    CheckResult,
    Digests,
    Disk,
    Distribution,
    Environment,
    Evidence,
    Files,
    FileSeen,
    Interpreter,
    Judgement,
    Leg,
    Listing,
    Memory,
    MemoryLimit,
    Packages,
    Platform,
    ProxySetting,
    RemoteFile,
    Report,
    Requirement,
    Subject,
    Target,
    Timing,
    Unseen,
    Variable,
)
from diagnostics.diagnosis import judge
from tests.unit.cases import (
    CDN,
    CLIENT,
    HUB,
    PROXY,
    body,
    certificate,
    handshake,
    leg,
    resolution,
    response,
    stopped_at,
    tunnel,
)
from tests.unit.cases import journey as journey_of

VERSION = "0.0.0"  # of the samples: an example must not change with a release
COMMIT = "86b5e0934494bd15c9632b12f734a8a67f723594"
SIZES = {"config.json": 570, "tokenizer.json": 466062, "tokenizer_config.json": 48, "vocab.txt": 231508, "model.safetensors": 440449768}
TARGET = Target(
    spec="google-bert/bert-base-uncased", kind="hub", name="google-bert/bert-base-uncased", endpoint=f"https://{HUB}", client=CLIENT, loader="transformers"
)
ENVIRONMENT = Environment(
    platform=Platform(system="Linux", release="6.8.0-49-generic", machine="x86_64", libc="glibc 2.39", default_route=True, user="alice", euid=1000),
    interpreter=Interpreter(executable="~/venv/bin/python", version="3.11.9", prefix="~/venv", openssl="OpenSSL 3.0.13 30 Jan 2024"),
    caches={"hub": "~/.cache/huggingface/hub", "xet": "~/.cache/huggingface/xet", "temp": "/tmp"},
    distributions=tuple(
        Distribution(name=name, version=version, location="~/venv/lib/python3.11/site-packages")
        for name, version in (("certifi", "2026.6.2"), ("huggingface_hub", "2.4.0"), ("safetensors", "0.8.1"), ("torch", "2.13.0"), ("transformers", "5.9.0"))
    ),
)
GATEWAY = Certificate(
    subject="CN=huggingface.co, O=Initech",
    subject_name=HUB,
    issuer="CN=Initech Web Gateway 2, O=Initech",
    issuer_name="Initech Web Gateway 2",
    issuer_organization="Initech",
    names=(HUB,),
    not_before="2026-11-01T00:00:00Z",
    not_after="2027-11-01T00:00:00Z",
    fingerprint="5e" * 32,
    key_bits=2048,
    signature="sha256WithRSAEncryption",
)
LISTING = Listing(
    source="hub",
    commit=COMMIT,
    files=tuple(RemoteFile(path=path, bytes=size, url=f"https://{HUB}/google-bert/bert-base-uncased/resolve/{COMMIT}/{path}") for path, size in SIZES.items()),
    wanted=tuple(SIZES),
)
PATH = f"/google-bert/bert-base-uncased/resolve/{COMMIT}"


def reported(case: Case, interrupted: str = "") -> Report:
    """The report that a run would build of this Case; its version and the checks' times are fixed."""
    judgement = judge(case)
    results = tuple(dataclasses.replace(result, seconds=0.001) for result in judgement.results)
    return dataclasses.replace(report.build(case, dataclasses.replace(judgement, results=results), interrupted), version=VERSION)


def case_of(*legs: tuple[Leg, ...], **changes: Any) -> Case:
    """A whole machine, with what is fine on it; ``legs`` are those of the listing, of a small file and of the largest."""
    listing, small, large = legs
    whole = Case(
        started="2026-11-22T01:00:00Z",
        seconds=1.37,
        target=TARGET,
        environment=ENVIRONMENT,
        resolvers=("10.0.0.53",),
        journeys=(
            journey_of(*listing, name="listing"),
            dataclasses.replace(journey_of(*small, name="small-file", path="config.json"), purpose="a small file (config.json)"),
            dataclasses.replace(journey_of(*large, name="largest-file", path="model.safetensors"), purpose="the largest file (model.safetensors)"),
        ),
        listing=LISTING,
        disks=(
            Disk(
                roles=("cache", "temp"),
                path="~/.cache/huggingface/hub",
                mount="/",
                kind="ext4",
                total_bytes=500 * 10**9,
                free_bytes=212 * 10**9,
                free_inodes=31_000_000,
                read_only=False,
                writable=True,
                needed_bytes=sum(SIZES.values()),
                needed_why="what is still missing",
                symlinks=True,
            ),
        ),
        memory=Memory(
            total_bytes=32 * 10**9,
            available_bytes=24 * 10**9,
            limits=(MemoryLimit(source="host", kind="host", limit_bytes=32 * 10**9, available_bytes=24 * 10**9),),
            needed_bytes=440_449_768,
            needed_why="the tensors as loaded",
        ),
        packages=Packages(
            python="~/venv/bin/python",
            judged=True,
            requirements=(
                Requirement(package="torch", why="loads the weights", installed="2.13.0", importable=True),
                Requirement(package="transformers", why="builds the model", installed="5.9.0", importable=True),
            ),
        ),
        files=Files(place="cache", path="~/.cache/huggingface/hub/models--google-bert--bert-base-uncased", exists=False, missing=tuple(SIZES)),
        timings=(Timing(probe="journeys", seconds=1.2), Timing(probe="disk", seconds=0.02), Timing(probe="packages", seconds=0.3)),
    )
    return dataclasses.replace(whole, **changes)


def _fine() -> tuple[tuple[Leg, ...], ...]:
    signed = handshake(chain=(certificate(),))
    redirect = response(302, *leg().response.headers, location=f"https://{CDN}/repos/86/b5/model.safetensors", seconds=0.08)  # type: ignore[union-attr]
    first = leg(path=f"{PATH}/model.safetensors", handshake=signed, response=redirect, body=Unseen("not_asked"))
    sample = body(outcome="sampled", bytes=4_194_304, expected=SIZES["model.safetensors"], content="safetensors", bytes_per_second=48e6, seconds=0.09)
    return (
        (leg(path="/api/models/google-bert/bert-base-uncased/revision/main", handshake=signed),),
        (leg(path=f"{PATH}/config.json", handshake=signed),),
        (first, leg(CDN, "/repos/86/b5/model.safetensors", handshake=signed, body=sample)),
    )


def healthy() -> Report:
    """A model that can be downloaded and loaded; nothing of it is here yet."""
    return reported(case_of(*_fine()))


def intercepted(**changes: Any) -> Case:
    """A company's gateway signs in place of the real authority, for the hub and its CDN alike."""
    cut = handshake(outcome="untrusted", code=20, message="unable to get local issuer certificate", chain=(GATEWAY,), store="certifi", seconds=0.06)

    def stopped(path: str) -> tuple[Leg, ...]:
        return (stopped_at("handshake", cut, path=path),)

    return case_of(
        stopped("/api/models/google-bert/bert-base-uncased/revision/main"),
        stopped(f"{PATH}/config.json"),
        stopped(f"{PATH}/model.safetensors"),
        listing=Unseen("not_reached"),
        **changes,
    )


def broken() -> Report:
    """One root: TLS is intercepted."""
    return reported(intercepted())


def several() -> Report:
    """Independent roots, errors and warnings: the proxy refuses the CDN, the disk is full, resolution is slow, a cache variable is old."""
    first, small, (asked, _) = _fine()
    denied = stopped_at(
        "tunnel", tunnel("refused", status=403, reason="Forbidden", title="Policy: file sharing"), CDN, route=PROXY, path="/repos/86/b5/model.safetensors"
    )
    slow = (dataclasses.replace(first[0], resolution=resolution(seconds=6.2)),)
    full = dataclasses.replace(healthy().case.disks[0], free_bytes=120 * 10**6)  # type: ignore[index]
    old = dataclasses.replace(
        ENVIRONMENT,
        proxies=(
            ProxySetting(
                variable="HTTPS_PROXY", value="http://***@proxy.corp.example:3128", scheme="http", host="proxy.corp.example", port=3128, credentials=True
            ),
        ),
        deprecated_caches=(Variable(name="TRANSFORMERS_CACHE", value="/mnt/models/alice"),),
    )
    return reported(case_of(slow, small, (asked, denied), disks=(full,), environment=old))


def interrupted() -> Report:
    """Ctrl-C before the probes had ended."""
    gone = Unseen("timed_out", "the list of files")
    bare = Case(
        started="2026-11-22T01:00:00Z",
        seconds=0.41,
        target=TARGET,
        environment=ENVIRONMENT,
        journeys=gone,
        listing=gone,
        disks=gone,
        memory=gone,
        packages=gone,
        files=gone,
    )
    return reported(report.cut_short(bare), "Ctrl-C")


def unverified() -> Report:
    """A run that could look at nothing."""
    return reported(Case(started="2026-11-22T01:00:00Z", seconds=0.0, target=Target(spec="", kind="none")))


def waived() -> Report:
    """One root that was accepted until a date."""
    from datetime import date

    from diagnostics.waivers import Waiver, apply_waivers

    found = broken()
    waiver = Waiver(cause="tls-intercepted", reason="known, ticket 4711", until=date(2027, 1, 31))
    return dataclasses.replace(found, judgement=apply_waivers(found.judgement, (waiver,), date(2026, 11, 22)))


def huge() -> Report:
    """500 pieces of evidence, 60 checks, 2000 files, 300 hosts."""
    found = broken()
    subjects = tuple(Subject(kind="file", name=f"model-{number:05}-of-02000.safetensors") for number in range(2000))
    evidence = tuple(Evidence(subject=subject, fact="length", seen="17 bytes " * 20, expected="4,976,698,672 bytes") for subject in subjects[:500])
    files = tuple(FileSeen(path=subject.name, location=f"/models/{subject.name}", bytes=17, expected_bytes=4_976_698_672) for subject in subjects)
    remote = tuple(RemoteFile(path=subject.name, bytes=4_976_698_672, sha256="ab" * 32) for subject in subjects)
    digests = Digests(unverified=tuple(subject.name for subject in subjects), unverified_bytes=2000 * 4_976_698_672, seconds_left=9000.0)
    case = dataclasses.replace(
        found.case,
        files=Files(place="folder", path="/models", files=files),
        listing=Listing(source="hub", files=remote, wanted=tuple(item.path for item in remote)),
        digests=digests,
    )
    roots = tuple(dataclasses.replace(found.judgement.diagnoses[0], evidence=evidence, subjects=subjects) for _ in range(8))
    results = tuple(
        CheckResult(check=f"files/number-{number}", question=f"Is number {number} whole? " * 5, outcome="failed", reason="it is short " * 30)
        for number in range(60)
    )
    hosts = tuple(dataclasses.replace(found.hosts[0], host=f"cdn-{number}.example.org") for number in range(300))
    return dataclasses.replace(found, case=case, judgement=Judgement(diagnoses=roots, results=results, verdict="broken"), hosts=hosts)


HOSTILE = (
    "\x1b[31m\x1b]0;title\x07<script>alert(1)</script><img src=x onerror=alert(1)>]]>&amp;\x00\u202e\u2066\ud800\udfff\ufffe\x9b"
    "@octocat org/repo#123 GH-7 https://evil.test/?q=1 www.evil.test ```\n``` | `x` $(reboot); \"quoted\" 'quoted' && rm -rf ~\r\n::error::taken\n##[error]taken\n"
    "</pre></details><!-- --> {{ 7 * 7 }} {% raw %} ${x} [a](javascript:alert(1)) ![i](//evil.test/x)\u2028- item\n# heading\n::set-output name=x::y "
)


def hostile() -> Report:
    """Bytes that nobody cleaned in every text field, as if the way in had let them through; the titles are 10 kB long."""
    clean = several()
    case = _spoilt(clean.case)
    diagnoses = tuple(
        dataclasses.replace(_spoilt(diagnosis), title=HOSTILE + "t" * 10_000, why=HOSTILE, claims=diagnosis.claims) for diagnosis in clean.judgement.diagnoses
    )
    results = tuple(dataclasses.replace(result, reason=HOSTILE, question=HOSTILE) for result in clean.judgement.results)
    broke = CheckResult(check="tls/broke", question=HOSTILE, outcome="error", reason=f"Traceback:\n{HOSTILE}")
    hosts = tuple(dataclasses.replace(host, host=HOSTILE, needed_for=HOSTILE) for host in clean.hosts)
    return Report(
        version=VERSION, case=case, judgement=Judgement(diagnoses=diagnoses, results=(*results, broke), verdict="broken"), hosts=hosts, interrupted=HOSTILE
    )


KEPT = frozenset({"cause", "check", "checks", "explains", "claims", "started"})  # ours, or no text of anybody's


def _spoilt(value: Any) -> Any:
    """A record whose every free text is hostile; what may only be one of a few words stays."""
    hints = get_type_hints(type(value))
    return dataclasses.replace(value, **{name: _spoilt_field(hint, getattr(value, name)) for name, hint in hints.items() if name not in KEPT})


def _spoilt_field(hint: Any, value: Any) -> Any:
    if isinstance(value, Unseen):
        return Unseen(value.why, HOSTILE)
    if dataclasses.is_dataclass(value):
        return _spoilt(value)
    if isinstance(value, tuple):
        return tuple(_spoilt_field(get_args(hint)[0] if get_args(hint) else str, item) for item in value)
    if isinstance(value, dict):
        return {key: _spoilt_field(str, item) for key, item in value.items()}
    closed = get_origin(hint) is Literal or any(get_origin(part) is Literal for part in get_args(hint))
    return HOSTILE if isinstance(value, str) and not closed and str(hint).find("Literal") < 0 else value


SAMPLES: dict[str, Callable[[], Report]] = {sample.__name__: sample for sample in (healthy, broken, several, interrupted, unverified, waived, huge, hostile)}
