"""Builds request messages from plain arguments, for both clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from cco_sidecar.client.connection import Identity
from cco_sidecar.client.errors import typed
from cco_sidecar.core import codec
from cco_sidecar.core.errors import SidecarError, invalid_request
from orchestra.v1 import agent_service_pb2 as agent_pb
from orchestra.v1 import approval_service_pb2 as approval_pb
from orchestra.v1 import context_service_pb2 as context_pb
from orchestra.v1 import event_service_pb2 as event_pb
from orchestra.v1 import result_service_pb2 as result_pb

M = TypeVar("M", bound=Message)


def get_context(
    me: Identity,
    issue_id: str,
    agent_type: str,
    project_id: str,
    task: str,
    max_bytes: int | None,
    max_tokens: int | None,
) -> context_pb.GetContextRequest:
    return context_pb.GetContextRequest(
        issue_id=issue_id or me.issue_id,
        agent_type=agent_type or me.agent_type,
        project_id=project_id,
        task=task,
        max_bytes=max_bytes,
        max_tokens=max_tokens,
    )


def once(message: M) -> Iterator[M]:
    """Yields a single message, as the request stream of a call."""
    yield message


def publish(
    event_type: str,
    data: Mapping[str, Any] | None = None,
    *,
    topic: str = "",
    publisher: str = "",
    correlation_id: str = "",
    ttl_seconds: int | None = None,
    priority: str | None = None,
    project_id: str = "",
    idempotency_key: str = "",
    expected_last_event_id: str = "",
    causation_id: str = "",
    state_key: str = "",
    traceparent: str = "",
    tracestate: str = "",
) -> event_pb.PublishEventRequest:
    if data is not None and not isinstance(data, Mapping):
        raise typed(invalid_request(f"invalid data: expected an object, got {type(data).__name__}", field="data"))
    for key in data or ():
        if not isinstance(key, str):
            raise typed(invalid_request(f"invalid data: the key {key!r} is not a text", field="data"))
    value: dict[str, Any] = {
        "event_type": event_type,
        "topic": topic,
        "publisher": publisher,
        "correlation_id": correlation_id,
        "data": dict(data or {}),
        "ttl_seconds": ttl_seconds,
        "priority": priority,
        "project_id": project_id,
        "idempotency_key": idempotency_key,
        "expected_last_event_id": expected_last_event_id,
        "causation_id": causation_id,
        "state_key": state_key,
        "traceparent": traceparent,
        "tracestate": tracestate,
    }
    return read(event_pb.PublishEventRequest, value)


def exactly(field: str, value: str) -> str:
    """Returns the filter for one value of a field."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field}:"{escaped}"'


def names(value: Sequence[str]) -> Sequence[str]:
    """Returns a list of names; a text is one of them, not one for each letter."""
    return [value] if isinstance(value, str) else value


def subscribe(
    event_types: Sequence[str],
    topics: Sequence[str],
    filter: str,
    since: str,
    since_time: datetime | None,
    last: int | None,
    project_id: str,
) -> event_pb.SubscribeRequest:
    return event_pb.SubscribeRequest(
        event_types=names(event_types),
        topics=names(topics),
        filter=filter,
        since=since,
        since_time=stamp(since_time),
        last=last,
        project_id=project_id,
    )


def wait(
    event_type: str, topic: str, filter: str, since: str, timeout: float, limit: int | None, project_id: str
) -> event_pb.WaitEventsRequest:
    return event_pb.WaitEventsRequest(
        event_type=event_type,
        topic=topic,
        filter=filter,
        since=since,
        timeout=int(timeout * 1000),
        limit=limit,
        project_id=project_id,
    )


def list_events(
    topic: str,
    event_type: str,
    since: str,
    since_time: datetime | None,
    correlation_id: str,
    filter: str,
    limit: int | None,
    latest: bool,
    before: str,
    project_id: str,
) -> event_pb.ListEventsRequest:
    return event_pb.ListEventsRequest(
        topic=topic,
        event_type=event_type,
        since=since,
        since_time=stamp(since_time),
        correlation_id=correlation_id,
        filter=filter,
        limit=limit,
        latest=latest,
        before=before,
        project_id=project_id,
    )


