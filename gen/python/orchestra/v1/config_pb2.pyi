from orchestra.v1 import agent_service_pb2 as _agent_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from orchestra.v1 import result_service_pb2 as _result_service_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StringList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class StringOrList(_message.Message):
    __slots__ = ("one", "many")
    ONE_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    one: str
    many: StringList
    def __init__(self, one: _Optional[str] = ..., many: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...

class AgentTypesDocument(_message.Message):
    __slots__ = ("file_sets", "group_defaults", "next_agents", "architect", "coding_agents", "integration_agents", "development_agents", "data_agents", "infrastructure_agents", "security_agents", "ai_ml_agents", "mcp_agents", "documentation_agents", "research_agents", "quality_agents", "support_agents", "business_agents")
    class FileSetsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...
    class GroupDefaultsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: StringList
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[StringList, _Mapping]] = ...) -> None: ...
    FILE_SETS_FIELD_NUMBER: _ClassVar[int]
    GROUP_DEFAULTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    ARCHITECT_FIELD_NUMBER: _ClassVar[int]
    CODING_AGENTS_FIELD_NUMBER: _ClassVar[int]
    INTEGRATION_AGENTS_FIELD_NUMBER: _ClassVar[int]
    DEVELOPMENT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    DATA_AGENTS_FIELD_NUMBER: _ClassVar[int]
    INFRASTRUCTURE_AGENTS_FIELD_NUMBER: _ClassVar[int]
    SECURITY_AGENTS_FIELD_NUMBER: _ClassVar[int]
    AI_ML_AGENTS_FIELD_NUMBER: _ClassVar[int]
    MCP_AGENTS_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTATION_AGENTS_FIELD_NUMBER: _ClassVar[int]
    RESEARCH_AGENTS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_AGENTS_FIELD_NUMBER: _ClassVar[int]
    SUPPORT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    BUSINESS_AGENTS_FIELD_NUMBER: _ClassVar[int]
    file_sets: _containers.MessageMap[str, StringList]
    group_defaults: _containers.MessageMap[str, StringList]
    next_agents: _containers.RepeatedCompositeFieldContainer[NextAgentRule]
    architect: AgentTypeEntries
    coding_agents: AgentTypeEntries
    integration_agents: AgentTypeEntries
    development_agents: AgentTypeEntries
    data_agents: AgentTypeEntries
    infrastructure_agents: AgentTypeEntries
    security_agents: AgentTypeEntries
    ai_ml_agents: AgentTypeEntries
    mcp_agents: AgentTypeEntries
    documentation_agents: AgentTypeEntries
    research_agents: AgentTypeEntries
    quality_agents: AgentTypeEntries
    support_agents: AgentTypeEntries
    business_agents: AgentTypeEntries
    def __init__(self, file_sets: _Optional[_Mapping[str, StringList]] = ..., group_defaults: _Optional[_Mapping[str, StringList]] = ..., next_agents: _Optional[_Iterable[_Union[NextAgentRule, _Mapping]]] = ..., architect: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., coding_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., integration_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., development_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., data_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., infrastructure_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., security_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., ai_ml_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., mcp_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., documentation_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., research_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., quality_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., support_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ..., business_agents: _Optional[_Union[AgentTypeEntries, _Mapping]] = ...) -> None: ...

class AgentTypeEntries(_message.Message):
    __slots__ = ("one", "many")
    ONE_FIELD_NUMBER: _ClassVar[int]
    MANY_FIELD_NUMBER: _ClassVar[int]
    one: AgentTypeEntry
    many: AgentTypeList
    def __init__(self, one: _Optional[_Union[AgentTypeEntry, _Mapping]] = ..., many: _Optional[_Union[AgentTypeList, _Mapping]] = ...) -> None: ...

class AgentTypeList(_message.Message):
    __slots__ = ("types",)
    TYPES_FIELD_NUMBER: _ClassVar[int]
    types: _containers.RepeatedCompositeFieldContainer[AgentTypeEntry]
    def __init__(self, types: _Optional[_Iterable[_Union[AgentTypeEntry, _Mapping]]] = ...) -> None: ...

