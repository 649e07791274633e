"""What the person typed: an id, a path, a URL or a list that cannot be used."""

from __future__ import annotations

import difflib
from typing import Any

from diagnostics.case import Case, Fault, Finding, Platform, Problem, Remedy
from diagnostics.causes.claims import again
from diagnostics.causes.settings_common import by_setting, finding_of, quoted

NO_MODEL = ("model-id-invalid", "unknown-manifest", "manifest-invalid", "unknown-prefix")


def _target_facts(case: Case, known: dict[str, str]) -> dict[str, str]:
    problem = case.target.problem
    return known | {
        "spec": case.target.spec,
        "detail": problem.detail if isinstance(problem, Problem) else "",
        "path": next(iter(case.target.paths), case.target.spec),
    }


def target_cause(cause: str, *codes: str) -> Any:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        return [finding_of(cause, members, _target_facts(case, known)) for _, members, known in by_setting(cause, faults, *(codes or (cause,)))]

    return recognise


def id_remedies(finding: Finding, case: Case) -> list[Remedy]:
    if finding.facts.get("code") == "unknown-manifest":
        return [Remedy(do="Give the name of a shipped list, or the path of a list of your own: list:./my-files.toml.", check=again(case))]
    if finding.facts.get("code") == "manifest-invalid":
        return [
            Remedy(
                do=f"Correct the list: {finding.facts['detail']}. Each file is a [[files]] table with url, and path, bytes, sha256 if known.", check=again(case)
            )
        ]
    near = difflib.get_close_matches(finding.facts["spec"].partition(":")[0], ("hub", "dataset", "url", "path", "list", "demo"), 1)
    if finding.facts.get("code") == "unknown-prefix" and near:
        return [Remedy(do=f"Did you mean {near[0]}: in front?", check=again(case))]
    corrected = "/".join(part.strip() for part in finding.facts["spec"].removesuffix(".git").strip("/").split("/")[-2:])
    hint = f" Perhaps {corrected} is meant." if corrected != finding.facts["spec"] and corrected else ""
    return [
        Remedy(
            do=f"Write the id as the model's page shows it (org/name); a local folder as ./{finding.facts['spec'].lstrip('./')[:80]} or path:….{hint}",
            check=again(case),
        )
    ]


def path_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    found = [Remedy(do=f"Correct the path: {finding.facts['detail']}.", run=f"ls -la {quoted(_nearest(case, path))}", check=f"ls {quoted(path)}")]
    platform = case.environment.platform
    kind = platform.container if isinstance(platform, Platform) else ""
    if kind in ("docker", "podman"):
        found.append(
            Remedy(
                do="This runs in a container, which sees only what was mounted: start it with that folder of the host.",
                run=f"{kind} run -v /path/on/the/host:{quoted(path)}:ro …",
                check=f"ls {quoted(path)}",
            )
        )
    elif kind == "kubernetes":
        found.append(Remedy(do=f"This runs in a pod, which sees only what was mounted: give it a volumeMount at {path}.", check=f"ls {quoted(path)}"))
    return found


def _nearest(case: Case, path: str) -> str:
    """The nearest folder above a path that is there, as far as somebody looked."""
    problem = case.target.problem
    return (problem.near if isinstance(problem, Problem) else "") or path.rpartition("/")[0] or "/"


def shadow_remedies(finding: Finding, case: Case) -> list[Remedy]:
    path = finding.facts["path"]
    return [
        Remedy(
            do="Rename that folder, or run from another one: the loader takes a folder of that name for the model.",
            run=f"mv {quoted(path)} {quoted(path + '.old')}",
            check=again(case),
        ),
        Remedy(do=f"To look at the repository all the same, say hub:{case.target.name}."),
    ]


def url_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [Remedy(do=f"Correct the URL ({finding.facts['detail']}); it has the form https://host/path/file.", check=again(case))]
