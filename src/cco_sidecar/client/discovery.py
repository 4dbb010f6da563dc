"""Finds the sidecar to connect to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from cco_sidecar.core import run_directory
from cco_sidecar.core.environment import is_service_link
from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.hosts import authority, is_loopback
from cco_sidecar.core.places import service_storage
from cco_sidecar.core.settings import Settings

DEFAULT_PORT = 3001
DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
_PORT_VARIABLE = "CCO_SIDECAR_PORT"


class Target(NamedTuple):
    """A gRPC target. ``named_by`` is the argument or variable that it comes from, for error messages."""

    address: str
    secure: bool
    named_by: str

    @property
    def local(self) -> bool:
        """True if traffic to the target stays on this machine."""
        host = self.address.rpartition(":")[0]
        return self.address.startswith("unix:") or is_loopback(host)


def find(url: str | None, grpc_target: str | None, environment: Mapping[str, str] = os.environ) -> Target:
    """Finds the target. Raises SettingsError for an invalid URL.

    The order is: the arguments, ``SIDECAR_GRPC``, ``SIDECAR_URL``, ``CCO_SIDECAR_PORT``, this user's running sidecar
    with the storage ``CCO_SIDECAR_STORAGE``, the default port. If ``CCO_SIDECAR_STORAGE`` is not set, it is the running
    sidecar with a default storage, or the only one.
    """
    if url is None and grpc_target is None:
        if named := environment.get("SIDECAR_GRPC"):
            return Target(named, _is_https(environment.get("SIDECAR_URL", "")), "SIDECAR_GRPC")
        if named := environment.get("SIDECAR_URL"):
            return _of_url(named, "SIDECAR_URL")
        if (named := environment.get(_PORT_VARIABLE)) and not is_service_link(_PORT_VARIABLE, named):
            return _of_url(f"http://127.0.0.1:{named}", _PORT_VARIABLE)
        configured = environment.get("CCO_SIDECAR_STORAGE")
        known = here([Path(configured)] if configured else default_places(), only=not configured)
        if known is not None:
            return Target(f"unix:{known.socket}", False, "the run directory")
        return _of_url(DEFAULT_URL, "the default")
    if grpc_target is not None:
        return Target(grpc_target, _is_https(url or ""), "grpc_target")
    assert url is not None
    return _of_url(url, "url")


def here(places: Sequence[Path], *, only: bool) -> run_directory.Running | None:
    """Returns this user's running sidecar whose storage is first in ``places``.

    If there is none and ``only`` is set, returns the only running sidecar, unless there are several.
    """
    running = list(run_directory.running())
    for place in places:
        for known in running:
            if known.storage == str(place.expanduser().resolve()):
                return known
    return running[0] if only and len(running) == 1 else None


def default_places() -> list[Path]:
    """Returns the default storage of a daemon and that of a foreground sidecar."""
    return [service_storage(), Settings().storage]


def at_url(url: str) -> run_directory.Running | None:
    """Returns the running sidecar on this machine that serves a URL, or None. Raises SettingsError."""
    parts = _split(url)
    for known in run_directory.running():
        own = urlsplit(known.url)
        same_host = parts.hostname == own.hostname or all(is_loopback(each.hostname or "") for each in (parts, own))
        if same_host and (parts.port or DEFAULT_PORT) == own.port:
            return known
    return None


def channel_options(target: Target) -> list[tuple[str, int]]:
    """Returns channel options that bypass the HTTP proxy for targets on this machine."""
    return [("grpc.enable_http_proxy", 0)] if target.local else []


def require_safe(target: Target, token: str, *, insecure: bool) -> None:
    """Raises SettingsError if a token would be sent over a network in plain text."""
    if token and not insecure and not target.secure and not target.local:
        raise SettingsError(
            f"refusing to send a token to {target.address} without TLS; use an https:// URL, or, on a trusted network, "
            "insecure=True in the SDK, --jwt-token in cco, or --insecure of 'cco runner join'"
        )


def _of_url(url: str, named_by: str) -> Target:
    known = at_url(url) if not _is_https(url) else None
    if known is not None:
        return Target(known.grpc, False, named_by)
    parts = _split(url)
    host = parts.hostname or ""
    if _is_https(url):
        # Without a port, a TLS proxy is expected to serve both REST and gRPC on 443.
        return Target(authority(host, parts.port + 1 if parts.port else 443), True, named_by)
    return Target(authority(host, (parts.port or DEFAULT_PORT) + 1), False, named_by)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        # Reject `http:/name`, which parses as the host "http".
        if parts.hostname in ("http", "https"):
            raise ValueError
        if parts.hostname and (parts.port is None or parts.port) and parts.scheme in ("http", "https"):
            return parts
    except ValueError:
        pass
    raise SettingsError(f"invalid sidecar URL {url!r}: expected one such as {DEFAULT_URL}")


def _is_https(url: str) -> bool:
    return url[:8].lower() == "https://"


def rest_of(url: str) -> tuple[str, int, bool]:
    """Returns the host and the port of a REST URL, and whether it means TLS. Raises SettingsError."""
    parts = _split(url)
    if parts.path not in ("", "/") or parts.query:
        raise SettingsError(
            f"invalid sidecar URL {url!r}: expected no path; the sidecar must be at the root of its host"
        )
    secure = _is_https(url)
    return parts.hostname or "", parts.port or (443 if secure else DEFAULT_PORT), secure
