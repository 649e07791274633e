"""A wrong password is shown to a proxy once, however many requests would need it: companies lock accounts."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from diagnostics import environment, targets
from diagnostics.diagnosis import judge
from diagnostics.lab import hub as hubs
from diagnostics.lab import tcp
from diagnostics.lab.http import Request
from diagnostics.lab.proxy import Policy, http_proxy, socks5
from diagnostics.lab.stage import Stage
from diagnostics.lab.worlds.healthy import put_up_hub
from diagnostics.probes.survey import Survey
from tests.functional.runs import run


def _causes(stage: Stage, **variables: str) -> list[str]:
    """Ids of what is diagnosed on the stage, in this process."""
    surroundings, secrets = environment.read({**stage.variables, **variables}, home=stage.home)
    target, urls = targets.parse(stage.spec, surroundings)
    seen = Survey(target, surroundings, dataclasses.replace(secrets, urls=urls), budget_seconds=15).run()
    return [diagnosis.cause for diagnosis in judge(seen).diagnoses]


def _shown(visits: list[Request]) -> int:
    return sum("proxy-authorization" in visit.headers for visit in visits)


@pytest.mark.parametrize(("login", "cause", "times"), [("lab:wrong", ["proxy-auth-required"], 1), ("lab:right", [], 4)])
def test_requests_in_absolute_form(login: str, cause: list[str], times: int) -> None:
    """To a hub over http:// the credentials go with every request; after the first refusal with none."""
    with Stage() as stage:
        put_up_hub(stage)
        visits: list[Request] = []
        port = stage.listen("proxy.corp.example", http_proxy(Policy(login="lab:right"), visits), port=3128)
        assert _causes(stage, HTTP_PROXY=f"http://{login}@127.0.0.1:{port}") == cause
        assert _shown(visits) == times if cause else _shown(visits) >= times


def test_the_installed_client_does_not_repeat_it(tmp_path: Path) -> None:
    """The real command, whose look tries the real client too."""
    with Stage() as stage:
        put_up_hub(stage)
        visits: list[Request] = []
        port = stage.listen("proxy.corp.example", http_proxy(Policy(login="lab:right"), visits), port=3128)
        command = [sys.executable, "-m", "pytest", "diagnostics", f"--diagnose={hubs.NAME}", f"--diagnose-report={tmp_path}"]
        outcome = run(command, tmp_path, {**stage.variables, "HTTP_PROXY": f"http://lab:wrong@127.0.0.1:{port}"})
    assert outcome.roots == [("proxy-auth-required", "error")], outcome.output
    assert _shown(visits) == 1


def test_tunnels() -> None:
    """Several URLs at once, one wrong password, one try."""
    with Stage() as stage:
        visits: list[Request] = []
        port = stage.listen("proxy.corp.example", http_proxy(Policy(login="lab:right"), visits), port=3128)
        stage.spec = " ".join(f"https://{tcp.LOOPBACK}:{number}/model.bin" for number in range(1, 9))
        assert _causes(stage, HTTPS_PROXY=f"http://lab:wrong@127.0.0.1:{port}") == ["proxy-auth-required"]
        assert _shown(visits) == 1


def test_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a SOCKS proxy (RFC 1929)."""
    with Stage() as stage:
        stage.interpreter(huggingface_hub="2.4.0", socksio="1.0.0")
        put_up_hub(stage)
        logins: list[Any] = []
        monkeypatch.setattr("diagnostics.lab.proxy._logged_in", lambda sock, login: bool(logins.append(sock)))
        port = stage.listen("proxy.corp.example", socks5(Policy(login="lab:right")), port=1080)
        stage.variables["HTTP_PROXY"] = f"socks5h://lab:wrong@127.0.0.1:{port}"
        surroundings, secrets = environment.read(stage.variables, python=stage.python, home=stage.home)
        target, _ = targets.parse(hubs.NAME, surroundings)
        judgement = judge(Survey(target, surroundings, secrets, budget_seconds=15).run())
        assert [diagnosis.cause for diagnosis in judgement.diagnoses] != []
        assert len(logins) == 1
