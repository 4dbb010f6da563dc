"""Encrypts what must not be readable in the database, with a key that is stored elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cco_sidecar.core.errors import SettingsError, internal
from cco_sidecar.storage.base import Stores
from cco_sidecar.storage.files import PRIVATE_FILE, write_once

_KEY_BYTES = 32
# NIST SP 800-38D, section 8.2: 96 bits.
_NONCE_BYTES = 12


class Seal:
    """AES-256-GCM, bound to the name of what is encrypted. The key file is created when the first value is."""

    def __init__(self, key_file: Path, storage: Path, stores: Stores) -> None:
        """Raises SettingsError if the key file is inside the storage directory: a backup would contain both."""
        if key_file.resolve().is_relative_to(storage.resolve()):
            raise SettingsError(
                f"credentials key file {key_file} is inside the storage directory; put it elsewhere with "
                "CCO_SIDECAR_CREDENTIALS_KEY_FILE"
            )
        self._key_file = key_file
        self._stores = stores

    async def seal(self, name: str, value: bytes) -> bytes:
        """Raises SidecarError (CRD_002) without a usable key."""
        nonce = os.urandom(_NONCE_BYTES)
        # A lost key is not replaced while there is something that it could decrypt.
        sealed_any = await self._stores.credentials.all() or await self._stores.webhooks.all()
        return nonce + AESGCM(self._key(make=not sealed_any)).encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """Raises SidecarError (CRD_002) without the key that it was encrypted with."""
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self._key()).decrypt(nonce, text, name.encode())
        except (InvalidTag, ValueError):
            raise internal(
                "CRD_002", f"the secret '{name}' was not encrypted with the key in {self._key_file}; store it again"
            ) from None

    def _key(self, *, make: bool = False) -> bytes:
        """Returns the key; with ``make``, creates it if there is no key file. Never overwrites one."""
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
