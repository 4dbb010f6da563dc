"""The operator's token, kept in a file of the storage directory that only the operator can read."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from cco_sidecar.auth.tokens import SKEW_SECONDS, Tokens
from cco_sidecar.core.clock import Clock
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically

log = logging.getLogger(__name__)

OPERATOR_TOKEN_FILE = "operator.token"
# Well before the token expires (30 days).
_RENEW_SECONDS = 86_400
_INTERVAL_SECONDS = 5.0


class OperatorToken:
    """Writes and renews ``operator.token``."""

    def __init__(self, storage: Path, tokens: Tokens, clock: Clock) -> None:
        self._path = storage / OPERATOR_TOKEN_FILE
        self._tokens = tokens
        self._clock = clock
        self._made_at = 0.0

    def write(self) -> None:
        """Writes a new token. Raises OSError."""
        made_at = self._clock.seconds()
        write_atomically(self._path, self._tokens.mint_operator().token.encode() + b"\n", mode=PRIVATE_FILE)
        self._made_at = made_at

    async def keep_fresh(self) -> None:
        """Renews the token once a day, or when the clock is set back before its issue time. Runs until cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            if -SKEW_SECONDS <= self._clock.seconds() - self._made_at < _RENEW_SECONDS:
                continue
            try:
                self.write()
            except OSError as problem:
                log.warning("cannot renew the operator's token, will retry: %s", problem)
