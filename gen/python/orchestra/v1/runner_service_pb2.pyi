from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import agent_service_pb2 as _agent_service_pb2
from orchestra.v1 import blueprint_service_pb2 as _blueprint_service_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WorktreeAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKTREE_ACTION_UNSPECIFIED: _ClassVar[WorktreeAction]
    WORKTREE_ACTION_TIDY: _ClassVar[WorktreeAction]
    WORKTREE_ACTION_LIST_CHANGES: _ClassVar[WorktreeAction]
    WORKTREE_ACTION_DIFF: _ClassVar[WorktreeAction]
    WORKTREE_ACTION_DISCARD: _ClassVar[WorktreeAction]
    WORKTREE_ACTION_READ_COMMITS: _ClassVar[WorktreeAction]
WORKTREE_ACTION_UNSPECIFIED: WorktreeAction
WORKTREE_ACTION_TIDY: WorktreeAction
WORKTREE_ACTION_LIST_CHANGES: WorktreeAction
WORKTREE_ACTION_DIFF: WorktreeAction
WORKTREE_ACTION_DISCARD: WorktreeAction
WORKTREE_ACTION_READ_COMMITS: WorktreeAction

class CreateRunnerTokenRequest(_message.Message):
    __slots__ = ("runner_id", "ttl_seconds", "tags")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    ttl_seconds: int
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, runner_id: _Optional[str] = ..., ttl_seconds: _Optional[int] = ..., tags: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateRunnerTokenResponse(_message.Message):
    __slots__ = ("runner_id", "jwt_token", "expires_at")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    jwt_token: str
    expires_at: _timestamp_pb2.Timestamp
    def __init__(self, runner_id: _Optional[str] = ..., jwt_token: _Optional[str] = ..., expires_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListRunnersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRunnersResponse(_message.Message):
    __slots__ = ("runners",)
    RUNNERS_FIELD_NUMBER: _ClassVar[int]
    runners: _containers.RepeatedCompositeFieldContainer[Runner]
    def __init__(self, runners: _Optional[_Iterable[_Union[Runner, _Mapping]]] = ...) -> None: ...

class Runner(_message.Message):
    __slots__ = ("runner_id", "host", "version", "tags", "agent_types", "project_ids", "capacity", "running", "reported_at", "connected")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    PROJECT_IDS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    REPORTED_AT_FIELD_NUMBER: _ClassVar[int]
    CONNECTED_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    host: str
    version: str
    tags: _containers.RepeatedScalarFieldContainer[str]
    agent_types: _containers.RepeatedScalarFieldContainer[str]
    project_ids: _containers.RepeatedScalarFieldContainer[str]
    capacity: int
    running: int
    reported_at: _timestamp_pb2.Timestamp
    connected: bool
    def __init__(self, runner_id: _Optional[str] = ..., host: _Optional[str] = ..., version: _Optional[str] = ..., tags: _Optional[_Iterable[str]] = ..., agent_types: _Optional[_Iterable[str]] = ..., project_ids: _Optional[_Iterable[str]] = ..., capacity: _Optional[int] = ..., running: _Optional[int] = ..., reported_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., connected: bool = ...) -> None: ...

class AttendRunnerRequest(_message.Message):
    __slots__ = ("runner_id", "sidecar_id", "instance", "runner")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    RUNNER_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    sidecar_id: str
    instance: str
    runner: Runner
    def __init__(self, runner_id: _Optional[str] = ..., sidecar_id: _Optional[str] = ..., instance: _Optional[str] = ..., runner: _Optional[_Union[Runner, _Mapping]] = ...) -> None: ...

class AttendRunnerResponse(_message.Message):
    __slots__ = ("order_id", "agent_id", "attempt", "welcome", "launch", "stop", "renew", "forget", "worktree")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LAUNCH_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    agent_id: str
    attempt: int
    welcome: RunnerWelcome
    launch: LaunchRun
    stop: StopRun
    renew: RenewRun
    forget: ForgetRun
    worktree: AskWorktree
    def __init__(self, order_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., attempt: _Optional[int] = ..., welcome: _Optional[_Union[RunnerWelcome, _Mapping]] = ..., launch: _Optional[_Union[LaunchRun, _Mapping]] = ..., stop: _Optional[_Union[StopRun, _Mapping]] = ..., renew: _Optional[_Union[RenewRun, _Mapping]] = ..., forget: _Optional[_Union[ForgetRun, _Mapping]] = ..., worktree: _Optional[_Union[AskWorktree, _Mapping]] = ...) -> None: ...

class RunnerWelcome(_message.Message):
    __slots__ = ("sidecar_id", "sidecar_ids", "jwt_token", "lost_after_seconds", "warnings")
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_IDS_FIELD_NUMBER: _ClassVar[int]
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LOST_AFTER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    sidecar_id: str
    sidecar_ids: _containers.RepeatedScalarFieldContainer[str]
    jwt_token: str
    lost_after_seconds: int
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, sidecar_id: _Optional[str] = ..., sidecar_ids: _Optional[_Iterable[str]] = ..., jwt_token: _Optional[str] = ..., lost_after_seconds: _Optional[int] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class LaunchRun(_message.Message):
    __slots__ = ("agent", "request", "agent_type", "blueprint", "preset", "jwt_token", "context_json", "context_markdown", "secrets", "resuming", "base")
    class SecretsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    AGENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    BLUEPRINT_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_MARKDOWN_FIELD_NUMBER: _ClassVar[int]
    SECRETS_FIELD_NUMBER: _ClassVar[int]
    RESUMING_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    agent: _agent_service_pb2.Agent
    request: _agent_service_pb2.SpawnAgentRequest
    agent_type: _agent_service_pb2.AgentType
    blueprint: _blueprint_service_pb2.Blueprint
    preset: bytes
    jwt_token: str
    context_json: bytes
    context_markdown: bytes
    secrets: _containers.ScalarMap[str, str]
    resuming: bool
    base: str
    def __init__(self, agent: _Optional[_Union[_agent_service_pb2.Agent, _Mapping]] = ..., request: _Optional[_Union[_agent_service_pb2.SpawnAgentRequest, _Mapping]] = ..., agent_type: _Optional[_Union[_agent_service_pb2.AgentType, _Mapping]] = ..., blueprint: _Optional[_Union[_blueprint_service_pb2.Blueprint, _Mapping]] = ..., preset: _Optional[bytes] = ..., jwt_token: _Optional[str] = ..., context_json: _Optional[bytes] = ..., context_markdown: _Optional[bytes] = ..., secrets: _Optional[_Mapping[str, str]] = ..., resuming: bool = ..., base: _Optional[str] = ...) -> None: ...

class StopRun(_message.Message):
    __slots__ = ("grace_seconds",)
    GRACE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    grace_seconds: float
    def __init__(self, grace_seconds: _Optional[float] = ...) -> None: ...

class RenewRun(_message.Message):
    __slots__ = ("jwt_token",)
    JWT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jwt_token: str
    def __init__(self, jwt_token: _Optional[str] = ...) -> None: ...

class ForgetRun(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AskWorktree(_message.Message):
    __slots__ = ("agent", "action", "max_bytes", "have_commits", "offset", "merged_commit")
    AGENT_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    HAVE_COMMITS_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    MERGED_COMMIT_FIELD_NUMBER: _ClassVar[int]
    agent: _agent_service_pb2.Agent
    action: WorktreeAction
    max_bytes: int
    have_commits: _containers.RepeatedScalarFieldContainer[str]
    offset: int
    merged_commit: str
    def __init__(self, agent: _Optional[_Union[_agent_service_pb2.Agent, _Mapping]] = ..., action: _Optional[_Union[WorktreeAction, str]] = ..., max_bytes: _Optional[int] = ..., have_commits: _Optional[_Iterable[str]] = ..., offset: _Optional[int] = ..., merged_commit: _Optional[str] = ...) -> None: ...

class ReportRunnerRequest(_message.Message):
    __slots__ = ("runner_id", "sidecar_id", "instance", "running", "runs", "outputs", "answers", "worktrees", "lists_worktrees", "leaving")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    WORKTREES_FIELD_NUMBER: _ClassVar[int]
    LISTS_WORKTREES_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    sidecar_id: str
    instance: str
    running: int
    runs: _containers.RepeatedCompositeFieldContainer[RunAtRunner]
    outputs: _containers.RepeatedCompositeFieldContainer[RunOutput]
    answers: _containers.RepeatedCompositeFieldContainer[RunnerAnswer]
    worktrees: _containers.RepeatedScalarFieldContainer[str]
    lists_worktrees: bool
    leaving: bool
    def __init__(self, runner_id: _Optional[str] = ..., sidecar_id: _Optional[str] = ..., instance: _Optional[str] = ..., running: _Optional[int] = ..., runs: _Optional[_Iterable[_Union[RunAtRunner, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[RunOutput, _Mapping]]] = ..., answers: _Optional[_Iterable[_Union[RunnerAnswer, _Mapping]]] = ..., worktrees: _Optional[_Iterable[str]] = ..., lists_worktrees: bool = ..., leaving: bool = ...) -> None: ...

class RunAtRunner(_message.Message):
    __slots__ = ("agent_id", "attempt", "end", "output_bytes", "worktree")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    attempt: int
    end: RunEnd
    output_bytes: int
    worktree: str
    def __init__(self, agent_id: _Optional[str] = ..., attempt: _Optional[int] = ..., end: _Optional[_Union[RunEnd, _Mapping]] = ..., output_bytes: _Optional[int] = ..., worktree: _Optional[str] = ...) -> None: ...

class RunEnd(_message.Message):
    __slots__ = ("exit_code", "signal", "limit", "stopped", "ended_at", "peak_memory_bytes", "cpu_seconds", "known")
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    PEAK_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    exit_code: int
    signal: str
    limit: str
    stopped: bool
    ended_at: float
    peak_memory_bytes: float
    cpu_seconds: float
    known: bool
    def __init__(self, exit_code: _Optional[int] = ..., signal: _Optional[str] = ..., limit: _Optional[str] = ..., stopped: bool = ..., ended_at: _Optional[float] = ..., peak_memory_bytes: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., known: bool = ...) -> None: ...

class RunOutput(_message.Message):
    __slots__ = ("agent_id", "attempt", "offset", "data")
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    agent_id: str
    attempt: int
    offset: int
    data: bytes
    def __init__(self, agent_id: _Optional[str] = ..., attempt: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class RunnerAnswer(_message.Message):
    __slots__ = ("order_id", "error_code", "error_message", "process_id", "worktree", "changes", "diff", "untracked_files", "tip_commit", "pack", "pack_bytes")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PROCESS_ID_FIELD_NUMBER: _ClassVar[int]
    WORKTREE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    DIFF_FIELD_NUMBER: _ClassVar[int]
    UNTRACKED_FILES_FIELD_NUMBER: _ClassVar[int]
    TIP_COMMIT_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    PACK_BYTES_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    error_code: str
    error_message: str
    process_id: int
    worktree: str
    changes: ChangedFiles
    diff: bytes
    untracked_files: _containers.RepeatedScalarFieldContainer[str]
    tip_commit: str
    pack: bytes
    pack_bytes: int
    def __init__(self, order_id: _Optional[str] = ..., error_code: _Optional[str] = ..., error_message: _Optional[str] = ..., process_id: _Optional[int] = ..., worktree: _Optional[str] = ..., changes: _Optional[_Union[ChangedFiles, _Mapping]] = ..., diff: _Optional[bytes] = ..., untracked_files: _Optional[_Iterable[str]] = ..., tip_commit: _Optional[str] = ..., pack: _Optional[bytes] = ..., pack_bytes: _Optional[int] = ...) -> None: ...

class ChangedFiles(_message.Message):
    __slots__ = ("added", "modified", "deleted")
    ADDED_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    added: _containers.RepeatedScalarFieldContainer[str]
    modified: _containers.RepeatedScalarFieldContainer[str]
    deleted: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, added: _Optional[_Iterable[str]] = ..., modified: _Optional[_Iterable[str]] = ..., deleted: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadCommitsRequest(_message.Message):
    __slots__ = ("runner_id", "sidecar_id", "agent_id", "attempt", "have_commits")
    RUNNER_ID_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    HAVE_COMMITS_FIELD_NUMBER: _ClassVar[int]
    runner_id: str
    sidecar_id: str
    agent_id: str
    attempt: int
    have_commits: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, runner_id: _Optional[str] = ..., sidecar_id: _Optional[str] = ..., agent_id: _Optional[str] = ..., attempt: _Optional[int] = ..., have_commits: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadCommitsResponse(_message.Message):
    __slots__ = ("pack",)
    PACK_FIELD_NUMBER: _ClassVar[int]
    pack: bytes
    def __init__(self, pack: _Optional[bytes] = ...) -> None: ...

class ReportRunnerResponse(_message.Message):
    __slots__ = ("stored", "lease_seconds", "sidecar_ids")
    STORED_FIELD_NUMBER: _ClassVar[int]
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SIDECAR_IDS_FIELD_NUMBER: _ClassVar[int]
    stored: _containers.RepeatedCompositeFieldContainer[RunAtRunner]
    lease_seconds: float
    sidecar_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stored: _Optional[_Iterable[_Union[RunAtRunner, _Mapping]]] = ..., lease_seconds: _Optional[float] = ..., sidecar_ids: _Optional[_Iterable[str]] = ...) -> None: ...
