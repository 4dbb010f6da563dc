from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import event_service_pb2 as _event_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConsumerSettings(_message.Message):
    __slots__ = ("event_types", "topics", "filter", "ack_wait_seconds", "max_deliveries", "max_in_flight", "retry_seconds", "shared", "agent_types", "unused_seconds")
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    TOPICS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    ACK_WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MAX_DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    RETRY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    UNUSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    event_types: _containers.RepeatedScalarFieldContainer[str]
    topics: _containers.RepeatedScalarFieldContainer[str]
    filter: str
    ack_wait_seconds: int
    max_deliveries: int
    max_in_flight: int
    retry_seconds: float
    shared: bool
    agent_types: _containers.RepeatedScalarFieldContainer[str]
    unused_seconds: int
    def __init__(self, event_types: _Optional[_Iterable[str]] = ..., topics: _Optional[_Iterable[str]] = ..., filter: _Optional[str] = ..., ack_wait_seconds: _Optional[int] = ..., max_deliveries: _Optional[int] = ..., max_in_flight: _Optional[int] = ..., retry_seconds: _Optional[float] = ..., shared: bool = ..., agent_types: _Optional[_Iterable[str]] = ..., unused_seconds: _Optional[int] = ...) -> None: ...

class Consumer(_message.Message):
    __slots__ = ("name", "project_id", "settings", "created_by", "created_at", "cursor", "lag", "in_flight_count", "dead_letter_count", "workers", "in_flight", "used_at", "gap")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_COUNT_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    USED_AT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    name: str
    project_id: str
    settings: ConsumerSettings
    created_by: str
    created_at: _timestamp_pb2.Timestamp
    cursor: str
    lag: int
    in_flight_count: int
    dead_letter_count: int
    workers: _containers.RepeatedScalarFieldContainer[str]
    in_flight: _containers.RepeatedCompositeFieldContainer[InFlight]
    used_at: _timestamp_pb2.Timestamp
    gap: _event_service_pb2.Gap
    def __init__(self, name: _Optional[str] = ..., project_id: _Optional[str] = ..., settings: _Optional[_Union[ConsumerSettings, _Mapping]] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cursor: _Optional[str] = ..., lag: _Optional[int] = ..., in_flight_count: _Optional[int] = ..., dead_letter_count: _Optional[int] = ..., workers: _Optional[_Iterable[str]] = ..., in_flight: _Optional[_Iterable[_Union[InFlight, _Mapping]]] = ..., used_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., gap: _Optional[_Union[_event_service_pb2.Gap, _Mapping]] = ...) -> None: ...

