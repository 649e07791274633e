"""The downloader against servers of the lab that cut, stall, reset and lie: what ends under the final name is right, or nothing does."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diagnostics import environment
from diagnostics.case import ABSENT, Published
from diagnostics.lab import http, tcp
from diagnostics.lab.http import App, Reply, Request
from diagnostics.redact import Secrets
from diagnostics.transfer import Access, Limits, Outcome, Wanted, fetch, fill
from diagnostics.transfer.part import Part, take
from diagnostics.transfer.place import Place
from diagnostics.transfer.progress import Lines
from tests.functional.runs import why_no_namespace

MIB = 1 << 20
DATA = random.Random(5).randbytes(5 * MIB + 77)
SIGNED = "/file?X-Amz-Signature=c0ffeec0ffee"
LIMITS = Limits(first_wait_seconds=0.01, stall_seconds=1.0, connect_seconds=2.0, segment_bytes=MIB, streams=1)
KILLS = int(os.environ.get("TRANSFER_KILLS", "12"))  # TRANSFER_KILLS=100 is the full form


class Site:
    """A server of one application, and what it was asked."""

    def __init__(self, app: App) -> None:
        self.app, self.visits, self.sent = app, list[Request](), 0
        self._server = tcp.Server(self._talk)
        self.url = f"http://{self._server.authority}"

    def _talk(self, sock: socket.socket) -> None:
        http.serving(lambda request: self.app(request), self.visits)(_Counted(sock, self))  # type: ignore[arg-type]

    def close(self) -> None:
        self._server.close()

    @property
    def ranges(self) -> list[str]:
        return [visit.headers.get("range", "") for visit in self.visits]


class _Counted:
    """A socket that counts what is sent."""

    def __init__(self, sock: socket.socket, site: Site) -> None:
        self._sock, self._site = sock, site

    def sendall(self, data: bytes) -> None:
        self._sock.sendall(data)
        self._site.sent += len(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)


@contextlib.contextmanager
def site(app: App | Reply) -> Iterator[Site]:
    made = Site(app if callable(app) else lambda request: app)
    try:
        yield made
    finally:
        made.close()


def sha256(data: bytes) -> Published:
    return Published(path="f", value=hashlib.sha256(data).hexdigest(), source="test")


def wanted(site_: Site, data: bytes | None = DATA, name: str = "f.bin") -> Wanted:
    """With its size and digest published, or without anything."""
    bare = Wanted(name=name, url=site_.url + SIGNED)
    return bare if data is None else dataclasses.replace(bare, size=len(data), digest=sha256(data))


def one(item: Wanted, into: Path, limits: Limits = LIMITS, access: Access | None = None) -> Outcome:
    return fetch([item], into, access=access or Access(), limits=limits)[0]


def reason(outcome: Outcome) -> str:
    assert outcome.outcome == "failed" and outcome.failure
    return outcome.failure.reason


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


good = http.file(DATA, "tag-one")


def misbehaving(replies: list[Reply], then: Reply = good) -> App:
    """These replies one after another, then ``then``."""
    left, lock = list(replies), threading.Lock()

    def app(request: Request) -> Reply:
        with lock:
            return left.pop(0) if left else then

    return app


# --- what is fetched, and what is not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("published", [True, False], ids=["published", "bare"])
def test_a_file_is_fetched_once(tmp_path: Path, published: bool) -> None:
    """The second call finds it here: by its digest without asking at all, else by the answer's length."""
    with site(good) as server:
        item = wanted(server, DATA if published else None, "sub/folder/f.bin")
        first, second = one(item, tmp_path), one(item, tmp_path)
    assert (first.outcome, second.outcome) == ("fetched", "already_here")
    assert (tmp_path / "sub/folder/f.bin").read_bytes() == DATA and names(tmp_path / "sub/folder") == ["f.bin"]
    assert first.bytes_fetched == len(DATA) and second.bytes_fetched == 0
    assert first.verified == second.verified == ("digest" if published else "structure")
    assert len(server.visits) == (1 if published else 2)
    assert server.visits[0].headers["accept-encoding"] == "identity" and "range" not in server.visits[0].headers


