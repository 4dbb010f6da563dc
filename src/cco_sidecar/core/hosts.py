"""Which names mean this machine."""

from __future__ import annotations

import ipaddress

# As clients write them, and as no_proxy lists have them.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """True for ``localhost`` and for an address of the loopback (127.0.0.0/8, ::1), in brackets or not. A name that
    only begins like one is another machine's."""
    name = host.removeprefix("[").removesuffix("]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
