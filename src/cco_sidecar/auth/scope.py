"""Checks that a request only concerns what its caller owns, and fills in empty fields from the caller's token.

Which fields to check is declared by ``scope`` in the protos. The interceptor chain calls this before a call is served;
``CheckAccess`` calls it for a call that is not made. Records that are looked up by id are checked with
``require_own_issue`` after they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cco_sidecar.core.errors import SidecarError, not_found, permission_denied
from cco_sidecar.core.principal import Principal
from orchestra.v1 import options_pb2
from orchestra.v1.options_pb2 import (
    SCOPE_ANY,
    SCOPE_FILTER_ISSUE,
    SCOPE_OPERATOR,
    SCOPE_PROJECT,
    SCOPE_PROJECT_OR_ALL,
    SCOPE_READ_ISSUE,
    SCOPE_READ_TYPE,
    SCOPE_SUBJECT,
    SCOPE_UNSPECIFIED,
    SCOPE_WRITE_ISSUE,
    SCOPE_WRITE_TYPE,
    Scope,
)

PROJECT_SCOPES = frozenset({SCOPE_PROJECT, SCOPE_PROJECT_OR_ALL})
READ_ISSUE_SCOPES = frozenset({SCOPE_READ_ISSUE, SCOPE_FILTER_ISSUE})
ISSUE_SCOPES = READ_ISSUE_SCOPES | {SCOPE_WRITE_ISSUE}
_UNCHECKED = frozenset({SCOPE_UNSPECIFIED, SCOPE_ANY})
# Architects may read what belongs to other agents of their project.
_READ = READ_ISSUE_SCOPES | {SCOPE_READ_TYPE}
# The claim that fills an empty field.
_COMPLETED = {
    SCOPE_PROJECT: "project_id",
    SCOPE_PROJECT_OR_ALL: "project_id",
    SCOPE_FILTER_ISSUE: "issue_id",
    SCOPE_WRITE_ISSUE: "issue_id",
    SCOPE_WRITE_TYPE: "agent_type",
    SCOPE_SUBJECT: "subject",
}
_OWN = _COMPLETED | {SCOPE_READ_ISSUE: "issue_id", SCOPE_READ_TYPE: "agent_type"}


class ScopedField(NamedTuple):
    name: str
    scope: Scope


def apply(request: Message, principal: Principal, default_project: str) -> None:
    """Checks the request's scoped fields and fills in the empty ones, in place.

    Raises SidecarError: PRJ_001 for another project, AUTH_003 for anything else that is not the caller's.
    """
    _apply_to((request,), request.DESCRIPTOR, principal, default_project)  # type: ignore[arg-type]


def _apply_to(messages: Iterable[Any], descriptor: Descriptor, principal: Principal, default_project: str) -> None:
    """``messages`` are of one type."""
    fields, containers = scoped_fields(descriptor), _containers(descriptor)
    for message in messages:
        for name, scope in fields:
            _apply(message, name, scope, principal, default_project)
        for field in containers:
            value = getattr(message, field.name)
            assert field.message_type is not None
            _apply_to(value if field.is_repeated else (value,), field.message_type, principal, default_project)


@cache
def scoped_fields(descriptor: Descriptor) -> tuple[ScopedField, ...]:
    """Returns the scoped fields of the message itself, projects first."""
    found = [ScopedField(field.name, _scope(field)) for field in descriptor.fields if _scope(field) not in _UNCHECKED]
    return tuple(sorted(found, key=lambda each: each.scope))


def require_creator(principal: Principal, created_by: str, what: str) -> None:
    """Checks who created what the caller changes. Architects and the operator may change everything. Raises
    SidecarError (AUTH_003)."""
    if not (principal.operator or principal.architect or created_by == principal.subject):
        raise permission_denied(
            f"{what} was created by {created_by}; only its creator, architects and the operator may do it"
        )


def require_own_issue(principal: Principal, issue: str) -> None:
    """Checks the issue of a record that was read. Raises SidecarError (AUTH_003)."""
    if not (principal.operator or principal.architect or issue == principal.issue_id):
        raise _not_own_issue(principal, issue)


def require_operator_fields_unset(request: Message) -> None:
    """Checks a stored request before it is run again for an agent. Raises SidecarError (AUTH_003)."""
    for name, scope in scoped_fields(request.DESCRIPTOR):
        if scope == SCOPE_OPERATOR:
            _require_unset(request, name)


def _require_unset(request: Message, name: str) -> None:
    if getattr(request, name):
        raise permission_denied(f"{name}: only the operator may set this field", field=name)


def _apply(request: Message, name: str, scope: Scope, principal: Principal, default_project: str) -> None:
    if scope == SCOPE_OPERATOR:
        if not principal.operator:
            _require_unset(request, name)
        return
    given = getattr(request, name)
    if principal.operator:
        if not given and scope == SCOPE_PROJECT:
            setattr(request, name, default_project)
        elif not given and scope == SCOPE_SUBJECT:
            setattr(request, name, principal.subject)
        return
    own = getattr(principal, _OWN[scope])
    if given == own or (principal.architect and scope in _READ):
        return
    if given:
        raise _refusal(scope, name, given, principal)
    if scope in _COMPLETED:
        setattr(request, name, own)


def _refusal(scope: Scope, name: str, given: str, principal: Principal) -> SidecarError:
    if scope in PROJECT_SCOPES:
        return not_found("PRJ_001", f"project '{given}' not found", project_id=given)
    if scope in ISSUE_SCOPES:
        return _not_own_issue(principal, given)
    if scope == SCOPE_READ_TYPE:
        return permission_denied(
            f"an agent of type '{principal.agent_type}' may read only its own type's context, not '{given}'",
            agent_type=principal.agent_type,
        )
    own = getattr(principal, _OWN[scope])
    return permission_denied(f"{name}: expected the token's own value '{own}', got '{given}'", field=name)


def _not_own_issue(principal: Principal, issue: str) -> SidecarError:
    return permission_denied(
        f"this agent works on issue '{principal.issue_id}', not on '{issue}'", issue_id=principal.issue_id
    )


@cache
def _containers(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Returns the fields whose messages contain scoped fields, at any depth."""
    return tuple(field for field in descriptor.fields if field.message_type and _is_scoped(field.message_type, set()))


def _is_scoped(descriptor: Descriptor, seen: set[str]) -> bool:
    if descriptor.full_name in seen or not descriptor.full_name.startswith("orchestra."):
        return False
    seen.add(descriptor.full_name)
    return bool(scoped_fields(descriptor)) or any(_is_scoped(each, seen) for each in _messages_in(descriptor))


def _messages_in(descriptor: Descriptor) -> Iterator[Descriptor]:
    for field in descriptor.fields:
        if field.message_type is not None:
            yield field.message_type


def _scope(field: FieldDescriptor) -> Scope:
    return field.GetOptions().Extensions[options_pb2.field].scope  # type: ignore[index]
