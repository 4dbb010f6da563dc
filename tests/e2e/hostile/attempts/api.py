"""Calls of the API with its own token, with forged ones and with none."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from attempts.core import _CALL_SECONDS, ARCHITECT, ISSUE, TARGETS, TOKEN, TYPE, Attempt, Refused, attempt


class Said(NamedTuple):
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def code(self) -> str:
        found = re.search(r'"code":\s?"(\w+)"', self.text)
        return found[1] if found else ""

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def address() -> tuple[str, int]:
    parts = urlsplit(os.environ.get("SIDECAR_URL", ""))
    return parts.hostname or "127.0.0.1", parts.port or 80


def call(
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = TOKEN,
    headers: Mapping[str, str] | None = None,
    timeout: float = _CALL_SECONDS,
    patient: bool = True,
) -> Said:
    """``patient``: retries once when told to come back later."""
    sent = {"Authorization": f"Bearer {token}"} if token else {}
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    sent |= {"Content-Type": "application/json"} if data is not None else {}
    connection = http.client.HTTPConnection(*address(), timeout=timeout)
    try:
        connection.request(method, path, data, sent | dict(headers or {}))
        answer = connection.getresponse()
        said = Said(answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace"))
    finally:
        connection.close()
    if said.status == 429 and patient:
        time.sleep(min(5.0, float(said.headers.get("retry-after", 1))))
        return call(method, path, body, token=token, headers=headers, timeout=timeout, patient=False)
    return said


def unless_refused(said: Said, what: str) -> str:
    """A success counts as a hit, and so does an internal error."""
    if said.status < 300:
        return f"{what}: {said.status} {said.text[:120]}"
    if said.code == "INT_001":
        return f"an internal error: {said.text[:200]}"
    raise Refused(f"{said.status} {said.code}")


def simple(method: str, path: str, body: Any = None, **more: Any) -> Attempt:
    return lambda: unless_refused(call(method, path, body, **more), f"{method} {path}")


VICTIM: Mapping[str, Any] = TARGETS.get("victim", {})
STRANGER: Mapping[str, Any] = TARGETS.get("stranger", {})
OTHER = TARGETS.get("other_project_id", "")
_SUCCESS = {"status": "success", "decisions": ["hostile"]}
_RESULT = {"agent_type": TYPE, "issue_id": ISSUE, "result": _SUCCESS}
_EVENT = {"topic": "testing", "data": {"issue_id": ISSUE}}

for _name, _asked in {
    "read a credential": simple("GET", "/api/credentials/HOSTILE_KEY"),
    "list credentials": simple("GET", "/api/credentials"),
    "store a credential": simple("PUT", "/api/credentials/HOSTILE_NEW", {"value": "a-value"}),
    "read another project's context": simple("GET", f"/api/context/{ISSUE}/{TYPE}?project_id={OTHER}"),
    "read another project's events": simple("GET", f"/api/events?project_id={OTHER}"),
    "read another project's results": simple("GET", f"/api/results?project_id={OTHER}"),
    "read another project's agents": simple("GET", f"/api/agents?project_id={OTHER}"),
    "read all projects' agents": simple("GET", "/api/agents?all_projects=true"),
    "read another project's agent": simple("GET", f"/api/agents/{STRANGER.get('agent_id')}"),
    "read the log of another project's agent": simple("GET", f"/api/agents/{STRANGER.get('agent_id')}/logs"),
    "end another project's agent": simple("DELETE", f"/api/agents/{STRANGER.get('agent_id')}"),
    "publish in another project": simple("POST", "/api/events/hostile", _EVENT | {"project_id": OTHER}),
    "store a result in another project": simple("POST", "/api/results", _RESULT | {"project_id": OTHER}),
    "store a result as another agent": simple("POST", "/api/results", _RESULT | {"agent_id": VICTIM.get("agent_id")}),
    "store a result as another type": simple("POST", "/api/results", _RESULT | {"agent_type": "security-auditor"}),
    "store a result of another issue": simple("POST", "/api/results", _RESULT | {"issue_id": VICTIM.get("issue")}),
    "publish as another agent": simple("POST", "/api/events/hostile", _EVENT | {"publisher": VICTIM.get("agent_id")}),
    "publish as the operator": simple("POST", "/api/events/hostile", _EVENT | {"publisher": "operator"}),
    "publish as the sidecar": simple("POST", "/api/events/hostile", _EVENT | {"publisher": "orchestration-sidecar"}),
    "publish a batch as another agent": simple(
        "POST",
        "/api/events:publish",
        {"events": [_EVENT | {"event_type": "hostile", "publisher": VICTIM.get("agent_id")}]},
    ),
    "say how another agent is doing": simple(
        "POST", f"/api/agents/{VICTIM.get('agent_id')}/heartbeat", {"message": "hostile"}
    ),
    "throw another agent's worktree away": simple("DELETE", f"/api/agents/{VICTIM.get('agent_id')}/worktree"),
    "make a token": simple("POST", "/api/tokens", {"agent_type": "security-auditor", "issue_id": "hostile"}),
    "make an operator's token": simple("POST", "/api/tokens", {"agent_type": "operator", "issue_id": "hostile"}),
    "renew its token at once": simple("POST", "/api/tokens/refresh", {}),
    "revoke another agent's tokens": simple("POST", "/api/tokens/revoke", {"agent_id": VICTIM.get("agent_id")}),
    "ask what others may": simple("GET", "/api/access?agent=chief-architect&rpc=SpawnAgent"),
    "clear the whole cache": simple("DELETE", "/api/cache/all"),
    "call with the token in Grpc-Metadata-Authorization": simple(
        "GET", "/api/agent-types?group=coding", token=None, headers={"Grpc-Metadata-Authorization": f"Bearer {TOKEN}"}
    ),
    "call with the token in a cookie": simple(
        "GET", "/api/agent-types?group=coding", token=None, headers={"Cookie": f"token={TOKEN}"}
    ),
    "call with the token in the query": simple(
        "GET", f"/api/agent-types?group=coding&access_token={TOKEN}", token=None
    ),
    "read /status as evil.example": simple("GET", "/status", token=None, headers={"Host": "evil.example"}),
    "read /status as evil.example, with the port": simple(
        "GET", "/status", token=None, headers={"Host": f"evil.example:{address()[1]}"}
    ),
}.items():
    attempt("api", _name)(_asked)

for _name, _value in {
    "X-Forwarded-For": "203.0.113.7",
    "Forwarded": "for=203.0.113.7",
    "X-Real-IP": "203.0.113.7",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "X-Client-IP": "203.0.113.7",
    "True-Client-IP": "203.0.113.7",
    "CF-Connecting-IP": "203.0.113.7",
    "Via": "1.1 evil.example",
}.items():
    attempt("api", f"read /status for somebody behind {_name}")(
        simple("GET", "/status", token=None, headers={_name: _value})
    )

# An architect reads every issue of its project, and stops its agents.
for _name, _asked in {
    "read another issue's context": simple("GET", f"/api/context/{VICTIM.get('issue')}/{TYPE}"),
    "read another issue's results": simple("GET", f"/api/results?issue_id={VICTIM.get('issue')}"),
    "read another type's context": simple("GET", f"/api/context/{ISSUE}/security-auditor"),
    "read another agent's log": simple("GET", f"/api/agents/{VICTIM.get('agent_id')}/logs"),
    "end another agent": simple("DELETE", f"/api/agents/{VICTIM.get('agent_id')}"),
    "start an agent": simple("POST", "/api/agents/spawn", {"agent_type": TYPE, "issue_id": ISSUE}),
}.items():
    attempt("api", _name, only="coder")(_asked)


@attempt("api", "answer its own approval")
def own_approval() -> str:
    asked = call("POST", "/api/approvals", {"question": "May I?"})
    if asked.status != 201:
        raise Refused(f"{asked.status} {asked.code}")
    path = f"/api/approvals/{asked.json['approval_id']}/answer"
    return unless_refused(call("POST", path, {"approved": True}), "answered")


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], key: bytes | None) -> str:
    """An operator's token, built from the agent's own."""
    claims = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    claims |= {"sub": "operator", "agent_type": "operator", "project_id": "", "issue_id": ""}
    text = f"{part(header)}.{part(claims)}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest() if key is not None else b""
    return f"{text}.{part(signature) if signature else ''}"


@attempt("api", "be the operator with an unsigned token")
def unsigned() -> str:
    token = forged({"alg": "none", "typ": "JWT"}, None)
    return unless_refused(call("GET", "/api/credentials", token=token), "read credentials")


@attempt("api", "be the operator with a token signed with the public key")
def confused() -> str:
    """HS256, with the public key as the secret."""
    keys = call("GET", "/.well-known/jwks.json", token=None).json["keys"]
    if not keys:
        raise Refused("there is no public key")
    for secret in (json.dumps(keys[0]).encode(), base64.urlsafe_b64decode(keys[0]["n"] + "=="), b""):
        said = call("GET", "/api/credentials", token=forged({"alg": "HS256", "kid": keys[0]["kid"]}, secret))
        if said.status < 300:
            return "read credentials"
    raise Refused(f"{said.status} {said.code}")


@attempt("api", "be another with its own token's claims changed")
def changed() -> str:
    header, claims, signature = TOKEN.split(".")
    known = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "operator", "agent_type": "operator"}
    return unless_refused(call("GET", "/api/credentials", token=f"{header}.{part(known)}.{signature}"), "read")


def decision(issue: str, word: str) -> str:
    data = {"issue_id": issue, "decision": word, "agent_type": "security-auditor" if ARCHITECT else "chief-architect"}
    said = call("POST", "/api/events/architecture_defined", {"topic": "architecture", "data": data})
    if said.status >= 300:
        raise Refused(f"{said.status} {said.code}")
    return word


@attempt("api", "decide for another issue, as another type")
def foreign_decision() -> str:
    return "left:" + decision(VICTIM["issue"], f"hostile-decision-of-{TYPE}")


@attempt("api", "decide for its own issue, as another type")
def own_decision() -> str:
    return "left:" + decision(ISSUE, f"hostile-own-decision-of-{TYPE}")
