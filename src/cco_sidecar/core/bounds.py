"""How large a request may be, judged by its bytes before anything parses them: parsing holds the interpreter."""

from __future__ import annotations

import re

from cco_sidecar.core.errors import Kind, SidecarError

DEFAULT_REQUEST_BYTES = 256 * 1024
# Elements of a JSON body, and of all Structs of a message: values, whatever they are.
MAX_ELEMENTS = 20_000
# Work on larger messages is done beside the event loop.
OFFLOAD_BYTES = 32 * 1024
# Every value below the first in a Struct begins with this byte (tag 1, length-delimited), and so does every line's end.
_NESTED = b"\x0a"
_MAX_NESTED = 200_000
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def check_json(body: bytes, where: str = "the body") -> None:
    """Raises SidecarError (REQ_004) for more than MAX_ELEMENTS elements."""
    if _elements(body) > MAX_ELEMENTS and (count := _elements(_STRING.sub(b"", body))) > MAX_ELEMENTS:
        raise too_many_elements(where, count)


def _elements(text: bytes) -> int:
    """At least as many as there are; the signs inside strings are counted too."""
    return sum(text.count(sign) for sign in (b",", b"[", b"{")) + 1


def check_message(data: bytes, most: int) -> None:
    """Raises SidecarError (REQ_004) for a serialised message that is too large, or holds too much."""
    if len(data) > most:
        raise too_large("the request", len(data), most)
    if data.count(_NESTED) > _MAX_NESTED:
        raise too_many_elements("the request", data.count(_NESTED))


def too_large(what: str, size: int, most: int) -> SidecarError:
    return SidecarError(
        Kind.PAYLOAD_TOO_LARGE,
        "REQ_004",
        f"{what} has {size} bytes or more; the most is {most}",
        details={"limit_bytes": most},
    )


def too_many_elements(what: str, count: int) -> SidecarError:
    return SidecarError(
        Kind.PAYLOAD_TOO_LARGE,
        "REQ_004",
        f"{what} has {count} elements or more; the most is {MAX_ELEMENTS}",
        details={"limit_elements": MAX_ELEMENTS},
    )


class Counter:
    """Elements that are still allowed; for one message."""

    def __init__(self) -> None:
        self.left = MAX_ELEMENTS

    def take(self, where: str) -> None:
        """Raises SidecarError (REQ_004)."""
        self.left -= 1
        if self.left < 0:
            raise too_many_elements(where, MAX_ELEMENTS + 1)