def test_what_is_wrong_here_is_replaced_and_kept(tmp_path: Path) -> None:
    """Same length, one bit: only the digest tells. The wrong bytes stay beside."""
    (tmp_path / "f.bin").write_bytes(http.corrupted(DATA))
    with site(good) as server:
        outcome = one(wanted(server), tmp_path)
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA
    assert Path(outcome.replaced).read_bytes() == http.corrupted(DATA) and ".corrupt-" in outcome.replaced
    assert any("was not what was published" in note for note in outcome.notes)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    """Of no bytes, published or not; git has a name for it."""
    digest = Published(path="f", algorithm="git-sha1", value="e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", source="test")
    with site(http.file(b"", "empty")) as server:
        known = one(Wanted(name="a", url=server.url, size=0, digest=digest), tmp_path)
        bare = one(Wanted(name="b", url=server.url), tmp_path)
    assert (known.outcome, bare.outcome) == ("fetched", "fetched") and (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == b""


def test_many_files_share_connections(tmp_path: Path) -> None:
    """Forty small files over as many connections as there are threads."""
    with site(http.file(b"x" * 1000, "x")) as server:
        items = [Wanted(name=f"{number}", url=f"{server.url}/{number}") for number in range(40)]
        outcomes = fetch(items, tmp_path, access=Access(), limits=dataclasses.replace(LIMITS, streams=3))
        accepted = server._server.accepted
    assert [outcome.outcome for outcome in outcomes] == ["fetched"] * 40 and [outcome.name for outcome in outcomes] == [item.name for item in items]
    assert accepted <= 3 and len(server.visits) == 40


# --- cut, stalled, reset ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoilt",
    [good.but(cut_after=3 * MIB), good.but(cut_after=3 * MIB, cut_by_reset=True), good.but(stall_after=3 * MIB), good.but(claimed=len(DATA), cut_after=MIB)],
    ids=["cut", "reset", "stalled", "short"],
)
def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path, spoilt: Reply) -> None:
    """With a Range from the last good byte and If-Range; nothing that came before is asked for again."""
    with site(misbehaving([spoilt])) as server:
        outcome = one(wanted(server), tmp_path)
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA and outcome.retries == 1
    again = server.visits[1].headers
    start = int(re.fullmatch(rf"bytes=(\d+)-{len(DATA) - 1}", again["range"])[1])  # type: ignore[index]
    assert again["if-range"] == '"tag-one"' and (spoilt.cut_by_reset or start >= (spoilt.cut_after or spoilt.stall_after or 0) - MIB)
    assert outcome.bytes_fetched < len(DATA) + 2 * MIB


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(tmp_path: Path, status: int) -> None:
    """And when it passes, the file is here."""
    with site(misbehaving([http.text("not now", status)])) as server:
        assert one(wanted(server), tmp_path).outcome == "fetched" and len(server.visits) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_what_will_not_pass_is_asked_once(tmp_path: Path, status: int) -> None:
    """The status is in the failure, and nothing is left in the folder."""
    with site(http.text("no", status)) as server:
        outcome = one(wanted(server), tmp_path)
    assert reason(outcome) == "status" and outcome.failure and outcome.failure.status == status and len(server.visits) == 1
    assert names(tmp_path) == []


def test_a_server_that_never_recovers_is_given_up(tmp_path: Path) -> None:
    """After the retries, with the last status."""
    with site(http.text("no", 500)) as server:
        assert reason(one(wanted(server), tmp_path)) == "status" and len(server.visits) == LIMITS.retries + 1


def test_retry_after_is_waited_for_and_bounded(tmp_path: Path) -> None:
    """A second is waited; an hour is not: the failure says that it was asked for."""
    with site(misbehaving([http.text("busy", 503, headers=(("Retry-After", "1"),))])) as server:
        started = time.monotonic()
        assert one(wanted(server), tmp_path).outcome == "fetched" and time.monotonic() - started >= 1
    with site(http.text("busy", 429, headers=(("Retry-After", "3600"),))) as server:
        outcome = one(wanted(server), tmp_path / "other")
        assert reason(outcome) == "status" and outcome.failure and outcome.failure.wait_seconds == 3600 and len(server.visits) == 1


def test_nobody_there_and_no_such_name(tmp_path: Path) -> None:
    """A refused connection is tried once more, a name that does not exist is not."""
    with tcp.refused_port() as port:
        refused = one(Wanted(name="f", url=f"http://127.0.0.1:{port}/f"), tmp_path)
    unknown = one(Wanted(name="f", url="http://no-such-host.invalid/f"), tmp_path)
    assert reason(refused) == "connection" and refused.retries == 1
    assert reason(unknown) == "name" and unknown.retries == 0


# --- resuming in another call -------------------------------------------------------------------------------------------------


def left_unfinished(server: Site, into: Path, item: Wanted, first: Reply = good, bytes_here: int = 3 * MIB) -> None:
    """A call that got no further."""
    before, server.app = server.app, lambda request: first.but(cut_after=bytes_here)
    outcome = one(item, into, dataclasses.replace(LIMITS, retries=0))
    server.app = before
    assert reason(outcome) == "cut" and names(into) == [".f.bin.part-journal", "f.bin.diagnostics-part"]
    server.visits.clear()


