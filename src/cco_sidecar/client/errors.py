"""The exceptions of the SDK. Those of a call are subclasses of SidecarError; the patterns have others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.rpc import status_pb2

from cco_sidecar.client.values import Event
from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.status import from_status

_STATUS_DETAILS = "grpc-status-details-bin"


class InvalidRequestError(SidecarError):
    """The request is invalid; ``field`` names the invalid field."""


class AuthenticationError(SidecarError):
    """The token is missing, invalid or expired."""


class PermissionDeniedError(SidecarError):
    """The token does not allow the call."""


class NotFoundError(SidecarError):
    """The resource does not exist, or belongs to another project."""


class ConflictError(SidecarError):
    """The resource is in a state that does not allow the call."""


class RateLimitedError(SidecarError):
    """Too many calls; retry after ``retry_after_seconds``."""


class UnavailableError(SidecarError):
    """No connection, or the sidecar is shutting down."""


class InternalError(SidecarError):
    """The sidecar failed; see its log."""


class NotEnoughEventsError(TimeoutError):
    """What was waited for did not happen in time. ``events`` are those that came."""

    def __init__(self, message: str, events: Sequence[Event]) -> None:
        super().__init__(message)
        self.events = events


class NotAcceptedError(Exception):
    """No reply was accepted. ``replies`` are all that came, in order."""

    def __init__(self, message: str, replies: Sequence[Event]) -> None:
        super().__init__(message)
        self.replies = replies


class CircuitOpenError(Exception):
    """Others failed too often; try again after ``retry_after_seconds``."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


_CLASSES: dict[int, type[SidecarError]] = {
    grpc.StatusCode.INVALID_ARGUMENT.value[0]: InvalidRequestError,
    grpc.StatusCode.UNAUTHENTICATED.value[0]: AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED.value[0]: PermissionDeniedError,
    grpc.StatusCode.NOT_FOUND.value[0]: NotFoundError,
    grpc.StatusCode.FAILED_PRECONDITION.value[0]: ConflictError,
    grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]: RateLimitedError,
    grpc.StatusCode.UNAVAILABLE.value[0]: UnavailableError,
    grpc.StatusCode.INTERNAL.value[0]: InternalError,
}


def error_of(problem: grpc.RpcError) -> SidecarError:
    """Converts a gRPC error. Raise the result ``from None``, because nothing is lost."""
    for key, value in _pairs(problem.trailing_metadata()):
        if key == _STATUS_DETAILS:
            return typed(from_status(status_pb2.Status.FromString(value)))
    code: grpc.StatusCode = problem.code()
    kind = next((kind for kind in Kind if kind.grpc_code == code.value[0]), Kind.INTERNAL)
    return typed(SidecarError(kind, code.name, problem.details() or code.name))


def typed(error: SidecarError) -> SidecarError:
    """Returns the error as an instance of the class for its kind."""
    made = _CLASSES.get(error.kind.grpc_code, SidecarError)
    return made(
        error.kind,
        error.code,
        error.message,
        field=error.field,
        details=error.details,
        retry_after_seconds=error.retry_after_seconds,
    )


def is_lost(error: SidecarError) -> bool:
    """Reports whether to reconnect after an error: the sidecar restarts, or the token has just expired."""
    return error.kind is Kind.UNAVAILABLE or error.code in ("AUTH_002", "CANCELLED")


def _pairs(metadata: Any) -> list[tuple[str, Any]]:
    return list(metadata or ())
