"""Bytes that stop, are cut, are others than were published, or come too slowly."""

from __future__ import annotations

import gzip

from diagnostics.lab import hub as hubs
from diagnostics.lab.http import App, Reply, Request, corrupted, file
from diagnostics.lab.model import ModelFile
from diagnostics.lab.proxy import Policy
from diagnostics.lab.stage import Namespace, Stage
from diagnostics.lab.worlds import world
from diagnostics.lab.worlds.healthy import behind_proxy, put_up_hub

WEIGHTS = "model.safetensors"
HUGE_BYTES = 5_000_000_000


def spoiled_bytes(stage: Stage, **changes: object) -> None:
    """A hub whose CDN sends the bytes in another way."""
    cdn = hubs.spoiled(hubs.cdn(hubs.tiny()), lambda request: request.method == "GET", lambda reply: reply.but(**changes))
    put_up_hub(stage, cdn=cdn)


def _weights() -> ModelFile:
    found = hubs.tiny().file(WEIGHTS)
    assert found is not None
    return found


def by_url(stage: Stage, reply: Reply, digest: bool = True) -> None:
    """The weights from a URL, answered in this way."""
    base = stage.web("files.example", lambda request: reply)
    stage.spec = f"{base}/tiny/{WEIGHTS}" + (f"#sha256={_weights().sha256}" if digest else "")


def plain_file() -> Reply:
    return file(_weights().data, _weights().sha256)


# --- download-truncated -------------------------------------------------------------------------------------------------------


@world("download-truncated")
def download_truncated(stage: Stage) -> None:
    """The host of the bytes closes before the end."""
    spoiled_bytes(stage, cut_after=3000)


@world("download-truncated-reset", cause="download-truncated")
def download_truncated_reset(stage: Stage) -> None:
    """The connection is reset in the middle of the bytes."""
    spoiled_bytes(stage, cut_after=3000, cut_by_reset=True)


@world("download-truncated-at-once", cause="download-truncated")
def download_truncated_at_once(stage: Stage) -> None:
    """The header comes and then the end."""
    spoiled_bytes(stage, cut_after=0)


@world("download-truncated-claimed", cause="download-truncated")
def download_truncated_claimed(stage: Stage) -> None:
    """A Content-Length larger than what is ever sent."""
    size = len(_weights().data)
    spoiled_bytes(stage, claimed=size + 1000)


@world("download-truncated-chunked", cause="download-truncated")
def download_truncated_chunked(stage: Stage) -> None:
    """A chunked body that ends without its last chunk."""
    by_url(stage, plain_file().but(chunked=True, cut_after=3000))


@world("download-truncated-garbage", cause="http-invalid-response", twin="healthy-url")
def download_truncated_garbage(stage: Stage) -> None:
    """A chunked body in which something stands that is no chunk."""
    by_url(stage, plain_file().but(chunked=True, garbage_after=3000))


