from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import agent_service_pb2 as _agent_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SessionStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_STATUS_UNSPECIFIED: _ClassVar[SessionStatus]
    SESSION_STATUS_PENDING: _ClassVar[SessionStatus]
    SESSION_STATUS_RUNNING: _ClassVar[SessionStatus]
    SESSION_STATUS_FINISHED: _ClassVar[SessionStatus]
    SESSION_STATUS_FAILED: _ClassVar[SessionStatus]
    SESSION_STATUS_STOPPED: _ClassVar[SessionStatus]

class SessionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_MODE_UNSPECIFIED: _ClassVar[SessionMode]
    SESSION_MODE_SYNC: _ClassVar[SessionMode]
    SESSION_MODE_POLL: _ClassVar[SessionMode]
    SESSION_MODE_CALLBACK: _ClassVar[SessionMode]
SESSION_STATUS_UNSPECIFIED: SessionStatus
SESSION_STATUS_PENDING: SessionStatus
SESSION_STATUS_RUNNING: SessionStatus
SESSION_STATUS_FINISHED: SessionStatus
SESSION_STATUS_FAILED: SessionStatus
SESSION_STATUS_STOPPED: SessionStatus
SESSION_MODE_UNSPECIFIED: SessionMode
SESSION_MODE_SYNC: SessionMode
SESSION_MODE_POLL: SessionMode
SESSION_MODE_CALLBACK: SessionMode

