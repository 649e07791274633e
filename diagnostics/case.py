"""The records that pass between the stages: look, judge, speak.

Every record is a frozen, keyword-only dataclass; units stand in the names (``seconds``, ``bytes``). A field that has no value
says why with :class:`Unseen`, which is falsy, so ``leg.handshake and leg.handshake.chain`` reads as it should.
Nothing in here is secret: text is redacted and stripped of control characters (``diagnostics.redact``) on its way in.
This module imports nothing of ours. JSON both ways is ``diagnostics.codec``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, dataclass_transform

SCHEMA = 1
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen, keyword-only dataclass."""
    return dataclass(frozen=True, kw_only=True)(cls)


@dataclass(frozen=True)
class Unseen:
    """Why a field has no value. Falsy."""

    why: Literal["not_asked", "not_reached", "timed_out", "unsupported", "absent"]
    detail: str = ""

    def __bool__(self) -> Literal[False]:  # a type checker narrows on it
        return False


NOT_ASKED = Unseen("not_asked")
NOT_REACHED = Unseen("not_reached")
TIMED_OUT = Unseen("timed_out")
ABSENT = Unseen("absent")
NO_TRIAL = Unseen("not_asked", "a trial load was not asked for (--diagnose-load)")

Severity = Literal["error", "warning"]
Owner = Literal["you", "machine", "network", "server", "author"]
Outcome = Literal["passed", "failed", "warned", "blocked", "skipped", "error"]
Verdict = Literal["healthy", "degraded", "broken", "unverified"]
Shell = Literal["posix", "fish", "powershell", "cmd", "dockerfile", "kubernetes", "systemd", "notebook"]
HostState = Literal[
    "reached",
    "not-tried",
    "name-unknown",
    "refused",
    "reset",
    "dropped",
    "unreachable",
    "denied-here",
    "proxy-unreachable",
    "proxy-refused",
    "proxy-login",
    "proxy-silent",
    "tls-reset",
    "tls-dropped",
    "tls-by-name",
    "tls-replaced",
    "tls-failed",
    "not-tls",
    "request-cut",
    "request-dropped",
    "filtered",
    "content-cut",
]


# --- what is to be loaded ---------------------------------------------------------------------------------------------------


@record
class Target:
    """What is to be loaded, as far as the SPEC itself tells; no I/O beyond ``stat`` of a path it names."""

    spec: str
    kind: Literal["hub", "url", "directory", "file", "list", "demo", "none"]
    name: str = ""  # repository id, or what a person would call it
    repository_type: Literal["model", "dataset", "space"] = "model"
    revision: str = "main"
    endpoint: str = ""  # base URL of the hub, redacted, no trailing slash
    urls: tuple[str, ...] = ()  # redacted; the full ones are in Secrets.urls, same order
    paths: tuple[str, ...] = ()  # local folders or files
    published: tuple[Published, ...] = ()  # digests that came with the SPEC (#sha256=…, a manifest)
    listed: tuple[RemoteFile, ...] = ()  # what a manifest names
    patterns: tuple[str, ...] = ()  # --diagnose-files
    client: ClientUse | Unseen = NOT_ASKED  # who fetches it (facts/clients)
    transports: tuple[ClientUse, ...] = ()  # others that move bytes of it (hf_xet)
    loader: str = ""  # who loads it: transformers, torch, … ; empty when unknown
    problem: Problem | Unseen = ABSENT  # why the SPEC itself cannot be used


@record
class Problem:
    """What is wrong with something a person typed or set. ``code`` is stable, ``detail`` is for reading."""

    code: str
    detail: str = ""
    near: str = ""  # of a path that is not there: the nearest folder above it that is


@record
class Published:
    """A digest that somebody published for a file. ``value`` is lower-case hex, possibly a prefix (torch.hub)."""

    path: str
    algorithm: Literal["sha256", "git-sha1", "md5", "sha1", "sha512", "crc32"] = "sha256"
    value: str
    source: str  # "#sha256=", "SHA256SUMS", "file name", "blob name", "hub listing", "trees/<commit>.json"
    bytes: int | Unseen = ABSENT


@record
class ClientUse:
    """A client that takes part in this download. ``family`` is a key of facts/clients.toml."""

    family: str
    version: str = ""
    role: Literal["all", "metadata", "bytes"] = "all"
    installed: bool = True


# --- the environment --------------------------------------------------------------------------------------------------------


@record
class ProxySetting:
    """One proxy variable as it is set. ``value`` has its credentials hidden."""

    variable: str
    value: str
    scheme: str = ""
    host: str = ""
    port: int | Unseen = ABSENT
    credentials: bool = False
    problem: Problem | Unseen = ABSENT


@record
class CaVariable:
    """One variable that names a CA file or folder, and what is there."""

    variable: str
    path: str
    exists: bool = False
    is_directory: bool = False
    readable: bool = True
    certificates: int = 0  # that a client would load from it: PEM blocks, or files with OpenSSL's hash names
    files: int = 0  # entries, for a folder
    form: Literal["pem", "der", "empty", "text", "damaged-pem", "hashed", "unhashed", "missing"] = "missing"
    exists_expanded: bool = False  # it begins with ~, and with the home folder in its place something is there


@record
class ConfiguredProxy:
    """A proxy that some other program's configuration names (pip.conf, .gitconfig, .npmrc, apt.conf, .condarc, OS settings)."""

    source: str
    value: str
    automatic: bool = False  # the URL of a PAC file


