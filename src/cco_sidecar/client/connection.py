"""Where the sidecar is, who calls, and what a failure means."""

from __future__ import annotations

import base64
import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cco_sidecar.client.discovery import Target
from cco_sidecar.client.errors import UnavailableError
from cco_sidecar.core.errors import Kind, SidecarError

# A first connection that is not made by then is not going to be.
CONNECT_SECONDS = 5.0
MAX_MESSAGE_BYTES = 32 * 2**20
# Tokens are refreshed in their last five minutes; the first of them is left to clocks that differ.
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
]


# As the stubs take it.
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an agent is: from its token, and from the variables that the sidecar puts into its environment."""

    agent_id: str
    agent_type: str
    issue_id: str
    project_id: str


def identity(token: str, environment: Mapping[str, str] = os.environ) -> Identity:
    """What the token says; what it does not say, the variables."""
    claims = claims_of(token)
    if claims.get("agent_type") == "operator":
        claims = {}
    names = {"sub": "AGENT_ID", "agent_type": "AGENT_TYPE", "issue_id": "ISSUE_ID", "project_id": "PROJECT_ID"}
    return Identity(*(str(claims.get(claim) or environment.get(name, "")) for claim, name in names.items()))


def unreachable(target: Target, why: str) -> SidecarError:
    """No connection was ever made."""
    return UnavailableError(
        Kind.UNAVAILABLE,
        "UNAVAILABLE",
        f"no sidecar answers at {target.address} ({why}); the address comes from {target.named_by}, and SIDECAR_GRPC, "
        "SIDECAR_URL or CCO_SIDECAR_PORT names another",
    )


class Token:
    """The token and when it must be refreshed. One in ``JWT_TOKEN_FILE`` is kept fresh by the sidecar and read again
    when the file changes; where there is no such file, the text is used."""

    def __init__(self, text: str | None, file: str | None = None) -> None:
        self._file = Path(file) if file and Path(file).exists() else None
        self._seen = 0
        # A header's value, pasted.
        self.text = (text or "").strip().removeprefix("Bearer ").strip()
        self.look()

    @classmethod
    def from_environment(cls, given: str | None, environment: Mapping[str, str] = os.environ) -> Token:
        return cls(given) if given else cls(environment.get("JWT_TOKEN"), environment.get("JWT_TOKEN_FILE"))

    def look(self) -> None:
        """Reads the token file when somebody else has renewed it."""
        if self._file is None:
            return
        try:
            changed = self._file.stat().st_mtime_ns
            if changed != self._seen:
                self._seen, self.text = changed, self._file.read_text().strip()
        except FileNotFoundError:
            # The agent has ended, and this process outlives it: what it has is what it had.
            self._file = None

    def due(self) -> bool:
        """True when the token is in the time in which it is to be refreshed."""
        if self._file is not None or not self.text:
            return False
        claims = claims_of(self.text)
        return claims.get("agent_type") != "operator" and 0 < claims.get("exp", 0) - time.time() < REFRESH_SECONDS

    def metadata(self) -> Metadata:
        self.look()
        return (("authorization", f"Bearer {self.text}"),) if self.text else ()


def claims_of(token: str) -> dict[str, Any]:
    """A token's claims, not verified: for its holder to see when it expires."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def backoff(attempt: int) -> float:
    """Seconds before the next attempt, with jitter: 0.1, 0.2, ... at most 5."""
    return float(min(5.0, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))
