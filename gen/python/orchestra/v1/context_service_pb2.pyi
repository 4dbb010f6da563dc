from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import knowledge_service_pb2 as _knowledge_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Disposition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISPOSITION_UNSPECIFIED: _ClassVar[Disposition]
    DISPOSITION_INCLUDED: _ClassVar[Disposition]
    DISPOSITION_CUT: _ClassVar[Disposition]
    DISPOSITION_LEFT_OUT: _ClassVar[Disposition]
DISPOSITION_UNSPECIFIED: Disposition
DISPOSITION_INCLUDED: Disposition
DISPOSITION_CUT: Disposition
DISPOSITION_LEFT_OUT: Disposition

class GetContextRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "task", "max_bytes", "max_tokens")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    task: str
    max_bytes: int
    max_tokens: int
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., task: _Optional[str] = ..., max_bytes: _Optional[int] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class GetContextResponse(_message.Message):
    __slots__ = ("issue_id", "agent_type", "context", "truncated", "truncation_strategy", "total_size_bytes", "file_count", "timestamp", "cache_hit", "manifest", "total_tokens", "tokenizer")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    context: Context
    truncated: bool
    truncation_strategy: str
    total_size_bytes: int
    file_count: int
    timestamp: _timestamp_pb2.Timestamp
    cache_hit: bool
    manifest: Manifest
    total_tokens: int
    tokenizer: str
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., context: _Optional[_Union[Context, _Mapping]] = ..., truncated: bool = ..., truncation_strategy: _Optional[str] = ..., total_size_bytes: _Optional[int] = ..., file_count: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cache_hit: bool = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ..., total_tokens: _Optional[int] = ..., tokenizer: _Optional[str] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("project_structure", "relevant_files", "git_context", "previous_agent_outputs", "metadata", "knowledge")
    PROJECT_STRUCTURE_FIELD_NUMBER: _ClassVar[int]
    RELEVANT_FILES_FIELD_NUMBER: _ClassVar[int]
    GIT_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_AGENT_OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    KNOWLEDGE_FIELD_NUMBER: _ClassVar[int]
    project_structure: ProjectStructure
    relevant_files: _containers.RepeatedCompositeFieldContainer[RelevantFile]
    git_context: GitContext
    previous_agent_outputs: _containers.RepeatedCompositeFieldContainer[PreviousAgentOutput]
    metadata: Metadata
    knowledge: KnowledgeList
    def __init__(self, project_structure: _Optional[_Union[ProjectStructure, _Mapping]] = ..., relevant_files: _Optional[_Iterable[_Union[RelevantFile, _Mapping]]] = ..., git_context: _Optional[_Union[GitContext, _Mapping]] = ..., previous_agent_outputs: _Optional[_Iterable[_Union[PreviousAgentOutput, _Mapping]]] = ..., metadata: _Optional[_Union[Metadata, _Mapping]] = ..., knowledge: _Optional[_Union[KnowledgeList, _Mapping]] = ...) -> None: ...

class KnowledgeList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[_knowledge_service_pb2.KnowledgeEntry]
    def __init__(self, values: _Optional[_Iterable[_Union[_knowledge_service_pb2.KnowledgeEntry, _Mapping]]] = ...) -> None: ...

class ProjectStructure(_message.Message):
    __slots__ = ("root", "files", "directories", "total_files", "total_size_bytes")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DIRECTORIES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FILES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    root: str
    files: _containers.RepeatedScalarFieldContainer[str]
    directories: _containers.RepeatedScalarFieldContainer[str]
    total_files: int
    total_size_bytes: float
    def __init__(self, root: _Optional[str] = ..., files: _Optional[_Iterable[str]] = ..., directories: _Optional[_Iterable[str]] = ..., total_files: _Optional[int] = ..., total_size_bytes: _Optional[float] = ...) -> None: ...

class RelevantFile(_message.Message):
    __slots__ = ("path", "content", "last_modified", "size", "language", "checksum", "encoding")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    path: str
    content: str
    last_modified: _timestamp_pb2.Timestamp
    size: int
    language: str
    checksum: str
    encoding: str
    def __init__(self, path: _Optional[str] = ..., content: _Optional[str] = ..., last_modified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., size: _Optional[int] = ..., language: _Optional[str] = ..., checksum: _Optional[str] = ..., encoding: _Optional[str] = ...) -> None: ...