class Session(_message.Message):
    __slots__ = ("session_id", "name", "project_id", "issue_id", "blueprint", "agent_id", "status", "reason", "project_dir", "parent_session_id", "mode", "created_by", "created_at", "last_resumed_at", "modified_at", "ended_at", "exit_code", "event_count", "usage", "metadata", "external", "parameters", "program_session_id", "feed")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROJECT_DIR_FIELD_NUMBER: _ClassVar[int]
    PARENT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_RESUMED_AT_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FEED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    name: str
    project_id: str
    issue_id: str
    blueprint: str
    agent_id: str
    status: SessionStatus
    reason: str
    project_dir: str
    parent_session_id: str
    mode: SessionMode
    created_by: str
    created_at: _timestamp_pb2.Timestamp
    last_resumed_at: _timestamp_pb2.Timestamp
    modified_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    exit_code: int
    event_count: int
    usage: _agent_service_pb2.Usage
    metadata: _containers.ScalarMap[str, str]
    external: bool
    parameters: _struct_pb2.Struct
    program_session_id: str
    feed: SessionFeed
    def __init__(self, session_id: _Optional[str] = ..., name: _Optional[str] = ..., project_id: _Optional[str] = ..., issue_id: _Optional[str] = ..., blueprint: _Optional[str] = ..., agent_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., reason: _Optional[str] = ..., project_dir: _Optional[str] = ..., parent_session_id: _Optional[str] = ..., mode: _Optional[_Union[SessionMode, str]] = ..., created_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_resumed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., modified_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., exit_code: _Optional[int] = ..., event_count: _Optional[int] = ..., usage: _Optional[_Union[_agent_service_pb2.Usage, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ..., external: bool = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., program_session_id: _Optional[str] = ..., feed: _Optional[_Union[SessionFeed, _Mapping]] = ...) -> None: ...

class SessionFeed(_message.Message):
    __slots__ = ("attempt", "events", "open", "callback_due", "telling", "telling_attempt", "sidecar_id")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_DUE_FIELD_NUMBER: _ClassVar[int]
    TELLING_FIELD_NUMBER: _ClassVar[int]
    TELLING_ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    events: int
    open: bool
    callback_due: bool
    telling: _containers.RepeatedScalarFieldContainer[str]
    telling_attempt: int
    sidecar_id: str
    def __init__(self, attempt: _Optional[int] = ..., events: _Optional[int] = ..., open: bool = ..., callback_due: bool = ..., telling: _Optional[_Iterable[str]] = ..., telling_attempt: _Optional[int] = ..., sidecar_id: _Optional[str] = ...) -> None: ...

class SessionEvent(_message.Message):
    __slots__ = ("sequence", "session_id", "session_name", "event_type", "timestamp", "tool_name", "tool_input", "tool_output", "error", "role", "content", "exit_code", "reason", "truncated", "sub_agent")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_NAME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    TOOL_INPUT_FIELD_NUMBER: _ClassVar[int]
    TOOL_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    SUB_AGENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    session_id: str
    session_name: str
    event_type: str
    timestamp: _timestamp_pb2.Timestamp
    tool_name: str
    tool_input: _struct_pb2.Value
    tool_output: _struct_pb2.Value
    error: str
    role: str
    content: _containers.RepeatedCompositeFieldContainer[SessionContent]
    exit_code: int
    reason: str
    truncated: bool
    sub_agent: bool
    def __init__(self, sequence: _Optional[int] = ..., session_id: _Optional[str] = ..., session_name: _Optional[str] = ..., event_type: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tool_name: _Optional[str] = ..., tool_input: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., tool_output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., error: _Optional[str] = ..., role: _Optional[str] = ..., content: _Optional[_Iterable[_Union[SessionContent, _Mapping]]] = ..., exit_code: _Optional[int] = ..., reason: _Optional[str] = ..., truncated: bool = ..., sub_agent: bool = ...) -> None: ...

class SessionContent(_message.Message):
    __slots__ = ("type", "text")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    type: str
    text: str
    def __init__(self, type: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class CreateSessionRequest(_message.Message):
    __slots__ = ("name", "prompt", "blueprint", "parameters", "mode", "parent_session_id", "issue_id", "project_id", "model", "metadata", "external", "session_id", "project_dir")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PARENT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_DIR_FIELD_NUMBER: _ClassVar[int]
    name: str
    prompt: str
    blueprint: str
    parameters: _struct_pb2.Struct
    mode: SessionMode
    parent_session_id: str
    issue_id: str
    project_id: str
    model: str
    metadata: _containers.ScalarMap[str, str]
    external: bool
    session_id: str
    project_dir: str
    def __init__(self, name: _Optional[str] = ..., prompt: _Optional[str] = ..., blueprint: _Optional[str] = ..., parameters: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., mode: _Optional[_Union[SessionMode, str]] = ..., parent_session_id: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., model: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., external: bool = ..., session_id: _Optional[str] = ..., project_dir: _Optional[str] = ...) -> None: ...

class CreateSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class GetSessionRequest(_message.Message):
    __slots__ = ("session_id", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class ListSessionsRequest(_message.Message):
    __slots__ = ("status", "parent_session_id", "limit", "cursor", "project_id")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    PARENT_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    status: SessionStatus
    parent_session_id: str
    limit: int
    cursor: str
    project_id: str
    def __init__(self, status: _Optional[_Union[SessionStatus, str]] = ..., parent_session_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListSessionsResponse(_message.Message):
    __slots__ = ("sessions", "next_cursor")
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[Session]
    next_cursor: str
    def __init__(self, sessions: _Optional[_Iterable[_Union[Session, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class ResumeSessionRequest(_message.Message):
    __slots__ = ("session_id", "prompt", "mode", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    prompt: str
    mode: SessionMode
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., prompt: _Optional[str] = ..., mode: _Optional[_Union[SessionMode, str]] = ..., project_id: _Optional[str] = ...) -> None: ...

class ResumeSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class StopSessionRequest(_message.Message):
    __slots__ = ("session_id", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class StopSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class UpdateSessionRequest(_message.Message):
    __slots__ = ("session_id", "name", "metadata", "project_dir", "blueprint", "project_id")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    PROJECT_DIR_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    name: str
    metadata: _containers.ScalarMap[str, str]
    project_dir: str
    blueprint: str
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., name: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., project_dir: _Optional[str] = ..., blueprint: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class UpdateSessionResponse(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: Session
    def __init__(self, session: _Optional[_Union[Session, _Mapping]] = ...) -> None: ...

class DeleteSessionRequest(_message.Message):
    __slots__ = ("session_id", "force", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    force: bool
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., force: bool = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteSessionResponse(_message.Message):
    __slots__ = ("session_id", "events_deleted")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_DELETED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    events_deleted: int
    def __init__(self, session_id: _Optional[str] = ..., events_deleted: _Optional[int] = ...) -> None: ...

class GetSessionResultRequest(_message.Message):
    __slots__ = ("session_id", "timeout", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    timeout: int
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., timeout: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetSessionResultResponse(_message.Message):
    __slots__ = ("session_id", "status", "text", "data", "problem")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    status: SessionStatus
    text: str
    data: _struct_pb2.Struct
    problem: str
    def __init__(self, session_id: _Optional[str] = ..., status: _Optional[_Union[SessionStatus, str]] = ..., text: _Optional[str] = ..., data: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., problem: _Optional[str] = ...) -> None: ...

class ListSessionEventsRequest(_message.Message):
    __slots__ = ("session_id", "after", "limit", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    after: int
    limit: int
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListSessionEventsResponse(_message.Message):
    __slots__ = ("events", "last", "more_available")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    MORE_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[SessionEvent]
    last: int
    more_available: bool
    def __init__(self, events: _Optional[_Iterable[_Union[SessionEvent, _Mapping]]] = ..., last: _Optional[int] = ..., more_available: bool = ...) -> None: ...

class AddSessionEventRequest(_message.Message):
    __slots__ = ("session_id", "event_type", "timestamp", "tool_name", "tool_input", "tool_output", "error", "role", "content", "exit_code", "reason", "project_id")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    TOOL_INPUT_FIELD_NUMBER: _ClassVar[int]
    TOOL_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    event_type: str
    timestamp: _timestamp_pb2.Timestamp
    tool_name: str
    tool_input: _struct_pb2.Value
    tool_output: _struct_pb2.Value
    error: str
    role: str
    content: _containers.RepeatedCompositeFieldContainer[SessionContent]
    exit_code: int
    reason: str
    project_id: str
    def __init__(self, session_id: _Optional[str] = ..., event_type: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., tool_name: _Optional[str] = ..., tool_input: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., tool_output: _Optional[_Union[_struct_pb2.Value, _Mapping]] = ..., error: _Optional[str] = ..., role: _Optional[str] = ..., content: _Optional[_Iterable[_Union[SessionContent, _Mapping]]] = ..., exit_code: _Optional[int] = ..., reason: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class AddSessionEventResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: SessionEvent
    def __init__(self, event: _Optional[_Union[SessionEvent, _Mapping]] = ...) -> None: ...