@record
class Variable:
    """A client setting and, where it cannot be used, why."""

    name: str
    value: str
    problem: Problem | Unseen = ABSENT
    truthy: bool = False


@record
class Token:
    """A credential's shape and source; never its text."""

    present: bool
    source: str = ""
    problem: Problem | Unseen = ABSENT


@record
class NetrcEntry:
    host: str
    path: str


@record
class Distribution:
    name: str
    version: str
    location: str = ""


@record
class Interpreter:
    executable: str
    version: str
    implementation: str = "CPython"
    bits: int = 64
    prefix: str = ""
    openssl: str = ""
    strict_x509: bool = False  # Python >= 3.13 sets VERIFY_X509_STRICT in create_default_context
    cafile: str = ""  # where its OpenSSL looks for roots by itself, whether or not anything is there
    capath: str = ""


@record
class Platform:
    system: str
    release: str = ""
    machine: str = ""
    libc: str = ""
    container: str = ""  # docker, podman, kubernetes, slurm, colab, kaggle, wsl, ""
    default_route: bool | Unseen = ABSENT
    link_up: bool | Unseen = ABSENT  # whether any network card has a link; absent where there is no card
    user: str = ""
    euid: int | Unseen = ABSENT


@record
class Environment:
    proxies: tuple[ProxySetting, ...] = ()
    no_proxy: tuple[Variable, ...] = ()  # NO_PROXY and no_proxy, each as set
    ca: tuple[CaVariable, ...] = ()
    offline: tuple[Variable, ...] = ()
    settings: tuple[Variable, ...] = ()  # other variables of the clients (HF_*), with what is wrong with them
    endpoint: Variable | Unseen = ABSENT  # HF_ENDPOINT as set
    token: Token = field(default_factory=lambda: Token(present=False))
    netrc: tuple[NetrcEntry, ...] = ()
    caches: dict[str, str] = field(default_factory=dict)  # "hub", "xet", "torch", "temp", "home" → path
    deprecated_caches: tuple[Variable, ...] = ()
    configured_proxies: tuple[ConfiguredProxy, ...] = ()
    interpreter: Interpreter | Unseen = ABSENT
    platform: Platform | Unseen = ABSENT
    distributions: tuple[Distribution, ...] = ()
    shell: Shell = "posix"  # that commands are pasted into, or the place that variables are kept in


# --- the ladder: one request, step by step ----------------------------------------------------------------------------------


@record
class Address:
    family: Literal["ipv4", "ipv6"]
    ip: str


@record
class ResolverAnswer:
    """What one configured resolver says about one name, asked directly (RFC 1035; EDE: RFC 8914)."""

    server: str
    transport: Literal["udp", "tcp"]
    rcode: str | Unseen = ABSENT  # NOERROR, NXDOMAIN, SERVFAIL, REFUSED …
    addresses: tuple[str, ...] = ()
    extended_errors: tuple[str, ...] = ()  # "EDE 15 (Blocked): text"
    error: Literal["", "timed_out", "refused", "unreachable", "denied", "invalid"] = ""
    truncated: bool = False  # too long for UDP: to be asked for again over TCP
    answers_others: bool | Unseen = NOT_ASKED  # silent about this name: whether it answers another question
    checking_disabled_helps: bool | Unseen = NOT_ASKED  # SERVFAIL that goes away with CD=1 is DNSSEC
    seconds: float = 0.0


@record
class Resolution:
    """A name through ``getaddrinfo`` (the truth for the clients) and through each configured resolver (the reason)."""

    host: str
    addresses: tuple[Address, ...] = ()
    error: str = ""  # EAI_NONAME, EAI_AGAIN, EAI_NODATA …; "IDNA" for a name no resolver can be asked for
    message: str = ""
    hosts_file: tuple[str, ...] = ()  # addresses the hosts file gives
    resolvers: tuple[ResolverAnswer, ...] = ()
    search_domain: str = ""  # these are the addresses of the name with this behind it (resolv.conf, search)
    sources: str = ""  # where names are looked up: the hosts line of nsswitch.conf
    literal: bool = False  # the host is an IP address
    seconds: float = 0.0


@record
class Attempt:
    address: Address
    outcome: Literal["connected", "refused", "timed_out", "unreachable", "reset", "denied", "error"]
    errno: int = 0
    seconds: float = 0.0


@record
class Connection:
    """TCP to every address of the name (the proxy's, when there is one)."""

    port: int
    attempts: tuple[Attempt, ...] = ()
    address: Address | Unseen = ABSENT  # the one the ladder went on with
    source: str = ""  # this machine's own address towards it
    seconds: float = 0.0


@record
class Header:
    name: str
    value: str


@record
class Tunnel:
    """The way through a proxy: CONNECT (RFC 9110 §9.3.6) or SOCKS (RFC 1928)."""

    proxy: str  # host:port
    protocol: Literal["http", "https", "socks4", "socks5"]
    outcome: Literal["open", "refused", "silent", "closed", "reset", "not_http", "tls_failed", "unsupported"]
    status: int | Unseen = ABSENT
    reason: str = ""  # of the status; where TLS with the proxy itself failed, the handshake's outcome
    headers: tuple[Header, ...] = ()
    schemes: tuple[str, ...] = ()  # of Proxy-Authenticate
    credentials_sent: bool = False
    title: str = ""
    first_bytes: str = ""
    message: str = ""
    seconds: float = 0.0