class GitContext(_message.Message):
    __slots__ = ("branch", "recent_commits", "uncommitted_changes", "remote", "remote_url", "older_commits", "more_uncommitted_changes")
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    RECENT_COMMITS_FIELD_NUMBER: _ClassVar[int]
    UNCOMMITTED_CHANGES_FIELD_NUMBER: _ClassVar[int]
    REMOTE_FIELD_NUMBER: _ClassVar[int]
    REMOTE_URL_FIELD_NUMBER: _ClassVar[int]
    OLDER_COMMITS_FIELD_NUMBER: _ClassVar[int]
    MORE_UNCOMMITTED_CHANGES_FIELD_NUMBER: _ClassVar[int]
    branch: str
    recent_commits: _containers.RepeatedCompositeFieldContainer[Commit]
    uncommitted_changes: _containers.RepeatedCompositeFieldContainer[UncommittedChange]
    remote: str
    remote_url: str
    older_commits: bool
    more_uncommitted_changes: int
    def __init__(self, branch: _Optional[str] = ..., recent_commits: _Optional[_Iterable[_Union[Commit, _Mapping]]] = ..., uncommitted_changes: _Optional[_Iterable[_Union[UncommittedChange, _Mapping]]] = ..., remote: _Optional[str] = ..., remote_url: _Optional[str] = ..., older_commits: bool = ..., more_uncommitted_changes: _Optional[int] = ...) -> None: ...

class Commit(_message.Message):
    __slots__ = ("hash", "message", "author", "timestamp", "files_changed")
    HASH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AUTHOR_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    FILES_CHANGED_FIELD_NUMBER: _ClassVar[int]
    hash: str
    message: str
    author: str
    timestamp: _timestamp_pb2.Timestamp
    files_changed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, hash: _Optional[str] = ..., message: _Optional[str] = ..., author: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., files_changed: _Optional[_Iterable[str]] = ...) -> None: ...

class UncommittedChange(_message.Message):
    __slots__ = ("path", "status", "diff")
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    path: str
    status: str
    diff: str
    def __init__(self, path: _Optional[str] = ..., status: _Optional[str] = ..., diff: _Optional[str] = ...) -> None: ...

class PreviousAgentOutput(_message.Message):
    __slots__ = ("agent", "agent_type", "timestamp", "decision", "rationale", "files_affected", "status", "errors", "warnings", "next_steps", "artifacts", "issue_id")
    class ArtifactsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    RATIONALE_FIELD_NUMBER: _ClassVar[int]
    FILES_AFFECTED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    agent: str
    agent_type: str
    timestamp: _timestamp_pb2.Timestamp
    decision: str
    rationale: str
    files_affected: _containers.RepeatedScalarFieldContainer[str]
    status: str
    errors: _containers.RepeatedScalarFieldContainer[str]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    next_steps: _containers.RepeatedScalarFieldContainer[str]
    artifacts: _containers.ScalarMap[str, str]
    issue_id: str
    def __init__(self, agent: _Optional[str] = ..., agent_type: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., decision: _Optional[str] = ..., rationale: _Optional[str] = ..., files_affected: _Optional[_Iterable[str]] = ..., status: _Optional[str] = ..., errors: _Optional[_Iterable[str]] = ..., warnings: _Optional[_Iterable[str]] = ..., next_steps: _Optional[_Iterable[str]] = ..., artifacts: _Optional[_Mapping[str, str]] = ..., issue_id: _Optional[str] = ...) -> None: ...