@pytest.mark.parametrize("published", [True, False], ids=["published", "bare"])
def test_the_next_call_goes_on(tmp_path: Path, published: bool) -> None:
    """From the journal; nothing is left beside the file."""
    with site(good) as server:
        item = wanted(server, DATA if published else None)
        left_unfinished(server, tmp_path, item)
        journal = (tmp_path / ".f.bin.part-journal").read_bytes()
        outcome = one(item, tmp_path)
    assert outcome.outcome == "continued" and (tmp_path / "f.bin").read_bytes() == DATA and names(tmp_path) == ["f.bin"]
    assert outcome.bytes_fetched == len(DATA) - 3 * MIB and server.visits[0].headers["if-range"] == '"tag-one"'
    assert b"c0ffee" not in journal and b"127.0.0.1" not in journal


def test_another_file_by_then_is_begun_anew(tmp_path: Path) -> None:
    """The tag changed: the old bytes count no more, and no byte of them is in the file."""
    other = random.Random(9).randbytes(4 * MIB)
    with site(http.file(other, "tag-two")) as server:
        item = wanted(server, None)
        left_unfinished(server, tmp_path, item)
        outcome = one(item, tmp_path)
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == other
    assert any("begun anew" in note for note in outcome.notes)


def test_a_server_without_ranges_sends_it_all_again(tmp_path: Path) -> None:
    """A 200 where a part was asked for: what is here is read past."""
    with site(good.but(ranges=False)) as server:
        left_unfinished(server, tmp_path, wanted(server))
        outcome = one(wanted(server), tmp_path)
    assert outcome.outcome == "continued" and (tmp_path / "f.bin").read_bytes() == DATA and len(server.visits) == 1


def test_a_tag_of_another_server_of_the_same_name_does_not_cost_what_is_here(tmp_path: Path) -> None:
    """The published digest decides: it is asked again without If-Range."""
    with site(http.file(DATA, "tag-of-another-node")) as server:
        left_unfinished(server, tmp_path, wanted(server))
        outcome = one(wanted(server), tmp_path)
    assert outcome.outcome == "continued" and (tmp_path / "f.bin").read_bytes() == DATA and len(server.visits) == 2
    assert outcome.bytes_fetched < len(DATA)


def test_a_file_that_became_shorter_answers_416(tmp_path: Path) -> None:
    """It is begun anew."""
    short = DATA[: 2 * MIB]
    with site(http.file(short, "tag-one")) as server:
        item = wanted(server, None)
        left_unfinished(server, tmp_path, item)
        assert one(item, tmp_path).outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == short


def test_without_anything_to_prove_it_by_nothing_is_gone_on_with(tmp_path: Path) -> None:
    """No tag, no date, no digest: from the beginning, whole."""
    bare = http.file(DATA)
    with site(misbehaving([bare.but(cut_after=3 * MIB)], bare)) as server:
        assert one(wanted(server, None), tmp_path).outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA
        assert server.ranges == ["", ""]


def test_a_file_that_changes_between_two_segments_is_never_mixed(tmp_path: Path) -> None:
    """The second connection meets another version: the file is of one version, the whole of it."""
    old, new = random.Random(1).randbytes(24 * MIB), random.Random(2).randbytes(24 * MIB)
    limits = dataclasses.replace(LIMITS, streams=4)

    def app(request: Request) -> Reply:
        first = len(server.visits) == 1
        return http.file(old, "old").but(bytes_per_second=8e6) if first else http.file(new, "new")

    with site(app) as server:
        item = wanted(server, None)
        outcome = one(item, tmp_path, limits)
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() in (old, new)
    assert outcome.streams > 1 and any("begun anew" in note for note in outcome.notes)


# --- several connections ------------------------------------------------------------------------------------------------------


def test_a_limited_connection_gets_company(tmp_path: Path) -> None:
    """Each connection is slow: more are opened, and the digest follows pieces that come out of order."""
    data = random.Random(3).randbytes(24 * MIB)
    with site(http.file(data, "x").but(bytes_per_second=5e6)) as server:
        outcome = one(wanted(server, data), tmp_path, dataclasses.replace(LIMITS, streams=4))
    assert outcome.outcome == "fetched" and outcome.verified == "digest" and 1 < outcome.streams <= 4
    assert outcome.bytes_fetched == len(data) and outcome.seconds < len(data) / 5e6


