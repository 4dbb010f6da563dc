from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_LOW: Priority
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority

class Event(_message.Message):
    __slots__ = ("event_id", "event_type", "publisher", "topic", "data", "timestamp", "correlation_id", "publisher_agent_type", "publisher_issue_id", "idempotency_key", "causation_id", "state_key", "traceparent", "tracestate", "cloud_event")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_KEY_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    CLOUD_EVENT_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    event_type: str
    publisher: str
    topic: str
    data: _struct_pb2.Struct
    timestamp: _timestamp_pb2.Timestamp
    correlation_id: str
    publisher_agent_type: str
    publisher_issue_id: str
    idempotency_key: str
    causation_id: str
    state_key: str
    traceparent: str
    tracestate: str
    cloud_event: CloudEventAttributes
    def __init__(self, event_id: _Optional[str] = ..., event_type: _Optional[str] = ..., publisher: _Optional[str] = ..., topic: _Optional[str] = ..., data: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., correlation_id: _Optional[str] = ..., publisher_agent_type: _Optional[str] = ..., publisher_issue_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., causation_id: _Optional[str] = ..., state_key: _Optional[str] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., cloud_event: _Optional[_Union[CloudEventAttributes, _Mapping]] = ...) -> None: ...

class CloudEventAttributes(_message.Message):
    __slots__ = ("id", "source", "subject", "time", "dataschema", "extensions")
    class ExtensionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    DATASCHEMA_FIELD_NUMBER: _ClassVar[int]
    EXTENSIONS_FIELD_NUMBER: _ClassVar[int]
    id: str
    source: str
    subject: str
    time: str
    dataschema: str
    extensions: _containers.ScalarMap[str, str]
    def __init__(self, id: _Optional[str] = ..., source: _Optional[str] = ..., subject: _Optional[str] = ..., time: _Optional[str] = ..., dataschema: _Optional[str] = ..., extensions: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PublishEventRequest(_message.Message):
    __slots__ = ("event_type", "publisher", "topic", "data", "correlation_id", "ttl_seconds", "priority", "project_id", "idempotency_key", "expected_last_event_id", "causation_id", "state_key", "traceparent", "tracestate", "cloud_event")
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_LAST_EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CAUSATION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_KEY_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    CLOUD_EVENT_FIELD_NUMBER: _ClassVar[int]
    event_type: str
    publisher: str
    topic: str
    data: _struct_pb2.Struct
    correlation_id: str
    ttl_seconds: int
    priority: Priority
    project_id: str
    idempotency_key: str
    expected_last_event_id: str
    causation_id: str
    state_key: str
    traceparent: str
    tracestate: str
    cloud_event: CloudEventAttributes
    def __init__(self, event_type: _Optional[str] = ..., publisher: _Optional[str] = ..., topic: _Optional[str] = ..., data: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., correlation_id: _Optional[str] = ..., ttl_seconds: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., project_id: _Optional[str] = ..., idempotency_key: _Optional[str] = ..., expected_last_event_id: _Optional[str] = ..., causation_id: _Optional[str] = ..., state_key: _Optional[str] = ..., traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., cloud_event: _Optional[_Union[CloudEventAttributes, _Mapping]] = ...) -> None: ...

class PublishEventResponse(_message.Message):
    __slots__ = ("event_id", "published", "subscribers_notified", "subscriber_count", "timestamp", "topic", "ttl_seconds", "duplicate")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_NOTIFIED_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    published: bool
    subscribers_notified: _containers.RepeatedScalarFieldContainer[str]
    subscriber_count: int
    timestamp: _timestamp_pb2.Timestamp
    topic: str
    ttl_seconds: int
    duplicate: bool
    def __init__(self, event_id: _Optional[str] = ..., published: bool = ..., subscribers_notified: _Optional[_Iterable[str]] = ..., subscriber_count: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., topic: _Optional[str] = ..., ttl_seconds: _Optional[int] = ..., duplicate: bool = ...) -> None: ...

class PublishEventsRequest(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[PublishEventRequest]
    def __init__(self, events: _Optional[_Iterable[_Union[PublishEventRequest, _Mapping]]] = ...) -> None: ...

class PublishEventsResponse(_message.Message):
    __slots__ = ("event_ids", "timestamp")
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, event_ids: _Optional[_Iterable[str]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("event_types", "topics", "filter", "since", "since_time", "project_id", "last")
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    event_types: _containers.RepeatedScalarFieldContainer[str]
    topics: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    since: str
    since_time: _timestamp_pb2.Timestamp
    project_id: str
    last: int
    def __init__(self, event_types: _Optional[_Iterable[str]] = ..., topics: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., since: _Optional[str] = ..., since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ..., last: _Optional[int] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("events", "cursor", "gap")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    cursor: str
    gap: Gap
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., cursor: _Optional[str] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("since", "resumed_after", "missed")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    RESUMED_AFTER_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    since: str
    resumed_after: str
    missed: int
    def __init__(self, since: _Optional[str] = ..., resumed_after: _Optional[str] = ..., missed: _Optional[int] = ...) -> None: ...

class WaitEventsRequest(_message.Message):
    __slots__ = ("event_type", "timeout", "filter", "since", "topic", "project_id", "limit")
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    event_type: str
    timeout: int
    filter: str
    since: str
    topic: str
    project_id: str
    limit: int
    def __init__(self, event_type: _Optional[str] = ..., timeout: _Optional[int] = ..., filter: _Optional[str] = ..., since: _Optional[str] = ..., topic: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class WaitEventsResponse(_message.Message):
    __slots__ = ("events", "more_available", "next_cursor", "timestamp", "timeout", "gap")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MORE_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    more_available: bool
    next_cursor: str
    timestamp: _timestamp_pb2.Timestamp
    timeout: bool
    gap: Gap
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., more_available: bool = ..., next_cursor: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., timeout: bool = ..., gap: _Optional[_Union[Gap, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("topic", "event_type", "since", "correlation_id", "limit", "filter", "since_time", "latest", "before", "project_id")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    topic: str
    event_type: str
    since: str
    correlation_id: str
    limit: int
    filter: str
    since_time: _timestamp_pb2.Timestamp
    latest: bool
    before: str
    project_id: str
    def __init__(self, topic: _Optional[str] = ..., event_type: _Optional[str] = ..., since: _Optional[str] = ..., correlation_id: _Optional[str] = ..., limit: _Optional[int] = ..., filter: _Optional[str] = ..., since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., latest: bool = ..., before: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetEventRequest(_message.Message):
    __slots__ = ("event_id", "project_id")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    project_id: str
    def __init__(self, event_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetEventResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: Event
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_cursor", "gap")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_cursor: str
    gap: Gap
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ...) -> None: ...