@record
class Certificate:
    subject: str  # "CN=…, O=…"
    issuer: str
    subject_name: str = ""  # common name
    issuer_name: str = ""
    issuer_organization: str = ""
    not_before: str = ""  # ISO 8601, UTC
    not_after: str = ""
    names: tuple[str, ...] = ()  # subjectAltName, DNS and IP
    ca_issuers: tuple[str, ...] = ()  # AIA
    self_issued: bool = False
    fingerprint: str = ""  # sha256, hex
    key_bits: int | Unseen = ABSENT
    signature: str = ""  # algorithm
    issuer_in: tuple[str, ...] = ()  # stores that hold a root with the issuer's name


@record
class SavedAuthority:
    """The certificate that ``--diagnose-save-ca`` wrote. It is trusted by nobody until somebody names it."""

    path: str
    host: str  # host:port that presented the chain
    subject: str
    fingerprint: str  # sha256, hex
    source: Literal["presented", "on this machine"]
    root: bool  # False: an intermediate, for the root was not sent and is not here


@record
class StoreVerdict:
    """The same server's chain, judged with another trust store."""

    store: str  # "certifi", "operating system", "SSL_CERT_FILE", "fetched intermediate", …
    path: str = ""
    accepted: bool
    strict: bool = False
    code: int = 0  # X509_V_ERR_*
    message: str = ""


@record
class Handshake:
    outcome: Literal["accepted", "untrusted", "alert", "closed", "reset", "silent", "not_tls", "store_unusable", "error"]
    store: str = ""
    store_file: str = ""  # one file that holds all of that store; "" where there is none
    code: int = 0  # SSLCertVerificationError.verify_code
    message: str = ""
    reason: str = ""  # SSLError.reason
    alert: str = ""  # RFC 8446 §6
    alert_sent_by: Literal["", "us", "server"] = ""
    certificate_requested: bool = False
    version: str = ""
    cipher: str = ""
    chain: tuple[Certificate, ...] = ()  # as presented, leaf first
    verdicts: tuple[StoreVerdict, ...] = ()
    first_bytes: str = ""  # what came instead of TLS
    versions_that_work: tuple[str, ...] = ()
    date: str = ""  # the server's Date header, read without trust where trust failed
    skew_seconds: float | Unseen = NOT_ASKED  # local clock minus the server's
    roots: int | Unseen = NOT_ASKED  # in the client's store
    seconds: float = 0.0


@record
class Response:
    method: str
    outcome: Literal["answered", "silent", "closed", "reset", "invalid", "alert"]
    status: int | Unseen = ABSENT
    reason: str = ""
    headers: tuple[Header, ...] = ()  # an allow-list of names, see redact
    location: str = ""  # redacted
    length: int | Unseen = ABSENT
    title: str = ""
    first_bytes: str = ""
    content: str = ""  # kind of the first bytes: html, xml, json, lfs-pointer, text, binary, empty
    message: str = ""
    skew_seconds: float | Unseen = ABSENT
    seconds: float = 0.0


@record
class Body:
    """A short read of the content."""

    outcome: Literal["complete", "sampled", "truncated", "stalled", "reset", "invalid"]
    bytes: int
    expected: int | Unseen = ABSENT
    encoding: str = ""  # Content-Encoding; digests and ``content_bytes`` are of what it unpacks to
    content_bytes: int | Unseen = NOT_ASKED  # after decoding, when it was read whole
    content: str = ""
    title: str = ""
    first_byte_seconds: float | Unseen = ABSENT
    stalled_seconds: float = 0.0
    longest_pause_seconds: float = 0.0  # between two pieces of what came
    bytes_per_second: float | Unseen = ABSENT
    ranges: Literal["honoured", "ignored", "refused", "untested"] = "untested"
    sha256: str | Unseen = NOT_ASKED  # of the whole content, when it was read whole
    git_sha1: str | Unseen = NOT_ASKED
    message: str = ""
    seconds: float = 0.0


@record
class Route:
    """How the client would reach a URL: direct, or through which proxy, and which variable says so."""

    kind: Literal["direct", "proxy", "unusable"]
    variable: str = ""
    proxy: str = ""  # redacted URL
    scheme: str = ""
    host: str = ""
    port: int = 0
    credentials: bool = False
    bypassed_by: str = ""  # the NO_PROXY entry that sends this host direct
    problem: Problem | Unseen = ABSENT


@record
class Counterfactual:
    """What happened when one thing was changed: the evidence behind a remedy."""

    question: str  # "direct", "proxy:<variable>", "without-token", "get", "plain-proxy", "ipv4", "resolver:<server>", …
    works: bool
    detail: str = ""
    seconds: float = 0.0


@record
class Leg:
    """One request on the way. The first step that is not fine is the fault; behind it all is ``not_reached``."""

    url: str  # redacted, no query
    scheme: str
    host: str
    port: int
    method: str = "GET"
    route: Route
    token_sent: bool = False
    resolution: Resolution | Unseen = NOT_REACHED
    connection: Connection | Unseen = NOT_REACHED
    tunnel: Tunnel | Unseen = NOT_REACHED  # NOT_ASKED on a direct route
    handshake: Handshake | Unseen = NOT_REACHED  # NOT_ASKED for plain http
    response: Response | Unseen = NOT_REACHED
    body: Body | Unseen = NOT_REACHED  # NOT_ASKED where none is wanted
    counterfactuals: tuple[Counterfactual, ...] = ()


