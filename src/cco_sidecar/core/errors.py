"""Typed errors with documented codes. The transport maps them to statuses in one place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from enum import Enum
from typing import Any


class Kind(Enum):
    """A kind of error: its slug, gRPC status code and HTTP status."""

    INVALID_REQUEST = ("invalid_request", 3, 400)
    UNAUTHENTICATED = ("unauthenticated", 16, 401)
    PERMISSION_DENIED = ("permission_denied", 7, 403)
    NOT_FOUND = ("not_found", 5, 404)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 12, 405)
    PAYLOAD_TOO_LARGE = ("payload_too_large", 8, 413)
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 3, 415)
    RATE_LIMITED = ("rate_limit_exceeded", 8, 429)
    CONFLICT = ("conflict", 9, 409)
    INTERNAL = ("internal_error", 13, 500)
    UNAVAILABLE = ("unavailable", 14, 503)
    DEADLINE_EXCEEDED = ("deadline_exceeded", 4, 504)
    # HTTP only, and last: a client maps a gRPC code to the first kind that has it.
    REQUEST_TIMEOUT = ("request_timeout", 4, 408)
    HEADERS_TOO_LARGE = ("headers_too_large", 3, 431)

    def __init__(self, slug: str, grpc_code: int, http_status: int) -> None:
        self.slug = slug
        self.grpc_code = grpc_code
        self.http_status = http_status


# gRPC sends errors in metadata, which clients limit to 8 KB, percent-encoded and in base64.
_LONGEST = 500


def _cut(text: str, most: int) -> str:
    """Shortens a text to ``most`` bytes of UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= most else data[: most - 3].decode(errors="ignore") + "..."


class SidecarError(Exception):
    """An error with a public message. The private cause is its ``__cause__`` and is never sent.

    ``details`` are sent to the caller; ``field`` names the invalid field of the request. A message is cut to 500
    bytes.
    """

    def __init__(
        self,
        kind: Kind,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        field: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        message = _cut(message, _LONGEST)
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.field = field if field is None else _cut(field, _LONGEST // 2)
        self.retry_after_seconds = retry_after_seconds
        self.details = dict(details or {})
        if field is not None:
            self.details.setdefault("field", self.field)
        if retry_after_seconds is not None:
            self.details.setdefault("retry_after_seconds", retry_after_seconds)

    def within(self, place: str) -> SidecarError:
        """Returns the same error about a part of a request, such as ``events[3]``: its field begins with ``place``, and
        so does its message if that began with the field."""
        field = place if self.field is None else f"{place}.{self.field}"
        # As in "data.n: ..." and "data.n is required".
        names_it = self.field is not None and self.message.startswith((f"{self.field}:", f"{self.field} is "))
        message = f"{place}.{self.message}" if names_it else f"{place}: {self.message}"
        error = copy.copy(self)
        SidecarError.__init__(
            error,
            self.kind,
            self.code,
            message,
            details=self.details | {"field": field},
            field=field,
            retry_after_seconds=self.retry_after_seconds,
        )
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are copied and pickled by calling the class with ``args``, which is the message only.
        return _restored, (type(self), self.__dict__)


class OutcomeUnknown(SidecarError):
    """A change that failed for its caller, but may be stored: the connection was lost while it was committed."""


def _restored(error_type: type[SidecarError], state: dict[str, Any]) -> SidecarError:
    error = error_type.__new__(error_type, state["message"])
    error.__dict__.update(state)
    return error


class SettingsError(Exception):
    """An invalid setting, which stops the start. The user sees only its one-line message."""


def invalid_request(message: str, *, field: str | None = None, **details: Any) -> SidecarError:
    return SidecarError(Kind.INVALID_REQUEST, "REQ_001", message, field=field, details=details)


def invalid_event(message: str, *, field: str | None = None, **details: Any) -> SidecarError:
    return SidecarError(Kind.INVALID_REQUEST, "EVT_002", message, field=field, details=details)


def invalid_token(message: str) -> SidecarError:
    return SidecarError(Kind.UNAUTHENTICATED, "AUTH_001", message)


def expired_token(
    message: str = "the token has expired; tokens can be refreshed only in their last five minutes",
) -> SidecarError:
    return SidecarError(Kind.UNAUTHENTICATED, "AUTH_002", message)


def permission_denied(message: str, **details: Any) -> SidecarError:
    return SidecarError(Kind.PERMISSION_DENIED, "AUTH_003", message, details=details)


def not_found(code: str, message: str, **details: Any) -> SidecarError:
    return SidecarError(Kind.NOT_FOUND, code, message, details=details)


def conflict(code: str, message: str, **details: Any) -> SidecarError:
    return SidecarError(Kind.CONFLICT, code, message, details=details)


def unavailable(code: str, message: str) -> SidecarError:
    return SidecarError(Kind.UNAVAILABLE, code, message, retry_after_seconds=1)


def internal(code: str, message: str) -> SidecarError:
    return SidecarError(Kind.INTERNAL, code, message)


def spawn_failed(message: str, **details: Any) -> SidecarError:
    return SidecarError(Kind.INTERNAL, "AGT_001", message, details=details)