class AgentTypeEntry(_message.Message):
    __slots__ = ("type", "name", "role", "model", "capabilities", "languages", "file_patterns", "subscriptions", "permissions", "context_max_bytes", "context_max_tokens")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    FILE_PATTERNS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    type: str
    name: str
    role: str
    model: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    languages: _containers.RepeatedScalarFieldContainer[str]
    file_patterns: _containers.RepeatedScalarFieldContainer[str]
    subscriptions: _containers.RepeatedScalarFieldContainer[str]
    permissions: _containers.RepeatedScalarFieldContainer[str]
    context_max_bytes: int
    context_max_tokens: int
    def __init__(self, type: _Optional[str] = ..., name: _Optional[str] = ..., role: _Optional[str] = ..., model: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., languages: _Optional[_Iterable[str]] = ..., file_patterns: _Optional[_Iterable[str]] = ..., subscriptions: _Optional[_Iterable[str]] = ..., permissions: _Optional[_Iterable[str]] = ..., context_max_bytes: _Optional[int] = ..., context_max_tokens: _Optional[int] = ...) -> None: ...

class NextAgentRule(_message.Message):
    __slots__ = ("when", "suggest", "priority", "reason")
    WHEN_FIELD_NUMBER: _ClassVar[int]
    SUGGEST_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    when: ResultCondition
    suggest: _containers.RepeatedScalarFieldContainer[str]
    priority: str
    reason: str
    def __init__(self, when: _Optional[_Union[ResultCondition, _Mapping]] = ..., suggest: _Optional[_Iterable[str]] = ..., priority: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResultCondition(_message.Message):
    __slots__ = ("groups", "types", "status", "touches", "words", "next_steps")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    TYPES_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    TOUCHES_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedScalarFieldContainer[str]
    types: _containers.RepeatedScalarFieldContainer[str]
    status: _containers.RepeatedScalarFieldContainer[_result_service_pb2.ResultStatus]
    touches: _containers.RepeatedScalarFieldContainer[str]
    words: _containers.RepeatedScalarFieldContainer[str]
    next_steps: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, groups: _Optional[_Iterable[str]] = ..., types: _Optional[_Iterable[str]] = ..., status: _Optional[_Iterable[_Union[_result_service_pb2.ResultStatus, str]]] = ..., touches: _Optional[_Iterable[str]] = ..., words: _Optional[_Iterable[str]] = ..., next_steps: _Optional[_Iterable[str]] = ...) -> None: ...

class RunnerConfig(_message.Message):
    __slots__ = ("preset", "command", "resume", "stdin", "output", "model", "mcp_config", "isolation", "base", "timeout_seconds", "stuck_after_seconds", "retry", "limits", "credentials", "environment", "tags")
    class EnvironmentEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PRESET_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    STDIN_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MCP_CONFIG_FIELD_NUMBER: _ClassVar[int]
    ISOLATION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STUCK_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RETRY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    preset: str
    command: StringOrList
    resume: StringOrList
    stdin: str
    output: str
    model: str
    mcp_config: str
    isolation: _agent_service_pb2.Isolation
    base: _agent_service_pb2.WorktreeBase
    timeout_seconds: int
    stuck_after_seconds: int
    retry: RetryConfig
    limits: RunnerLimits
    credentials: _containers.RepeatedScalarFieldContainer[str]
    environment: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, preset: _Optional[str] = ..., command: _Optional[_Union[StringOrList, _Mapping]] = ..., resume: _Optional[_Union[StringOrList, _Mapping]] = ..., stdin: _Optional[str] = ..., output: _Optional[str] = ..., model: _Optional[str] = ..., mcp_config: _Optional[str] = ..., isolation: _Optional[_Union[_agent_service_pb2.Isolation, str]] = ..., base: _Optional[_Union[_agent_service_pb2.WorktreeBase, str]] = ..., timeout_seconds: _Optional[int] = ..., stuck_after_seconds: _Optional[int] = ..., retry: _Optional[_Union[RetryConfig, _Mapping]] = ..., limits: _Optional[_Union[RunnerLimits, _Mapping]] = ..., credentials: _Optional[_Iterable[str]] = ..., environment: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class RetryConfig(_message.Message):
    __slots__ = ("attempts", "backoff_seconds")
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_SECONDS_FIELD_NUMBER: _ClassVar[int]
    attempts: int
    backoff_seconds: float
    def __init__(self, attempts: _Optional[int] = ..., backoff_seconds: _Optional[float] = ...) -> None: ...

