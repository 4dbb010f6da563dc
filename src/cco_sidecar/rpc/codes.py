"""The status codes of gRPC."""

from __future__ import annotations

import grpc

# google.rpc.Code number to grpc.StatusCode.
CODES = {code.value[0]: code for code in grpc.StatusCode}
