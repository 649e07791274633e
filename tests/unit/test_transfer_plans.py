"""What a transfer decides without a network: which bytes are missing, who brings them, what an answer means, how long to wait, how many connections are worth it."""

from __future__ import annotations

import email.utils
import hashlib
import itertools
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from diagnostics.case import ABSENT, Published
from diagnostics.redact import Secrets
from diagnostics.transfer import Limits, Outcome, Wanted, failures, journal, meeting
from diagnostics.transfer.governor import Governor
from diagnostics.transfer.hashing import Following, hash_of, matches
from diagnostics.transfer.journal import Identity
from diagnostics.transfer.part import Left, Part, take
from diagnostics.transfer.place import Place, Unsafe
from diagnostics.transfer.progress import Lines
from diagnostics.transfer.ranges import front, halved, joined, missing, shared, total, within, without
from diagnostics.transfer.segments import OPEN, Segments
from diagnostics.transfer.waiting import pause, retry_after
from diagnostics.transfer.wire import redirect_problem

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def bytes_of(ranges: object) -> set[int]:
    return {number for start, end in ranges for number in range(start, end)}  # type: ignore[attr-defined]


# --- sets of bytes ------------------------------------------------------------------------------------------------------------


@given(RANGES)
def test_joined_ranges_are_the_same_bytes_in_order(ranges: list[tuple[int, int]]) -> None:
    """Sorted, disjoint, not even touching."""
    found = joined(ranges)
    assert bytes_of(found) == bytes_of(ranges)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(found))
    assert total(found) == len(bytes_of(ranges))


@given(RANGES, RANGES)
def test_without_takes_away_exactly_what_is_taken(ranges: list[tuple[int, int]], taken: list[tuple[int, int]]) -> None:
    """As sets of bytes."""
    assert bytes_of(without(ranges, taken)) == bytes_of(ranges) - bytes_of(taken)


@given(RANGES, st.integers(0, 60))
def test_missing_and_here_make_the_file(here: list[tuple[int, int]], size: int) -> None:
    """What is missing is what is not here, and the front is where the first gap begins."""
    gaps = missing(size, here)
    assert bytes_of(gaps) | bytes_of(within(here, size)) == set(range(size))
    assert front(here) == next(number for number in range(100) if number not in bytes_of(here))


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 34), st.integers(1, 1 << 26), st.integers(1, 1 << 23))
def test_a_segment_is_shared_into_two_useful_parts_or_not_at_all(position: int, length: int, block: int, least: int) -> None:
    """Neither part is shorter than the least that is worth a connection."""
    end = position + length
    for middle in (shared(position, end, block, least), halved(position, end, least)):
        assert middle == end or (middle - position >= least and end - middle >= min(least, block))


# --- who brings what ----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(st.integers(0, 3000), st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10_000)), max_size=60))
def test_every_byte_is_somebodys_or_nobodys_or_written(size: int, steps: list[tuple[int, int]]) -> None:
    """Whatever happens to the segments: none is lost, none is brought by two."""
    segments, written = Segments(), set[int]()
    segments.of_whole(size)
    for action, number in steps:
        claims = segments.claims
        claim = claims[number % len(claims)] if claims else None
        if action == 0:
            segments.take()
        elif action == 1:
            segments.take_beside(block=1 + number % 500, least=1 + number % 200)
        elif action == 2 and claim:
            step = min(number % 400, claim.left)
            written |= set(range(claim.position, claim.position + step))
            claim.position += step
        elif action == 3 and claim:
            segments.give_back(claim)
        elif action == 4 and claim and claim.left == 0:
            segments.close(claim)
        parts = [*segments.pending, *((claim.position, claim.end) for claim in segments.claims)]
        assert sum(end - start for start, end in parts) == len(bytes_of(parts)), "two bring the same"
        assert bytes_of(parts) | written == set(range(size))
        assert not bytes_of(parts) & written
    assert segments.left == size - len(written)