class InFlight(_message.Message):
    __slots__ = ("event_id", "attempt", "held_by", "due", "dead_letter_id", "worker", "last_attempt")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HELD_BY_FIELD_NUMBER: _ClassVar[int]
    DUE_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    LAST_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    attempt: int
    held_by: str
    due: _timestamp_pb2.Timestamp
    dead_letter_id: str
    worker: str
    last_attempt: int
    def __init__(self, event_id: _Optional[str] = ..., attempt: _Optional[int] = ..., held_by: _Optional[str] = ..., due: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., dead_letter_id: _Optional[str] = ..., worker: _Optional[str] = ..., last_attempt: _Optional[int] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("event", "delivery_id", "attempt", "deadline")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    event: _event_service_pb2.Event
    delivery_id: str
    attempt: int
    deadline: _timestamp_pb2.Timestamp
    def __init__(self, event: _Optional[_Union[_event_service_pb2.Event, _Mapping]] = ..., delivery_id: _Optional[str] = ..., attempt: _Optional[int] = ..., deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("dead_letter_id", "project_id", "consumer", "event", "attempts", "reason", "last_held_by", "failed_at", "replaying")
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LAST_HELD_BY_FIELD_NUMBER: _ClassVar[int]
    FAILED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLAYING_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    project_id: str
    consumer: str
    event: _event_service_pb2.Event
    attempts: int
    reason: str
    last_held_by: str
    failed_at: _timestamp_pb2.Timestamp
    replaying: bool
    def __init__(self, dead_letter_id: _Optional[str] = ..., project_id: _Optional[str] = ..., consumer: _Optional[str] = ..., event: _Optional[_Union[_event_service_pb2.Event, _Mapping]] = ..., attempts: _Optional[int] = ..., reason: _Optional[str] = ..., last_held_by: _Optional[str] = ..., failed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., replaying: bool = ...) -> None: ...

class CreateConsumerRequest(_message.Message):
    __slots__ = ("name", "settings", "since", "since_time", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    settings: ConsumerSettings
    since: str
    since_time: _timestamp_pb2.Timestamp
    project_id: str
    def __init__(self, name: _Optional[str] = ..., settings: _Optional[_Union[ConsumerSettings, _Mapping]] = ..., since: _Optional[str] = ..., since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ...) -> None: ...

class CreateConsumerResponse(_message.Message):
    __slots__ = ("consumer",)
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    consumer: Consumer
    def __init__(self, consumer: _Optional[_Union[Consumer, _Mapping]] = ...) -> None: ...

class GetConsumerRequest(_message.Message):
    __slots__ = ("name", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    project_id: str
    def __init__(self, name: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetConsumerResponse(_message.Message):
    __slots__ = ("consumer",)
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    consumer: Consumer
    def __init__(self, consumer: _Optional[_Union[Consumer, _Mapping]] = ...) -> None: ...

class ListConsumersRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class ListConsumersResponse(_message.Message):
    __slots__ = ("consumers",)
    CONSUMERS_FIELD_NUMBER: _ClassVar[int]
    consumers: _containers.RepeatedCompositeFieldContainer[Consumer]
    def __init__(self, consumers: _Optional[_Iterable[_Union[Consumer, _Mapping]]] = ...) -> None: ...

class DeleteConsumerRequest(_message.Message):
    __slots__ = ("name", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    project_id: str
    def __init__(self, name: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteConsumerResponse(_message.Message):
    __slots__ = ("name", "dead_letters")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    dead_letters: int
    def __init__(self, name: _Optional[str] = ..., dead_letters: _Optional[int] = ...) -> None: ...

class ResetConsumerRequest(_message.Message):
    __slots__ = ("name", "since", "since_time", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_TIME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    since: str
    since_time: _timestamp_pb2.Timestamp
    project_id: str
    def __init__(self, name: _Optional[str] = ..., since: _Optional[str] = ..., since_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., project_id: _Optional[str] = ...) -> None: ...

class ResetConsumerResponse(_message.Message):
    __slots__ = ("consumer",)
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    consumer: Consumer
    def __init__(self, consumer: _Optional[_Union[Consumer, _Mapping]] = ...) -> None: ...

class ConsumeRequest(_message.Message):
    __slots__ = ("name", "max_in_flight", "worker", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    max_in_flight: int
    worker: str
    project_id: str
    def __init__(self, name: _Optional[str] = ..., max_in_flight: _Optional[int] = ..., worker: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ConsumeResponse(_message.Message):
    __slots__ = ("deliveries", "gap")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    gap: _event_service_pb2.Gap
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., gap: _Optional[_Union[_event_service_pb2.Gap, _Mapping]] = ...) -> None: ...

class PullEventsRequest(_message.Message):
    __slots__ = ("name", "limit", "timeout", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    limit: int
    timeout: int
    project_id: str
    def __init__(self, name: _Optional[str] = ..., limit: _Optional[int] = ..., timeout: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class PullEventsResponse(_message.Message):
    __slots__ = ("deliveries", "gap")
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    gap: _event_service_pb2.Gap
    def __init__(self, deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., gap: _Optional[_Union[_event_service_pb2.Gap, _Mapping]] = ...) -> None: ...

class AcknowledgeEventsRequest(_message.Message):
    __slots__ = ("name", "delivery_ids", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_IDS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    delivery_ids: _containers.RepeatedScalarFieldContainer[str]
    project_id: str
    def __init__(self, name: _Optional[str] = ..., delivery_ids: _Optional[_Iterable[str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class AcknowledgeEventsResponse(_message.Message):
    __slots__ = ("settled", "not_held")
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    NOT_HELD_FIELD_NUMBER: _ClassVar[int]
    settled: int
    not_held: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, settled: _Optional[int] = ..., not_held: _Optional[_Iterable[str]] = ...) -> None: ...

class RejectEventsRequest(_message.Message):
    __slots__ = ("name", "delivery_ids", "delay_seconds", "reason", "dead_letter", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_IDS_FIELD_NUMBER: _ClassVar[int]
    DELAY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    delivery_ids: _containers.RepeatedScalarFieldContainer[str]
    delay_seconds: float
    reason: str
    dead_letter: bool
    project_id: str
    def __init__(self, name: _Optional[str] = ..., delivery_ids: _Optional[_Iterable[str]] = ..., delay_seconds: _Optional[float] = ..., reason: _Optional[str] = ..., dead_letter: bool = ..., project_id: _Optional[str] = ...) -> None: ...

class RejectEventsResponse(_message.Message):
    __slots__ = ("rejected", "not_held")
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    NOT_HELD_FIELD_NUMBER: _ClassVar[int]
    rejected: int
    not_held: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, rejected: _Optional[int] = ..., not_held: _Optional[_Iterable[str]] = ...) -> None: ...

class ExtendEventsRequest(_message.Message):
    __slots__ = ("name", "delivery_ids", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_IDS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    delivery_ids: _containers.RepeatedScalarFieldContainer[str]
    project_id: str
    def __init__(self, name: _Optional[str] = ..., delivery_ids: _Optional[_Iterable[str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class ExtendEventsResponse(_message.Message):
    __slots__ = ("deadline", "not_held")
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    NOT_HELD_FIELD_NUMBER: _ClassVar[int]
    deadline: _timestamp_pb2.Timestamp
    not_held: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., not_held: _Optional[_Iterable[str]] = ...) -> None: ...

class ListDeadLettersRequest(_message.Message):
    __slots__ = ("consumer", "project_id", "limit", "cursor")
    CONSUMER_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    consumer: str
    project_id: str
    limit: int
    cursor: str
    def __init__(self, consumer: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListDeadLettersResponse(_message.Message):
    __slots__ = ("dead_letters", "next_cursor")
    DEAD_LETTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    dead_letters: _containers.RepeatedCompositeFieldContainer[DeadLetter]
    next_cursor: str
    def __init__(self, dead_letters: _Optional[_Iterable[_Union[DeadLetter, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class GetDeadLetterRequest(_message.Message):
    __slots__ = ("dead_letter_id", "project_id")
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    project_id: str
    def __init__(self, dead_letter_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetDeadLetterResponse(_message.Message):
    __slots__ = ("dead_letter",)
    DEAD_LETTER_FIELD_NUMBER: _ClassVar[int]
    dead_letter: DeadLetter
    def __init__(self, dead_letter: _Optional[_Union[DeadLetter, _Mapping]] = ...) -> None: ...

class ReplayDeadLettersRequest(_message.Message):
    __slots__ = ("name", "dead_letter_ids", "project_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_IDS_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    dead_letter_ids: _containers.RepeatedScalarFieldContainer[str]
    project_id: str
    def __init__(self, name: _Optional[str] = ..., dead_letter_ids: _Optional[_Iterable[str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class ReplayDeadLettersResponse(_message.Message):
    __slots__ = ("replayed",)
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    replayed: int
    def __init__(self, replayed: _Optional[int] = ...) -> None: ...

class DeleteDeadLetterRequest(_message.Message):
    __slots__ = ("dead_letter_id", "project_id")
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    project_id: str
    def __init__(self, dead_letter_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteDeadLetterResponse(_message.Message):
    __slots__ = ("dead_letter_id",)
    DEAD_LETTER_ID_FIELD_NUMBER: _ClassVar[int]
    dead_letter_id: str
    def __init__(self, dead_letter_id: _Optional[str] = ...) -> None: ...