def test_a_host_that_wants_fewer_gets_fewer(tmp_path: Path) -> None:
    """429 to the second connection: the first goes on alone, and the file comes whole."""
    data = random.Random(4).randbytes(12 * MIB)
    slow = http.file(data, "x").but(bytes_per_second=5e6)

    def app(request: Request) -> Reply:
        return slow if not request.headers.get("range") or len(server.visits) > 4 else http.text("one at a time", 429)

    with site(app) as server:
        outcome = one(wanted(server, data), tmp_path, dataclasses.replace(LIMITS, streams=4))
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == data
    assert any(server.ranges[1:]), "others were tried"


# --- lies -----------------------------------------------------------------------------------------------------------------------


def test_a_digest_that_never_matches_is_fetched_twice_and_kept_beside(tmp_path: Path) -> None:
    """The second time past caches; then it is a failure, with what was seen and where the bytes are. Nothing has the final name."""
    with site(http.file(http.corrupted(DATA), "x")) as server:
        outcome = one(wanted(server), tmp_path)
    assert reason(outcome) == "digest-differs" and outcome.failure and outcome.failure.expected == sha256(DATA).value
    assert Path(outcome.failure.kept).read_bytes() == http.corrupted(DATA) and names(tmp_path) == [Path(outcome.failure.kept).name]
    assert [visit.headers.get("cache-control") for visit in server.visits] == [None, "no-cache"]


def test_a_wrong_digest_once_is_put_right(tmp_path: Path) -> None:
    """A cache on the way had it wrong."""
    with site(misbehaving([http.file(http.corrupted(DATA), "x")])) as server:
        assert one(wanted(server), tmp_path).outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA and names(tmp_path) == ["f.bin"]


def test_a_longer_file_is_read_as_far_as_was_published(tmp_path: Path) -> None:
    """The digest of the published part decides; without one another length is a failure before a byte of it."""
    with site(http.file(DATA + b"and more", "x")) as server:
        outcome = one(wanted(server), tmp_path)
        undigested = one(dataclasses.replace(wanted(server), name="g.bin", digest=ABSENT), tmp_path)
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA and any(str(len(DATA) + 8) in note for note in outcome.notes)
    assert reason(undigested) == "size-differs" and undigested.bytes_fetched == 0


def test_a_page_in_place_of_the_file_is_not_taken_for_it(tmp_path: Path) -> None:
    """A portal's page with status 200: by its length where that is published, else by what its bytes are."""
    with site(http.page("Sign in to Hotel Wi-Fi")) as server:
        published, bare = one(wanted(server), tmp_path), one(Wanted(name="model.safetensors", url=server.url), tmp_path)
    assert reason(published) == "size-differs"
    assert reason(bare) == "structure" and bare.failure and "html-instead-of-file" in bare.failure.detail
    assert not (tmp_path / "model.safetensors").exists()


def test_a_portal_in_the_middle_does_not_cost_what_is_here(tmp_path: Path) -> None:
    """It comes and goes; the bytes of before are gone on with."""
    with site(misbehaving([http.page("Sign in")])) as server:
        left_unfinished(server, tmp_path, wanted(server))
        outcome = one(wanted(server), tmp_path)
    assert outcome.outcome == "continued" and outcome.bytes_fetched < len(DATA) - 2 * MIB


def test_a_body_without_an_end_is_bounded(tmp_path: Path) -> None:
    """No length is announced, and it does not stop: the limit is named; nothing has the final name."""
    endless = http.file(b"x" * (8 * MIB)).but(chunked=True)
    with site(endless) as server:
        outcome = one(wanted(server, None), tmp_path, dataclasses.replace(LIMITS, most_unannounced_bytes=2 * MIB))
        assert reason(outcome) == "endless" and server.sent < 8 * MIB
        fine = one(wanted(server, None, "g.bin"), tmp_path)
    assert fine.outcome == "fetched" and not (tmp_path / "f.bin").exists()


def test_a_published_size_bounds_a_body_without_one(tmp_path: Path) -> None:
    """It is read as far as was published, and the digest of that is right."""
    with site(http.file(DATA + b"x" * MIB).but(chunked=True)) as server:
        assert one(wanted(server), tmp_path).outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == DATA


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"]
)
def test_an_answer_that_makes_no_sense_ends_as_a_failure(tmp_path: Path, answer: bytes) -> None:
    """Whatever it is, it is no crash and no file."""
    with site(Reply(raw=answer)) as server:
        assert one(wanted(server), tmp_path, dataclasses.replace(LIMITS, retries=1)).outcome == "failed"
    assert not (tmp_path / "f.bin").exists()


