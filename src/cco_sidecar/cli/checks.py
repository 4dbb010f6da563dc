"""The checks of `cco doctor`; every problem comes with a fix."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

from cco_sidecar.auth.operator_token import OPERATOR_TOKEN_FILE
from cco_sidecar.cli import process, start
from cco_sidecar.cli.cluster_checks import cluster, runners
from cco_sidecar.cli.connect import find, operator_client, port_answers
from cco_sidecar.cli.findings import Finding, Level
from cco_sidecar.client.connection import claims_of
from cco_sidecar.core import run_directory
from cco_sidecar.core.certificates import expiry
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.core.places import is_temporary, state_directory
from cco_sidecar.core.settings import DATABASE, Settings
from cco_sidecar.repository.layout import discover
from cco_sidecar.rpc.tls import Tls
from cco_sidecar.runners.presets import PRESETS, Runners
from cco_sidecar.runners.sandbox import OFF, Sandbox
from cco_sidecar.services.system.servicer import LOW_DISK_MB
from cco_sidecar.storage.trust import load_agent_types

_VERSION_SECONDS = 20.0
_SKEW_SECONDS = 5.0
# Half of the 30 days that renewal usually leaves.
_RENEW_DAYS = 15
_MEGABYTE = 2**20


def findings(settings: Settings) -> Iterator[Finding]:
    for check in _CHECKS:
        try:
            yield from check(settings)
        except SettingsError as problem:
            yield Finding(_name(check), Level.BROKEN, str(problem), "fix the config")
        except (OSError, SidecarError, psutil.Error) as problem:
            yield Finding(_name(check), Level.BROKEN, str(problem), "check it manually; the other checks still ran")


def _name(check: Callable[..., object]) -> str:
    return check.__name__.strip("_").replace("_", " ")


def _storage(settings: Settings) -> Iterator[Finding]:
    path = settings.storage
    if not path.exists():
        yield Finding(
            "storage", Level.WARNING, f"{path} does not exist yet", "start the sidecar; it creates the directory"
        )
        return
    info = path.stat()
    another = "choose another with CCO_SIDECAR_STORAGE"
    if not path.is_dir():
        yield Finding("storage", Level.BROKEN, f"{path} is not a directory", f"move it, or {another}")
    elif info.st_uid != os.getuid():
        yield Finding("storage", Level.BROKEN, f"{path} is owned by another user", f"run as its owner, or {another}")
    elif not os.access(path, os.W_OK | os.X_OK):
        yield Finding("storage", Level.BROKEN, f"{path} is not writable", f"chmod u+rwx {path}")
    elif info.st_mode & 0o077:
        yield Finding("storage", Level.WARNING, f"{path} is readable by others", f"chmod 700 {path}")
    elif is_temporary(path):
        text = f"{path} is in a temporary directory, which is cleared on reboot"
        move = "stop the sidecar, then: mv" if settings.database_url else "cco storage move"
        yield Finding("storage", Level.WARNING, text, f"{move} {path} {state_directory()}")
    else:
        yield Finding("storage", Level.OK, str(path))


def _disk(settings: Settings) -> Iterator[Finding]:
    place = next(path for path in (settings.storage, *settings.storage.parents) if path.exists())
    free = shutil.disk_usage(place).free // _MEGABYTE
    low = free < LOW_DISK_MB
    fix = "free some space, or choose another storage with CCO_SIDECAR_STORAGE" if low else ""
    yield Finding("disk", Level.BROKEN if low else Level.OK, f"{free} MB free at {place}", fix)


def _database(settings: Settings) -> Iterator[Finding]:
    # Imported here: it takes a quarter of a second.
    from cco_sidecar.storage.sql.backends import backend_of

    backend = backend_of(settings.database_url, settings.storage / DATABASE)
    try:
        backend.check()
        if not settings.shares and backend.is_claimed() and process.running(settings.real_pid_file) is None:
            text = f"another sidecar uses {backend.name}"
            yield Finding("database", Level.BROKEN, text, "give each sidecar a database of its own")
        else:
            yield Finding("database", Level.OK, backend.name)
    except SettingsError as problem:
        fix = "start the server, or correct database_url" if settings.database_url else "restore it from a backup"
        yield Finding("database", Level.BROKEN, str(problem), fix)


def _bus(settings: Settings) -> Iterator[Finding]:
    if not settings.bus_url:
        return
    # Imported here: the client of NATS is an extra.
    from cco_sidecar.bus.jetstream.connection import Connection
    from cco_sidecar.bus.jetstream.servers import servers, warning

    async def look() -> tuple[str, str]:
        connection = Connection(settings)
        try:
            await connection.open()
            return connection.server, warning(await servers(settings.bus_monitor_urls))
        finally:
            await connection.close()

    try:
        found, text = asyncio.run(look())
    except ModuleNotFoundError as problem:
        yield Finding("bus", Level.BROKEN, str(problem), "pip install 'cco-sidecar[nats]'")
        return
    yield Finding("bus", Level.OK, found)
    if text:
        fix = "set 'jetstream { sync_interval: always }' in each server, and bus.monitor_urls to their monitoring ports"
        yield Finding("bus durability", Level.WARNING, text, fix)


def _pid_file(settings: Settings) -> Iterator[Finding]:
    path = settings.real_pid_file
    running = process.running(path)
    if running is not None:
        yield Finding("pid file", Level.OK, f"the sidecar is running (pid {running.pid})")
    elif path.exists():
        yield Finding("pid file", Level.WARNING, f"{path} is stale: its pid is not a sidecar", f"rm {path}")
    else:
        yield Finding("pid file", Level.WARNING, "the sidecar is not running", "cco daemon start")


def _ports(settings: Settings) -> Iterator[Finding]:
    ours = process.running(settings.real_pid_file)
    for name, port, flag in (
        ("port", settings.port, "--port"),
        ("gRPC port", settings.real_grpc_port, "--grpc-port"),
    ):
        if not port_answers(settings.host, port):
            level = Level.OK if ours is None else Level.BROKEN
            fix = "" if ours is None else "the sidecar uses another port; set CCO_SIDECAR_PORT to it"
            yield Finding(name, level, f"{port} is free", fix)
        elif ours is not None:
            yield Finding(name, Level.OK, f"{port} answers")
        else:
            fix = (
                f"stop the program that listens on it (ss -ltnp 'sport = :{port}'), or choose another port with {flag}"
            )
            yield Finding(name, Level.BROKEN, f"{port} is in use by another program", fix)


def _dashboard(settings: Settings) -> Iterator[Finding]:
    known = next((each for each in run_directory.running() if each.storage == str(settings.storage)), None)
    former = process.start_of(settings.real_pid_file)
    if known is None or former is None:
        return
    wanted = start.settings_for(former)
    if wanted.dashboard_port is not None and known.dashboard != wanted.dashboard_url:
        text = f"port {wanted.dashboard_port} could not be opened; the page is on {known.dashboard} only"
        fix = "stop the program that has the port and restart the sidecar, or choose another with --dashboard-port"
        yield Finding("dashboard", Level.WARNING, text, fix)
    else:
        yield Finding("dashboard", Level.OK, f"on {known.dashboard}")


def _tls(settings: Settings) -> Iterator[Finding]:
    # The options that the running sidecar was started with count.
    former = process.start_of(settings.real_pid_file)
    settings = settings if former is None else start.settings_for(former)
    if settings.tls_cert is None:
        if not is_loopback(settings.host):
            text = f"{settings.host} is reachable from other machines without TLS"
            yield Finding("TLS", Level.WARNING, text, "set server.tls_cert and server.tls_key, or listen on 127.0.0.1")
        return
    Tls.of(settings, "h2")
    days = (expiry(settings.tls_cert) - datetime.now(UTC)).total_seconds() / 86400
    text = f"the certificate {settings.tls_cert} expires in {days:.0f} days"
    if days <= 0:
        text, level = f"the certificate {settings.tls_cert} has expired", Level.BROKEN
    else:
        level = Level.WARNING if days < _RENEW_DAYS else Level.OK
    yield Finding("TLS", level, text, "" if level is Level.OK else "renew it; the running sidecar reads it again")


def _git(settings: Settings) -> Iterator[Finding]:
    root = settings.project_root
    if shutil.which("git") is None:
        yield Finding("git", Level.BROKEN, "git not found on PATH", "install git; contexts need it")
        return
    if discover(root) is None:
        fix = "start in a repository, or pass one with --project-root; without git, contexts have no history"
        yield Finding("git", Level.WARNING, f"{root} is not a git repository", fix)
    else:
        yield Finding("git", Level.OK, f"{root} is a git repository")


def _token(settings: Settings) -> Iterator[Finding]:
    path = settings.storage / OPERATOR_TOKEN_FILE
    if not path.exists():
        if process.running(settings.real_pid_file) is None:
            yield Finding(
                "token", Level.WARNING, "operator's token not found", "start the sidecar; it creates the token"
            )
        else:
            yield Finding("token", Level.BROKEN, f"{path} not found", "cco daemon restart")
        return
    expires = claims_of(path.read_text().strip()).get("exp")
    left = (expires or 0) - time.time()
    if expires is None:
        yield Finding("token", Level.BROKEN, f"{path.name} does not contain a valid token", "cco daemon restart")
    elif left <= 0:
        yield Finding("token", Level.BROKEN, "the operator's token has expired", "cco daemon restart")
    elif path.stat().st_mode & 0o077:
        yield Finding("token", Level.WARNING, f"{path} is readable by others", f"chmod 600 {path}")
    else:
        yield Finding("token", Level.OK, f"valid for {int(left // 86_400)} days")


def _sidecar(settings: Settings) -> Iterator[Finding]:
    """Checks that the sidecar answers, accepts the operator's token, and agrees on the time."""
    if process.running(settings.real_pid_file) is None:
        return
    try:
        with operator_client(find(settings, None)) as client:
            health = client.health()
            client.agents.list(limit=1)
    except (SidecarError, SettingsError) as problem:
        yield Finding("sidecar", Level.BROKEN, str(problem), "cco daemon restart; see the log for details")
        return
    yield Finding("sidecar", Level.OK, f"version {health.version} answers")
    skew = abs(health.timestamp.seconds + health.timestamp.nanos / 1e9 - time.time())
    level = Level.OK if skew < _SKEW_SECONDS else Level.BROKEN
    fix = "" if level is Level.OK else "set the clock; token expiry depends on it"
    yield Finding("clock", level, f"the sidecar's clock differs by {skew:.1f} s", fix)


