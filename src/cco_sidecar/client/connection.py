"""The identity and token of a client, its channel options, and its retries."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cco_sidecar.client.discovery import Target
from cco_sidecar.client.errors import UnavailableError
from cco_sidecar.core.errors import Kind, SidecarError

# Default timeout of the first connection.
CONNECT_SECONDS = 5.0
MAX_MESSAGE_BYTES = 32 * 2**20
# The sidecar refreshes tokens in their last 300 seconds; the difference allows for clock skew.
REFRESH_SECONDS = 240
_RETRY = {
    "methodConfig": [
        {
            "name": [{"service": f"orchestra.v1.{name}"} for name in ("ContextService", "SystemService")],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_RETRY)),
    # gRPC's default is two minutes; a sidecar that restarts is back within seconds.
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.initial_reconnect_backoff_ms", 200),
]


# Call metadata, as gRPC stubs take it.
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """An agent's identity."""

    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str


def identity(token: str, environment: Mapping[str, str] = os.environ) -> Identity:
    """Returns the identity in an agent's token; empty claims are taken from the environment variables."""
    claims = claims_of(token)
    if claims.get("agent_type") == "operator":
        claims = {}
    names = {"sub": "AGENT_ID", "agent_type": "AGENT_TYPE", "issue_id": "ISSUE_ID", "project_id": "PROJECT_ID"}
    return Identity(*(str(claims.get(claim) or environment.get(name, "")) for claim, name in names.items()))


def unreachable(target: Target, why: str) -> SidecarError:
    """Returns the error of a first connection that failed."""
    return UnavailableError(
        Kind.UNAVAILABLE,
        "UNAVAILABLE",
        f"no sidecar answers at {target.address} ({why}); the address is from {target.named_by}; set another with "
        "SIDECAR_GRPC, SIDECAR_URL or CCO_SIDECAR_PORT",
        details={"reason": why},
    )


def trace_metadata(environment: Mapping[str, str] = os.environ) -> Metadata:
    """Returns what joins a call to a trace: the current OpenTelemetry span, else the agent's (``TRACEPARENT``)."""
    carrier: dict[str, str] = {}
    # Only a program that uses OpenTelemetry has a current span.
    if (propagate := sys.modules.get("opentelemetry.propagate")) is not None:
        propagate.inject(carrier)
    if "traceparent" not in carrier and (given := environment.get("TRACEPARENT")):
        carrier = {"traceparent": given, "tracestate": environment.get("TRACESTATE", "")}
    return tuple((name, carrier[name]) for name in ("traceparent", "tracestate") if carrier.get(name))


class Token:
    """A token from a file or a string.

    The sidecar refreshes the token in ``JWT_TOKEN_FILE``; it is reread when the file changes. If the file does not
    exist, the string is used.
    """

    def __init__(self, text: str | None, file: str | None = None) -> None:
        self._file = Path(file) if file and Path(file).exists() else None
        self._seen = 0
        # Accept a copied header value.
        self.text = (text or "").strip().removeprefix("Bearer ").strip()
        self.reload()

    @classmethod
    def from_environment(cls, given: str | None, environment: Mapping[str, str] = os.environ) -> Token:
        return cls(given) if given else cls(environment.get("JWT_TOKEN"), environment.get("JWT_TOKEN_FILE"))

    def reload(self) -> None:
        """Rereads the token file if it has changed."""
        if self._file is None:
            return
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._seen:
                self._seen, self.text = changed, self._file.read_text().strip()
        except FileNotFoundError:
            # The agent has ended, but this process is still running; keep the last token.
            self._file = None

    def due(self) -> bool:
        """Reports whether to refresh the token. Tokens from a file and operator's tokens are not refreshed."""
        if self._file is not None or not self.text:
            return False
        claims = claims_of(self.text)
        return claims.get("agent_type") != "operator" and 0 < claims.get("exp", 0) - time.time() < REFRESH_SECONDS

    def metadata(self) -> Metadata:
        self.reload()
        return ((("authorization", f"Bearer {self.text}"),) if self.text else ()) + trace_metadata()


def claims_of(token: str) -> dict[str, Any]:
    """Returns a token's claims without verifying them; empty if it cannot be parsed."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}
