"""The events that announce the change of a record."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct

from cco_sidecar.core import codec, tracing
from cco_sidecar.core.principal import OPERATOR, SIDECAR, Principal
from orchestra.v1.agent_service_pb2 import Agent, AgentStatus
from orchestra.v1.approval_service_pb2 import Approval, ApprovalStatus
from orchestra.v1.document_service_pb2 import Document, DocumentRelation, DocumentRelationType
from orchestra.v1.event_service_pb2 import Event
from orchestra.v1.result_service_pb2 import RESULT_STATUS_FAILED, Result, ResultStatus
from orchestra.v1.session_service_pb2 import Session, SessionEvent, SessionStatus

APPROVAL_REQUESTED = "approval_requested"
APPROVAL_ANSWERED = "approval_answered"
BY_SIDECAR = Principal(subject=SIDECAR)
_TOPIC, _ERROR_TOPIC = "coordination", "error"


def of_result(result: Result) -> Event:
    """Returns ``agent_completed`` or ``agent_failed``, with the result's agent as the publisher."""
    failed = result.result.status == RESULT_STATUS_FAILED
    event = Event(
        event_type="agent_failed" if failed else "agent_completed",
        publisher=result.agent_id,
        topic=_ERROR_TOPIC if failed else _TOPIC,
        data=_struct(
            issue_id=result.issue_id,
            status=codec.enum_name(ResultStatus.DESCRIPTOR, result.result.status),
            agent_type=result.agent_type,
            agent_id=result.agent_id,
            result_id=result.id,
        ),
        correlation_id=result.id,
        publisher_agent_type=result.agent_type,
        publisher_issue_id=result.issue_id,
    )
    return tracing.stamp(event)


def of_document(document: Document, event_type: str, principal: Principal) -> Event:
    data = _struct(
        document_id=document.document_id,
        filename=document.filename,
        content_type=document.content_type,
        size_bytes=document.size_bytes,
        revision=document.revision,
    )
    data["tags"] = list(document.tags)
    return _by(principal, event_type, "documents", data, document.document_id)


def of_relation(relation: DocumentRelation, event_type: str, principal: Principal) -> Event:
    data = _struct(
        relation_id=relation.relation_id,
        type=codec.enum_name(DocumentRelationType.DESCRIPTOR, relation.type),
        from_document_id=relation.from_document_id,
        to_document_id=relation.to_document_id,
    )
    return _by(principal, event_type, "documents", data, relation.relation_id)


def of_session(session: Session, event_type: str, principal: Principal = BY_SIDECAR) -> Event:
    data = _session_data(session)
    data["status"] = codec.enum_name(SessionStatus.DESCRIPTOR, session.status)
    return _by(principal, event_type, "sessions", data, session.session_id)


def of_session_event(session: Session, happened: SessionEvent, principal: Principal = BY_SIDECAR) -> Event:
    """Not with its content, which not every agent of the project may read."""
    data = _session_data(session)
    data["sequence"] = happened.sequence
    for name in ("tool_name", "role", "reason"):
        if value := getattr(happened, name):
            data[name] = value
    if happened.HasField("exit_code"):
        data["exit_code"] = happened.exit_code
    return _by(principal, happened.event_type, "sessions", data, session.session_id)


def _session_data(session: Session) -> Struct:
    return _struct(
        session_id=session.session_id,
        session_name=session.name,
        agent_id=session.agent_id,
        issue_id=session.issue_id,
        parent_session_id=session.parent_session_id,
    )


def _by(principal: Principal, event_type: str, topic: str, data: Struct, correlation_id: str) -> Event:
    event = Event(
        event_type=event_type,
        publisher=principal.subject,
        topic=topic,
        data=data,
        correlation_id=correlation_id,
        publisher_agent_type=principal.agent_type,
        publisher_issue_id=principal.issue_id,
    )
    return tracing.stamp(event)


def of_agent(agent: Agent, event_type: str) -> Event:
    data = _struct(
        agent_id=agent.agent_id,
        agent_type=agent.agent_type,
        issue_id=agent.issue_id,
        status=codec.enum_name(AgentStatus.DESCRIPTOR, agent.status),
        reason=agent.reason,
        attempt=agent.attempt,
        spawned_by=agent.spawned_by,
    )
    if agent.HasField("exit_code"):
        data["exit_code"] = agent.exit_code
    event = Event(
        event_type=event_type,
        publisher=SIDECAR,
        topic=_ERROR_TOPIC if event_type == "agent_failed" else _TOPIC,
        data=data,
        correlation_id=f"{agent.agent_id}/{agent.attempt}",
    )
    if agent.span.traceparent:
        event.traceparent = agent.span.traceparent
        if agent.span.tracestate:
            event.tracestate = agent.span.tracestate
    return event


def of_approval(approval: Approval, event_type: str) -> Event:
    event = Event(
        event_type=event_type,
        publisher=approval.requested_by if event_type == APPROVAL_REQUESTED else OPERATOR,
        topic=_TOPIC,
        data=_struct(
            approval_id=approval.approval_id,
            issue_id=approval.issue_id,
            agent_id=approval.requested_by,
            question=approval.question,
            status=codec.enum_name(ApprovalStatus.DESCRIPTOR, approval.status),
            comment=approval.comment,
        ),
        correlation_id=approval.approval_id,
    )
    return tracing.stamp(event)


def _struct(**values: Any) -> Struct:
    data = Struct()
    data.update(values)
    return data
