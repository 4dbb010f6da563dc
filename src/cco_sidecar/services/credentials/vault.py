"""Stores secrets, encrypted with a key that is stored elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cco_sidecar.core import security_log
from cco_sidecar.core.clock import Clock
from cco_sidecar.core.environment import is_reserved
from cco_sidecar.core.errors import SettingsError, SidecarError, internal, invalid_request, not_found
from cco_sidecar.storage.base import CredentialStore, SealedCredential
from cco_sidecar.storage.files import PRIVATE_FILE, write_once

# IEEE Std 1003.1, section 8.1: names that every shell accepts.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_BYTES = 32
# NIST SP 800-38D, section 8.2: 96 bits.
_NONCE_BYTES = 12


class Vault:
    """Encrypts secrets with AES-256-GCM, bound to the credential's name. The key file is created when the first secret
    is stored."""

    def __init__(self, store: CredentialStore, key_file: Path, storage: Path, clock: Clock) -> None:
        """Raises SettingsError if the key file is inside the storage directory: a backup would contain both."""
        if key_file.resolve().is_relative_to(storage.resolve()):
            raise SettingsError(
                f"credentials key file {key_file} is inside the storage directory; put it elsewhere with "
                "CCO_SIDECAR_CREDENTIALS_KEY_FILE"
            )
        self._store = store
        self._key_file = key_file
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
        nonce = os.urandom(_NONCE_BYTES)
        # A lost key is not replaced while there are secrets that it could decrypt.
        key = self._key(make=not await self._store.all())
        sealed = nonce + AESGCM(key).encrypt(nonce, value.encode(), name.encode())
        now = self._clock.micros()
        return await self._store.put(SealedCredential(name, sealed, now, now))

    async def get(self, name: str) -> tuple[str, SealedCredential]:
        """Returns a secret. Raises SidecarError: CRD_001 for an unknown name, CRD_002 without the key that it was
        encrypted with."""
        known = await self._store.get(name)
        if known is None:
            raise unknown(name)
        nonce, text = known.sealed[:_NONCE_BYTES], known.sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key()).decrypt(nonce, text, name.encode()).decode(), known
        except (InvalidTag, ValueError):
            raise _wrong_key(self._key_file, name) from None

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

    def _key(self, *, make: bool = False) -> bytes:
        """Returns the key; with ``make``, creates it if there is no key file. Never overwrites one. Raises SidecarError
        (CRD_002)."""
        try:
            if make and not self._key_file.exists():
                write_once(self._key_file, AESGCM.generate_key(8 * _KEY_BYTES).hex().encode(), mode=PRIVATE_FILE)
            key = bytes.fromhex(self._key_file.read_text().strip())
        except (OSError, ValueError) as problem:
            raise internal(
                "CRD_002",
                f"the credentials key {self._key_file} cannot be read; restore it, or store the credentials again",
            ) from problem
        if len(key) != _KEY_BYTES:
            raise internal("CRD_002", f"the credentials key {self._key_file} is not {_KEY_BYTES} bytes long")
        return key


def unknown(name: str) -> SidecarError:
    """Returns the error for an unknown credential (CRD_001)."""
    return not_found(
        "CRD_001", f"credential '{name[:128]}' not found; list credentials with 'cco credentials list'", name=name
    )


def _wrong_key(key_file: Path, name: str) -> SidecarError:
    return internal("CRD_002", f"credential '{name}' was not encrypted with the key in {key_file}; store it again")
