"""Finds the sidecar of a command, and connects to it with the right token."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from cco_sidecar.auth.identity_key import IdentityKey
from cco_sidecar.client import Client, discovery
from cco_sidecar.core import run_directory, sources
from cco_sidecar.core.errors import SettingsError, SidecarError, unavailable
from cco_sidecar.core.hosts import is_loopback
from cco_sidecar.core.settings import DATABASE, Settings

_UNREACHABLE = "UNAVAILABLE"
_PROBE_SECONDS = 2.0
_LOCALHOST = re.compile(r"^(\w+://)?localhost(?=[:/]|$)")


def settings_of(ctx: click.Context, *, service: bool = False, **flags: Any) -> Settings:
    """Loads the settings from the global options, ``flags``, the environment and the config file.

    ``service`` selects the default storage of a background sidecar. Raises SettingsError.
    """
    chosen = ctx.find_root().obj
    flags.setdefault("log_level", None)
    flags["log_level"] = flags["log_level"] or chosen["log_level"]
    return sources.load(chosen["config"], os.environ, flags, service=service)


def is_default(ctx: click.Context, name: str, **flags: Any) -> bool:
    """Reports whether nothing sets a setting. Raises SettingsError."""
    origins = sources.origins(ctx.find_root().obj["config"], os.environ, flags)
    return next(each.source for each in origins if each.name == name) == "default"


def settings_of_sidecar(ctx: click.Context) -> Settings:
    """Loads the settings with the storage and ports of the sidecar that commands connect to, such as a daemon."""
    chosen = settings_of(ctx)
    found = find(chosen, None)
    if found.known is None:
        return dataclasses.replace(chosen, storage=found.storage)
    own, grpc_port = urlsplit(found.known.url), int(found.known.grpc.rpartition(":")[2])
    named = own.hostname or "127.0.0.1"
    host = chosen.host if is_loopback(named) else named
    return dataclasses.replace(
        chosen, storage=found.storage, host=host, port=own.port or chosen.port, grpc_port=grpc_port
    )


class Found(NamedTuple):
    """A sidecar. ``storage`` holds its operator's token. ``known`` is its registration in the run directory.

    If ``known`` is None, the sidecar must prove its identity before it gets the operator's token.
    """

    url: str
    target: str | None
    storage: Path
    known: run_directory.Running | None = None

    @property
    def is_socket(self) -> bool:
        return (self.target or "").startswith("unix:")


def find(chosen: Settings, url: str | None) -> Found:
    """Finds the sidecar at ``url`` or ``SIDECAR_URL``, else the one with the configured storage or port.

    If none of them is set, it is the one with a default storage, or the only one running.
    """
    named = url or os.environ.get("SIDECAR_URL")
    if named:
        known = discovery.at_url(named)
        target = os.environ.get("SIDECAR_GRPC") if not url else None
        return _of(known) if known else Found(named, target, chosen.storage)
    default = chosen.storage == Settings().storage
    # The default storage of a daemon differs from that of a foreground sidecar.
    places = discovery.default_places() if default else [chosen.storage]
    if default and chosen.port != Settings().port:
        known = discovery.at_url(chosen.url)
    else:
        known = discovery.here(places, only=default)
    if known is not None:
        return _of(known)
    storage = next((place for place in places if (place / DATABASE).exists()), chosen.storage)
    return Found(chosen.url, chosen.grpc_target, storage)


@contextlib.contextmanager
def operator_client(found: Found) -> Iterator[Client]:
    """Opens a client with the operator's token, after verifying that the sidecar is the user's own.

    Raises SettingsError, SidecarError.
    """
    token = operator_token(found.storage)
    if found.known is None:
        # Pin one address: `localhost` has two, and another program may listen on the second.
        target = found.target and re.sub(_LOCALHOST, r"\g<1>127.0.0.1", found.target)
        found = found._replace(url=re.sub(_LOCALHOST, r"\g<1>127.0.0.1", found.url), target=target)
    with _client(found, token) as client:
        if found.known is None:
            require_own(client, found)
        yield client


@contextlib.contextmanager
def _client(found: Found, token: str, *, insecure: bool = False) -> Iterator[Client]:
    with Client(found.url, token=token, grpc_target=found.target, insecure=insecure) as client:
        if found.known is None and not found.is_socket and _is_refused(client.address):
            # Fail now: the SDK waits for a sidecar that is still starting.
            raise unavailable(_UNREACHABLE, "no sidecar answers at {}:{}: connection refused".format(*client.address))
        yield client


def _is_refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=_PROBE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        # Let gRPC report the reason.
        return False
    return False


def _of(known: run_directory.Running) -> Found:
    return Found(known.url, f"unix:{known.socket}", Path(known.storage), known)


def require_own(client: Client, found: Found) -> None:
    """Verifies that the server holds the identity key of the storage, before the operator's token is sent over TCP.

    Raises SidecarError, SettingsError.
    """
    try:
        key = IdentityKey.read(found.storage)
    except OSError as problem:
        raise SettingsError(
            f"cannot read the identity key in {found.storage}: {problem.strerror}; start the sidecar as this user, set "
            "its storage with CCO_SIDECAR_STORAGE, or pass a token with --jwt-token or JWT_TOKEN"
        ) from problem
    nonce = secrets.token_hex(16)
    answer = client.prove_identity(nonce)
    host, port = client.address
    listens = {"0.0.0.0": host, "::": host, "localhost": "127.0.0.1"}.get(answer.host, answer.host)
    right = listens == host and port == answer.grpc_port
    if not right or not key.holds(answer.proof, nonce, answer.host, answer.port, answer.grpc_port):
        raise SettingsError(
            f"the server at {host}:{port} is not the sidecar of {found.storage}, so the operator's token was not sent; "
            "set the storage with CCO_SIDECAR_STORAGE, or pass a token with --jwt-token or JWT_TOKEN"
        )


def port_answers(host: str, port: int) -> bool:
    """Reports whether something listens on the port."""
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError:
        return False
    return True


def operator_token(storage: Path) -> str:
    path = storage / "operator.token"
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise SettingsError(
            f"cannot read the operator's token from {path}: {problem.strerror}; start the sidecar as this user, set "
            "its storage with CCO_SIDECAR_STORAGE, or pass a token with --jwt-token or JWT_TOKEN"
        ) from problem


# Of every command whose call names a project and completes it from the token.
project_option = click.option(
    "--project", "project_id", default="", help="Project.  [default: the token's project, or the default project]"
)


def connected(command: Callable[..., Any], *, anonymous: bool = False) -> Callable[..., Any]:
    """Adds ``--sidecar-url``, ``--sidecar-grpc`` and ``--jwt-token``, and passes a ``client``.

    ``anonymous``: no token is needed.
    """

    @click.option(
        "--sidecar-url",
        metavar="URL",
        help="URL of the sidecar.  [default: $SIDECAR_URL, or the one running on this machine]",
    )
    @click.option(
        "--sidecar-grpc",
        metavar="HOST:PORT",
        help="Its gRPC address, if that is not the port after the URL's.  [default: $SIDECAR_GRPC with $SIDECAR_URL]",
    )
    @click.option("--jwt-token", metavar="JWT", help="Token to send.  [default: $JWT_TOKEN, or the operator's token]")
    @click.pass_context
    @functools.wraps(command)
    def run(
        ctx: click.Context,
        /,
        sidecar_url: str | None,
        sidecar_grpc: str | None,
        jwt_token: str | None,
        **arguments: Any,
    ) -> Any:
        found = find(settings_of(ctx), sidecar_url)
        if sidecar_grpc is not None:
            if not (sidecar_url or os.environ.get("SIDECAR_URL")):
                raise click.UsageError("--sidecar-grpc needs --sidecar-url")
            found = found._replace(target=sidecar_grpc, known=None)
        given = (jwt_token or os.environ.get("JWT_TOKEN") or "").strip()
        if given or anonymous:
            # The user chose both the token and the server, so TLS is not required.
            opened = _client(found, given, insecure=True)
        else:
            opened = operator_client(found)
        try:
            with contextlib.ExitStack() as stack:
                return ctx.invoke(command, client=_OnFirstUse(stack, opened), **arguments)
        except SidecarError as problem:
            if problem.code == _UNREACHABLE:
                raise click.ClickException(_no_answer(found, problem)) from problem
            raise

    return run


def _no_answer(found: Found, problem: SidecarError) -> str:
    others = ", ".join(f"{known.url} (storage {known.storage})" for known in run_directory.running())
    here = f"; running here: {others}" if others else ""
    if found.url.startswith("https:"):
        return f"cannot connect to {found.url}: {problem.details.get('reason', problem.message)}{here}"
    speaks = "" if found.known or is_loopback(urlsplit(found.url).hostname or "") else " (https:// if it speaks TLS)"
    return (
        f"no sidecar answers at {found.url}{speaks}; start one with 'cco daemon start', or choose another with "
        f"--sidecar-url{here}"
    )


class _OnFirstUse:
    """A client that is opened when the command first uses it: wrong usage is reported even if no sidecar runs."""

    def __init__(self, stack: contextlib.ExitStack, opened: contextlib.AbstractContextManager[Client]) -> None:
        self._stack = stack
        self._opened = opened

    @functools.cached_property
    def _client(self) -> Client:
        return self._stack.enter_context(self._opened)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def agent_types(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completes agent types in the shell."""
    from cco_sidecar.core.sources import load
    from cco_sidecar.storage.trust import load_agent_types

    try:
        root = load(None, os.environ, {}).project_root
        return [name for name in load_agent_types(root) if name.startswith(incomplete)]
    except SettingsError:
        return []
