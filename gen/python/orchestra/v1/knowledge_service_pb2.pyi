from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KnowledgeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KNOWLEDGE_KIND_UNSPECIFIED: _ClassVar[KnowledgeKind]
    KNOWLEDGE_KIND_DECISION: _ClassVar[KnowledgeKind]
    KNOWLEDGE_KIND_FINDING: _ClassVar[KnowledgeKind]
    KNOWLEDGE_KIND_LESSON: _ClassVar[KnowledgeKind]

class KnowledgeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KNOWLEDGE_STATUS_UNSPECIFIED: _ClassVar[KnowledgeStatus]
    KNOWLEDGE_STATUS_PENDING: _ClassVar[KnowledgeStatus]
    KNOWLEDGE_STATUS_APPROVED: _ClassVar[KnowledgeStatus]
KNOWLEDGE_KIND_UNSPECIFIED: KnowledgeKind
KNOWLEDGE_KIND_DECISION: KnowledgeKind
KNOWLEDGE_KIND_FINDING: KnowledgeKind
KNOWLEDGE_KIND_LESSON: KnowledgeKind
KNOWLEDGE_STATUS_UNSPECIFIED: KnowledgeStatus
KNOWLEDGE_STATUS_PENDING: KnowledgeStatus
KNOWLEDGE_STATUS_APPROVED: KnowledgeStatus

class KnowledgeEntry(_message.Message):
    __slots__ = ("entry_id", "project_id", "issue_id", "kind", "text", "created_by", "agent_type", "result_id", "status", "approved_by", "created_at", "approved_at")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESULT_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    APPROVED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    APPROVED_AT_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    project_id: str
    issue_id: str
    kind: KnowledgeKind
    text: str
    created_by: str
    agent_type: str
    result_id: str
    status: KnowledgeStatus
    approved_by: str
    created_at: _timestamp_pb2.Timestamp
    approved_at: _timestamp_pb2.Timestamp
    def __init__(self, entry_id: _Optional[str] = ..., project_id: _Optional[str] = ..., issue_id: _Optional[str] = ..., kind: _Optional[_Union[KnowledgeKind, str]] = ..., text: _Optional[str] = ..., created_by: _Optional[str] = ..., agent_type: _Optional[str] = ..., result_id: _Optional[str] = ..., status: _Optional[_Union[KnowledgeStatus, str]] = ..., approved_by: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., approved_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateKnowledgeEntryRequest(_message.Message):
    __slots__ = ("text", "kind", "issue_id", "project_id")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    text: str
    kind: KnowledgeKind
    issue_id: str
    project_id: str
    def __init__(self, text: _Optional[str] = ..., kind: _Optional[_Union[KnowledgeKind, str]] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class CreateKnowledgeEntryResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: KnowledgeEntry
    def __init__(self, entry: _Optional[_Union[KnowledgeEntry, _Mapping]] = ...) -> None: ...

class GetKnowledgeEntryRequest(_message.Message):
    __slots__ = ("entry_id", "project_id")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    project_id: str
    def __init__(self, entry_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class GetKnowledgeEntryResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: KnowledgeEntry
    def __init__(self, entry: _Optional[_Union[KnowledgeEntry, _Mapping]] = ...) -> None: ...

class ListKnowledgeEntriesRequest(_message.Message):
    __slots__ = ("kind", "status", "issue_id", "project_id", "limit", "cursor")
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    kind: KnowledgeKind
    status: KnowledgeStatus
    issue_id: str
    project_id: str
    limit: int
    cursor: str
    def __init__(self, kind: _Optional[_Union[KnowledgeKind, str]] = ..., status: _Optional[_Union[KnowledgeStatus, str]] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListKnowledgeEntriesResponse(_message.Message):
    __slots__ = ("entries", "next_cursor")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[KnowledgeEntry]
    next_cursor: str
    def __init__(self, entries: _Optional[_Iterable[_Union[KnowledgeEntry, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class SearchKnowledgeRequest(_message.Message):
    __slots__ = ("query", "kind", "status", "issue_id", "project_id", "limit")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    query: str
    kind: KnowledgeKind
    status: KnowledgeStatus
    issue_id: str
    project_id: str
    limit: int
    def __init__(self, query: _Optional[str] = ..., kind: _Optional[_Union[KnowledgeKind, str]] = ..., status: _Optional[_Union[KnowledgeStatus, str]] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class SearchKnowledgeResponse(_message.Message):
    __slots__ = ("query", "results")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    query: str
    results: _containers.RepeatedCompositeFieldContainer[KnowledgeFound]
    def __init__(self, query: _Optional[str] = ..., results: _Optional[_Iterable[_Union[KnowledgeFound, _Mapping]]] = ...) -> None: ...

class KnowledgeFound(_message.Message):
    __slots__ = ("entry", "score")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    entry: KnowledgeEntry
    score: float
    def __init__(self, entry: _Optional[_Union[KnowledgeEntry, _Mapping]] = ..., score: _Optional[float] = ...) -> None: ...

class ApproveKnowledgeEntryRequest(_message.Message):
    __slots__ = ("entry_id", "project_id")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    project_id: str
    def __init__(self, entry_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ApproveKnowledgeEntryResponse(_message.Message):
    __slots__ = ("entry",)
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    entry: KnowledgeEntry
    def __init__(self, entry: _Optional[_Union[KnowledgeEntry, _Mapping]] = ...) -> None: ...

class DeleteKnowledgeEntryRequest(_message.Message):
    __slots__ = ("entry_id", "project_id")
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    project_id: str
    def __init__(self, entry_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class DeleteKnowledgeEntryResponse(_message.Message):
    __slots__ = ("entry_id",)
    ENTRY_ID_FIELD_NUMBER: _ClassVar[int]
    entry_id: str
    def __init__(self, entry_id: _Optional[str] = ...) -> None: ...
