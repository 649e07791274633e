"""How it is said: methods, redirects, fields, errors of the server, answers that do not come or do not parse."""

from __future__ import annotations

import re
import shlex

from diagnostics.case import Case, Fault, Finding, Leg, Remedy, Response
from diagnostics.causes.claims import (
    again,
    by_subject,
    journey_of,
    offline_remedy,
    on_legs,
    works,
)
from diagnostics.causes.http_common import facts_of, header, refused
from diagnostics.facts import hosts

WHY_FORBIDDEN = (  # words of a storage's code or message, and what they call for
    (
        ("request has expired", "expiredtoken", "token has expired", "signature not valid in the specified time"),
        "the signed link has expired: fetch a fresh one, and check this machine's clock (date -u)",
    ),
    (("requesttimetooskewed",), "this machine's clock is off: set it, then try again"),
    (
        ("signaturedoesnotmatch", "signature we calculated", "authenticationfailed", "invalidaccesskeyid"),
        "the signed link does not fit: it was cut or changed on the way (quote it in the shell, because of its &), or a proxy rewrites queries",
    ),
    (
        ("accessdenied", "access denied", "accountproblem"),
        "the file is not public, or not there at all (storages say the same for both): check the link, or ask its owner",
    ),
)


def method(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = list(on_legs(case, faults, "response", "method"))
    return by_subject("http-method-blocked", pairs, lambda fault, leg: {**facts_of(fault, leg), "answer": _answer_to_head(leg)})


def _answer_to_head(leg: Leg) -> str:
    response = leg.response
    return f"answered {response.status} {response.reason}".strip() if isinstance(response, Response) and response.status else "not answered"


def method_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    name = case.target.name or "ORG/NAME"
    return [
        Remedy(
            do=f"Ask your network's admin to let HEAD requests to {facts['host']} pass: the client begins with one and never tries GET.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        ),
        Remedy(
            do=f"Meanwhile fetch the files by GET and load {name} from that folder.",
            run=f"mkdir -p model && cd model && curl -sSLO {shlex.quote(facts['url'])}",
            check="ls -l",
            proof="seen",
        ),
    ]


def loop(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        journey = journey_of(case, fault)
        steps = [step.url for step in journey.legs] if journey else [leg.url]
        chain = " → ".join(dict.fromkeys(steps))
        location = leg.response.location if leg.response else ""
        return {
            **facts_of(fault, leg),
            "chain": chain,
            "told": _redirected_where(leg, location),
            "how": f"After {len(steps)} requests the last answer points on, to {location or 'nowhere'}.",
        }

    return by_subject("http-redirect-loop", on_legs(case, faults, "response", "redirect"), facts)


def _redirected_where(leg: Leg, location: str) -> str:
    """What the last redirect is worth."""
    if not location:
        return f"{leg.host} redirects without saying where ({leg.response.status if leg.response else ''} without Location)"
    scheme = location.partition(":")[0].lower()
    if hosts.is_instance_metadata(location.partition("://")[2].partition("/")[0].partition(":")[0]):
        return f"{leg.host} redirects to a metadata service of the cloud, where no model lies: nobody asked there"
    if "://" in location and scheme not in ("http", "https"):
        return f"{leg.host} redirects to a place that no client goes to ({scheme}://…)"
    return f"The redirects of {leg.host} do not end"


def loop_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    setting = " Check HF_ENDPOINT (http or https, with or without www)." if case.environment.endpoint else ""
    return [
        Remedy(
            do=f"Report it to whoever runs {facts['host']}, with this chain: {facts['chain']}.{setting} Use another URL or mirror meanwhile.",
            check=f"curl -sSIL --max-redirs 12 {shlex.quote(facts['url'])}",
        )
    ]


def metadata(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject(
        "http-metadata-missing",
        on_legs(case, faults, "response", "metadata"),
        lambda fault, leg: {**facts_of(fault, leg), "missing": next((item.seen.removeprefix("without ") for item in fault.evidence), "")},
    )


def metadata_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Use a hub or mirror that passes the headers {facts['missing']} on (or have the proxy in front of {facts['host']} let them through): the client refuses files without them.",
            check=f"curl -sSI {shlex.quote(facts['url'])}",
        )
    ]


def server_error(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg, response in refused(case, faults) if isinstance(response.status, int) and response.status >= 500]
    return by_subject("http-server-error", pairs, facts_of)


def server_error_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    wait = f" in {facts['retry_after']} s (it says so)" if facts["retry_after"].isdigit() else " in a few minutes"
    status = ", look at https://status.huggingface.co meanwhile" if facts["host"] == "huggingface.co" else ""
    return [Remedy(do=f"The trouble is at {facts['host']}: try again{wait}{status}.", check=f"curl -sSI {shlex.quote(facts['url'])}"), *offline_remedy(case)]


def forbidden(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        code, said = _storage_error(leg)
        return {**facts_of(fault, leg), "code": code, "said": f" It says: {', '.join(filter(None, (code, said)))}." if code else ""}

    return by_subject("http-forbidden", [(fault, leg) for fault, leg, _ in refused(case, faults, 403)], facts)


def _storage_error(leg: Leg) -> tuple[str, str]:
    """Code and message of a storage's error: in XML (S3, GCS, Azure), or in the field that names it."""
    response = leg.response
    if not isinstance(response, Response):
        return "", ""
    code, said = (re.search(rf"<{tag}>([^<]{{1,120}})", response.first_bytes) for tag in ("Code", "Message"))
    named = header(response, "x-amz-error-code") or header(response, "x-ms-error-code")
    return code[1] if code else named, said[1].strip().rstrip(".") if said else ""


def forbidden_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    said = (facts["code"] + facts["said"]).lower()
    advice = next((text for words, text in WHY_FORBIDDEN if any(word in said for word in words)), "")
    advice = (
        advice
        or "a link that has expired (fetch a fresh one), missing rights, or a country it does not serve. Ask its owner, with the request id in the evidence"
    )
    return [Remedy(do=f"{facts['host']} itself refuses this: {advice}.", check=f"curl -sS {shlex.quote(facts['url'])} | head -c 400")]


def rejected(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [
        (fault, leg)
        for fault, leg, response in refused(case, faults)
        if isinstance(response.status, int) and 400 <= response.status < 500 and response.status != 407
    ]
    return by_subject("http-request-rejected", pairs, lambda fault, leg: {**facts_of(fault, leg), "advice": _advice(leg)})


def _advice(leg: Leg) -> str:
    advice = {
        400: "the host does not understand the URL or a header: check it for stray characters",
        405: "the host does not allow this method at that address: check the URL",
        406: "the host has nothing in a form the client accepts",
        408: "the host waited too long for the request: try again, or another network",
        409: "the storage does not allow public access (any more): check the link, or ask its owner",
        411: "something between demands a length: ask the network's admin",
        412: "a precondition failed: remove partial files and fetch anew",
        414: "the URL is too long",
        416: "the range asked for is not there: remove partial files and fetch anew",
        421: "the request reached the wrong server: a proxy or hosts entry mixes hosts up",
        431: "the headers are too large: a huge cookie or token",
    }
    if leg.response and "https port" in f"{leg.response.title} {leg.response.first_bytes}".lower().replace("https server", "https port"):
        return "this port speaks TLS: write https:// in place of http://"
    return advice.get(leg.response.status if leg.response and isinstance(leg.response.status, int) else 0, "what the status says")


def rejected_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if moved := hosts.moved_to(facts["url"]):
        return [Remedy(do=f"This address is given up: {moved['why']}", run=moved["run"], check=f"curl -sSI {shlex.quote(facts['url'])}")]
    return [Remedy(do=f"{facts['host']} answered {facts['status']}: {facts['advice']}.", check=f"curl -sSI {shlex.quote(facts['url'])}")]


def no_response(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for fault, leg in on_legs(case, faults, "response", "silent", "closed", "reset") if not works(leg, "tls-instead")]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        assert isinstance(leg.response, Response)
        how = {
            "silent": f"does not answer ({leg.response.seconds:.0f} s)",
            "closed": "closes the connection without an answer",
            "reset": "resets the connection without an answer",
        }
        return {**facts_of(fault, leg), "how": how[fault.code]}

    return by_subject("http-no-response", pairs, facts)


def no_response_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    more = (
        [Remedy(do="If the host is only slow, give the client more time.", run="export HF_HUB_ETAG_TIMEOUT=60 HF_HUB_DOWNLOAD_TIMEOUT=60", check=again(case))]
        if case.target.kind == "hub" and not facts["how"].startswith("closes")
        else []
    )
    return [
        Remedy(
            do=f"{facts['host']} takes the request and {facts['how']}: try again in a few minutes; if it works from another network, a filter here swallows it: ask this network's admin.",
            check=f"curl -sSI -m 30 {shlex.quote(facts['url'])}",
        ),
        *more,
        *offline_remedy(case),
    ]


def invalid(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    pairs = [(fault, leg) for step in ("response", "body") for fault, leg in on_legs(case, faults, step, "invalid", "alert")]
    pairs += [(fault, leg) for fault, leg in on_legs(case, faults, "response", "closed", "reset") if works(leg, "tls-instead")]

    def facts(fault: Fault, leg: Leg) -> dict[str, str]:
        said = leg.response.message if leg.response and leg.response.outcome != "answered" else leg.body.message if leg.body else ""
        encrypted = "yes" if works(leg, "tls-instead") else ""
        said = "it ends plain requests and takes up TLS" if encrypted else said or "something that does not parse"
        return {"host": leg.host, "port": str(leg.port), "url": leg.url, "said": said.strip(), "tls": encrypted}

    return by_subject("http-invalid-response", pairs, facts)


def invalid_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    if facts["tls"]:
        secure = facts["url"].replace("http://", "https://", 1)
        where = "HF_ENDPOINT" if case.environment.endpoint else "the URL"
        return [
            Remedy(do=f"Port {facts['port']} of {facts['host']} speaks TLS: write https:// in {where}.", check=f"curl -sSI {shlex.quote(secure)}", proof="seen")
        ]
    return [
        Remedy(
            do=f"Look what listens at {facts['host']}:{facts['port']} (it answered: {facts['said']}): another service, TLS on a plain port (then write https://), or a broken proxy in front of it.",
            check=f"curl -sSv -m 10 {shlex.quote(facts['url'])} -o /dev/null",
        )
    ]


def ranges(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
    return by_subject("http-range-unsupported", on_legs(case, faults, "body", "ranges"), facts_of)


def ranges_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    return [
        Remedy(
            do=f"Expect to start over after a cut, or use a mirror that honours ranges: {facts['host']} sends the whole file whatever part is asked for.",
            check=f"curl -sS -r 0-99 -o /dev/null -w '%{{http_code}}\\n' {shlex.quote(facts['url'])}",
        )
    ]
