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

class ResultStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESULT_STATUS_UNSPECIFIED: _ClassVar[ResultStatus]
    RESULT_STATUS_SUCCESS: _ClassVar[ResultStatus]
    RESULT_STATUS_PARTIAL: _ClassVar[ResultStatus]
    RESULT_STATUS_FAILED: _ClassVar[ResultStatus]
RESULT_STATUS_UNSPECIFIED: ResultStatus
RESULT_STATUS_SUCCESS: ResultStatus
RESULT_STATUS_PARTIAL: ResultStatus
RESULT_STATUS_FAILED: ResultStatus

class AgentResult(_message.Message):
    __slots__ = ("status", "files_created", "files_modified", "files_deleted", "decisions", "metrics", "artifacts", "errors", "warnings", "next_steps", "extra")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FILES_CREATED_FIELD_NUMBER: _ClassVar[int]
    FILES_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    FILES_DELETED_FIELD_NUMBER: _ClassVar[int]
    DECISIONS_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    status: ResultStatus
    files_created: _containers.RepeatedCompositeFieldContainer[FileEntry]
    files_modified: _containers.RepeatedCompositeFieldContainer[FileEntry]
    files_deleted: _containers.RepeatedScalarFieldContainer[str]
    decisions: _containers.RepeatedScalarFieldContainer[str]
    metrics: _containers.ScalarMap[str, float]
    artifacts: _containers.ScalarMap[str, str]
    errors: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    next_steps: _containers.RepeatedScalarFieldContainer[str]
    extra: _struct_pb2.Struct
    def __init__(self, status: _Optional[_Union[ResultStatus, str]] = ..., files_created: _Optional[_Iterable[_Union[FileEntry, _Mapping]]] = ..., files_modified: _Optional[_Iterable[_Union[FileEntry, _Mapping]]] = ..., files_deleted: _Optional[_Iterable[str]] = ..., decisions: _Optional[_Iterable[str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., artifacts: _Optional[_Mapping[str, str]] = ..., errors: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[str]] = ..., next_steps: _Optional[_Iterable[str]] = ..., extra: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class FileEntry(_message.Message):
    __slots__ = ("path", "file")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    path: str
    file: FileDetails
    def __init__(self, path: _Optional[str] = ..., file: _Optional[_Union[FileDetails, _Mapping]] = ...) -> None: ...

class FileDetails(_message.Message):
    __slots__ = ("path", "size", "language", "checksum", "diff", "changes", "extra")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: float
    language: str
    checksum: str
    diff: str
    changes: TextList
    extra: _struct_pb2.Struct
    def __init__(self, path: _Optional[str] = ..., size: _Optional[float] = ..., language: _Optional[str] = ..., checksum: _Optional[str] = ..., diff: _Optional[str] = ..., changes: _Optional[_Union[TextList, _Mapping]] = ..., extra: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class TextList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateResultRequest(_message.Message):
    __slots__ = ("agent_id", "agent_type", "issue_id", "project_id", "result", "timestamp", "idempotency_key")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str
    result: AgentResult
    timestamp: _timestamp_pb2.Timestamp
    idempotency_key: str
    def __init__(self, agent_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., result: _Optional[_Union[AgentResult, _Mapping]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CreateResultResponse(_message.Message):
    __slots__ = ("id", "stored", "storage_path", "next_agents", "event_published", "event_id", "timestamp", "duplicate")
    ID_FIELD_NUMBER: _ClassVar[int]
    STORED_FIELD_NUMBER: _ClassVar[int]
    STORAGE_PATH_FIELD_NUMBER: _ClassVar[int]
    NEXT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    id: str
    stored: bool
    storage_path: str
    next_agents: _containers.RepeatedCompositeFieldContainer[NextAgent]
    event_published: bool
    event_id: str
    timestamp: _timestamp_pb2.Timestamp
    duplicate: bool
    def __init__(self, id: _Optional[str] = ..., stored: bool = ..., storage_path: _Optional[str] = ..., next_agents: _Optional[_Iterable[_Union[NextAgent, _Mapping]]] = ..., event_published: bool = ..., event_id: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., duplicate: bool = ...) -> None: ...

class NextAgent(_message.Message):
    __slots__ = ("agent_type", "priority", "reason")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    priority: str
    reason: str
    def __init__(self, agent_type: _Optional[str] = ..., priority: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("id", "agent_id", "agent_type", "issue_id", "project_id", "result", "timestamp", "branch")
    ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    id: str
    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str
    result: AgentResult
    timestamp: _timestamp_pb2.Timestamp
    branch: str
    def __init__(self, id: _Optional[str] = ..., agent_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., result: _Optional[_Union[AgentResult, _Mapping]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., branch: _Optional[str] = ...) -> None: ...

class GetResultRequest(_message.Message):
    __slots__ = ("id", "issue_id", "agent_type", "project_id")
    ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    issue_id: str
    agent_type: str
    project_id: str
    def __init__(self, id: _Optional[str] = ..., issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetResultResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: Result
    def __init__(self, result: _Optional[_Union[Result, _Mapping]] = ...) -> None: ...

class ListNextAgentsRequest(_message.Message):
    __slots__ = ("result_id", "project_id")
    RESULT_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    result_id: str
    project_id: str
    def __init__(self, result_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ListNextAgentsResponse(_message.Message):
    __slots__ = ("next_agents",)
    NEXT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    next_agents: _containers.RepeatedCompositeFieldContainer[NextAgent]
    def __init__(self, next_agents: _Optional[_Iterable[_Union[NextAgent, _Mapping]]] = ...) -> None: ...

class ListResultsRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "limit", "cursor", "latest")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    LATEST_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    limit: int
    cursor: str
    latest: bool
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., latest: bool = ...) -> None: ...

class ListResultsResponse(_message.Message):
    __slots__ = ("results", "next_cursor")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    next_cursor: str
    def __init__(self, results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...
