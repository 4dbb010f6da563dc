from google.api import annotations_pb2 as _annotations_pb2
from google.api import httpbody_pb2 as _httpbody_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from orchestra.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HealthStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HEALTH_STATUS_UNSPECIFIED: _ClassVar[HealthStatus]
    HEALTH_STATUS_HEALTHY: _ClassVar[HealthStatus]
    HEALTH_STATUS_DEGRADED: _ClassVar[HealthStatus]
    HEALTH_STATUS_UNHEALTHY: _ClassVar[HealthStatus]
HEALTH_STATUS_UNSPECIFIED: HealthStatus
HEALTH_STATUS_HEALTHY: HealthStatus
HEALTH_STATUS_DEGRADED: HealthStatus
HEALTH_STATUS_UNHEALTHY: HealthStatus

class ListFindingsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListFindingsResponse(_message.Message):
    __slots__ = ("findings", "checked_at")
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    CHECKED_AT_FIELD_NUMBER: _ClassVar[int]
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    checked_at: _timestamp_pb2.Timestamp
    def __init__(self, findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., checked_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("name", "level", "text", "fix")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FIX_FIELD_NUMBER: _ClassVar[int]
    name: str
    level: str
    text: str
    fix: str
    def __init__(self, name: _Optional[str] = ..., level: _Optional[str] = ..., text: _Optional[str] = ..., fix: _Optional[str] = ...) -> None: ...

class ProveIdentityRequest(_message.Message):
    __slots__ = ("nonce", "session")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    nonce: str
    session: str
    def __init__(self, nonce: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class ProveIdentityResponse(_message.Message):
    __slots__ = ("host", "port", "grpc_port", "proof", "dashboard_port", "session_proof")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    GRPC_PORT_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    DASHBOARD_PORT_FIELD_NUMBER: _ClassVar[int]
    SESSION_PROOF_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    grpc_port: int
    proof: str
    dashboard_port: int
    session_proof: str
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ..., grpc_port: _Optional[int] = ..., proof: _Optional[str] = ..., dashboard_port: _Optional[int] = ..., session_proof: _Optional[str] = ...) -> None: ...

class GetHealthRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetHealthResponse(_message.Message):
    __slots__ = ("status", "service", "version", "uptime_seconds", "checks", "timestamp")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    status: HealthStatus
    service: str
    version: str
    uptime_seconds: float
    checks: HealthChecks
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[HealthStatus, str]] = ..., service: _Optional[str] = ..., version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., checks: _Optional[_Union[HealthChecks, _Mapping]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class HealthChecks(_message.Message):
    __slots__ = ("storage", "event_bus", "memory_usage_mb", "cpu_usage_percent", "active_agents", "event_queue_size", "disk_space_available_mb")
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    EVENT_BUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_USAGE_MB_FIELD_NUMBER: _ClassVar[int]
    CPU_USAGE_PERCENT_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_AGENTS_FIELD_NUMBER: _ClassVar[int]
    EVENT_QUEUE_SIZE_FIELD_NUMBER: _ClassVar[int]
    DISK_SPACE_AVAILABLE_MB_FIELD_NUMBER: _ClassVar[int]
    storage: HealthStatus
    event_bus: HealthStatus
    memory_usage_mb: float
    cpu_usage_percent: float
    active_agents: int
    event_queue_size: int
    disk_space_available_mb: float
    def __init__(self, storage: _Optional[_Union[HealthStatus, str]] = ..., event_bus: _Optional[_Union[HealthStatus, str]] = ..., memory_usage_mb: _Optional[float] = ..., cpu_usage_percent: _Optional[float] = ..., active_agents: _Optional[int] = ..., event_queue_size: _Optional[int] = ..., disk_space_available_mb: _Optional[float] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("agents", "storage", "events", "performance", "timestamp", "cluster")
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    agents: AgentsStatus
    storage: StorageStatus
    events: EventsStatus
    performance: PerformanceStatus
    timestamp: _timestamp_pb2.Timestamp
    cluster: ClusterStatus
    def __init__(self, agents: _Optional[_Union[AgentsStatus, _Mapping]] = ..., storage: _Optional[_Union[StorageStatus, _Mapping]] = ..., events: _Optional[_Union[EventsStatus, _Mapping]] = ..., performance: _Optional[_Union[PerformanceStatus, _Mapping]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cluster: _Optional[_Union[ClusterStatus, _Mapping]] = ...) -> None: ...

class ClusterStatus(_message.Message):
    __slots__ = ("sidecar_id", "leader_id", "members")
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    LEADER_ID_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    sidecar_id: str
    leader_id: str
    members: _containers.RepeatedCompositeFieldContainer[ClusterMember]
    def __init__(self, sidecar_id: _Optional[str] = ..., leader_id: _Optional[str] = ..., members: _Optional[_Iterable[_Union[ClusterMember, _Mapping]]] = ...) -> None: ...

class ClusterMember(_message.Message):
    __slots__ = ("sidecar_id", "host", "address", "tls", "version", "started_at", "running", "queued", "max_concurrent", "silent_seconds", "alive", "key_fingerprint", "boot_id")
    SIDECAR_ID_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    MAX_CONCURRENT_FIELD_NUMBER: _ClassVar[int]
    SILENT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    KEY_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    BOOT_ID_FIELD_NUMBER: _ClassVar[int]
    sidecar_id: str
    host: str
    address: str
    tls: bool
    version: str
    started_at: _timestamp_pb2.Timestamp
    running: int
    queued: int
    max_concurrent: int
    silent_seconds: float
    alive: bool
    key_fingerprint: str
    boot_id: str
    def __init__(self, sidecar_id: _Optional[str] = ..., host: _Optional[str] = ..., address: _Optional[str] = ..., tls: bool = ..., version: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., running: _Optional[int] = ..., queued: _Optional[int] = ..., max_concurrent: _Optional[int] = ..., silent_seconds: _Optional[float] = ..., alive: bool = ..., key_fingerprint: _Optional[str] = ..., boot_id: _Optional[str] = ...) -> None: ...

class AgentsStatus(_message.Message):
    __slots__ = ("active", "completed", "failed", "spawned_total", "by_type", "avg_execution_time_ms", "stopped", "tokens_issued")
    class ByTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    SPAWNED_TOTAL_FIELD_NUMBER: _ClassVar[int]
    BY_TYPE_FIELD_NUMBER: _ClassVar[int]
    AVG_EXECUTION_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    TOKENS_ISSUED_FIELD_NUMBER: _ClassVar[int]
    active: int
    completed: int
    failed: int
    spawned_total: int
    by_type: _containers.ScalarMap[str, int]
    avg_execution_time_ms: float
    stopped: int
    tokens_issued: int
    def __init__(self, active: _Optional[int] = ..., completed: _Optional[int] = ..., failed: _Optional[int] = ..., spawned_total: _Optional[int] = ..., by_type: _Optional[_Mapping[str, int]] = ..., avg_execution_time_ms: _Optional[float] = ..., stopped: _Optional[int] = ..., tokens_issued: _Optional[int] = ...) -> None: ...

class StorageStatus(_message.Message):
    __slots__ = ("context_cache_entries", "results_stored", "total_size_mb", "cache_hit_rate", "storage_path", "results_failed", "problems")
    CONTEXT_CACHE_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    RESULTS_STORED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SIZE_MB_FIELD_NUMBER: _ClassVar[int]
    CACHE_HIT_RATE_FIELD_NUMBER: _ClassVar[int]
    STORAGE_PATH_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FAILED_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    context_cache_entries: int
    results_stored: int
    total_size_mb: float
    cache_hit_rate: float
    storage_path: str
    results_failed: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, context_cache_entries: _Optional[int] = ..., results_stored: _Optional[int] = ..., total_size_mb: _Optional[float] = ..., cache_hit_rate: _Optional[float] = ..., storage_path: _Optional[str] = ..., results_failed: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class EventsStatus(_message.Message):
    __slots__ = ("total_published", "total_delivered", "active_subscriptions", "queue_depth", "avg_delivery_time_ms", "dead_letter_queue_size")
    TOTAL_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    AVG_DELIVERY_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DEAD_LETTER_QUEUE_SIZE_FIELD_NUMBER: _ClassVar[int]
    total_published: float
    total_delivered: float
    active_subscriptions: int
    queue_depth: int
    avg_delivery_time_ms: float
    dead_letter_queue_size: int
    def __init__(self, total_published: _Optional[float] = ..., total_delivered: _Optional[float] = ..., active_subscriptions: _Optional[int] = ..., queue_depth: _Optional[int] = ..., avg_delivery_time_ms: _Optional[float] = ..., dead_letter_queue_size: _Optional[int] = ...) -> None: ...

class PerformanceStatus(_message.Message):
    __slots__ = ("avg_response_time_ms", "p95_response_time_ms", "p99_response_time_ms", "requests_per_second", "errors_per_minute")
    AVG_RESPONSE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    P95_RESPONSE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    P99_RESPONSE_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    ERRORS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    avg_response_time_ms: float
    p95_response_time_ms: float
    p99_response_time_ms: float
    requests_per_second: float
    errors_per_minute: float
    def __init__(self, avg_response_time_ms: _Optional[float] = ..., p95_response_time_ms: _Optional[float] = ..., p99_response_time_ms: _Optional[float] = ..., requests_per_second: _Optional[float] = ..., errors_per_minute: _Optional[float] = ...) -> None: ...
