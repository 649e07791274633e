"""The installed client beside the probes: what its word is worth."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from diagnostics import environment as environment_module
from diagnostics.case import Case, CaVariable, ClientTrial, ClientUse, Fault, Files, FileSeen, Request, Subject, Target, Unseen
from diagnostics.diagnosis import attribute, judge
from diagnostics.environment.interpreter import read_interpreter
from diagnostics.facts.clients import installed
from diagnostics.lab import hub as hubs
from diagnostics.lab.http import Reply
from diagnostics.lab.stage import Stage
from diagnostics.probes.budget import Deadline
from diagnostics.probes.client_trial import see_client
from diagnostics.readiness import ends_the_load
from diagnostics.redact import Secrets
from tests.unit import cases

FETCHED = Request(path="config.json", outcome="fetched", stage="bytes", host=cases.HUB, bytes=400)
FAILED = Request(path="config.json", outcome="failed", errors=("ReadError: [Errno 104] Connection reset by peer",))


def tried(found: Case, *requests: Request) -> Case:
    return dataclasses.replace(found, client_trial=ClientTrial(client=cases.CLIENT, requests=requests))


def roots(found: Case) -> list[tuple[str, str]]:
    return [(item.cause, item.severity) for item in judge(found).diagnoses]


def healthy() -> Case:
    return cases.case(cases.journey(cases.leg()))


def refused() -> Case:
    return cases.case(cases.journey(cases.stopped_at("connection", cases.connection((cases.IPV4, "refused")))))


def test_a_client_that_comes_through_changes_nothing() -> None:
    assert roots(tried(healthy(), FETCHED)) == roots(healthy()) == []


def test_a_client_that_fails_alone_is_a_finding_with_its_words() -> None:
    """Nothing of ours explains it, and it is not kept quiet."""
    found = judge(tried(healthy(), FAILED)).diagnoses
    assert [(item.cause, item.severity) for item in found] == [("unexplained", "error")]
    assert any("104" in item.seen for item in found[0].evidence)


def test_a_client_that_fails_as_well_is_evidence() -> None:
    """One root, with what the client said of it."""
    found = judge(tried(refused(), FAILED)).diagnoses
    assert [(item.cause, item.severity) for item in found] == roots(refused())
    assert any("104" in item.seen for item in found[0].evidence)


def test_a_client_that_a_setting_ends_is_explained_by_it() -> None:
    """SSL_CERT_FILE that names nothing: no request of ours fails over plain http, the client's does."""
    missing = CaVariable(variable="SSL_CERT_FILE", path="/opt/ca.pem")
    broken = dataclasses.replace(healthy(), environment=dataclasses.replace(healthy().environment, ca=(missing,)))
    judgement = judge(tried(broken, FAILED))
    assert [item.cause for item in judgement.diagnoses] == ["ca-bundle-missing"]
    assert "http/the-client-itself-comes-through" in judgement.diagnoses[0].checks


def test_a_client_that_comes_through_makes_our_doubt_a_warning() -> None:
    """The same hosts at the same time: what we saw is not what stands in its way."""
    assert roots(refused())[0][1] == "error"
    assert [severity for _, severity in roots(tried(refused(), FETCHED))] == ["warning"]


def test_it_does_not_vouch_for_hosts_that_it_did_not_reach() -> None:
    """config.json from the hub says nothing of the CDN."""
    journey = cases.journey(cases.leg(response=cases.response(302)), cases.stopped_at("connection", cases.connection((cases.IPV4, "refused")), host=cases.CDN))
    assert [severity for _, severity in roots(tried(cases.case(journey), FETCHED))] == ["error"]


@pytest.mark.parametrize("why", ["timed_out", "unsupported", "not_asked"])
def test_a_client_that_could_not_be_tried_is_no_fault(why: str) -> None:
    """A slow machine above all."""
    assert roots(dataclasses.replace(healthy(), client_trial=Unseen(why, "its own request"))) == []  # type: ignore[arg-type]