def _sandbox(settings: Settings) -> Iterator[Finding]:
    sandbox = Sandbox(settings)
    if sandbox.active:
        yield Finding(
            "sandbox", Level.OK, f"agents are sandboxed{f', as {settings.run_as}' if settings.run_as else ''}"
        )
    elif settings.sandbox == OFF:
        yield Finding(
            "sandbox", Level.WARNING, "agents are not sandboxed: agents.sandbox is off", "remove that setting"
        )
    else:
        text = f"agents are not sandboxed: {sandbox.problem}; they can read the operator's token"
        yield Finding(
            "sandbox", Level.WARNING, text, "run in a container or as root with agents.run_as (docs/security.md)"
        )


def _agent_types(settings: Settings) -> Iterator[Finding]:
    for problem in load_agent_types(settings.project_root).problems:
        yield Finding(
            "agent types", Level.WARNING, problem, f"fix the file, or trust it with 'cco trust {settings.project_root}'"
        )


def _runners(settings: Settings) -> Iterator[Finding]:
    types = load_agent_types(settings.project_root)
    runners = Runners(settings, types)
    for name, program in runners.programs().items():
        path = shutil.which(program)
        if path is None:
            where = "" if "/" in program else " on PATH"
            fix = "install it, or set another program with agents.runners in the config"
            yield Finding(f"runner {name}", Level.WARNING, f"program '{program}' not found{where}", fix)
        elif name in PRESETS:
            yield _version(name, path)