class Metadata(_message.Message):
    __slots__ = ("project_type", "dependencies", "python_version", "test_coverage", "last_build_status", "last_build_time", "security_scan_status")
    PROJECT_TYPE_FIELD_NUMBER: _ClassVar[int]
    DEPENDENCIES_FIELD_NUMBER: _ClassVar[int]
    PYTHON_VERSION_FIELD_NUMBER: _ClassVar[int]
    TEST_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_BUILD_STATUS_FIELD_NUMBER: _ClassVar[int]
    LAST_BUILD_TIME_FIELD_NUMBER: _ClassVar[int]
    SECURITY_SCAN_STATUS_FIELD_NUMBER: _ClassVar[int]
    project_type: str
    dependencies: _containers.RepeatedScalarFieldContainer[str]
    python_version: str
    test_coverage: float
    last_build_status: str
    last_build_time: _timestamp_pb2.Timestamp
    security_scan_status: str
    def __init__(self, project_type: _Optional[str] = ..., dependencies: _Optional[_Iterable[str]] = ..., python_version: _Optional[str] = ..., test_coverage: _Optional[float] = ..., last_build_status: _Optional[str] = ..., last_build_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., security_scan_status: _Optional[str] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("entries", "files_included", "files_cut", "files_left_out", "secrets_masked", "checksum")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    FILES_INCLUDED_FIELD_NUMBER: _ClassVar[int]
    FILES_CUT_FIELD_NUMBER: _ClassVar[int]
    FILES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    SECRETS_MASKED_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ManifestEntry]
    files_included: int
    files_cut: int
    files_left_out: int
    secrets_masked: int
    checksum: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ManifestEntry, _Mapping]]] = ..., files_included: _Optional[int] = ..., files_cut: _Optional[int] = ..., files_left_out: _Optional[int] = ..., secrets_masked: _Optional[int] = ..., checksum: _Optional[str] = ...) -> None: ...

class ManifestEntry(_message.Message):
    __slots__ = ("path", "disposition", "reason", "bytes", "files", "masked_secrets", "score")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    MASKED_SECRETS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    path: str
    disposition: Disposition
    reason: str
    bytes: float
    files: int
    masked_secrets: _containers.RepeatedCompositeFieldContainer[MaskedSecret]
    score: float
    def __init__(self, path: _Optional[str] = ..., disposition: _Optional[_Union[Disposition, str]] = ..., reason: _Optional[str] = ..., bytes: _Optional[float] = ..., files: _Optional[int] = ..., masked_secrets: _Optional[_Iterable[_Union[MaskedSecret, _Mapping]]] = ..., score: _Optional[float] = ...) -> None: ...

class MaskedSecret(_message.Message):
    __slots__ = ("line", "rule")
    LINE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    line: int
    rule: str
    def __init__(self, line: _Optional[int] = ..., rule: _Optional[str] = ...) -> None: ...

class StreamContextRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "task", "max_bytes", "max_tokens")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    task: str
    max_bytes: int
    max_tokens: int
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., task: _Optional[str] = ..., max_bytes: _Optional[int] = ..., max_tokens: _Optional[int] = ...) -> None: ...

class GetFilesRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "path", "lines")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    path: _containers.RepeatedScalarFieldContainer[str]
    lines: str
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., path: _Optional[_Iterable[str]] = ..., lines: _Optional[str] = ...) -> None: ...

