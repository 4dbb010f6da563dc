"""The key that a sidecar uses to prove that it owns a storage directory."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically, write_once

_FILE = "identity.key"
_BYTES = 32


class IdentityKey:
    """A 32-byte HMAC-SHA256 key, stored with mode 0600 in the storage directory."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of(cls, storage: Path) -> IdentityKey:
        """Reads the key of a storage directory, or creates it on the first start. Raises SettingsError."""
        path = storage / _FILE
        try:
            if not path.exists():
                write_once(path, secrets.token_bytes(_BYTES), mode=PRIVATE_FILE)
            return cls.read(storage)
        except OSError as problem:
            raise SettingsError(f"cannot use identity key {path}: {problem.strerror}") from problem

    @classmethod
    def share(cls, storage: Path, key: bytes) -> None:
        """Makes ``key``, which other sidecars have too, the key of a storage directory: a page that one of them served
        may be answered by another. Raises SettingsError."""
        path = storage / _FILE
        try:
            if not path.exists() or path.read_bytes() != key:
                write_atomically(path, key, mode=PRIVATE_FILE)
        except OSError as problem:
            raise SettingsError(f"cannot use identity key {path}: {problem.strerror}") from problem

    @classmethod
    def read(cls, storage: Path) -> IdentityKey:
        """Reads an existing key. Raises OSError."""
        return cls((storage / _FILE).read_bytes())

    def proof(self, nonce: str, host: str, port: int, grpc_port: int) -> str:
        """Returns the hex proof for a nonce. It covers the address, so a proof relayed from another address fails."""
        text = f"cco-sidecar/1\n{nonce}\n{host}\n{port}\n{grpc_port}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def of_session(self, session: str) -> IdentityKey:
        """Returns the key of a browser session, with which the page checks who answers."""
        return IdentityKey(hmac.new(self._key, f"cco-dashboard-session/1\n{session}".encode(), hashlib.sha256).digest())

    def hex(self) -> str:
        return self._key.hex()

    def dashboard_proof(self, nonce: str, port: int, dashboard_port: int) -> str:
        """Returns the hex proof for a page. It covers both ports at which the page may be served."""
        text = f"cco-dashboard/1\n{nonce}\n{port}\n{dashboard_port}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def holds(self, proof: str, nonce: str, host: str, port: int, grpc_port: int) -> bool:
        """Reports whether ``proof`` matches, in constant time."""
        return hmac.compare_digest(proof, self.proof(nonce, host, port, grpc_port))