def _version(preset: str, program: str) -> Finding:
    try:
        done = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Finding(f"runner {preset}", Level.WARNING, f"{program} --version timed out", "run it manually")
    except OSError as problem:
        return Finding(f"runner {preset}", Level.BROKEN, f"{program}: {problem.strerror}", "reinstall it")
    said = (done.stdout or done.stderr).strip().partition("\n")[0]
    if done.returncode:
        return Finding(f"runner {preset}", Level.BROKEN, f"{program} --version: {said}", "reinstall it")
    return Finding(f"runner {preset}", Level.OK, said)


def _credentials(settings: Settings) -> Iterator[Finding]:
    path: Path = settings.credentials_key_file
    if path.exists() and path.stat().st_mode & 0o077:
        yield Finding("credentials", Level.BROKEN, f"{path} is readable by others", f"chmod 600 {path}")
    elif path.exists():
        yield Finding("credentials", Level.OK, f"the key is {path}; keep a copy of it separate from the backups")
    elif process.running(settings.real_pid_file) is not None:
        with operator_client(find(settings, None)) as client:
            stored = len(list(client.credentials.list()))
        if stored:
            fix = "copy the file from the machine where they were stored"
            yield Finding("credentials", Level.BROKEN, f"{stored} are stored, but {path}, their key, is missing", fix)


_CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _storage,
    _disk,
    _database,
    _bus,
    _pid_file,
    _ports,
    _dashboard,
    _tls,
    _sidecar,
    cluster,
    runners,
    _token,
    _git,
    _sandbox,
    _agent_types,
    _runners,
    _credentials,
)