def test_a_server_without_ranges_is_read_by_one() -> None:
    """The connection that has the whole file in front of it goes on to the end; the one that asked for a part steps back."""
    segments = Segments()
    segments.of_whole(1000)
    first = segments.take()
    assert first
    first.whole = True
    second = segments.take_beside(block=400, least=100)
    assert second and first.end < 1000
    assert not segments.whole_by(second, front=0, size=1000)
    assert segments.claims == [first] and first.end == 1000 and not segments.pending
    assert segments.take_beside(block=10, least=1) is None


def test_a_file_of_unknown_size_is_not_shared() -> None:
    """Nobody knows where its middle is."""
    segments = Segments()
    segments.of_whole(None)
    assert segments.take() and segments.take_beside(1, 1) is None
    segments.sized(10)
    assert segments.claims[0].end == 10 < OPEN


# --- the journal --------------------------------------------------------------------------------------------------------------

IDENTITY = Identity(source="0123456789abcdef", etag='"one"', size=100, digest="sha256:00")


@given(RANGES, RANGES, st.integers(0, 60))
def test_a_journal_is_read_as_it_was_written(written: list[tuple[int, int]], synced: list[tuple[int, int]], size: int) -> None:
    """All of it on the same run of the machine; after another start only what was on the disk; never more than the file holds."""
    data = journal.head(IDENTITY, "boot-1") + journal.lines("s", joined(synced)) + journal.lines("w", joined(written))
    same, other = journal.parse(data, "boot-1", size), journal.parse(data, "boot-2", size)
    assert same and other and same.identity == other.identity == IDENTITY
    assert bytes_of(same.here) == bytes_of(within([*written, *synced], size))
    assert bytes_of(other.here) == bytes_of(within(synced, size))


@given(RANGES, st.integers(0, 400), st.binary(max_size=30))
def test_a_torn_journal_claims_nothing_that_was_not_written(written: list[tuple[int, int]], cut: int, garbage: bytes) -> None:
    """Cut anywhere, or with anything behind it."""
    data = journal.head(IDENTITY, "boot") + b"".join(journal.lines("w", (item,)) for item in joined(written))
    torn = journal.parse(data[:cut], "boot", 60)
    assert torn is None or bytes_of(torn.here) <= bytes_of(written)
    with_garbage = journal.parse(data + garbage.replace(b"w", b"?").replace(b"s", b"?"), "boot", 60)
    assert with_garbage and bytes_of(with_garbage.here) == bytes_of(written)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reading_of_a_journal(data: bytes) -> None:
    """It may be anybody's file."""
    journal.parse(data, "boot", 10)
    journal.parse(b'{"version": 1, "size": -1, "etag": 5}\n' + data, "boot", 10)


def test_a_journal_holds_no_address() -> None:
    """A signed URL's query and the rest of it stay out; another query is the same file."""
    url = "https://cdn.example/secret-path/file?X-Amz-Signature=c0ffee"
    data = journal.head(Identity(source=journal.source_of(url)), "boot")
    assert b"c0ffee" not in data and b"secret-path" not in data
    assert journal.source_of(url) == journal.source_of(url.replace("c0ffee", "decaf"))
    assert journal.source_of(url) != journal.source_of(url.replace("file", "other"))


def test_what_can_be_gone_on_with() -> None:
    """The same digest from anywhere, or the same address with a validator; never another size, another digest or nothing to prove it by."""
    digest = Published(path="f", value="00", source="x")
    wanted = Wanted(name="f", url="https://h.example/f", size=100, digest=digest)
    old = journal.Journal(identity=replace(IDENTITY, source=journal.source_of(wanted.url)), here=((0, 5),))
    elsewhere = replace(old, identity=replace(old.identity, source="f" * 16))
    bare = replace(old, identity=replace(old.identity, digest="", etag=""))
    assert journal.usable(old, wanted) and journal.usable(elsewhere, wanted)
    assert not journal.usable(old, replace(wanted, digest=replace(digest, value="11")))
    assert not journal.usable(old, replace(wanted, size=101))
    undigested = replace(wanted, digest=ABSENT)
    assert journal.usable(old, undigested) and not journal.usable(elsewhere, undigested) and not journal.usable(bare, undigested)
    assert not journal.usable(None, wanted)