@record
class Journey:
    """One URL from the first request to the bytes. Every redirect starts the next leg."""

    name: str  # "listing", "small-file", "largest-file", "url-1", "hub"
    purpose: str  # for reading: "the hub's API", "the largest file (model.safetensors)"
    client: ClientUse
    legs: tuple[Leg, ...] = ()
    path: str = ""  # the file's path in the target, if it is one
    published: Published | Unseen = ABSENT
    method_fallback: Counterfactual | Unseen = NOT_ASKED  # GET where HEAD failed


@record
class Pace:
    """How fast the bytes of the largest file come, on one connection and, where the download is long, on several at once."""

    journey: str  # Journey.name
    host: str
    single_bytes_per_second: float
    first_byte_seconds: float | Unseen = ABSENT
    longest_pause_seconds: float = 0.0
    needed_bytes: int | Unseen = ABSENT  # still to come
    limits: tuple[Header, ...] = ()  # rate-limit fields of the answers
    connections: int = 1
    together_bytes_per_second: float | Unseen = NOT_ASKED
    refused: str = ""  # what a further connection got instead: a status, "reset"
    seconds: float = 0.0  # that the several took


# --- records of the other subjects ------------------------------------------------------------------------------------------


@record
class RemoteFile:
    path: str
    bytes: int | Unseen = ABSENT
    sha256: str | Unseen = ABSENT
    git_sha1: str | Unseen = ABSENT
    url: str = ""
    role: str = ""  # what it is for (facts/roles): weights, index, config, tokenizer, code, data, text, other
    xet: bool = False  # it lies in Xet storage


@record
class Listing:
    """The files of a target, from the hub's API, a manifest, or what the cache remembers."""

    source: Literal["hub", "cache", "manifest", "folder"]
    commit: str = ""
    gated: str = ""  # "", "auto", "manual"
    files: tuple[RemoteFile, ...] = ()
    wanted: tuple[str, ...] = ()  # paths of the files that count for the loader


@record
class Disk:
    """A file system that takes part. ``free_bytes`` is what this user may use."""

    roles: tuple[str, ...]  # "cache", "target", "temp"
    path: str
    mount: str = ""
    kind: str = ""  # ext4, tmpfs, nfs4, overlay …
    total_bytes: int | Unseen = ABSENT
    free_bytes: int | Unseen = ABSENT
    free_inodes: int | Unseen = ABSENT
    read_only: bool | Unseen = ABSENT
    exists: bool = True
    writable: bool | Unseen = NOT_ASKED  # a short file was written, synced and removed
    write_errno: int = 0
    denied_at: str = ""  # the folder up the path that refuses
    denied_owner: str = ""
    denied_mode: str = ""
    needed_bytes: int | Unseen = NOT_ASKED
    needed_why: str = ""
    symlinks: bool | Unseen = NOT_ASKED
    message: str = ""
    needed_files: int | Unseen = NOT_ASKED  # files still to be made there
    largest_bytes: int | Unseen = NOT_ASKED  # of one file still to be written, or to be read
    largest_path: str = ""
    file_limit_bytes: int | Unseen = ABSENT  # the largest file that may be written: the file system's, or ulimit -f
    file_limit_by: str = ""
    longest_name: int | Unseen = NOT_ASKED  # bytes of the longest name and path that the client will make
    longest_path: int | Unseen = NOT_ASKED
    name_limit: int | Unseen = ABSENT
    path_limit: int | Unseen = ABSENT
    locks: bool | Unseen = NOT_ASKED  # flock(2) on a file there
    lock_errno: int = 0
    mappable: bool | Unseen = NOT_ASKED  # mmap(2) of a file there
    noexec: bool | Unseen = NOT_ASKED  # compiled code may not be mapped from there
    remote: bool = False  # a network file system
    write_bytes_per_second: float | Unseen = NOT_ASKED  # of a short file, synced; tried where much is to be written and there is ample room


@record
class ProcessLimit:
    """One ceiling on processes and threads. ``used`` is what counts against it now."""

    source: str  # "RLIMIT_NPROC", "cgroup v2 /a pids.max"
    limit: int
    used: int | Unseen = ABSENT


@record
class Limits:
    """What this process may open and start; a process it starts inherits it."""

    open_files: int | Unseen = ABSENT  # the soft limit; no limit is ``ABSENT``
    open_files_hard: int | Unseen = ABSENT
    open_files_needed: int | Unseen = NOT_ASKED
    open_files_why: str = ""
    processes: tuple[ProcessLimit, ...] = ()
    processes_needed: int | Unseen = NOT_ASKED
    processes_why: str = ""
    starts_threads: bool | Unseen = NOT_ASKED  # one was started and ended


@record
class Lock:
    """A lock file of this repository's downloads that somebody holds (``.locks/…/<etag>.lock``)."""

    path: str
    file: str = ""  # of the target that it guards, where that is known
    kind: Literal["flock", "soft"] = "flock"  # soft: its mere existence locks
    pid: int | Unseen = ABSENT
    command: str = ""
    alive: bool | Unseen = ABSENT
    idle_seconds: float | Unseen = ABSENT  # since the download it guards last grew; ABSENT where no part of it lies here
    elsewhere: bool = False  # it was taken on another machine or in another container: nothing here tells whether its process lives


@record
class Stale:
    """Something that the cache remembers and that is no longer so."""

    path: str
    code: Literal["ref", "no-exist", "tree"]
    detail: str