@world("download-truncated-short", cause="download-truncated")
def download_truncated_short(stage: Stage) -> None:
    """The whole answer is in order, and the file is shorter than the hub's list says: the host has half a file."""
    half = _weights().data[: len(_weights().data) // 2]
    cdn = hubs.spoiled(hubs.cdn(hubs.tiny()), hubs.always, lambda reply: reply.but(body=half))
    put_up_hub(stage, cdn=cdn)


@world("download-truncated-tls", needs="namespace", cause="download-truncated", twin="healthy-internet")
def download_truncated_tls(stage: Namespace) -> None:
    """TLS ends without its own farewell in the middle of the bytes."""
    spoiled_bytes(stage, cut_after=3000)


@world("download-truncated-tls-reset", needs="namespace", cause="download-truncated", twin="healthy-internet")
def download_truncated_tls_reset(stage: Namespace) -> None:
    """TLS, and a reset in the middle of the bytes."""
    spoiled_bytes(stage, cut_after=3000, cut_by_reset=True)


@world("download-truncated-by-proxy", needs="namespace", cause="download-truncated", twin="healthy-proxy")
def download_truncated_by_proxy(stage: Namespace) -> None:
    """Through a proxy, and cut."""
    spoiled_bytes(stage, cut_after=3000)
    behind_proxy(stage, Policy())


@world("download-truncated-config", cause="download-truncated")
def download_truncated_config(stage: Stage) -> None:
    """The small file is cut: what the hub serves itself."""
    hub = hubs.spoiled(hubs.hub(hubs.tiny(), tree=False), hubs.of_file("config.json"), lambda reply: reply.but(cut_after=20))
    base = stage.web("mirror.example", hub)
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME


# --- download-stalled ---------------------------------------------------------------------------------------------------------


@world("download-stalled")
def download_stalled(stage: Stage) -> None:
    """The bytes stop coming and the connection stays open."""
    spoiled_bytes(stage, stall_after=3000)


@world("download-stalled-at-once", cause="download-stalled")
def download_stalled_at_once(stage: Stage) -> None:
    """A header, and then not one byte: an inspecting proxy that fetches the whole file first."""
    spoiled_bytes(stage, stall_after=0)


@world("download-stalled-chunked", cause="download-stalled", twin="healthy-url")
def download_stalled_chunked(stage: Stage) -> None:
    """A chunked body, from a URL, that stops."""
    by_url(stage, plain_file().but(chunked=True, stall_after=3000))


@world("download-stalled-by-proxy", needs="namespace", cause="download-stalled", twin="healthy-proxy")
def download_stalled_by_proxy(stage: Namespace) -> None:
    """Through a proxy, and stopped."""
    spoiled_bytes(stage, stall_after=3000)
    behind_proxy(stage, Policy())


@world("healthy-download-pauses", cause="")
def healthy_download_pauses(stage: Stage) -> None:
    """The first byte takes four seconds: a host that has to fetch from its own store."""
    cdn = hubs.spoiled(hubs.cdn(hubs.tiny()), lambda request: request.method == "GET", lambda reply: reply.but(wait_seconds=4.0))
    put_up_hub(stage, cdn=cdn)


@world("healthy-download-inspected", cause="")
def healthy_download_inspected(stage: Stage) -> None:
    """The header at once and the bytes only after five seconds of silence: a proxy that looks at the whole file first, and lets it through."""
    weights = _weights()

    def trickle(request: Request) -> Reply:
        return file(weights.data, weights.sha256).but(pause_after=0, pause_seconds=5.0)

    base = stage.web("files.example", trickle)
    stage.spec = f"{base}/{WEIGHTS}#sha256={weights.sha256}"


# --- download-slow ------------------------------------------------------------------------------------------------------------


@world("download-slow", severity="warning")
def download_slow(stage: Stage) -> None:
    """Twenty kilobytes a second, and five gigabytes to come."""
    slow_link(stage, 20_000)


@world("healthy-download-modest", cause="")
def healthy_download_modest(stage: Stage) -> None:
    """Four megabytes a second for the same five gigabytes: twenty minutes."""
    slow_link(stage, 4_000_000)


@world("healthy-download-slow-and-small", cause="")
def healthy_download_slow_and_small(stage: Stage) -> None:
    """Twenty kilobytes a second, and little to come."""
    spoiled_bytes(stage, bytes_per_second=20_000)


@world("download-slow-each-connection", cause="download-slow", severity="warning")
def download_slow_each_connection(stage: Stage) -> None:
    """A quarter of a megabyte a second for each connection, as many as there are: five hours on one."""
    slow_link(stage, 250_000, part_bytes_per_second=250_000)


@world("download-slow-all-together", cause="download-slow", severity="warning")
def download_slow_all_together(stage: Stage) -> None:
    """The same rate, and it is the link's: four connections get a quarter each."""
    slow_link(stage, 250_000, part_bytes_per_second=62_500)


@world("download-slow-one-only", cause="download-slow", severity="warning")
def download_slow_one_only(stage: Stage) -> None:
    """A host that lets each address have one connection: a second one is refused (429)."""
    slow_link(stage, 250_000, part_status=429)


def slow_link(stage: Stage, bytes_per_second: int, part_bytes_per_second: int = 0, part_status: int = 206) -> None:
    """A large file that comes at this rate: zeros, of which nobody waits for the end. In parts as well, where ``part_…`` says how."""
    head = _weights().data
    stream = Reply(
        headers=(("Content-Type", "application/octet-stream"), ("ETag", f'"{_weights().sha256}"')),
        body=head + bytes(16_000_000),
        claimed=HUGE_BYTES,
        bytes_per_second=bytes_per_second,
        ranges=False,
    )
    part = Reply(
        status=part_status,
        headers=(("Content-Type", "application/octet-stream"), ("Content-Range", f"bytes 1-4000000/{HUGE_BYTES}")),
        body=bytes(4_000_000) if part_status == 206 else b"",
        bytes_per_second=part_bytes_per_second,
    )
    by_parts = part_bytes_per_second or part_status != 206

    def cdn(request: Request) -> Reply:
        whole = hubs.cdn(hubs.tiny())(request)
        if request.method != "GET" or (not by_parts and "range" in request.headers):
            return whole
        if "range" not in request.headers:
            return stream
        return part.but(body=part.body[:512], status=206) if request.headers["range"] == "bytes=1-512" else part

    hub = hubs.hub(hubs.tiny(), cdn=stage.web("cdn-lfs.hf.co", cdn))
    base = stage.web("huggingface.co", _listing_claims(hub))
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME


def _listing_claims(hub: App) -> App:
    """The hub's list with the size of the weights as a large model has it."""
    size = str(len(_weights().data)).encode()
    huge = str(HUGE_BYTES).encode()
    return hubs.spoiled(hub, lambda request: "/tree/" in request.path, lambda reply: reply.but(body=reply.body.replace(b'"size": ' + size, b'"size": ' + huge)))


# --- remote-checksum-mismatch -------------------------------------------------------------------------------------------------


@world("remote-checksum-mismatch")
def remote_checksum_mismatch(stage: Stage) -> None:
    """As many bytes as were published, one of them another."""
    cdn = hubs.spoiled(hubs.cdn(hubs.tiny()), hubs.always, lambda reply: reply.but(body=corrupted(reply.body)))
    put_up_hub(stage, cdn=cdn)


@world("remote-checksum-mismatch-url", cause="remote-checksum-mismatch", twin="healthy-url")
def remote_checksum_mismatch_url(stage: Stage) -> None:
    """A URL with a digest, and other bytes behind it."""
    by_url(stage, file(corrupted(_weights().data), "x"))


@world("remote-checksum-mismatch-small", cause="remote-checksum-mismatch")
def remote_checksum_mismatch_small(stage: Stage) -> None:
    """config.json comes with one byte changed: git's digest tells."""
    put_up_hub(stage, hub=None)
    hub = hubs.spoiled(hubs.hub(hubs.tiny()), hubs.of_file("config.json"), lambda reply: reply.but(body=corrupted(reply.body)))
    stage.variables["HF_ENDPOINT"] = stage.web("mirror.example", hub)


@world("remote-checksum-mismatch-by-proxy", needs="namespace", cause="remote-checksum-mismatch", twin="healthy-proxy")
def remote_checksum_mismatch_by_proxy(stage: Namespace) -> None:
    """Through a proxy, and one byte another."""
    cdn = hubs.spoiled(hubs.cdn(hubs.tiny()), hubs.always, lambda reply: reply.but(body=corrupted(reply.body)))
    put_up_hub(stage, cdn=cdn)
    behind_proxy(stage, Policy())


# --- encodings and lengths ----------------------------------------------------------------------------------------------------


@world("healthy-gzip", cause="", twin="healthy-url")
def healthy_gzip(stage: Stage) -> None:
    """A server that compresses whether asked to or not, and says so: every client unpacks that."""
    packed = gzip.compress(_weights().data, mtime=0)
    by_url(stage, file(packed, "x", headers=(("Content-Encoding", "gzip"),)).but(ranges=False))


@world("healthy-chunked", cause="")
def healthy_chunked(stage: Stage) -> None:
    """A chunked answer without a length."""
    by_url(stage, plain_file().but(chunked=True))


@world("healthy-until-close", cause="")
def healthy_until_close(stage: Stage) -> None:
    """HTTP/1.0: no length, the end of the connection is the end of the file."""
    head = b"HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"
    by_url(stage, Reply(raw=head + _weights().data))


@world("download-gzip-damaged", cause="http-invalid-response", twin="healthy-gzip")
def download_gzip_damaged(stage: Stage) -> None:
    """An answer that says it is gzip and is not: every client ends with a decoding error."""
    by_url(stage, file(_weights().data, "x", headers=(("Content-Encoding", "gzip"),)).but(ranges=False))


@world("remote-checksum-mismatch-length", cause="remote-checksum-mismatch", twin="healthy-url")
def remote_checksum_mismatch_length(stage: Stage) -> None:
    """A Content-Length smaller than the file: clients stop there, and only the digest can tell."""
    by_url(stage, plain_file().but(claimed=len(_weights().data) - 1000, ranges=False))
