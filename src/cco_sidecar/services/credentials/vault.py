"""Secrets, sealed with a key that is not beside them."""

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

# IEEE Std 1003.1, section 8.1: a name that every shell takes.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_BYTES = 32
# NIST SP 800-38D, section 8.2: 96 bits.
_NONCE_BYTES = 12


class Vault:
    """AES-256-GCM, bound to the credential's name. The key file is made when the first secret is stored."""

    def __init__(self, store: CredentialStore, key_file: Path, storage: Path, clock: Clock) -> None:
        """Raises SettingsError for a key file inside the storage directory: a backup would hold both."""
        if key_file.resolve().is_relative_to(storage.resolve()):
            raise SettingsError(
                f"credentials key file {key_file} is inside the storage directory; put it elsewhere with "
                "CCO_SIDECAR_CREDENTIALS_KEY_FILE"
            )
        self._store = store
        self._key_file = key_file
        self._clock = clock

    async def put(self, name: str, value: str) -> SealedCredential:
        """Raises SidecarError (REQ_001) for a name that is no environment variable's."""
        if not _NAME.fullmatch(name):
            raise invalid_request(
                f"name: {name[:80]!r} is no name of an environment variable (letters, digits, '_')", field="name"
            )
        if is_reserved(name):
            raise invalid_request(f"name: {name} is set by the sidecar", field="name")
        nonce = os.urandom(_NONCE_BYTES)
        # A lost key is not replaced while there is something that it could open.
        key = self._key(make=not await self._store.all())
        sealed = nonce + AESGCM(key).encrypt(nonce, value.encode(), name.encode())
        now = self._clock.micros()
        return await self._store.put(SealedCredential(name, sealed, now, now))

    async def get(self, name: str) -> tuple[str, SealedCredential]:
        """Raises SidecarError: CRD_001 for no such name, CRD_002 when the key is not the one it was sealed with."""
        known = await self._store.get(name)
        if known is None:
            raise unknown(name)
        nonce, text = known.sealed[:_NONCE_BYTES], known.sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key()).decrypt(nonce, text, name.encode()).decode(), known
        except (InvalidTag, ValueError):
            raise _wrong_key(self._key_file, name) from None

    async def values(self, names: Sequence[str]) -> dict[str, str]:
        """For an agent's environment. Raises SidecarError as ``get``."""
        if names:
            security_log.record("credentials_used", names=list(names))
        return {name: (await self.get(name))[0] for name in names}

    async def names(self) -> Sequence[SealedCredential]:
        return await self._store.all()

    async def delete(self, name: str) -> None:
        if not await self._store.delete(name):
            raise unknown(name)

    def _key(self, *, make: bool = False) -> bytes:
        """Raises SidecarError (CRD_002) without a usable key; nothing is overwritten."""
        try:
            if make and not self._key_file.exists():
                write_once(self._key_file, AESGCM.generate_key(8 * _KEY_BYTES).hex().encode(), mode=PRIVATE_FILE)
            key = bytes.fromhex(self._key_file.read_text().strip())
        except (OSError, ValueError) as problem:
            raise internal(
                "CRD_002", f"the key of the credentials, {self._key_file}, cannot be read; restore it, or store anew"
            ) from problem
        if len(key) != _KEY_BYTES:
            raise internal("CRD_002", f"the key of the credentials, {self._key_file}, is not {_KEY_BYTES} bytes long")
        return key


def unknown(name: str) -> SidecarError:
    return not_found("CRD_001", f"there is no credential '{name[:128]}'; 'cco credentials list' names them", name=name)


def _wrong_key(key_file: Path, name: str) -> SidecarError:
    return internal("CRD_002", f"credential '{name}' was sealed with another key than {key_file}; store it anew")
