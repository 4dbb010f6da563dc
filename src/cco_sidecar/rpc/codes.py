"""The status codes of gRPC."""

from __future__ import annotations

import grpc

# The metadata that holds the google.rpc.Status of an error.
STATUS_DETAILS = "grpc-status-details-bin"
# google.rpc.Code number to grpc.StatusCode.
CODES = {code.value[0]: code for code in grpc.StatusCode}
