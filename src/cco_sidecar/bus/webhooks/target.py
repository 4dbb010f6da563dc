"""The URL of a webhook, and whether it may be called."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from cco_sidecar.core.errors import Kind, SidecarError, invalid_request
from cco_sidecar.core.hosts import Address, AllowedHosts, address_of, authority, is_name, is_public

_PORTS = {"https": 443, "http": 80}
# What RFC 3986 allows in a URL.
_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")


class Target(NamedTuple):
    """``path`` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The Host header (RFC 9110, section 7.2)."""
        whole = authority(self.host, self.port)
        return whole.removesuffix(f":{self.port}") if self.port == _PORTS[self.scheme] else whole


def checked(url: str, hosts: AllowedHosts) -> Target:
    """Returns where a URL leads. Raises SidecarError: REQ_001 if it is invalid, WHK_003 if the settings do not list its
    host. Which addresses a name has is checked when it is connected to."""
    target = _target_of(url)
    address = address_of(target.host)
    if not (hosts.has_name(target.host) if address is None else hosts.has_address(address)):
        raise SidecarError(
            Kind.INVALID_REQUEST,
            "WHK_003",
            f"url: {target.host} is not among the hosts that webhooks may reach; add it to the setting "
            "events.webhook_hosts, and restart the sidecar",
            field="url",
        )
    return target


def _target_of(url: str) -> Target:
    """Splits a URL. Raises SidecarError (REQ_001) that says what is wrong, without quoting it: it may hold a secret."""
    if not _URL.fullmatch(url):
        raise _wrong("has characters that a URL cannot have; percent-encode them, and write the host in ASCII")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as problem:
        raise _wrong("has an invalid host or port") from problem
    if parts.scheme not in _PORTS:
        raise _wrong("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise _wrong("must not have a user name or a password")
    if parts.fragment or url.endswith("#"):
        raise _wrong("must not have a fragment (#)")
    host = (parts.hostname or "").removesuffix(".")
    if address_of(host) is None and not is_name(host):
        raise _wrong("has no valid host")
    path = parts.path or "/"
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], f"{path}?{parts.query}" if parts.query else path)


def is_reachable(address: Address, hosts: AllowedHosts, *, secure: bool) -> bool:
    """Reports whether an address of an allowed host may be connected to: one that is listed, or with TLS any public
    one."""
    return hosts.has_address(address) or (secure and is_public(address))


def _wrong(what: str) -> SidecarError:
    return invalid_request(f"url: it {what}", field="url")
