"""Stores secrets for agents, encrypted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cco_sidecar.core import security_log
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.environment import is_reserved
from cco_sidecar.core.errors import SidecarError, invalid_request, not_found
from cco_sidecar.storage.base import CredentialStore, SealedCredential
from cco_sidecar.storage.sealing import Seal

# IEEE Std 1003.1, section 8.1: names that every shell accepts.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Vault:
    """Secrets by name. Each is encrypted for its name."""

    def __init__(self, store: CredentialStore, seal: Seal, clock: Clock) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock

    async def put(self, name: str, value: str) -> SealedCredential:
        """Stores a secret. Raises SidecarError: REQ_001 if the name is not valid for an environment variable or is
        reserved, CRD_002 without a usable key."""
        if not _NAME.fullmatch(name):
            raise invalid_request(
                f"name: {name[:80]!r} is not a valid name of an environment variable (letters, digits, '_')",
                field="name",
            )
        if is_reserved(name):
            raise invalid_request(f"name: {name} is set by the sidecar", field="name")
        sealed = await self._seal.seal(name, value.encode())
        now = self._clock.micros()
        return await self._store.put(SealedCredential(name, sealed, now, now))

    async def get(self, name: str) -> tuple[str, SealedCredential]:
        """Returns a secret. Raises SidecarError: CRD_001 for an unknown name, CRD_002 without the key that it was
        encrypted with."""
        known = await self._store.get(name)
        if known is None:
            raise unknown(name)
        return self._seal.open(name, known.sealed).decode(), known

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        """Returns secrets by name, for an agent's environment. Raises SidecarError like ``get``."""
        if names:
            security_log.record("credentials_used", names=list(names))
        return {name: (await self.get(name))[0] for name in names}

    async def names(self) -> Sequence[SealedCredential]:
        """Returns all credentials, still encrypted."""
        return await self._store.all()

    async def delete(self, name: str) -> None:
        """Deletes a secret. Raises SidecarError (CRD_001)."""
        if not await self._store.delete(name):
            raise unknown(name)


def unknown(name: str) -> SidecarError:
    """Returns the error for an unknown credential (CRD_001)."""
    return not_found(
        "CRD_001", f"credential '{name[:128]}' not found; list credentials with 'cco credentials list'", name=name
    )
