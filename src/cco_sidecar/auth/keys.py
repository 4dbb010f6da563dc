"""The key that signs tokens: HS256 with the configured secret, otherwise RS256 with a generated key pair."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from cco_sidecar.core.errors import SettingsError
from cco_sidecar.core.settings import Settings
from cco_sidecar.storage.files import PRIVATE_FILE, write_atomically


@dataclass(frozen=True)
class SigningKey:
    """A signing key. ``algorithm`` is fixed here and never read from a token (RFC 8725, section 3.1)."""

    algorithm: str
    signing: Any
    verifying: Any
    key_id: str | None
    jwks: bytes

    @classmethod
    def of(cls, settings: Settings) -> SigningKey:
        """Returns the key that the settings select. Raises SettingsError."""
        if settings.jwt_secret:
            return cls.from_secret(settings.jwt_secret)
        return cls.from_file(settings.storage / "signing-key.pem")

    @property
    def fingerprint(self) -> str:
        """Tells keys apart, and tells nothing about them."""
        return self.derive("fingerprint").hex()[:32]

    def derive(self, purpose: str) -> bytes:
        """Returns 32 bytes that only who has the key can make; both algorithms sign the same text in the same way."""
        signed = jwt.encode({"for": purpose}, self.signing, algorithm=self.algorithm)
        return hashlib.sha256(signed.encode()).digest()

    @classmethod
    def from_secret(cls, secret: str) -> SigningKey:
        return cls("HS256", secret, secret, None, b'{"keys":[]}')

    @classmethod
    def from_file(cls, path: Path) -> SigningKey:
        """Reads the key pair, or creates it with mode 0600 on the first start. Raises SettingsError, OSError."""
        if not path.exists():
            fresh = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = fresh.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            write_atomically(path, pem, mode=PRIVATE_FILE)
        try:
            private = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(private, rsa.RSAPrivateKey):
                raise ValueError("not an RSA key")
        except ValueError as problem:
            raise SettingsError(
                f"cannot read signing key {path}: {problem}; fix: delete it to create another (invalidates all tokens)"
            ) from problem
        if path.stat().st_mode & 0o077:
            path.chmod(PRIVATE_FILE)
        public = private.public_key()
        der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        digest = hashes.Hash(hashes.SHA256())
        digest.update(der)
        key_id = digest.finalize().hex()[:16]
        jwk = json.loads(RSAAlgorithm.to_jwk(public)) | {"kid": key_id, "use": "sig", "alg": "RS256"}
        jwk["key_ops"] = ["verify"]
        return cls("RS256", private, public, key_id, json.dumps({"keys": [jwk]}).encode())