# --- what an answer means -----------------------------------------------------------------------------------------------------

BEFORE = Identity(etag='"one"', size=100)
PART = meeting.Asked(start=40, ranged=True, conditional=True)


def decided(asked: meeting.Asked = PART, before: Identity = BEFORE, published: int | None = None, digest: bool = False, **seen: object) -> meeting.Verdict:
    given_ = {"status": 206, "etag": '"one"', "first": 40, "size": 100, **seen}
    return meeting.decide(asked, meeting.Known(identity=before, published_size=published, digest=digest), meeting.Seen(**given_))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("read", {}),
        ("failed", {"first": 0}),
        ("failed", {"first": ABSENT}),
        ("restart", {"etag": '"two"'}),
        ("restart", {"size": 101}),
        ("read", {"etag": '"two"', "digest": True}),
        ("whole", {"status": 200, "length": 100}),
        ("anew", {"status": 200, "length": 100, "etag": '"two"'}),
        ("plainly", {"status": 200, "length": 100, "etag": '"two"', "digest": True}),
        ("anew", {"status": 200, "length": 90, "digest": True}),
        ("anew", {"status": 200, "length": 100, "etag": ""}),
        ("failed", {"encoding": "gzip"}),
        ("failed", {"status": 204}),
        ("complete", {"status": 416, "size": 40, "before": Identity(etag='"one"')}),
        ("restart", {"status": 416, "size": 30}),
        ("failed", {"status": 416, "asked": meeting.Asked(), "size": ABSENT}),
    ],
)
def test_what_an_answer_to_a_part_means(kind: str, change: dict[str, object]) -> None:
    """RFC 9110: the part, the whole instead, another file by now, nothing there."""
    assert decided(**change).kind == kind  # type: ignore[arg-type]


def test_the_published_size_against_the_announced_one() -> None:
    """Shorter is wrong; longer too, but where a digest can judge the published part; equal is silent."""
    whole = meeting.Asked()
    right, shorter, longer = (decided(whole, Identity(), 100, status=200, length=length) for length in (100, 99, 101))
    assert (right.kind, shorter.kind, longer.kind) == ("read", "failed", "failed")
    assert shorter.failure and shorter.failure.reason == "size-differs" and (shorter.failure.expected, shorter.failure.seen) == ("100", "99")
    judged = decided(whole, Identity(), 100, True, status=200, length=101)
    assert judged.kind == "read" and "101" in judged.note and not right.note


def test_validators() -> None:
    """Weak tags prove nothing; a date proves something only where it is older than the answer (RFC 9110 §8.8)."""
    assert meeting.strong('"a"') and not meeting.strong('W/"a"') and not meeting.strong("a") and not meeting.strong("") and not meeting.strong('"ä"')
    now = 1_700_000_000
    date, before = email.utils.formatdate(now, usegmt=True), email.utils.formatdate(now - 5, usegmt=True)
    assert meeting.dated(before, date) == before
    assert not meeting.dated(date, date) and not meeting.dated(before, "") and not meeting.dated("yesterday", date)


# --- waiting ------------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1000))
def test_a_pause_grows_and_is_bounded(tries: int, chance: float, told: float) -> None:
    """Never longer than the most, but where the server says so; never shorter than half."""
    limits = Limits()
    seconds = pause(tries, limits, told, lambda: chance)
    longest = min(limits.first_wait_seconds * 2.0 ** (tries - 1) if tries < 30 else 1e9, limits.most_wait_seconds)
    assert max(told, longest / 2) <= seconds <= max(told, longest)


