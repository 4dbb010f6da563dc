"""Options that every data command takes, and the client that they make."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from typing import Any

import click

from cco_sidecar.client import Client
from cco_sidecar.core import settings
from cco_sidecar.core.errors import SettingsError, SidecarError
from cco_sidecar.core.settings import Settings

_UNREACHABLE = "UNAVAILABLE"


def settings_of(ctx: click.Context, **flags: Any) -> Settings:
    """Settings from the global options, the config file, the environment and ``flags``."""
    chosen = ctx.find_root().obj
    flags.setdefault("log_level", None)
    flags["log_level"] = flags["log_level"] or chosen["log_level"]
    return settings.load(chosen["config"], os.environ, flags)


def url_of(ctx: click.Context, given: str | None) -> str:
    found = given or os.environ.get("SIDECAR_URL")
    if found:
        return found
    return settings_of(ctx).url


def port_answers(host: str, port: int) -> bool:
    """Somebody listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def operator_token(chosen: Settings) -> str:
    path = chosen.storage / "operator.token"
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise SettingsError(
            f"the operator's token cannot be read from {path}: {problem.strerror}; is the sidecar started, and by "
            "you? Name its storage with CCO_SIDECAR_STORAGE, or give a token with --jwt-token"
        ) from problem


def connected(command: Callable[..., Any], *, anonymous: bool = False) -> Callable[..., Any]:
    """Adds ``--sidecar-url`` and ``--jwt-token``; the command gets a ``client``. ``anonymous``: it needs no token."""

    @click.option("--sidecar-url", metavar="URL", help="[default: $SIDECAR_URL, or the configured host and port]")
    @click.option("--jwt-token", metavar="JWT", help="[default: $JWT_TOKEN, or the operator's]")
    @click.pass_context
    @functools.wraps(command)
    def run(ctx: click.Context, /, sidecar_url: str | None, jwt_token: str | None, **arguments: Any) -> Any:
        url = url_of(ctx, sidecar_url)
        token = jwt_token or os.environ.get("JWT_TOKEN") or ("" if anonymous else operator_token(settings_of(ctx)))
        if sidecar_url:
            target = None
        elif os.environ.get("SIDECAR_URL"):
            target = os.environ.get("SIDECAR_GRPC")
        else:
            target = settings_of(ctx).grpc_target
        with Client(url, token=token.strip(), grpc_target=target) as client:
            try:
                return ctx.invoke(command, client=client, **arguments)
            except SidecarError as problem:
                if problem.code == _UNREACHABLE:
                    raise click.ClickException(
                        f"no sidecar answers at {url}; start one with 'cco orchestration-server', "
                        "or name another with --sidecar-url"
                    ) from problem
                raise

    return run


def agent_types(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of agent types."""
    from cco_sidecar.compose import load_agent_types
    from cco_sidecar.core.settings import load

    try:
        root = load(None, os.environ, {}).project_root
        return [name for name in load_agent_types(root) if name.startswith(incomplete)]
    except SettingsError:
        return []