class RunnerLimits(_message.Message):
    __slots__ = ("memory_mb", "processes", "open_files", "output_mb")
    MEMORY_MB_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    OPEN_FILES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_MB_FIELD_NUMBER: _ClassVar[int]
    memory_mb: int
    processes: int
    open_files: int
    output_mb: int
    def __init__(self, memory_mb: _Optional[int] = ..., processes: _Optional[int] = ..., open_files: _Optional[int] = ..., output_mb: _Optional[int] = ...) -> None: ...

class HandoverConfig(_message.Message):
    __slots__ = ("mode", "rules", "limits")
    MODE_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    mode: str
    rules: _containers.RepeatedCompositeFieldContainer[HandoverRule]
    limits: HandoverLimits
    def __init__(self, mode: _Optional[str] = ..., rules: _Optional[_Iterable[_Union[HandoverRule, _Mapping]]] = ..., limits: _Optional[_Union[HandoverLimits, _Mapping]] = ...) -> None: ...

class HandoverRule(_message.Message):
    __slots__ = ("name", "when", "do", "agent_type", "task", "priority", "message", "attempts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    DO_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    when: HandoverCondition
    do: str
    agent_type: str
    task: str
    priority: str
    message: str
    attempts: int
    def __init__(self, name: _Optional[str] = ..., when: _Optional[_Union[HandoverCondition, _Mapping]] = ..., do: _Optional[str] = ..., agent_type: _Optional[str] = ..., task: _Optional[str] = ..., priority: _Optional[str] = ..., message: _Optional[str] = ..., attempts: _Optional[int] = ...) -> None: ...

class HandoverCondition(_message.Message):
    __slots__ = ("event_type", "filter", "result")
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    event_type: StringOrList
    filter: str
    result: ResultCondition
    def __init__(self, event_type: _Optional[_Union[StringOrList, _Mapping]] = ..., filter: _Optional[str] = ..., result: _Optional[_Union[ResultCondition, _Mapping]] = ...) -> None: ...

class HandoverLimits(_message.Message):
    __slots__ = ("depth", "agents", "tokens", "cost_usd", "project_agents")
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    COST_USD_FIELD_NUMBER: _ClassVar[int]
    PROJECT_AGENTS_FIELD_NUMBER: _ClassVar[int]
    depth: int
    agents: int
    tokens: float
    cost_usd: float
    project_agents: int
    def __init__(self, depth: _Optional[int] = ..., agents: _Optional[int] = ..., tokens: _Optional[float] = ..., cost_usd: _Optional[float] = ..., project_agents: _Optional[int] = ...) -> None: ...

class RateLimitConfig(_message.Message):
    __slots__ = ("calls_per_minute", "bucket")
    CALLS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    calls_per_minute: int
    bucket: RateLimitBucket
    def __init__(self, calls_per_minute: _Optional[int] = ..., bucket: _Optional[_Union[RateLimitBucket, _Mapping]] = ...) -> None: ...

class RateLimitBucket(_message.Message):
    __slots__ = ("requests_per_minute", "burst")
    REQUESTS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    requests_per_minute: int
    burst: int
    def __init__(self, requests_per_minute: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...
