"""The settings, as a frozen object.

Each setting is declared once, below: its type, default, place in the config file, flag and help. The CLI's options, the
JSON Schema, ``cco config show`` and the table in docs/configuration.md are made from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from cco_sidecar.core import converters
from cco_sidecar.core.converters import GRPC_CORES, LOG_LEVELS, SANDBOX_MODES
from cco_sidecar.core.declared import Declared
from cco_sidecar.core.declared import boolean as _boolean
from cco_sidecar.core.declared import integer as _integer
from cco_sidecar.core.declared import optional_path as _path
from cco_sidecar.core.declared import setting as _setting
from cco_sidecar.core.git_projects import SCHEMA as GIT_PROJECT
from cco_sidecar.core.git_projects import GitProject
from cco_sidecar.core.hosts import authority
from orchestra.v1.config_pb2 import HandoverConfig, RateLimitConfig, RunnerConfig

DATABASE = "records.db"
CONTEXT_CACHE = "context-cache"
DEFAULT_CONFIG = Path("~/.cco/config.json")
ENVIRONMENT = "CCO_SIDECAR_"
_DAY = 86_400
_STRINGS = {"type": "array", "items": {"type": "string"}}
_MAX_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sidecar runs with. Sizes are MB of 2^20 bytes, times are seconds."""

    port: int = _integer(3001, 0, 65535, "REST port; 0 for any free one", file="sidecar.port", flag="--port")
    grpc_port: int | None = _integer(
        None, 0, 65535, "gRPC port", file="sidecar.grpc_port", flag="--grpc-port", shown="the REST port plus one"
    )
    dashboard_port: int | None = _integer(
        None,
        1,
        65535,
        "A second port, for people; see [dashboard](dashboard.md). If it is taken, only a warning is logged",
        file="dashboard.port",
        flag="--dashboard-port",
        shown="3000 for `cco daemon`, else none: the dashboard is on the REST port",
    )
    grpc_core: str = _setting(
        "asyncio",
        converters.grpc_core,
        "HTTP/2 of the gRPC port: our own on asyncio, or grpcio's",
        file="sidecar.grpc_core",
        schema={"enum": GRPC_CORES},
    )
    host: str = _setting("127.0.0.1", converters.text, "Address to listen on", file="sidecar.host", flag="--host")
    tls_cert: Path | None = _path(
        "TLS certificate of both ports, with its chain (PEM); see [security](security.md#tls)",
        file="server.tls_cert",
        flag="--tls-cert",
        shown="none: no TLS",
    )
    tls_key: Path | None = _path(
        "Its key (PEM)", file="server.tls_key", flag="--tls-key", shown="in the file of the certificate"
    )
    tls_client_ca: Path | None = _path(
        "Clients on other machines must present a certificate of this CA (PEM)",
        file="server.tls_client_ca",
        flag="--tls-client-ca",
        shown="none: clients need no certificate",
    )
    require_tls: bool = _boolean(False, "Refuse to listen for other machines without TLS", file="server.require_tls")
    storage: Path = _setting(
        Path("/tmp/cco-sidecar"),
        converters.storage_path,
        "Storage directory",
        file="sidecar.storage_path",
        flag="--storage",
        shown="/tmp/cco-sidecar; for `cco daemon` $XDG_STATE_HOME/cco-sidecar (~/.local/state/cco-sidecar)",
    )
    database_url: str | None = _setting(
        None,
        converters.database_url,
        "Records in PostgreSQL: postgresql://user:password@host:port/database",
        file="sidecar.database_url",
        flag="--database-url",
        shown="SQLite in the storage directory",
        secret=True,
    )
    bus_url: str | None = _setting(
        None,
        converters.nats_url,
        "Events in NATS JetStream: nats://user:password@host:port, or tls://; several with commas",
        file="sidecar.bus_url",
        flag="--bus-url",
        shown="files in the storage directory",
        secret=True,
    )
    bus_credentials: Path | None = _path("Credentials file of a NATS user (.creds)", file="bus.credentials_file")
    bus_tls_ca: Path | None = _path("Certificates of NATS servers", file="bus.tls_ca", shown="the system's")
    bus_tls_cert: Path | None = _path("Certificate that is shown to NATS servers", file="bus.tls_cert")
    bus_tls_key: Path | None = _path("Key of the certificate for NATS servers", file="bus.tls_key")
    bus_monitor_urls: tuple[str, ...] = _setting(
        (), converters.http_urls, "Monitoring ports of the NATS servers", file="bus.monitor_urls", schema=_STRINGS
    )
    bus_prefix: str = _setting(
        "cco",
        converters.token,
        "What the names of streams and subjects begin with; another for each team on the same NATS",
        file="bus.prefix",
    )
    bus_replicas: int = _integer(
        0, 0, 5, "Copies of each stream; 0 for three in a NATS cluster, and one without", file="bus.replicas"
    )
    cluster_address: str | None = _setting(
        None,
        converters.address,
        "Where other sidecars reach the gRPC port of this one; see [scale](scale.md)",
        file="cluster.address",
        flag="--cluster-address",
        shown="the host name and the gRPC port, or 127.0.0.1 if only this machine is listened to",
    )
    cluster_tls_ca: Path | None = _path(
        "Certificates of the other sidecars' gRPC ports", file="cluster.tls_ca", shown="the system's"
    )
    cluster_lost_after: int = _integer(
        60,
        20,
        _DAY,
        "Seconds without a sign of life after which a sidecar is lost: its agents end, and others continue them",
        file="cluster.lost_after_seconds",
    )
    project_root: Path = _setting(
        Path.cwd,
        converters.directory,
        "The agents' repository",
        file="sidecar.project_root",
        flag="--project-root",
        shown="the current directory",
    )
    default_project: str = _setting(
        "default", converters.name, "Project of calls that name none", file="sidecar.default_project"
    )
    projects: Mapping[str, Path | GitProject] = _setting(
        dict,
        converters.projects,
        "Project ids and their directories, or the URLs of their repositories; see below",
        file="projects",
        shown="none: every project is the one at project_root",
        schema={"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, GIT_PROJECT]}},
    )
    refresh_projects: int = _integer(
        60, 5, _DAY, "Seconds after which projects with a URL are updated", file="sidecar.refresh_projects_seconds"
    )
    cache_size_mb: int = _integer(
        1024, 1, _MAX_MB, "Context cache, in MB", file="sidecar.cache_size_mb", flag="--cache-size-mb"
    )
    jwt_secret: str | None = _setting(
        None,
        converters.text,
        "Sign tokens with HS256 and this secret",
        file="sidecar.jwt_secret",
        flag="--jwt-secret",
        shown="none: RS256 with a generated key",
        secret=True,
    )
    log_level: str = _setting(
        "info",
        converters.level,
        "debug, info, warning or error",
        file="sidecar.log_level",
        flag="--log-level",
        schema={"enum": LOG_LEVELS},
    )
    pid_file: Path | None = _path(
        "File for the process id", flag="--pid-file", shown="sidecar.pid in the storage directory"
    )
    cors_origins: tuple[str, ...] = _setting(
        (), converters.origins, "Origins of web pages that may call", file="sidecar.cors_origins", schema=_STRINGS
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        converters.host_names,
        "Names of this machine that may be used for `/status` without a token",
        file="sidecar.allowed_hosts",
        schema=_STRINGS,
    )
    max_concurrent: int = _integer(
        119, 0, 100_000, "Agents that run at a time; 0 means no limit", file="agents.max_concurrent"
    )
    agent_timeout: int = _integer(
        28_800,
        0,
        30 * _DAY,
        "Wall time of an agent in seconds; 0 means no limit",
        file="agents.default_timeout_seconds",
    )
    stuck_after: int = _integer(
        900,
        0,
        30 * _DAY,
        "Seconds without a sign of life after which an agent counts as stuck; 0 means never",
        file="agents.stuck_after_seconds",
    )
    agent_logs: int = _integer(
        7 * _DAY, 0, 3650 * _DAY, "Seconds that logs of ended agents are kept", file="agents.log_retention_seconds"
    )
    runners: Mapping[str, RunnerConfig] = _setting(
        dict,
        converters.document(RunnerConfig, "agents.runners", by_name=True),
        "How agents are launched, by agent type, group or `default`; see [agents](agents.md#runners)",
        file="agents.runners",
        shown="claude",
        schema={"type": "object", "additionalProperties": {"message": "RunnerConfig"}},
        secret=True,
    )
    handover: HandoverConfig = _setting(
        HandoverConfig,
        converters.document(HandoverConfig, "agents.handover"),
        "Which events start agents; see [agents](agents.md#hand-over)",
        file="agents.handover",
        shown="no rules",
        schema={"message": "HandoverConfig"},
    )
    rate_limits: Mapping[str, RateLimitConfig] = _setting(
        dict,
        converters.document(RateLimitConfig, "agents.rate_limits", by_name=True),
        "Calls per minute, by group; see below",
        file="agents.rate_limits",
        shown="60 or 30 by group",
        schema={"type": "object", "additionalProperties": {"message": "RateLimitConfig"}},
    )
    sandbox: str = _setting(
        "auto",
        converters.sandbox_mode,
        "Whether agents run in a sandbox: auto, require or off; see [security](security.md#agents)",
        file="agents.sandbox",
        schema={"enum": SANDBOX_MODES},
    )
    run_as: str | None = _setting(
        None, converters.text, "The user that agents run as, if the sidecar runs as root", file="agents.run_as"
    )
    spawn_environment: tuple[str, ...] = _setting(
        (),
        converters.variables,
        "Variables that an agent may set for agents that it spawns, besides `TASK_*`",
        file="agents.spawn_environment",
        schema=_STRINGS,
    )
    worktree_timeout: int = _integer(
        60, 1, 3600, "Seconds that the hooks of a new worktree may take", file="agents.worktree_timeout_seconds"
    )
    branch_prefix: str = _setting(
        "agent/", converters.branch_prefix, "How the branches of agents begin", file="agents.branch_prefix"
    )
    context_max_bytes: int = _integer(
        128_000,
        4096,
        10 * 2**20,
        "Budget of the context that a spawned agent gets, in bytes; a type can have its own",
        file="agents.context_max_bytes",
    )
    project_decisions: bool = _boolean(
        True,
        "Whether contexts have decisions of architects on other issues of the project",
        file="context.project_decisions",
    )
    knowledge_approve: tuple[str, ...] = _setting(
        (),
        converters.type_patterns,
        "Agent types, or patterns such as `security-*`, whose knowledge other issues get without being asked about",
        file="knowledge.approve",
        shown="none: the operator approves",
        schema=_STRINGS,
    )
    # Never inside the storage directory: a backup would hold the secrets and their key.
    credentials_key_file: Path = _setting(
        lambda: Path("~/.cco/credentials.key").expanduser(),
        converters.path,
        "The key of stored credentials",
        file="agents.credentials_key_file",
        shown="~/.cco/credentials.key",
    )
    event_retention: int = _integer(
        _DAY, 1, 365 * _DAY, "Seconds that events are kept", file="events.retention_seconds"
    )
    max_events: int = _integer(10_000, 1, 10_000_000, "Events of a project that are kept", file="events.max_queue_size")
    event_memory_mb: int = _integer(
        64, 1, _MAX_MB, "Memory for the newest events of a project, in MB", file="events.max_memory_mb"
    )
    event_disk_mb: int = _integer(
        1024, 1, _MAX_MB, "Events of a project that are kept, in MB", file="events.max_disk_mb"
    )
    webhook_hosts: tuple[str, ...] = _setting(
        (),
        converters.webhook_hosts,
        "Hosts that webhooks may reach: names, `*.` and a name, addresses, networks; see [webhooks](webhooks.md)",
        file="events.webhook_hosts",
        shown="none: no webhooks",
        schema=_STRINGS,
    )
    otlp_endpoint: str | None = _setting(
        None,
        converters.http_url,
        "OpenTelemetry collector for traces (OTLP over HTTP), such as http://127.0.0.1:4318; needs the extra `otel`",
        file="telemetry.otlp_endpoint",
        shown="none: no spans are recorded",
    )
    sample_percent: int = _integer(
        100, 0, 100, "Share of new traces that are recorded, in percent", file="telemetry.sample_percent"
    )
    results_quota_mb: int = _integer(2048, 1, _MAX_MB, "Results that a project keeps, in MB", file="results.quota_mb")
    documents_quota_mb: int = _integer(
        2048, 1, _MAX_MB, "Documents that a project keeps, with their revisions, in MB", file="documents.quota_mb"
    )
    sessions_quota_mb: int = _integer(
        2048, 1, _MAX_MB, "Events of sessions that a project keeps, in MB", file="sessions.quota_mb"
    )
    session_blueprint: str = _setting(
        "fullstack-developer",
        converters.text,
        "Blueprint or agent type of sessions that name none",
        file="sessions.blueprint",
    )
    session_silence: int = _integer(
        3600,
        0,
        _DAY * 30,
        "Seconds without an event after which a session that another program runs counts as failed; 0 for never",
        file="sessions.silence_seconds",
    )
    compat_ports: bool = _boolean(
        False,
        "Serve clients of the Agent Orchestrator Framework; see [compatibility](compatibility.md)",
        file="compat.ports",
        flag="--compat-ports",
    )
    runtime_port: int = _integer(8765, 0, 65535, "Port of its Agent Runtime", file="compat.runtime_port")
    store_port: int = _integer(8766, 0, 65535, "Port of its Context Store", file="compat.store_port")
    registry_port: int = _integer(8767, 0, 65535, "Port of its Agent Registry", file="compat.registry_port")
    blueprints: Path | None = _path(
        "Directory of blueprints. Whoever can write there decides what agents may do and run",
        file="blueprints.directory",
        shown="`blueprints` in the storage",
    )
    # Not a setting: the file that some were read from, for commands about the same sidecar.
    config_file: Path | None = field(default=None, compare=False)

    @property
    def real_grpc_port(self) -> int:
        if self.grpc_port is not None:
            return self.grpc_port
        return self.port + 1 if self.port else 0

    @property
    def shares(self) -> bool:
        """Whether other sidecars may use the same records and events."""
        return self.database_url is not None and self.bus_url is not None

    @property
    def project_directories(self) -> Mapping[str, Path]:
        """Where the projects are; those with a URL in the storage directory."""
        here = self.storage / "projects"
        return {name: here / name if isinstance(at, GitProject) else at for name, at in self.projects.items()}

    @property
    def url(self) -> str:
        """Where a program on this machine finds the REST transport."""
        return f"http://{authority(self._local_host, self.port)}"

    @property
    def dashboard_url(self) -> str:
        """The same for a browser and the dashboard."""
        return f"http://{authority(self._local_host, self.dashboard_port or self.port)}/"

    @property
    def grpc_target(self) -> str:
        """The same for gRPC."""
        return authority(self._local_host, self.real_grpc_port)

    @property
    def _local_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)

    @property
    def real_blueprints(self) -> Path:
        return self.blueprints or self.storage / "blueprints"

    @property
    def real_pid_file(self) -> Path:
        return self.pid_file or self.storage / "sidecar.pid"


DECLARED: dict[str, Declared] = {
    each.name: each.metadata["declared"] for each in fields(Settings) if "declared" in each.metadata
}
SETTING_NAMES = tuple(DECLARED)