def test_a_client_without_a_part_of_itself_is_no_matter_of_the_network() -> None:
    assert roots(tried(healthy(), dataclasses.replace(FAILED, errors=("ImportError: the 'socksio' package is not installed",)))) == []


def test_an_answer_is_the_hubs() -> None:
    """401 and the like are judged where the journeys met them."""
    assert roots(tried(healthy(), dataclasses.replace(FAILED, outcome="refused", status=429))) == []


# --- the client itself --------------------------------------------------------------------------------------------------------


def look(
    stage: Stage, base: str, seconds: float = 20.0, enough: Callable[[], bool] = lambda: False, ended: Callable[[], bool] = lambda: False, **variables: str
) -> ClientTrial | Unseen:
    """The huggingface_hub of this environment before a hub on loopback."""
    given = {**stage.environment(), "HF_ENDPOINT": base, **variables}
    environment, secrets = environment_module.read(given, home=stage.home)
    _, distributions, _ = read_interpreter("", given)
    hub = installed(distributions, "huggingface_hub")
    assert hub
    target = Target(spec=hubs.NAME, name=hubs.NAME, kind="hub", client=ClientUse(family="huggingface_hub-2", version=hub.version))
    return see_client(
        target, environment, secrets, given, sys.executable, Deadline(seconds), lambda seconds: "model.safetensors", contextlib.ExitStack(), enough, None, ended
    )


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_real_client_fetches_and_leaves_nothing() -> None:
    """Metadata and a kilobyte of a small and of the largest file, with the token that lies where the client looks for it; not a file in the user's folders."""
    with Stage() as stage:
        (stage.home / "hf").mkdir()
        (stage.home / "hf" / "token").write_text(hubs.TOKEN)
        before = written(stage.home)
        seen = look(stage, stage.web("hub", hubs.hub(hubs.tiny())))
        assert isinstance(seen, ClientTrial), seen
        assert [(item.path, item.outcome, item.bytes > 0) for item in seen.requests] == [
            ("config.json", "fetched", True),
            ("model.safetensors", "fetched", True),
        ]
        assert written(stage.home) == before
        assert written(stage.temp) == []
        asked = [request for request in stage.visits["hub"] if "/resolve/" in request.path]
        assert {request.headers.get("authorization") for request in asked} == {f"Bearer {hubs.TOKEN}"}
        assert hubs.TOKEN not in repr(seen)


def test_a_look_that_has_ended_starts_nothing() -> None:
    """The end came first: no process, no folder."""
    with Stage() as stage:
        tiny = hubs.hub(hubs.tiny())
        assert look(stage, stage.web("hub", tiny), ended=lambda: True) == Unseen("unsupported", "no process could be started for it")
        assert written(stage.temp) == [] and stage.visits["hub"] == []


def test_a_client_that_got_no_answer_takes_what_is_here() -> None:
    """A load is not stopped for it where all is in the cache; where weights are missing, it is."""
    alone = Fault(check="http/the-client-itself-comes-through", step="client", code="client-differs", subject=Subject(kind="package", name="x"), evidence=())
    weights = FileSeen(path="model.safetensors", location="~/hub/models--a--b/snapshots/c/model.safetensors", bytes=1)
    whole = Files(place="cache", path="~/hub/models--a--b", files=(weights,))
    (diagnosis,) = attribute(tried(healthy(), FAILED), (alone,))
    here = dataclasses.replace(healthy(), target=Target(spec="a/b", name="a/b", kind="hub"), files=whole)
    assert not ends_the_load(here, diagnosis)
    assert ends_the_load(dataclasses.replace(here, files=dataclasses.replace(whole, missing=("model.safetensors",))), diagnosis)


def test_a_login_in_the_endpoint_is_in_no_record() -> None:
    """HF_ENDPOINT may hold one; the host that is told is the host alone."""
    with Stage() as stage:
        hub = hubs.hub(hubs.tiny())
        base = stage.web("hub", lambda request: hub(dataclasses.replace(request, headers={**request.headers, "authorization": ""})))
        seen = look(stage, base.replace("http://", "http://user:pa%25ss%2Fw%40rd@"))
        assert isinstance(seen, ClientTrial), seen
        assert {item.host.partition(":")[0] for item in seen.requests} == {"127.0.0.1"}
        assert "pa%25ss" not in repr(seen) and "user" not in repr(seen)


