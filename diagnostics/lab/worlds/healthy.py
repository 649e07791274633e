"""Healthy worlds: nothing may be found in any of them."""

from __future__ import annotations

import dataclasses
from typing import Literal

from diagnostics.lab import hub as hubs
from diagnostics.lab import model
from diagnostics.lab.http import App, Request, file, text
from diagnostics.lab.proxy import Policy, http_proxy
from diagnostics.lab.stage import BLACK_HOLE, CDN, HUB, Namespace, Stage
from diagnostics.lab.worlds import world


def put_up_hub(stage: Stage, *repositories: hubs.Repository, hub: App | None = None, cdn: App | None = None) -> str:
    """A hub and its CDN, either of them in another form; the target is its model. Returns the hub's base URL."""
    known = repositories or (hubs.tiny(),)
    bytes_from = stage.web(CDN, cdn or hubs.cdn(*known))
    base = stage.web(HUB, hub or hubs.hub(*known, cdn=bytes_from))
    if base != f"https://{HUB}":
        stage.variables["HF_ENDPOINT"] = base
    stage.spec = known[0].name
    return base


@world("healthy-hub", cause="")
def healthy_hub(stage: Stage) -> None:
    """A hub, a CDN, and a tiny model."""
    put_up_hub(stage)


@world("healthy-internet", cause="", needs="namespace")
def healthy_internet(stage: Namespace) -> None:
    """The public names with public certificates: a hub and its CDN."""
    put_up_hub(stage)


@world("healthy-nothing", cause="", needs="namespace")
def healthy_nothing(stage: Namespace) -> None:
    """No target: the machine, the caches and the hub."""
    put_up_hub(stage)
    stage.spec = ""


@world("healthy-mirror", cause="")
def healthy_mirror(stage: Stage) -> None:
    """A mirror without the endpoint for trees, which serves the bytes itself, under a path."""
    inner = hubs.hub(hubs.tiny(), tree=False)
    base = stage.web("mirror.example", inner)
    stage.variables["HF_ENDPOINT"] = base
    stage.spec = hubs.NAME


@world("healthy-no-api", cause="")
def healthy_no_api(stage: Stage) -> None:
    """A mirror with nothing but files: all that hf_hub_download asks for."""
    inner = hubs.instead(hubs.hub(hubs.tiny()), hubs.of_api, text("not found", 404))
    stage.variables["HF_ENDPOINT"] = stage.web("mirror.example", inner)
    stage.spec = hubs.NAME


@world("healthy-url", cause="")
def healthy_url(stage: Stage) -> None:
    """A file by URL, with its digest."""
    weights = hubs.tiny().file("model.safetensors")
    assert weights is not None
    base = stage.web("files.example", lambda request: file(weights.data, weights.sha256))
    stage.spec = f"{base}/tiny/model.safetensors#sha256={weights.sha256}"


@world("healthy-folder", cause="")
def healthy_folder(stage: Stage) -> None:
    """A model in a folder."""
    stage.spec = str(model.write(model.tiny_bert(), stage.work / "tiny-bert"))


@world("healthy-proxy", cause="", needs="namespace")
def healthy_proxy(stage: Namespace) -> None:
    """Everything through a proxy that wants a login; no name resolves here, and nothing can be reached directly."""
    put_up_hub(stage)
    behind_proxy(stage, Policy(login="lab:pa%ss/w@rd"), "http://lab:pa%25ss%2Fw%40rd@proxy.corp.example:3128")


def behind_proxy(
    stage: Namespace,
    policy: Policy,
    address: str = "http://proxy.corp.example:3128",
    direct: Literal["unknown", "dropped", "open"] = "unknown",
    visits: list[Request] | None = None,
) -> None:
    """Open a way through ``proxy.corp.example:3128`` to the hosts that are up, and shut the direct one: their names are unknown here, or lead into a black hole."""
    reaches = {name: (addresses[0], 443) for name, addresses in stage.zone.items()}
    stage.listen("proxy.corp.example", http_proxy(dataclasses.replace(policy, reaches={**reaches, **policy.reaches}), visits), port=3128)
    stage.variables |= {"HTTPS_PROXY": address, "HTTP_PROXY": address} if address else {}
    if direct != "open":
        shut(stage, tuple(reaches), direct)


def shut(stage: Namespace, names: tuple[str, ...], how: Literal["unknown", "dropped"]) -> None:
    """These names no longer lead to their hosts."""
    if how == "dropped":
        stage.black_hole()
    for name in names:
        if how == "dropped":
            stage.zone[name] = (BLACK_HOLE,)
        else:
            del stage.zone[name]


@world("healthy-cached-offline", cause="")
def healthy_cached_offline(stage: Stage) -> None:
    """HF_HUB_OFFLINE with the whole model in the cache."""
    put_up_hub(stage)
    fill_cache(stage, hubs.tiny())
    stage.variables["HF_HUB_OFFLINE"] = "1"


def fill_cache(stage: Stage, repository: hubs.Repository) -> None:
    """The cache as huggingface_hub lays it out (shared blobs, a snapshot of links, refs)."""
    folder = stage.hub_cache / ("models--" + repository.name.replace("/", "--"))
    snapshot = folder / "snapshots" / repository.commit
    for path in (folder / "blobs", folder / "refs", snapshot):
        path.mkdir(parents=True)
    (folder / "refs" / "main").write_text(repository.commit)
    for item in repository.files:
        (folder / "blobs" / item.etag).write_bytes(item.data)
        link = snapshot / item.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"{'../' * (item.path.count('/') + 2)}blobs/{item.etag}")
