"""Names of the local machine."""

from __future__ import annotations

import ipaddress

# As clients write them, and as they appear in no_proxy.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Reports whether a host is ``localhost`` or a loopback address (127.0.0.0/8, ::1), with or without brackets.

    A name that merely starts like one, such as ``127.0.0.1.example``, is not.
    """
    name = host.removeprefix("[").removesuffix("]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
