"""Which client fetches a target, as far as what is installed tells, and who loads it."""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import urlsplit

from diagnostics.case import ClientUse, Environment, Interpreter, Target
from diagnostics.facts.clients import families, installed

TORCH_HOSTS = frozenset({"download.pytorch.org", "dl.fbaipublicfiles.com"})
_TORCH_NAME = re.compile(r".*-[0-9a-f]{8}\.pth?")


def chosen(target: Target, environment: Environment) -> Target:
    """``target`` with its client, the transports that move bytes of it, and the loader; a local path and the demo have no client here."""
    if target.kind in ("directory", "file"):
        return dataclasses.replace(target, loader=_loader(environment))
    if target.kind == "demo":
        return target
    if target.kind in ("url", "list"):
        return dataclasses.replace(target, client=_for_urls(target, environment))
    client = hub_client(environment)
    return dataclasses.replace(target, client=client, transports=_transports(client, environment), loader=_loader(environment) if target.kind == "hub" else "")


def hub_client(environment: Environment) -> ClientUse:
    """huggingface_hub by its major version; without it, requests stands in, and it is said that the client is not there."""
    found = installed(environment.distributions, "huggingface_hub")
    if found is None:
        bare = _plain(environment)
        return dataclasses.replace(bare, installed=False)
    major = re.match(r"\d{1,4}", found.version)
    known = sorted(int(name.rpartition("-")[2]) for name in families() if name.startswith("huggingface_hub-"))
    family = max((number for number in known if number <= int(major[0])), default=known[0]) if major else known[-1]
    return ClientUse(family=f"huggingface_hub-{family}", version=found.version)


def _transports(client: ClientUse, environment: Environment) -> tuple[ClientUse, ...]:
    xet = installed(environment.distributions, "hf_xet")
    disabled = any(setting.name == "HF_HUB_DISABLE_XET" and setting.truthy for setting in environment.settings)
    if xet is None or disabled or not client.family.startswith("huggingface_hub"):
        return ()
    return (ClientUse(family="hf_xet", version=xet.version, role="bytes"),)


def _plain(environment: Environment) -> ClientUse:
    found = installed(environment.distributions, "requests")
    return ClientUse(family="requests", version=found.version if found else "", installed=found is not None)


def _for_urls(target: Target, environment: Environment) -> ClientUse:
    """torch.hub for its own hosts and names, where torch is there (torch/hub.py uses urllib); else requests."""
    torch = installed(environment.distributions, "torch")
    if torch is not None and target.urls and all(_is_torch_hub(url) for url in target.urls):
        version = environment.interpreter.version if isinstance(environment.interpreter, Interpreter) else ""
        return ClientUse(family="urllib", version=version)
    return _plain(environment)


def _is_torch_hub(url: str) -> bool:
    parts = urlsplit(url)
    return parts.hostname in TORCH_HOSTS or bool(_TORCH_NAME.fullmatch(parts.path.rpartition("/")[2]))


def _loader(environment: Environment) -> str:
    return next((name for name in ("transformers", "diffusers", "torch") if installed(environment.distributions, name)), "")
