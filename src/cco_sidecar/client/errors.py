"""What a call of the SDK raises: one class for each kind of failure, all of them SidecarError."""

from __future__ import annotations

from typing import Any

import grpc
from google.rpc import status_pb2

from cco_sidecar.core.errors import Kind, SidecarError
from cco_sidecar.core.status import from_status

_STATUS_DETAILS = "grpc-status-details-bin"


class InvalidRequestError(SidecarError):
    """The request breaks a rule: ``field`` names which part."""


class AuthenticationError(SidecarError):
    """The token is missing, not valid or expired."""


class PermissionDeniedError(SidecarError):
    """The token does not allow the call."""


class NotFoundError(SidecarError):
    """It does not exist, or belongs to another project."""


class ConflictError(SidecarError):
    """It is not in the state for this call."""


class RateLimitedError(SidecarError):
    """Too many calls; ``retry_after_seconds`` says when to try again."""


class UnavailableError(SidecarError):
    """No connection, or the sidecar is shutting down."""


class InternalError(SidecarError):
    """The sidecar failed; its log says why."""


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
    """What the sidecar said, or what the connection did. Raise it ``from None``: it says all there is."""
    for key, value in _pairs(problem.trailing_metadata()):
        if key == _STATUS_DETAILS:
            return typed(from_status(status_pb2.Status.FromString(value)))
    code: grpc.StatusCode = problem.code()
    kind = next((kind for kind in Kind if kind.grpc_code == code.value[0]), Kind.INTERNAL)
    return typed(SidecarError(kind, code.name, problem.details() or code.name))


def typed(error: SidecarError) -> SidecarError:
    """The same error, as the class of its kind."""
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
    """A failure after which a reader comes back: the sidecar restarts, or the token has just expired."""
    return error.kind is Kind.UNAVAILABLE or error.code in ("AUTH_002", "CANCELLED")


def _pairs(metadata: Any) -> list[tuple[str, Any]]:
    return list(metadata or ())
