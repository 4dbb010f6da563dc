"""Names and addresses of machines: which are local, and which the sidecar may call."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

# As clients write them, and as they appear in no_proxy.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9_]([a-z0-9_\-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"({_LABEL}\.)*{_LABEL}")
_ANY_BELOW = "*."
# A resolver may answer with an IPv4 address that is embedded in one of these (RFC 6052).
_TRANSLATED = IPv6Network("64:ff9b::/96")


def is_loopback(host: str) -> bool:
    """Reports whether a host is ``localhost`` or a loopback address (127.0.0.0/8, ::1), with or without brackets.

    A name that merely starts like one, such as ``127.0.0.1.example``, is not.
    """
    name = host.removeprefix("[").removesuffix("]").lower()
    if name == "localhost":
        return True
    found = address_of(name)
    return found is not None and found.is_loopback


def without_port(host: str) -> str:
    """Returns the name or address of a ``Host`` header, in lower case."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() and (name.endswith("]") or ":" not in name) else host.lower()


def address_of(host: str) -> Address | None:
    """Returns the address that a host is written as; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Reports whether a text in lower case may be the name of a host (RFC 1123, section 2.1, and underscores)."""
    return _NAME.fullmatch(host) is not None


class AllowedHosts:
    """The hosts that the sidecar may call: names, ``*.`` and a name for those below it, addresses and networks.

    A name must lead to public addresses, or to addresses of a listed network. ``localhost`` includes the loopback
    network.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError for an entry that is neither."""
        self._names: set[str] = set()
        self._parents: set[str] = set()
        self._networks: list[Network] = []
        for entry in entries:
            self._add(entry.strip().lower())

    def _add(self, entry: str) -> None:
        if entry == "localhost":
            self._names.add(entry)
            self._networks += [IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")]
            return
        try:
            self._networks.append(ipaddress.ip_network(entry.removeprefix("[").removesuffix("]")))
        except ValueError as problem:
            # Digits and dots are meant to be an address.
            if not is_name(entry.removeprefix(_ANY_BELOW)) or entry.replace(".", "").isdigit():
                raise ValueError(
                    "expected names such as hooks.example.com or *.example.com, addresses, or networks such as "
                    f"10.2.0.0/16, without scheme or port; got {entry!r}"
                ) from problem
            if entry.startswith(_ANY_BELOW):
                self._parents.add(entry.removeprefix(_ANY_BELOW))
            else:
                self._names.add(entry)

    def has_name(self, host: str) -> bool:
        """Reports whether a name in lower case is listed."""
        return host in self._names or any(parent in self._parents for parent in _parents(host))

    def has_address(self, address: Address) -> bool:
        """Reports whether an address is listed, by itself or with its network."""
        plain = _plain(address)
        return any(plain in network for network in self._networks if network.version == plain.version)


def is_public(address: Address) -> bool:
    """Reports whether an address is one of the Internet (RFC 6890), also where it is embedded in an IPv6 address."""
    plain = _plain(address)
    if isinstance(plain, IPv6Address) and (plain.sixtofour is not None or plain.teredo is not None):
        return False
    return plain.is_global and not plain.is_multicast


def _plain(address: Address) -> Address:
    if not isinstance(address, IPv6Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _parents(host: str) -> Iterator[str]:
    while "." in host:
        host = host.partition(".")[2]
        yield host


def authority(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets (RFC 3986, section 3.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_user(url: str) -> str:
    """Returns the URL of a server without its user, password and options, to show it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
