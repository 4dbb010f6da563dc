"""Request size limits, checked on the raw bytes before parsing, because parsing blocks the interpreter."""

from __future__ import annotations

import re

from cco_sidecar.core.errors import Kind, SidecarError

DEFAULT_REQUEST_BYTES = 256 * 1024
# The most values, of any type, in a JSON body or in all Structs of a message.
MAX_ELEMENTS = 20_000
# Messages of this size or more are processed off the event loop.
OFFLOAD_BYTES = 32 * 1024
# Every nested entry of a Struct starts with this byte (field 1, length-delimited); so does every newline in text.
_NESTED = b"\x0a"
_MAX_NESTED = 200_000
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def check_json(body: bytes, where: str = "the body") -> None:
    """Raises SidecarError (REQ_004) if a JSON text has more than MAX_ELEMENTS elements."""
    if _elements(body) > MAX_ELEMENTS and (count := _elements(_STRING.sub(b"", body))) > MAX_ELEMENTS:
        raise too_many_elements(where, count)


def _elements(text: bytes) -> int:
    """Returns an upper bound of the number of elements: separators inside strings are counted too."""
    return sum(text.count(sign) for sign in (b",", b"[", b"{")) + 1


def check_message(data: bytes, most: int) -> None:
    """Raises SidecarError (REQ_004) if a serialised message has too many bytes or too many nested entries."""
    if len(data) > most:
        raise too_large("the request", len(data), most)
    if data.count(_NESTED) > _MAX_NESTED:
        raise too_many_elements("the request", data.count(_NESTED))


def too_large(what: str, size: int, most: int) -> SidecarError:
    return SidecarError(
        Kind.PAYLOAD_TOO_LARGE,
        "REQ_004",
        f"{what} has at least {size} bytes; the maximum is {most}",
        details={"limit_bytes": most},
    )


def quota_filled(what: str, project: str, stored: int, quota: int, setting: str) -> SidecarError:
    return SidecarError(
        Kind.RATE_LIMITED,
        "STR_003",
        f"the {what} of project '{project}' fill its quota of {quota >> 20} MB; raise {setting} in the config",
        details={"quota_bytes": quota, "stored_bytes": stored},
    )


def too_many_elements(what: str, count: int) -> SidecarError:
    return SidecarError(
        Kind.PAYLOAD_TOO_LARGE,
        "REQ_004",
        f"{what} has at least {count} elements; the maximum is {MAX_ELEMENTS}",
        details={"limit_elements": MAX_ELEMENTS},
    )


class Counter:
    """Counts the elements of one message against MAX_ELEMENTS."""

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def take(self, where: str, count: int = 1) -> None:
        """Counts elements. Raises SidecarError (REQ_004) over the limit."""
        self.left -= count
        if self.left < 0:
            raise too_many_elements(where, MAX_ELEMENTS + 1)
