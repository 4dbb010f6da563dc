from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import event_service_pb2 as _event_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AgentStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGENT_STATUS_UNSPECIFIED: _ClassVar[AgentStatus]
    AGENT_STATUS_PENDING: _ClassVar[AgentStatus]
    AGENT_STATUS_RUNNING: _ClassVar[AgentStatus]
    AGENT_STATUS_NEEDS_INPUT: _ClassVar[AgentStatus]
    AGENT_STATUS_STUCK: _ClassVar[AgentStatus]
    AGENT_STATUS_COMPLETED: _ClassVar[AgentStatus]
    AGENT_STATUS_FAILED: _ClassVar[AgentStatus]
    AGENT_STATUS_STOPPED: _ClassVar[AgentStatus]

class Isolation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ISOLATION_UNSPECIFIED: _ClassVar[Isolation]
    ISOLATION_NONE: _ClassVar[Isolation]
    ISOLATION_WORKTREE: _ClassVar[Isolation]

class WorktreeBase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKTREE_BASE_UNSPECIFIED: _ClassVar[WorktreeBase]
    WORKTREE_BASE_HEAD: _ClassVar[WorktreeBase]
    WORKTREE_BASE_ISSUE: _ClassVar[WorktreeBase]
AGENT_STATUS_UNSPECIFIED: AgentStatus
AGENT_STATUS_PENDING: AgentStatus
AGENT_STATUS_RUNNING: AgentStatus
AGENT_STATUS_NEEDS_INPUT: AgentStatus
AGENT_STATUS_STUCK: AgentStatus
AGENT_STATUS_COMPLETED: AgentStatus
AGENT_STATUS_FAILED: AgentStatus
AGENT_STATUS_STOPPED: AgentStatus
ISOLATION_UNSPECIFIED: Isolation
ISOLATION_NONE: Isolation
ISOLATION_WORKTREE: Isolation
WORKTREE_BASE_UNSPECIFIED: WorktreeBase
WORKTREE_BASE_HEAD: WorktreeBase
WORKTREE_BASE_ISSUE: WorktreeBase

