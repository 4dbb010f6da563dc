"""Listening sockets that are bound before a server runs, so that the actual port is known early."""

from __future__ import annotations

import socket
from pathlib import Path


def bound(host: str, port: int) -> socket.socket:
    """Raises OSError if the port cannot be opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _bound(family, (host, port))


def bound_unix(path: Path) -> socket.socket:
    """Raises OSError if the path cannot be bound."""
    return _bound(socket.AF_UNIX, str(path))


def _bound(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