def test_a_part_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    """206 with other bytes than those of the Range."""
    lying = Reply(status=206, headers=(("Content-Range", f"bytes 0-99/{len(DATA)}"), ("ETag", '"tag-one"')), body=DATA[:100])
    with site(lying) as server:
        left_unfinished(server, tmp_path, wanted(server))
        assert reason(one(wanted(server), tmp_path)) == "answer-invalid"
    assert names(tmp_path) == [".f.bin.part-journal", "f.bin.diagnostics-part"], "what was here stays for another day"


def test_what_comes_compressed_is_refused(tmp_path: Path) -> None:
    """identity was asked for; what comes otherwise is not the file."""
    with site(good.with_headers(("Content-Encoding", "br"))) as server:
        assert reason(one(wanted(server), tmp_path)) == "encoded"


# --- redirects and credentials --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/f", "http://169.254.169.254/latest/", "http://[fd00:ec2::254]/", "gopher://127.0.0.1/"]
)
def test_redirects_that_lead_astray_are_refused(tmp_path: Path, location: str) -> None:
    """And nothing of it is written."""
    with site(http.redirect(location)) as server:
        assert reason(one(wanted(server), tmp_path)) == "redirect-refused" and len(server.visits) == 1
    assert names(tmp_path) == []


def test_a_loop_of_redirects_ends(tmp_path: Path) -> None:
    """After ten."""
    with site(http.redirect("/again")) as server:
        assert reason(one(wanted(server), tmp_path)) == "redirect-refused" and len(server.visits) <= 12


def test_credentials_stay_with_their_host(tmp_path: Path) -> None:
    """The hub's token goes to the hub, a login in a URL to its host; the store that a redirect leads to gets neither, and no repr shows a signature."""
    with site(good) as store, site(lambda request: http.redirect(store.url + SIGNED)) as hub:
        access = Access(secrets=Secrets(token="hf_LabTokenLabToken"), endpoint=hub.url)
        item = Wanted(name="f", url=hub.url + "/f")
        login = Wanted(name="g", url=hub.url.replace("http://", "http://me:pass%2Fword@") + "/f")
        outcomes = fetch([item, login], tmp_path, access=access, limits=LIMITS)
    assert [outcome.outcome for outcome in outcomes] == ["fetched", "fetched"]
    assert [visit.headers.get("authorization") for visit in hub.visits] == ["Bearer hf_LabTokenLabToken", "Basic bWU6cGFzcy93b3Jk"]
    assert [visit.headers.get("authorization") for visit in store.visits] == [None, None]
    assert "c0ffee" not in repr((item, outcomes, access)) and "LabToken" not in repr(access)


def test_a_signature_that_ran_out_is_asked_for_anew(tmp_path: Path) -> None:
    """The place of the last redirect is not asked twice in vain: each signature is good for one request, and the address gives another each time."""
    data, used, lock = random.Random(6).randbytes(12 * MIB), set[str](), threading.Lock()

    def store_app(request: Request) -> Reply:
        with lock:
            first = request.target not in used
            used.add(request.target)
        return http.file(data, "x").but(bytes_per_second=5e6) if first else http.text("expired", 403)

    with site(store_app) as store, site(lambda request: http.redirect(f"{store.url}/f?X-Amz-Signature={len(hub.visits):08}")) as hub:
        outcome = one(wanted(hub, data), tmp_path, dataclasses.replace(LIMITS, streams=3))
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").read_bytes() == data and outcome.streams > 1
    assert len(hub.visits) < len(store.visits), "the shortcut was tried"


def test_the_environments_proxy_is_used_and_named(tmp_path: Path) -> None:
    """As the variables say it, and only for hosts that NO_PROXY does not send direct."""
    with site(good) as server:
        through = {"http_proxy": server.url.replace("http://", "http://user:pa%2Fss@")}
        read, secrets = environment.read({**through, "HOME": str(tmp_path)})
        outcome = one(Wanted(name="f", url="http://models.example/f"), tmp_path / "a", access=Access(environment=read, secrets=secrets))
        direct, _ = environment.read({**through, "no_proxy": "127.0.0.1", "HOME": str(tmp_path)})
        one(Wanted(name="f", url=server.url + "/direct"), tmp_path / "b", access=Access(environment=direct, secrets=secrets))
    assert outcome.outcome == "fetched"
    assert [visit.target for visit in server.visits] == ["http://models.example/f", "/direct"]
    assert server.visits[0].headers["proxy-authorization"].startswith("Basic ") and "proxy-authorization" not in server.visits[1].headers


# --- the disk -------------------------------------------------------------------------------------------------------------------


def test_without_room_not_a_byte_is_asked_for(tmp_path: Path) -> None:
    """The size is known: nothing is even requested."""
    with site(good) as server:
        outcome = one(dataclasses.replace(wanted(server), size=1 << 59), tmp_path)
        small = one(wanted(server), tmp_path)
    assert reason(outcome) == "no-space" and outcome.failure and int(outcome.failure.expected) >= 1 << 59 and small.outcome == "fetched"
    assert len(server.visits) == 1