def test_the_real_client_is_asked_twice_before_it_is_believed() -> None:
    """A connection that is cut once is chance; cut again it is what the client meets, in its own words."""
    with Stage() as stage:
        hub = hubs.hub(hubs.tiny())
        always = look(stage, stage.web("cutting", lambda request: Reply(dropped=True)))
        once = iter((True,))
        seldom = look(stage, stage.web("hub", lambda request: Reply(dropped=True) if next(once, False) else hub(request)))
        assert isinstance(always, ClientTrial) and isinstance(seldom, ClientTrial)
        assert [item.outcome for item in always.requests] == ["failed", "failed"]
        assert always.requests[0].errors
        assert [item.outcome for item in seldom.requests] == ["fetched", "fetched"]


def test_a_hub_that_stays_silent_costs_no_more_than_the_deadline() -> None:
    with Stage() as stage:
        seen = look(stage, stage.web("hub", lambda request: Reply(silent=True)), seconds=2.5)
        assert isinstance(seen, Unseen) and seen.why == "timed_out"


def test_a_silence_that_the_probes_met_is_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known as soon as the silent hub is visited: the client has begun, and nobody waits for its end."""
    monkeypatch.setattr("diagnostics.probes.client_trial.SECONDS", 60.0)
    with Stage() as stage:
        base = stage.web("hub", lambda request: Reply(silent=True))
        started = time.monotonic()
        seen = look(stage, base, 60.0, lambda: bool(stage.visits["hub"]))
        assert isinstance(seen, Unseen) and seen.why == "timed_out"
        assert time.monotonic() - started < 30


def test_another_version_than_the_metadata_says_is_not_believed() -> None:
    """A folder on PYTHONPATH, a vendored copy: the rules of the table are not its own."""
    environment, _ = environment_module.read(dict(os.environ))
    target = Target(spec="org/name", name="org/name", kind="hub", client=ClientUse(family="huggingface_hub-0", version="0.1.0"))
    seen = see_client(target, environment, Secrets(), dict(os.environ), sys.executable, Deadline(20.0), lambda seconds: "", contextlib.ExitStack())
    assert isinstance(seen, Unseen) and seen.why == "unsupported"


def test_where_nothing_can_be_written_it_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is other probes' matter, and no bug of ours."""
    with Stage() as stage:
        monkeypatch.setattr("diagnostics.probes.client_trial.tempfile.TemporaryDirectory", _full)
        seen = look(stage, stage.web("hub", hubs.hub(hubs.tiny())))
    assert isinstance(seen, Unseen) and seen.why == "unsupported"


def _full(**_options: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_look_that_ends_early_leaves_neither_process_nor_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a silent hub is waited for."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Stage() as stage, contextlib.ExitStack() as at_the_end:
        base = stage.web("hub", lambda request: Reply(silent=True))
        environment, secrets = environment_module.read({**stage.environment(), "HF_ENDPOINT": base}, home=stage.home)
        hub = installed(environment.distributions, "huggingface_hub")
        target = Target(spec=hubs.NAME, name=hubs.NAME, kind="hub", client=ClientUse(family="huggingface_hub-2", version=hub.version if hub else ""))
        seen: list[object] = []
        given = {**stage.environment(), "HF_ENDPOINT": base}
        arguments = (target, environment, secrets, given, sys.executable, Deadline(20.0), lambda seconds: "", at_the_end)
        thread = threading.Thread(target=lambda: seen.append(see_client(*arguments)), daemon=True)
        thread.start()
        while not stage.visits["hub"] and thread.is_alive():
            time.sleep(0.02)
        at_the_end.close()
        thread.join(10.0)
        assert isinstance(seen[0], Unseen)
        assert [name for name in written(tmp_path) if name.startswith("diagnose-client")] == []
