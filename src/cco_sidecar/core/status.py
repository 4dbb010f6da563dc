"""Converts between SidecarError and ``google.rpc.Status``, the same for both transports (AIP-193)."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf import any_pb2, struct_pb2
from google.rpc import error_details_pb2, status_pb2

from cco_sidecar.core import codec
from cco_sidecar.core.errors import Kind, SidecarError

DOMAIN = "cco-sidecar"
_BY_SLUG = {kind.slug: kind for kind in Kind}


def to_status(error: SidecarError, request_id: str) -> status_pb2.Status:
    """Returns a status with ErrorInfo and RequestInfo, and with BadRequest, RetryInfo and details where they apply."""
    status = status_pb2.Status(code=error.kind.grpc_code, message=error.message)
    info = error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata={"error": error.kind.slug})
    details: list[Any] = [info, error_details_pb2.RequestInfo(request_id=request_id)]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(error.retry_after_seconds * 1000))
        details.append(retry)
    if error.details:
        struct = struct_pb2.Struct()
        struct.update(error.details)
        details.append(struct)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def from_status(status: status_pb2.Status) -> SidecarError:
    """Returns the error that ``to_status`` packed."""
    code, slug = "", ""
    field: str | None = None
    retry: float | None = None
    extra: dict[str, Any] = {}
    for packed in status.details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(packed.value)
            code, slug = info.reason, info.metadata.get("error", "")
        elif packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            field = error_details_pb2.BadRequest.FromString(packed.value).field_violations[0].field
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(packed.value).retry_delay.ToMilliseconds() / 1000
        elif packed.Is(struct_pb2.Struct.DESCRIPTOR):
            extra = codec.struct_to_dict(struct_pb2.Struct.FromString(packed.value))
    kind = _BY_SLUG.get(slug) or next((k for k in Kind if k.grpc_code == status.code), Kind.INTERNAL)
    return SidecarError(kind, code, status.message, details=extra, field=field, retry_after_seconds=retry)
