"""The operator's token, in a file of the storage directory that only the operator can read."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from cco_sidecar.auth.tokens import SKEW_SECONDS, Tokens
from cco_sidecar.core.clock import Clock
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically

log = logging.getLogger(__name__)

OPERATOR_TOKEN_FILE = "operator.token"
# Long before it expires.
_RENEW_SECONDS = 86_400
_INTERVAL_SECONDS = 5.0


class OperatorToken:
    def __init__(self, storage: Path, tokens: Tokens, clock: Clock) -> None:
        self._path = storage / OPERATOR_TOKEN_FILE
        self._tokens = tokens
        self._clock = clock
        self._made_at = 0.0

    def write(self) -> None:
        """Raises OSError."""
        made_at = self._clock.seconds()
        write_atomically(self._path, self._tokens.mint_operator().token.encode() + b"\n", mode=PRIVATE_FILE)
        self._made_at = made_at

    async def keep_fresh(self) -> None:
        """Renews it in time, and when the clock was set back behind it, until it is cancelled."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            if -SKEW_SECONDS <= self._clock.seconds() - self._made_at < _RENEW_SECONDS:
                continue
            try:
                self.write()
            except OSError as problem:
                log.warning("the operator's token could not be renewed yet: %s", problem)