class GetFilesResponse(_message.Message):
    __slots__ = ("issue_id", "agent_type", "files", "timestamp")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    files: _containers.RepeatedCompositeFieldContainer[FileContent]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., files: _Optional[_Iterable[_Union[FileContent, _Mapping]]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class FileContent(_message.Message):
    __slots__ = ("path", "content", "first_line", "last_line", "line_count", "language", "last_modified", "checksum", "masked_secrets")
    PATH_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    FIRST_LINE_FIELD_NUMBER: _ClassVar[int]
    LAST_LINE_FIELD_NUMBER: _ClassVar[int]
    LINE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    MASKED_SECRETS_FIELD_NUMBER: _ClassVar[int]
    path: str
    content: str
    first_line: int
    last_line: int
    line_count: int
    language: str
    last_modified: _timestamp_pb2.Timestamp
    checksum: str
    masked_secrets: _containers.RepeatedCompositeFieldContainer[MaskedSecret]
    def __init__(self, path: _Optional[str] = ..., content: _Optional[str] = ..., first_line: _Optional[int] = ..., last_line: _Optional[int] = ..., line_count: _Optional[int] = ..., language: _Optional[str] = ..., last_modified: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., checksum: _Optional[str] = ..., masked_secrets: _Optional[_Iterable[_Union[MaskedSecret, _Mapping]]] = ...) -> None: ...

class StreamContextResponse(_message.Message):
    __slots__ = ("header", "fragment", "trailer")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_FIELD_NUMBER: _ClassVar[int]
    TRAILER_FIELD_NUMBER: _ClassVar[int]
    header: ContextHeader
    fragment: Context
    trailer: ContextTrailer
    def __init__(self, header: _Optional[_Union[ContextHeader, _Mapping]] = ..., fragment: _Optional[_Union[Context, _Mapping]] = ..., trailer: _Optional[_Union[ContextTrailer, _Mapping]] = ...) -> None: ...

class ContextHeader(_message.Message):
    __slots__ = ("issue_id", "agent_type", "cache_hit", "timestamp", "total_size_bytes", "file_count")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    cache_hit: bool
    timestamp: _timestamp_pb2.Timestamp
    total_size_bytes: int
    file_count: int
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., cache_hit: bool = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., total_size_bytes: _Optional[int] = ..., file_count: _Optional[int] = ...) -> None: ...

class ContextTrailer(_message.Message):
    __slots__ = ("truncated", "truncation_strategy", "manifest")
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_STRATEGY_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    truncated: bool
    truncation_strategy: str
    manifest: Manifest
    def __init__(self, truncated: bool = ..., truncation_strategy: _Optional[str] = ..., manifest: _Optional[_Union[Manifest, _Mapping]] = ...) -> None: ...

class RefreshContextRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "force")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    force: bool
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., force: bool = ...) -> None: ...

class RefreshContextResponse(_message.Message):
    __slots__ = ("refreshed", "entries_refreshed", "timestamp")
    REFRESHED_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_REFRESHED_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    refreshed: bool
    entries_refreshed: int
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, refreshed: bool = ..., entries_refreshed: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ClearContextCacheRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class ClearContextCacheResponse(_message.Message):
    __slots__ = ("cleared", "entries_removed", "bytes_freed", "timestamp")
    CLEARED_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_REMOVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FREED_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    cleared: bool
    entries_removed: int
    bytes_freed: float
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, cleared: bool = ..., entries_removed: _Optional[int] = ..., bytes_freed: _Optional[float] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ExplainContextRequest(_message.Message):
    __slots__ = ("issue_id", "agent_type", "project_id", "task", "max_bytes", "max_tokens", "limit")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    project_id: str
    task: str
    max_bytes: int
    max_tokens: int
    limit: int
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., project_id: _Optional[str] = ..., task: _Optional[str] = ..., max_bytes: _Optional[int] = ..., max_tokens: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ExplainContextResponse(_message.Message):
    __slots__ = ("issue_id", "agent_type", "candidates", "total_candidates", "max_bytes", "used_bytes", "timestamp")
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    USED_BYTES_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    issue_id: str
    agent_type: str
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    total_candidates: int
    max_bytes: int
    used_bytes: int
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, issue_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., total_candidates: _Optional[int] = ..., max_bytes: _Optional[int] = ..., used_bytes: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("path", "disposition", "reason", "score", "signals", "factor", "lines", "line_count", "size")
    class SignalsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PATH_FIELD_NUMBER: _ClassVar[int]
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SIGNALS_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    LINE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    path: str
    disposition: Disposition
    reason: str
    score: float
    signals: _containers.ScalarMap[str, float]
    factor: float
    lines: _containers.RepeatedCompositeFieldContainer[LineRange]
    line_count: int
    size: float
    def __init__(self, path: _Optional[str] = ..., disposition: _Optional[_Union[Disposition, str]] = ..., reason: _Optional[str] = ..., score: _Optional[float] = ..., signals: _Optional[_Mapping[str, float]] = ..., factor: _Optional[float] = ..., lines: _Optional[_Iterable[_Union[LineRange, _Mapping]]] = ..., line_count: _Optional[int] = ..., size: _Optional[float] = ...) -> None: ...

class LineRange(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...