@record
class CacheState:
    """What the hub's cache keeps beside the files: locks, and what it remembers."""

    path: str
    locks: tuple[Lock, ...] = ()
    stale: tuple[Stale, ...] = ()


@record
class MemoryLimit:
    """One ceiling over this process."""

    source: str  # "host", "cgroup v2 /a/b memory.max", "RLIMIT_AS"
    kind: Literal["host", "cgroup", "rlimit"]
    limit_bytes: int
    used_bytes: int | Unseen = ABSENT
    available_bytes: int
    holders: tuple[str, ...] = ()  # of a control group that is too small: its processes that hold most, "1.2 GB python (pid 7)"


@record
class Memory:
    total_bytes: int
    available_bytes: int
    swap_free_bytes: int | Unseen = ABSENT
    limits: tuple[MemoryLimit, ...] = ()
    oom_kills: int | Unseen = ABSENT
    needed_bytes: int | Unseen = NOT_ASKED
    needed_why: str = ""
    message: str = ""
    accelerators: tuple[str, ...] = ()  # device files of them: weights may go straight there, past this memory
    resident_bytes: int | Unseen = NOT_ASKED  # the weights as they are used: all of it in memory, though mapped files may be dropped and read again
    mapped_bytes: int | Unseen = NOT_ASKED  # address space that the load takes
    private_bytes: int | Unseen = NOT_ASKED  # of it what the kernel must promise memory for (private writable mappings)
    largest_mapping_bytes: int | Unseen = NOT_ASKED  # of one file
    overcommit: int | Unseen = ABSENT  # vm.overcommit_memory
    commit_limit_bytes: int | Unseen = ABSENT
    committed_bytes: int | Unseen = ABSENT
    holders: tuple[str, ...] = ()  # processes that hold most: "1.2 GB python (pid 7)"
    shm_total_bytes: int | Unseen = ABSENT  # /dev/shm
    shm_free_bytes: int | Unseen = ABSENT


@record
class Requirement:
    """A distribution this target needs, and what is there."""

    package: str
    why: str
    source: str = ""
    installed: str | Unseen = ABSENT
    minimum: str = ""
    below: str = ""
    importable: bool | Unseen = NOT_ASKED
    origin: str = ""
    message: str = ""
    required: bool = True
    elsewhere: str = ""  # where else on this machine it is installed


@record
class Conflict:
    package: str
    version: str
    requires: str
    installed: str


@record
class ImportTrial:
    """One package imported in a child process of the interpreter that will load."""

    package: str
    module: str
    outcome: Literal["imported", "failed", "crashed", "unfinished"]
    error: str = ""  # type of the exception that ended it
    message: str = ""
    missing: str = ""  # the module that ModuleNotFoundError names
    signal: int = 0
    origin: str = ""  # where it was found
    doubt: str = ""  # why metadata made us doubt it
    seconds: float = 0.0


@record
class Shadow:
    """A file or folder of the person's own that an import would take for a package."""

    module: str
    path: str
    package: str  # the distribution that is hidden
    where: str  # "the working folder", "PYTHONPATH"


@record
class Architecture:
    """What config.json asks of transformers, and whether the installed one knows it (read from its registry, not imported)."""

    model_type: str
    library: str = "transformers"
    version: str = ""
    known: bool | Unseen = ABSENT
    nearest: str = ""
    since: str = ""  # the version that wrote the model (config's transformers_version): a hint
    remote_code: tuple[str, ...] = ()  # classes of auto_map
    remote_only: bool = False  # no class of the library itself would do


@record
class Quantization:
    """What quantization_config asks for."""

    method: str
    packages: tuple[str, ...] = ()
    accelerator: bool = False  # it runs on an accelerator only
    capability: str = ""  # the least of it


@record
class TorchBuild:
    """The installed torch as its own torch/version.py says (read, not imported)."""

    version: str
    cuda: str = ""  # CUDA it is built for; "" for none
    hip: str = ""
    architectures: tuple[str, ...] = ()  # "8.0" …: compute capabilities it has kernels for, by the table of facts; empty where that is not known
    ptx: str = ""  # the one that newer devices can compile from