class CreateTokenRequest(_message.Message):
    __slots__ = ("agent_type", "issue_id", "project_id", "ttl_seconds", "agent_id")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    issue_id: str
    project_id: str
    ttl_seconds: int
    agent_id: str
    def __init__(self, agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., ttl_seconds: _Optional[int] = ..., agent_id: _Optional[str] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("jwt_token", "agent_id", "expires_at")
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    jwt_token: str
    agent_id: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, jwt_token: _Optional[str] = ..., agent_id: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CreateLoginCodeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateLoginCodeResponse(_message.Message):
    __slots__ = ("code", "expires_at", "url")
    CODE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    code: str
    expires_at: _timestamp_pb2.Timestamp
    url: str
    def __init__(self, code: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., url: _Optional[str] = ...) -> None: ...

class ExchangeLoginCodeRequest(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    def __init__(self, code: _Optional[str] = ...) -> None: ...

class ExchangeLoginCodeResponse(_message.Message):
    __slots__ = ("jwt_token", "expires_at", "identity_key")
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_KEY_FIELD_NUMBER: _ClassVar[int]
    jwt_token: str
    expires_at: _timestamp_pb2.Timestamp
    identity_key: str
    def __init__(self, jwt_token: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., identity_key: _Optional[str] = ...) -> None: ...

class RefreshTokenRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RefreshTokenResponse(_message.Message):
    __slots__ = ("jwt_token", "expires_at")
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    jwt_token: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, jwt_token: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SpanRecord(_message.Message):
    __slots__ = ("traceparent", "tracestate", "parent_span_id", "started_at")
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    TRACESTATE_FIELD_NUMBER: _ClassVar[int]
    PARENT_SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    traceparent: str
    tracestate: str
    parent_span_id: str
    started_at: _timestamp_pb2.Timestamp
    def __init__(self, traceparent: _Optional[str] = ..., tracestate: _Optional[str] = ..., parent_span_id: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RevokeTokenRequest(_message.Message):
    __slots__ = ("jti", "agent_id")
    JTI_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    jti: str
    agent_id: str
    def __init__(self, jti: _Optional[str] = ..., agent_id: _Optional[str] = ...) -> None: ...

class RevokeTokenResponse(_message.Message):
    __slots__ = ("revoked", "timestamp")
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    revoked: int
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, revoked: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class AgentType(_message.Message):
    __slots__ = ("type", "name", "group", "model", "role", "capabilities", "languages", "file_patterns", "subscriptions", "permissions")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    FILE_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    type: str
    name: str
    group: str
    model: str
    role: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    languages: _containers.RepeatedScalarFieldContainer[str]
    file_patterns: _containers.RepeatedScalarFieldContainer[str]
    subscriptions: _containers.RepeatedScalarFieldContainer[str]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, type: _Optional[str] = ..., name: _Optional[str] = ..., group: _Optional[str] = ..., model: _Optional[str] = ..., role: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., languages: _Optional[_Iterable[str]] = ..., file_patterns: _Optional[_Iterable[str]] = ..., subscriptions: _Optional[_Iterable[str]] = ..., permissions: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAgentTypesRequest(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: str
    def __init__(self, group: _Optional[str] = ...) -> None: ...

class ListAgentTypesResponse(_message.Message):
    __slots__ = ("agent_types",)
    AGENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    agent_types: _containers.RepeatedCompositeFieldContainer[AgentType]
    def __init__(self, agent_types: _Optional[_Iterable[_Union[AgentType, _Mapping]]] = ...) -> None: ...

class Agent(_message.Message):
    __slots__ = ("agent_id", "agent_type", "issue_id", "project_id", "task", "status", "reason", "status_since", "priority", "created_at", "started_at", "ended_at", "process_id", "exit_code", "signal", "attempt", "max_attempts", "retry_at", "spawned_by", "depth", "cause", "runner", "model", "isolation", "branch", "worktree", "progress", "usage", "last_output", "result_id", "credentials", "queue_position", "peak_memory_bytes", "cpu_seconds", "message", "tree", "span", "sidecar_id", "runner_id")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    STATUS_SINCE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AT_FIELD_NUMBER: _ClassVar[int]
    SPAWNED_BY_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    RUNNER_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    LAST_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RESULT_ID_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TREE_FIELD_NUMBER: _ClassVar[int]
    SPAN_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str
    task: str
    status: AgentStatus
    reason: str
    status_since: _timestamp_pb2.Timestamp
    priority: _event_service_pb2.Priority
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    ended_at: _timestamp_pb2.Timestamp
    process_id: int
    exit_code: int
    signal: str
    attempt: int
    max_attempts: int
    retry_at: _timestamp_pb2.Timestamp
    spawned_by: str
    depth: int
    cause: str
    runner: str
    model: str
    isolation: Isolation
    branch: str
    worktree: str
    progress: Progress
    usage: Usage
    last_output: _containers.RepeatedScalarFieldContainer[str]
    result_id: str
    credentials: _containers.RepeatedScalarFieldContainer[str]
    queue_position: int
    peak_memory_bytes: float
    cpu_seconds: float
    message: str
    tree: str
    span: SpanRecord
    sidecar_id: str
    runner_id: str
    def __init__(self, agent_id: _Optional[str] = ..., agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., task: _Optional[str] = ..., status: _Optional[_Union[AgentStatus, str]] = ..., reason: _Optional[str] = ..., status_since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., priority: _Optional[_Union[_event_service_pb2.Priority, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., process_id: _Optional[int] = ..., exit_code: _Optional[int] = ..., signal: _Optional[str] = ..., attempt: _Optional[int] = ..., max_attempts: _Optional[int] = ..., retry_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., spawned_by: _Optional[str] = ..., depth: _Optional[int] = ..., cause: _Optional[str] = ..., runner: _Optional[str] = ..., model: _Optional[str] = ..., isolation: _Optional[_Union[Isolation, str]] = ..., branch: _Optional[str] = ..., worktree: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., last_output: _Optional[_Iterable[str]] = ..., result_id: _Optional[str] = ..., credentials: _Optional[_Iterable[str]] = ..., queue_position: _Optional[int] = ..., peak_memory_bytes: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., message: _Optional[str] = ..., tree: _Optional[str] = ..., span: _Optional[_Union[SpanRecord, _Mapping]] = ..., sidecar_id: _Optional[str] = ..., runner_id: _Optional[str] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("percent", "message", "at")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    percent: float
    message: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, percent: _Optional[float] = ..., message: _Optional[str] = ..., at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("session_id", "turns", "duration_ms", "api_duration_ms", "input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens", "cost_usd")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    API_DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_READ_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHE_CREATION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    turns: float
    duration_ms: float
    api_duration_ms: float
    input_tokens: float
    output_tokens: float
    cache_read_tokens: float
    cache_creation_tokens: float
    cost_usd: float
    def __init__(self, session_id: _Optional[str] = ..., turns: _Optional[float] = ..., duration_ms: _Optional[float] = ..., api_duration_ms: _Optional[float] = ..., input_tokens: _Optional[float] = ..., output_tokens: _Optional[float] = ..., cache_read_tokens: _Optional[float] = ..., cache_creation_tokens: _Optional[float] = ..., cost_usd: _Optional[float] = ...) -> None: ...

class SpawnAgentRequest(_message.Message):
    __slots__ = ("agent_type", "issue_id", "task", "context_requirements", "environment", "priority", "project_id", "command", "isolation", "credentials", "timeout_seconds", "model", "directory", "base", "runner_tags")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_REQUIREMENTS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    RUNNER_TAGS_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    issue_id: str
    task: str
    context_requirements: _containers.RepeatedScalarFieldContainer[str]
    environment: _containers.ScalarMap[str, str]
    priority: _event_service_pb2.Priority
    project_id: str
    command: _containers.RepeatedScalarFieldContainer[str]
    isolation: Isolation
    credentials: _containers.RepeatedScalarFieldContainer[str]
    timeout_seconds: int
    model: str
    directory: str
    base: WorktreeBase
    runner_tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., task: _Optional[str] = ..., context_requirements: _Optional[_Iterable[str]] = ..., environment: _Optional[_Mapping[str, str]] = ..., priority: _Optional[_Union[_event_service_pb2.Priority, str]] = ..., project_id: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., isolation: _Optional[_Union[Isolation, str]] = ..., credentials: _Optional[_Iterable[str]] = ..., timeout_seconds: _Optional[int] = ..., model: _Optional[str] = ..., directory: _Optional[str] = ..., base: _Optional[_Union[WorktreeBase, str]] = ..., runner_tags: _Optional[_Iterable[str]] = ...) -> None: ...

class SpawnAgentResponse(_message.Message):
    __slots__ = ("agent_id", "spawned", "process_id", "context_injected", "jwt_token", "webhook_url", "timestamp", "status", "queue_position")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    SPAWNED_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_INJECTED_FIELD_NUMBER: _ClassVar[int]
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WEBHOOK_URL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    spawned: bool
    process_id: int
    context_injected: bool
    jwt_token: str
    webhook_url: str
    timestamp: _timestamp_pb2.Timestamp
    status: AgentStatus
    queue_position: int
    def __init__(self, agent_id: _Optional[str] = ..., spawned: bool = ..., process_id: _Optional[int] = ..., context_injected: bool = ..., jwt_token: _Optional[str] = ..., webhook_url: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., status: _Optional[_Union[AgentStatus, str]] = ..., queue_position: _Optional[int] = ...) -> None: ...

class GetAgentRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class GetAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class ListAgentsRequest(_message.Message):
    __slots__ = ("status", "agent_type", "issue_id", "project_id", "limit", "cursor", "all_projects")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    ALL_PROJECTS_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    agent_type: str
    issue_id: str
    project_id: str
    limit: int
    cursor: str
    all_projects: bool
    def __init__(self, status: _Optional[_Union[AgentStatus, str]] = ..., agent_type: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ..., all_projects: bool = ...) -> None: ...

class ListAgentsResponse(_message.Message):
    __slots__ = ("agents", "next_cursor", "running", "queued", "max_concurrent")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[Agent]
    next_cursor: str
    running: int
    queued: int
    max_concurrent: int
    def __init__(self, agents: _Optional[_Iterable[_Union[Agent, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., running: _Optional[int] = ..., queued: _Optional[int] = ..., max_concurrent: _Optional[int] = ...) -> None: ...

class StopAgentRequest(_message.Message):
    __slots__ = ("agent_id", "force", "timeout")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    force: bool
    timeout: float
    def __init__(self, agent_id: _Optional[str] = ..., force: bool = ..., timeout: _Optional[float] = ...) -> None: ...

class StopAgentResponse(_message.Message):
    __slots__ = ("agent_id", "stopped", "status", "reason", "timestamp")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    stopped: bool
    status: AgentStatus
    reason: str
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, agent_id: _Optional[str] = ..., stopped: bool = ..., status: _Optional[_Union[AgentStatus, str]] = ..., reason: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResumeAgentRequest(_message.Message):
    __slots__ = ("agent_id", "message")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    message: str
    def __init__(self, agent_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class ResumeAgentResponse(_message.Message):
    __slots__ = ("agent",)
    AGENT_FIELD_NUMBER: _ClassVar[int]
    agent: Agent
    def __init__(self, agent: _Optional[_Union[Agent, _Mapping]] = ...) -> None: ...

class StreamAgentLogsRequest(_message.Message):
    __slots__ = ("agent_id", "follow", "tail", "attempt")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    follow: bool
    tail: int
    attempt: int
    def __init__(self, agent_id: _Optional[str] = ..., follow: bool = ..., tail: _Optional[int] = ..., attempt: _Optional[int] = ...) -> None: ...

class StreamAgentLogsResponse(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("timestamp", "stream", "text")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    timestamp: _timestamp_pb2.Timestamp
    stream: str
    text: str
    def __init__(self, timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., stream: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class SendHeartbeatRequest(_message.Message):
    __slots__ = ("agent_id", "percent", "message", "needs_input")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEEDS_INPUT_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    percent: float
    message: str
    needs_input: bool
    def __init__(self, agent_id: _Optional[str] = ..., percent: _Optional[float] = ..., message: _Optional[str] = ..., needs_input: bool = ...) -> None: ...

class SendHeartbeatResponse(_message.Message):
    __slots__ = ("status", "timestamp")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[AgentStatus, str]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DiscardWorktreeRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class DiscardWorktreeResponse(_message.Message):
    __slots__ = ("discarded", "branch")
    DISCARDED_FIELD_NUMBER: _ClassVar[int]
    BRANCH_FIELD_NUMBER: _ClassVar[int]
    discarded: bool
    branch: str
    def __init__(self, discarded: bool = ..., branch: _Optional[str] = ...) -> None: ...

class GetAgentDiffRequest(_message.Message):
    __slots__ = ("agent_id",)
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    def __init__(self, agent_id: _Optional[str] = ...) -> None: ...

class GetAgentDiffResponse(_message.Message):
    __slots__ = ("agent_id", "diff", "truncated", "untracked_files")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    UNTRACKED_FILES_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    diff: str
    truncated: bool
    untracked_files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, agent_id: _Optional[str] = ..., diff: _Optional[str] = ..., truncated: bool = ..., untracked_files: _Optional[_Iterable[str]] = ...) -> None: ...

class CheckAccessRequest(_message.Message):
    __slots__ = ("agent", "rpc", "issue_id", "project_id")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    ISSUE_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    agent: str
    rpc: str
    issue_id: str
    project_id: str
    def __init__(self, agent: _Optional[str] = ..., rpc: _Optional[str] = ..., issue_id: _Optional[str] = ..., project_id: _Optional[str] = ...) -> None: ...

class CheckAccessResponse(_message.Message):
    __slots__ = ("allowed", "rule", "reason", "rpc", "agent_type")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RPC_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    rule: str
    reason: str
    rpc: str
    agent_type: str
    def __init__(self, allowed: bool = ..., rule: _Optional[str] = ..., reason: _Optional[str] = ..., rpc: _Optional[str] = ..., agent_type: _Optional[str] = ...) -> None: ...
