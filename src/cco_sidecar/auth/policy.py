"""What each RPC requires of its caller, read from its descriptor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor

from cco_sidecar.core.bounds import DEFAULT_REQUEST_BYTES
from cco_sidecar.core.errors import invalid_token, permission_denied
from cco_sidecar.core.principal import PUBLISH_EVENTS, READ_CONTEXT, RUN_AGENTS, SPAWN_AGENTS, WRITE_RESULTS, Principal
from orchestra.v1 import options_pb2

_NEEDED = {
    options_pb2.PERMISSION_READ_CONTEXT: READ_CONTEXT,
    options_pb2.PERMISSION_WRITE_RESULTS: WRITE_RESULTS,
    options_pb2.PERMISSION_PUBLISH_EVENTS: PUBLISH_EVENTS,
    options_pb2.PERMISSION_SPAWN_AGENTS: SPAWN_AGENTS,
    options_pb2.PERMISSION_RUN_AGENTS: RUN_AGENTS,
}


@dataclass(frozen=True, slots=True)
class MethodPolicy:
    """The rules of one RPC; ``path`` is ``/package.Service/Method``."""

    path: str
    rules: options_pb2.CallRules
    request: Descriptor
    reads: bool = False

    def open_to(self, *, loopback: bool) -> bool:
        """Reports whether the RPC may be called without a token."""
        return self.rules.open == options_pb2.OPEN_ANYONE or (loopback and self.rules.open == options_pb2.OPEN_LOOPBACK)

    @property
    def open_to_dashboard(self) -> bool:
        """Reports whether a browser session may make the call. What runs in a browser is more exposed than a command,
        so it reads no secrets and chooses no program."""
        return self.rules.dashboard or (self.reads and not self.rules.confidential)

    def authorise(self, principal: Principal) -> None:
        """Checks the caller's permission. Raises SidecarError (AUTH_003)."""
        if principal.is_browser and not self.open_to_dashboard:
            raise permission_denied("the dashboard's token does not allow this call; use the cco command")
        if principal.operator and self.rules.permission != options_pb2.PERMISSION_UNSPECIFIED:
            return
        if principal.is_runner and self.rules.permission != options_pb2.PERMISSION_RUN_AGENTS:
            raise permission_denied("a runner's token allows nothing but to run agents")
        if self.rules.permission == options_pb2.PERMISSION_AUTHENTICATED:
            return
        if self.rules.permission == options_pb2.PERMISSION_OPERATOR:
            raise permission_denied("only the operator may do this; 'cco token' prints the operator's token")
        needed = _NEEDED.get(self.rules.permission)
        if needed is None:
            raise permission_denied("this call declares no permission, so it is denied to everyone")
        if needed not in principal.permissions:
            raise permission_denied(
                f"agent type '{principal.agent_type}' lacks the permission '{needed}'", permission=needed
            )


def policies(services: Iterable[ServiceDescriptor]) -> dict[str, MethodPolicy]:
    """Returns the policy of every method, by path."""
    return {
        method_path(method): MethodPolicy(method_path(method), rules_of(method), method.input_type, _reads(method))
        for service in services
        for method in service.methods
    }


def _reads(method: MethodDescriptor) -> bool:
    """Reports whether a call only reads, like a GET over REST (RFC 9110, section 9.2.1)."""
    return bool(method.GetOptions().Extensions[annotations_pb2.http].get) and not rules_of(method).changes


def method_path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def rules_of(method: MethodDescriptor) -> options_pb2.CallRules:
    return method.GetOptions().Extensions[options_pb2.call]  # type: ignore[index]


def max_request_bytes(method: MethodDescriptor) -> int:
    return rules_of(method).max_request_bytes or DEFAULT_REQUEST_BYTES


def require_token(token: str | None) -> str:
    """Raises SidecarError (AUTH_001) when there is no token."""
    if not token:
        raise invalid_token("missing token: send 'Authorization: Bearer <JWT>'; 'cco token' prints the operator's")
    return token
