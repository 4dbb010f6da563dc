"""Answers whether an agent may make a call, and which rule decides."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message_factory import GetMessageClass

from cco_sidecar.auth import scope
from cco_sidecar.auth.policy import MethodPolicy
from cco_sidecar.core.agent_types import AgentType
from cco_sidecar.core.errors import SidecarError, invalid_request
from cco_sidecar.core.principal import OPERATOR, Principal
from cco_sidecar.core.suggestions import nearest
from orchestra.v1.agent_service_pb2 import CheckAccessResponse
from orchestra.v1.options_pb2 import OPEN_ANYONE, PERMISSION_AUTHENTICATED, PERMISSION_OPERATOR

_PROJECT, _ISSUE, _TYPE, _OPERATOR = (
    "own project only",
    "own issue only",
    "permissions of the agent type",
    "operator only",
)


def check_access(
    policies: Mapping[str, MethodPolicy], known: AgentType, own: Principal, rpc: str, issue: str, project: str
) -> CheckAccessResponse:
    """Returns whether an agent may make a call, the rule that decides, and the reason.

    ``own``: the agent as it would call; its issue and project are empty if only its type is known. Raises SidecarError
    (REQ_001) for an unknown call.
    """
    policy = _policy(policies, rpc)
    answer = CheckAccessResponse(rpc=policy.path.lstrip("/"), agent_type=known.type)
    answer.allowed, answer.rule, answer.reason = _decide(policy, known, own, issue, project)
    return answer


def _decide(policy: MethodPolicy, known: AgentType, own: Principal, issue: str, project: str) -> tuple[bool, str, str]:
    """Decides like the interceptors: by the permission of the RPC, then by the scope of its fields."""
    needed = policy.rules.permission
    if policy.rules.open == OPEN_ANYONE:
        return True, "open to anyone", "the call needs no token"
    if project and own.project_id and project != own.project_id:
        return False, _PROJECT, f"the agent belongs to project '{own.project_id}' and cannot see others"
    try:
        policy.authorise(own)
    except SidecarError as refusal:
        return False, _OPERATOR if needed == PERMISSION_OPERATOR else _TYPE, refusal.message
    scopes = {each.scope: each.name for each in scope.scoped_fields(policy.request)}
    named = [scopes[each] for each in scope.ISSUE_SCOPES if each in scopes]
    if named and issue and own.issue_id and issue != own.issue_id:
        request = GetMessageClass(policy.request)(**dict.fromkeys(named, issue))
        try:
            scope.apply(request, own, own.project_id)
        except SidecarError as refusal:
            return False, _ISSUE, refusal.message
        return True, "architects read every issue of their project", f"'{known.type}' may spawn agents"
    if needed == PERMISSION_AUTHENTICATED:
        return True, "any valid token", "every agent may call it, within its own project"
    return True, _TYPE, f"'{known.type}' ({known.group}) has the permission"


def _policy(policies: Mapping[str, MethodPolicy], rpc: str) -> MethodPolicy:
    """Finds a call by ``Method``, ``Service/Method`` or ``package.Service/Method``, ignoring case."""
    service, _, wanted = rpc.strip("/").lower().rpartition("/")
    names = {path.rpartition("/")[2].lower(): policy for path, policy in policies.items()}
    found = names.get(wanted)
    if found is not None and f"/{found.path.lower()}".endswith((f".{service}/{wanted}", f"/{service}/{wanted}")):
        return found
    if found is not None and not service:
        return found
    near = nearest(wanted, names)
    hint = f"; did you mean '{names[near].path.rpartition('/' if not service else '.')[2]}'?" if near else ""
    raise invalid_request(f"rpc: unknown call '{rpc}'{hint}", field="rpc")


def principal_of(known: AgentType, agent_id: str, issue: str, project: str) -> Principal:
    """Returns the principal that the agent's token names."""
    return Principal(
        subject=agent_id,
        agent_type=known.type,
        group=known.group,
        project_id=project,
        issue_id=issue,
        permissions=frozenset(known.permissions),
        operator=known.type == OPERATOR,
    )