def test_what_does_not_fit_as_a_whole_is_not_begun(tmp_path: Path) -> None:
    """Each would fit alone; nobody waits for the first to find that the second does not. What is here already is still found here."""
    (tmp_path / "here").write_bytes(DATA)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    with site(good) as server:
        items = [dataclasses.replace(wanted(server), name=name, size=size) for name, size in (("a", free * 2 // 3), ("b", free * 2 // 3), ("here", len(DATA)))]
        outcomes = fetch(items, tmp_path, access=Access(), limits=LIMITS)
    assert [reason(outcome) for outcome in outcomes[:2]] == ["no-space"] * 2 and outcomes[2].outcome == "already_here"
    assert not server.visits and names(tmp_path) == ["here"]


def test_a_disk_that_fills_midway_loses_nothing(tmp_path: Path) -> None:
    """The failure is the disk's; with room again the next call goes on."""
    if why := why_no_namespace():
        pytest.skip(why)
    code = (
        "import sys; from pathlib import Path; from diagnostics.transfer import *\n"
        "limits = Limits(spare_bytes=0)\n"
        "first, = fetch([Wanted(name='f', url=sys.argv[1])], Path('small'), access=Access(), limits=limits)\n"
        "assert first.failure.reason == 'no-space' and first.bytes_fetched, first\n"
        "import subprocess; subprocess.run(['mount', '-o', 'remount,size=16m', 'small'], check=True)\n"
        "second, = fetch([Wanted(name='f', url=sys.argv[1])], Path('small'), access=Access(), limits=limits)\n"
        "assert second.outcome == 'continued', second\n"
    )
    (tmp_path / "small").mkdir()
    # Its size is said only to who asks for a part: otherwise the want of room would be seen beforehand.
    replies = [http.file(DATA, "t").but(raw=b'HTTP/1.1 200 OK\r\nETag: "t"\r\nConnection: close\r\n\r\n' + DATA)]
    with site(misbehaving(replies, http.file(DATA, "t"))) as server:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = f'mount -t tmpfs -o size=3m none small && exec {sys.executable} -c "$0" {server.url}/f'
        done = subprocess.run(["unshare", *user, "--mount", "sh", "-c", script, code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_names_and_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    """Nothing is written outside, and nothing is asked for."""
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "link").symlink_to(tmp_path)
    with site(good) as server:
        items = [Wanted(name=name, url=server.url) for name in ("../out", "/tmp/out", "link/out", "a/../../out")]
        outcomes = fetch(items, tmp_path / "into", access=Access(), limits=LIMITS)
    assert [reason(outcome) for outcome in outcomes] == ["name-unsafe"] * 4 and not server.visits
    assert names(tmp_path) == ["into"]


# --- only what is wrong -----------------------------------------------------------------------------------------------------------


def test_only_the_wrong_segments_are_filled(tmp_path: Path) -> None:
    """One mebibyte of five is wrong: that one is fetched, the whole is verified, the old file kept."""
    broken = DATA[:MIB] + bytes(MIB) + DATA[2 * MIB :]
    (tmp_path / "f.bin").write_bytes(broken)
    with site(good) as server:
        outcome = fill(wanted(server), tmp_path, [(MIB, 2 * MIB)], access=Access(), limits=LIMITS)
    assert (tmp_path / "f.bin").read_bytes() == DATA and outcome.verified == "digest" and Path(outcome.replaced).read_bytes() == broken
    assert server.ranges == [f"bytes={MIB}-{2 * MIB - 1}"] and outcome.bytes_fetched == MIB


def test_the_rest_of_a_cut_file_is_filled(tmp_path: Path) -> None:
    """What is here of it is taken for right until the digest says otherwise; then it is fetched whole."""
    (tmp_path / "f.bin").write_bytes(DATA[: 3 * MIB])
    (tmp_path / "g.bin").write_bytes(http.corrupted(DATA[: 3 * MIB]))
    with site(good) as server:
        right = fill(wanted(server), tmp_path, [(3 * MIB, len(DATA))], access=Access(), limits=LIMITS)
        wrong = fill(wanted(server, name="g.bin"), tmp_path, [(3 * MIB, len(DATA))], access=Access(), limits=LIMITS)
    assert right.bytes_fetched == len(DATA) - 3 * MIB and (tmp_path / "f.bin").read_bytes() == DATA
    assert wrong.retries == 1 and (tmp_path / "g.bin").read_bytes() == DATA


# --- processes ----------------------------------------------------------------------------------------------------------------

CHILD = """
import hashlib, sys
from pathlib import Path
from diagnostics.case import Published
from diagnostics.transfer import Access, Limits, Wanted, fetch
url, into, size, digest, count = sys.argv[1:6]
items = [Wanted(name=f"f-{number}", url=f"{url}/{number}", size=int(size), digest=Published(path="f", value=digest, source="x")) for number in range(int(count))]
limits = Limits(first_wait_seconds=0.01, stall_seconds=1.0, segment_bytes=1 << 20, streams=4, retries=50)
outcomes = fetch(items, Path(into), access=Access(), limits=limits)
print([outcome.outcome for outcome in outcomes], [outcome.failure for outcome in outcomes if outcome.failure])
sys.exit(any(outcome.outcome == "failed" for outcome in outcomes))
"""


def child(server: Site, into: Path, data: bytes, count: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, server.url, str(into), str(len(data)), sha256(data).value, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_four_processes_are_one_download_and_four_successes(tmp_path: Path) -> None:
    """The others wait, or take what is not begun yet, and find the rest done."""
    with site(http.file(DATA, "x").but(bytes_per_second=8e6)) as server:
        children = [child(server, tmp_path, DATA, 3) for _ in range(4)]
        said = [process.communicate(timeout=120)[0] for process in children]
    assert [process.returncode for process in children] == [0] * 4, said
    assert sum(text.count("'fetched'") for text in said) == 3 and sum(text.count("'already_here'") for text in said) == 9
    # A connection that is shared ends early, with what is on its way: a piece of the lab's each. Two downloads of one file would be a whole one more.
    assert server.sent < 3.8 * len(DATA) and names(tmp_path) == ["f-0", "f-1", "f-2"]


def test_a_dead_process_holds_no_lock(tmp_path: Path) -> None:
    """Killed with the lock in its hand: the next one goes on at once."""
    with site(http.file(DATA, "x").but(stall_after=2 * MIB)) as server:
        process = child(server, tmp_path, DATA)
        place = Place(tmp_path, "f-0")
        end = time.monotonic() + 60
        while time.monotonic() < end and not (place.seen("f-0.diagnostics-part") and take(place) == "busy"):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        part = take(place)
        assert isinstance(part, Part)
        part.leave()
        place.close()


def test_an_interrupt_leaves_everything_to_be_gone_on_with(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the next run begins where it was."""
    with site(http.file(DATA, "x").but(bytes_per_second=4e6)) as server:
        process = child(server, tmp_path, DATA)
        end = time.monotonic() + 60
        while time.monotonic() < end and server.sent < 2 * MIB:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=60)[0]
        sent = server.sent
        server.app = lambda request: http.file(DATA, "x")
        again = child(server, tmp_path, DATA)
        assert "'continued'" in again.communicate(timeout=60)[0]
        assert server.sent - sent < len(DATA) - MIB


def test_killed_at_any_moment_the_next_run_ends_with_the_right_bytes(tmp_path: Path) -> None:
    """``kill -9`` again and again while the server cuts, stalls, resets and lies; what is fetched again stays below 4 MiB a connection and kill."""
    chance, size = random.Random(int(os.environ.get("TRANSFER_SEED", "7"))), max(12, KILLS) * 4 * MIB
    data = b"".join(chance.randbytes(MIB) for _ in range(size // MIB))
    right = http.file(data, "x").but(bytes_per_second=8e6)
    lies = [
        {"cut_after": 1_700_000},
        {"cut_after": 1_500_000, "cut_by_reset": True},
        {"stall_after": 1_600_000},
        {"dropped": True},
        {"status": 503, "body": b"busy"},
        {"ranges": False, "cut_after": 400_000},
    ]
    calm = [False]

    def app(request: Request) -> Reply:
        if calm[0]:
            return right.but(bytes_per_second=0)
        return right.but(**chance.choice(lies)) if chance.random() < 0.25 else right

    with site(app) as server:
        for _ in range(KILLS):
            process, before = child(server, tmp_path, data), len(server.visits)
            end = time.monotonic() + 60
            while time.monotonic() < end and len(server.visits) == before and process.poll() is None:
                time.sleep(0.01)  # it starts up; then any moment will do
            time.sleep(chance.uniform(0.0, 0.8))
            process.kill()
            process.communicate()
            assert not (tmp_path / "f-0").exists() or (tmp_path / "f-0").read_bytes() == data
        calm[0], before_calm = True, server.sent
        last = child(server, tmp_path, data)
        said = last.communicate(timeout=120)[0]
        assert last.returncode == 0, said
        again = server.sent - size
    assert (tmp_path / "f-0").read_bytes() == data and names(tmp_path) == ["f-0"]
    print(f"{KILLS} kills: {again / MIB:.1f} MiB sent again, of {before_calm / MIB:.1f} MiB sent before the last run")
    assert again < KILLS * 4 * (4 * MIB)
    # What the lab had on its way goes with each connection; whoever begins anew after a kill is sent all of it again.
    assert again < 0.75 * before_calm, "what a killed run brought is there for the next"


# --- what a cold reader provoked ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def raw(talk: Callable[[socket.socket, str], None]) -> Iterator[tuple[str, list[str]]]:
    """A server that writes its own bytes in answer to each request; and these requests."""
    asked: list[str] = []

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            asked.append(sock.recv(65536).decode())
            talk(sock, asked[-1])

    server = tcp.Server(serve)
    try:
        yield f"http://{server.authority}/f.bin", asked
    finally:
        server.close()


def test_a_part_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Browsers name theirs NAME.part too: it is neither begun anew nor removed, whether the file comes or not."""
    (tmp_path / "f.bin.part").write_bytes(b"theirs")
    with site(Reply(status=404)) as gone, site(good) as there:
        assert reason(one(wanted(gone), tmp_path)) == "status"
        assert one(wanted(there), tmp_path).outcome == "fetched"
    assert names(tmp_path) == ["f.bin", "f.bin.part"] and (tmp_path / "f.bin.part").read_bytes() == b"theirs"


def test_what_nothing_can_prove_is_not_begun_again_for_ever(tmp_path: Path) -> None:
    """Cut each time, without a validator: every try gains bytes, and none of them may be kept."""

    def cut(sock: socket.socket, _: str) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)

    with raw(cut) as (url, asked):
        outcome = one(Wanted(name="f.bin", url=url), tmp_path, dataclasses.replace(LIMITS, retries=3, most_wait_seconds=0.02))
    assert reason(outcome) == "cut" and len(asked) <= 6


def test_a_head_without_an_end_is_ended(tmp_path: Path) -> None:
    """100 Continue for ever: http.client would read on as long as it comes."""

    def hundred(sock: socket.socket, _: str) -> None:
        while True:
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.05)

    with raw(hundred) as (url, _):
        assert (
            reason(one(Wanted(name="f.bin", url=url), tmp_path, dataclasses.replace(LIMITS, stall_seconds=0.2, connect_seconds=0.2, retries=0))) == "timed-out"
        )


def test_a_rest_that_is_cut_is_not_the_end_of_the_file(tmp_path: Path) -> None:
    """206 with an unknown total and its own length, which did not all come: it goes on until it has, a piece at a time."""

    def star(sock: socket.socket, request: str) -> None:
        begun = re.search(r"(?i)range: bytes=(\d+)-", request)
        if begun is None:
            sock.sendall(b'HTTP/1.1 200 OK\r\nETag: "a"\r\nTransfer-Encoding: chunked\r\n\r\n' + b"%x\r\n" % 600_000 + b"x" * 600_000 + b"\r\n")
            time.sleep(0.2)
        else:
            start = int(begun[1])
            head = f'HTTP/1.1 206 P\r\nETag: "a"\r\nContent-Range: bytes {start}-999999/*\r\nContent-Length: {1_000_000 - start}\r\n\r\n'
            sock.sendall(head.encode() + b"y" * 100_000)

    with raw(star) as (url, _):
        outcome = one(Wanted(name="f.bin", url=url), tmp_path, dataclasses.replace(LIMITS, most_wait_seconds=0.02))
    assert outcome.outcome == "fetched" and (tmp_path / "f.bin").stat().st_size == 1_000_000


def test_a_redirect_to_no_address_at_all_is_a_failure_of_that_file(tmp_path: Path) -> None:
    """An unclosed bracket, which urllib refuses with a ValueError; the other file still comes."""
    with site(Reply(status=302, headers=(("Location", "http://[x/"),))) as odd, site(good) as there:
        first, second = fetch([wanted(odd), wanted(there, name="g.bin")], tmp_path, access=Access(), limits=LIMITS)
    assert reason(first) == "redirect-refused" and second.outcome == "fetched"


def test_a_progress_that_nobody_reads_ends_nothing(tmp_path: Path) -> None:
    """``fetch … 2>&1 | head``: lines that cannot be written are not written."""

    def broken(text: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    ticks = iter(range(0, 10_000, 60))
    with site(good) as server:
        outcome = fetch([wanted(server)], tmp_path, access=Access(), limits=LIMITS, progress=Lines(broken, lambda: float(next(ticks))))[0]
    assert outcome.outcome == "fetched"