def create_result(
    me: Identity,
    result: Mapping[str, Any] | result_pb.AgentResult,
    agent_id: str,
    agent_type: str,
    issue_id: str,
    project_id: str,
    timestamp: Timestamp | None,
    idempotency_key: str,
) -> result_pb.CreateResultRequest:
    work = result
    if isinstance(work, Mapping):
        work = read(result_pb.AgentResult, work, "result")
    return result_pb.CreateResultRequest(
        agent_id=agent_id or me.agent_id,
        agent_type=agent_type or me.agent_type,
        issue_id=issue_id or me.issue_id,
        project_id=project_id or me.project_id,
        result=work,
        timestamp=timestamp,
        idempotency_key=idempotency_key,
    )


def read(message_type: type[M], value: Any, where: str = "") -> M:
    """Converts a value to a message. Raises InvalidRequestError, which names the field."""
    try:
        message = codec.from_dict(message_type, value, where)
    except SidecarError as problem:
        raise typed(problem) from None
    assert isinstance(message, message_type)
    return message


def filled(message_type: type[M], **fields: Any) -> M:
    """Returns a message with the fields that are not empty. Raises InvalidRequestError for a wrong value, such as one
    that an enum does not have."""
    return read(message_type, {name: value for name, value in fields.items() if value})


def stamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        text = f"{moment!r} is not a datetime with a time zone, such as datetime.now(UTC)"
        raise typed(invalid_request(text))
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def spawn(**fields: Any) -> agent_pb.SpawnAgentRequest:
    """Raises InvalidRequestError, which names the field."""
    return read(agent_pb.SpawnAgentRequest, fields)


def list_agents(
    status: str, agent_type: str, issue_id: str, project_id: str, all_projects: bool, limit: int | None, cursor: str
) -> agent_pb.ListAgentsRequest:
    return agent_pb.ListAgentsRequest(
        status=_enum(agent_pb.AgentStatus, status),
        agent_type=agent_type,
        issue_id=issue_id,
        project_id=project_id,
        all_projects=all_projects,
        limit=limit,
        cursor=cursor,
    )


def approval(
    question: str, data: Mapping[str, Any] | None, issue_id: str, project_id: str
) -> approval_pb.RequestApprovalRequest:
    value = {"question": question, "data": dict(data or {}), "issue_id": issue_id, "project_id": project_id}
    return read(approval_pb.RequestApprovalRequest, value)


def list_approvals(
    status: str, issue_id: str, project_id: str, limit: int | None, cursor: str
) -> approval_pb.ListApprovalsRequest:
    return approval_pb.ListApprovalsRequest(
        status=_enum(approval_pb.ApprovalStatus, status),
        issue_id=issue_id,
        project_id=project_id,
        limit=limit,
        cursor=cursor,
    )


def _enum(kind: Any, name: str) -> Any:
    """Returns the enum value with a JSON name, or 0 if the name is empty. Raises InvalidRequestError."""
    known = {codec.enum_name(kind.DESCRIPTOR, number): number for number in kind.values()}
    if name and name not in known:
        raise typed(
            invalid_request(
                f"invalid status {name!r}: expected one of {', '.join(filter(None, known))}", field="status"
            )
        )
    return known.get(name, 0)


class ReadLines:
    """Skips log lines that were already read, by timestamp, when a log is reread from the start."""

    def __init__(self) -> None:
        self._newest = (0, 0)
        # Lines read with the newest timestamp, and how many of them are still to be skipped.
        self._count = 0
        self._over = 0

    def again(self) -> bool:
        """Prepares for rereading the log, and reports whether any lines were read before."""
        self._over = self._count
        return self._count > 0

    def fresh(self, lines: Iterable[agent_pb.LogLine]) -> Iterator[agent_pb.LogLine]:
        """Yields the lines that were not read before."""
        for line in lines:
            at = (line.timestamp.seconds, line.timestamp.nanos)
            if self._over and at <= self._newest:
                self._over -= at == self._newest
                continue
            self._over = 0
            self._count = self._count + 1 if at == self._newest else 1
            self._newest = at
            yield line