def test_retry_after_in_seconds_and_as_a_date() -> None:
    """RFC 9110 §10.2.3; a date is meant by the server's own clock; nonsense counts for nothing."""
    now = 1_700_000_000.0
    date = email.utils.formatdate(now + 90, usegmt=True)
    assert retry_after({"retry-after": "7"}, now) == 7
    assert retry_after({"retry-after": date}, now) == pytest.approx(90, abs=1)
    assert retry_after({"retry-after": date, "date": email.utils.formatdate(now + 60, usegmt=True)}, now) == pytest.approx(30, abs=1)
    assert [retry_after({"retry-after": text}, now) for text in ("", "soon", "-5", "1e400", "nan", "²")] == [0.0] * 6
    assert retry_after({"retry-after": email.utils.formatdate(now - 90, usegmt=True)}, now) == 0


@given(st.text(max_size=40))
def test_no_retry_after_breaks_it(text: str) -> None:
    """It is a server's text."""
    assert retry_after({"retry-after": text, "date": text}, 0.0) >= 0


# --- how many connections -----------------------------------------------------------------------------------------------------


def connections(rate: Callable[[int], float], most: int = 8, first: int = 1, seconds: float = 20.0) -> list[int]:
    """How many the governor allowed, tick by tick, on a link where ``n`` connections bring ``rate(n)`` bytes a second together."""
    governor, now, total_bytes, seen = Governor(most, first, 0.0), 0.0, 0.0, []
    while now < seconds:
        now += 0.1
        total_bytes += rate(governor.allowed) * 0.1
        seen.append(governor.observe(now, int(total_bytes), governor.allowed))
    return seen


def test_a_server_that_limits_each_connection_gets_as_many_as_are_allowed() -> None:
    """20 MB/s each: within three seconds there are eight, and they stay."""
    seen = connections(lambda count: 20e6 * count)
    assert seen[30] == 8 and set(seen[30:]) == {8}


def test_a_link_that_one_connection_fills_gets_one() -> None:
    """A second is tried once, and given up for a good while."""
    seen = connections(lambda count: 12e6, seconds=14)
    assert max(seen) == 2 and set(seen[25:]) == {1}


def test_a_connection_at_the_machines_own_limit_is_left_alone() -> None:
    """Nothing is tried where one brings more than a link usually has."""
    assert set(connections(lambda count: 900e6)) == {1}


def test_idle_connections_prove_nothing() -> None:
    """Where fewer are busy than may be, no more are allowed."""
    governor = Governor(8, 4, 0.0)
    assert {governor.observe(step / 10, step * 1_000_000, busy=1) for step in range(100)} == {4}


# --- failures -----------------------------------------------------------------------------------------------------------------


def wrapped(error: OSError) -> Exception:
    """As requests hands it on: in urllib3's, in its own."""
    return requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", error))