@record
class Packages:
    python: str
    judged: bool  # False where that interpreter has no loader at all
    requirements: tuple[Requirement, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    duplicates: tuple[str, ...] = ()
    message: str = ""
    imports: tuple[ImportTrial, ...] = ()
    shadows: tuple[Shadow, ...] = ()
    foreign_paths: tuple[str, ...] = ()  # of PYTHONPATH: another Python's packages
    architecture: Architecture | Unseen = NOT_ASKED
    quantization: Quantization | Unseen = NOT_ASKED
    torch: TorchBuild | Unseen = NOT_ASKED
    superseded: tuple[str, ...] = ()  # "package: 4.40 is loaded, 5.24 is installed": this process loaded it before that was installed


@record
class Accelerator:
    """One accelerator that the driver knows."""

    name: str
    kind: Literal["nvidia", "amd", "apple", "intel", "other"] = "nvidia"
    index: int = 0
    total_bytes: int | Unseen = ABSENT
    free_bytes: int | Unseen = ABSENT
    capability: str = ""  # "8.6"
    uuid: str = ""
    holders: tuple[str, ...] = ()  # processes with memory on it
    mig: bool = False
    visible: bool = True  # CUDA_VISIBLE_DEVICES and the like let it through


@record
class Accelerators:
    """What there is to compute on, without importing a framework."""

    source: Literal["nvml", "nvidia-smi", "device files", "none"]
    devices: tuple[Accelerator, ...] = ()
    driver: str = ""
    cuda: str = ""  # the newest CUDA that this driver runs
    files: tuple[str, ...] = ()  # device files
    unreadable: tuple[str, ...] = ()  # of them, those this user may not open
    hidden_by: str = ""  # "CUDA_VISIBLE_DEVICES=-1"
    wanted: str = ""  # why this target asks for one; "" where it does not
    message: str = ""


@record
class Defect:
    """What is wrong with one file. ``code`` is a cause id of the files section, or finer."""

    code: str
    detail: str = ""
    offset: int | Unseen = ABSENT


@record
class FileSeen:
    """One local file that counts for the target."""

    path: str  # in the target
    location: str = ""  # on disk, home as ~
    bytes: int | Unseen = ABSENT
    expected_bytes: int | Unseen = ABSENT
    content: str = ""  # what the bytes are: safetensors, zip, pickle, gguf, json, html, lfs-pointer, empty, zeros …
    defects: tuple[Defect, ...] = ()
    blob: str = ""  # the blob of the hub's cache that it links to, by name


@record
class Files:
    """What is here of the target: a folder's or a cached snapshot's files."""

    place: Literal["folder", "file", "cache"]
    path: str
    exists: bool = True
    readable: bool = True
    commit: str = ""
    files: tuple[FileSeen, ...] = ()
    missing: tuple[str, ...] = ()  # wanted and not here
    unfinished: tuple[FileSeen, ...] = ()  # .incomplete, .part, .aria2, .crdownload
    message: str = ""
    absent: tuple[FileSeen, ...] = ()  # what others name and is not here; without a size, the defect says what misses it
    ref: str = ""  # the commit that the cache remembers for the target's revision


@record
class Misfit:
    """Where config, tokenizer and weights do not fit each other. ``code`` is a cause id of the model section, or finer."""

    code: str
    name: str  # a tensor, a file, a key
    seen: str
    expected: str
    because: str = ""  # what says so: "vocab_size of config.json"
    count: int = 1  # how many more are like it, itself included
    facts: dict[str, str] = field(default_factory=dict)  # for the remedies
    severity: Severity = "error"


@record
class Mismatch:
    """A tensor that has another shape in the file than the architecture."""

    name: str
    held: tuple[int, ...]
    due: tuple[int, ...]


@record
class ModelBuild:
    """What the loader of ``python`` says of the weights' names and shapes, with the model built on the meta device: no weight was read."""

    python: str
    outcome: Literal["built", "failed"]
    stage: str = ""  # import, config, build, done: where it ended
    libraries: tuple[str, ...] = ()  # "transformers 5.24.0"
    architecture: str = ""  # class
    base: str = ""  # base_model_prefix
    error: str = ""
    message: str = ""
    expected: int = 0  # tensors that the architecture has
    compared: int = 0
    vocabulary: int | Unseen = ABSENT
    missing: tuple[str, ...] = ()  # the first few
    missing_count: int = 0
    missing_beside_head: int = 0  # of them, those of the model itself
    unexpected: tuple[str, ...] = ()
    unexpected_count: int = 0
    prefix: str = ""  # that stands before the missing names
    mismatched: tuple[Mismatch, ...] = ()
    mismatched_count: int = 0
    seconds: float = 0.0


@record
class Tokenizer:
    """What the tokenizer's files say. Ids count from 0; ``added`` are those of added tokens."""

    files: tuple[str, ...] = ()
    kind: str = ""  # tokenizer_class
    entries: int | Unseen = ABSENT
    largest_id: int | Unseen = ABSENT
    largest_added_id: int | Unseen = ABSENT


@record
class Model:
    """What config.json, the tokenizer's files and the weights' headers say of a model, and where they disagree."""

    path: str = ""  # the folder, relative to the target
    model_type: str = ""
    architectures: tuple[str, ...] = ()
    config: dict[str, str] = field(default_factory=dict)  # the keys that were compared
    tokenizer: Tokenizer | Unseen = ABSENT
    tensors: int = 0
    parameters: int = 0
    dtypes: tuple[str, ...] = ()
    layers: int | Unseen = ABSENT
    rows: int | Unseen = ABSENT  # of the input embedding
    compared: int = 0  # tensors whose shape or presence was judged
    misfits: tuple[Misfit, ...] = ()
    build: ModelBuild | Unseen = NOT_ASKED  # every name and shape, by the loader itself
    message: str = ""


@record
class Digest:
    path: str
    algorithm: str
    expected: str
    source: str
    actual: str | Unseen = NOT_ASKED
    bytes: int = 0
    seconds: float = 0.0
    differs: str = ""  # where, by a second copy that is as published
    copy: str = ""  # that copy, home as ~


@record
class Digests:
    checked: tuple[Digest, ...] = ()
    unverified: tuple[str, ...] = ()  # had a digest, were not hashed (time, option)
    unverified_bytes: int = 0
    unpublished: tuple[str, ...] = ()  # nothing to compare with
    seconds_left: float = 0.0  # estimate for the unverified ones
    unreadable: tuple[FileSeen, ...] = ()  # their beginning could be read, and bytes further on could not
    known: tuple[Published, ...] = ()  # every digest of what is here, published or computed: only where a list of files is to be written


@record
class Request:
    """One file that the installed client asked for in its own way."""

    path: str
    outcome: Literal["fetched", "refused", "failed"]  # refused: by an answer of HTTP
    stage: Literal["metadata", "bytes"] = "metadata"  # how far it came
    host: str = ""  # that the bytes came from
    bytes: int = 0
    status: int = 0
    errors: tuple[str, ...] = ()  # "type: message", and what caused it
    seconds: float = 0.0


@record
class ClientTrial:
    """The installed client itself, tried in a child process."""

    client: ClientUse
    import_seconds: float = 0.0
    requests: tuple[Request, ...] = ()


@record
class Host:
    host: str
    port: int
    needed_for: str
    reached: bool
    direction: Literal["out"] = "out"  # a download opens every connection itself
    protocol: Literal["tcp"] = "tcp"
    through: str = ""  # the proxy, host:port
    state: HostState = "not-tried"
    how: str = ""  # what stood in the way, for whoever runs the firewall or the proxy
    addresses: tuple[str, ...] = ()  # that were tried, where the host itself was spoken to
    source: str = ""  # this machine's address on that connection, as it sees it (before any NAT)


@record
class Timing:
    """How long a probe took, and whether it ended."""

    probe: str
    seconds: float
    ended: bool = True
    waiting_for: str = ""


@record
class Explanation:
    """What a pasted error can mean: one cause, and how sure one may be of it from the text alone. Probes decide, where they can."""

    cause: str  # an id of causes.md
    confidence: float  # 0 … 1; those of one text together are at most 1
    evidence: tuple[Evidence, ...]  # what in the text speaks for it
    look: str = ""  # what to look at to be sure
    subjects: tuple[Subject, ...] = ()  # what the text names: host, path, package, tensor, …
    signature: str = ""  # which entry of facts/signatures recognised it


@record
class Clues:
    """A pasted error beside what the probes saw."""

    explanations: tuple[Explanation, ...] = ()  # best first; empty where nothing in it is known to be wrong
    decided: bool = False  # a code or a sentence that means something, and not one that many failures print
    here: bool | Unseen = ABSENT  # whether it came from this very machine: a path of its traceback lies here, or does not; absent where it names none
    guessed: str = ""  # the SPEC that was taken from the text, because none was given


@record
class Trial:
    """The load as the user would do it, tried in a child process, and how it ended."""

    what: str  # "BertModel and its tokenizer", a command
    way: Literal["transformers", "sentence-transformers", "diffusers", "peft", "files", "command"]
    python: str = ""  # of the load; "" for a command
    outcome: Literal["loaded", "raised", "failed", "killed", "crashed", "hung", "not_started"]
    step: str = ""  # what it was about when it ended: "import transformers", "model BertModel"
    error: str = ""  # the class of the exception
    message: str = ""
    first_error: str = ""  # "class: text" of the first of its chain, where that is another
    traceback: tuple[str, ...] = ()  # the last lines
    frames: tuple[str, ...] = ()  # where a hung or crashed Python was, innermost first
    exit_status: int | Unseen = ABSENT
    signal: int = 0
    killer: Literal["", "limit", "above", "host", "watch", "dry"] = (
        ""  # the kernel at our own limit, at one above, on the host; we ourselves at the limit, or as the machine ran dry
    )
    memory_limit_bytes: int = 0
    memory_limit_source: str = ""  # what the limit follows from: "host", "cgroup v2 /a memory.max", "--diagnose-load-memory"
    bounded_by: Literal["control group", "watching"] = "watching"
    peak_bytes: int = 0
    seconds: float = 0.0
    limit_seconds: float = 0.0
    network: Literal["off", "on", "as it is"] = "off"
    network_why: str = ""
    output: tuple[str, ...] = ()  # the last lines that it printed
    output_bytes: int = 0
    left_running: int = 0  # processes that it left behind; they were ended
    missing: tuple[str, ...] = ()  # tensors that were not in the files and got random numbers: the first ones
    missing_count: int = 0
    mismatched: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()  # tensors of the files that the model has no place for
    unused_count: int = 0
    not_a_number: tuple[str, ...] = ()  # parameters with NaN in them
    without_numbers: tuple[str, ...] = ()  # parameters left on the meta device
    clues: Clues | Unseen = NOT_ASKED  # what its exception can mean, from the text


@record
class Case:
    """Everything the probes saw, when, and how long it took."""

    schema: int = SCHEMA
    started: str = ""  # ISO 8601, UTC
    seconds: float = 0.0
    budget_seconds: float = 30.0
    target: Target = field(default_factory=lambda: Target(spec="", kind="none"))
    environment: Environment = field(default_factory=Environment)
    resolvers: tuple[str, ...] | Unseen = NOT_ASKED  # configured name servers, in order
    journeys: tuple[Journey, ...] | Unseen = NOT_ASKED
    listing: Listing | Unseen = NOT_ASKED
    disks: tuple[Disk, ...] | Unseen = NOT_ASKED
    memory: Memory | Unseen = NOT_ASKED
    limits: Limits | Unseen = NOT_ASKED
    cache_state: CacheState | Unseen = NOT_ASKED
    accelerators: Accelerators | Unseen = NOT_ASKED
    packages: Packages | Unseen = NOT_ASKED
    files: Files | Unseen = NOT_ASKED
    model: Model | Unseen = NOT_ASKED
    digests: Digests | Unseen = NOT_ASKED
    timings: tuple[Timing, ...] = ()
    client_trial: ClientTrial | Unseen = NOT_ASKED
    clues: Clues | Unseen = NOT_ASKED
    trial: Trial | Unseen = NO_TRIAL
    pace: Pace | Unseen = NOT_ASKED
    saved_authority: SavedAuthority | Unseen = NOT_ASKED  # --diagnose-save-ca

    @property
    def legs(self) -> tuple[Leg, ...]:
        """Every leg of every journey, in order."""
        return tuple(leg for journey in self.journeys or () for leg in journey.legs)

    @property
    def here(self) -> tuple[Files, ...]:
        """What is here of the target, empty where nobody looked (a check that can do without must not be skipped for it)."""
        return (self.files,) if isinstance(self.files, Files) else ()


# --- judging ----------------------------------------------------------------------------------------------------------------


@record
class Subject:
    kind: str  # host, proxy, variable, file, folder, package, resolver, machine, repository, url
    name: str


@record
class Evidence:
    subject: Subject
    fact: str
    seen: str
    expected: str = ""


@record
class Fault:
    """Something a check found unhealthy. ``step`` is where, ``code`` what; the catalogue says why."""

    check: str  # "tls/certificates-are-trusted"
    step: str  # setting, resolution, connection, tunnel, handshake, response, body, disk, memory, packages, files, digests
    code: str
    subject: Subject
    evidence: tuple[Evidence, ...] = ()
    journey: str = ""  # for a leg's fault: Journey.name and index of the leg
    leg: int = -1
    severity: Severity = "error"


@record
class Finding:
    """A cause recognised in this Case."""

    cause: str
    subjects: tuple[Subject, ...]
    claims: tuple[Fault, ...]
    evidence: tuple[Evidence, ...] = ()
    severity: Severity | Unseen = ABSENT  # where it differs from the cause's own
    facts: dict[str, str] = field(default_factory=dict)  # for the remedies' text
    ruled_out: tuple[str, ...] = ()


@record
class Remedy:
    do: str
    run: str = ""  # to paste; quoted for the shell
    check: str = ""  # a command that shows that it worked
    proof: Literal["seen", "untried"] = "untried"
    follows: bool = False  # a step after the one before it, not another way


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One entry of the catalogue. ``recognise`` and ``remedies`` are pure."""

    id: str
    owner: tuple[Owner, ...]
    title: str
    why: str
    recognise: Callable[[Case, tuple[Fault, ...]], list[Finding]]
    remedies: Callable[[Finding, Case], list[Remedy]]
    severity: Severity = "error"
    lab: str | Unseen = ABSENT  # the lab fault that provokes it; Unseen.detail says why there is none


@record
class Diagnosis:
    """A root, and what follows from it."""

    cause: str
    severity: Severity
    owner: tuple[Owner, ...]
    title: str
    why: str
    subjects: tuple[Subject, ...]
    evidence: tuple[Evidence, ...]
    remedies: tuple[Remedy, ...]
    ruled_out: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    claims: tuple[Fault, ...] = ()
    waived: str = ""  # the waiver's reason
    expired: str = ""  # of a waiver that is over


@record
class CheckResult:
    check: str
    question: str
    outcome: Outcome
    blocked_by: str | Unseen = ABSENT
    reason: str = ""
    seconds: float = 0.0
    faults: tuple[Fault, ...] = ()


@record
class Judgement:
    diagnoses: tuple[Diagnosis, ...]
    results: tuple[CheckResult, ...]
    verdict: Verdict


# --- putting right ----------------------------------------------------------------------------------------------------------


@record
class Repair:
    """One thing to be put right: what is wrong with it, how, and from where. A plan; nothing has been done yet."""

    kind: Literal["missing", "cut", "corrupt", "misplaced", "stale"]
    path: str  # in the target; of what the cache keeps beside the files, in the cache
    location: str  # on disk, home as ~
    why: str
    how: Literal["fetch", "continue", "copy", "trim", "link", "write", "remove"]
    source: str = ""  # where the content comes from, for reading
    bytes: int | Unseen = 0  # to be fetched over the network
    size: int | Unseen = ABSENT  # of the whole file
    digest: Published | Unseen = ABSENT
    blob: str = ""  # its name in the hub's cache
    good_bytes: int = 0  # from its beginning on, of what lies here, that may be kept
    partial: str = ""  # where a download of it was left
    copy: str = ""  # a second copy that is as published
    cause: str = ""  # the diagnosis that it answers, "" where none does


@record
class Repaired:
    """What came of it."""

    repair: Repair
    outcome: Literal["repaired", "not_needed", "refused", "failed"]
    reason: str = ""
    fetched_bytes: int = 0
    by: str = ""  # who fetched it: "huggingface_hub 2.4.0", "pytest-diagnostics"
    kept: str = ""  # where what was replaced lies now
    seconds: float = 0.0


@record
class Repairs:
    """A repair between two looks: the report's judgement is that of the second."""

    before: Judgement
    done: tuple[Repaired, ...] = ()
    cannot: str = ""  # what stands in the way of all that is not done


@record
class Report:
    """What the renderers get; ``render/json.py`` gives it its public shape."""

    version: str
    case: Case
    judgement: Judgement
    hosts: tuple[Host, ...] = ()
    interrupted: str = ""  # what ended the run early
    waited_for: str = ""  # then
    repairs: Repairs | Unseen = NOT_ASKED
    extra: dict[str, Any] = field(default_factory=dict)
