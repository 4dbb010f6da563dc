"""What each RPC demands, read from its descriptor; and what a principal may touch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from cco_sidecar.core.bounds import DEFAULT_REQUEST_BYTES
from cco_sidecar.core.errors import invalid_token, not_found, permission_denied
from cco_sidecar.core.principal import PUBLISH_EVENTS, READ_CONTEXT, SPAWN_AGENTS, WRITE_RESULTS, Principal
from orchestra.v1 import options_pb2

_NEEDED = {
    options_pb2.PERMISSION_READ_CONTEXT: READ_CONTEXT,
    options_pb2.PERMISSION_WRITE_RESULTS: WRITE_RESULTS,
    options_pb2.PERMISSION_PUBLISH_EVENTS: PUBLISH_EVENTS,
    options_pb2.PERMISSION_SPAWN_AGENTS: SPAWN_AGENTS,
}


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The rules of one RPC; ``path`` is ``/package.Service/Method``."""

    path: str
    rules: options_pb2.CallRules

    def open_to(self, *, loopback: bool) -> bool:
        """May be called without a token."""
        return self.rules.open == options_pb2.OPEN_ANYONE or (loopback and self.rules.open == options_pb2.OPEN_LOOPBACK)

    def authorise(self, principal: Principal) -> None:
        """Raises SidecarError (AUTH_003)."""
        if principal.operator and self.rules.permission != options_pb2.PERMISSION_UNSPECIFIED:
            return
        if self.rules.permission == options_pb2.PERMISSION_AUTHENTICATED:
            return
        if self.rules.permission == options_pb2.PERMISSION_OPERATOR:
            raise permission_denied("only the operator may do this; 'cco token' prints the operator's token")
        needed = _NEEDED.get(self.rules.permission)
        if needed is None:
            raise permission_denied("this call has no permission line and is refused to everyone")
        if needed not in principal.permissions:
            raise permission_denied(
                f"agent type '{principal.agent_type}' lacks the permission '{needed}'", permission=needed
            )


def policies(services: Iterable[ServiceDescriptor]) -> dict[str, MethodPolicy]:
    return {
        method_path(method): MethodPolicy(method_path(method), rules_of(method))
        for service in services
        for method in service.methods
    }


def method_path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def rules_of(method: MethodDescriptor) -> options_pb2.CallRules:
    return method.GetOptions().Extensions[options_pb2.call]  # type: ignore[index]


def max_request_bytes(method: MethodDescriptor) -> int:
    return rules_of(method).max_request_bytes or DEFAULT_REQUEST_BYTES


def project_of(principal: Principal, requested: str, default: str) -> str:
    """The project that a call is about. Another project's anything is as if it did not exist."""
    if principal.operator:
        return requested or default
    if requested and requested != principal.project_id:
        raise not_found("PRJ_001", f"there is no project '{requested}'", project_id=requested)
    return principal.project_id


def own_issue(principal: Principal, issue: str, *, writing: bool = False) -> None:
    """Raises SidecarError (AUTH_003) when an agent asks for an issue that is not its own. Architects read every
    issue of their project, and write for their own."""
    if principal.operator or issue == principal.issue_id or (principal.architect and not writing):
        return
    raise permission_denied(
        f"this agent works on issue '{principal.issue_id}', not on '{issue}'", issue_id=principal.issue_id
    )


def require_token(token: str | None) -> str:
    if not token:
        raise invalid_token("a token is needed: 'Authorization: Bearer <JWT>'; 'cco token' prints the operator's")
    return token