@pytest.mark.parametrize(
    ("error", "reason", "passing"),
    [
        (wrapped(ConnectionResetError(104, "reset")), "connection", True),
        (wrapped(ConnectionRefusedError(111, "refused")), "connection", True),
        (wrapped(socket.gaierror(socket.EAI_NONAME, "unknown")), "name", False),
        (wrapped(socket.gaierror(socket.EAI_AGAIN, "later")), "name", True),
        (wrapped(TimeoutError("timed out")), "timed-out", True),
        (wrapped(ssl.SSLCertVerificationError(1, "certificate verify failed")), "certificate", False),
        (wrapped(ssl.SSLEOFError(8, "EOF")), "tls", True),
        (wrapped(ssl.SSLError(1, "alert")), "tls", False),
        (requests.exceptions.ProxyError(OSError("Tunnel connection failed: 407 Proxy Authentication Required")), "proxy", False),
        (requests.exceptions.ProxyError(OSError("Tunnel connection failed: 503 Busy")), "proxy", True),
        (requests.exceptions.ReadTimeout(), "timed-out", True),
        (requests.exceptions.InvalidURL("no host"), "answer-invalid", False),
        (OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /x"), "certificate", False),
    ],
)
def test_a_failure_is_told_by_its_innermost_error(error: Exception, reason: str, passing: bool) -> None:
    """And whether it may pass: not for names that do not exist, issuers nobody trusts, wrong passwords."""
    found = failures.of(error, Secrets(), "h.example", "https://h.example/x?sig=c0ffee")
    assert (found.reason, found.passing) == (reason, passing)
    assert "c0ffee" not in repr(found)


def test_which_statuses_may_pass() -> None:
    """408, 425, 429 and the server's own errors; no other 4xx, and not what it will never do."""
    assert {408, 425, 429, 500, 502, 503, 504, 520} <= failures.PASSING_STATUSES
    assert not {400, 401, 403, 404, 407, 409, 410, 416, 451, 501, 505} & failures.PASSING_STATUSES


@pytest.mark.parametrize(
    ("here", "there", "fine"),
    [
        ("https://a.example/x", "https://b.example/y", True),
        ("http://a.example/x", "https://b.example/y", True),
        ("http://a.example/x", "http://b.example:8080/y", True),
        ("https://a.example/x", "http://a.example/x", False),
        ("https://a.example/x", "file:///etc/passwd", False),
        ("http://a.example/x", "ftp://a.example/x", False),
        ("http://a.example/x", "http://169.254.169.254/latest/meta-data", False),
        ("http://a.example/x", "http://2852039166/", False),
        ("http://a.example/x", "http://metadata.google.internal/", False),
        ("http://a.example/x", "http://a.example:99999/", False),
        ("http://a.example/x", "http:///x", False),
    ],
)
def test_redirects_that_are_followed(here: str, there: str, fine: bool) -> None:
    """To another host, into TLS; never out of it, to another scheme, or to a cloud's metadata."""
    assert (redirect_problem(here, there, 1) == "") is fine
    assert redirect_problem(here, there, 11)


# --- the place and the unfinished file ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "", "a//b", "./x", "a\\b", "C:x", "x\0", "a/./b"])
def test_names_that_lead_out_have_no_place(tmp_path: Path, name: str) -> None:
    """Nothing is even opened for them; a plain name beside them has one."""
    with pytest.raises(Unsafe):
        Place(tmp_path, name)
    Place(tmp_path, "a/b").close()


def test_a_link_below_the_folder_is_not_followed(tmp_path: Path) -> None:
    """Whoever put it there would have us write elsewhere; the folder itself may be a link of the person's own."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "sub").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "own").symlink_to(tmp_path / "into")
    with pytest.raises(Unsafe):
        Place(tmp_path / "into", "sub/x")
    place = Place(tmp_path / "own", "x")
    (tmp_path / "into" / "x.diagnostics-part").symlink_to(tmp_path / "elsewhere" / "victim")
    part = take(place)
    assert isinstance(part, Part)
    part.write(part.epoch, 0, memoryview(b"abc"))
    part.finish(3)
    assert (tmp_path / "into" / "x").read_bytes() == b"abc" and not list((tmp_path / "elsewhere").iterdir())
    part.leave()
    place.close()


def test_an_unfinished_file_is_one_processes_at_a_time(tmp_path: Path) -> None:
    """The second finds it busy; when the first has let go, or is gone, it is free. What it held was worthless and is not left lying."""
    place = Place(tmp_path, "x")
    first = take(place)
    assert isinstance(first, Part) and take(place) == "busy"
    first.leave()
    second = take(place)
    assert isinstance(second, Part)
    second.leave()
    assert not list(tmp_path.iterdir())
    place.close()


def test_a_finished_file_takes_its_name_and_keeps_what_lay_there(tmp_path: Path) -> None:
    """The new bytes under the name, the old ones beside, nothing else."""
    (tmp_path / "x").write_bytes(b"old")
    place = Place(tmp_path, "x")
    part = take(place)
    assert isinstance(part, Part)
    part.write(part.epoch, 0, memoryview(b"new bytes"))
    part.note(part.epoch, (0, 9))
    aside = part.finish(9)
    part.leave()
    assert (tmp_path / "x").read_bytes() == b"new bytes" and Path(aside).read_bytes() == b"old"
    assert Path(aside).name.startswith("x.corrupt-") and len(list(tmp_path.iterdir())) == 2
    place.close()


def test_a_thread_that_comes_late_writes_nothing(tmp_path: Path) -> None:
    """Neither into a file that was begun anew, nor into one that was left."""
    place = Place(tmp_path, "x")
    part = take(place)
    assert isinstance(part, Part)
    epoch = part.epoch
    part.begin_anew(Identity())
    with pytest.raises(Left):
        part.write(epoch, 0, memoryview(b"late"))
    part.write(part.epoch, 0, memoryview(b"fresh"))
    part.leave()
    with pytest.raises(Left):
        part.write(part.epoch, 0, memoryview(b"later"))
    assert (tmp_path / "x.diagnostics-part").read_bytes() == b"fresh"
    place.close()


def test_what_is_noted_is_found_again(tmp_path: Path) -> None:
    """By the next run, also where this one never came to an end; with what was synced after the machine was started anew."""
    place = Place(tmp_path, "x")
    part = take(place)
    assert isinstance(part, Part)
    part.begin_anew(IDENTITY)
    part.write(part.epoch, 0, memoryview(bytes(3 << 20)))
    part.note(part.epoch, (0, 2 << 20))
    part.sync()
    part.note(part.epoch, (2 << 20, 3 << 20))
    text = (tmp_path / ".x.part-journal").read_bytes()
    assert journal.parse(text, "another start", 3 << 20) == journal.Journal(identity=IDENTITY, here=((0, 2 << 20),))
    part.leave()
    again = take(place)
    assert isinstance(again, Part)
    assert again.read_journal() == journal.Journal(identity=IDENTITY, here=((0, 3 << 20),))
    again.leave()
    place.close()


# --- digests ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "md5", "git-sha1"])
def test_a_digest_follows_the_writer_in_whatever_order_the_pieces_come(tmp_path: Path, algorithm: str) -> None:
    """The same as of the file that lies still; git's name for it has its length in front."""
    data = random.Random(1).randbytes(6 << 20)
    path = tmp_path / "x"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    digest = Published(path="x", algorithm=algorithm, value="0", source="test")  # type: ignore[arg-type]
    following = Following(descriptor, digest, len(data), threading.Event())
    os.pwrite(descriptor, data[3 << 20 :], 3 << 20)
    following.follow(0)
    os.pwrite(descriptor, data[: 3 << 20], 0)
    following.follow(len(data))
    found = following.result()
    following.close()
    os.close(descriptor)
    plain = hashlib.new("sha1", b"blob %d\0" % len(data) + data) if algorithm == "git-sha1" else hashlib.new(algorithm, data)
    assert found == hash_of(str(path), digest) == plain.hexdigest()
    assert matches(replace(digest, value=found[:8].upper()), found) and not matches(replace(digest, value=""), found)


# --- progress -----------------------------------------------------------------------------------------------------------------


def test_a_log_gets_a_line_every_few_seconds() -> None:
    """How much of how much, how fast, how long still; never more lines than that."""
    lines: list[str] = []
    now = [0.0]
    progress = Lines(lines.append, lambda: now[0])
    progress.expect("a", 100_000_000, 0)
    for _ in range(100):
        now[0] += 0.125
        progress.advance("a", 500_000)
    assert lines[:1] == ["0 of 1 begun files, 20.0 MB of 100.0 MB, 4.0 MB/s, 20 s left"] and len(lines) == 2
    now[0] += 5
    progress.finish(Outcome(name="a", outcome="fetched", bytes=100_000_000))
    assert lines[-1].startswith("1 of 1 begun files, 100.0 MB of 100.0 MB")
